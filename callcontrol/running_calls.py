"""The calls of this node, and all that is kept by their references: it goes with them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.phases import RINGING
from callcontrol.call_deadlines import CallDeadlines
from callcontrol.call_index import CallIndex
from callcontrol.ladder import Ladders
from callcontrol.occupants import Occupants
from callcontrol.ports import CallWatcher
from dialplan.facts import OwnCall

_REMEMBERED: Final = 5_000


class RunningCalls:
    """Which there are, how to find them, and which were here a moment ago."""

    def __init__(self, ladders: Ladders) -> None:
        self.calls: dict[str, Call] = {}
        self.index = CallIndex()
        self.deadlines = CallDeadlines()
        self.epochs: dict[str, int] = {}
        self.stored: dict[str, int] = {}
        """Calls of which a snapshot is in the store -> how many identifiers they had made by then."""
        self.resumed: set[str] = set()
        """Calls that began on another node: their server transactions are gone with it."""
        self.lost = 0
        """Calls that another node took over."""
        self.elsewhere: OrderedDict[str, None] = OrderedDict()
        """The last of them by reference: what is to be done for them is done there."""
        self.ended: OrderedDict[str, None] = OrderedDict()
        """The last calls that ended on this node: whoever still believes in one may be told."""
        self.ladders = ladders
        self.occupants: Occupants | None = None
        """Who tells what the members of Greetings do; None: nobody has any."""
        self.watcher: CallWatcher | None = None

    def census(self) -> dict[str, int]:
        """Entries of every table by name: all zero when no call is up."""
        return {
            "calls": len(self.calls),
            "epochs": len(self.epochs),
            "resumed": len(self.resumed),
            "scheduled": len(self.deadlines),
            "stored": len(self.stored),
            **self.index.census(),
        }

    def own_calls(self, sip_call_id: str, call_ref: str) -> tuple[OwnCall, ...]:
        """Calls that a Call-ID of ours (it begins with the reference), or a reference itself, belongs to (FWD-04)."""
        refs = {call_ref, sip_call_id.partition(".")[0]}
        found = [self.calls[ref] for ref in sorted(refs) if ref in self.calls]
        return tuple(OwnCall(call_ref=call.ref, called=call.plan.called) for call in found)

    def ringing(self, user: str) -> list[Call]:
        """Calls that ring the user's devices now."""
        found = [self.calls.get(ref) for ref in self.index.of_user(user)]
        return [
            call
            for call in found
            if call is not None and (call.phase == RINGING or call.transfer is not None)
        ]

    def add(self, call: Call, epoch: int) -> None:
        """The call is ours from now on."""
        self.elsewhere.pop(call.ref, None)
        self.calls[call.ref] = call
        self.epochs[call.ref] = epoch
        self.index.add(call)

    def lose(self, ref: str) -> None:
        """Another node has the call: it does what is to be done."""
        self.lost += 1
        _remember(self.elsewhere, ref)
        if self.occupants is not None:
            self.occupants.lose(ref)
        self.forget(ref)

    def forget(self, ref: str) -> None:
        """Nothing of the call stays, but that there was one."""
        call = self.calls.pop(ref, None)
        if call is not None and call.over:
            _remember(self.ended, ref)
        if call is not None:
            self.index.forget(call)
            # its legs stay as long as transactions hold on to them: a fork that answers now is still released
            call.trace = []
            call.stored_trace = []
            call.facts = []
        self.epochs.pop(ref, None)
        self.resumed.discard(ref)
        self.stored.pop(ref, None)
        self.deadlines.forget(ref)
        self.ladders.end(ref)
        if self.occupants is not None:
            self.occupants.forget(ref)
        if self.watcher is not None:
            self.watcher.forget(ref)


def _remember(refs: OrderedDict[str, None], ref: str) -> None:
    refs[ref] = None
    if len(refs) > _REMEMBERED:
        refs.popitem(last=False)
