"""Dialogs (RFC 3261 §12): identity, CSeq, route set and remote target, and nothing else.

A dialog knows no sockets, no calls and no INVITE: what only a session has (2xx retransmission, offers, timers) is in
``usage``.  All fields are plain values, so a dialog can be stored and loaded on another node.

What a peer writes into Contact and Record-Route is read once, when it comes in.  What cannot be used is left out there, so
that nothing later has to deal with it.
"""

from __future__ import annotations

import re
from typing import Final

from .errors import LocalProtocolError, RemoteProtocolError
from .fields import parse_name_addr, split_list
from .message import Message
from .unusual import has_bare_nul
from .uri import is_clean, parse_hostport, parse_uri

DIALOG_FIELDS: Final = (
    "call_id",
    "local_tag",
    "remote_tag",
    "local_header",
    "remote_header",
    "local_cseq",
    "remote_cseq",
    "route_set",
    "remote_target",
    "target",
)


class Dialog:
    """One dialog as seen from our side (RFC 3261 §12.1)."""

    __slots__ = DIALOG_FIELDS

    def __init__(
        self,
        call_id: str,
        local_tag: str,
        remote_tag: str,
        local_header: str,
        remote_header: str,
        local_cseq: int,
        remote_cseq: int,
        route_set: list[str],
        remote_target: str,
        target: str,
    ) -> None:
        self.call_id = call_id
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.local_header = local_header
        """Our From (or To) value with tag, as it is written in every request."""
        self.remote_header = remote_header
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq
        """Highest CSeq number seen from the peer; -1 before the first request."""
        self.route_set = route_set
        """Route header values in the order in which we write them."""
        self.remote_target = remote_target
        """Contact URI of the peer: the Request-URI of what we send."""
        self.target = target
        """Where to send: a dumped flow that is known to reach the peer, or empty to follow the route set."""

    def next_cseq(self) -> int:
        self.local_cseq += 1
        return self.local_cseq

    def accepts(self, cseq: int) -> bool:
        """RFC 3261 §12.2.2: a request in the dialog must count upwards; a lower or equal number is answered 500."""
        if cseq <= self.remote_cseq:
            return False
        self.remote_cseq = cseq
        return True

    def refresh_target(self, message: Message) -> None:
        """Take the new remote target from the Contact of a target refresh request or its 2xx (RFC 3261 §12.2)."""
        contact = contact_uri(message)
        if contact:
            self.remote_target = contact

    def next_hop(self) -> str:
        """Where the next request goes (RFC 3261 §12.2.1.1): the known flow, else the first route, else the target."""
        if self.target:
            return self.target
        if self.route_set:
            return parse_name_addr(self.route_set[0]).uri
        return self.remote_target

    def request(
        self,
        method: str,
        cseq: int,
        lines: list[str],
        body: bytes,
        content_type: str,
        max_forwards: int = 70,
    ) -> bytes:
        """A request in this dialog, without its Via.  ``lines`` are further header lines without line ends."""
        uri = self.remote_target
        routes = self.route_set
        if routes and not _is_loose(routes[0]):
            # strict router (RFC 2543): the first route becomes the Request-URI, the target goes last
            uri = parse_name_addr(routes[0]).uri
            routes = [*routes[1:], f"<{self.remote_target}>"]
        head = [f"{method} {uri} SIP/2.0"]
        head.extend([f"Route: {route}" for route in routes])
        head.append(f"Max-Forwards: {max_forwards}")
        head.append(f"From: {self.local_header}")
        head.append(f"To: {self.remote_header}")
        head.append(f"Call-ID: {self.call_id}")
        head.append(f"CSeq: {cseq} {method}")
        head.extend(lines)
        return assemble(head, body, content_type)


def _is_loose(route: str) -> bool:
    return ";lr" in route or "lr" in parse_uri(parse_name_addr(route).uri).params


# The usual spelling of a Contact: one SIP URI in brackets.  What does not fit is taken apart slowly.
_PLAIN_CONTACT: Final = re.compile(
    r"<(sips?:(?:[A-Za-z0-9\-_.!~*'()&=+$,;/%]++@)?[A-Za-z0-9\-.]++(?::(?:[1-5][0-9]{4}|[0-9]{1,4}))?"
    r"(?:;[A-Za-z0-9\-._]++(?:=[A-Za-z0-9\-.!~*'()\[\]/:&+$%]++)?)*)>(?:;[^,\"<]*+)?"
)


def _is_plain(uri: str) -> bool:
    """True for ``sip:user@host:port`` without anything that would need a second look."""
    if not is_clean(uri) or ";" in uri or "?" in uri or "%" in uri or "," in uri:
        return False
    at = uri.find("@")
    if at == 4 or ":" in uri[4:at]:
        return False
    try:
        parse_hostport(uri[at + 1 :] if at > 0 else uri[4:])
    except RemoteProtocolError:
        return False
    return True


def contact_uri(message: Message) -> str:
    """URI of the (first) Contact as it may stand in a request line; empty when there is none that can be used: it must
    be sip or sips (RFC 3261 §8.1.1.8), and its header part stays away (§19.1.5).  Read once, and asked several times."""
    if message.contact is None:
        message.contact = _read_contact(message)
    return message.contact


def _read_contact(message: Message) -> str:
    value = message.get("contact")
    if value is None:
        return ""
    if value.startswith("<sip:") and value.endswith(">"):
        uri = value[1:-1]
        if _is_plain(uri):
            return uri
    match = _PLAIN_CONTACT.fullmatch(value)
    if match is not None:
        return match.group(1)
    try:
        uri = parse_name_addr(split_list(value)[0]).uri
        parsed = parse_uri(uri)
    except (RemoteProtocolError, IndexError):
        return ""
    if not parsed.is_sip:
        return ""
    return uri[: -len(parsed.headers) - 1] if parsed.headers else uri


def route_set(message: Message) -> list[str]:
    """Record-Route values in wire order; one that cannot be read is left out."""
    if not message.has("record-route"):
        return []
    found: list[str] = []
    for value in message.items("record-route"):
        try:
            if parse_uri(parse_name_addr(value).uri).is_sip:
                found.append(value)
        except RemoteProtocolError:
            continue
    return found


def tagged(value: str, tag: str) -> str:
    """A From or To value with our tag added."""
    return f"{value};tag={tag}"


def assemble(lines: list[str], body: bytes, content_type: str) -> bytes:
    """Write a message.  A line end inside a line would be header injection: that is our bug, so it raises.

    NUL may stand in a quoted-pair, as it may in what we copy from a peer (RFC 3261 §25.1).
    """
    if body and content_type:
        lines.append(f"Content-Type: {content_type}")
    lines.append(f"Content-Length: {len(body)}")
    flat = "".join(lines)
    if (
        "\n" in flat
        or "\r" in flat
        or ("\0" in flat and (has_bare_nul("\n".join(lines)) or "\0" in lines[0]))
    ):
        raise LocalProtocolError("a header line to be written contains CR, LF or NUL")
    text = "\r\n".join(lines)
    return (text + "\r\n\r\n").encode("utf-8", "surrogateescape") + body


def response_head(request: Message, with_routes: bool) -> list[str]:
    """The lines that every response to ``request`` repeats (RFC 3261 §8.2.6.2); To is the last but two.

    ``with_routes`` copies Record-Route, as a response that forms a dialog must (§12.1.1).
    """
    lines: list[str] = []
    timestamp = ""
    for name, _value, raw in request.headers:
        if name == "via" or (with_routes and name == "record-route"):
            lines.append(raw if "\n" not in raw else _unfold(raw))
        elif name == "timestamp":
            timestamp = raw if "\n" not in raw else _unfold(raw)
    lines.append(f"From: {request.from_value}")
    lines.append(f"To: {request.to_value}")
    lines.append(f"Call-ID: {request.call_id}")
    lines.append(f"CSeq: {request.cseq} {request.method}")
    if timestamp:
        lines.append(timestamp)
    return lines


def _unfold(raw: str) -> str:
    return " ".join(part.strip() for part in raw.splitlines())


def uas_dialog(request: Message, local_tag: str, target: str) -> Dialog:
    """The dialog that a UAS forms with its response (RFC 3261 §12.1.1)."""
    return Dialog(
        request.call_id,
        local_tag,
        request.from_tag,
        tagged(request.to_value, local_tag),
        request.from_value,
        0,
        request.cseq,
        route_set(request),
        contact_uri(request),
        target,
    )


def uac_dialog(response: Message, local_header: str, local_cseq: int, target: str, uri: str) -> Dialog:
    """The dialog that a UAC forms from a response with a To tag (RFC 3261 §12.1.2): the route set is reversed.

    ``uri`` is the Request-URI of the INVITE: a peer whose response has no usable Contact is still reached by it.
    """
    return Dialog(
        response.call_id,
        response.from_tag,
        response.to_tag,
        local_header,
        response.to_value,
        local_cseq,
        -1,
        route_set(response)[::-1],
        contact_uri(response) or uri,
        target,
    )
