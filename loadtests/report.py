"""What a run leaves behind: report.json (everything), report.md (tables), and a plot."""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import asdict
from pathlib import Path

from loadtests.step import Result
from loadtests.targets import TARGETS, Figures

NAMES = {
    "compiled": "Cloudline, compiled",
    "pure": "Cloudline, pure",
    "kamailio": "Kamailio",
    "sippy": "Sippy B2BUA",
    "alone": "SIPp alone",
}
COLUMNS = (
    ("cpu_slow", "CPU s / 1000 calls, all at {slow:g}/s", 3),
    ("cpu_shared", "CPU s / 1000 calls, at {shared:g}/s", 3),
    ("cpu_half", "CPU s / 1000 calls, at half of highest", 3),
    ("highest", "highest clean rate, calls/s", 0),
    ("load_highest", "load of its core there", 2),
    ("kib_per_call", "KiB per held call", 1),
    ("delay_p50", "set-up delay p50, ms", 2),
    ("delay_p99", "p99, ms", 2),
    ("cpu_register", "CPU s / 1000 REGISTER", 3),
    ("idle_mib", "MiB idle", 1),
)


class Report:
    """Collects the figures and steps of one run and writes them."""

    def __init__(self, folder: Path, options: dict[str, object]) -> None:
        self.folder = folder
        self.options = options
        self.figures: Figures = {}
        self.versions: dict[str, str] = {}
        self.notes: list[str] = []
        self.steps: list[Result] = []
        self.rates: dict[str, float] = {"slow": math.nan, "shared": math.nan}

    def set(self, server: str, name: str, value: float) -> None:
        self.figures.setdefault(server, {})[name] = value

    def table(self) -> str:
        """The figures, a row for each server."""
        heads = [head.format(**self.rates) for _, head, _ in COLUMNS]
        lines = ["| server | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
        for key, name in NAMES.items():
            if key in self.figures:
                values = [_text(self.figures[key].get(column), digits) for column, _, digits in COLUMNS]
                version = f" {self.versions[key]}" if self.versions.get(key) else ""
                lines.append(f"| {name}{version} | " + " | ".join(values) + " |")
        return "\n".join(lines)

    def target_table(self) -> str:
        lines = ["| target | must | aim | this run | |", "|---|---:|---:|---:|---|"]
        for target in TARGETS:
            value, verdict = target.verdict(self.figures)
            sign = "≥" if target.at_least else "≤"
            must, aim = (f"{sign} {bound:.3g} {target.unit}" for bound in (target.must, target.aim))
            lines.append(f"| {target.what} | {must} | {aim} | {_text(value, 3)} | {verdict} |")
        return "\n".join(lines)

    def missed(self) -> list[str]:
        return [t.what for t in TARGETS if t.verdict(self.figures)[1] == "MISSED"]

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not plot(self.figures, self.rates, self.folder):
            self.notes.append("no plot: matplotlib is not installed (extra: bench)")
        content = {
            "machine": machine(),
            "options": self.options,
            "rates": _plain(self.rates),
            "versions": self.versions,
            "figures": {server: _plain(values) for server, values in self.figures.items()},
            "targets": [
                {
                    "what": t.what,
                    "unit": t.unit,
                    "must": t.must,
                    "aim": t.aim,
                    "value": _known(t.verdict(self.figures)[0]),
                    "verdict": t.verdict(self.figures)[1],
                }
                for t in TARGETS
            ],
            "notes": self.notes,
            "steps": [
                {
                    **asdict(step),
                    "clean": step.clean,
                    "cpu_per_1000": _known(step.cpu_per_1000),
                    "delays_ms": [round(delay, 3) for delay in step.delays_ms],
                }
                for step in self.steps
            ],
        }
        (self.folder / "report.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        (self.folder / "report.md").write_text(self._markdown())

    def _markdown(self) -> str:
        spent = sum(step.asked for step in self.steps)
        about = ", ".join(f"{key} {value}" for key, value in machine().items())
        notes = "".join(f"- {note}\n" for note in self.notes)
        return (
            "# Load and comparison\n\n"
            f"Machine: {about}. {len(self.steps)} steps, {spent} calls and registrations. Every figure\n"
            "is the median of its steps; servers took turns on one core, SIPp had the other.\n\n"
            f"{self.table()}\n\n![figures of the table](report.svg)\n\n"
            f"## Targets\n\n{self.target_table()}\n\n"
            + (f"## Notes\n\n{notes}\n" if notes else "")
            + "## Steps\n\n```\n"
            + "\n".join(step.line() for step in self.steps)
            + "\n```\n"
        )


def machine() -> dict[str, str]:
    """What matters of the machine for reading the figures."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def plot(figures: Figures, rates: dict[str, float], folder: Path) -> bool:
    """Six panels of bars, one bar for each server, as PNG and SVG; False where matplotlib is missing."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = (
        ("cpu_shared", f"CPU s per 1000 calls at {rates['shared']:g}/s"),
        ("cpu_slow", f"CPU s per 1000 calls at {rates['slow']:g}/s (log)"),
        ("highest", "highest clean rate, calls/s"),
        ("kib_per_call", "KiB per held call"),
        ("delay_p99", "set-up delay p50 and p99 at half, ms (log)"),
        ("cpu_register", "CPU s per 1000 REGISTER"),
    )
    colours = {
        "compiled": "#0b6e4f",
        "pure": "#6bbf59",
        "kamailio": "#4a6fa5",
        "sippy": "#b5651d",
        "alone": "#999",
    }
    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7), constrained_layout=True)
    for axis, (name, title) in zip(axes.flat, panels, strict=True):
        shown = [k for k in NAMES if not math.isnan(figures.get(k, {}).get(name, math.nan))]
        values = [figures[k][name] for k in shown]
        axis.bar([NAMES[k] for k in shown], values, color=[colours[k] for k in shown])
        if name == "delay_p99":
            axis.plot(
                [NAMES[k] for k in shown], [figures[k].get("delay_p50", math.nan) for k in shown], "k_", ms=24
            )
        if title.endswith("(log)") and values:
            axis.set_yscale("log")
        for place, value in enumerate(values):
            axis.text(place, value, f"{value:.3g}", ha="center", va="bottom", fontsize=9)
        axis.set_title(title, fontsize=10)
        axis.tick_params(axis="x", labelrotation=20, labelsize=8)
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"report.{suffix}", dpi=110)
    pyplot.close(figure)
    return True


def _text(value: float | None, digits: int) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    return {key: _known(value) for key, value in values.items()}
