"""Where a message came from or goes to, and the local sockets we own (RFC 3261 §18, RFC 5626 §4).

A ``Flow`` is a value: transport, remote address, the local listener and, for streams, the id of the
connection.  It can be stored (``dump``) and used again later, which is what a registration over a connection
needs.
"""

from __future__ import annotations

from typing import Final

TRANSPORTS: Final = ("udp", "tcp", "tls", "ws", "wss")
_VIA_NAME: Final = {"udp": "UDP", "tcp": "TCP", "tls": "TLS", "ws": "WS", "wss": "WSS"}


def bracketed(host: str) -> str:
    """``host`` as it stands in a URI or Via: IPv6 literals in brackets (RFC 3261 §25.1, IPv6reference)."""
    return f"[{host}]" if ":" in host else host


class Flow:
    """One path to a peer.  Equal flows are interchangeable; nothing changes after construction."""

    __slots__ = ("_dumped", "conn", "host", "listener", "port", "reliable", "secure", "transport")

    def __init__(self, transport: str, host: str, port: int, listener: str = "", conn: int = 0) -> None:
        self.transport: str = transport
        """One of udp, tcp, tls, ws, wss."""
        self.host: str = host
        """Remote IP literal, without brackets."""
        self.port: int = port
        self.listener: str = listener
        """Name of the local listener; empty: any that fits."""
        self.conn: int = conn
        """Id of an existing stream connection; 0: a datagram, or any connection to the address, opened if
        need be."""
        self.reliable: bool = transport != "udp"
        self.secure: bool = transport == "tls" or transport == "wss"
        self._dumped: str = ""

    @property
    def key(self) -> str:
        """Names the connection once there is one, else the peer: what can be lost in one piece."""
        return f"#{self.conn}" if self.conn else f"{self.transport}:{bracketed(self.host)}:{self.port}"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Flow)
            and self.conn == other.conn
            and self.host == other.host
            and self.port == other.port
            and self.transport == other.transport
            and self.listener == other.listener
        )

    def __hash__(self) -> int:
        return hash((self.host, self.port, self.conn))

    def __repr__(self) -> str:
        return f"Flow({self.dump()!r})"

    def dump(self) -> str:
        """The flow as one word for a store; ``load`` is its inverse."""
        if not self._dumped:
            self._dumped = f"{self.transport}|{self.host}|{self.port}|{self.conn}|{self.listener}"
        return self._dumped

    @staticmethod
    def load(text: str) -> Flow:
        """The flow that ``dump`` wrote.  Raises ValueError on anything else."""
        parts = text.split("|", 4)
        if len(parts) != 5 or parts[0] not in TRANSPORTS:
            raise ValueError(f"not a flow: {text!r}")
        return Flow(parts[0], parts[1], int(parts[2]), parts[4], int(parts[3]))


class Listener:
    """A local socket that receives, and how it is named to peers."""

    __slots__ = (
        "advertise_host",
        "advertise_port",
        "host",
        "name",
        "port",
        "sent_by",
        "sent_by_lower",
        "transport",
        "via",
    )

    def __init__(
        self,
        name: str,
        transport: str,
        host: str,
        port: int,
        advertise_host: str = "",
        advertise_port: int = 0,
        mark: str = "",
    ) -> None:
        """``mark``: parameters for our Via, each with its semicolon; responses bring them back."""
        if transport not in TRANSPORTS:
            raise ValueError(f"unknown transport {transport!r}")
        self.name: str = name
        self.transport: str = transport
        self.host: str = host
        """Address it is bound to, without brackets; 0.0.0.0 or :: for all."""
        self.port: int = port
        self.advertise_host: str = advertise_host or host
        self.advertise_port: int = advertise_port or port
        self.sent_by: str = f"{bracketed(self.advertise_host)}:{self.advertise_port}"
        """What our Via carries as sent-by (RFC 3261 §18.1.1)."""
        self.sent_by_lower: str = self.sent_by.lower()
        self.via: str = f"Via: SIP/2.0/{_VIA_NAME[transport]} {self.sent_by}{mark};branch="
        """Start of our Via line, up to the branch."""

    def __repr__(self) -> str:
        return f"Listener({self.name!r}, {self.sent_by!r})"


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1"


def _is_wildcard(host: str) -> bool:
    return host in ("0.0.0.0", "::", "")


class Listeners:
    """The local listeners by name, and the choice of one for a new request."""

    __slots__ = ("_by_name",)

    def __init__(self) -> None:
        self._by_name: dict[str, Listener] = {}

    def add(self, listener: Listener) -> None:
        self._by_name[listener.name] = listener

    def remove(self, name: str) -> None:
        self._by_name.pop(name, None)

    def get(self, name: str) -> Listener | None:
        return self._by_name.get(name)

    def all(self) -> list[Listener]:
        """In the order they were added."""
        return list(self._by_name.values())

    def pick(self, transport: str, remote_host: str) -> Listener | None:
        """The listener to reach ``remote_host`` from: same transport and family, then the one that can get
        there.

        A listener on the very address comes first, then loopback for loopback and not for others, then
        wildcards.
        """
        best: Listener | None = None
        best_rank = 0
        family_is_six = ":" in remote_host
        remote_is_loopback = _is_loopback(remote_host)
        for listener in self._by_name.values():
            if listener.transport != transport or (":" in listener.host) != family_is_six:
                continue
            if listener.host == remote_host:
                rank = 4
            elif _is_wildcard(listener.host):
                rank = 2
            else:
                rank = 3 if _is_loopback(listener.host) == remote_is_loopback else 1
            if rank > best_rank:
                best, best_rank = listener, rank
        return best
