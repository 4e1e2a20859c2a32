"""How easy the digits of a number are to remember (NUM-07).  Pure.

Points and threshold stand in ``numbering/policy/vip.toml``; `numbering.policy` reads them.  The last digits
count, without those that all numbers of a country begin with.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from numbering.e164 import country_code

STANDARD: Final = "standard"
VIP: Final = "vip"
CATEGORIES: Final = (STANDARD, VIP)

SHAPES: Final = (
    "mirror4",
    "mirror6",
    "mirror8",
    "pair_twice",
    "pair_thrice",
    "pair_four",
    "group3_twice",
    "group4_twice",
    "pairs",
    "tens",
    "few2",
    "few3",
    "hundred",
    "thousand",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VipPolicy:
    """Points of each pattern."""

    digits: int
    threshold: int
    repeat: Mapping[int, int]
    """Length of a run of one digit -> points."""
    sequence: Mapping[int, int]
    """Length of a run that rises or falls by one -> points."""
    shape: Mapping[str, int]


MAX_SCORE: Final = 100


def score(e164: str, policy: VipPolicy) -> int:
    """0 (nothing to remember it by) to 100."""
    digits = e164[1 + len(country_code(e164)) :][-policy.digits :]
    if len(digits) < 4:
        return 0
    points = _run(digits, 0, policy.repeat) + max(
        _run(digits, 1, policy.sequence), _run(digits, -1, policy.sequence)
    )
    points += sum(policy.shape[name] for name in shapes(digits))
    return min(points, MAX_SCORE)


def category(e164: str, policy: VipPolicy) -> str:
    """``vip`` or ``standard``."""
    return VIP if score(e164, policy) >= policy.threshold else STANDARD


def _run(digits: str, step: int, points: Mapping[int, int]) -> int:
    """Points of the longest run in which each digit is ``step`` more than the one before."""
    longest = length = 1
    for one, other in itertools.pairwise(digits):
        length = length + 1 if int(other) - int(one) == step else 1
        longest = max(longest, length)
    known = [size for size in points if size <= longest]
    return points[max(known)] if known else 0


def shapes(digits: str) -> tuple[str, ...]:
    """Names of the shapes that digits have, at most one of each family."""
    found = [
        next(
            (
                name
                for name, size in (("mirror8", 8), ("mirror6", 6), ("mirror4", 4))
                if _mirror(digits, size)
            ),
            "",
        ),
        _repeated(digits),
        _pairs(digits),
        {1: "", 2: "few2", 3: "few3"}.get(len(set(digits)), ""),
        "thousand" if digits.endswith("000") else "hundred" if digits.endswith("00") else "",
    ]
    return tuple(name for name in found if name)


def _mirror(digits: str, size: int) -> bool:
    tail = digits[-size:]
    return len(tail) == size and tail == tail[::-1] and len(set(tail)) > 1


def _repeated(digits: str) -> str:
    """The same group several times at the end; of several readings the one with the most digits."""
    for name, size, times in (
        ("pair_four", 2, 4),
        ("group4_twice", 4, 2),
        ("pair_thrice", 2, 3),
        ("group3_twice", 3, 2),
        ("pair_twice", 2, 2),
    ):
        group = digits[-size:]
        if digits.endswith(group * times) and len(set(group)) > 1:
            return name
    return ""


def _pairs(digits: str) -> str:
    if len(digits) < 8:
        return ""
    tail = digits[-8:]
    pairs = [tail[index : index + 2] for index in range(0, 8, 2)]
    if len(set(pairs)) > 1 and all(pair[0] == pair[1] for pair in pairs):
        return "pairs"
    values = [int(pair) for pair in pairs]
    steps = {other - one for one, other in itertools.pairwise(values)}
    return "tens" if steps in ({1}, {-1}, {10}, {-10}, {11}, {-11}) else ""
