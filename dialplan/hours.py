"""Is a number on, and is a Greeting open, at the time of the call (INC-03, SLOT-01, GRT-05)?

What a clock in their zone shows is a fact; what it means is worked out by `dialplan.schedule`.
"""

from __future__ import annotations

from dialplan import screening
from dialplan.facts import CallFacts, GreetingFacts
from dialplan.schedule import LocalClock, judge
from dialplan.trace import CHOOSE, PASS, Trace
from numbering.hours import Hours
from numbering.models import CloudNumber


def why_off(facts: CallFacts, number: CloudNumber, trace: Trace) -> str:
    """Why the number takes no calls now, in words; empty: it is on, and the trace says so."""
    if screening.is_psap(facts):
        trace.add("INC-03", PASS, "an emergency service calls back: neither switch nor hours are asked")
        return ""
    if not number.calls:
        return "calls to the number are switched off"
    if number.hours is None:
        trace.add("INC-03", PASS, "the number is on")
        return ""
    on, why = _judged(number.hours, facts.clock)
    if not on:
        return f"the number is off by its hours: {why}"
    trace.add("INC-03", PASS, f"the number is on: {why}")
    return ""


def is_open(facts: CallFacts, called: GreetingFacts, trace: Trace) -> bool:
    """Whether the Greeting takes calls by its flow for opening hours."""
    if screening.is_psap(facts):
        trace.add("GRT-05", PASS, "an emergency service calls back: no hours are asked")
        return True
    hours = called.greeting.hours
    if hours is None:
        trace.add("GRT-05", PASS, "open at all times")
        return True
    on, why = _judged(hours, called.clock)
    trace.add("GRT-05", PASS if on else CHOOSE, f"{'open' if on else 'closed'}: {why}")
    return on


def _judged(hours: Hours, clock: LocalClock | None) -> tuple[bool, str]:
    if clock is None:
        # A call is worth more than an hour: without a clock nobody is turned away.
        return True, f"the time in {hours.zone} cannot be told"
    verdict = judge(hours, clock)
    return verdict.on, verdict.why
