"""Channels and call rate of trunks: who may send a call now, over all nodes that share the live state.

A channel belongs to a leg, by a key that the leg keeps when it moves to another call or another node, and has an
owner: the node that runs the call.  An owner's channels live as long as its lease, which it renews for all of them
at once; when a node dies its channels are free again after that, or belong to whoever takes its calls over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from gateway.trunk import Trunk

GRANTED: Final = "granted"
FULL: Final = "full"
"""All channels are taken."""
FAST: Final = "fast"
"""More calls per second than the carrier takes."""

LEASE_S: Final = 60.0
_AHEAD: Final = 16
"""Of so many channels one may be granted ahead of its count: eight nodes together grant no more than the half that is left."""

Done = Callable[[str], None]
"""Told ``granted``, ``full`` or ``fast``; once."""


class TrunkChannels(Protocol):
    """Counts the calls on each trunk against its caps, for one node.  ``now`` is Unix seconds."""

    def acquire(self, trunk: Trunk, leg: str, now: float, done: Done) -> None:
        """Take a channel for a leg.  ``done`` is called once, in memory before this returns, else later.

        Taking it twice is taking it once.  A refusal is not remembered: asking again may be granted.  A store that
        cannot be asked grants: for a moment a cap that is not held is better than no calls.
        """
        ...

    def restore(self, trunk: str, leg: str, now: float) -> None:
        """A leg that has a channel goes on on this node: the channel is this node's, and counted once, whether the
        store knows it still or not, and whatever the caps say.
        """
        ...

    def release(self, trunk: str, leg: str) -> None:
        """Give the channel back; nothing happens when the leg has none, or has gone on on another node.

        For a leg that has gone on on another node too: this one has nothing to do with it any more.
        """
        ...

    def renew(self, now: float) -> None:
        """This node lives: so do its channels for another lease.  To be called several times in a lease."""
        ...

    def in_use(self, trunk: str) -> int:
        """Channels taken on all nodes, as last known."""
        ...


class ChannelTable:
    """The counters that several `MemoryTrunkChannels` share, as nodes share a live store."""

    __slots__ = ("leases", "legs", "rates")

    def __init__(self) -> None:
        self.legs: dict[str, dict[str, str]] = {}
        """Trunk -> leg -> owner."""
        self.leases: dict[str, float] = {}
        """Owner -> end of its lease, Unix seconds."""
        self.rates: dict[str, tuple[float, float]] = {}
        """Trunk -> tokens, and when they were counted."""

    def dump(self) -> list[object]:
        """Everything, for another process."""
        return [self.legs, self.leases, self.rates]

    def load(self, data: Sequence[Any]) -> None:
        """Become what `dump` gave."""
        legs, leases, rates = data
        self.legs = {trunk: dict(held) for trunk, held in legs.items()}
        self.leases = dict(leases)
        self.rates = {trunk: (tokens, since) for trunk, (tokens, since) in rates.items()}

    def sweep(self, now: float) -> None:
        """Free what belongs to owners whose lease has run out."""
        dead = {owner for owner, until in self.leases.items() if until <= now}
        if not dead:
            return
        for owner in dead:
            del self.leases[owner]
        for legs in self.legs.values():
            for leg in [leg for leg, owner in legs.items() if owner in dead]:
                del legs[leg]


class MemoryTrunkChannels:
    """`TrunkChannels` in memory.

    The rate is a token bucket of one second's calls, refilled steadily, so that a burst never exceeds
    ``max_cps``.
    """

    __slots__ = ("_lease_s", "_owner", "_table")

    def __init__(
        self, owner: str = "node", table: ChannelTable | None = None, lease_s: float = LEASE_S
    ) -> None:
        self._owner = owner
        self._table = table or ChannelTable()
        self._lease_s = lease_s

    def acquire(self, trunk: Trunk, leg: str, now: float, done: Done) -> None:
        done(self.ask(trunk.ref, trunk.max_channels, trunk.max_cps, leg, now))

    def ask(self, trunk: str, max_channels: int, max_cps: float, leg: str, now: float) -> str:
        """Take a channel of a trunk with these caps; the answer that ``acquire`` gives."""
        table = self._table
        table.leases[self._owner] = now + self._lease_s  # who asks is alive
        legs = table.legs.setdefault(trunk, {})
        if leg in legs:
            return GRANTED
        if max_channels and len(legs) >= max_channels:
            table.sweep(now)
            if len(legs) >= max_channels:
                return FULL
        if max_cps > 0 and not self._take_token(trunk, max_cps, now):
            return FAST
        legs[leg] = self._owner
        return GRANTED

    def take(self, trunk: str, max_channels: int, max_cps: float, leg: str, now: float) -> None:
        """Count a channel that was granted ahead of its count, whatever the caps say by now."""
        if self.ask(trunk, max_channels, max_cps, leg, now) != GRANTED:
            self._table.legs[trunk][leg] = self._owner

    def has_plenty(self, trunk: Trunk, now: float, ahead: int) -> bool:
        """Whether more than half of the channels and of the second's calls are left, and ``ahead``, those that were granted
        and are not counted yet, is little beside them: so few that several nodes may do so at once."""
        if trunk.max_channels:
            if _AHEAD * (ahead + 1) > trunk.max_channels:
                return False
            if 2 * (self.in_use(trunk.ref) + ahead) > trunk.max_channels:
                return False
        if trunk.max_cps > 0:
            if _AHEAD * (ahead + 1) > trunk.max_cps:
                return False
            if 2 * (self._tokens(trunk.ref, trunk.max_cps, now) - ahead) < trunk.max_cps:
                return False
        return True

    def _tokens(self, trunk: str, max_cps: float, now: float) -> float:
        size = max(max_cps, 1.0)
        tokens, since = self._table.rates.get(trunk, (size, now))
        # A clock that steps back gives nothing and takes nothing.
        return min(size, tokens + max(now - since, 0.0) * max_cps)

    def _take_token(self, trunk: str, max_cps: float, now: float) -> bool:
        tokens = self._tokens(trunk, max_cps, now)
        enough = tokens >= 1.0 - 1e-9
        self._table.rates[trunk] = (tokens - 1.0 if enough else tokens, now)
        return enough

    def restore(self, trunk: str, leg: str, now: float) -> None:
        self._table.leases[self._owner] = now + self._lease_s
        self._table.legs.setdefault(trunk, {})[leg] = self._owner

    def claim(self, trunk: str, leg: str, now: float) -> None:
        """As ``restore``, by a node that does not know whether the leg is still its own: another that lives keeps it."""
        owner = self._table.legs.get(trunk, {}).get(leg, self._owner)
        if owner == self._owner or self._table.leases.get(owner, 0.0) <= now:
            self.restore(trunk, leg, now)

    def release(self, trunk: str, leg: str) -> None:
        legs = self._table.legs.get(trunk)
        if legs is not None and legs.get(leg) == self._owner:
            del legs[leg]

    def renew(self, now: float) -> None:
        self._table.leases[self._owner] = now + self._lease_s
        self._table.sweep(now)

    def in_use(self, trunk: str) -> int:
        return len(self._table.legs.get(trunk, ()))

    @property
    def _legs(self) -> dict[str, dict[str, str]]:
        """Trunk -> leg -> owner; for audits of tests."""
        return self._table.legs
