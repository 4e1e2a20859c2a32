"""What a number has used this month, for those who may look: minutes by zone, packages, distinct callees (OUT-08)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from callcontrol.pricing.rates import Package, PriceBook
from callcontrol.usage.counters import UsageCounters, Used, owner_of
from callcontrol.usage.month import Calendar, Month
from numbering.directory import Directory
from numbering.models import CloudNumber, PlanLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneUse:
    """Calls to one zone."""

    zone: str
    used_seconds: int
    included_minutes: int | None
    """What the plan gives a month; 0: without bound; None: nothing."""
    left_seconds: int | None
    """What is left of that; None: there is no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageUse:
    """A package of the account."""

    ref: str
    zones: tuple[str, ...]
    minutes: int
    """Of each number in a month; 0: without bound."""
    used_seconds: int
    """Calls to its zones beyond what the plan gives; where packages share a zone, each shows the same calls."""
    left_seconds: int | None
    """None: there is no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberUse:
    """One number in one month."""

    number: str
    user: str
    """Its holder, whose use it is; empty: nobody's."""
    month: Month
    counted: bool
    """Something bounds the holder's calls, so they are counted."""
    zones: tuple[ZoneUse, ...] = ()
    packages: tuple[PackageUse, ...] = ()
    callees: int = 0
    """Distinct numbers that were called."""
    max_callees: int = 0
    """0: no bound."""


class UsageReports:
    """Reads the counters that all nodes share, and says what of plan and packages they have used up."""

    def __init__(self, directory: Directory, book: PriceBook, counters: UsageCounters) -> None:
        self._directory = directory
        self._book = book
        self._counters = counters
        self._calendar = Calendar()

    def of(self, number: CloudNumber, now: float, done: Callable[[NumberUse | None], None]) -> None:
        """Tell what a number has used in the month of ``now`` (Unix seconds); None: the store does not answer.

        Nothing waits: ``done`` is called at once or later, once.
        """
        month = self._calendar.month(now)
        user = number.user
        plan = self._directory.plan_of(user) if user else None
        packages = self._packages(user)
        if plan is None or not (plan.minutes or plan.callees or packages):
            done(NumberUse(number=number.e164, user=user, month=month, counted=False))
            return
        known = plan

        def answered(used: Used | None) -> None:
            done(None if used is None else _report(number.e164, user, month, known, packages, used))

        self._counters.look(owner_of(number.e164, user), month.name, "", answered)

    def _packages(self, user: str) -> tuple[Package, ...]:
        account = self._directory.account_of(user) if user else None
        found = [self._book.package(ref) for ref in (account.packages if account is not None else ())]
        return tuple(package for package in found if package is not None)


def _report(
    number: str, user: str, month: Month, plan: PlanLimits, packages: tuple[Package, ...], used: Used
) -> NumberUse:
    zones = sorted({*plan.minutes, *used.seconds, *(zone for each in packages for zone in each.zones)})
    return NumberUse(
        number=number,
        user=user,
        month=month,
        counted=True,
        zones=tuple(_zone(zone, plan.minutes.get(zone), used.seconds.get(zone, 0)) for zone in zones),
        packages=tuple(_package(each, plan, used.seconds) for each in packages),
        callees=used.callees,
        max_callees=plan.callees,
    )


def _zone(zone: str, minutes: int | None, seconds: int) -> ZoneUse:
    left = None if minutes == 0 else max((minutes or 0) * 60 - seconds, 0)
    return ZoneUse(zone=zone, used_seconds=seconds, included_minutes=minutes, left_seconds=left)


def _package(package: Package, plan: PlanLimits, seconds: Mapping[str, int]) -> PackageUse:
    used = 0
    for zone in package.zones:
        minutes = plan.minutes.get(zone)
        if minutes != 0:  # without bound, nothing goes beyond the plan
            used += max(seconds.get(zone, 0) - (minutes or 0) * 60, 0)
    left = max(package.minutes * 60 - used, 0) if package.minutes else None
    return PackageUse(
        ref=package.ref, zones=package.zones, minutes=package.minutes, used_seconds=used, left_seconds=left
    )
