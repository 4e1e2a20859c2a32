"""Tables of facts and plans, rule by rule; and what holds for all facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import (
    CalledNumber,
    Callee,
    CallerDevice,
    CallerNumber,
    CallFacts,
    Limits,
    LoopFacts,
    OwnCall,
)
from dialplan.plan import Decision, DeviceTarget, Identity, Refuse, Ring, ToTrunk
from numbering.e164 import E164
from numbering.models import CloudNumber, NumberState
from tests.dialplan.cases import (
    ANA,
    ANA_CALLEE,
    ANA_NUMBER,
    ANA_SECOND,
    BEN,
    BEN_CALLEE,
    FROM_CARRIER,
    OUTSIDE,
    SIM,
    STRANGER,
    TO_BEN,
    TO_COLLEAGUE,
    TO_OUTSIDE,
    target,
)


def refused(decision: Decision) -> tuple[str, str]:
    """Rule and reason of a refusal."""
    (step,) = decision.plan.steps
    assert isinstance(step, Refuse)
    last = decision.trace[-1]
    assert last.outcome == f"refuse:{step.reason}"
    return last.rule, step.reason


def rung(decision: Decision) -> list[str]:
    (step,) = decision.plan.steps
    assert isinstance(step, Ring)
    return [each.device for each in step.targets]


def dialled(decision: Decision) -> str:
    (step,) = decision.plan.steps
    assert isinstance(step, ToTrunk)
    return step.number


def number(facts: CallFacts, **changes: Any) -> CallFacts:
    assert facts.number is not None
    return replace(facts, number=replace(facts.number, **changes))


def caller(facts: CallFacts, **changes: Any) -> CallFacts:
    return replace(facts, caller=replace(facts.caller, **changes))


def device(facts: CallFacts, **changes: Any) -> CallFacts:
    assert facts.device is not None
    return replace(facts, device=replace(facts.device, **changes))


def held(state: NumberState = NumberState.ACTIVE, **changes: Any) -> tuple[CloudNumber, ...]:
    return (CloudNumber(e164=ANA, user="ana", state=state, **changes),)


# -- calls from a trunk --


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


# -- calls from a device to the outside --


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
        ("OUT-01", "choose"),
        ("OUT-07", "pass"),
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


# -- emergency --


@pytest.mark.rule("OUT-05")
@pytest.mark.parametrize(
    ("text", "countries", "emergency"),
    [
        ("112", (), True),
        ("911", ("FR",), True),
        ("15", ("FR",), True),
        ("1 5", ("FR",), True),
        ("116 000", ("FR",), True),
        ("115", ("RE",), True),
        ("999", ("GB",), True),
        ("999", ("FR",), False),
        ("999", ("FR", "GB"), True),
        ("111", ("NZ",), True),
        ("144", ("AT",), True),
        ("+33112", ("FR",), True),
        ("0033112", ("FR",), True),
        ("+112", ("FR",), True),
        ("+1911", ("US",), True),
        ("urn:service:sos", (), True),
        ("urn:service:sos.fire", (), True),
        ("1120", ("FR",), False),
        ("0112", ("FR",), False),
        ("3179", ("FR",), False),
        ("+33199001234", ("FR",), False),
        ("ana", ("FR",), False),
        ("", ("FR",), False),
    ],
)
def test_emergency_numbers(text: str, countries: tuple[str, ...], emergency: bool) -> None:
    facts = device(
        replace(TO_OUTSIDE, called=CalledNumber(dialled=text, fault="too_short")),
        emergency_countries=countries,
    )
    is_emergency = evaluate(facts).plan.steps == (Refuse(reason=reasons.EMERGENCY),)
    assert is_emergency is emergency


@pytest.mark.rule("OUT-05", "NUM-13")
def test_no_rule_stands_before_an_emergency_call() -> None:
    facts = CallFacts(
        source="device",
        now=0.0,
        device=CallerDevice(device="d", user="u", suspended=True),
        caller=CallerNumber(presented=BEN, e164=BEN, source="from"),
        called=CalledNumber(dialled="112", fault="no_country", foreign_host="other.example"),
        loop=LoopFacts(max_forwards=0),
    )
    assert refused(evaluate(facts)) == ("OUT-05", reasons.EMERGENCY)


# -- calls inside --


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


# -- all facts --

e164s = st.sampled_from([ANA, ANA_SECOND, BEN, OUTSIDE, STRANGER, SIM, E164("")])
texts = st.one_of(
    st.sampled_from(["112", "15", "ana-phone", "ben-phone", ANA, "", "urn:service:sos"]), st.text(max_size=12)
)
numbers = st.builds(
    CloudNumber,
    e164=e164s,
    user=st.sampled_from(["ana", "ben", ""]),
    state=st.sampled_from(NumberState),
    calls=st.booleans(),
    hide=st.booleans(),
    ring_seconds=st.sampled_from([0.0, 20.0, -1.0]),
    block=st.lists(st.one_of(e164s, st.just("anonymous")), max_size=2).map(tuple),
)
targets = st.lists(
    st.builds(target, st.sampled_from(["ana-phone", "ana-desktop", "ben-phone"])), max_size=3
).map(tuple)
facts_of_all_kinds = st.builds(
    CallFacts,
    source=st.sampled_from(["trunk", "device"]),
    now=st.floats(allow_nan=False),
    config_version=st.integers(),
    trunk=st.sampled_from(["", "carrier-a"]),
    device=st.none()
    | st.builds(
        CallerDevice,
        device=st.sampled_from(["ana-phone", "ben-phone"]),
        user=st.just("ana"),
        account=st.sampled_from(["acme", ""]),
        sip_username=texts,
        sim=e164s,
        suspended=st.booleans(),
        numbers=st.lists(numbers, max_size=3).map(tuple),
        default_number=e164s,
        linked_number=e164s,
        emergency_countries=st.lists(st.sampled_from(["FR", "GB", "XX"]), max_size=2).map(tuple),
    ),
    caller=st.builds(
        CallerNumber, presented=texts, e164=e164s, display=texts, hidden=st.booleans(), source=texts
    ),
    called=st.builds(
        CalledNumber, dialled=texts, e164=e164s, fault=texts, foreign_host=st.sampled_from(["", "x.example"])
    ),
    number=st.none() | numbers,
    callee=st.none()
    | st.builds(
        Callee,
        user=st.sampled_from(["ana", "ben"]),
        account=st.sampled_from(["acme", ""]),
        suspended=st.booleans(),
        targets=targets,
    ),
    colleague=st.booleans(),
    trunk_available=st.booleans(),
    loop=st.builds(
        LoopFacts,
        max_forwards=st.integers(min_value=-1, max_value=70),
        own_calls=st.lists(st.builds(OwnCall, call_ref=texts, called=e164s), max_size=2).map(tuple),
        diverted=st.lists(e164s, max_size=2).map(tuple),
    ),
)


@given(facts_of_all_kinds)
def test_every_fact_gives_one_plan_and_the_same_again(facts: CallFacts) -> None:
    decision = evaluate(facts)
    assert evaluate(facts) == decision
    assert repr(evaluate(facts)) == repr(decision)
    assert decision.plan.steps
    assert decision.trace
    assert decision.plan.config_version == facts.config_version


@given(facts_of_all_kinds)
def test_what_no_plan_may_do(facts: CallFacts) -> None:
    plan = evaluate(facts).plan
    refusals = [line for line in evaluate(facts).trace if line.outcome.startswith("refuse")]
    assert len(refusals) == sum(isinstance(step, Refuse) for step in plan.steps)
    for step in plan.steps:
        if isinstance(step, ToTrunk):
            # Nothing from outside goes outside again, and nothing goes outside without a proved number.
            assert facts.device is not None
            assert plan.number
            assert plan.caller.asserted == plan.number
            assert step.number == facts.called.e164
            assert facts.trunk_available
        if isinstance(step, Ring):
            assert step.targets
            assert step.for_s > 0
            devices: list[DeviceTarget] = list(step.targets)
            assert facts.device is None or all(each.device != facts.device.device for each in devices)
    if facts.device is not None and plan.caller.asserted:
        assert plan.caller.asserted in [held.e164 for held in facts.device.numbers]
    if plan.caller.hidden:
        assert not plan.caller.number
        assert not plan.caller.user
        assert not plan.caller.display
    if facts.called.foreign_host:
        assert all(isinstance(step, Refuse) for step in plan.steps)
