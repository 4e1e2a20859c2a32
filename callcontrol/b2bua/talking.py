"""Two parties in dialogs: what one of them asks is asked of the other (RFC 3261 §14, RFC 3311, RFC 6086).

Requests are relayed end to end where an answer is the other party's to give (re-INVITE, UPDATE, INFO, MESSAGE).  Supervision
(session refresh without description, OPTIONS) is answered on its own leg by the usage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua import callback, ringing, transfer
from callcontrol.b2bua.crossing import REQUEST_CROSSES, RESPONSE_CROSSES, crossing, reason_crossing
from callcontrol.b2bua.leg import CALLEE, CALLER, Leg
from callcontrol.b2bua.phases import ENDED, RINGING
from callcontrol.sip import usage_requests, usage_session, usage_uac
from callcontrol.sip.message import Message
from callcontrol.sip.usage import (
    ACCEPTED,
    CALLING,
    ESTABLISHED,
    FOR_CONNECT,
    FOR_NOTIFY,
    FOR_RELAY,
    INCOMING,
    Turn,
    body_type,
)
from callcontrol.sip.usage_events import Acked, Asked, Ended, Replied
from dialplan import reasons

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call


def on_acked(call: Call, turn: Turn, leg: Leg, event: Acked) -> None:
    """The ACK of a 2xx that carried an offer brings the answer: pass it on in the ACK that the other side waits for."""
    other = call.partner(leg.id)
    if other is not None and other.usage.ack_owed:
        body = other.body_for(event.body, event.content_type)
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
    elif callback.is_sim(call, leg) and call.phase == RINGING:
        callback.on_asked(call, turn, leg, event)
    elif call.phase == RINGING:
        _early(call, turn, leg, event)
    elif method in ("INVITE", "UPDATE", "PRACK"):
        _offer(call, turn, leg, event)
    else:
        _relay(call, turn, leg, event)


def _answer(leg: Leg, turn: Turn, key: str, status: int) -> None:
    usage_requests.respond(leg.usage, turn, key, status, [], b"", "")


def _early(call: Call, turn: Turn, leg: Leg, event: Asked) -> None:
    """Before the answer there may be several callees; only with one of them can anything be negotiated (RFC 3311 §5)."""
    other = _sole_callee(call) if leg.role == CALLER else call.legs.get(call.a)
    if other is None or not _can_ask_early(leg, other, event.method):
        _answer(leg, turn, event.key, 488 if event.method == "PRACK" else 500)
        return
    method = "UPDATE" if event.method == "PRACK" else event.method
    _ask(turn, leg, other, method, event)


def _sole_callee(call: Call) -> Leg | None:
    found = [leg for leg in call.legs.values() if leg.role == CALLEE and leg.usage.state == CALLING]
    return found[0] if len(found) == 1 else None


def _can_ask_early(leg: Leg, other: Leg, method: str) -> bool:
    """Whether ``other`` has one early dialog, in which for an offer the first exchange is complete (RFC 3311 §5.1)."""
    usage = other.usage
    invite, incoming = usage.invite, usage.incoming
    if usage.state == CALLING and invite is not None:
        if len(invite.early) != 1:
            return False
        early = next(iter(invite.early.values()))
        return method == "INFO" or (usage.can_update and bool(early.body) and not usage.pending_offer())
    if usage.state != INCOMING or incoming is None or usage.dialog is None:
        return False
    tag = usage.dialog.local_tag
    forks = [fork for fork in incoming.fork_tags if fork.startswith(f"{leg.id};")]
    if any(incoming.fork_tags[fork] != tag for fork in forks) or incoming.held_accept:
        return False  # the caller knows this callee under another tag than that of the dialog that we ask in
    if method == "INFO":
        return bool(forks)
    return usage.can_update and tag in incoming.acknowledged and not usage.pending_offer()


def _offer(call: Call, turn: Turn, leg: Leg, event: Asked) -> None:
    other = call.partner(leg.id)
    if other is None:
        # a call with one leg: it keeps the session that it has
        usage = leg.usage
        usage_requests.respond(usage, turn, event.key, 200, [], usage.local_body, usage.local_type)
        return
    usage = other.usage
    if transfer.connecting(call) or usage.state != ESTABLISHED or usage.busy():
        _answer(leg, turn, event.key, 491)
        return
    method = "INVITE" if event.method != "UPDATE" or not usage.can_update else "UPDATE"
    _ask(turn, leg, other, method, event)


def _relay(call: Call, turn: Turn, leg: Leg, event: Asked) -> None:
    other = call.partner(leg.id)
    if other is None or other.usage.state not in (ACCEPTED, ESTABLISHED):
        # nobody behind us to tell: an INFO is taken note of, anything else cannot be done now
        _answer(leg, turn, event.key, 200 if event.method == "INFO" else 480)
        return
    _ask(turn, leg, other, event.method, event)


def _ask(turn: Turn, leg: Leg, other: Leg, method: str, event: Asked) -> None:
    message = event.message
    kind = body_type(message)
    body = _body_across(other, method, message.body, kind)
    lines = other.lines_for(crossing(message, REQUEST_CROSSES))
    ref = f"{leg.id} {event.key}"
    if not usage_session.request(other.usage, turn, method, FOR_RELAY, ref, lines, body, kind):
        _answer(leg, turn, event.key, 481)


def _body_across(leg: Leg, method: str, body: bytes, kind: str) -> bytes:
    """Descriptions are cleaned where somebody hides; what people and keypads say is theirs to say."""
    return body if method in ("INFO", "MESSAGE") else leg.body_for(body, kind)


def on_ask_cancelled(call: Call, turn: Turn, leg: Leg, key: str) -> None:
    """The asker gave its re-INVITE up: so do we; what the other party says to that is the answer."""
    other = call.partner(leg.id)
    if other is not None:
        usage_session.cancel_request(other.usage, turn, f"{leg.id} {key}")


# -- responses ------------------------------------------------------------------------------------------------------


def on_replied(call: Call, turn: Turn, leg: Leg, event: Replied) -> None:
    """A final response to a request of ours."""
    if event.ref in (callback.TO_SIM, callback.TO_CALLEE):
        callback.on_reply(call, turn, leg, event)
        return
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
        _relay_accept(turn, leg, asker, key, message)
        return
    if asker is None:
        return
    lines = asker.lines_for(crossing(message, RESPONSE_CROSSES)) if message is not None else []
    kind = body_type(message) if message is not None else ""
    body = _body_across(asker, event.method, message.body, kind) if message is not None else b""
    usage_requests.respond(asker.usage, turn, key, _status_across(event.status), lines, body, kind)


def _status_across(status: int) -> int:
    """What the asker is told: its own dialog stands, whatever is wrong with the other side's."""
    if 500 <= status < 600 or status == 408:
        return 500
    if 300 <= status < 400 or status in (401, 407, 481):
        return 488
    return status


def _relay_accept(turn: Turn, leg: Leg, asker: Leg | None, key: str, message: Message) -> None:
    """2xx of a relayed re-INVITE: answer the asker; ACK at once unless the ACK has to carry the asker's answer."""
    asked = asker.usage.asked.get(key) if asker is not None else None
    if asker is None or asked is None:
        usage_uac.acknowledge(leg.usage, turn, b"", "")  # the asker hung up meanwhile
        return
    offered = bool(asked.body)
    lines = asker.lines_for(crossing(message, RESPONSE_CROSSES))
    kind = body_type(message)
    usage_requests.respond(asker.usage, turn, key, 200, lines, asker.body_for(message.body, kind), kind)
    if offered:
        usage_uac.acknowledge(leg.usage, turn, b"", "")


# -- the end --------------------------------------------------------------------------------------------------------

_WHY: Final[dict[str, str]] = {
    "bye": reasons.NORMAL_CLEARING,
    "no_ack": reasons.PROTOCOL_ERROR,
    "no_prack": reasons.PROTOCOL_ERROR,
    "expired": reasons.SESSION_EXPIRED,
    "gone": reasons.SESSION_EXPIRED,
}


def on_caller_cancelled(call: Call, turn: Turn, leg: Leg, reason: str) -> None:
    """CANCEL of an INVITE that we have not answered."""
    if call.phase == ENDED or leg.usage.state != INCOMING:
        call.ignore("cancel after the end")
    elif leg.id != call.a:
        transfer.on_newcomer_cancelled(call, turn)
    elif call.phase == RINGING:
        ringing.on_caller_cancelled(call, turn, reason)
    else:
        # somebody answered, but the caller was not told yet: its 2xx waits for a PRACK
        call.end(turn, reasons.CALLER_CANCELLED, 487, "caller", [])


def on_ended(call: Call, turn: Turn, leg: Leg, event: Ended) -> None:
    """A party hung up, or vanished."""
    why = _WHY[event.why]
    by_party = event.why == "bye"
    if leg.usage.state == INCOMING and call.phase != ENDED:
        # an early dialog ended: by BYE of the caller, or for want of a PRACK
        if by_party:
            on_caller_cancelled(call, turn, leg, "")
        elif leg.id != call.a:
            transfer.on_newcomer_cancelled(call, turn)
        else:
            call.end(turn, why, 504, "server", [])
        return
    call.leg_done(turn, leg)
    leg.finish(turn.now, 200, why, leg.role if by_party else "server")
    if callback.is_sim(call, leg) and call.phase == RINGING:
        callback.on_hung_up(call, turn)
        return
    if call.phase != ENDED and not transfer.on_party_gone(call, turn, leg) and leg.id in (call.a, call.b):
        message = event.message
        lines = reason_crossing(message) if message is not None and message.is_request else []
        other = call.partner(leg.id)
        if other is not None:
            lines = other.lines_for(lines)
        call.end(turn, why, 200, leg.role if by_party else "server", lines)
