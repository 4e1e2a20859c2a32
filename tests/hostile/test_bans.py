"""Scanners and guessers are banned for a while; nobody can have anybody else banned (OPS-05)."""

from __future__ import annotations

import pytest

from callcontrol.sip import digest
from callcontrol.sip.message import parse
from tests.hostile.kit import KNOWN_USER, STRANGER, Fence, request, statuses
from tests.support.world import DOMAIN

pytestmark = pytest.mark.rule("OPS-05")

CARRIER = "10.0.1.1"
SCANNERS = ("friendly-scanner", "sipvicious", "sundayddr", "sipcli/v1.8", "VaxSIPUserAgent/3.1", "pplsip")


def scan(
    fence: Fence, agent: str = "friendly-scanner", method: str = "OPTIONS", host: str = STRANGER
) -> bytes:
    """As svmap, svwar and svcrack write it."""
    return request(
        method, fence.number(), uri=f"sip:100@{DOMAIN}", sender='"sipvicious"<sip:100@1.1.1.1>', target="<sip:100@1.1.1.1>",
        headers=[f"User-Agent: {agent}", "Accept: application/sdp"], host=host,
    )  # fmt: skip


def plain(fence: Fence, host: str = STRANGER) -> bytes:
    return request("OPTIONS", fence.number(), host=host)


def guess(fence: Fence, host: str = STRANGER, transport: str = "udp", user: str = KNOWN_USER) -> list[int]:
    """REGISTER, challenge, REGISTER with a wrong password: the statuses of both."""
    uri, own = f"sip:{DOMAIN}", f"<sip:{user}@{DOMAIN}>"
    asked = request("REGISTER", fence.number(), uri=uri, sender=own, target=own, host=host)
    out = fence.send(asked, host, transport=transport)
    if not out:
        return []
    (challenge, *_) = digest.parse_challenges(parse(out[0]).all("www-authenticate"))
    value = digest.answer(challenge, "REGISTER", uri, user, f"guess{fence.number()}", cnonce="c")
    headers = [f"Authorization: {value}"]
    again = request("REGISTER", fence.number(), uri=uri, sender=own, target=own, host=host, headers=headers)
    return statuses(out) + statuses(fence.send(again, host, transport=transport))


@pytest.mark.parametrize("agent", SCANNERS)
@pytest.mark.parametrize("method", ["OPTIONS", "REGISTER", "INVITE"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_scanner_gets_no_answer_and_a_ban(agent: str, method: str, transport: str) -> None:
    fence = Fence()
    assert fence.send(plain(fence), transport=transport)
    assert fence.send(scan(fence, agent, method), transport=transport) == []
    assert fence.send(plain(fence), transport=transport) == [], "banned"
    assert statuses(fence.send(plain(fence, "203.0.113.67"), "203.0.113.67")) == [200], "and nobody else"
    (ban,) = fence.server.gate.list_bans(fence.world.now())
    assert (ban.address, ban.reason) == (STRANGER, "scanner")


@pytest.mark.parametrize(
    ("transport", "lengths"), [("udp", [60, 120, 240, 300, 300]), ("tcp", [60, 120, 240, 480, 960])]
)
def test_bans_end_grow_and_are_forgotten(transport: str, lengths: list[float]) -> None:
    """Over UDP the address may be forged: whoever it belongs to is shut out for five minutes at most."""
    fence = Fence()
    for length in lengths:
        assert fence.send(scan(fence), transport=transport) == []
        fence.wait(length - 1, step=30)
        assert fence.send(plain(fence), transport=transport) == []
        fence.wait(2)
        assert statuses(fence.send(plain(fence), transport=transport)) == [200]
    fence.wait(2 * 86400, step=3600)
    fence.send(scan(fence), transport=transport)
    (ban,) = fence.server.gate.list_bans(fence.world.now())
    assert ban.until - ban.since == 60


def test_a_password_guesser_is_banned() -> None:
    fence = Fence()
    answers = [guess(fence) for _ in range(20)]
    assert answers[:10] == [[401, 401]] * 10
    assert answers[10:] == [[]] * 10
    fence.wait(61)
    assert guess(fence) == [401, 401]


def test_slow_guessing_is_no_ban_but_slow() -> None:
    """Ten in a minute are an offence; whoever stays below has less than a million guesses in two months."""
    fence = Fence()
    for _ in range(60):
        assert guess(fence) == [401, 401]
        fence.wait(7)


def test_who_calls_without_a_password_is_banned_for_it() -> None:
    """Toll fraud: an INVITE after the other, to whatever number, never an answer to the challenge."""
    fence = Fence()
    seen = []
    for index in range(40):
        data = request("INVITE", fence.number(), uri=f"sip:{index}0015550142@{DOMAIN}")
        seen.append(statuses(fence.send(data)))
    assert seen[:20] == [[407]] * 20
    assert seen[20:] == [[]] * 20


def test_garbage_is_banned() -> None:
    fence = Fence()
    for _ in range(30):
        fence.send(b"GET / HTTP/1.1\r\nHost: sip\r\n\r\n")
    assert fence.send(plain(fence)) == []
    fence.wait(61)
    assert statuses(fence.send(plain(fence))) == [200]
    for _ in range(200):
        fence.send(b"\r\n\r\n")
        fence.send(b"jaK")
        fence.wait(0.2)
    assert statuses(fence.send(plain(fence))) == [200], "keep-alives are none"


# -- forgers


def abuse(fence: Fence, host: str) -> None:
    """Everything that is held against an address, with a forged one."""
    for _ in range(40):
        fence.send(scan(fence, host=host), host)
        fence.send(b"garbage that is longer than a keep-alive", host)
        fence.send(request("INVITE", fence.number(), uri=f"sip:1@{DOMAIN}", host=host), host)
        guess(fence, host)
        fence.wait(0.2)


def test_nobody_has_a_trunk_banned() -> None:
    fence = Fence()
    carrier = fence.world.carrier(CARRIER)
    fence.server.gate.trust(network for trunk in fence.world.trunks.all() for network in trunk.accept_from)
    abuse(fence, CARRIER)
    assert fence.server.gate.list_bans(fence.world.now()) == []
    phone = fence.world.phone(KNOWN_USER)
    call = carrier.call("+33639981001")
    fence.world.run(0.5)
    phone.answer()
    fence.world.run(0.5)
    assert call.status == 200


def test_nobody_has_a_registered_phone_banned() -> None:
    """It is slowed, which leaves room for calls, and only for as long as it goes on."""
    fence = Fence()
    phone = fence.world.phone(KNOWN_USER)
    abuse(fence, phone.host)
    gate, now = fence.server.gate, fence.world.now
    assert not gate.is_banned(phone.host, now())
    assert [ban.slowed for ban in gate.list_bans(now())] == [True]
    fence.wait(2)
    for _ in range(10):
        assert gate.admit(phone.host, now()), "a message now and then passes"
        fence.wait(0.5)
    fence.wait(301, step=10)
    assert gate.list_bans(now()) == []


def test_an_office_does_not_lose_its_phones_for_one_wrong_password() -> None:
    """Over a connection, so it is proven; a tenth of it counts where phones are registered."""
    fence = Fence()
    phone = fence.world.phone(KNOWN_USER)
    for _ in range(50):
        assert guess(fence, phone.host, "tcp") == [401, 401]
        fence.wait(2)
    assert fence.server.gate.list_bans(fence.world.now()) == []


def test_phones_that_are_challenged_for_every_call_are_no_suspects() -> None:
    """A busy office behind one address: two hundred calls in a minute, each challenged first."""
    fence = Fence()
    phone = fence.world.phone(KNOWN_USER)
    for _ in range(200):
        fence.send(
            request("INVITE", fence.number(), uri=f"sip:+15550142@{DOMAIN}", host=phone.host), phone.host
        )
        fence.wait(0.3)
    gate = fence.server.gate
    assert gate.list_bans(fence.world.now()) == []
    assert gate.counters["suspicion_unknown_target"] == 0


def test_any_number_of_forged_addresses_fits_in_memory() -> None:
    fence = Fence()
    gate = fence.server.gate
    for index in range(130_000):
        gate.admit(f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}", fence.world.now())
    assert len(gate) <= 100_000
    for index in range(110_000):
        gate.suspect(
            f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}", "scanner", fence.world.now(), proven=False
        )
    assert len(gate.list_bans(fence.world.now())) <= 100_000
