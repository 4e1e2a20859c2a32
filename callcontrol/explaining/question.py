"""What is asked: who calls whom, when, and what the phones do.  Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RING: Final = "ring"
ANSWER: Final = "answer"
BUSY: Final = "busy"
DECLINE: Final = "decline"
SILENT: Final = "silent"
"""No response at all: the phone is gone, though it is registered."""
BEHAVIOURS: Final = (RING, ANSWER, BUSY, DECLINE, SILENT)


class QuestionError(ValueError):
    """The question cannot be asked like this; the message says what to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a phone does when it is called.  Unless somebody says otherwise, each rings and nobody answers."""

    who: str
    """Ref of a device or a user, or a number."""
    does: str
    after_s: float = 0.0
    """Seconds after its INVITE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One call that is to be explained."""

    caller: str
    """A number, ``anonymous``, a SIP user name, or a user's ref."""
    called: str
    """As it is dialled: a number, a short number, a SIP user name."""
    at: str = ""
    """When (`callcontrol.explaining.moment`); empty: now."""
    device: str = ""
    """Ref of the device that calls; empty: it follows from the caller."""
    trunk: str = ""
    """Ref of the trunk that brings the call of an outside number; empty: the first one."""
    from_outside: bool = False
    """The caller is taken for somebody whom we do not know, whoever it is: who asks learns nothing of others."""
    behaviours: tuple[Behaviour, ...] = ()


def read_behaviour(does: str, text: str) -> Behaviour:
    """``ben@5``: what somebody does, and so many seconds after being called.  Raises QuestionError."""
    who, _, after = text.rpartition("@") if "@" in text else (text, "", "")
    try:
        seconds = float(after) if after else 0.0
    except ValueError:
        seconds = -1.0
    if not who or not 0.0 <= seconds <= _LONGEST_S:
        raise QuestionError(does, f"{text!r}: write a device, user or number and the seconds, as ben@5")
    return Behaviour(who=who, does=does, after_s=seconds)


_LONGEST_S: Final = 86_400.0
