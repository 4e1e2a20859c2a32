"""Calls from a trunk: tables of facts and plans, rule by rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import (
    CallFacts,
    Limits,
    LoopFacts,
    OwnCall,
)
from dialplan.plan import Identity, Ring
from numbering.models import NumberState
from tests.dialplan.cases import (
    ANA,
    ANA_CALLEE,
    FROM_CARRIER,
    OUTSIDE,
    SIM,
    STRANGER,
    TO_COLLEAGUE,
    TO_OUTSIDE,
    caller,
    number,
    refused,
    rung,
)


@pytest.mark.rule("INC-05", "INC-01")
def test_an_incoming_call_rings_all_devices_of_the_holder_at_once() -> None:
    decision = evaluate(FROM_CARRIER)
    assert decision.plan.steps == (Ring(targets=ANA_CALLEE.targets, for_s=30.0),)
    assert decision.plan.direction == "incoming"
    assert decision.plan.caller == Identity(number=STRANGER, display="Stranger", asserted=STRANGER)
    assert (decision.plan.number, decision.plan.user, decision.plan.account) == (ANA, "ana", "acme")
    assert (decision.plan.called, decision.plan.config_version) == (ANA, 7)
    assert [(line.rule, line.outcome) for line in decision.trace] == [
        ("FWD-04", "pass"),
        ("INC-01", "pass"),
        ("INC-02", "pass"),
        ("INC-03", "pass"),
        ("INC-05", "ring"),
    ]


@pytest.mark.rule("INC-01")
@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(FROM_CARRIER, number=None, callee=None), reasons.UNKNOWN_NUMBER),
        (number(FROM_CARRIER, state=NumberState.QUARANTINED), reasons.QUARANTINED),
        (number(FROM_CARRIER, state=NumberState.PORTED_OUT), reasons.PORTED_OUT),
        (number(FROM_CARRIER, state=NumberState.EXPIRED), reasons.EXPIRED),
        (number(FROM_CARRIER, state=NumberState.SUSPENDED), reasons.SUSPENDED),
        (number(FROM_CARRIER, state=NumberState.AVAILABLE), reasons.UNKNOWN_NUMBER),
        (number(FROM_CARRIER, state=NumberState.RESERVED), reasons.UNKNOWN_NUMBER),
        (number(FROM_CARRIER, state=NumberState.PORTING_IN), reasons.UNKNOWN_NUMBER),
        (replace(FROM_CARRIER, callee=None), reasons.UNKNOWN_NUMBER),
        (replace(FROM_CARRIER, callee=replace(ANA_CALLEE, suspended=True)), reasons.SUSPENDED),
    ],
)
def test_numbers_that_take_no_calls_have_reasons_of_their_own(facts: CallFacts, reason: str) -> None:
    assert refused(evaluate(facts)) == ("INC-01", reason)


@pytest.mark.rule("INC-02", "BLK-01")
@pytest.mark.parametrize(
    ("block", "changes", "blocked"),
    [
        ((STRANGER,), {}, True),
        (("+33639989998",), {}, False),
        ((STRANGER[:-1],), {}, False),
        (("anonymous",), {}, False),
        (("anonymous",), {"hidden": True}, True),
        (("anonymous",), {"hidden": True, "presented": "", "e164": ""}, True),
        ((STRANGER,), {"hidden": True}, True),
        ((OUTSIDE,), {"hidden": True}, False),
        ((OUTSIDE, "anonymous", STRANGER), {}, True),
    ],
)
def test_blocked_callers_are_refused_and_never_rung(
    block: tuple[str, ...], changes: dict[str, Any], blocked: bool
) -> None:
    decision = evaluate(caller(number(FROM_CARRIER, block=block), **changes))
    if blocked:
        assert refused(decision) == ("INC-02", reasons.BLOCKED)
    else:
        assert rung(decision) == ["ana-phone", "ana-desktop"]


@pytest.mark.rule("INC-03")
def test_calls_switched_off() -> None:
    assert refused(evaluate(number(FROM_CARRIER, calls=False))) == ("INC-03", reasons.NUMBER_OFF)


@pytest.mark.rule("INC-01", "INC-02", "INC-03")
def test_the_first_rule_that_applies_wins() -> None:
    everything = number(
        FROM_CARRIER, state=NumberState.EXPIRED, block=(STRANGER,), calls=False, ring_seconds=5.0
    )
    assert refused(evaluate(everything)) == ("INC-01", reasons.EXPIRED)
    active = number(everything, state=NumberState.ACTIVE)
    assert refused(evaluate(active)) == ("INC-02", reasons.BLOCKED)
    assert refused(evaluate(number(active, block=()))) == ("INC-03", reasons.NUMBER_OFF)


@pytest.mark.rule("INC-05")
def test_without_registered_device_the_callee_is_unreachable() -> None:
    facts = replace(FROM_CARRIER, callee=replace(ANA_CALLEE, targets=()))
    assert refused(evaluate(facts)) == ("INC-05", reasons.UNREACHABLE)


@pytest.mark.rule("INC-05")
@pytest.mark.parametrize(("own", "default", "expected"), [(20.0, 30.0, 20.0), (0.0, 25.0, 25.0)])
def test_ring_time_is_the_numbers_else_the_default(own: float, default: float, expected: float) -> None:
    facts = replace(number(FROM_CARRIER, ring_seconds=own), limits=Limits(ring_s=default))
    (step,) = evaluate(facts).plan.steps
    assert isinstance(step, Ring)
    assert step.for_s == expected


@pytest.mark.rule("OUT-07")
def test_nothing_of_a_hidden_caller_is_shown() -> None:
    plan = evaluate(caller(FROM_CARRIER, hidden=True, display="Stranger")).plan
    assert plan.caller == Identity(hidden=True, asserted=STRANGER)


def test_a_caller_without_readable_number_is_shown_as_presented() -> None:
    plan = evaluate(caller(FROM_CARRIER, e164="", presented="1234")).plan
    assert plan.caller == Identity(user="1234", display="Stranger")


def test_calls_to_other_domains_are_not_relayed() -> None:
    for facts in (FROM_CARRIER, TO_OUTSIDE, TO_COLLEAGUE):
        foreign = replace(facts, called=replace(facts.called, foreign_host="other.example"))
        assert refused(evaluate(foreign)) == ("relay", reasons.NOT_FOUND)


@pytest.mark.rule("FWD-04")
@pytest.mark.parametrize(
    ("loop", "looped"),
    [
        (LoopFacts(max_forwards=0), True),
        (LoopFacts(max_forwards=1), False),
        (LoopFacts(own_calls=(OwnCall(call_ref="c1", called=ANA),)), True),
        (LoopFacts(own_calls=(OwnCall(call_ref="c1", called=OUTSIDE),)), False),
        (
            LoopFacts(own_calls=(OwnCall(call_ref="c0", called=OUTSIDE), OwnCall(call_ref="c1", called=ANA))),
            True,
        ),
        (LoopFacts(diverted=(OUTSIDE, ANA)), True),
        (LoopFacts(diverted=(OUTSIDE, SIM)), False),
    ],
)
def test_loops_end(loop: LoopFacts, looped: bool) -> None:
    decision = evaluate(replace(FROM_CARRIER, loop=loop))
    if looped:
        assert refused(decision) == ("FWD-04", reasons.LOOP)
    else:
        assert rung(decision) == ["ana-phone", "ana-desktop"]
