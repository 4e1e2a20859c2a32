"""Who speaks through a proxy of ours: the address that the proxy has stamped into the Via below its own (RFC 3261 §18.2.1)."""

from __future__ import annotations

from collections.abc import Iterable

from callcontrol.limits import Networks
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import parse_via
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message


class Proxies:
    """Proxies that are trusted to say where a request came from."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Raises ValueError for text that is no network."""
        self._networks = Networks(networks)

    def origin(self, message: Message, flow: Flow) -> Flow:
        """Where a request came from; ``flow`` itself, unless that is of a proxy which says otherwise."""
        if flow.host not in self._networks:
            return flow
        vias = message.items("via")
        if len(vias) < 2:
            return flow
        try:
            via = parse_via(vias[1])
        except RemoteProtocolError:
            return flow
        host = via.params.get("received") or via.host
        port = via.params.get("rport") or ""
        number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else via.port or 5060
        return Flow("udp", host.strip("[]"), number)
