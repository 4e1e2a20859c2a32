"""A call asks for a trunk: first whether its user may send one more leg to the outside, then which peer takes it.

Every leg over a trunk comes by here: of calls, transfers, forwards, callbacks, call-through (OUT-10).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.dialling import active_plan
from callcontrol.b2bua.effects import ChooseTrunk
from callcontrol.b2bua.events import TrunkChosen
from callcontrol.cdr import CallRecord
from callcontrol.trunking import Trunking
from dialplan import reasons


class OutgoingLegs(Protocol):
    """What legs to the outside are held against (``callcontrol.usage.outgoing``)."""

    def acquire(
        self,
        leg: str,
        user: str,
        account: str,
        number: str,
        called: str,
        fresh: bool,
        now: float,
        done: Callable[[str], None],
    ) -> None:
        """Ask whether a leg may be sent; ``done`` gets the bound that it would break, empty: it may."""
        ...

    def release(self, leg: str) -> None:
        """The leg is over; nothing happens when it held nothing."""
        ...

    def resumed(self, leg: str) -> None:
        """A leg came with a call of another node."""
        ...

    def lost(self, leg: str) -> None:
        """A leg went with its call to another node, which gives back what it holds."""
        ...

    def ended(self, record: CallRecord, now: float) -> None:
        """The outcome of a call is known; told twice it counts once."""
        ...


class AskedTrunk:
    """One question.  The answer of a store of other machines comes between two turns, and is handed to ``found``.

    Functions inside a function would be shorter, but compiled they hold each other, and with them the call, in a cycle.
    """

    __slots__ = ("_call", "_effect", "_found", "_now", "_outgoing", "_trunking", "event", "waits")

    def __init__(
        self,
        outgoing: OutgoingLegs | None,
        trunking: Trunking,
        found: Callable[[Call, TrunkChosen], None],
        call: Call,
        effect: ChooseTrunk,
        now: float,
    ) -> None:
        self._outgoing = outgoing
        self._found = found
        self._trunking = trunking
        self._call = call
        self._effect = effect
        self._now = now
        self.event: TrunkChosen | None = None
        self.waits = False

    def ask(self) -> None:
        outgoing, effect = self._outgoing, self._effect
        if outgoing is None:
            self._choose()
            return
        plan = active_plan(self._call)
        first = not effect.tried
        outgoing.acquire(
            effect.channel,
            effect.user or plan.user,
            plan.account,
            plan.number,
            effect.number,
            first,
            self._now,
            self._allowed,
        )

    def _allowed(self, bound: str) -> None:
        if bound:
            self._call.note("OUT-10", f"refuse:{reasons.TOO_MANY_CALLS}", bound)
            self._answer(TrunkChosen("", reason=reasons.TOO_MANY_CALLS, channel=self._effect.channel))
        else:
            self._choose()

    def _choose(self) -> None:
        effect = self._effect
        self._trunking.choose(
            effect.number, effect.caller, effect.tried, effect.channel, self._now, self._chosen
        )

    def _chosen(self, event: TrunkChosen) -> None:
        outgoing = self._outgoing
        if not event.trunk:
            event.channel = self._effect.channel
            if outgoing is not None:
                outgoing.release(self._effect.channel)
        self._answer(event)

    def _answer(self, event: TrunkChosen) -> None:
        self.event = event
        if self.waits:
            self._found(self._call, event)
