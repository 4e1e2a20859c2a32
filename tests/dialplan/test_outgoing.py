"""Calls of devices to the outside, and emergency calls: tables of facts and plans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from config.sections import BarredClass, CallSettings
from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import (
    CalledNumber,
    CallerDevice,
    CallerNumber,
    CallFacts,
    Limits,
    LoopFacts,
)
from dialplan.plan import Identity, Ring, ToTrunk
from numbering.models import CloudNumber, NumberState
from numbering.plans import SHORT_CLASSES, NumberClass
from tests.dialplan.cases import (
    ANA,
    ANA_SECOND,
    BEN,
    OUTSIDE,
    SIM,
    STRANGER,
    TO_BEN,
    TO_COLLEAGUE,
    TO_OUTSIDE,
    caller,
    device,
    dialled,
    held,
    number,
    refused,
)


@pytest.mark.rule("OUT-01")
def test_an_outgoing_call_shows_the_default_number() -> None:
    decision = evaluate(TO_OUTSIDE)
    assert decision.plan.steps == (ToTrunk(number=OUTSIDE, for_s=120.0),)
    assert decision.plan.direction == "outgoing"
    assert decision.plan.caller == Identity(number=ANA, asserted=ANA)
    assert (decision.plan.number, decision.plan.user, decision.plan.account) == (ANA, "ana", "acme")
    assert [(line.rule, line.outcome) for line in decision.trace] == [
        ("OUT-05", "pass"),
        ("FWD-04", "pass"),
        ("DEV-01", "pass"),
        ("OUT-01", "choose"),
        ("OUT-07", "pass"),
        ("OUT-04", "pass"),
        ("route", "dial"),
    ]


@pytest.mark.rule("OUT-01")
@pytest.mark.parametrize(
    ("named", "linked", "default", "shown"),
    [
        (
            {"presented": ANA_SECOND, "e164": ANA_SECOND, "source": "p-preferred-identity"},
            "",
            ANA,
            ANA_SECOND,
        ),
        ({"presented": "0639981002", "e164": ANA_SECOND, "source": "from"}, ANA, ANA, ANA_SECOND),
        ({"presented": "ana-phone", "source": "from"}, ANA_SECOND, ANA, ANA_SECOND),
        ({"presented": "ana-phone", "source": "from"}, STRANGER, ANA, ANA),
        ({"presented": "ana-phone", "source": "from"}, "", ANA_SECOND, ANA_SECOND),
        # After a transfer libbaresip writes what was dialled into From; names that are no number name none.
        ({"presented": "carol", "source": "from"}, "", ANA, ANA),
        ({"presented": "anonymous", "source": "from"}, "", ANA, ANA),
        ({}, "", ANA, ANA),
        # A phone that puts the number of its own SIM into From names no cloud number.
        ({"presented": SIM, "e164": SIM, "source": "from"}, "", ANA, ANA),
    ],
)
def test_identity_is_named_else_linked_else_default(
    named: dict[str, Any], linked: str, default: str, shown: str
) -> None:
    facts = replace(
        device(TO_OUTSIDE, linked_number=linked, default_number=default), caller=CallerNumber(**named)
    )
    assert evaluate(facts).plan.caller == Identity(number=shown, asserted=shown)


@pytest.mark.rule("OUT-01")
def test_a_user_name_that_reads_as_a_number_names_none() -> None:
    facts = caller(device(TO_OUTSIDE, sip_username=STRANGER), presented=STRANGER, e164=STRANGER)
    assert evaluate(facts).plan.caller.number == ANA


@pytest.mark.rule("OUT-01", "OUT-09")
@pytest.mark.parametrize("source", ["from", "p-preferred-identity"])
def test_a_number_of_somebody_else_is_refused(source: str) -> None:
    for facts in (TO_OUTSIDE, TO_BEN, TO_COLLEAGUE):
        foreign = caller(facts, presented=BEN, e164=BEN, source=source)
        decision = evaluate(foreign)
        assert refused(decision) == ("OUT-01", reasons.NOT_YOUR_NUMBER)
        assert BEN not in (decision.plan.caller.number, decision.plan.caller.asserted)


@pytest.mark.rule("OUT-01", "OUT-09", "NUM-12", "NUM-13", "NUM-05")
@pytest.mark.parametrize(
    ("numbers", "default", "reason"),
    [
        (held(NumberState.EXPIRED), "", reasons.EXPIRED),
        (held(NumberState.SUSPENDED), "", reasons.SUSPENDED),
        (held(NumberState.QUARANTINED), "", reasons.NOT_YOUR_NUMBER),
        (held(NumberState.PORTED_OUT), "", reasons.NOT_YOUR_NUMBER),
        (held(calls=False), ANA, reasons.CALLS_OFF),
        ((), "", reasons.NOT_YOUR_NUMBER),
    ],
)
def test_a_number_that_cannot_call(numbers: tuple[CloudNumber, ...], default: str, reason: str) -> None:
    facts = device(TO_OUTSIDE, numbers=numbers, default_number=default)
    assert refused(evaluate(facts)) == ("OUT-01", reason)
    if numbers:
        named = caller(facts, presented=ANA, e164=ANA, source="p-preferred-identity")
        assert refused(evaluate(named)) == ("OUT-01", reason)


@pytest.mark.rule("NUM-13")
def test_suspended_callers_make_no_calls_of_any_kind() -> None:
    for facts in (TO_OUTSIDE, TO_BEN, TO_COLLEAGUE):
        assert refused(evaluate(device(facts, suspended=True))) == ("NUM-13", reasons.SUSPENDED)


@pytest.mark.rule("DEV-01", "OUT-09")
@pytest.mark.parametrize(
    ("policy", "sim", "company", "may"),
    [
        ("known", "verified", True, True),
        ("known", "unverified", True, False),
        ("known", "none", True, True),
        ("known", "verified", False, True),
        ("known", "unverified", False, False),
        ("known", "none", False, False),
        ("all", "verified", True, True),
        ("all", "unverified", True, False),
        ("all", "none", True, False),
        ("all", "none", False, False),
        ("none", "unverified", True, True),
        ("none", "none", False, True),
    ],
)
def test_nobody_calls_from_a_number_before_a_sim_is_verified(
    policy: str, sim: str, company: bool, may: bool
) -> None:
    for facts in (TO_OUTSIDE, TO_BEN):
        asked = replace(
            device(facts, company=company, has_sim=sim != "none", sim_verified=sim == "verified"),
            limits=Limits(verified_sim=policy),
        )
        if may:
            assert isinstance(evaluate(asked).plan.steps[0], (ToTrunk, Ring))
            assert ("DEV-01", "pass") in [(line.rule, line.outcome) for line in evaluate(asked).trace]
        else:
            assert refused(evaluate(asked)) == ("DEV-01", reasons.UNVERIFIED_SIM)


@pytest.mark.rule("DEV-01")
def test_a_colleague_may_be_rung_by_name_without_any_sim() -> None:
    facts = replace(device(TO_COLLEAGUE, sim_verified=False), limits=Limits(verified_sim="all"))
    assert isinstance(evaluate(facts).plan.steps[0], Ring)


@pytest.mark.rule("OUT-07")
@pytest.mark.parametrize(("switch", "wish"), [(True, False), (False, True), (True, True)])
def test_a_hidden_number_is_asserted_only(switch: bool, wish: bool) -> None:
    facts = caller(device(TO_OUTSIDE, numbers=held(hide=switch)), hidden=wish)
    decision = evaluate(facts)
    assert decision.plan.caller == Identity(asserted=ANA, hidden=True)
    assert decision.plan.number == ANA
    assert dialled(decision) == OUTSIDE


@pytest.mark.rule("OUT-09")
@pytest.mark.parametrize(
    ("called", "rule", "reason"),
    [
        (CalledNumber(dialled="0199", fault="too_short"), "NUM-01", reasons.INVALID_NUMBER),
        (CalledNumber(dialled="+999123", fault="unknown_country_code"), "NUM-01", reasons.INVALID_NUMBER),
        (CalledNumber(dialled="zoe", fault="not_a_number"), "NUM-01", reasons.NOT_FOUND),
        (CalledNumber(dialled="", fault="empty"), "NUM-01", reasons.NOT_FOUND),
    ],
)
def test_what_cannot_be_called(called: CalledNumber, rule: str, reason: str) -> None:
    assert refused(evaluate(replace(TO_OUTSIDE, called=called))) == (rule, reason)


def test_without_a_trunk_there_is_no_route() -> None:
    assert refused(evaluate(replace(TO_OUTSIDE, trunk_available=False))) == ("route", reasons.NO_ROUTE)


@pytest.mark.rule("NUM-11")
@pytest.mark.parametrize("state", [NumberState.PORTED_OUT, NumberState.PORTING_IN])
def test_a_number_that_is_elsewhere_is_called_over_a_trunk(state: NumberState) -> None:
    facts = replace(number(TO_BEN, state=state), trunk_available=True, callee=None)
    decision = evaluate(facts)
    assert dialled(decision) == BEN
    assert decision.plan.direction == "outgoing"


# -- classes --


def to(number_class: NumberClass, *, short: str = "") -> CallFacts:
    called = CalledNumber(dialled=short or OUTSIDE, e164="" if short else OUTSIDE, number_class=number_class)
    return replace(TO_OUTSIDE, called=replace(called, short=short, country="FR" if short else ""))


@pytest.mark.rule("OUT-04", "OUT-09")
@pytest.mark.parametrize(
    ("number_class", "short"),
    [
        (NumberClass.PREMIUM, ""),
        (NumberClass.SHARED_COST, ""),
        (NumberClass.PRICED_SHORT, "3200"),
        (NumberClass.UNKNOWN_SHORT, "12"),
    ],
)
def test_classes_that_are_barred(number_class: NumberClass, short: str) -> None:
    decision = evaluate(to(number_class, short=short))
    assert refused(decision) == ("OUT-04", reasons.BARRED_CLASS)
    assert number_class.value in decision.trace[-1].detail
    # The policy is a setting.
    open_to_all = replace(to(number_class, short=short), limits=Limits(barred_classes=()))
    assert isinstance(evaluate(open_to_all).plan.steps[0], ToTrunk)


@pytest.mark.rule("OUT-04")
@pytest.mark.parametrize(
    "number_class",
    sorted(set(NumberClass) - SHORT_CLASSES - {NumberClass.PREMIUM, NumberClass.SHARED_COST}),
)
def test_classes_that_may_be_called(number_class: NumberClass) -> None:
    decision = evaluate(to(number_class))
    assert dialled(decision) == OUTSIDE
    assert ("OUT-04", "pass") in [(line.rule, line.outcome) for line in decision.trace]


@pytest.mark.rule("OUT-04")
def test_any_class_may_be_barred_by_the_settings() -> None:
    facts = replace(to(NumberClass.MACHINE), limits=Limits(barred_classes=("machine",)))
    assert refused(evaluate(facts)) == ("OUT-04", reasons.BARRED_CLASS)


@pytest.mark.rule("OUT-04")
def test_the_settings_know_all_classes_and_bar_the_same_ones() -> None:
    assert set(get_args(BarredClass)) == set(NumberClass) - {NumberClass.EMERGENCY}
    assert CallSettings().barred_classes == Limits().barred_classes


@pytest.mark.rule("OUT-04")
def test_a_free_short_number_goes_to_a_trunk_with_its_country() -> None:
    decision = evaluate(to(NumberClass.FREE_SHORT, short="3114"))
    assert decision.plan.steps == (ToTrunk(number="3114;phone-context=+33", for_s=120.0),)
    no_trunk = replace(to(NumberClass.FREE_SHORT, short="3114"), trunk_available=False)
    assert refused(evaluate(no_trunk)) == ("route", reasons.NO_ROUTE)


@pytest.mark.rule("OUT-04")
def test_numbers_of_ours_are_never_barred() -> None:
    facts = replace(TO_BEN, called=replace(TO_BEN.called, number_class=NumberClass.PREMIUM))
    assert isinstance(evaluate(facts).plan.steps[0], Ring)


# -- emergency --


@pytest.mark.rule("OUT-05", "NUM-13")
def test_no_rule_stands_before_an_emergency_call() -> None:
    facts = CallFacts(
        source="device",
        now=0.0,
        device=CallerDevice(device="d", user="u", suspended=True),
        caller=CallerNumber(presented=BEN, e164=BEN, source="from"),
        called=CalledNumber(
            dialled="112",
            fault="no_country",
            foreign_host="other.example",
            short="112",
            number_class=NumberClass.EMERGENCY,
        ),
        loop=LoopFacts(max_forwards=0),
        limits=Limits(barred_classes=tuple(NumberClass)),
    )
    decision = evaluate(facts)
    assert refused(decision) == ("OUT-05", reasons.EMERGENCY)
    assert len(decision.trace) == 1
