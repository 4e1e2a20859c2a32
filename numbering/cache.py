"""Keeps the directory in step with the database: everything at the start, then only what changed.

A tiny query every third of a second asks for the revision.  When the database is away the directory goes on
serving what it knows, and the cache asks again, at growing intervals.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from numbering.directory import Directory, DirectoryChanges
from numbering.models import PlanTable

_log = logging.getLogger(__name__)

_MAX_BACKOFF_S: Final = 5.0

# Objects that are freed at a time, a few milliseconds' worth.
_SLICE: Final = 2000


class DirectoryUnavailable(Exception):
    """The source of the directory cannot be read now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryUpdate:
    """What a source knows beyond the version that was asked about."""

    version: int
    changes: DirectoryChanges | None
    """None: too much, or unknown; read everything."""
    kinds: frozenset[str]
    """Kinds of objects among the changes, also those of other packages (``trunk``); empty with
    ``changes=None``.
    """


class DirectorySource(Protocol):
    """Where the directory comes from; both methods raise `DirectoryUnavailable`."""

    async def everything(self, plans: PlanTable) -> Directory: ...

    async def since(self, version: int) -> DirectoryUpdate | None: ...


class Follower(Protocol):
    """Another package's table in memory, which is read again when objects of its kinds have changed."""

    kinds: frozenset[str]

    async def refresh(self, version: int) -> None:
        """Read again; raises `DirectoryUnavailable`."""
        ...


class DirectoryCache:
    """Fills one `Directory` object for the life of the process.

    ``refreshes`` and ``failures`` count what the poller did; `age` says how long ago the source was last
    heard.
    """

    def __init__(
        self,
        source: DirectorySource,
        directory: Directory,
        *,
        plans: PlanTable,
        followers: Sequence[Follower] = (),
        poll_seconds: float = 0.3,
        on_change: Callable[[DirectoryChanges | None], None] | None = None,
    ) -> None:
        self.directory = directory
        self.refreshes = 0
        self.failures = 0
        self._source = source
        self._plans = plans
        self._followers = tuple(followers)
        self._poll_seconds = poll_seconds
        self._on_change = on_change
        self._heard_at: float | None = None
        self._refreshing = asyncio.Lock()
        """One at a time: of two answers the older one must not be put in last."""

    async def load(self) -> None:
        """Read everything.  Raises `DirectoryUnavailable`."""
        fresh = await self._source.everything(self._plans)
        for follower in self._followers:
            await follower.refresh(fresh.version)
        old = self.directory.adopt(fresh)
        self._heard(None)
        while old.shrink(_SLICE):  # noqa: ASYNC110 - nothing is waited for, others get their turn
            await asyncio.sleep(0)

    async def refresh(self) -> bool:
        """Ask for changes and put them in; returns whether there were any.  Raises `DirectoryUnavailable`."""
        async with self._refreshing:
            return await self._refresh()

    async def _refresh(self) -> bool:
        update = await self._source.since(self.directory.version)
        if update is None:
            self._heard_at = asyncio.get_running_loop().time()
            return False
        if update.changes is None:
            await self.load()
            return True
        # Followers first: the version is taken over last, so a failure in between is tried again as a whole.
        for follower in self._followers:
            if follower.kinds & update.kinds:
                await follower.refresh(update.version)
        self.directory.put(update.changes, version=update.version)
        self._heard(update.changes)
        return True

    def _heard(self, changes: DirectoryChanges | None) -> None:
        self.refreshes += 1
        self._heard_at = asyncio.get_running_loop().time()
        if self._on_change is not None:
            self._on_change(changes)

    def age(self) -> float:
        """Seconds since the source last answered; infinite when it never has."""
        if self._heard_at is None:
            return float("inf")
        return asyncio.get_running_loop().time() - self._heard_at

    async def run(self) -> None:
        """Poll until cancelled."""
        pause = self._poll_seconds
        while True:
            await asyncio.sleep(pause)
            try:
                await self.refresh()
            except DirectoryUnavailable as error:
                if pause == self._poll_seconds:
                    _log.warning(
                        "directory: source away, serving version %d: %s", self.directory.version, error
                    )
                self.failures += 1
                pause = min(pause * 2, _MAX_BACKOFF_S)
                continue
            if pause != self._poll_seconds:
                _log.warning("directory: source is back, version %d", self.directory.version)
            pause = self._poll_seconds
