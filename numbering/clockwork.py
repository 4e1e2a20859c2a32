"""What time does to numbers: reservations lapse, quarantines end, ports take place, subscriptions run out.

One node does it for all (`numbering.store_duty`); when that one dies another takes over, and what was due meanwhile is
done then.  Each step is the same transaction that a person's would be, with ``clock`` as its actor.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from config.database import DatabaseUnavailable
from numbering import lifecycle
from numbering.inventory import NumberInventory
from numbering.lifecycle import Action, Cause, NumberEvent
from numbering.refusal import Refused
from numbering.store_inventory import InventoryStore

_log = logging.getLogger(__name__)

ACTOR: Final = "clock"
DUTY: Final = "numbers"
BATCH: Final = 200
"""Numbers in one transaction: some tens of milliseconds, during which nobody else writes."""
_MAX_BACKOFF_S: Final = 30.0

_REASONS: Final = {
    Action.LAPSE: "the reservation ran out",
    Action.END_QUARANTINE: "the quarantine is over",
    Action.EXPIRE: "the subscription ended",
}


class Elected(Protocol):
    """Whether this node has the duty."""

    async def hold(self, now: float) -> bool: ...

    async def give_up(self) -> None: ...


class Clockwork:
    """Does what is due while this node has the duty.

    ``on_duty``, ``done`` (changes by action), ``failures`` and ``overdue_s`` (how late the last work was) are for
    metrics.
    """

    def __init__(
        self,
        store: InventoryStore,
        inventory: NumberInventory,
        duty: Elected,
        *,
        clock: Callable[[], float],
        pause_s: float,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._duty = duty
        self._clock = clock
        self._pause_s = pause_s
        self.on_duty = False
        self.done: dict[str, int] = {}
        self.failures = 0
        self.overdue_s = 0.0
        self.waiting_messages = 0
        self.stuck_messages = 0

    async def tick(self) -> int:
        """Everything that is due now, if this node has the duty; returns how many changes were made.

        Raises `DatabaseUnavailable`.
        """
        self.on_duty = await self._duty.hold(self._clock())
        if not self.on_duty:
            self.overdue_s = 0.0
            return 0
        count = 0
        latest = 0.0
        while True:
            done, late = await self._batch()
            count += done
            latest = max(latest, late)
            if done < BATCH:
                break
            # Long work: the duty must not run out in the middle of it.
            self.on_duty = await self._duty.hold(self._clock())
            if not self.on_duty:
                break
        self.overdue_s = latest
        async with self._store.look() as look:
            self.waiting_messages = await look.waiting_messages()
            self.stuck_messages = await look.waiting_messages(given_up=True)
        return count

    async def _batch(self) -> tuple[int, float]:
        """How many changes were made, and how late the latest of them was, seconds."""
        now = self._clock()
        async with self._store.look() as look:
            # Looked at without a lock first: mostly there is nothing, and nobody is to wait for that.
            numbers = await look.due(now, BATCH)
            ports = await look.due_ports(now, BATCH)
        late = [now - (number.until or number.expires_at) for number in numbers]
        late += [now - port.port_at for port in ports]
        done = 0
        if numbers:
            done += await self._numbers([number.e164 for number in numbers], now)
        for port in ports:
            done += await self._port(port.id, now)
        return done, max(late, default=0.0)

    async def _numbers(self, e164s: list[str], now: float) -> int:
        events: list[NumberEvent] = []
        async with self._store.work() as work:
            known = await work.numbers(e164s)
            for number in known.values():
                action = lifecycle.timed_action(number, now)
                if action is None:
                    continue  # somebody has renewed it, or taken it back, since we looked
                moved = lifecycle.by_clock(number, Cause(at=now, actor=ACTOR, reason=_REASONS[action]))
                if moved is not None:
                    await self._inventory.put(work, number, moved)
                    events.append(moved.event)
        for event in events:
            self._count(event.action)
        return len(events)

    async def _port(self, ref: str, now: float) -> int:
        """Each port by itself: one that cannot be done holds up no other."""
        cause = Cause(at=now, actor=ACTOR, reason="the date of the port")
        try:
            async with self._store.work() as work:
                port = await work.port(ref)
                after = None if port is None else await self._inventory.ports.by_clock(work, port, cause)
        except Refused as refusal:
            self.failures += 1
            _log.error("port %s cannot be done and ends: %s", ref, refusal)
            after = await self._inventory.ports.fail(
                ref, Cause(at=now, actor=ACTOR, reason=str(refusal)[:200])
            )
        if after is None:
            return 0
        self._count(f"port_{after.state.value}")
        return 1

    def _count(self, word: str) -> None:
        self.done[word] = self.done.get(word, 0) + 1

    async def run(self) -> None:
        """Until cancelled; then the duty is free for another node."""
        pause = self._pause_s
        try:
            while True:
                await asyncio.sleep(pause)
                try:
                    await self.tick()
                    pause = self._pause_s
                except DatabaseUnavailable as error:
                    if pause == self._pause_s:
                        _log.warning("numbers: the database is away, nothing is done in time: %s", error)
                    self.failures += 1
                    self.on_duty = False
                    pause = min(pause * 2, _MAX_BACKOFF_S)
        finally:
            if self.on_duty:
                await self._leave()

    async def _leave(self) -> None:
        try:
            await self._duty.give_up()
        except DatabaseUnavailable as error:
            _log.info("numbers: the duty ends by itself: %s", error)
        self.on_duty = False
