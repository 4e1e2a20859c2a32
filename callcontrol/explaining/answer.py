"""The answer to a question about a call.  Plain values."""

from __future__ import annotations

from dataclasses import dataclass

from callcontrol.node_view import CallView
from callcontrol.story import Story


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would happen."""

    at: float
    """Unix seconds of the moment asked about."""
    clock: str
    """The same for people, by the clock of the number called."""
    notes: tuple[str, ...]
    """What has to be known to read the rest: who was taken for the caller, what is not looked at."""
    time_note: str
    """A wall-clock time that does not exist, or exists twice; empty: nothing odd about it."""
    call: CallView
    story: Story
    ends_after_s: float
    """When somebody answers or the caller is refused, seconds after the beginning."""
