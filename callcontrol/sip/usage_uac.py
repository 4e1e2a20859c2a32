"""The INVITE that we send: provisional responses, forks, 2xx and ACK, retry with credentials, CANCEL (RFC 3261 §9.1, §13.2).

Left out: redirection.  A 3xx is a final response like any other; the call decides what it means.
"""

from __future__ import annotations

from typing import Final

from . import session_timer
from .commands import SendAck, SendRequest
from .dialog import Dialog, assemble, route_set, uac_dialog
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
    Turn,
    Usage,
    body_type,
)
from .usage_events import Answered, Failed, Progress
from .usage_open import Early, OutgoingInvite, Pending

MAX_EARLY: Final = 20
"""Early dialogs of one INVITE that are told apart; further ones are left aside until their 2xx.  Honest proxies fork to a
handful of phones, and each early dialog costs memory on both legs."""
MAX_TRIES: Final = 3
"""How often one INVITE is sent anew (challenge, stale nonce, 422) before its refusal stands."""
LONGEST_MIN_SE: Final = 86400
ELSEWHERE: Final = 'Reason: SIP;cause=200;text="Call completed elsewhere"'


def invite(usage: Usage, turn: Turn, request: OutgoingInvite) -> None:
    """Send the initial INVITE of a leg."""
    usage.invite = request
    usage.state = CALLING
    usage.local_body = request.body
    usage.local_type = request.content_type
    request.branch = usage.new_branch(turn)
    _send_invite(usage, turn, request)


def _send_invite(usage: Usage, turn: Turn, request: OutgoingInvite) -> None:
    env = turn.env
    head = [f"INVITE {request.uri} SIP/2.0"]
    head.extend([f"Route: {route}" for route in request.routes])
    head.append(f"Max-Forwards: {request.max_forwards}")
    head.append(f"From: {request.from_header}")
    head.append(f"To: {request.to_header}")
    head.append(f"Call-ID: {request.call_id}")
    head.append(f"CSeq: {request.cseq} INVITE")
    head.append(usage.contact(env, request.hop))
    if request.authorization:
        head.append(request.authorization)
    head.append(f"Allow: {env.allow}")
    # without an offer of ours a reliable provisional response would bring one, to be answered in PRACK by nobody
    head.append(f"Supported: {env.supported if request.body else 'timer, replaces'}")
    if env.session_expires:
        head.append(f"Session-Expires: {max(env.session_expires, request.min_se)}")
        head.append(f"Min-SE: {max(env.min_se, request.min_se)}")
    head.append(f"User-Agent: {env.server}")
    head.extend(request.lines)
    data = assemble(head, request.body, request.content_type)
    request.sent_by = env.contacts.sent_by(request.hop)
    turn.commands.append(SendRequest(usage.leg, request.branch, "INVITE", data, request.hop))


def _try_again(usage: Usage, turn: Turn, request: OutgoingInvite, hop: str) -> None:
    """The same INVITE once more, to the address that asked for it (§22.2: same Call-ID, next CSeq)."""
    request.tries += 1
    request.cseq += 1
    request.early = {}
    if hop:
        request.hop = hop
    request.branch = usage.new_branch(turn)
    _send_invite(usage, turn, request)


def cancel(usage: Usage, turn: Turn, lines: list[str]) -> None:
    """Give up an unanswered INVITE; ``lines`` carry the Reason (RFC 3326).

    The endpoint holds the CANCEL back until a provisional response came (RFC 3261 §9.1).
    """
    request = usage.invite
    if usage.state != CALLING or request is None:
        return
    usage.state = CANCELLING
    request.cancel_lines = lines
    _send_cancel(usage, turn, request)


def _send_cancel(usage: Usage, turn: Turn, request: OutgoingInvite) -> None:
    head = [f"CANCEL {request.uri} SIP/2.0"]
    head.extend([f"Route: {route}" for route in request.routes])
    head.append("Max-Forwards: 70")
    head.append(f"From: {request.from_header}")
    head.append(f"To: {request.to_header}")
    head.append(f"Call-ID: {request.call_id}")
    head.append(f"CSeq: {request.cseq} CANCEL")
    head.extend(request.cancel_lines)
    data = assemble(head, b"", "")
    command = SendRequest(usage.leg, request.branch, "CANCEL", data, request.hop, request.sent_by)
    turn.commands.append(command)


def resend_invite(usage: Usage, turn: Turn, gives_up: bool) -> None:
    """After a takeover: what is open goes out again as it was, which is a retransmission for the peer.

    ``gives_up``: the INVITE had a provisional response, and is to be cancelled.  From another address than its node had it is not
    repeated then: the peer would take it for a second one (RFC 3261 §8.2.2.2), and the CANCEL would wait for its response.
    An INVITE that was cancelled is not repeated: if it is over at the peer, it would ring there again, and the CANCEL would be
    taken for a retransmission.  So its final response finds no transaction, and is waited for by our own clock.  It goes to the
    address that the INVITE came from; where that is not ours, `release_early` makes sure.
    """
    request = usage.invite
    if request is None:
        return
    elsewhere = request.sent_by not in ("", turn.env.contacts.sent_by(request.hop))
    if usage.state == CALLING and not (gives_up and elsewhere):
        _send_invite(usage, turn, request)
        return
    if usage.state == CANCELLING:
        _send_cancel(usage, turn, request)
    if usage.state in (CALLING, CANCELLING):
        # from the first takeover on: it is not to wait for as long as nodes come and go
        usage.deadlines.setdefault("cancelled", turn.now + 64 * turn.env.t1)
        if elsewhere:
            usage.deadlines["early"] = turn.now + 4 * turn.env.t1


def release_early(usage: Usage, turn: Turn) -> None:
    """After a CANCEL whose INVITE has its final response at an address that is not ours: BYE in each early dialog (§15).

    Whoever picked up before the CANCEL came has sent its 2xx to a node that is gone, and would be left in silence; for whoever
    was cancelled the dialog is over, and it says 481.
    """
    usage.deadlines.pop("early", None)
    request = usage.invite
    if usage.state != CANCELLING or request is None:
        return
    for tag, early in request.early.items():
        bye = Pending("BYE", FOR_FORK, tag, early.dialog.next_cseq(), b"", "", request.cancel_lines)
        bye.data = early.dialog.request("BYE", bye.cseq, request.cancel_lines, b"", "")
        start(usage, turn, early.dialog, bye)


def on_invite_response(usage: Usage, turn: Turn, message: Message, login: Login | None, hop: str) -> None:
    """A response to the initial INVITE, first or repeated; ``hop`` is the address that it came from, as a dumped flow."""
    status = message.status
    if status < 200:
        if usage.state == CALLING and status > 100:
            _provisional(usage, turn, message)
    elif status < 300:
        _success(usage, turn, message)
    elif usage.state in (CALLING, CANCELLING):
        _failure(usage, turn, message, login, hop)


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
    usage.deadlines = {}


def _early_dialog(usage: Usage, request: OutgoingInvite, message: Message) -> Early | None:
    tag = message.to_tag
    early = request.early.get(tag)
    if early is None:
        if len(request.early) >= MAX_EARLY:
            return None
        early = Early(_new_dialog(request, message))
        request.early[tag] = early
    else:
        early.dialog.refresh_target(message)
    return early


def _new_dialog(request: OutgoingInvite, message: Message) -> Dialog:
    target = request.hop if request.bound else ""
    dialog = uac_dialog(message, request.from_header, request.cseq, target, request.uri)
    dialog.call_id = request.call_id  # one string for the leg and its dialog
    return dialog


def _provisional(usage: Usage, turn: Turn, message: Message) -> None:
    request = usage.invite
    if request is None:
        return
    usage.note_peer(message)
    kind = body_type(message)
    if message.to_tag:
        early = _early_dialog(usage, request, message)
        if early is None:
            return
        if "100rel" in message.tokens("require"):
            if not _acknowledge(usage, turn, early, message):
                return
            if message.body:
                early.body = message.body
                early.content_type = kind
    turn.events.append(Progress(usage.leg, message.status, message.to_tag, message.body, kind, message))


def _acknowledge(usage: Usage, turn: Turn, early: Early, message: Message) -> bool:
    """PRACK a reliable provisional response (RFC 3262 §4); False for a repetition or one out of order."""
    text = message.get("rseq") or ""
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return False
    rseq = int(text)
    if early.rseq >= 0 and rseq != early.rseq + 1:
        return False
    early.rseq = rseq
    dialog = early.dialog
    request = Pending("PRACK", FOR_PRACK, "", dialog.next_cseq(), b"", "", [])
    request.data = dialog.request("PRACK", request.cseq, [f"RAck: {rseq} {message.cseq} INVITE"], b"", "")
    start(usage, turn, dialog, request)
    return True


def start(usage: Usage, turn: Turn, dialog: Dialog, request: Pending) -> None:
    """Send a request in a dialog, whose text is in ``request.data``, in a transaction of its own."""
    branch = usage.new_branch(turn)
    request.hop = dialog.next_hop()
    usage.pending[branch] = request
    turn.commands.append(SendRequest(usage.leg, branch, request.method, request.data, request.hop))


def _success(usage: Usage, turn: Turn, message: Message) -> None:
    request = usage.invite
    dialog = usage.dialog
    if dialog is not None and message.to_tag == dialog.remote_tag:
        # a repetition: our ACK was lost (RFC 3261 §13.2.2.4)
        if usage.ack_data and not usage.ack_owed and message.cseq == usage.ack_cseq:
            turn.commands.append(SendAck(usage.leg, usage.ack_branch, usage.ack_data, dialog.next_hop()))
        return
    if request is None:
        if dialog is not None:
            _release_fork(usage, turn, message, dialog)
        return
    early = request.early.get(message.to_tag)
    new = early.dialog if early is not None else _new_dialog(request, message)
    new.route_set = route_set(message)[::-1]  # §13.2.2.4: recomputed from the 2xx
    new.refresh_target(message)
    if new.local_cseq < request.cseq:
        new.local_cseq = request.cseq
    usage.dialog = new
    usage.early_cseq = max([early.dialog.local_cseq for early in request.early.values()], default=0)
    usage.ack_cseq = request.cseq
    usage.authorization = request.authorization
    usage.invite = None
    if usage.state == CANCELLING:
        # the answer crossed our CANCEL: ACK, then BYE, in this order (RFC 3261 §9.1); without both the callee hangs
        acknowledge(usage, turn, b"", "")
        send_bye(usage, turn, request.cancel_lines)
        turn.events.append(Failed(usage.leg, 487, None, True, True))
        return
    usage.note_peer(message)
    usage.state = ESTABLISHED
    usage.ack_owed = True
    body, kind = message.body, body_type(message)
    if not body and early is not None:
        # the answer came in a reliable provisional response of this very dialog; a 2xx need not repeat it
        body, kind = early.body, early.content_type
    usage.set_remote(body, kind)
    start_session_timer(usage, turn, session_timer.agreed(message, turn.env.min_se))
    turn.events.append(Answered(usage.leg, message.to_tag, body, kind, message))


def acknowledge(usage: Usage, turn: Turn, body: bytes, content_type: str) -> None:
    """ACK the last 2xx; ``body`` is the answer when the 2xx carried the offer."""
    dialog = usage.dialog
    if dialog is None:
        return
    usage.ack_owed = False
    usage.ack_branch = usage.new_branch(turn)
    lines = [usage.authorization] if usage.authorization else []
    usage.ack_data = dialog.request("ACK", usage.ack_cseq, lines, body, content_type)
    usage.set_local(body, content_type)
    turn.commands.append(SendAck(usage.leg, usage.ack_branch, usage.ack_data, dialog.next_hop()))


def _release_fork(usage: Usage, turn: Turn, message: Message, dialog: Dialog) -> None:
    """A further 2xx with another To tag: a downstream proxy forked and two phones answered.  ACK and BYE it (§13.2.2.4)."""
    other = uac_dialog(message, dialog.local_header, message.cseq, dialog.target, dialog.remote_target)
    lines = [usage.authorization] if usage.authorization else []
    ack = other.request("ACK", message.cseq, lines, b"", "")
    turn.commands.append(SendAck(usage.leg, usage.new_branch(turn), ack, other.next_hop()))
    if message.to_tag in usage.released or len(usage.released) >= MAX_EARLY:
        return  # the BYE is on its way, or answered; only the ACK was lost
    usage.released.append(message.to_tag)
    other.local_cseq = max(other.local_cseq, usage.early_cseq)
    request = Pending("BYE", FOR_FORK, message.to_tag, other.next_cseq(), b"", "", [])
    request.data = other.request("BYE", request.cseq, [ELSEWHERE], b"", "")
    start(usage, turn, other, request)


def send_bye(usage: Usage, turn: Turn, lines: list[str]) -> None:
    """Release the dialog; the state becomes CLOSING until the response (or its timeout)."""
    dialog = usage.dialog
    if dialog is None:
        return
    usage.state = CLOSING
    usage.final_data = b""
    usage.bye_wanted = None
    end_deadlines(usage, turn)
    request = Pending("BYE", FOR_BYE, "", dialog.next_cseq(), b"", "", lines)
    request.data = dialog.request("BYE", request.cseq, lines, b"", "")
    start(usage, turn, dialog, request)


def end_deadlines(usage: Usage, turn: Turn) -> None:
    """Nothing is watched any more, but an own re-INVITE is not waited for without end: its transaction has no timer."""
    usage.deadlines = {}
    for pending in usage.pending.values():
        if pending.method == "INVITE":
            usage.deadlines["pending"] = turn.now + 64 * turn.env.t1


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


def _failure(usage: Usage, turn: Turn, message: Message, login: Login | None, hop: str) -> None:
    request = usage.invite
    if request is None:
        return
    cancelled = usage.state == CANCELLING
    status = message.status
    if not cancelled and request.tries < MAX_TRIES:
        if status in (401, 407) and login is not None:
            second = bool(request.authorization)
            line = authorize(message, login, "INVITE", request.uri, usage.new_id(turn), second, request.body)
            if line:
                request.authorization = line
                _try_again(usage, turn, request, hop)
                return
        asked = session_timer.min_se(message)
        if status == 422 and request.min_se < asked <= LONGEST_MIN_SE:
            request.min_se = asked
            _try_again(usage, turn, request, hop)
            return
    _close(usage)
    turn.events.append(Failed(usage.leg, status, message, cancelled))
