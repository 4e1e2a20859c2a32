"""RFC 3263 against a real DNS server on loopback: transports, order, families, failures, time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.sip.clock import Monotonic
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.transport import DnsBounds, DnsCache, DnsPython, Resolver, read_hosts
from callcontrol.transport.resolver import MAX_TARGETS
from callcontrol.transport.srv import Srv, interleaved, order_srv, shuffled
from tests.transport.dns_server import DnsServer, dns_server
from tests.transport.support import RealClock, on_both_loops

FOUR = ("udp", "tcp", "tls")


def listeners(*transports: str, six: bool = False, four: bool = True) -> Listeners:
    table = Listeners()
    for port, transport in enumerate(transports or FOUR, 5060):
        if four:
            table.add(Listener(f"{transport}:0.0.0.0:{port}", transport, "0.0.0.0", port))
        if six:
            table.add(Listener(f"{transport}:[::]:{port}", transport, "::", port))
    return table


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> Monotonic:
        return Monotonic(self.now)


class Setup:
    """A resolver, its cache and clock, and the server it asks."""

    def __init__(self, server: DnsServer, ours: Listeners, total_s: float = 10.0, **options: Any) -> None:
        self.server = server
        self.clock = Clock()
        bounds = options.pop("bounds", None)
        hosts = options.pop("hosts", None)
        # Loopback answers in a millisecond; only tests of silence shorten these.
        client = DnsPython(["127.0.0.1"], server.port, options.pop("try_s", 2.0), options.pop("query_s", 5.0))
        self.cache = DnsCache(client, self.clock, bounds, hosts)
        self.domains: list[str] = []
        self.resolver = Resolver(
            ours,
            self.cache,
            options.pop("dice", lambda: 0.999),
            total_s=total_s,
            tls_targets=self._target,
            **options,
        )

    def _target(self, transport: str, host: str, port: int, domain: str) -> int:
        if domain not in self.domains:
            self.domains.append(domain)
        return -1 - self.domains.index(domain)

    async def ask(self, uri: str) -> list[str]:
        return [f"{flow.transport}:{flow.host}:{flow.port}" for flow in await self.resolver.resolve(uri)]

    async def why(self, uri: str) -> str:
        located = await self.resolver.locate(uri)
        assert located.flows == []
        return located.reason


@asynccontextmanager
async def setup(*lines: str, ours: Listeners | None = None, **options: Any) -> AsyncIterator[Setup]:
    async with dns_server(*lines) as server:
        made = Setup(server, ours or listeners(), **options)
        try:
            yield made
        finally:
            await made.cache.close()


FULL = (
    "example.com. 60 NAPTR 50 50 s SIPS+D2T . _sips._tcp.example.com.",
    "example.com. 60 NAPTR 90 50 s SIP+D2T . _sip._tcp.example.com.",
    "example.com. 60 NAPTR 100 50 s SIP+D2U . _sip._udp.example.com.",
    "example.com. 60 NAPTR 10 50 s SIP+D2S . _sip._sctp.example.com.",
    'example.com. 60 NAPTR 5 50 u E2U+sip "!^.*$!sip:info@example.com!" .',
    "_sips._tcp.example.com. 60 SRV 0 1 5061 a.example.com.",
    "_sip._tcp.example.com. 60 SRV 0 1 5060 a.example.com.",
    "_sip._udp.example.com. 60 SRV 10 1 5062 b.example.com.",
    "_sip._udp.example.com. 60 SRV 0 1 5060 a.example.com.",
    "example.com. 60 A 192.0.2.99",
    "a.example.com. 60 A 192.0.2.1",
    "b.example.com. 60 A 192.0.2.2",
)


# -- numeric -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:192.0.2.1", "udp|192.0.2.1|5060|0|udp:0.0.0.0:5060"),
        ("sip:bob@192.0.2.1:5070", "udp|192.0.2.1|5070|0|udp:0.0.0.0:5060"),
        ("sip:192.0.2.1;transport=tcp", "tcp|192.0.2.1|5060|0|tcp:0.0.0.0:5061"),
        ("sip:192.0.2.1;transport=TCP;lr", "tcp|192.0.2.1|5060|0|tcp:0.0.0.0:5061"),
        ("sip:192.0.2.1;transport=tls", "tls|192.0.2.1|5061|0|tls:0.0.0.0:5062"),
        ("sips:192.0.2.1", "tls|192.0.2.1|5061|0|tls:0.0.0.0:5062"),
        ("sips:192.0.2.1:5070;transport=tcp", "tls|192.0.2.1|5070|0|tls:0.0.0.0:5062"),
        ("sip:[2001:db8::1]", "udp|2001:db8::1|5060|0|udp:[::]:5060"),
        ("sip:bob@[2001:db8::1]:5070;transport=tcp", "tcp|2001:db8::1|5070|0|tcp:[::]:5061"),
        ("sip:bob@example.com;maddr=192.0.2.7", "udp|192.0.2.7|5060|0|udp:0.0.0.0:5060"),
        ("sip:+33199000001@192.0.2.1:5060;user=phone", "udp|192.0.2.1|5060|0|udp:0.0.0.0:5060"),
    ],
)
@on_both_loops
async def test_addresses_need_no_dns(uri: str, expected: str) -> None:
    async with setup(ours=listeners(six=True)) as made:
        direct = made.resolver.direct(uri)
        assert direct is not None
        assert direct.dump() == expected
        assert made.resolver.direct(uri) is direct  # remembered
        assert await made.resolver.resolve(uri) == [direct]
        assert not made.server.asked


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("sip:192.0.2.1;transport=sctp", "unknown transport"),
        ("sip:192.0.2.1;transport=ws", "unknown transport"),
        ("sips:192.0.2.1;transport=udp", "unknown transport"),
        ("sip:[2001:db8::1]", "no listener"),
        ("sip:192.0.2.1:0", "no listener"),
        ("tel:+33199000001", "not a SIP URI"),
        ("http://example.com/", "not a SIP URI"),
        ("sip:", "malformed URI"),
        ("bob", "malformed URI"),
        ("sip:a b", "malformed URI"),
        ("sip:192.0.2.1:99999", "malformed URI"),
    ],
)
@on_both_loops
async def test_uris_that_lead_nowhere_say_why(uri: str, reason: str) -> None:
    async with setup() as made:
        assert made.resolver.direct(uri) is None
        assert await made.why(uri) == reason
        assert made.resolver.failures == {reason: 1}
        assert not made.server.asked


@on_both_loops
async def test_a_name_is_not_direct() -> None:
    async with setup() as made:
        assert made.resolver.direct("sip:example.com") is None
        assert made.resolver.direct("sip:192.0.2.1;maddr=example.com") is None


@on_both_loops
async def test_tcp_where_we_do_not_speak_udp() -> None:
    async with setup("a.example. 60 A 192.0.2.1", ours=listeners("tcp")) as made:
        assert await made.ask("sip:192.0.2.1") == ["tcp:192.0.2.1:5060"]
        assert await made.ask("sip:a.example") == ["tcp:192.0.2.1:5060"]
        assert await made.ask("sip:a.example:5070") == ["tcp:192.0.2.1:5070"]
        assert await made.why("sip:a.example;transport=udp") == "no listener"


# -- NAPTR, SRV, addresses ---------------------------------------------------------------------------------------------


@on_both_loops
async def test_naptr_chooses_transport_and_srv_the_hosts() -> None:
    """RFC 3263 §4.1: by order and preference, what we do not speak (SCTP) or do not mean (ENUM) left out."""
    async with setup(*FULL) as made:
        assert await made.ask("sip:bob@example.com") == [
            "tls:192.0.2.1:5061",
            "tcp:192.0.2.1:5060",
            "udp:192.0.2.1:5060",
            "udp:192.0.2.2:5062",
        ]
        assert made.server.count("example.com.", "A") == 0


@on_both_loops
async def test_sips_uses_only_what_is_secure() -> None:
    async with setup(*FULL) as made:
        assert await made.ask("sips:bob@example.com") == ["tls:192.0.2.1:5061"]
    without_naptr = [line for line in FULL if "NAPTR" not in line]
    async with setup(*without_naptr) as made:
        assert await made.ask("sips:bob@example.com") == ["tls:192.0.2.1:5061"]
        assert {name for name, kind in made.server.asked if kind == "SRV"} == {"_sips._tcp.example.com."}
    async with setup("example.com. 60 A 192.0.2.9") as made:
        assert await made.ask("sips:bob@example.com") == ["tls:192.0.2.9:5061"]


@on_both_loops
async def test_only_transports_we_listen_on_are_used() -> None:
    async with setup(*FULL, ours=listeners("udp")) as made:
        assert await made.ask("sip:example.com") == ["udp:192.0.2.1:5060", "udp:192.0.2.2:5062"]
        assert await made.why("sips:example.com") == "no listener"


@on_both_loops
async def test_without_naptr_srv_is_asked_for_each_transport() -> None:
    lines = [line for line in FULL if "NAPTR" not in line]
    async with setup(*lines) as made:
        assert await made.ask("sip:example.com") == [
            "udp:192.0.2.1:5060",
            "udp:192.0.2.2:5062",
            "tcp:192.0.2.1:5060",
        ]


@on_both_loops
async def test_an_explicit_transport_asks_its_srv_and_no_naptr() -> None:
    async with setup(*FULL) as made:
        assert await made.ask("sip:example.com;transport=tcp") == ["tcp:192.0.2.1:5060"]
        assert await made.ask("sip:example.com;transport=tls") == ["tls:192.0.2.1:5061"]
        assert {kind for _, kind in made.server.asked} == {"SRV", "A"}
        assert await made.ask("sip:b.example.com;transport=tcp") == ["tcp:192.0.2.2:5060"]


@on_both_loops
async def test_an_explicit_port_asks_for_addresses_only() -> None:
    async with setup(*FULL) as made:
        assert await made.ask("sip:example.com:5099") == ["udp:192.0.2.99:5099"]
        assert await made.ask("sip:example.com:5099;transport=tcp") == ["tcp:192.0.2.99:5099"]
        assert await made.ask("sips:example.com:5099") == ["tls:192.0.2.99:5099"]
        assert {kind for _, kind in made.server.asked} == {"A"}


@on_both_loops
async def test_without_srv_the_host_itself_with_the_default_port() -> None:
    async with setup("plain.example. 60 A 192.0.2.5") as made:
        assert await made.ask("sip:plain.example") == ["udp:192.0.2.5:5060"]
        assert await made.ask("sip:plain.example;transport=tls") == ["tls:192.0.2.5:5061"]
        assert await made.ask("sip:x;maddr=plain.example") == ["udp:192.0.2.5:5060"]


@on_both_loops
async def test_a_service_that_is_decidedly_not_there() -> None:
    """RFC 2782: a target of "." says no; the other transports still count."""
    async with setup("no.example. 60 A 192.0.2.5", "_sip._tcp.no.example. 60 SRV 0 0 0 .") as made:
        assert await made.why("sip:no.example;transport=tcp") == "no such host"
        assert await made.ask("sip:no.example") == ["udp:192.0.2.5:5060"]


@on_both_loops
async def test_an_srv_target_that_is_an_address() -> None:
    async with setup("_sip._udp.odd.example. 60 SRV 0 0 5060 192.0.2.8.") as made:
        assert await made.ask("sip:odd.example") == ["udp:192.0.2.8:5060"]


@on_both_loops
async def test_flows_are_not_repeated_and_bounded_as_are_the_questions() -> None:
    hosts = [f"_sip._udp.many.example. 60 SRV {n} 0 5060 h{n}.example." for n in range(40)]
    addresses = [f"h{n}.example. 60 A 192.0.2.{n // 2}" for n in range(40)]
    async with setup(*hosts, *addresses) as made:
        flows = await made.ask("sip:many.example;transport=udp")
        assert flows == [f"udp:192.0.2.{n}:5060" for n in range(MAX_TARGETS // 2)]
        assert sum(kind == "A" for _, kind in made.server.asked) == MAX_TARGETS
    async with setup(*(f"wide.example. 60 A 192.0.2.{n}" for n in range(40)), max_flows=4) as made:
        assert len(await made.ask("sip:wide.example:5060")) == 4


@on_both_loops
async def test_cnames_are_followed_whether_or_not_the_server_does_it() -> None:
    for chase in (True, False):
        async with setup(
            "alias.example. 60 CNAME middle.example.",
            "middle.example. 5 CNAME real.example.",
            "real.example. 60 A 192.0.2.6",
        ) as made:
            made.server.chase = chase
            assert await made.ask("sip:alias.example:5060") == ["udp:192.0.2.6:5060"]
            made.clock.now += 6  # the shortest TTL of the chain counts
            made.server.asked.clear()
            assert await made.ask("sip:alias.example:5060") == ["udp:192.0.2.6:5060"]
            assert made.server.asked


@on_both_loops
async def test_a_cname_loop_ends() -> None:
    async with setup("a.example. 60 CNAME b.example.", "b.example. 60 CNAME a.example.") as made:
        made.server.chase = False
        assert await made.why("sip:a.example:5060") in ("no such host", "DNS unavailable")


@on_both_loops
async def test_a_truncated_answer_is_fetched_over_tcp() -> None:
    async with setup("big.example. 60 A 192.0.2.6") as made:
        made.server.truncate = True
        assert await made.ask("sip:big.example:5060") == ["udp:192.0.2.6:5060"]
        assert made.server.count("big.example.", "A") == 2


# -- two families ------------------------------------------------------------------------------------------------------

DUAL = (
    "dual.example. 60 A 192.0.2.1",
    "dual.example. 60 A 192.0.2.2",
    "dual.example. 60 AAAA 2001:db8::1",
    "dual.example. 60 AAAA 2001:db8::2",
)


@on_both_loops
async def test_families_alternate_and_the_preferred_comes_first() -> None:
    async with setup(*DUAL, ours=listeners(six=True)) as made:
        assert [each[4] for each in await made.ask("sip:dual.example:5060")] == ["2", "1", "2", "1"]
        assert (await made.ask("sip:dual.example:5060"))[0].startswith("udp:2001:db8::")
    async with setup(*DUAL, ours=listeners(six=True), prefer_ipv6=False) as made:
        assert (await made.ask("sip:dual.example:5060"))[0].startswith("udp:192.0.2.")


@on_both_loops
async def test_only_families_we_listen_on_are_asked_for() -> None:
    async with setup(*DUAL) as made:
        assert len(await made.ask("sip:dual.example:5060")) == 2
        assert made.server.count("dual.example.", "AAAA") == 0
    async with setup(*DUAL, ours=listeners(six=True, four=False)) as made:
        assert len(await made.ask("sip:dual.example:5060")) == 2
        assert made.server.count("dual.example.", "A") == 0


@on_both_loops
async def test_addresses_of_one_host_take_turns() -> None:
    rng = random.Random(1)
    async with setup(*DUAL, dice=rng.random) as made:
        firsts = {(await made.ask("sip:dual.example:5060"))[0] for _ in range(30)}
        assert firsts == {"udp:192.0.2.1:5060", "udp:192.0.2.2:5060"}
        assert made.server.count("dual.example.", "A") == 1


# -- the domain that TLS must prove ------------------------------------------------------------------------------------


@on_both_loops
async def test_tls_flows_carry_the_domain_of_the_uri_not_of_the_srv_target() -> None:
    """RFC 5922 §7.3: the name to check is the one that the user asked for."""
    async with setup(*FULL) as made:
        (flow,) = await made.resolver.resolve("sips:bob@example.com")
        assert flow.conn == -1
        assert made.domains == ["example.com"]
        udp = await made.resolver.resolve("sip:bob@example.com:5060")
        assert [each.conn for each in udp] == [0]
        named = made.resolver.direct("sips:other.example;maddr=192.0.2.1")
        assert named is not None
        assert named.conn == -2
        plain = made.resolver.direct("sips:192.0.2.1")
        assert plain is not None
        assert plain.conn == 0


# -- failures and time -------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_name_that_does_not_exist() -> None:
    async with setup() as made:
        assert await made.why("sip:nobody.example") == "no such host"
        asked = len(made.server.asked)
        assert await made.why("sip:nobody.example") == "no such host"
        assert len(made.server.asked) == asked  # the no is remembered
        made.clock.now += 31
        assert await made.why("sip:nobody.example") == "no such host"
        assert len(made.server.asked) > asked
        assert made.resolver.failures == {"no such host": 3}
        assert made.cache.negative


@on_both_loops
async def test_a_no_without_a_lifetime_is_kept_for_a_minute_at_most() -> None:
    async with setup() as made:
        made.server.negative_ttl = None
        assert await made.why("sip:nobody.example:5060") == "no such host"
        made.clock.now += 61
        made.server.set("nobody.example. 60 A 192.0.2.1")
        assert await made.ask("sip:nobody.example:5060") == ["udp:192.0.2.1:5060"]


@pytest.mark.parametrize("name", ["x" * 64 + ".example", ".".join(["x" * 60] * 5) + ".example"])
@on_both_loops
async def test_names_that_cannot_exist(name: str) -> None:
    async with setup() as made:
        assert await made.why(f"sip:{name}:5060") == "no such host"
        assert not made.server.asked


@on_both_loops
async def test_a_silent_dns_costs_a_bounded_time_once() -> None:
    async with setup(total_s=0.6, try_s=0.1, query_s=0.25) as made:
        made.server.silent = {"NAPTR", "SRV", "A"}
        started = time.monotonic()
        assert await made.why("sip:deaf.example") in ("DNS timeout", "DNS unavailable")
        assert time.monotonic() - started < 3.0
        started = time.monotonic()
        for _ in range(20):
            assert await made.why("sip:deaf.example:5060") == "DNS unavailable"
        assert time.monotonic() - started < 3.0
        assert made.server.count("deaf.example.", "A") < 10


@on_both_loops
async def test_a_failing_server_is_no_no() -> None:
    async with setup("a.example. 60 A 192.0.2.1") as made:
        made.server.failing = {"A"}
        assert await made.why("sip:a.example:5060") == "DNS unavailable"
        made.server.failing = set()
        made.clock.now += 3  # asked again after a moment
        assert await made.ask("sip:a.example:5060") == ["udp:192.0.2.1:5060"]


@on_both_loops
async def test_a_resolver_that_does_not_know_naptr_is_survived() -> None:
    async with setup(*FULL) as made:
        made.server.failing = {"NAPTR"}
        assert (await made.ask("sip:example.com"))[0] == "udp:192.0.2.1:5060"


@on_both_loops
async def test_one_target_that_cannot_be_looked_up_does_not_hide_the_other() -> None:
    async with setup(*FULL, query_s=0.5) as made:
        made.server.silent = {"a.example.com."}
        assert await made.ask("sip:example.com;transport=udp") == ["udp:192.0.2.2:5062"]


@on_both_loops
async def test_what_is_found_before_time_runs_out_is_used() -> None:
    async with setup(*FULL, total_s=0.5) as made:
        made.server.silent = {"a.example.com."}  # its own timeout would come much later
        assert await made.ask("sip:example.com;transport=udp") == ["udp:192.0.2.2:5062"]


@on_both_loops
async def test_time_to_live() -> None:
    async with setup("a.example. 30 A 192.0.2.1") as made:
        for _ in range(5):
            assert await made.ask("sip:a.example:5060") == ["udp:192.0.2.1:5060"]
        assert made.server.count("a.example.", "A") == 1
        assert made.cache.hits == 4
        made.server.zone.clear()
        made.server.set("a.example. 30 A 192.0.2.2")
        made.clock.now += 29
        assert await made.ask("sip:a.example:5060") == ["udp:192.0.2.1:5060"]
        made.clock.now += 2
        assert await made.ask("sip:a.example:5060") == ["udp:192.0.2.2:5060"]
        made.cache.forget()
        assert len(made.cache) == 0


@on_both_loops
async def test_a_lifetime_of_zero_or_of_years_is_held_to_bounds() -> None:
    async with setup("zero.example. 0 A 192.0.2.1", "long.example. 99999999 A 192.0.2.2") as made:
        for uri in ("sip:zero.example:5060", "sip:long.example:5060"):
            await made.ask(uri)
            await made.ask(uri)
        assert made.server.count("zero.example.", "A") == 1
        made.clock.now += 2
        await made.ask("sip:zero.example:5060")
        assert made.server.count("zero.example.", "A") == 2
        made.clock.now += 3600
        await made.ask("sip:long.example:5060")
        assert made.server.count("long.example.", "A") == 2


@on_both_loops
async def test_an_old_answer_serves_while_the_dns_is_away_but_not_for_ever() -> None:
    async with setup("a.example. 30 A 192.0.2.1", bounds=DnsBounds(stale_s=100)) as made:
        await made.ask("sip:a.example:5060")
        made.server.failing = {"A"}
        made.clock.now += 60
        assert await made.ask("sip:a.example:5060") == ["udp:192.0.2.1:5060"]
        assert made.cache.stale == 1
        asked = len(made.server.asked)
        assert await made.ask("sip:a.example:5060") == ["udp:192.0.2.1:5060"]
        assert len(made.server.asked) == asked  # not asked again at once
        made.clock.now += 100
        assert await made.why("sip:a.example:5060") == "DNS unavailable"


@on_both_loops
async def test_one_question_for_many_askers() -> None:
    async with setup("a.example. 30 A 192.0.2.1") as made:
        answers = await asyncio.gather(*(made.ask("sip:a.example:5060") for _ in range(50)))
        assert answers == [["udp:192.0.2.1:5060"]] * 50
        assert made.server.count("a.example.", "A") == 1


@on_both_loops
async def test_an_asker_that_gives_up_does_not_take_the_answer_from_others() -> None:
    async with setup("a.example. 30 A 192.0.2.1") as made:
        first = asyncio.ensure_future(made.ask("sip:a.example:5060"))
        second = asyncio.ensure_future(made.ask("sip:a.example:5060"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == ["udp:192.0.2.1:5060"]
        lonely = asyncio.ensure_future(made.ask("sip:failing.example:5060"))
        made.server.failing = {"failing.example."}
        await asyncio.sleep(0)
        lonely.cancel()


@on_both_loops
async def test_the_cache_has_a_bound() -> None:
    async with setup(bounds=DnsBounds(entries=3)) as made:
        for number in range(6):
            await made.ask(f"sip:n{number}.example:5060")
        assert len(made.cache) == 3


@on_both_loops
async def test_without_name_servers_addresses_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.resolver

    def fail(*_: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr("dns.resolver.BaseResolver.read_resolv_conf", fail)
    cache = DnsCache(DnsPython(), RealClock())
    resolver = Resolver(listeners(), cache, random.random)
    assert [flow.host for flow in await resolver.resolve("sip:192.0.2.1")] == ["192.0.2.1"]
    located = await resolver.locate("sip:a.example:5060")
    assert located == ([], "DNS unavailable")


# -- fixed names -------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_the_hosts_file_comes_before_the_dns(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(
        "# comment\n192.0.2.1 carrier.lan Carrier # second\n2001:db8::1 carrier.lan\nnonsense here\n\n"
    )
    hosts = read_hosts(str(path))
    assert hosts == {
        "carrier.lan": ("192.0.2.1", "2001:db8::1"),
        "carrier": ("192.0.2.1",),
        "localhost": ("127.0.0.1", "::1"),
    }
    async with setup(hosts=hosts, ours=listeners(six=True)) as made:
        assert await made.ask("sip:carrier.lan") == ["udp:2001:db8::1:5060", "udp:192.0.2.1:5060"]
        assert await made.ask("sip:localhost:5070") == ["udp:::1:5070", "udp:127.0.0.1:5070"]
        assert all(name.startswith("_sip") for name, _ in made.server.asked) or not made.server.asked


def test_a_missing_hosts_file_still_knows_localhost(tmp_path: Path) -> None:
    assert read_hosts(str(tmp_path / "none")) == {"localhost": ("127.0.0.1", "::1")}


# -- order, as pure functions ------------------------------------------------------------------------------------------


def srv(priority: int, weight: int, target: str) -> Srv:
    return Srv(priority, weight, 5060, target)


def test_priorities_before_weights() -> None:
    records = [srv(20, 1000, "c"), srv(10, 0, "b"), srv(0, 1, "a"), srv(5, 1, "")]
    for seed in range(20):
        assert [each.target for each in order_srv(records, random.Random(seed).random)] == ["a", "b", "c"]


def test_weights_show_in_the_distribution() -> None:
    """RFC 2782: 1:3 is a quarter and three quarters; weight 0 has a very small chance."""
    rng = random.Random(7)
    records = [srv(0, 100, "a"), srv(0, 300, "b"), srv(0, 0, "z")]
    rounds = 20_000
    firsts = [order_srv(records, rng.random)[0].target for _ in range(rounds)]
    assert firsts.count("b") / rounds == pytest.approx(0.75, abs=0.02)
    assert firsts.count("a") / rounds == pytest.approx(0.25, abs=0.02)
    assert 0 < firsts.count("z") / rounds < 0.01


def test_all_of_weight_zero() -> None:
    records = [srv(0, 0, name) for name in "abc"]
    assert {each.target for each in order_srv(records, lambda: 0.5)} == {"a", "b", "c"}


@given(
    st.lists(
        st.builds(srv, st.integers(0, 3), st.integers(0, 65535), st.text("abc", max_size=2)), max_size=8
    ),
    st.integers(),
)
def test_the_order_is_a_permutation_by_priority(records: list[Srv], seed: int) -> None:
    ordered = order_srv(records, random.Random(seed).random)
    assert sorted(ordered) == sorted(record for record in records if record.target)
    assert [record.priority for record in ordered] == sorted(record.priority for record in ordered)


@given(st.lists(st.integers()), st.integers())
def test_a_shuffle_is_a_permutation(items: list[int], seed: int) -> None:
    assert sorted(shuffled(items, random.Random(seed).random)) == sorted(items)


def test_interleaving() -> None:
    assert interleaved([1, 2, 3], [4]) == [1, 4, 2, 3]
    assert interleaved([], [4, 5]) == [4, 5]


@given(st.text(max_size=60))
def test_direct_never_raises(text: str) -> None:
    resolver = Resolver(listeners(), DnsCache(DnsPython(["127.0.0.1"]), RealClock()), random.random)
    for uri in (text, f"sip:{text}", f"sip:{text}@192.0.2.1", f"sip:192.0.2.1;{text}"):
        flow = resolver.direct(uri)
        assert flow is None or isinstance(flow, Flow)
