"""What outlives a process: the call store, with its wire to each process, and the outbox of call records.

The store can be slow, be cut off from one process, and forget its last second when everything dies with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from callcontrol.call_store import MemoryCallStore
from callcontrol.cdr import CallRecord

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.server import Server

Noted = list[tuple[str, int, bytes | None]]
Claims = dict[str, str]
Done = Callable[[frozenset[str]], None]

MEMORY_S: Final = 1.0
"""How much a store may forget that is made durable every second."""


class SharedStore(MemoryCallStore):
    """Snapshots of all calls; compare-and-set on their epochs is the product's own."""

    def __init__(self, server: Server, encodes: bool) -> None:
        super().__init__(encodes)
        self._server = server
        self.begun: dict[str, float] = {}
        """Every call that was ever saved -> when it was first."""
        self.owners: dict[str, int] = {}
        """Call -> process that saved it last."""
        self.forgotten: set[str] = set()
        """Calls of which the store lost something: nothing is promised about them."""
        self.longest_wait = 0.0
        """Longest time that a commit had to wait for its answer."""
        self._journal: deque[tuple[float, str, tuple[int, bytes] | None]] = deque()
        """When a call was written or deleted, and what was there before."""

    def write(self, noted: Noted, claims: Claims, process: int) -> frozenset[str]:
        """All of a commit, or nothing of what is not the process's any more."""
        now = self._server.sim.clock.now
        for ref, _, data in noted:
            if data is not None:
                self.begun.setdefault(ref, now)
            self._journal.append((now, ref, self.snapshots.get(ref)))
        while self._journal and self._journal[0][0] < now - MEMORY_S:
            self._journal.popleft()
        self._noted, self._claims = noted, claims
        answers: list[frozenset[str]] = []
        super().commit(answers.append)
        for ref, _, data in noted:
            if ref not in answers[0]:
                if data is None:
                    self.owners.pop(ref, None)
                else:
                    self.owners[ref] = process
            elif ref in claims:
                self._server.sim.count("calls of a request that had begun one")
                self.begun.pop(ref, None)
        return answers[0]

    def forget(self) -> None:
        """The last second is gone."""
        while self._journal:
            at, ref, before = self._journal.pop()
            if at < self._server.sim.clock.now - MEMORY_S:
                continue
            self.forgotten.add(ref)
            if before is None:
                self.snapshots.pop(ref, None)
            else:
                self.snapshots[ref] = before


def _nobody_waits(lost: frozenset[str]) -> None:
    """What was lost, the next commit tells."""


class StoreLink:
    """``CallStore`` as one process sees it."""

    def __init__(self, process: Process, shared: SharedStore, delay: float) -> None:
        self.encodes = shared.encodes
        self.cut_until = 0.0
        """Until when nothing gets through; what is committed meanwhile is answered then."""
        self._process = process
        self._shared = shared
        self._delay = delay
        """Mean seconds until a commit is answered; 0: at once."""
        self._noted: Noted = []
        self._claims: Claims = {}
        self._queue: deque[tuple[Noted, Claims, Done, float]] = deque()
        self._last_at = 0.0

    @property
    def waiting(self) -> bool:
        """A commit is under way."""
        return bool(self._queue)

    @property
    def is_cut(self) -> bool:
        return self._process.sim.clock.now < self.cut_until

    def trip(self) -> float:
        """Seconds until the store has answered a question, which stands behind what was written before."""
        now = self._process.sim.clock.now
        delay = self._process.dice.expovariate(1 / self._delay) if self._delay else 0.0
        self._last_at = max(self._last_at, now + delay)
        return self._last_at - now

    def save(self, ref: str, epoch: int, snapshot: bytes) -> None:
        self._noted.append((ref, epoch, snapshot))

    def delete(self, ref: str, epoch: int) -> None:
        self._noted.append((ref, epoch, None))

    def claim(self, ref: str, request: str) -> None:
        self._claims[ref] = request

    def commit(self, done: Done | None) -> None:
        done = done or _nobody_waits
        process = self._process
        process.burn()
        noted, self._noted = self._noted, []
        claims, self._claims = self._claims, {}
        now = process.sim.clock.now
        if not self._delay and not self._queue and now >= self.cut_until:
            self._write(noted, claims, done)
            return
        self._queue.append((noted, claims, done, now))
        delay = process.dice.expovariate(1 / self._delay) if self._delay else 0.0
        self._last_at = max(self._last_at, max(now, self.cut_until) + delay)
        process.sim.clock.at(self._last_at, process.guarded, self._answer)

    def _answer(self) -> None:
        now = self._process.sim.clock.now
        if now < self.cut_until:
            self._process.sim.clock.at(self.cut_until, self._process.guarded, self._answer)
            return
        noted, claims, done, at = self._queue.popleft()
        self._shared.longest_wait = max(self._shared.longest_wait, now - at)
        self._write(noted, claims, done)

    def _write(self, noted: Noted, claims: Claims, done: Done) -> None:
        process = self._process
        lost = self._shared.write(noted, claims, process.number)
        for ref, _, data in noted:
            if data is not None:
                process.note_legs(ref)
        process.burn()
        done(lost)

    def died(self, reached: float) -> None:
        """The process is gone; this share of what was on the wire reaches the store nevertheless."""
        queue, self._queue = self._queue, deque()
        if self._process.sim.clock.now < self.cut_until:
            return
        for noted, claims, _, _ in list(queue)[: round(reached * len(queue))]:
            self._shared.write(noted, claims, self._process.number)


class Outbox:
    """Call records as they were made durable."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.records: dict[str, list[CallRecord]] = {}

    def put(self, record: CallRecord) -> None:
        self.records.setdefault(record.call_ref, []).append(record)
        self._server.sim.audit.recorded(record)
