"""Calls as people see them: a running one from its state, an ended one from its record.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.leg import CALLEE, Leg
from callcontrol.b2bua.phases import ENDED, RINGING, TALKING
from callcontrol.b2bua.records import stored_facts
from callcontrol.call_places import CallKey
from callcontrol.cdr import CallRecord
from callcontrol.ladder import Line
from callcontrol.node_view import (
    CallView,
    LadderEntry,
    LadderView,
    LegView,
    PartyView,
    TraceView,
)
from callcontrol.offer_views import offers_of
from callcontrol.sip.usage import CALLING, CANCELLING, CLOSED, CLOSING, INCOMING
from callcontrol.story import Story
from dialplan import stored
from dialplan.evaluate import evaluate
from dialplan.plan import RIO, Forward, Hunt, Plan, Refuse, Ring, Step, ToMedia, ToTrunk, TraceLine


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
        config_version=plan.config_version,
        plan=plan_words(plan),
        legs=tuple(_leg_view(leg) for leg in call.legs.values()),
        trace=_trace_view(call.trace),
    )


def running_story(call: Call) -> Story:
    """What there is to tell of a call that runs."""
    plan = call.plan
    return Story(
        direction=plan.direction,
        caller=plan.caller.asserted or plan.caller.number or plan.caller.user,
        caller_hidden=plan.caller.hidden,
        called=plan.called,
        number=plan.number,
        user=plan.user,
        callee=next((leg.user for leg in call.legs.values() if leg.role == CALLEE and leg.user), ""),
        trace=tuple(call.trace),
        facts=stored.join(stored_facts(call)),
    )


def ended_story(record: CallRecord) -> Story:
    """What there is to tell of a call that ended, from its record."""
    return Story(
        direction=record.direction,
        caller=record.caller or record.caller_presented,
        caller_hidden=record.caller_hidden,
        called=record.called or record.dialled,
        number=record.number,
        user=record.user,
        callee=next((leg.user for leg in record.legs if leg.role == CALLEE and leg.user), ""),
        status=record.status,
        reason=record.reason,
        trace=trace_of(record.trace),
        facts=record.facts,
    )


def trace_of(text: str) -> tuple[TraceLine, ...]:
    """The decisions of a record; those of earlier versions say no time."""
    rows = msgspec.json.decode(text, type=list[tuple[str | float, ...]]) if text else []
    return tuple(
        TraceLine(
            rule=str(row[0]),
            outcome=str(row[1]),
            detail=str(row[2]),
            at=float(row[3]) if len(row) > 3 else 0.0,
        )
        for row in rows
    )


def _trace_view(trace: Iterable[TraceLine]) -> tuple[TraceView, ...]:
    return tuple(
        TraceView(rule=line.rule, outcome=line.outcome, detail=line.detail, at=line.at) for line in trace
    )


def _plan_of(record: CallRecord) -> tuple[str, ...]:
    """The steps that were decided first, worked out again from the stored facts; empty where they are not kept."""
    try:
        parts = stored.split(record.facts)
        return plan_words(evaluate(stored.load(parts[0])).plan) if parts else ()
    except stored.FactsError:
        return ()


def ended_view(record: CallRecord) -> CallView:
    """A call that ended, from its record."""
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
        config_version=record.config_version,
        offers=offers_of(record),
        plan=_plan_of(record),
        trace=_trace_view(trace_of(record.trace)),
    )


def plan_words(plan: Plan) -> tuple[str, ...]:
    """The steps of a plan, one phrase each."""
    return tuple(_step_words(step) for step in plan.steps)


def _step_words(step: Step) -> str:
    match step:
        case Ring():
            parts = [target.device for target in step.targets]
            parts += [f"the SIM of {sim.device}" for sim in step.sims]
            asleep = ", ".join(target.device for target in step.wake if target.asleep)
            waking = f", wake {asleep}" if asleep else ""
            fallback = ", ".join(sim.device for sim in step.fallback)
            instead = f", else the SIM of {fallback}" if fallback else ""
            return f"ring {', '.join(dict.fromkeys(parts)) or 'nobody'}{waking}{instead} for {step.for_s:g} s"
        case Hunt():
            order = ", then ".join(" and ".join(m.user for m in group) for group in step.groups)
            times = "" if step.rounds == 1 else f", {step.rounds} times"
            return f"hunt {order}{times}, for {step.limit_s:g} s at the most"
        case ToTrunk():
            return f"call {step.number} over a trunk for {step.for_s:g} s"
        case Forward():
            when = f" when {', '.join(step.when)}" if step.when else ""
            return f"forward to {step.to}{when}"
        case ToMedia():
            when = f" when {', '.join(step.when)}" if step.when else ""
            who = "the RIO is spoken" if step.kind == RIO else f"{step.kind} answers"
            return f"{who}{when}"
        case Refuse():
            return f"refuse: {step.reason}"


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
