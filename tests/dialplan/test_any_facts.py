"""What holds for all facts: one plan, the same again, and what no plan may do."""

from __future__ import annotations

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
    LoopFacts,
    OwnCall,
)
from dialplan.plan import DeviceTarget, Refuse, Ring, ToTrunk
from dialplan.usage import UsageFacts
from numbering.e164 import E164
from numbering.models import CloudNumber, NumberState
from numbering.plans import NumberClass
from tests.dialplan.cases import (
    ANA,
    ANA_SECOND,
    BEN,
    OUTSIDE,
    SIM,
    STRANGER,
    target,
)

CODES = {"FR": "33", "GB": "44", "": "0", "XX": "0"}
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
        company=st.booleans(),
        has_sim=st.booleans(),
        sim_verified=st.booleans(),
        numbers=st.lists(numbers, max_size=3).map(tuple),
        default_number=e164s,
        linked_number=e164s,
        emergency_countries=st.lists(st.sampled_from(["FR", "GB", "XX"]), max_size=2).map(tuple),
    ),
    caller=st.builds(
        CallerNumber, presented=texts, e164=e164s, display=texts, hidden=st.booleans(), source=texts
    ),
    called=st.builds(
        CalledNumber,
        dialled=texts,
        e164=e164s,
        fault=texts,
        foreign_host=st.sampled_from(["", "x.example"]),
        short=st.sampled_from(["", "", "3179", "urn:service:sos"]),
        country=st.sampled_from(["FR", "GB", "", "XX"]),
        number_class=st.sampled_from(NumberClass),
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
    usage=st.none()
    | st.builds(
        UsageFacts,
        number=e164s,
        zone=st.sampled_from(["national", "europe", ""]),
        plan_s=st.integers(-1, 3),
        used_s=st.integers(0, 3),
        package=st.sampled_from(["", "p"]),
        package_s=st.integers(-1, 3),
        package_used_s=st.integers(0, 3),
        callees=st.integers(0, 3),
        max_callees=st.integers(0, 3),
        priced=st.booleans(),
        rate=st.sampled_from(["", "standard/+"]),
        needed=st.integers(0, 3),
        credit=st.integers(0, 3),
    ),
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
            assert step.number in (
                facts.called.e164,
                f"{facts.called.short};phone-context=+{CODES[facts.called.country]}",
            )
            assert facts.called.number_class not in facts.limits.barred_classes
            assert facts.called.number_class is not NumberClass.EMERGENCY
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
    if facts.device is not None and facts.called.number_class is NumberClass.EMERGENCY:
        assert plan.steps == (Refuse(reason=reasons.EMERGENCY),)
    if facts.called.foreign_host:
        assert all(isinstance(step, Refuse) for step in plan.steps)
