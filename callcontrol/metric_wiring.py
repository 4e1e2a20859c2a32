"""Which counter of which part feeds which metric.  Called once by the wiring of the node.

Each function takes a part as it is and registers closures that read it; nothing is copied and nothing is
counted here.  What only the wiring knows (calls by phase, draining, build) it registers by itself on
``Metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from callcontrol.call_stats import CallStats
from callcontrol.live.state import LiveState
from callcontrol.metric_catalogue import CLASSES, CREDIT_REASONS, FAIR_USE_REASONS
from callcontrol.metrics import Metrics
from callcontrol.sip.outputs import Counters as SipCounters
from callcontrol.transport.counters import Counters as TransportCounters
from callcontrol.transport.counters import LagMeter

_NOT_FAILURES = frozenset({"ok", "none"})
_DROPPED_BY_GATE = ("rate", "banned", "slowed", "scanner")
_SUSPICION = "suspicion_"


class Counting(Protocol):
    """A part with counters by word (registrar, digest server, gate)."""

    @property
    def counters(self) -> Mapping[str, int]: ...


class Banned(Protocol):
    @property
    def reason(self) -> str: ...


class Outbox(Protocol):
    @property
    def depth(self) -> int: ...
    @property
    def oldest_ms(self) -> int: ...


class Exporter(Protocol):
    @property
    def written(self) -> int: ...
    @property
    def rejected(self) -> int: ...
    @property
    def failures(self) -> int: ...


class Directory(Protocol):
    @property
    def hits(self) -> int: ...
    @property
    def misses(self) -> int: ...
    @property
    def version(self) -> int: ...


class Trunk(Protocol):
    @property
    def ref(self) -> str: ...
    @property
    def max_channels(self) -> int: ...


class LagHistogram:
    """A :class:`~callcontrol.transport.counters.LagMeter` as the metrics read histograms."""

    __slots__ = ("_lag",)

    def __init__(self, lag: LagMeter) -> None:
        self._lag = lag

    @property
    def bounds(self) -> tuple[float, ...]:
        return self._lag.bounds_s

    @property
    def counts(self) -> list[int]:
        return self._lag.buckets

    @property
    def total(self) -> float:
        return self._lag.total_s


def sip(metrics: Metrics, counters: SipCounters, transactions: Callable[[], int]) -> None:
    """Counters of the SIP endpoint."""

    def messages() -> dict[tuple[str, str, str, str], int]:
        return {
            (direction, "response", label, transport)
            if label in CLASSES
            else (direction, label, "request", transport): count
            for (direction, label, transport), count in counters.messages.items()
        }

    metrics.register_all(
        {
            "sip_messages": messages,
            "sip_retransmissions": lambda: counters.retransmissions,
            "sip_absorbed": lambda: counters.absorbed,
            "sip_dropped": lambda: counters.dropped,
            "sip_failed_requests": lambda: counters.failed,
            "sip_notes": lambda: counters.named,
            "sip_parse_errors": lambda: {
                str(status): count for status, count in counters.parse_errors.items()
            },
            "sip_stateless_refusals": lambda: {
                str(status): count for status, count in counters.stateless.items()
            },
            "sip_transactions": transactions,
        }
    )


def transport(
    metrics: Metrics,
    counters: TransportCounters,
    lag: LagMeter,
    connections: Callable[[], Mapping[tuple[str, str], int]],
    queue_delay_s: Callable[[], float],
    kernel_drops: Callable[[], int],
) -> None:
    """Counters of the sockets; ``connections`` gives their number by (transport, phase)."""
    histogram = LagHistogram(lag)

    def open_connections() -> dict[str, int]:
        sums: dict[str, int] = {}
        for (name, _phase), count in connections().items():
            sums[name] = sums.get(name, 0) + count
        return sums

    def volume() -> dict[tuple[str, str], int]:
        found = {("in", "udp"): counters.udp.bytes_in, ("out", "udp"): counters.udp.bytes_out}
        found |= {("in", name): count for name, count in counters.bytes_in.items()}
        return found | {("out", name): count for name, count in counters.bytes_out.items()}

    metrics.register_all(
        {
            "connections": open_connections,
            "connections_refused": lambda: counters.refused,
            "connections_failed": lambda: counters.connect_failed,
            "connections_closed": lambda: counters.closed,
            "tls_failures": lambda: counters.tls_failures,
            "sip_dropped": lambda: counters.dropped,
            "sip_bytes": volume,
            "queue_delay_seconds": queue_delay_s,
            "udp_receive_drops": kernel_drops,
            "event_loop_lag_seconds": lambda: histogram,
        }
    )


def calls(
    metrics: Metrics, stats: CallStats, by_state: Callable[[], Mapping[str, int]], dialogs: Callable[[], int]
) -> None:
    """Outcomes and times of calls; ``by_state`` gives the calls in memory by the name of their phase."""
    metrics.register_all(
        {
            "call_attempts": lambda: stats.attempts,
            "call_refusals": lambda: stats.refusals,
            "credit_refusals": lambda: _among(stats.refusals, CREDIT_REASONS),
            "fair_use_actions": lambda: _among(stats.refusals, FAIR_USE_REASONS),
            "hunt_rounds": lambda: stats.hunts.rounds,
            "hunt_result": lambda: stats.hunts.results,
            "hunt_member_ring_seconds": lambda: stats.hunts.rings,
            "call_setup_seconds": lambda: stats.setup,
            "call_answer_seconds": lambda: stats.answer,
            "call_duration_seconds": lambda: stats.duration,
            "call_unexpected_events": lambda: stats.unexpected,
            "calls": by_state,
            "dialogs": dialogs,
        }
    )


def _among(counts: Mapping[str, int], words: Iterable[str]) -> dict[str, int]:
    return {word: counts.get(word, 0) for word in words}


def registrar(metrics: Metrics, part: Counting, digest: Counting, bindings: Callable[[], int]) -> None:
    """Registrations and credentials."""
    metrics.register_all(
        {
            "registrations": bindings,
            "register_requests": lambda: part.counters,
            "auth_failures": lambda: {
                word: count for word, count in digest.counters.items() if word not in _NOT_FAILURES
            },
        }
    )


def gate(metrics: Metrics, part: Counting, bans: Callable[[], Iterable[Banned]]) -> None:
    """Strangers."""

    def active() -> dict[str, int]:
        sums: dict[str, int] = {}
        for ban in bans():
            sums[ban.reason] = sums.get(ban.reason, 0) + 1
        return sums

    metrics.register_all(
        {
            "bans_active": active,
            "requests_limited": lambda: {word: part.counters.get(word, 0) for word in _DROPPED_BY_GATE},
            "suspicions": lambda: {
                word.removeprefix(_SUSPICION): count
                for word, count in part.counters.items()
                if word.startswith(_SUSPICION)
            },
        }
    )


def records(metrics: Metrics, outbox: Outbox, exporter: Exporter, now: Callable[[], float]) -> None:
    """Call records on their way to the database; ``now`` is Unix time."""

    def oldest() -> dict[str, float]:
        since_ms = outbox.oldest_ms
        return {"sql": max(now() - since_ms / 1000, 0.0) if since_ms else 0.0}

    metrics.register_all(
        {
            "cdr_outbox_depth": lambda: {"sql": outbox.depth},
            "cdr_oldest_unsent_seconds": oldest,
            "cdr_written": lambda: {"sql": exporter.written},
            "cdr_rejected": lambda: {"sql": exporter.rejected},
            "cdr_write_failures": lambda: {"sql": exporter.failures},
        }
    )


def directory(metrics: Metrics, part: Directory, age_s: Callable[[], float], stale_after_s: float) -> None:
    """The directory in memory; ``age_s`` says how long ago the database was last heard."""
    metrics.register_all(
        {
            "directory_lookups": lambda: {"hit": part.hits, "miss": part.misses},
            "directory_age_seconds": age_s,
            "directory_up": lambda: int(age_s() <= stale_after_s),
            "config_version": lambda: {"version": str(part.version)},
        }
    )


def trunks(
    metrics: Metrics,
    all_trunks: Callable[[], Iterable[Trunk]],
    in_use: Callable[[str], int],
    is_up: Callable[[str], bool],
    refused: Callable[[], tuple[int, int]],
    round_trips: Callable[[], Mapping[str, object]],
    states: Callable[[], Mapping[tuple[str, str, str], int]],
    changes: Callable[[], Mapping[tuple[str, str], int]],
    failovers: Callable[[], Mapping[str, int]],
    registered: Callable[[], Mapping[tuple[str, str], int]],
    register_results: Callable[[], Mapping[tuple[str, str], int]],
) -> None:
    """Trunks by their refs; ``refused`` gives the calls that found a trunk full, and too fast."""
    metrics.register_all(
        {
            "trunk_up": lambda: {trunk.ref: int(is_up(trunk.ref)) for trunk in all_trunks()},
            "trunk_channels": lambda: {trunk.ref: in_use(trunk.ref) for trunk in all_trunks()},
            "trunk_channel_limit": lambda: {trunk.ref: trunk.max_channels for trunk in all_trunks()},
            "trunk_refused_full": lambda: refused()[0],
            "trunk_refused_rate": lambda: refused()[1],
            "trunk_options_seconds": round_trips,
            "trunk_peer_state": states,
            "trunk_peer_changes": changes,
            "trunk_failovers": failovers,
            "trunk_registered": registered,
            "trunk_register_requests": register_results,
        }
    )


def live_state(metrics: Metrics, live: LiveState, relayed: Mapping[str, int]) -> None:
    """Live state in Redis: link and saves; ``relayed``: messages passed on for other nodes."""
    link, calls = live.link, live.calls
    metrics.register_all(
        {
            "redis_up": lambda: int(link.is_up),
            "redis_command_seconds": lambda: link.command_seconds,
            "redis_connections_lost": lambda: link.breaks,
            "store_steps": lambda: live.log.done_steps,
            "store_reloads": lambda: live.log.reloads,
            "store_unsaved_calls": lambda: calls.unsaved,
            "store_failed_saves": lambda: calls.failed,
            "store_save_seconds": lambda: calls.save_seconds,
            "relayed_messages": lambda: relayed,
        }
    )
