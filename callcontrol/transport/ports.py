"""What the transport needs from others, each as the smallest Protocol that serves."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from callcontrol.sip.clock import Monotonic
from callcontrol.sip.flow import Flow, Listeners


class Clock(Protocol):
    """The monotonic clock; read once per batch of input and handed on as a value."""

    def monotonic(self) -> Monotonic: ...


class Gate(Protocol):
    """Who may speak to us: banned and rate-limited addresses are turned away before anything is parsed."""

    def admit(self, host: str, now: float) -> bool:
        """True when a message (or a new connection) from the IP literal ``host`` may be looked at."""
        ...

    def inspect(self, data: bytes, host: str, now: float, *, reliable: bool) -> bool:
        """False for a message that is dropped for what it says (a scanner's name); asked before it is parsed.

        ``reliable``: it came over a connection, so that its sender is where it seems to be.
        """
        ...


class Watcher(Protocol):
    """Tells handlers which of their sockets are ready (``callcontrol.transport.poller.Poller``)."""

    def fileno(self) -> int: ...

    def add(self, sock: socket.socket, events: int, handler: Callable[[int], None]) -> None: ...

    def modify(self, sock: socket.socket, events: int) -> None: ...

    def close_socket(self, sock: socket.socket) -> None: ...

    def run(self, limit: int) -> int: ...

    def close(self) -> None: ...


class Sockets(Protocol):
    """Where the listening sockets of a driver come from."""

    mark: str
    """Parameters for our Via, each with its semicolon; empty: none."""
    reads: bool
    """Whether datagrams are read from the UDP sockets here; else they only send, and a `Source` brings what comes."""
    first_connection: int
    """Connection ids are above this."""

    def udp(self, host: str, port: int) -> socket.socket: ...

    def tcp(self, host: str, port: int) -> socket.socket: ...


class Source(Protocol):
    """Input that comes by another way than the listening sockets."""

    def flush(self) -> None:
        """Write what this turn has produced for the other side."""
        ...

    def delay_s(self, now: float) -> float:
        """How long what comes lately had to wait, seconds."""
        ...


class OpenGate:
    """Admits everybody: for tests and for networks that something else protects."""

    def admit(self, host: str, now: float) -> bool:
        return True

    def inspect(self, data: bytes, host: str, now: float, *, reliable: bool) -> bool:
        return True


class SipEndpoint(Protocol):
    """The sans-I/O endpoint as its shell sees it (``callcontrol.sip.endpoint.Endpoint``)."""

    out: list[tuple[Flow, bytes]]
    listeners: Listeners

    def receive(self, data: bytes, flow: Flow, now: Monotonic) -> None: ...

    def tick(self, now: Monotonic) -> None: ...

    def next_deadline(self) -> float | None: ...

    def connection_lost(self, conn_id: int, now: Monotonic, flow: Flow | None = None) -> None: ...

    def send_failed(self, flow: Flow, now: Monotonic) -> None: ...
