"""Where leases live: the protocol of the callers, and the store of a single node (LIVE-01).

Nothing waits: each operation is atomic across the nodes that share the live state, and hands its result to a callback, at once
in memory.  A store that cannot do what it was asked answers ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.lease_table import LeaseTable
from gateway.leases import Lease, LeasePolicy, LeaseRequest, NoNumber, Use


class LeaseStore(Protocol):
    """Leases of all nodes; see `gateway.lease_table.LeaseTable` for what each step means."""

    def take(
        self,
        request: LeaseRequest,
        candidates: Sequence[str],
        now: float,
        done: Callable[[Lease | NoNumber | None], None],
    ) -> None: ...

    def use(
        self, sim: str, gateway: str, call_id: str, now: float, done: Callable[[Use | None], None]
    ) -> None: ...

    def finish(self, id: str, call_id: str, answered: bool, now: float) -> None:
        """Told once the call is over; what is lost here ends with the longest call (LIVE-03)."""
        ...

    def note(self, id: str, outcome: str, now: float) -> None: ...

    def release(self, id: str, now: float, done: Callable[[Lease | None], None]) -> None: ...

    def get(self, id: str, now: float, done: Callable[[Lease | None], None]) -> None: ...

    def all(self, now: float, done: Callable[[Sequence[Lease]], None]) -> None:
        """Leases in force and remembered ones, for operators."""
        ...

    def counts(self, now: float) -> dict[str, int]:
        """Leases by state, as far as this node knows."""
        ...


class MemoryLeaseStore:
    """`LeaseStore` of a single node."""

    def __init__(self, policy: LeasePolicy | None = None) -> None:
        self.table = LeaseTable(policy)

    def take(
        self,
        request: LeaseRequest,
        candidates: Sequence[str],
        now: float,
        done: Callable[[Lease | NoNumber | None], None],
    ) -> None:
        done(self.table.take(request, candidates, now))

    def use(
        self, sim: str, gateway: str, call_id: str, now: float, done: Callable[[Use | None], None]
    ) -> None:
        done(self.table.use(sim, gateway, call_id, now))

    def finish(self, id: str, call_id: str, answered: bool, now: float) -> None:
        self.table.finish(id, call_id, answered, now)

    def note(self, id: str, outcome: str, now: float) -> None:
        self.table.note(id, outcome, now)

    def release(self, id: str, now: float, done: Callable[[Lease | None], None]) -> None:
        done(self.table.release(id, now))

    def get(self, id: str, now: float, done: Callable[[Lease | None], None]) -> None:
        done(self.table.get(id))

    def all(self, now: float, done: Callable[[Sequence[Lease]], None]) -> None:
        done(self.table.all())

    def counts(self, now: float) -> dict[str, int]:
        return self.table.counts(now)
