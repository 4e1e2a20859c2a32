"""What transactions act upon: the one list of messages to send, the one list of events, the counters and the
wheel.

``Endpoint`` is an ``Outputs``; a transaction is handed it with every input, so it holds no reference back and
finished transactions leave no cycles behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from callcontrol.sip.events import Event
from callcontrol.sip.flow import Flow
from callcontrol.sip.timers import SipTimers

Tap = Callable[[str, Flow, bytes, str], None]
"""``tap("in" | "out", flow, data, call_id)`` for every message that passes, retransmissions too."""

METHODS: Final = frozenset(
    (
        "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY",
        "SUBSCRIBE", "MESSAGE", "PUBLISH",
    )
)  # fmt: skip

CLASSES: Final = ("other", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx")


def method_label(method: str) -> str:
    """The method, if a counter may be named after it: strangers must not be able to invent labels."""
    return method if method in METHODS else "other"


def class_label(status: int) -> str:
    return CLASSES[status // 100] if 100 <= status < 700 else "other"


class Counters:
    """Plain integers since the start; the metrics read them when they are scraped.  Every key set is
    closed."""

    __slots__ = (
        "_in",
        "_out",
        "absorbed",
        "dropped",
        "failed",
        "named",
        "parse_errors",
        "retransmissions",
        "stateless",
    )

    def __init__(self) -> None:
        self._in: dict[str, dict[str, int]] = {}
        """By transport, then by method or response class: two look-ups are less than a key that is made."""
        self._out: dict[str, dict[str, int]] = {}
        self.retransmissions: dict[str, int] = {}
        """Messages that we sent again, by method of the transaction."""
        self.absorbed: dict[str, int] = {}
        """Messages that the peer sent again and a transaction recognised, by method."""
        self.dropped: dict[str, int] = {}
        """Input that led to nothing, by reason."""
        self.parse_errors: dict[int, int] = {}
        """Malformed input by the status that it deserves, answered or not."""
        self.stateless: dict[int, int] = {}
        """Refusals sent without a transaction, by status."""
        self.failed: dict[tuple[str, str], int] = {}
        """Client transactions without final response, by (method, cause)."""
        self.named: dict[str, int] = {}
        """Other things worth a number, by name: "INVITE without ACK", "oversize to TCP", ..."""

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def note(self, name: str) -> None:
        self.named[name] = self.named.get(name, 0) + 1

    def absorb(self, method: str) -> None:
        label = method_label(method)
        self.absorbed[label] = self.absorbed.get(label, 0) + 1

    def resend(self, method: str) -> None:
        label = method_label(method)
        self.retransmissions[label] = self.retransmissions.get(label, 0) + 1

    def fail(self, method: str, cause: str) -> None:
        key = (method_label(method), cause)
        self.failed[key] = self.failed.get(key, 0) + 1

    @property
    def messages(self) -> dict[tuple[str, str, str], int]:
        """By (direction "in" or "out", method or response class, transport), retransmissions included."""
        return {
            (direction, label, transport): number
            for direction, rows in (("in", self._in), ("out", self._out))
            for transport, row in rows.items()
            for label, number in row.items()
        }

    def request(self, direction: str, method: str, transport: str) -> None:
        row = self._row(direction, transport)
        label = method_label(method)
        row[label] = row.get(label, 0) + 1

    def response(self, direction: str, status: int, transport: str) -> None:
        row = self._row(direction, transport)
        label = class_label(status)
        row[label] = row.get(label, 0) + 1

    def _row(self, direction: str, transport: str) -> dict[str, int]:
        rows = self._in if direction == "in" else self._out
        row = rows.get(transport)
        if row is None:
            row = rows[transport] = {}
        return row


class Outputs:
    """Lists that grow during an input and are drained after it: ``out`` by the driver, ``events`` by the
    TU."""

    def __init__(self, timers: SipTimers) -> None:
        self.timers: SipTimers = timers
        self.out: list[tuple[Flow, bytes]] = []
        self.events: list[Event] = []
        self.counters: Counters = Counters()
        self.tap: Tap | None = None

    def transmit_request(self, flow: Flow, method: str, data: bytes) -> None:
        self.counters.request("out", method, flow.transport)
        self.out.append((flow, data))
        if self.tap is not None:
            self.tap("out", flow, data, call_id_of(data))

    def transmit_response(self, flow: Flow, status: int, data: bytes) -> None:
        self.counters.response("out", status, flow.transport)
        self.out.append((flow, data))
        if self.tap is not None:
            self.tap("out", flow, data, call_id_of(data))


def call_id_of(data: bytes) -> str:
    """The Call-ID of a message of ours, without parsing it; empty if there is none."""
    start = data.find(b"\r\nCall-ID: ")
    if start >= 0:
        start += 11
        return data[start : data.find(b"\r\n", start)].decode("utf-8", "replace")
    # A response repeats the spelling of its request: any case, the compact form, blanks before the colon.
    for line in data[: data.find(b"\r\n\r\n") + 2].split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() in (b"call-id", b"i"):
            return value.strip().decode("utf-8", "replace")
    return ""
