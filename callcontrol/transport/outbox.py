"""Bytes on their way to a stream peer: what is to be encrypted, and what the kernel has not taken yet."""

from __future__ import annotations

import socket

from callcontrol.transport.tls_layer import TlsLayer


class Outbox:
    """Collects what a turn produces and writes it in one piece; keeps the rest of a partial write."""

    __slots__ = ("_plain", "_plain_bytes", "_wire")

    def __init__(self) -> None:
        self._plain: list[bytes] = []
        self._plain_bytes = 0
        self._wire: memoryview | None = None

    def put(self, data: bytes) -> bool:
        """Take bytes (before encryption).  True when they are the first since the last write."""
        self._plain.append(data)
        self._plain_bytes += len(data)
        return len(self._plain) == 1

    def size(self) -> int:
        """Bytes held."""
        return self._plain_bytes + (len(self._wire) if self._wire is not None else 0)

    def clear(self) -> None:
        self._plain.clear()
        self._plain_bytes = 0
        self._wire = None

    def write(self, sock: socket.socket, tls: TlsLayer | None) -> tuple[int, bool]:
        """Write what the kernel takes: (bytes written, whether nothing is left).  Raises OSError and TlsFailure."""
        written = 0
        while True:
            if self._wire is None:
                chunk = self._encrypted(tls) if tls is not None else self._take_plain()
                if not chunk:
                    return written, True
                self._wire = memoryview(chunk)
            try:
                taken = sock.send(self._wire)
            except BlockingIOError:
                return written, False
            written += taken
            if taken < len(self._wire):
                self._wire = self._wire[taken:]
                return written, False
            self._wire = None

    def _encrypted(self, tls: TlsLayer) -> bytes:
        """Handshake messages and alerts that TLS itself has to say come along; plain text waits for the handshake."""
        if self._plain and tls.established:
            tls.write(self._take_plain())
        return tls.take()

    def _take_plain(self) -> bytes:
        plain = self._plain
        chunk = plain[0] if len(plain) == 1 else b"".join(plain)
        plain.clear()
        self._plain_bytes = 0
        return chunk
