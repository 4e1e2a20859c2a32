"""What to listen on, and how to name it to peers."""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple

from callcontrol.sip.flow import TRANSPORTS, Listener, bracketed


class ListenAddress(NamedTuple):
    """One entry of ``sip.listen``."""

    transport: str
    host: str
    """IP literal without brackets."""
    port: int
    """0: any free port."""


def parse_listen(text: str) -> ListenAddress:
    """Read ``udp:127.0.0.1:5060`` or ``tls:[::1]:5061``.  Raises ValueError saying what is wrong."""
    transport, _, rest = text.strip().partition(":")
    if transport not in TRANSPORTS:
        raise ValueError(f"{text!r}: the transport must be one of {', '.join(TRANSPORTS)}")
    host, port = _split(rest, text)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r}: {host!r} is not an IP address (0.0.0.0 or [::] for all)") from None
    if port is None:
        raise ValueError(f"{text!r}: the port is missing (0 for any free one)")
    return ListenAddress(transport, host, port)


def _split(text: str, whole: str) -> tuple[str, int | None]:
    """``host``, ``host:port``, ``[v6]`` or ``[v6]:port``."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{whole!r}: brackets do not match")
        digits = rest[1:]
    else:
        host, _, digits = text.partition(":")
        if ":" in digits:
            raise ValueError(f"{whole!r}: an IPv6 address goes in brackets")
    if not digits:
        return host, None
    if not digits.isascii() or not digits.isdigit() or int(digits) > 65535:
        raise ValueError(f"{whole!r}: {digits!r} is not a port")
    return host, int(digits)


def make_listener(address: ListenAddress, port: int, advertise: str, mark: str = "") -> Listener:
    """The listener bound to ``address`` with the real ``port``, named to peers as ``advertise`` (``host[:port]``).

    The port of ``advertise`` is that of SIP and stands for udp and tcp; tls, ws and wss keep the port they listen on.  A
    listener on all addresses that advertises nothing names the address that the default route leaves from.  Raises
    ValueError.
    """
    name = f"{address.transport}:{bracketed(address.host)}:{port}"
    host, advertised_port = _split(advertise, advertise) if advertise else ("", None)
    if not host and ipaddress.ip_address(address.host).is_unspecified:
        host = primary_address(":" in address.host)
    if address.transport not in ("udp", "tcp"):
        advertised_port = None
    return Listener(name, address.transport, address.host, port, host, advertised_port or 0, mark)


def primary_address(six: bool) -> str:
    """Our address on the default route; loopback when there is none.  Nothing is sent."""
    family, outside, loopback = (
        (socket.AF_INET6, "2001:db8::1", "::1") if six else (socket.AF_INET, "192.0.2.1", "127.0.0.1")
    )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((outside, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return loopback
