"""How easy digits are to remember, and how numbers are found (NUM-07)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbering.policy import VIP_POLICY, PolicyError, parse_vip
from numbering.refusal import Refused
from numbering.search import read_pattern, runs
from numbering.vip import MAX_SCORE, category, score, shapes

# easier and easier to remember
LADDER = ["+33612849573", "+33612841221", "+33612344747", "+33639981111", "+33611447700", "+33612345678"]


@pytest.mark.rule("NUM-07")
def test_easier_digits_have_more_points() -> None:
    points = [score(number, VIP_POLICY) for number in LADDER]
    assert points == sorted(points)
    assert points[0] == 0
    assert points[-1] == MAX_SCORE
    assert len(set(points)) == len(points)


@pytest.mark.rule("NUM-07")
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+33639981111", "vip"),
        ("+33639980000", "vip"),
        ("+33612345678", "vip"),
        ("+33687654321", "vip"),
        ("+33611447700", "vip"),
        ("+33621222324", "vip"),
        ("+33612341234", "vip"),
        ("+33655555555", "vip"),
        ("+33639981001", "standard"),
        ("+33639981234", "standard"),
        ("+33612849573", "standard"),
        ("+447700900123", "standard"),
        ("+1", "standard"),
    ],
)
def test_categories(number: str, expected: str) -> None:
    assert category(number, VIP_POLICY) == expected


@pytest.mark.parametrize(
    ("digits", "found"),
    [
        ("12849573", ()),
        ("12841221", ("mirror4",)),
        ("84123321", ("mirror6",)),
        ("12344321", ("mirror8",)),
        ("12834747", ("pair_twice",)),
        ("18474747", ("pair_thrice",)),
        ("47474747", ("pair_four", "few2")),
        ("12123123", ("group3_twice", "few3")),
        ("12341234", ("group4_twice",)),
        ("11447700", ("pairs", "hundred")),
        ("21222324", ("tens",)),
        ("12345000", ("thousand",)),
        ("55555555", ()),
    ],
)
def test_shapes(digits: str, found: tuple[str, ...]) -> None:
    assert shapes(digits) == found


@given(st.from_regex(r"\+33[67][0-9]{8}", fullmatch=True))
def test_points_are_bounded_and_depend_on_the_last_digits_alone(number: str) -> None:
    points = score(number, VIP_POLICY)
    assert 0 <= points <= MAX_SCORE
    assert score(number.replace("+336", "+337", 1), VIP_POLICY) == points


def test_vip_numbers_are_rare() -> None:
    """Of all numbers of a block of ten thousand."""
    vip = sum(category(f"+3361284{line:04d}", VIP_POLICY) == "vip" for line in range(10_000))
    assert 10 <= vip <= 100


def test_a_policy_that_lacks_something_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"vip\.toml: 'shape'"):
        parse_vip({"digits": 8})


@pytest.mark.rule("NUM-07")
@pytest.mark.parametrize(
    ("pattern", "number", "fits"),
    [
        ("1234", "+33639981234", True),
        ("1234", "+33612348888", True),
        ("1234", "+33639981243", False),
        ("*1234", "+33612348888", False),
        ("*1234", "+33639981234", True),
        ("06 39 98 *", "+33639981234", True),
        ("06 39 98 *", "+33612348888", False),
        ("0639981xxx", "+33639981234", True),
        ("063998123", "+33639981234", False),
        ("?9?8", "+33639981234", True),
        ("+3363998", "+33639981234", True),
        ("+33639981234", "+33639981234", True),
        ("+336*34", "+33639981234", True),
        ("33639", "+33639981234", False),
        ("*", "+447700900123", True),
        ("0*", "+447700900123", True),
    ],
)
def test_patterns(pattern: str, number: str, fits: bool) -> None:
    assert read_pattern(pattern).matches(number) is fits


@pytest.mark.parametrize("pattern", ["", "abc", "1" * 21, "12%", "1_2", "++33", "3+3", "[0-9]"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(Refused):
        read_pattern(pattern)


@given(st.text("0123456789?*x", min_size=1, max_size=12), st.from_regex(r"\+336[0-9]{8}", fullmatch=True))
def test_the_database_never_hides_what_fits(pattern: str, number: str) -> None:
    """What LIKE lets through is looked at once more, so it must let through everything that fits."""
    import re

    shape = read_pattern(pattern)
    like = re.escape(shape.like()).replace("%", ".*").replace("_", ".")
    if shape.matches(number):
        assert re.fullmatch(like, number)


@pytest.mark.rule("NUM-07")
@given(st.sets(st.integers(0, 60)), st.integers(2, 6))
def test_runs(lines: set[int], length: int) -> None:
    numbers = [f"+3363998{line:04d}" for line in sorted(lines)]
    found = list(runs(numbers, length))
    seen = [number for run in found for number in run]
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(numbers)
    for run in found:
        assert len(run) == length
        first = int(run[0][1:])
        assert [int(number[1:]) for number in run] == list(range(first, first + length))
    # and none is missed: what is left over has no run
    assert not list(runs([n for n in numbers if n not in set(seen)], length))


def test_numbers_of_two_lengths_are_no_run() -> None:
    assert not list(runs(["+3399", "+33100"], 2))
    for wrong in (1, 1001):
        with pytest.raises(Refused):
            list(runs([], wrong))
