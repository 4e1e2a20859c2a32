"""What a moment means for hours that somebody set: on or off, and until when (SLOT-01, GRT-05).  Pure.

**The rule is what the clock on the wall shows.**  A moment is turned into the date and the time that a clock
in the zone shows, and these alone decide.  So in the night when an hour is missing, a slot within that hour
does not happen and a slot that begins in it begins when the clock has jumped; when an hour comes twice, what
is on during it is on both times, and a slot that ends in it ends twice: on, off, on again, off.

`LocalClock` is a fact: with it stored, a decision can be repeated for ever, whatever becomes of the rules of
the zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from numbering.hours import DAY_MINUTES, DAYS, Hours, Span, clock_text

HolidayName = Callable[[str, date], str]
"""Name of the holiday that a calendar (``FR``) has on a date; empty: none."""

SEARCH_DAYS: Final = 400
"""How far ahead a change is looked for: hours whose only slot is a special day may change once a year."""
_DAY_S: Final = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalClock:
    """What a clock in a zone shows at a moment, and which holidays concern it."""

    zone: str
    date: str
    """``2027-03-28``."""
    second: int
    """Seconds after midnight that the clock shows."""
    holiday: str = ""
    """Holiday of this date, by the calendars of the hours; empty: none."""
    holiday_before: str = ""
    """Holiday of the date before: a slot of that day may run over midnight."""

    def __str__(self) -> str:
        day = DAYS[date.fromisoformat(self.date).weekday()]
        return f"{day} {self.date} {clock_text(self.second // 60)} {self.zone}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether hours are on at a moment, with the words why."""

    on: bool
    why: str


def no_holidays(calendar: str, day: date) -> str:
    """A `HolidayName` for hours without calendars."""
    return ""


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name.  Raises ValueError for any other text."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write one like Europe/Paris") from None


def read_clock(hours: Hours, now: float, holiday_of: HolidayName = no_holidays) -> LocalClock:
    """The clock in the zone of the hours at ``now`` (Unix seconds).  Raises ValueError for an unknown zone."""
    shown = datetime.fromtimestamp(now, zone_of(hours.zone))
    today = shown.date()
    before = today - timedelta(days=1)
    return LocalClock(
        zone=hours.zone,
        date=today.isoformat(),
        second=shown.hour * 3600 + shown.minute * 60 + shown.second,
        holiday=_holiday(hours, today, holiday_of),
        holiday_before=_holiday(hours, before, holiday_of),
    )


def judge(hours: Hours, clock: LocalClock) -> Verdict:
    """Whether the hours are on when the clock shows this.  Total."""
    today = date.fromisoformat(clock.date)
    before = today - timedelta(days=1)
    minute = clock.second / 60
    for span in _spans(hours, today, clock.holiday):
        if span.start <= minute < span.start + span.minutes:
            return Verdict(on=True, why=f"{clock} is within {span}")
    for span in _spans(hours, before, clock.holiday_before):
        if span.passes_midnight and minute + DAY_MINUTES < span.start + span.minutes:
            return Verdict(on=True, why=f"{clock} is within {span} of {DAYS[before.weekday()]}")
    special = next((day for day in hours.special if day.date == clock.date), None)
    if special is not None:
        named = f" ({special.name})" if special.name else ""
        return Verdict(on=False, why=f"{clock}: a day of its own{named}")
    if clock.holiday:
        return Verdict(on=False, why=f"{clock}: holiday, {clock.holiday}")
    return Verdict(on=False, why=f"{clock} is within no slot")


def is_on(hours: Hours, now: float, holiday_of: HolidayName = no_holidays) -> bool:
    """Whether the hours are on at ``now`` (Unix seconds)."""
    return judge(hours, read_clock(hours, now, holiday_of)).on


def next_change(hours: Hours, now: float, holiday_of: HolidayName = no_holidays) -> float | None:
    """Unix seconds of the first moment after ``now`` at which on becomes off or off on.

    None if that does not happen within `SEARCH_DAYS`.
    """
    state = is_on(hours, now, holiday_of)
    zone = zone_of(hours.zone)
    for begin in (now + offset * _DAY_S for offset in range(SEARCH_DAYS)):
        # moments that fall into a day's length come from its own dates, the one before, and a slot over midnight
        first = datetime.fromtimestamp(begin, zone).date() - timedelta(days=2)
        moments: set[float] = set()
        for days in range(5):
            moments.update(_moments(hours, first + timedelta(days=days), zone, holiday_of))
        for moment in sorted(moments):
            if begin < moment <= begin + _DAY_S and is_on(hours, moment, holiday_of) is not state:
                return moment
    return None


def _holiday(hours: Hours, day: date, holiday_of: HolidayName) -> str:
    for calendar in hours.holidays:
        name = holiday_of(calendar, day)
        if name:
            return name
    return ""


def _spans(hours: Hours, day: date, holiday: str) -> Iterator[Span]:
    """Spans that begin on a day: its own if it is special, else none on a holiday, else the weekly ones."""
    text = day.isoformat()
    for special in hours.special:
        if special.date == text:
            yield from special.spans
            return
    if holiday:
        return
    weekday = day.weekday()
    for slot in hours.slots:
        if weekday in slot.days:
            yield slot.span


def _moments(hours: Hours, day: date, zone: tzinfo, holiday_of: HolidayName) -> Iterator[float]:
    """Moments at which a local day, with what of it runs over midnight, may change the state."""
    midnight = datetime.combine(day, time(), zone)
    for span in _spans(hours, day, _holiday(hours, day, holiday_of)):
        for minutes in (span.start, span.start + span.minutes):
            # Adding to a local time adds on the wall clock.  An hour that comes twice gives two moments; a missing
            # one gives moments beside the jump, which do no harm.
            shown = midnight + timedelta(minutes=minutes)
            yield shown.timestamp()
            yield shown.replace(fold=1).timestamp()
    yield from _jump(int(midnight.timestamp()), zone)


def _jump(begin: int, zone: tzinfo) -> Iterator[float]:
    """The moment within a day after ``begin`` at which the clock is put on or back, to the second."""
    low, high = begin, begin + _DAY_S
    if _offset(low, zone) == _offset(high, zone):
        return
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(middle, zone) == _offset(low, zone):
            low = middle
        else:
            high = middle
    yield float(high)


def _offset(moment: int, zone: tzinfo) -> timedelta:
    return datetime.fromtimestamp(moment, zone).utcoffset() or timedelta()
