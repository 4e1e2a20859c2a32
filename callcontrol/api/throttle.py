"""How often a token may ask, and how often an address may come with a wrong one.  No clock is read here."""

from __future__ import annotations

from typing import Final

_MAX_KEYS: Final = 20_000


class Throttle:
    """A bucket of requests per key, refilled at a steady rate (the token bucket of RFC 2697's kin)."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._rate = per_second
        self._burst = burst
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float) -> float:
        """Take one request; 0 when it is granted, else the seconds until one would be."""
        level, at = self._buckets.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._rate)
        wait = 0.0
        if level >= 1.0:
            level -= 1.0
        else:
            wait = (1.0 - level) / self._rate
        if len(self._buckets) >= _MAX_KEYS:
            # the one that asked least recently has most likely a full bucket, which needs no memory
            self._buckets.pop(next(iter(self._buckets)))
        self._buckets[key] = (level, now)
        return wait


class Failures:
    """Wrong tokens by address, in a window that begins with the first of them."""

    def __init__(self, most: int, window_s: float) -> None:
        self._most = most
        self._window_s = window_s
        self._counts: dict[str, tuple[int, float]] = {}

    def wait(self, address: str, now: float) -> float:
        """Seconds until the address may try again; 0: now."""
        count, since = self._counts.get(address, (0, now))
        left = since + self._window_s - now
        if left <= 0:
            self._counts.pop(address, None)
            return 0.0
        return left if count >= self._most else 0.0

    def add(self, address: str, now: float) -> None:
        """Count one."""
        count, since = self._counts.pop(address, (0, now))
        if since + self._window_s <= now:
            count, since = 0, now
        if len(self._counts) >= _MAX_KEYS:
            self._counts.pop(next(iter(self._counts)))
        self._counts[address] = (count + 1, since)
