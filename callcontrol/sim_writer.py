"""Brings verified SIMs to the database, in the background: a call never waits for SQL, and an outage only delays.

One after the other, in the order in which they came; each is tried until it is written, or until the app has stopped waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from config.database import DatabaseUnavailable

_log = logging.getLogger(__name__)

MAX_WAITING: Final = 10_000
FIRST_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 5.0


class Sims(Protocol):
    """The table (``numbering.store_sims``)."""

    async def verified(self, device: str, sim: str) -> bool: ...

    async def changed(self, device: str, sim: str) -> None: ...


class _Note:
    """One thing to be written; ``done`` None: that a SIM was changed."""

    __slots__ = ("device", "done", "sim")

    def __init__(self, device: str, sim: str, done: Callable[[bool], None] | None) -> None:
        self.device = device
        self.sim = sim
        self.done = done


class SimWriter:
    """`callcontrol.verifying.SimRegister` over a database."""

    def __init__(
        self,
        sims: Sims,
        patience_s: float = 120.0,
        pause_s: float = FIRST_PAUSE_S,
        kick: Callable[[], None] = lambda: None,
    ) -> None:
        """``patience_s``: how long one is tried; ``pause_s``: first pause after a failure; ``kick``: asks the node for a turn
        once something was told."""
        self._sims = sims
        self._patience_s = patience_s
        self._pause_s = pause_s
        self._kick = kick
        self._queue: asyncio.Queue[_Note] = asyncio.Queue(MAX_WAITING)
        self.failures = 0
        """Attempts that the database was away for."""
        self.given_up = 0

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def verified(self, device: str, sim: str, done: Callable[[bool], None]) -> None:
        self._put(_Note(device, sim, done))

    def changed(self, device: str, sim: str) -> None:
        self._put(_Note(device, sim, None))

    def _put(self, note: _Note) -> None:
        try:
            self._queue.put_nowait(note)
        except asyncio.QueueFull:
            self._tell(note, False)

    def _tell(self, note: _Note, is_written: bool) -> None:
        if not is_written:
            self.given_up += 1
        if note.done is not None:
            note.done(is_written)
            self._kick()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            note = await self._queue.get()
            self._tell(note, await self._write(note))

    async def _write(self, note: _Note) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience_s
        pause = self._pause_s
        while True:
            try:
                if note.done is not None:
                    return await self._sims.verified(note.device, note.sim)
                await self._sims.changed(note.device, note.sim)
            except DatabaseUnavailable as error:
                self.failures += 1
                if loop.time() + pause > until:
                    _log.error("a verified SIM of device %s could not be written: %s", note.device, error)
                    return False
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE_S)
            else:
                return True
