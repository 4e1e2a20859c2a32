"""One end of the Unix stream between front and worker: never waits, and holds a bounded number of bytes back."""

from __future__ import annotations

import socket
from collections import deque
from typing import Final

from callcontrol.workers.frames import HEAD, Frame, Reader

READ_BYTES: Final = 512 * 1024
"""Bytes taken in one turn."""
MAX_WAITING: Final = 8 * 1024 * 1024
"""Bytes that wait for a side that does not read; what comes beyond is lost, as over UDP."""
BUFFER: Final = 4 * 1024 * 1024
_PIECES: Final = 512


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        end.setblocking(False)
    return ends


class Pipe:
    """Frames out and in.  ``put`` collects, ``flush`` writes in as few calls as possible."""

    __slots__ = ("_out", "_reader", "broken", "lost", "max_waiting", "sock", "waiting")

    def __init__(self, sock: socket.socket, max_waiting: int = MAX_WAITING) -> None:
        self.sock = sock
        self.max_waiting = max_waiting
        self._out: deque[bytes | memoryview] = deque()
        self._reader = Reader()
        self.waiting = 0
        """Bytes that are not written yet."""
        self.lost = 0
        """Frames that found no room."""
        self.broken = False
        """The other side is gone."""

    def put(self, kind: int, party: int, payload: bytes) -> bool:
        """Take a frame; False when too much waits, or nobody is there any more."""
        size = len(payload) + 6
        if self.broken or self.waiting + size > self.max_waiting:
            self.lost += 1
            return False
        self._out.append(HEAD.pack(len(payload), kind, party) + payload)
        self.waiting += size
        return True

    def flush(self) -> bool:
        """Write what the kernel takes; True when nothing is left."""
        out = self._out
        while out:
            pieces = [out[index] for index in range(min(len(out), _PIECES))]
            try:
                written = self.sock.sendmsg(pieces)
            except BlockingIOError:
                return False
            except OSError:
                self.broken = True
                out.clear()
                self.waiting = 0
                return True
            self.waiting -= written
            while written:
                first = out.popleft()
                if written < len(first):
                    out.appendleft(memoryview(first)[written:])
                    break
                written -= len(first)
        return True

    def read(self) -> list[Frame]:
        """Frames that are complete; sets ``broken`` at the end of the stream.  Raises `FrameError`."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.broken = True
            return []
        return self._reader.feed(data)

    def close(self) -> None:
        self.broken = True
        self._out.clear()
        self.waiting = 0
        self.sock.close()
