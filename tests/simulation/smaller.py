"""A smaller run with the same fault: less time, calmer weather, fewer parties, as long as the fault stays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from tests.simulation.report import Fault
from tests.simulation.simulation import Simulation

CALMER: Final[tuple[tuple[str, float], ...]] = (
    ("strangers", 0),
    ("provisioning", 0),
    ("drains", 0),
    ("storms", 0),
    ("partitions", 0),
    ("skewed", 0),
    ("amnesia", 0),
    ("store_cuts", 0),
    ("store_delay", 0.0),
    ("nodes", 1),
    ("batch", 0.0),
    ("double", 0.0),
    ("loss", 0.0),
    ("jitter", 0.0),
    ("calls_per_second", 0.5),
    ("users", 4),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run is made from."""

    seed: int
    hours: float
    crashes: bool
    mood: dict[str, float] = field(default_factory=dict)

    def fault(self) -> tuple[str, float]:
        """Name of the fault that it ends with, and when, in virtual seconds; empty: none."""
        run = Simulation(self.seed, self.hours, crashes=self.crashes, mood=self.mood)
        try:
            run.play()
        except Fault as fault:
            return fault.name, run.clock.now
        return "", run.clock.now

    def command(self) -> str:
        moods = "".join(f" --mood {name}={value:g}" for name, value in self.mood.items())
        crashes = "yes" if self.crashes else "no"
        return (
            f"python -m tests.simulation --seed {self.seed} --hours {self.hours:g} --crashes {crashes}{moods}"
        )


def smaller(run: Run, name: str, tries: int = 60) -> Run:
    """The smallest run found that ends with the fault of this name; the given one, if nothing can be left out.

    Every change makes another history, so several seeds are tried for each: what counts is the kind of fault.
    """
    best = run
    for change in ({}, {"crashes": False}, *({name: value} for name, value in CALMER)):
        for seed in (best.seed, *range(1, 4)):
            if not tries:
                return best
            tries -= 1
            if "crashes" in change:
                candidate = replace(best, seed=seed, crashes=False)
            else:
                candidate = replace(best, seed=seed, mood={**best.mood, **change})
            found, at = candidate.fault()
            if found == name and at / 3600 <= best.hours:
                best = replace(candidate, hours=max(round(at / 3600 + 0.005, 3), 0.01))
                break
    return best
