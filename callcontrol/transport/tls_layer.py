"""One TLS session without I/O: ciphertext in and out of memory, plain text on the other side."""

from __future__ import annotations

import ssl
from typing import Final

from callcontrol.transport.tls import sip_identities

_READ: Final = 64 * 1024


class TlsFailure(Exception):
    """The session is over.  ``reason`` is OpenSSL's name of what went wrong, a closed set fit for a counter."""

    def __init__(self, error: ssl.SSLError) -> None:
        super().__init__(str(error))
        self.reason = (error.reason or type(error).__name__).lower()


class TlsLayer:
    """Handshake, then encryption.  After every call ``take`` gives what must go onto the wire."""

    __slots__ = ("_in", "_out", "_ssl", "established", "peer_closed")

    def __init__(self, context: ssl.SSLContext, *, server: bool, server_name: str | None = None) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._in, self._out, server_side=server, server_hostname=server_name)
        self.established = False
        self.peer_closed = False
        """The peer ended the session in good order (close_notify)."""

    def feed(self, data: bytes) -> bytes:
        """Plain text that ``data`` completes; an empty ``data`` starts the handshake of a client.

        Raises TlsFailure; ``take`` then holds the alert for the peer.
        """
        self._in.write(data)
        chunks: list[bytes] = []
        try:
            if not self.established:
                self._ssl.do_handshake()
                self.established = True
            while not self.peer_closed:
                chunk = self._ssl.read(_READ)
                if chunk:
                    chunks.append(chunk)
                else:
                    self.peer_closed = True
        except ssl.SSLWantReadError:
            pass  # the ordinary end of input
        except ssl.SSLZeroReturnError:
            self.peer_closed = True
        except ssl.SSLError as error:
            raise TlsFailure(error) from error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def write(self, plain: bytes) -> None:
        """Encrypt.  Raises TlsFailure when the session can no longer be written to."""
        try:
            self._ssl.write(plain)
        except ssl.SSLError as error:
            raise TlsFailure(error) from error

    def take(self) -> bytes:
        """Ciphertext for the peer."""
        return self._out.read()

    def waiting(self) -> int:
        """Bytes that ``take`` would give."""
        return self._out.pending

    def goodbye(self) -> None:
        """Write the close_notify alert; the peer's own is not waited for (RFC 8446 §6.1)."""
        if not self.established:
            return
        try:
            self._ssl.unwrap()
        except ssl.SSLError:
            return  # "want read": ours is written, the peer's has not come; anything else: the session is dead anyway

    def peer_identities(self) -> tuple[str, ...]:
        """Domains that the verified certificate of the peer speaks for; empty without one (RFC 5922 §7.1)."""
        certificate = self._ssl.getpeercert()
        return sip_identities(certificate) if certificate else ()

    def version(self) -> str:
        """Such as TLSv1.3; empty before the handshake is complete."""
        return self._ssl.version() or ""
