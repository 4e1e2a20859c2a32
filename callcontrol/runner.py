"""The one loop of all calls: feed an event, save, then do what came of it.  No task, future or timer per call.

Synchronous, and without a clock of its own: the shell (or the simulator) says what time it is.  Within one turn of the loop
calls only take note of what they want done; ``flush`` saves everything that changed in one commit, and the store's reply
releases the effects (`callcontrol.saving`, `callcontrol.performing`).  An effect whose call was lost to another node is
dropped: the new owner does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from callcontrol.b2bua import joining, snapshot
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.causes import NEVER, failover, q850_of
from callcontrol.b2bua.effects import (
    ChooseTrunk,
    Effect,
    FindMembers,
    JoinDialog,
    Push,
    RouteForward,
    RouteTransfer,
    TrunkReleased,
)
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.events import (
    DeadlinePassed,
    Event,
    HangUp,
    JoinPostponed,
    MemberChanged,
    PushFailed,
    ResponseIn,
    Resumed,
    TargetJoined,
    TransactionEnded,
)
from callcontrol.b2bua.leg import Leg
from callcontrol.b2bua.phases import ENDED, RINGING
from callcontrol.b2bua.waking import INCOMING_CALL
from callcontrol.call_index import leg_tags, rung_users
from callcontrol.defects import Defects
from callcontrol.ladder import Ladders
from callcontrol.lookups import Lookups, TransferRoute
from callcontrol.performing import Performer
from callcontrol.ports import CallStore, RecordSink
from callcontrol.running_calls import RunningCalls
from callcontrol.saving import Saving
from callcontrol.sip.commands import UseTag
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.usage import Turn
from callcontrol.trunk_legs import TrunkLegs
from callcontrol.trunking import Trunking, retry_after
from callcontrol.wire import Owner, Wire
from dialplan.facts import OwnCall


class Runner:
    """Owns the running calls of this node."""

    def __init__(
        self,
        env: CallEnv,
        store: CallStore,
        wire: Wire,
        trunking: Trunking,
        records: RecordSink,
        route_transfer: TransferRoute,
        ladders: Ladders,
        recent: int = 500,
    ) -> None:
        self.env = env
        self.running = RunningCalls(ladders)
        self.calls = self.running.calls
        self.defects = Defects()
        self.tap: Callable[[Call, Event], None] | None = None
        """Sees every event before its call does: recordings, and tests that store and load between two events."""
        self.kick: Callable[[], None] = lambda: None
        """Asks the shell for a turn: an event has come between two of them."""
        self._late: list[tuple[Call, Event]] = []
        """Events that came between two turns."""
        self._elsewhere = self.running.elsewhere
        self._ladders = ladders
        self._trunking = trunking
        self._wire = wire
        self.trunk_legs = legs = TrunkLegs(trunking)
        self.performer = Performer(self.running, store, wire, legs, records, self.defects, recent)
        self.lookups = Lookups(self.running, legs, self.defects, route_transfer, self.later)
        self.saving = Saving(self.running, store, self.performer, self.defects, self._push_failed)

    def census(self) -> dict[str, int]:
        """Entries of every table by name: all zero when no call is up."""
        return {**self.running.census(), **self.saving.census(), "attempts": self._wire.attempts}

    # -- finding calls --------------------------------------------------------------------------------------

    def by_tag(self, tag: str) -> Owner | None:
        """The leg that uses ``tag`` as ours."""
        return self.running.index.by_tag(tag)

    def own_calls(self, sip_call_id: str, call_ref: str) -> tuple[OwnCall, ...]:
        """Calls that a Call-ID of ours, or a reference itself, belongs to (FWD-04)."""
        return self.running.own_calls(sip_call_id, call_ref)

    def ringing(self, user: str) -> list[Call]:
        """Calls that ring the user's devices now."""
        return self.running.ringing(user)

    # -- beginning ------------------------------------------------------------------------------------------

    def start(self, call: Call, event: Event, now: float) -> None:
        """Take a new call and feed it its first event."""
        self.running.add(call, 1)
        self.performer.stats.started(call)
        self.handle(call, event, now)

    def resume(self, data: bytes, epoch: int, now: float) -> None:
        """Take a call over from its snapshot: what its node may not have done any more is done, and its tags lead here."""
        call = snapshot.load(data, self.env)
        running = self.running
        running.resumed.add(call.ref)
        running.stored[call.ref] = call.ids_used()
        running.add(call, epoch)
        for leg in call.legs.values():
            for tag in leg_tags(leg):
                running.index.use_tag(call, leg.id, tag)
            if leg.channel:
                self.trunk_legs.restore(leg, now)
        for effect in snapshot.outbox(data):
            if isinstance(effect, TrunkReleased):
                self.trunk_legs.resumed(effect.channel)
            self.saving.pending.append((call, effect))
        self.guarded(call, Resumed(), now)
        running.deadlines.schedule(call)
        if call.phase == RINGING:
            # whoever registered while nobody had the call
            for user in rung_users(call.plan):
                for target in self.lookups.targets_of(user, call.started_at, now):
                    self.guarded(call, TargetJoined(target), now)

    def save_again(self, refs: Iterable[str]) -> None:
        """Have the next ``flush`` save these calls, if they still run: the store may have lost them."""
        for ref in refs:
            call = self.calls.get(ref)
            if call is not None and ref in self.running.stored:
                self.saving.dirty[ref] = call
                self.saving.in_doubt = True

    # -- events ---------------------------------------------------------------------------------------------

    def handle(self, call: Call, event: Event, now: float) -> None:
        """Feed one event; effects wait for ``flush``."""
        if self._elsewhere and call.ref in self._elsewhere:
            return  # a transaction still knew of it; what is to be done, its new owner does
        if self.tap is not None:
            self.tap(call, event)
        self.saving.now = now
        self._take(call, call.handle(event, now), now)

    def response(self, owner: Owner, branch: str, message: Message, flow: Flow, now: float) -> None:
        """A response to a request of one of our legs."""
        call = owner.call
        leg = call.legs.get(owner.leg)
        if leg is None:
            return
        status = message.status
        self._ladders.add(call.ref, now, owner.leg, False, leg.address, message.data)
        if leg.trunk and message.method == "INVITE" and leg.usage.invite is not None:
            self._note_peer(leg, message, now)
        login = None
        came_from = ""
        if status in (401, 407, 422):
            came_from = flow.dump()
            login = self._trunking.login(leg.trunk) if leg.trunk and status != 422 else None
        elif status == 430 and leg.binding and message.method == "INVITE":
            self._try_other_flow(call, leg, now)
        self.handle(call, ResponseIn(owner.leg, branch, message, login, came_from), now)

    def failed(self, owner: Owner, branch: str, method: str, cause: str, now: float) -> None:
        """A client transaction ended without a final response."""
        leg = owner.call.legs.get(owner.leg)
        if leg is not None and leg.peer and method == "INVITE":
            self._trunking.failed(leg.trunk, leg.peer, cause, 0.0, now)
        elif leg is not None and leg.binding and method == "INVITE" and cause == "transport":
            self._try_other_flow(owner.call, leg, now)
        self.handle(owner.call, TransactionEnded(owner.leg, branch, cause), now)

    def _try_other_flow(self, call: Call, leg: Leg, now: float) -> None:
        """The flow of a device is dead: another one of it is rung before the first is given up (RFC 5626 §5.3)."""
        tried = [other.binding for other in call.legs.values() if other.device == leg.device]
        target = self.lookups.other_flow(leg.user, leg.device, tried, now)
        if target is not None:
            self.handle(call, TargetJoined(target), now)

    def _note_peer(self, leg: Leg, message: Message, now: float) -> None:
        status = message.status
        if status == 503 and failover(status, q850_of(message)) != NEVER:
            self._trunking.failed(leg.trunk, leg.peer, "503", retry_after(message), now)
        elif status > 100:
            self._trunking.answered(leg.trunk, leg.peer, now)

    def tick(self, now: float) -> None:
        """Feed ``DeadlinePassed`` to every call whose time has come, and answers that came meanwhile."""
        if self._late:
            late, self._late = self._late, []
            for waiting, event in late:
                self.guarded(waiting, event, now)
        deadlines = self.running.deadlines
        while ref := deadlines.pop(now):
            call = self.calls.get(ref)
            if call is None:
                continue
            if call.next_deadline() > now:
                deadlines.schedule(call)
            else:
                self.guarded(call, DeadlinePassed(), now)

    def guarded(self, call: Call, event: Event, now: float) -> None:
        """Whatever one call does about it, the others get theirs."""
        try:
            self.handle(call, event, now)
        except Exception as error:  # noqa: BLE001
            self.defects.tell(error)

    def later(self, call: Call, event: Event) -> None:
        """Feed an event that came between two turns in the next one."""
        self._late.append((call, event))
        self.kick()

    def member_changed(self, user: str) -> None:
        """What a member of a Greeting does has changed: a hunt may have waited for that."""
        for call in self.ringing(user):
            if call.hunt is not None and user in call.hunt.held:
                self.later(call, MemberChanged(user))

    def next_deadline(self) -> float | None:
        """When ``tick`` is worth being called; None: never, as things are."""
        first, saving = self.running.deadlines.next(), self.saving
        if not saving.is_waiting:
            return first
        return saving.delete_at if first is None else min(first, saving.delete_at)

    def hang_up(self, ref: str, reason: str, now: float) -> bool:
        """End a call from inside; False if it does not run."""
        call = self.calls.get(ref)
        if call is None or call.phase == ENDED:
            return False
        self.handle(call, HangUp(reason), now)
        return True

    # -- what calls want done -------------------------------------------------------------------------------

    def flush(self, now: float) -> None:
        """Save what changed, then act.  Once per turn of the loop."""
        self.saving.flush(now)

    def settle(self, now: float) -> None:
        """The node stops: delete what was put off."""
        self.saving.settle(now)

    def _take(self, call: Call, effects: list[Effect], now: float) -> None:
        if call.ignored:
            self.performer.stats.ignored(call.ignored)
            call.ignored = []
        saving = self.saving
        if call.dirty:
            call.dirty = False
            # what comes after the end (another 2xx of a fork) must not bring the snapshot back, and who was refused at
            # once, or has nothing left to be done, need not be stored
            if self.calls.get(call.ref) is call and not (
                call.over and (len(effects) == 1 or call.ref not in self.running.stored)
            ):
                saving.dirty[call.ref] = call
        follow: list[Effect] = []
        for effect in effects:
            if isinstance(effect, UseTag):
                self.running.index.use_tag(call, effect.leg, effect.tag)
            elif isinstance(effect, (ChooseTrunk, FindMembers, RouteForward, RouteTransfer, JoinDialog)):
                follow.append(effect)
            else:
                if isinstance(effect, TrunkReleased):
                    # at once, so that the next attempt of the same call finds it
                    self.trunk_legs.leave(effect.channel)
                saving.pending.append((call, effect))
        self.running.deadlines.schedule(call)
        for effect in follow:
            if isinstance(effect, JoinDialog):
                self._join(call, effect, now)
                continue
            # an event of the same turn
            answer = self.lookups.answer(call, effect, now)
            if answer is not None:
                self.handle(call, answer, now)

    def _push_failed(self, unpushed: list[tuple[Call, Push]], now: float) -> None:
        """Pushes failed while they were sent: their calls do something else."""
        for call, effect in unpushed:
            if effect.kind == INCOMING_CALL:
                self.guarded(call, PushFailed(effect.device), now)
        self.flush(now)

    # -- legs that change their calls -----------------------------------------------------------------------

    def _join(self, call: Call, effect: JoinDialog, now: float) -> None:
        """Attended transfer: bring the other party of the named dialog over (RFC 3891).

        A dialog that is still ringing, or is not ours, leads to its target like a blind transfer.
        """
        owner = self.by_tag(effect.to_tag) or self.by_tag(effect.from_tag)
        if owner is not None and owner.call is not call:
            other = owner.call
            leg = other.legs.get(owner.leg)
            # who transfers must be the one who holds both calls
            if leg is not None and leg.call_id == effect.call_id and leg.user == call.legs[effect.leg].user:
                if joining.is_negotiating(other, owner.leg):
                    again = JoinPostponed(effect.call_id, effect.to_tag, effect.from_tag, effect.target)
                    self.handle(call, again, now)
                    return
                effects: list[Effect] = []
                turn = Turn(self.env.usage, now, effects)
                given = joining.give(other, turn, owner.leg)
                if given is not None:
                    self._move_leg(call, other, given, now, effects)
                    return
        self.handle(call, self.lookups.transfer(call, effect.leg, effect.target, 481, now), now)

    def _move_leg(self, call: Call, other: Call, leg: Leg, now: float, effects: list[Effect]) -> None:
        old = leg.id
        adopted: list[Effect] = []
        joining.adopt(call, Turn(self.env.usage, now, adopted), leg)
        self.running.index.move(other, old, call, leg.id)
        call.dirty = other.dirty = True
        self._take(other, [*effects, *other.handle(DeadlinePassed(), now)], now)
        self._take(call, adopted, now)

    def replace(self, owner: Owner, leg: Leg, now: float, commands: list[Effect]) -> bool:
        """INVITE with Replaces: ``leg`` takes the place of the one that ``owner`` names."""
        call = owner.call
        effects: list[Effect] = list(commands)
        done = joining.replace(call, Turn(self.env.usage, now, effects), owner.leg, leg)
        if done:
            call.dirty = True
            self._take(call, effects, now)
        return done
