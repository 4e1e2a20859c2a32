"""Values of several parts as JSON for one column, and back: hours, forwarding, members and flows.  Pure.

What is written here is read by every version that comes later: a key that is missing means the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numbering.hours import Hours, Span, SpecialDay, WeeklySlot
from numbering.models import (
    NO_FORWARDING,
    Flow,
    FlowAction,
    Forwarding,
    ForwardMode,
    GreetingMember,
)

Form = Mapping[str, Any]


def dump_hours(hours: Hours | None) -> dict[str, Any] | None:
    if hours is None:
        return None
    return {
        "zone": hours.zone,
        "slots": [{"days": list(slot.days), "span": _span(slot.span)} for slot in hours.slots],
        "holidays": list(hours.holidays),
        "special": [
            {"date": day.date, "spans": [_span(span) for span in day.spans], "name": day.name}
            for day in hours.special
        ],
    }


def load_hours(form: Form | None) -> Hours | None:
    if form is None:
        return None
    return Hours(
        zone=form["zone"],
        slots=tuple(
            WeeklySlot(days=tuple(slot["days"]), span=_read_span(slot["span"])) for slot in form["slots"]
        ),
        holidays=tuple(form["holidays"]),
        special=tuple(
            SpecialDay(
                date=day["date"], spans=tuple(_read_span(span) for span in day["spans"]), name=day["name"]
            )
            for day in form["special"]
        ),
    )


def _span(span: Span) -> list[int]:
    return [span.start, span.end]


def _read_span(form: list[int]) -> Span:
    return Span(start=form[0], end=form[1])


def dump_forward(forward: Forwarding) -> dict[str, Any] | None:
    if forward == NO_FORWARDING:
        return None
    return {"mode": forward.mode.value, "to": forward.to, "causes": list(forward.causes)}


def load_forward(form: Form | None) -> Forwarding:
    if form is None:
        return NO_FORWARDING
    return Forwarding(mode=ForwardMode(form["mode"]), to=form["to"], causes=tuple(form["causes"]))


def dump_member(member: GreetingMember) -> dict[str, Any]:
    return {"user": member.user, "priority": member.priority, "ring_seconds": member.ring_seconds}


def load_member(form: Form) -> GreetingMember:
    return GreetingMember(
        user=form["user"], priority=form["priority"], ring_seconds=float(form["ring_seconds"])
    )


def dump_flow(flow: Flow) -> dict[str, Any]:
    return {"action": flow.action.value, "to": flow.to}


def load_flow(form: Form) -> Flow:
    return Flow(action=FlowAction(form["action"]), to=form["to"])
