"""The figures of the rules for outgoing calls, as values: built from the settings, read by everything here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from callcontrol.pricing.rates import PriceBook, Rate
from callcontrol.pricing.zones import NATIONAL, Zones
from callcontrol.usage.month import day_of
from callcontrol.usage.slots import SlotLimits
from numbering.directory import Directory
from numbering.models import Device, PlanLimits
from numbering.residence import sim_countries

HOMES_S: Final = 600.0
"""How long the home of a user's SIMs is taken for what it was; changes of the devices count at once."""
_MAX_HOMES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingPolicy:
    """Bounds of a user and of an account; 0: none.  What a plan says goes before what stands here."""

    zones: Zones = field(default_factory=lambda: Zones({}))
    sim_window_days: float = 35.0
    """How long a SIM counts after it was seen (NUM-08)."""
    credit_seconds: int = 60
    """A call on credit is begun when the credit pays for so many seconds."""
    warn_share: float = 0.8
    """Share of an allowance from which on the trace says that it is nearly used up."""
    user_calls: int = 0
    account_calls: int = 0
    user_calls_per_minute: float = 0.0
    account_calls_per_minute: float = 0.0
    user_calls_abroad: int = 0
    account_calls_abroad: int = 0
    user_calls_abroad_per_minute: float = 0.0
    account_calls_abroad_per_minute: float = 0.0

    def bounds(self, plan: PlanLimits | None) -> SlotLimits:
        """Of all outgoing calls."""
        return SlotLimits(
            (plan.calls if plan is not None else 0) or self.user_calls,
            self.account_calls,
            self.user_calls_per_minute,
            self.account_calls_per_minute,
        )

    def bounds_abroad(self, plan: PlanLimits | None) -> SlotLimits:
        """Of those that leave the country."""
        return SlotLimits(
            (plan.calls_abroad if plan is not None else 0) or self.user_calls_abroad,
            self.account_calls_abroad,
            self.user_calls_abroad_per_minute,
            self.account_calls_abroad_per_minute,
        )


class Zoning:
    """Which zone a call of a user is: the one reading that decides, counts and reconciles."""

    __slots__ = ("_book", "_days", "_directory", "_homes", "_zones")

    def __init__(self, directory: Directory, policy: OutgoingPolicy, book: PriceBook) -> None:
        self._directory = directory
        self._days = policy.sim_window_days
        self._zones = policy.zones
        self._book = book
        self._homes: dict[str, tuple[tuple[Device, ...], float, frozenset[str] | None]] = {}
        """User -> devices, until when the answer counts, and the answer: it is asked for each call."""

    def homes(self, user: str, now: float) -> frozenset[str] | None:
        """Countries where the user's SIMs are at home (NUM-08); None: the user has no SIM at all."""
        devices = self._directory.devices_of(user)
        known = self._homes.get(user)
        if known is not None and known[0] is devices and known[1] - HOMES_S <= now < known[1]:
            return known[2]
        sims = [device for device in devices if device.sim]
        found = sim_countries(sims, now, self._days) if sims else None
        if len(self._homes) >= _MAX_HOMES:
            self._homes.clear()
        self._homes[user] = (devices, now + HOMES_S, found)
        return found

    def zone(self, user: str, number: str, called: str, now: float) -> str:
        """Zone of a call of ``user`` from ``number`` to ``called``, both E.164."""
        zone = self._zones.of_call(number, called, self.homes(user, now))
        if zone != NATIONAL:
            rate = self.rate(user, called, now)
            if rate is not None and rate.zone:
                return rate.zone
        return zone

    def rate(self, user: str, called: str, now: float) -> Rate | None:
        """What calls to a number cost the user a minute."""
        plan = self._directory.plan_of(user)
        if plan is None or not self._book.has(plan.rates):
            return None
        return self._book.rate(plan.rates, called, day_of(now))

    def is_own_sim(self, user: str, called: str) -> bool:
        """A leg to the user's own SIM is our way to reach the user, no outgoing call."""
        return any(device.sim == called for device in self._directory.devices_of(user))
