"""What lies between the bytes of a connection and SIP messages, as sans-I/O values.

``SipStream`` frames by Content-Length (RFC 3261 §18.3) and answers keep-alives (RFC 5626 §4.4.1); ``websocket.WebSocket``
does the same for RFC 7118.
"""

from __future__ import annotations

from typing import Protocol

from callcontrol.sip.build import response
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.framer import StreamFramer


class Codec(Protocol):
    """One connection's framing, fed with bytes as they come."""

    ready: bool
    """Messages may be sent (false until a WebSocket upgrade is done)."""
    ended: str
    """Why nothing more can be read, in a word of a closed set; empty while all is well."""
    replies: bytearray
    """Bytes that the framing itself wants sent: keep-alive answers, handshake, close frame.  Whoever sends clears."""
    pings: int
    """Keep-alives seen so far."""
    probes: bool
    """Whether ``probe`` gives anything."""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes.  Never raises: what is beyond repair sets ``ended``."""
        ...

    def wrap(self, message: bytes) -> bytes:
        """``message`` as it goes onto the connection."""
        ...

    def probe(self) -> bytes:
        """Bytes that make a living peer answer; empty when the framing has none."""
        ...

    def goodbye(self) -> bytes:
        """Last words before the connection is closed in good order."""
        ...


class SipStream:
    """SIP over TCP or TLS."""

    __slots__ = ("_framer", "ended", "pings", "probes", "ready", "replies")

    def __init__(self) -> None:
        self.ready = True
        self.ended = ""
        self.replies = bytearray()
        self.pings = 0
        self.probes = False
        self._framer = StreamFramer()

    def feed(self, data: bytes) -> list[bytes]:
        if self.ended:
            return []
        framer = self._framer
        try:
            messages = framer.feed(data)
        except RemoteProtocolError:
            messages = []  # kept in framer.error, with the messages before it already delivered
        pings = framer.pings
        if pings:
            framer.pings = 0
            self.pings += pings
            self.replies += b"\r\n" * pings
        if framer.error is not None:
            self.ended = "framing"
            self.replies += _refusal(framer.error)
        return messages

    def wrap(self, message: bytes) -> bytes:
        return message

    def probe(self) -> bytes:
        return b""

    def goodbye(self) -> bytes:
        return b""


def _refusal(error: RemoteProtocolError) -> bytes:
    """Answer to the request that broke the framing, where it can be answered; the connection then ends."""
    message = error.message
    if message is None or not message.is_request or message.method == "ACK":
        return b""
    return response(message, error.status, error.reason, to_tag="unframed")
