"""One trace, told to three kinds of readers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.audience import AUDIENCES, CUSTOMER, ENGINEER, SUPPORT
from callcontrol.b2bua.causes import CAUSES
from callcontrol.story import Story, Viewer, engineer_line, spaced, tell
from callcontrol.story_words import CALLER_RULES, local_time
from dialplan import reasons, stored
from dialplan.evaluate import evaluate
from dialplan.facts import RIO_KNOWN, CallFacts, GreetingFacts, Limits, RioFacts
from dialplan.plan import TraceLine
from dialplan.schedule import LocalClock
from numbering.e164 import E164
from numbering.hours import Hours, Span, WeeklySlot
from numbering.models import CloudNumber, Flow, FlowAction, Greeting
from tests.dialplan.cases import ANA, BEN, FROM_CARRIER, OUTSIDE, STRANGER, TO_BEN, TO_OUTSIDE, number
from tests.dialplan.test_any_facts import facts_of_all_kinds

SUNDAY = LocalClock(zone="Europe/Paris", date="2027-03-28", second=12_600)
WEEKDAYS = Hours(
    zone="Europe/Paris", slots=(WeeklySlot(days=(0, 1, 2, 3, 4), span=Span(start=540, end=1080)),)
)
NOBODY = Viewer(owns_number=lambda number: False, owns_user=lambda ref: False)
ANAS = Viewer(owns_number=lambda number: number == ANA, owns_user=lambda ref: ref == "ana")


def story_of(facts: CallFacts, *more: TraceLine, reason: str = "", status: int = 0) -> Story:
    decision = evaluate(facts)
    plan = decision.plan
    return Story(
        direction=plan.direction,
        caller=plan.caller.asserted or plan.caller.number or plan.caller.user,
        caller_hidden=plan.caller.hidden,
        called=plan.called,
        number=plan.number,
        user=plan.user,
        callee="" if facts.callee is None else facts.callee.user,
        status=status,
        reason=reason,
        trace=(*decision.trace, *more),
        facts=stored.join([stored.dump(facts)]),
    )


def texts(story: Story, audience: str, viewer: Viewer | None = None) -> list[str]:
    return [told.text for told in tell(story, audience, viewer)]


def closed(flow: Flow) -> CallFacts:
    greeting = Greeting(number=E164(ANA), account="acme", hours=WEEKDAYS, closed=flow)
    return replace(
        FROM_CARRIER,
        number=CloudNumber(e164=ANA, user=""),
        callee=None,
        greeting=GreetingFacts(greeting=greeting, clock=SUNDAY),
    )


@pytest.mark.rule("OPS-02")
def test_engineers_read_every_line() -> None:
    story = story_of(FROM_CARRIER)
    told = tell(story, ENGINEER)
    assert [each.rule for each in told] == [line.rule for line in story.trace]
    assert engineer_line(TraceLine(rule="INC-08", outcome="no_answer", detail="step 0")) == (
        "INC-08   no_answer  (step 0)"
    )


@pytest.mark.rule("OPS-02", "NUM-11")
def test_the_story_of_a_rio_does_not_tell_it() -> None:
    limits = Limits(announcement_uri="sip:announcements@media.example")
    called = replace(TO_OUTSIDE.called, dialled="3179", e164="", short="3179", country="FR")
    rio = RioFacts(state=RIO_KNOWN, rio="04P000000LJJ")
    story = story_of(replace(TO_OUTSIDE, called=called, limits=limits, rio=rio))
    assert "Your RIO is spoken, and sent to you as a message." in texts(story, CUSTOMER)
    for audience in AUDIENCES:
        assert rio.rio not in "".join(texts(story, audience))


@pytest.mark.rule("OPS-02")
def test_support_reads_when_and_why_calls_are_forwarded() -> None:
    told = texts(story_of(closed(Flow(action=FlowAction.FORWARD, to=OUTSIDE))), SUPPORT)
    assert told[-1] == (
        "Calls are forwarded to +33 1 99 00 12 34 outside opening hours: it was Sunday 03:30 in Paris."
    )
    told = texts(story_of(closed(Flow(action=FlowAction.REFUSE))), SUPPORT)
    assert told[-1] == "Calls are refused outside opening hours: it was Sunday 03:30 in Paris."


@pytest.mark.rule("OPS-02")
def test_support_reads_why_a_number_takes_no_calls() -> None:
    off = story_of(number(FROM_CARRIER, calls=False))
    assert texts(off, SUPPORT)[-1] == "Calls to the number are switched off; nobody answers."
    hours = story_of(replace(number(FROM_CARRIER, hours=WEEKDAYS), clock=SUNDAY))
    assert texts(hours, SUPPORT)[-1] == (
        "The number was off by its hours: it was Sunday 03:30 in Paris; nobody answers."
    )
    blocked = story_of(number(FROM_CARRIER, block=(STRANGER,)))
    assert "+33 6 39 98 99 99 is on the block list" in texts(blocked, SUPPORT)[-1]


@pytest.mark.rule("OPS-02")
def test_customers_read_why_a_number_takes_no_calls() -> None:
    hours = story_of(replace(number(FROM_CARRIER, hours=WEEKDAYS), clock=SUNDAY), reason=reasons.NUMBER_OFF)
    assert texts(hours, CUSTOMER) == [
        "A call from +3363998•••• to your number +33 6 39 98 10 01.",
        "Your number takes no calls now: it was Sunday 03:30 in Paris.",
        "This number is switched off now.",
    ]


@pytest.mark.rule("OPS-02")
def test_a_caller_does_not_learn_what_the_called_side_has_set() -> None:
    facts = number(TO_BEN, block=(ANA,))
    refused = story_of(facts, reason=reasons.BLOCKED, status=603)
    told = texts(refused, CUSTOMER, ANAS)
    assert told[-1] == CAUSES[reasons.DECLINED].sentence
    busy = texts(replace(refused, status=486), CUSTOMER, ANAS)
    assert busy[-1] == CAUSES[reasons.BUSY].sentence
    assert not any("list" in text for text in told + busy)
    asked = texts(replace(refused, explained=True), CUSTOMER, ANAS)
    assert asked[-1] == "The call is put through; what becomes of it is up to the called side."


def test_a_caller_learns_what_his_own_rules_say() -> None:
    facts = replace(TO_OUTSIDE, trunk_available=False)
    told = texts(replace(story_of(facts, reason=reasons.NO_ROUTE), explained=True), CUSTOMER, ANAS)
    assert told[-1] == CAUSES[reasons.NO_ROUTE].sentence


def forwarded(number: str, target: str, *more: TraceLine) -> tuple[TraceLine, ...]:
    return (TraceLine(rule="FWD-01", outcome="forward", detail=f"{number} to {target}, no-answer"), *more)


@pytest.mark.rule("OPS-02", "FWD-03")
def test_of_a_forwarded_call_each_reads_what_is_his() -> None:
    """Who forwards pays and reads why it was refused; what the target has set is the target's."""
    no_credit = TraceLine(rule="OUT-06", outcome="refuse:no_credit")
    unreachable = TraceLine(rule="INC-05", outcome="refuse:unreachable")
    sentence = CAUSES[reasons.NO_CREDIT].sentence
    owner = texts(story_of(FROM_CARRIER, *forwarded(ANA, BEN, no_credit, unreachable)), CUSTOMER, ANAS)
    assert owner[-2:] == ["The call is forwarded.", sentence]
    caller = texts(story_of(TO_BEN, *forwarded(BEN, OUTSIDE, no_credit)), CUSTOMER, ANAS)
    assert "The call is forwarded." not in caller
    assert sentence not in caller
    further = forwarded(ANA, BEN, *forwarded(BEN, OUTSIDE, no_credit))
    assert sentence not in texts(story_of(FROM_CARRIER, *further), CUSTOMER, ANAS)


def test_a_story_without_facts_is_told_all_the_same() -> None:
    for audience in AUDIENCES:
        for facts in (b"", b"\xc1", stored.join([b"\xc1"])):
            assert texts(replace(story_of(FROM_CARRIER), facts=facts), audience)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+33199001234", "+33 1 99 00 12 34"),
        ("+447700900123", "+44 7700 900123"),
        ("+3319900123", "+3319900123"),
        ("+15550123", "+15550123"),
        ("ana", "ana"),
    ],
)
def test_numbers_are_written_in_groups(number: str, shown: str) -> None:
    assert spaced(number) == shown


def test_a_time_names_the_day_the_place_and_the_holiday() -> None:
    assert local_time(SUNDAY) == "Sunday 03:30 in Paris"
    assert local_time(replace(SUNDAY, holiday="Easter")) == "Sunday 03:30 in Paris, a holiday (Easter)"
    assert local_time(replace(SUNDAY, zone="America/New_York")) == "Sunday 03:30 in New York"


# -- nothing of anybody else ----------------------------------------------------------------------------------------

SECRETS = [
    *("ana-phone", "ana-desktop", "ben-phone", "ben", "acme", "carrier-a", "x.example"),
    *("192.0.2.7", "cloudline.example", "sip:", "udp", BEN, OUTSIDE, STRANGER),
]
NUMBERS = [BEN, OUTSIDE, STRANGER, "+33639981002", "+33639980001"]
rules = st.sampled_from(
    [
        *sorted(CALLER_RULES),
        *("INC-01", "INC-02", "INC-03", "INC-04", "INC-05", "INC-06", "INC-07", "INC-08", "DEV-04", "DEV-05"),
        *("FWD-01", "FWD-02", "FWD-04", "GRT-01", "GRT-02", "GRT-04", "GRT-05", "GRT-06", "GRT-08", "GRT-09"),
        *("GRT-10", "leg", "plan", "transfer", "takeover", "outcome", "something new"),
    ]
)
outcomes = st.sampled_from(
    [
        *("pass", "ring", "wake", "dial", "hunt", "forward", "voicemail", "announce", "skip", "choose"),
        *("push", "push failed", "joined", "chosen", "answered", "something new"),
        *(f"refuse:{reason}" for reason in CAUSES),
        *CAUSES,
        "refuse:something new",
    ]
)
details = st.lists(st.sampled_from(SECRETS), max_size=3).map(" ".join)
lines = st.lists(
    st.builds(TraceLine, rule=rules, outcome=outcomes, detail=details, at=st.just(1.0)), max_size=6
)


@pytest.mark.rule("OPS-02")
@given(facts_of_all_kinds, lines, st.sampled_from([*CAUSES, ""]), st.sampled_from([ANAS, NOBODY]))
def test_a_customer_reads_nothing_of_anybody_else(
    facts: CallFacts, more: list[TraceLine], reason: str, viewer: Viewer
) -> None:
    facts = replace(facts, config_version=1)
    story = story_of(facts, *more, reason=reason, status=480)
    for text in texts(story, CUSTOMER, viewer):
        plain = text.replace(" ", "")
        for secret in SECRETS:
            assert not re.search(rf"(?<![\w]){re.escape(secret)}(?![\w])", text), text
        for e164 in NUMBERS:
            assert e164 not in plain, text
        if viewer is NOBODY:
            assert ANA not in plain, text


@given(facts_of_all_kinds, lines, st.sampled_from([*CAUSES, ""]))
def test_every_story_can_be_told(facts: CallFacts, more: list[TraceLine], reason: str) -> None:
    story = story_of(replace(facts, config_version=1), *more, reason=reason)
    for audience in AUDIENCES:
        for told in tell(story, audience):
            assert told.text
