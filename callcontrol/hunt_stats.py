"""Counters of hunts, read from the record of a call when it ends: the trace says how it hunted, the legs who rang how long."""

from __future__ import annotations

from typing import Final

import msgspec

from callcontrol.b2bua.leg import ELSEWHERE
from callcontrol.cdr import CallRecord, LegRecord
from callcontrol.histogram import Histogram
from callcontrol.metric import Metric
from dialplan import reasons
from dialplan import trace as words
from numbering.models import Strategy

RING_BOUNDS: Final[tuple[float, ...]] = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 180)
STRATEGIES: Final = tuple(strategy.value for strategy in Strategy)
HUNT_RESULTS: Final = (
    "answered",
    reasons.NO_ANSWER,
    reasons.BUSY,
    reasons.DECLINED,
    reasons.UNREACHABLE,
    "cancelled",
)
RING_RESULTS: Final = (
    "answered",
    "answered_elsewhere",
    reasons.NO_ANSWER,
    reasons.BUSY,
    reasons.DECLINED,
    "cancelled",
)
HUNT_METRICS: Final = (
    Metric(
        "hunt_rounds",
        "counter",
        "Rounds of hunts of Greetings, by what came of them.",
        {"strategy": STRATEGIES, "result": HUNT_RESULTS},
    ),
    Metric(
        "hunt_result",
        "counter",
        "Hunts of Greetings, by what the members said; cancelled: the caller went first.",
        {"strategy": STRATEGIES, "result": HUNT_RESULTS},
    ),
    Metric(
        "hunt_member_ring_seconds",
        "histogram",
        "How long members of Greetings rang, each round by itself.",
        {"strategy": STRATEGIES, "result": RING_RESULTS},
    ),
)
_WORDS: Final = {strategy.value.replace("_", " "): strategy.value for strategy in Strategy}
_RING_RESULTS: Final = {ELSEWHERE: "answered_elsewhere", reasons.CALLER_CANCELLED: "cancelled"}
_REPEATS: Final = "GRT-03"
_VERDICT: Final = "GRT-06"
_trace: Final = msgspec.json.Decoder(list[tuple[str, str, str, float]])


class HuntStats:
    """One per runner."""

    def __init__(self) -> None:
        self.rounds: dict[tuple[str, str], int] = {}
        """(strategy, result) -> rounds; those before the last one found nobody."""
        self.results: dict[tuple[str, str], int] = {}
        """(strategy, result) -> hunts that ended."""
        self.rings: dict[tuple[str, str], Histogram] = {}
        """(strategy, result) -> how long members rang, each round of each member by itself."""

    def ended(self, record: CallRecord) -> None:
        """Count the hunt of a call, if it hunted; a call without one costs a search in its trace."""
        if f'"{words.HUNT}"' not in record.trace:
            return
        strategy, rounds, verdict = "", 0, ""
        for rule, outcome, detail, _ in _trace.decode(record.trace):
            if outcome == words.HUNT and rule != _REPEATS:
                strategy = strategy or _WORDS.get(detail.partition(":")[0], "")
            elif rule == _REPEATS:
                rounds += outcome in (words.HUNT, "repeat")
                verdict = outcome if outcome == reasons.NO_ANSWER else verdict
            elif rule == _VERDICT and outcome in HUNT_RESULTS:
                verdict = outcome
        if not strategy or not rounds:
            return  # planned, and never begun
        result = verdict or ("answered" if record.answered_ms else "cancelled")
        _add(self.results, (strategy, result), 1)
        _add(self.rounds, (strategy, result), 1)
        if rounds > 1:
            _add(self.rounds, (strategy, reasons.NO_ANSWER), rounds - 1)
        self._rang(strategy, record)

    def _rang(self, strategy: str, record: CallRecord) -> None:
        """Devices of one member that ring together are one ringing."""
        members: dict[str, list[LegRecord]] = {}
        for leg in record.legs:
            if leg.role == "callee" and leg.user and leg.ringing_ms:
                members.setdefault(leg.user, []).append(leg)
        for legs in members.values():
            legs.sort(key=lambda leg: leg.ringing_ms)
            together = [legs[0]]
            for leg in legs[1:]:
                if leg.ringing_ms > max(_end(each) for each in together):
                    self._observe(strategy, together)
                    together = []
                together.append(leg)
            self._observe(strategy, together)

    def _observe(self, strategy: str, legs: list[LegRecord]) -> None:
        last = max(legs, key=lambda leg: (leg.answered_ms > 0, _end(leg)))
        result = "answered" if last.answered_ms and last.reason != ELSEWHERE else last.reason
        key = strategy, _RING_RESULTS.get(result, result)
        histogram = self.rings.get(key)
        if histogram is None:
            histogram = self.rings[key] = Histogram(RING_BOUNDS)
        histogram.observe(max(_end(last) - legs[0].ringing_ms, 0) / 1000)


def _end(leg: LegRecord) -> int:
    """When it stopped ringing, ms."""
    return leg.answered_ms or leg.ended_ms


def _add(table: dict[tuple[str, str], int], key: tuple[str, str], count: int) -> None:
    table[key] = table.get(key, 0) + count
