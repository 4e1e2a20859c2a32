"""The sentences of a story: one for each rule and outcome, for support and for customers (OPS-02).  Pure.

Support reads the details that the rules wrote down, within plain sentences; a line that nobody has words for is told with
its rule.  A customer never gets a detail: his sentences are taken from tables, and what is put into them is a time, a
length, or a count.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final

from callcontrol.b2bua.causes import CAUSES
from dialplan import trace as words
from dialplan.facts import CallFacts
from dialplan.plan import TraceLine
from dialplan.schedule import LocalClock, judge

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

CALLER_RULES: Final = frozenset(
    (
        *("OUT-01", "OUT-02", "OUT-03", "OUT-04", "OUT-05", "OUT-06", "OUT-07", "OUT-08", "OUT-10"),
        *("DEV-01", "NUM-01", "NUM-11", "NUM-13", "relay", "internal", "route", "trunk"),
    )
)
"""Rules that are the calling side's business; all others are the called side's."""


def local_time(clock: LocalClock) -> str:
    """``Sunday 02:30 in Paris``, with the holiday that it is."""
    place = clock.zone.rpartition("/")[2].replace("_", " ")
    hour, minute = divmod(clock.second // 60, 60)
    shown = f"{_DAYS[date.fromisoformat(clock.date).weekday()]} {hour:02}:{minute:02} in {place}"
    return f"{shown}, a holiday ({clock.holiday})" if clock.holiday else shown


def _clock(facts: CallFacts | None) -> LocalClock | None:
    if facts is None:
        return None
    return facts.greeting.clock if facts.greeting is not None else facts.clock


def _at_that_time(facts: CallFacts | None) -> str:
    """Behind a sentence about hours; empty when no clock was asked."""
    clock = _clock(facts)
    return "" if clock is None else f": it was {local_time(clock)}"


def _head(outcome: str) -> tuple[str, str]:
    """``refuse``, ``blocked`` of ``refuse:blocked``."""
    head, _, reason = outcome.partition(":")
    return head, reason


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _plain(text: str) -> str:
    """A detail that begins with somebody's name or number: these are written as they are."""
    return f"{text}." if text else ""


# -- support --------------------------------------------------------------------------------------------------------

Words = Callable[[TraceLine, CallFacts | None], str]


def support_phrase(line: TraceLine, facts: CallFacts | None) -> str:
    """The sentence of a line; empty when it says nothing that matters."""
    head, reason = _head(line.outcome)
    if head == words.REFUSE and line.rule not in ("INC-03", "GRT-05"):
        return _refused(line, reason)
    own = _SUPPORT.get(line.rule)
    if own is not None:
        return own(line, facts)
    if head == words.PASS or line.rule in _SILENT:
        return ""
    cause = CAUSES.get(line.outcome)
    if cause is not None:
        return f"{cause.sentence[:-1]} ({line.detail})." if line.detail else cause.sentence
    return _sentence(f"{line.detail or line.outcome} (rule {line.rule})")


_SILENT: Final = frozenset(("FWD-02", "FWD-04", "OUT-05", "internal"))


def _refused(line: TraceLine, reason: str) -> str:
    """The reason's own sentence, and the detail that the rule wrote down."""
    cause = CAUSES.get(reason)
    plain = cause.sentence[:-1] if cause is not None else reason.replace("_", " ")
    return f"{plain}: {line.detail}." if line.detail else f"{plain}."


def _called(line: TraceLine, facts: CallFacts | None) -> str:
    if line.rule == "GRT-04" and line.outcome == words.RING:
        user, _, ways = line.detail.partition(": ")
        return f"{user} can be reached: {ways}."
    return _plain(line.detail)


def _switch(line: TraceLine, facts: CallFacts | None) -> str:
    head, _ = _head(line.outcome)
    number = None if facts is None else facts.number
    clock = _clock(facts)
    if head == words.PASS:
        return f"The number was on{_at_that_time(facts)}." if clock is not None else ""
    then = "voicemail answers" if head == words.VOICEMAIL else "nobody answers"
    if number is not None and not number.calls:
        return f"Calls to the number are switched off; {then}."
    return f"The number was off by its hours{_at_that_time(facts)}; {then}."


def _hours(line: TraceLine, facts: CallFacts | None) -> str:
    """Of a Greeting: open, or closed and what is done then."""
    head, reason = _head(line.outcome)
    time = _at_that_time(facts)
    if head == words.PASS:
        return f"The company was open{time}." if time else ""
    if head == words.CHOOSE:
        return ""  # what it chose is the next line
    outside = "outside opening hours" if _is_closed(facts) else "at this time"
    if head == words.FORWARD:
        target = line.detail.rpartition(" ")[2]
        return f"Calls are forwarded to {target} {outside}{time}."
    if head == words.VOICEMAIL:
        return f"Voicemail answers {outside}{time}."
    if head == words.ANNOUNCE:
        return f"An announcement is played {outside}{time}."
    if head == words.REFUSE and reason == "closed":
        return f"Calls are refused {outside}{time}."
    return _refused(line, reason)


def _is_closed(facts: CallFacts | None) -> bool:
    greeting = None if facts is None else facts.greeting
    if greeting is None or greeting.clock is None or greeting.greeting.hours is None:
        return False
    return not judge(greeting.greeting.hours, greeting.clock).on


def _all_forwarded(line: TraceLine, facts: CallFacts | None) -> str:
    if _head(line.outcome)[0] != words.FORWARD:
        return ""
    return _sentence(line.detail.replace("all calls go to", "all calls are forwarded to"))


def _ring(line: TraceLine, facts: CallFacts | None) -> str:
    if _head(line.outcome)[0] != words.RING:
        return _sentence(line.detail)
    devices, found, rest = line.detail.partition(" at the same time")
    if not found:
        return _sentence(line.detail)
    return f"{devices} {'ring at the same time' if ',' in devices else 'rings'}{rest}."


def _wake(line: TraceLine, facts: CallFacts | None) -> str:
    device = line.detail.partition(" ")[0]
    if line.outcome == "push":
        return f"{device} is asleep; a push is sent to wake it."
    if line.outcome == "push failed":
        return f"{device} could not be woken: the push failed at once."
    return ""  # the plan's own line; the push says when


def _missed(line: TraceLine, facts: CallFacts | None) -> str:
    head, _ = _head(line.outcome)
    if head in (words.FORWARD, words.VOICEMAIL):
        return _sentence(line.detail)
    if head == words.PASS:
        return _sentence(line.detail)
    cause = CAUSES.get(line.outcome)
    return cause.sentence if cause is not None else ""


def _hunt(line: TraceLine, facts: CallFacts | None) -> str:
    if _head(line.outcome)[0] != words.HUNT:
        return _sentence(line.detail)
    strategy, _, rest = line.detail.partition(": ")
    return f"{_STRATEGIES.get(strategy, 'The members ring')}: {rest}."


_STRATEGIES: Final = {
    "cascade": "The members ring one after the other",
    "simultaneous": "All members ring at the same time",
    "round robin": "The members ring in turn, each call beginning with the next one",
    "longest idle": "The members ring one after the other, who had no call for longest first",
    "priority": "The members ring by their priority",
}


def _answered(line: TraceLine, facts: CallFacts | None) -> str:
    return f"{line.detail or 'Somebody'} answers."


def _joined(line: TraceLine, facts: CallFacts | None) -> str:
    return f"{line.detail} has woken up and rings."


def _route(line: TraceLine, facts: CallFacts | None) -> str:
    return _plain(line.detail.replace("over a trunk", "is called over the telephone network"))


def _trunk(line: TraceLine, facts: CallFacts | None) -> str:
    if line.outcome == "chosen":
        return f"The call is handed to carrier {line.detail.partition(' ')[0]}."
    return "No carrier took the call."


def _leg(line: TraceLine, facts: CallFacts | None) -> str:
    who = line.detail.partition(" ")[0]
    what = _LEG_WORDS.get(line.outcome, line.outcome.replace("_", " "))
    return f"{who} {what}." if not who.startswith("sip:") else f"The carrier {what}."


_LEG_WORDS: Final = {
    "busy": "was busy",
    "declined": "declined",
    "unreachable": "could not be reached",
    "no_answer": "did not answer",
    "trunk_failed": "could not complete the call",
}


def _outcome(line: TraceLine, facts: CallFacts | None) -> str:
    cause = CAUSES.get(line.outcome)
    return f"The end: {cause.sentence[:1].lower()}{cause.sentence[1:]}" if cause is not None else ""


def _chosen(line: TraceLine, facts: CallFacts | None) -> str:
    if _head(line.outcome)[0] != words.CHOOSE:
        return ""
    number, _, why = line.detail.partition(": ")
    if line.detail.endswith(" in forward"):
        return ""  # the forward itself has said so
    if why:
        return f"The call is made with {number} ({why})."
    return f"The call is made with {line.detail.partition(' ')[0]}, which the device named."


def _forwarded(line: TraceLine, facts: CallFacts | None) -> str:
    if line.outcome != words.FORWARD:
        return _sentence(line.detail)
    target, _, cause = line.detail.partition(" to ")[2].partition(", ")
    return f"The call is forwarded to {target}{_CAUSES.get(cause, '')}."


_CAUSES: Final = {
    "no-answer": ", because nobody answered",
    "user-busy": ", because of a busy line",
    "deflection": ", because it was declined",
    "unavailable": ", because nobody could be reached",
}
"""Words of RFC 5806."""


def _hunting(line: TraceLine, facts: CallFacts | None) -> str:
    if line.outcome == words.HUNT:
        return ""  # the plan's own line says who rings
    if line.outcome == "repeat":
        return f"The members ring again: {line.detail}."
    return "The hunt has lasted as long as it may."


def _member(line: TraceLine, facts: CallFacts | None) -> str:
    if line.outcome == words.HUNT:
        return _hunt(line, facts)
    return f"{line.detail} did not answer in time." if line.outcome == "no_answer" else _plain(line.detail)


def _unanswered(line: TraceLine, facts: CallFacts | None) -> str:
    if line.outcome in CAUSES:
        return f"No member took the call: {line.detail}."
    if line.outcome == "announcement":
        return "An announcement is played."
    return _sentence(line.detail)


def _by_gsm(line: TraceLine, facts: CallFacts | None) -> str:
    if line.outcome == "gsm":
        return f"{_sentence(line.detail)[:-1]} is called."
    if line.rule == "INC-05":
        return _ring(line, facts)
    if line.outcome == words.RING:
        return _sentence(line.detail.replace(" for ", " rings for ", 1))
    user, _, rest = line.detail.partition(" within ")
    return f"{user} could not be reached within {rest}." if rest else _sentence(line.detail)


def _gsm_silent(line: TraceLine, facts: CallFacts | None) -> str:
    return f"{_sentence(line.detail)[:-1]} did not answer before its own voicemail would."


def _voicemail(line: TraceLine, facts: CallFacts | None) -> str:
    return "Voicemail answers."


_SUPPORT: Final[dict[str, Words]] = {
    "INC-01": _called,
    "INC-03": _switch,
    "INC-04": _all_forwarded,
    "INC-05": _by_gsm,
    "INC-06": _by_gsm,
    "INC-07": _answered,
    "INC-08": _missed,
    "DEV-04": _wake,
    "DEV-05": _joined,
    "FWD-01": _forwarded,
    "FWD-05": _gsm_silent,
    "VM-01": _voicemail,
    "GRT-01": _member,
    "GRT-02": _hunt,
    "GRT-03": _hunting,
    "GRT-04": _called,
    "GRT-05": _hours,
    "GRT-06": _unanswered,
    "GRT-09": _hunt,
    "GRT-10": _called,
    "OUT-01": _chosen,
    "route": _route,
    "trunk": _trunk,
    "leg": _leg,
    "outcome": _outcome,
}


# -- customers ------------------------------------------------------------------------------------------------------


def caller_phrase(line: TraceLine, facts: CallFacts | None) -> str:
    """What a customer is told of a rule of his own outgoing calls; empty: nothing."""
    head, reason = _head(line.outcome)
    if head == words.REFUSE:
        cause = CAUSES.get(reason)
        return cause.sentence if cause is not None else "The call is not allowed."
    if line.rule == "route":
        return "The number is called over the telephone network."
    if line.rule == "NUM-11" and head == words.ANNOUNCE:
        return "Your RIO is spoken, and sent to you as a message."
    if line.rule == "internal":
        return "The number is one of ours: no other network is needed."
    if line.rule == "OUT-07" and head == words.CHOOSE:
        return "Your number is hidden from the called side."
    return ""


def callee_phrase(line: TraceLine, facts: CallFacts | None) -> str:
    """What a customer is told of a rule of the calls that come to him; empty: nothing."""
    head, reason = _head(line.outcome)
    told = _CUSTOMER.get((line.rule, head))
    if told is not None:
        return told.format(time=_at_that_time(facts), devices=_devices(facts))
    if head == words.REFUSE:
        cause = CAUSES.get(reason)
        return cause.sentence if cause is not None else "The call is not let through."
    return ""


def _devices(facts: CallFacts | None) -> str:
    callee = None if facts is None else facts.callee
    count = 0 if callee is None else len({target.device for target in callee.targets})
    if not count:
        return "Your devices ring"
    return "One device of yours rings" if count == 1 else f"{count} devices of yours ring"


_CUSTOMER: Final = {
    ("INC-02", words.REFUSE): "The caller is on one of your lists and is not let through.",
    ("INC-03", words.REFUSE): "Your number takes no calls now{time}.",
    ("INC-03", words.VOICEMAIL): "Your number takes no calls now{time}; voicemail answers.",
    ("INC-04", words.FORWARD): "All your calls are forwarded.",
    ("INC-05", words.RING): "{devices}.",
    ("INC-05", words.REFUSE): "None of your devices is registered.",
    ("INC-05", "gsm"): "Your phone is called on its SIM.",
    ("INC-06", "gsm"): "Your phone is called on its SIM.",
    ("INC-06", "unreachable"): "None of your devices could be reached in time.",
    ("INC-07", "answered"): "The call is answered.",
    ("INC-08", words.FORWARD): "A call that you miss is forwarded.",
    ("INC-08", words.VOICEMAIL): "Voicemail answers a call that nobody takes.",
    ("INC-08", "no_answer"): "Nobody answered.",
    ("INC-08", "unreachable"): "Nobody could be reached.",
    ("DEV-04", "push"): "A sleeping device of yours is woken.",
    ("DEV-04", "push failed"): "A sleeping device of yours could not be woken.",
    ("DEV-05", "joined"): "A device of yours has woken up and rings.",
    ("GRT-01", words.HUNT): "The members of your company number ring one after the other.",
    ("GRT-02", words.HUNT): "The members of your company number ring at the same time.",
    ("GRT-09", words.HUNT): "The members of your company number ring one after the other.",
    ("GRT-05", words.PASS): "Your company number is open{time}.",
    ("GRT-05", words.FORWARD): "Calls to your company number are forwarded now{time}.",
    ("GRT-05", words.VOICEMAIL): "Voicemail answers your company number now{time}.",
    ("GRT-05", words.ANNOUNCE): "Your company number plays an announcement now{time}.",
    ("GRT-05", words.REFUSE): "Your company number takes no calls now{time}.",
    ("GRT-06", words.FORWARD): "A call that no member takes is forwarded.",
    ("GRT-06", words.VOICEMAIL): "Voicemail answers a call that no member takes.",
    ("GRT-06", words.ANNOUNCE): "A call that no member takes gets an announcement.",
    ("FWD-01", words.FORWARD): "The call is forwarded.",
    ("VM-01", "voicemail"): "Voicemail answers.",
    ("GRT-03", "repeat"): "The members of your company number ring again.",
    ("GRT-01", "no_answer"): "A member did not answer in time.",
    ("GRT-06", "no_answer"): "No member took the call.",
    ("GRT-06", "unreachable"): "No member could be reached.",
    ("GRT-06", "busy"): "The members of your company number are busy.",
    ("GRT-06", "announcement"): "An announcement is played.",
    ("GRT-10", words.SKIP): "A member who is in another call is left out.",
    ("FWD-04", words.REFUSE): "The call is not forwarded: it would come back to where it has been.",
    ("leg", "busy"): "A called device was busy.",
    ("leg", "declined"): "A called device declined.",
    ("leg", "unreachable"): "A called device could not be reached.",
}
"""Sentences by rule and outcome; ``{time}`` and ``{devices}`` are all that is put in."""
