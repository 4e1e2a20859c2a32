"""SIP messages as the scripted endpoints need them: text in, text out, no opinion about right and wrong."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

_COMPACT = {"i": "call-id", "f": "from", "t": "to", "v": "via", "m": "contact", "c": "content-type"}
_COMPACT |= {
    "l": "content-length",
    "k": "supported",
    "r": "refer-to",
    "b": "referred-by",
    "x": "session-expires",
}


@dataclass(slots=True)
class Message:
    """One received message.  Header names are lower case and long."""

    start: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""
    text: str = ""

    @property
    def is_request(self) -> bool:
        return not self.start.startswith("SIP/2.0 ")

    @property
    def status(self) -> int:
        return 0 if self.is_request else int(self.start.split(" ", 2)[1])

    @property
    def method(self) -> str:
        """Of a request its own, of a response that of its CSeq."""
        return self.start.split(" ", 1)[0] if self.is_request else self.get("cseq").split()[-1]

    @property
    def uri(self) -> str:
        return self.start.split(" ")[1] if self.is_request else ""

    @property
    def cseq(self) -> int:
        return int(self.get("cseq").split()[0])

    @property
    def call_id(self) -> str:
        return self.get("call-id")

    def get(self, name: str) -> str:
        """First value of a header, empty when there is none."""
        return next((value for key, value in self.headers if key == name.lower()), "")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    def items(self, name: str) -> list[str]:
        """Elements of comma lists; good enough for URIs without commas."""
        return [item.strip() for value in self.all(name) for item in value.split(",") if item.strip()]

    @property
    def contact_uri(self) -> str:
        return uri_of(self.get("contact"))

    def tag(self, name: str) -> str:
        found = re.search(r";\s*tag=([^;\s]+)", self.get(name))
        return found.group(1) if found else ""


def parse(text: str) -> Message:
    head, _, body = text.partition("\r\n\r\n")
    lines = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
    headers = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers.append((_COMPACT.get(name, name), value.strip()))
    return Message(lines[0], headers, body, text)


def uri_of(value: str) -> str:
    """URI of a name-addr or addr-spec."""
    found = re.search(r"<([^>]*)>", value)
    return found.group(1) if found else value.split(";")[0].strip()


def user_of(value: str) -> str:
    """User part of the URI in a header value; of a ``tel:`` URI the number."""
    uri = uri_of(value)
    rest = uri.split(":", 1)[-1]
    return rest.split("@")[0].split(";")[0] if "@" in rest or uri.startswith("tel:") else ""


def new_branch() -> str:
    return "z9hG4bK" + uuid.uuid4().hex[:16]


def new_id() -> str:
    return uuid.uuid4().hex[:20]


def build(start: str, headers: Sequence[tuple[str, str]], body: str = "", content_type: str = "") -> str:
    """A message with Content-Length (and Content-Type with a body)."""
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Type: {content_type or 'application/sdp'}")
    return "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body])


def response(
    request: Message,
    status: int,
    reason: str,
    to_tag: str,
    headers: Sequence[tuple[str, str]] = (),
    body: str = "",
) -> str:
    """A response as RFC 3261 section 8.2.6 wants it."""
    to = request.get("to")
    if ";tag=" not in to and to_tag:
        to += f";tag={to_tag}"
    copied = [("Via", via) for via in request.all("via")]
    if 100 < status < 300:
        copied += [("Record-Route", route) for route in request.all("record-route")]
    copied += [("From", request.get("from")), ("To", to), ("Call-ID", request.call_id)]
    copied += [("CSeq", request.get("cseq"))]
    return build(f"SIP/2.0 {status} {reason}", [*copied, *headers], body)


def sdp(host: str, port: int, direction: str = "sendrecv", version: int = 1) -> str:
    """A small audio offer or answer: PCMA, PCMU, telephone-event."""
    return (
        f"v=0\r\no=- 4711 {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
        f"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na={direction}\r\n"
    )
