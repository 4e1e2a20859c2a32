"""Facts that live in the store that all nodes share: asked for before the dialplan decides, and never waited for.

Most calls need none of them, and pay one comparison.  A source that has its answer at hand (live state in memory) gives it
before ``ask`` returns, and the call goes on within the same event.  Else the INVITE stays where it is (the transaction answers
100 and absorbs retransmissions), and goes on when the answer comes, when the caller cancels, or when the time is up: then the
facts say that they are missing, and the dialplan has a rule for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from dialplan.facts import CallFacts

Done = Callable[[CallFacts], None]


class LiveSource(Protocol):
    """One kind of facts of the live store."""

    def wants(self, facts: CallFacts) -> bool:
        """Whether a call with these facts needs something of this source.  Asked for each call: costs nothing."""
        ...

    def ask(self, facts: CallFacts, call_id: str, done: Done) -> None:
        """Complete the facts and hand them to ``done``, at once or later, once.

        ``call_id`` is the Call-ID of the INVITE: the same call asked about twice gets the same answer.  A store
        that fails is answered for with `missing`; nothing is raised.
        """
        ...

    def missing(self, facts: CallFacts) -> CallFacts:
        """The facts when the store did not answer in time."""
        ...


class Asking:
    """The sources of one call, asked one after the other; each sees what those before it found."""

    __slots__ = ("_asked", "_call_id", "_next", "_sources", "_then", "facts", "over")

    def __init__(self, sources: Sequence[LiveSource], facts: CallFacts, call_id: str) -> None:
        self._sources = sources
        self._call_id = call_id
        self._next = 0
        self._asked = -1
        """Index of the source whose answer is awaited; -1: of none."""
        self._then: Callable[[], None] | None = None
        self.facts = facts
        self.over = False
        """All facts are there; they change no more."""
        self._go_on()

    def then(self, told: Callable[[], None]) -> None:
        """Have ``told`` called when all facts are there, which is later."""
        self._then = told

    def give_up(self) -> None:
        """The time is up, or nobody waits any more: what is not there is missing, and nobody is told."""
        self._then = None
        if self._asked >= 0:
            self.facts = self._sources[self._asked].missing(self.facts)
            self._asked = -1
        while not self.over:
            self._advance(ask=False)

    def _go_on(self) -> None:
        while not self.over:
            self._advance(ask=True)
            if self._asked >= 0:
                return
        if self._then is not None:
            self._then()

    def _advance(self, *, ask: bool) -> None:
        index = self._next
        if index >= len(self._sources):
            self.over = True
            return
        self._next = index + 1
        source = self._sources[index]
        if not source.wants(self.facts):
            return
        if not ask:
            self.facts = source.missing(self.facts)
            return
        self._asked = index
        at_once = True

        def answered(facts: CallFacts) -> None:
            if self._asked != index:
                return  # too late, or twice
            self._asked = -1
            self.facts = facts
            if not at_once:
                self._go_on()

        source.ask(self.facts, self._call_id, answered)
        at_once = False
