"""Where call records wait until the database has them (CDR-02).

A call puts its record in and forgets it; the exporter takes records out in their order, and acknowledges them
when they are committed.  What was taken and not acknowledged is taken again: writing is idempotent by the
record's key, so none is lost and none is doubled.
"""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from callcontrol.cdr import lives
from callcontrol.cdr.chain import Chain, Seal, unwrap, wrap
from callcontrol.cdr.journal import Journal, Position, frame, sync_and_close
from callcontrol.cdr.records import CallRecord

_log = logging.getLogger(__name__)

MAX_WAITING: Final = 200_000
"""Records held in memory while the journal cannot be written; about 300 MB.  More are lost, and counted."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records taken out, and the token that acknowledges them."""

    records: tuple[CallRecord, ...]
    position: Position | None
    """Place in the journal; None: they come from memory."""
    taken: int
    """Records that it stands for, those included that could not be read."""
    seals: tuple[Seal | None, ...] = ()
    """Places of the records in their chain, one each; None: they come from before there were chains."""


class Outbox(Protocol):
    """The calls' side is `put`, the exporter's the rest.  All methods are quick and never wait for the
    database.
    """

    @property
    def depth(self) -> int:
        """Records that wait."""
        ...

    @property
    def oldest_ms(self) -> int:
        """When the oldest waiting call ended, ms UTC, to about a second; 0 when none waits."""
        ...

    def put(self, record: CallRecord) -> None:
        """Take a record; never raises and never blocks on the database."""
        ...

    def take(self, limit: int) -> Batch:
        """The first records that are not acknowledged."""
        ...

    def acknowledge(self, batch: Batch) -> None:
        """The batch is in the database (or was rejected) and may be forgotten."""
        ...

    def reject(self, record: CallRecord, why: str) -> None:
        """Keep aside a record that the database will never take; it is acknowledged with its batch."""
        ...


class _Ages:
    """When the waiting records' calls ended, one mark per second, so that an outage of days costs little."""

    __slots__ = ("_marks",)

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque()

    def add(self, last: int, ended_ms: int) -> None:
        """Records up to the running number ``last`` are no older than ``ended_ms``."""
        if self._marks and ended_ms - self._marks[-1][1] < 1000:
            self._marks[-1] = (last, self._marks[-1][1])
        else:
            self._marks.append((last, ended_ms))

    def oldest(self, done: int) -> int:
        while self._marks and self._marks[0][0] <= done:
            self._marks.popleft()
        return self._marks[0][1] if self._marks else 0


class MemoryOutbox:
    """`Outbox` of tests, and of a server whose records may die with it."""

    def __init__(self) -> None:
        self._records: deque[CallRecord] = deque()
        self.rejected: list[tuple[CallRecord, str]] = []

    @property
    def depth(self) -> int:
        return len(self._records)

    @property
    def oldest_ms(self) -> int:
        return _ended(self._records[0]) if self._records else 0

    def put(self, record: CallRecord) -> None:
        self._records.append(record)

    def take(self, limit: int) -> Batch:
        records = tuple(self._records[index] for index in range(min(limit, len(self._records))))
        return Batch(records, None, len(records))

    def acknowledge(self, batch: Batch) -> None:
        for _ in range(batch.taken):
            self._records.popleft()

    def reject(self, record: CallRecord, why: str) -> None:
        self.rejected.append((record, why))


def _ended(record: CallRecord) -> int:
    return record.ended_ms or record.started_ms


class JournalOutbox:
    """`Outbox` in a folder of journal segments; records outlive the process from the next `flush` on.

    ``schedule`` is called with `flush` when the first record after a flush comes, so that all records of one
    turn of the loop are one write (``loop.call_soon``).  ``write_failures`` counts flushes that the disk
    refused; the records then wait in memory and go to the database from there.  Raises `JournalBusy` when
    another process has the folder, OSError when it cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        schedule: Callable[[Callable[[], None]], object],
        segment_bytes: int = 4 * 1024 * 1024,
        fsync: bool = True,
        node: str = "node",
    ) -> None:
        """``node``: names the producer of the chain in a folder that is new."""
        self._folder = folder
        self._journal = Journal(folder, segment_bytes, synced=fsync, on_rotate=self._keep_head)
        self._head = lives.begin(folder, node, os.urandom(4), self._journal.last())
        self._written = self._head.digest
        """Digest of the last record that is in the journal."""
        self._chain = Chain(f"{self._head.base}.{self._head.life}", self._head.digest)
        self._schedule = schedule
        self._scheduled = False
        self._lent = False
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(CallRecord)
        self._waiting: deque[bytes] = deque()
        self._put = self._journal.recovered
        self._done = 0
        self._ages = _Ages()
        self.write_failures = 0
        self.lost = 0
        self.unreadable = 0
        if self._put:
            first = self.take(1).records
            self._ages.add(self._put, _ended(first[0]) if first else 0)
            _log.info("call records: %d wait from an earlier run in %s", self._put, folder)

    @property
    def depth(self) -> int:
        return self._put - self._done

    @property
    def oldest_ms(self) -> int:
        return self._ages.oldest(self._done)

    @property
    def recovered(self) -> int:
        """Records that were found at the start."""
        return self._journal.recovered

    @property
    def producer(self) -> str:
        """Names the chain of this life."""
        return self._chain.producer

    def put(self, record: CallRecord) -> None:
        try:
            seal = self._chain.seal(record)
        except UnicodeEncodeError:
            record = printable(record)
            seal = self._chain.seal(record)
        if len(self._waiting) >= MAX_WAITING:
            self.lost += 1
            if self.lost % 1000 == 1:
                _log.error(
                    "call records: neither disk nor database; %d lost, last %s", self.lost, record.call_ref
                )
            return
        try:
            payload = self._encoder.encode(record)
        except UnicodeEncodeError:  # in what the seal does not cover
            payload = self._encoder.encode(printable(record))
        self._waiting.append(frame(wrap(seal, payload)))
        self._put += 1
        self._ages.add(self._put, _ended(record))
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self.flush)

    def flush(self) -> None:
        """Write what was put since the last time; a disk that refuses is counted, and asked again with the
        next record.
        """
        self._scheduled = False
        # Records that the exporter has in hand from memory must not get a second life in the journal.
        if not self._waiting or self._lent:
            return
        try:
            self._journal.append(self._waiting)
        except OSError as error:
            self.write_failures += 1
            if self.write_failures % 1000 == 1:
                _log.error("call records: the journal in %s cannot be written: %s", self._folder, error)
            return
        self._waiting.clear()
        self._written = self._chain.digest

    def _keep_head(self) -> None:
        """The segment that tells how far the chain is may soon be gone."""
        lives.write(self._folder, lives.Head(self._head.base, self._head.life, self._written))

    def take(self, limit: int) -> Batch:
        # A batch from memory that was never acknowledged is forgotten: the disk may take its records now.
        self._lent = False
        self.flush()
        payloads, position = self._journal.read(limit)
        if payloads:
            records, seals = self._decoded(payloads)
            return Batch(records, position, len(payloads), seals)
        if not self._waiting:
            # Nothing is left although something should be: frames that were damaged after the start.
            self._done = self._put
            return Batch((), position, 0)
        # The disk refuses: straight from memory.
        self._lent = True
        frames = [self._waiting[index] for index in range(min(limit, len(self._waiting)))]
        records, seals = self._decoded([item[8:] for item in frames])
        return Batch(records, None, len(frames), seals)

    def _decoded(self, payloads: list[bytes]) -> tuple[tuple[CallRecord, ...], tuple[Seal | None, ...]]:
        records: list[CallRecord] = []
        seals: list[Seal | None] = []
        for payload in payloads:
            try:
                seal, data = unwrap(payload)
                records.append(self._decoder.decode(data))
                seals.append(seal)
            except msgspec.DecodeError as error:
                self.unreadable += 1
                self._keep_aside({"payload": payload.hex(), "why": str(error)})
        return tuple(records), tuple(seals)

    def acknowledge(self, batch: Batch) -> None:
        if batch.position is None:
            for _ in range(batch.taken):
                self._waiting.popleft()
            self._lent = False
        else:
            self._journal.acknowledge(batch.position)
        self._done += batch.taken

    def reject(self, record: CallRecord, why: str) -> None:
        self._keep_aside({"call_ref": record.call_ref, "payload": msgspec.to_builtins(record), "why": why})

    def _keep_aside(self, line: dict[str, object]) -> None:
        path = self._folder / "rejected.jsonl"
        _log.error("call records: one that cannot be written is kept in %s: %s", path, line["why"])
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def unsynced(self) -> list[int]:
        """Descriptors for `callcontrol.cdr.journal.sync_and_close`, to be called in a thread."""
        return self._journal.unsynced()

    def close(self) -> None:
        """Write, bring to the disk, and let go of the folder."""
        self._lent = False
        self.flush()
        if self._waiting:
            _log.error("call records: %d are lost with the process", len(self._waiting))
        self._keep_head()
        self._journal.close()


def printable(record: CallRecord) -> CallRecord:
    """The record without characters that no database takes: NUL, and halves of surrogate pairs."""
    changes = {name: _clean(getattr(record, name)) for name in record.__struct_fields__ if name != "legs"}
    legs = tuple(
        msgspec.structs.replace(leg, **{name: _clean(getattr(leg, name)) for name in leg.__struct_fields__})
        for leg in record.legs
    )
    return msgspec.structs.replace(record, **changes, legs=legs)


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, tuple):
        return tuple(_clean(item) for item in value)
    return value


__all__ = ["Batch", "JournalOutbox", "MemoryOutbox", "Outbox", "printable", "sync_and_close"]
