"""SIP as the parties of the simulation read and write it: small, strict, and not the product's own.

What the server sends is therefore read by a second pair of eyes; anything that these cannot read is a fault of the server.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

COMPACT: Final = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
    "c": "content-type",
    "k": "supported",
}
_TAG: Final = re.compile(r";tag=([^;>\s]+)")
_BRANCH: Final = re.compile(r";branch=([^;,\s]+)")
_URI: Final = re.compile(r"<([^>]*)>")
PHRASES: Final = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
}


class Unreadable(Exception):
    """A message that breaks the grammar; the text says where."""


class Heard:
    """A message as it was read."""

    __slots__ = (
        "body",
        "branch",
        "call_id",
        "cseq",
        "data",
        "from_tag",
        "headers",
        "is_request",
        "method",
        "status",
        "to_tag",
        "uri",
    )

    def __init__(self, data: bytes) -> None:
        head, blank, body = data.partition(b"\r\n\r\n")
        if not blank:
            raise Unreadable("no blank line")
        lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        start = lines[0]
        headers: dict[str, list[str]] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name[0] in " \t":
                raise Unreadable(f"header line {line!r}")
            key = name.rstrip().lower()
            key = COMPACT.get(key, key)
            found = headers.get(key)
            if found is None:
                headers[key] = [value.strip()]
            else:
                found.append(value.strip())
        self.data = data
        self.headers = headers
        self.body = body
        try:
            self.call_id = headers["call-id"][0]
            number, _, method = headers["cseq"][0].partition(" ")
            self.cseq = int(number)
            branch = _BRANCH.search(headers["via"][0])
            if branch is None:
                raise Unreadable("Via without branch")
            self.branch = branch.group(1)
            tag = _TAG.search(headers["from"][0])
            self.from_tag = tag.group(1) if tag is not None else ""
            tag = _TAG.search(headers["to"][0])
            self.to_tag = tag.group(1) if tag is not None else ""
            if int(headers["content-length"][0]) != len(body):
                raise Unreadable("Content-Length is not the length of the body")
        except (KeyError, ValueError) as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from error
        self.is_request = not start.startswith("SIP/2.0 ")
        if self.is_request:
            self.method, _, rest = start.partition(" ")
            self.uri = rest.removesuffix(" SIP/2.0")
            self.status = 0
            if self.method != method.strip():
                raise Unreadable("CSeq names another method")
            if len(rest) == len(self.uri):
                raise Unreadable(f"request line {start!r}")
        else:
            self.method = method.strip()
            self.uri = ""
            try:
                self.status = int(start[8:11])
            except ValueError as error:
                raise Unreadable(f"status line {start!r}") from error

    def get(self, name: str) -> str:
        """First value, empty if there is none."""
        found = self.headers.get(name)
        return found[0] if found else ""

    def has_token(self, name: str, token: str) -> bool:
        """Whether a comma list names ``token``."""
        found = self.headers.get(name)
        if not found:
            return False
        return any(item.strip().lower() == token for value in found for item in value.split(","))


class Note:
    """What a party knows about a message that it sent, for those who watch it arrive."""

    __slots__ = ("branch", "call_id", "cseq", "data", "from_tag", "method", "status", "to_tag")

    def __init__(
        self,
        data: bytes,
        method: str,
        status: int,
        branch: str,
        call_id: str,
        cseq: int,
        from_tag: str,
        to_tag: str,
    ) -> None:
        self.data = data
        self.method = method
        """For a response: of the request that it answers.  Empty for what is no SIP message."""
        self.status = status
        """0 for requests."""
        self.branch = branch
        self.call_id = call_id
        self.cseq = cseq
        self.from_tag = from_tag
        self.to_tag = to_tag


def garbage(data: bytes) -> Note:
    """Bytes about which nothing is promised."""
    return Note(data, "", 0, "", "", 0, "", "")


def write(start: str, lines: Sequence[str], body: bytes = b"", kind: str = "application/sdp") -> bytes:
    """A message from its start line and header lines."""
    tail = f"Content-Type: {kind}\r\n" if body else ""
    joined = "\r\n".join(lines)
    return f"{start}\r\n{joined}\r\n{tail}Content-Length: {len(body)}\r\n\r\n".encode() + body


def uri_of(value: str) -> str:
    """The URI of a name-addr."""
    found = _URI.search(value)
    return found.group(1) if found is not None else value.partition(";")[0].strip()


def parameter(value: str, name: str) -> str:
    """A parameter or digest directive of a header value."""
    found = re.search(rf'[;,\s]{name}="?([^";,]*)', value)
    return found.group(1) if found is not None else ""


def credentials(challenge: str, method: str, uri: str, user: str, password: str, count: int) -> str:
    """The answer to a digest challenge (RFC 7616), qop=auth."""
    realm, nonce = parameter(challenge, "realm"), parameter(challenge, "nonce")
    algorithm = parameter(challenge, "algorithm") or "MD5"
    digest = hashlib.sha256 if algorithm.upper().startswith("SHA-256") else hashlib.md5

    def hashed(text: str) -> str:
        return digest(text.encode()).hexdigest()

    nc, cnonce = f"{count:08x}", f"c{count}"
    secret = hashed(f"{user}:{realm}:{password}")
    response = hashed(f"{secret}:{nonce}:{nc}:{cnonce}:auth:{hashed(f'{method}:{uri}')}")
    opaque = parameter(challenge, "opaque")
    text = (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
        f'algorithm={algorithm}, qop=auth, nc={nc}, cnonce="{cnonce}"'
    )
    return f'{text}, opaque="{opaque}"' if opaque else text


def sdp(party: int, version: int, direction: str = "") -> bytes:
    """A session description that is told apart by its port; the address is one for documentation."""
    extra = f"a={direction}\r\n" if direction else ""
    return (
        f"v=0\r\no=- {party} {version} IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        f"m=audio {10000 + party} RTP/AVP 0 8\r\n{extra}"
    ).encode()
