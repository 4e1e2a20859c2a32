"""Accepting stream connections within limits: in total, per address, and with handshakes under way."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final

from callcontrol.sip.clock import Monotonic, later
from callcontrol.sip.flow import Listener
from callcontrol.transport.bounds import StreamBounds
from callcontrol.transport.counters import count
from callcontrol.transport.poller import READ
from callcontrol.transport.shared import Shared

BACKLOG: Final = 1024
ACCEPT_BATCH: Final = 64
"""Connections accepted before others have their turn."""
ACCEPT_PAUSE_S: Final = 1.0
"""Wait after running out of descriptors or memory: the listening socket stays readable and would spin the loop."""
NEVER: Final = Monotonic(float("inf"))
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_LINGER_RESET: Final = b"\x01\x00\x00\x00\x00\x00\x00\x00"

Accepted = Callable[[Listener, socket.socket, str, int, Monotonic], None]
"""Takes a new connection over: listener, socket, address, port, now.  May raise OSError when it is dead already."""


def open_tcp(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket.  Raises OSError when the address cannot be bound.

    ``shared``: other processes of ours listen there too, and the kernel spreads new connections over them (SO_REUSEPORT).
    """
    six = ":" in host
    sock = socket.socket(
        socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    )
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def address_key(host: str) -> str:
    """What the limit per address counts by: an IPv4 address, the /64 of an IPv6 one (a site has at least that)."""
    if ":" not in host:
        return host
    return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])[:8].hex()


class Acceptor:
    """The listening sockets, and the counts that the limits are about."""

    __slots__ = (
        "_accepted",
        "_again_at",
        "_bounds",
        "_listening",
        "_per_address",
        "_shared",
        "opening",
        "total",
    )

    def __init__(self, shared: Shared, bounds: StreamBounds, accepted: Accepted) -> None:
        self.total = 0
        """Connections in both directions, kept by the table."""
        self.opening = 0
        """Accepted connections whose handshake is not complete, kept by the table."""
        self._shared = shared
        self._bounds = bounds
        self._accepted = accepted
        self._listening: list[socket.socket] = []
        self._again_at = NEVER
        self._per_address: dict[str, int] = {}

    def listen(self, listener: Listener, sock: socket.socket) -> None:
        """Accept connections of ``sock`` for ``listener``."""
        self._listening.append(sock)
        self._shared.poller.add(sock, READ, lambda _events: self._on_ready(listener, sock))

    def stop(self) -> None:
        for sock in self._listening:
            self._shared.poller.close_socket(sock)
        self._listening.clear()
        self._again_at = NEVER

    def _on_ready(self, listener: Listener, sock: socket.socket) -> None:
        now = self._shared.clock.monotonic()
        for _ in range(ACCEPT_BATCH):
            try:
                client, address = sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._refuse(errno.errorcode.get(error.errno or 0, "error"))
                if error.errno in _OUT_OF_RESOURCES:
                    self._pause(now)
                    return
                continue  # other errors are the new connection's own, which is gone (accept(2))
            client.setblocking(False)
            host, port = address[:2]
            refusal = self._refusal(host, now)
            if refusal:
                self._refuse(refusal)
                client.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET
                )  # leave no TIME_WAIT behind
                client.close()
                continue
            try:
                self._accepted(listener, client, host, port, now)
            except OSError as error:
                self._refuse(errno.errorcode.get(error.errno or 0, "error"))
                client.close()

    def _refuse(self, reason: str) -> None:
        count(self._shared.counters.refused, reason)

    def _refusal(self, host: str, now: Monotonic) -> str:
        """Why no connection is accepted from ``host``; empty when one is."""
        if not self._shared.gate.admit(host, now):
            return "gate"
        if self.total >= self._bounds.connections:
            return "connections"
        if self.opening >= self._bounds.opening:
            return "opening"
        if self._per_address.get(address_key(host), 0) >= self._bounds.per_address:
            return "per address"
        return ""

    def _pause(self, now: Monotonic) -> None:
        self._again_at = later(now, ACCEPT_PAUSE_S)
        for sock in self._listening:
            self._shared.poller.modify(sock, 0)

    def next_deadline(self) -> Monotonic:
        return self._again_at

    def expire(self, now: Monotonic) -> None:
        """Go on accepting when the pause is over."""
        if now >= self._again_at:
            self._again_at = NEVER
            for sock in self._listening:
                self._shared.poller.modify(sock, READ)

    def add(self, host: str) -> None:
        """An accepted connection of ``host`` has come into being."""
        key = address_key(host)
        self._per_address[key] = self._per_address.get(key, 0) + 1

    def remove(self, host: str) -> None:
        """It is gone."""
        key = address_key(host)
        left = self._per_address[key] - 1
        if left:
            self._per_address[key] = left
        else:
            del self._per_address[key]

    def addresses(self) -> int:
        """Addresses with accepted connections."""
        return len(self._per_address)
