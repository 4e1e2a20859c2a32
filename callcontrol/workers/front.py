"""The front process: reads the UDP sockets of all workers, and passes on what workers have for each other.

It knows no SIP beyond the look of `callcontrol.workers.compass`.  A driver of the ordinary kind reads the sockets in batches,
answers keep-alives and hears of ICMP errors; what it takes for an endpoint is this, which gives each datagram to its worker.

**While a worker is away** (it died and starts again) new calls and registrations go to the others; what only it knows waits for
it, for a bounded time and in bounded number, and a worker that is back gets it first.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from callcontrol.sip.clock import Monotonic
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.transport.driver import Driver
from callcontrol.transport.poller import READ, WRITE
from callcontrol.workers import frames
from callcontrol.workers.compass import Compass, begins_something
from callcontrol.workers.frames import EVERYBODY, FRONT, Frame, FrameError
from callcontrol.workers.pipe import Pipe

_log = logging.getLogger(__name__)

CLOCK_S: Final = 0.02
"""How often a worker is told how old its datagrams are."""
HOLD_S: Final = 8.0
"""How long something waits for a worker that is away: a peer that retransmits is by then at its fifth attempt."""
HELD: Final = 2_000
"""Frames that wait for a worker that is away."""
_MAX_HEADS: Final = 8192

STARTING: Final = "starting"
UP: Final = "up"
AWAY: Final = "away"
"""It died, and starts again."""
GONE: Final = "gone"
"""It has finished, as it was told."""


class Desk:
    """A worker as the front sees it."""

    __slots__ = (
        "clock_at",
        "driver",
        "facts",
        "held",
        "number",
        "passed",
        "pipe",
        "restarts",
        "since",
        "state",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.driver: Driver | None = None
        self.state = STARTING
        self.pipe: Pipe | None = None
        self.clock_at = 0.0
        self.held: deque[tuple[float, int, int, bytes]] = deque()
        """(when it came, kind, from whom, payload)."""
        self.passed = 0
        """Datagrams given to it."""
        self.restarts = 0
        self.since = 0.0
        """Monotonic seconds of the last change of its state."""
        self.facts = b""
        """What it said of itself when it was ready."""

    def flush(self) -> None:
        """As a `Source` of the driver; what the kernel does not take is written when it does."""
        pipe = self.pipe
        if pipe is not None and pipe.waiting and not pipe.flush() and self.driver is not None:
            self.driver.watch(pipe.sock, READ | WRITE)

    def delay_s(self, now: float) -> float:
        """The front itself never waits for what workers say."""
        return 0.0


class Front:
    """What the driver takes for its endpoint (`callcontrol.transport.ports.SipEndpoint`); see the module."""

    def __init__(self, workers: int, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.out: list[tuple[Flow, bytes]] = []
        self.listeners = Listeners()
        self.compass = Compass(workers)
        self.desks = {number: Desk(number) for number in range(1, workers + 1)}
        self.dropped: dict[str, int] = {}
        """Datagrams and frames that reached no worker, by reason."""
        self.stood_in = 0
        """Requests that another worker took while theirs was away."""
        self.on_ready: Callable[[int], None] = lambda worker: None
        self.on_broken: Callable[[int], None] = lambda worker: None
        """Told of a worker that can be spoken to no more."""
        self.on_order: Callable[[str], None] = lambda order: None
        """Told what a worker asks of the whole node."""
        self.answer: Callable[[bytes], bytes] = lambda question: b""
        """Answers a question to the front itself."""
        self._driver: Driver | None = None
        self._heads: dict[Flow, bytes] = {}
        self._names: dict[str, int] = {}
        self._waits = 0
        """Workers that are not up: nothing is looked up while there are none."""

    # -- as the endpoint of its driver ----------------------------------------------------------------------

    def receive(self, data: bytes, flow: Flow, now: Monotonic) -> None:
        """One datagram."""
        head = self._heads.get(flow)
        if head is None:
            head = self._head_of(flow)
        worker = self.compass.owner(data)
        desk = self.desks[worker]
        if self._waits and desk.state != UP:
            stand_in = self._stand_in(worker, data)
            if stand_in is None:
                self._hold(desk, frames.DATAGRAM, FRONT, head + data, now)
                return
            desk = stand_in
        self._give(desk, head + data, now)

    def _give(self, desk: Desk, payload: bytes, now: float) -> None:
        pipe = desk.pipe
        if pipe is None:
            self._drop("no worker")
            return
        if now >= desk.clock_at:
            desk.clock_at = now + CLOCK_S
            waited = self._driver.queue_delay_s() if self._driver is not None else 0.0
            pipe.put(frames.CLOCK, FRONT, frames.stamp(now, waited))
        if pipe.put(frames.DATAGRAM, FRONT, payload):
            desk.passed += 1
        else:
            self._drop("backlog")

    def _head_of(self, flow: Flow) -> bytes:
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        head = self._heads[flow] = frames.datagram_head(self._names[flow.listener], flow.host, flow.port)
        return head

    def _stand_in(self, worker: int, data: bytes) -> Desk | None:
        """Who takes what belongs to a worker that is away; None: it waits."""
        gone = self.desks[worker].state == GONE
        if not gone and not begins_something(data):
            return None
        up = [desk for desk in self.desks.values() if desk.state == UP]
        if not up:
            return None
        stand_in = up[worker % len(up)]
        if not gone and not data.startswith(b"REGISTER "):
            self.compass.place(data, stand_in.number)
        self.stood_in += 1
        return stand_in

    def tick(self, now: Monotonic) -> None:
        """Nothing here has timers."""

    def next_deadline(self) -> float | None:
        return None

    def connection_lost(self, conn_id: int, now: Monotonic, flow: Flow | None = None) -> None:
        """The front has no connections."""

    def send_failed(self, flow: Flow, now: Monotonic) -> None:
        """An ICMP error came back for a datagram of some worker."""
        self._to_all(frames.UNREACHABLE, FRONT, frames.with_flow(flow))

    # -- workers --------------------------------------------------------------------------------------------

    def open(self, driver: Driver) -> None:
        """The sockets are open: listeners have their numbers, in the order in which workers open them too."""
        self._driver = driver
        self._names = {listener.name: number for number, listener in enumerate(self.listeners.all())}

    def connect(self, worker: int, pipe: Pipe) -> None:
        """A process of this worker is about to start."""
        desk = self.desks[worker]
        desk.pipe, desk.driver = pipe, self._driver
        desk.clock_at = 0.0
        self._state(desk, AWAY if desk.restarts else STARTING)
        if self._driver is not None:
            self._driver.attach(desk, pipe.sock, lambda events: self._on_pipe(desk, events))

    def disconnect(self, worker: int, *, finished: bool) -> None:
        """The process of a worker has ended; ``finished``: it was told to, and starts no more."""
        desk = self.desks[worker]
        self._hang_up(desk)
        self._state(desk, GONE if finished else AWAY)
        if finished:
            desk.held.clear()
        self._to_all(frames.WORKER_GONE, worker, b"")
        self.flush()

    def _hang_up(self, desk: Desk) -> None:
        pipe, desk.pipe = desk.pipe, None
        if pipe is not None and self._driver is not None:
            pipe.broken = True
            self._driver.detach(desk, pipe.sock)

    def begin(self, worker: int, words: bytes) -> None:
        """The first word to a process that starts."""
        pipe = self.desks[worker].pipe
        if pipe is not None:
            pipe.put(frames.BEGIN, FRONT, words)
        self.flush()

    def close(self) -> None:
        """The driver has stopped."""
        self._driver = None
        for desk in self.desks.values():
            if desk.pipe is not None:
                desk.pipe.close()

    def order(self, what: str, worker: int = 0) -> None:
        """Tell a worker, or all, what the operator wants."""
        for desk in self.desks.values():
            if desk.state == UP and desk.pipe is not None and worker in (0, desk.number):
                desk.pipe.put(frames.ORDER, FRONT, what.encode())
        self.flush()

    def flush(self) -> None:
        """Let go out what was said outside of a turn."""
        if self._driver is not None:
            self._driver.kick()

    def up(self) -> int:
        """Workers that serve."""
        return sum(1 for desk in self.desks.values() if desk.state == UP)

    def states(self) -> dict[str, int]:
        """Workers by their state."""
        found = dict.fromkeys((STARTING, UP, AWAY, GONE), 0)
        for desk in self.desks.values():
            found[desk.state] += 1
        return found

    def _state(self, desk: Desk, state: str) -> None:
        desk.state, desk.since = state, self._monotonic()
        self._waits = sum(1 for each in self.desks.values() if each.state != UP)

    def _ready(self, desk: Desk, facts: bytes, now: float) -> None:
        desk.facts = facts
        self._state(desk, UP)
        for other in self.desks.values():
            if other is not desk and other.state == UP and other.pipe is not None and desk.pipe is not None:
                other.pipe.put(frames.READY, desk.number, b"")
                desk.pipe.put(frames.READY, other.number, b"")
        held, desk.held = desk.held, deque()
        for entry in held:
            self._give_held(desk, entry, now)
        self.on_ready(desk.number)

    def _hold(self, desk: Desk, kind: int, party: int, payload: bytes, now: float) -> None:
        while desk.held and now - desk.held[0][0] > HOLD_S:
            desk.held.popleft()
            self._drop("too old")
        if len(desk.held) >= HELD:
            self._drop("too many wait")
        else:
            desk.held.append((now, kind, party, payload))

    def _drop(self, why: str) -> None:
        self.dropped[why] = self.dropped.get(why, 0) + 1

    # -- frames ---------------------------------------------------------------------------------------------

    def _on_pipe(self, desk: Desk, events: int) -> None:
        pipe, driver = desk.pipe, self._driver
        if pipe is None or driver is None:
            return
        if events & WRITE and pipe.flush():
            driver.watch(pipe.sock, READ)
        try:
            found = pipe.read() if events & ~WRITE else []
        except FrameError as error:
            _log.error("worker %d says what no frame is: %s", desk.number, error)
            pipe.broken = True
            found = []
        if pipe.broken:
            self._hang_up(desk)
            self._state(desk, AWAY)
            self.on_broken(desk.number)
            return
        now = self._monotonic()
        for frame in found:
            self._take(desk, frame, now)

    def _take(self, desk: Desk, frame: Frame, now: float) -> None:
        kind, party, payload = frame
        if kind == frames.MOVED:
            self._moved(payload[1:].decode(), payload[0], now)
        if party == EVERYBODY:
            self._to_all(kind, desk.number, payload, but=desk.number)
        elif party == FRONT:
            self._to_front(desk, kind, payload, now)
        elif party in self.desks:
            self._pass(desk, kind, self.desks[party], payload, now)

    def _moved(self, ref: str, worker: int, now: float) -> None:
        """A call is with this worker now, and so is what waited for the one that had it."""
        self.compass.move(ref, worker)
        target = self.desks.get(worker)
        if not self._waits or target is None or target.state != UP:
            return
        for desk in self.desks.values():
            if desk is not target and desk.held:
                held, desk.held = desk.held, deque()
                for entry in held:
                    self._give_held(desk, entry, now)

    def _give_held(self, desk: Desk, entry: tuple[float, int, int, bytes], now: float) -> None:
        """Pass on what waited for a worker: to it, or where it belongs meanwhile; else it goes on waiting."""
        came, kind, party, payload = entry
        if now - came > HOLD_S:
            self._drop("too old")
            return
        cut = 2 + (payload[1] if kind == frames.DATAGRAM else int.from_bytes(payload[:2], "big"))
        target = self.desks[self.compass.owner(payload[cut:])]
        if target.state != UP or target.pipe is None:
            desk.held.append(entry)
        elif kind == frames.DATAGRAM:
            self._give(target, payload, now)
        else:
            target.pipe.put(kind, party, payload)

    def _to_front(self, desk: Desk, kind: int, payload: bytes, now: float) -> None:
        if kind == frames.READY:
            self._ready(desk, payload, now)
        elif kind == frames.ORDER:
            self.on_order(payload.decode())
        elif kind == frames.ASK and desk.pipe is not None:
            desk.pipe.put(frames.ANSWER, FRONT, self.answer(payload))

    def _pass(self, source: Desk, kind: int, target: Desk, payload: bytes, now: float) -> None:
        if target.state == UP and target.pipe is not None:
            if target.pipe.put(kind, source.number, payload):
                return
            self._drop("backlog")
        elif kind == frames.MESSAGE and target.state != GONE:
            self._hold(target, kind, source.number, payload, now)
            return
        else:
            self._drop("no worker")
        if kind == frames.SEND and source.pipe is not None:
            flow, _ = frames.read_flow(payload)
            source.pipe.put(frames.UNSENT, target.number, frames.with_flow(flow))

    def _to_all(self, kind: int, source: int, payload: bytes, but: int = 0) -> None:
        for desk in self.desks.values():
            if desk.number != but and desk.pipe is not None and desk.state == UP:
                desk.pipe.put(kind, source, payload)
