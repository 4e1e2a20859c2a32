"""Decisions about the called side: may this number be called, by this caller, and what rings (INC-01 to
INC-05).

For calls from trunks and internal calls alike: whoever calls, the callee's rules are the same.  They are
asked in the order of the product; each gives the reason of a refusal or an empty string, and writes its line
into the trace.
"""

from __future__ import annotations

from typing import Final

from dialplan import reasons
from dialplan.facts import CallFacts
from dialplan.plan import Identity, Refuse, Ring, Step
from dialplan.trace import PASS, RING, WAKE, Trace
from numbering.models import ANONYMOUS, NumberState

STATE_REASONS: Final[dict[NumberState, str]] = {
    NumberState.QUARANTINED: reasons.QUARANTINED,
    NumberState.PORTED_OUT: reasons.PORTED_OUT,
    NumberState.EXPIRED: reasons.EXPIRED,
    NumberState.SUSPENDED: reasons.SUSPENDED,
}
"""States with a reason of their own (INC-01); any other state but ``active`` is as good as unknown."""


def to_number(facts: CallFacts, caller: Identity, trace: Trace) -> tuple[Step, ...]:
    """Steps of a call to a cloud number: the first rule that applies wins."""
    reason = _known(facts, trace) or _not_blocked(facts, caller, trace) or _switched_on(facts, trace)
    return (Refuse(reason=reason),) if reason else _ring(facts, trace)


def to_colleague(facts: CallFacts, trace: Trace) -> tuple[Step, ...]:
    """Steps of a call to a colleague by SIP user name: no number is called, so no number's rules apply."""
    callee = facts.callee
    if callee is None:
        reason = trace.refuse("INC-01", reasons.NOT_FOUND, "nobody of the account has this name")
    elif callee.suspended:
        reason = trace.refuse("INC-01", reasons.SUSPENDED, f"user {callee.user} is suspended")
    else:
        trace.add("INC-01", PASS, f"{facts.called.dialled} is user {callee.user}")
        return _ring(facts, trace)
    return (Refuse(reason=reason),)


def _known(facts: CallFacts, trace: Trace) -> str:
    number, callee = facts.number, facts.callee
    called = facts.called.e164 or facts.called.dialled
    if number is None:
        return trace.refuse("INC-01", reasons.UNKNOWN_NUMBER, f"{called} is no cloud number")
    if number.state is not NumberState.ACTIVE:
        reason = STATE_REASONS.get(number.state, reasons.UNKNOWN_NUMBER)
        return trace.refuse("INC-01", reason, f"{called} is {number.state.value}")
    if callee is None:
        return trace.refuse("INC-01", reasons.UNKNOWN_NUMBER, f"{called} is held by nobody")
    if callee.suspended:
        return trace.refuse("INC-01", reasons.SUSPENDED, f"holder {callee.user} of {called} is suspended")
    trace.add("INC-01", PASS, f"{called} is active, held by {callee.user}")
    return ""


def _not_blocked(facts: CallFacts, caller: Identity, trace: Trace) -> str:
    block = () if facts.number is None else facts.number.block
    if caller.hidden and ANONYMOUS in block:
        return trace.refuse("INC-02", reasons.BLOCKED, "hidden callers are blocked")
    # The network tells the number also of a caller who hides: who was blocked by number stays blocked.
    who = caller.asserted or caller.user
    if who and who in block:
        return trace.refuse("INC-02", reasons.BLOCKED, f"{who} is blocked")
    trace.add("INC-02", PASS, f"none of {len(block)} blocks applies")
    return ""


def _switched_on(facts: CallFacts, trace: Trace) -> str:
    number = facts.number
    if number is not None and not number.calls:
        return trace.refuse("INC-03", reasons.NUMBER_OFF, "calls to the number are switched off")
    trace.add("INC-03", PASS, "the number is on")
    return ""


def _ring(facts: CallFacts, trace: Trace) -> tuple[Step, ...]:
    targets = () if facts.callee is None else facts.callee.targets
    wake = () if facts.callee is None else facts.callee.wake
    if facts.device is not None:
        # Who calls an own number means the other devices; the one in the hand must not ring.
        targets = tuple(target for target in targets if target.device != facts.device.device)
        wake = tuple(target for target in wake if target.device != facts.device.device)
    asleep = [target.device for target in wake if target.asleep]
    if not targets and not asleep:
        reason = trace.refuse("INC-05", reasons.UNREACHABLE, "no device that could ring is registered")
        return (Refuse(reason=reason),)
    for_s = facts.limits.ring_s
    if facts.number is not None and facts.number.ring_seconds > 0:
        for_s = facts.number.ring_seconds
    devices = ", ".join(dict.fromkeys(target.device for target in targets))
    if devices:
        trace.add("INC-05", RING, f"{devices} at the same time for {for_s:g} s")
    if asleep:
        trace.add("DEV-04", WAKE, f"{', '.join(asleep)} by push, to join within {for_s:g} s")
    return (Ring(targets=targets, for_s=for_s, wake=wake),)
