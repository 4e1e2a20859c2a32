"""Calendars of holidays, and what their names look like in documents."""

from __future__ import annotations

from datetime import date

import pytest

from dialplan.schedule import is_on, next_change
from numbering.holidays import check_calendar, holiday_name
from numbering.hours import Hours, Span, WeeklySlot

OFFICE = Hours(
    zone="Europe/Paris",
    slots=(WeeklySlot(days=(0, 1, 2, 3, 4), span=Span(start=9 * 60, end=18 * 60)),),
    holidays=("FR",),
)


@pytest.mark.rule("GRT-05")
@pytest.mark.parametrize(
    ("calendar", "day", "name"),
    [
        ("FR", "2026-12-25", "Noël"),
        ("FR", "2027-05-17", "Lundi de Pentecôte"),
        ("FR", "2027-05-18", ""),
        ("FR", "2026-12-26", ""),
        ("FR-57", "2026-12-26", "Saint-Étienne"),
        ("DE-BY", "2027-01-06", "Heilige Drei Könige"),
        ("DE", "2027-01-06", ""),
        ("GB", "2026-12-28", "Boxing Day (observed)"),
    ],
)
def test_a_calendar_names_its_days_in_its_own_language(calendar: str, day: str, name: str) -> None:
    assert holiday_name(calendar, date.fromisoformat(day)) == name


@pytest.mark.parametrize(
    ("calendar", "hint"),
    [
        ("", "write a country like FR"),
        ("fr", "did you mean FR"),
        ("XX", "write a country like FR"),
        ("FR-IDF", "FR has 57, 6AE"),
        ("FR-", "FR has 57, 6AE"),
        ("PM-1", "PM has no parts: write PM"),
        ("Zone A", "write a country like FR"),
    ],
)
def test_a_calendar_that_is_not_known_is_refused_with_a_hint(calendar: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        holiday_name(calendar, date(2026, 1, 1))
    with pytest.raises(ValueError, match=hint):
        check_calendar(calendar)


@pytest.mark.rule("GRT-05")
def test_hours_follow_the_calendar() -> None:
    # Friday 25 December 2026 is a holiday; the office opens again on Monday
    closed = 1798189200.0  # 2026-12-25T09:00:00Z
    assert not is_on(OFFICE, closed, holiday_name)
    assert is_on(OFFICE, closed - 86400, holiday_name)
    assert next_change(OFFICE, closed, holiday_name) == 1798444800.0  # 2026-12-28T08:00:00Z
