"""One SIP message, read from the bytes of a datagram or of one framed piece of a stream (RFC 3261 §7, §18.3).

`parse` makes one pass over the head. At once it reads what routing and matching need: start line, top Via,
From, To, Call-ID, CSeq, Max-Forwards, Content-Length, Content-Type. Everything else stays text until asked
for (`fields`, `uri`, `digest`). Header order, raw spelling, unknown headers and the body are kept byte for
byte.

Left to other layers: 405, 416, 420, 483 and the like (`screening`), and syntax of headers that only the
user of the message reads, such as Contact, Route, Authorization, Date.
"""

from __future__ import annotations

import re
from typing import Final

from callcontrol.sip import grammar, unusual, usual
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import split_list
from callcontrol.sip.headers import NAMES, SINGLE, SPELLING, canonical
from callcontrol.sip.uri import Uri, parse_uri

Header = tuple[str, str, str]
"""(canonical name, value unfolded and stripped, raw line without its final CRLF; folds keep their CRLF)."""


class Limits:
    """Bounds on what is read. Each is far above honest traffic and below what would hurt.

    ``max_message`` bytes: a UDP datagram can hold no more (Kamailio's receive buffer is 65535 too; PJSIP's
    default is 4000). ``max_headers`` lines: Apache and Python's http.client stop at 100; SIP adds Via and
    Record-Route per hop. ``max_line`` characters: 16 kB, h11's bound for a whole head; SHAKEN Identity
    headers and the longest line of RFC 4475 §3.1.1.7 fit well. ``max_vias``: the recommended start of
    Max-Forwards, so no path is longer (RFC 3261 §20.22).
    """

    __slots__ = ("max_headers", "max_line", "max_message", "max_vias")

    def __init__(
        self, max_message: int = 65535, max_headers: int = 256, max_line: int = 16384, max_vias: int = 70
    ) -> None:
        self.max_message: int = max_message
        self.max_headers: int = max_headers
        self.max_line: int = max_line
        self.max_vias: int = max_vias


DEFAULT: Final = Limits()


class Message:
    """A request or a response. Made by `parse`; read it, do not change it (but see `set_top_via`).

    ``method`` of a response is its CSeq method; ``uri`` is the Request-URI as written; ``status`` is 0 in
    requests. ``branch``, ``sent_by`` (lower case, as written), ``via_transport`` (upper case) and
    ``top_via`` (the value's text) are those of the topmost Via. ``max_forwards`` is -1 when absent,
    ``content_type`` lower case without parameters. ``data`` is what was received, ``body`` cut to
    Content-Length.
    """

    __slots__ = (
        "_first",
        "body",
        "branch",
        "call_id",
        "contact",
        "content_type",
        "cseq",
        "cseq_method",
        "data",
        "from_tag",
        "from_value",
        "headers",
        "is_request",
        "max_forwards",
        "method",
        "reason",
        "sent_by",
        "status",
        "target",
        "to_tag",
        "to_value",
        "top_via",
        "uri",
        "via_transport",
    )

    def __init__(self, data: bytes) -> None:
        self.data: bytes = data
        self.body: bytes = b""
        self.is_request: bool = True
        self.method: str = ""
        self.uri: str = ""
        self.target: Uri | None = None
        """The Request-URI, taken apart; None: it cannot be."""
        self.status: int = 0
        self.reason: str = ""
        self.headers: list[Header] = []
        self.top_via: str = ""
        self.branch: str = ""
        self.sent_by: str = ""
        self.via_transport: str = ""
        self.call_id: str = ""
        self.cseq: int = 0
        self.cseq_method: str = ""
        self.from_value: str = ""
        self.from_tag: str = ""
        self.to_value: str = ""
        self.to_tag: str = ""
        self.max_forwards: int = -1
        self.content_type: str = ""
        self.contact: str | None = None
        """What ``dialog.contact_uri`` found; None: nobody has asked yet."""
        self._first: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        """The value of the first header of this canonical name, None when there is none."""
        return self._first.get(name)

    def has(self, name: str) -> bool:
        """True when a header of this canonical name is there, even an empty one."""
        return name in self._first

    def all(self, name: str) -> list[str]:
        """The values of all headers of this canonical name, one per header line."""
        if name not in self._first:
            return []
        return [header[1] for header in self.headers if header[0] == name]

    def items(self, name: str) -> list[str]:
        """The members of a list header, over all its lines (RFC 3261 §7.3.1)."""
        if name not in self._first:
            return []
        out: list[str] = []
        for header in self.headers:
            if header[0] == name:
                out.extend(split_list(header[1]))
        return out

    def tokens(self, name: str) -> list[str]:
        """The members of a list header in lower case: option tags are compared so (RFC 3261 §7.3.1)."""
        return [member.lower() for member in self.items(name)]

    def set_top_via(self, value: str) -> None:
        """Put another value in place of the topmost Via (``received``, ``rport``: RFC 3261 §18.2.1, RFC
        3581 §4).

        The Via's further values on the same line, and all other lines, stay as they are. ``data`` does not
        change.
        """
        for index, header in enumerate(self.headers):
            if header[0] == "via":
                rest = split_list(header[1])[1:]
                text = ", ".join([value, *rest])
                name = header[2].partition(":")[0]
                self.headers[index] = ("via", text, f"{name}: {text}")
                self._first["via"] = text
                self.top_via = value
                return

    def __repr__(self) -> str:
        start = f"{self.method} {self.uri}" if self.is_request else f"{self.status} {self.reason}"
        return f"<Message {start!r} {self.call_id!r} {self.cseq} {self.cseq_method}>"


def is_keep_alive(data: bytes) -> bool:
    """True for what only keeps a path open: nothing but CR, LF, NUL or blanks (RFC 5626 §3.5.1)."""
    return not data.strip(b"\r\n\0 \t")


_STATUS_LINE: Final = re.compile(r"SIP/2\.0 ([1-6][0-9][0-9])(?: (.*+))?", re.IGNORECASE | re.DOTALL)
_STATUSES: Final = frozenset([str(status) for status in range(100, 700)])
_WRONG_VERSION: Final = "SIP version not supported"
_METHODS: Final = frozenset(
    (
        *("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "PRACK"),
        *("UPDATE", "INFO", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "REFER"),
    )
)


def parse(data: bytes, limits: Limits = DEFAULT) -> Message:
    """Read one message: a datagram, a WebSocket frame, or what `framer` cut from a stream.

    Raises RemoteProtocolError with the status to answer; its ``message`` is set where an answer can be built. A
    body longer than Content-Length is cut, a shorter one is an error (RFC 3261 §18.3); empty lines in front are
    skipped (§7.5).
    """
    if len(data) > limits.max_message:
        raise RemoteProtocolError(513, "Message Too Large")
    start = 0
    end = data.find(b"\r\n\r\n")
    if end == 0 or data[:2] == b"\r\n":
        start = len(data) - len(data.lstrip(b"\r\n"))
        end = data.find(b"\r\n\r\n", start)
    defect = ""
    if end < 0:
        defect = "header section without end"
        end = len(data)
    head = data[start:end].decode("utf-8", "surrogateescape")
    lines = head.split("\r\n")
    flat = "".join(lines)
    # one letter is looked for at the speed of memchr; counting them goes letter by letter
    if "\n" in flat or "\r" in flat:
        raise RemoteProtocolError(400, "CR or LF alone in the header section")
    if len(lines) > limits.max_headers + 1:
        raise RemoteProtocolError(400, "too many header lines")
    if len(head) > limits.max_line:
        for line in lines:
            if len(line) > limits.max_line:
                raise RemoteProtocolError(400, "header line too long")
    if "\0" in head and unusual.has_bare_nul(head):
        raise RemoteProtocolError(400, "NUL in the header section")
    message = Message(data)
    start_defect = _read_start_line(message, lines[0])
    found = _read_headers(message, lines, limits)
    late = _read_eagerly(message, data, end + 4, limits)
    defect = start_defect or defect or found or late
    if defect:
        status = 505 if start_defect == _WRONG_VERSION else 400
        raise RemoteProtocolError(status, defect, message if _is_answerable(message) else None)
    return message


def _read_start_line(message: Message, line: str) -> str:
    """Fill in the start line; the defect found, or "" (RFC 3261 §7.1, §7.2)."""
    if line.startswith("SIP/2.0 ") and line[11:12] == " " and line[8:11] in _STATUSES:
        message.is_request = False
        message.status = int(line[8:11])
        message.reason = line[12:]
        return ""
    if line[:4].upper() == "SIP/":
        message.is_request = False
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            return "malformed status line"
        message.status = int(match.group(1))
        message.reason = match.group(2) or ""
        return ""
    parts = line.split(" ")
    if len(parts) != 3:
        # Exactly one SP between the three, none at the end (RFC 3261 §7.1, RFC 4475 §3.1.2.8-10)
        message.method = parts[0]
        return "malformed request line"
    message.method, message.uri, version = parts
    if message.method not in _METHODS and not grammar.is_token(message.method):
        return "malformed method"
    if version != "SIP/2.0" and version.upper() != "SIP/2.0":
        return "malformed request line" if grammar.VERSION.fullmatch(version) is None else _WRONG_VERSION
    try:
        uri = parse_uri(message.uri)
    except RemoteProtocolError as error:
        return f"Request-URI: {error.reason}"
    message.target = uri
    # An unknown scheme is no defect of the message (416, RFC 3261 §8.2.2.1); headers in a Request-URI are
    # (§19.1.1, table 1).
    return "Request-URI with headers" if uri.headers else ""


def _read_headers(message: Message, lines: list[str], limits: Limits) -> str:
    """Fill in ``headers`` from the lines behind the first; the first defect found, or ""."""
    headers: list[Header] = []
    first: dict[str, str] = {}
    defect = ""
    vias = 0
    for line in lines[1:]:
        colon = line.find(": ")
        name = NAMES.get(line[:colon]) if colon > 0 else None
        if name is not None:
            value = line[colon + 2 :]
            if not value or ord(value[0]) < 33 or ord(value[-1]) < 33:
                value = value.strip(" \t")
        else:
            colon = line.find(":")
            spelled = line[:colon].rstrip(" \t") if colon >= 0 else ""
            if line[:1] in (" ", "\t") and headers:
                return _read_folded(message, lines, limits)
            if colon < 0 or not grammar.is_token(spelled):
                defect = defect or "malformed header line"
                continue
            name = canonical(spelled)
            value = line[colon + 1 :].strip(" \t")
        headers.append((name, value, line))
        if name in first:
            if name in SINGLE:
                defect = defect or f"{SPELLING[name]} given more than once"
            elif name == "via":
                vias = (vias or 1 + first["via"].count(",")) + 1 + value.count(",")
                if vias > limits.max_vias:
                    defect = defect or "too many Via values"
        else:
            first[name] = value
    message.headers = headers
    message._first = first
    return defect


def _read_folded(message: Message, lines: list[str], limits: Limits) -> str:
    """Read headers of which some are folded: each keeps its raw lines, folds and all."""
    logical, raw = unusual.unfold(lines)
    defect = _read_headers(message, logical, limits)
    # A malformed line is left out of the headers, so raw lines and headers match only in a sound message.
    if not defect:
        message.headers = [(name, value, raw[at + 1]) for at, (name, value, _) in enumerate(message.headers)]
    return defect


def _read_eagerly(message: Message, data: bytes, body_at: int, limits: Limits) -> str:
    """Fill in what routing and matching need; the first defect found, or "".

    All fields are tried even behind a defect, because an answer needs as much as can be had.
    """
    first = message._first
    via = first.get("via")
    from_value = first.get("from")
    to_value = first.get("to")
    call_id = first.get("call-id")
    cseq = first.get("cseq")
    if via is None or from_value is None or to_value is None or call_id is None or cseq is None:
        defect = "mandatory header missing"
        via = via or ""
        from_value = from_value or ""
        to_value = to_value or ""
        call_id = call_id or ""
        cseq = cseq or ""
    else:
        defect = ""
    if not usual.read_via(message, via):
        match = grammar.PLAIN_VIA.fullmatch(via)
        if match is not None:
            message.top_via = via
            transport, sent_by, message.branch = match.groups()
            message.via_transport = transport.upper()
            message.sent_by = sent_by.lower()
        else:
            found = unusual.read_via(message, via, limits.max_vias)
            defect = defect or found
    message.from_value = from_value
    tag = usual.tag_of(from_value)
    if tag is None:
        tag, found = _tag_of(from_value, "From")
        defect = defect or found
    message.from_tag = tag
    message.to_value = to_value
    tag = usual.tag_of(to_value)
    if tag is None:
        tag, found = _tag_of(to_value, "To")
        defect = defect or found
    message.to_tag = tag
    message.call_id = call_id
    if not call_id or " " in call_id or "\t" in call_id:
        defect = defect or "malformed Call-ID"
    digits, _, method = cseq.partition(" ")
    if not message.is_request and method in _METHODS:
        message.method = method
    if len(digits) < 10 and digits.isdigit() and digits.isascii() and method == message.method:
        message.cseq = int(digits)
        message.cseq_method = method
    else:
        defect = defect or unusual.read_cseq(message, cseq)
    forwards = first.get("max-forwards")
    if forwards is not None:
        # Max-Forwards is 0 to 255 (RFC 3261 §20.22, RFC 4475 §3.1.2.4)
        if len(forwards) < 10 and forwards.isdigit() and forwards.isascii() and int(forwards) < 256:
            message.max_forwards = int(forwards)
        else:
            defect = defect or "malformed Max-Forwards"
    content_type = first.get("content-type")
    if content_type is not None:
        message.content_type = content_type.partition(";")[0].rstrip(" \t").lower()
    length = first.get("content-length")
    if length is None:
        message.body = data[body_at:]
    elif len(length) < 10 and length.isdigit() and length.isascii():
        body_end = body_at + int(length)
        if body_end > len(data):
            return defect or "body shorter than Content-Length"
        message.body = data[body_at:body_end]
    else:
        return defect or "malformed Content-Length"
    return defect


def _tag_of(value: str, name: str) -> tuple[str, str]:
    """The tag of a From or To in any spelling, "" for none; and the defect found, or ""."""
    match = grammar.PLAIN_ADDRESS.fullmatch(value)
    if match is not None:
        return match.group(1) or "", ""
    return unusual.read_address(value, name)


def _is_answerable(message: Message) -> bool:
    """True when a response can be built and sent: it needs these five (RFC 3261 §8.2.6.2, §18.2.2)."""
    first = message._first
    if not message.sent_by or not first.get("call-id"):
        return False
    return "from" in first and "to" in first and "cseq" in first
