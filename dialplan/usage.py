"""What a number has used this month, and what the call would cost: facts of OUT-06 and OUT-08."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NOT_INCLUDED: Final = -1
UNBOUNDED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFacts:
    """Allowances, packages, price and credit of one call of one number.  Amounts are millionths of the unit."""

    number: str
    """The cloud number that the call is made with, E.164."""
    zone: str
    """``national``, a zone of the settings, ``world`` or ``special``."""
    counted: bool = True
    """The counters answered; else what was used is not known, and does not stop the call."""
    plan_s: int = NOT_INCLUDED
    """Seconds to the zone that the plan includes a month; 0: without bound, -1: none."""
    used_s: int = 0
    """Seconds to the zone that the number has used this month."""
    warn_s: int = 0
    """Seconds from which on the user is warned; 0: never."""
    package: str = ""
    """Refs of the packages that cover the zone; empty: none does."""
    package_s: int = NOT_INCLUDED
    """Seconds of these packages together; 0: without bound, -1: there is none."""
    package_used_s: int = 0
    """Seconds that the number has used of them: beyond the plan, to all their zones."""
    callees: int = 0
    """Distinct numbers called this month."""
    knows_callee: bool = False
    """The number called is among them."""
    max_callees: int = 0
    """0: no bound."""
    priced: bool = False
    """There is a rate table: what is not included has to be paid."""
    rate: str = ""
    """Ref of the rate; empty: the table has none for the number called."""
    per_minute: int = 0
    needed: int = 0
    """Credit without which the call is not begun."""
    credit: int = 0
    currency: str = ""
