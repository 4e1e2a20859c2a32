"""All orders of what happens in the same instant, and a caller who leaves at every moment that makes a difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from itertools import pairwise

from callcontrol.b2bua.env import CallEnv
from tests.hunting.cases import Case
from tests.hunting.play import Play
from tests.hunting.wire import environment
from tests.hunting.world import Chooser

MakePlay = Callable[[Case, Chooser, CallEnv], Play]


class Explorer:
    """Plays cases; counts the runs."""

    def __init__(self, make: MakePlay) -> None:
        self._make = make
        self._env = environment()
        self.cases = 0
        self.runs = 0

    def explore(self, case: Case, leaves: bool) -> None:
        """Every order of events; with ``leaves`` once more for each moment at which the caller may hang up."""
        self.cases += 1
        instants = self._orders(case)
        if not leaves:
            return
        for at in _moments(instants):
            self.cases += 1
            self._orders(dataclasses.replace(case, leaves=at))

    def explore_all(self, cases: Iterable[Case], leaves: bool) -> None:
        for case in cases:
            self.explore(case, leaves)

    def _orders(self, case: Case) -> set[float]:
        """Depth first over the choices: each run is played from its beginning with the choices of the last one, one of them
        changed."""
        instants: set[float] = set()
        path: list[int] = []
        while True:
            taken: list[tuple[int, int]] = []

            def choose(count: int, path: list[int] = path, taken: list[tuple[int, int]] = taken) -> int:
                picked = path[len(taken)] if len(taken) < len(path) else 0
                taken.append((picked, count))
                return picked

            play = self._make(case, choose, self._env)
            play.run()
            self.runs += 1
            instants.update(play.instants)
            while taken and taken[-1][0] == taken[-1][1] - 1:
                taken.pop()
            if not taken:
                return instants
            path = [picked for picked, _ in taken]
            path[-1] += 1


def _moments(instants: set[float]) -> list[float]:
    """The instants themselves and the gaps between them."""
    times = sorted(instants)
    gaps = [(first + second) / 2 for first, second in pairwise(times)]
    return sorted({*times, *gaps})
