"""What law and we ask of the numbers of a country: quarantine, capabilities, porting.  Pure.

The figures stand in ``numbering/policy/countries.toml`` with their sources; `numbering.policy` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from numbering.plans import Source

DAY_S: Final = 86_400.0
HOUR_S: Final = 3_600.0

CALLS: Final = "calls"
MESSAGES: Final = "messages"
VOICEMAIL: Final = "voicemail"
CAPABILITIES: Final = (CALLS, MESSAGES, VOICEMAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """How long a number rests between two holders (NUM-05), days."""

    floor: int
    """Law, or policy where there is none, wants at least so many."""
    days: int
    ceiling: int
    """And at most so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortInRules:
    """How numbers come to us (NUM-10)."""

    lead_working_days: int
    """Working days (Monday to Saturday without holidays) between the request and the port."""
    latest_days: int
    """How far ahead a date may be wished, days."""
    confirm_hours: float
    """How long the line has to answer our message."""
    cancel_hours: float
    """Until how long before the port it can be cancelled."""
    hour: int
    """Local time of day when the number passes."""
    holidays: tuple[str, ...]
    """``MM-DD``, or ``easter+N``: N days after Easter Sunday."""
    question: str
    """What the line is asked, with ``{company}``, ``{number}`` and ``{date}``."""
    yes: frozenset[str]
    no: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountryRules:
    """Rules for the numbers of one country."""

    country: str
    """ISO 3166 alpha-2; empty: all that have no rules of their own."""
    zone: str
    """IANA time zone in which its days are counted."""
    quarantine: Quarantine
    capabilities: tuple[str, ...]
    portable_days: int = 0
    """Days after the end of a contract during which the line may still leave."""
    rio_service: str = ""
    """Short number on which a line learns its RIO (NUM-11); empty: the country has no RIO."""
    greeting_numbers: tuple[str, ...] = ()
    """Beginnings of the national numbers that a Greeting may have (GRT-07); empty: any."""
    port_in: PortInRules | None = None
    """None: numbers of the country cannot come to us."""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Countries:
    """The rules of all countries."""

    checked: date
    default: CountryRules
    by_country: Mapping[str, CountryRules] = field(default_factory=dict)

    def of(self, country: str) -> CountryRules:
        """Rules for numbers of a country (ISO 3166 alpha-2, may be empty)."""
        return self.by_country.get(country, self.default)


def quarantine_end(rules: CountryRules, start: float, days: int = 0) -> float:
    """When a quarantine that begins at ``start`` (unix time) ends.

    ``days``: instead of the country's own figure; 0: that.  Whatever is asked for, the end lies within the
    bounds, both by the calendar of the country and by the length of days: days of 23 and 25 hours make
    neither too short nor too long.
    """
    period = rules.quarantine
    wanted = min(max(days or period.days, period.floor), period.ceiling)
    earliest = max(start + wanted * DAY_S, _same_time(rules, start, wanted))
    latest = min(start + period.ceiling * DAY_S, _same_time(rules, start, period.ceiling))
    return min(earliest, latest)


def _same_time(rules: CountryRules, start: float, days: int) -> float:
    """The same time of day so many days later by the wall clock of the country."""
    local = datetime.fromtimestamp(start, ZoneInfo(rules.zone))
    return (local + timedelta(days=days)).timestamp()


def portable_until(rules: CountryRules, ended: float) -> float:
    """Until when a line whose contract ended at ``ended`` (unix time) may still leave."""
    return _same_time(rules, ended, rules.portable_days)


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (the algorithm of Meeus, Jones and Butcher)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (a + 11 * h) // 319
    r = (2 * e + 2 * i - k - h + m + 32) % 7
    month = (h - m + r + 90) // 25
    return date(year, month, (h - m + r + month + 19) % 32)


def holidays(rules: PortInRules, year: int) -> frozenset[date]:
    """Public holidays of a year."""
    found: set[date] = set()
    for entry in rules.holidays:
        if entry.startswith("easter"):
            found.add(easter(year) + timedelta(days=int(entry.removeprefix("easter"))))
        else:
            month, _, day = entry.partition("-")
            found.add(date(year, int(month), int(day)))
    return frozenset(found)


def is_working_day(rules: PortInRules, day: date) -> bool:
    """Monday to Saturday, and no holiday."""
    return day.isoweekday() < 7 and day not in holidays(rules, day.year)


def local_day(rules: CountryRules, at: float) -> date:
    """The day in the country at a moment."""
    return datetime.fromtimestamp(at, ZoneInfo(rules.zone)).date()


def port_moment(rules: CountryRules, port_in: PortInRules, day: date) -> float:
    """Unix time when numbers pass on a day."""
    local = datetime(day.year, day.month, day.day, port_in.hour, tzinfo=ZoneInfo(rules.zone))
    return local.astimezone(UTC).timestamp()


def earliest_port(rules: CountryRules, port_in: PortInRules, now: float) -> date:
    """The first day for which a port that is asked for now may be wished."""
    day, left = local_day(rules, now), port_in.lead_working_days
    while left > 0:
        day += timedelta(days=1)
        if is_working_day(port_in, day):
            left -= 1
    return day


def latest_port(rules: CountryRules, port_in: PortInRules, now: float) -> date:
    """The last such day."""
    return local_day(rules, now) + timedelta(days=port_in.latest_days)
