"""The record of a call, written once from its state (CDR-01)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from callcontrol.b2bua import outcomes
from callcontrol.b2bua.causes import CAUSES
from callcontrol.b2bua.leg import CALLEE, ELSEWHERE, Leg
from callcontrol.cdr import CallRecord, LegRecord, OfferRecord
from dialplan import stored
from dialplan.plan import Hunt, Ring, ToTrunk

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call


def milliseconds(at: float) -> int:
    """Unix seconds -> integer milliseconds; 0 stays 0 (it did not happen)."""
    return int(at * 1000 + 0.5)


def _text(value: str) -> str:
    """What a peer wrote, fit for a database: bytes that are no UTF-8 become question marks."""
    if value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\ufffd", "?")


def _in_order(*instants: float) -> list[int]:
    """Unix milliseconds, none before the one that it follows; 0 for what did not happen.

    The clock of the node that took the call over may be behind that of the one that began it.
    """
    found: list[int] = []
    last = 0
    for at in instants:
        last = max(last, milliseconds(at)) if at else last
        found.append(last if at else 0)
    return found


def stored_facts(call: Call) -> list[bytes]:
    """The facts of its decisions as bytes, a fraction of what they are as values; each is encoded once."""
    found = [item if isinstance(item, bytes) else stored.dump(item) for item in call.facts]
    call.facts = [*found]
    return found


def of_leg(leg: Leg) -> LegRecord:
    cause = CAUSES.get(leg.reason)
    transport, address = _address(leg.address)
    started, ringing, answered, ended = _in_order(
        leg.started_at, leg.ringing_at, leg.answered_at, leg.ended_at
    )
    return LegRecord(
        leg=leg.id,
        role=leg.role,
        call_id=_text(leg.call_id),
        number=_text(leg.number),
        user=leg.user,
        device=leg.device,
        device_class=leg.device_class,
        trunk=leg.trunk,
        peer=leg.peer,
        transport=transport,
        address=_text(address),
        user_agent=_text(leg.user_agent[:120]),
        started_ms=started,
        ringing_ms=ringing,
        answered_ms=answered,
        ended_ms=ended,
        status=leg.status,
        cause=26 if leg.reason == ELSEWHERE else cause.q850 if cause is not None else 31,
        reason=leg.reason,
        ended_by=leg.ended_by,
        payer=leg.payer,
        payer_user=leg.payer_user,
    )


def _address(flow: str) -> tuple[str, str]:
    """A dumped flow -> (transport, host:port); a URI stays as it is."""
    parts = flow.split("|")
    if len(parts) < 3:
        return "", flow
    host = f"[{parts[1]}]" if ":" in parts[1] else parts[1]
    return parts[0], f"{host}:{parts[2]}"


def of_call(call: Call) -> CallRecord:
    """The record of an ended call."""
    plan = call.plan
    callee = _callee(call)
    outward = [leg.trunk for leg in call.legs.values() if leg.trunk and leg.role == CALLEE]
    device_leg = callee if plan.direction == "incoming" else call.legs.get("a")
    caller = plan.caller
    shown = "anonymous" if caller.hidden else caller.number or caller.user or "anonymous"
    cause = CAUSES[call.reason]
    legs = [of_leg(leg) for leg in call.legs.values()]
    started, ringing, answered, ended = _in_order(
        call.started_at, call.ringing_at, call.answered_at, call.ended_at
    )
    return CallRecord(
        call_ref=call.ref,
        direction=plan.direction,
        node=call.env.node,
        config_version=plan.config_version,
        started_ms=started,
        ringing_ms=ringing,
        answered_ms=answered,
        ended_ms=max([ended, *[leg.ended_ms for leg in legs]]),
        account=plan.account,
        user=plan.user,
        number=plan.number,
        caller=caller.asserted or caller.number,
        caller_presented=_text(shown),
        caller_hidden=caller.hidden,
        dialled=_text(call.dialled),
        called=plan.called if plan.called.startswith("+") else "",
        original_called=plan.called if plan.called.startswith("+") else "",
        destination=_text((callee.number or callee.address) if callee is not None else plan.called),
        trunk=call.ingress_trunk or (outward[-1] if outward else "") or _sim_trunk(call),
        gateway_number=plan.gateway,
        device=call.device if plan.gateway else device_leg.device if device_leg is not None else "",
        device_class=_device_class(call, device_leg),
        status=200 if call.answered_at else call.status,
        cause=cause.q850,
        reason=call.reason,
        ended_by=call.ended_by,
        trace_id=call.ref,
        trace=trace_json(call),
        legs=tuple(legs),
        lease=plan.lease,
        sim=plan.sim,
        facts=stored.join(stored_facts(call)),
        diversions=_diversions(call),
        offers=tuple(
            [
                OfferRecord(
                    user=each.user,
                    device=each.device,
                    outcome=each.word,
                    why=each.why,
                    rang_ms=milliseconds(each.rang_at),
                )
                for each in outcomes.outcomes(call)
            ]
        ),
    )


def _diversions(call: Call) -> tuple[str, ...]:
    """Numbers that forwarded the call, the latest first: those before us, and ours."""
    caller = call.plan.caller
    for step in call.plan.steps[: call.step + 1]:
        if isinstance(step, (Ring, Hunt, ToTrunk)) and step.shown is not None:
            caller = step.shown.caller
    return tuple([each.number for each in reversed(caller.diverted)])


def _sim_trunk(call: Call) -> str:
    """Of a callback to somebody inside: the trunk that the SIM was called over."""
    sim = call.legs.get(call.a)
    return sim.trunk if sim is not None and call.callback is not None else ""


def _device_class(call: Call, device_leg: Leg | None) -> str:
    if call.plan.gateway and call.device:
        return call.env.device_class(call.device)  # the phone is there, but its leg is a carrier's
    return device_leg.device_class if device_leg is not None else ""


def _callee(call: Call) -> Leg | None:
    """The leg that answered, else the last one that was tried."""
    last: Leg | None = None
    for leg in call.legs.values():
        if leg.role == CALLEE:
            last = leg
            if leg.answered_at and leg.reason != ELSEWHERE:
                return leg
    return last


def trace_json(call: Call) -> str:
    """The decisions as JSON: a list of [rule, outcome, detail, seconds after the beginning]."""
    rows = [(line.rule, line.outcome, line.detail, milliseconds(line.at) / 1000) for line in call.trace]
    try:
        return msgspec.json.encode(rows).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode([(*[_text(word) for word in row[:3]], row[3]) for row in rows]).decode()
