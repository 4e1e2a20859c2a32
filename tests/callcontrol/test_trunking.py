"""Trunk peers when a leg is dialled: caps, late answers of a store of several nodes, takeover, what calls tell of peers."""

from __future__ import annotations

import dataclasses

import pytest

from callcontrol.b2bua.events import TrunkChosen
from callcontrol.sip.message import parse
from callcontrol.trunking import Trunking, host_of, our_domain, retry_after
from gateway.capacity import FAST, FULL, GRANTED, ChannelTable, Done, MemoryTrunkChannels
from gateway.gateway_numbers import GatewayDirectory, GatewayNumber
from gateway.health import Health, HealthPolicy
from gateway.trunk import Prefix, Trunk, TrunkDirectory
from numbering.e164 import E164
from tests.support.party import sdp
from tests.support.world import World

CALLER = "+33199001234"
OUTSIDE = "+33199005678"
ANA = "+33639981001"


class SlowChannels:
    """Answers when the test says so, as a store of other machines does."""

    def __init__(self) -> None:
        self._channels = MemoryTrunkChannels("node")
        self.asked: list[tuple[Trunk, str, float, Done]] = []

    def acquire(self, trunk: Trunk, leg: str, now: float, done: Done) -> None:
        self.asked.append((trunk, leg, now, done))

    def answer(self, outcome: str = "") -> None:
        trunk, leg, now, done = self.asked.pop(0)
        if outcome:
            done(outcome)
        else:
            self._channels.acquire(trunk, leg, now, done)

    def restore(self, trunk: str, leg: str, now: float) -> None:
        self._channels.restore(trunk, leg, now)

    def release(self, trunk: str, leg: str) -> None:
        self._channels.release(trunk, leg)

    def renew(self, now: float) -> None:
        self._channels.renew(now)

    def in_use(self, trunk: str) -> int:
        return self._channels.in_use(trunk)


def slow(world: World) -> SlowChannels:
    channels = SlowChannels()
    world.server.trunking.channels = channels
    kicks: list[None] = []
    world.server.runner.kick = lambda: kicks.append(None)
    return channels


def trunking(*trunks: Trunk, dice: float = 0.5) -> Trunking:
    health = Health(HealthPolicy(), lambda: dice)
    return Trunking(TrunkDirectory(trunks), MemoryTrunkChannels(), health, "FR", lambda: dice)


def choose(
    parts: Trunking, tried: list[str] | None = None, leg: str = "x.b1", now: float = 0.0
) -> TrunkChosen:
    found: list[TrunkChosen] = []
    parts.choose(OUTSIDE, ANA, tried or [], leg, now, found.append)
    assert len(found) == 1
    return found[0]


def trunk(ref: str, **fields: object) -> Trunk:
    values: dict[str, object] = {"peers": (f"sip:{ref}.example",), "prefixes": (Prefix("+"),)}
    return Trunk(ref=ref, **{**values, **fields})  # type: ignore[arg-type]


def test_a_trunk_that_is_full_is_passed_over_with_all_its_peers() -> None:
    parts = trunking(trunk("a", peers=("sip:a1", "sip:a2"), max_channels=1, priority=1), trunk("b"))
    assert choose(parts, leg="x.b1").trunk == "a"
    chosen = choose(parts, leg="y.b1")
    assert (chosen.trunk, chosen.channel) == ("b", "y.b1")
    assert parts.refused_full == 1
    parts.release("a", "x.b1")
    assert choose(parts, leg="z.b1").trunk == "a"


def test_all_full_and_all_too_fast() -> None:
    parts = trunking(trunk("a", max_cps=1.0))
    assert choose(parts, leg="x.b1").trunk == "a"
    refused = choose(parts, leg="y.b1")
    assert (refused.trunk, refused.reason) == ("", "too_many_calls")
    assert (parts.refused_full, parts.refused_rate) == (0, 1)


def test_what_was_tried_is_not_tried_again() -> None:
    parts = trunking(trunk("a", peers=("sip:a1", "sip:a2"), priority=1), trunk("b"))
    assert choose(parts, ["a sip:a1"]).peer == "sip:a2"
    assert choose(parts, ["a sip:a1", "a *"]).trunk == "b"
    assert choose(parts, ["a sip:a1", "a sip:a2", "b sip:b.example"]).reason == "trunk_failed"
    assert parts.failovers == {"a": 2, "b": 1}
    assert choose(trunking()).reason == "no_route"


def test_peers_that_failed_come_last_and_those_that_are_down_not_at_all() -> None:
    parts = trunking(trunk("a", peers=("sip:a1", "sip:a2"), priority=1), trunk("b"))
    choose(parts)
    parts.failed("a", "sip:a1", "503", 0.0, 0.0)
    assert choose(parts).peer == "sip:a2"
    for _ in range(3):
        parts.failed("a", "sip:a2", "silent", 0.0, 1.0)
    assert choose(parts, now=1.0).trunk == "b"
    assert choose(parts, ["b sip:b.example"], now=1.0).peer == "sip:a1"
    parts.answered("a", "sip:a1", 2.0)
    assert choose(parts, now=2.0).peer == "sip:a1"


GATEWAY, SIM = "+33199000001", "+33639980001"


def showing(parts: Trunking, shown: str = GATEWAY, tried: list[str] | None = None, now: float = 0.0) -> str:
    """The trunk of a leg to a SIM that is shown a number."""
    found: list[TrunkChosen] = []
    parts.choose(SIM, shown, tried or [], "x.b1", now, found.append)
    return found[0].trunk


def with_gateway(*trunks: Trunk, on: str = "home") -> Trunking:
    parts = trunking(*trunks)
    parts.gateways = GatewayDirectory([GatewayNumber(e164=E164(GATEWAY), trunk=on, country="FR")])
    return parts


@pytest.mark.rule("OUT-03")
def test_a_leg_that_shows_a_gateway_number_goes_by_the_trunk_of_that_number() -> None:
    """Before every other, however long its prefix, high its priority or low its price."""
    cheap = trunk("cheap", prefixes=(Prefix("+336", 0.01),), priority=1)
    home = trunk("home", prefixes=(Prefix("+33", 0.05),), priority=50)
    parts = with_gateway(cheap, home)
    assert showing(parts) == "home"
    assert showing(parts, "+33639981001") == "cheap", "a cloud number goes the general way"
    assert showing(parts, "") == "cheap"


@pytest.mark.rule("OUT-03")
def test_the_general_way_where_that_trunk_does_not_take_the_sim() -> None:
    """Since it does not terminate the SIM's country, is full, has failed, was tried, or is not there any more."""
    other = trunk("other")
    assert showing(with_gateway(other, trunk("home", prefixes=(Prefix("+44"),)))) == "other"
    assert showing(with_gateway(other, trunk("home", prefixes=()))) == "other"
    assert showing(with_gateway(other, trunk("home"), on="gone")) == "other"
    parts = with_gateway(other, trunk("home", priority=50, peers=("sip:h1", "sip:h2")))
    assert showing(parts, tried=["home sip:h1"]) == "home"
    assert showing(parts, tried=["home sip:h1", "home *"]) == "other"
    parts.failed("home", "sip:h1", "503", 0.0, 0.0)
    assert [each.peer_uri for each in parts.candidates(SIM, 1.0, GATEWAY)] == [
        "sip:h2",
        "sip:other.example",
        "sip:h1",
    ]
    full = with_gateway(other, trunk("home", priority=50, max_channels=1))
    full.channels.acquire(full.directory.all()[0], "somebody.b1", 0.0, lambda outcome: None)
    assert showing(full) == "other"


def test_another_registrar_is_named_in_the_request_uri() -> None:
    parts = trunking(
        trunk("a", peers=("sip:192.0.2.1;transport=tcp",), registrar="sip:carrier.example", register=True)
    )
    chosen = choose(parts)
    assert chosen.uri == f"sip:{OUTSIDE}@carrier.example;user=phone"
    assert chosen.target == "sip:192.0.2.1;transport=tcp"
    assert chosen.profile.domain == "carrier.example"


def test_our_login_is_the_digest_user() -> None:
    parts = trunking(trunk("a", username="u", auth_username="v", password="p"), trunk("b", username="u2"))
    login = parts.login("a")
    assert login is not None
    assert (login.username, login.password) == ("v", "p")
    assert parts.login("b") is None
    assert parts.login("c") is None


@pytest.mark.parametrize(
    ("uri", "host"),
    [("sip:192.0.2.1:5080;transport=udp", "192.0.2.1"), ("sips:a.example", "a.example"), ("sip:[2001:db8::1]:5060", "[2001:db8::1]")],
)  # fmt: skip
def test_hosts_of_peers(uri: str, host: str) -> None:
    assert host_of(uri) == host
    assert our_domain(trunk("a", peers=(uri,), register=True)) == host
    assert our_domain(trunk("a", peers=(uri,))) == ""
    assert our_domain(trunk("a", peers=(uri,), register=True, domain="x.example")) == "x.example"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120.0), ("5;duration=60", 5.0), ("18000 (busy)", 18000.0), ("", 0.0), ("soon", 0.0), ("-1", 0.0),
     ("9" * 12, 0.0), ("\u0663", 0.0)],
)  # fmt: skip
def test_reading_retry_after(text: str, seconds: float) -> None:
    data = (
        "SIP/2.0 503 x\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: c\r\n"
        f"CSeq: 1 INVITE\r\nRetry-After: {text}\r\nContent-Length: 0\r\n\r\n"
    )
    assert retry_after(parse(data.encode())) == seconds


# -- a store that answers later -------------------------------------------------------------------------------------


def test_an_outgoing_call_waits_for_its_channel() -> None:
    world = World()
    channels = slow(world)
    ana, carrier = world.phone("ana-phone"), world.carrier()
    call = ana.call(OUTSIDE)
    world.run(0.5)
    assert not carrier.rang
    channels.answer(FULL)
    assert len(channels.asked) == 1, "the next trunk is asked at once"
    assert channels.asked[0][0].ref == "carrier-b"
    channels.answer()
    world.node.turn(world.node)
    world.run(0.5)
    assert not carrier.rang
    assert channels.in_use("carrier-b") == 1
    ana.cancel(call)
    world.run(40.0)
    assert world.calls == 0
    assert channels.in_use("carrier-b") == 0


def test_a_channel_that_comes_after_the_caller_left_is_given_back() -> None:
    world = World()
    channels = slow(world)
    ana, carrier = world.phone("ana-phone"), world.carrier()
    call = ana.call(OUTSIDE)
    world.run(0.5)
    ana.cancel(call)
    world.run(0.5)
    assert call.status == 487
    channels.answer()
    assert channels.in_use("carrier-a") == 1
    world.node.turn(world.node)
    world.run(5.0)
    assert channels.in_use("carrier-a") == 0
    assert not carrier.rang
    assert world.calls == 0


def test_an_incoming_call_waits_for_its_channel() -> None:
    world = World()
    channels = slow(world)
    ana, carrier = world.phone("ana-phone"), world.carrier()
    call = carrier.call(ANA, caller=CALLER)
    world.run(0.5)
    assert not ana.rang
    assert call.status == 100
    channels.answer()
    world.node.turn(world.node)
    world.run(0.2)
    ana.ring()
    ana.answer(sdp(6000))
    world.run(0.5)
    assert call.status == 200
    assert channels.in_use("carrier-a") == 1
    carrier.bye(call)
    world.run(1.0)
    assert channels.in_use("carrier-a") == 0


@pytest.mark.parametrize("outcome", [FULL, FAST])
def test_an_incoming_call_that_finds_no_channel_is_sent_another_way(outcome: str) -> None:
    world = World()
    channels = slow(world)
    ana, carrier = world.phone("ana-phone"), world.carrier()
    call = carrier.call(ANA, caller=CALLER)
    world.run(0.5)
    channels.answer(outcome)
    world.node.turn(world.node)
    world.run(0.5)
    assert call.status == 503
    assert call.responses[-1].get("retry-after")
    assert not ana.rang


def test_an_incoming_call_that_is_cancelled_while_it_waits() -> None:
    world = World()
    channels = slow(world)
    ana, carrier = world.phone("ana-phone"), world.carrier()
    call = carrier.call(ANA, caller=CALLER)
    world.run(0.5)
    carrier.cancel(call)
    world.run(0.5)
    assert call.status == 487
    channels.answer(GRANTED)
    world.node.turn(world.node)
    world.run(1.0)
    assert not ana.rang
    assert world.calls == 0


# -- takeover -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("LIVE-02", "LIVE-03")
def test_channels_of_calls_that_were_taken_over_are_counted_exactly_once() -> None:
    """Two calls talk over a trunk when their node dies; its heir counts both, and frees both."""
    world = World()
    table = ChannelTable()
    world.server.trunking.channels = MemoryTrunkChannels("dead", table)
    ana, ben = world.phone("ana-phone"), world.phone("ben-phone")
    carrier = world.carrier()
    calls = []
    for phone in (ana, ben):
        call = phone.call(OUTSIDE)
        world.run(0.3)
        carrier.answer(sdp(7000))
        world.run(0.5)
        calls.append((phone, call))
    assert len(table.legs["carrier-a"]) == 2
    heir = world.build()
    heir.trunking.channels = MemoryTrunkChannels("heir", table)
    world.server = heir
    world.node.endpoint = heir.endpoint
    for ref in list(world.store.snapshots):
        taken = world.store.take(ref)
        assert taken is not None
        heir.runner.resume(taken[1], taken[0], world.now())
    heir.runner.flush(world.now())
    assert sorted(table.legs["carrier-a"].values()) == ["heir", "heir"]
    heir.trunking.channels.renew(world.now() + 61.0)
    assert heir.trunking.channels.in_use("carrier-a") == 2, "not those of the dead, whose lease has run out"
    full = dataclasses.replace(world.trunks.all()[0], max_channels=2)
    answers: list[str] = []
    heir.trunking.acquire(full, "new.b1", world.now() + 61.0, answers.append)
    assert answers == [FULL]
    for phone, call in calls:
        phone.bye(call)
    world.run(1.0)
    assert heir.trunking.channels.in_use("carrier-a") == 0


def test_a_call_over_a_trunk_that_is_gone_still_ends() -> None:
    world = World()
    ana, carrier = world.phone("ana-phone"), world.carrier()
    call = ana.call(OUTSIDE)
    world.run(0.3)
    carrier.answer(sdp(7000))
    world.run(0.5)
    world.trunks.replace([], version=9)
    ana.bye(call)
    world.run(1.0)
    assert world.calls == 0
    assert world.server.trunking.channels.in_use("carrier-a") == 0
