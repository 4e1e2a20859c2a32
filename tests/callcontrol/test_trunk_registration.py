"""We register with a carrier, on a virtual network: a registrar that challenges, forgets, is away, or wants more time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from callcontrol.ids import KeyedIds
from callcontrol.probing import Prober
from callcontrol.sip import build, digest
from callcontrol.sip.events import RequestReceived
from callcontrol.sip.fields import parse_name_addr
from callcontrol.sip.message import Message
from callcontrol.trunk_registration import Registrations, contact_user
from callcontrol.trunk_views import trunk_views
from gateway.registration import FAILED, LEFT, REGISTERED, RegistrationPolicy
from gateway.trunk import Prefix, Trunk
from tests.support.party import SDP, Party, sdp
from tests.support.world import World

PEER = "sip:10.0.5.1:5060"
ANA = "+33639981001"
CALLER = "+33199001234"
TRUNK = Trunk(
    ref="reg",
    peers=(PEER,),
    prefixes=(Prefix("+"),),
    username="acme",
    password="a long word",
    auth_username="acme-auth",
    register=True,
    domain="carrier.example",
    options_seconds=0,
)
POLICY = RegistrationPolicy(retry_s=10.0, retry_max_s=900.0)


class Carrier(Party):
    """A registrar: bindings by contact, digest, and whatever a test wants it to say instead."""

    def __init__(self, world: World, host: str = "10.0.5.1") -> None:
        super().__init__(world, "registrar", host, "udp")
        self.requests: list[Message] = []
        self.bindings: dict[str, int] = {}
        self.algorithm = "SHA-256"
        self.nonce = "nonce-1"
        self.stale = False
        self.min_expires = 0
        self.grants = 0
        self.headers: tuple[tuple[str, str], ...] = ()
        self.silent = False
        self.refuses = 0
        self.proxy = False
        self.node.turn = lambda node: self._look()
        world.parties.append(self)

    def _look(self) -> None:
        events = self.endpoint.events[:]
        mine = [e for e in events if isinstance(e, RequestReceived) and e.message.method == "REGISTER"]
        for event in mine:
            self.endpoint.events.remove(event)
            self.requests.append(event.message)
            if not self.silent:
                self._answer(event)
        self._turn()

    def _answer(self, event: RequestReceived) -> None:
        message = event.message
        status, headers = self._verdict(message)
        data = build.response(message, status, "", "tag", headers)
        self.endpoint.send_response(event.key, status, data, self.now)

    def _verdict(self, message: Message) -> tuple[int, list[tuple[str, str]]]:
        if self.refuses:
            return self.refuses, list(self.headers)
        given = message.get("proxy-authorization" if self.proxy else "authorization")
        if given is None or not self._is_right(given, message):
            challenge = digest.make_challenge(
                "carrier", self.nonce, self.algorithm, stale=self.stale and given is not None
            )
            name = "proxy-authenticate" if self.proxy else "www-authenticate"
            return (407 if self.proxy else 401), [(name, challenge)]
        contact = parse_name_addr(message.get("contact") or "")
        expires = int(contact.params.get("expires") or message.get("expires") or 0)
        if 0 < expires < self.min_expires:
            return 423, [("min-expires", str(self.min_expires))]
        if not expires:
            self.bindings.pop(contact.uri, None)
            return 200, []
        expires = self.grants or expires
        self.bindings[contact.uri] = expires
        others = ('"other" <sip:else@10.9.9.9>;expires=7', f"<{contact.uri}>;expires={expires}")
        return 200, [*(("contact", value) for value in others), *self.headers]

    def _is_right(self, given: str, message: Message) -> bool:
        c = digest.parse_credentials(given)
        secret = digest.ha1(self.algorithm, "acme-auth", "carrier", "a long word")
        wanted = digest.response_digest(
            self.algorithm, secret, "REGISTER", c.uri, self.nonce, c.cnonce, c.nc, c.qop
        )
        return c.nonce == self.nonce and c.response == wanted and c.username == "acme-auth"


class Stage:
    """A world with one trunk that registers, and the shell that does it."""

    def __init__(self, *trunks: Trunk) -> None:
        self.world = World()
        self.carrier = Carrier(self.world)
        self.version = 0
        self.provision(*(trunks or (TRUNK,)))
        server, world = self.world.server, self.world
        self.registrations = Registrations(
            server.core,
            server.endpoint,
            server.trunking,
            world.resolver,
            KeyedIds(b"k" * 32),
            server.env.usage.contacts,
            "Cloudline",
            lambda: world.network.now,
            world.now,
            lambda: 0.5,
            POLICY,
            "test",
        )
        self.prober = Prober(
            server.core,
            server.endpoint,
            server.trunking,
            world.resolver,
            KeyedIds(b"k" * 32),
            server.env.usage.contacts,
            "cloudline.example",
            lambda: world.network.now,
            world.now,
            "test",
        )
        server.trunking.registered = self.registrations
        server.intake.registrations = self.registrations
        self.prober.registrations = self.registrations

    def provision(self, *trunks: Trunk) -> None:
        self.version += 1
        self.world.trunks.replace(trunks, version=self.version)

    def run(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass with the housekeeping of a node."""
        for _ in range(max(round(seconds / step), 1)):
            self.registrations.tick()
            self.prober.tick()
            self.world.node.settle()
            self.world.run(step)

    @property
    def machine(self):  # type: ignore[no-untyped-def]
        return self.registrations.machine("reg", PEER)

    @property
    def contact(self) -> str:
        assert len(self.carrier.bindings) == 1
        return next(iter(self.carrier.bindings))


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
@pytest.mark.parametrize("proxy", [False, True])
def test_it_registers_with_digest(algorithm: str, proxy: bool) -> None:
    stage = Stage()
    stage.carrier.algorithm, stage.carrier.proxy = algorithm, proxy
    stage.run(1.0)
    first, second = stage.carrier.requests
    assert first.uri == second.uri == PEER
    assert second.from_value.startswith("<sip:acme@carrier.example>;tag=")
    assert second.to_value == "<sip:acme@carrier.example>"
    assert first.call_id == second.call_id
    assert (first.cseq, second.cseq) == (1, 2)
    assert not first.has("authorization")
    assert second.get("expires") == "3600"
    assert stage.contact.startswith(f"sip:{contact_user(TRUNK, PEER)}@10.0.0.1:5060")
    assert stage.machine.state == REGISTERED
    assert stage.registrations.registered() == {("reg", "1"): 1}
    view = trunk_views(stage.prober, stage.world.now())[0].peers[0]
    assert (view.registration, view.registration_status) == (REGISTERED, 200)
    assert view.registered_until == pytest.approx(stage.world.now() + 3600, abs=2)


def test_it_refreshes_with_the_nonce_that_it_knows_and_answers_a_stale_one() -> None:
    stage = Stage()
    stage.carrier.grants = 60
    stage.run(1.0)
    stage.run(60.0)
    requests = stage.carrier.requests
    assert len(requests) >= 4
    third = digest.parse_credentials(requests[2].get("authorization") or "")
    assert third.nc == "00000002", "no second round trip for each refresh"
    stage.carrier.nonce, stage.carrier.stale = "nonce-2", True
    count = len(requests)
    stage.run(30.0)
    assert len(requests) - count in (2, 3), "a challenge and its answer"
    assert stage.machine.state == REGISTERED
    assert stage.world.server.trunking.registered is stage.registrations


def test_423_is_heeded() -> None:
    stage = Stage()
    stage.carrier.min_expires = 7200
    stage.run(1.0)
    assert [m.get("expires") for m in stage.carrier.requests] == ["3600", "3600", "7200"]
    assert stage.machine.state == REGISTERED


def test_a_wrong_password_is_not_tried_again_and_again() -> None:
    stage = Stage(Trunk(ref="reg", peers=(PEER,), username="acme", password="wrong", register=True))
    stage.run(60.0)
    assert len(stage.carrier.requests) == 2
    assert (stage.machine.state, stage.machine.status) == (FAILED, 401)
    assert stage.registrations.routes("reg", PEER) is None
    assert stage.registrations.results[("reg", "4xx")] == 2


def test_a_carrier_that_is_away_is_asked_again_with_pauses() -> None:
    stage = Stage()
    stage.carrier.refuses = 503
    stage.run(60.0)
    times = len(stage.carrier.requests)
    assert 3 <= times <= 5, "7.5 s, 15 s, 30 s apart"
    stage.carrier.refuses = 0
    stage.run(120.0)
    assert stage.machine.state == REGISTERED


def test_a_carrier_that_restarts_is_registered_with_as_soon_as_it_is_back() -> None:
    """OPTIONS notice that it was away: its registrations may be gone with its memory."""
    trunk = Trunk(
        ref="reg", peers=(PEER,), username="acme", password="a long word", auth_username="acme-auth",
        register=True, options_seconds=30.0,
    )  # fmt: skip
    stage = Stage(trunk)
    stage.run(2.0)
    assert stage.carrier.bindings
    stage.carrier.node.up = False
    stage.run(120.0)
    assert stage.prober.peer("reg", PEER).state == "down"  # type: ignore[union-attr]
    stage.carrier.node.up = True
    stage.carrier.bindings.clear()
    stage.run(40.0)
    assert stage.prober.peer("reg", PEER).state == "up"  # type: ignore[union-attr]
    assert stage.carrier.bindings, "long before the next refresh"


def invite(stage: Stage, uri: str, to: str, host: str = "10.0.5.1", extra: str = "") -> list[Message]:
    """An INVITE as the carrier sends it; its responses."""
    seen: list[Message] = []
    party = stage.carrier if host == stage.carrier.host else Party(stage.world, "stranger", host, "udp")
    text = (
        f"INVITE {uri} SIP/2.0\nFrom: <sip:{CALLER}@carrier.example>;tag=1\nTo: <{to}>\nCall-ID: c{uri}\nCSeq: 1 INVITE\n"
        f"Contact: <sip:carrier@{host}:5060>\nMax-Forwards: 70\nContent-Type: {SDP}\nContent-Length: {len(sdp(4000))}\n{extra}"
    )
    data = text.replace("\n", "\r\n").encode() + b"\r\n" + sdp(4000)
    party.send("z9hG4bKinvite", "INVITE", data, seen.append)
    stage.run(1.0)
    return seen


def test_a_call_to_the_contact_is_this_trunks_and_the_number_is_in_to() -> None:
    stage = Stage()
    stage.run(1.0)
    ana = stage.world.phone("ana-phone")
    invite(stage, stage.contact, f"sip:{ANA}@carrier.example")
    assert ana.incoming.invite is not None
    assert ana.incoming.invite.get("p-called-party-id") == f"<sip:{ANA}@cloudline.example>"
    call = next(iter(stage.world.server.runner.calls.values()))
    assert call.ingress_trunk == "reg"


def test_the_number_of_a_call_to_the_contact_may_be_in_p_called_party_id() -> None:
    stage = Stage()
    stage.run(1.0)
    ana = stage.world.phone("ana-phone")
    invite(
        stage,
        stage.contact,
        "sip:acme@carrier.example",
        extra=f"P-Called-Party-ID: <sip:{ANA}@carrier.example>\n",
    )
    assert ana.incoming.invite is not None


def test_a_call_from_the_registrar_is_this_trunks_also_to_a_number() -> None:
    stage = Stage()
    stage.run(1.0)
    ana = stage.world.phone("ana-phone")
    invite(stage, f"sip:{ANA}@10.0.0.1:5060", f"sip:{ANA}@carrier.example")
    assert ana.incoming.invite is not None


def test_the_contact_is_enough_from_another_address_of_the_carrier_and_nothing_else_is() -> None:
    stage = Stage()
    stage.run(1.0)
    ana = stage.world.phone("ana-phone")
    refused = invite(stage, f"sip:{ANA}@cloudline.example", f"sip:{ANA}@cloudline.example", "10.9.9.9")
    assert [m.status for m in refused if m.status > 100] == [407]
    guessed = invite(stage, "sip:t-00000000000000000000@10.0.0.1", f"sip:{ANA}@carrier.example", "10.9.9.8")
    assert [m.status for m in guessed if m.status > 100] == [407]
    assert not ana.rang
    invite(stage, stage.contact, f"sip:{ANA}@carrier.example", "10.9.9.7")
    assert ana.rang


def test_two_trunks_at_one_carrier_are_told_apart_by_their_contacts() -> None:
    other = Trunk(
        ref="other",
        peers=(PEER,),
        username="acme",
        password="a long word",
        auth_username="acme-auth",
        register=True,
    )
    stage = Stage(TRUNK, other)
    stage.run(1.0)
    assert len(stage.carrier.bindings) == 2
    match = stage.registrations.match
    assert match(contact_user(TRUNK, PEER), "10.0.5.1") is TRUNK
    assert match(contact_user(other, PEER), "10.0.5.1") is other
    assert match(ANA, "10.0.5.1") is None, "the address alone says nothing"
    assert match("", "10.0.5.1") is None


def test_service_route_is_the_way_of_outgoing_calls() -> None:
    stage = Stage()
    stage.carrier.headers = (("service-route", "<sip:10.0.5.1;lr>, <sip:core.carrier.example;lr>"),)
    stage.run(1.0)
    ana = stage.world.phone("ana-phone")
    ana.call(CALLER)
    stage.run(1.0)
    sent = stage.carrier.incoming.invite
    assert sent is not None
    assert sent.items("route") == ["<sip:10.0.5.1;lr>", "<sip:core.carrier.example;lr>"]
    assert f"<sip:{ANA}@carrier.example>" in sent.from_value
    assert sent.get("p-asserted-identity") == f"<sip:{ANA}@carrier.example>"


def test_peers_where_we_are_not_registered_are_tried_last() -> None:
    second = "sip:10.0.5.2:5060"
    stage = Stage(Trunk(
        ref="reg", peers=(PEER, second), prefixes=(Prefix("+"),), username="acme", password="a long word",
        auth_username="acme-auth", register=True, options_seconds=0,
    ))  # fmt: skip
    other = Carrier(stage.world, "10.0.5.2")
    stage.carrier.refuses = 403
    stage.run(2.0)
    assert stage.registrations.registered() == {("reg", "1"): 0, ("reg", "2"): 1}
    order = [c.peer_uri for c in stage.world.server.trunking.candidates(CALLER, stage.world.now())]
    assert order == [second, PEER]
    assert other.bindings


def test_it_unregisters_when_the_node_leaves_and_when_the_trunk_goes() -> None:
    stage = Stage()
    stage.run(1.0)
    stage.registrations.stop()
    assert not stage.registrations.left
    stage.run(1.0)
    assert stage.registrations.left
    assert not stage.carrier.bindings
    assert stage.carrier.requests[-1].get("expires") == "0"
    gone = Stage()
    gone.run(1.0)
    gone.provision()
    gone.run(1.0)
    assert not gone.carrier.bindings
    assert gone.registrations.registered() == {}


def test_a_changed_trunk_goes_on_or_registers_anew() -> None:
    from dataclasses import replace

    stage = Stage()
    stage.run(1.0)
    count = len(stage.carrier.requests)
    stage.provision(replace(TRUNK, weight=7))
    stage.run(1.0)
    assert len(stage.carrier.requests) == count, "nothing of the registration has changed"
    stage.provision(replace(TRUNK, register_seconds=600))
    stage.run(1.0)
    assert len(stage.carrier.bindings) == 1
    assert next(iter(stage.carrier.bindings.values())) == 600
    stage.provision(replace(TRUNK, host="sbc.acme.example"))
    stage.run(1.0)
    assert stage.contact == f"sip:{contact_user(TRUNK, PEER)}@sbc.acme.example"


def test_the_same_contact_after_a_restart() -> None:
    one, two = Stage(), Stage()
    one.run(1.0)
    two.run(1.0)
    assert one.contact == two.contact


def test_what_a_peer_says_is_read_with_bounds() -> None:
    """Odd answers: no contact of ours, nonsense in Expires, many routes, challenges that cannot be read."""
    cases: list[tuple[Callable[[Carrier], None], str]] = [
        (lambda c: setattr(c, "headers", (("service-route", ",".join(["<sip:x;lr>"] * 50)),)), REGISTERED),
        (lambda c: setattr(c, "algorithm", "SHA-512-256"), FAILED),
        (lambda c: setattr(c, "min_expires", 10**9), FAILED),
    ]
    for change, state in cases:
        stage = Stage()
        change(stage.carrier)
        stage.run(2.0)
        assert stage.machine.state == state
        assert len(stage.registrations.routes("reg", PEER) or []) <= 10


def test_leaving_ends_also_when_the_carrier_is_silent() -> None:
    stage = Stage()
    stage.run(1.0)
    stage.carrier.silent = True
    stage.registrations.stop()
    stage.run(40.0)
    assert stage.registrations.left
    assert stage.machine.state == LEFT
