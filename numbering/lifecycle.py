"""The life of a number (NUM-04): which changes of state are legal, and what each does to the number.  Pure.

`LEGAL` is the whole truth; each function below makes one of its changes and tells it as a `NumberEvent`.  A
change that the table does not have raises `Refused`, whatever the caller believes.  ``None`` stands for a
number that is not ours (not yet, or no longer).

A number passes from one holder to the next only through `bare`, which keeps the number itself and nothing
else: what is added to `CloudNumber` later is forgotten with its holder unless somebody says otherwise here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from numbering.e164 import E164
from numbering.models import CloudNumber, NumberState
from numbering.refusal import Fault, Refused

S = NumberState
State = NumberState | None


class Action(StrEnum):
    """What can happen to a number."""

    ADD = "add"
    """It comes into the stock."""
    WITHDRAW = "withdraw"
    """It leaves the stock."""
    RESERVE = "reserve"
    UNRESERVE = "unreserve"
    LAPSE = "lapse"
    """A reservation ran out."""
    ASSIGN = "assign"
    RELEASE = "release"
    TAKE_BACK = "take_back"
    END_QUARANTINE = "end_quarantine"
    REASSIGN = "reassign"
    SUSPEND = "suspend"
    RESUME = "resume"
    EXPIRE = "expire"
    RENEW = "renew"
    REQUEST_PORT_IN = "request_port_in"
    COMPLETE_PORT_IN = "complete_port_in"
    ABORT_PORT_IN = "abort_port_in"
    PORT_OUT = "port_out"
    COME_BACK = "come_back"
    """A number that had left us was given up elsewhere and falls back to us."""


LEGAL: Final[Mapping[Action, Mapping[State, frozenset[State]]]] = {
    Action.ADD: {None: frozenset({S.AVAILABLE, S.QUARANTINED, S.PORTED_OUT})},
    Action.WITHDRAW: {S.AVAILABLE: frozenset({None}), S.PORTED_OUT: frozenset({None})},
    Action.RESERVE: {S.AVAILABLE: frozenset({S.RESERVED})},
    Action.UNRESERVE: {S.RESERVED: frozenset({S.AVAILABLE})},
    Action.LAPSE: {S.RESERVED: frozenset({S.AVAILABLE})},
    Action.ASSIGN: {
        None: frozenset({S.ACTIVE}),
        S.AVAILABLE: frozenset({S.ACTIVE}),
        S.RESERVED: frozenset({S.ACTIVE}),
    },
    Action.RELEASE: {
        S.ACTIVE: frozenset({S.QUARANTINED}),
        S.SUSPENDED: frozenset({S.QUARANTINED}),
        S.EXPIRED: frozenset({S.QUARANTINED}),
    },
    Action.TAKE_BACK: {S.QUARANTINED: frozenset({S.ACTIVE})},
    Action.END_QUARANTINE: {S.QUARANTINED: frozenset({S.AVAILABLE})},
    # A company may pass on what is expired or suspended as well: whoever gets it, it stays so.
    Action.REASSIGN: {state: frozenset({state}) for state in (S.ACTIVE, S.SUSPENDED, S.EXPIRED)},
    Action.SUSPEND: {S.ACTIVE: frozenset({S.SUSPENDED}), S.EXPIRED: frozenset({S.SUSPENDED})},
    # What lapsed while it was suspended comes back as expired.
    Action.RESUME: {S.SUSPENDED: frozenset({S.ACTIVE, S.EXPIRED})},
    Action.EXPIRE: {S.ACTIVE: frozenset({S.EXPIRED})},
    Action.RENEW: {
        S.ACTIVE: frozenset({S.ACTIVE}),
        S.SUSPENDED: frozenset({S.SUSPENDED}),
        S.EXPIRED: frozenset({S.ACTIVE}),
    },
    Action.REQUEST_PORT_IN: {None: frozenset({S.PORTING_IN}), S.PORTED_OUT: frozenset({S.PORTING_IN})},
    Action.COMPLETE_PORT_IN: {S.PORTING_IN: frozenset({S.ACTIVE})},
    Action.ABORT_PORT_IN: {S.PORTING_IN: frozenset({None, S.PORTED_OUT})},
    # A line may leave for some weeks after its contract ended (France: 40 days), so out of quarantine as well.
    Action.PORT_OUT: {
        state: frozenset({S.PORTED_OUT}) for state in (S.ACTIVE, S.SUSPENDED, S.EXPIRED, S.QUARANTINED)
    },
    Action.COME_BACK: {S.PORTED_OUT: frozenset({S.QUARANTINED})},
}
"""Action -> state before -> states that it may lead to."""

HELD: Final = frozenset({S.ACTIVE, S.SUSPENDED, S.EXPIRED})
"""States in which a number has a holder."""
KEPT: Final = frozenset({S.RESERVED, S.QUARANTINED, S.PORTING_IN})
"""States in which a number is kept for somebody who does not hold it."""

MAX_REASON: Final = 200
MAX_ACTOR: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """When, by whom and why something happens; every change has one."""

    at: float
    """Unix time."""
    actor: str
    """``operator``, ``apply``, ``clock``, ``user:ana``, ``token:…``: who did it, never a secret."""
    reason: str

    def __post_init__(self) -> None:
        if not self.actor.strip() or len(self.actor) > MAX_ACTOR:
            raise Refused(Fault.BAD_REQUEST, f"an actor has 1 to {MAX_ACTOR} characters")
        if not self.reason.strip() or len(self.reason) > MAX_REASON:
            raise Refused(Fault.BAD_REQUEST, f"a reason has 1 to {MAX_REASON} characters")
        if not 0 < self.at < float("inf"):
            raise Refused(Fault.BAD_REQUEST, f"{self.at} is no time")


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberEvent:
    """One thing that happened to a number, as it is recorded."""

    e164: str
    at: float
    action: str
    """An `Action`, or a word of `numbering.porting` for steps that leave the state as it is."""
    before: State
    after: State
    former: str = ""
    """User who held it, or whom it was kept for, before; empty: nobody."""
    user: str = ""
    """The same after."""
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A number after a change; None: it is ours no longer."""

    number: CloudNumber | None
    event: NumberEvent

    @property
    def kept(self) -> CloudNumber:
        """The number after a change that never ends with none."""
        if self.number is None:
            raise TypeError("the number is gone")
        return self.number


def check(action: Action, before: State, after: State, e164: str) -> None:
    """Raises `Refused` unless the table has the change."""
    if after in LEGAL[action].get(before, frozenset()):
        return
    state = "not one of our numbers" if before is None else before.value
    raise Refused(Fault.WRONG_STATE, f"{e164} is {state}: {action.value.replace('_', ' ')} is not possible")


def event(
    action: Action | str, before: CloudNumber | None, after: CloudNumber | None, cause: Cause
) -> NumberEvent:
    """What is recorded of a change, or of a step that leaves the state as it is."""
    shown = before if before is not None else after
    if shown is None:
        raise TypeError("nothing happened to no number")
    former, user = ("" if each is None else each.user or each.kept_for for each in (before, after))
    return NumberEvent(
        e164=shown.e164,
        at=cause.at,
        action=str(action),
        before=None if before is None else before.state,
        after=None if after is None else after.state,
        former=former,
        user=user,
        actor=cause.actor,
        reason=cause.reason,
    )


def moved(action: Action, before: CloudNumber | None, after: CloudNumber | None, cause: Cause) -> Moved:
    """A change that the table has.  Raises `Refused` for any other."""
    shown = before if before is not None else after
    check(
        action,
        None if before is None else before.state,
        None if after is None else after.state,
        "" if shown is None else shown.e164,
    )
    return Moved(number=after, event=event(action, before, after, cause))


def bare(
    number: CloudNumber, state: NumberState, cause: Cause, *, user: str = "", account: str = ""
) -> CloudNumber:
    """The number without anything of a holder."""
    return CloudNumber(
        e164=number.e164,
        user=user,
        account=account,
        state=state,
        category=number.category,
        since=cause.at,
        held_since=cause.at if user or account else 0.0,
        version=number.version + 1,
    )


def _same(number: CloudNumber, state: NumberState, cause: Cause) -> CloudNumber:
    """The number of the same holder in another state, or in the same one."""
    since = number.since if state is number.state else cause.at
    return dataclasses.replace(number, state=state, since=since, version=number.version + 1)


def fresh(e164: E164, state: NumberState, category: str, cause: Cause, user: str = "") -> CloudNumber:
    """A number that was not ours."""
    return CloudNumber(
        e164=e164,
        user=user,
        state=state,
        category=category,
        since=cause.at,
        held_since=cause.at if user else 0.0,
        version=1,
    )


# -- stock ------------------------------------------------------------------------------------------------


def add(e164: E164, category: str, cause: Cause) -> Moved:
    """A number comes into the stock."""
    return moved(Action.ADD, None, fresh(e164, S.AVAILABLE, category, cause), cause)


def add_resting(e164: E164, category: str, until: float, cause: Cause) -> Moved:
    """A number that somebody gave up elsewhere comes into the stock, in quarantine."""
    number = dataclasses.replace(fresh(e164, S.QUARANTINED, category, cause), until=until)
    return moved(Action.ADD, None, number, cause)


def add_gone(e164: E164, category: str, cause: Cause) -> Moved:
    """A number of ours that has left already."""
    return moved(Action.ADD, None, fresh(e164, S.PORTED_OUT, category, cause), cause)


def withdraw(number: CloudNumber, cause: Cause) -> Moved:
    """It leaves the stock; what somebody holds, or has just given up, cannot."""
    return moved(Action.WITHDRAW, number, None, cause)


def reserve(number: CloudNumber, user: str, until: float, cause: Cause) -> Moved:
    """Kept for a user for a while."""
    check(Action.RESERVE, number.state, S.RESERVED, number.e164)
    after = dataclasses.replace(bare(number, S.RESERVED, cause), kept_for=user, until=until)
    return moved(Action.RESERVE, number, after, cause)


def unreserve(number: CloudNumber, cause: Cause) -> Moved:
    """The user does not want it after all."""
    return moved(Action.UNRESERVE, number, bare(number, S.AVAILABLE, cause), cause)


def lapse(number: CloudNumber, cause: Cause) -> Moved:
    """The time of a reservation is over."""
    check(Action.LAPSE, number.state, S.AVAILABLE, number.e164)
    _due(number, number.until, cause.at)
    return moved(Action.LAPSE, number, bare(number, S.AVAILABLE, cause), cause)


# -- holders ----------------------------------------------------------------------------------------------


def assign_new(e164: E164, category: str, user: str, expires_at: float, cause: Cause) -> Moved:
    """A number that was not in the stock is given to a user at once."""
    number = dataclasses.replace(fresh(e164, S.ACTIVE, category, cause, user), expires_at=expires_at)
    return moved(Action.ASSIGN, None, number, cause)


def assign(number: CloudNumber, user: str, expires_at: float, cause: Cause) -> Moved:
    """A number of the stock, or one that the user has reserved, gets its holder."""
    if number.state in HELD:
        raise Refused(Fault.HELD, f"{number.e164} has a holder: a number has exactly one")
    if number.state in KEPT and not (number.state is S.RESERVED and number.kept_for == user):
        raise Refused(Fault.KEPT, f"{number.e164} is {number.state.value}")
    after = dataclasses.replace(bare(number, S.ACTIVE, cause, user=user), expires_at=expires_at)
    return moved(Action.ASSIGN, number, after, cause)


def release(number: CloudNumber, company: str, until: float, cause: Cause) -> Moved:
    """The holder gives it up, or loses it: nothing is left of him but the right to take it back (NUM-05).

    ``company``: ref of the company account that it belongs to, or whose Greeting had it; empty for consumers.
    """
    check(Action.RELEASE, number.state, S.QUARANTINED, number.e164)
    after = dataclasses.replace(
        bare(number, S.QUARANTINED, cause),
        until=until,
        kept_for=number.user,
        kept_account=company,
    )
    return moved(Action.RELEASE, number, after, cause)


def may_take_back(number: CloudNumber, user: str, account: str) -> bool:
    """Whether a quarantined number is shown to a user of an account: to the former holder alone (NUM-05)."""
    if number.state is not S.QUARANTINED:
        return False
    return bool(user and number.kept_for == user) or bool(account and number.kept_account == account)


def take_back(number: CloudNumber, user: str, account: str, expires_at: float, cause: Cause) -> Moved:
    """The former holder takes it back, as a new number."""
    check(Action.TAKE_BACK, number.state, S.ACTIVE, number.e164)
    if not may_take_back(number, user, account):
        raise Refused(
            Fault.KEPT, f"{number.e164} is quarantined, and only its former holder may take it back"
        )
    after = dataclasses.replace(bare(number, S.ACTIVE, cause, user=user), expires_at=expires_at)
    return moved(Action.TAKE_BACK, number, after, cause)


def end_quarantine(number: CloudNumber, cause: Cause) -> Moved:
    """From now on anyone may have it."""
    check(Action.END_QUARANTINE, number.state, S.AVAILABLE, number.e164)
    _due(number, number.until, cause.at)
    return moved(Action.END_QUARANTINE, number, bare(number, S.AVAILABLE, cause), cause)


def reassign(number: CloudNumber, user: str, *, with_history: bool, cause: Cause) -> Moved:
    """From one user of a company to another in one step (NUM-06).

    What was set for the first (blocks, hiding, ring time) goes with the history, or not at all.
    """
    check(Action.REASSIGN, number.state, number.state, number.e164)
    if user == number.user:
        raise Refused(Fault.HELD, f"{number.e164} is held by {user} already")
    if number.account:
        raise Refused(Fault.HELD, f"{number.e164} is the number of a Greeting, and no user's")
    if with_history:
        after = dataclasses.replace(number, user=user, version=number.version + 1)
    else:
        after = dataclasses.replace(
            bare(number, number.state, cause, user=user), since=number.since, expires_at=number.expires_at
        )
    return moved(Action.REASSIGN, number, after, cause)


# -- suspension and subscription --------------------------------------------------------------------------


def suspend(number: CloudNumber, cause: Cause) -> Moved:
    """No calls until it is resumed (NUM-13)."""
    return moved(Action.SUSPEND, number, _same(number, S.SUSPENDED, cause), cause)


def resume(number: CloudNumber, cause: Cause) -> Moved:
    """As before the suspension; expired if its subscription has lapsed meanwhile."""
    check(Action.RESUME, number.state, S.ACTIVE, number.e164)
    lapsed = 0 < number.expires_at <= cause.at
    return moved(Action.RESUME, number, _same(number, S.EXPIRED if lapsed else S.ACTIVE, cause), cause)


def expire(number: CloudNumber, cause: Cause) -> Moved:
    """Its subscription has lapsed (NUM-12)."""
    check(Action.EXPIRE, number.state, S.EXPIRED, number.e164)
    _due(number, number.expires_at, cause.at)
    return moved(Action.EXPIRE, number, _same(number, S.EXPIRED, cause), cause)


def renew(number: CloudNumber, expires_at: float, cause: Cause) -> Moved:
    """The subscription runs until ``expires_at``; 0: without end."""
    after = S.SUSPENDED if number.state is S.SUSPENDED else S.ACTIVE
    check(Action.RENEW, number.state, after, number.e164)
    if expires_at and expires_at <= cause.at:
        raise Refused(Fault.TOO_EARLY, "a subscription is renewed until a time to come")
    renewed = dataclasses.replace(_same(number, after, cause), expires_at=expires_at)
    return moved(Action.RENEW, number, renewed, cause)


# -- porting ----------------------------------------------------------------------------------------------


def request_port_in(number: CloudNumber | None, e164: E164, category: str, user: str, cause: Cause) -> Moved:
    """It is to come to us, for a user."""
    if number is None:
        after = fresh(e164, S.PORTING_IN, category, cause)
    else:
        check(Action.REQUEST_PORT_IN, number.state, S.PORTING_IN, e164)
        after = bare(number, S.PORTING_IN, cause)
    return moved(Action.REQUEST_PORT_IN, number, dataclasses.replace(after, kept_for=user), cause)


def complete_port_in(number: CloudNumber, user: str, expires_at: float, cause: Cause) -> Moved:
    """It has come."""
    check(Action.COMPLETE_PORT_IN, number.state, S.ACTIVE, number.e164)
    after = dataclasses.replace(bare(number, S.ACTIVE, cause, user=user), expires_at=expires_at)
    return moved(Action.COMPLETE_PORT_IN, number, after, cause)


def abort_port_in(number: CloudNumber, *, had_left: bool, cause: Cause) -> Moved:
    """It does not come; ``had_left``: it was ours once, and is remembered as one that left."""
    after = bare(number, S.PORTED_OUT, cause) if had_left else None
    return moved(Action.ABORT_PORT_IN, number, after, cause)


def port_out(number: CloudNumber, cause: Cause) -> Moved:
    """It has left us, with its holder."""
    check(Action.PORT_OUT, number.state, S.PORTED_OUT, number.e164)
    return moved(Action.PORT_OUT, number, bare(number, S.PORTED_OUT, cause), cause)


def come_back(number: CloudNumber, until: float, cause: Cause) -> Moved:
    """It was given up where it had gone, and rests in quarantine; its last holder is none of our users."""
    check(Action.COME_BACK, number.state, S.QUARANTINED, number.e164)
    after = dataclasses.replace(bare(number, S.QUARANTINED, cause), until=until)
    return moved(Action.COME_BACK, number, after, cause)


def _due(number: CloudNumber, deadline: float, now: float) -> None:
    if not 0 < deadline <= now:
        raise Refused(Fault.TOO_EARLY, f"the time of {number.e164} is not over")


def timed_action(number: CloudNumber, now: float) -> Action | None:
    """What the clock does to the number now; None: nothing."""
    if number.state is S.RESERVED and 0 < number.until <= now:
        return Action.LAPSE
    if number.state is S.QUARANTINED and 0 < number.until <= now:
        return Action.END_QUARANTINE
    if number.state is S.ACTIVE and 0 < number.expires_at <= now:
        return Action.EXPIRE
    return None


def by_clock(number: CloudNumber, cause: Cause) -> Moved | None:
    """The number after what the clock does to it now; None: nothing."""
    match timed_action(number, cause.at):
        case Action.LAPSE:
            return lapse(number, cause)
        case Action.END_QUARANTINE:
            return end_quarantine(number, cause)
        case Action.EXPIRE:
            return expire(number, cause)
        case _:
            return None
