"""Messages to lines on both databases: who carries them, how often they are tried, and what lines answer (NUM-10, NUM-11)."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbering.message import Message
from numbering.messages import Handover, Outcome, RetryPolicy, message_key, retry_in
from numbering.porting import PortState
from numbering.refusal import Fault, Refused
from numbering.rio import check_characters
from tests.support.inventory import ONE, World, play
from tests.support.postgres import database_url, postgres, postgres_url

__all__ = ["database_url", "postgres", "postgres_url"]

LINE = "+33639981299"
RIO = "04P000000" + check_characters("04", "P", "000000", "0639981299")
FRIDAY = date(2026, 11, 27)
P = PortState
TAKEN = Handover(outcome=Outcome.TAKEN)
POLICY = RetryPolicy(first_s=30, most_s=300, attempts=4)


class Sender:
    """Answers as it is told to; TAKEN when it is told nothing more."""

    def __init__(self, *answers: Handover) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str]] = []

    async def send(self, message: Message, key: str) -> Handover:
        self.sent.append((message.e164, key))
        await asyncio.sleep(0)
        return self.answers.pop(0) if self.answers else TAKEN


def no(why: str = "HTTP status 503", retry_after_s: float = 0.0) -> Handover:
    return Handover(outcome=Outcome.FAILED, why=why, retry_after_s=retry_after_s)


async def two_messages(world: World) -> str:
    """A question to a line that is to come, and a RIO; the id of the port."""
    await world.stock(ONE)
    await world.inventory.assign(ONE, "ana", actor="x")
    port = await world.ports.request(LINE, "zoe", RIO, FRIDAY, actor="x")
    await world.ports.tell_rio(ONE, actor="x")
    return port.id


@pytest.mark.rule("NUM-10", "NUM-11")
def test_a_sender_is_given_what_waits_once(database_url: str) -> None:
    async def scenario(world: World) -> None:
        port = await two_messages(world)
        sender = Sender()
        courier = world.courier(sender)
        assert await courier.round() == 2
        assert [to for to, _ in sender.sent] == [LINE, ONE]
        assert len({key for _, key in sender.sent}) == 2, "each has a key of its own"
        assert (await world.ports.get(port)).state is P.AWAITING_CONFIRMATION
        assert await courier.round() == 0
        assert courier.handed == {"taken": 2, "failed": 0, "refused": 0}
        assert await world.ports.messages() == []

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
def test_what_was_not_taken_is_tried_again_later_and_with_the_same_key(database_url: str) -> None:
    async def scenario(world: World) -> None:
        port = await world.ports.request(LINE, "zoe", RIO, FRIDAY, actor="x")
        sender = Sender(no(), no(retry_after_s=100.0), no(retry_after_s=1e6))
        courier = world.courier(sender, POLICY)
        waits = []
        for tries in range(1, 4):
            assert await courier.round() == 0
            (message,) = await world.ports.messages()
            assert (message.attempts, message.failure, message.given_up) == (tries, "HTTP status 503", False)
            waits.append(message.next_at - world.clock.now)
            world.clock.now = message.next_at - 1
            assert await courier.round() == 0, "not before its time"
            assert len(sender.sent) == tries
            world.clock.now = message.next_at
        assert waits == [30, 100, 300], "twice as long, or as it was asked for, up to the most"
        assert await courier.round() == 1
        assert len({key for _, key in sender.sent}) == 1
        assert (await world.ports.get(port.id)).state is P.AWAITING_CONFIRMATION
        assert courier.handed == {"taken": 1, "failed": 3, "refused": 0}

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
def test_one_that_fails_holds_up_no_other(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await two_messages(world)
        sender = Sender(no())
        assert await world.courier(sender).round() == 1
        (left,) = await world.ports.messages()
        assert left.e164 == LINE

    play(database_url, scenario)


@pytest.mark.parametrize(
    ("answers", "tries"),
    [([no()] * 4, 4), ([Handover(outcome=Outcome.REFUSED, why="HTTP status 422")], 1)],
    ids=["after so many tries", "when it is refused"],
)
def test_what_is_given_up_waits_for_people(answers: list[Handover], tries: int, database_url: str) -> None:
    async def scenario(world: World) -> None:
        await world.ports.request(LINE, "zoe", RIO, FRIDAY, actor="x")
        sender = Sender(*answers)
        courier, clock = world.courier(sender, POLICY), world.clockwork()
        for _ in range(10):
            await courier.round()
            world.clock.now += 1000
        assert len(sender.sent) == tries
        (message,) = await world.ports.messages()
        assert message.given_up
        await clock.tick()
        assert (clock.waiting_messages, clock.stuck_messages) == (1, 1)
        # somebody has looked, and has it tried again
        again = await world.ports.resend(message.id)
        assert (again.attempts, again.given_up) == (0, False)
        assert await courier.round() == 1
        await clock.tick()
        assert (clock.waiting_messages, clock.stuck_messages) == (0, 0)
        with pytest.raises(Refused) as caught:
            await world.ports.resend(message.id)
        assert caught.value.fault is Fault.WRONG_STATE

    play(database_url, scenario)


def test_people_may_send_what_was_given_up(database_url: str) -> None:
    async def scenario(world: World) -> None:
        port = await world.ports.request(LINE, "zoe", RIO, FRIDAY, actor="x")
        courier = world.courier(Sender(Handover(outcome=Outcome.REFUSED, why="HTTP status 400")))
        await courier.round()
        (message,) = await world.ports.messages()
        await world.ports.sent(message.id, actor="operator")
        assert (await world.ports.get(port.id)).state is P.AWAITING_CONFIRMATION

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
def test_only_the_node_on_duty_sends(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await world.ports.request(LINE, "zoe", RIO, FRIDAY, actor="x")
        one, two = world.clockwork("node-1"), world.clockwork("node-2")
        first, second = Sender(no()), Sender()
        couriers = [world.courier(first, POLICY, one), world.courier(second, POLICY, two)]
        await one.tick()
        await two.tick()
        for courier in couriers:
            await courier.round()
        assert (len(first.sent), len(second.sent)) == (1, 0)
        # that node dies; the other one takes over, and goes on where it was
        world.clock.now += 60
        await two.tick()
        one.on_duty = False
        for courier in couriers:
            await courier.round()
        assert (len(first.sent), len(second.sent)) == (1, 1)
        assert first.sent == second.sent, "with the key that the dead node used"

    play(database_url, scenario)


def test_a_duty_that_ends_in_the_middle_ends_the_round(database_url: str) -> None:
    async def scenario(world: World) -> None:
        await two_messages(world)
        duty = world.clockwork()
        await duty.tick()

        class Last(Sender):
            async def send(self, message: Message, key: str) -> Handover:
                duty.on_duty = False
                return await super().send(message, key)

        sender = Last()
        assert await world.courier(sender, duty=duty).round() == 1
        assert len(sender.sent) == 1

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
def test_a_port_that_ends_while_its_question_is_under_way(database_url: str) -> None:
    async def scenario(world: World) -> None:
        port = await world.ports.request(LINE, "zoe", RIO, FRIDAY, actor="x")

        class Slow(Sender):
            async def send(self, message: Message, key: str) -> Handover:
                await world.ports.cancel(port.id, actor="user:zoe")
                return await super().send(message, key)

        courier = world.courier(Slow())
        assert await courier.round() == 0
        assert courier.handed["taken"] == 1
        assert (await world.ports.get(port.id)).state is P.CANCELLED
        assert await world.ports.messages(waiting=False) == []

    play(database_url, scenario)


@pytest.mark.rule("NUM-10")
def test_a_line_that_says_yes_twice_has_said_it_once(database_url: str) -> None:
    async def scenario(world: World) -> None:
        port = await world.ports.request(LINE, "zoe", RIO, FRIDAY, actor="x")
        await world.courier(Sender()).round()
        first = await world.ports.reply(LINE, "OUI", actor="sms")
        again = await world.ports.reply(LINE, "oui.", actor="sms")
        assert first == again
        await world.ports.schedule(port.id, actor="x")
        late = await world.ports.reply(LINE, "yes", actor="sms")
        assert late is not None
        assert late.state is P.SCHEDULED
        assert [word for word in await world.words(LINE) if word == "port_confirmed"] == ["port_confirmed"]

    play(database_url, scenario)


@given(
    st.integers(1, 100),
    st.floats(0.1, 1e4),
    st.floats(1, 1e5),
    st.floats(0, 1e7),
)
def test_waits_grow_up_to_the_most(attempts: int, first: float, most: float, asked: float) -> None:
    policy = RetryPolicy(first_s=min(first, most), most_s=most)
    wait = retry_in(policy, attempts, asked)
    assert 0 < wait <= most
    assert wait >= min(asked, most)
    assert retry_in(policy, attempts + 1) >= retry_in(policy, attempts)


def test_keys_differ() -> None:
    one = Message(id=1, e164=LINE, kind="rio", body="x", created_at=1.0)
    others = [
        Message(id=2, e164=LINE, kind="rio", body="x", created_at=1.0),
        Message(id=1, e164=LINE, kind="rio", body="x", created_at=2.0),
    ]
    assert len({message_key(each) for each in (one, *others)}) == 3
    sent = Message(id=1, e164=LINE, kind="rio", body="x", created_at=1.0, attempts=3, sent_at=4.0)
    assert message_key(sent) == message_key(one)
