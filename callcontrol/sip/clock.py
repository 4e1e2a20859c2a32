"""Two clocks that must never be mixed, and the one sum that is allowed on them.

The SIP layer counts in ``Monotonic`` seconds (an instant of one process); calls, registrations and records
count in ``UnixTime`` seconds (an instant that means the same on every node).  Nobody below the shell reads a
clock: the present is always an argument.
"""

from typing import NewType, TypeVar, cast

Monotonic = NewType("Monotonic", float)
"""Seconds of a clock that never jumps; meaningless outside the process that read it."""

UnixTime = NewType("UnixTime", float)
"""Seconds since 1970 UTC."""

Instant = TypeVar("Instant", Monotonic, UnixTime)


def later(t: Instant, seconds: float) -> Instant:
    """``t`` plus ``seconds``, on the same clock (a plain sum would forget which clock it was)."""
    return cast("Instant", t + seconds)
