"""From facts to a plan and its trace: pure, total, deterministic.

``evaluate`` never raises and never asks anything but its argument.  Which rules there are, and in which
order, is told on one page in ``docs/routing.md``; here they are called in that order.
"""

from __future__ import annotations

from dataclasses import replace

from dialplan import forwarded, gateways, incoming, outgoing, paying, reasons
from dialplan.facts import TRANSFER, CallerDevice, CallerNumber, CallFacts, GatewayFacts
from dialplan.plan import Decision, Identity, Plan, Refuse, Step, ToTrunk
from dialplan.trace import DIAL, PASS, Trace
from numbering.classes import local_number
from numbering.plans import NumberClass

INCOMING = "incoming"
OUTGOING = "outgoing"
INTERNAL = "internal"


def evaluate(facts: CallFacts) -> Decision:
    """What happens to this call, and why."""
    trace = Trace()
    if facts.forward is not None:
        plan = forwarded.plan(facts, facts.forward, trace)
    elif facts.gateway is not None:
        plan = _by_gateway(facts, facts.gateway, trace)
    elif facts.device is not None:
        plan = _from_device(facts, facts.device, trace)
    else:
        plan = _from_trunk(facts, trace)
    return Decision(plan=plan, trace=trace.lines)


def _by_gateway(facts: CallFacts, gateway: GatewayFacts, trace: Trace) -> Plan:
    """A call to a gateway number: led on for its lease, or refused (OUT-02, DEV-01)."""
    reason = gateways.refused(facts, gateway, trace)
    if facts.device is not None and not reason:
        plan = _from_device(facts, facts.device, trace)
        return replace(plan, gateway=gateway.number, lease=gateway.lease, sim=gateway.sim)
    return Plan(
        direction=INCOMING,
        steps=(Refuse(reason=reason),),
        caller=_presented(facts.caller),
        called=gateway.number,
        gateway=gateway.number,
        lease=gateway.lease,
        sim=gateway.sim,
        max_duration_s=facts.limits.max_duration_s,
        config_version=facts.config_version,
    )


def _from_trunk(facts: CallFacts, trace: Trace) -> Plan:
    caller = _presented(facts.caller)
    reason = _relay(facts, trace) or _loop(facts, trace)
    steps = (Refuse(reason=reason),) if reason else incoming.to_number(facts, caller, trace)
    return Plan(
        direction=INCOMING,
        steps=steps,
        caller=caller,
        called=facts.called.e164 or facts.called.dialled,
        number=_called_number(facts),
        user="" if facts.callee is None else facts.callee.user,
        account=_called_account(facts),
        max_duration_s=facts.limits.max_duration_s,
        config_version=facts.config_version,
    )


def _called_number(facts: CallFacts) -> str:
    if facts.greeting is not None:
        return facts.greeting.greeting.number
    return "" if facts.number is None else facts.number.e164


def _called_account(facts: CallFacts) -> str:
    if facts.greeting is not None:
        return facts.greeting.greeting.account
    return "" if facts.callee is None else facts.callee.account


def _presented(caller: CallerNumber) -> Identity:
    """The caller of an incoming call, as the carrier let us know; nothing of a hidden caller is shown."""
    if caller.hidden:
        return Identity(asserted=caller.e164, hidden=True)
    return Identity(
        number=caller.e164,
        user="" if caller.e164 else caller.presented,
        display=caller.display,
        asserted=caller.e164,
    )


def _from_device(facts: CallFacts, device: CallerDevice, trace: Trace) -> Plan:
    direction = INTERNAL if _is_internal(facts) else OUTGOING
    nobody = Identity(user=device.sip_username)  # a call refused before it has an identity
    if facts.called.number_class is NumberClass.EMERGENCY:
        # Before anything else: neither a suspension nor a full plan may stand between a person and help
        # (OUT-05).
        detail = f"{facts.called.short or facts.called.dialled} must be dialled on the SIM"
        reason = trace.refuse("OUT-05", reasons.EMERGENCY, detail)
        return _device_plan(facts, device, OUTGOING, (Refuse(reason=reason),), nobody, "")
    trace.add("OUT-05", PASS, "not an emergency number")
    reason = _relay(facts, trace) or _loop(facts, trace)
    if not reason and outgoing.asks_for_rio(facts):
        return _to_rio_service(facts, device, nobody, trace)
    reason = reason or _suspended(device, trace)
    if not reason and not facts.colleague:
        # A colleague is rung by name within the account: nothing is called from a number.
        reason = outgoing.unproved(device, facts.limits, trace)
    if reason:
        return _device_plan(facts, device, direction, (Refuse(reason=reason),), nobody, "")
    chosen = outgoing.choose_number(device, facts.caller, required=not facts.colleague, trace=trace)
    if chosen.reason:
        return _device_plan(facts, device, direction, (Refuse(reason=chosen.reason),), nobody, "")
    if chosen.number is None:
        identity = outgoing.shown_without_number(device, facts.caller, trace)
        return _device_plan(facts, device, direction, _steps(facts, identity, trace), identity, "")
    # Names are for colleagues: outside, a name is a claim that nobody has checked.
    colleague = facts.callee is not None and facts.callee.account == device.account
    identity = outgoing.shown_as(chosen.number, facts.caller, device.name if colleague else "", trace)
    steps = _steps(facts, identity, trace)
    return _device_plan(facts, device, direction, steps, identity, chosen.number.e164)


def _to_rio_service(facts: CallFacts, device: CallerDevice, nobody: Identity, trace: Trace) -> Plan:
    """A call to the service that tells a line its RIO, which is ours for our own lines (NUM-11)."""
    if facts.caller.source == TRANSFER:
        # whoever knows the RIO of a line can take the line away
        detail = f"{facts.called.short} tells a RIO to the line that calls, not to whom it transfers"
        reason = trace.refuse("NUM-11", reasons.BARRED_CLASS, detail)
        return _device_plan(facts, device, OUTGOING, (Refuse(reason=reason),), nobody, "")
    line = outgoing.line_of_rio(device, facts.caller, trace)
    if line.number is None:
        return _device_plan(facts, device, OUTGOING, (Refuse(reason=line.reason),), nobody, "")
    steps = outgoing.rio_steps(facts, line.number, trace)
    refused = isinstance(steps[0], Refuse)
    identity = nobody if refused else outgoing.shown_as(line.number, facts.caller, "", trace)
    return _device_plan(facts, device, OUTGOING, steps, identity, line.number.e164)


def _steps(facts: CallFacts, identity: Identity, trace: Trace) -> tuple[Step, ...]:
    if facts.colleague:
        return incoming.to_colleague(facts, identity, trace)
    called = facts.called
    number = local_number(called.short, called.country) if called.short else called.e164
    if not number:
        reason = reasons.INVALID_NUMBER if _looks_like_number(called.dialled) else reasons.NOT_FOUND
        detail = f"{called.dialled} is neither a number ({called.fault or 'empty'}) nor a colleague"
        return (Refuse(reason=trace.refuse("NUM-01", reason, detail)),)
    if _is_internal(facts):
        trace.add("internal", PASS, f"{called.e164} is one of our own; no trunk is used")
        return incoming.to_number(facts, identity, trace)
    reason = outgoing.barred(facts, trace) or paying.refused(facts, trace)
    if reason:
        return (Refuse(reason=reason),)
    if not facts.trunk_available:
        detail = f"no trunk terminates {number}"
        return (Refuse(reason=trace.refuse("route", reasons.NO_ROUTE, detail)),)
    trace.add("route", DIAL, f"{number} over a trunk for {facts.limits.trunk_ring_s:g} s")
    return (ToTrunk(number=number, for_s=facts.limits.trunk_ring_s),)


def _is_internal(facts: CallFacts) -> bool:
    return facts.colleague or incoming.is_ours(facts)


def _looks_like_number(dialled: str) -> bool:
    return any(char.isdigit() for char in dialled) and not any(char.isalpha() for char in dialled)


def _relay(facts: CallFacts, trace: Trace) -> str:
    """We carry calls to our numbers and over our trunks; we forward nothing to other domains (no open
    relay)."""
    host = facts.called.foreign_host
    return trace.refuse("relay", reasons.NOT_FOUND, f"{host} is not our domain") if host else ""


def _loop(facts: CallFacts, trace: Trace) -> str:
    loop, called = facts.loop, facts.called.e164 or facts.called.dialled
    if loop.max_forwards <= 0:
        return trace.refuse("FWD-04", reasons.LOOP, "Max-Forwards is used up")
    for call in loop.own_calls:
        # The same call may come back for another number (a spiral, RFC 3261 §16.3); for the same number it
        # would for ever.
        if call.called == called:
            return trace.refuse("FWD-04", reasons.LOOP, f"call {call.call_ref} to {called} comes back")
    if called in loop.diverted:
        return trace.refuse("FWD-04", reasons.LOOP, f"{called} has diverted this call before")
    trace.add("FWD-04", PASS, f"no loop among {len(loop.diverted)} diversions")
    return ""


def _suspended(device: CallerDevice, trace: Trace) -> str:
    if device.suspended:
        return trace.refuse("NUM-13", reasons.SUSPENDED, f"user {device.user} or the account is suspended")
    return ""


def _device_plan(
    facts: CallFacts,
    device: CallerDevice,
    direction: str,
    steps: tuple[Step, ...],
    caller: Identity,
    number: str,
) -> Plan:
    return Plan(
        direction=direction,
        steps=steps,
        caller=caller,
        called=facts.called.e164 or facts.called.dialled,
        number=number,
        user=device.user,
        account=device.account,
        max_duration_s=facts.limits.max_duration_s,
        config_version=facts.config_version,
    )
