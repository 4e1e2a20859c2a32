"""Sockets that carry SIP text: UDP, TCP, TLS and WebSocket, all blocking with a timeout."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from abc import ABC, abstractmethod

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, Request, TextMessage
from wsproto.events import BytesMessage as Bytes
from wsproto.utilities import RemoteProtocolError

Address = tuple[str, int]


class NothingCame(AssertionError):
    """What the test waited for did not arrive in time."""


class Wire(ABC):
    """One side of a SIP hop.  ``via``: transport token of Via; ``host``, ``port``: our own address."""

    via: str
    param: str
    """Value of the ``transport`` URI parameter."""
    host: str
    port: int

    @abstractmethod
    def send(self, text: str, to: Address | None = None) -> None: ...

    @abstractmethod
    def receive(self, timeout: float) -> tuple[str, Address] | None:
        """The next message and where it came from, None when the time is over or the peer closed."""

    @abstractmethod
    def close(self) -> None: ...


class UdpWire(Wire):
    via, param = "UDP", "udp"

    def __init__(self, host: str = "127.0.0.1", port: int = 0, server: Address | None = None) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self.host, self.port = host, self._socket.getsockname()[1]
        self._server = server

    def send(self, text: str, to: Address | None = None) -> None:
        target = to or self._server
        assert target is not None, "a datagram needs an address"
        self._socket.sendto(text.encode(), target)

    def send_bytes(self, data: bytes, to: Address) -> None:
        self._socket.sendto(data, to)

    def receive(self, timeout: float) -> tuple[str, Address] | None:
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data, sender = self._socket.recvfrom(65535)
            except TimeoutError:
                return None
            if data.strip():
                return data.decode("utf-8", "replace"), (sender[0], sender[1])
        return None

    def close(self) -> None:
        self._socket.close()


class StreamWire(Wire):
    """TCP, or TLS when a context is given; messages are cut by Content-Length (RFC 3261 section 18.3)."""

    def __init__(self, server: Address, tls: ssl.SSLContext | None = None, local: str = "127.0.0.1") -> None:
        self.via, self.param = ("TLS", "tls") if tls else ("TCP", "tcp")
        plain = socket.create_connection(server, timeout=5, source_address=(local, 0))
        self._socket = tls.wrap_socket(plain, server_hostname=server[0]) if tls else plain
        self.host, self.port = self._socket.getsockname()[:2]
        self._server = server
        self._buffer = b""
        self.closed = False

    def send(self, text: str, to: Address | None = None) -> None:
        self._socket.settimeout(5)
        self._socket.sendall(text.encode())

    def send_bytes(self, data: bytes) -> None:
        self._socket.settimeout(5)
        self._socket.sendall(data)

    def receive(self, timeout: float) -> tuple[str, Address] | None:
        end = time.monotonic() + timeout
        while True:
            message = self._cut()
            if message is not None:
                return message, self._server
            left = end - time.monotonic()
            if left <= 0 or self.closed:
                return None
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65535)
            except TimeoutError:
                return None
            except OSError:
                data = b""
            self.closed = not data
            self._buffer += data

    def _cut(self) -> str | None:
        self._buffer = self._buffer.lstrip(b"\r\n")
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        found = re.search(rb"^(?:content-length|l)\s*:\s*(\d+)", head, re.IGNORECASE | re.MULTILINE)
        length = int(found.group(1)) if found else 0
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return (head + separator + rest[:length]).decode("utf-8", "replace")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class WebSocketWire(Wire):
    """SIP over WebSocket as a browser speaks it (RFC 7118): subprotocol ``sip``, one message a frame."""

    def __init__(self, server: Address, tls: ssl.SSLContext | None = None, path: str = "/") -> None:
        self.via, self.param = ("WSS", "ws") if tls else ("WS", "ws")
        plain = socket.create_connection(server, timeout=5)
        self._socket = tls.wrap_socket(plain, server_hostname=server[0]) if tls else plain
        # a browser does not know its address: RFC 7118 has it invent a name
        self.host, self.port = f"{socket.gethostname().lower()[:20]}.invalid", 0
        self._server = server
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._ready: list[str] = []
        self._part = ""
        self.accepted = False
        self.refused = 0
        self.subprotocol: str | None = None
        self.closed = False
        self._socket.sendall(
            self._ws.send(Request(host=f"{server[0]}:{server[1]}", target=path, subprotocols=["sip"]))
        )
        end = time.monotonic() + 5
        while not (self.accepted or self.refused or self.closed) and time.monotonic() < end:
            self._pump(end - time.monotonic())

    def send(self, text: str, to: Address | None = None) -> None:
        self._socket.settimeout(5)
        self._socket.sendall(self._ws.send(TextMessage(text)))

    def receive(self, timeout: float) -> tuple[str, Address] | None:
        end = time.monotonic() + timeout
        while not self._ready:
            left = end - time.monotonic()
            if left <= 0 or self.closed:
                return None
            self._pump(left)
        return self._ready.pop(0), self._server

    def _pump(self, timeout: float) -> None:
        self._socket.settimeout(max(0.01, timeout))
        try:
            data = self._socket.recv(65535)
        except TimeoutError:
            return
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return
        try:
            self._ws.receive_data(data)
        except RemoteProtocolError:
            self.closed = True
            return
        for event in self._ws.events():
            match event:
                case AcceptConnection():
                    self.accepted, self.subprotocol = True, event.subprotocol
                case RejectConnection():
                    self.refused = event.status_code
                case TextMessage() | Bytes():
                    piece = event.data if isinstance(event.data, str) else bytes(event.data).decode()
                    self._part += piece
                    if event.message_finished:
                        if self._part.strip():
                            self._ready.append(self._part)
                        self._part = ""
                case Ping():
                    self._socket.sendall(self._ws.send(event.response()))
                case CloseConnection():
                    self.closed = True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
