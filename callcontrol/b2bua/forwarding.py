"""Going on elsewhere: another number, voicemail, an announcement (INC-03, INC-04, INC-08, FWD-01 to FWD-04, GRT-06, NUM-11)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import ringing
from callcontrol.b2bua.crossing import device_identity
from callcontrol.b2bua.dialling import dial_uri, presented
from callcontrol.b2bua.effects import RouteForward
from callcontrol.b2bua.events import ForwardRouted
from callcontrol.b2bua.identity import BOTH, TrunkProfile, trunk_lines
from callcontrol.b2bua.leg import MEDIA
from callcontrol.sip.usage import Turn
from dialplan import reasons
from dialplan.plan import (
    ANNOUNCEMENT,
    RIO,
    VOICEMAIL,
    Diversion,
    Forward,
    Hunt,
    Identity,
    Plan,
    Refuse,
    Ring,
    Shown,
    Step,
    ToMedia,
    ToTrunk,
)

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

MAX_FORWARDS: Final = 5
"""How often one call is forwarded by us; a chain that is longer leads nowhere."""

_CAUSES: Final[dict[str, str]] = {
    reasons.BUSY: "user-busy",
    reasons.NO_ANSWER: "no-answer",
    reasons.DECLINED: "deflection",
    reasons.UNREACHABLE: "unavailable",
}
"""Why a call was missed, in the words of RFC 5806."""
_MEDIA_CAUSES: Final[dict[str, int]] = {
    "unconditional": 302,
    "user-busy": 486,
    "no-answer": 408,
    "deflection": 480,
    "unavailable": 503,
}
"""The same in the numbers of RFC 4458 section 2."""


def applies(call: Call, step: Step) -> bool:
    """Whether the step is done after what has come of the call so far."""
    if not isinstance(step, (Forward, ToMedia)) or not step.when:
        return True
    missed = call.best_reason or reasons.UNREACHABLE
    if missed in step.when:
        return True
    word = step.kind if isinstance(step, ToMedia) else "forward"
    call.note("FWD-01" if word == "forward" else "INC-08", "pass", f"{word} is not for {missed}")
    return False


def cause_of(call: Call, always: bool) -> str:
    """Word of RFC 5806: why the call goes on elsewhere."""
    if always or not call.best_reason:
        return "unconditional" if always else "unavailable"
    return _CAUSES.get(call.best_reason, "unknown")


# -- another number ---------------------------------------------------------------------------------------------------


def route(call: Call, turn: Turn, step: Forward) -> None:
    """Ask how the call goes on with the target."""
    caller, _ = presented(call)
    if call.forwards >= MAX_FORWARDS:
        call.note("FWD-04", f"refuse:{reasons.LOOP}", f"forwarded {call.forwards} times")
        ringing.note_result(call, 0, reasons.LOOP, [])
        ringing.stage_failed(call, turn)
        return
    call.forwards += 1
    missed = call.best_reason or reasons.UNREACHABLE
    call.note("FWD-01", "forward", f"{step.number} to {step.to}, {cause_of(call, step.always)}")
    turn.commands.append(RouteForward(step, caller, missed, call.max_forwards))


def on_routed(call: Call, turn: Turn, event: ForwardRouted) -> None:
    """The dialplan has decided on the target: its steps come next."""
    steps = call.plan.steps if call.transfer is None else _steps_of_transfer(call)
    index = call.step if call.transfer is None else call.transfer.step
    if index >= len(steps) or not isinstance(steps[index], Forward):
        call.ignore("forward routed late")
        return
    call.dirty = True
    decision = event.decision
    if decision is None:
        call.note("FWD-01", reasons.UNAVAILABLE, "the target could not be looked up")
        ringing.note_result(call, 0, reasons.UNAVAILABLE, [])
        ringing.stage_failed(call, turn)
        return
    call.note_all(decision.trace)
    first = decision.plan.steps[0] if decision.plan.steps else None
    if first is None or isinstance(first, Refuse):
        # what comes after the forward, voicemail say, is still to come
        reason = first.reason if first is not None else reasons.UNREACHABLE
        ringing.note_result(call, 0, reason, [])
        ringing.stage_failed(call, turn)
        return
    added = [_in_name_of(step, decision.plan) for step in decision.plan.steps if not isinstance(step, Refuse)]
    whole = (*steps[: index + 1], *added, *steps[index + 1 :])
    if call.transfer is not None and call.transfer.plan is not None:
        call.transfer.plan = dataclasses.replace(call.transfer.plan, steps=whole)
    else:
        call.plan = dataclasses.replace(call.plan, steps=whole)
        call.stored_plan = b""
    ringing.stage_failed(call, turn)


def _steps_of_transfer(call: Call) -> tuple[Step, ...]:
    move = call.transfer
    return move.plan.steps if move is not None and move.plan is not None else ()


def _in_name_of(step: Step, plan: Plan) -> Step:
    """The step with the number that pays for it (FWD-03)."""
    if isinstance(step, (Ring, Hunt, ToTrunk)):
        shown = step.shown or Shown(caller=plan.caller, called=plan.called)
        if not shown.number:
            shown = dataclasses.replace(shown, number=plan.number, user=plan.user, account=plan.account)
        return dataclasses.replace(step, shown=shown)
    return step


# -- media servers ----------------------------------------------------------------------------------------------------


def dial_media(call: Call, turn: Turn, step: ToMedia) -> None:
    """Call the media server: it answers, records or speaks, and hangs up."""
    caller, called = presented(call)
    cause = cause_of(call, False) if call.best_reason else "unconditional"
    call.deadlines["step"] = turn.now + step.for_s
    if step.kind == RIO:
        # what the caller is told when no server speaks: the message goes out in any case
        ringing.note_result(call, 0, reasons.RIO_BY_MESSAGE, [])
    what = "the server that speaks it is called" if step.kind == RIO else step.name or step.number
    call.note(_MEDIA_RULES[step.kind], step.kind, what)
    # who asks for its own RIO was forwarded by nobody
    diverted = (Diversion(number=step.number, reason=cause),) if step.kind != RIO else ()
    shown = Identity(
        number=caller.number,
        user=caller.user,
        display=caller.display,
        asserted=caller.asserted,
        hidden=caller.hidden,
        diverted=(*caller.diverted, *diverted),
    )
    address = _media_uri(step, call.env.domain, cause)
    lines = [
        *device_identity(caller, call.env.domain, called, call.ref),
        *trunk_lines(shown, _TOLD, call.env.domain, "", address),
    ]
    leg = dial_uri(call, turn, _with_values(address, step.values), shown, lines, address)
    leg.device_class = MEDIA
    leg.number = step.kind


_MEDIA_RULES: Final = {VOICEMAIL: "VM-01", ANNOUNCEMENT: "GRT-06", RIO: "NUM-11"}
_TOLD: Final = TrunkProfile(identity="from", trusted=False, diversion=BOTH)
"""A media server is told who forwarded the call; the caller is in the lines that devices get."""


def _media_uri(step: ToMedia, domain: str, cause: str) -> str:
    """The server's URI with the mailbox and why (RFC 4458), or with the announcement's name."""
    address, question, headers = step.uri.partition("?")
    if step.kind == VOICEMAIL:
        address += f";target=sip:{step.number}%40{domain};cause={_MEDIA_CAUSES.get(cause, 404)}"
    elif step.name:
        address += f";play={step.name}"
    return address + question + headers


def _with_values(address: str, values: tuple[str, ...]) -> str:
    """The URI with what the announcement is to say (RFC 4240 §3.1): what only the server may learn, and no record keeps."""
    uri, question, headers = address.partition("?")
    for place, value in enumerate(values, 1):
        uri += f";param{place}={value}"
    return uri + question + headers


def on_media_failed(call: Call, turn: Turn) -> None:
    """No media server answers: the caller is told what came of the call before."""
    if not call.best_status:
        ringing.note_result(call, 0, reasons.UNREACHABLE, [])
    ringing.stage_failed(call, turn)
