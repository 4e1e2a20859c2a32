"""Numbers that come and leave, on both databases (NUM-10, NUM-11)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from numbering.models import NumberState
from numbering.porting import CHANGED_MIND, DECLINED, INACTIVE_LINE, Port, PortState
from numbering.refusal import Fault, Refused
from numbering.rio import check_characters, read_rio
from tests.support.inventory import DAY, ONE, START, TWO, World, play
from tests.support.postgres import database_url, postgres, postgres_url

__all__ = ["database_url", "postgres", "postgres_url"]

LINE = "+33639981299"
RIO = "04P000000" + check_characters("04", "P", "000000", "0639981299")
FRIDAY = date(2026, 11, 27)
S, P = NumberState, PortState


async def refusal(attempt: object) -> Fault:
    with pytest.raises(Refused) as caught:
        await attempt  # type: ignore[misc]
    return caught.value.fault


async def request(world: World, on: date = FRIDAY, number: str = LINE) -> Port:
    return await world.ports.request(number, "ana", RIO, on, actor="user:ana")


async def asked(world: World) -> Port:
    """A port whose line has got its question."""
    port = await request(world)
    (message,) = await world.ports.messages()
    await world.ports.sent(message.id, actor="operator")
    return await world.ports.get(port.id)


@pytest.mark.rule("NUM-10")
def test_a_number_comes_at_its_date(database_url: str) -> None:
    async def scenario(world: World) -> None:
        port = await request(world)
        assert (port.state, port.rio, port.e164) == (P.REQUESTED, RIO, LINE)
        # Friday, at eight in the morning, in France
        assert port.port_at == START + 4 * DAY - 2 * 3600
        number = await world.inventory.get(LINE)
        assert (number.state, number.user, number.kept_for) == (S.PORTING_IN, "", "ana")
        (message,) = await world.ports.messages()
        assert message.e164 == LINE
        assert message.body == (
            f"Cloudline: reply YES to move {LINE} to us on 2026-11-27, NO to keep it where it is. Not you? Reply NO."
        )
        await world.ports.sent(message.id, actor="operator")
        waiting = await world.ports.get(port.id)
        assert (waiting.state, waiting.confirm_by) == (P.AWAITING_CONFIRMATION, START + 2 * DAY)
        assert await world.ports.messages() == []
        confirmed = await world.ports.reply(LINE, " Oui! ", actor="sms")
        assert confirmed is not None
        assert (confirmed.state, confirmed.confirm_by) == (P.CONFIRMED, 0.0)
        await world.ports.schedule(port.id, actor="operator")
        clock = world.clockwork()
        world.clock.now = port.port_at - 1
        assert await clock.tick() == 0
        world.clock.now = port.port_at
        assert await clock.tick() == 1
        number = await world.inventory.get(LINE)
        assert (number.state, number.user, number.held_since) == (S.ACTIVE, "ana", port.port_at)
        assert (await world.ports.get(port.id)).state is P.DONE
        assert await world.words(LINE) == [
            "request_port_in",
            "port_awaiting_confirmation",
            "port_confirmed",
            "port_scheduled",
            "complete_port_in",
        ]
        assert clock.done == {"port_done": 1}

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
@pytest.mark.parametrize("was_asked", [True, False])
def test_a_line_that_does_not_answer_keeps_its_number_where_it_is(database_url: str, was_asked: bool) -> None:
    async def scenario(world: World) -> None:
        port = await asked(world) if was_asked else await request(world)
        world.clock.now = START + 2 * DAY if was_asked else port.port_at
        assert await world.clockwork().tick() == 1
        port = await world.ports.get(port.id)
        assert (port.state, port.reason) == (P.CANCELLED, "not_confirmed")
        assert await refusal(world.inventory.get(LINE)) is Fault.UNKNOWN_NUMBER
        assert await world.ports.messages() == [], "nobody is asked any more"
        assert await refusal(world.ports.confirm(port.id, actor="x")) is Fault.WRONG_STATE
        # and it may be asked for again
        assert (await request(world, date(2026, 12, 4))).state is P.REQUESTED

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
def test_a_reply_of_no_ends_it_and_noise_does_not(database_url: str) -> None:
    async def scenario(world: World) -> None:
        port = await asked(world)
        assert await world.ports.reply(LINE, "Who are you?", actor="sms") is None
        assert await world.ports.reply(ONE, "yes", actor="sms") is None
        ended = await world.ports.reply(LINE, "NON", actor="sms")
        assert ended is not None
        assert (ended.id, ended.state, ended.reason) == (port.id, P.CANCELLED, DECLINED)

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
def test_a_late_yes_is_too_late(database_url: str) -> None:
    async def scenario(world: World) -> None:
        port = await asked(world)
        world.clock.now = port.confirm_by
        assert await refusal(world.ports.confirm(port.id, actor="x")) is Fault.TOO_LATE

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
def test_it_can_be_cancelled_until_48_hours_before(database_url: str) -> None:
    async def scenario(world: World) -> None:
        for before, possible in ((48 * 3600, True), (48 * 3600 - 1, False)):
            world.clock.now = START
            port = await request(world)
            await world.ports.confirm(port.id, actor="x")
            await world.ports.schedule(port.id, actor="x")
            world.clock.now = port.port_at - before
            if possible:
                ended = await world.ports.cancel(port.id, actor="user:ana")
                assert (ended.state, ended.reason) == (P.CANCELLED, CHANGED_MIND)
                assert await refusal(world.inventory.get(LINE)) is Fault.UNKNOWN_NUMBER
            else:
                assert await refusal(world.ports.cancel(port.id, actor="user:ana")) is Fault.TOO_LATE
                assert (await world.ports.get(port.id)).state is P.SCHEDULED

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
def test_what_is_refused_from_the_start(database_url: str) -> None:
    async def scenario(world: World) -> None:
        ask = world.ports.request
        await world.stock(ONE)
        bad = RIO[:-1] + ("A" if RIO[-1] != "A" else "B")
        assert await refusal(ask(LINE, "ana", bad, FRIDAY, actor="x")) is Fault.RIO
        assert await refusal(ask("+33639981298", "ana", RIO, FRIDAY, actor="x")) is Fault.RIO
        assert await refusal(ask(ONE, "ana", rio_of(ONE), FRIDAY, actor="x")) is Fault.HELD
        assert await refusal(ask("+447700900123", "ana", RIO, FRIDAY, actor="x")) is Fault.NOT_PORTABLE
        greeting = ask(LINE, "ana", RIO, FRIDAY, actor="x", for_greeting=True)
        assert await refusal(greeting) is Fault.NOT_PORTABLE
        assert await refusal(ask(LINE, "nobody", RIO, FRIDAY, actor="x")) is Fault.UNKNOWN_USER
        assert await refusal(ask(LINE, "ana", RIO, date(2026, 11, 25), actor="x")) is Fault.TOO_EARLY
        assert await refusal(ask(LINE, "ana", RIO, date(2027, 3, 1), actor="x")) is Fault.TOO_LATE
        assert (
            await refusal(ask(LINE, "ana", RIO, date(2026, 11, 29), actor="x")) is Fault.BAD_REQUEST
        )  # Sunday
        assert await refusal(ask(LINE, "ana", RIO, date(2026, 12, 25), actor="x")) is Fault.BAD_REQUEST
        await request(world)
        assert await refusal(request(world)) is Fault.PORTING
        await world.inventory.reserve([ONE], "ana", actor="x")
        third = "+33639981297"
        assert await refusal(ask(third, "ana", rio_of(third), FRIDAY, actor="x")) is Fault.LIMIT

    play(database_url, scenario)


def rio_of(number: str) -> str:
    return "04P000000" + check_characters("04", "P", "000000", "0" + number[3:])


@pytest.mark.rule("NUM-10")
def test_the_other_operator_refuses_or_does_not_agree_in_time(database_url: str) -> None:
    async def scenario(world: World) -> None:
        port = await request(world)
        ended = await world.ports.refuse(port.id, INACTIVE_LINE, actor="operator")
        assert (ended.state, ended.reason) == (P.REFUSED, INACTIVE_LINE)
        port = await request(world)
        await world.ports.confirm(port.id, actor="x")
        assert await refusal(world.ports.refuse(port.id, "moon", actor="x")) is Fault.BAD_REQUEST
        world.clock.now = port.port_at
        await world.clockwork().tick()
        ended = await world.ports.get(port.id)
        assert (ended.state, ended.reason) == (P.REFUSED, "not_scheduled")

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
def test_another_day_may_be_agreed(database_url: str) -> None:
    async def scenario(world: World) -> None:
        port = await request(world)
        await world.ports.confirm(port.id, actor="x")
        later = await world.ports.schedule(port.id, on=FRIDAY + timedelta(days=7), actor="x")
        assert later.port_at == port.port_at + 7 * DAY
        assert (
            await refusal(world.ports.schedule(port.id, on=date(2026, 11, 20), actor="x")) is Fault.TOO_EARLY
        )
        world.clock.now = port.port_at
        assert await world.clockwork().tick() == 0
        stale = world.ports.schedule(port.id, actor="x", version=port.version)
        assert await refusal(stale) is Fault.STALE

    play(database_url, scenario)


@pytest.mark.rule("NUM-11")
def test_a_line_learns_its_rio_also_for_some_weeks_after_its_end(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE, TWO)
        assert await refusal(world.ports.rio(ONE, actor="x")) is Fault.NO_RIO
        await world.inventory.assign(ONE, "ana", actor="x")
        await world.inventory.assign(TWO, "zoe", actor="x")
        rio = await world.ports.rio(ONE, actor="x")
        assert read_rio(str(rio), ONE) == rio
        assert (rio.operator, rio.quality) == ("ZZ", "E")
        assert (await world.ports.rio(TWO, actor="x")).quality == "P"
        assert await world.ports.rio(ONE, actor="x") == rio, "it is always the same"
        await world.inventory.suspend(ONE, actor="x", reason="unpaid")
        assert await world.ports.rio(ONE, actor="x") == rio, "nobody is kept from leaving"
        await world.inventory.release(ONE, actor="x")
        world.clock.days(40)
        assert await world.ports.rio(ONE, actor="x") == rio
        world.clock.days(1)
        assert await refusal(world.ports.rio(ONE, actor="x")) is Fault.NO_RIO

    play(database_url, scenario)


@pytest.mark.rule("NUM-11")
def test_who_asks_is_sent_his_rio_once(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE)
        await world.inventory.assign(ONE, "ana", actor="x")
        rio = await world.ports.tell_rio(ONE, actor="line")
        await world.ports.tell_rio(ONE, actor="line")
        (message,) = await world.ports.messages()
        assert (message.e164, message.kind, message.body) == (
            ONE,
            "rio",
            f"Cloudline: the RIO of {ONE} is {rio}.",
        )
        assert (await world.words(ONE))[-1] == "rio_sent"
        await world.ports.sent(message.id, actor="x")
        await world.ports.tell_rio(ONE, actor="line")
        assert len(await world.ports.messages()) == 1

    play(database_url, scenario)


@pytest.mark.rule("NUM-11")
def test_a_number_leaves_with_its_rio_and_its_holder(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE)
        await world.inventory.assign(ONE, "ana", actor="x")
        rio = str(await world.ports.rio(ONE, actor="x"))
        assert await refusal(world.ports.out(ONE, rio_of(ONE), START, actor="x")) is Fault.RIO
        port = await world.ports.out(ONE, rio, START + 2 * DAY, actor="gaining operator")
        assert port.state is P.SCHEDULED
        assert (await world.inventory.get(ONE)).state is S.ACTIVE, "it rings until the day"
        assert await refusal(world.ports.out(ONE, rio, START, actor="x")) is Fault.PORTING
        world.clock.days(2)
        assert await world.clockwork().tick() == 1
        gone = await world.inventory.get(ONE)
        assert (gone.state, gone.user, gone.kept_for) == (S.PORTED_OUT, "", "")
        directory = await world.directory()
        assert directory.numbers_of("ana") == ()
        # it may come back to us by a port, or by being given up elsewhere
        back = await world.ports.request(ONE, "zoe", rio_of(ONE), date(2026, 12, 4), actor="x")
        assert back.had_left
        await world.ports.cancel(back.id, actor="x")
        assert (await world.inventory.get(ONE)).state is S.PORTED_OUT, "it is remembered"
        resting = await world.ports.come_back(ONE, actor="x")
        assert (resting.state, resting.kept_for) == (S.QUARANTINED, "")

    play(database_url, scenario)


@pytest.mark.rule("NUM-11", "NUM-05")
def test_a_line_that_was_given_up_may_still_leave(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await world.stock(ONE)
        await world.inventory.assign(ONE, "ana", actor="x")
        await world.inventory.release(ONE, actor="x")
        world.clock.days(20)
        rio = str(await world.ports.rio(ONE, actor="x"))
        port = await world.ports.out(ONE, rio, START + 25 * DAY, actor="x")
        assert await refusal(world.inventory.take_back(ONE, "ana", actor="x")) is Fault.PORTING
        assert (await world.ports.cancel(port.id, actor="x")).state is P.CANCELLED
        assert (await world.ports.out(ONE, rio, 0.0, actor="x")).state is P.DONE
        assert (await world.inventory.get(ONE)).state is S.PORTED_OUT

    play(database_url, scenario)


def test_whom_it_was_for_is_gone(database_url: str) -> None:
    async def scenario(world: World) -> None:
        from callcontrol.provisioning import Document, SqlProvisioningStore, apply
        from tests.support.acme import PLANS
        from tests.support.inventory import PEOPLE

        port = await world.ports.request(LINE, "zoe", RIO, FRIDAY, actor="x")
        await world.ports.confirm(port.id, actor="x")
        await world.ports.schedule(port.id, actor="x")
        less = PEOPLE.replace('[[user]]\nref = "zoe"\naccount = "zoe"\n', "")
        store = SqlProvisioningStore(world.engine, world.clock)
        await apply([Document("less", less)], store, plans=PLANS, prune=True)
        world.clock.now = port.port_at
        await world.clockwork().tick()
        assert (await world.ports.get(port.id)).state is P.REFUSED
        assert await refusal(world.inventory.get(LINE)) is Fault.UNKNOWN_NUMBER

    play(database_url, scenario)
