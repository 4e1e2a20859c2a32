"""The files of national plans: what is refused, and with which words."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from numbering.national import PLANS
from numbering.planfile import expand, parse
from numbering.plans import SEEN, NumberClass, PlanError, Plans

GOOD = """
country = "FR"
code = "33"
checked = 2026-11-22
emergency = ["15", "112"]
[[sources]]
title = "a regulator"
date = 2022-09-01
covers = "everything"
seen = "text"
"""


def plan_of(more: str = "", **changes: Any) -> Any:
    return parse("FR.toml", tomllib.loads(GOOD + more) | changes)


def test_a_plan_is_read() -> None:
    plan = plan_of(
        '[short]\nfree = ["3919", "3000-3007"]\npriced = ["3900-3999"]\n[ranges]\nmobile = ["6-7"]\n'
    )
    assert plan.shorts["3919"] is NumberClass.FREE_SHORT
    assert plan.shorts["3918"] is NumberClass.PRICED_SHORT
    assert plan.shorts["15"] is NumberClass.EMERGENCY
    assert plan.class_of("639981001") is NumberClass.MOBILE
    assert plan.class_of("199001234") is None


@pytest.mark.parametrize(
    ("pattern", "digits"),
    [
        ("80", ["80"]),
        ("80-82", ["80", "81", "82"]),
        ("099-101", ["099", "100", "101"]),
        ("2xx976", [f"2{n:02d}976" for n in range(100)]),
    ],
)
def test_patterns(pattern: str, digits: list[str]) -> None:
    assert list(expand(pattern)) == digits


@pytest.mark.parametrize(
    "pattern", ["", "a", "8-80", "82-80", "80-", "8x-9x", "xxxxx", "0-9\n", "10000-99999", "٨"]
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"neither digits|too many|does not run"):
        list(expand(pattern))


@pytest.mark.parametrize(
    ("more", "changes", "complaint"),
    [
        ("", {"cuntry": "FR"}, "FR.toml: cuntry: unknown key"),
        ("", {"country": "france"}, "FR.toml: country: 'france' is no ISO 3166"),
        ("", {"code": "+33"}, "FR.toml: code: '+33' is no country code"),
        ("", {"checked": "today"}, "FR.toml: checked: 'today' is not what belongs here"),
        ("", {"emergency": []}, "FR.toml: emergency: every country has an emergency number"),
        ("", {"emergency": ["1"]}, "FR.toml: emergency: 1 has not 2 to 6 digits"),
        ("", {"emergency": "15"}, "FR.toml: emergency: '15' is not what belongs here"),
        ("", {"sources": []}, "FR.toml: sources: a table has a source"),
        ("", {"sources": [{"title": "x"}]}, "FR.toml: sources: date: is missing"),
        ("", {"also": ["gp"]}, "FR.toml: country: 'gp' is no ISO 3166"),
        ('[short]\ndear = ["1"]\n', {}, "FR.toml: short.dear: is none of free, priced"),
        ('[short]\nfree = ["30"]\npriced = ["30"]\n', {}, "FR.toml: short.priced: 30 is in a class already"),
        ('[ranges]\nmobil = ["6"]\n', {}, "FR.toml: ranges: 'mobil' is none of toll_free"),
        ('[ranges]\nemergency = ["6"]\n', {}, "FR.toml: ranges: 'emergency' is none of"),
        ('[ranges]\nmobile = ["6"]\nfixed = ["6"]\n', {}, "FR.toml: ranges.fixed: 6 is in a class already"),
        ('[ranges]\nmobile = ["7-6"]\n', {}, "FR.toml: ranges.mobile: '7-6' does not run"),
        ("[ranges]\nmobile = [6]\n", {}, "FR.toml: ranges.mobile: a list of texts"),
        ('[labels]\nselling = ["162"]\n', {}, "FR.toml: labels.selling: is none of commercial"),
        ("[lengths]\n700 = [99]\n", {}, "FR.toml: lengths.700: lengths from 4 to 14"),
        ('[[overseas]]\ncode = "262"\n', {}, "FR.toml: overseas: territory: is missing"),
        ("", {"fiction": "free_short"}, "FR.toml: fiction: 'free_short' is none of"),
    ],
)
def test_what_is_refused_is_named(more: str, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan_of(more, **changes)
    assert str(caught.value).startswith(complaint)


def test_two_tables_cannot_say_two_things() -> None:
    with pytest.raises(PlanError, match="FR has a table already"):
        Plans([plan_of(), plan_of()])
    ranges = '[ranges]\nmobile = ["6"]\n'
    with pytest.raises(PlanError, match=r"those of \+33 stand in FR.toml"):
        Plans([plan_of(ranges), plan_of(ranges, country="RE")])


def test_the_tables_of_the_product() -> None:
    assert PLANS.of_country("XX") is None
    assert PLANS.of_country("RE") is PLANS.of_country("FR") is PLANS.of_code("33")
    for plan in PLANS.all():
        assert all(source.seen in SEEN and source.date <= plan.checked for source in plan.sources)
