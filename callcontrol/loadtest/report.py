"""What a load run showed: how many went well, what became of the others, and how long the steps took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PERCENTILES = (50, 95, 99, 100)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed; of ascending values, at least one."""
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of one run."""

    kind: str
    """``calls`` or ``registrations``."""
    asked: int
    completed: int
    failures: Mapping[str, int]
    """What went wrong -> how often: a SIP status with its phrase, or a word of ours."""
    seconds: float
    """From the first one's begin to the last one's end."""
    asked_rate: float
    rate: float
    """Begun per second."""
    retransmissions: int
    """Requests and responses that the generator had to send again."""
    delays_s: Mapping[str, Sequence[float]]
    """Step -> how long it took, of each, seconds."""

    @property
    def failed(self) -> int:
        return self.asked - self.completed

    def view(self) -> dict[str, object]:
        """For ``--json``; delays in milliseconds."""
        return {
            "kind": self.kind,
            "asked": self.asked,
            "completed": self.completed,
            "failed": self.failed,
            "failures": dict(self.failures),
            "seconds": round(self.seconds, 3),
            "rate_asked": self.asked_rate,
            "rate": round(self.rate, 2),
            "retransmissions": self.retransmissions,
            "delays_ms": {
                step: {f"p{percent}": round(value, 2) for percent, value in self._percentiles(step)}
                for step in self.delays_s
            },
        }

    def lines(self) -> list[str]:
        """The same for people."""
        told = [
            f"{self.asked} {self.kind} in {self.seconds:.1f} s, {self.rate:.1f} a second "
            f"({self.asked_rate:g} asked for): {self.completed} completed, {self.failed} failed, "
            f"{self.retransmissions} messages sent again"
        ]
        told += [f"  {count} failed: {what}" for what, count in sorted(self.failures.items())]
        for step in self.delays_s:
            shown = ", ".join(
                f"{'max' if percent == 100 else f'p{percent}'} {value:.1f} ms"
                for percent, value in self._percentiles(step)
            )
            told.append(f"  {step}: {shown or 'never happened'}")
        return told

    def _percentiles(self, step: str) -> list[tuple[int, float]]:
        ordered = sorted(self.delays_s[step])
        return [(percent, percentile(ordered, percent) * 1000) for percent in PERCENTILES] if ordered else []
