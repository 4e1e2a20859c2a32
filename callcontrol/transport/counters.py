"""Counters of the transport as plain integers; whoever exports them reads them when scraped."""

from __future__ import annotations

from typing import Final

_LAG_BOUNDS_S: Final[tuple[float, ...]] = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


def count(table: dict[str, int], name: str, by: int = 1) -> None:
    """Add to a named counter; names come from closed sets of this package (errno names, refusal words)."""
    table[name] = table.get(name, 0) + by


class Datagrams:
    """What is counted of each datagram."""

    __slots__ = ("bytes_in", "bytes_out", "messages_in", "messages_out", "reads")

    def __init__(self) -> None:
        self.reads = 0
        """Wake-ups of a socket."""
        self.messages_in = 0
        self.messages_out = 0
        self.bytes_in = 0
        self.bytes_out = 0


class Counters:
    """What all sockets of one driver count.  Tables are keyed by transport, or by a word of a closed set."""

    __slots__ = (
        "accepted",
        "batches",
        "bytes_in",
        "bytes_out",
        "closed",
        "connect_failed",
        "connected",
        "dropped",
        "icmp_errors",
        "longest_batch_s",
        "messages_in",
        "messages_out",
        "pings",
        "reads",
        "refused",
        "tls_failures",
        "udp",
    )

    def __init__(self) -> None:
        self.udp = Datagrams()
        self.reads: dict[str, int] = {}
        """Of streams: wake-ups of a socket that read something, by transport."""
        self.messages_in: dict[str, int] = {}
        """Of streams: framed messages, by transport."""
        self.messages_out: dict[str, int] = {}
        self.bytes_in: dict[str, int] = {}
        self.bytes_out: dict[str, int] = {}
        self.accepted: dict[str, int] = {}
        """Incoming connections by transport."""
        self.connected: dict[str, int] = {}
        """Outgoing connections that opened, by transport."""
        self.connect_failed: dict[str, int] = {}
        """Outgoing connections that did not open, by reason."""
        self.refused: dict[str, int] = {}
        """Incoming connections turned away, by reason."""
        self.closed: dict[str, int] = {}
        """Connections ended, by reason."""
        self.dropped: dict[str, int] = {}
        """Messages not delivered or not sent, by reason."""
        self.tls_failures: dict[str, int] = {}
        """Handshakes that failed, by reason."""
        self.icmp_errors = 0
        """Datagrams of ours that an ICMP error came back for."""
        self.pings = 0
        """Keep-alives answered (RFC 5626 §4.4.1)."""
        self.batches = 0
        """Turns: each takes a batch of input, gives the TU its turn and flushes once."""
        self.longest_batch_s = 0.0
        """Longest turn so far, seconds; whoever reads it may set it back to zero."""


class LagMeter:
    """How late the loop comes to its timers: maximum and histogram (seconds)."""

    __slots__ = ("bounds_s", "buckets", "count", "maximum_s", "total_s")

    def __init__(self) -> None:
        self.bounds_s: tuple[float, ...] = _LAG_BOUNDS_S
        """Upper bounds of the buckets; one more bucket holds what is above the last."""
        self.buckets: list[int] = [0] * (len(_LAG_BOUNDS_S) + 1)
        """Observations by bucket, not cumulative."""
        self.count = 0
        self.total_s = 0.0
        self.maximum_s = 0.0

    def observe(self, lag_s: float) -> None:
        lag_s = max(lag_s, 0.0)
        self.count += 1
        self.total_s += lag_s
        self.maximum_s = max(self.maximum_s, lag_s)
        for index, bound in enumerate(_LAG_BOUNDS_S):
            if lag_s <= bound:
                self.buckets[index] += 1
                return
        self.buckets[-1] += 1

    def take_maximum(self) -> float:
        """The maximum since it was last taken, seconds."""
        maximum, self.maximum_s = self.maximum_s, 0.0
        return maximum
