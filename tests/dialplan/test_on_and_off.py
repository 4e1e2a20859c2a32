"""Numbers that are on and off by switch and hours, in nights whose clock jumps, on weekends and holidays (INC-03)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts, Limits
from dialplan.plan import VOICEMAIL, Ring, ToMedia
from dialplan.schedule import read_clock
from numbering.hours import Hours, Span, SpecialDay, WeeklySlot
from tests.dialplan.cases import ANA, FROM_CARRIER, number, refused

URI = "sip:voicemail@media.example"
PARIS = "Europe/Paris"
EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)


def span(start: str, end: str) -> Span:
    minutes = [60 * int(text[:2]) + int(text[3:]) for text in (start, end)]
    return Span(start=minutes[0], end=minutes[1])


def weekly(start: str, end: str, days: tuple[int, ...] = EVERY_DAY, zone: str = PARIS) -> Hours:
    return Hours(zone=zone, slots=(WeeklySlot(days=days, span=span(start, end)),))


def named(calendar: str, day: date) -> str:
    return "Noël" if (day.month, day.day) == (12, 25) else ""


def at(moment: str, hours: Hours, facts: CallFacts = FROM_CARRIER) -> CallFacts:
    """A call at a moment, in UTC, to a number with these hours."""
    now = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    return replace(number(facts, hours=hours), now=now, clock=read_clock(hours, now, named))


def is_on(facts: CallFacts) -> bool:
    decision = evaluate(facts)
    if isinstance(decision.plan.steps[0], Ring):
        return True
    assert refused(decision) == ("INC-03", reasons.NUMBER_OFF)
    return False


@pytest.mark.rule("INC-03", "SLOT-01")
@pytest.mark.parametrize(
    ("hours", "moment", "on"),
    [
        # clocks go from 02:00 to 03:00 at 01:00 UTC
        (weekly("02:00", "03:00"), "2027-03-28T00:59:59", False),
        (weekly("02:00", "03:00"), "2027-03-28T01:00:00", False),
        (weekly("02:15", "04:00"), "2027-03-28T01:00:00", True),
        (weekly("01:00", "02:30"), "2027-03-28T00:59:59", True),
        (weekly("01:00", "02:30"), "2027-03-28T01:00:00", False),
        # 02:00 to 03:00 comes twice, from 00:00 and from 01:00 UTC
        (weekly("02:15", "02:45"), "2027-10-31T00:30:00", True),
        (weekly("02:15", "02:45"), "2027-10-31T00:50:00", False),
        (weekly("02:15", "02:45"), "2027-10-31T01:30:00", True),
        (weekly("02:15", "02:45"), "2027-10-31T01:50:00", False),
        # a shift that ends at midnight, and one that runs over it
        (weekly("16:00", "24:00"), "2027-06-01T21:59:59", True),
        (weekly("16:00", "24:00"), "2027-06-01T22:00:00", False),
        (weekly("22:00", "06:00", (4,)), "2027-06-04T23:00:00", True),  # Friday's, early on Saturday
        (weekly("22:00", "06:00", (4,)), "2027-06-05T23:00:00", False),  # early on Sunday
        # Friday evening in New York is Saturday in Paris
        (weekly("00:00", "24:00", (5,), PARIS), "2027-06-04T22:30:00", True),
        (weekly("00:00", "24:00", (5,), "America/New_York"), "2027-06-04T22:30:00", False),
        (weekly("00:00", "24:00", (5,), "America/New_York"), "2027-06-06T03:30:00", True),
    ],
)
def test_the_clock_on_the_wall_decides(hours: Hours, moment: str, on: bool) -> None:
    assert is_on(at(moment, hours)) is on


@pytest.mark.rule("INC-03", "SLOT-01")
def test_a_holiday_closes_and_a_day_of_its_own_goes_before_it() -> None:
    office = replace(weekly("22:00", "06:00"), holidays=("FR",))
    assert is_on(at("2026-12-25T04:00:00", office))  # the shift of the 24th goes on to its end
    assert not is_on(at("2026-12-25T22:00:00", office))
    assert not is_on(at("2026-12-26T04:00:00", office))
    assert is_on(at("2026-12-26T22:00:00", office))
    own = replace(office, special=(SpecialDay(date="2026-12-25", spans=(span("09:00", "12:00"),)),))
    assert is_on(at("2026-12-25T09:00:00", own))


@pytest.mark.rule("INC-03", "SLOT-01")
def test_the_trace_says_what_the_clock_shows() -> None:
    on = evaluate(at("2027-06-01T08:00:00", weekly("09:00", "18:00")))
    lines = {line.rule: line.detail for line in on.trace}
    assert lines["INC-03"] == "the number is on: tue 2027-06-01 10:00 Europe/Paris is within 09:00-18:00"
    off = evaluate(at("2027-06-01T18:00:00", weekly("09:00", "18:00")))
    assert off.trace[-1].detail == (
        "the number is off by its hours: tue 2027-06-01 20:00 Europe/Paris is within no slot; voicemail is off"
    )


@pytest.mark.rule("INC-03")
def test_a_clock_that_cannot_be_read_turns_nobody_away() -> None:
    decision = evaluate(number(FROM_CARRIER, hours=weekly("09:00", "18:00", zone="Mars/Olympus")))
    assert isinstance(decision.plan.steps[0], Ring)
    assert "the time in Mars/Olympus cannot be told" in [line.detail for line in decision.trace][3]


@pytest.mark.rule("INC-03")
@pytest.mark.parametrize("way", ["switch", "hours"])
def test_voicemail_answers_for_a_number_that_is_off(way: str) -> None:
    facts = (
        number(FROM_CARRIER, calls=False)
        if way == "switch"
        else at("2027-06-01T18:00:00", weekly("09:00", "18:00"))
    )
    facts = number(facts, voicemail=True)
    without = evaluate(facts)
    assert refused(without) == ("INC-03", reasons.NUMBER_OFF)
    assert without.trace[-1].detail.endswith("; voicemail is on, but there is no voicemail server")
    decision = evaluate(replace(facts, limits=Limits(voicemail_uri=URI)))
    assert decision.plan.steps == (ToMedia(kind=VOICEMAIL, uri=URI, number=ANA),)
    assert (decision.trace[-1].rule, decision.trace[-1].outcome) == ("INC-03", "voicemail")
