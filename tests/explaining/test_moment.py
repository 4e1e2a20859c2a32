"""Moments as people write them, hours that do not exist and hours that come twice included."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.explaining.moment import MomentError, clock_at, read_moment

PARIS = "Europe/Paris"


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.rule("OPS-02")
@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2027-01-15T09:00", "2027-01-15T08:00"),
        ("2027-01-15 09:00", "2027-01-15T08:00"),
        ("2027-07-15T09:00:30", "2027-07-15T07:00:30"),
        ("2027-03-28T02:30+01:00", "2027-03-28T01:30"),
        ("2027-03-28T02:30Z", "2027-03-28T02:30"),
        ("2027-01-15", "2027-01-14T23:00"),
    ],
)
def test_without_an_offset_it_is_what_the_clock_shows(text: str, at: str) -> None:
    moment = read_moment(text, PARIS)
    assert (moment.at, moment.note) == (utc(at), "")


@pytest.mark.rule("OPS-02")
def test_an_hour_that_does_not_exist_is_read_as_the_clock_then_shows() -> None:
    moment = read_moment("2027-03-28T02:30", PARIS)
    assert moment.at == utc("2027-03-28T01:30")
    assert moment.note == (
        "02:30 does not exist on 2027-03-28 in Europe/Paris: the clocks are put on; it is read as 03:30"
    )
    assert clock_at(moment.at, PARIS) == "Sunday 2027-03-28 03:30 in Europe/Paris (2027-03-28T01:30:00Z)"


@pytest.mark.rule("OPS-02")
def test_of_an_hour_that_comes_twice_the_first_is_taken() -> None:
    moment = read_moment("2027-10-31T02:30", PARIS)
    assert moment.at == utc("2027-10-31T00:30")
    assert moment.note.endswith("the first is taken; for the second write 2027-10-31T02:30+01:00")
    assert read_moment("2027-10-31T02:30+01:00", PARIS).at == utc("2027-10-31T01:30")


@pytest.mark.parametrize("text", ["", "tomorrow", "2027-13-01T00:00", "2027-03-28T25:00", "1"])
def test_what_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(MomentError, match="write 2027-03-28T02:30"):
        read_moment(text, PARIS)


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00", "0001-01-01T00:00Z", "1969-12-31T23:59", "9999-01-01T00:00", "9999-12-31T23:59:59Z"],
)
def test_moments_at_the_ends_of_time_are_refused(text: str) -> None:
    with pytest.raises(MomentError, match="the year is from 1970 to 9998"):
        read_moment(text, PARIS)


@pytest.mark.parametrize("text", ["1970-01-01T00:00", "9998-12-31T23:59", "9998-12-31T23:59-23:59"])
@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles", "UTC"])
def test_the_first_and_the_last_moment_can_be_shown_everywhere(text: str, zone: str) -> None:
    assert clock_at(read_moment(text, zone).at, zone)


@given(
    st.integers(int(utc("2020-01-01T00:00")) // 60, int(utc("2035-01-01T00:00")) // 60),
    st.sampled_from([PARIS, "Europe/London", "America/New_York", "Australia/Lord_Howe", "UTC"]),
)
def test_a_moment_without_a_note_is_what_the_clock_shows(minute: int, zone: str) -> None:
    text = datetime.fromtimestamp(minute * 60, UTC).replace(tzinfo=None).isoformat(timespec="minutes")
    moment = read_moment(text, zone)
    assert (text.replace("T", " ") in clock_at(moment.at, zone)) != ("does not exist" in moment.note)
