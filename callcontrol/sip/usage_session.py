"""What happens in a dialog that stands: BYE, re-INVITE, UPDATE, INFO, refreshes, glare and timers (RFC 3261 §12.2, §14, §15,
RFC 3311, RFC 4028, RFC 6141).

Rules that others learnt late: a 491 is waited out 2.1-4 s by the owner of the Call-ID and 0-2 s by the other side (§14.1); a
481 or 408 in the dialog ends it (§12.2.1.2); no BYE before the ACK when we are the UAS (§15).
"""

from __future__ import annotations

from typing import Final

from . import session_timer
from .commands import SendRequest, SendResponse
from .dialog import Dialog, assemble, response_head, tagged
from .digest_client import Login, authorize
from .message import Message
from .usage import (
    ACCEPTED,
    CALLING,
    CANCELLING,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FOR_BYE,
    FOR_FORK,
    FOR_PRACK,
    FOR_REFRESH,
    INCOMING,
    Asked,
    AskedState,
    Ended,
    Pending,
    Replied,
    Turn,
    Usage,
)
from .usage_uac import (
    acknowledge,
    cancel,
    on_invite_failed,
    on_invite_response,
    release_fork,
    send_bye,
    start_session_timer,
)
from .usage_uas import (
    begin,
    on_ack,
    on_no_ack,
    on_prack,
    release_held_accept,
    repeat_final,
    repeat_provisional,
    repeat_reliable,
    session_lines,
    start_final,
)

REASONS: Final = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    408: "Request Timeout",
    415: "Unsupported Media Type",
    422: "Session Interval Too Small",
    481: "Call/Transaction Does Not Exist",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    603: "Decline",
}


# -- requests that we send ------------------------------------------------------------------------------------------


def request(
    usage: Usage,
    turn: Turn,
    method: str,
    purpose: str,
    ref: str,
    lines: list[str],
    body: bytes,
    content_type: str,
) -> bool:
    """Send a request in the dialog; False when there is no dialog to send it in.  The outcome is a ``Replied`` event."""
    dialog = usage.dialog
    if dialog is None and usage.early:
        dialog = next(iter(usage.early.values()))
    if dialog is None or usage.state in (CLOSING, CLOSED, CANCELLING):
        return False
    cseq = dialog.next_cseq()
    _send(usage, turn, dialog, Pending(method, purpose, ref, cseq, body, content_type, lines))
    return True


def _send(usage: Usage, turn: Turn, dialog: Dialog, pending: Pending) -> None:
    env = turn.env
    branch = usage.new_branch(turn)
    lines: list[str] = []
    if pending.method in ("INVITE", "UPDATE"):
        lines.append(f"Contact: <{env.contacts.uri(usage.scope, dialog.next_hop())}>")
        lines.append(f"Allow: {env.allow}")
        lines.append(f"Supported: {env.supported}")
        if usage.session_interval and usage.state == ESTABLISHED:
            who = "uac" if usage.refresher == session_timer.LOCAL else "uas"
            lines.append(f"Session-Expires: {usage.session_interval};refresher={who}")
            lines.append(f"Min-SE: {env.min_se}")
    lines.extend(pending.lines)
    if pending.body and pending.method in ("INVITE", "UPDATE"):
        usage.local_body = pending.body
        usage.local_type = pending.content_type
    data = dialog.request(pending.method, pending.cseq, lines, pending.body, pending.content_type)
    usage.pending[branch] = pending
    turn.commands.append(SendRequest(usage.leg, branch, pending.method, data, dialog.next_hop()))


def release(usage: Usage, turn: Turn, lines: list[str]) -> None:
    """End the leg in whatever way its state asks for: CANCEL, BYE, or a BYE as soon as the ACK came.

    ``lines`` carry the Reason (RFC 3326).  An unanswered incoming INVITE is not refused here: the call chooses the status.
    """
    state = usage.state
    if state == CALLING:
        cancel(usage, turn, lines)
    elif state == ACCEPTED:
        if usage.bye_wanted is None:
            usage.bye_wanted = lines
    elif state == ESTABLISHED:
        if usage.ack_owed:
            acknowledge(usage, turn, b"", "")  # an offer that will never be answered; BYE follows (§13.2.2.4)
        answer_open_requests(usage, turn, 487)
        send_bye(usage, turn, lines)


def answer_open_requests(usage: Usage, turn: Turn, status: int) -> None:
    """Requests of the peer that nobody will answer any more get a final response."""
    for key in list(usage.asked):
        respond(usage, turn, key, status, [], b"", "")


def send_refresh(usage: Usage, turn: Turn) -> None:
    """Refresh the session: UPDATE without body where the peer has it, else re-INVITE with the last description (RFC 4028 §7.4)."""
    usage.deadlines.pop("refresh", None)
    dialog = usage.dialog
    if usage.state != ESTABLISHED or dialog is None:
        return
    if usage.pending_invite() or usage.asked_offer():
        usage.deadlines["refresh"] = turn.now + 2.0
        return
    method = "UPDATE" if usage.allows("UPDATE") else "INVITE"
    body = b"" if method == "UPDATE" else usage.local_body
    _send(
        usage, turn, dialog, Pending(method, FOR_REFRESH, "", dialog.next_cseq(), body, usage.local_type, [])
    )


# -- responses to what we sent --------------------------------------------------------------------------------------


def on_response(usage: Usage, turn: Turn, branch: str, message: Message, login: Login | None) -> None:
    """A response to any request of ours."""
    if message.method == "INVITE" and _is_initial(usage, branch, message):
        on_invite_response(usage, turn, message, login)
        return
    if message.status < 200:
        return
    if message.method == "CANCEL":
        return
    pending = usage.pending.get(branch)
    if pending is None:
        if message.method == "INVITE" and message.status < 300 and usage.dialog is not None:
            on_invite_response(usage, turn, message, login)  # a repeated 2xx of a re-INVITE: ACK it again
        return
    dialog = usage.dialog
    if (
        message.status in (401, 407)
        and login is not None
        and dialog is not None
        and not _has_credentials(pending)
    ):
        line = authorize(message, login, pending.method, dialog.remote_target, usage.new_id(turn), 0)
        if line:
            del usage.pending[branch]
            pending.cseq = dialog.next_cseq()
            pending.lines = [*pending.lines, line]
            _send(usage, turn, dialog, pending)
            return
    del usage.pending[branch]
    usage.note_peer(message)
    _finish(usage, turn, pending, message.status, message)


def _has_credentials(pending: Pending) -> bool:
    return any(line.startswith(("Authorization:", "Proxy-Authorization:")) for line in pending.lines)


def _is_initial(usage: Usage, branch: str, message: Message) -> bool:
    invite = usage.invite
    if invite is not None:
        return invite.branch == branch
    return branch not in usage.pending and usage.uac and usage.dialog is None


def on_failed(usage: Usage, turn: Turn, branch: str, cause: str) -> None:
    """A client transaction ended without a final response: ``cause`` is timeout or transport."""
    status = 408 if cause == "timeout" else 503
    invite = usage.invite
    if invite is not None and invite.branch == branch:
        on_invite_failed(usage, turn, status)
        return
    pending = usage.pending.pop(branch, None)
    if pending is not None:
        _finish(usage, turn, pending, status, None)


def _finish(usage: Usage, turn: Turn, pending: Pending, status: int, message: Message | None) -> None:
    purpose = pending.purpose
    if purpose == FOR_BYE:
        usage.state = CLOSED
        usage.deadlines = {}
        return
    if purpose in (FOR_FORK, FOR_PRACK):
        return
    dialog = usage.dialog
    if pending.method in ("INVITE", "UPDATE") and message is not None and status < 300 and dialog is not None:
        dialog.refresh_target(message)
        usage.note_remote_body(message)
        start_session_timer(usage, turn, session_timer.agreed(message))
        if pending.method == "INVITE":
            usage.ack_cseq = pending.cseq
            usage.ack_owed = True
    if usage.state == CLOSING:
        # our BYE crossed the answer of a re-INVITE: ACK it, or it is repeated at us for 32 s
        if usage.ack_owed:
            acknowledge(usage, turn, b"", "")
        return
    if purpose == FOR_REFRESH:
        _refresh_done(usage, turn, pending, status, message)
        return
    turn.events.append(Replied(usage.leg, pending.method, purpose, pending.ref, status, message))
    if status in (408, 481) and usage.state == ESTABLISHED and pending.method != "INFO":
        _gone(usage, turn, message)


def _gone(usage: Usage, turn: Turn, message: Message | None) -> None:
    """The peer does not know the dialog any more (§12.2.1.2): say BYE once and report the end."""
    send_bye(usage, turn, ['Reason: SIP;cause=481;text="Dialog gone"'])
    turn.events.append(Ended(usage.leg, "gone", message))


def _refresh_done(usage: Usage, turn: Turn, pending: Pending, status: int, message: Message | None) -> None:
    if status < 300:
        if pending.method == "INVITE":
            acknowledge(usage, turn, b"", "")
        return
    if status in (408, 481) or message is None:
        _gone(usage, turn, message)
    elif status == 491:
        usage.deadlines["refresh"] = turn.now + glare_delay(usage, turn)
    elif status == 422:
        usage.session_interval = max(usage.session_interval, session_timer.min_se(message))
        usage.deadlines["refresh"] = turn.now + 0.1
    elif pending.method == "UPDATE":
        # the peer said it has UPDATE and refuses it: try a re-INVITE before the session is given up
        usage.peer_allow = [method for method in usage.peer_allow if method != "UPDATE"]
        usage.deadlines["refresh"] = turn.now + 0.1
    # any other refusal: the session goes on until its expiry (RFC 4028 §10)


def glare_delay(usage: Usage, turn: Turn) -> float:
    """How long a 491 is waited out: 2.1-4 s if we own the Call-ID, else 0-2 s, in steps of 10 ms (RFC 3261 §14.1)."""
    seed = sum(usage.new_id(turn).encode()) % 191
    return 2.1 + seed / 100 if usage.uac else (seed + 9) / 100


# -- requests that we receive ---------------------------------------------------------------------------------------


def respond(
    usage: Usage, turn: Turn, key: str, status: int, lines: list[str], body: bytes, content_type: str
) -> bool:
    """Final response to a request that was reported by ``Asked``; False when it was answered already."""
    asked = usage.asked.pop(key, None)
    if asked is None:
        return False
    head = [f"SIP/2.0 {status} {REASONS.get(status, 'Response')}", *asked.head]
    target_refresh = asked.method in ("INVITE", "UPDATE")
    if status < 300 and target_refresh:
        head.append(f"Contact: <{turn.env.contacts.uri(usage.scope, usage.flow)}>")
        head.append(f"Allow: {turn.env.allow}")
        head.append(f"Supported: {turn.env.supported}")
        if asked.session_expires:
            head.extend(asked.session_expires.split("\n"))
            start_session_timer(usage, turn, (usage.session_interval, usage.refresher))
        if body:
            usage.local_body = body
            usage.local_type = content_type
    head.extend(lines)
    data = assemble(head, body, content_type)
    if asked.method == "INVITE" and status < 300:
        start_final(usage, turn, key, data)
    else:
        turn.commands.append(SendResponse(usage.leg, key, status, data))
    return True


def on_request(usage: Usage, turn: Turn, message: Message, key: str, flow: str) -> None:
    """A request in the dialog.  Those with one right answer are answered here, the others are reported as ``Asked``."""
    method = message.method
    if method == "ACK":
        on_ack(usage, turn, message)
        return
    dialog = usage.dialog
    if dialog is None:
        dialog = usage.early.get(message.from_tag)
    if dialog is None or usage.state in (CLOSING, CLOSED, CANCELLING):
        _reply(usage, turn, message, key, 200 if method == "BYE" and usage.state == CLOSING else 481, [])
        return
    if not dialog.accepts(message.cseq):
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
    else:
        _ask(usage, turn, message, key, False, "")


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


def _ask(usage: Usage, turn: Turn, message: Message, key: str, has_offer: bool, session: str) -> None:
    usage.asked[key] = AskedState(
        message.method, response_head(message, False), has_offer, session, message.cseq
    )
    turn.events.append(Asked(usage.leg, message.method, key, message))


def _on_bye(usage: Usage, turn: Turn, message: Message, key: str) -> None:
    early_caller = usage.state == INCOMING
    _reply(usage, turn, message, key, 200, [])
    answer_open_requests(usage, turn, 487)
    if early_caller:
        # a caller may end its early dialog with BYE (§15): the INVITE is then answered 487 by the call
        turn.events.append(Ended(usage.leg, "bye", message))
        return
    usage.state = CLOSED
    usage.deadlines = {}
    usage.final_data = b""
    usage.bye_wanted = None
    turn.events.append(Ended(usage.leg, "bye", message))


def _retry_after(usage: Usage, turn: Turn) -> list[str]:
    return [f"Retry-After: {sum(usage.new_id(turn).encode()) % 10}"]


def _on_reinvite(usage: Usage, turn: Turn, dialog: Dialog, message: Message, key: str) -> None:
    if usage.pending_offer():
        _reply(usage, turn, message, key, 491, [])  # §14.2: glare
        return
    if usage.asked_offer() or usage.state != ESTABLISHED or usage.final_data:
        # §14.2: an earlier INVITE of the peer is not finished
        status = 500 if usage.asked_offer() else 491
        _reply(usage, turn, message, key, status, _retry_after(usage, turn) if status == 500 else [])
        return
    if session_timer.too_small(message, turn.env.min_se):
        _reply(usage, turn, message, key, 422, [f"Min-SE: {turn.env.min_se}"])
        return
    dialog.refresh_target(message)
    usage.note_remote_body(message)
    _ask(usage, turn, message, key, bool(message.body), _agree(usage, turn, message))


def _agree(usage: Usage, turn: Turn, message: Message) -> str:
    """Session timer lines of the 2xx to a refresh, joined by newlines."""
    if turn.env.session_expires == 0:
        return ""
    ours = usage.session_interval or turn.env.session_expires
    usage.session_interval, usage.refresher = session_timer.accept(message, ours, usage.refresher)
    return "\n".join(session_lines(usage.session_interval, usage.refresher, message.tokens("supported")))


def _on_update(usage: Usage, turn: Turn, dialog: Dialog, message: Message, key: str) -> None:
    if session_timer.too_small(message, turn.env.min_se):
        _reply(usage, turn, message, key, 422, [f"Min-SE: {turn.env.min_se}"])
        return
    if not message.body:
        # a pure refresh (RFC 4028 §7.4): nothing that the other side would have to know
        dialog.refresh_target(message)
        session = _agree(usage, turn, message) if usage.state == ESTABLISHED else ""
        usage.asked[key] = AskedState("UPDATE", response_head(message, False), False, session, message.cseq)
        respond(usage, turn, key, 200, [], b"", "")
        return
    if usage.pending_offer() or (usage.final_data and usage.state == ACCEPTED):
        _reply(usage, turn, message, key, 491, [])  # RFC 3311 §5.2
        return
    if usage.asked_offer():
        _reply(usage, turn, message, key, 500, _retry_after(usage, turn))
        return
    dialog.refresh_target(message)
    usage.note_remote_body(message)
    session = _agree(usage, turn, message) if usage.state == ESTABLISHED else ""
    _ask(usage, turn, message, key, True, session)


def _on_prack(usage: Usage, turn: Turn, message: Message, key: str) -> None:
    if not on_prack(usage, turn, message):
        _reply(usage, turn, message, key, 481, [])
        return
    if message.body:
        usage.note_remote_body(message)
        _ask(usage, turn, message, key, True, "")
    else:
        _reply(usage, turn, message, key, 200, [])
    release_held_accept(usage, turn)


# -- timers ---------------------------------------------------------------------------------------------------------


def on_deadlines(usage: Usage, turn: Turn) -> None:
    """Do all that is due.  Each deadline is removed or moved forward, so none fires twice for one instant."""
    now = turn.now
    for name in [name for name, at in usage.deadlines.items() if at <= now]:
        if name not in usage.deadlines:
            continue  # an earlier one of this round cleared it
        if name == "final":
            if usage.deadlines.get("final_end", now + 1) <= now:
                continue
            repeat_final(usage, turn)
        elif name == "final_end":
            if usage.state == ACCEPTED or usage.final_data:
                on_no_ack(usage, turn)
            else:
                del usage.deadlines[name]
        elif name == "provisional":
            del usage.deadlines[name]
            repeat_provisional(usage, turn)
        elif name == "reliable":
            repeat_reliable(usage, turn)
        elif name == "reliable_end":
            _no_prack(usage, turn)
        elif name == "refresh":
            send_refresh(usage, turn)
        elif name == "expire":
            del usage.deadlines[name]
            if usage.state == ESTABLISHED:
                send_bye(usage, turn, ['Reason: SIP;cause=408;text="Session expired"'])
                turn.events.append(Ended(usage.leg, "expired", None))
        else:
            del usage.deadlines[name]


def _no_prack(usage: Usage, turn: Turn) -> None:
    """RFC 3262 §3: no PRACK for 64·T1: the INVITE should be refused with a 5xx; the call does it."""
    usage.deadlines.pop("reliable", None)
    usage.deadlines.pop("reliable_end", None)
    usage.reliable = []
    usage.held_accept = None
    turn.events.append(Ended(usage.leg, "no_prack", None))


__all__ = [
    "acknowledge",
    "begin",
    "cancel",
    "on_deadlines",
    "on_failed",
    "on_request",
    "on_response",
    "release",
    "release_fork",
    "request",
    "respond",
    "send_refresh",
]
