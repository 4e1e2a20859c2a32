"""Locating SIP servers: from a URI to the flows to try, in order (RFC 3263, with RFC 7984 for two families).

The list is the whole answer: failover is the caller walking it (§4.3).  Finding the way back for a response whose connection is
gone (§5) is the same as resolving ``sip:sent-by;transport=...``.  Nothing is sent over WebSocket to a host: browsers come to us.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.sip.uri import Uri, parse_uri
from callcontrol.transport.dns_cache import DnsCache, DnsUnavailableError
from callcontrol.transport.srv import Dice, Naptr, Srv, interleaved, order_naptr, order_srv, shuffled

DEFAULT_PORT: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}
SRV_PREFIX: Final = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}
NAPTR_TRANSPORT: Final = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
MAX_TARGETS: Final = 10
"""Hosts looked up for one URI: a zone of a stranger must not make us ask hundreds of questions."""
_CACHE: Final = 4096

TlsTargets = Callable[[str, str, int, str], int]
"""``Driver.tls_target``: transport, address, port and domain to a value for ``Flow.conn``."""


class Located(NamedTuple):
    """Where a URI leads."""

    flows: list[Flow]
    reason: str
    """Why there are none, in a word or two of a closed set; empty when there are."""


class _Target(NamedTuple):
    """A host and port to look up for one transport; in the order to try."""

    transport: str
    host: str
    port: int


class Resolver:
    """See the module.  ``listeners`` decides which transports and families can be used at all."""

    def __init__(
        self,
        listeners: Listeners,
        dns: DnsCache,
        dice: Dice,
        *,
        tls_targets: TlsTargets | None = None,
        total_s: float = 5.0,
        prefer_ipv6: bool = True,
        max_flows: int = 16,
    ) -> None:
        """``dice``: numbers in [0, 1); ``total_s``: for one URI in all, what is found by then counts; ``prefer_ipv6``: which
        family comes first where both are served (RFC 6724 says IPv6)."""
        self.failures: dict[str, int] = {}
        """URIs that led nowhere, by reason."""
        self._listeners = listeners
        self._dns = dns
        self._dice = dice
        self._tls_targets = tls_targets
        self._total_s = total_s
        self._prefer_ipv6 = prefer_ipv6
        self._max_flows = max_flows
        self._direct: dict[str, Flow] = {}

    # -- without asking --------------------------------------------------------------------------------------------

    def direct(self, uri: str) -> Flow | None:
        """The flow of a URI that holds an IP address; None for names and for what cannot be reached (`locate` says why)."""
        known = self._direct.get(uri)
        if known is not None:
            return known
        try:
            parsed = parse_uri(uri)
        except RemoteProtocolError:
            return None
        host = _host(parsed)
        if not parsed.is_sip or not _is_address(host):
            return None
        flow = self._numeric(parsed, host, self._listeners)
        if flow is not None:
            if len(self._direct) >= _CACHE:
                self._direct.clear()
            self._direct[uri] = flow
        return flow

    def forget(self) -> None:
        """Drop what is remembered about URIs (the listeners have changed)."""
        self._direct.clear()

    def _numeric(self, uri: Uri, host: str, listeners: Listeners) -> Flow | None:
        for transport in _transports(uri, numeric_or_port=True):
            port = DEFAULT_PORT[transport] if uri.port is None else uri.port
            flow = self._flow(transport, host, port, uri.host, listeners)
            if flow is not None:
                return flow
        return None

    def _flow(
        self, transport: str, address: str, port: int, domain: str, listeners: Listeners
    ) -> Flow | None:
        listener = listeners.pick(transport, address)
        if listener is None or port == 0:
            return None
        conn = 0
        if transport == "tls" and self._tls_targets is not None and not _is_address(domain):
            conn = self._tls_targets(transport, address, port, domain)
        return Flow(transport, address, port, listener.name, conn)

    # -- with the DNS ----------------------------------------------------------------------------------------------

    async def resolve(self, uri: str, listeners: Listeners | None = None) -> list[Flow]:
        """Flows to try, in order; empty when there are none.  Never raises for what the URI or the DNS says."""
        return (await self.locate(uri, listeners)).flows

    async def locate(self, uri: str, listeners: Listeners | None = None) -> Located:
        """As ``resolve``, with the reason when there is nothing to try."""
        located = await self._locate(uri, listeners or self._listeners)
        if located.reason:
            self.failures[located.reason] = self.failures.get(located.reason, 0) + 1
        return located

    async def _locate(self, text: str, listeners: Listeners) -> Located:
        try:
            uri = parse_uri(text)
        except RemoteProtocolError:
            return Located([], "malformed URI")
        if not uri.is_sip:
            return Located([], "not a SIP URI")
        host = _host(uri)
        if not _transports(uri, numeric_or_port=True):
            return Located([], "unknown transport")
        if _is_address(host):
            flow = self._numeric(uri, host, listeners)
            return Located([], "no listener") if flow is None else Located([flow], "")
        served = {listener.transport for listener in listeners.all()}
        if not served.intersection(_transports(uri, numeric_or_port=False)):
            return Located([], "no listener")
        search = _Search(self._dns, self._dice, listeners, self._prefer_ipv6)
        try:
            async with asyncio.timeout(self._total_s):
                await search.run(uri, host, served)
        except TimeoutError:
            search.reason = "DNS timeout"
        flows: dict[Flow, None] = {}
        for target, addresses in zip(search.targets, search.addresses, strict=True):
            for address in addresses:
                flow = self._flow(target.transport, address, target.port, uri.host, listeners)
                if flow is not None:
                    flows[flow] = None
        found = list(flows)[: self._max_flows]
        return Located(found, "" if found else search.reason or "no such host")


class _Search:
    """One resolution under way; what it has found so far stays usable when time runs out."""

    def __init__(self, dns: DnsCache, dice: Dice, listeners: Listeners, prefer_ipv6: bool) -> None:
        self.targets: list[_Target] = []
        self.addresses: list[list[str]] = []
        """Of each target, in the order to try."""
        self.reason = ""
        self._dns = dns
        self._dice = dice
        self._listeners = listeners
        self._prefer_ipv6 = prefer_ipv6

    async def run(self, uri: Uri, host: str, served: set[str]) -> None:
        """Select transports (§4.1), then targets, then addresses (§4.2)."""
        if uri.port is not None:
            transports = _transports(uri, numeric_or_port=True)
            self._add_targets([_Target(_first(transports, served), host, uri.port)])
        elif "transport" in uri.params:
            transport = _transports(uri, numeric_or_port=False)[0]
            self._add_targets(await self._srv(transport, SRV_PREFIX[transport] + host, host))
        else:
            self._add_targets(await self._by_naptr_or_srv(uri, host, served))
        async with asyncio.TaskGroup() as group:
            for index in range(len(self.targets)):
                group.create_task(self._look_up(index))

    def _add_targets(self, targets: list[_Target]) -> None:
        self.targets = targets[:MAX_TARGETS]
        self.addresses = [[] for _ in self.targets]

    async def _by_naptr_or_srv(self, uri: Uri, host: str, served: set[str]) -> list[_Target]:
        usable = [each for each in _transports(uri, numeric_or_port=False) if each in served]
        replacements: list[tuple[str, str]] = []
        for record in order_naptr(
            [each for each in await self._ask(host, "NAPTR") if isinstance(each, Naptr)]
        ):
            transport = NAPTR_TRANSPORT.get(record.service, "")
            if record.flags == "s" and transport in served and (transport == "tls" or uri.scheme != "sips"):
                replacements.append((transport, record.replacement))
        named = bool(replacements)
        if not named:
            # §4.1: _sips for sips URIs, _sip for sip URIs, so TLS is not tried for the latter unless NAPTR names it.
            replacements = [
                (each, SRV_PREFIX[each] + host) for each in usable if each != "tls" or uri.scheme == "sips"
            ]
        found = await asyncio.gather(*(self._srv(transport, name, "") for transport, name in replacements))
        targets = [target for group in found for target in group]
        if not targets:
            transport = _first(_transports(uri, numeric_or_port=True), served)
            targets = [_Target(transport, host, DEFAULT_PORT[transport])]
        return targets

    async def _srv(self, transport: str, name: str, otherwise: str) -> list[_Target]:
        """Targets of an SRV name; host ``otherwise`` with the default port where there is no such record."""
        records = [each for each in await self._ask(name, "SRV") if isinstance(each, Srv)]
        if not records and otherwise:
            return [_Target(transport, otherwise, DEFAULT_PORT[transport])]
        return [_Target(transport, each.target, each.port) for each in order_srv(records, self._dice)]

    async def _look_up(self, index: int) -> None:
        target = self.targets[index]
        if _is_address(target.host):  # forbidden (RFC 2782, "Target"), met in the field
            self.addresses[index] = [target.host]
            return
        families = {":" in each.host for each in self._listeners.all() if each.transport == target.transport}
        kinds = [kind for kind in ("AAAA", "A") if (kind == "AAAA") in families]
        found = await asyncio.gather(*(self._ask(target.host, kind) for kind in kinds))
        lists = [shuffled([str(each) for each in records], self._dice) for records in found]
        if not self._prefer_ipv6:
            lists.reverse()
        self.addresses[index] = (
            interleaved(lists[0], lists[1]) if len(lists) == 2 else lists[0] if lists else []
        )

    async def _ask(self, name: str, kind: str) -> tuple[object, ...]:
        """Records, or none when the DNS is away: what else is found may still do, and the reason is noted."""
        try:
            return await self._dns.lookup(name, kind)
        except DnsUnavailableError:
            self.reason = "DNS unavailable"
            return ()


def _host(uri: Uri) -> str:
    """TARGET of RFC 3263 §4: maddr where it is given, else the host."""
    maddr = uri.params.get("maddr")
    return maddr.strip("[]").lower() if maddr else uri.host


def _transports(uri: Uri, *, numeric_or_port: bool) -> tuple[str, ...]:
    """Transports that the URI allows, best first (§4.1); empty when it asks for one that we do not send over.

    ``numeric_or_port``: an address or a port is given, so nothing is discovered and UDP (TLS for sips) is the rule; TCP is second
    for a server that does not listen on UDP.
    """
    asked = (uri.params.get("transport") or "").lower()
    secure = uri.scheme == "sips"
    match asked:
        case "":
            if secure:
                return ("tls",)
            return ("udp", "tcp") if numeric_or_port else ("udp", "tcp", "tls")
        case "udp" if not secure:
            return ("udp",)
        case "tcp":
            return ("tls",) if secure else ("tcp",)
        case "tls":
            return ("tls",)
        case _:
            return ()


def _first(transports: tuple[str, ...], served: set[str]) -> str:
    return next((each for each in transports if each in served), transports[0])


def _is_address(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        return False
    return True
