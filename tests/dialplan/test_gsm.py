"""SIMs that are called in place of softphones (INC-05, INC-06)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts
from dialplan.plan import Ring, SimTarget, WakeTarget
from tests.dialplan.cases import (
    ANA_CALLEE,
    ANA_SECOND,
    FROM_CARRIER,
    SIM,
    TO_COLLEAGUE,
    TO_OUTSIDE,
    caller,
    number,
    refused,
)

ANA_SIM = SimTarget(user="ana", device="ana-gsm", sim=SIM, for_s=20.0)
ASLEEP = WakeTarget(user="ana", device="ana-phone", why="no_binding")


def callee(facts: CallFacts, **changes: Any) -> CallFacts:
    return replace(facts, callee=replace(ANA_CALLEE, **changes))


def ring(facts: CallFacts) -> Ring:
    (step,) = evaluate(facts).plan.steps
    assert isinstance(step, Ring)
    return step


@pytest.mark.rule("INC-05")
def test_a_device_that_answers_by_gsm_is_called_with_the_others() -> None:
    facts = callee(FROM_CARRIER, sims=(ANA_SIM,))
    step = ring(facts)
    assert (step.targets, step.sims, step.fallback) == (ANA_CALLEE.targets, (ANA_SIM,), ())
    assert evaluate(facts).trace[-1].detail == "the SIM of ana-gsm for 20 s at once, answering by GSM"
    assert ring(callee(FROM_CARRIER, targets=(), sims=(ANA_SIM,))).sims == (ANA_SIM,)


@pytest.mark.rule("INC-05")
def test_a_sim_that_calls_is_not_called() -> None:
    own = caller(callee(FROM_CARRIER, sims=(ANA_SIM,), fallback=(ANA_SIM,)), e164=SIM, presented=SIM)
    step = ring(number(own, gsm_fallback=True))
    assert (step.sims, step.fallback) == ((), ())
    assert refused(evaluate(callee(own, targets=(), sims=(ANA_SIM,)))) == ("INC-05", reasons.UNREACHABLE)


@pytest.mark.rule("INC-05")
def test_the_sim_of_the_device_in_the_hand_is_not_called() -> None:
    in_hand = replace(ANA_SIM, device="ana-phone")
    own = replace(TO_OUTSIDE, called=replace(TO_OUTSIDE.called, dialled=ANA_SECOND, e164=ANA_SECOND))
    own = callee(number(replace(own, number=FROM_CARRIER.number), e164=ANA_SECOND), sims=(in_hand, ANA_SIM))
    step = ring(own)
    assert [target.device for target in step.targets] == ["ana-desktop"]
    assert step.sims == (ANA_SIM,)


@pytest.mark.rule("INC-05", "DEV-01")
def test_a_sim_that_is_not_verified_is_named() -> None:
    decision = evaluate(callee(FROM_CARRIER, unproved=("ana-gsm",)))
    details = [line.detail for line in decision.trace]
    assert "ana-gsm answers by GSM, but has no verified SIM: it rings if it is registered" in details


@pytest.mark.rule("INC-06")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "the SIM of ana-gsm for 20 s if nobody is reachable in time"),
        ({"targets": (), "wake": (ASLEEP,)}, "the SIM of ana-gsm for 20 s if nobody is reachable in time"),
        ({"targets": ()}, "the SIM of ana-gsm for 20 s at once, for nobody else is reachable"),
    ],
)
def test_the_sim_is_the_last_way(changes: dict[str, Any], words: str) -> None:
    facts = callee(FROM_CARRIER, fallback=(ANA_SIM,), **changes)
    on = number(facts, gsm_fallback=True)
    assert ring(on).fallback == (ANA_SIM,)
    line = evaluate(on).trace[-1]
    assert (line.rule, line.outcome, line.detail) == ("INC-06", "ring", words)


@pytest.mark.rule("INC-06")
def test_without_the_switch_no_sim_is_called() -> None:
    assert ring(callee(FROM_CARRIER, fallback=(ANA_SIM,))).fallback == ()
    nobody = callee(FROM_CARRIER, targets=(), fallback=(ANA_SIM,))
    assert refused(evaluate(nobody)) == ("INC-05", reasons.UNREACHABLE)


@pytest.mark.rule("INC-05")
def test_a_colleague_by_name_answers_by_gsm_too() -> None:
    assert TO_COLLEAGUE.callee is not None
    sims = (replace(ANA_SIM, user="ben", device="ben-gsm"),)
    facts = replace(TO_COLLEAGUE, callee=replace(TO_COLLEAGUE.callee, sims=sims, fallback=sims))
    step = ring(facts)
    assert (step.sims, step.fallback) == (sims, ())
