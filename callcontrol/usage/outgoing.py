"""Everything that outgoing calls are held against, for one node: the facts before a call, the slot of each leg, the
counting afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from callcontrol.cdr.records import CallRecord
from callcontrol.masking import mask_number
from callcontrol.pricing.rates import PriceBook
from callcontrol.usage.charges import Spent, spent
from callcontrol.usage.counters import Leg, MemoryUsageCounters, UsageCounters, Used, owner_of
from callcontrol.usage.guard import OutgoingGuard
from callcontrol.usage.month import Calendar
from callcontrol.usage.policy import OutgoingPolicy, Zoning
from callcontrol.usage.slots import MemoryOutgoingSlots, OutgoingSlots
from callcontrol.usage.source import UsageSource
from dialplan.paying import FREE_CLASSES
from numbering.classes import classify
from numbering.directory import Directory

_log = logging.getLogger(__name__)


class OutgoingStores:
    """Live state and prices that outgoing calls need; made once for a process."""

    __slots__ = ("book", "counters", "slots")

    def __init__(
        self,
        book: PriceBook | None = None,
        counters: UsageCounters | None = None,
        slots: OutgoingSlots | None = None,
    ) -> None:
        self.book = PriceBook() if book is None else book
        self.counters: UsageCounters = MemoryUsageCounters() if counters is None else counters
        self.slots: OutgoingSlots = MemoryOutgoingSlots() if slots is None else slots


class Outgoing:
    """See the module; the runner calls it for each leg (`callcontrol.asked_trunk.OutgoingLegs`)."""

    def __init__(
        self, directory: Directory, policy: OutgoingPolicy, stores: OutgoingStores, longest_s: float
    ) -> None:
        """``longest_s``: how long a leg may last, ringing and talking."""
        self._directory = directory
        self.book = stores.book
        self.counters = stores.counters
        self.slots = stores.slots
        self.zoning = Zoning(directory, policy, stores.book)
        self.source = UsageSource(directory, policy, self.zoning, stores.book, stores.counters)
        self.guard = OutgoingGuard(directory, policy, self.zoning, stores.slots, longest_s)
        self._calendar = Calendar()
        self._warn_share = policy.warn_share
        self.passed: dict[str, int] = {}
        """``warning``, ``end`` -> how often minutes of a plan came to that."""

    def acquire(
        self,
        leg: str,
        user: str,
        account: str,
        number: str,
        called: str,
        fresh: bool,
        now: float,
        done: Callable[[str], None],
    ) -> None:
        """See `OutgoingGuard.acquire`."""
        self.guard.acquire(leg, user, account, number, called, fresh, now, done)

    def release(self, leg: str) -> None:
        self.guard.release(leg)

    def resumed(self, leg: str) -> None:
        self.guard.resumed(leg)

    def lost(self, leg: str) -> None:
        self.guard.lost(leg)

    def ended(self, record: CallRecord, now: float) -> None:
        """Count what a call has used; telling it twice counts once."""
        if not record.number or not record.answered_ms:
            return
        for each in spent(record):
            if not self.counts(each.user):
                continue
            leg = self.leg(each.user, each, now)
            if leg is not None:
                owner, month = owner_of(each.number, each.user), self._calendar.month(each.started_at).name
                self.counters.add(owner, month, leg, now)
                self._watch(owner, month, each, leg)

    def _watch(self, owner: str, month: str, each: Spent, leg: Leg) -> None:
        """Tell when this leg has brought the minutes of the plan to the warning, or to their end."""
        plan = self._directory.plan_of(each.user)
        plan_s = 60 * plan.minutes.get(leg.zone, 0) if plan is not None else 0
        if not plan_s:
            return

        def seen(used: Used | None) -> None:
            after = used.seconds.get(leg.zone, 0) if used is not None else 0
            before = after - leg.seconds
            for word, mark in (("warning", round(plan_s * self._warn_share)), ("end", plan_s)):
                if before < mark <= after:
                    self.passed[word] = self.passed.get(word, 0) + 1
                    _log.info(
                        "minutes of the plan: %s has used %d of %d to %s",
                        mask_number(each.number),
                        after // 60,
                        plan_s // 60,
                        leg.zone,
                    )

        self.counters.look(owner, month, leg.called, seen)

    def counts(self, user: str) -> bool:
        """Whether anything bounds what the user's numbers use in a month."""
        plan = self._directory.plan_of(user)
        if plan is None:
            return False
        account = self._directory.account_of(user)
        return bool(plan.minutes or plan.callees or (account is not None and account.packages))

    def leg(self, user: str, each: Spent, now: float) -> Leg | None:
        """What a leg of the user counts as; None: as nothing (free numbers, the user's own SIM)."""
        if classify(each.called) in FREE_CLASSES or self.zoning.is_own_sim(user, each.called):
            return None
        zone = self.zoning.zone(user, each.number, each.called, now)
        return Leg(each.key, zone, each.seconds, each.called)
