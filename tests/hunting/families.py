"""Which small cases are played.  Devices of one person are interchangeable, so their order does not matter; that of members does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, product
from typing import Final

from tests.hunting.cases import (
    ANSWERS,
    ASLEEP,
    AWAY,
    BUSY,
    DEAD,
    DECLINES,
    FALLBACK,
    MUTE,
    OFFERED,
    SILENT,
    SIM,
    TALKING,
    Case,
    Device,
    Person,
    cascade,
    simultaneous,
)

VOIP: Final = (
    Device(does=ANSWERS, after=5.0),
    Device(does=ANSWERS, after=20.0),
    Device(does=BUSY, rings=False),
    Device(does=BUSY, after=5.0),
    Device(does=DECLINES, after=5.0),
    Device(does=SILENT),
    Device(does=SILENT, crosses=True),
    Device(does=MUTE, rings=False),
    Device(does=DEAD),
    Device(does=DEAD, has_push=False),
    Device(is_=ASLEEP, wakes=3.0, does=ANSWERS, after=2.0),
    Device(is_=ASLEEP, wakes=3.0, does=DECLINES, after=2.0),
    Device(is_=ASLEEP, wakes=8.0, does=SILENT),
    Device(is_=ASLEEP, wakes=12.0, does=ANSWERS, after=1.0),
    Device(is_=ASLEEP),
    Device(is_=AWAY, comes=5.0, does=ANSWERS, after=2.0),
    Device(is_=AWAY, comes=20.0, does=SILENT),
    Device(is_=AWAY),
)
GSM: Final = (
    Device(is_=SIM, does=ANSWERS, after=5.0),
    Device(is_=SIM, does=BUSY, after=5.0),
    Device(is_=SIM, does=DECLINES, after=5.0),
    Device(is_=SIM, does=SILENT),
    Device(is_=FALLBACK, does=ANSWERS, after=5.0),
    Device(is_=FALLBACK, does=SILENT),
)
ALL: Final = VOIP + GSM
FEW: Final = (
    Device(does=ANSWERS, after=5.0),
    Device(does=BUSY, after=5.0),
    Device(does=DECLINES, after=5.0),
    Device(does=SILENT),
    Device(does=DEAD),
    Device(is_=ASLEEP, wakes=8.0, does=SILENT),
    Device(is_=AWAY, comes=20.0, does=ANSWERS, after=5.0),
    Device(is_=FALLBACK, does=ANSWERS, after=5.0),
)
PROFILES: Final = (
    (Device(does=SILENT), Device(does=BUSY, after=5.0), Device(is_=ASLEEP, wakes=8.0, does=SILENT)),
    (Device(does=SILENT), Device(does=DECLINES, after=5.0), Device(is_=ASLEEP, wakes=3.0, does=SILENT)),
    (Device(does=ANSWERS, after=5.0), Device(does=SILENT, crosses=True), Device(is_=ASLEEP)),
    (Device(does=DEAD), Device(is_=FALLBACK, does=ANSWERS, after=5.0), Device(is_=AWAY, comes=12.0)),
    (Device(is_=SIM, does=SILENT), Device(does=MUTE, rings=False), Device(is_=AWAY)),
)
"""Members with three devices."""
WAITS: Final = (
    Person(devices=(Device(does=ANSWERS, after=5.0),), busy=TALKING),
    Person(devices=(Device(does=ANSWERS, after=5.0),), busy=OFFERED, until=5.0),
    Person(devices=(Device(does=SILENT),), busy=OFFERED, until=20.0),
    Person(devices=(Device(does=SILENT),), busy=OFFERED, until=5.0, then=TALKING),
    Person(devices=(Device(does=SILENT),), busy=OFFERED),
    Person(devices=(Device(does=SILENT),), busy=TALKING, until=5.0),
    Person(devices=(Device(is_=AWAY),), busy=OFFERED, until=5.0),
)
"""Members who do something else."""


def people(habits: Sequence[Device], most: int, least: int = 1) -> list[Person]:
    """Everybody with so many devices of these habits."""
    return [
        Person(devices=devices)
        for count in range(least, most + 1)
        for devices in combinations_with_replacement(habits, count)
    ]


def groupings(members: int) -> list[tuple[tuple[int, ...], ...]]:
    """Who rings with whom: cascade, simultaneous, and what priorities make of it."""
    found = {cascade(members), simultaneous(members)}
    if members == 3:
        found |= {((0, 1), (2,)), ((0,), (1, 2))}
    return sorted(found)


def single(habits: Sequence[Device], most: int, rounds: Sequence[int] = (1, 2)) -> Iterator[Case]:
    """One member."""
    for person, count in product(people(habits, most), rounds):
        yield Case(people=(person,), groups=((0,),), rounds=count)


def several(
    everybody: Sequence[Person], members: int, rounds: Sequence[int] = (1, 2), limit_s: float = 100.0
) -> Iterator[Case]:
    """Several members, in all groupings."""
    for chosen in product(everybody, repeat=members):
        for groups in groupings(members):
            if len(groups) == 1 and list(chosen) != sorted(chosen):
                continue  # who ring at the same time are interchangeable
            for count in rounds:
                yield Case(people=chosen, groups=groups, rounds=count, limit_s=limit_s)


def uneven(habits: Sequence[Device]) -> Iterator[Case]:
    """Two who ring for different times, and a limit that passes while somebody rings."""
    for first, second in product(habits, repeat=2):
        pair = (Person(devices=(first,), for_s=10.0), Person(devices=(second,)))
        for groups in (cascade(2), simultaneous(2)):
            yield Case(people=pair, groups=groups, rounds=2)
            yield Case(people=pair, groups=groups, rounds=2, limit_s=20.0)
