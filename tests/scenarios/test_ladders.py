"""Every scenario against its ladder: as it is, and with the calls stored and loaded at each event.

``CLOUDLINE_LADDERS=write`` writes the ladders anew; what changed is then read in the diff, like any other change.
"""

from __future__ import annotations

import os

import pytest

from tests.scenarios import (
    callbacks,
    calls_through,
    carriers,
    early,
    forwards,
    hiding,
    hunts,
    incoming,
    midcall,
    outgoing,
    races,
    rios,
    timers,
    transfers,
    waking,
)
from tests.scenarios.stage import LADDERS, Stage, scenarios_of

SCENARIOS = scenarios_of(
    incoming,
    outgoing,
    carriers,
    early,
    midcall,
    races,
    timers,
    transfers,
    hiding,
    waking,
    callbacks,
    calls_through,
    hunts,
    forwards,
    rios,
)


def expected(name: str, played: str) -> str:
    path = LADDERS / f"{name}.txt"
    if os.environ.get("CLOUDLINE_LADDERS") == "write":
        path.write_text(played)
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_plays_as_its_ladder_says(name: str) -> None:
    stage = Stage()
    try:
        SCENARIOS[name](stage)
    finally:
        played = stage.ladder()
        print(played)
    assert played == expected(name, played)
    stage.settle()


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_plays_the_same_when_calls_are_loaded_at_each_event(name: str) -> None:
    stage = Stage(reload=True)
    SCENARIOS[name](stage)
    assert stage.ladder() == expected(name, stage.ladder())
    stage.settle()
    assert stage.reloads or not stage.world.commits


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_ends_the_same_when_the_store_is_slow(name: str) -> None:
    """Each step waits for its save, and none overtakes another."""
    stage = Stage(commit_s=0.001)
    SCENARIOS[name](stage)
    stage.settle()


def test_every_ladder_has_its_scenario() -> None:
    assert {path.stem for path in LADDERS.glob("*.txt")} == set(SCENARIOS)
