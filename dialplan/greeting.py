"""Calls to a company number that hunts over members (GRT-01 to GRT-06, GRT-08 to GRT-10).

Who is rung in which order is decided here, once; how each member is reached is looked up when its turn comes.
What a hunt does is specified in ``docs/hunting.md``.
"""

from __future__ import annotations

from typing import Final

from dialplan import forwarding, hours, reasons, screening, states
from dialplan import trace as words
from dialplan.facts import CallFacts, GreetingFacts, MemberFacts
from dialplan.plan import (
    ANNOUNCEMENT,
    OFFERED,
    VOICEMAIL,
    Forward,
    Hunt,
    Identity,
    Member,
    Refuse,
    Step,
    ToMedia,
)
from dialplan.trace import Trace
from numbering.models import Flow, FlowAction, Greeting, GreetingMember, Strategy

RULES: Final[dict[Strategy, str]] = {
    Strategy.CASCADE: "GRT-01",
    Strategy.SIMULTANEOUS: "GRT-02",
    Strategy.ROUND_ROBIN: "GRT-09",
    Strategy.LONGEST_IDLE: "GRT-09",
    Strategy.PRIORITY: "GRT-09",
}


class Candidate:
    """A member that may be rung, with its place in the Greeting."""

    __slots__ = ("configured", "facts", "place")

    def __init__(self, configured: GreetingMember, facts: MemberFacts, place: int) -> None:
        self.configured = configured
        self.facts = facts
        self.place = place


def steps(facts: CallFacts, called: GreetingFacts, caller: Identity, trace: Trace) -> tuple[Step, ...]:
    """Steps of a call to a Greeting: the first rule that applies wins."""
    greeting = called.greeting
    reason = _known(facts, called, trace)
    if reason:
        return (Refuse(reason=reason),)
    refusal = screening.refused(facts, caller, trace)
    if refusal is not None:
        return (refusal,)
    if facts.number is not None and not facts.number.calls and not screening.is_psap(facts):
        detail = "calls to the number are switched off"
        return (Refuse(reason=trace.refuse("INC-03", reasons.NUMBER_OFF, detail)),)
    if hours.is_open(facts, called, trace):
        return _by_flow(facts, called, caller, greeting.open, reasons.UNREACHABLE, trace)
    return _by_flow(facts, called, caller, greeting.closed, reasons.CLOSED, trace)


def _known(facts: CallFacts, called: GreetingFacts, trace: Trace) -> str:
    greeting = called.greeting
    if facts.number is not None:
        reason = states.refused(facts.number, trace)
        if reason:
            return reason
    if called.suspended:
        detail = f"account {greeting.account} of Greeting {greeting.number} is suspended"
        return trace.refuse("INC-01", reasons.SUSPENDED, detail)
    if not called.allowed:
        detail = f"the plan of account {greeting.account} includes no Greeting"
        return trace.refuse("GRT-08", reasons.NOT_IN_PLAN, detail)
    trace.add("INC-01", words.PASS, f"{greeting.number} is a Greeting of account {greeting.account}")
    return ""


def _by_flow(
    facts: CallFacts, called: GreetingFacts, caller: Identity, flow: Flow, otherwise: str, trace: Trace
) -> tuple[Step, ...]:
    """Steps of the flow for opening hours, or for the others; ``otherwise``: reason when it cannot be done."""
    if flow.action is FlowAction.HUNT:
        return _hunt(facts, called, caller, trace)
    if flow.action is FlowAction.REFUSE:
        return (Refuse(reason=trace.refuse("GRT-05", reasons.CLOSED, "calls are refused at this time")),)
    step, detail = _done(facts, called.greeting, caller, flow, always=True)
    if step is None:
        return (Refuse(reason=trace.refuse("GRT-05", otherwise, detail)),)
    trace.add("GRT-05", _outcome(step), detail)
    return (step,)


def _unanswered(facts: CallFacts, greeting: Greeting, caller: Identity, trace: Trace) -> tuple[Step, ...]:
    """Steps of a call for which the hunt found nobody (GRT-06); empty: its best response goes back."""
    flow = greeting.unanswered
    if flow.action in (FlowAction.REFUSE, FlowAction.HUNT):
        trace.add("GRT-06", words.PASS, "nobody answers: the caller is told so")
        return ()
    step, detail = _done(facts, greeting, caller, flow, always=False)
    trace.add("GRT-06", words.PASS if step is None else _outcome(step), f"nobody answers: {detail}")
    return () if step is None else (step,)


def _done(
    facts: CallFacts, greeting: Greeting, caller: Identity, flow: Flow, *, always: bool
) -> tuple[Forward | ToMedia | None, str]:
    """The step of a flow and the words for it; None: it cannot be done, and why."""
    limits, number = facts.limits, greeting.number
    if flow.action is FlowAction.FORWARD:
        if not flow.to:
            return None, "the call is to be forwarded, but nobody said where to"
        step = Forward(
            to=flow.to,
            number=number,
            account=greeting.account,
            always=always,
            shown=forwarding.shown_before(facts, caller, number),
        )
        return step, f"the call goes to {flow.to}"
    if flow.action is FlowAction.VOICEMAIL:
        if not limits.voicemail_uri:
            return None, "there is no voicemail server"
        return ToMedia(kind=VOICEMAIL, uri=limits.voicemail_uri, number=number), "voicemail answers"
    if not limits.announcement_uri:
        return None, "there is no announcement server"
    media = ToMedia(kind=ANNOUNCEMENT, uri=limits.announcement_uri, number=number, name=flow.to)
    return media, f"announcement {flow.to or 'of the house'} is played"


def _outcome(step: Forward | ToMedia) -> str:
    if isinstance(step, Forward):
        return words.FORWARD
    return words.VOICEMAIL if step.kind == VOICEMAIL else words.ANNOUNCE


def _hunt(facts: CallFacts, called: GreetingFacts, caller: Identity, trace: Trace) -> tuple[Step, ...]:
    greeting = called.greeting
    rule = RULES[greeting.strategy]
    found = _candidates(facts, called, trace)
    if not found:
        after = Trace()
        instead = _unanswered(facts, greeting, caller, after)
        if instead:
            trace.add(rule, words.PASS, "there is nobody to hunt for")
            trace.join(after)
            return instead
        return (Refuse(reason=trace.refuse(rule, reasons.UNREACHABLE, "there is nobody to hunt for")),)
    for each in found:
        _tell(each, facts, caller, trace)
    groups = _groups(greeting, found, called.turn)
    rounds = 1 + max(greeting.repeat, 0)
    limit_s = greeting.limit_seconds if greeting.limit_seconds > 0 else facts.limits.hunt_limit_s
    order = ", then ".join([" and ".join([each.configured.user for each in group]) for group in groups])
    times = "once" if rounds == 1 else f"{rounds} times"
    how = greeting.strategy.value.replace("_", " ")
    trace.add(rule, words.HUNT, f"{how}: {order}; {times}, {limit_s:g} s at the most")
    hunt = Hunt(
        greeting=greeting.number,
        groups=tuple([tuple([_member(facts, greeting, each) for each in group]) for group in groups]),
        rounds=rounds,
        limit_s=limit_s,
    )
    return (hunt, *_unanswered(facts, greeting, caller, trace))


def _member(facts: CallFacts, greeting: Greeting, each: Candidate) -> Member:
    return Member(user=each.configured.user, for_s=_seconds(facts, greeting, each))


def _seconds(facts: CallFacts, greeting: Greeting, each: Candidate) -> float:
    for seconds in (each.configured.ring_seconds, greeting.ring_seconds):
        if seconds > 0:
            return seconds
    return facts.limits.ring_s


def _candidates(facts: CallFacts, called: GreetingFacts, trace: Trace) -> list[Candidate]:
    """Members in the order of the Greeting, each once, without those whom nobody may or need ring."""
    known = {member.callee.user: member for member in called.members}
    device = facts.device
    found: dict[str, Candidate] = {}
    for place, configured in enumerate(called.greeting.members):
        user = configured.user
        member = known.get(user)
        if user in found:
            continue
        if member is None or member.callee.suspended:
            trace.add("GRT-04", words.SKIP, f"{user} is suspended, or no user any more")
        elif member.calls or (facts.forward is None and device is not None and device.user == user):
            trace.add("GRT-04", words.SKIP, f"{user} is the one who calls")
        else:
            found[user] = Candidate(configured, member, place)
    return list(found.values())


def _tell(each: Candidate, facts: CallFacts, caller: Identity, trace: Trace) -> None:
    """One line about a member: busy, out of reach, or what rings when its turn comes."""
    user, member = each.configured.user, each.facts
    if member.busy:
        what = "is being offered another call" if member.busy == OFFERED else "is talking"
        trace.add(
            "GRT-10", words.SKIP, f"{user} {what}: left out, unless that has changed when the turn comes"
        )
        return
    callee = member.callee
    parts = list(dict.fromkeys([target.device for target in callee.targets]))
    parts.extend([f"{target.device} by push" for target in callee.wake if target.asleep])
    parts.extend([f"the SIM of {sim.device}" for sim in callee.sims])
    parts.extend([f"else the SIM of {sim.device}" for sim in callee.fallback])
    if parts:
        trace.add("GRT-04", words.RING, f"{user}: {', '.join(parts)}")
    else:
        trace.add(
            "GRT-04", words.PASS, f"{user} cannot be reached now, and costs no time unless that changes"
        )


def _groups(greeting: Greeting, found: list[Candidate], turn: int) -> list[list[Candidate]]:
    """Who rings at the same time, group after group."""
    strategy = greeting.strategy
    if strategy is Strategy.SIMULTANEOUS:
        return [found]
    if strategy is Strategy.PRIORITY:
        by_priority: dict[int, list[Candidate]] = {}
        for each in found:
            by_priority.setdefault(each.configured.priority, []).append(each)
        return [by_priority[priority] for priority in sorted(by_priority)]
    if strategy is Strategy.ROUND_ROBIN:
        first = turn % len(found)
        found = found[first:] + found[:first]
    elif strategy is Strategy.LONGEST_IDLE:
        found = sorted(found, key=_idle)
    return [[each] for each in found]


def _idle(each: Candidate) -> tuple[float, int]:
    return each.facts.idle_since, each.place
