"""INVITEs that wait for facts of the live store (``callcontrol.live_facts``).

Their transactions answer 100 and absorb retransmissions meanwhile.  Each goes on once: with its facts, without them when the
time is up, or to its end when the caller cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from callcontrol.intake import Admitted, Deferred
from callcontrol.sip.events import RequestReceived
from dialplan import reasons
from dialplan.plan import Decision, Refuse, TraceLine

WAIT_S: Final = 2.0
"""How long an INVITE waits by default."""


class Waiting:
    """One INVITE; the owner of its transaction until it goes on."""

    __slots__ = ("deferred", "event", "until")

    def __init__(self, event: RequestReceived, deferred: Deferred, until: float) -> None:
        self.event = event
        self.deferred = deferred
        self.until = until
        """When its facts are given up, Unix seconds."""

    def cancelled(self) -> Admitted:
        """The caller does not wait any more: the attempt has its trace and its record, and nobody is called."""
        self.deferred.give_up()
        known = self.deferred.admitted()
        plan = replace(known.decision.plan, steps=(Refuse(reason=reasons.CALLER_CANCELLED),))
        line = TraceLine(
            rule="live", outcome="cancelled", detail="while facts of the live store were asked for"
        )
        known.decision = Decision(plan=plan, trace=(line,))
        return known


class WaitingRoom:
    """Those who wait, and those whose facts have come."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        """``wait_s``: how long anybody waits, seconds."""
        self._wait_s = wait_s
        self._inside: dict[str, Waiting] = {}
        """By transaction, in the order of their deadlines, since all wait equally long."""
        self._ready: list[Waiting] = []
        self.late = 0
        """INVITEs whose facts did not come in time."""
        self.kick: Callable[[], None] = lambda: None
        """Asks the shell for a turn: facts have come between two of them."""

    def __len__(self) -> int:
        return len(self._inside)

    def next_deadline(self) -> float | None:
        """When the facts of the first one are given up, Unix seconds; None: nobody waits."""
        for waiting in self._inside.values():
            return waiting.until
        return None

    def enter(self, event: RequestReceived, deferred: Deferred, now: float) -> Waiting:
        waiting = Waiting(event, deferred, now + self._wait_s)
        self._inside[event.key] = waiting

        def ready() -> None:
            self._ready.append(waiting)
            self.kick()

        deferred.then(ready)
        return waiting

    def leave(self, waiting: Waiting) -> bool:
        """Take one out; False when it has gone on already."""
        return self._inside.pop(waiting.event.key, None) is not None

    def due(self, now: float) -> list[Waiting]:
        """Those who go on now; they have left."""
        found = [waiting for waiting in self._ready if self.leave(waiting)]
        self._ready.clear()
        for waiting in list(self._inside.values()):
            if waiting.until > now:
                break
            self.late += 1
            waiting.deferred.give_up()
            self.leave(waiting)
            found.append(waiting)
        return found
