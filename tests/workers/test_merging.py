"""One metrics page of several processes."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from callcontrol.histogram import Histogram
from callcontrol.metric_catalogue import CATALOGUE
from callcontrol.metrics import Metrics
from callcontrol.workers.merging import HIGHEST, LOWEST, SUMMED, Page, merged, page_of


def page(calls: int, setup: float, **others: object) -> Page:
    metrics = Metrics("1.0", 100.0 + calls)
    histogram = Histogram((0.1, 1.0))
    histogram.observe(setup)
    metrics.register("calls", lambda: {"talking": calls, "ringing": 1})
    metrics.register("call_attempts", lambda: {("incoming", "carrier-a", "answered", "2xx"): calls})
    metrics.register("call_setup_seconds", lambda: {("incoming", "carrier-a"): histogram})
    metrics.register("config_version", lambda: {"version": str(calls)})
    for name, value in others.items():
        metrics.register(name, lambda value=value: value)  # type: ignore[misc]  # bound for each name
    return msgspec.msgpack.decode(msgspec.msgpack.encode(page_of(metrics.families())), type=Page)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return found[f"cloudline_{name}", tuple(sorted(labels.items()))]


def test_the_page_of_one_process_is_what_it_was() -> None:
    metrics = Metrics("1.0", 1.0)
    metrics.register("calls", lambda: {"talking": 3})
    metrics.register("sip_absorbed", lambda: {"ACK": 2})
    own, one = samples(metrics.render()), samples(merged([page_of(metrics.families())]))
    ours = {key for key in own if not key[0].startswith(("cloudline_process_", "python_gc_"))}
    assert {key: one[key] for key in ours} == {key: own[key] for key in ours}
    assert own.keys() == one.keys()


def test_counters_histograms_and_own_gauges_are_summed() -> None:
    found = samples(merged([page(3, 0.05), page(4, 0.5)]))
    assert value(found, "calls", state="talking") == 7
    assert value(found, "calls", state="ringing") == 2
    attempts = [count for (name, _), count in found.items() if name == "cloudline_call_attempts_total"]
    assert attempts == [7]
    where = {"direction": "incoming", "trunk": "carrier-a"}
    assert value(found, "call_setup_seconds_bucket", le="0.1", **where) == 1
    assert value(found, "call_setup_seconds_bucket", le="1.0", **where) == 2
    assert value(found, "call_setup_seconds_bucket", le="+Inf", **where) == 2
    assert value(found, "call_setup_seconds_count", **where) == 2
    assert value(found, "call_setup_seconds_sum", **where) == pytest.approx(0.55)


def test_what_all_see_alike_is_told_once() -> None:
    found = samples(
        merged(
            [
                page(3, 0.1, leases={"in_use": 2}, redis_up=1, queue_delay_seconds=0.02, directory_up=1),
                page(4, 0.1, leases={"in_use": 2}, redis_up=0, queue_delay_seconds=0.3, directory_up=1),
            ]
        )
    )
    assert value(found, "leases", state="in_use") == 2
    assert value(found, "redis_up") == 0
    assert value(found, "directory_up") == 1
    assert value(found, "queue_delay_seconds") == 0.3
    assert value(found, "start_time_seconds") == 103
    assert value(found, "config_version_info", version="3") == 1
    assert ("cloudline_config_version_info", (("version", "4"),)) not in found
    assert sum(1 for name, _ in found if name == "cloudline_build_info") == 1


def test_a_part_that_only_one_process_has_is_there() -> None:
    found = samples(merged([page(1, 0.1), page(2, 0.1, mqtt_up=1)]))
    assert value(found, "mqtt_up") == 1


def test_of_every_gauge_it_is_said_how_workers_put_it_together() -> None:
    """A new gauge: is it a worker's own (summed), or does each have a copy of what all see (the highest, the lowest)?"""
    gauges = {name for name, metric in CATALOGUE.items() if metric.kind == "gauge"}
    told = HIGHEST | LOWEST | SUMMED
    assert gauges - told == set(), "say so in callcontrol/workers/merging.py"
    assert {name for name in told - gauges if not name.startswith("process_")} == set()
    assert not HIGHEST & LOWEST
    assert not (HIGHEST | LOWEST) & SUMMED
