"""The clocks of a real node."""

from __future__ import annotations

import time
from typing import Final

from callcontrol.sip.clock import Monotonic

_monotonic: Final = time.monotonic


class SystemClock:
    """Monotonic time, and wall time that moves with it: a clock that is set back makes no call timer wait."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def monotonic(self) -> Monotonic:
        return Monotonic(_monotonic())

    def wall(self) -> float:
        return _monotonic() + self._offset

    def wall_at(self, monotonic: float) -> float:
        """What the wall clock showed at that instant."""
        return monotonic + self._offset

    def follow(self) -> None:
        """Go with the machine's wall clock by at most 10 ms a turn of housekeeping."""
        drift = time.time() - time.monotonic() - self._offset
        self._offset += max(min(drift, 0.01), -0.01)
