"""The moment that somebody asks about: ``2027-03-28T02:30`` by the clock of a place, or with its offset.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from dialplan.schedule import zone_of

_YEARS: Final = range(1970, 9999)
"""A rehearsal reckons with days before and after its moment, which have to be days of the calendar in every zone."""


class MomentError(ValueError):
    """The text is no moment; the message says what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment, and what has to be said about how it was read."""

    at: float
    """Unix seconds."""
    note: str = ""
    """A wall-clock time that does not exist, or exists twice; empty: nothing odd about it."""


def read_moment(text: str, zone: str) -> Moment:
    """Read ``text`` (RFC 3339; without offset it is what a clock in ``zone`` shows).  Raises MomentError.

    A time that the clocks skip is read as if they had not been put on yet, which shows one hour later; of a time that comes
    twice the first is taken, since only an offset can name the other.
    """
    try:
        read = datetime.fromisoformat(text.strip().replace(" ", "T", 1))
    except ValueError:
        raise MomentError(
            f"{text!r} is no moment; write 2027-03-28T02:30, or with an offset 2027-03-28T02:30+01:00"
        ) from None
    if read.year not in _YEARS:
        raise MomentError(f"{text!r}: the year is from {_YEARS[0]} to {_YEARS[-1]}")
    try:
        if read.tzinfo is not None:
            return Moment(at=read.timestamp())
        return _local(read, zone)
    except (OverflowError, OSError, ValueError) as error:
        raise MomentError(f"{text!r} cannot be told in {zone}: {error}") from None


def _local(read: datetime, zone: str) -> Moment:
    place = zone_of(zone)
    first = read.replace(tzinfo=place)
    shown = first.astimezone(UTC).astimezone(place)
    if shown.replace(tzinfo=None) != read:
        note = (
            f"{read:%H:%M} does not exist on {read:%Y-%m-%d} in {zone}: the clocks are put on; "
            f"it is read as {shown:%H:%M}"
        )
        return Moment(at=first.timestamp(), note=note)
    again = first.replace(fold=1)
    if again.utcoffset() != first.utcoffset():
        note = (
            f"{read:%H:%M} comes twice on {read:%Y-%m-%d} in {zone}: the first is taken; "
            f"for the second write {read:%Y-%m-%dT%H:%M}{_offset(again.utcoffset())}"
        )
        return Moment(at=first.timestamp(), note=note)
    return Moment(at=first.timestamp())


def _offset(offset: timedelta | None) -> str:
    """``+01:00``."""
    return datetime(2000, 1, 1, tzinfo=timezone(offset or timedelta())).isoformat()[19:]


def clock_at(at: float, zone: str) -> str:
    """``Sunday 2027-03-28 03:30 in Europe/Paris (2027-03-28T01:30:00Z)``."""
    shown = datetime.fromtimestamp(at, zone_of(zone))
    exact = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"{_DAYS[shown.weekday()]} {shown:%Y-%m-%d %H:%M} in {zone} ({exact})"


_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
