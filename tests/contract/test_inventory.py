"""The number inventory on both databases: its changes, who may make them, and what is left of a holder."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from callcontrol.provisioning import Document, SqlProvisioningStore, apply
from config.database import DatabaseUnavailable, create_engine
from config.sections import DatabaseSettings
from numbering.countries import quarantine_end
from numbering.models import ANONYMOUS, CloudNumber, NumberState
from numbering.refusal import Fault, Refused
from tests.support.acme import PLANS
from tests.support.inventory import DAY, FOUR, ONE, START, THREE, TWO, World, play
from tests.support.postgres import Cluster, database_url, postgres, postgres_url

__all__ = ["database_url", "postgres", "postgres_url"]

S = NumberState
LIFE = {
    "e164",
    "user",
    "state",
    "category",
    "expires_at",
    "until",
    "kept_for",
    "kept_account",
    "since",
    "held_since",
}
LIFE |= {"version"}
"""Fields of a number that are about its life; every other field is its holder's."""


async def refusal(attempt: object) -> Fault:
    with pytest.raises(Refused) as caught:
        await attempt  # type: ignore[misc]
    return caught.value.fault


@pytest.mark.rule("NUM-04")
def test_from_the_stock_to_a_holder_and_back(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.stock()
        (kept,) = await inventory.reserve([ONE], "ana", actor="app", reason="in the basket")
        assert (kept.state, kept.kept_for, kept.until) == (S.RESERVED, "ana", START + 900)
        held = await inventory.assign("+33 6 39 98 12 01", "ana", actor="app", reason="bought")
        assert (held.state, held.user, held.kept_for, held.held_since) == (S.ACTIVE, "ana", "", START)
        resting = await inventory.release(ONE, actor="user:ana", reason="not needed")
        assert (resting.state, resting.user, resting.kept_for, resting.kept_account) == (
            S.QUARANTINED,
            "",
            "ana",
            "acme",
        )
        assert resting.until == quarantine_end(inventory.rules_of(ONE), START)
        history = [event for _, event in await inventory.history(ONE)]
        assert [(e.action, e.before, e.after, e.actor, e.reason, e.at) for e in reversed(history)] == [
            ("add", None, S.AVAILABLE, "operator", "added to the stock", START),
            ("reserve", S.AVAILABLE, S.RESERVED, "app", "in the basket", START),
            ("assign", S.RESERVED, S.ACTIVE, "app", "bought", START),
            ("release", S.ACTIVE, S.QUARANTINED, "user:ana", "not needed", START),
        ]
        assert [(e.former, e.user) for e in history[:2]] == [("ana", "ana"), ("ana", "ana")]
        assert (await inventory.get(ONE)).version == 4

    play(database_url, scenario)


@pytest.mark.rule("NUM-04")
def test_what_is_not_legal_changes_nothing(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.stock(ONE)
        before = await inventory.get(ONE)
        assert await refusal(inventory.release(ONE, actor="x")) is Fault.WRONG_STATE
        assert await refusal(inventory.suspend(ONE, actor="x", reason="fraud")) is Fault.WRONG_STATE
        assert await refusal(inventory.take_back(ONE, "ana", actor="x")) is Fault.WRONG_STATE
        assert await refusal(inventory.get(TWO)) is Fault.UNKNOWN_NUMBER
        assert await refusal(inventory.get("0639981201")) is Fault.INVALID_NUMBER
        assert await refusal(inventory.assign(ONE, "nobody", actor="x")) is Fault.UNKNOWN_USER
        assert await refusal(inventory.assign(ONE, "ana", actor="x", reason=" ")) is Fault.BAD_REQUEST
        assert await refusal(inventory.assign(ONE, "ana", actor="", reason="r")) is Fault.BAD_REQUEST
        assert await refusal(inventory.add([ONE], actor="x")) is Fault.HELD
        assert await refusal(inventory.add(["+33639980001"], actor="x")) is Fault.HELD  # Ana's SIM
        after = await inventory.get(ONE)
        assert after == before
        assert after.version == before.version
        assert await world.words(ONE) == ["add"]

    play(database_url, scenario)


@pytest.mark.rule("NUM-02")
def test_the_limit_of_the_plan_counts_what_is_promised(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.stock()
        await inventory.assign(ONE, "ana", actor="x")
        await inventory.reserve([TWO], "ana", actor="x")
        assert await refusal(inventory.assign(THREE, "ana", actor="x")) is Fault.LIMIT
        assert await refusal(inventory.reserve([THREE], "ana", actor="x")) is Fault.LIMIT
        await inventory.assign(TWO, "ana", actor="x")  # the promise itself is kept
        assert await refusal(inventory.reserve([THREE, FOUR], "ana", actor="x")) is Fault.LIMIT
        await inventory.release(ONE, actor="x")
        await inventory.assign(THREE, "ana", actor="x")

    play(database_url, scenario)


@pytest.mark.rule("NUM-03")
def test_one_holder_and_nobody_takes_what_is_kept_for_another(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.stock()
        await inventory.assign(ONE, "ana", actor="x")
        assert await refusal(inventory.assign(ONE, "ben", actor="x")) is Fault.HELD
        assert await refusal(inventory.reserve([ONE], "ben", actor="x")) is Fault.HELD
        await inventory.reserve([TWO], "ana", actor="x")
        assert await refusal(inventory.assign(TWO, "ben", actor="x")) is Fault.KEPT
        assert await refusal(inventory.reserve([TWO], "ben", actor="x")) is Fault.KEPT
        # all or none
        assert await refusal(inventory.reserve([THREE, TWO], "ben", actor="x")) is Fault.KEPT
        assert (await inventory.get(THREE)).state is S.AVAILABLE
        await inventory.unreserve(TWO, actor="x")
        await inventory.assign(TWO, "ben", actor="x")

    play(database_url, scenario)


@pytest.mark.rule("NUM-03")
def test_of_many_who_want_a_number_at_once_one_gets_it(database_url: str) -> None:
    """Two nodes, each with several requests at the same time."""

    async def scenario(world: World) -> None:
        await world.stock()
        other = create_engine(DatabaseSettings(url=database_url, timeout_seconds=10))
        try:
            second = World(other, world.clock)
            users = ["ana", "ben", "rita", "zoe"] * 2
            attempts = [
                (world if index % 2 else second).inventory.assign(ONE, user, actor=f"user:{user}")
                for index, user in enumerate(users)
            ]
            answers = await asyncio.gather(*attempts, return_exceptions=True)
            won = [answer for answer in answers if isinstance(answer, CloudNumber)]
            lost = [answer.fault for answer in answers if isinstance(answer, Refused)]
            assert len(won) == 1
            assert lost == [Fault.HELD] * 7
            assert (await world.inventory.get(ONE)).user == won[0].user
            assert await world.words(ONE) == ["add", "assign"]
        finally:
            await other.dispose()

    play(database_url, scenario)


def test_who_has_seen_an_old_version_is_told_so(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.stock()
        seen = await inventory.get(ONE)
        await inventory.assign(ONE, "ana", actor="x", version=seen.version)
        assert await refusal(inventory.release(ONE, actor="x", version=seen.version)) is Fault.STALE
        # and behind every version check: a write of what has been changed meanwhile fails by itself
        stale = dataclasses.replace(seen, hide=True)
        with pytest.raises(Refused) as caught:
            async with world.store.work() as work:
                await work.write(seen, stale)
        assert caught.value.fault is Fault.STALE
        assert not (await inventory.get(ONE)).hide

    play(database_url, scenario)


@pytest.mark.rule("NUM-05")
def test_the_former_holder_sees_it_first_and_has_it_back_as_a_new_number(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory, find = world.inventory, world.inventory.finder.search
        await world.stock()
        await inventory.assign(FOUR, "zoe", actor="x")
        await inventory.release(FOUR, actor="x")
        found = await find(user="zoe")
        assert [(each.number.e164, each.formerly_yours) for each in found] == [
            (FOUR, True),
            (ONE, False),
            (TWO, False),
            (THREE, False),
        ]
        for stranger in ("ana", "rita", ""):
            assert [each.number.e164 for each in await find(user=stranger)] == [ONE, TWO, THREE]
        assert await refusal(inventory.take_back(FOUR, "ana", actor="x")) is Fault.KEPT
        assert await refusal(inventory.assign(FOUR, "zoe", actor="x")) is Fault.KEPT
        world.clock.days(3)
        back = await inventory.take_back(FOUR, "zoe", actor="user:zoe")
        assert (back.state, back.user, back.held_since, back.kept_for) == (
            S.ACTIVE,
            "zoe",
            START + 3 * DAY,
            "",
        )

    play(database_url, scenario)


@pytest.mark.rule("NUM-05")
def test_a_company_has_the_number_of_someone_who_left_back(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.stock(ONE)
        await inventory.assign(ONE, "ana", actor="x")
        await inventory.release(ONE, actor="x")
        assert [each.number.e164 for each in await inventory.finder.search(user="ben")] == [ONE]
        assert (await inventory.take_back(ONE, "ben", actor="x")).user == "ben"

    play(database_url, scenario)


OWNED = """
[[number]]
e164 = "+33639981201"
user = "ana"
hide = true
calls = false
ring_seconds = 12
block = ["+33639989999", "anonymous"]
[[user]]
ref = "ana"
account = "acme"
default_number = "+33639981201"
"""


@pytest.mark.rule("NUM-05")
@pytest.mark.parametrize("way", ["take_back", "next_holder", "reassign"])
def test_nothing_of_the_former_holder_reaches_the_next(database_url: str, way: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.people(OWNED)
        owned = await inventory.get(ONE)
        assert (owned.hide, owned.calls, owned.ring_seconds) == (True, False, 12.0)
        assert owned.block == ("+33639989999", ANONYMOUS)
        rio = await world.ports.rio(ONE, actor="x")
        world.clock.days(1)
        if way == "reassign":
            new = await inventory.reassign(ONE, "ben", with_history=False, actor="x")
        else:
            await inventory.release(ONE, actor="x")
            directory = await world.directory()
            ana = directory.user("ana")
            assert ana is not None
            assert ana.default_number == ""
            assert directory.numbers_of("ana") == ()
            if way == "take_back":
                new = await inventory.take_back(ONE, "ana", actor="x")
            else:
                world.clock.days(130)
                await world.clockwork().tick()
                new = await inventory.assign(ONE, "zoe", actor="x")
        for field in dataclasses.fields(CloudNumber):
            if field.name not in LIFE:
                assert getattr(new, field.name) == field.default, field.name
        assert new.kept_for == new.kept_account == ""
        assert new.held_since == world.clock.now
        assert new == await inventory.get(ONE)
        assert str(await world.ports.rio(ONE, actor="x")) != str(rio), "a RIO is one contract's"

    play(database_url, scenario)


@pytest.mark.rule("NUM-06")
def test_a_company_passes_a_number_on_with_its_history(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.people(OWNED)
        before = await inventory.get(ONE)
        world.clock.days(10)
        after = await inventory.reassign(
            ONE, "ben", with_history=True, actor="manager:acme", reason="Ana left"
        )
        assert (after.user, after.hide, after.block) == ("ben", True, before.block)
        assert after.held_since == before.held_since, "calls since then are Ben's to see"
        directory = await world.directory()
        assert [number.e164 for number in directory.numbers_of("ben")] == [ONE]
        ana = directory.user("ana")
        assert ana is not None
        assert ana.default_number == ""
        (_, event), *_ = await inventory.history(ONE)
        assert (event.action, event.former, event.user, event.reason) == (
            "reassign",
            "ana",
            "ben",
            "Ana left",
        )

    play(database_url, scenario)


@pytest.mark.rule("NUM-06", "NUM-03")
def test_a_number_does_not_pass_between_companies(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.stock()
        await inventory.assign(ONE, "ana", actor="x")
        assert (
            await refusal(inventory.reassign(ONE, "rita", with_history=False, actor="x"))
            is Fault.OTHER_COMPANY
        )
        assert (
            await refusal(inventory.reassign(ONE, "zoe", with_history=True, actor="x")) is Fault.OTHER_COMPANY
        )
        assert await refusal(inventory.reassign(ONE, "ana", with_history=True, actor="x")) is Fault.HELD
        for number in (TWO, THREE):
            await inventory.assign(number, "ben", actor="x")
        assert await refusal(inventory.reassign(ONE, "ben", with_history=True, actor="x")) is Fault.LIMIT

    play(database_url, scenario)


@pytest.mark.rule("NUM-12")
def test_a_subscription_lapses_and_is_renewed(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.stock()
        await inventory.assign(ONE, "ana", actor="x", expires_at=START + 30 * DAY)
        assert await world.clockwork().tick() == 0
        world.clock.days(30)
        assert await world.clockwork().tick() == 1
        assert (await inventory.get(ONE)).state is S.EXPIRED
        assert await refusal(inventory.renew(ONE, START, actor="x")) is Fault.TOO_EARLY
        renewed = await inventory.renew(ONE, START + 60 * DAY, actor="shop", reason="paid")
        assert (renewed.state, renewed.user) == (S.ACTIVE, "ana")
        assert await world.words(ONE) == ["add", "assign", "expire", "renew"]
        assert await refusal(inventory.assign(TWO, "ana", actor="x", expires_at=START)) is Fault.BAD_REQUEST

    play(database_url, scenario)


@pytest.mark.rule("NUM-13")
def test_numbers_users_and_accounts_are_suspended_and_resumed(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.stock()
        await inventory.assign(ONE, "ana", actor="x", expires_at=START + DAY)
        await inventory.assign(TWO, "ben", actor="x")
        assert await refusal(inventory.suspend(ONE, actor="x", reason="a whim")) is Fault.BAD_REQUEST
        assert (
            await inventory.suspend(ONE, actor="x", reason="fraud: told by the carrier")
        ).state is S.SUSPENDED
        world.clock.days(2)
        assert await world.clockwork().tick() == 0, "what is suspended does not expire by itself"
        assert (await inventory.resume(ONE, actor="x")).state is S.EXPIRED, "but it has"
        assert await inventory.suspend_user("ben", actor="x", reason="unpaid") == 1
        assert await inventory.suspend_account("acme", actor="x", reason="false_identity") == 2
        directory = await world.directory()
        ben, acme = directory.user("ben"), directory.account("acme")
        assert ben is not None
        assert acme is not None
        assert (ben.suspended, acme.suspended) == (True, True)
        assert (await inventory.get(TWO)).state is S.ACTIVE, "it comes back as it was"
        await inventory.suspend_account("acme", actor="x", reason="paid", suspended=False)
        await inventory.suspend_user("ben", actor="x", reason="paid", suspended=False)
        assert (await world.words(TWO))[-4:] == [
            "user_suspended",
            "account_suspended",
            "account_resumed",
            "user_resumed",
        ]
        assert await refusal(inventory.suspend_user("x", actor="x", reason="fraud")) is Fault.UNKNOWN_USER
        assert (
            await refusal(inventory.suspend_account("x", actor="x", reason="fraud")) is Fault.UNKNOWN_ACCOUNT
        )

    play(database_url, scenario)


@pytest.mark.rule("NUM-07")
def test_search_by_country_category_pattern_and_score(database_url: str) -> None:
    async def scenario(world: World) -> None:
        find = world.inventory.finder.search
        numbers = ["+33639981111", "+33639981234", "+447700900123", "+12125550100", "+33639984321"]
        await world.inventory.add(numbers, actor="x")

        async def e164s(**wanted: object) -> list[str]:
            return [each.number.e164 for each in await find(**wanted)]  # type: ignore[arg-type]

        assert await e164s(country="GB") == ["+447700900123"]
        assert await e164s(country="US") == ["+12125550100"]
        assert await e164s(country="CA") == []
        assert await e164s(category="vip") == ["+33639981111"]
        assert await e164s(pattern="1234") == ["+33639981234"]
        assert await e164s(pattern="*??1") == ["+33639981111", "+33639984321"]
        assert await e164s(pattern="06 39 98 x3*") == ["+33639984321"]
        assert await e164s(pattern="0639981*") == ["+33639981111", "+33639981234"]
        assert await e164s(pattern="+4477*") == ["+447700900123"]
        assert await e164s(min_score=40) == ["+33639981111"]
        page = await e164s(limit=2)
        assert page == ["+12125550100", "+33639981111"]
        assert await e164s(limit=10, after=page[-1]) == ["+33639981234", "+33639984321", "+447700900123"]
        assert await refusal(find(pattern="a?b")) is Fault.BAD_REQUEST
        assert await refusal(find(country="XX")) is Fault.BAD_REQUEST
        assert await refusal(find(category="gold")) is Fault.BAD_REQUEST
        assert await refusal(find(user="nobody")) is Fault.UNKNOWN_USER
        vip = next(each for each in await find(user="ana", category="vip"))
        assert (vip.score >= 40, vip.national) == (True, True)
        (british,) = await find(user="ana", country="GB")
        assert british.national is False

    play(database_url, scenario)


@pytest.mark.rule("NUM-07")
def test_runs_are_found_and_reserved_as_one(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        await world.stock("+33639981298", "+33639981299", "+33639981300", ONE, THREE, FOUR)
        assert list(await inventory.finder.search_runs(3)) == [
            ("+33639981298", "+33639981299", "+33639981300")
        ]
        assert list(await inventory.finder.search_runs(2)) == [
            (THREE, FOUR),
            ("+33639981298", "+33639981299"),
        ]
        assert len(await inventory.finder.search_runs(2, limit=1)) == 1
        (run,) = await inventory.finder.search_runs(2, limit=1)
        await inventory.reserve(run, "ana", actor="x")
        assert list(await inventory.finder.search_runs(2)) == [("+33639981298", "+33639981299")]
        assert await refusal(inventory.finder.search_runs(1)) is Fault.BAD_REQUEST

    play(database_url, scenario)


@pytest.mark.rule("NUM-08")
def test_a_sim_that_is_seen_is_written_down_once_a_day(database_url: str) -> None:
    async def scenario(world: World) -> None:
        inventory = world.inventory
        assert await inventory.sim_seen("ana-phone", "FR")
        assert not await inventory.sim_seen("ana-phone", "FR")
        assert not await inventory.sim_seen("no-phone", "FR")
        world.clock.days(1.01)
        assert await inventory.sim_seen("ana-phone", "FR")
        assert await inventory.sim_seen("ana-phone", "GB"), "another country counts at once"
        device = (await world.directory()).device("ana-phone")
        assert device is not None
        assert (device.sim_country, device.sim_seen_at) == ("GB", world.clock.now)
        # and documents do not undo it
        await world.people()
        assert (await world.directory()).device("ana-phone") == device

    play(database_url, scenario)


def test_every_change_is_seen_by_calls(database_url: str) -> None:
    """Each is one revision of the directory, whatever it does; what is refused is none."""

    async def scenario(world: World) -> None:
        inventory = world.inventory
        version = (await world.directory()).version

        async def revisions() -> int:
            nonlocal version
            before, version = version, (await world.directory()).version
            return version - before

        await world.stock()
        assert await revisions() == 1
        steps = [
            lambda: inventory.reserve([ONE], "ana", actor="x"),
            lambda: inventory.assign(ONE, "ana", actor="x"),
            lambda: inventory.suspend(ONE, actor="x", reason="other"),
            lambda: inventory.resume(ONE, actor="x"),
            lambda: inventory.reassign(ONE, "ben", with_history=True, actor="x"),
            lambda: inventory.release(ONE, actor="x"),
            lambda: inventory.take_back(ONE, "ben", actor="x"),
            lambda: inventory.withdraw(TWO, actor="x"),
            lambda: inventory.suspend_user("ana", actor="x", reason="fraud"),
        ]
        for step in steps:
            await step()  # type: ignore[no-untyped-call]
            assert await revisions() == 1
        await refusal(inventory.assign(ONE, "ana", actor="x"))
        assert await revisions() == 0
        directory = await world.directory()
        assert directory.number(TWO) is None
        number = directory.number(ONE)
        assert number is not None
        assert (number.user, number.state) == ("ben", S.ACTIVE)

    play(database_url, scenario)


def test_without_a_database_nothing_is_done_and_it_is_said(postgres: Cluster, postgres_url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock()
        postgres.stop()
        try:
            with pytest.raises(DatabaseUnavailable):
                await world.inventory.assign(ONE, "ana", actor="x")
            with pytest.raises(DatabaseUnavailable):
                await world.inventory.finder.search()
            with pytest.raises(DatabaseUnavailable):
                await world.clockwork().tick()
        finally:
            postgres.start()
        assert (await world.inventory.get(ONE)).state is S.AVAILABLE
        await world.inventory.assign(ONE, "ana", actor="x")

    play(postgres_url, scenario)


def test_settings_within_the_law_only() -> None:
    from config.sections import NumberSettings
    from numbering.inventory import check_quarantine_days
    from numbering.policy import COUNTRIES

    check_quarantine_days({"FR": 45, "BE": 60}, COUNTRIES)
    for wrong in ({"FR": 44}, {"FR": 121}, {"BE": 61}):
        with pytest.raises(ValueError, match="is not between"):
            check_quarantine_days(wrong, COUNTRIES)
    with pytest.raises(ValueError, match="is not a country"):
        NumberSettings(quarantine_days={"france": 60})


def test_the_settings_choose_the_period(database_url: str) -> None:
    from config.sections import NumberSettings

    async def scenario(world: World) -> None:
        await world.stock(ONE)
        await world.inventory.assign(ONE, "ana", actor="x")
        resting = await world.inventory.release(ONE, actor="x")
        assert resting.until == START + 90 * DAY

    play(database_url, scenario, settings=NumberSettings(quarantine_days={"FR": 90}))


def test_documents_and_inventory_write_the_same_numbers(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock()
        store = SqlProvisioningStore(world.engine, world.clock)
        text = f'[[number]]\ne164 = "{ONE}"\nuser = "ana"\nhide = true\n'
        await apply([Document("n", text)], store, plans=PLANS)
        number = await world.inventory.get(ONE)
        assert (number.user, number.state, number.hide) == ("ana", S.ACTIVE, True)
        assert (await world.words(ONE))[-1] == "assign"

    play(database_url, scenario)


@pytest.mark.rule("NUM-04")
def test_calls_see_a_change_within_a_second(database_url: str) -> None:
    """With the poller of a node, as it runs."""
    from numbering.cache import DirectoryCache
    from numbering.directory import Directory
    from numbering.store import SqlDirectorySource

    async def scenario(world: World) -> None:
        await world.stock(ONE)
        directory = Directory(plans=PLANS)
        cache = DirectoryCache(SqlDirectorySource(world.engine), directory, plans=PLANS, poll_seconds=0.3)
        await cache.load()
        poller = asyncio.create_task(cache.run())
        try:
            for change, state in (
                (world.inventory.assign(ONE, "ana", actor="x"), S.ACTIVE),
                (world.inventory.suspend(ONE, actor="x", reason="fraud"), S.SUSPENDED),
                (world.inventory.release(ONE, actor="x"), S.QUARANTINED),
            ):
                await change
                async with asyncio.timeout(1.0):
                    while (number := directory.number(ONE)) is None or number.state is not state:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            assert directory.numbers_of("ana") == ()
            assert directory.numbers_by_state()[S.QUARANTINED] == 1
        finally:
            poller.cancel()
            await asyncio.gather(poller, return_exceptions=True)

    play(database_url, scenario)
