"""The table of stream connections: accepting, connecting, finding one for a flow, limits and deadlines.

Ids are not reused, not even by the next process (they start at random): a stored flow whose connection is gone must fail, not
reach whoever got the same number.  Ids above zero name a connection; ids below zero name a *TLS target*, an address together
with the domain that it must prove to be (RFC 5922 §7.3), to which a connection is opened when something is sent.
"""

from __future__ import annotations

import errno
import heapq
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from callcontrol.sip.clock import Monotonic
from callcontrol.sip.flow import Flow, Listener, bracketed
from callcontrol.transport.accepting import Acceptor
from callcontrol.transport.bounds import StreamBounds
from callcontrol.transport.codec import Codec, SipStream
from callcontrol.transport.counters import count
from callcontrol.transport.shared import Shared
from callcontrol.transport.stream import CLOSED, NEVER, OPEN, PHASES, Connection
from callcontrol.transport.tls import TlsContexts, speaks_for
from callcontrol.transport.tls_layer import TlsLayer
from callcontrol.transport.websocket import WebSocket, WebSocketPolicy

MAX_TARGETS: Final = 4096
OWN_BITS: Final = 47
"""Lower bits of a connection id; those above say which process of the node has it."""
# A peer that is gone without a word is noticed in two minutes when silent, in 20 s when something was sent to it.
_TCP_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
)


class TlsTarget(NamedTuple):
    """Where a negative id leads: address, and the domain whose certificate must be shown there."""

    transport: str
    host: str
    port: int
    domain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRow:
    """One line of the connection table, for the operator."""

    id: int
    transport: str
    direction: str
    remote: str
    listener: str
    phase: str
    age_s: float
    silent_s: float
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    pending_bytes: int
    tls: str
    """TLS version; empty without TLS."""
    peer_names: tuple[str, ...]


class Streams:
    """See the module.  Implements ``stream.Owner``."""

    def __init__(
        self,
        shared: Shared,
        bounds: StreamBounds,
        policy: WebSocketPolicy,
        on_lost: Callable[[int], None] | None,
        first_id: int = 0,
    ) -> None:
        """``first_id``: a multiple of ``2 ** OWN_BITS`` that tells this process's connections from those of others."""
        self.tls: TlsContexts | None = None
        self.elsewhere: Callable[[Flow, bytes], bool] | None = None
        """Sends over a connection that another process of this node may have; False: it has none."""
        self._shared = shared
        self._bounds = bounds
        self._policy = policy
        self._on_lost = on_lost
        self.acceptor = Acceptor(shared, bounds, self._accepted)
        # with the counter below 2**53, exact in any store; of equal length behind what tells whose connections they are
        self._next_id = first_id + (secrets.randbits(30 if not first_id else OWN_BITS - 22) << 22) + 1
        self._next_target = -self._next_id
        self._connections: dict[int, Connection] = {}
        self._by_peer: dict[str, Connection] = {}
        self._targets: dict[int, TlsTarget] = {}
        self._target_ids: dict[TlsTarget, int] = {}
        self._dirty: list[Connection] = []
        self._deadlines: list[tuple[float, int]] = []

    # -- accepting -------------------------------------------------------------------------------------------------

    def _accepted(
        self, listener: Listener, sock: socket.socket, host: str, port: int, now: Monotonic
    ) -> None:
        transport = listener.transport
        for option in _TCP_OPTIONS:
            sock.setsockopt(*option)
        tls = None
        if transport in ("tls", "wss"):
            assert self.tls is not None  # the driver refuses to listen without
            tls = TlsLayer(self.tls.server, server=True)
        flow = Flow(transport, host, port, listener.name, self._take_id())
        connection = Connection(
            sock, flow, self._codec(transport), tls, self._shared, self._bounds, self, now
        )
        self._connections[flow.conn] = connection
        self.acceptor.add(host)
        self.acceptor.total += 1
        self.acceptor.opening += 1
        count(self._shared.counters.accepted, transport)
        connection.start(now)

    def _codec(self, transport: str) -> Codec:
        return WebSocket(self._policy) if transport in ("ws", "wss") else SipStream()

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id

    # -- sending and connecting ------------------------------------------------------------------------------------

    def target(self, transport: str, host: str, port: int, domain: str) -> int:
        """Id for ``Flow.conn``: a TLS connection to this address, verified to be ``domain`` (RFC 5922 §7.3)."""
        target = TlsTarget(transport, host, port, domain.lower())
        known = self._target_ids.get(target)
        if known is not None:
            return known
        if len(self._targets) >= MAX_TARGETS:
            oldest = next(iter(self._targets))
            del self._target_ids[self._targets.pop(oldest)]
        self._next_target -= 1
        self._targets[self._next_target] = target
        self._target_ids[target] = self._next_target
        return self._next_target

    def send(self, flow: Flow, data: bytes, now: Monotonic) -> None:
        """Send one message over the flow's connection, opening it if need be.  Failures go to the endpoint."""
        connection = self._existing(flow, data, now) if flow.conn > 0 else self._to_peer(flow, now)
        if connection is not None and not connection.send(data, now):
            self._shared.send_failed(
                flow, "queue full" if connection.phase < OPEN else "connection closing", now
            )

    def _existing(self, flow: Flow, data: bytes, now: Monotonic) -> Connection | None:
        connection = self._connections.get(flow.conn)
        if connection is not None:
            its = connection.flow
            if its.port == flow.port and its.host == flow.host and its.transport == flow.transport:
                return connection
        elif self.elsewhere is not None and self.elsewhere(flow, data):
            return None
        self._shared.send_failed(flow, "no connection", now)
        return None

    def _to_peer(self, flow: Flow, now: Monotonic) -> Connection | None:
        domain = ""
        if flow.conn < 0:
            target = self._targets.get(flow.conn)
            if target is None or target[:3] != (flow.transport, flow.host, flow.port):
                self._shared.send_failed(flow, "unknown target", now)
                return None
            domain = target.domain
        key = f"{flow.transport}|{flow.host}|{flow.port}|{domain}"
        connection = self._by_peer.get(key)
        if connection is None:
            failure, connection = self._connect(flow, key, domain, now)
            if connection is None:
                count(self._shared.counters.connect_failed, failure)
                self._shared.send_failed(flow, failure, now)
                return None
        connection.users.add(flow)
        return connection

    def _connect(self, flow: Flow, key: str, domain: str, now: Monotonic) -> tuple[str, Connection | None]:
        """Begin a connection; (why not, None) when it fails on the spot."""
        if flow.transport not in ("tcp", "tls"):
            return "no connection", None  # a browser cannot be connected to (RFC 7118 §5.2.2)
        listeners = self._shared.endpoint.listeners
        listener = listeners.get(flow.listener) or listeners.pick(flow.transport, flow.host)
        if listener is None:
            return "no listener", None
        if len(self._connections) >= self._bounds.connections:
            return "connections", None
        try:
            tls = self._client_layer(domain) if flow.transport == "tls" else None
            sock = _begin_connect(flow.host, flow.port, listener.host)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, "not an address"), None
        except (ValueError, OverflowError):
            return "not an address", None
        own = Flow(flow.transport, flow.host, flow.port, listener.name, self._take_id())
        bounds = self._bounds
        connection = Connection(
            sock, own, SipStream(), tls, self._shared, bounds, self, now, outgoing=True, connecting=True
        )
        connection.peer_key = key
        self._connections[own.conn] = self._by_peer[key] = connection
        self.acceptor.total += 1
        self.watch(connection)
        return "", connection

    def _client_layer(self, domain: str) -> TlsLayer:
        """Raises ValueError for a domain that cannot be named in a handshake (a label too long, say)."""
        if self.tls is None:
            raise ValueError("no certificate")
        return TlsLayer(self.tls.client, server=False, server_name=domain or None)

    def flush(self, now: Monotonic) -> None:
        """Write what the turn has produced, one write per connection."""
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.flush(now)

    # -- what connections report (stream.Owner) --------------------------------------------------------------------

    def tls_ready(self, connection: Connection) -> str:
        tls = self.tls
        if not connection.outgoing or tls is None or not tls.files.verify_servers:
            return ""
        name = connection.peer_key.rpartition("|")[2] or connection.flow.host
        return "" if speaks_for(connection.peer_names, name, tls.files.allow_wildcards) else "wrong name"

    def opened(self, connection: Connection, now: Monotonic) -> None:
        if connection.outgoing:
            count(self._shared.counters.connected, connection.flow.transport)
        else:
            self.acceptor.opening -= 1

    def ended(self, connection: Connection, reason: str, now: Monotonic) -> None:
        shared, flow = self._shared, connection.flow
        count(shared.counters.closed, reason)
        if self._by_peer.get(connection.peer_key) is connection:
            del self._by_peer[connection.peer_key]
        if not connection.was_open:
            if connection.outgoing:
                count(shared.counters.connect_failed, reason)
                for user in connection.users:
                    shared.send_failed(user, "connect failed", now)
            else:
                self.acceptor.opening -= 1
            return
        shared.unfinished = True
        shared.endpoint.connection_lost(flow.conn, now)
        for (
            user
        ) in connection.users:  # requests were sent to the address, or to a target, and wait under that name
            shared.endpoint.connection_lost(user.conn, now, None if user.conn else user)
        if self._on_lost is not None:
            self._on_lost(flow.conn)

    def closed(self, connection: Connection) -> None:
        del self._connections[connection.flow.conn]
        self.acceptor.total -= 1
        if not connection.outgoing:
            self.acceptor.remove(connection.flow.host)

    def watch(self, connection: Connection) -> None:
        when = connection.next_deadline()
        if when < connection.watched_at:
            connection.watched_at = when
            heapq.heappush(self._deadlines, (when, connection.flow.conn))

    def has_output(self, connection: Connection) -> None:
        self._dirty.append(connection)

    # -- time ------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """When ``expire`` should be called, monotonic seconds; infinity when there is nothing to wait for."""
        first = self._deadlines[0][0] if self._deadlines else NEVER
        return min(first, self.acceptor.next_deadline())

    def expire(self, now: Monotonic) -> None:
        """Let connections whose deadline has passed act.  Deadlines that moved back were left in place: look again."""
        self.acceptor.expire(now)
        heap = self._deadlines
        while heap and heap[0][0] <= now:
            when, conn_id = heapq.heappop(heap)
            connection = self._connections.get(conn_id)
            if connection is None or connection.watched_at != when:
                continue
            connection.watched_at = NEVER
            if connection.next_deadline() <= now:
                connection.expire(now)
            if connection.phase != CLOSED:
                self.watch(connection)

    # -- looking -----------------------------------------------------------------------------------------------------

    def get(self, conn_id: int) -> Connection | None:
        return self._connections.get(conn_id)

    def totals(self) -> dict[tuple[str, str], int]:
        """Connections by transport and phase."""
        table: dict[tuple[str, str], int] = {}
        for connection in self._connections.values():
            key = (connection.flow.transport, PHASES[connection.phase])
            table[key] = table.get(key, 0) + 1
        return table

    def rows(self, now: Monotonic) -> list[ConnectionRow]:
        return [_row(connection, now) for connection in self._connections.values()]

    def finish_all(self, now: Monotonic) -> None:
        """End every connection in good order."""
        for connection in list(self._connections.values()):
            connection.finish("shutdown", now)

    def close_all(self, now: Monotonic) -> None:
        for connection in list(self._connections.values()):
            connection.close("shutdown", now)

    def __len__(self) -> int:
        return len(self._connections)


def _begin_connect(host: str, port: int, local_host: str) -> socket.socket:
    """A socket on its way to ``host``, from the address that its listener is bound to.

    Raises OSError when it fails on the spot, ValueError or OverflowError when host or port make no sense.
    """
    six = ":" in host
    family = socket.AF_INET6 if six else socket.AF_INET
    try:
        socket.inet_pton(family, host.partition("%")[0])
    except OSError as error:
        raise ValueError(f"{host!r} is a name") from error  # connect would ask the DNS, and block
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        for option in _TCP_OPTIONS:
            sock.setsockopt(*option)
        if local_host not in ("0.0.0.0", "::") and (":" in local_host) == six:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((local_host, 0))
        code = sock.connect_ex((host, port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")
    except BaseException:
        sock.close()
        raise
    return sock


def _row(connection: Connection, now: Monotonic) -> ConnectionRow:
    flow = connection.flow
    return ConnectionRow(
        id=flow.conn,
        transport=flow.transport,
        direction="out" if connection.outgoing else "in",
        remote=f"{bracketed(flow.host)}:{flow.port}",
        listener=flow.listener,
        phase=PHASES[connection.phase],
        age_s=now - connection.opened_at,
        silent_s=now - connection.last_heard,
        messages_in=connection.messages_in,
        messages_out=connection.messages_out,
        bytes_in=connection.bytes_in,
        bytes_out=connection.bytes_out,
        pending_bytes=connection.pending_bytes(),
        tls=connection.tls_version(),
        peer_names=connection.peer_names,
    )
