"""What the sockets of one driver share: endpoint, gate, clock, counters and the epoll set."""

from __future__ import annotations

from callcontrol.sip.clock import Monotonic
from callcontrol.sip.flow import Flow
from callcontrol.transport.counters import Counters, count
from callcontrol.transport.poller import Poller
from callcontrol.transport.ports import Clock, Gate, SipEndpoint, Watcher


class Shared:
    """Passed to every socket and connection, so that none of them has to know the driver."""

    __slots__ = ("clock", "counters", "endpoint", "gate", "handshakes_left", "poller", "unfinished")

    def __init__(self, endpoint: SipEndpoint, gate: Gate, clock: Clock) -> None:
        self.endpoint = endpoint
        self.gate = gate
        self.clock = clock
        self.counters = Counters()
        self.poller: Watcher = Poller()
        self.handshakes_left = 0
        """TLS handshake steps that this turn may still take: each costs up to milliseconds of public-key arithmetic, and a
        storm of reconnecting phones must not hold up calls.  Set by the driver."""
        self.unfinished = False
        """The endpoint was told something outside of the input batch: the transaction users are owed a turn."""

    def send_failed(self, flow: Flow, reason: str, now: Monotonic) -> None:
        """Tell the endpoint that ``flow`` cannot be sent to (RFC 3261 §18.4); its transactions fail at once."""
        count(self.counters.dropped, reason)
        self.unfinished = True
        self.endpoint.send_failed(flow, now)
