"""The call that a forward makes: in whose name, under which rules, and how it is shown (FWD-02 to FWD-04)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import (
    FROM_FORWARD,
    CalledNumber,
    Callee,
    CallerDevice,
    CallerNumber,
    CallFacts,
    ForwardFacts,
    GreetingFacts,
    Limits,
    LoopFacts,
    MemberFacts,
    OwnCall,
)
from dialplan.plan import VOICEMAIL, Diversion, Forward, Hunt, Identity, Ring, Shown, ToMedia, ToTrunk
from dialplan.usage import UsageFacts
from numbering.models import CloudNumber, Forwarding, ForwardMode, Greeting, GreetingMember, NumberState
from numbering.plans import NumberClass
from tests.dialplan.cases import (
    ANA,
    ANA_NUMBER,
    ANA_PHONE,
    ANA_SECOND,
    BEN,
    BEN_CALLEE,
    BEN_NUMBER,
    OUTSIDE,
    STRANGER,
    number,
    refused,
    target,
)

CALLER = Identity(
    number=STRANGER,
    display="Stranger",
    asserted=STRANGER,
    diverted=(Diversion(number=ANA, reason="no-answer"),),
)
HIDDEN = Identity(asserted=STRANGER, hidden=True, diverted=CALLER.diverted)
HOLDER = replace(ANA_PHONE, device="", sip_username="", sim="")
OUT = CallFacts(
    source=FROM_FORWARD,
    now=1_800_000_000.0,
    config_version=7,
    device=HOLDER,
    caller=CallerNumber(presented=ANA, e164=ANA, source="forward"),
    called=CalledNumber(dialled=OUTSIDE, e164=OUTSIDE, number_class=NumberClass.FIXED),
    trunk_available=True,
    forward=ForwardFacts(number=ANA, caller=CALLER, cause="no-answer"),
)
IN = replace(
    OUT,
    called=CalledNumber(dialled=BEN, e164=BEN, number_class=NumberClass.MOBILE),
    number=BEN_NUMBER,
    callee=BEN_CALLEE,
    trunk_available=False,
)
SHOWN = Shown(caller=CALLER, called=OUTSIDE)
SHOWN_INSIDE = Shown(caller=CALLER, called=BEN)


def holder(facts: CallFacts, **changes: Any) -> CallFacts:
    assert facts.device is not None
    return replace(facts, device=replace(facts.device, **changes))


def forward(facts: CallFacts, **changes: Any) -> CallFacts:
    assert facts.forward is not None
    return replace(facts, forward=replace(facts.forward, **changes))


@pytest.mark.rule("FWD-02", "FWD-03")
def test_the_outside_is_called_in_the_name_of_the_number_and_sees_the_caller() -> None:
    decision = evaluate(OUT)
    assert decision.plan.steps == (ToTrunk(number=OUTSIDE, for_s=120.0, shown=SHOWN),)
    plan = decision.plan
    assert (plan.direction, plan.caller, plan.called) == ("outgoing", CALLER, OUTSIDE)
    assert (plan.number, plan.user, plan.account) == (ANA, "ana", "acme")
    assert [(line.rule, line.outcome) for line in decision.trace] == [
        ("FWD-04", "pass"),
        ("DEV-01", "pass"),
        ("OUT-01", "choose"),
        ("FWD-02", "pass"),
        ("OUT-04", "pass"),
        ("route", "dial"),
    ]
    assert {line.rule: line.detail for line in decision.trace}["FWD-02"] == (
        f"{STRANGER} is shown, forwarded by {ANA} (no-answer)"
    )


@pytest.mark.rule("FWD-02", "OUT-07")
def test_who_hides_stays_hidden_and_is_asserted_to_carriers() -> None:
    decision = evaluate(forward(OUT, caller=HIDDEN))
    (step,) = decision.plan.steps
    assert isinstance(step, ToTrunk)
    assert step.shown == Shown(caller=HIDDEN, called=OUTSIDE)
    assert STRANGER not in " ".join(line.detail for line in decision.trace)


USED_UP = UsageFacts(number=ANA, zone="national", plan_s=600, used_s=600)
DEAR = UsageFacts(number=ANA, zone="world", priced=True, rate="standard/+", needed=5, credit=1)


@pytest.mark.rule("FWD-03")
@pytest.mark.parametrize(
    ("facts", "rule", "reason"),
    [
        (holder(OUT, suspended=True), "NUM-13", reasons.SUSPENDED),
        (holder(OUT, sim_verified=False), "DEV-01", reasons.UNVERIFIED_SIM),
        (holder(OUT, numbers=()), "OUT-01", reasons.NOT_YOUR_NUMBER),
        (holder(OUT, numbers=(replace(ANA_NUMBER, state=NumberState.EXPIRED),)), "OUT-01", reasons.EXPIRED),
        (holder(OUT, numbers=(replace(ANA_NUMBER, calls=False),)), "OUT-01", reasons.CALLS_OFF),
        (replace(OUT, device=None), "OUT-01", reasons.NOT_YOUR_NUMBER),
        (
            replace(OUT, called=replace(OUT.called, number_class=NumberClass.PREMIUM)),
            "OUT-04",
            reasons.BARRED_CLASS,
        ),
        (
            replace(OUT, called=replace(OUT.called, number_class=NumberClass.MACHINE)),
            "FWD-01",
            reasons.BARRED_CLASS,
        ),
        (replace(OUT, usage=USED_UP), "OUT-08", reasons.FAIR_USE),
        (replace(OUT, usage=DEAR), "OUT-06", reasons.NO_CREDIT),
        (replace(OUT, trunk_available=False), "route", reasons.NO_ROUTE),
        (
            replace(OUT, called=CalledNumber(dialled="x", fault="not_a_number")),
            "NUM-01",
            reasons.INVALID_NUMBER,
        ),
        (
            replace(OUT, called=CalledNumber(dialled="112", short="112", number_class=NumberClass.EMERGENCY)),
            "OUT-05",
            reasons.BARRED_CLASS,
        ),
    ],
)
def test_the_rules_of_outgoing_calls_hold(facts: CallFacts, rule: str, reason: str) -> None:
    assert refused(evaluate(facts)) == (rule, reason)


@pytest.mark.rule("FWD-03", "DEV-01")
def test_a_greeting_forwards_as_the_company_without_any_sim() -> None:
    company = CallerDevice(
        device="", user="ana", account="acme", company=True, numbers=(CloudNumber(e164=ANA, user=""),)
    )
    facts = replace(OUT, device=company, limits=Limits(verified_sim="all"))
    assert isinstance(evaluate(facts).plan.steps[0], ToTrunk)


@pytest.mark.rule("FWD-04")
@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(OUT, loop=LoopFacts(max_forwards=0)), "Max-Forwards is used up"),
        (replace(OUT, loop=LoopFacts(max_forwards=1)), "Max-Forwards is used up"),
        (replace(OUT, called=CalledNumber(dialled=ANA, e164=ANA)), f"{ANA} forwards to itself"),
        (
            forward(OUT, caller=replace(CALLER, diverted=(Diversion(number=OUTSIDE), *CALLER.diverted))),
            f"{OUTSIDE} has forwarded this call before",
        ),
        (
            replace(OUT, loop=LoopFacts(own_calls=(OwnCall(call_ref="c1", called=OUTSIDE),))),
            f"the call came for {OUTSIDE}",
        ),
        (
            replace(OUT, called=CalledNumber(dialled=STRANGER, e164=STRANGER)),
            f"{STRANGER} is the caller's own",
        ),
        (forward(IN, caller_user="ben"), f"{BEN} is the caller's own"),
    ],
)
def test_a_forward_never_leads_back(facts: CallFacts, words: str) -> None:
    decision = evaluate(facts)
    assert refused(decision) == ("FWD-04", reasons.LOOP)
    assert decision.trace[-1].detail == words


@pytest.mark.rule("FWD-02", "INC-05")
def test_a_number_of_ours_rings_and_shows_the_caller() -> None:
    decision = evaluate(IN)
    assert decision.plan.steps == (Ring(targets=BEN_CALLEE.targets, for_s=20.0, shown=SHOWN_INSIDE),)
    assert decision.plan.direction == "internal"


@pytest.mark.rule("INC-02", "FWD-02")
def test_the_lists_of_the_target_are_about_the_caller() -> None:
    assert refused(evaluate(number(IN, block=(STRANGER,)))) == ("INC-02", reasons.BLOCKED)
    assert isinstance(evaluate(number(IN, block=(ANA,))).plan.steps[0], Ring)
    hidden = forward(number(IN, block=("anonymous",)), caller=HIDDEN)
    assert refused(evaluate(hidden)) == ("INC-02", reasons.BLOCKED)
    seller = forward(number(IN, block=("class:commercial",)), labels=("commercial",))
    assert refused(evaluate(seller)) == ("INC-02", reasons.BLOCKED)


@pytest.mark.rule("FWD-01", "FWD-04")
def test_the_target_may_forward_in_its_turn() -> None:
    limits = Limits(voicemail_uri="sip:voicemail@media.example")
    onward = number(IN, forward=Forwarding(mode=ForwardMode.ALL, to=OUTSIDE), voicemail=True)
    decision = evaluate(replace(onward, limits=limits))
    assert decision.plan.steps == (
        Forward(to=OUTSIDE, number=BEN, user="ben", account="acme", always=True, shown=SHOWN_INSIDE),
        ToMedia(kind=VOICEMAIL, uri=limits.voicemail_uri, number=BEN, shown=SHOWN_INSIDE),
    )
    # back to the one who forwarded here: refused when its turn comes
    back = replace(OUT, device=replace(HOLDER, user="ben", numbers=(BEN_NUMBER,)))
    back = replace(
        back,
        caller=CallerNumber(presented=BEN, e164=BEN, source="forward"),
        called=CalledNumber(dialled=ANA, e164=ANA),
        number=ANA_NUMBER,
    )
    twice = replace(CALLER, diverted=(*CALLER.diverted, Diversion(number=BEN, reason="unconditional")))
    assert refused(evaluate(forward(back, number=BEN, caller=twice))) == ("FWD-04", reasons.LOOP)


@pytest.mark.rule("INC-01", "FWD-03")
def test_a_target_that_takes_no_calls_and_one_that_left() -> None:
    assert refused(evaluate(number(IN, state=NumberState.EXPIRED))) == ("INC-01", reasons.EXPIRED)
    left = replace(number(IN, state=NumberState.PORTED_OUT), trunk_available=True)
    assert isinstance(evaluate(left).plan.steps[0], ToTrunk)


@pytest.mark.rule("GRT-04", "FWD-02")
def test_a_greeting_is_hunted_without_the_caller_but_with_the_one_who_forwards() -> None:
    def reached(user: str, *, calls: bool = False) -> MemberFacts:
        return MemberFacts(
            callee=Callee(user=user, targets=(target(f"{user}-phone", user=user),)), calls=calls
        )

    called = GreetingFacts(
        greeting=Greeting(
            number=ANA_SECOND,
            account="acme",
            members=tuple(GreetingMember(user=user) for user in ("ana", "ben", "cleo")),
        ),
        members=(reached("ana"), reached("ben", calls=True), reached("cleo")),
    )
    facts = replace(OUT, called=CalledNumber(dialled=ANA_SECOND, e164=ANA_SECOND), greeting=called)
    (step,) = evaluate(facts).plan.steps
    assert isinstance(step, Hunt)
    assert [group[0].user for group in step.groups] == ["ana", "cleo"]
    assert step.shown == Shown(caller=CALLER, called=ANA_SECOND)
