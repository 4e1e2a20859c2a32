"""Cutting a byte stream (TCP, TLS) into messages (RFC 3261 §7.5, §18.3; keep-alive, RFC 5626 §3.5.1).

Only the end of the head and Content-Length are looked at; `message.parse` reads what comes out. A stream
has no way back: once the length of a message cannot be known, nothing behind it can be trusted, and the
connection must go.
"""

from __future__ import annotations

import re
from typing import Final

from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.message import DEFAULT, Limits, Message, parse

# Content-Length = ( "Content-Length" / "l" ) HCOLON 1*DIGIT, folds included (RFC 3261 §7.3.1, §20.14)
_CONTENT_LENGTH: Final = re.compile(
    rb"\r\n(?:content-length|l)[ \t]*+:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE
)
_DIGITS: Final = re.compile(rb"[0-9]{1,10}+")


class StreamFramer:
    """Collects bytes of one connection and gives back whole messages, whatever the splits.

    ``pings`` counts the double CRLFs met between messages; whoever answers them sets it back to 0.
    ``error`` is set when the stream is beyond repair. At most ``limits.max_message`` bytes and one piece
    read are held.
    """

    __slots__ = ("_buffer", "_crlfs", "_limits", "_need", "_scanned", "error", "pings")

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits: Limits = limits
        self._buffer: bytearray = bytearray()
        self._crlfs: int = 0  # consecutive empty lines at the boundary we stand on
        self._scanned: int = 0  # bytes of the buffer known to hold no end of head
        self._need: int = 0  # length of the message at the front, 0 while its head is incomplete
        self.pings: int = 0
        self.error: RemoteProtocolError | None = None

    @property
    def waiting(self) -> int:
        """Bytes held of a message that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes in; the messages that they complete, in order.

        Raises RemoteProtocolError when the stream is beyond repair: no or no valid Content-Length (400),
        too long (513). Messages completed by the same bytes are returned first; ``error`` is set then, and
        the next call raises it. The error's ``message`` is set where it can be answered before closing.
        """
        if self.error is not None:
            raise self.error
        self._buffer += data
        out: list[bytes] = []
        try:
            while True:
                if not self._need and not self._find_end():
                    break
                if len(self._buffer) < self._need:
                    break
                out.append(bytes(self._buffer[: self._need]))
                del self._buffer[: self._need]
                self._need = 0
                self._scanned = 0
        except RemoteProtocolError as error:
            self.error = error
            self._buffer.clear()
            if not out:
                raise
        return out

    def _find_end(self) -> bool:
        """Look for the end of the head at the front of the buffer; sets ``_need`` when it is there."""
        buffer = self._buffer
        if self._scanned == 0:
            self._skip_empty_lines()
            if not buffer or buffer == b"\r":
                return False
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0:
            self._scanned = len(buffer)
            if len(buffer) > self._limits.max_message:
                raise RemoteProtocolError(513, "Message Too Large")
            self._check_start_line()
            return False
        self._check_start_line()
        if end + 4 > self._limits.max_message:
            raise RemoteProtocolError(513, "Message Too Large")
        self._crlfs = 0
        found = _CONTENT_LENGTH.findall(buffer, 0, end)
        value = found[0].strip() if len(found) == 1 else b""
        if _DIGITS.fullmatch(value) is None:
            raise _unframed(bytes(buffer[: end + 4]), len(found), self._limits)
        self._need = end + 4 + int(value)
        if self._need > self._limits.max_message:
            raise RemoteProtocolError(
                513, "Message Too Large", _read_head(bytes(buffer[: end + 4]), self._limits)
            )
        return True

    def _check_start_line(self) -> None:
        """Give up early on what is no SIP at all: without this, noise would be held up to ``max_message``."""
        longest = self._limits.max_line
        if len(self._buffer) > longest + 1 and self._buffer.find(b"\r\n", 0, longest + 2) < 0:
            raise RemoteProtocolError(400, "start line too long")

    def _skip_empty_lines(self) -> None:
        """Drop empty lines between messages, counting pings; a lone CR at the end waits for its LF."""
        buffer = self._buffer
        at = 0
        while buffer[at : at + 2] == b"\r\n":
            at += 2
            self._crlfs += 1
            if self._crlfs == 2:
                self.pings += 1
                self._crlfs = 0
        if at:
            del buffer[:at]


def _unframed(head: bytes, lengths: int, limits: Limits) -> RemoteProtocolError:
    if lengths == 0:
        reason = "Content-Length missing on a stream"
    elif lengths == 1:
        reason = "malformed Content-Length"
    else:
        reason = "Content-Length given more than once"
    return RemoteProtocolError(400, reason, _read_head(head, limits))


def _read_head(head: bytes, limits: Limits) -> Message | None:
    """The message as far as an answer needs it."""
    try:
        return parse(head, limits)
    except RemoteProtocolError as error:
        return error.message
