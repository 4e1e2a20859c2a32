"""Bugs that are put into a server on purpose: a simulator that cannot fail is worth nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from callcontrol.cdr import CallRecord
    from tests.simulation.process import Process


class Bug(Protocol):
    """Alters a server that has just been put together."""

    def install(self, process: Process) -> None: ...


class RecordsTwice:
    """Every call record is handed over twice (CDR-01)."""

    def install(self, process: Process) -> None:
        put = process.server.outbox.put

        def twice(record: CallRecord) -> None:
            put(record)
            put(record)

        process.server.outbox.put = twice  # type: ignore[method-assign]


class RecordsNever:
    """No call record is handed over."""

    def install(self, process: Process) -> None:
        process.server.outbox.put = lambda record: None  # type: ignore[method-assign]
