"""Some seeds in every run of the tests; ``python -m tests.simulation --seeds 1..1000`` plays as many as one likes."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import Bug, RecordsNever, RecordsTwice
from tests.simulation.report import Fault
from tests.simulation.simulation import Simulation

HOURS = 0.05


@pytest.mark.rule("CDR-01", "INC-07", "INC-09")
@pytest.mark.parametrize("seed", range(1, 13))
def test_a_seed_keeps_every_invariant(seed: int) -> None:
    Simulation(seed, HOURS, crashes=False).play()


def test_a_seed_decides_everything() -> None:
    runs = [Simulation(5, HOURS, crashes=False) for _ in range(2)]
    for run in runs:
        run.play()
    assert runs[0].trace == runs[1].trace


@pytest.mark.parametrize("bug", [RecordsTwice(), RecordsNever()])
def test_an_injected_bug_is_caught(bug: Bug) -> None:
    run = Simulation(5, HOURS, bug=bug, crashes=False)
    with pytest.raises(Fault):
        run.play()
