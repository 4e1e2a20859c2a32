"""Calls that wait for facts of the live store: answers, CANCEL, retransmission, and a store that says nothing."""

from __future__ import annotations

import dataclasses

import pytest

from callcontrol.live_facts import Asking, Done
from callcontrol.waiting_room import WAIT_S
from dialplan.facts import CalledNumber, CallFacts, GatewayFacts
from tests.simulation.test_simulation import INTERPRETED
from tests.support.party import SERVER, Dialog
from tests.support.world import World

TO = "+33639981001"


class Slow:
    """A source that every call asks, and that answers when the test says so.

    A number without an answer is refused as if it were a gateway number whose lease nobody knows.
    """

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.asked: list[tuple[CallFacts, str, Done]] = []

    def wants(self, facts: CallFacts) -> bool:
        return True

    def ask(self, facts: CallFacts, call_id: str, done: Done) -> None:
        self.asked.append((facts, call_id, done))
        if self.at_once:
            done(facts)

    def missing(self, facts: CallFacts) -> CallFacts:
        gateway = GatewayFacts(number=TO, kind="call_through", state="unavailable")
        return dataclasses.replace(facts, gateway=gateway)

    def answer(self, index: int = -1) -> None:
        facts, _, done = self.asked[index]
        done(facts)


class Scene:
    """A node whose calls all wait, a phone that is called and a carrier that calls."""

    def __init__(self, at_once: bool = False) -> None:
        self.world = World()
        self.slow = Slow(at_once)
        self.world.server.intake.live.append(self.slow)
        self.phone = self.world.phone("ana-phone")
        self.carrier = self.world.carrier()
        self.room = self.world.server.core.waiting_room

    def call(self, seconds: float = 0.5) -> Dialog:
        dialog = self.carrier.call(TO)
        self.world.run(seconds)
        return dialog


def test_what_is_at_hand_costs_no_turn() -> None:
    scene = Scene(at_once=True)
    scene.call(0.1)
    assert scene.phone.rang
    assert len(scene.room) == 0


def test_an_invite_waits_and_goes_on_when_the_facts_come() -> None:
    scene = Scene()
    dialog = scene.call()
    assert not scene.phone.rang
    assert len(scene.room) == 1
    assert 100 in dialog.statuses
    scene.slow.answer()
    scene.world.run(0.5)
    assert scene.phone.rang
    scene.phone.answer()
    scene.world.run(0.5)
    assert dialog.live
    scene.slow.answer()
    scene.world.run(0.5)
    assert len(scene.room) == 0
    assert scene.slow.asked[0][1] == dialog.call_id


def test_retransmissions_are_absorbed_meanwhile() -> None:
    scene = Scene()
    scene.world.network.link(scene.carrier.host, SERVER).fates = [(0.0, 0.1)]
    scene.call()
    assert len(scene.slow.asked) == 1
    scene.slow.answer()
    scene.world.run(0.3)
    assert len(scene.phone.dialogs) == 1


def test_a_caller_who_cancels_gets_487_at_once_and_leaves_a_record() -> None:
    scene = Scene()
    dialog = scene.call()
    scene.carrier.cancel(dialog)
    scene.world.run(0.2)
    assert 487 in dialog.statuses
    scene.slow.answer()
    scene.world.run(1.0)
    assert not scene.phone.rang
    (record,) = scene.world.records
    assert (record.reason, record.status, record.ended_by) == ("caller_cancelled", 487, "caller")
    assert '"live","cancelled"' in record.trace
    assert not scene.world.server.runner.calls or scene.world.run(40.0) is None


def test_a_store_that_says_nothing_has_a_deadline() -> None:
    scene = Scene()
    dialog = scene.call(WAIT_S - 0.2)
    assert len(scene.room) == 1
    scene.world.run(0.5)
    assert dialog.statuses[-1] == 503
    (record,) = scene.world.records
    assert record.reason == "unavailable"
    scene.slow.answer()
    scene.world.run(0.5)
    assert not scene.phone.rang
    assert (len(scene.room), scene.room.late) == (0, 1)


def test_those_who_wait_do_not_hold_up_each_other() -> None:
    scene = Scene()
    for _ in range(3):
        scene.call(0.1)
    scene.slow.answer(1)
    scene.world.run(0.2)
    assert len(scene.phone.dialogs) == 1
    assert len(scene.room) == 2


def facts() -> CallFacts:
    return CallFacts(source="trunk", now=0.0, called=CalledNumber(dialled="x"))


def named(name: str, base: CallFacts) -> CallFacts:
    return dataclasses.replace(base, trunk=f"{base.trunk}{name}")


class Named(Slow):
    """Adds its name to the facts, or its capital when it was not heard in time."""

    def __init__(self, name: str, *, at_once: bool = True, wanted: bool = True) -> None:
        super().__init__()
        self.name = name
        self.now = at_once
        self.wanted = wanted

    def wants(self, facts: CallFacts) -> bool:
        return self.wanted

    def ask(self, facts: CallFacts, call_id: str, done: Done) -> None:
        self.asked.append((facts, call_id, lambda _: done(named(self.name, facts))))
        if self.now:
            self.answer()

    def missing(self, facts: CallFacts) -> CallFacts:
        return named(self.name.upper(), facts)


def test_each_source_sees_what_those_before_it_found() -> None:
    asking = Asking([Named("a"), Named("b", wanted=False), Named("c")], facts(), "id")
    assert asking.over
    assert asking.facts.trunk == "ac"


def test_late_sources_go_on_one_after_the_other() -> None:
    first, second = Named("a", at_once=False), Named("b", at_once=False)
    told: list[str] = []
    asking = Asking([first, second], facts(), "id")
    asking.then(lambda: told.append(asking.facts.trunk))
    assert not second.asked
    first.answer()
    assert second.asked
    assert not told
    second.answer()
    second.answer()
    first.answer()
    assert told == ["ab"]


@pytest.mark.parametrize(("answered", "left"), [(False, "ABC"), (True, "aBC")])
def test_what_was_not_heard_in_time_is_missing(answered: bool, left: str) -> None:
    sources = [Named("a", at_once=False), Named("b", at_once=False), Named("c")]
    told: list[str] = []
    asking = Asking(sources, facts(), "id")
    asking.then(lambda: told.append("told"))
    if answered:
        sources[0].answer()
    asking.give_up()
    assert asking.over
    assert asking.facts.trunk == left
    sources[1 if answered else 0].answer()
    assert asking.facts.trunk == left
    assert not told


def spoilt(facts: CallFacts) -> CallFacts:
    """Facts that the dialplan cannot read."""
    return dataclasses.replace(facts, called=None)  # type: ignore[arg-type]


@pytest.mark.rule("OPS-05")
@pytest.mark.parametrize(
    "how", ["told", "late", "cancelled"] if INTERPRETED else ()
)  # compiled, there are none
def test_a_bug_that_one_call_meets_when_it_goes_on_is_told_to_it_alone(how: str) -> None:
    scene = Scene()
    told: list[Exception] = []
    scene.world.server.runner.defects.listener = told.append
    scene.slow.missing = spoilt  # type: ignore[method-assign]
    first, second = scene.call(0.1), scene.call()
    if how == "told":
        facts, _, done = scene.slow.asked[0]
        done(spoilt(facts))
    elif how == "cancelled":
        scene.carrier.cancel(first)
    scene.slow.answer(1)
    scene.world.run(WAIT_S + 1.0)
    assert first.status == 500
    assert len(told) == 1
    assert scene.phone.rang
    assert second.status < 300
    assert len(scene.room) == 0
