"""Writing the trace: one line for each rule that was asked, in the order in which they were asked
(OPS-02)."""

from __future__ import annotations

from typing import Final

from dialplan.plan import TraceLine

PASS: Final = "pass"
"""The rule was asked and does not apply."""
RING: Final = "ring"
WAKE: Final = "wake"
DIAL: Final = "dial"
HUNT: Final = "hunt"
FORWARD: Final = "forward"
VOICEMAIL: Final = "voicemail"
ANNOUNCE: Final = "announce"
SKIP: Final = "skip"
"""A member of a hunt is left out; the detail says why."""
CHOOSE: Final = "choose"
"""The rule picked one of several; the detail says which and why."""
REFUSE: Final = "refuse"
"""Followed by a colon and the reason: ``refuse:blocked``."""


class Trace:
    """Lines in the making; ``lines`` is what a Decision keeps."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: list[TraceLine] = []

    def add(self, rule: str, outcome: str, detail: str) -> None:
        self._lines.append(TraceLine(rule=rule, outcome=outcome, detail=detail))

    def join(self, other: Trace) -> None:
        """Go on with the lines of another."""
        self._lines.extend(other.lines)

    def refuse(self, rule: str, reason: str, detail: str) -> str:
        """Write down a refusal and hand the reason back."""
        self.add(rule, f"{REFUSE}:{reason}", detail)
        return reason

    @property
    def lines(self) -> tuple[TraceLine, ...]:
        return tuple(self._lines)
