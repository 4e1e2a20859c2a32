"""One metrics page of all workers: what each of them counted, put together metric by metric.

Counters and histograms are summed, and so are gauges that tell of what a worker has for itself (calls, connections, memory).
A gauge of something that all workers see alike, each its own copy of it, is not: of those the highest or the lowest counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from callcontrol.metric_catalogue import PREFIX

HIGHEST: Final = frozenset(
    {
        "bans_active",  # told to all
        "cdr_oldest_unsent_seconds",
        "directory_age_seconds",
        "draining",
        "gateway_numbers",
        "leases",  # of all nodes
        "number_duty",
        "number_messages_stuck",
        "number_messages_waiting",
        "number_overdue_seconds",
        "numbers",
        "outgoing_slots",  # of all nodes
        "queue_delay_seconds",
        "rates",
        "trunk_channel_limit",
        "trunk_channels",  # of all nodes
        "trunk_peer_state",
        "trunk_registered",  # one worker registers
        "trunk_up",
    }
)
LOWEST: Final = frozenset(
    {
        "directory_up",
        "mqtt_up",
        "process_max_fds",
        "process_start_time_seconds",
        "redis_up",
        "registrations_known",  # by all workers
        "start_time_seconds",
        "tls_certificate_expiry_timestamp_seconds",
    }
)
SUMMED: Final = frozenset(
    {
        "calls",
        "calls_past_deadline",
        "calls_waiting",
        "cdr_outbox_depth",
        "connections",
        "dialogs",
        "mqtt_waiting",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "registrations",
        "sip_transactions",
        "store_unsaved_calls",
        "workers",
    }
)

Samples = list[tuple[str, dict[str, str], float]]
Page = list[tuple[str, str, str, Samples]]
"""Families: name, type, help, samples.  Plain data, fit for MessagePack."""


def page_of(families: Iterable[Family]) -> Page:
    """What one process counted."""
    return [
        (
            family.name,
            family.type,
            family.documentation,
            [(sample.name, dict(sample.labels), float(sample.value)) for sample in family.samples],
        )
        for family in families
    ]


class _Sums:
    """One family of all processes."""

    __slots__ = ("documentation", "kind", "name", "values")

    def __init__(self, name: str, kind: str, documentation: str) -> None:
        self.name = name
        self.kind = kind
        self.documentation = documentation
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def add(self, samples: Iterable[Sequence[object]]) -> None:
        short = self.name.removeprefix(PREFIX)
        for name, labels, value in samples:
            assert isinstance(labels, dict)
            assert isinstance(value, float)
            key = (str(name), tuple(sorted(labels.items())))
            known = self.values.get(key)
            if known is None or self.kind == "info":
                self.values[key] = value
            elif short in HIGHEST:
                self.values[key] = max(known, value)
            elif short in LOWEST:
                self.values[key] = min(known, value)
            else:
                self.values[key] = known + value


class _Merged(Collector):
    def __init__(self, families: Iterable[_Sums]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        for sums in self._families:
            family = Family(sums.name, sums.documentation, sums.kind)
            family.samples = [
                Sample(name, dict(labels), value) for (name, labels), value in sums.values.items()
            ]
            yield family


def merged(pages: Sequence[Page]) -> bytes:
    """The page for Prometheus; of texts that differ (help, version) the first page's count."""
    found: dict[str, _Sums] = {}
    for page in pages:
        for name, kind, documentation, samples in page:
            sums = found.get(name)
            if sums is None:
                sums = found[name] = _Sums(name, kind, documentation)
            if sums.kind == "info" and sums.values:
                continue  # another worker that reads the provisioning a moment later is no second version
            sums.add(samples)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(found.values()))
    return generate_latest(registry)
