"""Ports for servers that are started a moment later, by several runs and workers at once.

A port that is free when it is asked for may be taken by the time the server binds it, and whoever then asks "are you
there?" gets another's yes.  So ports are taken from below the range the kernel gives out itself, and each that was given is
written down, in a file that all processes of the machine's user share, and not given again for two minutes.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
import time
from pathlib import Path

_LOWEST = 10_000
_KEPT_S = 120.0
_TRIES = 500


def free_port(host: str = "127.0.0.1", beside: int = 0) -> int:
    """A port of ``host`` that nobody has, for UDP and TCP; with ``beside``, one whose neighbour so far above is free as well.

    Raises ``OSError`` when none is found.
    """
    highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]) - beside
    held = Path(tempfile.gettempdir(), f"cloudline-ports-{os.getuid()}")
    with held.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        now = time.time()
        entries = [line.split() for line in file]
        kept = {int(port): float(end) for port, end in entries if now < float(end) <= now + _KEPT_S}
        for _ in range(_TRIES):
            port = random.randrange(_LOWEST, max(highest, _LOWEST + 1_000))
            wanted = {port, port + beside}
            if kept.keys().isdisjoint(wanted) and all(_is_free(host, each) for each in wanted):
                break
        else:
            raise OSError(f"no free port found on {host}")
        kept |= dict.fromkeys(wanted, now + _KEPT_S)
        file.truncate(0)
        file.writelines(f"{each} {end}\n" for each, end in kept.items())
    return port


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.bind((host, port))
    except OSError:
        return False
    return True
