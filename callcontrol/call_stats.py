"""Counters and histograms of calls, as plain ints; read by ``callcontrol.metrics`` when Prometheus scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from callcontrol.b2bua.causes import CAUSES
from callcontrol.cdr import CallRecord
from callcontrol.histogram import Histogram
from callcontrol.hunt_stats import HuntStats

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call

SETUP_BOUNDS: Final[tuple[float, ...]] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
ANSWER_BOUNDS: Final[tuple[float, ...]] = (0.1, 0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 180)
DURATION_BOUNDS: Final[tuple[float, ...]] = (1, 6, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 86400)


class CallStats:
    """One per runner."""

    def __init__(self) -> None:
        self.total = 0
        self.attempts: dict[tuple[str, str, str, str], int] = {}
        """(direction, trunk, result, cause class) -> calls that ended."""
        self.refusals: dict[str, int] = {}
        self.setup: dict[tuple[str, str], Histogram] = {}
        self.answer: dict[tuple[str, str], Histogram] = {}
        self.duration: dict[tuple[str, str], Histogram] = {}
        self.unexpected: dict[str, int] = {}
        self.hunts = HuntStats()

    def started(self, call: Call) -> None:
        self.total += 1

    def ended(self, record: CallRecord) -> None:
        """Count the outcome of a call."""
        cause = CAUSES[record.reason]
        result = "answered" if record.answered_ms else cause.label
        key = (record.direction, record.trunk, result, f"{record.status // 100}xx")
        self.attempts[key] = self.attempts.get(key, 0) + 1
        if record.ended_by == "server" and not record.answered_ms and _is_refusal(record, result):
            self.refused(record.reason)
        self.hunts.ended(record)
        labels = (record.direction, record.trunk)
        if record.ringing_ms:
            _observe(self.setup, labels, SETUP_BOUNDS, record.ringing_ms - record.started_ms)
        if record.answered_ms:
            _observe(self.answer, labels, ANSWER_BOUNDS, record.answered_ms - record.started_ms)
            _observe(self.duration, labels, DURATION_BOUNDS, record.ended_ms - record.answered_ms)

    def refused(self, reason: str) -> None:
        """Count what was asked for within a call that goes on: the target of a transfer."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def ignored(self, names: list[str]) -> None:
        for name in names:
            self.unexpected[name] = self.unexpected.get(name, 0) + 1


def _is_refusal(record: CallRecord, result: str) -> bool:
    """We turned the call away: for a reason of ours, or before anybody was called (OUT-09)."""
    return result == "rejected" or (len(record.legs) < 2 and result != "cancelled")


def _observe(
    table: dict[tuple[str, str], Histogram], key: tuple[str, str], bounds: tuple[float, ...], took_ms: int
) -> None:
    histogram = table.get(key)
    if histogram is None:
        histogram = table[key] = Histogram(bounds)
    histogram.observe(took_ms / 1000)
