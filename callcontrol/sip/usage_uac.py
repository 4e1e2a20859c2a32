"""The INVITE that we send: provisional responses, forks, 2xx and ACK, retry with credentials, CANCEL (RFC 3261 §9.1, §13.2).

Left out: redirection.  A 3xx is a final response like any other; the call decides what it means.
"""

from __future__ import annotations

from . import session_timer
from .commands import SendAck, SendRequest
from .dialog import Dialog, assemble, uac_dialog
from .digest_client import Login, authorize
from .message import Message
from .usage import (
    CALLING,
    CANCELLING,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FOR_BYE,
    FOR_FORK,
    FOR_PRACK,
    Answered,
    Failed,
    OutgoingInvite,
    Pending,
    Progress,
    Turn,
    Usage,
)


def invite(usage: Usage, turn: Turn, request: OutgoingInvite) -> None:
    """Send the initial INVITE of a leg."""
    usage.invite = request
    usage.state = CALLING
    usage.local_body = request.body
    usage.local_type = request.content_type
    _send_invite(usage, turn, request, "")


def _send_invite(usage: Usage, turn: Turn, request: OutgoingInvite, authorization: str) -> None:
    env = turn.env
    request.branch = usage.new_branch(turn)
    head = [f"INVITE {request.uri} SIP/2.0"]
    head.extend([f"Route: {route}" for route in request.routes])
    head.append(f"Max-Forwards: {request.max_forwards}")
    head.append(f"From: {request.from_header}")
    head.append(f"To: {request.to_header}")
    head.append(f"Call-ID: {request.call_id}")
    head.append(f"CSeq: {request.cseq} INVITE")
    head.append(f"Contact: <{env.contacts.uri(usage.scope, request.target)}>")
    if authorization:
        head.append(authorization)
    head.append(f"Allow: {env.allow}")
    head.append(f"Supported: {env.supported if request.body else 'timer, replaces'}")
    if env.session_expires:
        head.append(f"Session-Expires: {max(env.session_expires, request.min_se)}")
        head.append(f"Min-SE: {max(env.min_se, request.min_se)}")
    head.append(f"User-Agent: {env.server}")
    head.extend(request.lines)
    data = assemble(head, request.body, request.content_type)
    turn.commands.append(SendRequest(usage.leg, request.branch, "INVITE", data, request.target))


def cancel(usage: Usage, turn: Turn, lines: list[str]) -> None:
    """Give up an unanswered INVITE; ``lines`` carry the Reason (RFC 3326).

    The endpoint holds the CANCEL back until a provisional response came (RFC 3261 §9.1).
    """
    request = usage.invite
    if usage.state != CALLING or request is None:
        return
    usage.state = CANCELLING
    head = [f"CANCEL {request.uri} SIP/2.0"]
    head.extend([f"Route: {route}" for route in request.routes])
    head.append("Max-Forwards: 70")
    head.append(f"From: {request.from_header}")
    head.append(f"To: {request.to_header}")
    head.append(f"Call-ID: {request.call_id}")
    head.append(f"CSeq: {request.cseq} CANCEL")
    head.extend(lines)
    data = assemble(head, b"", "")
    turn.commands.append(SendRequest(usage.leg, request.branch, "CANCEL", data, request.target))


def on_invite_response(usage: Usage, turn: Turn, message: Message, login: Login | None) -> None:
    """A response to the initial INVITE, first or repeated."""
    status = message.status
    if status < 200:
        if usage.state == CALLING and status > 100:
            _provisional(usage, turn, message)
    elif status < 300:
        _success(usage, turn, message)
    elif usage.state in (CALLING, CANCELLING):
        _failure(usage, turn, message, login)


def on_invite_failed(usage: Usage, turn: Turn, status: int) -> None:
    """The INVITE transaction ended without a response: 408 for silence, 503 for a dead transport."""
    if usage.state not in (CALLING, CANCELLING):
        return
    cancelled = usage.state == CANCELLING
    _close(usage)
    turn.events.append(Failed(usage.leg, status, None, cancelled))


def _close(usage: Usage) -> None:
    usage.state = CLOSED
    usage.invite = None
    usage.early = {}
    usage.deadlines = {}


def _early_dialog(usage: Usage, request: OutgoingInvite, message: Message) -> Dialog | None:
    tag = message.to_tag
    if not tag:
        return None
    dialog = usage.early.get(tag)
    if dialog is None:
        dialog = uac_dialog(message, request.from_header, request.cseq, _dialog_target(usage, request))
        usage.early[tag] = dialog
    elif message.has("contact"):
        dialog.refresh_target(message)
    return dialog


def _dialog_target(usage: Usage, request: OutgoingInvite) -> str:
    """Requests in the dialog stay on the flow of the INVITE where the peer is bound to it (a registered connection or NAT
    binding); towards a peer that was reached by URI they follow route set and Contact."""
    return request.target if "|" in request.target else ""


def _provisional(usage: Usage, turn: Turn, message: Message) -> None:
    request = usage.invite
    if request is None:
        return
    usage.note_peer(message)
    dialog = _early_dialog(usage, request, message)
    if (
        dialog is not None
        and "100rel" in message.tokens("require")
        and not _acknowledge(usage, turn, dialog, message)
    ):
        return
    usage.note_remote_body(message)
    content_type = message.get("content-type") or ""
    turn.events.append(
        Progress(usage.leg, message.status, message.to_tag, message.body, content_type, message)
    )


def _acknowledge(usage: Usage, turn: Turn, dialog: Dialog, message: Message) -> bool:
    """PRACK a reliable provisional response (RFC 3262 §4); False for a repetition or one out of order."""
    text = message.get("rseq") or ""
    if not text.isdigit() or len(text) > 10:
        return False
    rseq = int(text)
    last = usage.early_rseq.get(dialog.remote_tag)
    if last is not None and rseq != last + 1:
        return False
    usage.early_rseq[dialog.remote_tag] = rseq
    cseq = dialog.next_cseq()
    branch = usage.new_branch(turn)
    data = dialog.request("PRACK", cseq, [f"RAck: {rseq} {message.cseq} INVITE"], b"", "")
    usage.pending[branch] = Pending("PRACK", FOR_PRACK, "", cseq, b"", "", [])
    turn.commands.append(SendRequest(usage.leg, branch, "PRACK", data, dialog.next_hop()))
    return True


def _success(usage: Usage, turn: Turn, message: Message) -> None:
    request = usage.invite
    dialog = usage.dialog
    if dialog is not None and message.to_tag == dialog.remote_tag:
        # a repetition: our ACK was lost (RFC 3261 §13.2.2.4)
        if usage.ack_data and message.cseq == usage.ack_cseq:
            turn.commands.append(SendAck(usage.leg, usage.ack_branch, usage.ack_data, dialog.next_hop()))
        return
    if request is None:
        if dialog is not None:
            release_fork(usage, turn, message, dialog.local_header, message.cseq, dialog.target)
        return
    early = usage.early.get(message.to_tag)
    if usage.state == CANCELLING:
        # the answer crossed our CANCEL: ACK, then BYE, in this order (RFC 3261 §9.1; field hazard: both or the callee hangs)
        new = early or uac_dialog(message, request.from_header, request.cseq, _dialog_target(usage, request))
        new.refresh_target(message)
        _take_dialog(usage, new, message, request)
        acknowledge(usage, turn, b"", "")
        usage.invite = None
        usage.early = {}
        send_bye(usage, turn, ['Reason: SIP;cause=487;text="Cancelled"'])
        turn.events.append(Failed(usage.leg, 487, None, True, True))
        return
    if usage.state != CALLING:
        return
    new = early or uac_dialog(message, request.from_header, request.cseq, _dialog_target(usage, request))
    new.route_set = list(reversed(message.items("record-route")))  # §13.2.2.4: recomputed from the 2xx
    new.refresh_target(message)
    usage.note_peer(message)
    usage.note_remote_body(message)
    _take_dialog(usage, new, message, request)
    usage.state = ESTABLISHED
    usage.ack_owed = True
    usage.invite = None
    usage.early = {}
    usage.early_rseq = {}
    start_session_timer(usage, turn, session_timer.agreed(message))
    content_type = message.get("content-type") or ""
    turn.events.append(Answered(usage.leg, message.to_tag, message.body, content_type, message))


def _take_dialog(usage: Usage, dialog: Dialog, message: Message, request: OutgoingInvite) -> None:
    usage.dialog = dialog
    usage.ack_cseq = request.cseq
    if dialog.local_cseq < request.cseq:
        dialog.local_cseq = request.cseq


def acknowledge(usage: Usage, turn: Turn, body: bytes, content_type: str) -> None:
    """ACK the last 2xx; ``body`` is the answer when the 2xx carried the offer."""
    dialog = usage.dialog
    if dialog is None:
        return
    usage.ack_owed = False
    usage.ack_branch = usage.new_branch(turn)
    usage.ack_data = dialog.request("ACK", usage.ack_cseq, [], body, content_type)
    if body:
        usage.local_body = body
        usage.local_type = content_type
    turn.commands.append(SendAck(usage.leg, usage.ack_branch, usage.ack_data, dialog.next_hop()))


def release_fork(usage: Usage, turn: Turn, message: Message, local: str, cseq: int, target: str) -> None:
    """A further 2xx with another To tag: a downstream proxy forked and two phones answered.  ACK and BYE it (§13.2.2.4)."""
    other = uac_dialog(message, local, cseq, target)
    hop = other.next_hop()
    ack = other.request("ACK", cseq, [], b"", "")
    turn.commands.append(SendAck(usage.leg, usage.new_branch(turn), ack, hop))
    for pending in usage.pending.values():
        if pending.ref == message.to_tag:
            return  # the BYE is on its way; only the ACK was lost
    bye = other.request(
        "BYE", other.next_cseq(), ['Reason: SIP;cause=200;text="Call completed elsewhere"'], b"", ""
    )
    branch = usage.new_branch(turn)
    usage.pending[branch] = Pending("BYE", FOR_FORK, message.to_tag, cseq, b"", "", [])
    turn.commands.append(SendRequest(usage.leg, branch, "BYE", bye, hop))


def send_bye(usage: Usage, turn: Turn, lines: list[str]) -> None:
    """Release the dialog; the state becomes CLOSING until the response (or its timeout)."""
    dialog = usage.dialog
    if dialog is None:
        return
    cseq = dialog.next_cseq()
    branch = usage.new_branch(turn)
    data = dialog.request("BYE", cseq, lines, b"", "")
    usage.state = CLOSING
    usage.deadlines = {}
    usage.pending[branch] = Pending("BYE", FOR_BYE, "", cseq, b"", "", [])
    turn.commands.append(SendRequest(usage.leg, branch, "BYE", data, dialog.next_hop()))


def start_session_timer(usage: Usage, turn: Turn, agreed: tuple[int, int]) -> None:
    """Set the deadlines of the session timer after a 2xx (RFC 4028 §7.2, §9)."""
    interval, refresher = agreed
    usage.session_interval = interval
    usage.refresher = refresher
    deadlines = usage.deadlines
    deadlines.pop("refresh", None)
    deadlines.pop("expire", None)
    if refresher == session_timer.LOCAL:
        deadlines["refresh"] = turn.now + session_timer.refresh_after(interval)
        deadlines["expire"] = turn.now + interval
    elif refresher == session_timer.REMOTE:
        deadlines["expire"] = turn.now + session_timer.expire_after(interval)


def _failure(usage: Usage, turn: Turn, message: Message, login: Login | None) -> None:
    request = usage.invite
    if request is None:
        return
    cancelled = usage.state == CANCELLING
    status = message.status
    if not cancelled:
        if status in (401, 407) and login is not None and request.auth_tries < 2:
            line = authorize(message, login, "INVITE", request.uri, usage.new_id(turn), request.auth_tries)
            if line:
                request.auth_tries += 1
                request.cseq += 1
                usage.early = {}
                usage.early_rseq = {}
                _send_invite(usage, turn, request, line)
                return
        asked = session_timer.min_se(message)
        if status == 422 and request.min_se < asked <= 86400:
            request.min_se = asked
            request.cseq += 1
            usage.early = {}
            usage.early_rseq = {}
            _send_invite(usage, turn, request, "")
            return
    _close(usage)
    turn.events.append(Failed(usage.leg, status, message, cancelled))


__all__ = [
    "acknowledge",
    "cancel",
    "invite",
    "on_invite_failed",
    "on_invite_response",
    "release_fork",
    "send_bye",
    "start_session_timer",
]
