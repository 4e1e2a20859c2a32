"""A histogram of plain ints for hot paths: ``observe`` is one bisection and three additions, no lock, no
label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

# Upper bounds in seconds.  Set-up and length of calls reach from the quick to the day long (LiveKit's choice,
# widened at the lower end because a call inside one node is set up in milliseconds).
SETUP_SECONDS: Final[tuple[float, ...]] = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.0,
    4.0,
    8.0,
    15.0,
    30.0,
    60.0,
    120.0,
    180.0,
)
CALL_SECONDS: Final[tuple[float, ...]] = (
    1.0,
    6.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
    7200.0,
    14400.0,
    86400.0,
)
ROUND_TRIP_SECONDS: Final[tuple[float, ...]] = (
    0.001,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.0,
    4.0,
    8.0,
    32.0,
)
STALL_SECONDS: Final[tuple[float, ...]] = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Histogram:
    """Counts per bucket (the last one is above every bound) and the sum of what was observed."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        if not bounds or any(later <= sooner for sooner, later in pairwise(bounds)):
            raise ValueError("bucket bounds must be given and must grow")
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value (seconds, as a rule); a bound belongs to its own bucket, as Prometheus reads it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.counts)
