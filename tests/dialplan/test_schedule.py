"""Hours by the wall clock: half-open slots, midnight, missing and repeated hours, holidays, next change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialplan.schedule import LocalClock, is_on, judge, next_change, read_clock, zone_of
from numbering.hours import DAY_MINUTES, Hours, Span, SpecialDay, WeeklySlot, read_time

PARIS = "Europe/Paris"
EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)
WEEK = (0, 1, 2, 3, 4)


def span(start: str, end: str) -> Span:
    return Span(start=read_time(start), end=read_time(end))


def hours(start: str, end: str, days: tuple[int, ...] = EVERY_DAY, zone: str = PARIS) -> Hours:
    return Hours(zone=zone, slots=(WeeklySlot(days=days, span=span(start, end)),))


def at(text: str, zone: str = PARIS, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.rule("SLOT-01", "GRT-05")
@pytest.mark.parametrize(
    ("moment", "on"),
    [
        ("2026-11-23T08:29:59", False),
        ("2026-11-23T08:30:00", True),
        ("2026-11-23T18:59:59", True),
        ("2026-11-23T19:00:00", False),
        ("2026-11-22T12:00:00", False),  # a Sunday
    ],
)
def test_slots_are_half_open(moment: str, on: bool) -> None:
    assert is_on(hours("08:30", "19:00", WEEK), at(moment)) is on


@pytest.mark.rule("GRT-05")
@pytest.mark.parametrize(
    ("moment", "on"),
    [
        ("2026-11-27T21:59:59", False),
        ("2026-11-27T22:00:00", True),
        ("2026-11-28T00:00:00", True),  # Saturday, in the slot of Friday
        ("2026-11-28T05:59:59", True),
        ("2026-11-28T06:00:00", False),
        ("2026-11-28T22:30:00", False),
        ("2026-11-23T03:00:00", False),  # Monday: Sunday has no slot
    ],
)
def test_a_slot_over_midnight_belongs_to_the_day_on_which_it_begins(moment: str, on: bool) -> None:
    assert is_on(hours("22:00", "06:00", WEEK), at(moment)) is on


@pytest.mark.rule("GRT-05")
@pytest.mark.parametrize("end", ["24:00", "00:00"])
def test_a_slot_may_end_at_midnight(end: str) -> None:
    evening = hours("18:00", end, (0,))
    assert is_on(evening, at("2026-11-23T23:59:59"))
    assert not is_on(evening, at("2026-11-24T00:00:00"))


@pytest.mark.rule("GRT-05")
def test_a_whole_day_and_two_days_without_a_gap() -> None:
    always = hours("00:00", "24:00")
    assert all(
        is_on(always, at("2026-11-22T00:00:00") + minute * 60) for minute in range(0, 2 * DAY_MINUTES, 7)
    )
    assert next_change(always, at("2026-11-22T00:00:00")) is None


@pytest.mark.rule("GRT-05")
def test_the_week_begins_where_the_zone_is() -> None:
    """Sunday 23:30 UTC is Monday in Paris and Sunday in New York."""
    moment = utc("2026-11-22T23:30:00")
    assert is_on(hours("00:00", "24:00", (0,), PARIS), moment)
    assert not is_on(hours("00:00", "24:00", (0,), "America/New_York"), moment)


class TestMissingHour:
    """Paris, 28 March 2027: the clock goes from 02:00 to 03:00 at 01:00 UTC."""

    @pytest.mark.rule("GRT-05", "SLOT-01")
    def test_a_slot_within_the_missing_hour_does_not_happen(self) -> None:
        night = hours("02:15", "02:45")
        start = utc("2027-03-27T23:00:00")
        assert not any(is_on(night, start + minute * 60) for minute in range(6 * 60))

    @pytest.mark.rule("GRT-05", "SLOT-01")
    def test_a_slot_that_begins_in_it_begins_when_the_clock_has_jumped(self) -> None:
        night = hours("02:30", "05:00")
        assert not is_on(night, utc("2027-03-28T00:59:59"))
        assert is_on(night, utc("2027-03-28T01:00:00"))
        assert next_change(night, utc("2027-03-28T00:30:00")) == utc("2027-03-28T01:00:00")

    @pytest.mark.rule("GRT-05", "SLOT-01")
    def test_a_slot_that_ends_in_it_ends_with_the_jump(self) -> None:
        night = hours("01:00", "02:30")
        assert is_on(night, utc("2027-03-28T00:59:59"))
        assert not is_on(night, utc("2027-03-28T01:00:00"))
        assert next_change(night, utc("2027-03-28T00:30:00")) == utc("2027-03-28T01:00:00")

    @pytest.mark.rule("GRT-05", "SLOT-01")
    def test_a_slot_across_it_is_an_hour_shorter(self) -> None:
        night = hours("22:00", "06:00")
        assert next_change(night, utc("2027-03-27T21:00:00")) == utc("2027-03-28T04:00:00")


class TestRepeatedHour:
    """Paris, 31 October 2027: the clock goes from 03:00 back to 02:00 at 01:00 UTC."""

    @pytest.mark.rule("GRT-05", "SLOT-01")
    def test_what_is_on_during_it_is_on_both_times(self) -> None:
        night = hours("02:15", "02:45")
        on = [is_on(night, utc(f"2027-10-31T{hour:02d}:30:00")) for hour in range(4)]
        assert on == [True, True, False, False]

    @pytest.mark.rule("GRT-05", "SLOT-01")
    def test_a_slot_that_ends_in_it_ends_twice(self) -> None:
        night = hours("01:00", "02:30")
        changes = []
        moment = utc("2027-10-30T22:30:00")
        while (change := next_change(night, moment)) is not None and change < utc("2027-10-31T12:00:00"):
            changes.append(datetime.fromtimestamp(change, UTC).strftime("%H:%M"))
            moment = change
        assert changes == ["23:00", "00:30", "01:00", "01:30"]


class TestHolidays:
    office = Hours(
        zone=PARIS,
        slots=(WeeklySlot(days=WEEK, span=span("09:00", "18:00")),),
        holidays=("FR",),
        special=(
            SpecialDay(date="2026-12-24", spans=(span("09:00", "12:00"),), name="half day"),
            SpecialDay(date="2026-05-01", spans=(span("10:00", "11:00"),)),
            SpecialDay(date="2026-11-24", name="move"),
        ),
    )

    @staticmethod
    def named(calendar: str, day: date) -> str:
        days = {"2026-12-25": "Noël", "2026-05-01": "Fête du Travail"}
        return days.get(day.isoformat(), "") if calendar == "FR" else ""

    @pytest.mark.rule("GRT-05")
    @pytest.mark.parametrize(
        ("moment", "on", "why"),
        [
            ("2026-12-25T10:00:00", False, "holiday, Noël"),
            ("2026-12-24T10:00:00", True, "09:00-12:00"),
            ("2026-12-24T14:00:00", False, "half day"),
            ("2026-05-01T10:30:00", True, "10:00-11:00"),  # own hours win over the holiday
            ("2026-11-24T10:00:00", False, "move"),
            ("2026-11-25T10:00:00", True, "09:00-18:00"),
        ],
    )
    def test_own_days_before_holidays_before_the_week(self, moment: str, on: bool, why: str) -> None:
        verdict = judge(self.office, read_clock(self.office, at(moment), self.named))
        assert verdict.on is on
        assert why in verdict.why

    @pytest.mark.rule("GRT-05")
    def test_a_shift_that_began_before_the_holiday_goes_on_to_its_end(self) -> None:
        night = Hours(
            zone=PARIS, slots=(WeeklySlot(days=EVERY_DAY, span=span("22:00", "06:00")),), holidays=("FR",)
        )
        assert is_on(night, at("2026-12-25T05:00:00"), self.named)
        assert not is_on(night, at("2026-12-25T23:00:00"), self.named)
        assert not is_on(night, at("2026-12-26T05:00:00"), self.named)
        assert next_change(night, at("2026-12-25T07:00:00"), self.named) == at("2026-12-26T22:00:00")

    @pytest.mark.rule("GRT-05")
    def test_a_change_of_only_one_day_a_year_is_found(self) -> None:
        once = Hours(zone=PARIS, special=(SpecialDay(date="2027-09-01", spans=(span("10:00", "11:00"),)),))
        assert next_change(once, at("2026-11-22T00:00:00")) == at("2027-09-01T10:00:00")
        assert next_change(once, at("2027-09-02T00:00:00")) is None


def test_a_stored_clock_decides_without_the_zone() -> None:
    """Whatever becomes of the rules of a zone, the facts of a call give the same verdict."""
    clock = LocalClock(zone="Nowhere/Gone", date="2026-11-23", second=9 * 3600)
    assert judge(hours("08:30", "19:00", WEEK, "Nowhere/Gone"), clock).on


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "Europe/Paris\0", "UTC+2"])
def test_unknown_zones_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        zone_of(name)


@pytest.mark.parametrize("text", ["", "8:30", "24:01", "25:00", "08:60", "08:30 ", "08.30", "٠٨:٣٠"])
def test_unreadable_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time of day"):
        read_time(text)


ZONES = st.sampled_from(
    [
        PARIS,
        "America/New_York",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "America/Havana",
        "Africa/Cairo",
        "UTC",
    ]
)
SPANS = st.builds(Span, start=st.integers(0, DAY_MINUTES - 1), end=st.integers(0, DAY_MINUTES))
SLOTS = st.builds(
    WeeklySlot,
    days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    span=SPANS,
)
HOURS = st.builds(Hours, zone=ZONES, slots=st.lists(SLOTS, max_size=4).map(tuple))
CLOCK_CHANGES = st.sampled_from(
    [
        datetime(2027, 3, 28, tzinfo=UTC),
        datetime(2027, 10, 31, tzinfo=UTC),
        datetime(2027, 3, 14, tzinfo=UTC),
        datetime(2027, 11, 7, tzinfo=UTC),
        datetime(2027, 4, 4, tzinfo=UTC),
        datetime(2027, 6, 15, tzinfo=UTC),
    ]
)


@pytest.mark.rule("GRT-05", "SLOT-01")
@settings(max_examples=60, deadline=None)
@given(HOURS, CLOCK_CHANGES, st.integers(0, 2 * DAY_MINUTES))
def test_the_next_change_is_the_first_one_that_watching_the_clock_would_see(
    some: Hours, day: datetime, minutes: int
) -> None:
    now = (day - timedelta(days=1) + timedelta(minutes=minutes)).timestamp()
    found = next_change(some, now)
    state = is_on(some, now)
    watched = None
    for minute in range(1, 2 * DAY_MINUTES):
        moment = now - now % 60 + minute * 60
        if is_on(some, moment) is not state:
            watched = moment
            break
    if watched is not None:
        assert found == watched
    else:
        assert found is None or found > now + (2 * DAY_MINUTES - 1) * 60


@settings(max_examples=100, deadline=None)
@given(HOURS, st.floats(0, 4e9))
def test_every_moment_has_a_verdict_with_words(some: Hours, now: float) -> None:
    verdict = judge(some, read_clock(some, now))
    assert verdict.why
    assert verdict.on is is_on(some, now)
