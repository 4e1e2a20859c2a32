"""Why a call went where it went, told to three kinds of readers (OPS-02).  Pure.

One trace, three renderings: the *engineer* gets every line with rule, outcome, detail and offset; *support* gets a plain
sentence for each decision that mattered; the *customer* gets the same in words of a closed list, so that nothing of
anybody else can be in it: no number but his own (others are masked), no device, trunk, address or name.  A call that was
placed and a call that is only explained are told by the same functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from callcontrol.audience import CUSTOMER, SUPPORT
from callcontrol.b2bua.causes import CAUSES
from callcontrol.masking import mask_number
from callcontrol.story_words import (
    CALLER_RULES,
    callee_phrase,
    caller_phrase,
    support_phrase,
)
from dialplan import reasons, stored
from dialplan.facts import CallFacts
from dialplan.plan import TraceLine

OUTCOME: Final = "outcome"
"""Rule of the last line of a trace: its outcome is the reason of the call, its detail who ended it."""
_SECONDS: Final = re.compile(r"(\d) s\b")
_FORWARDED: Final = re.compile(r"(\+\d+) to (\+\d+), ")
_NUMBER: Final = re.compile(r"(?<![\w.])\+\d{7,15}(?!\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What there is to tell of a call."""

    direction: str
    """``incoming``, ``outgoing``, ``internal``."""
    caller: str = ""
    """E.164, or a SIP user name; empty: unknown."""
    caller_hidden: bool = False
    called: str = ""
    number: str = ""
    """The cloud number that the call came to or was made with."""
    user: str = ""
    """Ref of the user whose call it is: who calls from a device, else who holds the number called."""
    callee: str = ""
    """Ref of the user of ours who was called; empty: nobody, or not known."""
    status: int = 0
    """What the caller was told; 0: nothing yet."""
    reason: str = ""
    """Empty: the call goes on."""
    trace: tuple[TraceLine, ...] = ()
    facts: bytes = b""
    """What its decisions were made of (``dialplan.stored``); empty: not kept."""
    explained: bool = False
    """The call did not take place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line or sentence."""

    at: float
    """Seconds after the beginning of the call."""
    text: str
    rule: str = ""
    """The rule that decided it; empty for customers, and for the frame around the story."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who reads as a customer: what is his is shown."""

    owns_number: Callable[[str], bool]
    owns_user: Callable[[str], bool]


def tell(story: Story, audience: str, viewer: Viewer | None = None) -> tuple[Told, ...]:
    """The story for an audience.  Without a ``viewer`` a customer is the user whose call it is."""
    if audience == CUSTOMER:
        return _to_customer(story, viewer or _holder(story))
    if audience == SUPPORT:
        return _to_support(story)
    return tuple([Told(at=line.at, text=engineer_line(line), rule=line.rule) for line in story.trace])


def _first(story: Story) -> CallFacts | None:
    """What the first decision was made of, where this version can read it."""
    try:
        parts = stored.split(story.facts)
        return stored.load(parts[0]) if parts else None
    except stored.FactsError:
        return None


def engineer_line(line: TraceLine) -> str:
    """``INC-08   no_answer  (step 0)``."""
    return f"{line.rule:<8} {line.outcome}" + (f"  ({line.detail})" if line.detail else "")


# -- support --------------------------------------------------------------------------------------------------------


def _to_support(story: Story) -> tuple[Told, ...]:
    told: list[Told] = []
    facts = _first(story)
    for line in story.trace:
        text = _spaced(support_phrase(line, facts))
        if text and not (told and told[-1].at == line.at and text.endswith(told[-1].text)):
            told.append(Told(at=line.at, text=text, rule=line.rule))
    return tuple(told)


def _spaced(text: str) -> str:
    """Numbers as people write them: ``+33 1 99 00 12 34``."""
    return _NUMBER.sub(lambda found: spaced(found[0]), _SECONDS.sub(r"\1 seconds", text))


def spaced(number: str) -> str:
    """A number in groups of digits; as it is where the country does not group."""
    for code, groups in _GROUPS.items():
        digits = number[len(code) :]
        if number.startswith(code) and len(digits) == sum(groups):
            parts = [code]
            for size in groups:
                parts.append(digits[:size])
                digits = digits[size:]
            return " ".join(parts)
    return number


_GROUPS: Final[dict[str, tuple[int, ...]]] = {
    "+33": (1, 2, 2, 2, 2),
    "+44": (4, 6),
    "+1": (3, 3, 4),
}


# -- customers ------------------------------------------------------------------------------------------------------


def _holder(story: Story) -> Viewer:
    return Viewer(
        owns_number=lambda number: bool(number) and number == story.number,
        owns_user=lambda ref: bool(ref) and ref == story.user,
    )


def _to_customer(story: Story, viewer: Viewer) -> tuple[Told, ...]:
    """Each side learns what its own rules did; what the other side's did shows in the outcome alone."""
    sides = _sides(story, viewer)
    is_called = sides[1]
    facts = _first(story)
    told: list[Told] = [Told(at=0.0, text=_opening(story, viewer))]
    for line in story.trace:
        if line.rule == OUTCOME:
            continue
        forwarded = _FORWARDED.match(line.detail) if line.rule == "FWD-01" else None
        if forwarded is not None:
            # from here on the calling side is whoever forwards, and the called side the target
            sides = viewer.owns_number(forwarded[1]), viewer.owns_number(forwarded[2])
            text = callee_phrase(line, facts) if sides[0] else ""
        elif line.rule in CALLER_RULES:
            text = caller_phrase(line, facts) if sides[0] else ""
        else:
            text = callee_phrase(line, facts) if sides[1] else ""
        if text and (told[-1].text, told[-1].at) != (text, line.at):
            told.append(Told(at=line.at, text=text))
    at = story.trace[-1].at if story.trace else 0.0
    if story.explained and not is_called and not any(refused_by(line, CALLER_RULES) for line in story.trace):
        # whether somebody is there, and whom he refuses, is learned by calling and not by asking
        told.append(
            Told(at=0.0, text="The call is put through; what becomes of it is up to the called side.")
        )
    elif story.reason and (told[-1].text, told[-1].at) != (_ending(story), at):
        told.append(Told(at=at, text=_ending(story)))
    return tuple(told)


def refused_by(line: TraceLine, rules: frozenset[str]) -> bool:
    return line.rule in rules and line.outcome.startswith("refuse:")


def _sides(story: Story, viewer: Viewer) -> tuple[bool, bool]:
    """Whether the viewer calls, and whether the viewer is called."""
    if story.direction == "incoming":
        return False, True
    calls = viewer.owns_user(story.user) or (
        story.direction == "outgoing" and viewer.owns_number(story.number)
    )
    is_called = viewer.owns_number(story.called) or viewer.owns_user(story.callee)
    return calls, is_called


def _opening(story: Story, viewer: Viewer) -> str:
    def shown(number: str, nobody: str) -> str:
        if viewer.owns_number(number):
            return f"your number {spaced(number)}"
        if number.startswith("+") and number[1:].isdigit():
            return mask_number(number)
        return nobody

    caller = "a hidden caller" if story.caller_hidden else shown(story.caller, "a caller")
    if story.direction != "incoming" and viewer.owns_number(story.number):
        caller = shown(story.number, "you")
    elif story.direction != "incoming" and viewer.owns_user(story.user):
        caller = "you"
    return f"A call from {caller} to {shown(story.called, 'somebody')}."


def _ending(story: Story) -> str:
    """What the caller is told as well; who was blocked is told what somebody who is busy, or declines, would say."""
    reason = story.reason
    if reason == reasons.BLOCKED:
        reason = reasons.BUSY if story.status == CAUSES[reasons.BUSY].status else reasons.DECLINED
    return CAUSES[reason].sentence if reason in CAUSES else "The call is over."
