"""The number inventory within a running node: the clock of numbers, lines that asked for their RIO, SIMs that were
seen, and what metrics read of it.

Calls never wait for any of this: what they leave here (`NumberOffice.records`, `NumberOffice.sim_seen`) is written a
moment later, and again later when the database is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from callcontrol.b2bua.leg import MEDIA
from callcontrol.cdr import CallRecord
from callcontrol.metrics import Metrics
from callcontrol.ports import RecordSink
from callcontrol.rio_reader import RioReader
from config.database import DatabaseUnavailable
from config.sections import NumberSettings
from dialplan import reasons
from dialplan.facts import RioFacts
from dialplan.plan import RIO
from numbering.clockwork import Clockwork, Elected
from numbering.directory import Directory
from numbering.e164 import country_of
from numbering.inventory import NumberInventory
from numbering.messages import Courier, MessageSender, Outcome, RetryPolicy
from numbering.models import PlanTable
from numbering.refusal import Refused
from numbering.store_inventory import InventoryStore

_log = logging.getLogger(__name__)

MAX_WAITING: Final = 10_000
"""Lines and SIMs that may wait to be written down; beyond, the latest are forgotten and counted."""


class NumberOffice:
    """See the module.  ``inventory`` is what API and provisioning use."""

    def __init__(
        self,
        store: InventoryStore,
        duty: Elected,
        settings: NumberSettings,
        plans: PlanTable,
        clock: Callable[[], float],
        sender: MessageSender | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        """``sender``: who carries messages to lines; None: they wait for people.

        Raises ValueError for settings that the law of a country forbids.
        """
        self.inventory = NumberInventory(store, plans, settings, clock=clock)
        self.clockwork = Clockwork(
            store,
            self.inventory,
            duty,
            clock=clock,
            pause_s=settings.clock_seconds,
        )
        self.rios = RioReader(self.inventory.ports)
        self.courier: Courier | None = None
        if sender is not None:
            self.courier = Courier(
                store,
                self.inventory,
                sender,
                retry or RetryPolicy(),
                clock=clock,
                on_duty=lambda: self.clockwork.on_duty,
                pause_s=settings.clock_seconds,
            )
        self.forgotten = 0
        self._pause_s = settings.clock_seconds
        self._write_s = settings.sim_seen_write_seconds
        self._clock = clock
        self._lines: dict[str, None] = {}
        self._sims: dict[str, str] = {}
        self._seen: dict[str, tuple[str, float]] = {}

    # -- what calls leave -------------------------------------------------------------------------------------

    def records(self, sink: RecordSink) -> RecordSink:
        """A sink that hands records on, and sees who has asked for a RIO (NUM-11) and which SIMs have called (NUM-08)."""
        return _Listening(sink, self.rio_asked, self.sim_seen)

    def rio(self, number: str, done: Callable[[RioFacts], None]) -> None:
        """The RIO of a line, for a call that waits for it (`callcontrol.rio_facts.LineRios`)."""
        self.rios.rio(number, done)

    def rio_asked(self, number: str) -> None:
        """A line has called the RIO service: it is sent its RIO."""
        if self._has_room():
            self._lines[number] = None

    def sim_seen(self, device: str, country: str) -> None:
        """The network has shown us the SIM of a device, at home in ``country`` (NUM-08).  Costs nothing when
        that was known a moment ago.
        """
        now = self._clock()
        known = self._seen.get(device)
        if known is not None and known[0] == country and now - known[1] < self._write_s:
            return
        if self._has_room():
            if len(self._seen) >= MAX_WAITING:
                self._seen.clear()
            self._seen[device] = (country, now)
            self._sims[device] = country

    def _has_room(self) -> bool:
        if len(self._lines) + len(self._sims) < MAX_WAITING:
            return True
        self.forgotten += 1
        return False

    async def write_down(self) -> None:
        """Write what waits.  Raises `DatabaseUnavailable`; then it goes on waiting."""
        while self._lines:
            number = next(iter(self._lines))
            try:
                await self.inventory.ports.tell_rio(number, actor="line")
            except Refused as refusal:
                _log.warning("no RIO is sent to %s: %s", number, refusal.fault.value)
            self._lines.pop(number, None)
        while self._sims:
            device, country = next(iter(self._sims.items()))
            await self.inventory.sim_seen(device, country)
            if self._sims.get(device) == country:
                del self._sims[device]

    def handed(self) -> dict[str, int]:
        """Messages that were to be handed over, by what came of it."""
        return (
            dict(self.courier.handed)
            if self.courier is not None
            else dict.fromkeys((each.value for each in Outcome), 0)
        )

    # -- life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        clock = asyncio.create_task(self.clockwork.run(), name="numbers: clock")
        tasks = [clock, asyncio.create_task(self.rios.run(), name="numbers: RIOs")]
        if self.courier is not None:
            # beside the clock: a carrier that is slow to take a message must not cost this node its duty
            tasks.append(asyncio.create_task(self.courier.run(), name="numbers: messages"))
        try:
            while not any(task.done() for task in tasks):
                await asyncio.sleep(self._pause_s)
                try:
                    await self.write_down()
                except DatabaseUnavailable as error:
                    _log.debug("numbers: the database is away: %s", error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()

    def register(self, metrics: Metrics, directory: Directory) -> None:
        """Let the metrics read the inventory."""
        clockwork, counters = self.clockwork, self.inventory.counters
        metrics.register_all(
            {
                "numbers": lambda: {
                    state.value: count for state, count in directory.numbers_by_state().items()
                },
                "number_changes": lambda: {str(action): count for action, count in counters.items()},
                "number_duty": lambda: int(clockwork.on_duty),
                "number_overdue_seconds": lambda: clockwork.overdue_s,
                "number_clock_failures": lambda: clockwork.failures,
                "number_messages_waiting": lambda: clockwork.waiting_messages,
                "number_messages_stuck": lambda: clockwork.stuck_messages,
                "number_messages": lambda: self.handed(),
            }
        )


class _Listening:
    """See `NumberOffice.records`."""

    def __init__(
        self, sink: RecordSink, asked: Callable[[str], None], seen: Callable[[str, str], None]
    ) -> None:
        self._sink = sink
        self._asked = asked
        self._seen = seen

    def put(self, record: CallRecord) -> None:
        self._sink.put(record)
        if record.number and (record.reason == reasons.RIO_BY_MESSAGE or _was_spoken_to(record)):
            self._asked(record.number)
        if record.sim and record.device and (record.answered_ms or record.reason == reasons.SIM_VERIFIED):
            # a SIM that talked with us over its network, or proved itself: a callback that nobody answers shows nothing
            country = country_of(record.sim)
            if country:
                self._seen(record.device, country)


def _was_spoken_to(record: CallRecord) -> bool:
    """Whether the server that speaks a RIO was called; who heard nothing, or half of it, reads it in the message."""
    return any(leg.device_class == MEDIA and leg.number == RIO for leg in record.legs)
