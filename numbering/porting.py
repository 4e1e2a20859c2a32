"""Numbers that come to us and leave us (NUM-10, NUM-11): states, dates, replies.  Pure.

A port is a request with a life of its own beside that of its number: the number is ``porting_in`` from the request
until the port is done, cancelled or refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from numbering.classes import classify
from numbering.countries import (
    HOUR_S,
    CountryRules,
    PortInRules,
    earliest_port,
    is_working_day,
    latest_port,
    port_moment,
)
from numbering.plans import NumberClass
from numbering.refusal import Fault, Refused

IN: Final = "in"
OUT: Final = "out"


class PortState(StrEnum):
    """Where a port stands."""

    REQUESTED = "requested"
    """Asked for; the line has not been asked yet."""
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    """The line was sent our question and has not answered."""
    CONFIRMED = "confirmed"
    SCHEDULED = "scheduled"
    """The other operator has agreed to the date."""
    DONE = "done"
    CANCELLED = "cancelled"
    REFUSED = "refused"


P = PortState
OPEN: Final = (P.REQUESTED, P.AWAITING_CONFIRMATION, P.CONFIRMED, P.SCHEDULED)
"""States from which something may still come."""

LEGAL: Final[Mapping[PortState, frozenset[PortState]]] = {
    # The answer may come before we hear that the question was delivered.
    P.REQUESTED: frozenset({P.AWAITING_CONFIRMATION, P.CONFIRMED, P.CANCELLED, P.REFUSED}),
    P.AWAITING_CONFIRMATION: frozenset({P.CONFIRMED, P.CANCELLED, P.REFUSED}),
    P.CONFIRMED: frozenset({P.SCHEDULED, P.CANCELLED, P.REFUSED}),
    P.SCHEDULED: frozenset({P.SCHEDULED, P.DONE, P.CANCELLED, P.REFUSED}),
    P.DONE: frozenset(),
    P.CANCELLED: frozenset(),
    P.REFUSED: frozenset(),
}

# Why a port ends without a port; the closed list.
NOT_CONFIRMED: Final = "not_confirmed"
"""The line did not answer in time."""
DECLINED: Final = "declined"
"""The line answered that it does not want to move."""
CHANGED_MIND: Final = "changed_mind"
INACTIVE_LINE: Final = "inactive_line"
RIO_MISMATCH: Final = "rio_mismatch"
"""The other operator does not know the RIO."""
ALREADY_PORTING: Final = "already_porting"
NOT_SCHEDULED: Final = "not_scheduled"
"""The day came, and the other operator had not agreed to it."""
OTHER: Final = "other"
REFUSALS: Final = (INACTIVE_LINE, RIO_MISMATCH, ALREADY_PORTING, NOT_SCHEDULED, OTHER)
CANCELLATIONS: Final = (NOT_CONFIRMED, DECLINED, CHANGED_MIND, OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port of one number."""

    id: str
    direction: str
    """``in`` or ``out``."""
    e164: str
    user: str
    """Ref of the user whom the number comes to, or whom it leaves with."""
    state: PortState
    rio: str = ""
    port_at: float
    """Unix time when the number passes: wished, and when it is scheduled, agreed."""
    requested_at: float
    confirm_by: float = 0.0
    """Unix time until which the line must have answered; 0: nothing is waited for."""
    had_left: bool = False
    """The number was ours once."""
    reason: str = ""
    """Why it ended: a word of the closed list; empty while it has not, or when it is done."""
    version: int = 1

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


def rules_for(rules: CountryRules, e164: str) -> PortInRules:
    """How a number can come to us.  Raises Refused when it cannot."""
    if rules.port_in is None:
        raise Refused(Fault.NOT_PORTABLE, f"{e164}: numbers of its country cannot be ported to us")
    if classify(e164) not in (NumberClass.MOBILE, NumberClass.FIXED):
        raise Refused(Fault.NOT_PORTABLE, f"{e164} is neither a mobile nor a fixed line")
    return rules.port_in


def check_date(rules: CountryRules, port_in: PortInRules, wished: date, now: float) -> float:
    """Unix time of a port on the day that is wished for.  Raises Refused."""
    earliest, latest = earliest_port(rules, port_in, now), latest_port(rules, port_in, now)
    if wished < earliest:
        raise Refused(Fault.TOO_EARLY, f"{wished} is too early: {earliest} is the first day possible")
    if wished > latest:
        raise Refused(Fault.TOO_LATE, f"{wished} is too late: {latest} is the last day possible")
    if not is_working_day(port_in, wished):
        raise Refused(Fault.BAD_REQUEST, f"{wished} is a Sunday or a holiday, and nothing is ported")
    return port_moment(rules, port_in, wished)


def moved(port: Port, state: PortState, reason: str = "", **changes: float) -> Port:
    """The port in another state.  Raises Refused when that is not possible."""
    if state not in LEGAL[port.state]:
        raise Refused(
            Fault.WRONG_STATE,
            f"port {port.id} of {port.e164} is {port.state.value}, not to be {state.value} any more",
        )
    values: dict[str, object] = {"state": state, "reason": reason, "version": port.version + 1, **changes}
    return dataclasses.replace(port, **values)  # type: ignore[arg-type]


def cancelled(port: Port, reason: str, now: float, cancel_hours: float) -> Port:
    """The port is not wanted any more: possible until so many hours before the number passes."""
    if reason not in CANCELLATIONS:
        raise Refused(Fault.BAD_REQUEST, f"a cancellation is for one of {', '.join(CANCELLATIONS)}")
    after = moved(port, P.CANCELLED, reason)
    if reason in (CHANGED_MIND, OTHER) and now > port.port_at - cancel_hours * HOUR_S:
        raise Refused(
            Fault.TOO_LATE,
            f"port {port.id}: it could be cancelled until {cancel_hours:g} hours before the date",
        )
    return after


def refused(port: Port, reason: str) -> Port:
    """The other operator refuses."""
    if reason not in REFUSALS:
        raise Refused(Fault.BAD_REQUEST, f"a refusal is for one of {', '.join(REFUSALS)}")
    return moved(port, P.REFUSED, reason)


def read_reply(text: str, port_in: PortInRules) -> bool | None:
    """What a line answered: yes, no, or None if neither can be told."""
    words = text.strip().lower().strip(".!? \t\r\n'\"").split()
    word = words[0].strip(".,!") if words else ""
    if word in port_in.yes:
        return True
    return False if word in port_in.no else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What the clock does to a port."""

    state: PortState
    reason: str = ""


def timed_ending(port: Port, now: float) -> Ending | None:
    """What the clock does to the port now; None: nothing."""
    if port.state in (P.REQUESTED, P.AWAITING_CONFIRMATION) and (
        0 < port.confirm_by <= now or port.port_at <= now
    ):
        return Ending(state=P.CANCELLED, reason=NOT_CONFIRMED)
    if port.state is P.CONFIRMED and port.port_at <= now:
        return Ending(state=P.REFUSED, reason=NOT_SCHEDULED)
    if port.state is P.SCHEDULED and port.port_at <= now:
        return Ending(state=P.DONE)
    return None
