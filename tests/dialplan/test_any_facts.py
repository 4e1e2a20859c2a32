"""What holds for all facts: one plan, the same again, and what no plan may do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import (
    CalledNumber,
    CallerDevice,
    CallerNumber,
    CallFacts,
    ForwardFacts,
    LoopFacts,
    OwnCall,
    RioFacts,
)
from dialplan.plan import RIO, Forward, Hunt, Plan, Refuse, Ring, ToMedia, ToTrunk
from dialplan.usage import UsageFacts
from numbering.plans import NumberClass
from tests.dialplan.any_incoming import (
    by_forwards,
    callees,
    clocks,
    e164s,
    forwards,
    greetings,
    limits,
    numbers,
    to_greetings,
    to_numbers,
)
from tests.dialplan.cases import ANA

CODES = {"FR": "33", "GB": "44", "": "0", "XX": "0"}
texts = st.one_of(
    st.sampled_from(["112", "15", "ana-phone", "ben-phone", ANA, "", "urn:service:sos"]), st.text(max_size=12)
)
arbitrary_facts = st.builds(
    CallFacts,
    source=st.sampled_from(["trunk", "device", "forward"]),
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
        CallerNumber,
        presented=texts,
        e164=e164s,
        display=texts,
        hidden=st.booleans(),
        source=texts,
        number_class=st.sampled_from([NumberClass.MOBILE, NumberClass.UNKNOWN]),
        labels=st.sampled_from([(), ("commercial",)]),
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
    callee=st.none() | callees,
    limits=limits,
    clock=clocks,
    greeting=st.none() | greetings,
    forward=st.none() | forwards,
    psap_callback=st.booleans(),
    rio=st.none()
    | st.builds(
        RioFacts, state=st.sampled_from(["known", "none", "unavailable"]), rio=st.just("04P000000LJJ")
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


facts_of_all_kinds = st.one_of(arbitrary_facts, to_numbers, to_greetings, by_forwards)


@given(facts_of_all_kinds)
def test_every_fact_gives_one_plan_and_the_same_again(facts: CallFacts) -> None:
    decision = evaluate(facts)
    assert evaluate(facts) == decision
    assert repr(evaluate(facts)) == repr(decision)
    assert decision.plan.steps
    assert decision.trace
    assert decision.plan.config_version == facts.config_version


@given(facts_of_all_kinds)
def test_a_refusal_is_told_once_and_is_the_last_word(facts: CallFacts) -> None:
    decision = evaluate(facts)
    refusals = [line for line in decision.trace if line.outcome.startswith("refuse")]
    refused = [step for step in decision.plan.steps if isinstance(step, Refuse)]
    assert [line.outcome for line in refusals] == [f"refuse:{step.reason}" for step in refused]
    if refused:
        assert decision.plan.steps == (refused[0],)
        assert decision.trace[-1] is refusals[0]


@given(facts_of_all_kinds)
def test_what_no_plan_may_do(facts: CallFacts) -> None:
    plan = evaluate(facts).plan
    for step in plan.steps:
        if isinstance(step, ToTrunk):
            goes_outside(facts, plan, step)
        if isinstance(step, Ring):
            rings(facts, step)
        if isinstance(step, Hunt):
            hunts(facts, step)
        if isinstance(step, Forward):
            assert step.to
            assert not step.always or not step.when
        if isinstance(step, ToMedia):
            assert step.uri
            assert not step.values or (step.kind, step.number) == (RIO, plan.number)
    if facts.forward is None:
        if facts.device is not None and plan.caller.asserted:
            assert plan.caller.asserted in [held.e164 for held in facts.device.numbers]
        if facts.device is not None and facts.called.number_class is NumberClass.EMERGENCY:
            assert plan.steps == (Refuse(reason=reasons.EMERGENCY),)
        if facts.called.foreign_host:
            assert all(isinstance(step, Refuse) for step in plan.steps)
    else:
        is_forwarded(facts, facts.forward, plan)
    if plan.caller.hidden:
        assert not plan.caller.number
        assert not plan.caller.user
        assert not plan.caller.display


def goes_outside(facts: CallFacts, plan: Plan, step: ToTrunk) -> None:
    """Nothing from outside goes outside again but by a forward, and nothing without a number that is held."""
    assert facts.device is not None
    assert plan.number
    if facts.forward is None:
        assert plan.caller.asserted == plan.number
    else:
        assert plan.number == facts.forward.number
        assert facts.forward.number in [held.e164 for held in facts.device.numbers]
    assert step.number in (
        facts.called.e164,
        f"{facts.called.short};phone-context=+{CODES[facts.called.country]}",
    )
    assert facts.called.number_class not in facts.limits.barred_classes
    assert facts.called.number_class is not NumberClass.EMERGENCY
    assert facts.trunk_available


def rings(facts: CallFacts, step: Ring) -> None:
    assert step.targets or step.sims or step.fallback or any(each.asleep for each in step.wake)
    assert step.for_s > 0
    if facts.device is not None:
        rung: list[str] = [each.device for each in step.targets]
        rung.extend(each.device for each in step.wake)
        rung.extend(each.device for each in (*step.sims, *step.fallback))
        assert facts.device.device not in rung


def hunts(facts: CallFacts, step: Hunt) -> None:
    """Each member once, nobody who is suspended, and not the caller."""
    assert facts.greeting is not None
    members = [member for group in step.groups for member in group]
    users = [member.user for member in members]
    assert users
    assert all(step.groups)
    assert len(set(users)) == len(users)
    assert step.rounds >= 1
    assert step.limit_s > 0
    assert all(member.for_s > 0 for member in members)
    known = {member.callee.user: member for member in facts.greeting.members}
    assert not any(known[user].callee.suspended or known[user].calls for user in users)
    if facts.forward is None and facts.device is not None:
        assert facts.device.user not in users


def is_forwarded(facts: CallFacts, forward: ForwardFacts, plan: Plan) -> None:
    """All that a forward does is shown as such, in the name of the number that forwards, and never goes back."""
    assert plan.caller == forward.caller
    been = {forward.number, forward.caller.asserted, *(each.number for each in forward.caller.diverted)}
    for step in plan.steps:
        if not isinstance(step, Refuse):
            assert step.shown is not None
            assert (step.shown.caller, step.shown.called) == (forward.caller, facts.called.e164)
            assert facts.called.e164 not in been
            assert facts.called.number_class is not NumberClass.EMERGENCY
