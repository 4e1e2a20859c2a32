"""Every metric that a node exports: name, type, meaning, labels and the closed set of each label's values.

The one place where a metric is defined.  :mod:`callcontrol.metrics` exports nothing that is not listed here;
the dashboards, the alert rules and ``docs/metrics.md`` are tested against this table.
"""

from __future__ import annotations

from typing import Final

from callcontrol.hunt_stats import HUNT_METRICS
from callcontrol.metric import PREFIX, Metric
from callcontrol.number_metrics import NUMBER_METRICS
from dialplan import reasons
from gateway.gateway_numbers import GatewayKind

__all__ = ["CATALOGUE", "CLASSES", "HTTP_METHODS", "MAX_OPEN_VALUES", "PREFIX", "Metric", "all_series"]

# Methods we know; anything else a peer invents is counted as "other", else a stranger could make series.
METHODS: Final = (
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "REGISTER",
    "OPTIONS",
    "PRACK",
    "UPDATE",
    "INFO",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "MESSAGE",
    "PUBLISH",
)
HTTP_METHODS: Final = ("GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS")
CLASSES: Final = ("request", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx")
TRANSPORTS: Final = ("udp", "tcp", "tls", "ws", "wss")
DIRECTIONS: Final = ("in", "out")
CALL_DIRECTIONS: Final = ("incoming", "outgoing", "internal")
REASONS: Final = tuple(
    str(value) for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)
)
CREDIT_REASONS: Final = (reasons.NO_CREDIT, reasons.NOT_IN_PLAN)
FAIR_USE_REASONS: Final = (reasons.FAIR_USE,)
_CALL_REQUESTS: Final = ("call_through", "release", "callback", "cancel_callback")
REQUEST_TYPES: Final = (*_CALL_REQUESTS, "price", "verify", "verification")
GATEWAY_KINDS: Final = tuple(kind.value for kind in GatewayKind)
OUTGOING_BOUNDS: Final = tuple(
    f"{scope}_calls{abroad}{rate}"
    for scope in ("user", "account")
    for abroad in ("", "_abroad")
    for rate in ("", "_per_minute")
)
RESULTS: Final = ("answered", "busy", "no_answer", "cancelled", "rejected", "failed")

# Label values that come from the operator's own provisioning or code (trunk refs, drop reasons, ...) are
# closed in practice; the bound keeps a mistake from filling the memory of Prometheus.
MAX_OPEN_VALUES: Final = 500


_ALL = (
    # SIP
    Metric(
        "sip_messages",
        "counter",
        "SIP messages received and sent, retransmissions included; a response has the method response.",
        {
            "direction": DIRECTIONS,
            "method": (*METHODS, "response"),
            "class": CLASSES,
            "transport": TRANSPORTS,
        },
    ),
    Metric(
        "sip_absorbed", "counter", "Messages that a peer sent again and we recognised.", {"method": METHODS}
    ),
    Metric(
        "sip_failed_requests",
        "counter",
        "Requests of ours that got no final answer.",
        {"method": METHODS, "cause": ("timeout", "transport")},
    ),
    Metric("sip_stateless_refusals", "counter", "Refusals sent without a transaction.", {"status": ()}),
    Metric("sip_notes", "counter", "Other things worth a number, by name.", {"event": ()}),
    Metric("sip_retransmissions", "counter", "SIP messages that we sent again.", {"method": METHODS}),
    Metric(
        "sip_parse_errors",
        "counter",
        "Received bytes that are no legal SIP message, by the status that they deserve.",
        {"reason": ()},
    ),
    Metric(
        "sip_dropped",
        "counter",
        "Messages absorbed or dropped on purpose, by the reason's name.",
        {"reason": ()},
    ),
    Metric(
        "sip_transactions", "gauge", "SIP transactions in memory, finished ones that linger included.", {}
    ),
    Metric("dialogs", "gauge", "SIP dialogs of calls in memory, early ones included.", {}),
    Metric(
        "connections",
        "gauge",
        "Stream connections that are open.",
        {"transport": ("tcp", "tls", "ws", "wss")},
    ),
    Metric("connections_refused", "counter", "Incoming connections turned away.", {"reason": ()}),
    Metric("connections_failed", "counter", "Outgoing connections that did not open.", {"reason": ()}),
    Metric("connections_closed", "counter", "Connections that ended.", {"reason": ()}),
    Metric("tls_failures", "counter", "TLS handshakes that failed.", {"reason": ()}),
    Metric(
        "udp_receive_drops", "counter", "Datagrams that the kernel dropped because our buffer was full.", {}
    ),
    Metric(
        "queue_delay_seconds", "gauge", "How long datagrams waited to be read; the measure of overload.", {}
    ),
    Metric(
        "sip_bytes", "counter", "Bytes received and sent.", {"direction": DIRECTIONS, "transport": TRANSPORTS}
    ),
    # Calls
    Metric(
        "call_attempts",
        "counter",
        "Calls that ended, by outcome. cause_class is the class of the SIP status given to the caller.",
        {
            "direction": CALL_DIRECTIONS,
            "trunk": (),
            "result": RESULTS,
            "cause_class": ("1xx", "2xx", "3xx", "4xx", "5xx", "6xx", "none"),
        },
    ),
    Metric(
        "call_refusals",
        "counter",
        "Calls refused by us, by the reason of the closed list.",
        {"reason": REASONS},
    ),
    Metric(
        "credit_refusals",
        "counter",
        "Calls refused because neither plan, package nor credit pays for them (OUT-06).",
        {"reason": CREDIT_REASONS},
    ),
    Metric(
        "fair_use_actions",
        "counter",
        "Calls refused because a number has used up what its plan allows (OUT-08).",
        {"reason": FAIR_USE_REASONS},
    ),
    *HUNT_METRICS,
    Metric(
        "outgoing_legs_refused",
        "counter",
        "Legs to the outside that were not sent, by the setting of [outgoing] that they would have broken.",
        {"bound": OUTGOING_BOUNDS},
    ),
    Metric("outgoing_slots", "gauge", "Legs to the outside that count against a bound now.", {}),
    Metric(
        "plan_allowances_passed",
        "counter",
        "Numbers whose minutes of a month came to the warning, or to their end (OUT-08).",
        {"mark": ("warning", "end")},
    ),
    Metric(
        "usage_reconciliations",
        "counter",
        "Comparisons of the counters of the month with the call records.",
        {"result": ("ok", "failed")},
    ),
    Metric("rates", "gauge", "Rates of all tables; 0: calls have no price.", {}),
    Metric("calls", "gauge", "Calls in memory.", {"state": ("new", "ringing", "talking", "ended")}),
    Metric(
        "call_setup_seconds",
        "histogram",
        "INVITE of the caller to the first 18x sent to the caller.",
        {"direction": CALL_DIRECTIONS, "trunk": ()},
    ),
    Metric(
        "call_answer_seconds",
        "histogram",
        "INVITE of the caller to the answer.",
        {"direction": CALL_DIRECTIONS, "trunk": ()},
    ),
    Metric(
        "call_duration_seconds",
        "histogram",
        "Answer to the end.",
        {"direction": CALL_DIRECTIONS, "trunk": ()},
    ),
    Metric("calls_past_deadline", "gauge", "Calls that live longer than their deadline allows: a bug.", {}),
    Metric(
        "calls_recovered", "counter", "Calls taken over from saved state.", {"stage": ("ringing", "talking")}
    ),
    Metric(
        "calls_orphaned", "counter", "Legs found without a call and ended.", {"stage": ("ringing", "talking")}
    ),
    Metric(
        "call_unexpected_events",
        "counter",
        "Events that did not fit the phase of their call, by event.",
        {"event": ()},
    ),
    # Registrar
    Metric("registrations", "gauge", "Bindings that this node took.", {}),
    Metric("registrations_known", "gauge", "Bindings of all nodes that this node knows.", {}),
    Metric("register_requests", "counter", "REGISTER requests answered, by outcome.", {"result": ()}),
    Metric("auth_failures", "counter", "Credentials that were given and did not do.", {"reason": ()}),
    # Strangers
    Metric(
        "bans_active",
        "gauge",
        "Addresses that are kept out or slowed now.",
        {"reason": ("auth", "unknown_target", "malformed", "scanner", "operator")},
    ),
    Metric(
        "suspicions",
        "counter",
        "What was counted against addresses.",
        {"reason": ("auth", "unknown_target", "malformed", "scanner")},
    ),
    Metric(
        "requests_limited",
        "counter",
        "Messages dropped by the gate.",
        {"reason": ("rate", "banned", "slowed", "scanner")},
    ),
    # Push
    Metric("mqtt_up", "gauge", "1 while the node is connected to the MQTT broker.", {}),
    Metric("mqtt_connects", "counter", "Connections to the MQTT broker that came about.", {}),
    Metric(
        "mqtt_connect_failures", "counter", "Connections to the MQTT broker that failed or were lost.", {}
    ),
    Metric(
        "mqtt_messages",
        "counter",
        "Messages to the MQTT broker by what became of them.",
        {
            "kind": ("push", "reply", "event"),
            "result": ("delivered", "unavailable", "queue_full", "timeout", "failed"),
        },
    ),
    Metric("mqtt_waiting", "gauge", "Messages that the MQTT broker has not taken yet.", {}),
    Metric("push_latency_seconds", "histogram", "Push given to the channel until the broker had it.", {}),
    Metric(
        "push_requests",
        "counter",
        "Pushes of calls; refused: there was no broker, or the queue was full.",
        {
            "type": ("incoming_call", "call_ended", "missed_call", "callback"),
            "result": ("accepted", "refused"),
        },
    ),
    Metric(
        "wake_seconds",
        "histogram",
        "Push to the REGISTER of the device that it woke; late: the call was over by then.",
        {"result": ("woke", "late")},
    ),
    Metric(
        "calls_lost",
        "counter",
        "Calls that rang nowhere although devices were pushed: one came too late, or none did.",
        {"reason": ("late_push", "wake_timeout")},
    ),
    Metric(
        "phone_requests",
        "counter",
        "Requests of devices over MQTT by what became of them.",
        {
            "result": (
                "ok",
                "bad_request",
                "too_many_requests",
                "repeated",
                "ignored",
                "dropped",
                *REASONS,
            )
        },
    ),
    # Gateway calls
    Metric("gateway_numbers", "gauge", "Gateway numbers that are provisioned.", {"kind": GATEWAY_KINDS}),
    Metric(
        "leases",
        "gauge",
        "Leases of gateway numbers; cooling: the call failed a moment ago, and may come again.",
        {"state": ("open", "in_use", "cooling")},
    ),
    Metric(
        "gateway_calls",
        "counter",
        "Calls to gateway numbers by what the live state knew of them.",
        {"state": ("leased", "verified", "mismatch", "used", "expired", "unknown", "unavailable")},
    ),
    Metric(
        "app_requests",
        "counter",
        "What apps asked for, over HTTP and MQTT, by what they were told.",
        {"type": (*REQUEST_TYPES, "unknown"), "result": ("ok", "bad_request", *REASONS)},
    ),
    Metric(
        "verifications",
        "counter",
        "Calls that were to prove a SIM, by what they showed.",
        {"result": ("verified", "hidden_caller", "sim_mismatch", "unavailable")},
    ),
    Metric("calls_waiting", "gauge", "Calls that wait for facts of the live state.", {}),
    Metric("live_facts_late", "counter", "Calls decided without facts that came too late or not at all.", {}),
    # Trunks
    Metric("trunk_up", "gauge", "1 if the trunk has a peer that takes calls.", {"trunk": ()}),
    Metric("trunk_channels", "gauge", "Calls on the trunk.", {"trunk": ()}),
    Metric("trunk_channel_limit", "gauge", "Calls that the trunk may carry; 0 without limit.", {"trunk": ()}),
    Metric("trunk_refused_full", "counter", "Calls that a trunk did not take because it was full.", {}),
    Metric(
        "trunk_refused_rate",
        "counter",
        "Calls that a trunk did not take because they came faster than it may be called.",
        {},
    ),
    Metric("trunk_options_seconds", "histogram", "Round trip of OPTIONS that were answered.", {"trunk": ()}),
    Metric(
        "trunk_peer_state",
        "gauge",
        "1 for the state that a peer of the trunk is in; peers are numbered in their order.",
        {"trunk": (), "peer": (), "state": ("unknown", "up", "down")},
    ),
    Metric(
        "trunk_peer_changes",
        "counter",
        "How often a peer of the trunk went up or down.",
        {"trunk": (), "state": ("up", "down")},
    ),
    Metric(
        "trunk_registered",
        "gauge",
        "1 while we are registered with the peer of the trunk; peers are numbered in their order.",
        {"trunk": (), "peer": ()},
    ),
    Metric(
        "trunk_register_requests",
        "counter",
        "REGISTERs that we sent to carriers, by the class of the answer.",
        {"trunk": (), "result": ("2xx", "3xx", "4xx", "5xx", "6xx", "timeout")},
    ),
    Metric("trunk_failovers", "counter", "Attempts over the trunk that another one followed.", {"trunk": ()}),
    # Records, stores, directory
    Metric("cdr_outbox_depth", "gauge", "Call records that wait to be written.", {"sink": ("sql",)}),
    Metric(
        "cdr_oldest_unsent_seconds", "gauge", "Age of the oldest call record that waits.", {"sink": ("sql",)}
    ),
    Metric("cdr_written", "counter", "Call records written.", {"sink": ("sql",)}),
    Metric("cdr_rejected", "counter", "Call records that the database will never take.", {"sink": ("sql",)}),
    Metric("cdr_write_failures", "counter", "Attempts to write that found no database.", {"sink": ("sql",)}),
    Metric("store_save_seconds", "histogram", "Saving of live call state.", {}),
    Metric(
        "redis_command_seconds",
        "histogram",
        "Waiting for the replies of Redis: to what is sent per call, and to what is asked by itself.",
        {"op": ("pipeline", "command")},
    ),
    Metric("redis_up", "gauge", "1 if Redis is connected; without Redis the metric is absent.", {}),
    Metric("redis_connections_lost", "counter", "Connections to Redis that ended, or were given up.", {}),
    Metric("store_steps", "counter", "Steps done on the tables that all nodes share.", {}),
    Metric("store_reloads", "counter", "Times the shared tables were brought into step again.", {}),
    Metric(
        "relayed_messages",
        "counter",
        "SIP messages passed on between a phone of one node and a call of another, by direction.",
        {"direction": ("to_phone", "to_node", "response", "flow_gone", "node_gone")},
    ),
    Metric("store_unsaved_calls", "gauge", "Calls whose latest state is not in Redis.", {}),
    Metric(
        "store_failed_saves", "counter", "Saves of calls of which it is not known that they happened.", {}
    ),
    Metric(
        "directory_lookups",
        "counter",
        "Lookups in the directory of numbers and devices.",
        {"result": ("hit", "miss")},
    ),
    Metric("directory_up", "gauge", "1 if the last refresh of the directory from the database worked.", {}),
    Metric("directory_age_seconds", "gauge", "Time since the database was last heard.", {}),
    *NUMBER_METRICS,
    # workers of a node that has several
    Metric(
        "workers",
        "gauge",
        "Workers of this node by their state; away: it died and starts again; absent with one worker.",
        {"state": ("starting", "up", "away", "gone")},
    ),
    Metric("worker_restarts", "counter", "Workers that died and were started again.", {"worker": ()}),
    Metric("worker_datagrams", "counter", "Datagrams that the front gave to a worker.", {"worker": ()}),
    Metric(
        "worker_messages_passed",
        "counter",
        "Messages that came over a connection of one worker for another, counted by both.",
        {"direction": DIRECTIONS},
    ),
    Metric(
        "worker_stand_ins",
        "counter",
        "New calls and registrations that another worker took while theirs was away.",
        {},
    ),
    Metric(
        "worker_dropped",
        "counter",
        "What did not reach a worker, by reason; backlog: it was too busy to read.",
        {"reason": ("backlog", "no worker", "too old", "too many wait", "no answer")},
    ),
    # HTTP API
    Metric(
        "http_requests",
        "counter",
        "Requests to the HTTP API.",
        {"route": (), "method": HTTP_METHODS, "status": ("1xx", "2xx", "3xx", "4xx", "5xx")},
    ),
    Metric("http_request_seconds", "histogram", "Time of a request to the HTTP API.", {"route": ()}),
    Metric("http_wrong_tokens", "counter", "Requests with a token that opens nothing.", {}),
    # Process
    Metric("event_loop_lag_seconds", "histogram", "How late the event loop ran a due timer.", {}),
    Metric(
        "tls_certificate_expiry_timestamp_seconds",
        "gauge",
        "End of validity of a certificate, Unix time.",
        {"name": ()},
    ),
    Metric("start_time_seconds", "gauge", "Start of the node, Unix time.", {}),
    Metric("draining", "gauge", "1 while the node takes no new calls.", {}),
    Metric("metrics_read_errors", "counter", "Metrics that could not be read: a bug.", {"metric": ()}),
    Metric("config_version", "info", "Version of the provisioning in use.", {"version": ()}),
    Metric(
        "build",
        "info",
        "What is running.",
        {"version": (), "python": (), "core": ("compiled", "interpreted")},
    ),
)

CATALOGUE: Final[dict[str, Metric]] = {metric.name: metric for metric in _ALL}
"""Name without prefix -> metric."""


def all_series() -> frozenset[str]:
    """Every name that may appear in ``/metrics`` of this node."""
    return frozenset(name for metric in _ALL for name in metric.series)
