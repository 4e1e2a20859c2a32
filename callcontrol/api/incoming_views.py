"""What the API shows of what happens to calls that come in: hours, forwarding, block lists, Greetings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from callcontrol.node_view import Instant
from callcontrol.provisioning.forms import slot_forms, special_forms
from callcontrol.provisioning.terms import Terms, warnings_of
from dialplan.schedule import judge, next_change, read_clock
from numbering.holidays import holiday_name
from numbering.hours import Hours
from numbering.models import CloudNumber, Flow, Forwarding, Greeting, GreetingMember, User

From = Annotated[str, Field(serialization_alias="from")]
"""``from`` is a word of Python's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotView:
    """A time of the week: half-open, and over midnight when ``to`` is not after ``from``."""

    days: tuple[str, ...]
    from_: From
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberSlotView:
    """A time of the week in which a number is on."""

    zone: str
    """The same for all slots of a number."""
    days: tuple[str, ...]
    from_: From
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialDayView:
    """Hours of one date, in place of those of the week; a date with several spans is there several times."""

    date: str
    from_: From = ""
    to: str = ""
    closed: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardView:
    """Where calls to a number go."""

    mode: str
    to: str
    causes: tuple[str, ...]
    """Of mode ``missed``: for which causes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursView:
    """When a number is on, or a Greeting open, and what that means now."""

    zone: str
    """Empty: it has no hours, and is always on."""
    slots: tuple[SlotView, ...]
    holidays: tuple[str, ...]
    """Calendars whose days are closed."""
    special: tuple[SpecialDayView, ...]
    on: bool
    """Now."""
    why: str
    next_change: Instant | None
    """When that changes; null: not within a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlocksView:
    """Callers who are refused."""

    block: tuple[str, ...]
    spam: tuple[str, ...]
    """Callers marked as spam: refused as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A user for whom a Greeting hunts."""

    user: str
    priority: int
    ring_seconds: float
    """0: as the Greeting says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowView:
    """What a Greeting does in one situation."""

    action: str
    to: str
    """Of ``forward``: a number; of ``announce``: the name of an announcement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreetingView:
    """A company number whose calls hunt over members."""

    number: str
    account: str
    strategy: str
    members: tuple[MemberView, ...]
    ring_seconds: float
    repeat: int
    limit_seconds: float
    """0: as the settings say."""
    zone: str
    """Empty: it has no hours, and is always open."""
    open: tuple[SlotView, ...]
    holidays: tuple[str, ...]
    special: tuple[SpecialDayView, ...]
    flow: FlowView
    """While it is open."""
    closed: FlowView
    unanswered: FlowView
    """When the hunt found nobody."""
    block: tuple[str, ...]
    spam: tuple[str, ...]
    warnings: tuple[str, ...]
    """What it asks for and the platform does not give yet."""


def slot_views(hours: Hours | None) -> tuple[SlotView, ...]:
    forms = slot_forms(hours) if hours is not None else []
    return tuple(SlotView(days=tuple(form["days"]), from_=form["from"], to=form["to"]) for form in forms)


def number_slot_views(hours: Hours | None) -> tuple[NumberSlotView, ...]:
    if hours is None:
        return ()
    return tuple(
        NumberSlotView(zone=hours.zone, days=slot.days, from_=slot.from_, to=slot.to)
        for slot in slot_views(hours)
    )


def special_views(hours: Hours | None) -> tuple[SpecialDayView, ...]:
    forms = special_forms(hours) if hours is not None else []
    return tuple(
        SpecialDayView(**{_NAMES.get(name, name): value for name, value in form.items()}) for form in forms
    )


_NAMES = {"from": "from_"}


def forward_view(forward: Forwarding) -> ForwardView:
    return ForwardView(mode=forward.mode.value, to=forward.to, causes=forward.causes)


def hours_view(hours: Hours | None, now: float) -> HoursView:
    """The hours, and their state at a moment."""
    if hours is None:
        return HoursView(
            zone="", slots=(), holidays=(), special=(), on=True, why="it has no hours", next_change=None
        )
    verdict = judge(hours, read_clock(hours, now, holiday_name))
    return HoursView(
        zone=hours.zone,
        slots=slot_views(hours),
        holidays=hours.holidays,
        special=special_views(hours),
        on=verdict.on,
        why=verdict.why,
        next_change=next_change(hours, now, holiday_name),
    )


def blocks_view(item: CloudNumber | Greeting | User) -> BlocksView:
    return BlocksView(block=item.block, spam=item.spam)


def greeting_view(greeting: Greeting, terms: Terms) -> GreetingView:
    hours = greeting.hours
    return GreetingView(
        number=greeting.number,
        account=greeting.account,
        strategy=greeting.strategy.value,
        members=tuple(_member_view(member) for member in greeting.members),
        ring_seconds=greeting.ring_seconds,
        repeat=greeting.repeat,
        limit_seconds=greeting.limit_seconds,
        zone=hours.zone if hours is not None else "",
        open=slot_views(hours),
        holidays=hours.holidays if hours is not None else (),
        special=special_views(hours),
        flow=_flow_view(greeting.open),
        closed=_flow_view(greeting.closed),
        unanswered=_flow_view(greeting.unanswered),
        block=greeting.block,
        spam=greeting.spam,
        warnings=warnings_of(greeting, terms),
    )


def _member_view(member: GreetingMember) -> MemberView:
    return MemberView(user=member.user, priority=member.priority, ring_seconds=member.ring_seconds)


def _flow_view(flow: Flow) -> FlowView:
    return FlowView(action=flow.action.value, to=flow.to)
