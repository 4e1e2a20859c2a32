"""``python -m loadtests.bench``: Cloudline, Kamailio and Sippy under the same load, in turns, with a report.

Servers run on core 0, SIPp on core 1, everything on loopback and on free ports.  Each stage visits the
servers in turns (A B C A B C ...), so that a machine that slows down slows them all.  Everything is bounded
in calls and time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loadtests import ports, proc, servers, sipp, step
from loadtests.report import Report
from loadtests.servers import Peer, UnavailableError
from loadtests.step import Cores, Load, Result, median, percentile

KEYS = ("compiled", "pure", "kamailio", "sippy", "alone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how often; all times in seconds, all rates per second."""

    rounds: int
    seconds: float
    search_seconds: float
    search_budget: float
    bisections: int
    ceiling: float
    hold: int
    hold_rate: float
    registers: float
    growth_numbers: int
    growth_bindings: int
    growth_calls: int


QUICK = Plan(
    rounds=2,
    seconds=5,
    search_seconds=3,
    search_budget=60,
    bisections=2,
    ceiling=6400,
    hold=1000,
    hold_rate=200,
    registers=300,
    growth_numbers=20_000,
    growth_bindings=4_000,
    growth_calls=2_000,
)
FULL = Plan(
    rounds=5,
    seconds=12,
    search_seconds=6,
    search_budget=240,
    bisections=4,
    ceiling=12800,
    hold=4000,
    hold_rate=250,
    registers=400,
    growth_numbers=100_000,
    growth_bindings=20_000,
    growth_calls=20_000,
)
SIPPY_RATE = 60.0
"""Sippy's B2BUA gives up for good above some 130 calls a second."""


def cores_of() -> Cores:
    """One core for the server and one for the generators, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    return Cores(server=cores[0], generator=cores[1]) if len(cores) > 1 else Cores(None, None)


class Bench:
    """One run: the participants, the stages, and what they fill into the report."""

    def __init__(self, plan: Plan, report: Report, folder: Path, wanted: list[str], nice: int) -> None:
        self.plan = plan
        self.report = report
        self.folder = folder
        self.cores = cores_of()
        self.nice = nice
        self.present: dict[str, Peer] = {}
        if self.cores.server is None:
            report.notes.append("only one core: server and SIPp shared it")
        for key in wanted:
            self._enter(key)

    def run(self, growth: bool) -> None:
        self._memory()
        self._highest()
        self._cost()
        self._registrations()
        self._stalls()
        self.close()
        if growth:
            self._growth()

    def close(self) -> None:
        for server in self.present.values():
            server.stop()

    # ---- participants

    def _enter(self, key: str) -> None:
        server = self._make(key, key)
        if server is None:
            return
        begin = time.monotonic()
        try:
            server.start()
        except (UnavailableError, OSError) as error:
            server.stop()
            self._say(f"{key} takes no part: {error}")
            self.report.notes.append(f"{key} took no part: {error}")
            return
        self.present[key] = server
        self.report.versions[key] = server.version()
        took = time.monotonic() - begin
        self._say(f"{server.name} {server.version()} at {server.address} after {took:.1f} s")

    def _make(self, key: str, name: str, users: int = 200, numbers: int = 0) -> Peer | None:
        folder = self.folder / name
        phone = sipp.Address(servers.PHONE_HOST, ports.free_port(servers.PHONE_HOST))
        match key:
            case "kamailio":
                return servers.Kamailio(folder, phone, self.cores.server, self.nice)
            case "sippy":
                return servers.Sippy(folder, phone, self.cores.server, self.nice)
            case "alone":
                return servers.Nobody(folder, phone, self.cores.server, self.nice)
            case "compiled" if not servers.has_compiled_core():
                self.report.notes.append("no compiled core: `make compile` was not done")
                return None
        compiled = key == "compiled"
        return servers.Cloudline(
            folder, phone, self.cores.server, self.nice, compiled=compiled, users=users, numbers=numbers
        )

    # ---- stages

    def _memory(self) -> None:
        """Memory first: a fresh server has no freed memory to reuse."""
        for key, server in self.present.items():
            if key == "alone":
                continue
            self._calls(key, Load(rate=20, seconds=2))
            self.report.set(key, "idle_mib", proc.pss_kib(server.pids) / 1024)
            rate = SIPPY_RATE if key == "sippy" else self.plan.hold_rate
            count = min(self.plan.hold, 1000) if key == "sippy" else self.plan.hold
            result = self._calls(key, Load(rate=rate, seconds=count / rate, hold=True))
            if result.completed >= result.asked * 0.99:
                self.report.set(key, "kib_per_call", result.kib_per_held_call)

    def _highest(self) -> None:
        """The highest clean rate: doubled until it fails, then bisected, within a time budget each."""
        for key in self.present:
            if key == "alone":
                continue
            end = time.monotonic() + self.plan.search_budget
            rate = SIPPY_RATE if key == "sippy" else 200.0
            good, best, bad = 0.0, None, 0.0
            while rate <= self.plan.ceiling and time.monotonic() < end:
                result = self._try(key, rate)
                if result is None:
                    bad = rate
                    break
                good, best = rate, result
                rate *= 1.5 if key == "sippy" else 2
            for _ in range(self.plan.bisections):
                if not good or not bad or bad - good < good * 0.06 or time.monotonic() > end + 60:
                    break
                middle = round((good + bad) / 2)
                result = self._try(key, middle)
                if result is None:
                    bad = middle
                else:
                    good, best = middle, result
            if best is not None:
                self.report.set(key, "highest", good)
                self.report.set(key, "load_highest", best.load)
                if best.generator_load > 0.9 and best.load < 0.9:
                    name = self.present[key].name
                    self.report.notes.append(f"SIPp's core was full at {name}'s highest rate")

    def _cost(self) -> None:
        """CPU and delay in turns: at a rate that Sippy bears, one shared by the others, and half of each."""
        known = {k: v["highest"] for k, v in self.report.figures.items() if "highest" in v}
        fast = [rate for key, rate in known.items() if key != "sippy"]
        slow = round(known.get("sippy", 2 * SIPPY_RATE) / 2)
        shared = round(min(fast) / 2) if fast else 0
        self.report.rates = {"slow": slow, "shared": shared}
        seen: dict[tuple[str, str], list[Result]] = {}
        for _ in range(self.plan.rounds):
            for key in list(self.present):
                rates = {"slow": slow}
                if key != "sippy" and shared:
                    rates["shared"] = shared
                if key in known:
                    rates["half"] = round(known[key] / 2)
                for name, rate in rates.items():
                    if name == "half" and rate in (slow, shared):
                        continue
                    probe = min(20.0, rate * 0.1)
                    load = Load(rate=rate - probe, seconds=self.plan.seconds, probe_rate=probe)
                    seen.setdefault((key, name), []).append(self._calls(key, load))
        for key in self.present:
            same = "shared" if known.get(key) and round(known[key] / 2) == shared else "slow"
            steps = {n: seen.get((key, n), []) for n in ("slow", "shared", "half")}
            steps["half"] = steps["half"] or (steps[same] if key in known else steps["shared"])
            for name, results in steps.items():
                clean = [r for r in results if r.clean]
                if len(clean) < len(results):
                    bad = f"{len(results) - len(clean)} of {len(results)} steps were not clean"
                    self.report.notes.append(f"{self.present[key].name} at {name}: {bad}")
                if key != "alone":
                    self.report.set(key, f"cpu_{name}", median([r.cpu_per_1000 for r in clean]))
            delays = [r.delays_ms for r in steps["half"] if r.clean]
            self.report.set(key, "delay_p50", median([percentile(d, 50) for d in delays]))
            self.report.set(key, "delay_p99", median([percentile(d, 99) for d in delays]))

    def _registrations(self) -> None:
        keys = [key for key, server in self.present.items() if server.registers]
        seen: dict[str, list[float]] = {key: [] for key in keys}
        for _ in range(self.plan.rounds):
            for key in keys:
                self._alive(key)
                result = step.registrations(
                    self.present[key],
                    self.plan.registers,
                    self.plan.seconds,
                    200,
                    self.cores,
                )
                self._note(result)
                if result.clean:
                    seen[key].append(result.cpu_per_1000)
        for key, values in seen.items():
            self.report.set(key, "cpu_register", median(values))

    def _stalls(self) -> None:
        for key, server in self.present.items():
            if isinstance(server, servers.Cloudline):
                self._stall(key, server.name)

    def _stall(self, key: str, name: str) -> None:
        """The longest within the steps that the server could bear: what a node that is asked for too much does is no figure."""
        seen = [step.stall_s for step in self.report.steps if step.server == name and step.clean]
        if any(seen):
            self.report.set(key, "stall_ms", max(seen) * 1000)

    def _growth(self) -> None:
        """CPU per call of a full server (numbers, bindings, calls up) to that of an empty one, in turns."""
        key = "compiled" if servers.has_compiled_core() else "pure"
        plan = self.plan
        empty = self._make(key, "growth-empty")
        full = self._make(key, "growth-full", plan.growth_bindings, plan.growth_numbers)
        if empty is None or full is None:
            return
        rate = self.report.rates.get("shared") or 200.0
        probe = Load(rate=min(rate, 400.0), seconds=plan.seconds)
        costs: dict[str, list[float]] = {"empty": [], "full": []}
        try:
            for server in (empty, full):
                server.start()
            bind = plan.growth_bindings / plan.registers
            self._note(step.registrations(full, plan.registers, bind, plan.growth_bindings, self.cores))
            with (
                step.callee_of(empty, probe.ring_ms, self.cores.generator) as near,
                step.callee_of(full, probe.ring_ms, self.cores.generator) as far,
                step.held_calls(full, plan.growth_calls, plan.hold_rate, self.cores.generator) as up,
            ):
                self._say(f"{up} calls up on the full server")
                if up < plan.growth_calls * 0.99:
                    self.report.notes.append(f"growth: only {up} of {plan.growth_calls} calls were up")
                for _ in range(max(3, plan.rounds)):
                    for name, server, callee in (("empty", empty, near), ("full", full, far)):
                        result = step.calls(server, probe, self.cores, callee)
                        result.kind = f"growth {name}"
                        self._note(result)
                        costs[name].append(result.cpu_per_1000)
                if isinstance(full, servers.Cloudline):
                    self._stall(key, full.name)
        except (UnavailableError, OSError) as error:
            self.report.notes.append(f"growth was not measured: {error}")
            return
        finally:
            empty.stop()
            full.stop()
        self.report.set(key, "growth", median(costs["full"]) / median(costs["empty"]))

    # ---- steps

    def _calls(self, key: str, load: Load) -> Result:
        self._alive(key)
        result = step.calls(self.present[key], load, self.cores)
        self._note(result)
        if result.aborted or result.failed > result.asked * 0.2:
            self._restart(key)
        return result

    def _try(self, key: str, rate: float) -> Result | None:
        """A step at a rate, with a second try: something else may have had the core."""
        for _ in range(2):
            result = self._calls(key, Load(rate=rate, seconds=self.plan.search_seconds))
            if result.clean:
                return result
            self._restart(key)
        return None

    def _alive(self, key: str) -> None:
        if not self.present[key].alive:
            self.report.notes.append(f"{self.present[key].name} had died: {self.present[key].last_lines()}")
            self._restart(key)

    def _restart(self, key: str) -> None:
        if key != "alone":
            self.present[key].stop()
            self.present[key].start()

    def _note(self, result: Result) -> None:
        self.report.steps.append(result)
        self._say(result.line())

    @staticmethod
    def _say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes: short steps, coarse search")
    parser.add_argument(
        "--growth", action="store_true", help="also a server full of numbers, bindings and calls"
    )
    parser.add_argument("--servers", default=",".join(KEYS), help=f"some of {','.join(KEYS)}")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="folder of the report")
    parser.add_argument("--nice", type=int, default=0, help="niceness of the servers, e.g. -10 (needs root)")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 when a target that must be met is missed"
    )
    arguments = parser.parse_args()
    wanted = [key for key in arguments.servers.split(",") if key]
    unknown = sorted(set(wanted) - set(KEYS))
    if unknown:
        parser.error(f"unknown servers {', '.join(unknown)}; there are {', '.join(KEYS)}")
    if not sipp.version():
        parser.error("sipp is not installed (Debian package sip-tester)")
    options = {"quick": arguments.quick, "growth": arguments.growth, "servers": wanted}
    report = Report(arguments.out, {**options, "sipp": sipp.version()})
    with tempfile.TemporaryDirectory(prefix="cloudline-bench-") as folder:
        bench = Bench(QUICK if arguments.quick else FULL, report, Path(folder), wanted, arguments.nice)
        try:
            bench.run(arguments.growth)
        finally:
            bench.close()
            report.write()
    print(f"\n{report.table()}\n\n{report.target_table()}\n")
    for note in report.notes:
        print(f"- {note}")
    print(f"\nwritten: {arguments.out / 'report.md'}, report.json, report.png, report.svg")
    missed = report.missed()
    if missed:
        print(f"missed: {'; '.join(missed)}")
    return 1 if arguments.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
