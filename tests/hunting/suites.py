"""The suites of small cases: those of every test run, and the full ones of ``make hunting``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Final

from tests.hunting import families
from tests.hunting.cases import Case, Person
from tests.hunting.explore import MakePlay
from tests.hunting.hunt import HuntPlay
from tests.hunting.ring import RingPlay


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Cases, and with what they are played."""

    cases: Callable[[], Iterator[Case]]
    leaves: bool = False
    """Each is played once more for every moment at which the caller may leave."""
    make: MakePlay = HuntPlay


def _busy_members() -> Iterator[Case]:
    """One or two who do something else, and one who is there."""
    there = families.people(families.FEW, 1)
    for first, second in chain(product(families.WAITS, there), product(families.WAITS, repeat=2)):
        for groups in families.groupings(2):
            for rounds in (1, 2):
                yield Case(people=(first, second), groups=groups, rounds=rounds)
    for person in families.WAITS:
        yield Case(people=(person,), groups=((0,),), rounds=2)


def _full_houses(rounds: Sequence[int]) -> Iterator[Case]:
    """Three members with three devices each."""
    return families.several([Person(devices=devices) for devices in families.PROFILES], 3, rounds)


QUICK: Final = {
    "ring": Suite(cases=lambda: families.single(families.VOIP, 2, (1,)), leaves=True, make=RingPlay),
    "ring of three": Suite(cases=lambda: families.single(families.VOIP, 3, (1,)), make=RingPlay),
    "one member": Suite(cases=lambda: families.single(families.ALL, 2)),
    "one member leaves": Suite(cases=lambda: families.single(families.ALL, 1), leaves=True),
    "two members": Suite(cases=lambda: families.several(families.people(families.ALL, 1), 2)),
    "two members leave": Suite(
        cases=lambda: families.several(families.people(families.FEW, 1), 2, (2,)), leaves=True
    ),
    "three members": Suite(cases=lambda: families.several(families.people(families.FEW, 1), 3, (2,))),
    "full houses": Suite(cases=lambda: _full_houses((1,))),
    "busy members": Suite(cases=_busy_members, leaves=True),
    "uneven": Suite(cases=lambda: families.uneven(families.FEW)),
}
"""Of every test run."""
FULL: Final = {
    **QUICK,
    "one member of three": Suite(cases=lambda: families.single(families.ALL, 3), leaves=True),
    "two members leave": Suite(
        cases=lambda: families.several(families.people(families.ALL, 1), 2), leaves=True
    ),
    "two members of two": Suite(
        cases=lambda: families.several(families.people(families.FEW, 2), 2), leaves=True
    ),
    "three members leave": Suite(
        cases=lambda: families.several(families.people(families.ALL, 1), 3), leaves=True
    ),
    "full houses leave": Suite(cases=lambda: _full_houses((1, 2)), leaves=True),
    "uneven": Suite(cases=lambda: families.uneven(families.ALL), leaves=True),
}
