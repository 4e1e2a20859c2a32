"""What a small case consists of: members, their devices, and what these do when they are rung.

Times are whole seconds from the beginning of the call.  The grid is coarse on purpose: much happens in the same instant, and
every order of what does is played.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FOR_S: Final = 20.0
"""How long a member rings."""
WAKE_S: Final = 8.0
SIM_S: Final = 15.0
"""How long a SIM rings at the most."""
LIMIT_S: Final = 100.0

# how a device can be reached when the call begins
THERE: Final = "there"
ASLEEP: Final = "asleep"
SIM: Final = "sim"
FALLBACK: Final = "fallback"
AWAY: Final = "away"

# what it does when it is rung
ANSWERS: Final = "answers"
BUSY: Final = "busy"
DECLINES: Final = "declines"
SILENT: Final = "silent"
"""It rings until somebody stops it."""
MUTE: Final = "mute"
"""It says nothing at all."""
DEAD: Final = "dead"
"""Its connection proves to be gone, and it is, until the device registers."""

FREE: Final = ""
TALKING: Final = "talking"
OFFERED: Final = "offered"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Device:
    """One device and its habits."""

    is_: str = THERE
    does: str = SILENT
    after: float = 0.0
    """Seconds from its INVITE to what it does."""
    rings: bool = True
    """It says 180 first."""
    wakes: float = -1.0
    """Of a device that sleeps: seconds from its push to its registration; below 0: never."""
    comes: float = -1.0
    """Of one that is away: second of the call in which it registers; below 0: never."""
    has_push: bool = True
    """A push can reach it (where it is not asleep: when its connection proves to be dead)."""
    crosses: bool = False
    """It answers in the very moment in which its INVITE is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Person:
    """A member."""

    devices: tuple[Device, ...] = ()
    for_s: float = FOR_S
    busy: str = FREE
    until: float = -1.0
    """When it stops being so; below 0: never."""
    then: str = FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One hunt and everybody around it."""

    people: tuple[Person, ...]
    groups: tuple[tuple[int, ...], ...]
    """Indices of people."""
    rounds: int = 1
    limit_s: float = LIMIT_S
    leaves: float = -1.0
    """When the caller hangs up; below 0: never."""


NAMES: Final = ("ana", "ben", "cleo")


def device_name(person: int, device: int) -> str:
    return f"{NAMES[person]}-{device + 1}"


def cascade(members: int) -> tuple[tuple[int, ...], ...]:
    return tuple((index,) for index in range(members))


def simultaneous(members: int) -> tuple[tuple[int, ...], ...]:
    return (tuple(range(members)),)
