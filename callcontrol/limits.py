"""The gate before the SIP endpoint: rates per address, scanners, password guessers, bans (OPS-05).

What counts against an address is a *suspicion*: a wrong password, an unknown target, a malformed message, the
name of a scanner.  Each adds its share to a score that leaks away over ``window_s``; a score of one is an
offence.

**Who can be banned, and by whom.**  A UDP source address can be forged, so a suspicion is *proven* only when
the sender must have received something at that address: over a connection, or by answering a nonce that was
issued to that very address (`callcontrol.auth` binds nonces to the source).  Then:

=======================  ====================================  ====================================
address                  proven offence                        unproven offence (may be forged)
=======================  ====================================  ====================================
trusted network          nothing                               nothing
with live registrations  suspicions count a tenth, then a ban  slowed to ``slow_rate``, never banned
any other                ban, doubling up to ``ban_cap_s``     ban, up to ``forged_ban_cap_s``
=======================  ====================================  ====================================

So nobody can take a trunk or a registered phone off the air by forging its address, one bad password in an
office does not silence its other phones, and a forged ban of anybody else is short.

IPv6 addresses count by /64 (one customer line), IPv4-mapped ones as IPv4.  All tables are bounded; under a
flood of forged addresses the oldest are forgotten, bans last.  One clock only: every ``now`` is in seconds of
the clock that the caller uses for `Gate.admit`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from callcontrol.scanners import SCANNERS, ScannerNames

TEST_NETWORKS: Final[tuple[str, ...]] = ("127.0.0.0/8", "::1/128")
"""Networks of a laptop or a test bench; trusted only when ``trust_test_networks`` says so."""

AUTH: Final = "auth"
UNKNOWN_TARGET: Final = "unknown_target"
MALFORMED: Final = "malformed"
SCANNER: Final = "scanner"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """Figures of the gate."""

    rate: float = 200.0
    """Messages per second that one address may send for long; an office behind one address fits."""
    burst: float = 1000.0
    """Messages that it may send at once: all phones of an office after a power cut."""
    slow_rate: float = 20.0
    """Messages per second of an address that is slowed instead of banned; a few calls per second still work,
    because whoever forges the address of an office can bring this about."""
    auth_failures: int = 10
    """Wrong passwords per ``window_s`` that make an offence."""
    unknown_targets: int = 20
    malformed: int = 30
    window_s: float = 60.0
    ban_s: float = 60.0
    """First ban; each further one within ``forget_s`` is twice as long."""
    ban_cap_s: float = 86400.0
    forged_ban_cap_s: float = 300.0
    """Longest ban by evidence that may be forged."""
    forget_s: float = 86400.0
    """After this long without an offence the next ban is a first one again."""
    registered_leniency: int = 10
    """Proven suspicions of an address with live registrations count this many times less."""
    bans: bool = True
    """False: suspicions are counted but nobody is banned or slowed; rates hold."""
    max_addresses: int = 100_000
    max_bans: int = 100_000
    scanners: tuple[str, ...] = SCANNERS
    trusted_networks: tuple[str, ...] = ()
    """CIDR; never limited. Trunk networks are added by `Gate.trust`."""
    trust_test_networks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """One address that is kept out, for the list of the CLI."""

    address: str
    """IPv4 address or IPv6 /64 as ``2001:db8::/64``."""
    reason: str
    since: float
    until: float
    count: int
    """Proven offences in a row; the length doubles with each."""
    forged_count: int
    """The same for offences that may be forged; kept apart, so that forgers cannot lengthen an earned ban."""
    proven: bool
    slowed: bool
    """Slowed to ``slow_rate`` instead of kept out."""


@dataclass(frozen=True, slots=True)
class Suspicious:
    """Something to count against an address: tell it to `Gate.suspect`."""

    host: str
    kind: str
    proven: bool


class _Address:
    """What is known of one address: its bucket and its score."""

    __slots__ = ("filled_at", "score", "score_at", "slowed_until", "tokens", "trusted")

    def __init__(self, tokens: float, now: float, trusted: bool) -> None:
        self.tokens = tokens
        self.filled_at = now
        self.score = 0.0
        self.score_at = now
        self.slowed_until = 0.0
        self.trusted = trusted


def address_key(host: str) -> str:
    """The key an address counts under: IPv4 as it is, IPv6 by its /64, IPv4-mapped IPv6 as IPv4.

    Text that is no address (a host name from a test or a peer) is its own key.
    """
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0].strip("[]"))
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.is_loopback:
        return "::1"
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


class Networks:
    """A set of CIDR networks; a look-up costs one step per distinct prefix length, not per network."""

    __slots__ = ("_v4", "_v6")

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """ValueError for text that is no network; host bits may be set."""
        self._v4: dict[int, set[int]] = {}
        self._v6: dict[int, set[int]] = {}
        for text in networks:
            network = ipaddress.ip_network(text, strict=False)
            table = self._v4 if network.version == 4 else self._v6
            table.setdefault(network.max_prefixlen - network.prefixlen, set()).add(
                int(network.network_address)
            )

    def __contains__(self, host: str) -> bool:
        if not self._v4 and not self._v6:
            return False
        try:
            address = ipaddress.ip_address(host.partition("%")[0].strip("[]"))
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        value = int(address)
        table = self._v4 if address.version == 4 else self._v6
        return any(value >> shift << shift in members for shift, members in table.items())


def _nobody(_key: str) -> bool:
    return False


class Gate:
    """Admits or drops what arrives, by source address; fits the transport's ``Gate`` protocol.

    ``registered`` answers whether an `address_key` has live registrations (``BindingStore.has_source``).
    ``counters`` are plain ints by reason: ``rate``, ``banned``, ``slowed``, ``scanner`` (messages dropped),
    ``bans``, ``slowdowns`` (measures taken), ``forgotten`` (addresses dropped from memory),
    ``suspicion_<kind>``.
    """

    def __init__(self, settings: GatePolicy, registered: Callable[[str], bool] = _nobody) -> None:
        self._settings = settings
        self._registered = registered
        # Two generations instead of one LRU list: admit() then costs one dict look-up and no reordering.
        self._young: dict[str, _Address] = {}
        self._old: dict[str, _Address] = {}
        self._keys: dict[str, str] = {}
        self._bans: dict[str, Ban] = {}
        self.on_ban: list[Callable[[Ban], None]] = []
        """Told of each ban and slow-down of this process."""
        self.on_unban: list[Callable[[str], None]] = []
        """Told the address (as in the list of bans) of which somebody here has lifted the ban."""
        self._trunks: tuple[str, ...] = ()
        self._trusted = Networks()
        self._scanners = ScannerNames(settings.scanners)
        self._weights = {
            AUTH: 1.0 / settings.auth_failures,
            UNKNOWN_TARGET: 1.0 / settings.unknown_targets,
            MALFORMED: 1.0 / settings.malformed,
            SCANNER: 1.0,
        }
        self.counters: dict[str, int] = dict.fromkeys(
            ("rate", "banned", "slowed", "scanner", "bans", "slowdowns", "forgotten"), 0
        )
        for kind in self._weights:
            self.counters[f"suspicion_{kind}"] = 0
        self.trust(())

    def trust(self, networks: Iterable[str]) -> None:
        """Replace the trunk networks, which are never limited; called again when the trunks change.

        ValueError for text that is no network; the old set then stays.
        """
        trunks = tuple(networks)
        extra = TEST_NETWORKS if self._settings.trust_test_networks else ()
        self._trusted = Networks((*self._settings.trusted_networks, *extra, *trunks))
        self._trunks = trunks
        self._keys.clear()
        # `trusted` is remembered per address, so what was remembered must be read anew.
        for generation in (self._young, self._old):
            for key, entry in generation.items():
                entry.trusted = key in self._trusted
        for key in [key for key in self._bans if key in self._trusted]:
            del self._bans[key]

    def is_trusted(self, host: str) -> bool:
        """True for an address of a trunk or another network that is never limited."""
        return host in self._trusted

    def admit(self, host: str, now: float) -> bool:
        """May one message from this address be read?  One call per message, before parsing."""
        key = host if ":" not in host else self._key(host)
        if self._bans and (ban := self._bans.get(key)) is not None and not ban.slowed and now < ban.until:
            self.counters["banned"] += 1
            return False
        entry = self._young.get(key)
        if entry is None:
            entry = self._remember(key, host, now)
        if entry.trusted:
            return True
        slowed = now < entry.slowed_until
        if slowed:
            rate = burst = self._settings.slow_rate
        else:
            rate = self._settings.rate
            burst = self._settings.burst
        tokens = entry.tokens + (now - entry.filled_at) * rate
        if tokens > burst:
            tokens = burst
        entry.filled_at = now
        if tokens < 1.0:
            entry.tokens = tokens
            self.counters["slowed" if slowed else "rate"] += 1
            return False
        entry.tokens = tokens - 1.0
        return True

    def inspect(self, data: bytes, host: str, now: float, *, reliable: bool = False) -> bool:
        """Look for a scanner's name in a raw message; False: drop it without an answer.

        Cheap enough to run before parsing.  What a trusted address sends is let through whatever it names.
        """
        name = self.scanner_name(data)
        if not name:
            return True
        key = self._key(host)
        if self._entry(key, host, now).trusted:
            return True
        self.counters["scanner"] += 1
        self.suspect(host, SCANNER, now, proven=reliable)
        return False

    def scanner_name(self, data: bytes) -> str:
        """The scanner that a raw request names in User-Agent; "" for none."""
        return self._scanners.named_in(data)

    def suspect(self, host: str, kind: str, now: float, *, proven: bool) -> None:
        """Count a suspicion (`AUTH`, `UNKNOWN_TARGET`, `MALFORMED`, `SCANNER`) against an address.

        ``proven``: the sender has shown that it receives at this address (connection, or nonce issued to it).
        """
        self.counters[f"suspicion_{kind}"] += 1
        key = self._key(host)
        entry = self._entry(key, host, now)
        if entry.trusted or not self._settings.bans:
            return
        weight = self._weights[kind]
        live = self._registered(key)
        if live and proven:
            weight /= self._settings.registered_leniency
        leaked = (now - entry.score_at) / self._settings.window_s
        entry.score = max(0.0, entry.score - leaked) + weight
        entry.score_at = now
        # Ten times a tenth is a little less than one.
        if entry.score < 1.0 - 1e-9:
            return
        entry.score = 0.0
        self._punish(key, entry, kind, now, proven, slowed=live and not proven)

    def absolve(self, host: str, kind: str, now: float) -> None:
        """Take one suspicion back: its sender has shown since that it may do that."""
        entry = self._entry(self._key(host), host, now)
        entry.score = max(0.0, entry.score - self._weights[kind])

    def _punish(self, key: str, entry: _Address, reason: str, now: float, proven: bool, slowed: bool) -> None:
        settings = self._settings
        former = self._bans.pop(key, None)
        count = forged_count = 0
        if former is not None and now - former.until < settings.forget_s:
            count, forged_count = former.count, former.forged_count
        if proven:
            count += 1
            length = min(settings.ban_s * 2.0 ** min(count - 1, 40), settings.ban_cap_s)
        else:
            forged_count += 1
            length = min(settings.ban_s * 2.0 ** min(forged_count - 1, 40), settings.forged_ban_cap_s)
        until = now + length
        if former is not None and not former.slowed and former.until > until:
            # An offence with a short cap does not shorten the ban in force, nor turn it into a slow-down.
            until, slowed = former.until, False
        if len(self._bans) >= settings.max_bans:
            self._make_room(now)
        self._bans[key] = Ban(
            address=key,
            reason=reason,
            since=now,
            until=until,
            count=count,
            forged_count=forged_count,
            proven=proven,
            slowed=slowed,
        )
        if slowed:
            self.counters["slowdowns"] += 1
            entry.slowed_until = until
            entry.tokens = min(entry.tokens, settings.slow_rate)
        else:
            self.counters["bans"] += 1
        for told in self.on_ban:
            told(self._bans[key])

    def learn(self, ban: Ban) -> None:
        """Another process has banned an address; a longer ban of our own stays, and whom we trust is let in."""
        held = self._bans.get(ban.address)
        if ban.address in self._trusted or (held is not None and held.until > ban.until):
            return
        if held is None and len(self._bans) >= self._settings.max_bans:
            self._make_room(ban.since)
        self._bans[ban.address] = ban
        entry = self._young.get(ban.address) or self._old.get(ban.address)
        if entry is not None and ban.slowed:
            entry.slowed_until = ban.until

    def _make_room(self, now: float) -> None:
        """Forget bans that are over; if there are none, the oldest sixteenth, so that this stays rare."""
        over = [key for key, ban in self._bans.items() if ban.until <= now]
        for key in over or list(self._bans)[: len(self._bans) // 16 + 1]:
            del self._bans[key]

    def is_banned(self, host: str, now: float) -> bool:
        """True while messages of this address are dropped by a ban."""
        ban = self._bans.get(self._key(host))
        return ban is not None and not ban.slowed and now < ban.until

    def list_bans(self, now: float) -> list[Ban]:
        """Bans and slow-downs in force, the longest remaining first."""
        return sorted((ban for ban in self._bans.values() if now < ban.until), key=lambda ban: -ban.until)

    def unban(self, host: str) -> bool:
        """Lift a ban or slow-down and forget its history; takes an address or a key of `list_bans`."""
        key = host if host in self._bans else self._key(host)
        was_banned = self.forgive(key)
        for told in self.on_unban:
            told(key)
        return was_banned

    def forgive(self, host: str) -> bool:
        """The same, when another process has lifted it."""
        key = host if host in self._bans else self._key(host)
        for generation in (self._young, self._old):
            entry = generation.get(key)
            if entry is not None:
                entry.slowed_until = 0.0
                entry.score = 0.0
        return self._bans.pop(key, None) is not None

    def __len__(self) -> int:
        """Addresses remembered, for the gauge of memory."""
        return len(self._young) + len(self._old)

    def _key(self, host: str) -> str:
        if ":" not in host:
            return host
        key = self._keys.get(host)
        if key is None:
            if len(self._keys) >= 10_000:
                self._keys.clear()
            # A trusted IPv6 address counts by itself: its /64 may hold others that are not.
            key = self._keys[host] = host if host in self._trusted else address_key(host)
        return key

    def _entry(self, key: str, host: str, now: float) -> _Address:
        entry = self._young.get(key)
        return self._remember(key, host, now) if entry is None else entry

    def _remember(self, key: str, host: str, now: float) -> _Address:
        """Bring an address into the young generation, from the old one or anew."""
        if 2 * len(self._young) >= self._settings.max_addresses:
            self.counters["forgotten"] += len(self._old)
            self._old = self._young
            self._young = {}
        entry = self._old.pop(key, None)
        if entry is None:
            entry = _Address(self._settings.burst, now, host in self._trusted)
            ban = self._bans.get(key)
            if ban is not None and ban.slowed:
                entry.slowed_until = ban.until
        self._young[key] = entry
        return entry


class Doorkeeper:
    """The gate as the sockets see it.

    They count monotonic seconds; the gate, and all who tell it of suspicions, those of the wall clock.
    """

    __slots__ = ("_gate", "_wall_at")

    def __init__(self, gate: Gate, wall_at: Callable[[float], float]) -> None:
        """``wall_at``: unix seconds at an instant of the monotonic clock."""
        self._gate = gate
        self._wall_at = wall_at

    def admit(self, host: str, now: float) -> bool:
        """`Gate.admit` at a monotonic instant."""
        return self._gate.admit(host, self._wall_at(now))

    def inspect(self, data: bytes, host: str, now: float, *, reliable: bool) -> bool:
        """`Gate.inspect` at a monotonic instant."""
        return self._gate.inspect(data, host, self._wall_at(now), reliable=reliable)
