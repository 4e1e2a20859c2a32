"""The driver: owns the sockets, feeds the endpoint, gives the transaction users their turn, writes what comes out.

Everything happens in turns.  A turn is one batch of input (or one tick, or a ``kick``), then ``turn()`` of the transaction
users, then one flush of ``endpoint.out``; what fails while writing is told to the endpoint and earns another round.  No
task, future or timer exists per message or connection: one reader and one timer serve all.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from callcontrol.sip.flow import Flow, Listener
from callcontrol.transport.accepting import open_tcp
from callcontrol.transport.bounds import StreamBounds
from callcontrol.transport.counters import Counters, LagMeter
from callcontrol.transport.listening import make_listener, parse_listen
from callcontrol.transport.poller import READ
from callcontrol.transport.ports import Clock, Gate, SipEndpoint, Sockets, Source
from callcontrol.transport.shared import Shared
from callcontrol.transport.streams import ConnectionRow, Streams
from callcontrol.transport.tls import TlsContexts, TlsError, TlsFiles
from callcontrol.transport.udp import UdpSocket, open_udp
from callcontrol.transport.websocket import WebSocketPolicy

TICK_S: Final = 0.02
"""Seconds between ticks while the endpoint has timers: the grain of its wheel."""
READY_LIMIT: Final = 32
"""Sockets served in one turn: bounds the turn, and with it how long others wait."""
HANDSHAKES: int = 8
"""TLS handshake steps in one turn."""
ROUNDS: Final = 8
"""Rounds of one turn: failures while writing may cause output that fails in turn; then the loop breathes first."""
TLS_WATCH_S: float = 10.0
"""Seconds between looks at the certificate files."""

log = logging.getLogger("cloudline.transport")


class Driver:
    """See the module.

    ``turn`` lets the transaction users work off ``endpoint.events``; ``gate`` decides who may speak; ``on_connection_lost`` is
    told the id of every connection that had been open (bindings over it are dead); ``needs_tick`` keeps the tick going for
    deadlines that the endpoint does not know of.
    """

    def __init__(
        self,
        endpoint: SipEndpoint,
        clock: Clock,
        turn: Callable[[], None],
        gate: Gate,
        *,
        bounds: StreamBounds | None = None,
        websocket: WebSocketPolicy | None = None,
        on_connection_lost: Callable[[int], None] | None = None,
        needs_tick: Callable[[], bool] | None = None,
        sockets: Sockets | None = None,
    ) -> None:
        """``sockets``: None: this process opens its own, and nobody else uses them."""
        self.endpoint = endpoint
        self.lag = LagMeter()
        """How late ticks come: the lag of the event loop."""
        self.tls: TlsContexts | None = None
        self._clock = clock
        self._turn = turn
        self._needs_tick = needs_tick
        bounds = bounds or StreamBounds()
        policy = websocket or WebSocketPolicy(message_bytes=bounds.message_bytes)
        self._shared = Shared(endpoint, gate, clock)
        self._sockets = sockets
        first_id = 0 if sockets is None else sockets.first_connection
        self._streams = Streams(self._shared, bounds, policy, on_connection_lost, first_id)
        self._sources: list[Source] = []
        self._udp: dict[str, UdpSocket] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._ticking = False
        self._tls_timer: asyncio.TimerHandle | None = None
        self._kicked = False
        self._working = False
        self._drained: asyncio.Future[None] | None = None

    # -- start and stop --------------------------------------------------------------------------------------------

    async def start(self, listen: Sequence[str], tls: TlsFiles | None = None, advertise: str = "") -> None:
        """Open the sockets and fill ``endpoint.listeners``; with port 0 their names hold the real port.

        Raises ValueError for an entry that cannot be read, TlsError for unusable certificates, OSError (naming the entry)
        for an address that cannot be bound.  Nothing stays open then.
        """
        addresses = [parse_listen(text) for text in listen]
        if tls is not None:
            self.tls = self._streams.tls = TlsContexts(tls)
        elif any(address.transport in ("tls", "wss") for address in addresses):
            raise TlsError("listening on tls or wss needs sip.tls.certificate and sip.tls.key")
        self._loop = asyncio.get_running_loop()
        try:
            for text, address in zip(listen, addresses, strict=True):
                try:
                    self._listen(text, *address, advertise)
                except OSError as error:
                    raise OSError(error.errno, f"cannot listen on {text}: {error.strerror}") from error
        except BaseException:
            self._close_sockets()
            raise
        self._loop.add_reader(self._shared.poller.fileno(), self._on_ready)
        if self.tls is not None:
            self._watch_tls()
        self._arm()

    def _listen(self, text: str, transport: str, host: str, port: int, advertise: str) -> None:
        sockets = self._sockets
        if sockets is None:
            sock = open_udp(host, port) if transport == "udp" else open_tcp(host, port)
        else:
            sock = sockets.udp(host, port) if transport == "udp" else sockets.tcp(host, port)
        mark = "" if sockets is None else sockets.mark
        try:
            listener = make_listener(parse_listen(text), sock.getsockname()[1], advertise, mark)
        except BaseException:
            sock.close()
            raise
        self.endpoint.listeners.add(listener)
        if transport == "udp":
            reads = sockets is None or sockets.reads
            self._udp[listener.name] = UdpSocket(listener, sock, self._shared, reads)
        else:
            self._streams.acceptor.listen(listener, sock)
        log.info("listening on %s as %s", listener.name, listener.sent_by)

    async def stop(self, drain_s: float = 2.0) -> None:
        """Accept no more, end connections in good order, write what is left for at most ``drain_s``, close everything."""
        if self._loop is None:
            return
        self._streams.acceptor.stop()
        self._work()
        self._streams.finish_all(self._clock.monotonic())
        self._work()
        if self._unwritten():
            self._drained = self._loop.create_future()
            await asyncio.wait([self._drained], timeout=drain_s)
            self._drained = None
        for timer in (self._timer, self._tls_timer):
            if timer is not None:
                timer.cancel()
        # uvloop returns None where asyncio returns a bool, which the compiled driver would stumble over
        unwatch: Callable[[int], object] = self._loop.remove_reader
        unwatch(self._shared.poller.fileno())
        self._close_sockets()
        self._loop = None

    def _unwritten(self) -> int:
        return len(self._streams) + sum(udp.waiting() for udp in self._udp.values())

    def _close_sockets(self) -> None:
        self._streams.acceptor.stop()
        self._streams.close_all(self._clock.monotonic())
        for udp in self._udp.values():
            udp.close()
            self.endpoint.listeners.remove(udp.name)
        self._udp.clear()
        for listener in self.endpoint.listeners.all():
            self.endpoint.listeners.remove(listener.name)
        self._shared.poller.close()

    def attach(self, source: Source, sock: socket.socket, on_ready: Callable[[int], None]) -> None:
        """Take input by another way too, over ``sock`` (after ``start``)."""
        self._sources.append(source)
        self._shared.poller.add(sock, READ, on_ready)

    def detach(self, source: Source, sock: socket.socket) -> None:
        """No more of it; the socket is closed."""
        self._sources.remove(source)
        self._shared.poller.close_socket(sock)

    def watch(self, sock: socket.socket, events: int) -> None:
        """Which events of an attached socket are waited for."""
        self._shared.poller.modify(sock, events)

    def join(self, elsewhere: Callable[[Flow, bytes], bool], on_error: Callable[[Flow, str], None]) -> None:
        """This process is one of several of a node (after ``start``).

        ``elsewhere`` sends over connections of the others; ``on_error`` is told of each ICMP error, which may be about a datagram
        of another one.
        """
        self._streams.elsewhere = elsewhere
        for udp in self._udp.values():
            udp.on_error = on_error

    def has_connection(self, conn_id: int) -> bool:
        """Whether a stream connection of this process is there."""
        return self._streams.get(conn_id) is not None

    def put(self, flow: Flow, data: bytes) -> None:
        """Send bytes over a stream connection of this process; failures go to the endpoint, as always."""
        self._streams.send(flow, data, self._clock.monotonic())

    # -- turns -----------------------------------------------------------------------------------------------------

    def kick(self) -> None:
        """Ask for a turn soon: something outside of the input (a reply of a store, the API) has produced output."""
        if not self._kicked and self._loop is not None:
            self._kicked = True
            self._loop.call_soon(self._on_kick)

    def turn_now(self) -> None:
        """A turn at once, for a callback of the event loop that has brought something about; it is not told of our bugs."""
        if self._working or self._loop is None:
            self.kick()
            return
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - told as one of a callback of our own would be
            self._loop.call_exception_handler({"message": "a turn after a reply", "exception": error})

    def _on_kick(self) -> None:
        self._kicked = False
        if self._loop is not None:
            self._work()

    def _on_ready(self) -> None:
        started = time.perf_counter()
        self._shared.handshakes_left = HANDSHAKES
        try:
            self._shared.poller.run(READY_LIMIT)
        finally:
            self._work()
            self._note_batch(time.perf_counter() - started)

    def _note_batch(self, took_s: float) -> None:
        counters = self._shared.counters
        counters.batches += 1
        counters.longest_batch_s = max(counters.longest_batch_s, took_s)

    def _work(self) -> None:
        """The turn of the transaction users and the flush, until nothing is left over."""
        if self._working:
            return
        self._working = True
        try:
            for _ in range(ROUNDS):
                try:
                    self._turn()
                finally:
                    again = self._flush()
                if not again:
                    break
            else:
                self.kick()
        finally:
            self._working = False
            if not self._ticking:
                self._arm()
            if self._drained is not None and not self._drained.done() and not self._unwritten():
                self._drained.set_result(None)

    def _flush(self) -> bool:
        """Write ``endpoint.out``.  True when something came up that the transaction users have not seen."""
        shared = self._shared
        shared.unfinished = False
        out = self.endpoint.out
        now = self._clock.monotonic()
        if out:
            batch = out.copy()
            out.clear()
            udp, pick = self._udp, self._pick_udp
            send_stream = self._streams.send
            rest = iter(batch)
            try:
                for flow, data in rest:
                    if flow.transport == "udp":
                        sock = udp.get(flow.listener) or pick(flow.host)
                        if sock is None:
                            shared.send_failed(flow, "no listener", now)
                        else:
                            sock.send(flow, data, now)
                    else:
                        send_stream(flow, data, now)
            except BaseException:
                out.extend(rest)  # a bug met with one message must not take the others along
                self.kick()
                raise
        self._streams.flush(now)
        for source in self._sources:
            source.flush()
        return shared.unfinished or bool(out)

    def _pick_udp(self, host: str) -> UdpSocket | None:
        listener = self.endpoint.listeners.pick("udp", host)
        return None if listener is None else self._udp.get(listener.name)

    # -- time ------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Have ``_on_timer`` called: every TICK_S while somebody has short timers, else when a connection needs it."""
        loop = self._loop
        if loop is None:
            return
        needs_tick = self._needs_tick
        if self.endpoint.next_deadline() is not None or (needs_tick is not None and needs_tick()):
            delay, self._ticking = TICK_S, True
        else:
            self._ticking = False
            deadline = self._streams.next_deadline()
            if deadline == float("inf"):
                return
            delay = max(deadline - self._clock.monotonic(), TICK_S)
        due = self._clock.monotonic() + delay
        if self._timer is not None:
            if self._timer_due <= due:
                self._ticking = False  # an earlier look is on its way and will arm again
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._ticking = False
        now = self._clock.monotonic()
        self.lag.observe(now - self._timer_due)
        try:
            self.endpoint.tick(now)
            self._streams.expire(now)
        finally:
            self._work()

    # -- TLS -------------------------------------------------------------------------------------------------------

    def reload_tls(self) -> None:
        """Take the certificate files as they are now (SIGHUP, ``cloudline reload``).

        Raises TlsError when they are unusable; the certificate in use stays.  Connections that are up keep theirs.
        """
        if self.tls is None:
            raise TlsError("TLS is not configured")
        self.tls.reload(time.time())
        log.info("certificate reloaded from %s", self.tls.files.certificate)

    def _watch_tls(self) -> None:
        assert self._loop is not None
        assert self.tls is not None
        self._tls_timer = self._loop.call_later(TLS_WATCH_S, self._watch_tls)
        if not self.tls.changed():
            return
        try:
            self.reload_tls()
        except TlsError as error:
            # Certificate and key are seldom replaced in one instant; the next change of either is looked at again.
            log.warning("new certificate refused, the old one stays: %s", error)

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counters:
        return self._shared.counters

    def listeners(self) -> list[Listener]:
        return self.endpoint.listeners.all()

    def connections(self) -> list[ConnectionRow]:
        """The connection table, for the operator."""
        return self._streams.rows(self._clock.monotonic())

    def connection_totals(self) -> dict[tuple[str, str], int]:
        """Connections by (transport, phase)."""
        return self._streams.totals()

    def peer_names(self, conn_id: int) -> tuple[str, ...]:
        """Domains proven by the peer's certificate on this connection (RFC 5922); empty without one."""
        connection = self._streams.get(conn_id)
        return () if connection is None else connection.peer_names

    def close_connection(self, conn_id: int, reason: str) -> bool:
        """End a connection in good order (a banned peer, the operator's wish).  False when it is gone already."""
        connection = self._streams.get(conn_id)
        if connection is None:
            return False
        connection.finish(reason, self._clock.monotonic())
        self.kick()
        return True

    def tls_target(self, transport: str, host: str, port: int, domain: str) -> int:
        """Value for ``Flow.conn``: a TLS connection to this address, verified to be ``domain`` (RFC 5922 §7.3)."""
        return self._streams.target(transport, host, port, domain)

    def queue_delay_s(self) -> float:
        """How long datagrams wait in the socket buffers, seconds (last sample, worst socket): the measure of overload."""
        now = self._clock.monotonic()
        worst = 0.0
        for udp in self._udp.values():
            worst = max(worst, udp.queue_delay_s(now))
        for source in self._sources:
            worst = max(worst, source.delay_s(now))
        return worst

    def kernel_drops(self) -> int:
        """Datagrams lost since start because a receive buffer was full."""
        return sum(udp.kernel_queue()[1] for udp in self._udp.values())

    def receive_buffers(self) -> dict[str, int]:
        """Receive buffer granted to each UDP listener, bytes."""
        return {name: udp.receive_buffer for name, udp in self._udp.items()}
