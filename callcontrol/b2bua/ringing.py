"""Looking for an answer: carrying out the steps of the plan until somebody picks up (INC-05 to INC-09).

The first 2xx wins; every other leg is cancelled, and an answer that crosses its CANCEL is ACKed and released by the usage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import callback, forwarding, hunting, offering, seeking, transfer, waking
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
    offered_body,
    tried_words,
)
from callcontrol.b2bua.effects import SendAgain
from callcontrol.b2bua.events import TargetJoined, TrunkChosen
from callcontrol.b2bua.leg import CALLEE, ELSEWHERE, MEDIA, Leg
from callcontrol.b2bua.phases import RINGING, TALKING
from callcontrol.b2bua.records import stored_facts
from callcontrol.sip import usage_uac, usage_uas
from callcontrol.sip.message import Message
from callcontrol.sip.usage import CALLING, INCOMING, Turn, body_type
from callcontrol.sip.usage_events import Answered, Failed, Progress
from dialplan import reasons
from dialplan.plan import Forward, Hunt, Refuse, Step, ToMedia, ToTrunk

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

_EXPIRES_DIGITS: Final = 5
"""A longer Expires than a day says nothing: the call ends before."""


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
            refuse_caller(call, turn, step.reason, step.status, [], by)
            return
        if begin_step(call, turn, step, True):
            return
        call.step += 1
    _give_up(call, turn)


def begin_step(call: Call, turn: Turn, step: Step, timed: bool) -> bool:
    """Begin a step of the call's plan, or of a transfer's; False if there is nothing to be done for it.

    ``timed``: the step ends after its own time; else whoever carries it out bounds it.
    """
    if isinstance(step, Refuse) or not forwarding.applies(call, step):
        return False
    call.begin_stage(turn)
    if isinstance(step, Hunt):
        hunting.begin(call, turn, step)
    elif isinstance(step, Forward):
        forwarding.route(call, turn, step)
    elif isinstance(step, ToMedia):
        forwarding.dial_media(call, turn, step)
    elif isinstance(step, ToTrunk) or offering.can_ring(step):
        if timed:
            call.deadlines["step"] = turn.now + step.for_s
        if isinstance(step, ToTrunk):
            choose_trunk(call, turn, step)
        else:
            offering.begin(call, turn, step)
    else:
        call.note("ring", reasons.UNREACHABLE, "no target")
        note_result(call, 480, reasons.UNREACHABLE, [])
        return False
    return True


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
        body, kind = offered_body(call)
        dial_peer(call, turn, event, body, kind)
        return
    reason = call.best_reason or event.reason or reasons.NO_ROUTE
    call.note("trunk", reason, tried_words(call.tried))
    if not call.best_status:
        note_result(call, 0, reason, [])
    stage_failed(call, turn)


def next_peer(call: Call, turn: Turn, leg: Leg, status: int, q850: int) -> None:
    """On to the next peer, if the answer leaves room for one; else nothing came of the leg."""
    if leg.seek:
        if not seeking.next_peer(call, turn, leg, status, q850):
            offering.unless_all_failed(call, turn)
        return
    call.deadlines.pop(SILENCE + leg.id, None)
    step = offering.present_step(call)
    if isinstance(step, ToTrunk) and may_go_on(call, leg, status, q850):
        choose_trunk(call, turn, step)
    else:
        stage_failed(call, turn)


# -- devices --------------------------------------------------------------------------------------------------------


def on_target_joined(call: Call, turn: Turn, event: TargetJoined) -> None:
    """A device registered while the call rings: a late branch, unless that device is rung already (DEV-05, DEV-06)."""
    target = event.target
    if offering.present_ring(call) is None:
        call.ignore("device came late")
        return
    if target.user not in offering.rung_users(call):
        call.ignore("device of a user who is not rung")
        return
    if target.device in offering.own_devices(call) or offering.answers_by_sim(call, target.device):
        return  # who calls an own number, or transfers to one, means the other devices
    held: Leg | None = None
    for leg in call.legs.values():
        if leg.step != call.stage or leg.user != target.user or leg.role != CALLEE:
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
    waking.on_joined(call, turn, target.device, target.user)
    body, kind = offered_body(call)
    dial_device(call, turn, target, body, kind)
    call.dirty = True


def _hasten(turn: Turn, leg: Leg) -> None:
    """The device can hear us now: an INVITE that it has not responded to goes out again at once, not when its timer says so."""
    invite = leg.usage.invite
    if not leg.heard and invite is not None:
        turn.commands.append(SendAgain(leg.id, invite.branch))


def on_push_failed(call: Call, turn: Turn, device: str) -> None:
    """There is no way to a device that sleeps: it costs no time (GRT-01)."""
    if not offering.searching(call) or not waking.forget(call, device):
        return
    if not call.best_status:
        note_result(call, 480, reasons.UNREACHABLE, [])
    offering.unless_all_failed(call, turn)


# -- what callees say -----------------------------------------------------------------------------------------------


def on_progress(call: Call, turn: Turn, leg: Leg, event: Progress) -> None:
    """Pass ringing and early media on to the caller; repeated plain ringing of further phones is not news."""
    caller = call.legs.get(call.a)
    if call.phase != RINGING or caller is None or event.status == 199:
        return
    if not call.ringing_at:
        call.ringing_at = turn.now
        call.dirty = True
    body, kind = event.body, event.content_type
    status = event.status if event.status in _PROVISIONAL else 183
    if leg.seek:
        # what a SIM's network plays is for whoever called that SIM; our caller hears ringing until a person answers
        body, kind, status = b"", "", 180
    if not body and status <= call.shown_status:
        return
    if not body:
        call.shown_status = max(call.shown_status, status)
    fork = f"{leg.id};{event.fork}"
    lines = crossing(event.message, RESPONSE_CROSSES)
    usage_uas.progress(caller.usage, turn, status, _PROVISIONAL[status], fork, lines, body, kind)


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
    call.seeks = []
    call.note("INC-07", reasons.ANSWERED, leg.device or leg.trunk or leg.number)
    cancel_others(call, turn, leg.id, [ELSEWHERE_LINE], ELSEWHERE)
    waking.on_answered(call, turn, leg.device)
    call.hunt = None
    stored_facts(call)
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
    if event.cancelled or not offering.searching(call):
        leg.finish(turn.now, event.status, ELSEWHERE if event.crossed else reasons.NO_ANSWER, "server")
        return
    leg.finish(turn.now, event.status, reason, "callee" if event.message is not None else "server")
    if leg.step != call.stage:
        return
    call.note("leg", reason, f"{leg.device or leg.peer or leg.id} {event.status}")
    lines = crossing(event.message, RESPONSE_CROSSES, False) if event.message is not None else []
    if leg.device_class == MEDIA:
        forwarding.on_media_failed(call, turn)
        return
    if trunk and event.status in (401, 407):
        note_result(call, 0, reason, [])  # our password is nothing that the caller could mend
    else:
        note_result(call, status_for_caller(event.status, trunk, q850), reason, lines)
    if leg.device and event.status >= 600:
        offering.on_declined(call, turn, leg.user)
    if trunk:
        next_peer(call, turn, leg, event.status, q850)
        return
    if event.message is None and leg.device:
        waking.on_dead_flow(call, turn, leg)
    offering.unless_all_failed(call, turn)


def note_result(call: Call, status: int, reason: str, lines: list[str]) -> None:
    """Keep the best response of the call so far."""
    status = status or CAUSES[reason].status
    if not call.best_status or better(status, call.best_status):
        call.best_status = status
        call.best_reason = reason
        call.best_lines = lines


def stage_failed(call: Call, turn: Turn) -> None:
    """Nothing came of the present offer: on with the next group of the hunt, or with the next step."""
    if call.hunt is not None:
        hunting.next_group(call, turn)
    elif call.transfer is not None:
        transfer.step_failed(call, turn, call.transfer)
    else:
        call.deadlines.pop("step", None)
        call.step += 1
        call.dirty = True
        run_step(call, turn)


def on_step_over(call: Call, turn: Turn) -> None:
    """The step, or the offer of a hunt, rang long enough."""
    if not offering.searching(call):
        return
    ring = offering.present_ring(call)
    rang = ring is None or waking.reachable(call)
    reason = reasons.NO_ANSWER if rang else reasons.UNREACHABLE
    call.note("INC-08", reason, f"step {call.step}" if call.hunt is None else hunting.where(call.hunt))
    call.choosing = False
    offering.cancel_stage(call, turn, reason)
    note_result(call, 0, reason, [])
    stage_failed(call, turn)


def on_total_over(call: Call, turn: Turn, status: int) -> None:
    """The cap over all steps: a parked leg has a deadline whatever happens.  ``status``: of the refusal; 0: the reason's."""
    if call.phase != RINGING:
        return
    cancel_others(call, turn, "", [offering.NO_ANSWER_LINE], reasons.NO_ANSWER)
    refuse_caller(call, turn, reasons.NO_ANSWER, status, [], "server")


def on_caller_cancelled(call: Call, turn: Turn, reason: str) -> None:
    """INC-09: every ringing leg is cancelled, without the "elsewhere" reason; the caller's own reason crosses."""
    lines = [f"Reason: {reason}"] if reason and "cause=200" not in reason.replace(" ", "") else []
    if call.plan.caller.hidden:
        lines = veiled_lines(lines)
    cancel_others(call, turn, "", lines, reasons.CALLER_CANCELLED, "caller")
    refuse_caller(call, turn, reasons.CALLER_CANCELLED, 487, [], "caller")
