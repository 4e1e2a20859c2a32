"""Policies of countries: their file, working days, ports; and where a SIM is at home."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbering.countries import DAY_S, earliest_port, easter, holidays, is_working_day, local_day, port_moment
from numbering.e164 import country_of
from numbering.models import Device
from numbering.national import PLANS
from numbering.policy import COUNTRIES, PolicyError, parse_countries
from numbering.porting import LEGAL, OPEN, Port, PortState, moved, read_reply, rules_for, timed_ending
from numbering.refusal import Fault, Refused
from numbering.residence import is_national, sim_countries

FRANCE = COUNTRIES.of("FR")
PORT_IN = FRANCE.port_in
assert PORT_IN is not None
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC).timestamp()


@pytest.mark.rule("NUM-05")
def test_the_periods_of_the_law() -> None:
    france, states, rest = (COUNTRIES.of(c).quarantine for c in ("FR", "US", "BE"))
    assert (france.floor, france.ceiling) == (45, 120)
    assert (states.floor, states.ceiling) == (45, 90)
    assert (rest.floor, rest.ceiling) == (14, 60)
    assert COUNTRIES.of("RE").quarantine == france
    assert COUNTRIES.of("PR").quarantine == states
    assert COUNTRIES.of("ZZ") is COUNTRIES.default


@pytest.mark.rule("NUM-09")
def test_every_country_says_what_its_numbers_can_do_and_what_time_it_is() -> None:
    for plan in PLANS.all():
        rules = COUNTRIES.of(plan.country)
        assert rules is not COUNTRIES.default, plan.country
        assert "calls" in rules.capabilities
        assert rules.zone != "UTC"
    assert COUNTRIES.of("FR").capabilities == ("calls", "messages", "voicemail")
    assert COUNTRIES.of("PL").capabilities == ("calls", "voicemail")


def test_policies_are_dated_and_have_sources() -> None:
    assert COUNTRIES.checked <= date(2026, 11, 22)
    for rules in (COUNTRIES.default, FRANCE, COUNTRIES.of("US")):
        assert rules.sources
        assert all(source.date.year >= 2010 and source.seen for source in rules.sources)


def document() -> dict[str, Any]:
    text = resources.files("numbering.policy").joinpath("countries.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("checked",), "today", "checked: a date belongs here"),
        (("FR", "zone"), "Europe/Nowhere", r"FR\.zone: .* is no time zone"),
        (("FR", "quarantine"), {"floor": 45, "days": 44, "ceiling": 120}, "must not decrease"),
        (("FR", "quarantine"), {"floor": 45, "days": 46, "ceiling": 46}, "two days between"),
        (("FR", "quarantine"), {"floor": 45}, "floor, days and ceiling belong here"),
        (("FR", "capabilities"), ["fax"], "some of calls, messages, voicemail"),
        (("FR", "greeting_numbers"), ["07x"], r"FR\.greeting_numbers: digits belong here"),
        (("FR", "colour"), "blue", r"FR\.colour: unknown key"),
        (("france",), {}, "france: is not a country"),
        (("RE",), {"zone": "Indian/Reunion"}, "RE: has rules already"),
        (("FR", "port_in", "holidays"), ["14 juillet"], "is neither MM-DD nor easter"),
        (("FR", "port_in", "hour"), 25, "hour is 0 to 23"),
        (("FR", "port_in", "no"), ["yes"], "a word means yes and no"),
        (("FR", "port_in", "pigeon"), True, "is incomplete or has too much"),
        (("FR", "sources"), [{"title": "hearsay"}], "title, date, covers and seen"),
        (("default",), {"zone": "UTC", "capabilities": ["calls"]}, r"default\.quarantine: is missing"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused_by_key(
    path: tuple[str, ...], value: Any, complaint: str
) -> None:
    broken = document()
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(PolicyError, match=complaint):
        parse_countries(broken)


def test_easter_and_the_holidays_that_move_with_it() -> None:
    assert [easter(year) for year in (2024, 2025, 2026, 2027, 2038)] == [
        date(2024, 3, 31),
        date(2025, 4, 20),
        date(2026, 4, 5),
        date(2027, 3, 28),
        date(2038, 4, 25),
    ]
    assert PORT_IN is not None
    found = holidays(PORT_IN, 2026)
    assert len(found) == 11
    assert {date(2026, 4, 6), date(2026, 5, 14), date(2026, 5, 25), date(2026, 7, 14)} <= found


@pytest.mark.rule("NUM-10")
@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("2026-11-23T09:00:00+01:00", "2026-11-26"),  # Monday: Tuesday, Wednesday, Thursday
        ("2026-11-26T09:00:00+01:00", "2026-11-30"),  # Thursday: Friday, Saturday, Monday
        ("2026-12-22T23:30:00+00:00", "2026-12-28"),  # already Wednesday in Paris: Thursday, Saturday, Monday
        ("2027-05-05T09:00:00+02:00", "2027-05-11"),  # Ascension and 8 May
    ],
)
def test_three_working_days(asked: str, first: str) -> None:
    assert PORT_IN is not None
    assert str(earliest_port(FRANCE, PORT_IN, datetime.fromisoformat(asked).timestamp())) == first


@given(st.dates(date(2026, 1, 1), date(2040, 12, 31)))
def test_numbers_pass_at_the_hour_of_the_country(day: date) -> None:
    assert PORT_IN is not None
    at = port_moment(FRANCE, PORT_IN, day)
    assert local_day(FRANCE, at) == day
    assert (day.isoweekday() == 7) <= (not is_working_day(PORT_IN, day))


@pytest.mark.rule("NUM-10")
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("YES", True),
        (" oui. ", True),
        ("Oui, merci", True),
        ("o", True),
        ("No!", False),
        ("non merci", False),
        ("STOP", False),
        ("", None),
        ("peut-être", None),
        ("ouistiti", None),
    ],
)
def test_replies(text: str, answer: bool | None) -> None:
    assert PORT_IN is not None
    assert read_reply(text, PORT_IN) is answer


def port(state: PortState, **fields: Any) -> Port:
    values: dict[str, Any] = {
        "id": "p1",
        "direction": "in",
        "e164": "+33639981299",
        "user": "ana",
        "state": state,
        "port_at": NOW + DAY_S,
        "requested_at": NOW,
    }
    return Port(**{**values, **fields})


@pytest.mark.rule("NUM-10")
@pytest.mark.parametrize("before", PortState)
@pytest.mark.parametrize("after", PortState)
def test_each_step_of_a_port_is_legal_or_refused(before: PortState, after: PortState) -> None:
    if after in LEGAL[before]:
        done = moved(port(before), after, "other")
        assert (done.state, done.version) == (after, 2)
        assert before in OPEN
    else:
        with pytest.raises(Refused):
            moved(port(before), after, "other")


@pytest.mark.rule("NUM-10")
@pytest.mark.parametrize(
    "number", ["+33800000000", "+33899123456", "+337001234567890", "+447700900123", "+32470123456"]
)
def test_what_cannot_be_ported_to_us(number: str) -> None:
    with pytest.raises(Refused) as caught:
        rules_for(COUNTRIES.of(country_of(number)), number)
    assert caught.value.fault is Fault.NOT_PORTABLE
    assert rules_for(FRANCE, "+33199001234") is PORT_IN


def test_what_is_over_stays_over_and_what_is_open_ends_some_day() -> None:
    for state in PortState:
        late = port(state, port_at=NOW, confirm_by=NOW)
        ending = timed_ending(late, NOW)
        assert (ending is not None) == late.is_open
        if ending is not None:
            assert not moved(late, ending.state, ending.reason).is_open
        assert timed_ending(port(state), NOW) is None


@pytest.mark.rule("NUM-08")
def test_national_is_where_the_sim_was_seen_lately() -> None:
    def phone(country: str = "", days_ago: float | None = None, sim: str = "+33639980001") -> Device:
        seen = 0.0 if days_ago is None else NOW - days_ago * DAY_S
        return Device(ref="p", user="ana", sim=sim, sim_country=country, sim_seen_at=seen)

    french, british = "+33639981001", "+447700900123"
    assert is_national(french, [phone("FR", 1)], NOW, 35)
    assert not is_national(british, [phone("FR", 1)], NOW, 35)
    assert is_national(french, [phone("FR", 34.99)], NOW, 35)
    assert not is_national(french, [phone("FR", 35)], NOW, 35), "not seen for five weeks"
    assert is_national(french, [phone()], NOW, 35), "never seen: it counts by its number"
    assert is_national(british, [phone("GB", 1), phone("FR", 1)], NOW, 35)
    assert sim_countries([phone("", 1)], NOW, 35) == {"FR"}
    assert sim_countries([phone(sim="")], NOW, 35) == frozenset()
