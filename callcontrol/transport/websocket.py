"""SIP over WebSocket, server side (RFC 7118; framing RFC 6455 by wsproto, which does no I/O).

One WebSocket message is one SIP message.  No extension is accepted (compression would let a small frame grow without
bound).  Plain HTTP gets a short answer and the connection is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

SUBPROTOCOL: Final = "sip"
_KEEP_ALIVE: Final = b"\r\n\r\n"
_REASONS: Final = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    426: "Upgrade Required",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketPolicy:
    """Which upgrades are accepted."""

    origins: frozenset[str] = frozenset()
    """Allowed Origin values (``https://app.example``), lower case; empty: any, also none."""
    paths: frozenset[str] = frozenset()
    """Allowed paths (``/ws``), without query; empty: any."""
    message_bytes: int = 65_535
    """Longest SIP message accepted."""


def http_answer(status: int, text: str, headers: str = "") -> bytes:
    """A complete HTTP/1.1 answer that ends the connection (RFC 9110 §15; 426 names the protocol, §15.5.22)."""
    body = text + "\n"
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n{headers}Content-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode("ascii")


class WebSocket:
    """The codec of one WebSocket connection: upgrade, frames, keep-alive, close."""

    __slots__ = ("_head", "_parts", "_policy", "_ws", "ended", "pings", "probes", "ready", "replies")

    def __init__(self, policy: WebSocketPolicy) -> None:
        self.ready = False
        self.ended = ""
        self.replies = bytearray()
        self.pings = 0
        self.probes = True
        self._policy = policy
        self._ws = WSConnection(ConnectionType.SERVER)
        self._parts = bytearray()
        self._head = b""
        """Start of the HTTP request, kept to answer a request that is no upgrade."""

    def feed(self, data: bytes) -> list[bytes]:
        messages: list[bytes] = []
        if self.ended or not data:  # wsproto takes no bytes for the end of the connection
            return messages
        if not self.ready and len(self._head) < 2048:
            self._head += data[:2048]
        try:
            self._ws.receive_data(data)
            for event in self._ws.events():
                self._on_event(event, messages)
                if self.ended:
                    break
        except (RemoteProtocolError, UnicodeError) as error:
            # UnicodeError: wsproto decodes Host as IDNA and the target as ASCII without guarding either.
            self._refuse(error)
        return messages

    def _on_event(self, event: Event, messages: list[bytes]) -> None:
        match event:
            case TextMessage(data=text):
                self._part(text.encode("utf-8"), event.message_finished, messages)
            case BytesMessage(data=data):
                self._part(bytes(data), event.message_finished, messages)
            case Ping():
                self.pings += 1
                self.replies += self._ws.send(event.response())
            case Pong():
                self.pings += 1
            case CloseConnection():
                self._close_received(event)
            case Request():
                self._upgrade(event)
            case _:
                self._close(CloseReason.PROTOCOL_ERROR, "protocol")

    def _part(self, data: bytes, finished: bool, messages: list[bytes]) -> None:
        if len(self._parts) + len(data) > self._policy.message_bytes:
            self._parts.clear()
            self._close(CloseReason.MESSAGE_TOO_BIG, "too big")
            return
        self._parts += data
        if not finished:
            return
        message = bytes(self._parts)
        self._parts.clear()
        if message.strip(b"\r\n"):
            messages.append(message)
            return
        self.pings += 1  # CRLF keep-alive inside a message (RFC 7118 §6, RFC 5626 §4.4.1)
        if message == _KEEP_ALIVE:
            self.replies += self.wrap(b"\r\n")

    def _close_received(self, event: CloseConnection) -> None:
        """The peer's close frame, or wsproto's verdict on a broken one: both are answered with a close frame."""
        broken = event.code not in (
            CloseReason.NORMAL_CLOSURE,
            CloseReason.GOING_AWAY,
            CloseReason.NO_STATUS_RCVD,
        )
        try:
            self.replies += self._ws.send(event.response())
        except LocalProtocolError:
            # It answers our own close frame: nothing more to say.
            broken = False
        self.ready = False
        self.ended = "websocket error" if broken else "websocket closed"

    def _close(self, code: CloseReason, reason: str) -> None:
        self.replies += self._ws.send(CloseConnection(code=code, reason=reason))
        self.ready = False
        self.ended = f"websocket {reason}"

    def _upgrade(self, request: Request) -> None:
        policy = self._policy
        path = request.target.partition("?")[0]
        if policy.paths and path not in policy.paths:
            self._answer(404, "no SIP here")
            return
        if policy.origins and _origin(request) not in policy.origins:
            self._answer(403, "origin not allowed")
            return
        offered = next((name for name in request.subprotocols if name.lower() == SUBPROTOCOL), None)
        if offered is None:
            self._answer(400, "subprotocol sip is required (RFC 7118 section 4)")
            return
        self.replies += self._ws.send(AcceptConnection(subprotocol=offered))
        self.ready = True
        self._head = b""

    def _refuse(self, error: Exception) -> None:
        """Answer what is no WebSocket upgrade: HTTP in HTTP, anything else not at all."""
        if self.ready:
            self._close(CloseReason.PROTOCOL_ERROR, "protocol")
            return
        words = self._head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/"):
            self._answer(400, "not HTTP")
            return
        path = words[1].partition(b"?")[0].decode("ascii", "replace")
        if self._policy.paths and path not in self._policy.paths:
            self._answer(404, "no SIP here")
        elif isinstance(error, RemoteProtocolError) and "Bad HTTP" not in str(error):
            headers = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n"
            self._answer(426, "SIP over WebSocket only", headers)
        else:
            self._answer(400, "malformed request")

    def _answer(self, status: int, text: str, headers: str = "") -> None:
        self.replies += http_answer(status, text, headers)
        self.ended = f"http {status}"

    def wrap(self, message: bytes) -> bytes:
        """One text frame, or a binary one when the message is not UTF-8 (RFC 7118 §5)."""
        try:
            return bytes(self._ws.send(TextMessage(data=message.decode("utf-8"))))
        except UnicodeDecodeError:
            return bytes(self._ws.send(BytesMessage(data=message)))

    def probe(self) -> bytes:
        return bytes(self._ws.send(Ping())) if self.ready else b""

    def goodbye(self) -> bytes:
        if not self.ready:
            return b""
        self.ready = False
        return bytes(self._ws.send(CloseConnection(code=CloseReason.GOING_AWAY)))


def _origin(request: Request) -> str:
    for name, value in request.extra_headers:
        if name.lower() == b"origin":
            return value.decode("latin-1").lower()
    return ""
