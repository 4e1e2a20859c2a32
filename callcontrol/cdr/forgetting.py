"""Facts of decisions name people and what they have set, so they are kept for a while only; the records stay."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from config.database import DatabaseUnavailable

_log = logging.getLogger(__name__)

DAY_MS: Final = 86_400_000
_LOOK_BACK_DAYS: Final = 400
"""How far beyond the bound a process looks when it starts: facts may be left over from a longer setting."""
_EVERY_S: Final = 3_600.0


class FactsStore(Protocol):
    """Where records are."""

    async def forget_facts(self, since_ms: int, until_ms: int) -> int:
        """Drop the facts of calls that began within the half-open interval; how many.  Raises `DatabaseUnavailable`."""
        ...


class Forgetting:
    """Drops the facts of records that are older than so many days, day by day, so that no statement takes long."""

    def __init__(self, store: FactsStore, days: int, wall: Callable[[], float]) -> None:
        self._store = store
        self._days = days
        self._wall = wall
        self._done_ms = 0
        self.forgotten = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.round()
            except DatabaseUnavailable as error:
                _log.debug("facts of calls are dropped later: %s", error)
            await asyncio.sleep(_EVERY_S)

    async def round(self) -> None:
        """Do it once.  Raises `DatabaseUnavailable`; what was done stays done."""
        bound_ms = int(self._wall() * 1000) - self._days * DAY_MS
        self._done_ms = self._done_ms or bound_ms - _LOOK_BACK_DAYS * DAY_MS
        while self._done_ms < bound_ms:
            until_ms = min(self._done_ms + DAY_MS, bound_ms)
            self.forgotten += await self._store.forget_facts(self._done_ms, until_ms)
            self._done_ms = until_ms
