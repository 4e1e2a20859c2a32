"""What every occupancy promises: who is busy in which call, who is idle since when, whose turn it is."""

from __future__ import annotations

import pytest

from callcontrol.live.occupancy import SharedOccupancy
from callcontrol.occupancy import MemoryOccupancy, Occupancy
from dialplan.plan import FREE, OFFERED, TALKING
from tests.support.shared_log import LocalLog

pytestmark = pytest.mark.rule("GRT-10")

NOW = 1_800_000_000.0
LATER = NOW + 1000.0


@pytest.fixture(params=["memory", "shared", "elsewhere"])
def pair(request: pytest.FixtureRequest) -> tuple[Occupancy, Occupancy]:
    """Where it is said, and where it is asked."""
    if request.param == "memory":
        one = MemoryOccupancy()
        return one, one
    log = LocalLog()
    nodes = [SharedOccupancy(log, node.occupancy) for node in log.nodes]
    return nodes[0], nodes[1 if request.param == "elsewhere" else 0]


def test_the_busiest_call_counts(pair: tuple[Occupancy, Occupancy]) -> None:
    says, asked = pair
    assert asked.busy("ana", NOW) == FREE
    says.set("one", "ana", OFFERED, LATER, NOW)
    assert asked.busy("ana", NOW) == OFFERED
    says.set("two", "ana", TALKING, LATER, NOW)
    assert asked.busy("ana", NOW) == TALKING
    assert asked.busy("ana", NOW, without="two") == OFFERED
    assert asked.busy("ben", NOW) == FREE
    says.set("two", "ana", FREE, 0.0, NOW)
    says.set("one", "ana", FREE, 0.0, NOW)
    assert asked.busy("ana", NOW) == FREE


def test_what_its_node_left_behind_ends(pair: tuple[Occupancy, Occupancy]) -> None:
    says, asked = pair
    says.set("one", "ana", TALKING, LATER, NOW)
    assert asked.busy("ana", LATER + 1) == FREE


@pytest.mark.rule("GRT-09")
def test_idle_since_the_end_of_a_talk(pair: tuple[Occupancy, Occupancy]) -> None:
    says, asked = pair
    says.set("one", "ana", OFFERED, LATER, NOW)
    says.set("one", "ana", FREE, 0.0, NOW + 1)
    assert asked.idle_since("ana") == 0.0, "it did not answer"
    says.set("two", "ana", TALKING, LATER, NOW)
    says.set("two", "ana", FREE, 0.0, NOW + 5)
    assert asked.idle_since("ana") == NOW + 5


@pytest.mark.rule("GRT-09")
def test_turns_are_counted(pair: tuple[Occupancy, Occupancy]) -> None:
    says, asked = pair
    for expected in range(3):
        assert asked.turns("+33639987000") == expected
        says.took_turn("+33639987000")


def test_whoever_waits_is_told(pair: tuple[Occupancy, Occupancy]) -> None:
    says, asked = pair
    told: list[str] = []
    asked.on_change = told.append
    says.set("one", "ana", OFFERED, LATER, NOW)
    says.set("one", "ana", FREE, 0.0, NOW)
    assert set(told) == {"ana"}


def test_a_newcomer_knows_what_the_others_do() -> None:
    log = LocalLog()
    one = SharedOccupancy(log, log.nodes[0].occupancy)
    one.set("one", "ana", TALKING, LATER, NOW)
    one.took_turn("+33639987000")
    new = SharedOccupancy(log, log.newcomer().occupancy)
    assert new.busy("ana", NOW) == TALKING
    assert new.turns("+33639987000") == 1


@pytest.mark.rule("LIVE-03")
def test_who_lost_a_call_hears_of_its_end_from_the_others() -> None:
    """Another node has taken it over; a member must not be busy on the first one until the longest call would be over."""
    log = LocalLog()
    one, two = (SharedOccupancy(log, node.occupancy) for node in log.nodes)
    told: list[str] = []
    one.on_change = told.append
    one.set("call", "ana", TALKING, LATER, NOW)
    two.set("call", "ana", TALKING, LATER, NOW)
    one.lost("call", "ana")
    assert one.busy("ana", NOW) == TALKING
    two.set("call", "ana", FREE, 0.0, NOW)
    assert one.busy("ana", NOW) == FREE
    one.say_again()
    assert two.busy("ana", NOW) == FREE
    assert told[-1] == "ana"
