"""What a call leaves behind, and what it weighs while it is up."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.leg import Leg
from callcontrol.sip.message import Message
from callcontrol.sip.usage import Usage
from tests.scenarios import early, incoming, midcall, outgoing, races, transfers
from tests.scenarios.stage import ANA, CALLER, Scenario, Stage
from tests.support.party import Party

HELD_BYTES = 10 * 1024 + 512
"""Everything that a call which is up holds on to, its trace included; ladders have a budget of their own.

An eighth of it are the facts of its decisions, which its record is to have."""


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """Collects by hand, and keeps what had to be collected."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize(
    "scenario",
    [
        incoming.all_devices_ring_one_answers,
        incoming.busy_here,
        outgoing.failover_on_503,
        early.early_update_by_the_caller,
        midcall.hold_and_resume,
        races.answer_crosses_cancel,
        transfers.blind_transfer_by_the_callee_to_a_device,
        transfers.attended_transfer,
        transfers.invite_with_replaces,
    ],
)
def test_ended_calls_leave_no_cycles(scenario: Scenario, garbage: list[object]) -> None:
    stage = Stage()
    scenario(stage)
    stage.settle()
    gc.collect()
    cyclic = {type(each).__name__ for each in garbage if type(each).__module__.startswith("callcontrol.")}
    assert not cyclic


def test_nothing_of_an_ended_call_is_kept_but_its_record_and_its_ladder() -> None:
    stage = Stage()
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    for _ in range(5):
        call = carrier.call(ANA, caller=CALLER)
        stage.talk(carrier, call, ana)
        carrier.bye(call)
        stage.run(1.0)
    stage.settle()
    gc.collect()
    kept = [
        each for each in gc.get_objects() if isinstance(each, (Call, Leg, Usage)) and belongs(each, stage)
    ]
    assert not kept
    assert len(stage.world.records) == 5


def belongs(each: Call | Leg | Usage, stage: Stage) -> bool:
    """Made by this test: other tests may have failed and hold on to theirs."""
    refs = {record.call_ref for record in stage.world.records}
    match each:
        case Call():
            return each.ref in refs
        case Leg():
            return each.usage.scope.partition(".")[0] in refs
        case _:
            return each.scope.partition(".")[0] in refs


def deep_size(root: object) -> int:
    """Bytes of everything that only this object leads to; what all calls share, and single characters, are left out."""
    seen: set[int] = set()
    todo = [root]
    total = 0
    while todo:
        each = todo.pop()
        if id(each) in seen or isinstance(each, (type, CallEnv)) or each is None or callable(each):
            continue
        seen.add(id(each))
        interned = isinstance(each, (int, float)) or (isinstance(each, (str, bytes)) and len(each) < 2)
        if not interned:
            total += sys.getsizeof(each)
        todo.extend(gc.get_referents(each))
    return total


def test_a_call_that_is_up_is_light() -> None:
    stage = Stage()
    ana = stage.phone("ana-phone")
    carrier: Party = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.talk(carrier, call, ana)
    live = next(iter(stage.world.server.runner.calls.values()))
    size = deep_size(live)
    print(f"{size} bytes a held call")
    assert size <= HELD_BYTES
    found: list[object] = [live]
    seen: set[int] = set()
    while found:
        each = found.pop()
        if id(each) not in seen and not isinstance(each, (type, CallEnv)):
            seen.add(id(each))
            assert not isinstance(each, Message), "a call keeps no message that it received"
            found.extend(gc.get_referents(each))
    carrier.bye(call)
    stage.run(1.0)
    stage.settle()
