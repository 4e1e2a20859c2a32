"""Virtual time: things to be done, in order of time, and nothing else moves the clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Clock:
    """A heap of (when, number, action, arguments); equal times keep the order in which they were asked for."""

    __slots__ = ("_heap", "_number", "now", "steps")

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the start of the run."""
        self.steps = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    def at(self, when: float, action: Callable[..., None], *args: Any) -> None:
        """Call ``action(*args)`` at a time; one in the past is done next."""
        self._number += 1
        heapq.heappush(self._heap, (when, self._number, action, args))

    def after(self, delay: float, action: Callable[..., None], *args: Any) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self.now + delay, self._number, action, args))

    def run_until(self, end: float) -> None:
        """Do everything due up to ``end``."""
        heap = self._heap
        pop = heapq.heappop
        while heap and heap[0][0] <= end:
            when, _, action, args = pop(heap)
            if when > self.now:
                self.now = when
            self.steps += 1
            action(*args)
        self.now = end

    def __len__(self) -> int:
        return len(self._heap)
