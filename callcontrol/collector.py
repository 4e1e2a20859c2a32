"""When the garbage collector runs.

Calls leave no cycles (a test asserts it), so the collector has little to find among them, and much to look through: a full
collection with 20 000 calls up stands still for a quarter of a second.  What does leave cycles (HTTP requests, SQL, tasks)
is small and dies young.  So the young generation is collected often, some thousand objects at a time, the older ones when
no call is up, and at the latest after some hours.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final

YOUNG: Final = 10_000
"""Objects made and not freed after which the young are looked through: about a millisecond's work."""
NEVER: Final = 1_000_000_000
QUIET_S: Final = 600.0
"""Seconds between full collections while no call is up."""
BUSY_S: Final = 6 * 3600.0
"""Seconds after which a full collection waits for quiet no longer."""


class Collector:
    """Decides about full collections; the young generation is Python's business."""

    def __init__(self, collect: Callable[[], int] = gc.collect) -> None:
        self._collect = collect
        self._last = 0.0

    def start(self, now: float) -> None:
        """Set what was loaded so far aside for good, and the thresholds.  ``now``: monotonic seconds, as for `look`."""
        self._collect()
        gc.freeze()
        gc.set_threshold(YOUNG, NEVER, NEVER)
        self._last = now

    def look(self, calls: int, now: float) -> bool:
        """Collect everything if it is time; ``calls`` that are up.  True when it was done."""
        if now - self._last < (BUSY_S if calls else QUIET_S):
            return False
        self._last = now
        self._collect()
        return True
