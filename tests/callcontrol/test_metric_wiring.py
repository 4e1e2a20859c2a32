"""Counters of the real parts reach the metrics they are meant for."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from callcontrol import metric_wiring
from callcontrol.call_stats import CallStats
from callcontrol.cdr.records import CallRecord
from callcontrol.histogram import Histogram
from callcontrol.metrics import Metrics
from callcontrol.sip.outputs import Counters as SipCounters
from callcontrol.transport.counters import Counters as TransportCounters
from callcontrol.transport.counters import LagMeter
from gateway.trunk import Trunk
from numbering.directory import Directory


def page(metrics: Metrics) -> dict[str, float]:
    """``name{label="value",...}`` -> value."""
    return {
        sample.name
        + "{"
        + ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
        + "}": sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def clean(metrics: Metrics) -> dict[str, float]:
    shown = page(metrics)
    assert not [name for name in shown if name.startswith("cloudline_metrics_read_errors_total{")]
    return shown


@dataclass
class Part:
    counters: dict[str, int] = field(default_factory=dict)


@dataclass
class Ban:
    reason: str


@dataclass
class Queue:
    depth: int = 3
    oldest_ms: int = 0
    written: int = 5
    rejected: int = 1
    failures: int = 2


def test_sip() -> None:
    counters = SipCounters()
    counters.request("in", "INVITE", "udp")
    counters.response("out", 204, "tls")
    counters.stateless[503] = 6
    counters.resend("BYE")
    counters.absorb("INVITE")
    counters.drop("late response")
    counters.fail("OPTIONS", "timeout")
    counters.note("oversize to TCP")
    counters.parse_errors[400] = 4
    metrics = Metrics("1", 0.0)
    metric_wiring.sip(metrics, counters, lambda: 12)
    shown = clean(metrics)
    request = 'class="request",direction="in",method="INVITE",transport="udp"'
    response = 'class="2xx",direction="out",method="response",transport="tls"'
    assert shown[f"cloudline_sip_messages_total{{{request}}}"] == 1
    assert shown[f"cloudline_sip_messages_total{{{response}}}"] == 1
    assert shown['cloudline_sip_retransmissions_total{method="BYE"}'] == 1
    assert shown['cloudline_sip_absorbed_total{method="INVITE"}'] == 1
    assert shown['cloudline_sip_dropped_total{reason="late response"}'] == 1
    assert shown['cloudline_sip_failed_requests_total{cause="timeout",method="OPTIONS"}'] == 1
    assert shown['cloudline_sip_notes_total{event="oversize to TCP"}'] == 1
    assert shown['cloudline_sip_parse_errors_total{reason="400"}'] == 4
    assert shown['cloudline_sip_stateless_refusals_total{status="503"}'] == 6
    assert shown["cloudline_sip_transactions{}"] == 12


def test_transport() -> None:
    counters, lag = TransportCounters(), LagMeter()
    counters.udp.bytes_in = 100
    counters.refused["too many"] = 1
    lag.observe(0.004)
    metrics = Metrics("1", 0.0)
    totals = {("tcp", "open"): 2, ("tcp", "closing"): 1}
    metric_wiring.transport(metrics, counters, lag, lambda: totals, lambda: 0.25, lambda: 7)
    shown = clean(metrics)
    assert shown['cloudline_connections{transport="tcp"}'] == 3
    assert shown['cloudline_connections_refused_total{reason="too many"}'] == 1
    assert shown['cloudline_sip_bytes_total{direction="in",transport="udp"}'] == 100
    assert shown['cloudline_event_loop_lag_seconds_bucket{le="0.005"}'] == 1
    assert shown['cloudline_event_loop_lag_seconds_bucket{le="0.0025"}'] == 0
    assert shown["cloudline_queue_delay_seconds{}"] == 0.25
    assert shown["cloudline_udp_receive_drops_total{}"] == 7


def test_calls() -> None:
    stats = CallStats()
    stats.ended(
        CallRecord(
            call_ref="c",
            direction="incoming",
            trunk="carrier-a",
            started_ms=1000,
            ringing_ms=1100,
            answered_ms=3000,
            ended_ms=63000,
            status=200,
            reason="normal_clearing",
        )
    )
    metrics = Metrics("1", 0.0)
    metric_wiring.calls(metrics, stats, lambda: {"talking": 4}, lambda: 8)
    shown = clean(metrics)
    labels = 'cause_class="2xx",direction="incoming",result="answered",trunk="carrier-a"'
    assert shown[f"cloudline_call_attempts_total{{{labels}}}"] == 1
    assert shown['cloudline_call_duration_seconds_sum{direction="incoming",trunk="carrier-a"}'] == 60
    assert shown['cloudline_calls{state="talking"}'] == 4
    assert shown["cloudline_dialogs{}"] == 8


def test_registrar_and_gate() -> None:
    metrics = Metrics("1", 0.0)
    digest = Part({"ok": 5, "none": 6, "bad": 7})
    metric_wiring.registrar(metrics, Part({"ok": 3}), digest, lambda: 2)
    gate = Part({"rate": 1, "banned": 2, "slowed": 0, "scanner": 3, "bans": 9, "suspicion_auth": 4})
    metric_wiring.gate(metrics, gate, lambda: [Ban("scanner"), Ban("scanner")])
    shown = clean(metrics)
    assert shown["cloudline_registrations{}"] == 2
    assert shown['cloudline_register_requests_total{result="ok"}'] == 3
    assert [name for name in shown if "auth_failures" in name] == [
        'cloudline_auth_failures_total{reason="bad"}'
    ]
    assert shown['cloudline_bans_active{reason="scanner"}'] == 2
    assert shown['cloudline_requests_limited_total{reason="banned"}'] == 2
    assert shown['cloudline_suspicions_total{reason="auth"}'] == 4


def test_records_and_directory() -> None:
    queue, directory = Queue(), Directory()
    metrics = Metrics("1", 0.0)
    metric_wiring.records(metrics, queue, queue, lambda: 100.0)
    metric_wiring.directory(metrics, directory, lambda: 9.0, stale_after_s=5.0)
    shown = clean(metrics)
    assert shown['cloudline_cdr_outbox_depth{sink="sql"}'] == 3
    assert shown['cloudline_cdr_oldest_unsent_seconds{sink="sql"}'] == 0
    assert shown['cloudline_cdr_written_total{sink="sql"}'] == 5
    assert shown["cloudline_directory_up{}"] == 0
    queue.oldest_ms = 40_000
    assert page(metrics)['cloudline_cdr_oldest_unsent_seconds{sink="sql"}'] == 60


def test_trunks() -> None:
    metrics = Metrics("1", 0.0)
    round_trips = Histogram((0.1, 1.0))
    round_trips.observe(0.05)
    all_trunks = [Trunk(ref="carrier-a", max_channels=100), Trunk(ref="carrier-b")]
    metric_wiring.trunks(
        metrics,
        lambda: all_trunks,
        lambda ref: len(ref),
        lambda ref: ref == "carrier-a",
        lambda: (3, 4),
        lambda: {"carrier-a": round_trips},
        lambda: {("carrier-a", "1", "up"): 1, ("carrier-b", "1", "down"): 1},
        lambda: {("carrier-b", "down"): 2},
        lambda: {"carrier-b": 7},
        lambda: {("carrier-a", "1"): 1},
        lambda: {("carrier-a", "2xx"): 5},
    )
    shown = clean(metrics)
    assert shown['cloudline_trunk_up{trunk="carrier-a"}'] == 1
    assert shown['cloudline_trunk_up{trunk="carrier-b"}'] == 0
    assert shown['cloudline_trunk_channel_limit{trunk="carrier-a"}'] == 100
    assert shown["cloudline_trunk_refused_full_total{}"] == 3
    assert shown["cloudline_trunk_refused_rate_total{}"] == 4
    assert shown['cloudline_trunk_options_seconds_count{trunk="carrier-a"}'] == 1
    assert shown['cloudline_trunk_peer_state{peer="1",state="down",trunk="carrier-b"}'] == 1
    assert shown['cloudline_trunk_peer_changes_total{state="down",trunk="carrier-b"}'] == 2
    assert shown['cloudline_trunk_failovers_total{trunk="carrier-b"}'] == 7
    assert shown['cloudline_trunk_registered{peer="1",trunk="carrier-a"}'] == 1
    assert shown['cloudline_trunk_register_requests_total{result="2xx",trunk="carrier-a"}'] == 5
