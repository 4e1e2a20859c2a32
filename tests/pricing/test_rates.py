"""Prices: the longest prefix in force decides, durations are billed in steps, and no millionth is lost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.pricing.rates import Package, PriceBook, Rate, billed_seconds, cost
from callcontrol.pricing.zones import NATIONAL, SPECIAL, WORLD, Zones
from numbering.money import MICROS, Money, read_money, written

pytestmark = pytest.mark.rule("OUT-06")

FRENCH, BRITISH, AMERICAN = "+33639981001", "+447700900123", "+15550100"


def rate(prefix: str, per_minute: str = "0.05", **more: object) -> Rate:
    return Rate(prefix=prefix, per_minute=read_money(per_minute), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "micros"),
    [("0", 0), ("0.05", 50_000), ("12.5", 12_500_000), ("1", MICROS), ("0.000001", 1), (".5", 500_000)],
)
def test_amounts_are_read_exactly(text: str, micros: int) -> None:
    assert read_money(text) == micros


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1e3", "0.0000001", "1,5", "NaN", "1.2.3", " 1", "٣", "9" * 14]
)
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|decimal|much"):
        read_money(text)


@given(st.integers(min_value=0, max_value=10**15))
def test_amounts_come_back_as_they_were_written(micros: int) -> None:
    assert read_money(written(micros)) == micros
    assert str(Money(micros)) == written(micros)


@pytest.mark.parametrize(
    ("seconds", "minimum", "step", "billed"),
    [
        (0, 60, 60, 0),
        (1, 0, 1, 1),
        (1, 60, 1, 60),
        (61, 60, 1, 61),
        (61, 60, 60, 120),
        (60, 60, 60, 60),
        (7, 0, 6, 12),
    ],
)
def test_seconds_are_billed_in_steps(seconds: int, minimum: int, step: int, billed: int) -> None:
    assert billed_seconds(rate("+", minimum_seconds=minimum, increment_seconds=step), seconds) == billed


def test_a_call_costs_its_connection_and_its_minutes() -> None:
    priced = rate("+44", "0.10", connection=read_money("0.20"))
    assert written(cost(priced, 90)) == "0.35"
    assert cost(priced, 0) == 0
    assert written(cost(rate("+44", "0.01"), 1)) == "0.000167"


rates = st.builds(
    Rate,
    prefix=st.just("+"),
    per_minute=st.integers(0, 10**9).map(Money),
    connection=st.integers(0, 10**7).map(Money),
    minimum_seconds=st.integers(0, 120),
    increment_seconds=st.integers(1, 60),
)


@given(rates, st.integers(0, 10**6), st.integers(0, 10**6))
def test_longer_calls_cost_no_less_and_never_less_than_their_seconds(
    one: Rate, first: int, second: int
) -> None:
    short, long = sorted((first, second))
    assert cost(one, short) <= cost(one, long)
    exact = Fraction(one.per_minute * billed_seconds(one, long), 60) + (one.connection if long else 0)
    assert exact <= cost(one, long) < exact + 1
    assert billed_seconds(one, long) >= long


def test_the_longest_prefix_decides() -> None:
    book = PriceBook(
        [rate("+", "1"), rate("+44", "0.05"), rate("+447", "0.20"), rate("+44", "9", table="other")]
    )

    def price(number: str, table: str = "standard") -> str:
        found = book.rate(table, number, "2027-01-01")
        return "" if found is None else str(found.per_minute)

    assert price(BRITISH) == "0.20"
    assert price("+44" + "20794600") == "0.05"
    assert price(FRENCH) == "1.00"
    assert price(BRITISH, "other") == "9.00"
    assert price(FRENCH, "other") == ""
    assert price(FRENCH, "none") == ""
    assert (book.has("other"), book.has("none"), len(book)) == (True, False, 4)


def test_a_rate_counts_from_its_day_on() -> None:
    book = PriceBook(
        [
            rate("+44", "1"),
            rate("+44", "2", valid_from="2027-01-01"),
            rate("+44", "3", valid_from="2027-06-01"),
            rate("+447", "9", valid_from="2027-06-01"),
        ]
    )
    days = {"2026-12-31": "1.00", "2027-01-01": "2.00", "2027-05-31": "2.00", "2027-06-01": "9.00"}
    for day, price in days.items():
        found = book.rate("standard", BRITISH, day)
        assert found is not None
        assert str(found.per_minute) == price


@given(
    st.lists(st.sampled_from(["+", "+4", "+44", "+447", "+4477", "+33", "+1"]), unique=True),
    st.sampled_from([FRENCH, BRITISH, AMERICAN]),
)
def test_a_lookup_finds_what_a_search_finds(prefixes: list[str], number: str) -> None:
    book = PriceBook([rate(prefix) for prefix in prefixes])
    found = book.rate("standard", number, "2027-01-01")
    expected = max((prefix for prefix in prefixes if number.startswith(prefix)), key=len, default="")
    assert ("" if found is None else found.prefix) == expected


def test_packages_are_found_by_ref() -> None:
    one = Package(ref="europe-600", zones=("europe",), minutes=600)
    book = PriceBook([], [one])
    assert book.package("europe-600") is one
    assert book.package("other") is None
    assert book.packages() == (one,)


ZONES = Zones({"europe": ["FR", "GB"], "north_america": ["US", "CA"]})


@pytest.mark.rule("NUM-08")
@pytest.mark.parametrize(
    ("number", "called", "homes", "zone"),
    [
        (FRENCH, "+33199001234", {"FR"}, NATIONAL),
        (FRENCH, "+33199001234", None, NATIONAL),
        (FRENCH, "+33199001234", {"GB"}, "europe"),
        (FRENCH, "+33199001234", {"GB", "FR"}, NATIONAL),
        (FRENCH, "+33199001234", set(), "europe"),
        (FRENCH, BRITISH, {"FR"}, "europe"),
        (BRITISH, BRITISH, {"FR"}, "europe"),
        (BRITISH, "+33199001234", {"FR"}, "europe"),
        (FRENCH, AMERICAN, {"FR"}, "north_america"),
        (FRENCH, "+262" + "692000000", {"FR"}, WORLD),
        (FRENCH, "+8812" + "0" * 8, {"FR"}, SPECIAL),
    ],
)
def test_a_call_is_national_when_sim_number_and_destination_are_of_one_country(
    number: str, called: str, homes: set[str] | None, zone: str
) -> None:
    assert ZONES.of_call(number, called, homes) == zone
