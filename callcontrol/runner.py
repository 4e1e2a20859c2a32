"""The one loop of all calls: feed an event, save, then do what came of it.  No task, future or timer per call.

Synchronous, and without a clock of its own: the shell (or the simulator) says what time it is.  Within one turn of the loop
calls only take note of what they want done; ``flush`` saves everything that changed in one commit, and the store's reply
releases the effects.  An effect whose call was lost to another node is dropped: the new owner does it.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from callcontrol.asked_trunk import AskedTrunk, OutgoingLegs
from callcontrol.b2bua import joining, snapshot
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.causes import NEVER, failover, q850_of
from callcontrol.b2bua.effects import (
    AdoptInvite,
    CallOver,
    ChooseTrunk,
    Effect,
    FindMembers,
    JoinDialog,
    PeerSilent,
    Push,
    RouteForward,
    RouteTransfer,
    SendAgain,
    TrunkReleased,
    WriteRecord,
)
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.events import (
    DeadlinePassed,
    Event,
    ForwardRouted,
    HangUp,
    JoinPostponed,
    MemberChanged,
    MembersFound,
    PushFailed,
    ResponseIn,
    Resumed,
    TargetJoined,
    TransactionEnded,
    TransferRouted,
    TrunkChosen,
)
from callcontrol.b2bua.leg import Leg
from callcontrol.b2bua.phases import ENDED, RINGING
from callcontrol.b2bua.waking import INCOMING_CALL
from callcontrol.call_index import CallIndex, leg_tags, rung_users
from callcontrol.call_stats import CallStats
from callcontrol.cdr import CallRecord
from callcontrol.ladder import Ladders
from callcontrol.occupants import Occupants
from callcontrol.ports import CallPushes, CallStore, CallWatcher, RecordSink
from callcontrol.sip.commands import SendAck, SendRequest, SendResponse, UseTag
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.usage import Turn
from callcontrol.trunking import Trunking, retry_after
from callcontrol.wire import Owner, Wire
from dialplan import reasons
from dialplan.facts import CallFacts, OwnCall
from dialplan.plan import Decision, DeviceTarget, Forward, Identity, Reach

_REMEMBERED: Final = 5_000
TransferRoute = Callable[[str, str, str, float], Decision | None]
"""(device, target URI, cloud number of the call, now) -> decision, None when the target is refused."""


OtherFlow = Callable[[str, str, list[str], float], DeviceTarget | None]
"""(user, device, keys of bindings that were tried, now) -> a further flow of the device."""


ForwardRoute = Callable[[Forward, Identity, str, int, str, float], tuple[CallFacts | None, Decision | None]]
"""(step, caller, cause, Max-Forwards, call reference, now) -> facts and decision; None: nothing can be done with the target."""


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
        self.calls: dict[str, Call] = {}
        self.recent: OrderedDict[str, CallRecord] = OrderedDict()
        """The last ended calls, for the operator."""
        self.stats = CallStats()
        self.defects = 0
        self.lost = 0
        """Calls that another node took over."""
        self.elsewhere: OrderedDict[str, None] = OrderedDict()
        """The last of them by reference: what is to be done for them is done there."""
        self.ended: OrderedDict[str, None] = OrderedDict()
        """The last calls that ended on this node: whoever still believes in one may be told."""
        self.on_defect: Callable[[Exception], None] | None = None
        """Told of an error of ours while one call was served, so that it does not take the others along; None: it is
        raised."""
        self.outgoing: OutgoingLegs | None = None
        """Who may send legs to the outside, and what they use; None: everybody, and nothing is counted (OUT-08, OUT-10)."""
        self.pushes: CallPushes | None = None
        """Where pushes to devices go; None: no device can be pushed."""
        self.watcher: CallWatcher | None = None
        self.epochs: dict[str, int] = {}
        self.tap: Callable[[Call, Event], None] | None = None
        """Sees every event before its call does: recordings, and tests that store and load between two events."""
        self._store = store
        self._wire = wire
        self._trunking = trunking
        self._records = records
        self._route_transfer = route_transfer
        self.ladders = ladders
        self._recent_max = recent
        self._index = CallIndex()
        self._due: list[tuple[float, int, str]] = []
        self._scheduled: dict[str, float] = {}
        self._number = 0
        self._dirty: dict[str, Call] = {}
        self._pending: list[tuple[Call, Effect]] = []
        self._unsent: dict[int, list[tuple[Call, Effect]]] = {}
        """Effects behind commits that have no answer yet, oldest first."""
        self._stored: set[str] = set()
        """Calls of which a snapshot is in the store."""
        self._resumed: set[str] = set()
        """Calls that began on another node: their server transactions are gone with it."""
        self._unpushed: list[tuple[Call, Push]] = []
        """Pushes that failed at once; their calls are told."""
        self._deleted = False
        self._now = 0.0
        self._found: list[tuple[Call, Event]] = []
        """Answers that came between two turns."""
        self.reach: Callable[[str, float, str], Reach] = lambda user, now, ref: Reach(user=user)
        """(user, now, reference of the call) -> how a member of a hunt can be reached."""
        self.route_forward: ForwardRoute = lambda step, caller, cause, hops, ref, now: (None, None)
        """Decides how a call goes on that is forwarded."""
        self.occupants: Occupants | None = None
        """Who tells what the members of Greetings do; None: nobody has any."""
        self.targets_of: Callable[[str, float, float], list[DeviceTarget]] = lambda user, since, now: []
        """(user, since, now) -> contacts of a user's devices that have registered since then."""
        self.other_flow: OtherFlow = lambda user, device, tried, now: None
        """Finds a further outbound flow of a device, besides the bindings that were tried."""
        self.kick: Callable[[], None] = lambda: None
        """Asks the shell for a turn: an answer has come between two of them."""

    def census(self) -> dict[str, int]:
        """Entries of every table by name: all zero when no call is up."""
        return {
            "calls": len(self.calls),
            "dirty": len(self._dirty),
            "epochs": len(self.epochs),
            "pending": len(self._pending),
            "resumed": len(self._resumed),
            "scheduled": len(self._scheduled),
            "stored": len(self._stored),
            **self._index.census(),
            "unsent": len(self._unsent),
            "attempts": self._wire.attempts,
        }

    # -- finding calls --------------------------------------------------------------------------------------

    def by_tag(self, tag: str) -> Owner | None:
        """The leg that uses ``tag`` as ours."""
        return self._index.by_tag(tag)

    def has_unsent(self, ref: str) -> bool:
        """Whether effects of the call wait for the store, be it over or not."""
        batches = (self._pending, *self._unsent.values())
        return any(call.ref == ref for batch in batches for call, _ in batch)

    def start(self, call: Call, event: Event, now: float) -> None:
        """Take a new call and feed it its first event."""
        self._own(call, 1)
        self.stats.started(call)
        self.handle(call, event, now)

    def own_calls(self, sip_call_id: str, call_ref: str) -> tuple[OwnCall, ...]:
        """Calls that a Call-ID of ours (it begins with the reference), or a reference itself, belongs to (FWD-04)."""
        refs = {call_ref, sip_call_id.partition(".")[0]}
        found = [self.calls[ref] for ref in sorted(refs) if ref in self.calls]
        return tuple(OwnCall(call_ref=call.ref, called=call.plan.called) for call in found)

    def ringing(self, user: str) -> list[Call]:
        """Calls that ring the user's devices now."""
        found = [self.calls.get(ref) for ref in self._index.of_user(user)]
        return [
            call
            for call in found
            if call is not None and (call.phase == RINGING or call.transfer is not None)
        ]

    def resume(self, data: bytes, epoch: int, now: float) -> None:
        """Take a call over from its snapshot: what its node may not have done any more is done, and its tags lead here."""
        call = snapshot.load(data, self.env)
        self._resumed.add(call.ref)
        self._stored.add(call.ref)
        self._own(call, epoch)
        for leg in call.legs.values():
            for tag in leg_tags(leg):
                self._index.use_tag(call, leg.id, tag)
            if leg.channel:
                self._trunking.restore(leg.trunk, leg.channel, now)
                if self.outgoing is not None:
                    self.outgoing.resumed(leg.channel)
        for effect in snapshot.outbox(data):
            if isinstance(effect, TrunkReleased) and self.outgoing is not None:
                self.outgoing.resumed(effect.channel)
            self._pending.append((call, effect))
        self.handle(call, Resumed(), now)
        if call.phase == RINGING:
            # whoever registered while nobody had the call
            for user in rung_users(call.plan):
                for target in self.targets_of(user, call.started_at, now):
                    self.handle(call, TargetJoined(target), now)

    def save_again(self, refs: Iterable[str]) -> None:
        """Have the next ``flush`` save these calls, if they still run: the store may have lost them."""
        for ref in refs:
            call = self.calls.get(ref)
            if call is not None and ref in self._stored:
                self._dirty[ref] = call

    def _own(self, call: Call, epoch: int) -> None:
        self.elsewhere.pop(call.ref, None)
        self.calls[call.ref] = call
        self.epochs[call.ref] = epoch
        self._index.add(call)

    # -- events ---------------------------------------------------------------------------------------------

    def handle(self, call: Call, event: Event, now: float) -> None:
        """Feed one event; effects wait for ``flush``."""
        if self.elsewhere and call.ref in self.elsewhere:
            return  # a transaction still knew of it; what is to be done, its new owner does
        if self.tap is not None:
            self.tap(call, event)
        self._now = now
        self._take(call, call.handle(event, now), now)

    def response(self, owner: Owner, branch: str, message: Message, flow: Flow, now: float) -> None:
        """A response to a request of one of our legs."""
        call = owner.call
        leg = call.legs.get(owner.leg)
        if leg is None:
            return
        status = message.status
        self.ladders.add(call.ref, now, owner.leg, False, leg.address, message.data)
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
        target = self.other_flow(leg.user, leg.device, tried, now)
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
        if self._found:
            found, self._found = self._found, []
            for waiting, event in found:
                try:
                    self.handle(waiting, event, now)
                except Exception as error:  # noqa: BLE001
                    self.defect(error)
        due = self._due
        while due and due[0][0] <= now:
            at, _, ref = heapq.heappop(due)
            if self._scheduled.get(ref) != at:
                continue  # an earlier or later one took its place
            del self._scheduled[ref]
            call = self.calls.get(ref)
            if call is None:
                continue
            if call.next_deadline() > now:
                self._schedule(call)
                continue
            try:
                self.handle(call, DeadlinePassed(), now)
            except Exception as error:  # noqa: BLE001
                self.defect(error)

    def trunk_found(self, call: Call, event: TrunkChosen) -> None:
        """A trunk that was asked for in an earlier turn."""
        self._found.append((call, event))
        self.kick()

    def next_deadline(self) -> float | None:
        return self._due[0][0] if self._due else None

    def hang_up(self, ref: str, reason: str, now: float) -> bool:
        """End a call from inside; False if it does not run."""
        call = self.calls.get(ref)
        if call is None or call.phase == ENDED:
            return False
        self.handle(call, HangUp(reason), now)
        return True

    # -- effects --------------------------------------------------------------------------------------------

    def _take(self, call: Call, effects: list[Effect], now: float) -> None:
        if call.ignored:
            self.stats.ignored(call.ignored)
            call.ignored = []
        if call.dirty:
            call.dirty = False
            # what comes after the end (another 2xx of a fork) must not bring the snapshot back, and who was refused at
            # once, or has nothing left to be done, need not be stored
            if call.ref in self.calls and not (
                call.over and (len(effects) == 1 or call.ref not in self._stored)
            ):
                self._dirty[call.ref] = call
        follow: list[Effect] = []
        for effect in effects:
            if isinstance(effect, UseTag):
                self._index.use_tag(call, effect.leg, effect.tag)
            elif isinstance(effect, (ChooseTrunk, FindMembers, RouteForward, RouteTransfer, JoinDialog)):
                follow.append(effect)
            else:
                if isinstance(effect, TrunkReleased) and self.outgoing is not None:
                    # at once, so that the next attempt of the same call finds it
                    self.outgoing.release(effect.channel)
                self._pending.append((call, effect))
        self._schedule(call)
        for effect in follow:
            self._answer(call, effect, now)

    def _answer(self, call: Call, effect: Effect, now: float) -> None:
        """Lookups that a call asks for; their answer is an event of the same turn."""
        if isinstance(effect, ChooseTrunk):
            asked = AskedTrunk(self.outgoing, self._trunking, self.trunk_found, call, effect, now)
            asked.ask()
            asked.waits = asked.event is None
            if asked.event is not None:
                self.handle(call, asked.event, now)
        elif isinstance(effect, RouteTransfer):
            decision = self._transfer_route(call, effect.leg, effect.target, now)
            self._routed(call, decision, 404, now)
        elif isinstance(effect, FindMembers):
            self._find_members(call, effect, now)
        elif isinstance(effect, RouteForward):
            self._forward(call, effect, now)
        elif isinstance(effect, JoinDialog):
            self._join(call, effect, now)

    def _find_members(self, call: Call, effect: FindMembers, now: float) -> None:
        if effect.greeting and self.occupants is not None:
            self.occupants.occupancy.took_turn(effect.greeting)
        found = tuple([self._reach(call, user, now) for user in effect.users])
        self.handle(call, MembersFound(effect.stage, found), now)

    def _reach(self, call: Call, user: str, now: float) -> Reach:
        """How a member can be reached; whoever cannot be looked up costs no time, and the hunt goes on."""
        try:
            return self.reach(user, now, call.ref)
        except Exception as error:  # noqa: BLE001 - told, and the caller still has the other members
            self.defect(error)
            call.note("GRT-01", reasons.UNAVAILABLE, f"{user} could not be looked up")
            return Reach(user=user)

    def _forward(self, call: Call, effect: RouteForward, now: float) -> None:
        facts: CallFacts | None = None
        decision: Decision | None = None
        try:
            facts, decision = self.route_forward(
                effect.step, effect.caller, effect.cause, effect.max_forwards, call.ref, now
            )
        except Exception as error:  # noqa: BLE001 - told, and the plan goes on
            self.defect(error)
        if decision is not None:
            self._index.rings(call, rung_users(decision.plan))
        if facts is not None and self.env.keep_facts:
            call.facts.append(facts)
        self.handle(call, ForwardRouted(decision), now)

    def member_changed(self, user: str) -> None:
        """What a member of a Greeting does has changed: a hunt may have waited for that."""
        for call in self.ringing(user):
            if call.hunt is not None and user in call.hunt.held:
                self._found.append((call, MemberChanged(user)))
                self.kick()

    def _transfer_route(self, call: Call, leg: str, target: str, now: float) -> Decision | None:
        """The transferor calls the target, with the number that it talks with in this call."""
        party = call.legs[leg]
        return self._route_transfer(party.device, target, party.number, now)

    def _join(self, call: Call, effect: JoinDialog, now: float) -> None:
        """Attended transfer: bring the other party of the named dialog over (RFC 3891).

        A dialog that is still ringing, or is not ours, leads to its target like a blind transfer.
        """
        owner = self._index.by_tag(effect.to_tag) or self._index.by_tag(effect.from_tag)
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
        decision = self._transfer_route(call, effect.leg, effect.target, now)
        self._routed(call, decision, 481, now)

    def _routed(self, call: Call, decision: Decision | None, status: int, now: float) -> None:
        if decision is not None:
            self._index.rings(call, rung_users(decision.plan))
        self.handle(call, TransferRouted(decision, status), now)

    def _move_leg(self, call: Call, other: Call, leg: Leg, now: float, effects: list[Effect]) -> None:
        old = leg.id
        adopted: list[Effect] = []
        joining.adopt(call, Turn(self.env.usage, now, adopted), leg)
        self._index.move(other, old, call, leg.id)
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

    def _schedule(self, call: Call) -> None:
        at = call.next_deadline()
        if at == float("inf"):
            return
        scheduled = self._scheduled.get(call.ref)
        if scheduled is not None and scheduled <= at:
            return  # it will look again then
        self._scheduled[call.ref] = at
        self._number += 1
        heapq.heappush(self._due, (at, self._number, call.ref))

    # -- saving and acting ----------------------------------------------------------------------------------

    def flush(self, now: float) -> None:
        """Save what changed, then act.  Once per turn of the loop."""
        if not self._pending and not self._dirty:
            return
        self._now = now
        pending, self._pending = self._pending, []
        if self._dirty:
            begun: list[Call] = []
            for call in self._dirty.values():
                if self.occupants is not None:
                    self.occupants.changed(call, now)
                try:
                    if self._save(call, pending):
                        begun.append(call)
                except Exception as error:  # noqa: BLE001
                    self.defect(error)
            changed = list(self._dirty.values()) if self.watcher is not None else []
            self._dirty = {}
            self._unsent[id(pending)] = pending
            self._store.commit(lambda lost: self._act(pending, lost, changed, begun))
        elif self._store.waiting:
            self._unsent[id(pending)] = pending
            self._store.commit(lambda lost: self._act(pending, lost, [], []))
        else:
            self._act(pending, frozenset(), [], [])

    def _save(self, call: Call, pending: list[tuple[Call, Effect]]) -> bool:
        """True when the store is asked whether the call is the first one of its request."""
        data = b""
        begun_by = ""
        if self._store.encodes:
            batches = (*self._unsent.values(), pending)
            unsent = [effect for batch in batches for owner, effect in batch if owner is call]
            data = snapshot.dump(call, unsent)
            if call.ref not in self._stored:
                begun_by = call.begun_by()
                if begun_by:
                    self._store.claim(call.ref, begun_by)
        self._store.save(call.ref, self.epochs.get(call.ref, 1), data)
        self._stored.add(call.ref)
        return begun_by != ""

    def defect(self, error: Exception) -> None:
        """An error of ours has hit one call or message: the others go on, unless nobody wants to know of it."""
        if self.on_defect is None:
            raise error
        self.defects += 1
        self.on_defect(error)

    def _act(
        self,
        pending: list[tuple[Call, Effect]],
        lost: frozenset[str],
        changed: list[Call],
        begun: list[Call],
    ) -> None:
        self._unsent.pop(id(pending), None)
        for call in begun if lost else ():
            if call.ref in lost:
                self._give_back(call)
        for ref in lost:
            self.lost += 1
            _remember(self.elsewhere, ref)
            self._leave_request(ref)
            self._forget(ref)
        for call in changed:
            if call.ref not in lost:
                self._watch(call)
        for call, effect in pending:
            if call.ref in lost or (self.elsewhere and call.ref in self.elsewhere):
                continue
            try:
                self._perform(call, effect)
            except Exception as error:  # noqa: BLE001
                self.defect(error)
        if self._deleted:
            self._deleted = False
            self._store.commit(lambda lost: None)
        if self._unpushed:
            unpushed, self._unpushed = self._unpushed, []
            for call, effect in unpushed:
                if effect.kind == INCOMING_CALL:
                    self.handle(call, PushFailed(effect.device), self._now)
            self.flush(self._now)

    def _give_back(self, call: Call) -> None:
        """A call that never was, since its request has begun another one: what was taken for it."""
        for leg in call.legs.values():
            if leg.channel:
                self._trunking.release(leg.trunk, leg.channel)
                if self.outgoing is not None:
                    self.outgoing.release(leg.channel)

    def _leave_request(self, ref: str) -> None:
        """The INVITE of a call that another node has is that one's to answer."""
        call = self.calls.get(ref)
        begun_by = call.begun_by() if call is not None else ""
        if begun_by:
            self._wire.leave(begun_by)

    def _watch(self, call: Call) -> None:
        if self.watcher is not None:
            self.watcher.changed(call, self._now)

    def _perform(self, call: Call, effect: Effect) -> None:
        now = self._now
        if isinstance(effect, SendRequest):
            its = call.legs.get(effect.leg)
            if effect.method == "CANCEL" and not (its is not None and its.waits_for(effect.branch)):
                return  # its INVITE was answered within this very turn (RFC 3261 §9.1)
            self.ladders.add(call.ref, now, effect.leg, True, effect.target, effect.data)
            self._wire.send_request(self._index.owner(call, effect.leg), effect)
        elif isinstance(effect, SendResponse):
            leg = call.legs.get(effect.leg)
            self.ladders.add(
                call.ref, now, effect.leg, True, leg.address if leg is not None else "", effect.data
            )
            path = leg.path_back() if leg is not None and call.ref in self._resumed else ""
            self._wire.send_response(effect, path)
        elif isinstance(effect, SendAck):
            self.ladders.add(call.ref, now, effect.leg, True, effect.target, effect.data)
            self._wire.send_ack(self._index.owner(call, effect.leg), effect)
        elif isinstance(effect, WriteRecord):
            self._records.put(effect.record)
            self.stats.ended(effect.record)
            if self.outgoing is not None:
                self.outgoing.ended(effect.record, now)
            if self.pushes is not None:
                self.pushes.ended(call)
            self._watch(call)
            self.recent[call.ref] = effect.record
            while len(self.recent) > self._recent_max:
                self.recent.popitem(last=False)
        elif isinstance(effect, PeerSilent):
            self._trunking.failed(effect.trunk, effect.peer, "silent", 0.0, now)
        elif isinstance(effect, Push):
            if self.pushes is not None and not self.pushes.push(call, effect, now):
                self._unpushed.append((call, effect))
        elif isinstance(effect, SendAgain):
            self._wire.send_again(effect.branch)
        elif isinstance(effect, AdoptInvite):
            self._wire.adopt_invite(self._index.owner(call, effect.leg), effect.key, effect.flow)
        elif isinstance(effect, TrunkReleased):
            self._trunking.release(effect.trunk, effect.channel)
            if self.outgoing is not None:
                self.outgoing.release(effect.channel)
        elif isinstance(effect, CallOver):
            if call.ref in self._stored:
                self._store.delete(call.ref, self.epochs.get(call.ref, 1))
                self._deleted = True
            self._forget(call.ref)

    def _forget(self, ref: str) -> None:
        call = self.calls.pop(ref, None)
        if call is not None and call.over:
            _remember(self.ended, ref)
        if call is not None:
            self._index.forget(call)
            # its legs stay as long as transactions hold on to them: a fork that answers now is still released
            call.trace = []
            call.facts = []
        self.epochs.pop(ref, None)
        self._resumed.discard(ref)
        self._stored.discard(ref)
        self._scheduled.pop(ref, None)
        self.ladders.end(ref)
        if self.occupants is not None:
            self.occupants.forget(ref)
        if self.watcher is not None:
            self.watcher.forget(ref)


def _remember(refs: OrderedDict[str, None], ref: str) -> None:
    refs[ref] = None
    if len(refs) > _REMEMBERED:
        refs.popitem(last=False)
