"""Outgoing calls at the same time and per minute, of each user and account (OUT-10).

A leg takes its slot before it is sent, all or nothing, and gives it back when it ends.  A slot whose owner died has
an end of its own (LIVE-03).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

USER: Final = "user"
ACCOUNT: Final = "account"
_IDLE_S: Final = 120.0
"""A bucket that was not used for so long is full, and needs no place."""


class SlotLimits:
    """Bounds of one call; 0: none."""

    __slots__ = ("account_calls", "account_rate", "bounded", "user_calls", "user_rate")

    def __init__(self, user_calls: int, account_calls: int, user_rate: float, account_rate: float) -> None:
        self.user_calls = user_calls
        self.account_calls = account_calls
        self.user_rate = user_rate
        """Calls a minute."""
        self.account_rate = account_rate
        self.bounded = bool(user_calls or account_calls or user_rate or account_rate)


class Slot:
    """What a leg asks for."""

    __slots__ = ("account", "fresh", "key", "kind", "user")

    def __init__(self, key: str, user: str, account: str, kind: str, fresh: bool) -> None:
        self.key = key
        """Names the leg in all nodes; asking twice is asking once."""
        self.user = user
        self.account = account
        self.kind = kind
        """Calls of a kind (``all``, ``abroad``) are bounded apart from the others."""
        self.fresh = fresh
        """The first attempt of its call: further ones, by other peers, count for no rate."""


class OutgoingSlots(Protocol):
    """Slots of all nodes.  ``done`` is called at once or later, once, with the bound that was hit: ``user calls``,
    ``account calls``, ``user rate``, ``account rate``; empty: the slot is taken.  A store that does not answer
    gives the slot: a fault of ours stops nobody's calls."""

    def acquire(
        self, slot: Slot, limits: SlotLimits, until: float, now: float, done: Callable[[str], None]
    ) -> None:
        """Take a slot that ends by itself at Unix time ``until``."""
        ...

    def release(self, key: str) -> None:
        """Give all slots of a leg back; nothing happens when it has none."""
        ...

    def in_use(self, kind: str, scope: str, ref: str) -> int:
        """Slots that a user or an account (``scope``) has taken."""
        ...

    def __len__(self) -> int: ...


class MemoryOutgoingSlots:
    """`OutgoingSlots` of a single node."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Slot]] = {}
        """Key -> kind -> slot."""
        self._counts: dict[tuple[str, str, str], int] = {}
        """(kind, scope, ref) -> slots taken."""
        self._due: list[tuple[float, str]] = []
        self._buckets: dict[tuple[str, str, str], tuple[float, float]] = {}
        """(kind, scope, ref) -> (tokens, since)."""
        self._swept_at = 0.0

    def acquire(
        self, slot: Slot, limits: SlotLimits, until: float, now: float, done: Callable[[str], None]
    ) -> None:
        self._expire(now)
        if slot.kind in self._held.get(slot.key, ()):
            done("")
            return
        user, account = (slot.kind, USER, slot.user), (slot.kind, ACCOUNT, slot.account)
        if limits.user_calls and self._counts.get(user, 0) >= limits.user_calls:
            done("user calls")
            return
        if limits.account_calls and self._counts.get(account, 0) >= limits.account_calls:
            done("account calls")
            return
        if slot.fresh:
            user_tokens = self._tokens(user, limits.user_rate, now)
            account_tokens = self._tokens(account, limits.account_rate, now)
            if user_tokens < 1.0:
                done("user rate")
                return
            if account_tokens < 1.0:
                done("account rate")
                return
            if limits.user_rate:
                self._buckets[user] = (user_tokens - 1.0, now)
            if limits.account_rate:
                self._buckets[account] = (account_tokens - 1.0, now)
        self._hold(slot, until)
        done("")

    def release(self, key: str) -> None:
        for slot in self._held.pop(key, {}).values():
            for name in ((slot.kind, USER, slot.user), (slot.kind, ACCOUNT, slot.account)):
                left = self._counts[name] - 1
                if left:
                    self._counts[name] = left
                else:
                    del self._counts[name]

    def in_use(self, kind: str, scope: str, ref: str) -> int:
        return self._counts.get((kind, scope, ref), 0)

    def __len__(self) -> int:
        return len(self._held)

    def dump(self) -> list[object]:
        """Everything, for another process."""
        until = dict(sorted((key, at) for at, key in self._due))
        held = [
            (slot.key, slot.user, slot.account, slot.kind, slot.fresh, until.get(slot.key, 0.0))
            for kinds in self._held.values()
            for slot in kinds.values()
        ]
        return [held, [(name, bucket) for name, bucket in self._buckets.items()]]

    def load(self, data: Sequence[Any]) -> None:
        """Become what `dump` gave."""
        held, buckets = data
        self._held, self._counts, self._due = {}, {}, []
        for key, user, account, kind, fresh, until in held:
            self._hold(Slot(key, user, account, kind, fresh), until)
        self._buckets = {tuple(name): (bucket[0], bucket[1]) for name, bucket in buckets}

    def _hold(self, slot: Slot, until: float) -> None:
        self._held.setdefault(slot.key, {})[slot.kind] = slot
        for name in ((slot.kind, USER, slot.user), (slot.kind, ACCOUNT, slot.account)):
            self._counts[name] = self._counts.get(name, 0) + 1
        heapq.heappush(self._due, (until, slot.key))

    def _tokens(self, name: tuple[str, str, str], per_minute: float, now: float) -> float:
        """A minute's calls at once, then steadily as many a minute; a clock that steps back gives nothing."""
        if not per_minute:
            return 1.0
        size = max(per_minute, 1.0)
        tokens, since = self._buckets.get(name, (size, now))
        return min(size, tokens + max(now - since, 0.0) * per_minute / 60 + 1e-9)

    def _expire(self, now: float) -> None:
        due = self._due
        while due and due[0][0] <= now:
            _, key = heapq.heappop(due)
            self.release(key)
        if len(due) > 1000 and len(due) > 4 * len(self._held):
            # Released slots leave their end behind; they go before there are many of them.
            self._due = [entry for entry in due if entry[1] in self._held]
            heapq.heapify(self._due)
        if now - self._swept_at > _IDLE_S or now < self._swept_at:
            self._swept_at = now
            self._buckets = {name: b for name, b in self._buckets.items() if now - b[1] < _IDLE_S}
