"""DNS with a memory: time to live, negative answers, one query for many askers, old answers while the DNS is away.

The questions themselves are asked by dnspython (`DnsPython`), behind a Protocol.  Left out: DNSSEC (that is the resolver's task)
and search domains (a SIP host is a full name).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from callcontrol.transport.ports import Clock
from callcontrol.transport.srv import Naptr, Srv

_MAX_CNAMES = 8

Record = str | Srv | Naptr


class DnsUnavailableError(Exception):
    """No answer, neither yes nor no: timeout, server failure, no name server configured."""


class DnsAnswer(NamedTuple):
    """What the DNS said; no records: the name or the type does not exist."""

    records: tuple[Record, ...]
    ttl: float
    """Seconds that the answer holds, also a negative one (RFC 2308)."""


class DnsClient(Protocol):
    """Asks one question."""

    async def query(self, name: str, kind: str) -> DnsAnswer:
        """``kind``: A, AAAA, SRV or NAPTR.  Raises DnsUnavailableError."""
        ...


class DnsPython:
    """Questions over the network (dnspython), to the given servers or those of resolv.conf."""

    def __init__(
        self, servers: Sequence[str] = (), port: int = 53, try_s: float = 1.0, query_s: float = 2.5
    ) -> None:
        """``try_s``: wait for one server before the next; ``query_s``: for one question in all (seconds)."""
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._why_not = ""
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        except (
            dns.exception.DNSException
        ) as error:  # no usable resolv.conf: addresses still work, names do not
            self._why_not = str(error)
            return
        if servers:
            self._resolver.nameservers = list(servers)
            self._resolver.port = port
        self._resolver.timeout = try_s
        self._resolver.lifetime = query_s
        self._resolver.use_edns(0, 0, 1232)

    async def query(self, name: str, kind: str) -> DnsAnswer:
        if self._resolver is None:
            raise DnsUnavailableError(self._why_not)
        ttl = float("inf")
        try:
            where = dns.name.from_text(name).canonicalize()
            for _ in range(_MAX_CNAMES):
                answer = await self._resolver.resolve(
                    where,
                    kind,
                    search=False,
                    raise_on_no_answer=False,
                    backend=dns.asyncbackend.get_backend("asyncio"),
                )
                ttl = min(ttl, answer.chaining_result.minimum_ttl)
                if answer.rrset is not None:
                    return DnsAnswer(tuple(filter(None, map(_record, answer.rrset))), ttl)
                alias = answer.canonical_name.canonicalize()
                if alias == where:
                    break
                where = alias  # the server gave the alias but not what is behind it
        except dns.resolver.NXDOMAIN as error:
            ttls = [response.resolve_chaining().minimum_ttl for response in _responses(error)]
            return DnsAnswer((), min([ttl, *ttls]))
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            return DnsAnswer((), 60.0)  # no such name can exist
        except (dns.exception.DNSException, OSError) as error:
            raise DnsUnavailableError(str(error)) from error
        return DnsAnswer((), ttl)


def _responses(error: dns.resolver.NXDOMAIN) -> Iterable[dns.message.QueryMessage]:
    found: dict[dns.name.Name, dns.message.QueryMessage] = error.responses()  # type: ignore[no-untyped-call]
    return found.values()


def _record(data: object) -> Record | None:
    if isinstance(data, SRV):
        return Srv(data.priority, data.weight, data.port, _name(data.target))
    if isinstance(data, NAPTR):
        flags, service = data.flags.decode("latin-1").lower(), data.service.decode("latin-1").upper()
        return Naptr(data.order, data.preference, flags, service, _name(data.replacement))
    address = getattr(data, "address", None)
    return str(address) if address is not None else None


def _name(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsBounds:
    """How long answers are kept, seconds, and how many."""

    entries: int = 10_000
    min_ttl_s: float = 1.0
    """Also for answers that say zero: one question a second per name is enough."""
    max_ttl_s: float = 3_600.0
    max_negative_s: float = 60.0
    """A name that comes into being is found within a minute, whatever its zone says."""
    stale_s: float = 3_600.0
    """While the DNS cannot be reached an expired answer is used so long (RFC 8767)."""
    retry_s: float = 2.0
    """After a failure the same question is not asked again for so long."""


class _Entry:
    __slots__ = ("expires_at", "failed_until", "records")

    def __init__(
        self, records: tuple[Record, ...] | None, expires_at: float, failed_until: float = 0.0
    ) -> None:
        self.records = records
        """None: never answered."""
        self.expires_at = expires_at
        self.failed_until = failed_until


class DnsCache:
    """See the module.  Counters are plain ints."""

    def __init__(
        self,
        client: DnsClient,
        clock: Clock,
        bounds: DnsBounds | None = None,
        hosts: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """``hosts``: names with fixed addresses (`read_hosts`); they are asked before the DNS."""
        self.hits = self.queries = self.negative = self.failures = self.stale = 0
        self._client = client
        self._clock = clock
        self._bounds = bounds or DnsBounds()
        self._hosts = {} if hosts is None else hosts
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[tuple[Record, ...]]] = {}

    async def lookup(self, name: str, kind: str) -> tuple[Record, ...]:
        """Records of one type; empty when there are none.  Raises DnsUnavailableError."""
        name = name.lower().rstrip(".")
        fixed = self._hosts.get(name)
        if fixed is not None:
            return (
                tuple(address for address in fixed if (":" in address) == (kind == "AAAA"))
                if kind in ("A", "AAAA")
                else ()
            )
        key = (name, kind)
        now = self._clock.monotonic()
        entry = self._entries.get(key)
        if entry is not None:
            if entry.records is not None and now < entry.expires_at:
                self.hits += 1
                return entry.records
            if now < entry.failed_until:
                return self._old(entry, now)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(key))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._asked(key, done))
        # Shielded: an asker that gives up must not take the answer from the others.
        return await asyncio.shield(task)

    def _asked(self, key: tuple[str, str], task: asyncio.Task[tuple[Record, ...]]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # its askers have it; when all gave up nobody would, and the loop would complain

    async def _ask(self, key: tuple[str, str]) -> tuple[Record, ...]:
        self.queries += 1
        try:
            answer = await self._client.query(*key)
        except DnsUnavailableError:
            self.failures += 1
            now = self._clock.monotonic()
            entry = self._entries.get(key) or _Entry(None, 0.0)
            entry.failed_until = now + self._bounds.retry_s
            self._keep(key, entry)
            return self._old(entry, now)
        bounds = self._bounds
        longest = bounds.max_ttl_s if answer.records else bounds.max_negative_s
        ttl = min(max(answer.ttl, bounds.min_ttl_s), longest)
        if not answer.records:
            self.negative += 1
        self._keep(key, _Entry(answer.records, self._clock.monotonic() + ttl))
        return answer.records

    def _old(self, entry: _Entry, now: float) -> tuple[Record, ...]:
        if not entry.records or now >= entry.expires_at + self._bounds.stale_s:
            raise DnsUnavailableError("the DNS does not answer")
        self.stale += 1
        return entry.records

    def _keep(self, key: tuple[str, str], entry: _Entry) -> None:
        self._entries.pop(key, None)
        if len(self._entries) >= self._bounds.entries:
            del self._entries[next(iter(self._entries))]  # the one that was asked for longest ago
        self._entries[key] = entry

    def forget(self) -> None:
        """Drop every answer (``cloudline reload``)."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    async def close(self) -> None:
        """Give up the questions that are under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def read_hosts(path: str = "/etc/hosts") -> dict[str, tuple[str, ...]]:
    """Names with fixed addresses (hosts(5)); ``localhost`` is always among them (RFC 6761 §6.3).

    A file that is not there or not readable counts as empty, lines that make no sense are skipped, as the system does.
    """
    table: dict[str, tuple[str, ...]] = {}
    try:
        lines = Path(path).read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            address = str(ipaddress.ip_address(words[0].partition("%")[0]))
        except ValueError:
            continue
        for name in words[1:]:
            name = name.lower().rstrip(".")
            if address not in table.get(name, ()):
                table[name] = (*table.get(name, ()), address)
    table.setdefault("localhost", ("127.0.0.1", "::1"))
    return table
