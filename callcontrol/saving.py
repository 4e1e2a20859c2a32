"""Save, then act: what calls want done waits until the store has them as they are after it.

A call waits for its own saves and for nobody else's; where nothing is to be done, or but a provisional response, for none, nor when
it ends on the only node that there is: the next life of that node, should it not know of the end, ends it again by the same
requests.  One that is over is deleted a moment later, together with what else is written then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from callcontrol.b2bua import snapshot
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import Effect, Push
from callcontrol.b2bua.phases import ENDED
from callcontrol.defects import Defects
from callcontrol.performing import Performer
from callcontrol.ports import CallStore
from callcontrol.running_calls import RunningCalls
from callcontrol.sip.commands import SendResponse

NEVER: Final = float("inf")
FROZEN_S: Final = 1.0
"""A process that did not look at its calls for so long may have lost them to others meanwhile."""
DOUBT_S: Final = 30.0
"""For so long after that, and after an outage of the store, whose a call is comes before what it wants done; meanwhile all calls
are saved anew, which tells the node what it has lost."""
LATER_S: Final = 0.05
"""How long the deletion of a call that is over may wait for something that is saved."""


def _is_provisional(call: Call, effect: Effect) -> bool:
    """A response that says how far things are, and that nobody acknowledges."""
    if not isinstance(effect, SendResponse) or effect.status >= 200:
        return False
    leg = call.legs.get(effect.leg)
    incoming = leg.usage.incoming if leg is not None else None
    return incoming is not None and not incoming.reliable


class Saving:
    """Within one turn calls are only noted; ``flush`` saves all of them in one commit, and its reply releases the effects."""

    def __init__(
        self,
        running: RunningCalls,
        store: CallStore,
        performer: Performer,
        defects: Defects,
        unpushed: Callable[[list[tuple[Call, Push]], float], None],
    ) -> None:
        """``unpushed``: told of pushes that failed at once."""
        self.dirty: dict[str, Call] = {}
        """Calls that have changed since they were saved."""
        self.in_doubt = False
        """Whether the calls are still ours is asked with the next save."""
        self.pending: list[tuple[Call, Effect]] = []
        """What they want done."""
        self.now = 0.0
        """When anything happened last, Unix seconds."""
        self._unsent: dict[int, list[tuple[Call, Effect]]] = {}
        """Effects behind commits that have no answer yet, oldest first."""
        self.delete_at = NEVER
        """When calls that are over are deleted, if nothing is saved before; Unix seconds."""
        self.is_alone: Callable[[], bool] = lambda: False
        """Whether there is no other node, as far as this one knows, that could have a call of its."""
        self._looked_at = 0.0
        self._had_calls = False
        self._doubts_until = 0.0
        self._running = running
        self._store = store
        self._performer = performer
        self._defects = defects
        self._unpushed = unpushed

    def census(self) -> dict[str, int]:
        """Entries of every table by name: all zero when no call is up."""
        return {
            "dirty": len(self.dirty),
            "pending": len(self.pending),
            "unsent": len(self._unsent),
        }

    @property
    def is_waiting(self) -> bool:
        """A deletion was put off."""
        return self.delete_at != NEVER

    def has_unsent(self, ref: str) -> bool:
        """Whether effects of the call wait for the store, be it over or not."""
        batches = (self.pending, *self._unsent.values())
        return any(call.ref == ref for batch in batches for call, _ in batch)

    def flush(self, now: float) -> None:
        """Save what changed, then act.  While calls are up it is to be called many times a second."""
        if self.in_doubt or (self._had_calls and now - self._looked_at > FROZEN_S):
            self._doubts_until = now + DOUBT_S
        self._looked_at = now
        self._had_calls = len(self._running.calls) > 0
        is_due = now >= self.delete_at
        if not self.pending and not self.dirty and not is_due:
            return
        self.now = now
        pending, self.pending = self.pending, []
        dirty, self.dirty = self.dirty, {}
        changed = list(dirty.values()) if self._running.watcher is not None else []
        waits = self._must_wait(dirty, pending)
        if dirty or waits or is_due:
            begun = self._save_all(dirty, pending)
            asks = waits or is_due or self.in_doubt or len(begun) > 0
            self.in_doubt = False
            if asks:
                self.delete_at = NEVER  # what there is to delete goes along
            if waits:
                self._unsent[id(pending)] = pending
                self._store.commit(lambda lost: self._act(pending, lost, changed, begun))
                return
            if asks:
                self._store.commit(lambda lost: self._act([], lost, [], begun))
            else:
                self._store.commit(None)
        self._act(pending, frozenset(), changed, [])

    def settle(self, now: float) -> None:
        """Delete now what was put off."""
        self.delete_at = now
        self.flush(now)

    def _must_wait(self, dirty: dict[str, Call], pending: list[tuple[Call, Effect]]) -> bool:
        """Whether anything of this may only be done when it is known to be saved, or when something before it is.

        A provisional response promises nothing, and the end of a call nothing that an heir would not do: their saves are on their
        way before they are, and that is enough.  But where another node may have the call by now, its end is not for this one to
        tell, and the reply says whose it is.
        """
        stored = self._running.stored
        is_sure = self.now >= self._doubts_until and self.is_alone()
        for call, effect in pending:
            if call.ref not in dirty:
                continue
            used = stored.get(call.ref)
            if used is None:
                return True
            if call.phase == ENDED and is_sure:
                continue
            if not _is_provisional(call, effect) or used != call.ids_used():
                return True
        if not pending or not self._unsent:
            return False
        waiting = {call.ref for batch in self._unsent.values() for call, _ in batch}
        return any(call.ref in waiting for call, _ in pending)

    def _save_all(self, dirty: dict[str, Call], pending: list[tuple[Call, Effect]]) -> list[Call]:
        """Those of the calls for which the store is asked whether they are the first ones of their requests."""
        begun: list[Call] = []
        occupants = self._running.occupants
        for call in dirty.values():
            try:
                if self._save(call, pending):
                    begun.append(call)
                if occupants is not None:
                    occupants.changed(call, self.now)
            except Exception as error:  # noqa: BLE001
                self._defects.tell(error)
        return begun

    def _save(self, call: Call, pending: list[tuple[Call, Effect]]) -> bool:
        """True when the store is asked whether the call is the first one of its request."""
        running = self._running
        data = b""
        begun_by = ""
        if self._store.encodes:
            batches = (*self._unsent.values(), pending)
            unsent = [effect for batch in batches for owner, effect in batch if owner is call]
            data = snapshot.dump(call, unsent)
            if call.ref not in running.stored:
                begun_by = call.begun_by()
                if begun_by:
                    self._store.claim(call.ref, begun_by)
        self._store.save(call.ref, running.epochs.get(call.ref, 1), data)
        running.stored[call.ref] = call.ids_used()
        return begun_by != ""

    def _act(
        self,
        pending: list[tuple[Call, Effect]],
        lost: frozenset[str],
        changed: list[Call],
        begun: list[Call],
    ) -> None:
        performer = self._performer
        self._unsent.pop(id(pending), None)
        if lost:
            for call in begun:
                if call.ref in lost:
                    performer.give_back(call)
            for ref in lost:
                performer.lose(ref)
        for call in changed:
            # not one that was lost, or came to its end while this was saved
            if self._running.calls.get(call.ref) is call:
                performer.watch(call, self.now)
        elsewhere = self._running.elsewhere
        for call, effect in pending:
            if call.ref in lost or (elsewhere and call.ref in elsewhere):
                performer.drop(effect)
                continue
            try:
                performer.perform(call, effect, self.now)
            except Exception as error:  # noqa: BLE001
                self._defects.tell(error)
        if performer.deleted:
            performer.deleted = False
            if self.delete_at == NEVER:
                self.delete_at = self.now + LATER_S
        if performer.unpushed:
            unpushed, performer.unpushed = performer.unpushed, []
            self._unpushed(unpushed, self.now)
