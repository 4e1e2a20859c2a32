"""What is settled about a request before any transaction sees it: its key, its amended Via, and where its
responses go.

RFC 3261 §17.2.3 (matching), §18.2.1 (received), §18.2.2 (sending responses), RFC 3581 (rport).
Knowingly different: ``maddr`` is not followed.  It would let any peer aim our responses at a third party, and
multicast is not supported; responses go to the source of the request.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from callcontrol.sip.fields import parse_via
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message

COOKIE: Final = "z9hg4bk"
MAX_KEY: Final = 400
"""Characters of a key kept as text; a longer one is replaced by its digest, so that strangers cannot fill
memory with keys."""

STATELESS_TAG: Final = "stateless-"
"""Start of the To tag of what is answered without a transaction: its ACK is recognised by it."""

_RPORT: Final = re.compile(r";[ \t]*rport[ \t]*(?:=[^;]*)?(?=;|$)", re.IGNORECASE)
_RECEIVED: Final = re.compile(r";[ \t]*received[ \t]*=[^;]*(?=;|$)", re.IGNORECASE)


def has_cookie(message: Message) -> bool:
    """True when the branch identifies the transaction by itself (RFC 3261 §8.1.1.7).

    A branch of nothing but the cookie (RFC 4475 §3.2.1) identifies nothing and counts as none.
    """
    branch = message.branch
    return len(branch) > 7 and branch[:7].lower() == COOKIE


def server_key(message: Message, method: str) -> str:
    """Name of the server transaction that a request belongs to, were its method ``method`` (§17.2.3).

    To be asked before the Via is amended.  Without the cookie the rules of RFC 2543 hold; the To tag cannot
    be among them for INVITE, because the ACK carries the one that we chose: ``InviteServer`` compares it.
    """
    if has_cookie(message):
        key = f"{message.branch}|{message.sent_by}|{method}"
    else:
        tag = "" if method == "INVITE" else message.to_tag
        ids = f"{message.from_tag}|{message.call_id}|{message.cseq}"
        key = f"{message.uri}|{tag}|{ids}|{message.top_via}|{method}"
    return key if len(key) <= MAX_KEY else digest(key, b"")


def digest(text: str, secret: bytes) -> str:
    return hashlib.blake2s(text.encode("utf-8", "surrogateescape"), key=secret, digest_size=16).hexdigest()


def merge_key(message: Message) -> int:
    """What copies of one request have in common that came by different ways (§8.2.2.2); never 0."""
    return hash((message.from_tag, message.call_id, message.cseq, message.method)) or 1


def stateless_tag(message: Message, secret: bytes) -> str:
    """A To tag that is the same each time the same request is answered without state (§8.2.7)."""
    return STATELESS_TAG + digest(
        f"{message.branch}|{message.call_id}|{message.from_tag}|{message.cseq}", secret
    )


def stamp(message: Message, flow: Flow) -> Flow:
    """Write received and rport into the top Via; returns the flow for the responses.  Doing it twice changes
    nothing.

    UDP: to the source port if rport was there, else to the port of sent-by.  Streams: the connection of the
    request.
    """
    via = message.top_via
    host = flow.host
    if '"' in via:
        return _stamp_quoted(message, flow)
    if "received" in via.lower():
        via = _RECEIVED.sub("", via)
    if via.endswith(";rport"):
        message.set_top_via(f"{via}={flow.port};received={host}")
        return flow
    if _RPORT.search(via) is not None:
        message.set_top_via(f"{_RPORT.sub(f';rport={flow.port}', via)};received={host}")
        return flow
    if _sent_by_host(message.sent_by) != host:
        message.set_top_via(f"{via};received={host}")
    elif via != message.top_via:
        message.set_top_via(via)
    return flow if flow.reliable else _to_sent_by(message, flow)


def _stamp_quoted(message: Message, flow: Flow) -> Flow:
    """The same through the full parser: a quoted parameter may contain anything that looks like another."""
    via = parse_via(message.top_via)
    has_rport = "rport" in via.params
    via.params.pop("received", None)
    if has_rport:
        via.params["rport"] = str(flow.port)
    if has_rport or via.host != flow.host:
        via.params["received"] = flow.host
    message.set_top_via(str(via))
    return flow if flow.reliable or has_rport else _to_sent_by(message, flow)


def _to_sent_by(message: Message, flow: Flow) -> Flow:
    port = return_port(message, flow)
    return flow if port == flow.port else Flow(flow.transport, flow.host, port, flow.listener)


def _sent_by_host(sent_by: str) -> str:
    if sent_by[:1] == "[":
        return sent_by[1 : sent_by.find("]")]
    colon = sent_by.find(":")
    return sent_by if colon < 0 else sent_by[:colon]


def return_port(message: Message, flow: Flow) -> int:
    """Port of sent-by, by default that of the transport (§18.2.2, §19.1.2)."""
    text = message.sent_by
    colon = text.rfind(":")
    if colon > text.rfind("]"):
        port = int(text[colon + 1 :])
        return port if 0 < port < 65536 else flow.port
    return 5061 if flow.secure else 5060
