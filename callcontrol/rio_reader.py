"""Reads RIOs for calls that wait for them, one after the other, beside the calls (NUM-11)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from config.database import DatabaseUnavailable
from dialplan.facts import RIO_KNOWN, RIO_NONE, RIO_UNAVAILABLE, RioFacts
from numbering.refusal import Refused
from numbering.rio import Rio

Done = Callable[[RioFacts], None]

MAX_WAITING: Final = 1_000
"""Calls that may wait; one more is answered at once, without its RIO."""


class Rios(Protocol):
    """The part of the inventory that makes RIOs (`numbering.portdesk.PortDesk`)."""

    async def rio(self, number: str, *, actor: str) -> Rio: ...


class RioReader:
    """See the module."""

    def __init__(self, rios: Rios) -> None:
        self._rios = rios
        self._queue: asyncio.Queue[tuple[str, Done]] = asyncio.Queue(MAX_WAITING)
        self.kick: Callable[[], None] = lambda: None
        """Asks the node for a turn: something was told."""
        self.on_defect: Callable[[Exception], None] | None = None
        """Told of an error of ours that one call met; None: it is raised, and ends the reading for all."""

    def rio(self, number: str, done: Done) -> None:
        """The RIO of a line, told to ``done`` once; at once only where too many wait."""
        try:
            self._queue.put_nowait((number, done))
        except asyncio.QueueFull:
            done(RioFacts(state=RIO_UNAVAILABLE))

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            number, done = await self._queue.get()
            try:
                done(await self._read(number))
            except Exception as error:
                if self.on_defect is None:
                    raise
                self.on_defect(error)
            self.kick()

    async def _read(self, number: str) -> RioFacts:
        try:
            return RioFacts(state=RIO_KNOWN, rio=str(await self._rios.rio(number, actor="line")))
        except Refused:
            return RioFacts(state=RIO_NONE)
        except DatabaseUnavailable:
            return RioFacts(state=RIO_UNAVAILABLE)
