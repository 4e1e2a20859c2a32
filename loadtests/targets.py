"""The targets of Cloudline's speed, and what one run says about each.

Only ratios within one run, CPU seconds and medians mean anything: a shared machine may be twice as fast a
minute later.  Every figure is the median of the rounds of the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Figures = dict[str, dict[str, float]]
"""Key of a server (``pure``, ``kamailio``, ...) -> name of a figure -> value; NaN or absent: unknown."""


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table: what must be reached, what is aimed at, and how it is read from the figures."""

    what: str
    unit: str
    must: float
    aim: float
    read: Callable[[Figures], float]
    at_least: bool = False
    """Larger is better (rates); else smaller is."""

    def verdict(self, figures: Figures) -> tuple[float, str]:
        value = self.read(figures)
        if math.isnan(value):
            return value, "not measured"
        if self._meets(value, self.aim):
            return value, "aim reached"
        return value, "reached" if self._meets(value, self.must) else "MISSED"

    def _meets(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound


def figure(figures: Figures, server: str, name: str) -> float:
    return figures.get(server, {}).get(name, math.nan)


def ratio(name: str, ours: str, theirs: str, other_name: str = "") -> Callable[[Figures], float]:
    def read(figures: Figures) -> float:
        below = figure(figures, theirs, other_name or name)
        return figure(figures, ours, name) / below if below > 0 else math.nan

    return read


def best(name: str) -> Callable[[Figures], float]:
    """The figure of the compiled build, of the pure one where there is no other."""

    def read(figures: Figures) -> float:
        value = figure(figures, "compiled", name)
        return figure(figures, "pure", name) if math.isnan(value) else value

    return read


def only(server: str, name: str) -> Callable[[Figures], float]:
    def read(figures: Figures) -> float:
        return figure(figures, server, name)

    return read


TARGETS = (
    Target("CPU per call, compiled, to Kamailio", "×", 2.5, 1.2, ratio("cpu_shared", "compiled", "kamailio")),
    Target("CPU per call, pure, to Kamailio", "×", 5.0, 3.0, ratio("cpu_shared", "pure", "kamailio")),
    Target("CPU per call, compiled, to Sippy", "×", 1 / 12, 1 / 25, ratio("cpu_slow", "compiled", "sippy")),
    Target("highest clean rate, compiled", "/s", 2500, 5000, only("compiled", "highest"), at_least=True),
    Target("memory per held call", "KiB", 15.6, 7.8, best("kib_per_call")),
    Target("set-up delay p99 at half the highest rate", "ms", 25, 10, best("delay_p99")),
    Target("longest stall of the loop", "ms", 50, 20, best("stall_ms")),
    Target("digest REGISTER, CPU s per 1000", "s", 0.5, 0.2, best("cpu_register")),
    Target("CPU per call, full server to empty one", "×", 1.3, 1.1, best("growth")),
)
