"""Health of trunk peers: up, down or unknown, with hysteresis.  Pure: time and dice come from outside.

A probe (OPTIONS) and a real call count alike: so many failures in a row take a peer down, so many successes in a
row bring it up again.  Besides, a peer that failed a call is *avoided*: tried last for a while, or as long as its
Retry-After says, or until it answers a call; that it answers OPTIONS proves nothing about calls.  Peers are probed
slowly while all is well and quicker while it is not, each at a moment of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Final

UNKNOWN: Final = "unknown"
UP: Final = "up"
DOWN: Final = "down"
STATES: Final = (UNKNOWN, UP, DOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPolicy:
    """When a peer is up or down; seconds."""

    down_after: int = 3
    """Failures in a row."""
    up_after: int = 2
    """Successes in a row, of a peer that was down.  One is enough for a peer of which nothing was known."""
    quick_s: float = 10.0
    """Interval of probes of a peer that is not well; never longer than the ordinary one."""
    timeout_s: float = 5.0
    """How long the answer to a probe may take."""
    jitter: float = 0.1
    """Share of an interval by which it is longer or shorter, so that peers are not probed in step."""
    avoid_s: float = 30.0
    """How long a peer is tried last after it failed a call."""
    avoid_max_s: float = 600.0
    """The longest Retry-After that is believed."""


@dataclass(frozen=True, slots=True)
class Change:
    """A peer went up or down."""

    key: str
    before: str
    after: str
    why: str
    at: float


class Peer:
    """What is known of one peer; times are Unix seconds."""

    __slots__ = (
        "answered_at",
        "avoid_until",
        "due",
        "failures",
        "interval",
        "round_trip",
        "serial",
        "since",
        "state",
        "successes",
        "waits_until",
        "why",
    )

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        """Of its probes; 0: it has none, and only calls tell."""
        self.state = UNKNOWN
        self.since = now
        self.failures = 0
        """In a row."""
        self.successes = 0
        """In a row."""
        self.due = now
        self.waits_until = 0.0
        """A probe is under way until then; 0: none is."""
        self.serial = 0
        """Number of the last probe: an answer to an earlier one came too late."""
        self.avoid_until = 0.0
        self.answered_at = 0.0
        self.round_trip = 0.0
        """Seconds that the last probe took; 0: none was answered."""
        self.why = ""
        """What the last failure was."""


class Health:
    """All peers of a node by key (``trunk peer``)."""

    def __init__(self, policy: HealthPolicy, dice: Callable[[], float]) -> None:
        self.policy = policy
        self._dice = dice
        self._peers: dict[str, Peer] = {}
        self._troubled: set[str] = set()
        """Peers that are down or avoided: mostly none."""
        self.changes: list[Change] = []
        """What happened since somebody last emptied the list."""

    def get(self, key: str) -> Peer | None:
        return self._peers.get(key)

    def watch(self, wanted: Mapping[str, float], now: float) -> None:
        """Follow exactly these peers: key -> interval of probes in seconds, 0 for none."""
        for key in self._peers.keys() - wanted.keys():
            del self._peers[key]
            self._troubled.discard(key)
        for key, interval in wanted.items():
            peer = self._peers.get(key)
            if peer is None:
                self._peers[key] = Peer(interval, now)
            elif peer.interval != interval:
                peer.interval = interval
                peer.due = min(peer.due, now + interval)

    # -- what routing asks ----------------------------------------------------------------------------------

    def levels(self, now: float) -> tuple[Set[str], Set[str]]:
        """Keys of the peers that are tried last, and of those that are tried only when there are no others."""
        if not self._troubled:
            return frozenset(), frozenset()
        last: set[str] = set()
        out: set[str] = set()
        for key in list(self._troubled):
            peer = self._peers[key]
            if peer.state == DOWN:
                # without probes nothing but a call can find out that it is back
                (out if peer.interval else last).add(key)
            elif peer.avoid_until > now:
                last.add(key)
            else:
                self._troubled.discard(key)
        return last, out

    def state(self, key: str) -> str:
        peer = self._peers.get(key)
        return UNKNOWN if peer is None else peer.state

    # -- probes ---------------------------------------------------------------------------------------------

    def due(self, now: float, most: int) -> list[str]:
        """Peers to be probed now, at most so many; probes without an answer in time have failed by this."""
        found: list[str] = []
        for key, peer in self._peers.items():
            if peer.waits_until and peer.waits_until <= now:
                self._failed(key, peer, "no answer to OPTIONS", now)
            if peer.interval and not peer.waits_until and peer.due <= now and len(found) < most:
                found.append(key)
        return found

    def sent(self, key: str, now: float) -> int:
        """A probe goes out; returns its number."""
        peer = self._peers[key]
        peer.serial += 1
        peer.waits_until = now + self.policy.timeout_s
        return peer.serial

    def probed(self, key: str, serial: int, why: str, round_trip: float, now: float) -> bool:
        """The outcome of a probe; ``why`` is empty when it was answered.  False when it comes too late to count."""
        peer = self._peers.get(key)
        if peer is None or peer.serial != serial or not peer.waits_until:
            return False
        if why:
            self._failed(key, peer, why, now)
        else:
            peer.round_trip = round_trip
            peer.waits_until = 0.0
            self._succeeded(key, peer, now)
            peer.due = now + self._interval(peer)
        return True

    # -- calls ----------------------------------------------------------------------------------------------

    def call_answered(self, key: str, now: float) -> None:
        """The peer answered the INVITE of a call, whatever it said."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.avoid_until = 0.0
            self._succeeded(key, peer, now)

    def call_failed(self, key: str, why: str, retry_after: float, now: float) -> None:
        """The peer left a call unanswered, or refused it for itself; ``retry_after`` seconds, 0 where it said none."""
        peer = self._peers.get(key)
        if peer is None:
            return
        policy = self.policy
        wait = min(retry_after, policy.avoid_max_s) if retry_after > 0 else policy.avoid_s
        peer.avoid_until = max(peer.avoid_until, now + wait)
        self._troubled.add(key)
        peer.due = min(peer.due, now)  # a probe will tell whether it was this call or the peer
        self._count_failure(key, peer, why, now)

    # -- the machine ----------------------------------------------------------------------------------------

    def _succeeded(self, key: str, peer: Peer, now: float) -> None:
        peer.answered_at = now
        peer.failures = 0
        if peer.state == UP:
            return
        peer.successes += 1
        needed = self.policy.up_after if peer.state == DOWN and peer.interval else 1
        if peer.successes >= needed:
            self._go(key, peer, UP, "answers again" if peer.state == DOWN else "answers", now)

    def _failed(self, key: str, peer: Peer, why: str, now: float) -> None:
        """A probe failed."""
        peer.waits_until = 0.0
        self._count_failure(key, peer, why, now)
        peer.due = now + self._interval(peer)

    def _count_failure(self, key: str, peer: Peer, why: str, now: float) -> None:
        peer.failures += 1
        peer.successes = 0
        peer.why = why
        if peer.failures >= self.policy.down_after:
            self._troubled.add(key)
            self._go(key, peer, DOWN, why, now)

    def _go(self, key: str, peer: Peer, state: str, why: str, now: float) -> None:
        if peer.state == state:
            return
        self.changes.append(Change(key, peer.state, state, why, now))
        peer.state = state
        peer.since = now

    def _interval(self, peer: Peer) -> float:
        policy = self.policy
        well = peer.state == UP and not peer.failures
        interval = peer.interval if well else min(peer.interval, policy.quick_s)
        return interval * (1.0 + policy.jitter * (2.0 * self._dice() - 1.0))
