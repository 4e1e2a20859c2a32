"""Everything a stream peer could use up has a stated bound (seconds and bytes)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    """Limits of TCP, TLS and WebSocket connections.  The defaults suit a node with some 20 000 phones."""

    connections: int = 20_000
    """Connections at the same time, both directions."""
    per_address: int = 1_000
    """Accepted connections of one IPv4 address or one IPv6 /64: a large office behind one NAT fits."""
    opening: int = 2_000
    """Accepted connections whose TLS or WebSocket handshake is not complete."""
    connect_s: float = 4.0
    """An outgoing TCP connection must be there by then, and its TLS handshake done after as long again: then the next
    address is tried (RFC 3263 §4.3)."""
    handshake_s: float = 8.0
    """On an accepted connection TLS handshake and WebSocket upgrade must be complete by then."""
    first_message_s: float = 30.0
    """An accepted connection must have brought a complete message or keep-alive by then."""
    idle_s: float = 3_900.0
    """No complete message or keep-alive for so long ends a connection: an hour, the longest usual registration, and
    some.  Bytes that never complete a message do not count, so trickling them keeps nothing open."""
    ping_s: float = 30.0
    """A silent WebSocket is sent a ping so often: browsers cannot, and proxies drop what is silent for a minute."""
    pong_s: float = 20.0
    """Nothing at all for so long after a ping ends the WebSocket."""
    write_bytes: int = 1024 * 1024
    """Bytes waiting for a peer that does not read; above that it is closed and nobody else notices."""
    stall_s: float = 30.0
    """A peer that takes none of the waiting bytes for so long is closed."""
    queue_bytes: int = 256 * 1024
    """Bytes of messages that wait while a connection is being opened."""
    message_bytes: int = 65_535
    """Longest message on a WebSocket (streams: the framer's own limit)."""
    linger_s: float = 1.0
    """How long a connection that we end may take to read our last words."""
