"""``/metrics``: a collector that reads the plain counters of the parts when Prometheus scrapes.

Parts count in plain ints, dicts and :class:`~callcontrol.histogram.Histogram` objects of their own (a
prometheus counter costs twenty times as much).  The wiring registers, once, how each metric of the catalogue
is read::

    metrics = Metrics(version="0.1.0", started_at=now)
    # {(direction, method, class, transport): n}
    metrics.register("sip_messages", lambda: endpoint.counters.messages)
    # one label: the value alone is the key
    metrics.register("cdr_outbox_depth", lambda: {"sql": outbox.depth})
    # no label: a number
    metrics.register("directory_up", lambda: cache.healthy)
    # {(direction, trunk): Histogram}
    metrics.register("call_setup_seconds", lambda: calls.setup_seconds)

Keys are tuples in the order of the catalogue's labels.  A value outside a closed label set is counted as
``other`` (so a stranger cannot make series), and a set without fixed values is cut at ``MAX_OPEN_VALUES``.  A
reader that raises leaves out its own metric, is counted in ``cloudline_metrics_read_errors_total``, and
disturbs nothing else.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from callcontrol.metric_catalogue import CATALOGUE, MAX_OPEN_VALUES, PREFIX, Metric

CONTENT_TYPE = CONTENT_TYPE_LATEST
_READ_ERRORS = "metrics_read_errors"


class HistogramLike(Protocol):
    """What is read of a histogram; :class:`callcontrol.histogram.Histogram` offers it."""

    @property
    def bounds(self) -> Sequence[float]: ...
    @property
    def counts(self) -> Sequence[int]: ...
    @property
    def total(self) -> float: ...


Key: TypeAlias = str | tuple[str, ...]
Reading: TypeAlias = (
    float | HistogramLike | Mapping[Key, float] | Mapping[Key, HistogramLike] | Mapping[str, str]
)
"""A number, a histogram, or a mapping from label values to either; for an ``info`` metric, label -> value."""
Reader: TypeAlias = Callable[[], object]
"""Returns a :data:`Reading`.  Typed loosely because mappings are invariant in their keys."""


class Metrics(Collector):
    """All metrics of one node.  Synchronous; a scrape of a busy node takes a few milliseconds."""

    def __init__(self, version: str, started_at: float, core: str = "interpreted") -> None:
        self._readers: dict[str, list[Reader]] = {}
        self._read_errors: dict[str, int] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(namespace="cloudline", registry=self._registry)
        GCCollector(registry=self._registry)
        self.register(
            "build", lambda: {"version": version, "python": platform.python_version(), "core": core}
        )
        self.register("start_time_seconds", lambda: started_at)
        self.register(_READ_ERRORS, lambda: self._read_errors)

    def register(self, name: str, read: Reader) -> None:
        """Read the metric ``name`` (without prefix) by calling ``read`` at every scrape.

        Several parts may register one metric (two drivers, say): their readings are added up, or set side by
        side where their labels differ.  Raises ValueError for a name that the catalogue does not list.
        """
        if name not in CATALOGUE:
            raise ValueError(f"{name!r} is not in callcontrol.metric_catalogue")
        self._readers.setdefault(name, []).append(read)

    def register_all(self, readers: Mapping[str, Reader]) -> None:
        """Register several metrics at once: name -> reader."""
        for name, read in readers.items():
            self.register(name, read)

    @property
    def registered(self) -> frozenset[str]:
        """Names that have a reader."""
        return frozenset(self._readers)

    def render(self) -> bytes:
        """The page for Prometheus, in its text format; see :data:`CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def families(self) -> Iterable[Family]:
        """What `render` writes, to be put together with what other processes of the node counted."""
        return self._registry.collect()

    def collect(self) -> Iterator[Family]:
        """Read every registered metric (called by prometheus-client)."""
        for name in sorted(
            self._readers, key=lambda name: name == _READ_ERRORS
        ):  # last: it counts the others
            metric, readers = CATALOGUE[name], self._readers[name]
            readings = []
            for read in readers:
                try:
                    readings.append(read())
                except Exception:  # noqa: BLE001 - counted; a broken part must not take the page away
                    self._read_errors[name] = self._read_errors.get(name, 0) + 1
            try:
                family = _family(metric, readings)
            except (TypeError, ValueError):
                self._read_errors[name] = self._read_errors.get(name, 0) + 1
                continue
            if readings:
                yield family


def _family(metric: Metric, readings: Iterable[object]) -> Family:
    """One family from the readings of all parts.  Raises TypeError or ValueError for readings of the
    wrong shape.
    """
    name = PREFIX + metric.name
    labels = list(metric.labels)
    if metric.kind == "info":
        info = InfoMetricFamily(name, metric.help)
        for reading in readings:
            if not isinstance(reading, Mapping):
                raise TypeError(f"{metric.name}: an info metric is read as a mapping")
            info.add_metric([], {label: str(reading.get(label, "")) for label in labels})
        return info
    if metric.kind == "histogram":
        family = HistogramMetricFamily(name, metric.help, labels=labels)
        for key, histogram in _sum_histograms(metric, readings).items():
            bounds, counts, total = histogram
            cumulative = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip([*(str(float(b)) for b in bounds), "+Inf"], counts, strict=True):
                cumulative += count
                buckets.append((bound, cumulative))
            family.add_metric(list(key), buckets, total)
        return family
    values: dict[tuple[str, ...], float] = {}
    for reading in readings:
        for key, value in _entries(metric, reading):
            values[key] = values.get(key, 0.0) + _number(value)
    plain: CounterMetricFamily | GaugeMetricFamily
    if metric.kind == "counter":
        plain = CounterMetricFamily(name, metric.help, labels=labels)
    else:
        plain = GaugeMetricFamily(name, metric.help, labels=labels)
    for key, value in values.items():
        plain.add_metric(list(key), value)
    return plain


def _sum_histograms(
    metric: Metric, readings: Iterable[object]
) -> dict[tuple[str, ...], tuple[Sequence[float], list[int], float]]:
    sums: dict[tuple[str, ...], tuple[Sequence[float], list[int], float]] = {}
    for reading in readings:
        for key, value in _entries(metric, reading):
            bounds, counts, total = _histogram(value)
            if key in sums:
                known, before, sum_before = sums[key]
                if tuple(known) != tuple(bounds):
                    raise ValueError(f"{metric.name}: two parts use different buckets")
                counts = [a + b for a, b in zip(before, counts, strict=True)]
                total += sum_before
            sums[key] = (bounds, counts, total)
    return sums


def _number(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(f"{value!r} is not a number")


def _histogram(value: object) -> tuple[Sequence[float], list[int], float]:
    bounds = getattr(value, "bounds", None)
    counts = getattr(value, "counts", None)
    total = getattr(value, "total", None)
    if bounds is None or counts is None or total is None:
        raise TypeError("a histogram has bounds, counts and a total")
    return bounds, list(counts), float(total)


def _entries(metric: Metric, reading: object) -> Iterator[tuple[tuple[str, ...], object]]:
    """Label values -> value, with every label value brought into its closed set."""
    if not metric.labels:
        if isinstance(reading, Mapping):
            raise TypeError(f"{metric.name} has no labels but was read as a mapping")
        yield (), reading
        return
    if not isinstance(reading, Mapping):
        raise TypeError(
            f"{metric.name} has the labels {', '.join(metric.labels)} but was not read as a mapping"
        )
    for count, (key, value) in enumerate(reading.items()):
        if count >= MAX_OPEN_VALUES * len(metric.labels):
            return
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != len(metric.labels):
            raise ValueError(f"{metric.name}: {parts!r} does not fit the labels {', '.join(metric.labels)}")
        yield (
            tuple(
                str(part) if not legal or part in legal else "other"
                for part, legal in zip(parts, metric.labels.values(), strict=True)
            ),
            value,
        )
