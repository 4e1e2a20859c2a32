"""One epoll set for all SIP sockets, itself watched by the event loop (Linux).

Why not ``add_reader`` per socket: (1) everything that is ready is taken in one batch, so the transaction users get one turn
and the output one flush, however many sockets had something; (2) uvloop closes its watcher for good when poll reports an error
condition (its ``UVPoll._fatal_error``), which a reset connection or an ICMP error does: inside a nested set these are
ordinary events, and both loops behave alike.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Final

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
BROKEN: Final = select.EPOLLERR | select.EPOLLHUP

Handler = Callable[[int], None]
"""Takes the epoll event mask."""


class Poller:
    """Handlers by file descriptor.  ``run`` calls those that are ready; closing waits until the batch is over."""

    __slots__ = ("_closing", "_epoll", "_handlers", "_running")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._closing: list[socket.socket] = []
        self._running = False

    def fileno(self) -> int:
        """Readable whenever ``run`` has something to do."""
        return self._epoll.fileno()

    def add(self, sock: socket.socket, events: int, handler: Handler) -> None:
        fd = sock.fileno()
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def modify(self, sock: socket.socket, events: int) -> None:
        self._epoll.modify(sock.fileno(), events)

    def close_socket(self, sock: socket.socket) -> None:
        """Stop watching and close; inside a batch the closing itself waits for its end.

        Otherwise a new connection could get the same descriptor number and an event meant for the old one.
        """
        fd = sock.fileno()
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)
        if self._running:
            self._closing.append(sock)
        else:
            sock.close()

    def run(self, limit: int) -> int:
        """Serve at most ``limit`` ready sockets, each once; returns how many.  More work keeps the set readable."""
        ready = self._epoll.poll(0, limit)
        self._running = True
        try:
            for fd, events in ready:
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)
        finally:
            self._running = False
            for sock in self._closing:
                sock.close()
            self._closing.clear()
        return len(ready)

    def close(self) -> None:
        self._epoll.close()
        self._handlers.clear()
