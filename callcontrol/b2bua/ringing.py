"""Looking for an answer: carrying out the steps of the plan until somebody picks up (INC-05 to INC-09).

The first 2xx wins; every other leg is cancelled, and an answer that crosses its CANCEL is ACKed and released by the usage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import transfer
from callcontrol.b2bua.causes import (
    CAUSES,
    PHRASES,
    better,
    reason_lines,
    reason_of,
    status_for_caller,
    tries_next,
)
from callcontrol.b2bua.crossing import (
    INVITE_CROSSES,
    RESPONSE_CROSSES,
    body_type,
    crossing,
    device_identity,
    from_value,
    trunk_identity,
)
from callcontrol.b2bua.effects import ChooseTrunk, PeerSilent
from callcontrol.b2bua.events import TrunkChosen
from callcontrol.b2bua.leg import CALLEE, ELSEWHERE, Leg
from callcontrol.b2bua.phases import RINGING, TALKING
from callcontrol.sip import usage_session, usage_uac, usage_uas
from callcontrol.sip.commands import UseTag
from callcontrol.sip.dialog import tagged
from callcontrol.sip.message import Message
from callcontrol.sip.usage import (
    CALLING,
    CLOSED,
    INCOMING,
    Answered,
    Failed,
    OutgoingInvite,
    Progress,
    Turn,
    Usage,
)
from dialplan import reasons
from dialplan.plan import DeviceTarget, Plan, Refuse, Ring, ToTrunk

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

ELSEWHERE_LINE: Final = 'Reason: SIP;cause=200;text="Call completed elsewhere"'
"""INC-07; phones that see it do not note a missed call."""


def begin(call: Call, turn: Turn, message: Message) -> None:
    """The caller's INVITE is in; start with the first step."""
    call.body = message.body
    call.content_type = body_type(message) if message.body else ""
    call.crossing = crossing(message, INVITE_CROSSES)
    call.max_forwards = max(message.max_forwards - 1, 0) if message.max_forwards >= 0 else 69
    call.deadlines["total"] = turn.now + call.env.total_ring_s
    call.dirty = True
    run_step(call, turn)


def run_step(call: Call, turn: Turn) -> None:
    """Carry out the step that the index points at; beyond the last one the caller gets the best response so far."""
    while call.step < len(call.plan.steps):
        step = call.plan.steps[call.step]
        if isinstance(step, Refuse):
            refuse_caller(call, turn, step.reason, 0, [])
            return
        call.tried = []
        call.deadlines["step"] = turn.now + step.for_s
        if isinstance(step, ToTrunk):
            choose_trunk(call, turn, step)
            return
        if isinstance(step, Ring) and step.targets:
            for target in step.targets:
                dial_device(call, turn, target, call.body, call.content_type)
            return
        call.note("ring", reasons.UNREACHABLE, "no target")
        _note_result(call, 480, reasons.UNREACHABLE, [])
        call.step += 1
    give_up(call, turn)


def give_up(call: Call, turn: Turn) -> None:
    """The plan is exhausted: the best response goes back (RFC 3261 §16.7)."""
    reason = call.best_reason or reasons.UNREACHABLE
    refuse_caller(call, turn, reason, call.best_status, call.best_lines)


def refuse_caller(call: Call, turn: Turn, reason: str, status: int, lines: list[str]) -> None:
    """Refuse the caller's INVITE with a reason of the closed list and end the call."""
    cause = CAUSES[reason]
    status = status or cause.status
    caller = call.legs.get(call.a)
    call.note("outcome", reason, str(status))
    if caller is not None and caller.usage.state == INCOMING:
        phrase = PHRASES.get(status, cause.phrase)
        usage_uas.refuse(caller.usage, turn, status, phrase, [*reason_lines(reason, status), *lines])
        caller.status = status
    by = "caller" if reason == reasons.CALLER_CANCELLED else "callee" if call.best_status else "server"
    call.end(turn, reason, status, by, [])


# -- dialling -------------------------------------------------------------------------------------------------------


def active_plan(call: Call) -> Plan:
    """The plan that is being carried out: a transfer has its own."""
    return call.plan if call.transfer is None else call.transfer.plan or call.plan


def new_leg(call: Call, turn: Turn) -> Leg:
    """A fresh callee leg."""
    call.count += 1
    name = f"b{call.count}"
    leg = Leg(name, Usage(name, f"{call.ref}.{name}", uac=True), CALLEE, turn.now)
    leg.step = call.step
    call.legs[name] = leg
    return leg


def dial_device(call: Call, turn: Turn, target: DeviceTarget, body: bytes, content_type: str) -> Leg:
    """Ring one registered contact.  Without a body the INVITE asks the device for the offer."""
    domain = call.env.domain
    plan = active_plan(call)
    leg = new_leg(call, turn)
    leg.user = target.user
    leg.device = target.device
    leg.device_class = call.env.device_class(target.device)
    leg.number = plan.called
    leg.binding = target.binding
    leg.address = target.flow or target.contact
    lines = device_identity(plan.caller, domain, plan.called, call.ref)
    caller = from_value(plan.caller, domain, plan.caller.number)
    to_header = f"<{target.aor}>"
    hop = target.flow or (target.path[0] if target.path else target.contact)
    _invite(
        call, turn, leg, target.contact, caller, to_header, list(target.path), lines, body, content_type, hop
    )
    return leg


def _invite(
    call: Call,
    turn: Turn,
    leg: Leg,
    uri: str,
    caller: str,
    to_header: str,
    routes: list[str],
    lines: list[str],
    body: bytes,
    content_type: str,
    hop: str,
) -> None:
    usage = leg.usage
    tag = usage.new_id(turn)
    leg.call_id = f"{usage.scope}.{usage.new_id(turn)}"
    turn.commands.append(UseTag(leg.id, tag))
    usage_uac.invite(
        usage,
        turn,
        OutgoingInvite(
            uri,
            tagged(caller, tag),
            to_header,
            leg.call_id,
            [f"<{route}>" if "<" not in route else route for route in routes],
            [*lines, *call.crossing],
            body,
            content_type,
            hop,
            call.max_forwards,
        ),
    )


def choose_trunk(call: Call, turn: Turn, step: ToTrunk) -> None:
    call.choosing = True
    identity = active_plan(call).caller
    turn.commands.append(ChooseTrunk(step.number, identity.asserted or identity.number, list(call.tried)))


def on_trunk_chosen(call: Call, turn: Turn, event: TrunkChosen) -> None:
    """Dial the trunk peer that was picked, or end the step when there is none left."""
    if not call.choosing:
        call.ignore("trunk chosen late")
        return
    call.choosing = False
    if not event.trunk:
        reason = call.best_reason or event.reason or reasons.NO_ROUTE
        call.note("trunk", reason, f"{len(call.tried)} tried")
        if call.transfer is not None:
            transfer.step_failed(call, turn, CAUSES[reason].status)
            return
        if not call.best_status:
            _note_result(call, 0, reason, [])
        step_failed(call, turn)
        return
    call.note("trunk", "chosen", f"{event.trunk} {event.peer}")
    call.tried.append(f"{event.trunk} {event.peer}")
    leg = new_leg(call, turn)
    leg.device_class = "trunk"
    leg.trunk = event.trunk
    leg.peer = event.peer
    leg.tried = f"{event.trunk} {event.peer}"
    plan = active_plan(call)
    leg.number = plan.called
    leg.address = event.target
    identity = plan.caller
    domain = call.env.domain
    lines = trunk_identity(identity, domain, event.identity, event.caller_user)
    caller = from_value(identity, domain, event.caller_user)
    to_header = f"<{event.uri}>"
    transferring = call.transfer is not None
    call.deadlines["silence"] = turn.now + call.env.silence_s
    body = b"" if transferring else call.body
    kind = "" if transferring else call.content_type
    _invite(call, turn, leg, event.uri, caller, to_header, [], lines, body, kind, event.target)


def on_silence(call: Call, turn: Turn) -> None:
    """The trunk peer did not even say 100: give the leg up and try the next peer."""
    for leg in call.legs.values():
        if leg.role == CALLEE and leg.trunk and leg.usage.state == CALLING and not leg.ringing_at:
            turn.commands.append(PeerSilent(leg.peer))
            usage_session.release(leg.usage, turn, [])
            call.leg_done(turn, leg, 408)
            leg.finish(turn.now, 408, reasons.TRUNK_FAILED, "server")
            call.note("leg", reasons.TRUNK_FAILED, f"{leg.peer} silent")
            next_peer(call, turn, 408)


def next_peer(call: Call, turn: Turn, status: int) -> None:
    """On to the next peer, if the status leaves room for one; else the step is over."""
    move = call.transfer
    plan = active_plan(call)
    index = call.step if move is None else move.step
    step = plan.steps[index] if index < len(plan.steps) else None
    if tries_next(status) and isinstance(step, ToTrunk):
        choose_trunk(call, turn, step)
    elif move is not None:
        transfer.step_failed(call, turn, status_for_caller(status, True))
    else:
        step_failed(call, turn)


def on_target_joined(call: Call, turn: Turn, target: DeviceTarget) -> None:
    """A device registered while the call rings: a late branch, unless that device is rung already (DEV-05, DEV-06)."""
    if call.phase != RINGING or call.transfer is not None or call.step >= len(call.plan.steps):
        call.ignore("device came late")
        return
    step = call.plan.steps[call.step]
    if not isinstance(step, Ring):
        call.ignore("device came late")
        return
    for leg in call.legs.values():
        if leg.step != call.step or leg.binding != target.binding:
            continue
        if leg.usage.state == CALLING and leg.address == (target.flow or target.contact):
            return
    call.note("DEV-05", "joined", target.device)
    dial_device(call, turn, target, call.body, call.content_type)
    call.dirty = True


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
    status = event.status if event.status in (180, 181, 182, 183) else 183
    if not event.body:
        call.shown_status = max(call.shown_status, status)
    fork = f"{leg.id};{event.fork}"
    lines = crossing(event.message, RESPONSE_CROSSES)
    usage_uas.progress(
        caller.usage, turn, status, _phrase(status), fork, lines, event.body, event.content_type
    )


_PROVISIONAL: Final = {180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress"}


def _phrase(status: int) -> str:
    return _PROVISIONAL.get(status, "Session Progress")


def on_answered(call: Call, turn: Turn, leg: Leg, event: Answered) -> None:
    """The first answer wins (INC-07)."""
    caller = call.legs.get(call.a)
    usage = leg.usage
    leg.answered_at = turn.now
    leg.status = 200
    leg.user_agent = leg.user_agent or event.message.get("server") or event.message.get("user-agent") or ""
    if call.phase != RINGING or caller is None or caller.usage.state != INCOMING:
        # the caller is gone or somebody else won in the same instant: ACK, then BYE
        usage_session.release(usage, turn, [ELSEWHERE_LINE])
        call.leg_done(turn, leg, 200)
        leg.finish(turn.now, 200, ELSEWHERE, "server")
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
    offered = bool(call.body)
    # a 2xx may leave the answer to a reliable provisional response that carried it already
    body = event.body or (usage.remote_body if offered else b"")
    content_type = event.content_type if event.body else usage.remote_type
    lines = crossing(event.message, RESPONSE_CROSSES)
    usage_uas.accept(caller.usage, turn, f"{leg.id};{event.fork}", lines, body, content_type)
    if offered:
        usage_uac.acknowledge(usage, turn, b"", "")
    # without an offer in the INVITE the ACK waits for the caller's, which carries the answer (RFC 3264, late offer)
    call.body = b""
    call.crossing = []


def cancel_others(call: Call, turn: Turn, winner: str, lines: list[str], outcome: str) -> None:
    """Stop every other callee leg of the call."""
    for other in call.legs.values():
        if other.role == CALLEE and other.id != winner and other.usage.state == CALLING:
            usage_session.release(other.usage, turn, lines)
            call.leg_done(turn, other, 487)
            other.finish(turn.now, 487, outcome, "server")


def on_failed(call: Call, turn: Turn, leg: Leg, event: Failed) -> None:
    """A callee's final response: best response, next peer, or next step."""
    trunk = bool(leg.trunk)
    reason = reason_of(event.status, trunk)
    if event.cancelled or call.phase != RINGING:
        leg.finish(turn.now, event.status, ELSEWHERE if event.crossed else reasons.NO_ANSWER, "server")
        return
    leg.finish(turn.now, event.status, reason, "callee" if event.message is not None else "server")
    if leg.step != call.step:
        return
    call.note("leg", reason, f"{leg.device or leg.peer or leg.id} {event.status}")
    lines = crossing(event.message, RESPONSE_CROSSES) if event.message is not None else []
    if not (trunk and event.status in (401, 407)):
        _note_result(call, status_for_caller(event.status, trunk), reason, lines)
    else:
        _note_result(call, 0, reason, [])
    if trunk:
        next_peer(call, turn, event.status)
        return
    if event.status >= 600:
        # INC-08: a 6xx from one device is the user's answer
        _stop_user(call, turn, leg)
    if not _anybody_left(call):
        step_failed(call, turn)


def _stop_user(call: Call, turn: Turn, decliner: Leg) -> None:
    line = 'Reason: SIP;cause=603;text="Declined elsewhere"'
    for other in call.legs.values():
        if other.user == decliner.user and other.role == CALLEE and other.usage.state == CALLING:
            usage_session.release(other.usage, turn, [line])
            call.leg_done(turn, other, 487)
            other.finish(turn.now, 487, reasons.DECLINED, "callee")


def _anybody_left(call: Call) -> bool:
    return any(leg.role == CALLEE and leg.usage.state == CALLING for leg in call.legs.values())


def _note_result(call: Call, status: int, reason: str, lines: list[str]) -> None:
    """Keep the best response of the call so far."""
    status = status or CAUSES[reason].status
    if not call.best_status or better(status, call.best_status):
        call.best_status = status
        call.best_reason = reason
        call.best_lines = lines


def step_failed(call: Call, turn: Turn) -> None:
    """The step brought no answer: on with the next one."""
    call.deadlines.pop("step", None)
    call.step += 1
    call.dirty = True
    run_step(call, turn)


def on_step_over(call: Call, turn: Turn) -> None:
    """The step rang long enough."""
    if call.phase != RINGING or call.choosing:
        if call.choosing:
            call.deadlines["step"] = turn.now + 1.0
        return
    call.note("INC-08", reasons.NO_ANSWER, f"step {call.step}")
    line = ['Reason: SIP;cause=408;text="no_answer"']
    cancel_others(call, turn, "", line, reasons.NO_ANSWER)
    _note_result(call, 0, reasons.NO_ANSWER, [])
    step_failed(call, turn)


def on_total_over(call: Call, turn: Turn) -> None:
    """The cap over all steps: a parked leg has a deadline whatever happens."""
    if call.phase != RINGING:
        return
    line = ['Reason: SIP;cause=408;text="no_answer"']
    cancel_others(call, turn, "", line, reasons.NO_ANSWER)
    refuse_caller(call, turn, reasons.NO_ANSWER, 0, [])


def on_caller_cancelled(call: Call, turn: Turn, leg: Leg, reason: str) -> None:
    """INC-09: every ringing leg is cancelled, without the "elsewhere" reason; the caller's own reason crosses."""
    if call.phase != RINGING or leg.usage.state == CLOSED:
        call.ignore("cancel after the end")
        return
    lines = [f"Reason: {reason}"] if reason and "cause=200" not in reason.replace(" ", "") else []
    for other in call.legs.values():
        if other.role == CALLEE and other.usage.state == CALLING:
            usage_session.release(other.usage, turn, lines)
            call.leg_done(turn, other, 487)
            other.finish(turn.now, 487, reasons.CALLER_CANCELLED, "caller")
    refuse_caller(call, turn, reasons.CALLER_CANCELLED, 487, [])
