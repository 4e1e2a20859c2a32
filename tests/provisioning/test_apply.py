"""Apply and export, against memory, SQLite and PostgreSQL: one suite for all three stores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from callcontrol.provisioning import (
    ChangeSet,
    Document,
    MemoryProvisioningStore,
    ProvisioningError,
    ProvisioningStore,
    SqlProvisioningStore,
    apply,
    export,
)
from config.database import create_engine
from config.sections import DatabaseSettings
from gateway.trunk import Prefix
from numbering.models import ANONYMOUS, NumberState
from tests.support.acme import ACME, PLANS, acme
from tests.support.schema import sqlite_url

T = TypeVar("T")
Run = Callable[[Callable[[ProvisioningStore], Awaitable[T]]], T]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run[object]:
    """Runs a scenario with an empty store of each kind."""

    def runner(scenario: Callable[[ProvisioningStore], Awaitable[T]]) -> T:
        async def body() -> T:
            if request.param == "memory":
                return await scenario(MemoryProvisioningStore())
            url = sqlite_url(tmp_path)
            if request.param == "postgresql":
                url = request.getfixturevalue("postgres_url")
            engine = create_engine(DatabaseSettings(url=url))
            try:
                return await scenario(SqlProvisioningStore(engine))
            finally:
                await engine.dispose()

        return asyncio.run(body())

    return runner


def keys(changes: ChangeSet) -> tuple[list[str], list[str], list[str]]:
    created, changed, removed = changes.created, changes.changed, changes.removed
    return [str(c) for c in created], [str(c) for c in changed], [str(c) for c in removed]


def test_apply_creates_everything_once(run: Run[None]) -> None:
    async def scenario(store: ProvisioningStore) -> None:
        first = await apply(acme(), store, plans=PLANS)
        assert keys(first)[0] == [
            "account acme",
            "user ana",
            "user ben",
            "device ana-phone",
            "device ben-desk",
            "number +33639981001",
            "number +33639981002",
            "trunk carrier-a",
        ]
        assert first.revision == 1
        second = await apply(acme(), store, plans=PLANS)
        assert not second
        assert second.revision == 0

        inventory = await store.read()
        number = inventory.numbers["+33639981001"]
        assert (number.user, number.ring_seconds, number.block) == ("ana", 30.0, ("+33639989999", ANONYMOUS))
        assert inventory.devices["ben-desk"].sip_password == "tres'secret"
        assert inventory.users["ben"].name == 'Ben "the" Example'
        trunk = inventory.trunks["carrier-a"]
        assert trunk.prefixes == (Prefix("+"), Prefix("+33", 0.012))
        assert (trunk.max_channels, trunk.max_cps) == (100, 50.0)

    run(scenario)


def test_changes_are_told_field_by_field_and_secrets_are_not(run: Run[None]) -> None:
    async def scenario(store: ProvisioningStore) -> None:
        await apply(acme(), store, plans=PLANS)
        text = ACME.replace('plan = "advanced"', 'plan = "standard"').replace('"secret"', '"other"')
        changes = await apply(acme(text.replace("hide = true", "block = []")), store, plans=PLANS)
        assert changes.lines() == [
            "~ account acme",
            "    plan: advanced -> standard",
            "~ device ana-phone",
            "    sip_password: (secret) -> (another)",
            "~ number +33639981002",
            "    hide: true -> false",
        ]
        assert changes.revision == 2

    run(scenario)


def test_a_dry_run_says_the_same_and_writes_nothing(run: Run[None]) -> None:
    async def scenario(store: ProvisioningStore) -> None:
        dry = await apply(acme(), store, plans=PLANS, dry_run=True)
        assert dry.revision == 0
        assert (await store.read()).users == {}
        wet = await apply(acme(), store, plans=PLANS)
        assert keys(dry) == keys(wet)

    run(scenario)


def test_prune_removes_what_is_not_named(run: Run[None]) -> None:
    async def scenario(store: ProvisioningStore) -> None:
        await apply(acme(), store, plans=PLANS)
        start, end = ACME.index('[[user]]\nref = "ben"'), ACME.index('[[device]]\nref = "ana-phone"')
        without_ben = ACME[:start] + ACME[end:]
        start = without_ben.index('[[device]]\nsip_username = "ben-desk"')
        without_ben = without_ben[:start] + without_ben[without_ben.index("[[number]]") :]
        start = without_ben.index('[[number]]\ne164 = "+33639981002"')
        without_ben = without_ben[:start]

        kept = await apply(acme(without_ben), store, plans=PLANS)
        assert not kept
        changes = await apply(acme(without_ben), store, plans=PLANS, prune=True)
        assert keys(changes) == (
            [],
            ["number +33639981002"],
            ["user ben", "device ben-desk", "trunk carrier-a"],
        )
        # A number that somebody held is not deleted: it rests (NUM-05).
        number = (await store.read()).numbers["+33639981002"]
        assert (number.state, number.user, number.kept_account) == (NumberState.QUARANTINED, "", "acme")
        assert set((await store.read()).users) == {"ana"}
        everything = await apply([], store, plans=PLANS, prune=True)
        assert [str(each) for each in everything.removed] == [
            "account acme",
            "user ana",
            "device ana-phone",
        ]
        left = await store.read()
        assert left.accounts == {}
        assert {each.state for each in left.numbers.values()} == {NumberState.QUARANTINED}

    run(scenario)


def test_nothing_is_done_when_something_is_wrong(run: Run[None]) -> None:
    async def scenario(store: ProvisioningStore) -> None:
        await apply(acme(), store, plans=PLANS)
        before = await store.read()
        # The new account is right; the user's account is not there, which only the whole shows.
        text = '[[account]]\nref = "new"\n[[user]]\nref = "x"\naccount = "gone"\n'
        with pytest.raises(
            ProvisioningError, match=r"acme.toml:5: user x: account: there is no account 'gone'"
        ):
            await apply(acme(text), store, plans=PLANS)
        assert await store.read() == before

    run(scenario)


def test_removing_what_others_need_names_them(run: Run[None]) -> None:
    async def scenario(store: ProvisioningStore) -> None:
        await apply(acme(), store, plans=PLANS)
        lonely = '[[account]]\nref = "acme"\n[[number]]\ne164 = "+33639981001"\nuser = "ana"\n'
        with pytest.raises(
            ProvisioningError, match=r"acme.toml:5: number \+33639981001: user: there is no user"
        ):
            await apply(acme(lonely), store, plans=PLANS, prune=True)

    run(scenario)


def test_a_conflict_with_an_object_of_the_database_is_found(run: Run[None]) -> None:
    async def scenario(store: ProvisioningStore) -> None:
        await apply(acme(), store, plans=PLANS)
        text = '[[device]]\nref = "another"\nuser = "ben"\nsip_username = "ana-phone"\n'
        with pytest.raises(ProvisioningError, match="'ana-phone' is taken by device ana-phone"):
            await apply(acme(text), store, plans=PLANS)

    run(scenario)


def test_two_devices_may_exchange_their_user_names(run: Run[None]) -> None:
    async def scenario(store: ProvisioningStore) -> None:
        one = '[[device]]\nref = "d1"\nuser = "ana"\nsip_username = "{}"\nsip_password = "x"\n'
        two = '[[device]]\nref = "d2"\nuser = "ana"\nsip_username = "{}"\nsip_password = "y"\n'
        await apply(acme(ACME + one.format("n1") + two.format("n2")), store, plans=PLANS)
        changes = await apply(acme(one.format("n2") + two.format("n1")), store, plans=PLANS)
        assert len(changes.changed) == 2
        devices = (await store.read()).devices
        assert (devices["d1"].sip_username, devices["d2"].sip_username) == ("n2", "n1")
        # And a name may pass from a device that goes to one that comes.
        third = ACME + one.format("n2") + '[[device]]\nref = "d3"\nuser = "ben"\nsip_username = "n1"\n'
        changes = await apply(acme(third), store, plans=PLANS, prune=True)
        assert keys(changes) == (["device d3"], [], ["device d2"])

    run(scenario)


def test_secrets_that_are_not_written_stay(run: Run[None]) -> None:
    async def scenario(store: ProvisioningStore) -> None:
        trunk = '[[trunk]]\nref = "t"\nusername = "carrier"\npassword = "pw"\n'
        await apply(acme(ACME + trunk), store, plans=PLANS)
        text = await export(store)
        assert "secret" not in text
        assert "pw" not in text
        assert not await apply([Document("export", text)], store, plans=PLANS, prune=True)
        inventory = await store.read()
        assert inventory.devices["ana-phone"].sip_password == "secret"
        assert inventory.trunks["t"].password == "pw"

    run(scenario)


def test_a_number_passes_to_another_user(run: Run[None]) -> None:
    async def scenario(store: ProvisioningStore) -> None:
        await apply(acme(), store, plans=PLANS)
        changes = await apply(acme('[[number]]\ne164 = "+33639981002"\nuser = "ana"\n'), store, plans=PLANS)
        assert changes.lines() == ["~ number +33639981002", "    user: ben -> ana", "    hide: true -> false"]

    run(scenario)


def test_applies_at_the_same_time_take_turns(postgres_url: str) -> None:
    async def body() -> None:
        engines = [create_engine(DatabaseSettings(url=postgres_url)) for _ in range(4)]
        try:
            await apply(acme(), SqlProvisioningStore(engines[0]), plans=PLANS)
            done = await asyncio.gather(
                *(
                    apply(
                        acme(f'[[number]]\ne164 = "+3363998200{index}"\nuser = "ana"\n'),
                        SqlProvisioningStore(engine),
                        plans=PLANS,
                    )
                    for index, engine in enumerate(engines)
                )
            )
            assert sorted(changes.revision for changes in done) == [2, 3, 4, 5]
        finally:
            for engine in engines:
                await engine.dispose()

    asyncio.run(body())


@pytest.mark.rule("DEV-01")
@pytest.mark.rule("DEV-03")
def test_what_a_call_has_verified_is_not_undone_by_documents_that_do_not_speak_of_it(run: Run[None]) -> None:
    text = (
        '[[account]]\nref = "a"\n[[user]]\nref = "u"\naccount = "a"\n'
        '[[device]]\nref = "d"\nuser = "u"\nsim = "+33639980001"\n'
    )

    async def scenario(store: ProvisioningStore) -> None:
        await apply([Document("1", text + "sim_verified = true\n")], store, plans=PLANS)
        assert not await apply([Document("2", text)], store, plans=PLANS)
        assert (await store.read()).devices["d"].sim_verified
        await apply([Document("3", text.replace("80001", "80002"))], store, plans=PLANS)
        assert not (await store.read()).devices["d"].sim_verified, "another SIM has to be verified again"
        await apply([Document("4", text + "sim_verified = true\n")], store, plans=PLANS)
        await apply([Document("5", text + "sim_verified = false\n")], store, plans=PLANS)
        assert not (await store.read()).devices["d"].sim_verified, "what is written counts"

    run(scenario)
