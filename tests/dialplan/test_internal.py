"""Calls between users of ours: by number, by user name, and to oneself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import (
    CalledNumber,
)
from dialplan.plan import Identity, Ring
from numbering.models import CloudNumber, NumberState
from tests.dialplan.cases import (
    ANA,
    ANA_CALLEE,
    ANA_NUMBER,
    BEN,
    BEN_CALLEE,
    TO_BEN,
    TO_COLLEAGUE,
    caller,
    device,
    held,
    number,
    refused,
    rung,
    target,
)


@pytest.mark.rule("INC-05", "OUT-01")
def test_a_call_to_another_cloud_number_stays_inside_and_shows_the_callers() -> None:
    decision = evaluate(replace(TO_BEN, trunk_available=True))
    assert decision.plan.steps == (Ring(targets=BEN_CALLEE.targets, for_s=20.0),)
    assert decision.plan.direction == "internal"
    assert decision.plan.caller == Identity(number=ANA, asserted=ANA, display="Ana Example")
    assert (decision.plan.called, decision.plan.number, decision.plan.user) == (BEN, ANA, "ana")


def test_names_are_shown_to_colleagues_only() -> None:
    facts = replace(TO_BEN, callee=replace(BEN_CALLEE, account="other"))
    assert evaluate(facts).plan.caller == Identity(number=ANA, asserted=ANA)


@pytest.mark.rule("INC-01", "INC-02", "INC-03")
def test_the_callees_rules_hold_inside_too() -> None:
    assert refused(evaluate(number(TO_BEN, state=NumberState.EXPIRED))) == ("INC-01", reasons.EXPIRED)
    assert refused(evaluate(number(TO_BEN, state=NumberState.AVAILABLE))) == (
        "INC-01",
        reasons.UNKNOWN_NUMBER,
    )
    assert refused(evaluate(number(TO_BEN, block=(ANA,)))) == ("INC-02", reasons.BLOCKED)
    assert rung(evaluate(number(TO_BEN, block=("anonymous",)))) == ["ben-phone"]
    hiding = caller(number(TO_BEN, block=("anonymous",)), hidden=True)
    assert refused(evaluate(hiding)) == ("INC-02", reasons.BLOCKED)
    assert refused(evaluate(number(TO_BEN, calls=False))) == ("INC-03", reasons.NUMBER_OFF)


@pytest.mark.rule("OUT-07")
def test_a_hidden_caller_is_hidden_inside_too() -> None:
    assert evaluate(caller(TO_BEN, hidden=True)).plan.caller == Identity(asserted=ANA, hidden=True)


def test_a_colleague_is_called_by_user_name() -> None:
    decision = evaluate(TO_COLLEAGUE)
    assert rung(decision) == ["ben-phone"]
    assert decision.plan.direction == "internal"
    assert decision.plan.caller == Identity(number=ANA, asserted=ANA, display="Ana Example")
    assert decision.plan.called == "ben-phone"


@pytest.mark.parametrize("numbers", [(), held(NumberState.EXPIRED), held(calls=False)])
def test_a_colleague_can_be_called_without_a_number(numbers: tuple[CloudNumber, ...]) -> None:
    default = ANA if numbers and not numbers[0].calls else ""
    facts = device(TO_COLLEAGUE, numbers=numbers, default_number=default)
    plan = evaluate(facts).plan
    assert plan.caller == Identity(user="ana-phone", display="Ana Example")
    assert plan.number == ""
    assert evaluate(caller(facts, hidden=True)).plan.caller == Identity(hidden=True)


def test_colleagues_who_cannot_be_called() -> None:
    suspended = replace(TO_COLLEAGUE, callee=replace(BEN_CALLEE, suspended=True))
    assert refused(evaluate(suspended)) == ("INC-01", reasons.SUSPENDED)
    assert refused(evaluate(replace(TO_COLLEAGUE, callee=None))) == ("INC-01", reasons.NOT_FOUND)
    away = replace(TO_COLLEAGUE, callee=replace(BEN_CALLEE, targets=()))
    assert refused(evaluate(away)) == ("INC-05", reasons.UNREACHABLE)


@pytest.mark.rule("INC-05")
def test_who_calls_an_own_number_rings_the_other_devices() -> None:
    own = replace(TO_BEN, called=CalledNumber(dialled=ANA, e164=ANA), number=ANA_NUMBER, callee=ANA_CALLEE)
    assert rung(evaluate(own)) == ["ana-desktop"]
    alone = replace(own, callee=replace(ANA_CALLEE, targets=(target("ana-phone"),)))
    assert refused(evaluate(alone)) == ("INC-05", reasons.UNREACHABLE)
