"""The reference model says what the examples of ``docs/hunting.md`` say."""

from __future__ import annotations

import pytest

from tests.hunting.alone import ModelPlay
from tests.hunting.cases import (
    ANSWERS,
    ASLEEP,
    AWAY,
    BUSY,
    DEAD,
    DECLINES,
    FALLBACK,
    OFFERED,
    SILENT,
    TALKING,
    Case,
    Device,
    Person,
    cascade,
    simultaneous,
)


def played(case: Case) -> ModelPlay:
    play = ModelPlay(case)
    play.run()
    return play


@pytest.mark.rule("GRT-01", "DEV-05", "INC-09")
def test_the_cascade_of_the_examples() -> None:
    ana = Person(devices=(Device(), Device(does=BUSY, after=4.0)))
    ben = Person(devices=(Device(is_=AWAY),))
    cleo = Person(devices=(Device(is_=ASLEEP, wakes=3.0, does=ANSWERS, after=8.0),))
    play = played(Case(people=(ana, ben, cleo), groups=cascade(3)))
    assert play.timeline == [
        (0.0, "ring", "ana-1", ""),
        (0.0, "ring", "ana-2", ""),
        (20.0, "push", "cleo-1", ""),
        (20.0, "stop", "ana-1", "elsewhere"),
        (23.0, "ring", "cleo-1", ""),
    ]
    assert (play.now, play.model.winner) == (31.0, "cleo-1")
    assert play.model.missed() == []


@pytest.mark.rule("GRT-02", "GRT-03", "INC-08", "INC-09")
def test_the_simultaneous_hunt_of_the_examples() -> None:
    ana, cleo = Person(devices=(Device(),)), Person(devices=(Device(),))
    ben = Person(devices=(Device(does=DECLINES, after=3.0), Device()))
    play = played(Case(people=(ana, ben, cleo), groups=simultaneous(3), rounds=2, leaves=26.0))
    assert play.timeline[4:] == [
        (3.0, "stop", "ben-2", "declined"),
        (20.0, "ring", "ana-1", ""),
        (20.0, "ring", "cleo-1", ""),
        (20.0, "stop", "ana-1", "elsewhere"),
        (20.0, "stop", "cleo-1", "elsewhere"),
        (26.0, "stop", "ana-1", "caller gone"),
        (26.0, "stop", "cleo-1", "caller gone"),
    ]
    assert play.model.missed() == ["ana-1", "cleo-1"]


@pytest.mark.rule("GRT-04", "GRT-10")
def test_two_greetings_share_a_member() -> None:
    ana = Person(devices=(Device(),), busy=OFFERED, until=9.0, then=TALKING)
    ben = Person(devices=(Device(does=ANSWERS, after=2.0),))
    play = played(Case(people=(ana, ben), groups=cascade(2)))
    assert play.timeline == [(9.0, "ring", "ben-1", "")]


@pytest.mark.rule("GRT-01")
@pytest.mark.parametrize("rounds", [1, 5])
def test_nobody_there_costs_no_time(rounds: int) -> None:
    away = Person(devices=(Device(is_=AWAY),))
    play = played(Case(people=(away, away, away), groups=cascade(3), rounds=rounds))
    assert (play.now, play.timeline, play.model.reason()) == (0.0, [], "unreachable")


@pytest.mark.rule("GRT-03")
def test_the_limit_ends_the_hunt_and_not_only_an_offer() -> None:
    person = Person(devices=(Device(),))
    play = played(Case(people=(person, person), groups=cascade(2), rounds=9, limit_s=20.0))
    assert play.timeline == [(0.0, "ring", "ana-1", ""), (20.0, "stop", "ana-1", "time over")]


@pytest.mark.rule("INC-06")
def test_a_dead_connection_is_pushed_and_then_the_sim_is_called() -> None:
    person = Person(devices=(Device(does=DEAD), Device(is_=FALLBACK, does=SILENT)))
    play = played(Case(people=(person,), groups=cascade(1)))
    assert play.timeline == [
        (0.0, "ring", "ana-1", ""),
        (0.0, "push", "ana-1", ""),
        (8.0, "ring", "ana-2", ""),
        (20.0, "stop", "ana-2", "time over"),
    ]
