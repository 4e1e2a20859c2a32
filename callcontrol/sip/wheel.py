"""Coarse timers: items due at the same 20 ms share one bucket.

Adding costs the same however many are outstanding, nothing is ever cancelled: an item that fires when its
owner no longer wants it is simply ignored by the owner, who compares with the deadline it keeps itself.  A
bucket never fires early by more than a rounding error and late by at most one grain.  Used for SIP timers
(monotonic seconds) and call timers (unix seconds).
"""

from __future__ import annotations

import heapq
from typing import Final, Generic, TypeVar

T = TypeVar("T")

GRAINS_PER_SECOND: Final = 50

# Products of instants and 50 are off by up to 1e-5 with unix seconds; a thousandth of a grain is 20
# microseconds.
_ROUNDING: Final = 1e-3


class Wheel(Generic[T]):
    """Items by the 20 ms grain in which they are due."""

    __slots__ = ("_buckets", "_grains", "_size", "grain")

    def __init__(self) -> None:
        self._buckets: dict[int, list[T]] = {}
        self._grains: list[
            int
        ] = []  # heap of the keys of _buckets: at most one entry per grain, not per item
        self._size: int = 0
        self.grain: int = -(1 << 62)
        """The last grain that ``advance`` has passed."""

    def __len__(self) -> int:
        return self._size

    def add(self, deadline: float, item: T) -> int:
        """Remember ``item`` until ``deadline``; returns the grain in which it fires (never one already
        passed)."""
        exact = deadline * GRAINS_PER_SECOND
        grain = int(exact)
        if exact - grain > _ROUNDING:
            grain += 1
        if grain <= self.grain:
            grain = self.grain + 1
        bucket = self._buckets.get(grain)
        if bucket is None:
            self._buckets[grain] = [item]
            heapq.heappush(self._grains, grain)
        else:
            bucket.append(item)
        self._size += 1
        return grain

    def advance(self, now: float, out: list[T]) -> None:
        """Append everything due at ``now`` to ``out``, in order of deadline, then of adding."""
        grain = int(now * GRAINS_PER_SECOND + _ROUNDING)
        if grain <= self.grain:
            return
        self.grain = grain
        grains = self._grains
        while grains and grains[0] <= grain:
            bucket = self._buckets.pop(heapq.heappop(grains))
            self._size -= len(bucket)
            out.extend(bucket)

    def next_deadline(self) -> float | None:
        """When ``advance`` has something to give; None when nothing is outstanding."""
        return self._grains[0] / GRAINS_PER_SECOND if self._grains else None
