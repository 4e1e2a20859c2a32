"""OPTIONS probes of trunk peers: is somebody there, and how far away (trunks with ``options_seconds``).

A probe that gets any final response says the peer is up; three in a row without one say it is down, and it is tried last until
one is answered again.  Sent from the loop's tick, a few per second at most, so that many trunks do not make a burst.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from callcontrol.core import Core
from callcontrol.histogram import Histogram
from callcontrol.ids import KeyedIds
from callcontrol.ports import Resolver
from callcontrol.sip import build
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.flow import Flow
from callcontrol.trunking import Trunking
from gateway.trunk import Trunk

DOWN_AFTER: Final = 3
PER_TURN: Final = 5
RTT_BOUNDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 32)


class _Peer:
    """What is known of one peer."""

    __slots__ = ("answered_at", "due", "failures", "pending", "round_trip")

    def __init__(self, due: float) -> None:
        self.due = due
        self.failures = 0
        self.pending = False
        self.answered_at: float | None = None
        self.round_trip: float | None = None


class Prober:
    """Probes the peers of all trunks, and tells their state."""

    def __init__(
        self,
        core: Core,
        endpoint: Endpoint,
        trunking: Trunking,
        resolver: Resolver,
        ids: KeyedIds,
        domain: str,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        scope: str,
    ) -> None:
        self._core = core
        self._endpoint = endpoint
        self._trunking = trunking
        self._resolver = resolver
        self._ids = ids
        self._domain = domain
        self._monotonic = monotonic
        self._wall = wall
        self._scope = scope
        self._peers: dict[str, _Peer] = {}
        self._count = 0
        self.round_trips: dict[str, Histogram] = {}

    def trunks(self) -> tuple[Trunk, ...]:
        return self._trunking.directory.all()

    def channels(self, trunk: str) -> int:
        return self._trunking.channels.in_use(trunk)

    def state(self, peer: str) -> str:
        """up, suspect, down or unknown."""
        known = self._peers.get(peer)
        if known is None or (known.answered_at is None and not known.failures):
            return "down" if self._trunking.is_down(peer, self._wall()) else "unknown"
        if known.failures >= DOWN_AFTER or self._trunking.is_down(peer, self._wall()):
            return "down"
        return "suspect" if known.failures else "up"

    def is_up(self, trunk: str) -> bool:
        """The trunk has a peer that takes calls, as far as we know."""
        found = self._trunking.directory.get(trunk)
        return found is not None and any(self.state(peer) != "down" for peer in found.peers)

    def answered_at(self, peer: str) -> float | None:
        known = self._peers.get(peer)
        return known.answered_at if known is not None else None

    def round_trip(self, peer: str) -> float | None:
        known = self._peers.get(peer)
        return known.round_trip if known is not None else None

    def tick(self) -> None:
        """Send what is due; call it a few times a second."""
        now = self._monotonic()
        sent = 0
        wanted: set[str] = set()
        for trunk in self.trunks():
            if not trunk.options_seconds:
                continue
            for peer in trunk.peers:
                wanted.add(peer)
                known = self._peers.get(peer)
                if known is None:
                    known = self._peers[peer] = _Peer(now)
                if known.due <= now and not known.pending and sent < PER_TURN:
                    sent += 1
                    known.due = now + trunk.options_seconds
                    known.pending = True
                    self._send(trunk.ref, peer, known, now)
        for gone in self._peers.keys() - wanted:
            del self._peers[gone]

    def _send(self, trunk: str, peer: str, known: _Peer, now: float) -> None:
        flow = self._resolver.direct(peer)
        if flow is not None:
            self._probe(trunk, peer, known, flow, now)
        else:
            self._resolver.look_up(peer, lambda flows: self._resolved(trunk, peer, known, flows, now))

    def _resolved(self, trunk: str, peer: str, known: _Peer, flows: list[Flow], now: float) -> None:
        if flows:
            self._probe(trunk, peer, known, flows[0], now)
        else:
            self._done(trunk, peer, known, now, 0)

    def _probe(self, trunk: str, peer: str, known: _Peer, flow: Flow, now: float) -> None:
        self._count += 1
        scope = f"options {self._scope}"
        branch = "z9hG4bK" + self._ids.make(scope, self._count)
        host = self._domain
        lines = (
            ("Max-Forwards", "70"),
            ("From", f"<sip:{host}>;tag={self._ids.make(scope + ' tag', self._count)}"),
            ("To", f"<{peer.partition(';')[0]}>"),
            ("Call-ID", f"options-{self._ids.make(scope + ' call', self._count)}"),
            ("CSeq", "1 OPTIONS"),
            ("Accept", "application/sdp"),
        )
        data = build.request("OPTIONS", peer.partition(";")[0], lines)
        self._core.probes[branch] = lambda status: self._done(trunk, peer, known, now, status)
        self._endpoint.send_request(branch, "OPTIONS", data, flow, now, None)

    def _done(self, trunk: str, peer: str, known: _Peer, sent: float, status: int) -> None:
        known.pending = False
        if status and status != 503:
            known.failures = 0
            known.answered_at = self._wall()
            known.round_trip = self._monotonic() - sent
            histogram = self.round_trips.get(trunk)
            if histogram is None:
                histogram = self.round_trips[trunk] = Histogram(RTT_BOUNDS)
            histogram.observe(known.round_trip)
            self._trunking.answered(peer)
            return
        known.failures += 1
        if known.failures >= DOWN_AFTER:
            self._trunking.failed(peer, self._wall())
