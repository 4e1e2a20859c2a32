"""SIPp as a load generator: one process, its counters, and what it says when it fails."""

from __future__ import annotations

import contextlib
import csv
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from loadtests import proc

SCENARIOS = Path(__file__).parent / "scenarios"


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def pair(self) -> tuple[str, int]:
        return self.host, self.port


@dataclass(frozen=True, slots=True)
class Counters:
    """What one SIPp counted until it ended; ``repeats`` are retransmissions it sent and received."""

    completed: int
    failed: int
    repeats: int
    seconds: float
    """From SIPp's start to its last statistics row."""


class Sipp:
    """One SIPp process on one core, writing its files into a folder of its own."""

    def __init__(
        self, name: str, scenario: str, local: Address, options: list[str], folder: Path, core: int | None
    ) -> None:
        self.name = name
        self.folder = folder
        self.cpu = 0.0
        self._stat = folder / f"{name}.csv"
        self._screen = folder / f"{name}.screen"
        command = ["sipp", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", local.host, "-p", str(local.port)]
        command += ["-nostdin", "-skip_rlimit", "-buff_size", "4194304", "-deadcall_wait", "1000"]
        command += ["-trace_stat", "-stf", str(self._stat), "-fd", "1", "-trace_counts", "-f", "3600"]
        # a busy core makes SIPp's own watchdog end the run: it may grumble without end instead
        command += ["-watchdog_minor_maxtriggers", "100000000", "-watchdog_major_maxtriggers", "100000000"]
        command += ["-max_recv_loops", "500", *options]
        with self._screen.open("wb") as screen:
            self.process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=screen, stderr=subprocess.STDOUT
            )
        if core is not None:
            proc.pin([self.process.pid], core)

    def running(self) -> bool:
        """Whether it still runs; also the moment to note its CPU time, which is gone once it ended."""
        if self.process.poll() is not None:
            return False
        self.cpu = max(self.cpu, proc.cpu_seconds([self.process.pid]))
        return True

    def finish(self, patience: float) -> None:
        """Let its calls end (SIGUSR1), then stop it."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(10)
            end = time.monotonic() + patience
            while time.monotonic() < end and self.running():
                time.sleep(0.05)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)

    def sent_repeats(self) -> int:
        """Retransmissions sent so far; cheap enough to ask while it runs."""
        return _number(self._last_row(), "Retransmissions(C)")

    def open_calls(self) -> int:
        """Calls that are up just now."""
        return _number(self._last_row(), "CurrentCall")

    def counters(self) -> Counters:
        row = self._last_row()
        repeats = max(_number(row, "Retransmissions(C)"), self._counted_repeats())
        return Counters(
            completed=_number(row, "SuccessfulCall(C)"),
            failed=_number(row, "FailedCall(C)"),
            repeats=repeats,
            seconds=_elapsed(row),
        )

    def complaint(self) -> str:
        """The lines of its screen that say why nothing worked, for the log of the bench."""
        words = ("error", "unable", "abort", "unexpected")
        text = self._screen.read_text(errors="replace") if self._screen.exists() else ""
        lines = [line.strip()[:160] for line in text.splitlines() if any(w in line.lower() for w in words)]
        return " | ".join(lines[:3])

    def _last_row(self) -> dict[str, str]:
        if not self._stat.exists():
            return {}
        with self._stat.open(newline="", errors="replace") as file:
            rows = [row for row in csv.reader(file, delimiter=";") if row]
        if len(rows) < 2:
            return {}
        last = rows[-1] if len(rows[-1]) >= len(rows[0]) - 1 else rows[-2]
        return dict(zip(rows[0], last, strict=False)) if last is not rows[0] else {}

    def _counted_repeats(self) -> int:
        total = 0
        for path in self.folder.glob(f"*_{self.process.pid}_counts.csv"):
            with path.open(newline="", errors="replace") as file:
                rows = [row for row in csv.reader(file, delimiter=";") if row]
            if len(rows) < 2:
                continue
            for column, value in zip(rows[0], rows[-1], strict=False):
                if column.endswith("_Retrans") and value.strip().isdigit():
                    total += int(value)
        return total


def version() -> str:
    """First line of ``sipp -v`` that names it, empty when SIPp is not installed."""
    try:
        done = subprocess.run(["sipp", "-v"], capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return ""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if "SIPp v" in line]
    return lines[0].rstrip(".") if lines else "SIPp"


def _number(row: dict[str, str], key: str) -> int:
    text = row.get(key, "").strip()
    return int(text) if text.isdigit() else 0


def _elapsed(row: dict[str, str]) -> float:
    """SIPp writes clocks as ``date TAB time TAB seconds.microseconds``."""
    try:
        begin = float(row["StartTime"].split("\t")[-1])
        end = float(row["CurrentTime"].split("\t")[-1])
    except (KeyError, ValueError):
        return 0.0
    return end - begin


def core_count() -> int:
    return len(os.sched_getaffinity(0))
