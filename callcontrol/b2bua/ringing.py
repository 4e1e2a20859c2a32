"""Looking for an answer: carrying out the steps of the plan until somebody picks up (INC-05 to INC-09).

The first 2xx wins; every other leg is cancelled, and an answer that crosses its CANCEL is ACKed and released by the usage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import callback, transfer, waking
from callcontrol.b2bua.causes import (
    CAUSES,
    advice,
    better,
    phrase_of,
    q850_of,
    reason_lines,
    reason_of,
    status_for_caller,
)
from callcontrol.b2bua.crossing import INVITE_CROSSES, RESPONSE_CROSSES, crossing, veiled_lines
from callcontrol.b2bua.dialling import (
    ELSEWHERE_LINE,
    SILENCE,
    cancel_others,
    choose_trunk,
    dial_device,
    dial_peer,
    drop,
    may_go_on,
    tried_words,
)
from callcontrol.b2bua.effects import SendAgain
from callcontrol.b2bua.events import TargetJoined, TrunkChosen
from callcontrol.b2bua.joining import WAITING
from callcontrol.b2bua.leg import CALLEE, ELSEWHERE, Leg
from callcontrol.b2bua.phases import RINGING, TALKING
from callcontrol.sip import usage_uac, usage_uas
from callcontrol.sip.message import Message
from callcontrol.sip.usage import CALLING, INCOMING, Turn, body_type
from callcontrol.sip.usage_events import Answered, Failed, Progress
from dialplan import reasons
from dialplan.plan import Forward, Hunt, Refuse, Ring, ToMedia, ToTrunk

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

_EXPIRES_DIGITS: Final = 5
"""A longer Expires than a day says nothing: the call ends before."""
_NO_ANSWER_LINE: Final = 'Reason: SIP;cause=408;text="no_answer"'
_DECLINED_LINE: Final = 'Reason: SIP;cause=603;text="Declined elsewhere"'


def begin(call: Call, turn: Turn, message: Message) -> None:
    """The caller's INVITE is in; start with the first step."""
    call.body = message.body
    call.content_type = body_type(message)
    call.crossing = crossing(message, INVITE_CROSSES)
    call.max_forwards = max(message.max_forwards - 1, 0) if message.max_forwards >= 0 else 69
    call.deadlines["total"] = turn.now + call.env.total_ring_s
    expires = (message.get("expires") or "").strip()
    if expires.isascii() and expires.isdigit() and len(expires) <= _EXPIRES_DIGITS:
        call.deadlines["expires"] = turn.now + float(expires)  # the caller waits so long (RFC 3261 §13.3.1)
    call.dirty = True
    run_step(call, turn)


def run_step(call: Call, turn: Turn) -> None:
    """Carry out the step that the index points at; beyond the last one the caller gets the best response so far."""
    while call.step < len(call.plan.steps):
        step = call.plan.steps[call.step]
        if isinstance(step, Refuse):
            by = "caller" if step.reason == reasons.CALLER_CANCELLED else "server"
            refuse_caller(call, turn, step.reason, 0, [], by)
            return
        if isinstance(step, (Hunt, Forward, ToMedia)):
            call.note("plan", reasons.UNREACHABLE, type(step).__name__.lower())
            call.step += 1
            continue
        call.tried = []
        waking.on_step(call, turn)
        call.deadlines["step"] = turn.now + step.for_s
        if isinstance(step, ToTrunk):
            choose_trunk(call, turn, step)
            return
        if isinstance(step, Ring) and (step.targets or any(target.asleep for target in step.wake)):
            waking.begin(call, turn, step)
            for target in step.targets:
                dial_device(call, turn, target, call.body, call.content_type)
            return
        call.note("ring", reasons.UNREACHABLE, "no target")
        _note_result(call, 480, reasons.UNREACHABLE, [])
        call.step += 1
    _give_up(call, turn)


def _give_up(call: Call, turn: Turn) -> None:
    """The plan is exhausted: the best response goes back (RFC 3261 §16.7)."""
    reason = call.best_reason or reasons.UNREACHABLE
    by = "callee" if any(leg.ended_by == "callee" for leg in call.legs.values()) else "server"
    refuse_caller(call, turn, reason, call.best_status, call.best_lines, by)


def refuse_caller(call: Call, turn: Turn, reason: str, status: int, lines: list[str], ended_by: str) -> None:
    """Refuse the caller's INVITE with a reason of the closed list and end the call."""
    cause = CAUSES[reason]
    status = status if status >= 300 else cause.status if cause.status >= 300 else 480
    caller = call.legs.get(call.a)
    if caller is not None and caller.usage.state == INCOMING:
        phrase = phrase_of(status)
        told = [*reason_lines(reason, status), *lines]
        body, kind = advice(reason)
        usage_uas.refuse(caller.usage, turn, status, phrase, told, False, body, kind)
        caller.status = status
    call.end(turn, reason, status, ended_by, callback.farewell(call, reason, status))


# -- trunks ---------------------------------------------------------------------------------------------------------


def on_trunk_chosen(call: Call, turn: Turn, event: TrunkChosen) -> None:
    """Dial the trunk peer that was picked, or end the step when there is none left."""
    if event.trunk:
        dial_peer(call, turn, event, call.body, call.content_type)
        return
    reason = call.best_reason or event.reason or reasons.NO_ROUTE
    call.note("trunk", reason, tried_words(call.tried))
    if not call.best_status:
        _note_result(call, 0, reason, [])
    _step_failed(call, turn)


def next_peer(call: Call, turn: Turn, leg: Leg, status: int, q850: int) -> None:
    """On to the next peer, if the answer leaves room for one; else the step is over."""
    step = call.plan.steps[call.step] if call.step < len(call.plan.steps) else None
    if isinstance(step, ToTrunk) and may_go_on(call, leg, status, q850):
        choose_trunk(call, turn, step)
    else:
        _step_failed(call, turn)


# -- devices --------------------------------------------------------------------------------------------------------


def on_target_joined(call: Call, turn: Turn, event: TargetJoined) -> None:
    """A device registered while the call rings: a late branch, unless that device is rung already (DEV-05, DEV-06)."""
    target = event.target
    step = _step_that_rings(call)
    if step is None:
        call.ignore("device came late")
        return
    rung = [other.user for other in step.targets]
    rung += [other.user for other in step.wake]
    if target.user not in rung:
        call.ignore("device of a user who is not rung")
        return
    if target.device == call.device or target.device in _talking(call):
        return  # who calls an own number, or transfers to one, means the other devices
    held: Leg | None = None
    for leg in call.legs.values():
        if leg.step != call.step or leg.user != target.user or leg.role != CALLEE:
            continue
        if leg.status >= 600:
            call.ignore("device of a user who declined")
            return
        if leg.device == target.device and leg.ended_by == "callee":
            return  # it has answered for itself
        if leg.device == target.device and leg.binding == target.binding and leg.usage.state == CALLING:
            held = leg
    waking.on_registered(call, turn, target.device)
    if held is not None:
        if held.address == (target.flow or target.contact):
            _hasten(turn, held)
            return
        if held.heard or not event.anew:
            return  # it rings; its answer finds us from wherever it is now
        # the INVITE went out over a way that leads nowhere any more; one device gets one
        drop(call, turn, held, [], 480, reasons.UNREACHABLE, "server")
    elif not event.anew:
        return
    call.note("DEV-05", "joined", target.device)
    dial_device(call, turn, target, call.body, call.content_type if call.body else "")
    call.dirty = True


def _step_that_rings(call: Call) -> Ring | None:
    """The step of the plan, or of a transfer's plan, that rings devices now."""
    move = call.transfer
    plan, index = call.plan, call.step
    if move is not None:
        if move.stage != WAITING or move.plan is None:
            return None
        plan, index = move.plan, move.step
    elif call.phase != RINGING or callback.calls_sim(call):
        return None
    step = plan.steps[index] if index < len(plan.steps) else None
    return step if isinstance(step, Ring) else None


def _talking(call: Call) -> list[str]:
    """Devices of the two parties that talk with each other."""
    if call.phase != TALKING:
        return []
    return [
        leg.device for name in (call.a, call.b) if (leg := call.legs.get(name)) is not None and leg.device
    ]


def _hasten(turn: Turn, leg: Leg) -> None:
    """The device can hear us now: an INVITE that it has not responded to goes out again at once, not when its timer says so."""
    invite = leg.usage.invite
    if not leg.heard and invite is not None:
        turn.commands.append(SendAgain(leg.id, invite.branch))


def on_push_failed(call: Call, turn: Turn, device: str) -> None:
    """There is no way to a device that sleeps: it costs no time (GRT-01)."""
    if call.transfer is not None:
        transfer.on_push_failed(call, turn, call.transfer, device)
        return
    if call.phase != RINGING or not waking.forget(call, device):
        return
    if not call.best_status:
        _note_result(call, 480, reasons.UNREACHABLE, [])
    _unless_all_failed(call, turn)


def on_wake_over(call: Call, turn: Turn) -> None:
    """The wake deadline: the step goes on only for somebody who is there (INC-06)."""
    if call.transfer is not None:
        transfer.on_wake_over(call, turn, call.transfer)
        return
    step = call.plan.steps[call.step] if call.step < len(call.plan.steps) else None
    if call.phase != RINGING or not isinstance(step, Ring) or waking.reachable(call):
        return
    call.note("INC-06", reasons.UNREACHABLE, f"nobody within {call.env.wake_s:g} s")
    cancel_others(call, turn, "", [_NO_ANSWER_LINE], reasons.UNREACHABLE)
    _note_result(call, 480, reasons.UNREACHABLE, [])
    _step_failed(call, turn)


# -- what callees say -----------------------------------------------------------------------------------------------


def on_progress(call: Call, turn: Turn, leg: Leg, event: Progress) -> None:
    """Pass ringing and early media on to the caller; repeated plain ringing of further phones is not news."""
    caller = call.legs.get(call.a)
    if call.phase != RINGING or caller is None or event.status == 199:
        return
    if not call.ringing_at:
        call.ringing_at = turn.now
        call.dirty = True
    if not event.body and event.status <= call.shown_status:
        return
    status = event.status if event.status in _PROVISIONAL else 183
    if not event.body:
        call.shown_status = max(call.shown_status, status)
    fork = f"{leg.id};{event.fork}"
    lines = crossing(event.message, RESPONSE_CROSSES)
    phrase = _PROVISIONAL[status]
    usage_uas.progress(caller.usage, turn, status, phrase, fork, lines, event.body, event.content_type)


_PROVISIONAL: Final[dict[int, str]] = {
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
}


def on_answered(call: Call, turn: Turn, leg: Leg, event: Answered) -> None:
    """The first answer wins (INC-07)."""
    caller = call.legs.get(call.a)
    leg.answered_at = turn.now
    leg.status = 200
    leg.user_agent = leg.user_agent or event.message.get("server") or event.message.get("user-agent") or ""
    if call.phase != RINGING or caller is None or caller.usage.state != INCOMING:
        # the caller is gone or somebody else won in the same instant: ACK, then BYE
        drop(call, turn, leg, [ELSEWHERE_LINE], 200, ELSEWHERE, "server")
        return
    call.phase = TALKING
    call.b = leg.id
    call.answered_at = turn.now
    caller.answered_at = turn.now
    caller.status = 200
    call.deadlines = {"duration": turn.now + call.plan.max_duration_s}
    call.choosing = False
    call.note("INC-07", reasons.ANSWERED, leg.device or leg.trunk)
    cancel_others(call, turn, leg.id, [ELSEWHERE_LINE], ELSEWHERE)
    waking.on_answered(call, turn, leg.device)
    lines = crossing(event.message, RESPONSE_CROSSES)
    fork = f"{leg.id};{event.fork}"
    usage_uas.accept(caller.usage, turn, fork, lines, event.body, event.content_type)
    if call.body:
        usage_uac.acknowledge(leg.usage, turn, b"", "")
    # without an offer in the INVITE the ACK waits for the caller's, which carries the answer (RFC 3264, late offer)
    call.body = b""
    call.crossing = []


def on_failed(call: Call, turn: Turn, leg: Leg, event: Failed) -> None:
    """A callee's final response: best response, next peer, or next step."""
    trunk = bool(leg.trunk)
    q850 = q850_of(event.message) if trunk and event.message is not None else 0
    reason = reason_of(event.status, trunk, q850)
    if event.cancelled or call.phase != RINGING:
        leg.finish(turn.now, event.status, ELSEWHERE if event.crossed else reasons.NO_ANSWER, "server")
        return
    leg.finish(turn.now, event.status, reason, "callee" if event.message is not None else "server")
    if leg.step != call.step:
        return
    call.note("leg", reason, f"{leg.device or leg.peer or leg.id} {event.status}")
    lines = crossing(event.message, RESPONSE_CROSSES, False) if event.message is not None else []
    if trunk and event.status in (401, 407):
        _note_result(call, 0, reason, [])  # our password is nothing that the caller could mend
    else:
        _note_result(call, status_for_caller(event.status, trunk, q850), reason, lines)
    if trunk:
        call.deadlines.pop(SILENCE + leg.id, None)
        next_peer(call, turn, leg, event.status, q850)
        return
    if event.status >= 600:
        _stop_user(call, turn, leg)
    elif event.message is None and leg.device:
        waking.on_dead_flow(call, turn, leg)
    _unless_all_failed(call, turn)


def _unless_all_failed(call: Call, turn: Turn) -> None:
    """The step is over when nobody rings and nobody is on the way."""
    if waking.awaited(call):
        return
    if not any(other.role == CALLEE and other.usage.state == CALLING for other in call.legs.values()):
        _step_failed(call, turn)


def _stop_user(call: Call, turn: Turn, decliner: Leg) -> None:
    """INC-08: a 6xx from one device is the user's answer; other users ring on."""
    for other in call.legs.values():
        if other.user == decliner.user and other.role == CALLEE and other.usage.state == CALLING:
            drop(call, turn, other, [_DECLINED_LINE], 487, reasons.DECLINED, "callee")
    waking.on_declined(call, turn, decliner.user)


def _note_result(call: Call, status: int, reason: str, lines: list[str]) -> None:
    """Keep the best response of the call so far."""
    status = status or CAUSES[reason].status
    if not call.best_status or better(status, call.best_status):
        call.best_status = status
        call.best_reason = reason
        call.best_lines = lines


def _step_failed(call: Call, turn: Turn) -> None:
    """The step brought no answer: on with the next one."""
    call.deadlines.pop("step", None)
    call.step += 1
    call.dirty = True
    run_step(call, turn)


def on_step_over(call: Call, turn: Turn) -> None:
    """The step rang long enough."""
    if call.phase != RINGING:
        return
    step = call.plan.steps[call.step] if call.step < len(call.plan.steps) else None
    rang = not isinstance(step, Ring) or waking.reachable(call)
    reason = reasons.NO_ANSWER if rang else reasons.UNREACHABLE
    call.note("INC-08", reason, f"step {call.step}")
    call.choosing = False
    cancel_others(call, turn, "", [_NO_ANSWER_LINE], reason)
    _note_result(call, 0, reason, [])
    _step_failed(call, turn)


def on_total_over(call: Call, turn: Turn, status: int) -> None:
    """The cap over all steps: a parked leg has a deadline whatever happens.  ``status``: of the refusal; 0: the reason's."""
    if call.phase != RINGING:
        return
    cancel_others(call, turn, "", [_NO_ANSWER_LINE], reasons.NO_ANSWER)
    refuse_caller(call, turn, reasons.NO_ANSWER, status, [], "server")


def on_caller_cancelled(call: Call, turn: Turn, reason: str) -> None:
    """INC-09: every ringing leg is cancelled, without the "elsewhere" reason; the caller's own reason crosses."""
    lines = [f"Reason: {reason}"] if reason and "cause=200" not in reason.replace(" ", "") else []
    if call.plan.caller.hidden:
        lines = veiled_lines(lines)
    cancel_others(call, turn, "", lines, reasons.CALLER_CANCELLED, "caller")
    refuse_caller(call, turn, reasons.CALLER_CANCELLED, 487, [], "caller")
