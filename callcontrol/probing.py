"""OPTIONS probes of trunk peers: the shell of ``gateway.health`` (trunks with ``options_seconds``).

Sent from the loop's tick, a few at a time, so that many trunks do not make a burst.  Each change of a state is one log line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from callcontrol.core import Core
from callcontrol.histogram import Histogram
from callcontrol.ids import KeyedIds
from callcontrol.logs import get_logger
from callcontrol.ports import Resolver
from callcontrol.sip import build
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.usage import Contacts
from callcontrol.trunk_registration import Registrations
from callcontrol.trunking import Trunking, our_domain
from gateway.capacity import LEASE_S
from gateway.health import DOWN, Peer
from gateway.routes import Route, peer_key
from gateway.trunk import Trunk

PER_TURN: Final = 5
RTT_BOUNDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 32)


class _Probe:
    """One OPTIONS under way."""

    __slots__ = ("_key", "_prober", "_sent", "_serial", "_trunk")

    def __init__(self, prober: Prober, trunk: str, key: str, serial: int, sent: float) -> None:
        self._prober = prober
        self._trunk = trunk
        self._key = key
        self._serial = serial
        self._sent = sent

    def answered(self, message: Message | None, flow: Flow | None) -> None:
        if message is None:
            self.failed("no answer to OPTIONS")
        elif message.status == 503:
            self.failed("503 to OPTIONS")
        else:
            # any other answer shows that somebody is there who speaks SIP: many refuse OPTIONS of strangers
            self._prober.done(self._trunk, self._key, self._serial, "", self._sent)

    def failed(self, why: str) -> None:
        self._prober.done(self._trunk, self._key, self._serial, why, self._sent)


class Prober:
    """Probes the peers of all trunks, and tells their state."""

    def __init__(
        self,
        core: Core,
        endpoint: Endpoint,
        trunking: Trunking,
        resolver: Resolver,
        ids: KeyedIds,
        contacts: Contacts,
        domain: str,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        scope: str,
        lease_s: float = LEASE_S,
    ) -> None:
        """``scope`` makes the identifiers of this process its own; ``lease_s``: life of channels without news of us."""
        self._core = core
        self._endpoint = endpoint
        self._trunking = trunking
        self._health = trunking.health
        self._resolver = resolver
        self._ids = ids
        self._contacts = contacts
        self._domain = domain
        self._monotonic = monotonic
        self._wall = wall
        self._scope = f"options {scope}"
        self._lease_s = lease_s
        self._renew_at = 0.0
        self._count = 0
        self._log = get_logger("trunks")
        self.round_trips: dict[str, Histogram] = {}
        """By trunk."""
        self.registrations: Registrations | None = None
        """Told of peers that come back; None: nobody registers."""
        self.changes: dict[tuple[str, str], int] = {}
        """How often peers changed: (trunk, state) -> count."""

    def trunks(self) -> tuple[Trunk, ...]:
        return self._trunking.directory.all()

    def trunk(self, ref: str) -> Trunk | None:
        return self._trunking.directory.get(ref)

    @property
    def country(self) -> str:
        """Country in which numbers are read when nothing else tells one."""
        return self._trunking.country

    def routes(self, number: str) -> tuple[Route, ...]:
        """Peers for a number in the order in which they would be tried now, and why."""
        return self._trunking.routes(number, self._wall())

    def channels(self, trunk: str) -> int:
        return self._trunking.channels.in_use(trunk)

    def peer(self, trunk: str, peer: str) -> Peer | None:
        """What is known of a peer."""
        return self._health.get(peer_key(trunk, peer))

    def is_up(self, trunk: str) -> bool:
        """The trunk has a peer that takes calls, as far as we know."""
        found = self._trunking.directory.get(trunk)
        return found is not None and any(
            self._health.state(peer_key(trunk, peer)) != DOWN for peer in found.peers
        )

    def states(self) -> dict[tuple[str, str, str], int]:
        """(trunk, number of the peer from 1, state) -> 1, for metrics: addresses are no labels."""
        return {
            (trunk.ref, str(number), self._health.state(peer_key(trunk.ref, peer))): 1
            for trunk in self.trunks()
            for number, peer in enumerate(trunk.peers, 1)
        }

    def tick(self) -> None:
        """Send what is due and tell what changed; call it a few times a second."""
        now = self._wall()
        self._trunking.follow(now)
        if now >= self._renew_at:
            # three times in a lease, so that one that was missed costs nothing
            self._renew_at = now + self._lease_s / 3
            self._trunking.channels.renew(now)
        for key in self._health.due(now, PER_TURN):
            ref, _, peer = key.partition(" ")
            trunk = self._trunking.directory.get(ref)
            if trunk is not None:
                self._send(trunk, peer, key, now)
        self._tell()

    def _tell(self) -> None:
        changes, self._health.changes = self._health.changes, []
        for change in changes:
            trunk, _, peer = change.key.partition(" ")
            counted = (trunk, change.after)
            self.changes[counted] = self.changes.get(counted, 0) + 1
            if change.before == DOWN and self.registrations is not None:
                self.registrations.peer_is_back(trunk, peer)
            say = self._log.warning if change.after == DOWN else self._log.info
            say(
                f"trunk peer is {change.after}",
                trunk=trunk,
                peer=peer,
                before=change.before,
                why=change.why,
            )

    def _send(self, trunk: Trunk, peer: str, key: str, now: float) -> None:
        probe = _Probe(self, trunk.ref, key, self._health.sent(key, now), self._monotonic())
        flow = self._resolver.direct(peer)
        if flow is not None:
            self._probe(trunk, peer, probe, flow)
            return

        def resolved(flows: list[Flow]) -> None:
            if flows:
                self._probe(trunk, peer, probe, flows[0])
            else:
                probe.failed("its name leads nowhere")

        self._resolver.look_up(peer, resolved)

    def _probe(self, trunk: Trunk, peer: str, probe: _Probe, flow: Flow) -> None:
        self._count += 1
        make, count = self._ids.make, self._count
        branch = "z9hG4bK" + make(self._scope, count)
        host = trunk.host or our_domain(trunk) or self._domain
        target = peer.partition(";")[0]
        lines = (
            ("Max-Forwards", "70"),
            ("From", f"<sip:{host}>;tag={make(self._scope + ' tag', count)}"),
            ("To", f"<{target}>"),
            ("Call-ID", f"options-{make(self._scope + ' call', count)}"),
            ("CSeq", "1 OPTIONS"),
            ("Contact", f"<{self._contacts.uri('options', flow.dump(), trunk.host)}>"),
            ("Accept", "application/sdp"),
        )
        data = build.request("OPTIONS", target, lines)
        self._core.asked[branch] = probe.answered
        self._endpoint.send_request(branch, "OPTIONS", data, flow, self._monotonic(), None)

    def done(self, trunk: str, key: str, serial: int, why: str, sent: float) -> None:
        """The outcome of a probe; ``why`` is empty when it was answered."""
        took = self._monotonic() - sent
        if self._health.probed(key, serial, why, took, self._wall()) and not why:
            histogram = self.round_trips.get(trunk)
            if histogram is None:
                histogram = self.round_trips[trunk] = Histogram(RTT_BOUNDS)
            histogram.observe(took)
        self._tell()
