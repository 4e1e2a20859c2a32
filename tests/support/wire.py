"""A deterministic network under virtual time: endpoints wired together, with latency, loss, duplication, reordering.

Loss is a pattern, not dice: each link (one direction between two hosts) repeats its list of fates, so a run is
the same every time and a failing test names what was lost.  Streams keep order and lose nothing, but can be
refused and cut.  Time moves from one thing due to the next; nobody sleeps.

    net = Network()
    a, b = net.node("10.0.0.1"), net.node("10.0.0.2")
    net.link("10.0.0.1", "10.0.0.2").fates = [LOSE, DELIVER]
    a.endpoint.send_request(...)
    net.run_until(40.0)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import Event
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.timers import SipTimers

Fate = tuple[float, ...]
"""Extra delays after which a datagram arrives: none is lost, (0,) normal, (0, 0) doubled, (0.3,) overtaken."""

DELIVER: Fate = (0.0,)
LOSE: Fate = ()
DOUBLE: Fate = (0.0, 0.0)
LATE: Fate = (0.3,)


class Link:
    """One direction between two hosts."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.fates: Sequence[Fate] = (DELIVER,)
        """Repeated for ever, one per datagram."""
        self.sent = 0

    def next_fate(self) -> Fate:
        fate = self.fates[self.sent % len(self.fates)]
        self.sent += 1
        return fate


class Node:
    """One host: an endpoint with its listeners, and its user."""

    def __init__(self, network: Network, host: str, endpoint: Endpoint) -> None:
        self.network = network
        self.host = host
        self.endpoint = endpoint
        self.turn: Callable[[Node], None] | None = None
        """Called after each input; it works off ``endpoint.events``.  None: they pile up in ``seen``."""
        self.seen: list[tuple[float, Event]] = []
        self.refuses_streams = False
        self.up = True

    def flow_to(self, other: Node, transport: str = "udp") -> Flow:
        """The flow from here to the port 5060 of another node."""
        return Flow(transport, other.host, 5060, f"{transport}:{self.host}:5060")

    def settle(self) -> None:
        """Let the user work off the events and the network take what is to be sent."""
        if self.turn is not None:
            self.turn(self)
        else:
            self.seen += [(self.network.now, event) for event in self.endpoint.events]
            self.endpoint.events.clear()
        out = self.endpoint.out
        while out:
            batch = out[:]
            del out[: len(batch)]
            for flow, data in batch:
                self.network.transmit(self, flow, data)


class Connection:
    """A stream between two nodes; each end knows it by the same id."""

    def __init__(self, conn: int, opener: Node, acceptor: Node, transport: str, opener_port: int) -> None:
        self.conn = conn
        self.opener = opener
        self.acceptor = acceptor
        self.transport = transport
        self.opener_port = opener_port


class Network:
    """The hosts, what is under way between them, and the time."""

    def __init__(self, latency: float = 0.01, start: float = 0.0) -> None:
        self.now = start
        self.latency = latency
        self.nodes: dict[str, Node] = {}
        self.links: dict[tuple[str, str], Link] = {}
        self.connections: dict[int, Connection] = {}
        self.log: list[tuple[float, str, str, bytes]] = []
        """(time, from host, to host, data) of everything sent, lost ones included."""
        self._queue: list[tuple[float, int, Node, Flow, bytes]] = []
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def node(
        self,
        host: str,
        transports: Sequence[str] = ("udp", "tcp"),
        timers: SipTimers | None = None,
        endpoint: Endpoint | None = None,
    ) -> Node:
        """A new host with listeners on port 5060, named ``udp:HOST:5060`` and so on."""
        if endpoint is None:
            endpoint = Endpoint(timers or SipTimers(), Listeners(), secret=host.encode())
        for transport in transports:
            endpoint.listeners.add(Listener(f"{transport}:{host}:5060", transport, host, 5060))
        node = Node(self, host, endpoint)
        self.nodes[host] = node
        return node

    def link(self, source: str, target: str) -> Link:
        """The direction from one host to another, to be made worse."""
        link = self.links.get((source, target))
        if link is None:
            link = self.links[source, target] = Link(self.latency)
        return link

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at a given time."""
        self._count += 1
        heapq.heappush(self._calls, (when, self._count, action))

    def transmit(self, sender: Node, flow: Flow, data: bytes) -> None:
        """Put one message on the wire; ``flow`` is the sender's."""
        self.log.append((self.now, sender.host, flow.host, data))
        if flow.reliable:
            self._transmit_stream(sender, flow, data)
            return
        receiver = self.nodes.get(flow.host)
        fate = self.link(sender.host, flow.host).next_fate()
        if receiver is None or flow.port != 5060:
            return
        arrives = Flow("udp", sender.host, 5060, f"udp:{receiver.host}:5060")
        for extra in fate:
            self._deliver(self.link(sender.host, flow.host).latency + extra, receiver, arrives, data)

    def _transmit_stream(self, sender: Node, flow: Flow, data: bytes) -> None:
        connection = self.connections.get(flow.conn) if flow.conn else self._connection(sender, flow)
        if connection is None:
            failed = flow
            self.at(self.now + self.latency, lambda: self._report(sender, failed))
            return
        receiver, port = connection.acceptor, connection.opener_port
        if sender is connection.acceptor:
            receiver, port = connection.opener, 5060
        name = f"{connection.transport}:{receiver.host}:5060"
        arrives = Flow(connection.transport, sender.host, port, name, connection.conn)
        self._deliver(self.link(sender.host, receiver.host).latency, receiver, arrives, data)

    def _report(self, sender: Node, flow: Flow) -> None:
        sender.endpoint.send_failed(flow, self.now)
        sender.settle()

    def _connection(self, sender: Node, flow: Flow) -> Connection | None:
        for connection in self.connections.values():
            if (
                connection.opener is sender
                and connection.acceptor.host == flow.host
                and connection.transport == flow.transport
            ):
                return connection
        acceptor = self.nodes.get(flow.host)
        if acceptor is None or acceptor.refuses_streams or not acceptor.up or flow.port != 5060:
            return None
        conn = len(self.log) + 1
        connection = Connection(conn, sender, acceptor, flow.transport, 40000 + conn % 20000)
        self.connections[conn] = connection
        return connection

    def cut(self, conn: int) -> None:
        """Break a connection: both ends are told, what is under way is lost."""
        connection = self.connections.pop(conn)
        self._queue = [item for item in self._queue if item[3].conn != conn]
        heapq.heapify(self._queue)
        for node, other in (
            (connection.opener, connection.acceptor),
            (connection.acceptor, connection.opener),
        ):
            port = 5060 if node is connection.opener else connection.opener_port
            peer = Flow(connection.transport, other.host, port, "", conn)
            node.endpoint.connection_lost(conn, self.now, peer)
            node.settle()

    def _deliver(self, delay: float, receiver: Node, flow: Flow, data: bytes) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, receiver, flow, data))

    def next_event(self) -> float | None:
        """When something happens next, None if never again."""
        times = [node.endpoint.next_deadline() for node in self.nodes.values() if node.up]
        times += [self._queue[0][0] if self._queue else None, self._calls[0][0] if self._calls else None]
        return min((t for t in times if t is not None), default=None)

    def run_until(self, end: float, steps: int = 1_000_000) -> None:
        """Play everything due up to ``end``, in order of time; AssertionError if it does not come to rest."""
        for node in self.nodes.values():
            node.settle()
        for _ in range(steps):
            due = self.next_event()
            if due is None or due > end:
                self.now = max(self.now, end)
                return
            self.now = max(self.now, due)
            self._play()
        raise AssertionError(f"still busy at {self.now} after {steps} steps")

    def _play(self) -> None:
        while self._calls and self._calls[0][0] <= self.now:
            heapq.heappop(self._calls)[2]()
            for node in self.nodes.values():
                node.settle()
        while self._queue and self._queue[0][0] <= self.now:
            _, _, receiver, flow, data = heapq.heappop(self._queue)
            if receiver.up:
                receiver.endpoint.receive(data, flow, self.now)
                receiver.settle()
        for node in self.nodes.values():
            deadline = node.endpoint.next_deadline()
            if node.up and deadline is not None and deadline <= self.now:
                node.endpoint.tick(self.now)
                node.settle()
