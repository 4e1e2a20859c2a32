"""Public holidays by calendar: a country (``FR``), or a country and a part of it (``FR-57``, ``DE-BY``).

The dates come from the ``holidays`` library, which works them out for any year; names are in the country's own
language, whatever the language of the machine, so that every node tells the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

import holidays

_COUNTRY_LETTERS: Final = 2


def holiday_name(calendar: str, day: date) -> str:
    """Name of the holiday that a calendar has on a date; empty: none.

    Raises ValueError, with a hint, for a calendar that nobody knows.
    """
    return _year(calendar, day.year).get(day, "")


def check_calendar(calendar: str) -> None:
    """Raises ValueError, with a hint, for a calendar that nobody knows."""
    country, _, part = calendar.partition("-")
    countries = _countries()
    if country not in countries:
        raise ValueError(
            f"{calendar!r} is no calendar of holidays; write a country like FR, or DE-BY{_near(country)}"
        )
    parts = countries[country]
    if "-" in calendar and part not in parts:
        known = f"{country} has {', '.join(parts)}" if parts else f"{country} has no parts: write {country}"
        raise ValueError(f"{calendar!r} is no calendar of holidays; {known}")


def _near(country: str) -> str:
    near = get_close_matches(country.upper(), _countries(), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


@lru_cache(maxsize=1)
def _countries() -> Mapping[str, list[str]]:
    """Countries and their parts."""
    return holidays.list_supported_countries(include_aliases=False)


@lru_cache(maxsize=4096)
def _year(calendar: str, year: int) -> Mapping[date, str]:
    """Holidays of one year.  Loads the rules of this country alone: it may be a call that waits for them."""
    country, dash, part = calendar.partition("-")
    if len(country) != _COUNTRY_LETTERS or not country.isupper():
        check_calendar(calendar)
    try:
        found = holidays.country_holidays(country, subdiv=part if dash else None)
    except NotImplementedError:
        found = None
    if found is None or (dash and part not in found.subdivisions):
        check_calendar(calendar)
        raise ValueError(f"{calendar!r} is no calendar of holidays")
    language = found.default_language
    return dict(
        holidays.country_holidays(country, subdiv=part or None, years=year, language=language).items()
    )
