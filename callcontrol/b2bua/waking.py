"""Devices that a push can wake: who is pushed when, how long the call waits for it, what it is told afterwards.

A device that sleeps is pushed as soon as its step rings (DEV-04) and joins with a late branch when it has registered (DEV-05).
One that was silent for long is rung *and*, unless it gives a sign of life at once, pushed; one that is there is pushed only
when its flow proves to be dead.  By the wake deadline somebody must be reachable, else the step is over (INC-06).  Whoever was
pushed is told when there is nothing to come for any more, and who missed the call is told that, once (INC-09).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import outcomes
from callcontrol.b2bua.dialling import active_plan
from callcontrol.b2bua.effects import Push
from callcontrol.b2bua.leg import CALLEE, Leg
from callcontrol.sip.usage import CALLING, NEVER, Turn
from dialplan import reasons
from dialplan.plan import LIVE, STALE, Ring

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

INCOMING_CALL: Final = "incoming_call"
CALL_ENDED: Final = "call_ended"
MISSED_CALL: Final = "missed_call"

ANSWERED_ELSEWHERE: Final = "answered_elsewhere"
MISSED: Final = "missed"
CANCELLED: Final = "cancelled"

WAKE: Final = "wake "
"""Start of the names of deadlines by which a user must be reachable; the user follows."""
PUSH: Final = "push"
"""Name of the deadline at which those are pushed that should have given a sign of life."""

WAKING_FIELDS: Final = ("device", "user", "step", "why", "due", "pushed_at", "until", "seen_at", "told")


class Waking:
    """What is under way to wake one device for one step."""

    __slots__ = WAKING_FIELDS

    def __init__(self, device: str, user: str, step: int, why: str) -> None:
        self.device = device
        self.user = user
        self.step = step
        """Number of the offer that it belongs to (``Call.stage``)."""
        self.why = why
        self.due = NEVER
        """When it is pushed, Unix seconds; ``NEVER``: only when its flow proves to be dead."""
        self.pushed_at = 0.0
        """0: it was not pushed."""
        self.until = 0.0
        """When the push says that the ringing ends."""
        self.seen_at = 0.0
        """When it registered after that."""
        self.told = False
        """It knows that the call has ended for it."""


def begin(call: Call, turn: Turn, step: Ring) -> None:
    """People are rung: push those whose devices sleep, watch the others."""
    for ringing in step.targets:
        call.deadlines[WAKE + ringing.user] = turn.now + call.env.wake_s
    for target in step.wake:
        call.deadlines[WAKE + target.user] = turn.now + call.env.wake_s
        waking = Waking(target.device, target.user, call.stage, target.why)
        call.waking.append(waking)
        if target.asleep:
            _push(call, turn, waking)
        elif target.why == STALE:
            waking.due = turn.now + call.env.push_delay_s
    _watch(call)


def _watch(call: Call) -> None:
    first = NEVER
    for waking in call.waking:
        if waking.step == call.stage and not waking.pushed_at and waking.due < first:
            first = waking.due
    if first < NEVER:
        call.deadlines[PUSH] = first
    else:
        call.deadlines.pop(PUSH, None)


def _push(call: Call, turn: Turn, waking: Waking) -> None:
    """Wake a device; the call waits for it until the wake deadline."""
    deadlines = call.deadlines
    until = min([deadlines.get(name, NEVER) for name in ("step", "total", "transfer", "hunt")])
    if waking.pushed_at or until <= turn.now:
        return
    waking.pushed_at = turn.now
    waking.until = until
    deadlines[WAKE + waking.user] = turn.now + call.env.wake_s
    call.dirty = True
    call.note("DEV-04", "push", f"{waking.device} {waking.why}")
    _send(call, turn, waking.device, INCOMING_CALL, "", until - turn.now)


def _send(call: Call, turn: Turn, device: str, kind: str, reason: str, ttl_s: float) -> None:
    plan = active_plan(call)
    caller = plan.caller
    shown = "" if caller.hidden else caller.number or caller.user
    turn.commands.append(Push(device, kind, plan.called, shown, reason, turn.now, ttl_s))


# -- while it rings -------------------------------------------------------------------------------------------------


def on_push_due(call: Call, turn: Turn) -> None:
    """Push those that were given the time to answer their INVITE and did not."""
    for waking in call.waking:
        if waking.step == call.stage and not waking.pushed_at and waking.due <= turn.now:
            waking.due = NEVER
            if not any(leg.heard for leg in _legs_of(call, waking.device)):
                _push(call, turn, waking)
    _watch(call)


def on_dead_flow(call: Call, turn: Turn, leg: Leg) -> None:
    """The flow of a device proved to be dead: a push may still reach it (hazard: a dead connection holds up nobody)."""
    for waking in call.waking:
        if waking.step == call.stage and waking.device == leg.device and leg.step == call.stage:
            _push(call, turn, waking)
    _watch(call)


def on_registered(call: Call, turn: Turn, device: str) -> None:
    """A device is there, by itself or because it was pushed."""
    for waking in call.waking:
        if waking.step == call.stage and waking.device == device:
            waking.due = NEVER
            waking.seen_at = waking.seen_at or turn.now
            call.dirty = True
    _watch(call)


def on_joined(call: Call, turn: Turn, device: str, user: str) -> None:
    """A device joins late.  When the offer began it may have been none that a push can reach, because it was provisioned since
    or had no room beside others (DEV-02): from now on it is one like any other, and told of what it misses (INC-09)."""
    if not call.env.wakeable(device):
        return
    for waking in call.waking:
        if waking.step == call.stage and waking.device == device:
            return
    newcomer = Waking(device, user, call.stage, LIVE)
    newcomer.seen_at = turn.now
    call.waking.append(newcomer)


def forget(call: Call, device: str) -> bool:
    """The push of a device did not go out; True when the present step had waited for it."""
    for waking in call.waking:
        if waking.step == call.stage and waking.device == device and waking.pushed_at:
            waking.pushed_at = 0.0
            waking.due = NEVER
            call.dirty = True
            call.note("DEV-04", "push failed", device)
            return True
    return False


def awaited(call: Call, user: str = "") -> bool:
    """Somebody who was pushed, of the user if one is named, may still come: the wake deadline is ahead."""
    for waking in call.waking:
        if waking.step != call.stage or not waking.pushed_at or waking.seen_at:
            continue
        if (not user or waking.user == user) and WAKE + waking.user in call.deadlines:
            return True
    return False


def reachable(call: Call, user: str = "") -> bool:
    """A device, of the user if one is named, rings, or has at least shown that it is there."""
    for leg in call.legs.values():
        if user and leg.user != user:
            continue
        if leg.role == CALLEE and leg.step == call.stage and leg.usage.state == CALLING:
            if leg.heard:
                return True
            if any(w.step == call.stage and w.device == leg.device and w.seen_at for w in call.waking):
                return True
    return False


def _legs_of(call: Call, device: str) -> list[Leg]:
    return [
        leg
        for leg in call.legs.values()
        if leg.device == device and leg.step == call.stage and leg.role == CALLEE
    ]


# -- what they are told ---------------------------------------------------------------------------------------------


def _stop_clocks(call: Call) -> None:
    call.deadlines.pop(PUSH, None)
    for name in [name for name in call.deadlines if name.startswith(WAKE)]:
        del call.deadlines[name]


def on_step(call: Call, turn: Turn) -> None:
    """Another step begins: for devices of the earlier ones there is nothing to come for any more."""
    _stop_clocks(call)
    for waking in call.waking:
        if waking.step < call.stage:
            _tell(call, turn, waking, CANCELLED)


def on_declined(call: Call, turn: Turn, user: str) -> None:
    """A user has declined on one device: the others need not come (INC-08)."""
    for waking in call.waking:
        if waking.step == call.stage and waking.user == user:
            waking.due = NEVER
            waking.seen_at = waking.seen_at or turn.now
            _tell(call, turn, waking, ANSWERED_ELSEWHERE)
    _watch(call)


def on_time_over(call: Call, turn: Turn, user: str) -> None:
    """A member of a hunt has rung long enough, while others ring on."""
    for waking in call.waking:
        if waking.step == call.stage and waking.user == user:
            waking.due = NEVER
            waking.seen_at = waking.seen_at or turn.now
            _tell(call, turn, waking, CANCELLED)
    _watch(call)


def on_answered(call: Call, turn: Turn, winner: str) -> None:
    """Somebody answered; ``winner`` is the device, which needs no telling.

    Who has missed the call all the same, because a machine took it, or the number that it was forwarded to, is told that now.
    """
    if not call.waking:
        return
    missed = outcomes.missed_devices(call) if call.transfer is None else []
    for waking in call.waking:
        if waking.device == winner:
            waking.told = True
        _tell(call, turn, waking, MISSED if waking.device in missed else ANSWERED_ELSEWHERE)
    _tell_missed(call, turn, missed)


def on_given_up(call: Call, turn: Turn) -> None:
    """A transfer came to nothing, or found its target: nobody need come for it any more."""
    _stop_clocks(call)
    for waking in call.waking:
        _tell(call, turn, waking, CANCELLED)


def on_unanswered(call: Call, turn: Turn) -> None:
    """The call ended and nobody had answered."""
    missed = outcomes.missed_devices(call)
    for waking in call.waking:
        came = waking.seen_at > 0 or waking.device in missed  # a member who never came has missed nothing
        _tell(call, turn, waking, MISSED if came and call.reason in _MISSED else CANCELLED)
    _tell_missed(call, turn, missed)


def _tell_missed(call: Call, turn: Turn, missed: list[str]) -> None:
    for device in dict.fromkeys([waking.device for waking in call.waking]):
        if device in missed:
            _send(call, turn, device, MISSED_CALL, "", 0.0)


def _tell(call: Call, turn: Turn, waking: Waking, reason: str) -> None:
    if waking.told or not waking.pushed_at:
        return
    waking.told = True
    ttl_s = max(waking.until - turn.now, call.env.wake_s)  # as long as the push itself may still arrive
    _send(call, turn, waking.device, CALL_ENDED, reason, ttl_s)


_MISSED: Final = frozenset(
    (reasons.NO_ANSWER, reasons.UNREACHABLE, reasons.BUSY, reasons.DECLINED, reasons.MEDIA_REFUSED)
)
