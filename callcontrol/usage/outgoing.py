"""Everything that outgoing calls are held against, for one node: the facts before a call, the slot of each leg, the
counting afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

from callcontrol.cdr.records import CallRecord
from callcontrol.pricing.rates import PriceBook
from callcontrol.usage.charges import Spent, spent
from callcontrol.usage.counters import Leg, MemoryUsageCounters, UsageCounters, owner_of
from callcontrol.usage.guard import OutgoingGuard
from callcontrol.usage.month import Calendar
from callcontrol.usage.policy import OutgoingPolicy, Zoning
from callcontrol.usage.slots import MemoryOutgoingSlots, OutgoingSlots
from callcontrol.usage.source import UsageSource
from dialplan.paying import FREE_CLASSES
from numbering.classes import classify
from numbering.directory import Directory


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
    """See the module; the runner calls it for each leg (`callcontrol.runner.OutgoingLegs`)."""

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

    def ended(self, record: CallRecord, now: float) -> None:
        """Count what a call has used; telling it twice counts once."""
        if not record.number or not record.answered_ms or not self.counts(record.user):
            return
        for each in spent(record):
            leg = self.leg(record.user, each, now)
            if leg is not None:
                owner = owner_of(record.number, record.user)
                self.counters.add(owner, self._calendar.month(each.started_at).name, leg, now)

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
