"""The simulator finds what is wrong: each bug of the catalogue within a few seeds, by an invariant that is meant for it.

A compiled class cannot be given a bug, so they are found in the interpreted server only.
"""

from __future__ import annotations

import pytest

import callcontrol.runner
from tests.simulation.bugs import CATALOGUE
from tests.simulation.report import Fault
from tests.simulation.simulation import Simulation

SEEDS = (5, 9, 2, 6, 12, 8)
"""Small runs first."""
SEEDS_WITH_CRASHES = (25, 3, 8, 2, 6, 12, 39, 24, 84, 189)
HOURS = 0.04


def fault_of(run: Simulation) -> Fault | None:
    try:
        run.play()
    except Fault as fault:
        return fault
    return None


@pytest.mark.parametrize("name", CATALOGUE if callcontrol.runner.__file__.endswith(".py") else ())
def test_an_injected_bug_is_found(name: str) -> None:
    case = CATALOGUE[name]
    mood = {"nodes": 1, "store_delay": 0.0, "store_cuts": 0, "amnesia": 0, "incoming": 0, **case.mood}
    for seed in SEEDS_WITH_CRASHES if case.crashes else SEEDS:
        run = Simulation(seed, HOURS, bug=case.bug, crashes=case.crashes, mood=mood)
        fault = fault_of(run)
        if fault is not None:
            assert fault.name in case.caught_by, f"{fault.name}: {fault.detail}"
            return
    pytest.fail(f"nobody noticed that {case.says}")


def test_the_catalogue_is_long_enough_to_mean_something() -> None:
    assert len(CATALOGUE) >= 20
