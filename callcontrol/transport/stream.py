"""One TCP, TLS or WebSocket connection: reading, writing, and the deadlines that bound a peer (RFC 3261 §18).

Writing never waits: what the kernel does not take is kept up to a bound, and a peer that does not read is closed.  The
connection knows no table and no limits of others; ``Streams`` does.
"""

from __future__ import annotations

import errno
import socket
from typing import Final, Protocol

from callcontrol.sip.clock import Monotonic, later
from callcontrol.sip.flow import Flow
from callcontrol.transport.bounds import StreamBounds
from callcontrol.transport.codec import Codec
from callcontrol.transport.counters import count
from callcontrol.transport.outbox import Outbox
from callcontrol.transport.poller import BROKEN, READ, WRITE
from callcontrol.transport.shared import Shared
from callcontrol.transport.tls_layer import TlsFailure, TlsLayer

READ_SIZE: Final = 32 * 1024
"""Bytes taken from a connection before others have their turn."""
NEVER: Final = Monotonic(float("inf"))

CONNECTING: Final = 0
"""Outgoing, TCP not there yet."""
HANDSHAKE: Final = 1
"""TLS or WebSocket handshake not complete."""
OPEN: Final = 2
CLOSING: Final = 3
"""We have ended it; last words are being written and the peer's end is awaited."""
CLOSED: Final = 4
PHASES: Final = ("connecting", "handshake", "open", "closing", "closed")


class Owner(Protocol):
    """The table of connections, as a connection sees it."""

    def tls_ready(self, connection: Connection) -> str:
        """Check the peer after the TLS handshake; a non-empty answer is the reason to refuse it."""
        ...

    def opened(self, connection: Connection, now: Monotonic) -> None: ...

    def ended(self, connection: Connection, reason: str, now: Monotonic) -> None:
        """No more messages either way; told once."""
        ...

    def closed(self, connection: Connection) -> None:
        """The socket is gone; told once, after ``ended``."""
        ...

    def watch(self, connection: Connection) -> None:
        """``connection.next_deadline()`` may have come nearer."""
        ...

    def has_output(self, connection: Connection) -> None:
        """``flush`` is wanted at the end of the turn."""
        ...


class Connection:
    """See the module.  ``flow`` is what its messages are received with; its ``conn`` is our id."""

    __slots__ = (
        "_bounds",
        "_closing_by",
        "_codec",
        "_idle_by",
        "_opening_by",
        "_outbox",
        "_owner",
        "_probe_at",
        "_shared",
        "_shut",
        "_sock",
        "_stall_by",
        "_tls",
        "_waiting",
        "_waiting_bytes",
        "_writing",
        "bytes_in",
        "bytes_out",
        "flow",
        "last_heard",
        "messages_in",
        "messages_out",
        "opened_at",
        "outgoing",
        "peer_key",
        "peer_names",
        "phase",
        "users",
        "was_open",
        "watched_at",
    )

    def __init__(
        self,
        sock: socket.socket,
        flow: Flow,
        codec: Codec,
        tls: TlsLayer | None,
        shared: Shared,
        bounds: StreamBounds,
        owner: Owner,
        now: Monotonic,
        *,
        outgoing: bool = False,
        connecting: bool = False,
    ) -> None:
        self.flow = flow
        self.outgoing = outgoing
        self.opened_at = now
        self.last_heard = now
        """When bytes last came, monotonic seconds."""
        self.peer_names: tuple[str, ...] = ()
        """Domains that the peer's verified certificate speaks for (RFC 5922 §7.1)."""
        self.peer_key = ""
        """Under what an outgoing connection is found again; for the owner's use."""
        self.users: set[Flow] = set()
        """Flows without this connection's id that were sent over it; they are told when it ends."""
        self.watched_at = NEVER
        """When the owner will next look at ``next_deadline``; for the owner's use."""
        self.was_open = False
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0
        self._sock = sock
        self._codec = codec
        self._tls = tls
        self._shared = shared
        self._bounds = bounds
        self._owner = owner
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._outbox = Outbox()
        self._writing = connecting
        self._closing_by = self._stall_by = self._probe_at = NEVER
        self._idle_by = NEVER
        opening_s = bounds.connect_s if connecting else bounds.handshake_s
        self._opening_by = later(now, opening_s)
        self.phase = CONNECTING if connecting else HANDSHAKE
        self._shut = False
        shared.poller.add(sock, READ | WRITE if connecting else READ, self._on_ready)

    # -- input -----------------------------------------------------------------------------------------------------

    def _on_ready(self, events: int) -> None:
        now = self._shared.clock.monotonic()
        try:
            if self.phase == CONNECTING:
                self._connected(now)
            elif events & WRITE:
                self.flush(now, room=True)
            if events & (READ | BROKEN) and CONNECTING < self.phase < CLOSED and self._may_read():
                self._read(now)
        except BaseException:
            # A bug of ours: without this the same bytes would be met again on the next turn, for ever.
            self.close("internal error", now)
            raise

    def _may_read(self) -> bool:
        """False: a TLS handshake whose turn has not come; the bytes stay where they are, and ready."""
        if self._tls is None or self._tls.established or self.phase == CLOSING:
            return True
        self._shared.handshakes_left -= 1
        return self._shared.handshakes_left >= 0

    def _connected(self, now: Monotonic) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.close(errno.errorcode.get(code, "error"), now)
            return
        self.phase = HANDSHAKE
        self._opening_by = later(now, self._bounds.connect_s)
        self.start(now)
        self.flush(now, room=True)

    def start(self, now: Monotonic) -> None:
        """TCP is there: begin the handshake, or be open if there is none.  Called by the owner once when accepted."""
        if self._tls is not None:
            if self.outgoing:
                self._decrypt(b"", now)
        elif self._codec.ready:
            self._open(now)
        self._owner.watch(self)

    def _read(self, now: Monotonic) -> None:
        try:
            data = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(errno.errorcode.get(error.errno or 0, "error"), now)
            return
        if not data:
            self.close("peer closed", now)
            return
        transport = self.flow.transport
        count(self._shared.counters.reads, transport)
        count(self._shared.counters.bytes_in, transport, len(data))
        self.bytes_in += len(data)
        self.last_heard = now
        if self.phase == CLOSING:
            return  # read only so that the peer can take our last words (a socket closed with unread bytes resets)
        if self._tls is None:
            self._take(data, now)
            return
        plain = self._decrypt(data, now)
        if plain and self.phase < CLOSING:
            self._take(plain, now)
        if self._tls.peer_closed and self.phase < CLOSING:
            self.close("peer closed", now)

    def _decrypt(self, data: bytes, now: Monotonic) -> bytes:
        tls = self._tls
        assert tls is not None
        was_established = tls.established
        try:
            plain = tls.feed(data)
        except TlsFailure as failure:
            count(self._shared.counters.tls_failures, failure.reason)
            self.finish("tls", now)
            return b""
        if tls.waiting():
            self._owner.has_output(self)
        if tls.established and not was_established:
            self.peer_names = tls.peer_identities()
            refusal = self._owner.tls_ready(self)
            if refusal:
                count(self._shared.counters.tls_failures, refusal)
                self.finish("tls", now)
                return b""
            if self._codec.ready:
                self._open(now)
        return plain

    def _open(self, now: Monotonic) -> None:
        self.phase = OPEN
        self.was_open = True
        bounds = self._bounds
        self._idle_by = later(now, bounds.idle_s if self.outgoing else bounds.first_message_s)
        if self._codec.probes:
            self._probe_at = later(now, bounds.ping_s)
        self._owner.opened(self, now)
        for message in self._waiting:
            self._put(self._codec.wrap(message))
            self._count_sent()
        self._waiting.clear()
        self._waiting_bytes = 0

    def _take(self, data: bytes, now: Monotonic) -> None:
        """Bytes of the peer, decrypted: to the codec, and its messages to the endpoint."""
        codec = self._codec
        pings = codec.pings
        messages = codec.feed(data)
        if codec.replies:
            self._put(bytes(codec.replies))
            codec.replies.clear()
        if codec.ready and self.phase == HANDSHAKE:
            self._open(now)
            self._owner.watch(self)
        pings = codec.pings - pings
        if messages or pings:
            self._idle_by = later(now, self._bounds.idle_s)
            self._shared.counters.pings += pings
        if messages:
            self._deliver(messages, now)
        if codec.ended:
            self.finish(codec.ended, now)

    def _deliver(self, messages: list[bytes], now: Monotonic) -> None:
        shared, flow = self._shared, self.flow
        gate, host = shared.gate, flow.host
        count(shared.counters.messages_in, flow.transport, len(messages))
        self.messages_in += len(messages)
        for message in messages:
            if gate.admit(host, now) and gate.inspect(message, host, now, reliable=True):
                shared.endpoint.receive(message, flow, now)
            else:
                count(shared.counters.dropped, "gate")

    # -- output ----------------------------------------------------------------------------------------------------

    def send(self, message: bytes, now: Monotonic) -> bool:
        """Take ``message`` for the peer.  False: the connection is ending, or too much waits for it to open."""
        if self.phase == OPEN:
            self._put(self._codec.wrap(message))
            self._count_sent()
            if self.pending_bytes() > self._bounds.write_bytes:
                self.flush(now)
                if self.pending_bytes() > self._bounds.write_bytes:
                    self.close("slow reader", now)
            return True
        if self.phase >= CLOSING or self._waiting_bytes + len(message) > self._bounds.queue_bytes:
            return False
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        return True

    def _count_sent(self) -> None:
        self.messages_out += 1
        count(self._shared.counters.messages_out, self.flow.transport)

    def _put(self, data: bytes) -> None:
        if self._outbox.put(data):
            self._owner.has_output(self)

    def pending_bytes(self) -> int:
        """Bytes taken for the peer that the kernel has not taken from us."""
        pending = self._outbox.size() + self._waiting_bytes
        return pending + self._tls.waiting() if self._tls is not None else pending

    def tls_version(self) -> str:
        """Such as TLSv1.3; empty without TLS."""
        return "" if self._tls is None else self._tls.version()

    def flush(self, now: Monotonic, *, room: bool = False) -> None:
        """Write until all is written or the kernel takes no more.  Never waits, never raises.

        ``room``: the kernel has told that it takes more; until then there is no point in trying.
        """
        if self.phase == CONNECTING or self.phase == CLOSED or (self._writing and not room):
            return
        try:
            written, done = self._outbox.write(self._sock, self._tls)
        except OSError as error:
            self.close(errno.errorcode.get(error.errno or 0, "error"), now)
            return
        except TlsFailure as failure:
            count(self._shared.counters.tls_failures, failure.reason)
            self.close("tls", now)
            return
        self.bytes_out += written
        count(self._shared.counters.bytes_out, self.flow.transport, written)
        if not done:
            self._await_room(now, progress=written > 0)
            return
        if self._writing:
            self._writing = False
            self._stall_by = NEVER
            self._shared.poller.modify(self._sock, READ)
        if self.phase == CLOSING and not self._shut:
            self._shut = True
            self._shut_down()

    def _await_room(self, now: Monotonic, *, progress: bool) -> None:
        if self._writing and not progress:
            return
        self._stall_by = later(now, self._bounds.stall_s)
        if not self._writing:
            self._writing = True
            self._shared.poller.modify(self._sock, READ | WRITE)
            self._owner.watch(self)

    # -- ends ------------------------------------------------------------------------------------------------------

    def finish(self, reason: str, now: Monotonic) -> None:
        """End in good order: write what is waiting and the last words of the protocol, then close."""
        if self.phase >= CLOSING:
            return
        if self.phase == CONNECTING:
            self.close(reason, now)
            return
        goodbye = self._codec.goodbye()
        if goodbye:
            self._put(goodbye)
        self.phase = CLOSING
        self._closing_by = later(now, self._bounds.linger_s)
        self._owner.watch(self)
        self._owner.ended(self, reason, now)
        self.flush(now)

    def _shut_down(self) -> None:
        try:
            if self._tls is not None:
                self._tls.goodbye()
                self._sock.send(self._tls.take())
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close_socket()  # the peer was faster; nothing of ours is left to be read

    def close(self, reason: str, now: Monotonic) -> None:
        """End at once; what was not written is lost.  Harmless when it has ended already."""
        if self.phase < CLOSING:
            self.phase = CLOSING
            self._owner.ended(self, reason, now)
        self._close_socket()

    def _close_socket(self) -> None:
        if self.phase == CLOSED:
            return
        self.phase = CLOSED
        self._outbox.clear()
        self._shared.poller.close_socket(self._sock)
        self._owner.closed(self)

    # -- time ------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> Monotonic:
        """When ``expire`` has something to do, at the earliest."""
        if self.phase == OPEN:
            return min(self._idle_by, self._stall_by, self._probe_at)
        if self.phase == CLOSING:
            return self._closing_by
        return NEVER if self.phase == CLOSED else self._opening_by

    def expire(self, now: Monotonic) -> None:
        """A deadline has passed."""
        if self.phase == CLOSING:
            self._close_socket()
        elif self.phase == CONNECTING:
            self.close("connect timeout", now)
        elif self.phase == HANDSHAKE:
            self.close("handshake timeout", now)
        elif self.phase == OPEN:
            if now >= self._stall_by:
                self.close("stalled", now)
            elif now >= self._idle_by:
                self.finish("idle", now)
            elif now >= self._probe_at:
                self._probe(now)

    def _probe(self, now: Monotonic) -> None:
        """Ask a silent WebSocket whether it lives; close it when it did not answer the last time."""
        silent_s = now - self.last_heard
        if silent_s < self._bounds.ping_s:
            self._probe_at = later(self.last_heard, self._bounds.ping_s)
        elif silent_s < self._bounds.ping_s + self._bounds.pong_s:
            self._put(self._codec.probe())
            self._probe_at = later(now, self._bounds.pong_s)
        else:
            self.close("no pong", now)
