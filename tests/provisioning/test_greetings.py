"""Greetings in documents: what is read, what is refused, and the life of their numbers."""

from __future__ import annotations

import asyncio

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
from callcontrol.provisioning.editing import Editor
from numbering import lifecycle
from numbering.hours import Hours, Span, WeeklySlot
from numbering.models import Flow, FlowAction, Greeting, GreetingMember, NumberState, Strategy
from numbering.refusal import Refused
from tests.support.acme import PLANS
from tests.support.inventory import ONE, TWO, World, play
from tests.support.inventory import PEOPLE as STARTERS

S = NumberState
PEOPLE = STARTERS.replace('plan = "starter"', 'plan = "standard"')
HEAD = "+33639987000"
MEMBERS = 'members = ["ana", "ben"]\n'


def greeting(more: str = MEMBERS, number: str = HEAD, account: str = "acme") -> str:
    return f'[[greeting]]\nnumber = "{number}"\naccount = "{account}"\n{more}'


def numbered(e164: str = HEAD, more: str = "") -> str:
    return f'[[number]]\ne164 = "{e164}"\n{more}'


async def put(world: World, text: str, *, prune: bool = False) -> ChangeSet:
    store = SqlProvisioningStore(world.engine, world.clock)
    return await apply([Document("n", text)], store, plans=PLANS, prune=prune, author=Author(actor="test"))


async def refused(world: World, text: str, *, prune: bool = False) -> str:
    before = await SqlProvisioningStore(world.engine, world.clock).read()
    with pytest.raises(ProvisioningError) as caught:
        await put(world, text, prune=prune)
    assert await SqlProvisioningStore(world.engine, world.clock).read() == before
    return "\n".join(map(str, caught.value.problems))


async def again(world: World, text: str) -> None:
    """What was put is exported, and the export changes nothing."""
    assert not await put(world, text)
    store = SqlProvisioningStore(world.engine, world.clock)
    assert not await put(world, await export(store, secrets=True), prune=True)


# -- what is read -----------------------------------------------------------------------------------------


@pytest.mark.rule("GRT-01", "GRT-05", "GRT-06", "GRT-09")
def test_everything_that_a_greeting_has(database_url: str) -> None:
    text = PEOPLE + greeting(
        'strategy = "priority"\nring_seconds = 15\nrepeat = 2\nlimit_seconds = 120\nzone = "Europe/Paris"\n'
        'holidays = ["FR"]\nblock = ["anonymous"]\nspam = ["+3316*"]\n'
        '[[greeting.member]]\nuser = "ana"\n[[greeting.member]]\nuser = "ben"\npriority = 2\nring_seconds = 9\n'
        '[[greeting.open]]\ndays = ["mon", "tue"]\nfrom = "09:00"\nto = "18:00"\n'
        "[[greeting.special]]\ndate = 2026-12-24\nclosed = true\n"
        '[greeting.closed]\naction = "forward"\nto = "01 99 00 12 34"\n'
        '[greeting.unanswered]\naction = "announce"\nto = "nobody-there"\n'
    )

    async def steps(world: World) -> None:
        changes = await put(world, text)
        assert [each.key for each in changes.created if each.kind == "greeting"] == [HEAD]
        assert [warning.partition("there")[2] for warning in changes.warnings] == [
            " is no announcement server: callers are refused until media.announcement_uri names one"
        ]
        directory = await world.directory()
        found = directory.greeting(HEAD)
        assert found is not None
        assert found.hours is not None
        assert found.hours.slots == (WeeklySlot(days=(0, 1), span=Span(start=540, end=1080)),)
        assert (found.hours.zone, found.hours.holidays) == ("Europe/Paris", ("FR",))
        assert found == Greeting(
            number=found.number,
            account="acme",
            strategy=Strategy.PRIORITY,
            members=(
                GreetingMember(user="ana"),
                GreetingMember(user="ben", priority=2, ring_seconds=9.0),
            ),
            ring_seconds=15.0,
            repeat=2,
            limit_seconds=120.0,
            hours=Hours(
                zone="Europe/Paris",
                slots=found.hours.slots,
                holidays=("FR",),
                special=found.hours.special,
            ),
            closed=Flow(action=FlowAction.FORWARD, to="+33199001234"),
            unanswered=Flow(action=FlowAction.ANNOUNCE, to="nobody-there"),
            block=("anonymous",),
            spam=("+3316*",),
        )
        assert directory.greetings_of_member("ben") == directory.greetings_of("acme") == (found,)
        number = directory.number(HEAD)
        assert number is not None
        assert (number.state, number.user, number.account) == (S.ACTIVE, "", "acme")
        await again(world, text)

    play(database_url, steps)


WRONG = [
    (greeting(""), "n:{}: greeting +33639987000: members: there is nobody to hunt for"),
    (greeting("members = []\nstrategy = 'random'\n"), "strategy: 'random' is none of cascade, simultaneous"),
    (greeting('members = ["ana", "ana"]\n'), "members: 'ana' is named twice"),
    (greeting('members = ["ana", "a b"]\n'), "members: 'a b' is not a ref"),
    (greeting('members = ["ana", "zoe"]\n'), "members: 'zoe' belongs to the account 'zoe', not to 'acme'"),
    (greeting('members = ["nobody"]\n'), "members: there is no user 'nobody'"),
    (greeting(MEMBERS + "[[greeting.member]]\nuser = 'ana'\n"), "member: members are written already"),
    (greeting("[[greeting.member]]\nuser = 'ana'\nprio = 1\n"), "member: prio: unknown key"),
    (greeting(MEMBERS + "repeat = 101\n"), "repeat: 101 is not between 0 and 100"),
    (greeting(MEMBERS + "ring_seconds = 0\n"), "ring_seconds: 0 is not between 1 and 600"),
    (greeting(account="nobody"), "account: there is no account 'nobody'"),
    (greeting(account="zoe", more='members = ["zoe"]\n'), "account: 'zoe' is no company"),
    (
        greeting(MEMBERS + "[[greeting.open]]\ndays = ['mon']\nfrom = '09:00'\nto = '09:14'\n"),
        "open: to: 09:00-09:14 is shorter than 15 minutes",
    ),
    (greeting(MEMBERS + "holidays = ['FR']\n"), "these are exceptions from [[greeting.open]]"),
    (greeting(MEMBERS + "zone = 'Paris'\n"), "zone: 'Paris' is not a time zone"),
    (greeting(MEMBERS + "[greeting.closed]\nto = '+33199001234'\n"), "closed: action: is missing"),
    (greeting(MEMBERS + "[greeting.closed]\naction = 'forward'\n"), "closed: to: is missing"),
    (
        greeting(MEMBERS + "[greeting.closed]\naction = 'refuse'\nto = 'x'\n"),
        "closed: to: refuse has no target (leave it out",
    ),
    (greeting(MEMBERS + "[greeting.unanswered]\naction = 'hunt'\n"), "this is when a hunt has found nobody"),
    (
        greeting(MEMBERS + f"[greeting.closed]\naction = 'forward'\nto = '{HEAD}'\n"),
        "closed: to: +33639987000 is the number itself",
    ),
    (greeting(MEMBERS + "strategi = 'x'\n"), "strategi: unknown key (did you mean 'strategy'?)"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said[:40] for _, said in WRONG])
@pytest.mark.rule("GRT-04", "GRT-05", "GRT-06")
def test_a_mistake_is_named(text: str, said: str) -> None:
    with pytest.raises(ProvisioningError) as caught:
        asyncio.run(apply([Document("n", PEOPLE + text)], MemoryProvisioningStore(), plans=PLANS))
    assert said.format(PEOPLE.count("\n") + 1) in str(caught.value)


@pytest.mark.rule("GRT-08")
def test_only_plans_that_include_greetings(database_url: str) -> None:
    async def steps(world: World) -> None:
        told = await refused(world, STARTERS + greeting())
        assert "account: the plan 'starter' of 'acme' includes no Greetings (plans that do: advanced" in told
        await put(world, PEOPLE + greeting())
        assert "includes no Greetings" in await refused(world, STARTERS)

    play(database_url, steps)


@pytest.mark.rule("GRT-07")
def test_numbers_that_a_greeting_may_have(database_url: str) -> None:
    landline, machine = "+331" + "23456789", "+33700" + "0123456789"

    async def steps(world: World) -> None:
        told = await refused(world, PEOPLE + greeting(number=landline))
        assert f"number: {landline} cannot be the number of a Greeting in FR" in told
        assert "numbers that can: +337… and +339…" in told
        assert "is a number of machines" in await refused(world, PEOPLE + greeting(number=machine))
        for number in ("+337" + "56789012", "+339" + "70123456"):
            await put(world, PEOPLE + greeting(number=number))
        # what is kept for fiction is legal everywhere
        await put(world, PEOPLE + greeting(number="+33199001299") + greeting())

    play(database_url, steps)


# -- the life of its number -------------------------------------------------------------------------------


@pytest.mark.rule("NUM-04", "NUM-05")
def test_a_number_of_the_stock_becomes_the_greetings_and_rests_afterwards(database_url: str) -> None:
    async def steps(world: World) -> None:
        await put(world, PEOPLE + numbered())
        await put(world, PEOPLE + greeting() + numbered())
        await again(world, PEOPLE + greeting() + numbered())
        assert (await world.inventory.get(HEAD)).account == "acme"
        await put(world, PEOPLE, prune=True)
        number = await world.inventory.get(HEAD)
        assert (number.state, number.account, number.kept_for, number.kept_account) == (
            S.QUARANTINED,
            "",
            "",
            "acme",
        )
        assert number.until > world.clock()
        assert (await world.directory()).greeting(HEAD) is None
        # nobody else gets it, the company may take it back
        other = PEOPLE + greeting('members = ["rita"]\n', account="rival")
        assert "only its former holder may take it back" in await refused(world, other)
        await put(world, PEOPLE + greeting())
        assert await world.words(HEAD) == ["add", "assign", "release", "take_back"]

    play(database_url, steps)


@pytest.mark.rule("NUM-05")
def test_the_next_company_gets_nothing_of_the_former(database_url: str) -> None:
    async def steps(world: World) -> None:
        await put(world, PEOPLE + greeting(MEMBERS + 'block = ["anonymous"]\n'))
        await put(world, PEOPLE, prune=True)
        world.clock.days(130)
        await world.clockwork().tick()
        await put(world, PEOPLE + greeting('members = ["rita"]\n', account="rival"))
        directory = await world.directory()
        found = directory.greeting(HEAD)
        assert found is not None
        assert (found.account, found.block) == ("rival", ())
        assert directory.greetings_of_member("ana") == directory.greetings_of("acme") == ()

    play(database_url, steps)


@pytest.mark.rule("NUM-03", "GRT-07")
def test_a_number_is_a_greetings_or_a_users(database_url: str) -> None:
    async def steps(world: World) -> None:
        held = numbered(ONE, 'user = "ana"\n')
        told = await refused(world, PEOPLE + held + greeting(number=ONE))
        assert "is the number of a Greeting and held by user 'ana': a number has exactly one holder" in told
        await put(world, PEOPLE + held)
        assert "held by user 'ana'" in await refused(world, PEOPLE + greeting(number=ONE))
        # without its user it passes on within the company, and not to another one
        assert "has a holder" in await refused(
            world, PEOPLE + numbered(ONE) + greeting('members = ["rita"]\n', ONE, "rival")
        )
        await put(world, PEOPLE + numbered(ONE) + greeting(number=ONE))
        assert await world.words(ONE) == ["assign", "reassign"]
        assert "held by user 'ben'" in await refused(world, PEOPLE + numbered(ONE, 'user = "ben"\n'))
        # without its Greeting somebody of the company may have it at once
        await put(world, PEOPLE + numbered(ONE, 'user = "ben"\n'), prune=True)
        assert (await world.inventory.get(ONE)).user == "ben"
        assert await world.words(ONE) == ["assign", "reassign", "release", "take_back"]

    play(database_url, steps)


@pytest.mark.rule("NUM-12", "NUM-13")
def test_its_number_is_suspended_and_expires_as_any(database_url: str) -> None:
    async def steps(world: World) -> None:
        text = PEOPLE + greeting() + numbered(more='state = "suspended"\nexpires_at = 2030-01-01T00:00:00Z\n')
        await put(world, text)
        number = await world.inventory.get(HEAD)
        assert (number.state, number.expires_at) == (S.SUSPENDED, 1893456000.0)
        await again(world, text)
        await put(world, text.replace('"suspended"', '"active"'))
        assert (await world.inventory.get(HEAD)).state is S.ACTIVE
        world.clock.days(1500)
        await world.clockwork().tick()
        assert (await world.inventory.get(HEAD)).state is S.EXPIRED
        assert (await world.directory()).greeting(HEAD) is not None

    play(database_url, steps)


@pytest.mark.rule("NUM-10", "GRT-07")
def test_its_number_is_released_by_removing_it_and_cannot_be_ported_in(database_url: str) -> None:
    async def steps(world: World) -> None:
        await put(world, PEOPLE + greeting())
        with pytest.raises(Refused, match="remove the Greeting, and its number is released"):
            await world.inventory.release(HEAD, actor="test")
        with pytest.raises(Refused, match="is the number of a Greeting, and no user's"):
            await world.inventory.reassign(HEAD, "ana", with_history=False, actor="test")
        with pytest.raises(Refused, match="has a holder"):
            await world.inventory.assign(HEAD, "ana", actor="test")

    play(database_url, steps)


@pytest.mark.rule("NUM-13")
def test_a_suspended_company_is_written_into_the_history_of_its_number(database_url: str) -> None:
    async def steps(world: World) -> None:
        await put(world, PEOPLE + greeting())
        assert await world.inventory.suspend_account("acme", actor="test", reason="unpaid") == 1
        assert await world.words(HEAD) == ["assign", "account_suspended"]

    play(database_url, steps)


@pytest.mark.rule("NUM-10", "NUM-11", "GRT-07")
def test_a_number_that_leaves_takes_its_greeting_along(database_url: str) -> None:
    async def steps(world: World) -> None:
        await put(world, PEOPLE + greeting())
        async with world.store.work() as work:
            number = await work.number(HEAD)
            assert number is not None
            gone = lifecycle.port_out(number, world.inventory.cause("test", "left"))
            await world.inventory.put(work, number, gone)
        directory = await world.directory()
        assert (directory.greeting(HEAD), directory.greetings_of("acme")) == (None, ())
        assert "is ported_out" in await refused(world, PEOPLE + greeting())

    play(database_url, steps)


@pytest.mark.rule("GRT-04")
def test_a_member_is_taken_out_before_he_goes(database_url: str) -> None:
    async def steps(world: World) -> None:
        await put(world, PEOPLE + greeting('members = ["ben"]\n'))
        without = PEOPLE.replace('[[user]]\nref = "ben"\naccount = "acme"\n', "")
        assert without != PEOPLE
        told = await refused(
            world, without + greeting('members = ["ana"]\n').replace("ana", "ben"), prune=True
        )
        assert "members: there is no user 'ben' (take him out of the members first)" in told
        editor = Editor(SqlProvisioningStore(world.engine, world.clock), PLANS)
        author = Author(actor="test")
        with pytest.raises(ProvisioningError, match="there is no user 'ben'"):
            await editor.remove("user", "ben", lambda item: None, author)
        with pytest.raises(ProvisioningError, match="'ben' belongs to the account 'rival'"):
            await editor.change("user", "ben", {"account": "rival"}, lambda item: None, author)
        await editor.change("greeting", HEAD, {"members": ["ana"]}, lambda item: None, author)
        await editor.remove("user", "ben", lambda item: None, author)
        assert (await world.directory()).greetings_of_member("ben") == ()

    play(database_url, steps)


@pytest.mark.rule("NUM-05")
def test_removing_it_alone_quarantines_its_number(database_url: str) -> None:
    async def steps(world: World) -> None:
        await put(world, PEOPLE + greeting() + numbered(TWO))
        editor = Editor(SqlProvisioningStore(world.engine, world.clock), PLANS)
        edited = await editor.remove("greeting", HEAD, lambda item: None, Author(actor="test"))
        assert [str(each) for each in edited.changes.changed] == [f"number {HEAD}"]
        number = await world.inventory.get(HEAD)
        assert (number.state, number.kept_account) == (S.QUARANTINED, "acme")

    play(database_url, steps)
