"""Calls as people see them: a running one from its state, an ended one from its record.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.leg import Leg
from callcontrol.b2bua.phases import ENDED, RINGING, TALKING
from callcontrol.call_places import CallKey
from callcontrol.cdr import CallRecord
from callcontrol.ladder import Line
from callcontrol.node_view import CallView, LadderEntry, LadderView, LegView, PartyView, TraceView
from callcontrol.sip.usage import CALLING, CANCELLING, CLOSED, CLOSING, INCOMING
from dialplan.plan import Plan, Refuse, Ring, Step, ToTrunk


def running_key(call: Call) -> CallKey:
    """Whose a running call is."""
    return CallKey(
        ref=call.ref,
        started_at=call.started_at,
        account=call.plan.account,
        user=call.plan.user,
        devices=tuple(leg.device for leg in call.legs.values() if leg.device),
    )


def ended_key(record: CallRecord) -> CallKey:
    """Whose a call was."""
    return CallKey(
        ref=record.call_ref,
        started_at=record.started_ms / 1000,
        account=record.account,
        user=record.user,
        devices=tuple(leg.device for leg in record.legs if leg.device),
    )


def running_view(call: Call) -> CallView:
    """A call that runs."""
    states = {RINGING: "ringing" if call.ringing_at else "setup", TALKING: "talking", ENDED: "ended"}
    plan = call.plan
    outward = [leg.trunk for leg in call.legs.values() if leg.trunk]
    return CallView(
        ref=call.ref,
        direction=plan.direction,
        state=states.get(call.phase, "setup"),
        caller=plan.caller.asserted or plan.caller.number or plan.caller.user,
        called=plan.called,
        started_at=call.started_at,
        number=plan.number,
        user=plan.user,
        account=plan.account,
        trunk=outward[-1] if outward else "",
        caller_hidden=plan.caller.hidden,
        ringing_at=call.ringing_at or None,
        answered_at=call.answered_at or None,
        plan=plan_words(plan),
        legs=tuple(_leg_view(leg) for leg in call.legs.values()),
        trace=tuple(TraceView(rule=t.rule, outcome=t.outcome, detail=t.detail) for t in call.trace),
    )


def ended_view(record: CallRecord) -> CallView:
    """A call that ended, from its record."""
    trace = msgspec.json.decode(record.trace, type=list[tuple[str, str, str]]) if record.trace else []
    return CallView(
        ref=record.call_ref,
        direction=record.direction,
        state="ended",
        caller=record.caller,
        called=record.called or record.dialled,
        started_at=record.started_ms / 1000,
        number=record.number,
        user=record.user,
        account=record.account,
        trunk=record.trunk,
        caller_hidden=record.caller_hidden,
        ringing_at=record.ringing_ms / 1000 if record.ringing_ms else None,
        answered_at=record.answered_ms / 1000 if record.answered_ms else None,
        ended_at=record.ended_ms / 1000,
        status=record.status,
        reason=record.reason,
        ended_by=record.ended_by,
        legs=tuple(
            LegView(
                leg=leg.leg,
                role=leg.role,
                state="ended",
                party=leg.number,
                device=leg.device,
                trunk=leg.trunk,
                transport=leg.transport,
                address=leg.address,
                call_id=leg.call_id,
                status=leg.status,
                reason=leg.reason,
                answered_at=leg.answered_ms / 1000 if leg.answered_ms else None,
                ended_at=leg.ended_ms / 1000 if leg.ended_ms else None,
            )
            for leg in record.legs
        ),
        trace=tuple(TraceView(rule=rule, outcome=outcome, detail=detail) for rule, outcome, detail in trace),
    )


def plan_words(plan: Plan) -> tuple[str, ...]:
    """The steps of a plan, one phrase each."""
    return tuple(_step_words(step) for step in plan.steps)


def _step_words(step: Step) -> str:
    if isinstance(step, Ring):
        devices = ", ".join(target.device for target in step.targets)
        asleep = ", ".join(target.device for target in step.wake if target.asleep)
        waking = f", wake {asleep}" if asleep else ""
        return f"ring {devices or 'nobody'}{waking} for {step.for_s:g} s"
    if isinstance(step, ToTrunk):
        return f"call {step.number} over a trunk for {step.for_s:g} s"
    if isinstance(step, Refuse):
        return f"refuse: {step.reason}"
    return type(step).__name__.lower()


def _leg_view(leg: Leg) -> LegView:
    state = leg.usage.state
    words = "talking"
    if state in (CALLING, CANCELLING, INCOMING):
        words = "ringing" if leg.ringing_at else "trying"
    elif state in (CLOSING, CLOSED):
        words = "ended"
    transport, _, _ = leg.address.partition("|")
    return LegView(
        leg=leg.id,
        role=leg.role,
        state=words,
        party=leg.number,
        device=leg.device,
        trunk=leg.trunk,
        transport=transport if "|" in leg.address else "",
        address=_where(leg.address),
        call_id=leg.call_id,
        status=leg.status,
        reason=leg.reason,
        answered_at=leg.answered_at or None,
        ended_at=leg.ended_at or None,
    )


def leg_names(running: Call | None, record: CallRecord | None) -> dict[str, tuple[str, str]]:
    """Name and address of the party of each leg, for the columns of a ladder."""
    if running is not None:
        legs = running.legs.values()
        return {leg.id: (leg.device or leg.trunk or leg.id, _where(leg.address)) for leg in legs}
    if record is not None:
        return {leg.leg: (leg.device or leg.trunk or leg.leg, leg.address) for leg in record.legs}
    return {}


def _where(address: str) -> str:
    """``host:port`` of a dumped flow; a URI stays as it is."""
    parts = address.split("|")
    return f"{parts[1]}:{parts[2]}" if len(parts) > 2 else address


def ladder_view(
    ref: str, lines: Sequence[Line], names: dict[str, tuple[str, str]], dropped: int
) -> LadderView:
    """Columns: the caller, ourselves, then the called parties in the order in which they were dialled."""
    order = ["a", *[leg for leg in names if leg != "a"]]
    order += [line.leg for line in lines if line.leg not in order and line.leg]
    columns = list(dict.fromkeys(order))
    index = {leg: 0 if number == 0 else number + 1 for number, leg in enumerate(columns)}
    parties: list[PartyView] = []
    for number, leg in enumerate(columns):
        name, address = names.get(leg, (leg, ""))
        parties.append(PartyView(name=name, address=address))
        if number == 0:
            parties.append(PartyView(name="Cloudline"))
    entries = [
        LadderEntry(
            at=line.at,
            source=1 if line.outgoing else index[line.leg],
            target=index[line.leg] if line.outgoing else 1,
            label=line.label,
            leg=line.leg,
            transport=line.flow.partition("|")[0] if "|" in line.flow else "",
            message=line.data.decode("utf-8", "replace"),
        )
        for line in lines
    ]
    return LadderView(call_ref=ref, parties=tuple(parties), entries=tuple(entries), truncated=dropped)
