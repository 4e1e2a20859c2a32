"""Moves call records from the outbox to the database, and keeps at it through outages (CDR-02)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Final, Protocol

from callcontrol.cdr.chain import Seal
from callcontrol.cdr.journal import sync_and_close
from callcontrol.cdr.outbox import JournalOutbox, Outbox
from callcontrol.cdr.records import CallRecord
from callcontrol.cdr.store import Refused
from config.database import DatabaseUnavailable
from config.sections import CdrSettings

_log = logging.getLogger(__name__)

_FIRST_BACKOFF_S: Final = 0.5


class CallStore(Protocol):
    """Where records end up; writing one twice is writing it once."""

    async def write(self, records: Sequence[CallRecord], seals: Sequence[Seal | None] = ()) -> list[Refused]:
        """Commit records with their places in the chain; returns those that it will never take.  Raises `DatabaseUnavailable`."""
        ...


class CdrExporter:
    """The task that empties the outbox.

    ``written`` counts records that are committed, ``rejected`` those that the database will never take,
    ``failures`` attempts that failed as a whole.
    """

    def __init__(self, outbox: Outbox, store: CallStore, settings: CdrSettings) -> None:
        self._outbox = outbox
        self._store = store
        self._settings = settings
        self.written = 0
        self.rejected = 0
        self.failures = 0

    async def run(self) -> None:
        """Export until cancelled."""
        backoff = 0.0
        while True:
            await asyncio.sleep(max(self._settings.linger_seconds, backoff))
            try:
                while await self.export_batch():
                    pass
            except (DatabaseUnavailable, OSError) as error:
                # OSError: the outbox cannot be read, or cannot keep a refused record.  It may pass as well.
                self.failures += 1
                if not backoff:
                    _log.warning("call records: not written, %d wait: %s", self._outbox.depth, error)
                backoff = min(max(backoff * 2, _FIRST_BACKOFF_S), self._settings.max_backoff_seconds)
                continue
            if backoff:
                _log.warning("call records: written again, %d wait", self._outbox.depth)
            backoff = 0.0

    async def export_batch(self) -> bool:
        """Move one batch; returns whether another full one may be waiting.  Raises `DatabaseUnavailable`."""
        if not self._outbox.depth:
            return False
        batch = self._outbox.take(self._settings.batch)
        if batch.records:
            refused = await self._store.write(batch.records, batch.seals)
            for each in refused:
                self._outbox.reject(each.record, each.why)
            self.rejected += len(refused)
            self.written += len(batch.records) - len(refused)
        self._outbox.acknowledge(batch)
        return batch.taken >= self._settings.batch

    async def drain(self, patience_s: float) -> int:
        """At the end of the process, after `run` was cancelled: move what can be moved; returns what is left.

        What is left stays in the journal for the next start.
        """
        try:
            async with asyncio.timeout(patience_s):
                while self._outbox.depth:
                    before = self._outbox.depth
                    await self.export_batch()
                    if self._outbox.depth >= before:
                        break
        except (DatabaseUnavailable, OSError) as error:
            self.failures += 1
            _log.warning("call records: %d stay for the next start: %s", self._outbox.depth, error)
        return self._outbox.depth


async def sync_journal(outbox: JournalOutbox, interval_s: float) -> None:
    """Bring the journal to the disk at intervals, in a thread, until cancelled."""
    while True:
        await asyncio.sleep(interval_s)
        descriptors = outbox.unsynced()
        if not descriptors:
            continue
        try:
            await asyncio.to_thread(sync_and_close, descriptors)
        except OSError as error:
            _log.error("call records: the journal does not reach the disk: %s", os.strerror(error.errno or 0))
