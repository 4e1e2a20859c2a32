"""A worker's place in its node: what comes from the front and from the other workers, and what goes to them.

A worker is a node in small: it has its own lease, calls and records.  What makes it one of several is here: whose a message is
that came over one of its connections, connections of others that it sends over, calls that have moved, questions of one worker
to another.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import msgspec

from callcontrol.sip.clock import Monotonic
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.transport.accepting import open_tcp
from callcontrol.transport.counters import count
from callcontrol.transport.driver import Driver
from callcontrol.transport.poller import READ, WRITE
from callcontrol.transport.ports import Gate
from callcontrol.transport.streams import OWN_BITS
from callcontrol.workers import frames
from callcontrol.workers.compass import VIA_PARAMETER, Compass, begins_something
from callcontrol.workers.frames import EVERYBODY, FRONT, Frame, FrameError
from callcontrol.workers.pipe import Pipe

_log = logging.getLogger(__name__)

ASK_S: Final = 2.0
"""How long an answer of another worker is waited for."""
_MAX_FLOWS: Final = 8192
_DELAY_HOLDS_S: Final = 0.2

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder()

Handler = Callable[[Any], Awaitable[Any]]
"""Answers a question of another worker; question and answer are what MessagePack can write."""
Listener = Callable[[int, Any], None]
"""Told (worker, news)."""


class NoAnswer(Exception):
    """The other worker is away, or does not answer in time."""


class WorkerSockets:
    """`callcontrol.transport.ports.Sockets` of a worker: UDP sockets that the front reads from, TCP ports that all listen on."""

    def __init__(self, worker: int, udp: dict[tuple[str, int], int]) -> None:
        """``udp``: descriptors by address."""
        self.mark = f"{VIA_PARAMETER}{worker}"
        self.reads = False
        self.first_connection = worker << OWN_BITS
        self._udp = udp

    def udp(self, host: str, port: int) -> socket.socket:
        return socket.socket(fileno=self._udp[host, port])

    def tcp(self, host: str, port: int) -> socket.socket:
        return open_tcp(host, port, shared=True)


class Seat:
    """See the module; also the `Source` of the worker's driver."""

    def __init__(
        self, number: int, workers: int, pipe: Pipe, names: Iterable[str], sockets: WorkerSockets
    ) -> None:
        """``names`` of the UDP listeners, in the order of the front."""
        self.number = number
        self.sockets = sockets
        self.workers = workers
        self.compass = Compass(workers)
        self.on_order: Callable[[str], None] = lambda order: None
        """Told what the operator wants of the node: ``drain``, ``stop``, ``reload``."""
        self.on_front_gone: Callable[[], None] = lambda: None
        self.on_worker_gone: Callable[[int], None] = lambda worker: None
        self.on_worker_back: Callable[[int], None] = lambda worker: None
        """Told of each worker that begins to serve while this one is there."""
        self.on_moved: Callable[[str], None] = lambda ref: None
        """Told of each call that another worker has now."""
        self.dropped: dict[str, int] = {}
        self.passed: dict[str, int] = {"in": 0, "out": 0}
        """Messages that came over a connection of one worker and belonged to another."""
        self.away: set[int] = {other for other in range(1, workers + 1) if other != number}
        """The others that do not serve now: none does before the front says so."""
        self._pipe = pipe
        self._names = list(names)
        self._driver: Driver | None = None
        self._endpoint: Endpoint | None = None
        self._gate: Gate | None = None
        self._monotonic: Callable[[], Monotonic] = lambda: Monotonic(0.0)
        self._flows: dict[bytes, Flow] = {}
        self._delay_s = 0.0
        self._delay_at = 0.0
        self._handlers: dict[str, Handler] = {}
        self._listeners: dict[str, Listener] = {}
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_first(self) -> bool:
        """The one of the workers that does what is to be done once in a node."""
        return self.number == 1

    def others(self) -> list[int]:
        """Workers besides this one that are not away."""
        return [n for n in range(1, self.workers + 1) if n != self.number and n not in self.away]

    # -- start ----------------------------------------------------------------------------------------------

    def guard(self, endpoint: Endpoint) -> Sorter:
        """What the driver is to take for the endpoint: what belongs to others is handed to them."""
        self._endpoint = endpoint
        return Sorter(endpoint, self)

    def open(self, driver: Driver, gate: Gate, monotonic: Callable[[], Monotonic]) -> None:
        """The sockets are open; from now on frames are read."""
        self._driver, self._gate, self._monotonic = driver, gate, monotonic
        driver.join(self._send_elsewhere, self._unreachable)
        driver.attach(self, self._pipe.sock, self._on_pipe)

    def ready(self, facts: object) -> None:
        """This worker serves: the front may give it messages."""
        self._say(frames.READY, FRONT, _encoder.encode(facts))

    def close(self) -> None:
        """The driver has stopped: nothing is said or heard any more."""
        self._driver = None
        self._pipe.close()

    # -- as the source of the driver ------------------------------------------------------------------------

    def flush(self) -> None:
        pipe = self._pipe
        if pipe.waiting and not pipe.flush() and self._driver is not None:
            self._driver.watch(pipe.sock, READ | WRITE)

    def delay_s(self, now: float) -> float:
        """How long datagrams lately waited, in the socket of the front and on the way from there."""
        return self._delay_s if now < self._delay_at + _DELAY_HOLDS_S else 0.0

    def _on_pipe(self, events: int) -> None:
        driver, pipe = self._driver, self._pipe
        if driver is None:
            return
        if events & WRITE and pipe.flush():
            driver.watch(pipe.sock, READ)
        if not events & ~WRITE:
            return
        try:
            found = pipe.read()
        except FrameError as error:
            _log.error("the front says what no frame is: %s", error)
            pipe.broken = True
            found = []
        if pipe.broken:
            driver.detach(self, pipe.sock)
            self.on_front_gone()
            return
        now = self._monotonic()
        for frame in found:
            if frame.kind == frames.DATAGRAM:
                self._datagram(frame.payload, now)
            else:
                self._take(frame, now)

    def _datagram(self, payload: bytes, now: Monotonic) -> None:
        head = payload[: 2 + payload[1]]
        flow = self._flows.get(head)
        if flow is None:
            flow = self._flow_of(head)
        gate, endpoint, data = self._gate, self._endpoint, payload[len(head) :]
        if gate is None or endpoint is None:
            return
        if gate.admit(flow.host, now) and gate.inspect(data, flow.host, now, reliable=False):
            endpoint.receive(data, flow, now)
        elif self._driver is not None:
            count(self._driver.counters.dropped, "gate")

    def _flow_of(self, head: bytes) -> Flow:
        if len(self._flows) >= _MAX_FLOWS:
            self._flows.clear()
        host, port = frames.address_of(head)
        flow = self._flows[head] = Flow("udp", host, port, self._names[head[0]])
        return flow

    def _take(self, frame: Frame, now: Monotonic) -> None:
        kind, party, payload = frame
        endpoint, driver = self._endpoint, self._driver
        if endpoint is None or driver is None:
            return
        if kind == frames.CLOCK:
            read_at, waited_s = frames.read_stamp(payload)
            self._delay_s, self._delay_at = max(now - read_at, 0.0) + waited_s, now
        elif kind == frames.MESSAGE:
            flow, data = frames.read_flow(payload)
            self.passed["in"] += 1
            endpoint.receive(data, flow, now)
        elif kind == frames.SEND:
            flow, data = frames.read_flow(payload)
            if driver.has_connection(flow.conn):
                driver.put(flow, data)
            else:
                self._put(frames.UNSENT, party, frames.with_flow(flow))
        elif kind in (frames.UNSENT, frames.UNREACHABLE):
            endpoint.send_failed(frames.read_flow(payload)[0], now)
        elif kind == frames.CLOSED:
            endpoint.connection_lost(frames.read_connection(payload), now)
        elif kind == frames.CLOSE:
            driver.close_connection(frames.read_connection(payload), "replaced")
        else:
            self._take_news(kind, party, payload)

    def _take_news(self, kind: int, party: int, payload: bytes) -> None:
        if kind == frames.MOVED:
            ref = payload[1:].decode()
            self.compass.move(ref, payload[0])
            self.on_moved(ref)
        elif kind == frames.ORDER:
            self.on_order(payload.decode())
        elif kind == frames.WORKER_GONE:
            self.away.add(party)
            self.on_worker_gone(party)
        elif kind == frames.READY:
            self.away.discard(party)
            self.on_worker_back(party)
        elif kind == frames.TELL:
            what, words = _decoder.decode(payload)
            listener = self._listeners.get(what)
            if listener is not None:
                listener(party, words)
        elif kind == frames.ASK:
            self._asked_for(party, payload)
        elif kind == frames.ANSWER:
            number, words = _decoder.decode(payload)
            waiting = self._asked.pop(number, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(words)

    # -- messages and connections ---------------------------------------------------------------------------

    def hand_over(self, data: bytes, flow: Flow) -> bool:
        """Give a message that came over a connection of ours to the worker whose it is; False: it is this one."""
        if data.startswith(b"REGISTER "):
            return False  # a registration ends with its connection, so it is kept where that is
        owner = self.compass.owner(data)
        if owner == self.number:
            return False
        if owner in self.away and begins_something(data):
            self.compass.place(data, self.number)
            return False
        self.passed["out"] += 1
        self._put(frames.MESSAGE, owner, frames.with_flow(flow, data))
        return True

    def _send_elsewhere(self, flow: Flow, data: bytes) -> bool:
        worker = flow.conn >> OWN_BITS
        if worker == self.number or not 1 <= worker <= self.workers or worker in self.away:
            return False
        return self._put(frames.SEND, worker, frames.with_flow(flow, data))

    def reaches(self, conn: int) -> bool:
        """Whether a connection may be there, be it another worker's."""
        worker = conn >> OWN_BITS
        if worker == self.number:
            return self._driver is not None and self._driver.has_connection(conn)
        return 1 <= worker <= self.workers and worker not in self.away

    def _unreachable(self, flow: Flow, why: str) -> None:
        self._put(frames.UNREACHABLE, EVERYBODY, frames.with_flow(flow))

    def connection_lost(self, conn: int) -> None:
        """A connection of this worker is gone."""
        self._put(frames.CLOSED, EVERYBODY, frames.connection(conn))

    def close_connection(self, conn: int) -> bool:
        """Have a connection of another worker ended; False: it is none of another one."""
        worker = conn >> OWN_BITS
        if worker == self.number or not 1 <= worker <= self.workers:
            return False
        self._put(frames.CLOSE, worker, frames.connection(conn))
        return True

    def moved(self, ref: str) -> None:
        """A call that another worker had is here now."""
        self.compass.move(ref, self.number)
        self._say(frames.MOVED, EVERYBODY, bytes((self.number,)) + ref.encode())

    # -- words between workers ------------------------------------------------------------------------------

    def order(self, what: str) -> None:
        """Ask the front to tell all workers, this one included."""
        self._say(frames.ORDER, FRONT, what.encode())

    def tell(self, what: str, words: object) -> None:
        """News for all others."""
        self._say(frames.TELL, EVERYBODY, _encoder.encode((what, words)))

    def listen(self, what: str, listener: Listener) -> None:
        """Hear of news."""
        self._listeners[what] = listener

    def serve(self, what: str, handler: Handler) -> None:
        """Answer a kind of question."""
        self._handlers[what] = handler

    async def ask(self, worker: int, what: str, words: object = None, patience_s: float = ASK_S) -> Any:
        """The answer of another worker (0: the front).  Raises `NoAnswer`."""
        if worker in self.away:
            raise NoAnswer(f"worker {worker} is away")
        self._number += 1
        number = self._number
        waiting = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._say(frames.ASK, worker, _encoder.encode((number, what, words)))
            async with asyncio.timeout(patience_s):
                answered, result = await waiting
        except TimeoutError:
            raise NoAnswer(f"worker {worker} does not answer") from None
        finally:
            self._asked.pop(number, None)
        if not answered:
            raise NoAnswer(f"worker {worker}: {result}")
        return result

    async def ask_all(self, what: str, words: object = None, patience_s: float = ASK_S) -> dict[int, Any]:
        """The answers of all others; those that are away or say nothing are left out."""
        others = self.others()
        replies = await asyncio.gather(
            *(self.ask(worker, what, words, patience_s) for worker in others), return_exceptions=True
        )
        found: dict[int, Any] = {}
        for worker, reply in zip(others, replies, strict=True):
            if isinstance(reply, NoAnswer):
                count(self.dropped, "no answer")
            elif isinstance(reply, BaseException):
                raise reply
            else:
                found[worker] = reply
        return found

    def _asked_for(self, party: int, payload: bytes) -> None:
        number, what, words = _decoder.decode(payload)
        task = asyncio.get_running_loop().create_task(self._answer(party, number, what, words), name=what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, party: int, number: int, what: str, words: Any) -> None:
        handler = self._handlers.get(what)
        try:
            reply = (False, f"{what} is not known") if handler is None else (True, await handler(words))
        except Exception as error:  # noqa: BLE001 - told to who asked, who raises it
            _log.exception("a question of worker %d failed: %s", party, what)
            reply = (False, type(error).__name__)
        self._say(frames.ANSWER, party, _encoder.encode((number, reply)))

    def _put(self, kind: int, party: int, payload: bytes) -> bool:
        """Within a turn, at whose end everything is written."""
        if not self._pipe.put(kind, party, payload):
            count(self.dropped, "backlog")
            return False
        return True

    def _say(self, kind: int, party: int, payload: bytes) -> None:
        """At any time."""
        if self._put(kind, party, payload) and self._driver is not None:
            self._driver.kick()


class Sorter:
    """`callcontrol.transport.ports.SipEndpoint` over the endpoint of a worker: keeps what is its own, hands on the rest."""

    def __init__(self, endpoint: Endpoint, seat: Seat) -> None:
        self._endpoint = endpoint
        self._seat = seat
        self.out: list[tuple[Flow, bytes]] = endpoint.out
        self.listeners: Listeners = endpoint.listeners

    def receive(self, data: bytes, flow: Flow, now: Monotonic) -> None:
        if not self._seat.hand_over(data, flow):
            self._endpoint.receive(data, flow, now)

    def tick(self, now: Monotonic) -> None:
        self._endpoint.tick(now)

    def next_deadline(self) -> float | None:
        return self._endpoint.next_deadline()

    def connection_lost(self, conn_id: int, now: Monotonic, flow: Flow | None = None) -> None:
        self._endpoint.connection_lost(conn_id, now, flow)

    def send_failed(self, flow: Flow, now: Monotonic) -> None:
        self._endpoint.send_failed(flow, now)
