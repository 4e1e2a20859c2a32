"""Hours: when a number is on (SLOT-01) and when a Greeting is open (GRT-05), as its owner wrote them.

Everything is local wall time of an IANA zone.  A slot belongs to the day on which it begins, is half-open
(``from`` belongs to it, ``to`` does not), and may run over midnight.  What a moment means is worked out by
``dialplan.schedule``.  Frozen values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Names of the days in documents; the index is that of ``datetime.date.weekday``."""
DAY_MINUTES: Final = 24 * 60
_TIME: Final = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Part of a day: minutes after local midnight, half-open."""

    start: int
    """0 to 1439."""
    end: int
    """1 to 1440, which is the midnight that ends the day; not after ``start``: it ends on the next day."""

    def __post_init__(self) -> None:
        if not 0 <= self.start < DAY_MINUTES or not 0 <= self.end <= DAY_MINUTES:
            raise ValueError(f"a span from {self.start} to {self.end} minutes is not within a day")

    @property
    def minutes(self) -> int:
        """Length by the wall clock; from a time to the same time is a whole day."""
        length = self.end - self.start
        return length if length > 0 else length + DAY_MINUTES

    @property
    def passes_midnight(self) -> bool:
        """Whether a part of it, however short, lies on the next day."""
        return self.start + self.minutes > DAY_MINUTES

    def __str__(self) -> str:
        return f"{clock_text(self.start)}-{clock_text(self.end)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeeklySlot:
    """A span that begins on the same days of every week."""

    days: tuple[int, ...]
    """0 is Monday."""
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialDay:
    """A date that has hours of its own, or none: it takes the place of the weekly slots and of a holiday."""

    date: str
    """``2026-12-24``."""
    spans: tuple[Span, ...] = ()
    """Empty: closed all day."""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Weekly slots in one zone, less the holidays, with one-off exceptions."""

    zone: str
    """IANA name, ``Europe/Paris``."""
    slots: tuple[WeeklySlot, ...] = ()
    holidays: tuple[str, ...] = ()
    """Calendars whose days are closed: a country, or country and region (``FR``, ``DE-BY``)."""
    special: tuple[SpecialDay, ...] = ()


def read_time(text: str) -> int:
    """Minutes after midnight of ``08:30``; ``24:00`` is the end of the day.  Raises ValueError."""
    found = _TIME.fullmatch(text)
    minutes = int(found[1]) * 60 + int(found[2]) if found else DAY_MINUTES + 1
    if minutes > DAY_MINUTES:
        raise ValueError(f"{text!r} is not a time of day; write 08:30, or 24:00 for the end of the day")
    return minutes


def clock_text(minutes: int) -> str:
    """``08:30`` of 510."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
