"""What documents may do to the lives of numbers, against memory and both databases where it matters."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from callcontrol.access.audit import Author
from callcontrol.provisioning import (
    ChangeSet,
    Document,
    MemoryProvisioningStore,
    ProvisioningError,
    SqlProvisioningStore,
    apply,
    export,
)
from numbering.lifecycle import LEGAL, Action
from numbering.models import NumberState, User
from tests.support.acme import PLANS
from tests.support.inventory import DAY, ONE, PEOPLE, START, TWO, World, play

S = NumberState


def held(number: str = ONE, user: str = "ana", more: str = "") -> str:
    return f'[[number]]\ne164 = "{number}"\nuser = "{user}"\n{more}'


def bare(number: str = ONE, more: str = "") -> str:
    return f'[[number]]\ne164 = "{number}"\n{more}'


async def put(world: World, text: str, *, prune: bool = False) -> ChangeSet:
    store = SqlProvisioningStore(world.engine, world.clock)
    author = Author(actor="cli:op")
    return await apply([Document("n", text)], store, plans=PLANS, prune=prune, author=author)


async def refused(world: World, text: str, *, prune: bool = False) -> str:
    with pytest.raises(ProvisioningError) as caught:
        await put(world, text, prune=prune)
    return str(caught.value)


@pytest.mark.rule("NUM-04")
def test_numbers_without_a_user_are_the_stock(database_url: str) -> None:
    async def scenario(world: World) -> None:
        changes = await put(world, bare() + bare("+33639981111"))
        assert [str(each) for each in changes.created] == ["number +33639981111", f"number {ONE}"]
        found = await world.inventory.finder.search()
        assert [(each.number.e164, each.number.category) for each in found] == [
            ("+33639981111", "vip"),
            (ONE, "standard"),
        ]
        assert not await put(world, bare() + bare("+33639981111"))
        await put(world, held(more="hide = true\n"))
        number = await world.inventory.get(ONE)
        assert (number.state, number.user, number.hide, number.held_since) == (S.ACTIVE, "ana", True, START)
        (_, event), *_ = await world.inventory.history(ONE)
        assert (event.action, event.actor, event.reason) == ("assign", "cli:op", "as the documents say")

    play(database_url, scenario)


@pytest.mark.rule("NUM-05")
def test_a_user_line_that_is_taken_out_gives_the_number_up(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await put(world, held(more='hide = true\nblock = ["anonymous"]\n'))
        changes = await put(world, bare())
        lines = changes.lines()
        assert lines[0] == f"~ number {ONE}"
        assert "    state: active -> quarantined" in lines
        assert "    user: ana -> (none)" in lines
        assert any(line.startswith("    until: (none) -> 2027-01-22T") for line in lines)
        number = await world.inventory.get(ONE)
        assert (number.kept_for, number.kept_account, number.hide, number.block) == ("ana", "acme", False, ())
        assert not await put(world, bare()), "it rests, and the document still says nothing else"
        assert "only its former holder" in await refused(world, held(user="zoe"))
        world.clock.days(5)
        await put(world, held())
        back = await world.inventory.get(ONE)
        assert (back.state, back.user, back.held_since) == (S.ACTIVE, "ana", START + 5 * DAY)
        assert await world.words(ONE) == ["assign", "release", "take_back"]

    play(database_url, scenario)


@pytest.mark.rule("NUM-05")
def test_prune_gives_up_what_is_held_and_forgets_the_stock(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await put(world, held() + bare(TWO))
        changes = await put(world, PEOPLE, prune=True)
        assert [str(each) for each in changes.changed] == [f"number {ONE}"]
        assert [str(each) for each in changes.removed] == [f"number {TWO}"]
        assert not await put(world, PEOPLE, prune=True)
        world.clock.days(130)
        await world.clockwork().tick()
        changes = await put(world, PEOPLE, prune=True)
        assert [str(each) for each in changes.removed] == [f"number {ONE}"]
        assert await world.words(ONE) == ["assign", "release", "end_quarantine", "withdraw"]

    play(database_url, scenario)


@pytest.mark.rule("NUM-05")
def test_another_person_with_the_same_ref_has_no_privilege(database_url: str) -> None:
    """Zoe goes, her number rests; later somebody else is called zoe."""

    async def scenario(world: World) -> None:
        await put(world, held(user="zoe"))
        without = PEOPLE.replace('[[user]]\nref = "zoe"\naccount = "zoe"\n', "")
        await put(world, without.replace('[[account]]\nref = "zoe"\n', ""), prune=True)
        number = await world.inventory.get(ONE)
        assert (number.state, number.kept_for, number.kept_account) == (S.QUARANTINED, "", "")
        await put(world, PEOPLE)
        assert not any(each.formerly_yours for each in await world.inventory.finder.search(user="zoe"))
        assert "only its former holder" in await refused(world, held(user="zoe"))

    play(database_url, scenario)


@pytest.mark.rule("NUM-05")
def test_who_stays_in_the_company_keeps_nothing_of_the_number(database_url: str) -> None:
    async def scenario(world: World) -> None:
        default = f'[[user]]\nref = "ana"\naccount = "acme"\ndefault_number = "{ONE}"\n'
        linked = f'[user.contacts]\n"+33199001234" = "{ONE}"\n'
        await put(world, default + linked + held())
        await put(world, bare())
        ana = (await world.directory()).user("ana")
        assert ana == User(ref="ana", account="acme")

    play(database_url, scenario)


@pytest.mark.rule("NUM-06", "NUM-03")
def test_within_a_company_a_number_passes_on_and_between_companies_not(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await put(world, held(more="hide = true\n"))
        world.clock.days(1)
        await put(world, held(user="ben"))
        number = await world.inventory.get(ONE)
        assert (number.user, number.hide, number.held_since) == ("ben", False, START + DAY)
        text = await refused(world, held(user="rita"))
        assert text.startswith(
            "n:3: number +33639981201: user: it is held by 'ben' of account 'acme'; a number passes"
        )
        assert (await world.inventory.get(ONE)).user == "ben"

    play(database_url, scenario)


@pytest.mark.rule("NUM-12", "NUM-13")
def test_suspension_and_subscription_in_documents(database_url: str) -> None:
    async def scenario(world: World) -> None:
        end = "expires_at = 2026-12-31T00:00:00Z\n"
        at = datetime(2026, 12, 31, tzinfo=UTC).timestamp()
        await put(world, held(more='state = "suspended"\n' + end))
        number = await world.inventory.get(ONE)
        assert (number.state, number.expires_at) == (S.SUSPENDED, at)
        await put(world, held())
        assert (await world.inventory.get(ONE)).state is S.SUSPENDED, (
            "documents that are silent change nothing"
        )
        await put(world, held(more='state = "active"\n'))
        assert (await world.inventory.get(ONE)).state is S.ACTIVE
        world.clock.now = at
        await world.clockwork().tick()
        assert not await put(world, held(more=end))
        await put(world, held(more="expires_at = 2027-12-31\n"))
        assert (await world.inventory.get(ONE)).state is S.ACTIVE
        await put(world, held(more="expires_at = 2026-12-30T00:00:00+01:00\n"))
        assert (await world.inventory.get(ONE)).state is S.EXPIRED
        text = await export(SqlProvisioningStore(world.engine, world.clock))
        assert "expires_at = 2026-12-29T23:00:00Z" in text

    play(database_url, scenario)


@pytest.mark.rule("NUM-04")
def test_what_a_request_has_made_a_document_leaves_alone(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE, TWO)
        await world.inventory.reserve([ONE], "ana", actor="x")
        await world.inventory.assign(TWO, "zoe", actor="x")
        rio = str(await world.ports.rio(TWO, actor="x"))
        await world.ports.out(TWO, rio, 0.0, actor="x")
        assert not await put(world, bare() + bare(TWO))
        assert "is reserved" in await refused(world, held(user="ben"))
        assert "is ported_out" in await refused(world, held(TWO, "zoe"))
        await put(world, held())
        assert (await world.inventory.get(ONE)).state is S.ACTIVE

    play(database_url, scenario)


PROBLEMS = [
    (bare(more="hide = true\n"), "hide: only a number with a user has it"),
    (bare(more='state = "active"\n'), "state: no number without a user is active"),
    (held(more='state = "quarantined"\n'), "state: a number with a user is not quarantined"),
    (bare(more='state = "reserved"\n'), "state: reserved is not made by a document"),
    (held(more='state = "expired"\n'), "state: expired is not made by a document"),
    (bare(more='state = "gone"\n'), "state: 'gone' is none of"),
    (held(more='expires_at = "soon"\n'), "expires_at: is no time"),
    (held(more="expires_at = 2026-12-31T00:00:00\n"), "expires_at: is no time"),
    (bare(more='category = "gold"\n'), "category: 'gold' is none of standard, vip"),
]


@pytest.mark.parametrize(("text", "complaint"), PROBLEMS)
def test_what_no_document_may_say(text: str, complaint: str) -> None:
    async def body() -> None:
        with pytest.raises(ProvisioningError) as caught:
            await apply([Document("n", PEOPLE + text)], MemoryProvisioningStore(), plans=PLANS)
        assert complaint in str(caught.value)

    asyncio.run(body())


def test_numbers_of_another_system_are_brought_in_as_they_are(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await put(world, bare(more='state = "quarantined"\n') + bare(TWO, 'state = "ported_out"\n'))
        one, two = await world.inventory.get(ONE), await world.inventory.get(TWO)
        assert (one.state, one.kept_for, two.state) == (S.QUARANTINED, "", S.PORTED_OUT)
        assert one.until == world.inventory.quarantine_until(ONE, START)
        store = SqlProvisioningStore(world.engine, world.clock)
        text = await export(store)
        assert not await apply([Document("again", text)], store, plans=PLANS, prune=True)
        assert "no document makes it quarantined" in await refused(
            world, bare(TWO, 'state = "quarantined"\n')
        )
        assert "no document makes it ported_out" in await refused(world, bare(ONE, 'state = "ported_out"\n'))

    play(database_url, scenario)


def test_every_recorded_step_is_one_of_the_table(database_url: str) -> None:
    """Whatever a document makes of a number in one go, its history has the legal steps between."""

    async def scenario(world: World) -> None:
        numbers = [f"+3363998{line:04d}" for line in range(2100, 2108)]
        await put(
            world,
            "".join(
                [
                    bare(numbers[0]),
                    held(numbers[1], "zoe", 'state = "suspended"\n'),
                    held(numbers[2], "zoe", "expires_at = 2020-01-01\n"),
                    bare(numbers[3], 'state = "quarantined"\n'),
                    held(numbers[4], "rita"),
                ]
            ),
        )
        await world.inventory.release(numbers[4], actor="x")
        await world.inventory.add([numbers[5]], actor="x")
        await world.inventory.reserve([numbers[5]], "zoe", actor="x")
        await put(
            world,
            held(numbers[0], "zoe", 'state = "suspended"\n')
            + held(numbers[4], "rita", 'state = "suspended"\n')
            + held(numbers[1], "zoe", 'state = "active"\nexpires_at = 2020-01-01\n'),
        )
        await put(world, PEOPLE, prune=True)
        for number in numbers[:6]:
            state: NumberState | None = None
            for _, event in reversed(await world.inventory.history(number)):
                assert event.before is state, (number, event)
                assert event.after in LEGAL[Action(event.action)][event.before], (number, event)
                state = event.after

    play(database_url, scenario)
