"""Counting what is in memory, for metrics: walks over the calls when Prometheus scrapes, never in between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.phases import PHASE_NAMES

LATE_S: Final = 5.0


def by_state(calls: Iterable[Call]) -> dict[str, int]:
    """Calls by the name of their phase."""
    found = dict.fromkeys(PHASE_NAMES, 0)
    for call in calls:
        found[PHASE_NAMES[call.phase]] += 1
    return found


def dialogs(calls: Iterable[Call]) -> int:
    """Dialogs, early ones included."""
    return sum(leg.usage.dialogs() for call in calls for leg in call.legs.values())


def past_deadline(calls: Iterable[Call], now: float) -> int:
    """Calls whose next deadline passed more than ``LATE_S`` seconds ago: nobody woke them, which is a bug."""
    return sum(1 for call in calls if call.next_deadline() < now - LATE_S)
