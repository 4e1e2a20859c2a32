"""Facts of what was used and what a call costs, for the dialplan (OUT-06, OUT-08).

A `callcontrol.live_facts.LiveSource`.  Prices, packages and plans are at hand; the counters of the month live in the
store of all nodes.  Where nothing is counted and nothing has a price, a call is not even asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from callcontrol.pricing.rates import Package, PriceBook, cost
from callcontrol.usage.counters import UsageCounters, Used, owner_of
from callcontrol.usage.month import Calendar
from callcontrol.usage.policy import OutgoingPolicy, Zoning
from dialplan.facts import CallFacts
from dialplan.outgoing import choose_number
from dialplan.trace import Trace
from dialplan.usage import NOT_INCLUDED, UNBOUNDED, UsageFacts
from numbering.directory import Directory
from numbering.models import NumberState, PlanLimits
from numbering.plans import NumberClass

_OUTSIDE = (NumberState.PORTED_OUT, NumberState.PORTING_IN)


class UsageSource:
    """Completes facts with ``usage``."""

    def __init__(
        self,
        directory: Directory,
        policy: OutgoingPolicy,
        zoning: Zoning,
        book: PriceBook,
        counters: UsageCounters,
    ) -> None:
        self._directory = directory
        self._policy = policy
        self._book = book
        self._counters = counters
        self._zoning = zoning
        self._calendar = Calendar()

    def wants(self, facts: CallFacts) -> bool:
        """A call to the outside, of somebody whose calls are counted or have a price."""
        device = facts.device
        if device is None or facts.colleague or not facts.called.e164:
            return False
        if facts.greeting is not None or (facts.number is not None and facts.number.state not in _OUTSIDE):
            return False
        plan = self._directory.plan_of(device.user)
        return plan is not None and (bool(plan.minutes or plan.callees) or self._book.has(plan.rates))

    def ask(self, facts: CallFacts, call_id: str, done: Callable[[CallFacts], None]) -> None:
        number = self._number(facts)
        if not number or facts.called.number_class is NumberClass.EMERGENCY:
            done(facts)
            return

        def answered(used: Used | None) -> None:
            done(replace(facts, usage=self._usage(facts, number, used)))

        month = self._calendar.month(facts.now).name
        user = "" if facts.device is None else facts.device.user
        self._counters.look(owner_of(number, user), month, facts.called.e164, answered)

    def missing(self, facts: CallFacts) -> CallFacts:
        """Counters that do not answer stop nobody; prices are known all the same."""
        number = self._number(facts)
        return replace(facts, usage=self._usage(facts, number, None)) if number else facts

    def usage(
        self, user: str, number: str, called: str, now: float, done: Callable[[UsageFacts | None], None]
    ) -> None:
        """The same for a call that is only asked about; None when nothing is counted and nothing has a price."""
        plan = self._directory.plan_of(user)
        if plan is None or not (plan.minutes or plan.callees or self._book.has(plan.rates)):
            done(None)
            return
        known = plan

        def answered(used: Used | None) -> None:
            done(self._of(user, number, called, now, known, used))

        self._counters.look(owner_of(number, user), self._calendar.month(now).name, called, answered)

    def _number(self, facts: CallFacts) -> str:
        if facts.device is None:
            return ""
        chosen = choose_number(facts.device, facts.caller, required=True, trace=Trace())
        return "" if chosen.number is None else chosen.number.e164

    def _usage(self, facts: CallFacts, number: str, used: Used | None) -> UsageFacts | None:
        user = "" if facts.device is None else facts.device.user
        plan = self._directory.plan_of(user)
        return None if plan is None else self._of(user, number, facts.called.e164, facts.now, plan, used)

    def _of(
        self, user: str, number: str, called: str, now: float, plan: PlanLimits, used: Used | None
    ) -> UsageFacts:
        zone = self._zoning.zone(user, number, called, now)
        seconds = {} if used is None else used.seconds
        plan_s = _plan_s(plan, zone)
        account = self._directory.account_of(user)
        packages = [] if account is None else self._covering(account.packages, zone)
        package_s, package_used_s = _of_packages(packages, plan, seconds)
        rate = self._zoning.rate(user, called, now)
        return UsageFacts(
            number=number,
            zone=zone,
            counted=used is not None,
            plan_s=plan_s,
            used_s=seconds.get(zone, 0),
            warn_s=round(plan_s * self._policy.warn_share) if plan_s > 0 else 0,
            package=" ".join(package.ref for package in packages),
            package_s=package_s,
            package_used_s=package_used_s,
            callees=0 if used is None else used.callees,
            knows_callee=used is not None and used.knows,
            max_callees=plan.callees,
            priced=self._book.has(plan.rates),
            rate="" if rate is None else rate.ref,
            per_minute=0 if rate is None else int(rate.per_minute),
            needed=0 if rate is None else int(cost(rate, self._policy.credit_seconds)),
            credit=0 if account is None else int(account.credit),
            currency="" if rate is None else rate.currency,
        )

    def _covering(self, refs: tuple[str, ...], zone: str) -> list[Package]:
        found = [self._book.package(ref) for ref in refs]
        return [package for package in found if package is not None and zone in package.zones]


def _plan_s(plan: PlanLimits, zone: str) -> int:
    minutes = plan.minutes.get(zone)
    return NOT_INCLUDED if minutes is None else minutes * 60


def _of_packages(packages: list[Package], plan: PlanLimits, seconds: Mapping[str, int]) -> tuple[int, int]:
    """Seconds that packages give together, and what of them is used: beyond the plan, to all their zones."""
    if not packages:
        return NOT_INCLUDED, 0
    if any(not package.minutes for package in packages):
        return UNBOUNDED, 0
    used = 0
    for zone in {zone for package in packages for zone in package.zones}:
        plan_s = _plan_s(plan, zone)
        if plan_s != UNBOUNDED:
            used += max(seconds.get(zone, 0) - max(plan_s, 0), 0)
    return sum(package.minutes for package in packages) * 60, used
