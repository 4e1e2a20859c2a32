"""Who is not let through: block and spam lists of the number, of its user, and of a Greeting (INC-02, BLK-01)."""

from __future__ import annotations

from typing import Final

from dialplan import reasons
from dialplan.facts import FROM_TRUNK, Callee, CallFacts, GreetingFacts
from dialplan.plan import Identity, Refuse
from dialplan.trace import PASS, Trace
from numbering.models import ANONYMOUS, CloudNumber

CLASS: Final = "class:"
"""Before the class of a number, or a label of its range."""
PREFIX: Final = "*"
"""Behind the beginning of numbers."""
AS_BUSY: Final = "busy"
_BUSY_STATUS: Final = 486


def refused(facts: CallFacts, caller: Identity, trace: Trace) -> Refuse | None:
    """The refusal of a caller who stands on a list; None: on none that counts."""
    if is_psap(facts):
        trace.add("INC-02", PASS, "an emergency service calls back: no list is asked")
        return None
    if not has_lists(facts.number, facts.callee, facts.greeting):
        trace.add("INC-02", PASS, "nobody is blocked")
        return None
    lists = _lists(facts)
    for name, entries in lists:
        if not entries:
            continue
        words = _listed(entries, facts, caller)
        if words:
            return _refusal(facts, f"{words} on the {name}", trace)
    entries_in_all = sum([len(entries) for _, entries in lists])
    trace.add("INC-02", PASS, f"none of {entries_in_all} blocks applies")
    return None


def is_psap(facts: CallFacts) -> bool:
    """Whether an emergency service calls back (RFC 7090): a carrier says so, nobody else is believed."""
    return facts.psap_callback and facts.source == FROM_TRUNK


def has_lists(number: CloudNumber | None, callee: Callee | None, greeting: GreetingFacts | None) -> bool:
    """Whether anybody at all is blocked; for most calls that is all that is asked."""
    if greeting is not None:
        return bool(greeting.greeting.block or greeting.greeting.spam)
    if number is not None and (number.block or number.spam):
        return True
    return callee is not None and bool(callee.block or callee.spam)


def asks_for_class(entries: tuple[str, ...]) -> bool:
    """Whether a list cannot be read without the class of the caller's number."""
    return any(entry.startswith(CLASS) for entry in entries)


def _lists(facts: CallFacts) -> list[tuple[str, tuple[str, ...]]]:
    """Every list that counts, with its name."""
    if facts.greeting is not None:
        greeting = facts.greeting.greeting
        return [
            (f"block list of Greeting {greeting.number}", greeting.block),
            (f"spam list of Greeting {greeting.number}", greeting.spam),
        ]
    found: list[tuple[str, tuple[str, ...]]] = []
    number, callee = facts.number, facts.callee
    if number is not None:
        found.append((f"block list of {number.e164}", number.block))
        found.append((f"spam list of {number.e164}", number.spam))
    if callee is not None:
        found.append((f"block list of user {callee.user}", callee.block))
        found.append((f"spam list of user {callee.user}", callee.spam))
    return found


def _listed(entries: tuple[str, ...], facts: CallFacts, caller: Identity) -> str:
    """Who stands on a list, in words; empty: the caller does not."""
    if caller.hidden and ANONYMOUS in entries:
        return "hidden callers are"
    # The network tells the number also of a caller who hides: who was blocked by number stays blocked.
    who = caller.asserted or caller.user
    if not who:
        return ""
    if facts.forward is not None:
        number_class, labels = facts.forward.number_class, facts.forward.labels
    else:
        number_class, labels = facts.caller.number_class, facts.caller.labels
    for entry in entries:
        if entry.startswith(CLASS):
            kind = entry[len(CLASS) :]
            if kind == number_class.value or kind in labels:
                return f"{who} is, as {kind},"
        elif entry.endswith(PREFIX):
            if len(entry) > 1 and who.startswith(entry[:-1]):
                return f"{who} is, as {entry},"
        elif entry == who and entry != ANONYMOUS:
            return f"{who} is"
    return ""


def _refusal(facts: CallFacts, detail: str, trace: Trace) -> Refuse:
    as_busy = facts.limits.blocked_as == AS_BUSY
    told = f"{detail}; told that it is busy" if as_busy else detail
    reason = trace.refuse("INC-02", reasons.BLOCKED, told)
    return Refuse(reason=reason, status=_BUSY_STATUS if as_busy else 0)
