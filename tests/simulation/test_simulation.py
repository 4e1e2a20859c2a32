"""Some seeds in every run of the tests; ``make simulate`` plays ever new ones until one fails."""

from __future__ import annotations

import pytest

import callcontrol.runner
from tests.simulation.simulation import Simulation
from tests.simulation.smaller import Run, smaller

HOURS = 0.03

INTERPRETED = callcontrol.runner.__file__.endswith(".py")
"""Between the effects of a compiled runner nobody can be killed; the scenarios kill it at each save all the same."""


@pytest.mark.rule("CDR-01", "INC-07", "INC-09")
@pytest.mark.parametrize("seed", range(1, 7))
def test_a_seed_keeps_every_invariant(seed: int) -> None:
    Simulation(seed, HOURS, crashes=False).play()


@pytest.mark.rule("LIVE-02", "LIVE-03", "CDR-02")
@pytest.mark.parametrize("seed", range(1, 7) if INTERPRETED else ())
def test_a_seed_with_a_server_that_dies_keeps_every_invariant(seed: int) -> None:
    """At every boundary between two effects, at any moment in between, before and after what the store has taken."""
    Simulation(seed, HOURS, crashes=True).play()


@pytest.mark.rule("LIVE-01", "LIVE-02", "LIVE-03", "CDR-02")
@pytest.mark.parametrize("seed", range(7, 13) if INTERPRETED else ())
def test_a_seed_with_two_processes_that_lose_their_store_keeps_every_invariant(seed: int) -> None:
    """Calls are fetched and taken over, requests repeated to the other one, and who was cut off comes back too late."""
    Simulation(seed, HOURS, crashes=True, mood={"nodes": 2, "store_cuts": True}).play()


def test_a_seed_decides_everything() -> None:
    runs = [Simulation(5, HOURS, crashes=INTERPRETED) for _ in range(2)]
    for run in runs:
        run.play()
    assert runs[0].trace == runs[1].trace
    assert bool(runs[0].server.deaths) == INTERPRETED


def test_a_failing_run_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has nothing to do with a fault is left out."""

    def fault(run: Run) -> tuple[str, float]:
        return ("two winners" if run.mood.get("loss", 1) else "", 90.0)

    monkeypatch.setattr(Run, "fault", fault)
    found = smaller(Run(7, 0.1, True, {}), "two winners")
    assert found.hours == 0.03
    assert not found.crashes
    assert found.mood["partitions"] == 0
    assert "loss" not in found.mood
    assert found.command().startswith(
        "python -m tests.simulation --seed 7 --hours 0.03 --crashes no --mood strangers=0"
    )
