"""Trunks: agreements with carriers, as frozen values, and the directory that finds the one a message comes
from.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from gateway.profile import DiversionHeader, HeaderRule, IdentityHeader, PrivacyForm


class NumberFormat(StrEnum):
    """How a trunk wants numbers written in Request-URI, To and From."""

    E164 = "e164"
    """``+33199001234``"""
    INTERNATIONAL = "international"
    """``0033199001234``"""
    NATIONAL = "national"
    """``0199001234`` within the trunk's country, the international form beyond it."""
    DIGITS = "digits"
    """``33199001234``: E.164 without the plus sign."""
    CONTEXT = "phone-context"
    """``0199001234;phone-context=+33`` within the trunk's country (RFC 3966 section 5.1.5), E.164 beyond it."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """Numbers that a trunk terminates: those that begin with ``digits`` (``+``, ``+33``, ``+336``)."""

    digits: str
    cost: float = 0.0
    """Price per minute, in the currency of the platform."""


@dataclass(frozen=True, slots=True)
class PeerShare:
    """How often a peer of a trunk is called before the trunk's other ones."""

    uri: str
    weight: int = 100
    """Share of calls among the peers of the same priority; 0: only when the others cannot."""
    priority: int = 10
    """Lower is tried first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """One agreement with a carrier; its peers are the signalling addresses that it consists of."""

    ref: str
    peers: tuple[str, ...] = ()
    """SIP URIs, ``sip:192.0.2.1:5080;transport=udp``: all of them are tried, in this order where ``peer`` says no other."""
    peer: tuple[PeerShare, ...] = ()
    """The same peers with their shares of the calls; empty: they are tried in the order of ``peers``."""
    accept_from: tuple[str, ...] = ()
    """Networks (CIDR) whose requests are this trunk's."""
    port_must_match: bool = False
    """The source port must be one of the peers' ports: several carriers may then share an address."""
    username: str = ""
    """Digest user: of the carrier towards us, and ours when the carrier challenges us.  Empty: none."""
    password: str = field(default="", repr=False)
    prefixes: tuple[Prefix, ...] = ()
    """What it terminates; empty: the trunk takes no outgoing calls."""
    priority: int = 10
    """Lower is tried first, among trunks whose prefixes are equally long."""
    weight: int = 100
    """Share of calls among trunks of the same priority and cost; 0: only when the others cannot."""
    max_channels: int = 0
    """Calls at the same time, both directions; 0: no bound."""
    max_cps: float = 0.0
    """New calls per second, both directions; 0: no bound."""
    number_format: NumberFormat = NumberFormat.E164
    """Of called numbers, and of callers' too where ``caller_format`` says nothing."""
    caller_format: NumberFormat | None = None
    """Of callers' numbers, where they are written otherwise than called ones."""
    country: str = ""
    """ISO 3166 alpha-2 country in which its national numbers are read and written; empty: the platform's."""
    options_seconds: float = 30.0
    """Interval of OPTIONS probes; 0: none."""
    identity: IdentityHeader = IdentityHeader.PAI
    trusted: bool = True
    """The carrier keeps what it is told in confidence (RFC 3325 section 2.3): it learns the number of a caller who
    hides it.  Otherwise that number is withheld."""
    privacy: PrivacyForm = PrivacyForm.ID
    diversion: DiversionHeader = DiversionHeader.BOTH
    domain: str = ""
    """Host of our identities: From, P-Asserted-Identity, and the address of record that is registered.  Empty: the
    platform's domain; of a trunk that registers, the host of its registrar."""
    host: str = ""
    """``host[:port]`` by which the carrier knows us, in Contact and in our OPTIONS; empty: the address of the
    listener that reaches it."""
    headers: tuple[HeaderRule, ...] = ()
    register: bool = False
    """We register with each of its peers, and its calls come to the contact that was registered."""
    registrar: str = ""
    """SIP URI that is registered at, without user; empty: that of each peer."""
    auth_username: str = ""
    """Our digest user, where it is another one than ``username``."""
    register_seconds: int = 3600
    """Life of the registration that is asked for."""

    @property
    def login(self) -> str:
        """Our digest user towards the carrier; empty: we have none."""
        return (self.auth_username or self.username) if self.password else ""


Network = IPv4Network | IPv6Network

_MEMO_MAX: Final = 4096


def peer_port(uri: str) -> int:
    """Port that a peer URI names or implies (RFC 3263 section 4.2: 5061 for TLS, else 5060).

    Only the shapes that `gateway.routes.check_peer` lets in.
    """
    scheme, _, rest = uri.partition(":")
    hostport, _, params = rest.partition(";")
    hostport = hostport.rpartition("@")[2]
    _, _, after = hostport.rpartition("]")
    _, colon, port = after.rpartition(":")
    if colon:
        return int(port)
    secure = scheme == "sips" or "transport=tls" in params.lower() or "transport=wss" in params.lower()
    return 5061 if secure else 5060


class TrunkDirectory:
    """All trunks, and whose a source address is.

    One object for the life of a process; `replace` exchanges the content between two events of the loop.
    """

    __slots__ = ("_by_ref", "_by_username", "_memo", "_networks", "_ports", "_prefixes", "_sizes", "version")

    def __init__(self, trunks: Iterable[Trunk] = (), *, version: int = 0) -> None:
        self.version = version
        self.replace(trunks, version=version)

    def replace(self, trunks: Iterable[Trunk], *, version: int) -> None:
        """Exchange the whole content."""
        ordered = sorted(trunks, key=lambda trunk: trunk.ref)
        self._by_ref: dict[str, Trunk] = {trunk.ref: trunk for trunk in ordered}
        # The credentials of a trunk that registers are ours towards the carrier, not the carrier's towards us.
        self._by_username: dict[str, Trunk] = {
            t.username: t for t in ordered if t.username and not t.register
        }
        self._ports: dict[str, frozenset[int]] = {
            trunk.ref: frozenset(peer_port(uri) for uri in trunk.peers) for trunk in ordered
        }
        networks: list[tuple[Network, Trunk]] = [
            (ip_network(text), trunk) for trunk in ordered for text in trunk.accept_from
        ]
        # Most specific first; a trunk that also asks for the port is more specific than one that does not.
        networks.sort(key=lambda pair: (-pair[0].prefixlen, not pair[1].port_must_match, pair[1].ref))
        self._networks = networks
        self._memo: dict[str, tuple[Trunk, ...]] = {}
        prefixes: dict[str, list[tuple[Trunk, float]]] = {}
        for trunk in ordered:
            for prefix in trunk.prefixes:
                prefixes.setdefault(prefix.digits, []).append((trunk, prefix.cost))
        self._prefixes: dict[str, tuple[tuple[Trunk, float], ...]] = {
            digits: tuple(found) for digits, found in prefixes.items()
        }
        self._sizes: tuple[int, ...] = tuple(sorted({len(digits) for digits in prefixes}, reverse=True))
        self.version = version

    def get(self, ref: str) -> Trunk | None:
        return self._by_ref.get(ref)

    def all(self) -> tuple[Trunk, ...]:
        """Every trunk in the order of refs."""
        return tuple(self._by_ref.values())

    def by_username(self, username: str) -> Trunk | None:
        """The trunk whose carrier authenticates with this digest user name."""
        return self._by_username.get(username)

    def match_source(self, host: str, port: int) -> Trunk | None:
        """The trunk that a request from ``host`` (a bare IP literal) and ``port`` belongs to; None for
        strangers.

        The most specific network wins.  With ``port_must_match`` the port must be one of the peers'.
        """
        candidates = self._memo.get(host)
        if candidates is None:
            candidates = self._candidates(host)
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
            self._memo[host] = candidates
        for trunk in candidates:
            if not trunk.port_must_match or port in self._ports[trunk.ref]:
                return trunk
        return None

    def _candidates(self, host: str) -> tuple[Trunk, ...]:
        try:
            address = ip_address(host)
        except ValueError:
            return ()
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        found: dict[str, Trunk] = {}
        for network, trunk in self._networks:
            if address in network:
                found.setdefault(trunk.ref, trunk)
        return tuple(found.values())

    def terminating(self, number: str) -> tuple[tuple[tuple[Trunk, float], ...], ...]:
        """Trunks that terminate a number in E.164, with their cost, grouped by prefix, the longest first.

        A trunk appears once, with its longest prefix.
        """
        groups: list[tuple[tuple[Trunk, float], ...]] = []
        seen: set[str] = set()
        for size in self._sizes:
            if size > len(number):
                continue
            found = self._prefixes.get(number[:size])
            if found is None:
                continue
            group = tuple(pair for pair in found if pair[0].ref not in seen)
            seen.update(trunk.ref for trunk, _ in group)
            if group:
                groups.append(group)
        return tuple(groups)

    def __len__(self) -> int:
        return len(self._by_ref)
