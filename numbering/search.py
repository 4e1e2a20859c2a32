"""Finding numbers (NUM-07): patterns with wildcards, and runs of consecutive numbers.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from numbering.e164 import NOISE, country_code
from numbering.refusal import Fault, Refused

_PATTERN: Final = re.compile(r"\+?[0-9?xX*]{1,20}")
MAX_RUN: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Digits with wildcards: ``?`` or ``x`` is one digit, ``*`` any number of them.

    With a plus it is how the number begins in E.164, or with a star the whole of it; with a star, or a leading
    zero, it is the whole national number (a leading zero is the trunk prefix, and is not counted); anything else
    is sought anywhere in the national number.
    """

    text: str
    international: bool
    floating: bool

    def matches(self, e164: str) -> bool:
        """Whether a number fits."""
        digits = e164[1:] if self.international else e164[1 + len(country_code(e164)) :]
        found = (
            re.compile(self._expression()).search
            if self.floating
            else re.compile(self._expression()).fullmatch
        )
        return found(digits) is not None

    def _expression(self) -> str:
        return self.text.replace("?", "[0-9]").replace("*", "[0-9]*")

    def like(self) -> str:
        """A pattern of SQL's LIKE that every number which matches fits, in E.164 with its plus."""
        body = self.text.replace("?", "_").replace("*", "%")
        if self.international:
            return "+" + body
        return "+%" + body + ("%" if self.floating else "")


def read_pattern(text: str) -> Pattern:
    """A pattern as somebody typed it.  Raises Refused."""
    compact = text.translate(NOISE).replace("x", "?").replace("X", "?")
    if _PATTERN.fullmatch(compact) is None:
        raise Refused(
            Fault.BAD_REQUEST,
            f"{text[:32]!r} is no pattern: digits, ? (one digit) and * (any number of digits)",
        )
    international = compact.startswith("+")
    digits = compact.lstrip("+")
    anchored = international or "*" in digits or digits.startswith("0")
    if not international:
        digits = digits[1:] if digits.startswith("0") and len(digits) > 1 else digits
    if international and "*" not in digits:
        digits += "*"  # "+3363998": numbers that begin so
    return Pattern(text=re.sub(r"\*+", "*", digits), international=international, floating=not anchored)


def runs(numbers: Iterable[str], length: int) -> Iterator[tuple[str, ...]]:
    """Runs of ``length`` consecutive numbers among ``numbers``, which ascend; no number is in two of them."""
    if not 2 <= length <= MAX_RUN:
        raise Refused(Fault.BAD_REQUEST, f"a run has 2 to {MAX_RUN} numbers")
    current: list[str] = []
    for number in numbers:
        if current and (len(number) != len(current[-1]) or int(number[1:]) != int(current[-1][1:]) + 1):
            current = []
        current.append(number)
        if len(current) == length:
            yield tuple(current)
            current = []
