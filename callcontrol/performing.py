"""What calls want done is done: to transactions, trunks, records, pushes, the store."""

from __future__ import annotations

from collections import OrderedDict

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import (
    AdoptInvite,
    CallOver,
    Effect,
    PeerSilent,
    Push,
    SendAgain,
    TrunkReleased,
    WriteRecord,
)
from callcontrol.call_stats import CallStats
from callcontrol.cdr import CallRecord
from callcontrol.defects import Defects
from callcontrol.ports import CallPushes, CallStore, RecordSink
from callcontrol.running_calls import RunningCalls
from callcontrol.sip.commands import SendAck, SendRequest, SendResponse
from callcontrol.trunk_legs import TrunkLegs
from callcontrol.wire import Wire


class Performer:
    """Its effects are saved: whoever takes a call over from here on would carry them out again."""

    def __init__(
        self,
        running: RunningCalls,
        store: CallStore,
        wire: Wire,
        legs: TrunkLegs,
        records: RecordSink,
        defects: Defects,
        recent: int,
    ) -> None:
        """``recent``: how many records of ended calls are kept at hand."""
        self.stats = CallStats()
        self.recent: OrderedDict[str, CallRecord] = OrderedDict()
        """The last ended calls, for the operator."""
        self.pushes: CallPushes | None = None
        """Where pushes to devices go; None: no device can be pushed."""
        self.unpushed: list[tuple[Call, Push]] = []
        """Pushes that failed at once."""
        self.deleted = False
        """The store was told that a call is over, and not yet to write it."""
        self._running = running
        self._ladders = running.ladders
        self._store = store
        self._wire = wire
        self._legs = legs
        self._defects = defects
        self._records = records
        self._recent_max = recent

    def perform(self, call: Call, effect: Effect, now: float) -> None:
        """Carry out one effect; ``now``: Unix seconds."""
        if isinstance(effect, SendRequest):
            its = call.legs.get(effect.leg)
            if effect.method == "CANCEL" and not (its is not None and its.waits_for(effect.branch)):
                return  # its INVITE was answered within this very turn (RFC 3261 §9.1)
            self._ladders.add(call.ref, now, effect.leg, True, effect.target, effect.data)
            self._wire.send_request(self._running.index.owner(call, effect.leg), effect)
        elif isinstance(effect, SendResponse):
            leg = call.legs.get(effect.leg)
            self._ladders.add(
                call.ref, now, effect.leg, True, leg.address if leg is not None else "", effect.data
            )
            path = leg.path_back() if leg is not None and call.ref in self._running.resumed else ""
            self._wire.send_response(effect, path)
        elif isinstance(effect, SendAck):
            self._ladders.add(call.ref, now, effect.leg, True, effect.target, effect.data)
            self._wire.send_ack(self._running.index.owner(call, effect.leg), effect)
        elif isinstance(effect, WriteRecord):
            self._record(call, effect.record, now)
        elif isinstance(effect, PeerSilent):
            self._legs.trunking.failed(effect.trunk, effect.peer, "silent", 0.0, now)
        elif isinstance(effect, Push):
            if self.pushes is not None and not self.pushes.push(call, effect, now):
                self.unpushed.append((call, effect))
        elif isinstance(effect, SendAgain):
            self._wire.send_again(effect.branch)
        elif isinstance(effect, AdoptInvite):
            owner = self._running.index.owner(call, effect.leg)
            self._wire.adopt_invite(owner, effect.key, effect.flow)
        elif isinstance(effect, TrunkReleased):
            self._legs.release(effect.trunk, effect.channel)
        elif isinstance(effect, CallOver):
            running = self._running
            if call.ref in running.stored:
                self._store.delete(call.ref, running.epochs.get(call.ref, 1))
                self.deleted = True
            running.forget(call.ref)

    def watch(self, call: Call, now: float) -> None:
        """The call was saved, or has ended; whoever is told of it costs no call anything."""
        watcher = self._running.watcher
        if watcher is not None:
            try:
                watcher.changed(call, now)
            except Exception as error:  # noqa: BLE001
                self._defects.tell(error)

    def give_back(self, call: Call) -> None:
        """A call that never was, since its request has begun another one: what was taken for it."""
        for leg in call.legs.values():
            if leg.channel:
                self._legs.release(leg.trunk, leg.channel)

    def lose(self, ref: str) -> None:
        """Another node has the call: its INVITE, and what its parties have asked, are that one's to answer; what its legs hold
        is held there.
        """
        call = self._running.calls.get(ref)
        if call is not None:
            begun_by = call.begun_by()
            if begun_by:
                self._wire.leave(begun_by)
            for leg in call.legs.values():
                for key in leg.usage.asked:
                    self._wire.leave(key)
                if leg.channel:
                    self._legs.lose(leg)
        self._running.lose(ref)

    def drop(self, effect: Effect) -> None:
        """An effect of a call that another node has: who asked may ask again, and is heard there then.  A transaction that goes
        on here would swallow that."""
        if isinstance(effect, SendResponse):
            self._wire.leave(effect.key)

    def _record(self, call: Call, record: CallRecord, now: float) -> None:
        self._records.put(record)
        self.stats.ended(record)
        self._legs.ended(record, now)
        if self.pushes is not None:
            self.pushes.ended(call)
        self.watch(call, now)
        self.recent[call.ref] = record
        while len(self.recent) > self._recent_max:
            self.recent.popitem(last=False)
