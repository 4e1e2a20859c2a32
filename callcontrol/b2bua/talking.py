"""Two parties in dialogs: what one of them asks is asked of the other (RFC 3261 §14, RFC 3311, RFC 6086).

Requests are relayed end to end where an answer is the other party's to give (re-INVITE, UPDATE, INFO, MESSAGE).  Supervision
(session refresh without description, OPTIONS) is answered on its own leg by the usage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from callcontrol.b2bua import ringing, transfer
from callcontrol.b2bua.crossing import (
    REQUEST_CROSSES,
    RESPONSE_CROSSES,
    body_type,
    crossing,
    reason_crossing,
)
from callcontrol.b2bua.leg import CALLEE, CALLER, Leg
from callcontrol.b2bua.phases import ENDED, RINGING
from callcontrol.sip import usage_session, usage_uac
from callcontrol.sip.message import Message
from callcontrol.sip.usage import (
    CALLING,
    ESTABLISHED,
    FOR_CONNECT,
    FOR_NOTIFY,
    FOR_RELAY,
    INCOMING,
    Acked,
    Asked,
    Ended,
    Replied,
    Turn,
)
from dialplan import reasons
from mediarelay.continuity import continue_session

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call


def body_for(leg: Leg, body: bytes, content_type: str) -> bytes:
    """The description as ``leg`` may see it: its own session goes on when the other party changed."""
    if not leg.foreign or not body or not leg.usage.local_body:
        return body
    return continue_session(leg.usage.local_body, leg.usage.local_type, body, content_type)


def on_acked(call: Call, turn: Turn, leg: Leg, event: Acked) -> None:
    """The ACK of a 2xx that carried an offer brings the answer: pass it on in the ACK that the other side waits for."""
    call.dirty = True
    other = call.partner(leg.id)
    if other is not None and other.usage.ack_owed:
        body = body_for(other, event.body, event.content_type)
        usage_uac.acknowledge(other.usage, turn, body, event.content_type)


# -- requests -------------------------------------------------------------------------------------------------------


def on_asked(call: Call, turn: Turn, leg: Leg, event: Asked) -> None:
    """A request that somebody has to answer."""
    method = event.method
    if call.phase == ENDED:
        _answer(leg, turn, event.key, 481)
    elif method == "REFER":
        transfer.on_refer(call, turn, leg, event)
    elif method == "NOTIFY":
        _answer(leg, turn, event.key, 481)  # we hold no subscription in a call
    elif call.phase == RINGING:
        _early(call, turn, leg, event)
    elif method in ("INVITE", "UPDATE", "PRACK"):
        _offer(call, turn, leg, event)
    else:
        _relay(call, turn, leg, event)


def _answer(leg: Leg, turn: Turn, key: str, status: int) -> None:
    usage_session.respond(leg.usage, turn, key, status, [], b"", "")


def _early(call: Call, turn: Turn, leg: Leg, event: Asked) -> None:
    """Before the answer there may be several callees; only with one of them can anything be negotiated (RFC 3311 §5)."""
    other = _sole_callee(call) if leg.role == CALLER else call.legs.get(call.a)
    if other is None or not _can_ask_early(other, event.method):
        _answer(leg, turn, event.key, 488 if event.method == "PRACK" else 500)
        return
    method = event.method if event.method not in ("PRACK", "INVITE") else "UPDATE"
    _ask(turn, leg, other, method, event)


def _sole_callee(call: Call) -> Leg | None:
    found = [leg for leg in call.legs.values() if leg.role == CALLEE and leg.usage.state == CALLING]
    return found[0] if len(found) == 1 else None


def _can_ask_early(other: Leg, method: str) -> bool:
    usage = other.usage
    if method in ("UPDATE", "PRACK", "INVITE"):
        if usage.state == CALLING:
            return usage.allows("UPDATE") and len(usage.early_rseq) == 1 and not usage.pending_offer()
        # towards the caller: only after a description that it acknowledged reliably
        return usage.state == INCOMING and usage.rseq > 0 and not usage.reliable and usage.allows("UPDATE")
    return bool(usage.early) if usage.state == CALLING else usage.dialog is not None


def _offer(call: Call, turn: Turn, leg: Leg, event: Asked) -> None:
    other = call.partner(leg.id)
    if other is None:
        # a call with one leg: it keeps the session that it has
        usage = leg.usage
        usage_session.respond(usage, turn, event.key, 200, [], usage.local_body, usage.local_type)
        return
    usage = other.usage
    if call.transfer is not None or usage.state != ESTABLISHED or _busy_with_offer(other):
        _answer(leg, turn, event.key, 491)
        return
    method = "INVITE" if event.method != "UPDATE" or not usage.allows("UPDATE") else "UPDATE"
    _ask(turn, leg, other, method, event)


def _busy_with_offer(leg: Leg) -> bool:
    usage = leg.usage
    return usage.pending_offer() or usage.asked_offer() or bool(usage.final_data)


def _relay(call: Call, turn: Turn, leg: Leg, event: Asked) -> None:
    other = call.partner(leg.id)
    if other is None or other.usage.state != ESTABLISHED:
        # nobody behind us to tell: an INFO is taken note of, anything else cannot be done now
        _answer(leg, turn, event.key, 200 if event.method == "INFO" else 480)
        return
    _ask(turn, leg, other, event.method, event)


def _ask(turn: Turn, leg: Leg, other: Leg, method: str, event: Asked) -> None:
    message = event.message
    body = body_for(other, message.body, body_type(message))
    lines = crossing(message, REQUEST_CROSSES)
    ref = f"{leg.id} {event.key}"
    if not usage_session.request(
        other.usage, turn, method, FOR_RELAY, ref, lines, body, body_type(message) if body else ""
    ):
        _answer(leg, turn, event.key, 481)


# -- responses ------------------------------------------------------------------------------------------------------


def on_replied(call: Call, turn: Turn, leg: Leg, event: Replied) -> None:
    """A final response to a request of ours."""
    if event.purpose == FOR_CONNECT:
        transfer.on_connect_reply(call, turn, leg, event)
        return
    if event.purpose == FOR_NOTIFY:
        transfer.on_notified(call, turn, leg, event)
        return
    asker_id, _, key = event.ref.partition(" ")
    asker = call.legs.get(asker_id)
    message = event.message
    if event.status < 300 and event.method == "INVITE" and message is not None:
        _relay_accept(call, turn, leg, asker, key, message)
        return
    if asker is None:
        return
    status = event.status
    if status in (401, 407, 481) or status >= 500:
        status = (
            500 if status >= 500 else 488
        )  # the asker's own dialog stands; what failed is the other side's
    lines = crossing(message, RESPONSE_CROSSES) if message is not None else []
    body = message.body if message is not None else b""
    kind = body_type(message) if message is not None and body else ""
    usage_session.respond(asker.usage, turn, key, status, lines, body_for(asker, body, kind), kind)


def _relay_accept(call: Call, turn: Turn, leg: Leg, asker: Leg | None, key: str, message: Message) -> None:
    """2xx of a relayed re-INVITE: answer the asker; ACK at once unless the ACK has to carry the asker's answer."""
    asked = asker.usage.asked.get(key) if asker is not None else None
    if asker is None or asked is None:
        usage_uac.acknowledge(leg.usage, turn, b"", "")  # the asker hung up meanwhile
        return
    offered = asked.has_offer
    lines = crossing(message, RESPONSE_CROSSES)
    kind = body_type(message) if message.body else ""
    usage_session.respond(asker.usage, turn, key, 200, lines, body_for(asker, message.body, kind), kind)
    if offered:
        usage_uac.acknowledge(leg.usage, turn, b"", "")


# -- the end --------------------------------------------------------------------------------------------------------

_WHY = {
    "bye": reasons.NORMAL_CLEARING,
    "no_ack": reasons.PROTOCOL_ERROR,
    "no_prack": reasons.PROTOCOL_ERROR,
    "expired": reasons.SESSION_EXPIRED,
    "gone": reasons.SESSION_EXPIRED,
}


def on_ended(call: Call, turn: Turn, leg: Leg, event: Ended) -> None:
    """A party hung up, or vanished."""
    call.leg_done(turn, leg, 200)
    leg.finish(turn.now, 200, _WHY[event.why], leg.role if event.why == "bye" else "server")
    if call.phase == ENDED:
        return
    lines = reason_crossing(event.message) if event.message is not None and event.message.is_request else []
    if call.phase == RINGING:
        if leg.role == CALLER and event.why == "bye":
            ringing.on_caller_cancelled(call, turn, leg, "")
        elif leg.role == CALLER:
            ringing.refuse_caller(call, turn, reasons.PROTOCOL_ERROR, 504, [])
        return
    if call.transfer is not None and transfer.on_party_gone(call, turn, leg):
        return
    if leg.id not in (call.a, call.b):
        return  # a party that left by a transfer
    call.note("outcome", _WHY[event.why], leg.role)
    call.end(turn, _WHY[event.why], 200, leg.role if event.why == "bye" else "server", lines)
