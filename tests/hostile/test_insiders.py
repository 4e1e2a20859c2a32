"""Phones and carriers that are let in and then say nonsense: calls end, records are written, nothing is left (OPS-05)."""

from __future__ import annotations

import os
import random
import time
from functools import partial

import pytest

from callcontrol.sip import digest
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from numbering.models import Device, User
from tests.fuzz.invariant import mutate
from tests.hostile.kit import Fence, request, statuses
from tests.hostile.mutation import spoil
from tests.hostile.test_injection import check_sound
from tests.support.party import OFFER, Dialog, Party, sdp
from tests.support.wire import Node
from tests.support.world import DOMAIN, SERVER, World

pytestmark = pytest.mark.rule("OPS-05")

RUNS = int(os.environ.get("CLOUDLINE_HOSTILE_CALLS", "250"))
"""Random scenarios; ``make soak`` asks for many more."""
PART = 25
NUMBERS = ("+33639981001", "+33639981002", "+15550142", "ana-phone", "+33199001122")
METHODS = ("INFO", "UPDATE", "INVITE", "MESSAGE", "OPTIONS", "NOTIFY", "PRACK", "REFER", "FOO")
TARGETS = (
    f"<sip:+33639981002@{DOMAIN}>",
    f"<sip:ben-phone@{DOMAIN}?Replaces=abc%3Bto-tag%3D1%3Bfrom-tag%3D2>",
    "<tel:+15550142>",
)


class Bedlam:
    """A world of three parties, whose words are spoilt on the way to the server with a given probability."""

    def __init__(self, seed: str) -> None:
        self.dice = random.Random(seed)
        self.world = World(seed=1, encodes=self.dice.random() < 0.5)
        self.share = self.dice.choice((0.05, 0.2, 0.5))
        self.passed = self.world.network.transmit
        self.ana = self.world.phone("ana-phone")
        self.ben = self.world.phone("ben-phone", transport=self.dice.choice(("udp", "tcp")))
        self.carrier = self.world.carrier()
        self.parties = (self.ana, self.ben, self.carrier)
        self.calls: list[tuple[Party, Dialog]] = []
        self.world.network.transmit = self._transmit  # type: ignore[method-assign]

    def _transmit(self, sender: Node, flow: Flow, data: bytes) -> None:
        if flow.host == SERVER and self.dice.random() < self.share:
            data = mutate(data, self.dice) if self.dice.random() < 0.2 else spoil(data, self.dice)
        elif sender is self.world.node:
            check_sound(data)
        self.passed(sender, flow, data)

    def act(self) -> None:
        """One party does something, sensible or not."""
        dice = self.dice
        party = dice.choice(self.parties)
        match dice.randrange(11):
            case 0 | 1:
                body = dice.choice((OFFER, b""))
                self.calls.append((party, party.call(dice.choice(NUMBERS), body)))
            case 2 if party.rang:
                party.ring(dice.choice((180, 183)), dice.choice((b"", sdp(4444))))
            case 3 | 4 if party.rang:
                party.answer()
            case 5 if party.rang:
                status = dice.choice((302, 486, 603, 404, 401, 407, 503, 422, 491))
                party.reply(party.incoming, status, headers=(("contact", "<sip:x@y>"),))
            case 6 if self.calls:
                caller, dialog = dice.choice(self.calls)
                caller.bye(dialog)
            case 7 if self.calls:
                caller, dialog = dice.choice(self.calls)
                caller.cancel(dialog)
            case 8 if self.calls:
                caller, dialog = dice.choice(self.calls)
                headers = (("refer-to", dice.choice(TARGETS)),)
                caller.request(dialog, dice.choice(METHODS), sdp(7777), headers=headers)
            case 9 if party.rang:
                party.bye(party.incoming)
            case 10 if party is not self.carrier:
                party.register()


def play(seed: str) -> World:
    bedlam = Bedlam(seed)
    for _ in range(bedlam.dice.randrange(10, 40)):
        bedlam.act()
        bedlam.world.run(bedlam.dice.choice((0, 0.02, 0.2, 1, 6)))
    bedlam.share = 0.0
    bedlam.world.run(20_000)
    return bedlam.world


@pytest.mark.parametrize("part", range(RUNS // PART))
def test_whatever_is_said_calls_end_and_nothing_is_left(part: int) -> None:
    for index in range(part * PART, (part + 1) * PART):
        world = play(f"bedlam {index}")
        runner, server = world.server.runner, world.server
        assert len({record.call_ref for record in world.records}) == len(world.records), index
        assert not any(runner.census().values()), (index, runner.census())
        assert not set(server.ladders._lines) - set(server.ladders._ended), index
        assert server.endpoint.transactions == 0, index
        assert server.trunking.channels.in_use("carrier-a") == 0, index


# -- loops


class Forwarders:
    """Two phones, each calling the other's number for each call that comes: as far as they may, one hop less each time."""

    def __init__(self, world: World) -> None:
        self.hops: list[int] = []
        self.onward: list[Dialog] = []
        self.phones = {"+33639981002": world.phone("ana-phone"), "+33639981001": world.phone("ben-phone")}
        for number, phone in self.phones.items():
            phone.auto = partial(self._forward, phone, number)
        self.passed = world.network.transmit
        world.network.transmit = self._transmit  # type: ignore[method-assign]

    def _forward(self, phone: Party, number: str, dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "INVITE":
            self.hops.append(message.max_forwards)
            self.onward.append(phone.call(number))
        return False

    def _transmit(self, sender: Node, flow: Flow, data: bytes) -> None:
        if (
            flow.host == SERVER
            and data.startswith(b"INVITE")
            and self.hops
            and sender.host.startswith("10.1.")
        ):
            data = data.replace(b"Max-Forwards: 70", b"Max-Forwards: %d" % self.hops[-1])
        self.passed(sender, flow, data)


@pytest.mark.rule("FWD-04")
def test_phones_that_call_each_other_in_a_loop() -> None:
    """Max-Forwards counts on through us, so that it ends, and nothing stays behind."""
    world = World(encodes=False)
    loop = Forwarders(world)
    carrier = world.carrier()
    call = carrier.call("+33639981002")
    world.run(20)
    assert loop.hops == list(range(69, -1, -1))
    assert loop.onward[-1].status == 483
    assert world.calls == 70
    carrier.cancel(call)
    world.run(400)
    assert world.calls == 0
    assert len(world.records) == 70


@pytest.mark.rule("FWD-04")
def test_a_carrier_that_sends_our_call_back() -> None:
    """As a proxy with a wrong route does: same Call-ID, same number.  One round, not seventy."""
    world = World(encodes=False)
    ana, carrier = world.phone("ana-phone"), world.carrier()

    def reflect(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "INVITE" and len(dialog.got("INVITE")) == 1:
            line, _, rest = message.data.partition(b"\r\n")
            via = b"\r\nVia: SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKback\r\n"
            flow = Flow("udp", SERVER, 5060, "udp:10.0.1.1:5060")
            world.network.transmit(
                carrier.node, flow, line.replace(b"10.0.1.1:5060", DOMAIN.encode()) + via + rest
            )
        return False

    carrier.auto = reflect
    ana.call("+15550142")
    world.run(2)
    back = [data for _, source, target, data in world.network.log if (source, target) == (SERVER, "10.0.1.1")]
    assert [data[8:11] for data in back if b"z9hG4bKback" in data and data.startswith(b"SIP")][-1:] == [
        b"482"
    ]
    assert len(carrier.dialogs) == 1
    world.run(300)
    assert world.calls == 0


def test_who_calls_himself() -> None:
    """One phone: it would be busy with itself, so nobody can be reached.  Two: the other one rings."""
    world = World(encodes=False)
    first = world.phone("ana-phone")
    call = first.call("+33639981001")
    world.run(1)
    second = world.phone("ana-desktop")
    other = first.call("+33639981001")
    world.run(1)
    assert second.rang
    second.answer()
    world.run(1)
    assert other.status == 200
    first.bye(other)
    world.run(200)
    assert call.status >= 400 or first.rang
    assert world.calls == 0


# -- many


@pytest.mark.rule("DEV-06")
def test_ten_thousand_phones_register() -> None:
    """Twice each, as after a power cut; each costs what the first one did, and every one is known afterwards."""
    fence = Fence(open_gate=True)
    directory, registrar = fence.server.directory, fence.server.registrar
    count = 10_000
    for index in range(count):
        directory.put_one(
            Device(ref=f"d{index}", user=f"u{index}", sip_username=f"phone{index}", sip_password="p")
        )
        directory.put_one(User(ref=f"u{index}", account="acme"))
    spent = []
    for index in range(count):
        begin = time.thread_time()
        host = f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}"
        uri, own = f"sip:{DOMAIN}", f"<sip:phone{index}@{DOMAIN}>"
        out = fence.send(
            request("REGISTER", 1, uri=uri, sender=own, target=own, host=host, call_id=f"r{index}"), host
        )
        nonce = out[0].partition(b'nonce="')[2].partition(b'"')[0].decode()
        challenge = digest.Challenge("digest", DOMAIN, nonce, "MD5", ["auth"], None, False)
        value = digest.answer(challenge, "REGISTER", uri, f"phone{index}", "p", cnonce="c")
        headers = [f"Authorization: {value}"]
        data = request(
            "REGISTER",
            2,
            uri=uri,
            sender=own,
            target=own,
            host=host,
            cseq=2,
            headers=headers,
            call_id=f"r{index}",
        )
        assert statuses(fence.send(data, host)) == [200]
        spent.append(time.thread_time() - begin)
    assert len(fence.server.bindings) == count
    assert registrar.counters["ok"] == count
    early, late = sorted(spent[1000:2000])[500], sorted(spent[-1000:])[500]
    assert late < 2 * early, "the cost of one grows with the number of others"
    fence.wait(3700, step=60)
    assert len(fence.server.bindings) == 0
    assert fence.server.endpoint.transactions == 0
