"""Decisions about the called side: may this number be called, by this caller, and what rings (INC-01 to
INC-08).

For calls from trunks, internal calls and forwarded ones alike: whoever calls, the callee's rules are the same.
They are asked in the order of the product; the first that applies wins, and each writes its line into the trace.
"""

from __future__ import annotations

from dialplan import forwarding, greeting, hours, reasons, screening, states
from dialplan.facts import Callee, CallFacts
from dialplan.plan import Identity, Refuse, Ring, SimTarget, Step
from dialplan.trace import PASS, RING, WAKE, Trace
from numbering.models import CloudNumber, ForwardMode


def is_ours(facts: CallFacts) -> bool:
    """Whether the number called is one of ours, so that no trunk is used."""
    if facts.number is not None:
        return not states.is_outside(facts.number)
    return facts.greeting is not None


def to_number(facts: CallFacts, caller: Identity, trace: Trace) -> tuple[Step, ...]:
    """Steps of a call to a cloud number or to a Greeting's."""
    if facts.greeting is not None:
        return greeting.steps(facts, facts.greeting, caller, trace)
    number, callee = facts.number, facts.callee
    reason = _known(facts, number, callee, trace)
    if reason or number is None or callee is None:
        return (Refuse(reason=reason),)
    refusal = screening.refused(facts, caller, trace)
    if refusal is not None:
        return (refusal,)
    why_off = hours.why_off(facts, number, trace)
    if why_off:
        return forwarding.when_off(facts, number, why_off, trace)
    if number.forward.mode is ForwardMode.ALL:
        forwarded = forwarding.always(facts, number, caller, trace)
        if forwarded:
            return forwarded
    return _ring(facts, number, callee, caller, trace)


def to_colleague(facts: CallFacts, caller: Identity, trace: Trace) -> tuple[Step, ...]:
    """Steps of a call to a colleague by SIP user name: no number is called, so no number's rules apply."""
    callee = facts.callee
    if callee is None:
        reason = trace.refuse("INC-01", reasons.NOT_FOUND, "nobody of the account has this name")
    elif callee.suspended:
        reason = trace.refuse("INC-01", reasons.SUSPENDED, f"user {callee.user} is suspended")
    else:
        trace.add("INC-01", PASS, f"{facts.called.dialled} is user {callee.user}")
        return _ring(facts, None, callee, caller, trace)
    return (Refuse(reason=reason),)


def _known(facts: CallFacts, number: CloudNumber | None, callee: Callee | None, trace: Trace) -> str:
    called = facts.called.e164 or facts.called.dialled
    if number is None:
        return trace.refuse("INC-01", reasons.UNKNOWN_NUMBER, f"{called} is no cloud number")
    reason = states.refused(number, trace)
    if reason:
        return reason
    if callee is None:
        return trace.refuse("INC-01", reasons.UNKNOWN_NUMBER, f"{called} is held by nobody")
    if callee.suspended:
        return trace.refuse("INC-01", reasons.SUSPENDED, f"holder {callee.user} of {called} is suspended")
    trace.add("INC-01", PASS, f"{called} is active, held by {callee.user}")
    return ""


def _ring(
    facts: CallFacts, number: CloudNumber | None, callee: Callee, caller: Identity, trace: Trace
) -> tuple[Step, ...]:
    targets, wake = callee.targets, callee.wake
    if facts.device is not None and facts.device.device:
        # Who calls an own number means the other devices; the one in the hand must not ring.
        own = facts.device.device
        targets = tuple([target for target in targets if target.device != own])
        wake = tuple([target for target in wake if target.device != own])
    sims = other_sims(callee.sims, facts, caller)
    fallback = (
        other_sims(callee.fallback, facts, caller) if number is not None and number.gsm_fallback else ()
    )
    for device in callee.unproved:
        trace.add(
            "INC-05", PASS, f"{device} answers by GSM, but has no verified SIM: it rings if it is registered"
        )
    asleep = [target.device for target in wake if target.asleep]
    is_rung = bool(targets or asleep or sims or fallback)
    after: tuple[Step, ...] = ()
    later: Trace | None = None
    if number is not None and (number.voicemail or number.forward.mode is ForwardMode.MISSED):
        later = Trace()
        after = forwarding.missed(facts, number, caller, is_rung, later)
    if not is_rung:
        nobody = "no device that could ring is registered"
        if after:
            trace.add("INC-05", PASS, nobody)
        if later is not None:
            trace.join(later)
        if after:
            return after
        return (Refuse(reason=trace.refuse("INC-05", reasons.UNREACHABLE, nobody)),)
    for_s = facts.limits.ring_s
    if number is not None and number.ring_seconds > 0:
        for_s = number.ring_seconds
    devices = ", ".join(dict.fromkeys([target.device for target in targets]))
    if devices:
        trace.add("INC-05", RING, f"{devices} at the same time for {for_s:g} s")
    if sims:
        trace.add("INC-05", RING, f"{_named(sims)} at once, answering by GSM")
    if asleep:
        trace.add("DEV-04", WAKE, f"{', '.join(asleep)} by push, to join within {for_s:g} s")
    if fallback:
        when = (
            "if nobody is reachable in time" if devices or asleep else "at once, for nobody else is reachable"
        )
        trace.add("INC-06", RING, f"{_named(fallback)} {when}")
    if later is not None:
        trace.join(later)
    return (Ring(targets=targets, for_s=for_s, wake=wake, sims=sims, fallback=fallback), *after)


def other_sims(sims: tuple[SimTarget, ...], facts: CallFacts, caller: Identity) -> tuple[SimTarget, ...]:
    """The SIMs without the one that the call itself is made with."""
    if not sims:
        return ()
    own = "" if facts.device is None else facts.device.device
    return tuple([sim for sim in sims if sim.sim != caller.asserted and (not own or sim.device != own)])


def _named(sims: tuple[SimTarget, ...]) -> str:
    return ", ".join([f"the SIM of {sim.device} for {sim.for_s:g} s" for sim in sims])
