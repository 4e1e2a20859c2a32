"""What a metric is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

PREFIX: Final = "cloudline_"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.  ``labels`` maps each label to its legal values; an empty tuple is a set bounded by
    size.
    """

    name: str
    """Without prefix, and without ``_total`` for a counter (the exporter appends it)."""
    kind: str
    """``counter``, ``gauge``, ``histogram`` or ``info``."""
    help: str
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def series(self) -> tuple[str, ...]:
        """Names as Prometheus stores them."""
        full = PREFIX + self.name
        match self.kind:
            case "counter":
                return (f"{full}_total",)
            case "info":
                return (f"{full}_info",)
            case "histogram":
                return (f"{full}_bucket", f"{full}_count", f"{full}_sum")
            case _:
                return (full,)
