"""The call: one pure state machine over recorded inputs.

``Call.handle(event, now)`` is synchronous and total.  It returns what is to be done, in order; an event that does not fit the
phase is named and counted, never raised.  Time and identifiers come from outside, so the same events give the same effects,
here, in the simulator, and on the node that takes the call over.

The phases are split over modules: ``ringing`` (looking for an answer), ``talking`` (two parties in dialogs), ``transfer``.
"""

from __future__ import annotations

from typing import Final

from callcontrol.b2bua import callback, ending, ringing, takeover, talking, transfer, waking
from callcontrol.b2bua.callback import Callback
from callcontrol.b2bua.dialling import SILENCE, give_up_silent, on_first_words
from callcontrol.b2bua.effects import CallOver, Effect, TrunkReleased
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.events import (
    CallBack,
    CancelIn,
    DeadlinePassed,
    Event,
    HangUp,
    JoinPostponed,
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
from callcontrol.b2bua.joining import Transfer
from callcontrol.b2bua.leg import CALLER, Leg
from callcontrol.b2bua.phases import ENDED, NEW, RINGING, TALKING
from callcontrol.b2bua.waking import Waking
from callcontrol.sip import usage_requests, usage_session, usage_uas
from callcontrol.sip.commands import SendRequest
from callcontrol.sip.usage import CALLING, NEVER, Turn, Usage
from callcontrol.sip.usage_events import (
    Acked,
    Answered,
    AskCancelled,
    Asked,
    CallerCancelled,
    Ended,
    Failed,
    Progress,
    Replied,
    UsageEvent,
)
from dialplan import reasons, stored
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
)


class Call:
    """One call from its INVITE to the closing of its last leg.  Every field of ``CALL_FIELDS`` is stored."""

    __slots__ = (*CALL_FIELDS, "dirty", "env", "ignored", "stored_plan")

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
        self.ignored: list[str] = []
        """Names of events that did not fit, for the counters of the runner, which empties it."""

    # -- the surface ----------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one input; returns the effects in the order in which they are to happen."""
        effects: list[Effect] = []
        turn = Turn(self.env.usage, now, effects)
        self._dispatch(event, turn)
        self._drain(turn)
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

    def partner(self, leg_id: str) -> Leg | None:
        """The other one of the two legs that talk."""
        if leg_id == self.a:
            return self.legs.get(self.b)
        if leg_id == self.b:
            return self.legs.get(self.a)
        return None

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
            self._on_deadline(turn)
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
        leg.heard = True
        if leg.trunk and self.deadlines:
            on_first_words(self, turn, leg, event.message.status)
        if event.message.status >= 200 and event.branch in usage.pending:
            self.dirty = True
        usage_session.on_response(usage, turn, event.branch, event.message, event.login, event.flow)

    def _on_trunk_chosen(self, turn: Turn, event: TrunkChosen) -> None:
        if not self.choosing:
            self.ignore("trunk chosen late")
            if event.trunk:
                channel = event.channel or f"{self.ref}.b{self.count + 1}"
                turn.commands.append(TrunkReleased(event.trunk, channel))
            return
        self.choosing = False
        self.dirty = True
        if self.transfer is not None:
            transfer.on_trunk_chosen(self, turn, self.transfer, event)
        elif self.callback is not None:
            callback.on_trunk_chosen(self, turn, event)
        else:
            ringing.on_trunk_chosen(self, turn, event)

    def _on_hang_up(self, turn: Turn, reason: str) -> None:
        if self.phase == TALKING:
            self.end(turn, reason, 0, "server", [])
        elif self.phase != ENDED:
            by = "caller" if reason == reasons.CALLER_CANCELLED else "server"
            ringing.refuse_caller(self, turn, reason, 0, [], by)

    def _on_deadline(self, turn: Turn) -> None:
        for name in [name for name, at in self.deadlines.items() if at <= turn.now]:
            if self.deadlines.pop(name, None) is None:
                continue
            if name == "step":
                if callback.calls_sim(self):
                    callback.on_sim_silent(self, turn)
                else:
                    ringing.on_step_over(self, turn)
            elif name in ("total", "expires"):
                ringing.on_total_over(self, turn, 487 if name == "expires" else 0)
            elif name == waking.WAKE:
                ringing.on_wake_over(self, turn)
            elif name == waking.PUSH:
                waking.on_push_due(self, turn)
            elif name == "duration":
                self.end(turn, reasons.MAX_DURATION, 0, "server", [])
            elif name.startswith(SILENCE):
                self._on_silence(turn, name[len(SILENCE) :])
            elif not callback.on_deadline(self, turn, name):
                transfer.on_deadline(self, turn, name)
        for leg in list(self.legs.values()):
            if leg.usage.next_deadline() <= turn.now:
                usage_session.on_deadlines(leg.usage, turn)
                self._drain(turn)

    def _on_silence(self, turn: Turn, leg_id: str) -> None:
        leg = self.legs.get(leg_id)
        if leg is None or leg.usage.state != CALLING:
            return
        give_up_silent(self, turn, leg)
        if self.transfer is not None:
            transfer.next_peer(self, turn, self.transfer, leg, 408, 0)
        elif callback.is_sim(self, leg):
            callback.next_peer(self, turn, leg, 408, 0)
        elif self.phase == RINGING:
            ringing.next_peer(self, turn, leg, 408, 0)

    def _drain(self, turn: Turn) -> None:
        """Work off what the usages report; handling one report may bring up more."""
        while turn.events:
            events = turn.events
            turn.events = []
            for event in events:
                self._on_usage(event, turn)

    def _on_usage(self, event: UsageEvent, turn: Turn) -> None:
        leg = self.legs.get(event.leg)
        if leg is None:
            self.ignore("report of unknown leg")
        elif isinstance(event, Progress):
            if not leg.ringing_at:
                leg.ringing_at = turn.now
            leg.rang = leg.rang or event.status == 180 or bool(event.body)
            if transfer.owns(self, leg):
                transfer.on_progress(self, turn, event)
            elif callback.first_leg(self):
                callback.on_progress(self, turn, leg, event)
            else:
                ringing.on_progress(self, turn, leg, event)
        elif isinstance(event, CallerCancelled):
            talking.on_caller_cancelled(self, turn, leg, event.reason)
        elif isinstance(event, AskCancelled):
            talking.on_ask_cancelled(self, turn, leg, event.key)
        else:
            self.dirty = True
            if isinstance(event, Answered):
                if transfer.owns(self, leg):
                    transfer.on_answered(self, turn, leg, event)
                elif callback.is_sim(self, leg):
                    callback.on_sim_answered(self, turn, leg, event)
                elif self.callback is not None:
                    callback.on_answered(self, turn, leg, event)
                else:
                    ringing.on_answered(self, turn, leg, event)
            elif isinstance(event, Failed):
                self._on_failed(turn, leg, event)
            elif isinstance(event, Acked):
                talking.on_acked(self, turn, leg, event)
            elif isinstance(event, Asked):
                talking.on_asked(self, turn, leg, event)
            elif isinstance(event, Replied):
                talking.on_replied(self, turn, leg, event)
            elif isinstance(event, Ended):
                talking.on_ended(self, turn, leg, event)

    def _on_failed(self, turn: Turn, leg: Leg, event: Failed) -> None:
        message = event.message
        if message is not None and self.phase != ENDED:
            leg.user_agent = leg.user_agent or message.get("server") or message.get("user-agent") or ""
        self.leg_done(turn, leg)
        if self.phase == ENDED:
            return
        if transfer.owns(self, leg):
            transfer.on_failed(self, turn, leg, event)
        elif callback.is_sim(self, leg):
            callback.on_failed(self, turn, leg, event)
        else:
            ringing.on_failed(self, turn, leg, event)

    # -- shared by the phases -------------------------------------------------------------------------------

    def note(self, rule: str, outcome: str, detail: str = "") -> None:
        """Add a line to the trace (OPS-02)."""
        self.trace.append(TraceLine(rule=rule, outcome=outcome, detail=detail))

    def keep(self, facts: CallFacts) -> None:
        """Remember what a decision was made of, for the record."""
        if self.env.keep_facts:
            self.facts.append(facts)

    def stored_facts(self) -> list[bytes]:
        """The facts of its decisions as bytes; each is encoded once."""
        found = [item if isinstance(item, bytes) else stored.dump(item) for item in self.facts]
        self.facts = [*found]
        return found

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
