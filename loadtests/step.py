"""One step of load against one server: SIPp on both sides (or registering), and everything read beside it."""

from __future__ import annotations

import math
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtests import ports, proc
from loadtests.phone import Probe
from loadtests.registering import Generator
from loadtests.servers import CALLED, DOMAIN, TRUNK_HOST, Peer
from loadtests.sipp import Address, Counters, Sipp

FAILED_MAX = 0.001
REPEATED_MAX = 0.005
DONE_MIN = 0.97
"""A step is clean when fewer calls failed, fewer messages were repeated, and the rate asked for was kept."""
GRACE_S = 0.25
"""Part of a step that is not held against the rate: SIPp's ticks and the delay of the last calls."""
NOTHING = Counters(completed=0, failed=0, repeats=0, seconds=0.0)


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the server has to itself, and which the generators; None: not pinned."""

    server: int | None
    generator: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one step asks for.  ``hold`` keeps all calls up until the last is answered (memory figure)."""

    rate: float
    seconds: float
    ring_ms: int = 100
    talk_ms: int = 500
    probe_rate: float = 0.0
    hold: bool = False

    @property
    def calls(self) -> int:
        return max(1, round(self.rate * self.seconds))


@dataclass(slots=True, kw_only=True)
class Result:
    """What one step showed."""

    server: str
    kind: str
    rate: float
    asked: int
    completed: int
    failed: int
    repeats: int
    drops: int
    cpu_s: float
    """CPU seconds of the server and its children over the step."""
    achieved: float
    """Completed calls a second, the time of the last call's talk taken off."""
    load: float
    """Share of its core that the server used."""
    generator_load: float
    other_load: float
    stolen: float
    """CPU of other processes, and given away by the hypervisor, in cores."""
    pss_before: int
    pss_held: int = 0
    core_ns: float = 0.0
    """How slow the core was just then: ns of CPU for one turn of a fixed loop."""
    delays_ms: list[float] = field(default_factory=list)
    probes: int = 0
    probes_failed: int = 0
    aborted: bool = False
    complaint: str = ""
    stall_s: float = 0.0
    """Upper bound of the longest lag of the server's event loop within the step; 0: it does not tell."""

    @property
    def cpu_per_1000(self) -> float:
        done = self.completed + self.probes - self.probes_failed
        return self.cpu_s / done * 1000 if done else math.nan

    @property
    def kib_per_held_call(self) -> float:
        return (self.pss_held - self.pss_before) / self.asked if self.pss_held else math.nan

    @property
    def clean(self) -> bool:
        return (
            not self.aborted
            and self.failed <= self.asked * FAILED_MAX
            and self.repeats <= self.asked * REPEATED_MAX
            and self.achieved >= self.rate * DONE_MIN
            and self.probes_failed <= self.probes * 0.002
        )

    def line(self) -> str:
        parts = [
            "clean" if self.clean else "FAILED",
            f"{self.server:20s} {self.kind:8s} {self.rate:6g}/s",
            f"{self.completed}/{self.asked} failed {self.failed} repeats {self.repeats} drops {self.drops}",
            f"cpu/1000 {self.cpu_per_1000:.3f} s, load {self.load:.2f}, SIPp {self.generator_load:.2f}",
            f"others {self.other_load:.2f} stolen {self.stolen:.2f} core {self.core_ns:.0f} ns",
        ]
        if self.delays_ms:
            parts.append(
                f"delay {percentile(self.delays_ms, 50):.2f}/{percentile(self.delays_ms, 99):.2f} ms"
            )
        if self.pss_held:
            parts.append(f"{self.kib_per_held_call:.1f} KiB a held call")
        if self.complaint:
            parts.append(self.complaint)
        return "; ".join(parts)


def percentile(values: list[float], percent: float) -> float:
    """Nearest-rank percentile; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def median(values: list[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return statistics.median(known) if known else math.nan


class _CoreSpeed(threading.Thread):
    """A millisecond of fixed work now and then on the server's core: a shared machine varies in speed."""

    def __init__(self, core: int | None) -> None:
        super().__init__(daemon=True)
        self._core = core
        self._ended = threading.Event()
        self._seen: list[float] = []

    def run(self) -> None:
        if self._core is not None:
            proc.pin_thread(threading.get_native_id(), self._core)
        table: dict[int, str] = {}
        while not self._ended.wait(0.5):
            begin = time.thread_time_ns()
            for i in range(4000):
                table[i & 511] = str(i)
            self._seen.append((time.thread_time_ns() - begin) / 4000)

    def value(self) -> float:
        self._ended.set()
        self.join(2)
        return statistics.fmean(self._seen) if self._seen else 0.0


def longest(before: dict[float, float], after: dict[float, float]) -> float:
    """Upper bound of the longest of the lags that came between two readings, seconds; 0: there were none."""
    fresh = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    total = max(fresh.values(), default=0.0)
    return min((bound for bound, count in fresh.items() if count >= total > 0), default=0.0)


class _Watch:
    """The readings before and after a step."""

    def __init__(self, server: Peer, core: int | None, sockets: list[Address]) -> None:
        self._server = server
        self._pids = server.pids
        self._sockets = [a.pair for a in sockets]
        self._speed = _CoreSpeed(core)
        self._speed.start()
        self._lags = server.lags()
        self.pss_before = proc.pss_kib(self._pids)
        self._cpu = proc.cpu_seconds(self._pids)
        self._machine = proc.machine_seconds()
        self._drops = proc.udp_drops([server.address.pair])
        self.drops = 0
        self._begin = time.monotonic()

    def look(self) -> None:
        """SIPp's sockets vanish with it: note the drops while they are there."""
        self.drops = max(self.drops, proc.udp_drops(self._sockets) - self._drops)

    def result(
        self,
        kind: str,
        load: Load,
        caller: Sipp | Generator,
        callee: Sipp | None,
        probe: Probe | None,
        aborted: bool,
    ) -> Result:
        wall = time.monotonic() - self._begin
        pids = self._server.pids or self._pids
        cpu = proc.cpu_seconds(pids) - self._cpu
        busy, stolen = proc.machine_seconds()
        calls, far = caller.counters(), callee.counters() if callee else NOTHING
        missing = max(0, load.calls - calls.completed - calls.failed)
        tail = (load.talk_ms + load.ring_ms) / 1000 if callee else 0.0
        generator = caller.cpu + (callee.cpu if callee else 0.0)
        busy_here = busy - self._machine[0]
        active = max(load.calls / load.rate, 0.1)
        return Result(
            server=self._server.name,
            kind=kind,
            rate=load.rate + load.probe_rate,
            asked=load.calls,
            completed=calls.completed,
            failed=calls.failed + missing,
            repeats=calls.repeats + far.repeats,
            drops=self.drops,
            cpu_s=cpu,
            achieved=calls.completed / max(0.05, calls.seconds - tail - GRACE_S) + load.probe_rate,
            load=cpu / active,
            generator_load=generator / active,
            other_load=max(0.0, busy_here - cpu - generator) / wall,
            stolen=(stolen - self._machine[1]) / wall,
            pss_before=self.pss_before,
            stall_s=longest(self._lags, self._server.lags() if self._server.alive else {}),
            core_ns=self._speed.value(),
            delays_ms=list(probe.delays_ms) if probe else [],
            probes=probe.made if probe else 0,
            probes_failed=probe.failed if probe else 0,
            aborted=aborted,
            complaint=(caller.complaint() or (callee.complaint() if callee else ""))
            if not calls.completed
            else "",
        )


@contextmanager
def callee_of(server: Peer, ring_ms: int, core: int | None) -> Iterator[Sipp]:
    """The softphone that answers all calls of several steps."""
    with tempfile.TemporaryDirectory(prefix="cloudline-bench-") as name:
        callee = Sipp("callee", "softphone", server.phone, ["-d", str(ring_ms)], Path(name), core)
        try:
            time.sleep(0.4)
            yield callee
        finally:
            callee.finish(0.2)


@contextmanager
def held_calls(server: Peer, count: int, rate: float, core: int | None) -> Iterator[int]:
    """Calls that are up and stay up; yields how many of them SIPp believes to be up (needs ``callee_of``)."""
    with tempfile.TemporaryDirectory(prefix="cloudline-bench-") as name:
        local = Address(TRUNK_HOST, ports.free_port(TRUNK_HOST))
        options = [str(server.address), "-s", CALLED, "-r", f"{rate:g}", "-m", str(count), "-l", str(count)]
        holder = Sipp("holder", "trunk_caller", local, [*options, "-d", "1800000"], Path(name), core)
        try:
            end = time.monotonic() + count / rate + 10
            while holder.running() and time.monotonic() < end and holder.open_calls() < count:
                time.sleep(0.5)
            time.sleep(3)
            yield holder.open_calls()
        finally:
            holder.process.kill()
            holder.process.wait(5)


def calls(
    server: Peer,
    load: Load,
    cores: Cores,
    callee: Sipp | None = None,
) -> Result:
    """Carry out one step of calls: trunk to softphone, answered, talked, hung up by the caller."""
    if callee is None:
        with callee_of(server, load.ring_ms, cores.generator) as own:
            return _calls(server, load, cores, own, own_callee=True)
    return _calls(server, load, cores, callee, own_callee=False)


def _calls(server: Peer, load: Load, cores: Cores, callee: Sipp, *, own_callee: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="cloudline-bench-") as name:
        folder = Path(name)
        server.settle()
        caller_address = Address(TRUNK_HOST, ports.free_port(TRUNK_HOST))
        watch = _Watch(server, cores.server, [server.address, server.phone, caller_address])
        talk_ms = round(load.seconds * 1000) + 4000 if load.hold else load.talk_ms
        limit = load.seconds + talk_ms / 1000 + load.ring_ms / 1000 + 8
        together = math.ceil(load.rate * ((talk_ms + load.ring_ms) / 1000 + 5)) + 100
        options = [str(server.address), "-s", CALLED, "-r", f"{load.rate:g}", "-m", str(load.calls)]
        options += ["-d", str(talk_ms), "-l", str(together), "-timeout", f"{math.ceil(limit)}s"]
        caller = Sipp("caller", "trunk_caller", caller_address, options, folder, cores.generator)
        probe = None
        if load.probe_rate:
            probe = Probe(server.address, TRUNK_HOST, CALLED, load.probe_rate, max(1.0, load.seconds - 0.5))
            probe.start()
            if cores.generator is not None:
                proc.pin_thread(probe.native_id or 0, cores.generator)
        held = 0
        aborted = False
        begin = time.monotonic()
        while caller.running() and time.monotonic() - begin < limit + 4:
            callee.running()
            watch.look()
            if caller.sent_repeats() > max(60, load.calls * 0.05) or not server.alive:
                aborted = True
                break
            if load.hold and not held and time.monotonic() - begin > load.seconds + load.ring_ms / 1000 + 2:
                held = proc.pss_kib(server.pids)
            time.sleep(0.25)
        if probe:
            probe.join(8)
        caller.finish(0.2 if aborted else 2)
        if own_callee:
            callee.finish(0.2 if aborted else 3)
        short = replace(load, talk_ms=talk_ms)
        result = watch.result("hold" if load.hold else "calls", short, caller, callee, probe, aborted)
        result.pss_held = held
        return result


def registrations(
    server: Peer,
    rate: float,
    seconds: float,
    users: int,
    cores: Cores,
) -> Result:
    """Carry out one step of registrations with digest: each is REGISTER, 401, REGISTER, 200."""
    load = Load(rate=rate, seconds=seconds)
    with tempfile.TemporaryDirectory(prefix="cloudline-bench-") as name:
        folder = Path(name)
        server.settle()
        watch = _Watch(server, cores.server, [server.address])
        begin = time.monotonic()
        maker = Generator(
            server.address, TRUNK_HOST, rate, load.calls, users, DOMAIN, folder, cores.generator
        )
        aborted = False
        while maker.running():
            watch.look()
            if not server.alive or time.monotonic() - begin > seconds * 2 + 30:
                aborted = True
                break
            time.sleep(0.25)
        maker.finish(0.2 if aborted else 2)
        return watch.result("register", load, maker, None, None, aborted)
