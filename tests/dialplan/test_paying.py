"""Who pays: plan, package, credit, and the refusals when nobody does; tables of facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts
from dialplan.plan import Refuse, ToTrunk
from dialplan.usage import UsageFacts
from numbering.plans import NumberClass
from tests.dialplan.cases import ANA, TO_OUTSIDE, refused

MINUTE = 60
PRICED: dict[str, Any] = {
    "priced": True,
    "rate": "standard/+44",
    "per_minute": 50_000,
    "needed": 50_000,
    "currency": "EUR",
}


def call(zone: str = "europe", **usage: Any) -> CallFacts:
    return replace(TO_OUTSIDE, usage=UsageFacts(number=ANA, zone=zone, **usage))


def outcome(facts: CallFacts) -> tuple[str, str]:
    """Rule and outcome of the last line about paying."""
    lines = [line for line in evaluate(facts).trace if line.rule in ("OUT-06", "OUT-08")]
    return lines[-1].rule, lines[-1].outcome


@pytest.mark.rule("OUT-08")
@pytest.mark.parametrize(
    ("zone", "plan_s", "used_s", "expected"),
    [
        ("national", 2000 * MINUTE, 0, ("OUT-08", "pass")),
        ("national", 2000 * MINUTE, 2000 * MINUTE - 1, ("OUT-08", "pass")),
        ("national", 2000 * MINUTE, 2000 * MINUTE, ("OUT-08", "refuse:fair_use")),
        ("national", 2000 * MINUTE, 9999 * MINUTE, ("OUT-08", "refuse:fair_use")),
        ("national", 0, 9999 * MINUTE, ("OUT-08", "pass")),
        ("national", -1, 9999 * MINUTE, ("OUT-06", "pass")),
        ("europe", 600 * MINUTE, 599 * MINUTE, ("OUT-08", "pass")),
        ("europe", 600 * MINUTE, 600 * MINUTE, ("OUT-08", "refuse:fair_use")),
        ("europe", -1, 0, ("OUT-06", "pass")),
    ],
)
def test_minutes_of_the_plan(zone: str, plan_s: int, used_s: int, expected: tuple[str, str]) -> None:
    assert outcome(call(zone, plan_s=plan_s, used_s=used_s)) == expected


@pytest.mark.rule("OUT-08")
@pytest.mark.parametrize(
    ("callees", "knows", "bound", "may"),
    [
        (98, False, 99, True),
        (99, False, 99, False),
        (99, True, 99, True),
        (500, False, 0, True),
        (0, False, 1, True),
    ],
)
def test_distinct_callees(callees: int, knows: bool, bound: int, may: bool) -> None:
    facts = call("national", callees=callees, knows_callee=knows, max_callees=bound)
    if may:
        assert isinstance(evaluate(facts).plan.steps[0], ToTrunk)
    else:
        assert refused(evaluate(facts)) == ("OUT-08", reasons.FAIR_USE)


@pytest.mark.rule("OUT-06", "OUT-09")
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"priced": True}, ("OUT-06", "refuse:not_in_plan")),
        (PRICED, ("OUT-06", "refuse:no_credit")),
        ({**PRICED, "credit": 49_999}, ("OUT-06", "refuse:no_credit")),
        ({**PRICED, "credit": 50_000}, ("OUT-06", "choose")),
        ({**PRICED, "per_minute": 0, "needed": 0}, ("OUT-06", "choose")),
        ({"priced": True, "package": "europe-600", "package_s": 0}, ("OUT-06", "choose")),
        ({"priced": True, "package": "p", "package_s": 600, "package_used_s": 599}, ("OUT-06", "choose")),
        (
            {"priced": True, "package": "p", "package_s": 600, "package_used_s": 600},
            ("OUT-08", "refuse:fair_use"),
        ),
        ({**PRICED, "package": "p", "package_s": 600, "package_used_s": 600}, ("OUT-08", "refuse:fair_use")),
        (
            {**PRICED, "credit": 50_000, "package": "p", "package_s": 600, "package_used_s": 600},
            ("OUT-06", "choose"),
        ),
        ({**PRICED, "plan_s": 600, "used_s": 600, "credit": 50_000}, ("OUT-06", "choose")),
        ({**PRICED, "plan_s": 600, "used_s": 599}, ("OUT-08", "pass")),
        ({**PRICED, "plan_s": 600, "used_s": 600}, ("OUT-08", "refuse:fair_use")),
    ],
)
def test_international_calls_are_paid_by_plan_package_or_credit(
    usage: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert outcome(call(**usage)) == expected


@pytest.mark.rule("OUT-08")
def test_credit_buys_no_national_minutes_but_a_package_does() -> None:
    spent: dict[str, Any] = {**PRICED, "plan_s": 60, "used_s": 60, "credit": 10**9}
    assert refused(evaluate(call("national", **spent))) == ("OUT-08", reasons.FAIR_USE)
    assert outcome(call("national", **spent, package="more", package_s=0)) == ("OUT-06", "choose")


@pytest.mark.rule("OUT-06", "OUT-08")
def test_the_trace_says_what_is_used_and_what_it_costs() -> None:
    warned = evaluate(call(plan_s=600 * MINUTE, used_s=590 * MINUTE, warn_s=480 * MINUTE)).trace
    assert any(line.detail == "590 of 600 minutes to europe are used, nearly all" for line in warned)
    paid = evaluate(call(**PRICED, credit=MINUTE * 10**6)).trace
    assert any("0.05 EUR a minute from the credit" in line.detail for line in paid)
    poor = evaluate(call(**PRICED, credit=10_000)).trace
    assert poor[-1].detail.endswith("0.05 EUR a minute, credit 0.01 of 0.05 needed")


@pytest.mark.rule("OUT-04")
@pytest.mark.parametrize("number_class", [NumberClass.TOLL_FREE, NumberClass.FREE_SHORT])
def test_free_numbers_are_free_whatever_was_used(number_class: NumberClass) -> None:
    facts = call("national", plan_s=60, used_s=60, max_callees=1, callees=1)
    free = replace(facts, called=replace(facts.called, number_class=number_class))
    assert outcome(free) == ("OUT-06", "pass")
    assert isinstance(evaluate(free).plan.steps[0], ToTrunk)


@pytest.mark.rule("OUT-08")
def test_counters_that_are_away_stop_nobody() -> None:
    facts = call("national", plan_s=60, counted=False)
    assert isinstance(evaluate(facts).plan.steps[0], ToTrunk)
    assert any("not at hand" in line.detail for line in evaluate(facts).trace)


def test_without_anything_counted_or_priced_nothing_is_asked() -> None:
    assert not [line for line in evaluate(TO_OUTSIDE).trace if line.rule in ("OUT-06", "OUT-08")]


amounts = st.integers(-1, 10_000)
usages = st.builds(
    UsageFacts,
    number=st.just(ANA),
    zone=st.sampled_from(["national", "europe", "world", "special", ""]),
    counted=st.booleans(),
    plan_s=amounts,
    used_s=amounts,
    warn_s=amounts,
    package=st.sampled_from(["", "p", "p q"]),
    package_s=amounts,
    package_used_s=amounts,
    callees=amounts,
    knows_callee=st.booleans(),
    max_callees=amounts,
    priced=st.booleans(),
    rate=st.sampled_from(["", "standard/+44"]),
    per_minute=amounts,
    needed=amounts,
    credit=amounts,
)


@pytest.mark.rule("OUT-06", "OUT-08")
@given(usages)
def test_a_call_is_refused_for_one_reason_or_goes(usage: UsageFacts) -> None:
    decision = evaluate(replace(TO_OUTSIDE, usage=usage))
    (step,) = decision.plan.steps
    assert decision == evaluate(replace(TO_OUTSIDE, usage=usage))
    if isinstance(step, Refuse):
        assert step.reason in (reasons.FAIR_USE, reasons.NO_CREDIT, reasons.NOT_IN_PLAN)
        assert decision.trace[-1].outcome == f"refuse:{step.reason}"
    if usage.plan_s == 0 and not usage.max_callees:
        assert isinstance(step, ToTrunk)
    if usage.zone == "national":
        assert not isinstance(step, Refuse) or step.reason == reasons.FAIR_USE


@pytest.mark.rule("OUT-06")
@given(usages, st.integers(0, 10**6))
def test_more_credit_never_stops_a_call(usage: UsageFacts, more: int) -> None:
    poor = evaluate(replace(TO_OUTSIDE, usage=usage)).plan.steps[0]
    rich = evaluate(replace(TO_OUTSIDE, usage=replace(usage, credit=usage.credit + more))).plan.steps[0]
    assert not isinstance(poor, ToTrunk) or isinstance(rich, ToTrunk)
