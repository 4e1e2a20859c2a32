"""Bringing the live counters in step with the call records: at the start, and every few minutes (OUT-08)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import chain, repeat
from typing import Final, Protocol

from callcontrol.usage.charges import Spent
from callcontrol.usage.counters import Total, owner_of
from callcontrol.usage.month import Calendar, Month
from callcontrol.usage.outgoing import Outgoing
from callcontrol.usage.store import UsagePage
from config.database import DatabaseUnavailable

_log = logging.getLogger(__name__)

SOON_S: Final = 10.0
"""After the start, records that were left in the outbox come to the database; then once more."""


class UsageRecords(Protocol):
    """The call records (`callcontrol.usage.store.SqlUsageRecords`)."""

    async def page(
        self,
        begins_ms: int,
        ends_ms: int,
        after: str,
        pending: Callable[[Collection[tuple[str, str]]], Awaitable[Sequence[str]]],
    ) -> UsagePage: ...


class Reconciler:
    """``runs`` and ``failures`` count."""

    def __init__(
        self,
        outgoing: Outgoing,
        records: UsageRecords,
        wall: Callable[[], float],
        every_s: float,
    ) -> None:
        self._outgoing = outgoing
        self._records = records
        self._wall = wall
        self._every_s = every_s
        self._calendar = Calendar()
        self.runs = 0
        self.failures = 0

    async def reconcile(self) -> None:
        """Once, for the present month.  Raises `DatabaseUnavailable`."""
        now = self._wall()
        month = self._calendar.month(now)
        after = ""
        while True:
            page = await self._records.page(
                round(month.begins * 1000), round(month.ends * 1000), after, self._pending(month)
            )
            if not page.last:
                break
            self._outgoing.counters.settle(month.name, self._totals(page, now), page.known, now)
            after = page.last
            await asyncio.sleep(0)
        self._outgoing.counters.forget(month.name)
        self.runs += 1

    def _pending(self, month: Month) -> Callable[[Collection[tuple[str, str]]], Awaitable[Sequence[str]]]:
        async def ask(held: Collection[tuple[str, str]]) -> Sequence[str]:
            answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
            owners = [owner_of(number, user) for number, user in sorted(held)]
            self._outgoing.counters.pending(month.name, owners, answer.set_result)
            return await answer

        return ask

    def _totals(self, page: UsagePage, now: float) -> dict[str, Total]:
        seconds: dict[str, dict[str, int]] = {}
        callees: dict[str, set[str]] = {}
        for row in page.rows:
            if not self._outgoing.counts(row.user):
                continue
            owner = owner_of(row.number, row.user)
            of_zone = seconds.setdefault(owner, {})
            known = callees.setdefault(owner, set())
            leg = self._outgoing.leg(row.user, Spent("", row.number, row.called, row.seconds, now), now)
            if leg is not None:
                of_zone[leg.zone] = of_zone.get(leg.zone, 0) + leg.seconds
                known.add(leg.called)
        return {owner: Total(found, callees[owner]) for owner, found in seconds.items()}

    async def run(self) -> None:
        """At once, soon after, and then every so often, until cancelled."""
        for pause in chain((min(SOON_S, self._every_s),), repeat(self._every_s)):
            try:
                await self.reconcile()
            except DatabaseUnavailable as error:
                self.failures += 1
                _log.warning(
                    "use of numbers: the call records are away, counting goes on by itself: %s", error
                )
            await asyncio.sleep(pause)
