"""Numbers that forward all calls or those they miss, and voicemail after that (INC-04, INC-08, FWD-01)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import CallFacts, Limits, LoopFacts
from dialplan.plan import VOICEMAIL, Diversion, Forward, Identity, Ring, Shown, Step, ToMedia
from numbering.models import MISSED_CAUSES, Forwarding, ForwardMode
from tests.dialplan.cases import (
    ANA,
    ANA_CALLEE,
    BEN,
    FROM_CARRIER,
    OUTSIDE,
    STRANGER,
    TO_BEN,
    number,
    refused,
)

URI = "sip:voicemail@media.example"
MAIL = ToMedia(kind=VOICEMAIL, uri=URI, number=ANA)
SERVER = replace(FROM_CARRIER, limits=Limits(voicemail_uri=URI))
NOBODY = replace(SERVER, callee=replace(ANA_CALLEE, targets=()))
RING = Ring(targets=ANA_CALLEE.targets, for_s=30.0)


def forwards(
    facts: CallFacts,
    mode: ForwardMode,
    *,
    causes: tuple[str, ...] = MISSED_CAUSES,
    voicemail: bool = False,
    to: str = OUTSIDE,
) -> CallFacts:
    return number(facts, forward=Forwarding(mode=mode, to=to, causes=causes), voicemail=voicemail)


def forward(when: tuple[str, ...] = (), always: bool = False) -> Forward:
    return Forward(to=OUTSIDE, number=ANA, user="ana", account="acme", always=always, when=when)


@pytest.mark.rule("INC-04", "FWD-01")
@pytest.mark.parametrize(
    ("voicemail", "steps"), [(False, (forward(always=True),)), (True, (forward(always=True), MAIL))]
)
def test_all_calls_are_forwarded_and_nobody_is_rung(voicemail: bool, steps: tuple[Step, ...]) -> None:
    decision = evaluate(forwards(SERVER, ForwardMode.ALL, voicemail=voicemail))
    assert decision.plan.steps == steps
    assert (decision.trace[-1].rule, decision.trace[-1].outcome) == ("INC-04", "forward")
    assert OUTSIDE in decision.trace[-1].detail


@pytest.mark.rule("INC-04")
def test_without_target_the_number_rings() -> None:
    decision = evaluate(forwards(SERVER, ForwardMode.ALL, to=""))
    assert decision.plan.steps == (RING,)
    assert "nobody said where to" in decision.trace[-2].detail


@pytest.mark.rule("INC-03", "INC-04")
def test_a_number_that_is_off_forwards_nothing() -> None:
    facts = number(forwards(SERVER, ForwardMode.ALL), calls=False)
    assert refused(evaluate(facts)) == ("INC-03", reasons.NUMBER_OFF)


@pytest.mark.rule("INC-08", "FWD-01")
def test_a_missed_call_is_forwarded_for_its_causes_and_then_goes_to_voicemail() -> None:
    causes = ("no_answer", "busy")
    decision = evaluate(forwards(SERVER, ForwardMode.MISSED, causes=causes, voicemail=True))
    assert decision.plan.steps == (RING, forward(when=causes), MAIL)
    assert [(line.rule, line.outcome) for line in decision.trace][-3:] == [
        ("INC-05", "ring"),
        ("INC-08", "forward"),
        ("INC-08", "voicemail"),
    ]
    assert decision.trace[-2].detail == f"a missed call goes to {OUTSIDE} (no_answer, busy)"


@pytest.mark.rule("INC-08")
def test_voicemail_alone() -> None:
    assert evaluate(number(SERVER, voicemail=True)).plan.steps == (RING, MAIL)
    without = evaluate(number(FROM_CARRIER, voicemail=True))
    assert without.plan.steps == (RING,)
    assert "there is no voicemail server" in without.trace[-1].detail


@pytest.mark.rule("INC-08", "FWD-01")
@pytest.mark.parametrize(
    ("causes", "voicemail", "steps"),
    [
        (MISSED_CAUSES, False, (forward(),)),
        (MISSED_CAUSES, True, (forward(), MAIL)),
        (("busy",), True, (MAIL,)),
        ((), True, (MAIL,)),
    ],
)
def test_nobody_to_ring_is_a_missed_call_too(
    causes: tuple[str, ...], voicemail: bool, steps: tuple[Step, ...]
) -> None:
    decision = evaluate(forwards(NOBODY, ForwardMode.MISSED, causes=causes, voicemail=voicemail))
    assert decision.plan.steps == steps


@pytest.mark.rule("INC-08", "FWD-01")
def test_nobody_to_ring_and_not_forwarded_for_that() -> None:
    decision = evaluate(forwards(NOBODY, ForwardMode.MISSED, causes=("busy",)))
    assert refused(decision) == ("INC-05", reasons.UNREACHABLE)
    assert decision.trace[-2].detail == f"calls are forwarded to {OUTSIDE} for busy only"


@pytest.mark.rule("FWD-01")
def test_no_cause_is_never_all_of_them() -> None:
    assert evaluate(forwards(SERVER, ForwardMode.MISSED, causes=())).plan.steps == (RING,)


@pytest.mark.rule("INC-04", "INC-08")
def test_inside_the_same_rules_hold() -> None:
    facts = number(TO_BEN, forward=Forwarding(mode=ForwardMode.ALL, to=OUTSIDE))
    assert evaluate(facts).plan.steps == (
        Forward(to=OUTSIDE, number=BEN, user="ben", account="acme", always=True),
    )


@pytest.mark.rule("FWD-02")
def test_who_forwarded_the_call_before_it_came_is_not_forgotten() -> None:
    facts = replace(forwards(SERVER, ForwardMode.ALL), loop=LoopFacts(diverted=("+33199002345",)))
    (step,) = evaluate(facts).plan.steps
    assert isinstance(step, Forward)
    before = (Diversion(number="+33199002345"),)
    caller = Identity(number=STRANGER, display="Stranger", asserted=STRANGER, diverted=before)
    assert step.shown == Shown(caller=caller, called=ANA)
