"""The INVITE that we receive: provisional responses (also reliable ones), 2xx until its ACK, refusal (RFC 3261 §13.3, RFC 3262).

A B2BUA may ring several phones for one caller.  What each of them says before the answer is another early dialog for the
caller, so a session description that changes its mind is shown under another To tag, as behind a forking proxy: the caller
never sees two different answers in one dialog (RFC 6337 §3.1.1).
"""

from __future__ import annotations

from . import session_timer
from .commands import SendResponse, UseTag
from .dialog import assemble, response_head, tagged, uas_dialog
from .message import Message
from .usage import (
    ACCEPTED,
    CLOSED,
    ESTABLISHED,
    INCOMING,
    Acked,
    CallerCancelled,
    Ended,
    IncomingInvite,
    Turn,
    Usage,
)
from .usage_uac import send_bye, start_session_timer

PROVISIONAL_REPEAT_S = 60.0
"""A provisional response is repeated each minute, or proxies on the way give up (RFC 3261 §13.3.1.1)."""


def begin(usage: Usage, turn: Turn, message: Message, key: str, flow: str) -> None:
    """Take an initial INVITE; nothing is sent yet.  The dialog is formed with our primary tag."""
    supports = message.tokens("supported")
    requires = "100rel" in message.tokens("require")
    usage.incoming = IncomingInvite(key, response_head(message, True), supports, requires, bool(message.body))
    usage.state = INCOMING
    usage.flow = flow
    usage.dialog = uas_dialog(message, usage.new_id(turn), flow)
    turn.commands.append(UseTag(usage.leg, usage.dialog.local_tag))
    usage.note_peer(message)
    usage.note_remote_body(message)
    interval, refresher = session_timer.accept(message, turn.env.session_expires, session_timer.NONE)
    if turn.env.session_expires == 0:
        interval, refresher = 0, session_timer.NONE
    usage.session_interval, usage.refresher = interval, refresher
    usage.incoming.session = session_lines(interval, refresher, supports)


def session_lines(interval: int, refresher: int, supports: list[str]) -> list[str]:
    """Session-Expires (and Require: timer) of a 2xx (RFC 4028 §9)."""
    if refresher == session_timer.NONE:
        return []
    who = "uas" if refresher == session_timer.LOCAL else "uac"
    lines = [f"Session-Expires: {interval};refresher={who}"]
    if "timer" in supports and who == "uac":
        lines.append("Require: timer")
    return lines


def _tag_for(usage: Usage, turn: Turn, incoming: IncomingInvite, fork: str, body: bytes) -> str:
    """The To tag under which the caller sees what branch ``fork`` of the callee says."""
    dialog = usage.dialog
    if dialog is None:
        return ""
    primary = dialog.local_tag
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
    if usage.state != INCOMING or incoming is None or dialog is None or usage.held_accept is not None:
        return
    tag = _tag_for(usage, turn, incoming, fork, body)
    head = _head(incoming, status, reason, tag)
    head.append(f"Contact: <{turn.env.contacts.uri(usage.scope, usage.flow)}>")
    head.append(f"Allow: {turn.env.allow}")
    head.extend(lines)
    if incoming.requires_100rel or (body and "100rel" in incoming.supports):
        usage.rseq += 1
        head.append("Require: 100rel")
        head.append(f"RSeq: {usage.rseq}")
        usage.reliable.append(assemble(head, body, content_type))
        if len(usage.reliable) == 1:
            _send_reliable(usage, turn, incoming)
    else:
        turn.commands.append(
            SendResponse(usage.leg, incoming.key, status, assemble(head, body, content_type))
        )
        usage.deadlines["provisional"] = turn.now + PROVISIONAL_REPEAT_S


def repeat_provisional(usage: Usage, turn: Turn) -> None:
    """Keep the proxies on the way alive while it rings long."""
    incoming, dialog = usage.incoming, usage.dialog
    if usage.state != INCOMING or incoming is None or dialog is None or usage.reliable:
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
    turn.commands.append(SendResponse(usage.leg, incoming.key, 180, usage.reliable[0]))
    usage.reliable_interval = turn.env.t1
    usage.deadlines["reliable"] = turn.now + usage.reliable_interval
    usage.deadlines["reliable_end"] = turn.now + 64 * turn.env.t1


def repeat_reliable(usage: Usage, turn: Turn) -> None:
    """Retransmit the reliable provisional response that waits for its PRACK (RFC 3262 §3: T1, doubling)."""
    incoming = usage.incoming
    if not usage.reliable or incoming is None:
        usage.deadlines.pop("reliable", None)
        return
    turn.commands.append(SendResponse(usage.leg, incoming.key, 180, usage.reliable[0]))
    usage.reliable_interval *= 2
    usage.deadlines["reliable"] = turn.now + usage.reliable_interval


def on_prack(usage: Usage, turn: Turn, message: Message) -> bool:
    """True when the PRACK acknowledges the response on the wire; the next one follows."""
    incoming = usage.incoming
    if not usage.reliable or incoming is None:
        return False
    parts = (message.get("rack") or "").split()
    expected = usage.rseq - len(usage.reliable) + 1
    if len(parts) != 3 or parts[0] != str(expected) or parts[2] != "INVITE":
        return False
    usage.reliable.pop(0)
    usage.deadlines.pop("reliable", None)
    usage.deadlines.pop("reliable_end", None)
    if usage.reliable:
        _send_reliable(usage, turn, incoming)
    return True


def accept(usage: Usage, turn: Turn, fork: str, lines: list[str], body: bytes, content_type: str) -> None:
    """Send the 2xx, or hold it until the PRACK of a description that is still under way (RFC 3262 §3)."""
    incoming = usage.incoming
    dialog = usage.dialog
    if usage.state != INCOMING or incoming is None or dialog is None:
        return
    tag = _tag_for(usage, turn, incoming, fork, body)
    if tag != dialog.local_tag:
        dialog.local_header = dialog.local_header.replace(f";tag={dialog.local_tag}", f";tag={tag}")
        dialog.local_tag = tag
    head = _head(incoming, 200, "OK", tag)
    head.append(f"Contact: <{turn.env.contacts.uri(usage.scope, usage.flow)}>")
    head.append(f"Allow: {turn.env.allow}")
    head.append(f"Supported: {turn.env.supported}")
    head.extend(incoming.session)
    head.append(f"Server: {turn.env.server}")
    head.extend(lines)
    data = assemble(head, body, content_type)
    usage.local_body = body
    usage.local_type = content_type
    usage.deadlines.pop("provisional", None)
    if usage.reliable:
        usage.held_accept = [data]
    else:
        _send_final(usage, turn, incoming.key, data)


def _send_final(usage: Usage, turn: Turn, key: str, data: bytes) -> None:
    usage.state = ACCEPTED
    start_final(usage, turn, key, data)
    start_session_timer(usage, turn, (usage.session_interval, usage.refresher))


def start_final(usage: Usage, turn: Turn, key: str, data: bytes) -> None:
    """Send a 2xx to INVITE now and until its ACK: T1 doubling to T2, for 64·T1 (RFC 3261 §13.3.1.4)."""
    usage.final_key = key
    usage.final_data = data
    usage.final_interval = turn.env.t1
    usage.deadlines["final"] = turn.now + usage.final_interval
    usage.deadlines["final_end"] = turn.now + 64 * turn.env.t1
    turn.commands.append(SendResponse(usage.leg, key, 200, data))


def release_held_accept(usage: Usage, turn: Turn) -> None:
    """The last PRACK came: send the 2xx that waited for it."""
    held, incoming = usage.held_accept, usage.incoming
    if held is not None and incoming is not None and not usage.reliable:
        usage.held_accept = None
        _send_final(usage, turn, incoming.key, held[0])


def repeat_final(usage: Usage, turn: Turn) -> None:
    turn.commands.append(SendResponse(usage.leg, usage.final_key, 200, usage.final_data))
    usage.final_interval = min(usage.final_interval * 2, turn.env.t2)
    usage.deadlines["final"] = turn.now + usage.final_interval


def on_ack(usage: Usage, turn: Turn, message: Message) -> None:
    """The ACK of a 2xx, first or repeated."""
    if not usage.final_data:
        return
    dialog = usage.dialog
    initial = usage.state == ACCEPTED
    usage.final_data = b""
    usage.final_key = ""
    usage.deadlines.pop("final", None)
    usage.deadlines.pop("final_end", None)
    if initial and usage.incoming is not None:
        usage.state = ESTABLISHED
        usage.incoming = None
    if usage.bye_wanted is not None and dialog is not None:
        lines, usage.bye_wanted = usage.bye_wanted, None
        send_bye(usage, turn, lines)
        return
    usage.note_remote_body(message)
    turn.events.append(Acked(usage.leg, message.body, message.get("content-type") or "", initial))


def on_no_ack(usage: Usage, turn: Turn) -> None:
    """No ACK for 64·T1: the session is released with BYE (RFC 3261 §13.3.1.4)."""
    usage.deadlines.pop("final", None)
    usage.deadlines.pop("final_end", None)
    usage.final_data = b""
    usage.incoming = None
    wanted = usage.bye_wanted
    usage.bye_wanted = None
    send_bye(usage, turn, wanted or ['Reason: SIP;cause=408;text="No ACK"'])
    turn.events.append(Ended(usage.leg, "no_ack", None))


def refuse(usage: Usage, turn: Turn, status: int, reason: str, lines: list[str]) -> None:
    """Final non-2xx response to the initial INVITE; its ACK is the transaction's business."""
    incoming = usage.incoming
    dialog = usage.dialog
    if usage.state != INCOMING or incoming is None or dialog is None:
        return
    head = _head(incoming, status, reason, dialog.local_tag)
    head.extend(lines)
    head.append(f"Server: {turn.env.server}")
    turn.commands.append(SendResponse(usage.leg, incoming.key, status, assemble(head, b"", "")))
    usage.state = CLOSED
    usage.incoming = None
    usage.reliable = []
    usage.held_accept = None
    usage.deadlines = {}


def on_cancel(usage: Usage, turn: Turn, message: Message) -> None:
    """CANCEL of the open INVITE (the endpoint answered the CANCEL itself); after a 2xx it has no effect (§9.2)."""
    if usage.state == INCOMING:
        turn.events.append(CallerCancelled(usage.leg, message.get("reason") or ""))
