"""Metrics: read at scrape time, closed label sets, a page that promtool accepts (OPS-01)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from callcontrol.histogram import Histogram
from callcontrol.metric_catalogue import CATALOGUE, MAX_OPEN_VALUES, PREFIX, all_series
from callcontrol.metrics import Metrics
from tests.support.metrics_page import full_metrics


def read(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of the page: (name, labels) -> value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_values_are_read_when_scraped() -> None:
    counts = {("in", "INVITE", "request", "udp"): 1}
    metrics = Metrics("1", 0.0)
    metrics.register("sip_messages", lambda: counts)
    labels = (("class", "request"), ("direction", "in"), ("method", "INVITE"), ("transport", "udp"))
    assert read(metrics)["cloudline_sip_messages_total", labels] == 1
    counts["in", "INVITE", "request", "udp"] = 7
    assert read(metrics)["cloudline_sip_messages_total", labels] == 7


def test_a_method_that_a_stranger_invents_makes_no_series() -> None:
    metrics = Metrics("1", 0.0)
    metrics.register("sip_retransmissions", lambda: {f"EVIL{n}": 1 for n in range(40)})
    samples = {
        key: value for key, value in read(metrics).items() if key[0] == "cloudline_sip_retransmissions_total"
    }
    assert samples == {("cloudline_sip_retransmissions_total", (("method", "other"),)): 40}


def test_open_sets_are_cut() -> None:
    metrics = Metrics("1", 0.0)
    metrics.register("trunk_up", lambda: {f"t{n}": 1 for n in range(MAX_OPEN_VALUES * 3)})
    assert sum(name == "cloudline_trunk_up" for name, _ in read(metrics)) == MAX_OPEN_VALUES


def test_parts_are_added_up() -> None:
    metrics = Metrics("1", 0.0)
    metrics.register("sip_dropped", lambda: {"merged": 1, "late": 2})
    metrics.register("sip_dropped", lambda: {("merged",): 4})
    page = read(metrics)
    assert page["cloudline_sip_dropped_total", (("reason", "merged"),)] == 5
    assert page["cloudline_sip_dropped_total", (("reason", "late"),)] == 2


def test_a_broken_part_takes_nothing_else_away() -> None:
    metrics = Metrics("1", 0.0)

    def broken() -> object:
        raise RuntimeError("no")

    metrics.register("directory_up", broken)
    metrics.register("trunk_up", lambda: 1)  # wrong shape: it has a label
    metrics.register("cdr_outbox_depth", lambda: {"sql": 3})
    page = read(metrics)
    assert page["cloudline_cdr_outbox_depth", (("sink", "sql"),)] == 3
    assert page["cloudline_metrics_read_errors_total", (("metric", "directory_up"),)] == 1
    assert page["cloudline_metrics_read_errors_total", (("metric", "trunk_up"),)] == 1


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="not in callcontrol"):
        Metrics("1", 0.0).register("calls_of_alice", lambda: 1)


def test_build_and_start() -> None:
    page = read(Metrics("1.2.3", 1_780_000_000.0, core="compiled"))
    assert page["cloudline_start_time_seconds", ()] == 1_780_000_000.0
    (build,) = [dict(labels) for name, labels in page if name == "cloudline_build_info"]
    assert build["version"] == "1.2.3"
    assert build["core"] == "compiled"


def test_histograms_of_two_parts_are_one() -> None:
    first, second = Histogram((1.0, 2.0)), Histogram((1.0, 2.0))
    first.observe(0.5)
    second.observe(1.5)
    second.observe(9.0)
    metrics = Metrics("1", 0.0)
    metrics.register("event_loop_lag_seconds", lambda: first)
    metrics.register("event_loop_lag_seconds", lambda: second)
    page = read(metrics)
    assert page["cloudline_event_loop_lag_seconds_bucket", (("le", "1.0"),)] == 1
    assert page["cloudline_event_loop_lag_seconds_bucket", (("le", "2.0"),)] == 2
    assert page["cloudline_event_loop_lag_seconds_bucket", (("le", "+Inf"),)] == 3
    assert page["cloudline_event_loop_lag_seconds_count", ()] == 3
    assert page["cloudline_event_loop_lag_seconds_sum", ()] == 11.0


@pytest.mark.parametrize("bounds", [(), (1.0, 1.0), (2.0, 1.0)])
def test_histogram_bounds_must_grow(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must grow"):
        Histogram(bounds)


@given(st.lists(st.floats(0, 100), max_size=50))
def test_histogram_counts_every_value_once(values: list[float]) -> None:
    histogram = Histogram((0.5, 1.0, 10.0))
    for value in values:
        histogram.observe(value)
    assert histogram.count == len(values)
    assert histogram.counts[0] == sum(value <= 0.5 for value in values)
    assert histogram.counts[-1] == sum(value > 10 for value in values)


@pytest.mark.rule("OPS-01")
def test_every_metric_appears_under_its_name() -> None:
    names = {name for name, _ in read(full_metrics())}
    assert all_series() - names == {"cloudline_metrics_read_errors_total"}  # nothing was unreadable


@pytest.mark.rule("OPS-01")
def test_names_use_base_units_and_suffixes() -> None:
    for metric in CATALOGUE.values():
        assert not metric.name.endswith(("_total", "_ms", "_milliseconds", "_info")), metric.name
        if metric.kind == "histogram":
            assert metric.name.endswith(("_seconds", "_bytes")), metric.name
        assert metric.help.endswith("."), metric.name
        assert not set(metric.labels) & {"number", "user", "call_id", "call_ref", "host", "ip", "le"}, (
            metric.name
        )


@pytest.mark.rule("OPS-01")
@pytest.mark.needs("promtool")
def test_promtool_accepts_the_page(program: Callable[[str], str]) -> None:
    page = full_metrics().render()
    result = subprocess.run(
        [program("promtool"), "check", "metrics"], input=page, capture_output=True, timeout=60, check=False
    )
    complaints = [
        line
        for line in (result.stderr + result.stdout).decode().splitlines()
        if line.startswith(PREFIX) and "process_" not in line
    ]
    assert not complaints
    assert result.returncode in (0, 3)  # 3: lint remarks, which the line above looks at
