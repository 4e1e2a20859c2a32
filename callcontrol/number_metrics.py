"""Metrics of the number inventory; a part of `callcontrol.metric_catalogue`."""

from __future__ import annotations

from typing import Final

from callcontrol.metric import Metric
from numbering.lifecycle import Action
from numbering.messages import Outcome
from numbering.models import NumberState

NUMBER_METRICS: Final = (
    Metric(
        "numbers",
        "gauge",
        "Numbers of the inventory by their state.",
        {"state": tuple(map(str, NumberState))},
    ),
    Metric(
        "number_changes",
        "counter",
        "Changes of numbers that this node made.",
        {"action": tuple(map(str, Action))},
    ),
    Metric("number_duty", "gauge", "1 on the node that does for all what time asks of numbers.", {}),
    Metric("number_overdue_seconds", "gauge", "How late the latest work of that node was.", {}),
    Metric("number_clock_failures", "counter", "Work of that node that failed.", {}),
    Metric("number_messages_waiting", "gauge", "Messages to lines that nobody has sent.", {}),
    Metric("number_messages_stuck", "gauge", "Messages to lines that no sender tries any more.", {}),
    Metric(
        "number_messages",
        "counter",
        "Messages to lines that were to be handed over, by what came of it.",
        {"outcome": tuple(map(str, Outcome))},
    ),
)
