"""Values of several parts as documents and the API write them: hours, forwarding, members and flows.

The inverse of `callcontrol.provisioning.incoming` and `callcontrol.provisioning.greetings`.
"""

from __future__ import annotations

from typing import Any

from numbering.hours import DAYS, Hours, Span, clock_text
from numbering.models import (
    MISSED_CAUSES,
    NO_FORWARDING,
    CloudNumber,
    Flow,
    FlowAction,
    Forwarding,
    Greeting,
    GreetingMember,
)


def number_form(number: CloudNumber) -> dict[str, Any]:
    """Hours and forwarding of a number, as far as it has them."""
    values: dict[str, Any] = {}
    if number.forward != NO_FORWARDING:
        values["forward"] = forward_form(number.forward)
    if number.hours is not None:
        slots = slot_forms(number.hours)
        values["slot"] = [{"zone": number.hours.zone, **slot} for slot in slots]
        values.update(_days(number.hours))
    return values


def greeting_form(greeting: Greeting) -> dict[str, Any]:
    """A Greeting as a document says it, with what differs from the defaults."""
    plain = Greeting(number=greeting.number, account=greeting.account)
    values: dict[str, Any] = {"number": greeting.number, "account": greeting.account}
    for name in ("strategy", "ring_seconds", "repeat", "limit_seconds"):
        value = getattr(greeting, name)
        if value != getattr(plain, name):
            values[name] = value
    values["members"] = [
        member.user if member == GreetingMember(user=member.user) else member_form(member)
        for member in greeting.members
    ]
    if greeting.hours is not None:
        values["zone"] = greeting.hours.zone
        values["open"] = slot_forms(greeting.hours)
        values.update(_days(greeting.hours))
    for key, name in (("flow", "open"), ("closed", "closed"), ("unanswered", "unanswered")):
        flow = getattr(greeting, name)
        if flow != getattr(plain, name):
            values[key] = flow_form(flow)
    for name in ("block", "spam"):
        if getattr(greeting, name):
            values[name] = list(getattr(greeting, name))
    return values


def forward_form(forward: Forwarding) -> dict[str, Any]:
    values: dict[str, Any] = {"mode": forward.mode.value}
    if forward.to:
        values["to"] = forward.to
    if forward.causes != MISSED_CAUSES:
        values["causes"] = list(forward.causes)
    return values


def slot_forms(hours: Hours) -> list[dict[str, Any]]:
    return [{"days": [DAYS[day] for day in slot.days], **span_form(slot.span)} for slot in hours.slots]


def special_forms(hours: Hours) -> list[dict[str, Any]]:
    """One entry for each span of a day of its own, or one that says that it is closed."""
    found: list[dict[str, Any]] = []
    for day in hours.special:
        named = {"name": day.name} if day.name else {}
        for span in day.spans:
            found.append({"date": day.date, **span_form(span), **named})
        if not day.spans:
            found.append({"date": day.date, "closed": True, **named})
    return found


def _days(hours: Hours) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if hours.holidays:
        values["holidays"] = list(hours.holidays)
    if hours.special:
        values["special"] = special_forms(hours)
    return values


def span_form(span: Span) -> dict[str, str]:
    return {"from": clock_text(span.start), "to": clock_text(span.end)}


def member_form(member: GreetingMember) -> dict[str, Any]:
    values: dict[str, Any] = {"user": member.user}
    if member.priority != 1:
        values["priority"] = member.priority
    if member.ring_seconds:
        values["ring_seconds"] = member.ring_seconds
    return values


def flow_form(flow: Flow) -> dict[str, Any]:
    values: dict[str, Any] = {"action": flow.action.value}
    if flow.to and flow.action in (FlowAction.FORWARD, FlowAction.ANNOUNCE):
        values["to"] = flow.to
    return values


# -- for people -------------------------------------------------------------------------------------------


def hours_text(hours: Hours) -> str:
    """``Europe/Paris mon-fri 08:30-19:00; not on holidays of FR; 2 days of their own``."""
    slots = ", ".join(f"{days_text(slot.days)} {slot.span}" for slot in hours.slots)
    parts = [f"{hours.zone} {slots}" if slots else f"{hours.zone}, never"]
    if hours.holidays:
        parts.append(f"not on holidays of {', '.join(hours.holidays)}")
    if hours.special:
        parts.append(f"{len(hours.special)} days of their own")
    return "; ".join(parts)


def days_text(days: tuple[int, ...]) -> str:
    """``mon-fri``, ``sat``, ``mon,wed``."""
    if len(days) > 2 and days == tuple(range(days[0], days[-1] + 1)):
        return f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
    return ",".join(DAYS[day] for day in days)


def member_text(member: GreetingMember) -> str:
    """``ana``, ``ana (priority 2, 15 s)``."""
    more = [f"priority {member.priority}"] if member.priority != 1 else []
    more += [f"{member.ring_seconds:g} s"] if member.ring_seconds else []
    return f"{member.user} ({', '.join(more)})" if more else member.user
