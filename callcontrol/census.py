"""Counting what is in memory, for metrics: walks over the calls when Prometheus scrapes, never in between.

And the list of all parts of a node whose counters the metrics read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from callcontrol import metric_wiring
from callcontrol.assembly import Signalling
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.phases import PHASE_NAMES
from callcontrol.cdr.exporter import CdrExporter
from callcontrol.cdr.outbox import Outbox
from callcontrol.metrics import Metrics
from callcontrol.probing import Prober
from callcontrol.transport.driver import Driver
from callcontrol.usage.reconcile import Reconciler
from gateway.gateway_numbers import GatewayDirectory, GatewayKind
from numbering.cache import DirectoryCache

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


def by_kind(numbers: GatewayDirectory) -> dict[str, int]:
    """Gateway numbers by their kind."""
    found = dict.fromkeys((kind.value for kind in GatewayKind), 0)
    for number in numbers.all():
        found[number.kind.value] += 1
    return found


def register_parts(
    metrics: Metrics,
    signalling: Signalling,
    driver: Driver,
    prober: Prober,
    outbox: Outbox,
    exporter: CdrExporter,
    cache: DirectoryCache,
    reconciler: Reconciler,
    wall: Callable[[], float],
    stale_after_s: float,
) -> None:
    """Let the metrics read every part of a node."""
    calls, gate, trunking = signalling.runner.calls, signalling.gate, signalling.trunking
    endpoint = signalling.endpoint
    metric_wiring.sip(metrics, endpoint.counters, lambda: endpoint.transactions)
    metric_wiring.transport(
        metrics,
        driver.counters,
        driver.lag,
        driver.connection_totals,
        driver.queue_delay_s,
        driver.kernel_drops,
    )
    metric_wiring.calls(
        metrics,
        signalling.runner.performer.stats,
        lambda: by_state(calls.values()),
        lambda: dialogs(calls.values()),
    )
    metric_wiring.registrar(
        metrics, signalling.registrar, signalling.digest, lambda: len(signalling.bindings.own())
    )
    metric_wiring.gate(metrics, gate, lambda: gate.list_bans(wall()))
    metric_wiring.records(metrics, outbox, exporter, wall)
    metric_wiring.directory(metrics, cache.directory, cache.age, stale_after_s)
    metric_wiring.trunks(
        metrics,
        signalling.trunks.all,
        trunking.channels.in_use,
        prober.is_up,
        lambda: (trunking.refused_full, trunking.refused_rate),
        lambda: prober.round_trips,
        prober.states,
        lambda: prober.changes,
        lambda: trunking.failovers,
        lambda: prober.registrations.registered() if prober.registrations is not None else {},
        lambda: prober.registrations.results if prober.registrations is not None else {},
    )
    verifier = signalling.verifier
    metrics.register_all(
        {
            "registrations_known": lambda: len(signalling.bindings),
            "gateway_numbers": lambda: by_kind(signalling.gateways),
            "leases": lambda: signalling.leases.counts(wall()),
            "gateway_calls": lambda: signalling.gateway_calls.uses,
            "app_requests": lambda: signalling.phone.counters,
            "verifications": lambda: verifier.results if verifier is not None else {},
            "calls_waiting": lambda: len(signalling.core.waiting_room),
            "live_facts_late": lambda: signalling.core.waiting_room.late,
        }
    )
    outgoing = signalling.outgoing
    metrics.register_all(
        {
            "outgoing_legs_refused": lambda: outgoing.guard.refused,
            "plan_allowances_passed": lambda: outgoing.passed,
            "outgoing_slots": lambda: len(outgoing.slots),
            "rates": lambda: len(outgoing.book),
            "usage_reconciliations": lambda: {"ok": reconciler.runs, "failed": reconciler.failures},
        }
    )
    metrics.register_all(
        {
            "calls_past_deadline": lambda: past_deadline(calls.values(), wall()),
            "draining": lambda: int(signalling.core.draining),
            "tls_certificate_expiry_timestamp_seconds": lambda: (
                {"sip": driver.tls.not_after} if driver.tls is not None else {}
            ),
        }
    )
