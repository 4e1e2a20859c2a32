"""What became of each device that a call was for: one outcome each, told alike by record, pushes and API (INC-09).

A member of a Greeting is told of a missed call only if it really rang and nobody took the call; ``docs/hunting.md`` has the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua.leg import CALLEE, ELSEWHERE, MEDIA, Leg
from dialplan import reasons
from dialplan.plan import FLOW_DEAD, NO_BINDING, Hunt, Ring

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call
    from callcontrol.b2bua.waking import Waking

ANSWERED: Final = "answered"
DECLINED: Final = "declined"
MISSED: Final = "missed"
BUSY: Final = "busy"
CALLER_GONE: Final = "caller_gone"
"""The caller was gone before it rang."""
NEVER_REACHED: Final = "never_reached"

_ORDER: Final = (ANSWERED, DECLINED, MISSED, ELSEWHERE, BUSY, CALLER_GONE, NEVER_REACHED)
"""What counts of a device, or a member, that has several."""


_NO_WAY: Final = (reasons.TRUNK_FAILED, reasons.INVALID_NUMBER, reasons.NO_ROUTE)
"""The carrier could not reach the SIM."""


class Outcome:
    """What became of one device of one user; a value."""

    __slots__ = ("device", "rang_at", "user", "why", "word")

    def __init__(self, user: str, device: str, word: str, why: str, rang_at: float) -> None:
        self.user = user
        self.device = device
        """Empty: no device of the user could be rung at all."""
        self.word = word
        self.why = why
        """Of ``never_reached`` and ``busy``: a word for the cause."""
        self.rang_at = rang_at
        """Unix time when it first rang; 0: it did not."""


def outcomes(call: Call) -> list[Outcome]:
    """One for each device that was rung or pushed, and for each user who could not be; in the order of the legs."""
    found: dict[tuple[str, str], Outcome] = {}
    taken = _taken_by_person(call)
    for leg in call.legs.values():
        if leg.role == CALLEE and leg.device:
            word, why = _of_leg(call, leg, taken)
            _add(found, Outcome(leg.user, leg.device, word, why, leg.ringing_at))
    for waking in call.waking:
        if waking.pushed_at and not any(
            leg.device == waking.device and leg.heard for leg in call.legs.values()
        ):
            word, why = _of_waking(call, waking, taken)
            _add(found, Outcome(waking.user, waking.device, word, why, 0.0))
    users = {user for user, _ in found}
    for user, reason in call.skipped:
        if user not in users:
            word = BUSY if reason == reasons.BUSY else NEVER_REACHED
            _add(found, Outcome(user, "", word, "talking" if word == BUSY else "not_registered", 0.0))
    for user in [each.user for each in found.values() if each.word == DECLINED]:
        for each in found.values():
            if each.user == user and each.word == MISSED:
                each.word = DECLINED  # in a later round, on another device: that person knows of the call
    return list(found.values())


def _add(found: dict[tuple[str, str], Outcome], outcome: Outcome) -> None:
    key = (outcome.user, outcome.device)
    known = found.get(key)
    if known is None:
        found[key] = outcome
        return
    rang = [at for at in (known.rang_at, outcome.rang_at) if at]
    best = outcome if _ORDER.index(outcome.word) < _ORDER.index(known.word) else known
    found[key] = Outcome(
        outcome.user, outcome.device, best.word, best.why, min(rang, default=0.0) if rang else 0.0
    )


def _taken_by_person(call: Call) -> bool:
    """Somebody took the call: not a machine of ours."""
    if not call.answered_at:
        return False
    return any(
        leg.role == CALLEE and leg.answered_at and leg.reason != ELSEWHERE and leg.device_class != MEDIA
        for leg in call.legs.values()
    )


def _winner_is_member(call: Call) -> bool:
    return any(
        leg.role == CALLEE and leg.answered_at and leg.reason != ELSEWHERE and leg.device
        for leg in call.legs.values()
    )


def _of_leg(call: Call, leg: Leg, taken: bool) -> tuple[str, str]:
    if leg.answered_at and leg.reason != ELSEWHERE:
        return ANSWERED, ""
    if leg.reason == reasons.DECLINED:
        return DECLINED, ""
    if leg.ended_by == "callee":
        return (NEVER_REACHED, leg.reason) if leg.reason in _NO_WAY else (BUSY, leg.reason)
    if leg.ringing_at:
        elsewhere = taken and (hunts(call) or _winner_is_member(call))
        return (ELSEWHERE, "") if elsewhere else (MISSED, "")
    if call.reason == reasons.CALLER_CANCELLED:
        return CALLER_GONE, ""
    if leg.reason == ELSEWHERE:
        return ELSEWHERE, ""
    return NEVER_REACHED, "no_response" if not leg.heard else "did_not_ring"


def _of_waking(call: Call, waking: Waking, taken: bool) -> tuple[str, str]:
    if any(leg.user == waking.user and leg.status >= 600 for leg in call.legs.values()):
        return DECLINED, ""
    if taken and (hunts(call) or _winner_is_member(call)):
        return ELSEWHERE, ""
    if call.reason == reasons.CALLER_CANCELLED:
        return CALLER_GONE, ""
    if _is_direct(call):
        return MISSED, "did_not_wake"  # nobody else tells that person
    return NEVER_REACHED, "did_not_wake" if waking.why in (NO_BINDING, FLOW_DEAD) else waking.why


def hunts(call: Call) -> bool:
    """The call was for the members of a Greeting."""
    return any(isinstance(step, Hunt) for step in call.plan.steps)


def _is_direct(call: Call) -> bool:
    """The call was for one person alone."""
    if hunts(call):
        return False
    users: set[str] = set()
    for step in call.plan.steps:
        if isinstance(step, Ring):
            users.update([target.user for target in step.targets])
            users.update([target.user for target in step.wake])
    return len(users) <= 1


def missed_devices(call: Call) -> list[str]:
    """Devices that are told of a missed call, each once.

    When the call was for one person alone also those that were pushed and never came: nobody else tells that person.
    """
    words = (MISSED, CALLER_GONE) if _is_direct(call) else (MISSED,)
    pushed = [waking.device for waking in call.waking if waking.pushed_at and not waking.seen_at]
    return [
        each.device
        for each in outcomes(call)
        if each.word == MISSED or (each.word in words and each.device in pushed)
    ]
