"""What we ask in a dialog that stands, and its timers: relayed requests, refreshes, glare, BYE (RFC 3261 §12.2.1, §14.1, §15,
RFC 3311, RFC 4028).

Rules that others learnt late: a 491 is waited out 2.1-4 s by the owner of the Call-ID and 0-2 s by the other side (§14.1); a
481 or 408 to a re-INVITE or UPDATE ends the dialog (§12.2.1.2), while one to a NOTIFY, INFO or MESSAGE does not (RFC 5057 §5);
no BYE before the ACK when we are the UAS (§15).
"""

from __future__ import annotations

from typing import Final

from . import session_timer
from .commands import SendRequest
from .dialog import Dialog
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
    Turn,
    Usage,
    body_type,
)
from .usage_events import Ended, Replied
from .usage_open import Pending
from .usage_requests import answer_open_requests
from .usage_uac import (
    LONGEST_MIN_SE,
    MAX_TRIES,
    acknowledge,
    cancel,
    end_deadlines,
    on_invite_failed,
    on_invite_response,
    release_early,
    resend_invite,
    send_bye,
    start,
    start_session_timer,
)
from .usage_uas import on_no_ack, repeat_final, repeat_provisional, repeat_reliable, resend_final

LONGEST_REINVITE_S: Final = 180.0
"""A re-INVITE may ask a person (for video, say); this long, as for Timer C of a proxy (§16.6), it may stay unanswered."""

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
    if dialog is None and usage.invite is not None and usage.invite.early:
        dialog = next(iter(usage.invite.early.values())).dialog
    if dialog is None or usage.state in (CLOSING, CLOSED, CANCELLING):
        return False
    _send(usage, turn, dialog, Pending(method, purpose, ref, 0, body, content_type, lines))
    return True


def _send(usage: Usage, turn: Turn, dialog: Dialog, pending: Pending) -> None:
    env = turn.env
    lines: list[str] = []
    if pending.method in ("INVITE", "UPDATE"):
        lines.append(usage.contact(env, dialog.next_hop()))
        lines.append(f"Allow: {env.allow}")
        lines.append(f"Supported: {env.supported}")
        if usage.session_interval and usage.state == ESTABLISHED:
            who = "uac" if usage.refresher == session_timer.LOCAL else "uas"
            lines.append(f"Session-Expires: {usage.session_interval};refresher={who}")
            lines.append(f"Min-SE: {max(env.min_se, pending.min_se)}")
    if pending.authorization:
        lines.append(pending.authorization)
    lines.extend(pending.lines)
    pending.cseq = dialog.next_cseq()
    pending.data = dialog.request(pending.method, pending.cseq, lines, pending.body, pending.content_type)
    if pending.method == "INVITE":
        usage.deadlines["pending"] = turn.now + LONGEST_REINVITE_S
    start(usage, turn, dialog, pending)


def cancel_request(usage: Usage, turn: Turn, ref: str) -> None:
    """Give up the own re-INVITE that was sent for ``ref`` (§9.1); its final response still comes."""
    dialog = usage.dialog
    if dialog is None:
        return
    for branch, pending in usage.pending.items():
        if pending.method == "INVITE" and pending.ref == ref:
            data = dialog.request("CANCEL", pending.cseq, [], b"", "")
            turn.commands.append(SendRequest(usage.leg, branch, "CANCEL", data, pending.hop))
            usage.deadlines["pending"] = turn.now + 64 * turn.env.t1


def _too_long(usage: Usage, turn: Turn) -> None:
    """A re-INVITE got no final response: cancel it, and do without its answer if not even that brings one."""
    del usage.deadlines["pending"]
    for branch, pending in list(usage.pending.items()):
        if pending.method != "INVITE":
            continue
        if not pending.cancelled:
            pending.cancelled = True
            cancel_request(usage, turn, pending.ref)
        else:
            del usage.pending[branch]
            _finish(usage, turn, pending, 500, None)


def release(usage: Usage, turn: Turn, lines: list[str]) -> None:
    """End the leg in whatever way its state asks for: CANCEL, BYE, or a BYE as soon as the ACK came.

    ``lines`` carry the Reason (RFC 3326).  An unanswered incoming INVITE is not refused here: the call chooses the status.
    """
    state = usage.state
    if state == CALLING:
        answer_open_requests(usage, turn, 487)
        cancel(usage, turn, lines)
    elif state == ACCEPTED:
        answer_open_requests(usage, turn, 487)
        if usage.bye_wanted is None:
            usage.bye_wanted = lines
    elif state == ESTABLISHED:
        if usage.ack_owed:
            acknowledge(usage, turn, b"", "")  # an offer that will never be answered; BYE follows (§13.2.2.4)
        answer_open_requests(usage, turn, 487)
        send_bye(usage, turn, lines)


def send_refresh(usage: Usage, turn: Turn) -> None:
    """Refresh the session: UPDATE without body where the peer has it, else re-INVITE with the last description (RFC 4028 §7.4)."""
    usage.deadlines.pop("refresh", None)
    dialog = usage.dialog
    if usage.state != ESTABLISHED or dialog is None:
        return
    if usage.busy():
        usage.deadlines["refresh"] = turn.now + 2.0
        return
    method = "UPDATE" if usage.can_update else "INVITE"
    body = b"" if method == "UPDATE" else usage.local_body
    _send(usage, turn, dialog, Pending(method, FOR_REFRESH, "", 0, body, usage.local_type, []))


def resend(usage: Usage, turn: Turn, gives_up: bool = False) -> None:
    """After a takeover: all that has no final response is sent again as it was, which is a retransmission for the peer.

    ``gives_up``: its INVITE was heard, and is about to be cancelled.

    The transactions are gone with the node that had them; without new ones no answer would find us, and a 2xx to an INVITE
    would stay without ACK.
    """
    resend_invite(usage, turn, gives_up)
    for branch, pending in usage.pending.items():
        pending.cancelled = False
        turn.commands.append(SendRequest(usage.leg, branch, pending.method, pending.data, pending.hop))
    resend_final(usage, turn)


# -- responses to what we sent --------------------------------------------------------------------------------------


def on_response(
    usage: Usage, turn: Turn, branch: str, message: Message, login: Login | None, hop: str
) -> None:
    """A response to any request of ours; ``hop`` is the address that it came from, as a dumped flow."""
    if message.method == "CANCEL":
        return
    invite = usage.invite
    if invite is not None and invite.branch == branch:
        on_invite_response(usage, turn, message, login, hop)
        return
    if message.status < 200:
        return
    pending = usage.pending.get(branch)
    if pending is None:
        if message.method == "INVITE" and message.status < 300 and usage.dialog is not None:
            # a repeated 2xx is ACKed again; one of another fork is released
            on_invite_response(usage, turn, message, login, hop)
        return
    del usage.pending[branch]
    if pending.method == "INVITE":
        usage.deadlines.pop("pending", None)
    usage.note_peer(message)
    if not _try_again(usage, turn, pending, message, login):
        _finish(usage, turn, pending, message.status, message)


def _try_again(usage: Usage, turn: Turn, pending: Pending, message: Message, login: Login | None) -> bool:
    """Answer a challenge or a 422; False when the response stands."""
    dialog = usage.dialog
    status = message.status
    if status not in (401, 407, 422) or dialog is None or pending.tries >= MAX_TRIES:
        return False
    if pending.purpose == FOR_FORK or (pending.purpose != FOR_BYE and usage.state in (CLOSING, CLOSED)):
        return False
    if status == 422:
        asked = session_timer.min_se(message)
        if pending.method not in ("INVITE", "UPDATE") or not usage.session_interval < asked <= LONGEST_MIN_SE:
            return False
        usage.session_interval = pending.min_se = asked
    else:
        if login is None:
            return False
        second = bool(pending.authorization)
        cnonce = usage.new_id(turn)
        line = authorize(message, login, pending.method, dialog.remote_target, cnonce, second, pending.body)
        if not line:
            return False
        pending.authorization = line
        if pending.method == "INVITE":
            usage.authorization = line
    pending.tries += 1
    _send(usage, turn, dialog, pending)
    return True


def on_failed(usage: Usage, turn: Turn, branch: str, cause: str) -> None:
    """A client transaction ended without a final response: ``cause`` is timeout or transport."""
    status = 408 if cause == "timeout" else 503
    invite = usage.invite
    if invite is not None and invite.branch == branch:
        on_invite_failed(usage, turn, status)
        return
    pending = usage.pending.pop(branch, None)
    if pending is not None:
        if pending.method == "INVITE":
            usage.deadlines.pop("pending", None)
        _finish(usage, turn, pending, status, None)


def _finish(usage: Usage, turn: Turn, pending: Pending, status: int, message: Message | None) -> None:
    purpose = pending.purpose
    if purpose == FOR_BYE:
        usage.state = CLOSED
        end_deadlines(usage, turn)
        return
    if purpose in (FOR_FORK, FOR_PRACK):
        return
    if message is not None and status < 300:
        if pending.method == "INVITE":
            usage.ack_cseq = pending.cseq
            usage.ack_owed = True
            if usage.state != ESTABLISHED:
                # our BYE, or the peer's, crossed the answer: ACK it, or it is repeated at us for 32 s
                acknowledge(usage, turn, b"", "")
                status = 487
        if status < 300 and pending.method in ("INVITE", "UPDATE"):
            _agreed(usage, turn, pending, message)
    if purpose == FOR_REFRESH:
        _refresh_done(usage, turn, pending, status, message)
        return
    offered = bool(pending.body)
    turn.events.append(Replied(usage.leg, pending.method, purpose, pending.ref, status, message, offered))
    if status in (408, 481) and pending.method in ("INVITE", "UPDATE"):
        _gone(usage, turn, message)


def _agreed(usage: Usage, turn: Turn, pending: Pending, message: Message) -> None:
    """A 2xx to our re-INVITE or UPDATE: what it changes."""
    dialog = usage.dialog
    if dialog is not None:
        dialog.refresh_target(message)
    usage.set_local(pending.body, pending.content_type)
    usage.set_remote(message.body, body_type(message))
    if usage.incoming is not None and dialog is not None and pending.body:
        usage.incoming.shown[dialog.local_tag] = pending.body
    if usage.state == ESTABLISHED:
        start_session_timer(usage, turn, session_timer.agreed(message, turn.env.min_se))


def _gone(usage: Usage, turn: Turn, message: Message | None) -> None:
    """The peer does not know the dialog any more (§12.2.1.2): say BYE once and report the end."""
    if usage.state == ESTABLISHED:
        answer_open_requests(usage, turn, 487)
        send_bye(usage, turn, ['Reason: SIP;cause=481;text="Dialog gone"'])
        turn.events.append(Ended(usage.leg, "gone", message))


def _refresh_done(usage: Usage, turn: Turn, pending: Pending, status: int, message: Message | None) -> None:
    if usage.state != ESTABLISHED:
        return
    if status < 300:
        if pending.method == "INVITE":
            acknowledge(usage, turn, b"", "")
    elif status in (408, 481) or message is None:
        _gone(usage, turn, message)
    elif status == 491:
        usage.deadlines["refresh"] = turn.now + glare_delay(usage, turn)
    elif pending.method == "UPDATE":
        # the peer said it has UPDATE and refuses it: try a re-INVITE before the session is given up
        usage.can_update = False
        usage.refused_update = True
        usage.deadlines["refresh"] = turn.now + 0.1
    # any other refusal: the session goes on until its expiry (RFC 4028 §10)


def glare_delay(usage: Usage, turn: Turn) -> float:
    """How long a 491 is waited out: 2.1-4 s if we own the Call-ID, else 0-2 s, in steps of 10 ms (RFC 3261 §14.1)."""
    seed = sum(usage.new_id(turn).encode()) % 191
    return 2.1 + seed / 100 if usage.uac else (seed + 9) / 100


# -- timers ---------------------------------------------------------------------------------------------------------


def on_deadlines(usage: Usage, turn: Turn) -> None:
    """Do all that is due.  Each deadline is removed or moved forward, so none fires twice for one instant."""
    now = turn.now
    for name in [name for name, at in usage.deadlines.items() if at <= now]:
        if usage.deadlines.get(name, now + 1) > now:
            continue  # an earlier one of this round cleared or moved it
        if name == "final":
            if usage.deadlines.get("final_end", now + 1) > now:
                repeat_final(usage, turn)
            else:
                del usage.deadlines[name]
        elif name == "final_end":
            on_no_ack(usage, turn)
        elif name == "provisional":
            repeat_provisional(usage, turn)
        elif name == "reliable":
            repeat_reliable(usage, turn)
        elif name == "reliable_end":
            _no_prack(usage, turn)
        elif name == "refresh":
            send_refresh(usage, turn)
        elif name == "pending":
            _too_long(usage, turn)
        elif name == "cancelled":
            on_invite_failed(usage, turn, 408)
        elif name == "early":
            release_early(usage, turn)
        else:
            del usage.deadlines[name]
            if name == "expire" and usage.state == ESTABLISHED:
                answer_open_requests(usage, turn, 487)
                send_bye(usage, turn, ['Reason: SIP;cause=408;text="Session expired"'])
                turn.events.append(Ended(usage.leg, "expired", None))


def _no_prack(usage: Usage, turn: Turn) -> None:
    """RFC 3262 §3: no PRACK for 64·T1: the INVITE should be refused with a 5xx; the call does it."""
    usage.deadlines.pop("reliable", None)
    usage.deadlines.pop("reliable_end", None)
    if usage.incoming is not None:
        usage.incoming.reliable = []
    turn.events.append(Ended(usage.leg, "no_prack", None))
