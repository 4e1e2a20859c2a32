"""A page of ``/metrics`` in which every metric of the catalogue has values, for tests of rules and
dashboards.
"""

from __future__ import annotations

from functools import partial
from itertools import product

from callcontrol.histogram import SETUP_SECONDS, Histogram
from callcontrol.metric_catalogue import CATALOGUE, Metric
from callcontrol.metrics import Metrics


def sample_keys(metric: Metric) -> list[tuple[str, ...]]:
    """At most a dozen legal combinations of label values."""
    return list(product(*(values[:2] if values else ("carrier-a",) for values in metric.labels.values())))[
        :12
    ]


def full_metrics() -> Metrics:
    """A node's metrics with a fake part behind every name."""
    metrics = Metrics(version="0.0.0", started_at=1.0)
    for name, metric in CATALOGUE.items():
        if name in metrics.registered:
            continue
        metrics.register(name, partial(sample, metric))
    return metrics


def sample(metric: Metric) -> object:
    """A reading of the right shape."""
    if metric.kind == "info":
        return dict.fromkeys(metric.labels, "1")
    if metric.kind == "histogram":
        histogram = Histogram(SETUP_SECONDS)
        histogram.observe(0.3)
        return dict.fromkeys(sample_keys(metric), histogram) if metric.labels else histogram
    return dict.fromkeys(sample_keys(metric), 1) if metric.labels else 1
