"""What the sections of the settings are made of: types with their bounds, addresses, the common base."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
"""0 means that there is no bound."""

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"{error}; write 192.0.2.0/24 or 2001:db8::/32") from None


Network = Annotated[str, AfterValidator(_network)]


def split_host_port(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` as (host without brackets, port); ValueError says what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"{text!r} is not host:port")
    if int(port) > 65535:
        raise ValueError(f"port {port} is above 65535")
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        raise ValueError(f"an IPv6 address is written in brackets: [{host.strip('[]')}]:{port}")
    return host.strip("[]"), int(port)


def _listener(text: str) -> str:
    transport, _, rest = text.partition(":")
    if transport not in TRANSPORTS:
        raise ValueError(f"{text!r} begins with none of {', '.join(t + ':' for t in TRANSPORTS)}")
    split_host_port(rest)
    return text


def _host_port(text: str) -> str:
    split_host_port(text)
    return text


Listener = Annotated[str, AfterValidator(_listener)]
HostPort = Annotated[str, AfterValidator(_host_port)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
