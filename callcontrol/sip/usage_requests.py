"""What the peer asks in a dialog: ACK, BYE, re-INVITE, UPDATE, PRACK and the rest (RFC 3261 §12.2.2, §14.2, §15, RFC 3311).

Requests with one right answer are answered here; the others are reported as ``Asked`` and answered by ``respond``.
"""

from __future__ import annotations

from typing import Final

from . import session_timer
from .build import REASONS
from .commands import SendResponse
from .dialog import Dialog, assemble, response_head, tagged
from .message import Message
from .usage import (
    ACCEPTED,
    CALLING,
    CANCELLING,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    INCOMING,
    Turn,
    Usage,
    body_type,
)
from .usage_events import Asked, Ended
from .usage_open import AskedState
from .usage_uac import acknowledge, end_deadlines, start_session_timer
from .usage_uas import after_prack, on_ack, on_prack, session_lines, start_final

MAX_ASKED: Final = 20
"""Requests of a peer that wait for an answer of the other party; who asks more is told to come back later."""


def respond(
    usage: Usage, turn: Turn, key: str, status: int, lines: list[str], body: bytes, content_type: str
) -> bool:
    """Final response to a request that was reported by ``Asked``; False when it was answered already."""
    asked = usage.asked.pop(key, None)
    if asked is None:
        return False
    head = [f"SIP/2.0 {status} {REASONS.get(status, 'Response')}", *asked.head]
    accepted = status < 300
    if accepted and asked.method in ("INVITE", "UPDATE"):
        head.append(usage.contact(turn.env, usage.flow))
        head.append(f"Allow: {turn.env.allow}")
        head.append(f"Supported: {turn.env.supported}")
        if asked.interval >= 0:
            head.extend(session_lines(asked.interval, asked.refresher, asked.knows_timer))
            start_session_timer(usage, turn, (asked.interval, asked.refresher))
        usage.set_remote(asked.body, asked.content_type)
        usage.set_local(body, content_type)
    if accepted and body and usage.incoming is not None and asked.tag:
        usage.incoming.shown[asked.tag] = body
    head.extend(lines)
    data = assemble(head, body, content_type)
    if asked.method == "INVITE" and accepted:
        start_final(usage, turn, key, status, data, asked.cseq)
    else:
        turn.commands.append(SendResponse(usage.leg, key, status, data))
    return True


def answer_open_requests(usage: Usage, turn: Turn, status: int) -> None:
    """Requests of the peer that nobody will answer any more get a final response."""
    for key in list(usage.asked):
        respond(usage, turn, key, status, [], b"", "")


def on_request(usage: Usage, turn: Turn, message: Message, key: str, flow: str) -> None:
    """A request in the dialog."""
    method = message.method
    if method == "ACK":
        on_ack(usage, turn, message)
        return
    state = usage.state
    dialog = _dialog_of(usage, message)
    if dialog is None or state in (CLOSING, CLOSED, CANCELLING):
        _reply(usage, turn, message, key, 200 if method == "BYE" and state == CLOSING else 481, [])
        return
    if key in usage.asked:
        return  # sent again after a takeover: the transaction that would have absorbed it is gone with its node
    if not _in_order(usage, dialog, message):
        _reply(usage, turn, message, key, 500, [])
        return
    usage.flow = flow
    if dialog.target:
        dialog.target = flow
    usage.note_peer(message)
    if method == "BYE":
        _on_bye(usage, turn, message, key)
    elif method == "INVITE":
        _on_reinvite(usage, turn, dialog, message, key)
    elif method == "UPDATE":
        _on_update(usage, turn, dialog, message, key)
    elif method == "PRACK":
        _on_prack(usage, turn, message, key)
    elif method == "OPTIONS":
        lines = [f"Allow: {turn.env.allow}", f"Supported: {turn.env.supported}", "Accept: application/sdp"]
        _reply(usage, turn, message, key, 200, lines)
    elif len(usage.asked) >= MAX_ASKED:
        _reply(usage, turn, message, key, 500, _retry_after(usage, turn))
    else:
        _ask(usage, turn, message, key)


def _dialog_of(usage: Usage, message: Message) -> Dialog | None:
    """The dialog that the request is in; an early one of a caller that did not become the session is gone."""
    dialog = usage.dialog
    if dialog is None:
        early = usage.invite.early.get(message.from_tag) if usage.invite is not None else None
        return early.dialog if early is not None else None
    if usage.state != INCOMING and message.to_tag != dialog.local_tag:
        return None
    return dialog


def _in_order(usage: Usage, dialog: Dialog, message: Message) -> bool:
    """§12.2.2: CSeq numbers count upwards in each dialog, and a caller may have several early ones with us."""
    incoming = usage.incoming
    if usage.state != INCOMING or incoming is None:
        return dialog.accepts(message.cseq)
    if message.cseq <= incoming.cseqs.get(message.to_tag, incoming.cseq):
        return False
    incoming.cseqs[message.to_tag] = message.cseq
    return True


def _reply(usage: Usage, turn: Turn, message: Message, key: str, status: int, lines: list[str]) -> None:
    """Answer a request on the spot."""
    head = [f"SIP/2.0 {status} {REASONS[status]}"]
    for line in response_head(message, False):
        if line.startswith("To: ") and not message.to_tag and usage.dialog is not None:
            head.append(tagged(line, usage.dialog.local_tag))
        else:
            head.append(line)
    head.extend(lines)
    turn.commands.append(SendResponse(usage.leg, key, status, assemble(head, b"", "")))


def _ask(usage: Usage, turn: Turn, message: Message, key: str) -> AskedState:
    asked = AskedState(message.method, response_head(message, False), message.cseq, b"", "")
    usage.asked[key] = asked
    turn.events.append(Asked(usage.leg, message.method, key, message))
    return asked


def _ask_offer(usage: Usage, turn: Turn, message: Message, key: str) -> None:
    """A request that may carry an offer and may refresh the session timer; both take effect with its 2xx."""
    asked = _ask(usage, turn, message, key)
    asked.body, asked.content_type, asked.tag = message.body, body_type(message), message.to_tag
    _agree(usage, turn, message, asked)


def _agree(usage: Usage, turn: Turn, message: Message, asked: AskedState) -> None:
    if usage.state != ESTABLISHED or not turn.env.session_expires:
        return
    asked.knows_timer = session_timer.knows_timer(message)
    ours = usage.session_interval or turn.env.session_expires
    asked.interval, asked.refresher = session_timer.accept(message, ours, turn.env.min_se, usage.refresher)


def _on_bye(usage: Usage, turn: Turn, message: Message, key: str) -> None:
    if usage.state == CALLING:
        # only the caller may end an early dialog with BYE (§15); the callee has final responses for that
        _reply(usage, turn, message, key, 481, [])
        return
    _reply(usage, turn, message, key, 200, [])
    answer_open_requests(usage, turn, 487)
    if usage.ack_owed:
        acknowledge(usage, turn, b"", "")  # its offer will have no answer, but its 2xx need not be repeated
    if usage.state != INCOMING:  # else the INVITE is still to be answered 487, which the call does
        usage.state = CLOSED
        usage.final_data = b""
        usage.bye_wanted = None
        usage.incoming = None
        end_deadlines(usage, turn)
    turn.events.append(Ended(usage.leg, "bye", message))


def _retry_after(usage: Usage, turn: Turn) -> list[str]:
    return [f"Retry-After: {sum(usage.new_id(turn).encode()) % 10}"]


def _on_reinvite(usage: Usage, turn: Turn, dialog: Dialog, message: Message, key: str) -> None:
    if usage.asked_offer():
        # §14.2: an earlier INVITE of the peer is not finished
        _reply(usage, turn, message, key, 500, _retry_after(usage, turn))
        return
    if usage.pending_offer() or usage.state != ESTABLISHED or usage.final_data:
        _reply(usage, turn, message, key, 491, [])  # §14.2: glare
        return
    if session_timer.too_small(message, turn.env.min_se):
        _reply(usage, turn, message, key, 422, [f"Min-SE: {turn.env.min_se}"])
        return
    dialog.refresh_target(message)
    _ask_offer(usage, turn, message, key)


def _on_update(usage: Usage, turn: Turn, dialog: Dialog, message: Message, key: str) -> None:
    if session_timer.too_small(message, turn.env.min_se):
        _reply(usage, turn, message, key, 422, [f"Min-SE: {turn.env.min_se}"])
        return
    if not message.body:
        # a pure refresh (RFC 4028 §7.4): nothing that the other side would have to know
        dialog.refresh_target(message)
        asked = AskedState("UPDATE", response_head(message, False), message.cseq, b"", "")
        _agree(usage, turn, message, asked)
        usage.asked[key] = asked
        respond(usage, turn, key, 200, [], b"", "")
        return
    if usage.asked_offer():
        _reply(usage, turn, message, key, 500, _retry_after(usage, turn))
        return
    if usage.pending_offer() or (usage.final_data and usage.state == ACCEPTED):
        _reply(usage, turn, message, key, 491, [])  # RFC 3311 §5.2
        return
    dialog.refresh_target(message)
    _ask_offer(usage, turn, message, key)


def _on_prack(usage: Usage, turn: Turn, message: Message, key: str) -> None:
    if not on_prack(usage, message):
        _reply(usage, turn, message, key, 481, [])
        return
    if message.body:
        asked = _ask(usage, turn, message, key)
        asked.body, asked.content_type, asked.tag = message.body, body_type(message), message.to_tag
    else:
        _reply(usage, turn, message, key, 200, [])
    after_prack(usage, turn)
