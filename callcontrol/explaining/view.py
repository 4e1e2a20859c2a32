"""Explanations and impacts as they are shown."""

from __future__ import annotations

from dataclasses import dataclass

from callcontrol.audience import CUSTOMER
from callcontrol.explaining.answer import Explanation
from callcontrol.explaining.impact import Impact, Unread, Way
from callcontrol.node_view import CallView, Instant, ToldView
from callcontrol.story import Viewer, tell


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationView:
    """What would happen."""

    at: Instant
    clock: str
    """The same for people, by the clock of the number called."""
    notes: tuple[str, ...]
    """What has to be known to read the rest."""
    story: tuple[ToldView, ...]
    ends_after_seconds: float | None
    """When somebody answers or the caller is refused; null for customers."""
    call: CallView | None
    """The call as it would be shown, with plan and trace; null for customers."""


def view_of(answer: Explanation, audience: str, viewer: Viewer | None = None) -> ExplanationView:
    """The answer for an audience; ``viewer`` as of `callcontrol.story.tell`."""
    redacted = audience == CUSTOMER
    time_note = (answer.time_note,) if answer.time_note else ()
    told = tell(answer.story, audience, viewer)
    return ExplanationView(
        at=answer.at,
        clock=answer.clock,
        notes=time_note if redacted else (*time_note, *answer.notes),
        story=tuple(ToldView(at=each.at, text=each.text) for each in told),
        ends_after_seconds=None if redacted else answer.ends_after_s,
        call=None if redacted else answer.call,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DivertedView:
    """A call that would have gone elsewhere."""

    call_ref: str
    started_at: Instant
    caller: str
    called: str
    before: Way
    after: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactView:
    """What a change would have done to the latest calls."""

    calls: int
    same: int
    already: int
    """Calls that would go elsewhere today as well: the configuration has changed since, and this change adds nothing."""
    diverted: int
    elsewhere: tuple[DivertedView, ...]
    """The first of those that would have gone elsewhere."""
    unread: tuple[Unread, ...]
    """The first of those that cannot be replayed."""


def impact_view(found: Impact, shown: int) -> ImpactView:
    """At most ``shown`` calls of each kind one by one."""
    return ImpactView(
        calls=found.calls,
        same=found.same,
        already=found.already,
        diverted=len(found.elsewhere),
        elsewhere=tuple(
            DivertedView(
                call_ref=call.call_ref,
                started_at=call.started_ms / 1000,
                caller=call.caller,
                called=call.called,
                before=call.before,
                after=call.after,
            )
            for call in found.elsewhere[:shown]
        ),
        unread=found.unread[:shown],
    )
