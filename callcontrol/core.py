"""The transaction user (RFC 3261 §5): what becomes of each event of the endpoint.

REGISTER goes to the registrar, an initial INVITE through intake to a new call, everything in a dialog to the call that owns
our tag.  Synchronous, and without a clock: the shell calls ``turn`` after each batch of input, the simulator after each step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from callcontrol import newcomers
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.causes import CAUSES, reason_lines
from callcontrol.b2bua.env import CallEnv
from callcontrol.b2bua.events import CancelIn, RequestIn, Start
from callcontrol.bindings import BindingAdded, BindingAsleep, BindingRemoved
from callcontrol.call_search import CallSearch
from callcontrol.capabilities import CAPABILITIES, OUTSIDE, TOLD
from callcontrol.ids import CallRefs
from callcontrol.intake import Admitted, Answer, Deferred
from callcontrol.ladder import Ladders
from callcontrol.limits import Gate, Suspicious
from callcontrol.opening import Opening
from callcontrol.registrar import Registrar
from callcontrol.runner import Runner
from callcontrol.sip import build, session_timer
from callcontrol.sip.dialog import contact_uri
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import (
    AckReceived,
    CancelReceived,
    RequestReceived,
    ResponseReceived,
    StrayAnswer,
    TransactionFailed,
)
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.screening import screen
from callcontrol.strays import Strays, left_open
from callcontrol.trunking import Trunking
from callcontrol.waiting_room import WAIT_S, Waiting, WaitingRoom
from callcontrol.wire import Owner, Wire
from dialplan import reasons
from gateway.capacity import GRANTED

Asker = Callable[[Message | None, Flow | None], None]
"""Told the final response to a request outside calls and where it came from; None: there was none."""


class Admission(Protocol):
    """Who may call, and what becomes of the call (``callcontrol.intake``)."""

    def admit(self, message: Message, flow: Flow, now: float) -> Answer | Admitted | Deferred: ...


class Core:
    """Routes what the endpoint reports; see the module."""

    def __init__(
        self,
        endpoint: Endpoint,
        runner: Runner,
        registrar: Registrar,
        intake: Admission,
        gate: Gate,
        wire: Wire,
        trunking: Trunking,
        env: CallEnv,
        refs: CallRefs,
        ladders: Ladders,
        max_calls: int = 100_000,
        close_connection: Callable[[int], None] = lambda conn: None,
        live_s: float = WAIT_S,
    ) -> None:
        """``live_s``: how long an INVITE waits for facts of the live store, seconds."""
        self._endpoint = endpoint
        self._runner = runner
        self._registrar = registrar
        self.intake: Admission = intake
        self._gate = gate
        self._wire = wire
        self._trunking = trunking
        self._env = env
        self._refs = refs
        self._ladders = ladders
        self._max_calls = max_calls
        self._close_connection = close_connection
        self.waiting_room = WaitingRoom(live_s)
        self.on_registered: Callable[[str, float], None] | None = None
        """Told of each device that registers, for the measures of pushes."""
        self.draining = False
        """No new calls (OPS-04); what runs goes on."""
        self.asked: dict[str, Asker] = {}
        """Own requests outside calls (OPTIONS, REGISTER) in flight: branch -> who is told the answer."""
        self.on_refused: Callable[[str], None] = lambda call_id: None
        """Told the Call-ID of an INVITE that was decided on and is refused all the same: there is no room for it."""
        self.state_away = False
        """No new calls, since they could not be saved; what runs goes on."""
        self.search = CallSearch(runner.calls)
        """Takes calls over from wherever they are."""
        self.counters: dict[str, int] = {}
        self._openings: list[Opening] = []
        self.strays = Strays(endpoint, runner, wire, env.usage.ids, self.asked)

    # -- one turn -------------------------------------------------------------------------------------------

    def turn(self, monotonic: float, now: float) -> None:
        """Work off all events, feed due timers, then save and act.  What that brings up is worked off too."""
        self._runner.tick(now)
        self._registrar.tick(now)
        if self._openings:
            openings, self._openings = self._openings, []
            for opening in openings:
                try:
                    self._opened(opening, monotonic, now)
                except Exception as error:  # noqa: BLE001
                    self._on_defect(opening.event, error, monotonic)
        if len(self.waiting_room):
            for waiting in self.waiting_room.due(now):
                self._let_in(waiting, waiting.deferred.admitted, monotonic, now)
        for found, outcome in self.search.answered():
            self._after_search(found, outcome, monotonic, now)
        events = self._endpoint.events
        while events:
            batch = events[:]
            events.clear()
            for event in batch:
                try:
                    self._take(event, monotonic, now)
                except Exception as error:  # noqa: BLE001
                    self._on_defect(event, error, monotonic)
            self._after_registrar(now)
            self._runner.flush(now)
        self._after_registrar(now)
        self._runner.flush(now)

    def _take(self, event: object, monotonic: float, now: float) -> None:
        if isinstance(event, ResponseReceived):
            self._on_response(event, now)
        elif isinstance(event, RequestReceived):
            self._on_request(event, monotonic, now)
        elif isinstance(event, AckReceived):
            owner = self._runner.by_tag(event.message.to_tag)
            if owner is None:
                if not self.search.keeps(event):
                    self._count("stray ACK")
            else:
                self._in_dialog(owner, event.message, "", event.flow, now)
        elif isinstance(event, CancelReceived):
            self._on_cancel(event, monotonic, now)
        elif isinstance(event, TransactionFailed):
            self._on_failed(event, now)
        elif isinstance(event, StrayAnswer):
            self._count(self.strays.answered(event, monotonic, now))

    def _on_cancel(self, event: CancelReceived, monotonic: float, now: float) -> None:
        owner = self._endpoint.owner_of(event.key)
        if isinstance(owner, Owner):
            self._ladders.add(owner.call.ref, now, owner.leg, False, "", event.message.data)
            self._runner.handle(owner.call, CancelIn(owner.leg, event.message), now)
        elif isinstance(owner, Waiting) and self.waiting_room.leave(owner):
            self._let_in(owner, owner.cancelled, monotonic, now)
        elif isinstance(owner, Opening) and not owner.cancelled:
            owner.cancelled = True
            self._refuse(owner.event, reasons.CALLER_CANCELLED, monotonic)

    def _after_search(
        self, event: RequestReceived | AckReceived, outcome: str, monotonic: float, now: float
    ) -> None:
        """A call that another node might have was asked for: go on with a request that waited for it."""
        try:
            if self._runner.by_tag(event.message.to_tag) is not None:
                self._take(event, monotonic, now)
            elif isinstance(event, RequestReceived) and not left_open(self._endpoint, event, outcome):
                self._turn_away(event, 500 if outcome == "elsewhere" else 481, monotonic)
        except Exception as error:  # noqa: BLE001
            self._on_defect(event, error, monotonic)

    def begin_recovery(self) -> None:
        """Calls are about to be taken over: requests in dialogs that nobody knows yet wait for ``end_recovery``."""
        self.search.begin_recovery()

    def end_recovery(self) -> None:
        """All calls that were to be taken over are here: what waited is worked off in the next turn."""
        self._endpoint.events.extend(self.search.end_recovery())

    def _on_defect(self, event: object, error: Exception, monotonic: float) -> None:
        """An error of ours, or the runner raises it: this one message is lost, and its sender told so."""
        self._runner.defects.tell(error)
        if isinstance(event, RequestReceived):
            self._turn_away(event, 500, monotonic)

    def _count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1

    # -- responses ------------------------------------------------------------------------------------------

    def _on_response(self, event: ResponseReceived, now: float) -> None:
        owner = event.owner
        if isinstance(owner, Owner):
            status = event.message.status
            if status == 503 and event.message.method != "CANCEL" and self._wire.try_next(event.branch):
                return
            if status >= 200:
                self._wire.settled(event.branch)
            branch = self._wire.known_branch(event.branch)
            self._runner.response(owner, branch, event.message, event.flow, now)
        elif event.message.status >= 200:
            asker = self.asked.pop(event.branch, None)
            if asker is not None:
                asker(event.message, event.flow)

    def _on_failed(self, event: TransactionFailed, now: float) -> None:
        owner = event.owner
        if isinstance(owner, Owner):
            if event.method == "CANCEL":
                return
            if self._wire.try_next(event.branch):
                return
            branch = self._wire.known_branch(event.branch)
            self._runner.failed(owner, branch, event.method, event.cause, now)
        else:
            asker = self.asked.pop(event.branch, None)
            if asker is not None:
                asker(None, None)

    # -- requests -------------------------------------------------------------------------------------------

    def _on_request(self, event: RequestReceived, monotonic: float, now: float) -> None:
        message, in_dialog = event.message, bool(event.message.to_tag)
        refusal = screen(message, CAPABILITIES, in_dialog)
        if refusal is not None:
            self._count(f"screened {refusal.status}")
            self._turn_away(event, refusal.status, monotonic, refusal.headers, refusal.reason)
            return
        method = message.method
        if self._wire.answer_again(event.key):
            return
        if method == "REGISTER":
            data = self._registrar.handle(message, event.flow, now)
            status = int(data[8:11])
            if status < 300:
                self._endpoint.send_response(event.key, status, data, monotonic)
            else:
                self._endpoint.answer_once(event.key, status, data, monotonic)
        elif in_dialog:
            owner = self._runner.by_tag(message.to_tag)
            if owner is None and self.search.keeps(event):
                return
            if owner is None or not self._in_dialog(owner, message, event.key, event.flow, now):
                self._turn_away(event, 481, monotonic)
            else:
                self._endpoint.claim(event.key, owner)
        elif method == "INVITE":
            self._on_invite(event, monotonic, now)
        elif method == "OPTIONS":
            # load balancers probe with it: a node that drains is to get no new calls
            self._turn_away(event, 503 if self.draining else 200, monotonic, TOLD)
        elif method in ("BYE", "INFO", "UPDATE", "PRACK", "NOTIFY"):
            self._turn_away(event, 481, monotonic)  # these live in dialogs only
        else:
            self._turn_away(event, 405, monotonic, (("Allow", OUTSIDE),))

    def _turn_away(
        self,
        event: RequestReceived,
        status: int,
        monotonic: float,
        headers: tuple[tuple[str, str], ...] = (),
        reason: str = "",
    ) -> None:
        """Answer somebody who has not shown who he is: once, and without keeping anything."""
        data = build.response(event.message, status, reason, self._tag(event.message), headers)
        self._endpoint.answer_once(event.key, status, data, monotonic)

    def _respond(
        self, event: RequestReceived, status: int, monotonic: float, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        data = build.response(event.message, status, "", self._tag(event.message), headers)
        self._endpoint.send_response(event.key, status, data, monotonic)

    def _tag(self, message: Message) -> str:
        """To tag of an answer that is not a call's."""
        return self._env.usage.ids.make(f"tag {message.call_id}", message.cseq)

    def _in_dialog(self, owner: Owner, message: Message, key: str, flow: Flow, now: float) -> bool:
        """Hand a request to the call that owns the tag; False when the rest of the dialog's name is wrong."""
        call = owner.call
        leg = call.legs.get(owner.leg)
        if leg is None or leg.call_id != message.call_id:
            return False
        if not leg.usage.is_in_dialog_with(message.from_tag):
            return False
        dumped = flow.dump()
        self._ladders.add(call.ref, now, owner.leg, False, dumped, message.data)
        self._runner.handle(call, RequestIn(owner.leg, message, key, dumped), now)
        return True

    # -- new calls ------------------------------------------------------------------------------------------

    def _on_invite(self, event: RequestReceived, monotonic: float, now: float) -> None:
        message = event.message
        if not contact_uri(message):
            # §8.1.1.8: without a SIP Contact nothing could be sent in the dialog
            self._turn_away(event, 400, monotonic)
            return
        outcome = self.intake.admit(message, event.flow, now)
        if isinstance(outcome, Answer):
            self._endpoint.answer_once(event.key, outcome.status, outcome.data, monotonic)
        elif isinstance(outcome, Deferred):
            waiting = self.waiting_room.enter(event, outcome, now)
            self._endpoint.claim(event.key, waiting)
        else:
            self._admit(event, outcome, monotonic, now)

    def no_room(self) -> str:
        """Reason why no new call may begin now; empty: it may."""
        if self.draining:
            return reasons.DRAINING
        full = self.state_away or len(self._runner.calls) >= self._max_calls
        return reasons.OVERLOAD if full else ""

    def _let_in(self, waiting: Waiting, decide: Callable[[], Admitted], monotonic: float, now: float) -> None:
        """Go on with an INVITE that waited for facts of the live store."""
        try:
            self._admit(waiting.event, decide(), monotonic, now)
        except Exception as error:  # noqa: BLE001
            self._on_defect(waiting.event, error, monotonic)

    def _admit(self, event: RequestReceived, outcome: Admitted, monotonic: float, now: float) -> None:
        """The caller is known, and what happens to the call."""
        message = event.message
        min_se = self._env.usage.min_se
        if session_timer.too_small(message, min_se) and not newcomers.is_emergency(outcome):
            self._respond(event, 422, monotonic, (("Min-SE", str(min_se)),))
            return
        if message.has("replaces"):
            self._on_replaces(event, outcome, monotonic, now)
            return
        reason = self.no_room()
        if reason and not newcomers.is_emergency(outcome):
            self._refuse(event, reason, monotonic)
            return
        ref = self._refs.new()
        trunk = self._trunking.directory.get(outcome.trunk) if outcome.trunk else None
        if trunk is None:
            self._open(event, outcome, ref, "", now)
            return
        opening = Opening(self.channel_answered, event, outcome, ref, trunk.host)
        self._trunking.acquire(trunk, f"{ref}.a", now, opening.answered)
        if opening.outcome:
            self._opened(opening, monotonic, now)
        else:
            opening.waits = True
            self._endpoint.claim(event.key, opening)

    def channel_answered(self, opening: Opening) -> None:
        """The channel of an INVITE that came in an earlier turn is there, or is not."""
        self._openings.append(opening)
        self._runner.kick()

    def _opened(self, opening: Opening, monotonic: float, now: float) -> None:
        """Go on with an INVITE of a trunk whose channel was asked for."""
        event, granted = opening.event, opening.outcome == GRANTED
        if opening.cancelled:
            if granted:
                self._trunking.release(opening.admitted.trunk, f"{opening.ref}.a")
            return
        if granted:
            self._open(event, opening.admitted, opening.ref, opening.host, now)
        else:
            self._refuse(event, reasons.TOO_MANY_CALLS, monotonic, 503)

    def _open(self, event: RequestReceived, outcome: Admitted, ref: str, host: str, now: float) -> None:
        """The call begins."""
        message, plan = event.message, outcome.decision.plan
        dialled = outcome.facts.called.dialled
        call = Call(ref, plan, outcome.decision.trace, self._env, dialled, outcome.trunk, outcome.device)
        call.keep(outcome.facts)
        flow = event.flow.dump()
        self._ladders.add(ref, now, "a", False, flow, message.data)
        self._runner.start(call, Start(message, event.key, flow, host), now)
        owner = newcomers.owner_of(self._runner, call)
        if owner is not None:
            self._endpoint.claim(event.key, owner)

    def _refuse(self, event: RequestReceived, reason: str, monotonic: float, status: int = 0) -> None:
        """Refuse before there is a call."""
        self.on_refused(event.message.call_id)
        self._count(f"refused {reason}")
        cause = CAUSES[reason]
        status = status or cause.status
        pairs = [line.partition(": ") for line in reason_lines(reason, status)]
        headers = [(name, value) for name, _, value in pairs]
        if status == 503:
            headers.append(("Retry-After", "5"))
        data = build.response(event.message, status, "", self._tag(event.message), headers)
        self._endpoint.send_response(event.key, status, data, monotonic)

    def _on_replaces(self, event: RequestReceived, outcome: Admitted, monotonic: float, now: float) -> None:
        taken = newcomers.take_place(self._runner, self._env, self._ladders, event, outcome, now)
        if isinstance(taken, int):
            self._respond(event, taken, monotonic)
        else:
            self._endpoint.claim(event.key, taken)

    # -- registrar ------------------------------------------------------------------------------------------

    def _after_registrar(self, now: float) -> None:
        for conn in self._registrar.orphans:
            self._close_connection(conn)  # its device has registered over another one (DEV-06)
        self._registrar.orphans.clear()
        events, self._registrar.events = self._registrar.events, []
        for event in events:
            if isinstance(event, Suspicious):
                self._gate.suspect(event.host, event.kind, now, proven=event.proven)
            elif isinstance(event, BindingAdded):
                if self.on_registered is not None:
                    self.on_registered(event.binding.device, now)
                newcomers.join_ringing(self._runner, self._registrar, event, now)
            elif isinstance(event, (BindingAsleep, BindingRemoved)):
                self._count("binding gone")
