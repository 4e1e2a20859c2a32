"""The call that a forward makes: in the name of the number that forwards, under all the rules of its outgoing
calls, and shown as what it is (FWD-02 to FWD-04).

Asked when the step of the forward begins, so that it sees what is used and who is there then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dialplan import incoming, outgoing, paying, reasons
from dialplan.facts import CallFacts, ForwardFacts
from dialplan.plan import Plan, Refuse, Shown, Step, ToTrunk
from dialplan.trace import DIAL, PASS, Trace
from numbering.plans import NumberClass

OUTGOING: Final = "outgoing"
INTERNAL: Final = "internal"


def plan(facts: CallFacts, forward: ForwardFacts, trace: Trace) -> Plan:
    """What happens to a call that is forwarded."""
    steps = _steps(facts, forward, trace)
    device = facts.device
    return Plan(
        direction=INTERNAL if incoming.is_ours(facts) else OUTGOING,
        steps=steps,
        caller=forward.caller,
        called=facts.called.e164 or facts.called.dialled,
        number=forward.number,
        user="" if device is None else device.user,
        account="" if device is None else device.account,
        max_duration_s=facts.limits.max_duration_s,
        config_version=facts.config_version,
    )


def _steps(facts: CallFacts, forward: ForwardFacts, trace: Trace) -> tuple[Step, ...]:
    reason = _kept(facts, trace) or _loop(facts, forward, trace) or _in_whose_name(facts, forward, trace)
    if reason:
        return (Refuse(reason=reason),)
    shown = Shown(caller=forward.caller, called=facts.called.e164)
    _tell(forward, trace)
    if incoming.is_ours(facts):
        trace.add("internal", PASS, f"{facts.called.e164} is one of our own; no trunk is used")
        return tuple([_shown(step, shown) for step in incoming.to_number(facts, forward.caller, trace)])
    reason = outgoing.barred(facts, trace) or paying.refused(facts, trace)
    if not reason and not facts.trunk_available:
        reason = trace.refuse("route", reasons.NO_ROUTE, f"no trunk terminates {facts.called.e164}")
    if reason:
        return (Refuse(reason=reason),)
    for_s = facts.limits.trunk_ring_s
    trace.add("route", DIAL, f"{facts.called.e164} over a trunk for {for_s:g} s")
    return (ToTrunk(number=facts.called.e164, for_s=for_s, shown=shown),)


def _kept(facts: CallFacts, trace: Trace) -> str:
    """Reason why nothing is forwarded to such a target at all; empty: it may be."""
    called = facts.called
    if called.number_class is NumberClass.EMERGENCY:
        # Nobody is sent to the emergency services of another place, and without a person who asked for them.
        detail = f"nothing is forwarded to {called.dialled}, an emergency number"
        return trace.refuse("OUT-05", reasons.BARRED_CLASS, detail)
    if called.number_class is NumberClass.MACHINE:
        detail = f"nothing is forwarded to {called.dialled}, a number of machines"
        return trace.refuse("FWD-01", reasons.BARRED_CLASS, detail)
    if not called.e164:
        detail = f"{called.dialled} is no number ({called.fault or 'short'})"
        return trace.refuse("NUM-01", reasons.INVALID_NUMBER, detail)
    return ""


def _loop(facts: CallFacts, forward: ForwardFacts, trace: Trace) -> str:
    """Reason why the call would come back to where it has been (FWD-04); empty: it would not."""
    loop, called, caller = facts.loop, facts.called.e164, forward.caller
    detail = ""
    if loop.max_forwards <= len(caller.diverted):
        # Each forward is one hop, also between numbers of ours, where no request is sent.
        detail = "Max-Forwards is used up"
    elif called == forward.number:
        detail = f"{called} forwards to itself"
    elif called in loop.diverted or called in [each.number for each in caller.diverted]:
        detail = f"{called} has forwarded this call before"
    elif called in [call.called for call in loop.own_calls]:
        detail = f"the call came for {called}"
    elif caller.asserted == called or (
        forward.caller_user and facts.callee is not None and facts.callee.user == forward.caller_user
    ):
        detail = f"{called} is the caller's own"
    if detail:
        return trace.refuse("FWD-04", reasons.LOOP, detail)
    trace.add("FWD-04", PASS, f"no loop among {len(caller.diverted)} diversions")
    return ""


def _in_whose_name(facts: CallFacts, forward: ForwardFacts, trace: Trace) -> str:
    """Reason why the number that forwards may make no call; empty: it may."""
    device = facts.device
    if device is None:
        detail = f"{forward.number} is held by nobody"
        return trace.refuse("OUT-01", reasons.NOT_YOUR_NUMBER, detail)
    if device.suspended:
        detail = f"user {device.user} or account {device.account} is suspended"
        return trace.refuse("NUM-13", reasons.SUSPENDED, detail)
    own = next((number for number in device.numbers if number.e164 == forward.number), None)
    if own is not None and not own.user:
        trace.add("DEV-01", PASS, f"{forward.number} is the company's own: no SIM stands for it")
    else:
        reason = outgoing.unproved(device, facts.limits, trace)
        if reason:
            return reason
    return outgoing.choose_number(device, facts.caller, required=True, trace=trace).reason


def _tell(forward: ForwardFacts, trace: Trace) -> None:
    who = "a hidden caller" if forward.caller.hidden else forward.caller.number or forward.caller.user
    why = f" ({forward.cause})" if forward.cause else ""
    trace.add("FWD-02", PASS, f"{who or 'the caller'} is shown, forwarded by {forward.number}{why}")


def _shown(step: Step, shown: Shown) -> Step:
    return step if isinstance(step, Refuse) else replace(step, shown=shown)
