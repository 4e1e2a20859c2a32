"""Channels and call rate of trunks: who may send a call now."""

from __future__ import annotations

from typing import Protocol

from gateway.trunk import Trunk


class TrunkChannels(Protocol):
    """Counts the calls on each trunk against its caps; one answer for all nodes that share the live state."""

    def acquire(self, trunk: Trunk, leg: str, now: float) -> bool:
        """Take a channel for a leg; False when the trunk is full or too fast.  Taking it twice is taking it
        once.
        """
        ...

    def release(self, trunk: str, leg: str) -> None:
        """Give the channel back; nothing happens when the leg has none."""
        ...

    def in_use(self, trunk: str) -> int:
        """Channels taken now."""
        ...


class MemoryTrunkChannels:
    """`TrunkChannels` of a single node.

    The rate is a token bucket of one second's calls, refilled steadily, so that a burst never exceeds
    ``max_cps``.
    """

    __slots__ = ("_legs", "_rates")

    def __init__(self) -> None:
        self._legs: dict[str, set[str]] = {}
        self._rates: dict[str, tuple[float, float]] = {}

    def acquire(self, trunk: Trunk, leg: str, now: float) -> bool:
        legs = self._legs.setdefault(trunk.ref, set())
        if leg in legs:
            return True
        if trunk.max_channels and len(legs) >= trunk.max_channels:
            return False
        if trunk.max_cps > 0:
            size = max(trunk.max_cps, 1.0)
            tokens, since = self._rates.get(trunk.ref, (size, now))
            # A clock that steps back gives nothing and takes nothing.
            tokens = min(size, tokens + max(now - since, 0.0) * trunk.max_cps)
            if tokens < 1.0 - 1e-9:
                self._rates[trunk.ref] = (tokens, now)
                return False
            self._rates[trunk.ref] = (tokens - 1.0, now)
        legs.add(leg)
        return True

    def release(self, trunk: str, leg: str) -> None:
        legs = self._legs.get(trunk)
        if legs is not None:
            legs.discard(leg)

    def in_use(self, trunk: str) -> int:
        return len(self._legs.get(trunk, ()))
