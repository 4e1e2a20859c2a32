"""The call: one pure state machine over recorded inputs.

``Call.handle(event, now)`` is synchronous and total.  It returns what is to be done, in order; an event that does not fit the
phase is named and counted, never raised.  Time and identifiers come from outside, so the same events give the same effects,
here, in the simulator, and on the node that takes the call over.

The phases are split over modules: ``ringing`` (looking for an answer), ``talking`` (two parties in dialogs), ``transfer``.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from callcontrol.b2bua import (
    callback,
    deadlines,
    ending,
    forwarding,
    hunting,
    offering,
    reports,
    ringing,
    seeking,
    takeover,
    transfer,
    waking,
)
from callcontrol.b2bua.callback import Callback
from callcontrol.b2bua.dialling import on_first_words
from callcontrol.b2bua.effects import CallOver, Effect, TrunkReleased
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.events import (
    CallBack,
    CancelIn,
    DeadlinePassed,
    Event,
    ForwardRouted,
    HangUp,
    JoinPostponed,
    MemberChanged,
    MembersFound,
    PushFailed,
    RequestIn,
    ResponseIn,
    Resumed,
    Start,
    TargetJoined,
    TransactionEnded,
    TransferRouted,
    TrunkChosen,
)
from callcontrol.b2bua.hunting import Hunting
from callcontrol.b2bua.joining import Transfer
from callcontrol.b2bua.leg import CALLER, Leg
from callcontrol.b2bua.phases import ENDED, NEW, RINGING, TALKING
from callcontrol.b2bua.seeking import Seek
from callcontrol.b2bua.waking import Waking
from callcontrol.sip import usage_requests, usage_session, usage_uas
from callcontrol.sip.commands import SendRequest
from callcontrol.sip.usage import NEVER, Turn, Usage
from dialplan import reasons
from dialplan.facts import CallFacts
from dialplan.plan import Plan, TraceLine

CALL_FIELDS: Final = (
    "ref",
    "plan",
    "trace",
    "phase",
    "step",
    "legs",
    "count",
    "a",
    "b",
    "started_at",
    "ringing_at",
    "answered_at",
    "ended_at",
    "reason",
    "status",
    "ended_by",
    "deadlines",
    "shown_status",
    "best_status",
    "best_reason",
    "best_lines",
    "tried",
    "choosing",
    "body",
    "content_type",
    "crossing",
    "max_forwards",
    "transfer",
    "dialled",
    "ingress_trunk",
    "device",
    "over",
    "waking",
    "callback",
    "facts",
    "stage",
    "hunt",
    "seeks",
    "sought",
    "fallen",
    "skipped",
    "forwards",
)


class Call:
    """One call from its INVITE to the closing of its last leg.  Every field of ``CALL_FIELDS`` is stored."""

    __slots__ = (*CALL_FIELDS, "dirty", "env", "ignored", "now", "stored_plan", "stored_trace")

    def __init__(
        self,
        ref: str,
        plan: Plan,
        trace: tuple[TraceLine, ...],
        env: CallEnv,
        dialled: str = "",
        ingress_trunk: str = "",
        device: str = "",
    ) -> None:
        self.ref = ref
        self.plan = plan
        self.trace: list[TraceLine] = list(trace)
        self.env = env
        self.phase = NEW
        self.step = 0
        self.stage = 0
        """Number of the present offer: of the step, or of the group of a hunt, that is carried out now."""
        self.hunt: Hunting | None = None
        """Where the hunt stands that is the present step."""
        self.seeks: list[Seek] = []
        """SIMs that are called in place of softphones."""
        self.sought = 0
        """Attempts at them so far."""
        self.fallen: list[str] = []
        """Users whose SIM is called, or need not be, in the present offer (INC-06)."""
        self.skipped: list[list[str]] = []
        """Users who were to be rung and were not: [user, reason]."""
        self.forwards = 0
        """How often the call was forwarded by us (FWD-04)."""
        self.legs: dict[str, Leg] = {}
        self.count = 0
        """Number of callee legs made so far; the next is ``b<count+1>``."""
        self.a = ""
        self.b = ""
        """The two legs that talk with each other; ``a`` is the caller's until a transfer."""
        self.started_at = 0.0
        self.ringing_at = 0.0
        self.answered_at = 0.0
        self.ended_at = 0.0
        self.reason = ""
        self.status = 0
        self.ended_by = ""
        self.deadlines: dict[str, float] = {}
        self.shown_status = 0
        """Highest provisional status without body that the caller saw."""
        self.best_status = 0
        self.best_reason = ""
        self.best_lines: list[str] = []
        self.tried: list[str] = []
        self.choosing = False
        """A trunk is being chosen."""
        self.body = b""
        """The caller's offer, kept until the answer for legs that are dialled late."""
        self.content_type = ""
        self.crossing: list[str] = []
        """Header lines of the caller's INVITE that cross to every callee."""
        self.max_forwards = 70
        self.transfer: Transfer | None = None
        self.dialled = dialled
        self.ingress_trunk = ingress_trunk
        self.device = device
        """Ref of the calling device."""
        self.over = False
        self.waking: list[Waking] = []
        """Devices of the steps so far that a push can wake."""
        self.callback: Callback | None = None
        """The caller was called first (OUT-03)."""
        self.facts: list[CallFacts | bytes] = []
        """What its decisions were made of, the first one first; as bytes once it was stored.  Empty: not kept."""
        self.dirty = False
        """Something changed that another node must know; the runner clears it when it saves."""
        self.stored_plan = b""
        """The plan as the codec writes it, once it had to."""
        self.stored_trace: list[bytes] = []
        """The lines of the trace likewise, one by one."""
        self.now = 0.0
        """Time of the present event, Unix seconds."""
        self.ignored: list[str] = []
        """Names of events that did not fit, for the counters of the runner, which empties it."""

    # -- the surface ----------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one input; returns the effects in the order in which they are to happen."""
        effects: list[Effect] = []
        self.now = now
        turn = Turn(self.env.usage, now, effects)
        self._dispatch(event, turn)
        self.drain(turn)
        self._check_over(turn)
        if not self.dirty:
            # whoever goes on with the call must count on from the CSeq numbers and branches that were used
            for effect in effects:
                if isinstance(effect, SendRequest):
                    self.dirty = True
        return effects

    def next_deadline(self) -> float:
        """When ``DeadlinePassed`` is due, Unix seconds; infinity for never."""
        first = NEVER
        for at in self.deadlines.values():
            if at < first:
                first = at
        for leg in self.legs.values():
            at = leg.usage.next_deadline()
            if at < first:
                first = at
        return first

    def ids_used(self) -> int:
        """How many identifiers its legs have made: whoever goes on with the call must count on from there."""
        used = 0
        for leg in self.legs.values():
            used += leg.usage.counter
        return used

    def partner(self, leg_id: str) -> Leg | None:
        """The other one of the two legs that talk."""
        if leg_id == self.a:
            return self.legs.get(self.b)
        if leg_id == self.b:
            return self.legs.get(self.a)
        return None

    def begun_by(self) -> str:
        """Key of the server transaction of the caller's INVITE while that is open; empty: it is not, or there is none."""
        caller = self.legs.get(self.a)
        incoming = caller.usage.incoming if caller is not None else None
        return incoming.key if incoming is not None else ""

    # -- inputs ---------------------------------------------------------------------------------------------

    def _dispatch(self, event: Event, turn: Turn) -> None:
        if isinstance(event, ResponseIn):
            self._on_response(event, turn)
        elif isinstance(event, RequestIn):
            leg = self.legs.get(event.leg)
            if leg is None:
                self.ignore("request for unknown leg")
            else:
                if not leg.ended_at:  # the record that was written of it stands
                    leg.address = event.flow
                if event.message.method in ("UPDATE", "PRACK"):
                    self.dirty = True  # it may move the end of the session, or release a 2xx
                usage_requests.on_request(leg.usage, turn, event.message, event.key, event.flow)
        elif isinstance(event, DeadlinePassed):
            deadlines.on_deadline(self, turn)
        elif isinstance(event, TransactionEnded):
            leg = self.legs.get(event.leg)
            if leg is None:
                self.ignore("transaction of unknown leg")
            else:
                self.dirty = True
                usage_session.on_failed(leg.usage, turn, event.branch, event.cause)
        elif isinstance(event, Start):
            self._start(event, turn)
        elif isinstance(event, CancelIn):
            leg = self.legs.get(event.leg)
            if leg is None:
                self.ignore("cancel for unknown leg")
            else:
                usage_uas.on_cancel(leg.usage, turn, event.message)
        elif isinstance(event, TrunkChosen):
            self._on_trunk_chosen(turn, event)
        elif isinstance(event, TransferRouted):
            transfer.on_routed(self, turn, event)
        elif isinstance(event, JoinPostponed):
            transfer.on_postponed(self, turn, event)
        elif isinstance(event, TargetJoined):
            ringing.on_target_joined(self, turn, event)
        elif isinstance(event, PushFailed):
            ringing.on_push_failed(self, turn, event.device)
        elif isinstance(event, MembersFound):
            hunting.on_found(self, turn, event)
        elif isinstance(event, MemberChanged):
            hunting.on_member_changed(self, turn, event.user)
        elif isinstance(event, ForwardRouted):
            forwarding.on_routed(self, turn, event)
        elif isinstance(event, CallBack):
            callback.begin(self, turn)
        elif isinstance(event, HangUp):
            self._on_hang_up(turn, event.reason)
        elif isinstance(event, Resumed):
            self.dirty = True
            takeover.resume(self, turn)
        else:
            self.ignore("unknown event")

    def _start(self, event: Start, turn: Turn) -> None:
        if self.phase != NEW:
            self.ignore("second start")
            return
        message = event.message
        self.started_at = turn.now
        usage = Usage("a", f"{self.ref}.a", uac=False)
        leg = Leg("a", usage, CALLER, turn.now)
        leg.user = self.plan.user if self.plan.direction != "incoming" else ""
        # a SIM that came by a carrier is no device in a dialog: it may not transfer
        leg.device = "" if self.plan.gateway else self.device
        leg.trunk = self.ingress_trunk
        leg.channel = f"{self.ref}.a" if self.ingress_trunk else ""
        leg.device_class = "trunk" if self.ingress_trunk else self.env.device_class(self.device)
        leg.number = (
            self.plan.sim or self.plan.caller.number or self.plan.caller.asserted or self.plan.caller.user
        )
        leg.address = event.flow
        leg.call_id = message.call_id
        leg.user_agent = message.get("user-agent") or ""
        usage.contact_host = event.contact_host
        self.legs["a"] = leg
        self.a = "a"
        # devices sit behind NAT and connections; carriers say in Contact and Record-Route where they want to be reached
        usage_uas.begin(usage, turn, message, event.key, event.flow, not self.ingress_trunk)
        self.phase = RINGING
        ringing.begin(self, turn, message)

    def _on_response(self, event: ResponseIn, turn: Turn) -> None:
        leg = self.legs.get(event.leg)
        if leg is None:
            self.ignore("response to unknown leg")
            return
        usage = leg.usage
        leg.heard = leg.heard or not leg.ended_at
        if leg.trunk and self.deadlines:
            on_first_words(self, turn, leg, event.message.status)
        if event.message.status >= 200 and event.branch in usage.pending:
            self.dirty = True
        usage_session.on_response(usage, turn, event.branch, event.message, event.login, event.flow)

    def _on_trunk_chosen(self, turn: Turn, event: TrunkChosen) -> None:
        entry = seeking.find(self, event.channel) if self.seeks else None
        if entry is not None and entry.stage == self.stage and offering.searching(self):
            self.dirty = True
            if not seeking.on_trunk_chosen(self, turn, entry, event):
                ringing.note_result(self, 480, reasons.UNREACHABLE, [])
                offering.unless_all_failed(self, turn)
            return
        if not self.choosing or event.channel.startswith(f"{self.ref}.s"):
            self.ignore("trunk chosen late")
            if event.trunk:
                channel = event.channel or f"{self.ref}.b{self.count + 1}"
                turn.commands.append(TrunkReleased(event.trunk, channel))
            return
        self.choosing = False
        self.dirty = True
        if self.callback is not None and self.transfer is None:
            callback.on_trunk_chosen(self, turn, event)
        else:
            ringing.on_trunk_chosen(self, turn, event)

    def _on_hang_up(self, turn: Turn, reason: str) -> None:
        if self.phase == TALKING:
            self.end(turn, reason, 0, "server", [])
        elif self.phase != ENDED:
            by = "caller" if reason == reasons.CALLER_CANCELLED else "server"
            ringing.refuse_caller(self, turn, reason, 0, [], by)

    def drain(self, turn: Turn) -> None:
        """Work off what the usages report; handling one report may bring up more."""
        while turn.events:
            events = turn.events
            turn.events = []
            for event in events:
                reports.on_usage(self, turn, event)

    # -- shared by the phases -------------------------------------------------------------------------------

    def note(self, rule: str, outcome: str, detail: str = "") -> None:
        """Add a line to the trace (OPS-02)."""
        self.trace.append(TraceLine(rule=rule, outcome=outcome, detail=detail, at=self._since_start()))

    def note_all(self, lines: tuple[TraceLine, ...]) -> None:
        """Add the decisions about a target that the call is led on to."""
        at = self._since_start()
        for line in lines:
            self.trace.append(TraceLine(rule=line.rule, outcome=line.outcome, detail=line.detail, at=at))

    def _since_start(self) -> float:
        return int(max(self.now - self.started_at, 0.0) * 1000 + 0.5) / 1000 if self.started_at else 0.0

    def skip(self, user: str, reason: str, rule: str, why: str) -> None:
        """A user who was to be rung is not."""
        self.skipped.append([user, reason])
        self.note(rule, reason, f"{user} {why}")

    def begin_stage(self, turn: Turn) -> None:
        """Another offer begins: what belonged to the one before is over."""
        self.stage += 1
        self.tried = []
        self.fallen = []
        waking.on_step(self, turn)

    def keep(self, facts: CallFacts) -> None:
        """Remember what a decision was made of, for the record."""
        if not self.env.keep_facts:
            return
        rio = facts.rio
        if rio is not None and rio.rio:
            # a record outlives the call, and is read by others than the line (NUM-11)
            facts = dataclasses.replace(facts, rio=dataclasses.replace(rio, rio=""))
        self.facts.append(facts)

    def ignore(self, what: str) -> None:
        self.ignored.append(what)

    def leg_done(self, turn: Turn, leg: Leg) -> None:
        """A leg over a trunk gives its channel back, once."""
        if leg.channel:
            turn.commands.append(TrunkReleased(leg.trunk, leg.channel))
            leg.channel = ""

    def end(
        self, turn: Turn, reason: str, status: int, ended_by: str, lines: list[str], repeat: bool = False
    ) -> None:
        """The call is over: release every leg, write the record once.

        ``lines`` tell the parties why; without any, a call that the server ended says its reason.  ``repeat``: a refusal is
        sent until its ACK, for want of a transaction that does it.
        """
        ending.end(self, turn, reason, status, ended_by, lines, repeat)

    def _check_over(self, turn: Turn) -> None:
        if self.phase != ENDED or self.over:
            return
        for leg in self.legs.values():
            if not leg.usage.quiet():
                return
        self.over = True
        turn.commands.append(CallOver())
