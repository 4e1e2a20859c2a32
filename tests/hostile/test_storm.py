"""A storm of hostile messages: nothing raises, nothing is told, nothing stays (OPS-05).

``CLOUDLINE_HOSTILE`` is the number of messages; ``make soak`` asks for a million.
"""

from __future__ import annotations

import gc
import os
import random
import sys
from pathlib import Path

import pytest

from callcontrol.sip import digest
from callcontrol.sip.message import parse
from config.settings import Settings
from tests.fuzz.invariant import corpus, mutate
from tests.hostile.kit import METHODS, SDP, STRANGER, UNKNOWN_NUMBER, UNKNOWN_USER, Fence, request, statuses
from tests.hostile.mutation import spoil
from tests.hostile.test_injection import check_sound
from tests.support.party import OFFER, sdp
from tests.support.world import DOMAIN, provisioning

pytestmark = pytest.mark.rule("OPS-05")

MESSAGES = int(os.environ.get("CLOUDLINE_HOSTILE", "60000"))
PAGE = os.sysconf("SC_PAGE_SIZE")


def seeds() -> list[bytes]:
    """The corpus, and a request of each method in each shape."""
    made = corpus()
    for number, method in enumerate(METHODS):
        made.append(request(method, number, uri=f"sip:{UNKNOWN_NUMBER}@{DOMAIN}"))
        made.append(request(method, number, to_tag="x", headers=["Content-Type: application/sdp"], body=SDP))
        own = f"<sip:{UNKNOWN_USER}@{DOMAIN}>"
        value = digest.make_challenge(DOMAIN, "0" * 37)
        (challenge,) = digest.parse_challenges([value])
        guess = digest.answer(challenge, method, f"sip:{DOMAIN}", UNKNOWN_USER, "guess", cnonce="c")
        headers = [f"Authorization: {guess}", "Supported: path, outbound, gruu"]
        made.append(request(method, number, uri=f"sip:{DOMAIN}", sender=own, target=own, headers=headers))
    return made


class Storm:
    """Endless hostile messages from many addresses, the same ones every time."""

    def __init__(self, fence: Fence, seed: int, addresses: int = 256) -> None:
        self.fence = fence
        self.addresses = addresses
        self.dice = random.Random(seed)
        self.seeds = seeds()
        self.seen: dict[int, int] = {}
        self.secrets = secrets()

    def blow(self, count: int) -> None:
        dice, fence = self.dice, self.fence
        for index in range(count):
            data = dice.choice(self.seeds)
            if dice.random() < 0.9:
                data = (mutate if dice.random() < 0.4 else spoil)(data, dice)
            host = f"203.0.113.{dice.randrange(self.addresses)}"
            transport = dice.choice(("udp", "udp", "udp", "tcp"))
            for answer in fence.send(data, host, dice.randrange(1024, 65536), transport):
                status = int(answer[8:11])
                self.seen[status] = self.seen.get(status, 0) + 1
                if index % 8 == 0:
                    check_sound(answer)
                    assert not [word for word in self.secrets if word in answer and word not in data]
            if index % 100 == 99:
                fence.wait(0.5)
        fence.wait(120, step=5)


def secrets() -> list[bytes]:
    """What a stranger is not to learn: every name and number of the directory, carriers, versions."""
    directory, trunks = provisioning()
    names = [
        device.sip_username for user in ("ana", "ben", "cleo", "zoe") for device in directory.devices_of(user)
    ]
    numbers = [str(n.e164) for user in ("ana", "ben", "cleo", "zoe") for n in directory.numbers_of(user)]
    peers = [trunk.ref for trunk in trunks.all()]
    return [word.encode() for word in (*names, *numbers, *peers, "Python", "secret-")]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def test_memory_after_a_million_hostile_messages_is_where_it_was() -> None:
    """Objects and bytes: the second half of the storm leaves no more behind than the first one did."""
    fence = Fence(open_gate=True)
    phone = fence.world.phone("ana-phone")
    storm = Storm(fence, 7)
    storm.blow(MESSAGES // 4)
    gc.collect()
    blocks, resident = sys.getallocatedblocks(), resident_bytes()
    storm.blow(MESSAGES - MESSAGES // 4)
    gc.collect()
    assert fence.server.endpoint.transactions == 0
    assert fence.world.calls == 0
    assert not fence.elsewhere
    assert not phone.dialogs
    assert sys.getallocatedblocks() - blocks < 3000
    assert resident_bytes() - resident < 8_000_000
    assert {200, 400, 401, 404, 405, 407, 415, 416, 420, 481, 501, 505} <= storm.seen.keys(), "hardly a storm"


def test_nor_does_the_gate_grow() -> None:
    """With its rates and bans in force, against the same storm."""
    fence = Fence()
    storm = Storm(fence, 8, addresses=5)
    storm.blow(2000)
    gc.collect()
    blocks = sys.getallocatedblocks()
    storm.blow(6000)
    gc.collect()
    assert fence.turned_away > 4000
    assert sys.getallocatedblocks() - blocks < 3000


def test_counters_have_names_of_ours_only() -> None:
    fence = Fence(open_gate=True)
    Storm(fence, 9).blow(4000)
    server = fence.server
    names = {
        name
        for table in (server.core.counters, server.intake.counters, server.registrar.counters)
        for name in table
    }
    counters = server.endpoint.counters
    for table in (counters.messages, counters.dropped, counters.named, counters.absorbed, counters.failed):
        names |= {str(key) for key in table}
    assert len(names) < 120
    assert not [name for name in names if "X-Evil" in name or "mallory" in name or not name.isascii()]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_sent_twice_and_little_for_much(method: str, transport: str) -> None:
    """Whoever forges the address of another gets him one answer, not much longer than the question."""
    fence = Fence(open_gate=True)
    data = request(method, 1, uri=f"sip:{DOMAIN}", transport=transport.upper())
    out = fence.send(data, transport=transport)
    assert len(out) <= 1
    assert sum(map(len, out)) < 2.5 * len(data)
    assert fence.wait(60) == []
    assert fence.server.endpoint.transactions == 0


def test_strangers_take_no_place_of_those_who_are_known() -> None:
    """Room for ten transactions, ten thousand requests of strangers, and a call goes through."""
    fence = Fence(
        Settings.model_validate({"limits": {"max_transactions": 10, "trusted_networks": ["0.0.0.0/0"]}})
    )
    phone, carrier = fence.world.phone("ana-phone"), fence.world.carrier()
    fence.wait(40)
    for number in range(10_000):
        fence.send(request(METHODS[number % len(METHODS)], number, host=STRANGER))
    assert fence.server.endpoint.transactions == 0
    call = carrier.call("+33639981001")
    fence.world.run(0.5)
    phone.answer()
    fence.world.run(0.5)
    assert call.status == 200


# -- floods of those who are let in


def test_calls_are_bounded() -> None:
    """Above the limit: 503 with Retry-After and the reason, no state; what runs goes on; room comes back."""
    fence = Fence(Settings.model_validate({"limits": {"max_calls": 5}}))
    world = fence.world
    phone, carrier = world.phone("ana-phone"), world.carrier()
    fence.server.gate.trust(["10.0.0.0/8"])
    calls = [carrier.call("+33639981001") for _ in range(20)]
    world.run(0.5)
    refused = [call for call in calls if call.status == 503]
    assert len(refused) == 15
    assert world.calls == 5
    last = refused[-1].last("INVITE")
    assert int(last.get("retry-after") or 0) > 0
    assert "overload" in (last.get("reason") or "")
    phone.answer()
    world.run(0.5)
    for call in calls:
        if call.status != 503:
            carrier.cancel(call) if call.status < 200 else carrier.bye(call)
    world.run(1)
    again = carrier.call("+33639981001")
    world.run(0.5)
    assert again.status < 300


def test_overload_sheds_new_calls_and_nothing_else() -> None:
    """The driver measures the queue; calls that run, and registrations, are served as ever."""
    fence = Fence()
    world = fence.world
    phone, carrier = world.phone("ana-phone"), world.carrier()
    call = carrier.call("+33639981001")
    world.run(0.5)
    phone.answer()
    world.run(0.5)
    fence.server.endpoint.overloaded = True
    shed = carrier.call("+33639981001")
    carrier.request(call, "INVITE", sdp(6000))
    phone.register()
    world.run(0.5)
    assert shed.status == 503
    assert shed.last("INVITE").get("retry-after") == "5"
    assert phone.replies[-1].status == 200
    assert phone.incoming.got("INVITE")[-1].body == sdp(6000)
    carrier.bye(call)
    world.run(0.5)
    assert call.last("BYE").status == 200
    fence.server.endpoint.overloaded = False
    again = carrier.call("+33639981001")
    world.run(0.5)
    assert again.status < 300


def test_a_flood_of_one_phone_is_slowed_at_the_gate() -> None:
    """A mad softphone: a thousand calls at once pass, then two hundred messages a second."""
    fence = Fence()
    phone = fence.world.phone("ana-phone")
    passed = sum(
        fence.receive(request("OPTIONS", number, host=phone.host), phone.host) for number in range(5000)
    )
    assert passed == pytest.approx(1000, abs=10)
    fence.turn(phone.host)
    fence.wait(1.0)
    passed = sum(
        fence.receive(request("OPTIONS", number, host=phone.host), phone.host) for number in range(5000)
    )
    assert passed == pytest.approx(200, abs=2)
    fence.turn(phone.host)


def test_the_same_call_again_and_again() -> None:
    """Retransmissions and merged copies of an INVITE from a carrier: one call."""
    fence = Fence(open_gate=True)
    phone = fence.world.phone("ana-phone")
    host = "10.0.1.9"
    seen: list[int] = []
    for number in range(300):
        branch = "z9hG4bKsame" if number % 2 else f"z9hG4bKcopy{number}"
        data = request(
            "INVITE",
            1,
            branch=branch,
            call_id="same",
            host=host,
            body=OFFER,
            headers=["Content-Type: application/sdp"],
        )
        seen += statuses(fence.send(data, host))
    fence.world.run(0.5)
    assert len(phone.dialogs) == 1
    assert fence.world.calls == 1
    assert seen.count(482) >= 149
    assert parse(phone.incoming.invite.data if phone.incoming.invite is not None else b"").body == OFFER


def dial(fence: Fence, uri: str) -> int:
    """The final answer to a call of ana's phone, which answers its challenge; 0: none yet."""
    found: list[int] = []
    headers: list[str] = []
    for _ in range(2):
        data = request("INVITE", fence.number(), uri=uri, sender=f"<sip:ana-phone@{DOMAIN}>", headers=headers)
        out = fence.send(data)
        found = [status for status in statuses(out) if status >= 200]
        if 407 not in found:
            break
        (challenge, *_) = digest.parse_challenges(parse(out[-1]).all("proxy-authenticate"))
        value = digest.answer(challenge, "INVITE", uri, "ana-phone", "secret-ana", cnonce="c")
        headers = [f"Proxy-Authorization: {value}"]
    return found[-1] if found else 0


@pytest.mark.rule("OUT-05")
@pytest.mark.parametrize("load", ["none", "overloaded", "full", "draining"])
def test_emergency_calls_are_answered_whatever_the_load(load: str) -> None:
    """A full server, or one that is being taken out of service: the advice to dial on the SIM comes at once."""
    fence = Fence(Settings.model_validate({"limits": {"max_calls": 1}}))
    phone, carrier = fence.world.phone("ana-phone"), fence.world.carrier()
    if load == "full":
        carrier.call("+33639981001")
        fence.world.run(0.5)
        assert phone.rang
    fence.server.endpoint.overloaded = load == "overloaded"
    fence.server.core.draining = load == "draining"
    for uri in (
        f"sip:112@{DOMAIN}",
        "tel:15;phone-context=+33",
        f"sip:+33112@{DOMAIN}",
        "urn:service:sos.fire",
    ):
        assert dial(fence, uri) == 380, uri
        fence.wait(1)
    assert dial(fence, f"sip:+15550142@{DOMAIN}") == (0 if load == "none" else 503)
    assert not [dialog for dialog in carrier.dialogs if dialog.incoming and load != "none"]
