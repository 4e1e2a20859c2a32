"""The INVITE that we receive: provisional responses (also reliable ones), 2xx until its ACK, refusal (RFC 3261 §13.3, RFC 3262).

A B2BUA may ring several phones for one caller.  What each of them says before the answer is another early dialog for the
caller, so a session description that changes its mind is shown under another To tag, as behind a forking proxy: the caller
never sees two different answers in one dialog (RFC 6337 §3.1.1).
"""

from __future__ import annotations

from typing import Final

from . import session_timer
from .commands import SendResponse, UseTag
from .dialog import assemble, response_head, tagged, uas_dialog
from .message import Message
from .usage import ACCEPTED, CLOSED, CLOSING, ESTABLISHED, INCOMING, Turn, Usage, body_type
from .usage_events import Acked, AskCancelled, CallerCancelled, Ended
from .usage_open import IncomingInvite, Reliable
from .usage_uac import send_bye, start_session_timer

PROVISIONAL_REPEAT_S: Final = 60.0
"""A provisional response is repeated each minute, or proxies on the way give up (RFC 3261 §13.3.1.1)."""
MAX_FORKS: Final = 20
"""Early dialogs that one caller is shown; what further callees say before their answer is kept from it."""
MAX_RELIABLE: Final = 8
"""Reliable provisional responses that wait for their turn; a caller that sends no PRACK is told no more."""


def begin(usage: Usage, turn: Turn, message: Message, key: str, flow: str, bound: bool) -> None:
    """Take an initial INVITE; nothing is sent yet.  The dialog is formed with our primary tag.

    ``bound``: the caller can be reached by this flow only, not by its Contact.
    """
    incoming = IncomingInvite(key, response_head(message, True), message.cseq, bool(message.body))
    supports = message.tokens("supported")
    incoming.requires_100rel = "100rel" in message.tokens("require")
    incoming.knows_100rel = incoming.requires_100rel or "100rel" in supports
    incoming.knows_timer = "timer" in supports
    if turn.env.session_expires:
        incoming.interval, incoming.refresher = session_timer.accept(
            message, turn.env.session_expires, turn.env.min_se, session_timer.NONE
        )
    usage.incoming = incoming
    usage.state = INCOMING
    usage.flow = flow
    usage.dialog = uas_dialog(message, usage.new_id(turn), flow if bound else "")
    turn.commands.append(UseTag(usage.leg, usage.dialog.local_tag))
    usage.note_peer(message)
    usage.set_remote(message.body, body_type(message))
    message.target = None  # nobody asks again, and the transaction keeps the message


def session_lines(interval: int, refresher: int, knows_timer: bool) -> list[str]:
    """Session-Expires (and Require: timer) of a 2xx (RFC 4028 §9)."""
    if refresher == session_timer.NONE:
        return []
    who = "uas" if refresher == session_timer.LOCAL else "uac"
    lines = [f"Session-Expires: {interval};refresher={who}"]
    if knows_timer and who == "uac":
        lines.append("Require: timer")
    return lines


# -- provisional responses ------------------------------------------------------------------------------------------


def _tag_for(usage: Usage, turn: Turn, incoming: IncomingInvite, primary: str, fork: str, body: bytes) -> str:
    """The To tag under which the caller sees what branch ``fork`` of the callee says."""
    tag = incoming.fork_tags.get(fork, primary)
    if body:
        shown = incoming.shown.get(tag)
        if shown is not None and shown != body:
            tag = usage.new_id(turn)
            turn.commands.append(UseTag(usage.leg, tag))
        incoming.fork_tags[fork] = tag
        incoming.shown[tag] = body
    return tag


def progress(
    usage: Usage,
    turn: Turn,
    status: int,
    reason: str,
    fork: str,
    lines: list[str],
    body: bytes,
    content_type: str,
) -> None:
    """Send a provisional response above 100, reliably where the caller asks for it (RFC 3262 §3)."""
    incoming = usage.incoming
    dialog = usage.dialog
    if usage.state != INCOMING or incoming is None or dialog is None or incoming.held_accept:
        return
    if len(incoming.shown) >= MAX_FORKS or len(incoming.reliable) >= MAX_RELIABLE:
        return
    tag = _tag_for(usage, turn, incoming, dialog.local_tag, fork, body)
    head = _head(incoming, status, reason, tag)
    head.append(usage.contact(turn.env, usage.flow))
    head.append(f"Allow: {turn.env.allow}")
    head.extend(lines)
    if incoming.requires_100rel or (body and incoming.knows_100rel):
        rseq = incoming.rseqs.get(tag, 0) + 1
        incoming.rseqs[tag] = rseq
        head.append("Require: 100rel")
        head.append(f"RSeq: {rseq}")
        data = assemble(head, body, content_type)
        incoming.reliable.append(Reliable(tag, rseq, status, bool(body), data))
        usage.deadlines.pop("provisional", None)
        if len(incoming.reliable) == 1:
            _send_reliable(usage, turn, incoming)
    else:
        data = assemble(head, body, content_type)
        turn.commands.append(SendResponse(usage.leg, incoming.key, status, data))
        if not incoming.reliable:
            usage.deadlines["provisional"] = turn.now + PROVISIONAL_REPEAT_S


def trying(usage: Usage, turn: Turn) -> None:
    """100 by ourselves, where the transaction that would have sent it is gone (§17.2.1)."""
    incoming = usage.incoming
    if usage.state == INCOMING and incoming is not None:
        data = assemble(["SIP/2.0 100 Trying", *incoming.head], b"", "")
        turn.commands.append(SendResponse(usage.leg, incoming.key, 100, data))


def repeat_provisional(usage: Usage, turn: Turn) -> None:
    """Keep the proxies on the way alive while it rings long."""
    incoming, dialog = usage.incoming, usage.dialog
    usage.deadlines.pop("provisional", None)
    if usage.state != INCOMING or incoming is None or dialog is None or incoming.reliable:
        return
    head = _head(incoming, 180, "Ringing", dialog.local_tag)
    turn.commands.append(SendResponse(usage.leg, incoming.key, 180, assemble(head, b"", "")))
    usage.deadlines["provisional"] = turn.now + PROVISIONAL_REPEAT_S


def _head(incoming: IncomingInvite, status: int, reason: str, tag: str) -> list[str]:
    head = [f"SIP/2.0 {status} {reason}"]
    for line in incoming.head:
        head.append(tagged(line, tag) if line.startswith("To: ") else line)
    return head


def _send_reliable(usage: Usage, turn: Turn, incoming: IncomingInvite) -> None:
    first = incoming.reliable[0]
    turn.commands.append(SendResponse(usage.leg, incoming.key, first.status, first.data))
    incoming.reliable_interval = turn.env.t1
    usage.deadlines["reliable"] = turn.now + turn.env.t1
    usage.deadlines["reliable_end"] = turn.now + 64 * turn.env.t1


def repeat_reliable(usage: Usage, turn: Turn) -> None:
    """Retransmit the reliable provisional response that waits for its PRACK (RFC 3262 §3: T1, doubling)."""
    incoming = usage.incoming
    if incoming is None or not incoming.reliable:
        usage.deadlines.pop("reliable", None)
        return
    first = incoming.reliable[0]
    turn.commands.append(SendResponse(usage.leg, incoming.key, first.status, first.data))
    incoming.reliable_interval *= 2
    usage.deadlines["reliable"] = turn.now + incoming.reliable_interval


def on_prack(usage: Usage, message: Message) -> bool:
    """True when the PRACK acknowledges the response on the wire; ``after_prack`` then goes on."""
    incoming = usage.incoming
    if incoming is None or not incoming.reliable:
        return False
    first = incoming.reliable[0]
    parts = (message.get("rack") or "").split()
    if parts != [str(first.rseq), str(incoming.cseq), "INVITE"] or message.to_tag != first.tag:
        return False
    incoming.reliable.pop(0)
    if first.described and first.tag not in incoming.acknowledged:
        incoming.acknowledged.append(first.tag)
    usage.deadlines.pop("reliable", None)
    usage.deadlines.pop("reliable_end", None)
    return True


def after_prack(usage: Usage, turn: Turn) -> None:
    """Send what waited for the PRACK: the next reliable response, or the 2xx."""
    incoming = usage.incoming
    if usage.state != INCOMING or incoming is None:
        return
    if incoming.reliable:
        _send_reliable(usage, turn, incoming)
    elif incoming.held_accept:
        held, incoming.held_accept = incoming.held_accept, b""
        _send_accept(usage, turn, incoming, held)
    else:
        usage.deadlines["provisional"] = turn.now + PROVISIONAL_REPEAT_S


# -- the answer -----------------------------------------------------------------------------------------------------


def accept(usage: Usage, turn: Turn, fork: str, lines: list[str], body: bytes, content_type: str) -> None:
    """Send the 2xx, or hold it until the PRACK of a reliable response that is on the wire (RFC 3262 §3)."""
    incoming = usage.incoming
    dialog = usage.dialog
    if usage.state != INCOMING or incoming is None or dialog is None:
        return
    tag = _tag_for(usage, turn, incoming, dialog.local_tag, fork, body)
    if tag != dialog.local_tag:
        dialog.local_header = dialog.local_header.replace(f";tag={dialog.local_tag}", f";tag={tag}")
        dialog.local_tag = tag
    head = _head(incoming, 200, "OK", tag)
    head.append(usage.contact(turn.env, usage.flow))
    head.append(f"Allow: {turn.env.allow}")
    head.append(f"Supported: {turn.env.supported}")
    head.extend(session_lines(incoming.interval, incoming.refresher, incoming.knows_timer))
    head.append(f"Server: {turn.env.server}")
    head.extend(lines)
    data = assemble(head, body, content_type)
    usage.set_local(body, content_type)
    usage.deadlines.pop("provisional", None)
    del incoming.reliable[1:]  # never sent, and of no use any more
    if incoming.reliable:
        incoming.held_accept = data
    else:
        _send_accept(usage, turn, incoming, data)


def _send_accept(usage: Usage, turn: Turn, incoming: IncomingInvite, data: bytes) -> None:
    usage.state = ACCEPTED
    dialog = usage.dialog
    if dialog is not None:
        dialog.remote_cseq = incoming.cseqs.get(dialog.local_tag, incoming.cseq)
    start_final(usage, turn, incoming.key, 200, data, incoming.cseq)
    start_session_timer(usage, turn, (incoming.interval, incoming.refresher))


def start_final(usage: Usage, turn: Turn, key: str, status: int, data: bytes, cseq: int) -> None:
    """Send a 2xx to INVITE now and until its ACK: T1 doubling to T2, for 64·T1 (RFC 3261 §13.3.1.4)."""
    usage.final_key = key
    usage.final_data = data
    usage.final_status = status
    usage.final_cseq = cseq
    usage.final_interval = turn.env.t1
    usage.deadlines["final"] = turn.now + usage.final_interval
    usage.deadlines["final_end"] = turn.now + 64 * turn.env.t1
    turn.commands.append(SendResponse(usage.leg, key, status, data))


def resend_final(usage: Usage, turn: Turn) -> None:
    """After a takeover: the last final response goes out again, and has 64·T1 for its ACK from now on.

    Whoever was out of reach while nobody had the call gets a whole chance: the time that passed meanwhile is not its fault.
    A refusal gets it once, or calls that are over would stay for as long as nodes come and go.
    """
    if usage.final_data:
        status, data = usage.final_status, usage.final_data
        until = usage.deadlines.get("final_end") if usage.state == CLOSED else None
        start_final(usage, turn, usage.final_key, status, data, usage.final_cseq)
        if until is not None:
            usage.deadlines["final_end"] = until


def repeat_final(usage: Usage, turn: Turn) -> None:
    turn.commands.append(SendResponse(usage.leg, usage.final_key, usage.final_status, usage.final_data))
    usage.final_interval = min(usage.final_interval * 2, turn.env.t2)
    usage.deadlines["final"] = turn.now + usage.final_interval


def forget_final(usage: Usage) -> None:
    """The ACK came, or is not waited for any more."""
    usage.final_data = b""
    usage.final_key = ""
    usage.deadlines.pop("final", None)
    usage.deadlines.pop("final_end", None)


def on_ack(usage: Usage, turn: Turn, message: Message) -> None:
    """The ACK of a final response, first or repeated."""
    if not usage.final_data or message.cseq != usage.final_cseq:
        return
    initial = usage.state == ACCEPTED
    forget_final(usage)
    if usage.state == CLOSED:
        return
    if initial:
        usage.state = ESTABLISHED
        usage.incoming = None
    if usage.bye_wanted is not None:
        send_bye(usage, turn, usage.bye_wanted)
        return
    kind = body_type(message)
    usage.set_remote(message.body, kind)
    turn.events.append(Acked(usage.leg, message.body, kind, initial))


def on_no_ack(usage: Usage, turn: Turn) -> None:
    """No ACK for 64·T1: the session is released with BYE (RFC 3261 §13.3.1.4)."""
    forget_final(usage)
    usage.incoming = None
    if usage.state in (CLOSED, CLOSING):
        return
    send_bye(usage, turn, usage.bye_wanted or ['Reason: SIP;cause=408;text="No ACK"'])
    turn.events.append(Ended(usage.leg, "no_ack", None))


# -- refusal --------------------------------------------------------------------------------------------------------


def refuse(
    usage: Usage,
    turn: Turn,
    status: int,
    reason: str,
    lines: list[str],
    repeat: bool = False,
    body: bytes = b"",
    content_type: str = "",
) -> None:
    """Final non-2xx response to the initial INVITE.

    To repeat it until its ACK is the transaction's business; ``repeat`` does it here, when the transaction is gone with the
    node that had it.
    """
    incoming = usage.incoming
    dialog = usage.dialog
    if usage.state != INCOMING or incoming is None or dialog is None:
        return
    head = _head(incoming, status, reason, dialog.local_tag)
    head.extend(lines)
    head.append(f"Server: {turn.env.server}")
    data = assemble(head, body, content_type)
    usage.state = CLOSED
    usage.incoming = None
    usage.deadlines = {}
    start_final(usage, turn, incoming.key, status, data, incoming.cseq)
    if not repeat:
        usage.deadlines = {}


def on_cancel(usage: Usage, turn: Turn, message: Message) -> None:
    """CANCEL of an open INVITE or re-INVITE (the endpoint answered the CANCEL itself); after a 2xx it has no effect (§9.2)."""
    if usage.state == INCOMING:
        turn.events.append(CallerCancelled(usage.leg, message.get("reason") or ""))
        return
    for key, asked in usage.asked.items():
        if asked.method == "INVITE" and asked.cseq == message.cseq:
            turn.events.append(AskCancelled(usage.leg, key))
