"""What legs over trunks hold: a channel of their peer, and a place among those that their user may have (OUT-08, OUT-10)."""

from __future__ import annotations

from collections.abc import Callable

from callcontrol.asked_trunk import AskedTrunk, OutgoingLegs
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import ChooseTrunk
from callcontrol.b2bua.events import TrunkChosen
from callcontrol.b2bua.leg import Leg
from callcontrol.cdr import CallRecord
from callcontrol.trunking import Trunking


class TrunkLegs:
    """Both are asked for, taken over and given back together."""

    def __init__(self, trunking: Trunking) -> None:
        self.trunking = trunking
        self.outgoing: OutgoingLegs | None = None
        """Who may send legs to the outside, and what they use; None: everybody, and nothing is counted."""

    def ask(
        self,
        call: Call,
        effect: ChooseTrunk,
        now: float,
        found: Callable[[Call, TrunkChosen], None],
    ) -> TrunkChosen | None:
        """A trunk for a leg; None: the answer comes in a later turn, and is handed to ``found``."""
        asked = AskedTrunk(self.outgoing, self.trunking, found, call, effect, now)
        asked.ask()
        asked.waits = asked.event is None
        return asked.event

    def restore(self, leg: Leg, now: float) -> None:
        """A leg came with a call of another node."""
        self.trunking.restore(leg.trunk, leg.channel, now)
        self.resumed(leg.channel)

    def resumed(self, channel: str) -> None:
        """Its place came with a call of another node."""
        if self.outgoing is not None:
            self.outgoing.resumed(channel)

    def lose(self, leg: Leg) -> None:
        """The call goes on on another node, which holds both for it and gives them back."""
        self.trunking.release(leg.trunk, leg.channel)
        if self.outgoing is not None:
            self.outgoing.lost(leg.channel)

    def leave(self, channel: str) -> None:
        """The leg is over: its place is free, before the channel is."""
        if self.outgoing is not None:
            self.outgoing.release(channel)

    def release(self, trunk: str, channel: str) -> None:
        """The leg is over, and that is saved."""
        self.trunking.release(trunk, channel)
        self.leave(channel)

    def ended(self, record: CallRecord, now: float) -> None:
        """The outcome of a call is known."""
        if self.outgoing is not None:
            self.outgoing.ended(record, now)
