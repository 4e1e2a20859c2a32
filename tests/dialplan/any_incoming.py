"""Facts of the called side in all combinations: lists, hours, forwarding, SIMs, Greetings."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from dialplan.facts import (
    CalledNumber,
    Callee,
    CallerNumber,
    CallFacts,
    ForwardFacts,
    GreetingFacts,
    Limits,
    MemberFacts,
)
from dialplan.plan import Diversion, Identity, SimTarget, WakeTarget
from dialplan.schedule import LocalClock
from numbering.e164 import E164
from numbering.hours import Hours, Span, SpecialDay, WeeklySlot
from numbering.models import (
    CloudNumber,
    Flow,
    FlowAction,
    Forwarding,
    ForwardMode,
    Greeting,
    GreetingMember,
    NumberState,
    Strategy,
)
from numbering.plans import NumberClass
from tests.dialplan.cases import (
    ANA,
    ANA_SECOND,
    BEN,
    FROM_CARRIER,
    OUTSIDE,
    SIM,
    STRANGER,
    TO_BEN,
    TO_OUTSIDE,
    target,
)

PEOPLE = st.sampled_from(["ana", "ben", "cleo", ""])
DEVICES = st.sampled_from(["ana-phone", "ana-desktop", "ben-phone"])
e164s = st.sampled_from([ANA, ANA_SECOND, BEN, OUTSIDE, STRANGER, SIM, E164("")])
lists = st.lists(
    st.one_of(
        e164s, st.sampled_from(["anonymous", "+3363*", "*", "class:mobile", "class:commercial", "class:", ""])
    ),
    max_size=3,
).map(tuple)
hours = st.none() | st.builds(
    Hours,
    zone=st.sampled_from(["Europe/Paris", "Mars/Olympus"]),
    slots=st.lists(
        st.builds(
            WeeklySlot,
            days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
            span=st.builds(Span, start=st.integers(0, 1439), end=st.integers(0, 1440)),
        ),
        max_size=2,
    ).map(tuple),
    special=st.lists(st.builds(SpecialDay, date=st.just("2027-03-28")), max_size=1).map(tuple),
)
clocks = st.none() | st.builds(
    LocalClock,
    zone=st.just("Europe/Paris"),
    date=st.sampled_from(["2027-03-28", "2027-03-29", "2026-12-25"]),
    second=st.integers(0, 86399),
    holiday=st.sampled_from(["", "Noël"]),
    holiday_before=st.sampled_from(["", "Noël"]),
)
causes = st.lists(
    st.sampled_from(["no_answer", "busy", "declined", "unreachable"]), unique=True, max_size=4
).map(tuple)
numbers = st.builds(
    CloudNumber,
    e164=e164s,
    user=st.sampled_from(["ana", "ben", ""]),
    state=st.sampled_from([NumberState.ACTIVE, NumberState.ACTIVE, *NumberState]),
    calls=st.booleans(),
    hide=st.booleans(),
    ring_seconds=st.sampled_from([0.0, 20.0, -1.0]),
    block=lists,
    spam=lists,
    hours=hours,
    forward=st.builds(Forwarding, mode=st.sampled_from(ForwardMode), to=e164s, causes=causes),
    voicemail=st.booleans(),
    gsm_fallback=st.booleans(),
)
targets = st.lists(st.builds(target, DEVICES), max_size=3).map(tuple)
sims = st.lists(
    st.builds(SimTarget, user=st.just("ana"), device=DEVICES, sim=st.just(SIM), for_s=st.just(20.0)),
    max_size=1,
).map(tuple)
wakes = st.lists(
    st.builds(
        WakeTarget, user=st.just("ana"), device=DEVICES, why=st.sampled_from(["no_binding", "stale", "live"])
    ),
    max_size=2,
).map(tuple)
callees = st.builds(
    Callee,
    user=PEOPLE,
    account=st.sampled_from(["acme", ""]),
    suspended=st.booleans(),
    targets=targets,
    wake=wakes,
    sims=sims,
    fallback=sims,
    unproved=st.lists(DEVICES, max_size=1).map(tuple),
    block=lists,
    spam=lists,
)
flows = st.builds(Flow, action=st.sampled_from(FlowAction), to=e164s)
greetings = st.builds(
    GreetingFacts,
    greeting=st.builds(
        Greeting,
        number=e164s,
        account=st.just("acme"),
        strategy=st.sampled_from(Strategy),
        members=st.lists(
            st.builds(
                GreetingMember,
                user=PEOPLE,
                priority=st.integers(-1, 2),
                ring_seconds=st.sampled_from([0.0, 15.0, -3.0]),
            ),
            max_size=4,
        ).map(tuple),
        ring_seconds=st.sampled_from([20.0, 0.0]),
        repeat=st.integers(-1, 2),
        limit_seconds=st.sampled_from([0.0, 90.0]),
        hours=hours,
        open=flows,
        closed=flows,
        unanswered=flows,
        block=lists,
        spam=lists,
    ),
    suspended=st.booleans(),
    allowed=st.booleans(),
    members=st.lists(
        st.builds(
            MemberFacts,
            callee=callees,
            busy=st.sampled_from(["", "talking", "offered"]),
            idle_since=st.sampled_from([0.0, 1.5, 7.0]),
            calls=st.booleans(),
        ),
        max_size=4,
    ).map(tuple),
    clock=clocks,
    turn=st.integers(0, 9),
)
limits = st.builds(
    Limits,
    blocked_as=st.sampled_from(["declined", "busy"]),
    voicemail_uri=st.sampled_from(["", "sip:voicemail@media.example"]),
    announcement_uri=st.sampled_from(["", "sip:announcements@media.example"]),
)
identities = st.builds(
    Identity,
    number=st.just(""),
    asserted=e164s,
    hidden=st.booleans(),
    diverted=st.lists(st.builds(Diversion, number=e164s), max_size=3).map(tuple),
)
forwards = st.builds(
    ForwardFacts,
    number=e164s,
    caller=identities,
    cause=st.sampled_from(["unconditional", "no-answer", ""]),
    caller_user=PEOPLE,
    number_class=st.sampled_from([NumberClass.MOBILE, NumberClass.UNKNOWN]),
    labels=st.sampled_from([(), ("commercial",)]),
)


# Arbitrary facts are refused early; these come far.
_on = Hours(zone="Europe/Paris", slots=(WeeklySlot(days=tuple(range(7)), span=Span(start=0, end=1440)),))
_few = st.sampled_from([(), (), ("anonymous",), ("class:commercial",), ("+3319900*",)])
good_numbers = st.builds(
    CloudNumber,
    e164=st.just(BEN),
    user=st.just("ben"),
    calls=st.sampled_from([True, True, True, False]),
    ring_seconds=st.sampled_from([0.0, 20.0]),
    block=_few,
    spam=_few,
    hours=st.sampled_from([None, _on]),
    forward=st.builds(
        Forwarding, mode=st.sampled_from(ForwardMode), to=st.sampled_from([OUTSIDE, ""]), causes=causes
    ),
    voicemail=st.booleans(),
    gsm_fallback=st.booleans(),
)
good_callees = st.builds(
    Callee,
    user=st.just("ben"),
    account=st.just("acme"),
    targets=targets,
    wake=wakes,
    sims=sims,
    fallback=sims,
    block=_few,
)
good_greetings = st.builds(
    GreetingFacts,
    greeting=st.builds(
        Greeting,
        number=st.just(BEN),
        account=st.just("acme"),
        strategy=st.sampled_from(Strategy),
        members=st.lists(
            st.builds(GreetingMember, user=PEOPLE, priority=st.integers(1, 2)), min_size=1, max_size=4
        ).map(tuple),
        repeat=st.integers(0, 2),
        hours=st.sampled_from([None, _on]),
        open=st.one_of(st.just(Flow(action=FlowAction.HUNT)), flows),
        closed=flows,
        unanswered=flows,
    ),
    members=st.tuples(
        *[
            st.builds(
                MemberFacts,
                callee=st.builds(Callee, user=st.just(user), targets=targets, suspended=st.booleans()),
                busy=st.sampled_from(["", "talking", "offered"]),
                idle_since=st.sampled_from([0.0, 1.5, 7.0]),
                calls=st.sampled_from([False, False, True]),
            )
            for user in ("ana", "ben", "cleo")
        ]
    ),
    clock=clocks,
    turn=st.integers(0, 9),
)
_calls = st.sampled_from([FROM_CARRIER, TO_BEN])
_called = CalledNumber(dialled=BEN, e164=BEN)


def _to_number(
    call: CallFacts, number: CloudNumber, callee: Callee, bounds: Limits, hidden: bool
) -> CallFacts:
    caller = replace(call.caller, hidden=hidden)
    return replace(call, called=_called, number=number, callee=callee, limits=bounds, caller=caller)


def _to_greeting(call: CallFacts, greeting: GreetingFacts, bounds: Limits) -> CallFacts:
    return replace(call, called=_called, number=None, callee=None, greeting=greeting, limits=bounds)


def _by_forward(facts: CallFacts, caller: Identity, trunk_available: bool) -> CallFacts:
    return replace(
        TO_OUTSIDE,
        source="forward",
        called=facts.called,
        number=facts.number,
        callee=facts.callee,
        greeting=facts.greeting,
        limits=facts.limits,
        clock=facts.clock,
        caller=CallerNumber(presented=ANA, e164=ANA, source="forward"),
        forward=ForwardFacts(number=ANA, caller=caller, cause="no-answer"),
        trunk_available=trunk_available,
    )


to_numbers = st.builds(_to_number, _calls, good_numbers, good_callees, limits, st.booleans())
to_greetings = st.builds(_to_greeting, _calls, good_greetings, limits)
by_forwards = st.builds(
    _by_forward,
    st.one_of(to_numbers, to_greetings, st.just(TO_OUTSIDE)),
    st.builds(
        Identity,
        number=st.just(STRANGER),
        asserted=st.just(STRANGER),
        diverted=st.lists(
            st.builds(Diversion, number=st.sampled_from([ANA, ANA_SECOND, BEN])), max_size=2
        ).map(tuple),
    ),
    st.booleans(),
)
