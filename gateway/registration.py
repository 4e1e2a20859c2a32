"""Registration with a carrier: when to send REGISTER, and what the answer means (RFC 3261 section 10.2).  Pure.

Time (Unix seconds) and dice come from outside, messages stay outside: whoever sends them tells this machine what
came of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

TRYING: Final = "trying"
"""Not registered yet, or not any more; on the way."""
REGISTERED: Final = "registered"
FAILED: Final = "failed"
"""Refused or unanswered; the next attempt comes after a pause."""
LEAVING: Final = "leaving"
LEFT: Final = "left"
STANDBY: Final = "standby"
"""Another node registers for all."""
STATES: Final = (TRYING, REGISTERED, FAILED, LEAVING, LEFT, STANDBY)

MAX_ANSWERS: Final = 3
"""Challenges that one attempt answers: the first, one for a nonce that had grown old, one more in bad luck."""
LONGEST_S: Final = 7 * 86_400
"""The longest registration that a 423 can talk us into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationPolicy:
    """Pauses after failures; seconds."""

    retry_s: float = 10.0
    """The first one; doubled each time."""
    retry_max_s: float = 900.0
    """The longest, and the one after a refusal that will not change by itself."""


class Registration:
    """The registration of one trunk at one peer."""

    __slots__ = (
        "_answers",
        "_asked",
        "_dice",
        "_failures",
        "_policy",
        "due",
        "expires",
        "serial",
        "since",
        "state",
        "status",
        "until",
        "waits",
    )

    def __init__(
        self, expires: int, now: float, dice: Callable[[], float], policy: RegistrationPolicy
    ) -> None:
        self._policy = policy
        self._dice = dice
        self._failures = 0
        self._answers = 0
        self._asked = 0
        self.expires = expires
        """Seconds that are asked for."""
        self.state = TRYING
        self.since = now
        self.due = now
        """When the next REGISTER goes out."""
        self.until = 0.0
        """The carrier keeps our contact until then; 0: it does not."""
        self.waits = False
        """A REGISTER is under way."""
        self.serial = 0
        self.status = 0
        """Status of the last answer; 0: none came."""

    @property
    def bound(self) -> bool:
        """The carrier has our contact, as far as we know."""
        return self.until > 0.0

    def is_due(self, now: float) -> bool:
        """A REGISTER is to be sent now.  Also notices that the registration has run out."""
        if self.until and self.until <= now:
            self.until = 0.0
            if self.state == REGISTERED:
                self._go(TRYING, now)
        return not self.waits and self.due <= now and self.state not in (LEFT, STANDBY)

    def sent(self) -> tuple[int, int]:
        """A REGISTER goes out; returns its number and the seconds that it asks for."""
        self.waits = True
        self.serial += 1
        self._asked = 0 if self.state == LEAVING else self.expires
        return self.serial, self._asked

    # -- answers --------------------------------------------------------------------------------------------

    def is_current(self, serial: int) -> bool:
        """Whether an answer is to the last REGISTER."""
        return self.waits and serial == self.serial

    def accepted(self, granted: float, now: float) -> None:
        """2xx; ``granted`` are the seconds that the carrier gives our contact."""
        self._settle(200)
        self._failures = 0
        if self.state == LEAVING:
            if self._asked:
                self.until, self.due = now + granted, now  # it was sent before we wanted to leave
            else:
                self.until = 0.0
                self._go(LEFT, now)
            return
        if granted <= 0:
            self.until = 0.0
            self._go(FAILED, now)
            self.due = now + self._policy.retry_max_s
            return
        self.until = now + granted
        self._go(REGISTERED, now)
        self.due = now + self._refresh_after(granted)

    def challenged(self, stale: bool, fresh: bool, now: float) -> bool:
        """401 or 407.  True: the same REGISTER goes again with credentials.

        ``fresh``: what was refused had credentials for the nonce of this very attempt; then only ``stale`` says that
        the password was right.
        """
        if self._answers < MAX_ANSWERS and (stale or not fresh):
            self._answers += 1
            self.waits = False
            return True
        self._fail(401, 0.0, True, now)
        return False

    def too_brief(self, least: int, now: float) -> bool:
        """423 with Min-Expires.  True: the REGISTER goes again and asks for more."""
        if self.expires < least <= LONGEST_S and self._answers < MAX_ANSWERS:
            self._answers += 1
            self.expires = least
            self.waits = False
            return True
        self._fail(423, 0.0, True, now)
        return False

    def refused(self, status: int, retry_after: float, now: float) -> None:
        """Any other final answer; 0 for none at all."""
        lasting = (400 <= status < 500 and status not in (408, 480, 491)) or status >= 600
        self._fail(status, retry_after, lasting, now)

    def lost(self, now: float) -> None:
        """There is reason to think that the carrier has forgotten us: it was away, or its connection broke."""
        if self.state in (REGISTERED, FAILED) and not self.waits:
            # not all trunks of a carrier in the same instant
            self.due = min(self.due, now + self._dice())

    def leave(self, now: float) -> None:
        """Unregister as soon as what is under way is answered."""
        if self.state in (LEAVING, LEFT):
            return
        if not self.bound and not self.waits:
            self._go(LEFT, now)
            return
        self._answers = 0
        self._go(LEAVING, now)
        self.due = now

    def stand_by(self, now: float) -> None:
        """Another node registers from now on.  What comes back of a REGISTER that is under way is not ours any more."""
        self.serial += 1
        self.waits = False
        self.until = 0.0
        self.status = 0
        self._failures = self._answers = 0
        self._go(STANDBY, now)

    def begin(self, now: float) -> None:
        """This node registers from now on."""
        if self.state == STANDBY:
            self.due = now
            self._go(TRYING, now)

    # -- the machine ----------------------------------------------------------------------------------------

    def _settle(self, status: int) -> None:
        self.waits = False
        self._answers = 0
        self.status = status

    def _fail(self, status: int, retry_after: float, lasting: bool, now: float) -> None:
        self._settle(status)
        if self.state == LEAVING:
            self.until = 0.0
            self._go(LEFT, now)
            return
        policy = self._policy
        pause = policy.retry_max_s if lasting else policy.retry_s * 2.0 ** min(self._failures, 20)
        self._failures += 1
        # between half and the whole (RFC 5626 section 4.5): a carrier that comes back is not run over
        pause = min(pause, policy.retry_max_s) * (0.5 + 0.5 * self._dice())
        self.due = now + max(pause, min(retry_after, policy.retry_max_s))
        if not self.bound or self.until <= now:
            self.until = 0.0
            self._go(FAILED, now)

    def _refresh_after(self, granted: float) -> float:
        """Early enough that an unanswered REGISTER (32 s) can be repeated; not all trunks in step."""
        margin = granted / 2 if granted < 240 else 120.0
        return (granted - margin) * (1.0 - 0.1 * self._dice())

    def _go(self, state: str, now: float) -> None:
        if state != self.state:
            self.state = state
            self.since = now
