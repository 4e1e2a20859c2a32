"""Callback: the server calls a SIM, and when it is answered the number that the app asked for, and joins the two (OUT-03).

Third-party call control after RFC 3725, flow III with one change, see ``docs/decisions/0012``:

    SIM                    we                      B
     |<---- INVITE ---------|                      |      no description: the SIM is to offer
     |----- 200 offer ----->|                      |
     |<---- ACK inactive ---|------ INVITE offer ->|      the SIM's own offer, so that B may ring with early media
     |                      |<----- 183 answer ----|      if it has any: the SIM hears B's network ring
     |<-- re-INVITE answer -|<----- 200 answer ----|
     |----- 200 ----------->|------ ACK ---------->|
     |<---- ACK ------------|                      |      both talk

If the SIM is not answered, B is never called; if B fails, the SIM's leg ends with the reason.  The SIM's leg is a caller's,
although we dial it; the steps of the plan are B's, and are carried out by ``ringing`` like those of any call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import ringing, waking
from callcontrol.b2bua.causes import q850_of, reason_lines, reason_of, status_for_caller
from callcontrol.b2bua.dialling import ELSEWHERE_LINE, SILENCE, cancel_others, dial_peer, drop, may_go_on
from callcontrol.b2bua.effects import ChooseTrunk
from callcontrol.b2bua.events import TrunkChosen
from callcontrol.b2bua.leg import CALLER, ELSEWHERE, Leg
from callcontrol.b2bua.phases import NEW, RINGING, TALKING
from callcontrol.sip import usage_requests, usage_session, usage_uac
from callcontrol.sip.usage import ESTABLISHED, FOR_CONNECT, Turn
from callcontrol.sip.usage_events import Answered, Asked, Failed, Progress, Replied
from dialplan import reasons
from dialplan.plan import Identity, ToSim
from mediarelay.bridging import same_media, waiting_answer

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

SIM: Final = "sim"
"""The SIM is being called."""
CALLEE_RINGS: Final = "callee"
"""It has answered; B is being called."""
CONNECTING: Final = "connecting"
"""B has answered, too."""
JOINED: Final = "joined"
"""They talk; from now on it is a call like any other."""

TO_SIM: Final = "callback sim"
"""``ref`` of the re-INVITE that brings B's description to the SIM."""
TO_CALLEE: Final = "callback callee"
"""``ref`` of the re-INVITE that brings a changed description of the SIM to B."""
AGAIN: Final = "bridge"
"""Name of the deadline after which a re-INVITE is tried again."""
TOO_LONG: Final = "bridging"
CONNECT_S: Final = 20.0
"""How long the two may take to agree."""
MAX_RETRIES: Final = 6

CALLBACK_FIELDS: Final = ("stage", "wanted", "wanted_type", "asked", "given", "retries", "told")


class Callback:
    """What a call knows beyond others while its caller was called first."""

    __slots__ = CALLBACK_FIELDS

    def __init__(self) -> None:
        self.stage = SIM
        self.wanted = b""
        """B's latest description."""
        self.wanted_type = ""
        self.asked = b""
        """What the SIM was offered last."""
        self.given = b""
        """What the SIM has agreed to."""
        self.retries = 0
        self.told = 0
        """How often B was told of a change of the SIM's description."""


def first_leg(call: Call) -> bool:
    """True while the SIM or B is still being called, or the two are being joined."""
    return call.callback is not None and call.callback.stage != JOINED


def calls_sim(call: Call) -> bool:
    """True while the SIM is being called: nobody else is, whatever the plan says."""
    return call.callback is not None and call.callback.stage == SIM


def is_sim(call: Call, leg: Leg) -> bool:
    """True for the SIM's leg of a callback that is not joined yet."""
    return leg.id == call.a and first_leg(call)


# -- the SIM --------------------------------------------------------------------------------------------------------


def begin(call: Call, turn: Turn) -> None:
    """Call the SIM."""
    first = call.plan.first
    if call.phase != NEW or first is None:
        call.ignore("callback without a SIM to call")
        return
    call.started_at = turn.now
    call.phase = RINGING
    call.callback = Callback()
    call.dirty = True
    call.deadlines["step"] = turn.now + first.for_s
    call.note("OUT-03", "dial", f"{first.number} is called first, and sees {first.shown}")
    _choose_trunk(call, turn, first)


def _choose_trunk(call: Call, turn: Turn, first: ToSim) -> None:
    call.choosing = True
    channel = f"{call.ref}.b{call.count + 1}"
    turn.commands.append(ChooseTrunk(first.number, first.shown, list(call.tried), channel))


def on_trunk_chosen(call: Call, turn: Turn, event: TrunkChosen) -> None:
    """A trunk for the SIM, or for B."""
    state, first = call.callback, call.plan.first
    if state is None or first is None or state.stage != SIM:
        ringing.on_trunk_chosen(call, turn, event)
    elif event.trunk:
        shown = Identity(number=first.shown, asserted=first.shown)
        leg = dial_peer(call, turn, event, b"", "", shown, first.number)
        leg.role = CALLER
        leg.user = call.plan.user
        call.a = leg.id
    else:
        reason = call.best_reason or event.reason or reasons.NO_ROUTE
        call.note("trunk", reason, "for the SIM")
        _end(call, turn, reason, call.best_status, "server")


def next_peer(call: Call, turn: Turn, leg: Leg, status: int, q850: int) -> None:
    """The SIM was not reached: on to the next peer, if the answer leaves room for one."""
    first = call.plan.first
    if first is not None and may_go_on(call, leg, status, q850):
        _choose_trunk(call, turn, first)
    else:
        _end(call, turn, call.best_reason or reasons.TRUNK_FAILED, call.best_status, "caller")


def on_failed(call: Call, turn: Turn, leg: Leg, event: Failed) -> None:
    """The SIM is busy, declines, or cannot be reached: B is never called."""
    q850 = q850_of(event.message) if event.message is not None else 0
    reason = reason_of(event.status, True, q850)
    if event.cancelled or call.phase != RINGING:
        leg.finish(turn.now, event.status, reasons.NO_ANSWER, "server")
        return
    leg.finish(turn.now, event.status, reason, "caller" if event.message is not None else "server")
    call.note("leg", reason, f"{leg.peer} {event.status}")
    call.best_reason, call.best_status = reason, status_for_caller(event.status, True, q850)
    call.deadlines.pop(SILENCE + leg.id, None)
    next_peer(call, turn, leg, event.status, q850)


def on_sim_silent(call: Call, turn: Turn) -> None:
    """The SIM rang long enough; what comes after that is its carrier's voicemail."""
    _end(call, turn, reasons.NO_ANSWER, 0, "server")


def on_sim_answered(call: Call, turn: Turn, leg: Leg, event: Answered) -> None:
    """The SIM is there: keep it waiting, and call B with its offer."""
    state = call.callback
    leg.answered_at = turn.now
    leg.status = 200
    leg.user_agent = leg.user_agent or event.message.get("server") or event.message.get("user-agent") or ""
    if call.phase != RINGING or state is None or state.stage != SIM:
        drop(call, turn, leg, [], 200, reasons.NO_ANSWER, "server")
        return
    number = int(leg.usage.new_id(turn)[:12], 16)
    answer = waiting_answer(event.body, event.content_type, number)
    if answer is None:
        _end(call, turn, reasons.MEDIA_REFUSED, 0, "server")
        return
    usage_uac.acknowledge(leg.usage, turn, answer, "application/sdp")
    leg.foreign = True  # all that it is told from now on continues that session
    call.note("OUT-03", reasons.ANSWERED, "by the SIM; now the callee is called")
    call.body, call.content_type = event.body, event.content_type
    call.best_reason, call.best_status = "", 0
    call.deadlines = {"total": turn.now + call.env.total_ring_s}
    state.stage = CALLEE_RINGS
    ringing.run_step(call, turn)


def on_hung_up(call: Call, turn: Turn) -> None:
    """The SIM hangs up while B is being called."""
    call.end(turn, reasons.CALLER_CANCELLED, 487, "caller", [])


def _end(call: Call, turn: Turn, reason: str, status: int, ended_by: str) -> None:
    ringing.refuse_caller(call, turn, reason, status, [], ended_by)


def farewell(call: Call, reason: str, status: int) -> list[str]:
    """What the SIM's BYE says when B could not be had; empty for calls that are no callbacks."""
    return reason_lines(reason, status)[:2] if first_leg(call) else []


# -- the callee -----------------------------------------------------------------------------------------------------


def on_progress(call: Call, turn: Turn, leg: Leg, event: Progress) -> None:
    """B rings: with early media the SIM hears it as it is, without it there is nothing that could be heard."""
    state = call.callback
    if leg.id == call.a or call.phase != RINGING or state is None:
        return
    if not call.ringing_at:
        call.ringing_at = turn.now
        call.dirty = True
    if event.body and state.stage == CALLEE_RINGS:
        state.wanted, state.wanted_type = event.body, event.content_type
        _connect(call, turn, state)


def on_answered(call: Call, turn: Turn, leg: Leg, event: Answered) -> None:
    """B is there: the first answer wins, and the SIM is brought to it."""
    state = call.callback
    leg.answered_at = turn.now
    leg.status = 200
    leg.user_agent = leg.user_agent or event.message.get("server") or event.message.get("user-agent") or ""
    if call.phase != RINGING or state is None or state.stage != CALLEE_RINGS:
        drop(call, turn, leg, [ELSEWHERE_LINE], 200, ELSEWHERE, "server")
        return
    usage_uac.acknowledge(leg.usage, turn, b"", "")
    call.phase = TALKING
    call.b = leg.id
    call.answered_at = turn.now
    call.choosing = False
    call.hunt = None
    call.seeks = []
    call.deadlines = {"duration": turn.now + call.plan.max_duration_s, TOO_LONG: turn.now + CONNECT_S}
    call.note("INC-07", reasons.ANSWERED, leg.device or leg.trunk)
    cancel_others(call, turn, leg.id, [ELSEWHERE_LINE], ELSEWHERE)
    waking.on_answered(call, turn, leg.device)
    state.stage = CONNECTING
    state.retries = 0
    body, kind = leg.usage.remote_body, leg.usage.remote_type
    if not body:
        call.end(turn, reasons.MEDIA_REFUSED, 0, "server", [])
        return
    state.wanted, state.wanted_type = body, kind
    _connect(call, turn, state)


# -- bringing them together -----------------------------------------------------------------------------------------


def _connect(call: Call, turn: Turn, state: Callback) -> None:
    """Offer B's description to the SIM, unless it has it already."""
    sim = call.legs.get(call.a)
    if sim is None or state.stage not in (CALLEE_RINGS, CONNECTING):
        return
    if state.wanted == state.given:
        if state.stage == CONNECTING:
            _settle(call, turn, state, sim)
        return
    usage = sim.usage
    if usage.busy():
        return  # the reply, or the deadline after glare, leads back here
    if usage.state != ESTABLISHED:
        return
    call.deadlines.pop(AGAIN, None)
    state.asked = state.wanted
    body = sim.body_for(state.wanted, state.wanted_type)
    usage_session.request(usage, turn, "INVITE", FOR_CONNECT, TO_SIM, [], body, state.wanted_type)


def _settle(call: Call, turn: Turn, state: Callback, sim: Leg) -> None:
    """The SIM has B's description; B has the offer that the SIM made at first, which may have changed since."""
    callee = call.legs.get(call.b)
    if callee is None:
        return
    now, now_type = sim.usage.remote_body, sim.usage.remote_type
    known, known_type = callee.usage.local_body, callee.usage.local_type
    if state.told < MAX_RETRIES and not same_media(known, known_type, now, now_type):
        if callee.usage.busy():
            call.deadlines[AGAIN] = turn.now + usage_session.glare_delay(callee.usage, turn)
            return
        state.told += 1
        body = callee.body_for(now, now_type)
        usage_session.request(callee.usage, turn, "INVITE", FOR_CONNECT, TO_CALLEE, [], body, now_type)
        return
    state.stage = JOINED
    for name in (AGAIN, TOO_LONG):
        call.deadlines.pop(name, None)
    call.body = b""
    call.crossing = []
    call.note("OUT-03", "joined", f"{call.a} and {call.b}")
    call.dirty = True


def on_reply(call: Call, turn: Turn, leg: Leg, event: Replied) -> None:
    """A re-INVITE of ours was answered."""
    state, message = call.callback, event.message
    good = event.status < 300 and message is not None
    if good:
        usage_uac.acknowledge(leg.usage, turn, b"", "")
    if state is None or not first_leg(call):
        return
    if event.status == 491:
        _later(call, turn, state, leg)
    elif event.ref == TO_SIM and good:
        state.given = state.asked
        _connect(call, turn, state)
    elif event.ref == TO_SIM and state.stage == CALLEE_RINGS:
        # it does not want B's early media: it waits in silence, and is asked again when B has answered
        state.wanted = state.given
    elif good:
        callee = call.legs.get(call.b)
        if callee is not None and not same_media(
            state.given, state.wanted_type, callee.usage.remote_body, callee.usage.remote_type
        ):
            state.wanted, state.wanted_type = callee.usage.remote_body, callee.usage.remote_type
        else:
            state.wanted = state.given
        _connect(call, turn, state)
    else:
        call.end(turn, reasons.MEDIA_REFUSED, 0, "server", [])


def _later(call: Call, turn: Turn, state: Callback, leg: Leg) -> None:
    """Somebody else's offer is in the way: back off as after any glare (RFC 3261 §14.1)."""
    state.retries += 1
    if state.retries <= MAX_RETRIES:
        call.deadlines[AGAIN] = turn.now + usage_session.glare_delay(leg.usage, turn)
    elif state.stage == CONNECTING:
        call.end(turn, reasons.MEDIA_REFUSED, 0, "server", [])


def on_deadline(call: Call, turn: Turn, name: str) -> bool:
    """True if the deadline was one of a callback's."""
    state = call.callback
    if state is None or name not in (AGAIN, TOO_LONG):
        return False
    if name == AGAIN:
        _connect(call, turn, state)
    elif state.stage == CONNECTING:
        call.end(turn, reasons.MEDIA_REFUSED, 408, "server", [])
    return True


def on_asked(call: Call, turn: Turn, leg: Leg, event: Asked) -> None:
    """The SIM asks for something while it waits: it keeps the session that it has."""
    usage = leg.usage
    if event.method in ("INVITE", "UPDATE"):
        usage_requests.respond(usage, turn, event.key, 200, [], usage.local_body, usage.local_type)
    else:
        status = 200 if event.method == "INFO" else 480
        usage_requests.respond(usage, turn, event.key, status, [], b"", "")
