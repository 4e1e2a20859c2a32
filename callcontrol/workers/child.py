"""The process of a worker: told by the front what it is, it runs the node that ``callcontrol.app`` makes of it."""

from __future__ import annotations

import os
import select
import socket
import sys
from pathlib import Path
from typing import Final

import msgspec

from callcontrol import logs
from callcontrol.sip.flow import bracketed
from callcontrol.workers.frames import BEGIN, Frame
from callcontrol.workers.pipe import Pipe
from callcontrol.workers.seat import Seat, WorkerSockets
from config.reloading import Source
from config.settings import Settings

PATIENCE_S: Final = 30.0
"""How long the first word of the front is waited for."""
USURPED: Final = 75
"""Exit code of a worker whose name another process has taken: the whole node is one too many."""


class UdpSocket(msgspec.Struct, frozen=True):
    """A UDP socket that the front reads from."""

    host: str
    port: int
    descriptor: int


class Begin(msgspec.Struct, frozen=True):
    """What a worker is told first."""

    number: int
    workers: int
    settings: bytes
    """As JSON: of the front, so that all workers have the same whatever the file says meanwhile."""
    sockets: tuple[UdpSocket, ...]
    node_pid: int
    """Process of the front, which is the node to those outside."""
    file: str = ""
    """Configuration file, read again at a reload; empty: there is none, the environment alone counts."""
    written: bytes = b""
    """What file and environment said when the node started, as JSON; empty: nothing is read again."""


def worker_name(node: str, number: int) -> str:
    """The name of a worker's lease and records."""
    return f"{node}.{number}"


def main(arguments: list[str]) -> int:
    """Run the worker whose pipe has this descriptor; its exit code."""
    from callcontrol.workers.worker import (
        run_worker,
    )  # late: it takes a second, in which the front speaks already

    sock = socket.socket(fileno=int(arguments[0]))
    sock.setblocking(False)
    pipe = Pipe(sock)
    first = _first_frame(pipe)
    if first is None or first.kind != BEGIN:
        return 1
    begin = msgspec.msgpack.decode(first.payload, type=Begin)
    settings = Settings.model_validate_json(begin.settings)
    logs.configure(settings.log.level, settings.log.format)
    names = [f"udp:{bracketed(each.host)}:{each.port}" for each in begin.sockets]
    descriptors = {(each.host, each.port): each.descriptor for each in begin.sockets}
    sockets = WorkerSockets(begin.number, descriptors)
    seat = Seat(begin.number, begin.workers, pipe, names, sockets)
    return run_worker(settings, seat, begin.node_pid, _source(begin))


def _source(begin: Begin) -> Source | None:
    if not begin.written:
        return None
    written = Settings.model_validate_json(begin.written)
    return Source(Path(begin.file) if begin.file else None, os.environ, written)


def _first_frame(pipe: Pipe) -> Frame | None:
    """The first frame; None: the front is gone, or says nothing."""
    while not pipe.broken:
        readable, _, _ = select.select([pipe.sock], [], [], PATIENCE_S)
        if not readable:
            return None
        found = pipe.read()
        if found:
            return found[0]
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
