"""What Linux tells about running processes: CPU time, memory, sockets; and the few things done to them.

Everything here works by pid.  Times are seconds, memory is KiB.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """All children of a process, theirs included."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = [int(text) for text in children.read_text().split()]
        except OSError:  # the task ended between the listing and the reading
            continue
        for child in pids:
            found.append(child)
            found.extend(descendants(child))
    return found


def family(pid: int) -> list[int]:
    """The process and all its descendants that still live."""
    return [p for p in [pid, *descendants(pid)] if Path(f"/proc/{p}").exists()]


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of the processes so far, ``utime + stime`` of /proc/PID/stat."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND


def pss_kib(pids: Iterable[int]) -> int:
    """Proportional set size: memory that several processes share is counted once."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def machine_seconds() -> tuple[float, float]:
    """(busy, stolen) seconds of all cores since boot; stolen is what the hypervisor gave to others."""
    values = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    busy = values[0] + values[1] + values[2] + values[5] + values[6]
    return busy / TICKS_PER_SECOND, values[7] / TICKS_PER_SECOND


def udp_drops(addresses: Iterable[tuple[str, int]]) -> int:
    """Datagrams lost at full receive buffers of the UDP sockets bound to the addresses."""
    wanted = set(addresses)
    total = 0
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        host_hex, port_hex = fields[1].split(":")
        host = socket.inet_ntoa(struct.pack("<I", int(host_hex, 16)))
        if (host, int(port_hex, 16)) in wanted:
            total += int(fields[-1])
    return total


def pin(pids: Iterable[int], core: int) -> None:
    """Bind every thread of the processes to one core."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with contextlib.suppress(OSError):  # the thread may have ended
                os.sched_setaffinity(int(task.name), {core})


def raise_priority(pids: Iterable[int], nice: int) -> None:
    """Niceness of the processes and, where the kernel schedules by session, of their session (needs root)."""
    for pid in pids:
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, int(task.name), nice)


def stop(process: subprocess.Popen[bytes], patience: float = 5.0) -> int:
    """End a process that we started (TERM, then KILL, its descendants too) and return its exit code."""
    others = descendants(process.pid) if process.poll() is None else []
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    code = process.wait(5)
    for pid in others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return code


def wait_until(condition: Callable[[], bool], timeout: float, step: float = 0.05) -> bool:
    """Ask ``condition()`` until it is true or the time is over."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(step)
    return condition()


def pin_thread(native_id: int, core: int) -> None:
    """Bind one thread to a core; a thread that has ended is left alone."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(native_id, {core})


def udp_bound(address: tuple[str, int]) -> bool:
    """Whether some process has a UDP socket bound to the address."""
    wanted = f"{struct.unpack('<I', socket.inet_aton(address[0]))[0]:08X}:{address[1]:04X}"
    return any(line.split()[1] == wanted for line in Path("/proc/net/udp").read_text().splitlines()[1:])
