"""Calls to a Greeting: who is hunted for in which order, and what happens outside of its hours (GRT-*)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dialplan import reasons
from dialplan.evaluate import evaluate
from dialplan.facts import CalledNumber, Callee, CallFacts, GreetingFacts, Limits, MemberFacts
from dialplan.plan import ANNOUNCEMENT, VOICEMAIL, Forward, Hunt, Member, SimTarget, Step, ToMedia, WakeTarget
from dialplan.schedule import read_clock
from numbering.e164 import E164
from numbering.hours import Hours, Span, WeeklySlot
from numbering.models import (
    CloudNumber,
    Flow,
    FlowAction,
    Greeting,
    GreetingMember,
    NumberState,
    Strategy,
)
from tests.dialplan.cases import ANA, FROM_CARRIER, OUTSIDE, SIM, STRANGER, TO_BEN, number, refused, target

COMPANY = E164("+33639987000")
PEOPLE = ("ana", "ben", "cleo")
MEDIA = Limits(
    voicemail_uri="sip:voicemail@media.example", announcement_uri="sip:announcements@media.example"
)
OFFICE = Hours(zone="Europe/Paris", slots=(WeeklySlot(days=(0, 1, 2, 3, 4), span=Span(start=540, end=1080)),))


def member(user: str, **changes: Any) -> MemberFacts:
    callee = Callee(user=user, account="acme", targets=(target(f"{user}-phone", user=user),))
    return replace(MemberFacts(callee=callee), **changes)


CALLED = GreetingFacts(
    greeting=Greeting(
        number=COMPANY, account="acme", members=tuple(GreetingMember(user=user) for user in PEOPLE)
    ),
    members=tuple(member(user) for user in PEOPLE),
)
TO_COMPANY = replace(
    FROM_CARRIER,
    called=CalledNumber(dialled=COMPANY, e164=COMPANY),
    number=CloudNumber(e164=COMPANY, user=""),
    callee=None,
    greeting=CALLED,
    limits=MEDIA,
)


def greeting(facts: CallFacts = TO_COMPANY, **changes: Any) -> CallFacts:
    """The call with other settings of the Greeting."""
    assert facts.greeting is not None
    called = facts.greeting
    return replace(facts, greeting=replace(called, greeting=replace(called.greeting, **changes)))


def with_members(*found: MemberFacts, facts: CallFacts = TO_COMPANY) -> CallFacts:
    """The call with other facts of some of the members."""
    assert facts.greeting is not None
    known = {each.callee.user: each for each in facts.greeting.members} | {
        each.callee.user: each for each in found
    }
    return replace(facts, greeting=replace(facts.greeting, members=tuple(known.values())))


def at(moment: str, facts: CallFacts) -> CallFacts:
    assert facts.greeting is not None
    hours = facts.greeting.greeting.hours
    assert hours is not None
    clock = read_clock(hours, datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
    return replace(facts, greeting=replace(facts.greeting, clock=clock))


def hunt(facts: CallFacts) -> Hunt:
    step = evaluate(facts).plan.steps[0]
    assert isinstance(step, Hunt)
    return step


def groups(facts: CallFacts) -> list[list[str]]:
    return [[each.user for each in group] for group in hunt(facts).groups]


def lines(facts: CallFacts, rule: str) -> list[tuple[str, str]]:
    return [(line.outcome, line.detail) for line in evaluate(facts).trace if line.rule == rule]


@pytest.mark.rule("GRT-01", "GRT-04")
def test_a_cascade_rings_one_after_the_other() -> None:
    decision = evaluate(TO_COMPANY)
    assert decision.plan.steps == (
        Hunt(
            greeting=COMPANY,
            groups=tuple((Member(user=user, for_s=20.0),) for user in PEOPLE),
            rounds=1,
            limit_s=180.0,
        ),
    )
    plan = decision.plan
    assert (plan.direction, plan.number, plan.user, plan.account) == ("incoming", COMPANY, "", "acme")
    assert [(line.rule, line.outcome, line.detail) for line in decision.trace] == [
        ("FWD-04", "pass", "no loop among 0 diversions"),
        ("INC-01", "pass", "+33639987000 is a Greeting of account acme"),
        ("INC-02", "pass", "nobody is blocked"),
        ("GRT-05", "pass", "open at all times"),
        ("GRT-04", "ring", "ana: ana-phone"),
        ("GRT-04", "ring", "ben: ben-phone"),
        ("GRT-04", "ring", "cleo: cleo-phone"),
        ("GRT-01", "hunt", "cascade: ana, then ben, then cleo; once, 180 s at the most"),
        ("GRT-06", "pass", "nobody answers: the caller is told so"),
    ]


@pytest.mark.rule("GRT-02")
def test_simultaneous_rings_all_at_once() -> None:
    facts = greeting(strategy=Strategy.SIMULTANEOUS)
    assert groups(facts) == [["ana", "ben", "cleo"]]
    assert lines(facts, "GRT-02") == [("hunt", "simultaneous: ana and ben and cleo; once, 180 s at the most")]


@pytest.mark.rule("GRT-09")
@pytest.mark.parametrize(("turn", "order"), [(0, "abc"), (1, "bca"), (2, "cab"), (3, "abc"), (10, "bca")])
def test_round_robin_begins_with_the_next_one(turn: int, order: str) -> None:
    facts = greeting(strategy=Strategy.ROUND_ROBIN)
    assert facts.greeting is not None
    facts = replace(facts, greeting=replace(facts.greeting, turn=turn))
    assert "".join(group[0][0] for group in groups(facts)) == order


@pytest.mark.rule("GRT-09")
@pytest.mark.parametrize(
    ("idle", "order"),
    [
        ((0.0, 0.0, 0.0), "abc"),
        ((30.0, 20.0, 10.0), "cba"),
        ((5.0, 0.0, 5.0), "bac"),
        ((0.0, 9.0, 0.0), "acb"),
    ],
)
def test_longest_idle_first_and_then_in_the_order_of_the_greeting(
    idle: tuple[float, float, float], order: str
) -> None:
    facts = greeting(strategy=Strategy.LONGEST_IDLE)
    facts = with_members(
        *[member(user, idle_since=since) for user, since in zip(PEOPLE, idle, strict=True)], facts=facts
    )
    assert "".join(group[0][0] for group in groups(facts)) == order


@pytest.mark.rule("GRT-09")
def test_equal_priorities_ring_together_the_lowest_first() -> None:
    members = tuple(
        GreetingMember(user=user, priority=priority) for user, priority in zip(PEOPLE, (2, 1, 2), strict=True)
    )
    facts = greeting(strategy=Strategy.PRIORITY, members=members)
    assert groups(facts) == [["ben"], ["ana", "cleo"]]
    assert lines(facts, "GRT-09")[0][1].startswith("priority: ben, then ana and cleo;")


@pytest.mark.rule("GRT-03")
@pytest.mark.parametrize(
    ("settings", "rounds", "limit_s"),
    [({}, 1, 180.0), ({"repeat": 2}, 3, 180.0), ({"repeat": 1, "limit_seconds": 75.0}, 2, 75.0)],
)
def test_repeats_have_an_overall_limit(settings: dict[str, Any], rounds: int, limit_s: float) -> None:
    step = hunt(greeting(**settings))
    assert (step.rounds, step.limit_s) == (rounds, limit_s)


@pytest.mark.rule("GRT-01")
def test_a_member_rings_for_its_own_time() -> None:
    members = (GreetingMember(user="ana", ring_seconds=12.0), GreetingMember(user="ben"))
    step = hunt(greeting(members=members, ring_seconds=25.0))
    assert [group[0].for_s for group in step.groups] == [12.0, 25.0]


@pytest.mark.rule("GRT-04")
def test_the_trace_says_how_each_member_can_be_reached() -> None:
    ben = Callee(
        user="ben",
        wake=(WakeTarget(user="ben", device="ben-phone", why="no_binding"),),
        sims=(SimTarget(user="ben", device="ben-gsm", sim=SIM, for_s=20.0),),
    )
    facts = with_members(MemberFacts(callee=ben), member("cleo", callee=Callee(user="cleo")))
    assert lines(facts, "GRT-04") == [
        ("ring", "ana: ana-phone"),
        ("ring", "ben: ben-phone by push, the SIM of ben-gsm"),
        ("pass", "cleo cannot be reached now, and costs no time unless that changes"),
    ]
    # whoever is away now may be there when the turn comes
    assert groups(facts) == [["ana"], ["ben"], ["cleo"]]


@pytest.mark.rule("GRT-10")
def test_busy_members_are_told_of_and_looked_up_again_at_their_turn() -> None:
    facts = with_members(member("ana", busy="talking"), member("ben", busy="offered"))
    assert groups(facts) == [["ana"], ["ben"], ["cleo"]]
    assert lines(facts, "GRT-10") == [
        ("skip", "ana is talking: left out, unless that has changed when the turn comes"),
        ("skip", "ben is being offered another call: left out, unless that has changed when the turn comes"),
    ]


@pytest.mark.rule("GRT-04", "NUM-13")
def test_members_who_are_suspended_gone_or_calling_are_left_out() -> None:
    gone = Callee(user="ana", suspended=True)
    facts = with_members(member("ana", callee=gone), member("cleo", calls=True))
    assert groups(facts) == [["ben"]]
    assert [detail for outcome, detail in lines(facts, "GRT-04") if outcome == "skip"] == [
        "ana is suspended, or no user any more",
        "cleo is the one who calls",
    ]


@pytest.mark.rule("GRT-04")
def test_a_member_who_calls_from_a_phone_is_not_offered_the_own_call() -> None:
    inside = replace(TO_BEN, called=TO_COMPANY.called, number=None, callee=None, greeting=CALLED)
    assert groups(inside) == [["ben"], ["cleo"]]
    assert evaluate(inside).plan.direction == "internal"


@pytest.mark.rule("GRT-04")
def test_a_member_who_is_named_twice_rings_once() -> None:
    members = tuple(GreetingMember(user=user) for user in ("ana", "ben", "ana"))
    assert groups(greeting(members=members)) == [["ana"], ["ben"]]


@pytest.mark.rule("INC-01", "NUM-13", "GRT-08")
@pytest.mark.parametrize(
    ("facts", "rule", "reason"),
    [
        (number(TO_COMPANY, state=NumberState.SUSPENDED), "INC-01", reasons.SUSPENDED),
        (number(TO_COMPANY, state=NumberState.EXPIRED), "INC-01", reasons.EXPIRED),
        (replace(TO_COMPANY, greeting=replace(CALLED, suspended=True)), "INC-01", reasons.SUSPENDED),
        (replace(TO_COMPANY, greeting=replace(CALLED, allowed=False)), "GRT-08", reasons.NOT_IN_PLAN),
        (greeting(block=(STRANGER,)), "INC-02", reasons.BLOCKED),
        (greeting(spam=("+3363*",)), "INC-02", reasons.BLOCKED),
        (number(TO_COMPANY, calls=False), "INC-03", reasons.NUMBER_OFF),
        (greeting(open=Flow(action=FlowAction.REFUSE)), "GRT-05", reasons.CLOSED),
        (greeting(members=()), "GRT-01", reasons.UNREACHABLE),
        (greeting(open=Flow(action=FlowAction.FORWARD)), "GRT-05", reasons.UNREACHABLE),
    ],
)
def test_greetings_that_take_no_call(facts: CallFacts, rule: str, reason: str) -> None:
    assert refused(evaluate(facts)) == (rule, reason)


@pytest.mark.rule("GRT-05")
@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-23T07:59:59", False),
        ("2026-11-23T08:00:00", True),
        ("2026-11-23T16:59:59", True),
        ("2026-11-23T17:00:00", False),
        ("2026-11-22T10:00:00", False),  # Sunday
    ],
)
def test_hours_choose_the_flow(moment: str, is_open: bool) -> None:
    facts = at(moment, greeting(hours=OFFICE, closed=Flow(action=FlowAction.FORWARD, to=OUTSIDE)))
    step = evaluate(facts).plan.steps[0]
    assert isinstance(step, Hunt if is_open else Forward)
    outcome, detail = lines(facts, "GRT-05")[0]
    assert outcome == ("pass" if is_open else "choose")
    assert detail.startswith("open: " if is_open else "closed: ")
    assert "Europe/Paris" in detail


@pytest.mark.rule("GRT-05")
def test_an_emergency_service_that_calls_back_finds_it_open() -> None:
    closed = at("2026-11-22T10:00:00", greeting(hours=OFFICE, block=(STRANGER,)))
    assert refused(evaluate(closed)) == ("INC-02", reasons.BLOCKED)
    assert groups(replace(closed, psap_callback=True)) == [["ana"], ["ben"], ["cleo"]]


FORWARD = Flow(action=FlowAction.FORWARD, to=OUTSIDE)
VOICE = Flow(action=FlowAction.VOICEMAIL)
PLAY = Flow(action=FlowAction.ANNOUNCE, to="closed-today")
MAIL = ToMedia(kind=VOICEMAIL, uri=MEDIA.voicemail_uri, number=COMPANY)
TOLD = ToMedia(kind=ANNOUNCEMENT, uri=MEDIA.announcement_uri, number=COMPANY, name="closed-today")


@pytest.mark.rule("GRT-05", "GRT-06")
@pytest.mark.parametrize(
    ("flow", "step"),
    [
        (FORWARD, Forward(to=OUTSIDE, number=COMPANY, account="acme", always=True)),
        (VOICE, MAIL),
        (PLAY, TOLD),
    ],
)
def test_each_flow_in_each_situation(flow: Flow, step: Step) -> None:
    assert evaluate(greeting(open=flow)).plan.steps == (step,)
    sunday = at("2026-11-22T10:00:00", greeting(hours=OFFICE, closed=flow))
    assert evaluate(sunday).plan.steps == (step,)
    after = evaluate(greeting(unanswered=flow))
    last = replace(step, always=False) if isinstance(step, Forward) else step
    assert after.plan.steps == (hunt(TO_COMPANY), last)
    assert after.trace[-1].rule == "GRT-06"
    # nobody to hunt for: at once
    assert evaluate(greeting(members=(), unanswered=flow)).plan.steps == (last,)


@pytest.mark.rule("GRT-05", "GRT-06")
@pytest.mark.parametrize("flow", [VOICE, PLAY])
def test_without_a_server_the_caller_is_told_that_nobody_is_there(flow: Flow) -> None:
    alone = replace(TO_COMPANY, limits=Limits())
    assert refused(evaluate(greeting(alone, open=flow))) == ("GRT-05", reasons.UNREACHABLE)
    sunday = at("2026-11-22T10:00:00", greeting(alone, hours=OFFICE, closed=flow))
    assert refused(evaluate(sunday)) == ("GRT-05", reasons.CLOSED)
    after = evaluate(greeting(alone, unanswered=flow))
    assert after.plan.steps == (hunt(TO_COMPANY),)
    assert "server" in after.trace[-1].detail


@pytest.mark.rule("GRT-05")
def test_a_closed_company_may_hunt_too() -> None:
    sunday = at("2026-11-22T10:00:00", greeting(hours=OFFICE, closed=Flow(action=FlowAction.HUNT)))
    assert groups(sunday) == [["ana"], ["ben"], ["cleo"]]


@pytest.mark.rule("INC-01")
def test_a_greeting_without_number_of_its_own_and_one_that_left() -> None:
    assert groups(replace(TO_COMPANY, number=None)) == [["ana"], ["ben"], ["cleo"]]
    inside = replace(
        TO_BEN,
        called=TO_COMPANY.called,
        number=CloudNumber(e164=COMPANY, user="", state=NumberState.PORTED_OUT),
        callee=None,
        greeting=CALLED,
    )
    assert evaluate(inside).plan.direction == "outgoing"
    assert refused(evaluate(inside)) == ("route", reasons.NO_ROUTE)


@pytest.mark.rule("INC-02")
def test_a_colleague_may_be_blocked_by_the_greeting() -> None:
    inside = replace(TO_BEN, called=TO_COMPANY.called, number=None, callee=None, greeting=CALLED)
    assert refused(evaluate(greeting(inside, block=(ANA,)))) == ("INC-02", reasons.BLOCKED)
