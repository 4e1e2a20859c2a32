"""Known and unknown users and numbers get the same bytes, after the same work, and the same bans (OPS-05)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import pytest

import callcontrol.auth
import callcontrol.ids
from callcontrol.sip import digest
from callcontrol.sip.message import parse
from tests.hostile.kit import (
    KNOWN_NUMBER,
    KNOWN_USER,
    METHODS,
    SDP,
    STRANGER,
    UNKNOWN_NUMBER,
    UNKNOWN_USER,
    Fence,
    request,
    statuses,
    without_chance,
)
from tests.support.world import DOMAIN

pytestmark = pytest.mark.rule("OPS-05")

KNOWN = (KNOWN_USER, KNOWN_NUMBER)
UNKNOWN = (UNKNOWN_USER, UNKNOWN_NUMBER)
assert [len(name) for name in KNOWN] == [len(name) for name in UNKNOWN]


class Work:
    """Counts the expensive operations: an attacker with a stopwatch would see them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hashes = 0
        for owner, name in (
            (hashlib, "sha256"),
            (hashlib, "md5"),
            (callcontrol.auth, "blake2b"),
            (callcontrol.ids, "blake2b"),
        ):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, function: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **options: object) -> object:
            self.hashes += 1
            return function(*args, **options)

        return counted

    def take(self) -> int:
        done, self.hashes = self.hashes, 0
        return done


class Visit:
    """One stranger at one server that has a registered phone; ``names`` are those that it asks for."""

    def __init__(self, names: tuple[str, str], *, open_gate: bool = True, transport: str = "udp") -> None:
        self.fence = Fence(open_gate=open_gate)
        self.phone = self.fence.world.phone(KNOWN_USER)
        self.user, self.number = names
        self.transport = transport
        self.nonces: list[digest.Challenge] = []
        self.said: list[list[bytes]] = []

    def ask(self, data: bytes) -> list[bytes]:
        out = self.fence.send(data, transport=self.transport)
        for answer in out:
            message = parse(answer)
            challenges = message.all("www-authenticate") + message.all("proxy-authenticate")
            self.nonces += digest.parse_challenges(challenges)
        self.said.append([without_chance(answer, self.user, self.number[1:]) for answer in out])
        return out

    def credentials(self, method: str, uri: str, dice: random.Random, *, proxy: bool) -> list[str]:
        """An answer to a challenge that came, with a password that is wrong; or without any challenge."""
        challenge = (
            dice.choice(self.nonces)
            if self.nonces
            else digest.parse_challenges([digest.make_challenge(DOMAIN, "0" * 37)])[0]
        )
        value = digest.answer(challenge, method, uri, self.user, "guess", cnonce="c", nc=dice.randrange(1, 4))
        return [f"{'Proxy-Authorization' if proxy else 'Authorization'}: {value}"]


def random_request(visit: Visit, dice: random.Random) -> bytes:
    """Any method, in or out of a dialog, with the visit's names in any of the places where names stand."""
    method = dice.choice(METHODS)
    named = dice.choice((visit.user, visit.number, visit.number.replace("+", "00"), f"{visit.number};ext=1"))
    uri = dice.choice(
        (f"sip:{named}@{DOMAIN}", f"sip:{DOMAIN}", f"tel:{visit.number}", f"sip:{named}@10.0.0.1")
    )
    if method == "REGISTER" and dice.random() < 0.7:
        uri = f"sip:{DOMAIN}"
    own = f"<sip:{dice.choice((visit.user, visit.number, 'mallory'))}@{DOMAIN}>"
    headers = []
    if dice.random() < 0.5:
        headers += visit.credentials(method, uri, dice, proxy=dice.random() < 0.5)
    if dice.random() < 0.2:
        headers.append(f"P-Preferred-Identity: <sip:{visit.number}@{DOMAIN}>")
    if dice.random() < 0.2:
        headers.append(f"Refer-To: <sip:{visit.number}@{DOMAIN}>")
    if dice.random() < 0.1:
        headers.append(f"Replaces: {visit.user};to-tag=a;from-tag=b")
    body = SDP if dice.random() < 0.3 else b""
    if body:
        headers.append("Content-Type: application/sdp")
    return request(
        method,
        dice.randrange(30),  # few, so that retransmissions, CANCELs and ACKs meet what they belong to
        uri=uri,
        sender=own,
        target=dice.choice(("", f"<sip:{visit.user}@{DOMAIN}>", f"<sip:{visit.number}@{DOMAIN}>")),
        to_tag=dice.choice(("", "", "", "guess")),
        cseq=dice.randrange(1, 4),
        headers=headers,
        body=body,
        transport=visit.transport.upper(),
    )


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_asked_in_whatever_order(
    seed: int, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(monkeypatch)
    visits = [Visit(names, transport=transport) for names in (KNOWN, UNKNOWN)]
    for step in range(400):
        done = []
        for visit in visits:
            work.take()
            visit.ask(random_request(visit, random.Random(f"{seed}/{step}")))
            done.append(work.take())
        assert visits[0].said[-1] == visits[1].said[-1], step
        assert done[0] == done[1], step
        if step % 10 == 9:
            waited = [
                [without_chance(data, *KNOWN, *UNKNOWN) for data in visit.fence.wait(1.0)] for visit in visits
            ]
            assert waited[0] == waited[1]
    assert len({answer[8:11] for said in visits[0].said for answer in said}) > 4, (
        "the visit saw hardly anything"
    )
    assert all(not visit.phone.dialogs and not visit.fence.elsewhere for visit in visits), (
        "nobody else was bothered"
    )


@pytest.mark.parametrize("seed", range(4))
def test_and_the_same_is_held_against_them(seed: int) -> None:
    """A ban that came, or did not come, would tell as much as an answer."""
    visits = [Visit(names, open_gate=False) for names in (KNOWN, UNKNOWN)]
    for step in range(900):
        for visit in visits:
            visit.ask(random_request(visit, random.Random(f"ban {seed}/{step}")))
            visit.fence.wait(0.05)
        gates = [visit.fence.server.gate for visit in visits]
        assert gates[0].counters == gates[1].counters, step
    assert visits[0].said == visits[1].said
    assert visits[0].fence.turned_away == visits[1].fence.turned_away > 0, "nobody was banned"


@pytest.mark.parametrize("method", METHODS)
def test_each_method_by_itself(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without, and with a guessed password; the statuses are those that strangers are meant to get."""
    work = Work(monkeypatch)
    seen = []
    for names in (KNOWN, UNKNOWN):
        visit = Visit(names)
        uri = f"sip:{DOMAIN}" if method == "REGISTER" else f"sip:{visit.number}@{DOMAIN}"
        own = f"<sip:{visit.user}@{DOMAIN}>"
        work.take()
        visit.ask(request(method, 1, uri=uri, sender=own, target=own))
        headers = visit.credentials(method, uri, random.Random(1), proxy=method != "REGISTER")
        visit.ask(request(method, 2, uri=uri, sender=own, target=own, headers=headers))
        seen.append((visit.said, work.take()))
    assert seen[0] == seen[1]
    expected = {
        "REGISTER": [401],
        "INVITE": [407],
        "OPTIONS": [200],
        "ACK": [],
        "CANCEL": [481],
        "PING": [501],
    }
    expected |= {method: [481] for method in ("BYE", "PRACK", "UPDATE", "INFO", "NOTIFY")}
    expected |= {method: [405] for method in ("SUBSCRIBE", "MESSAGE", "REFER", "PUBLISH")} | {"invite": [501]}
    assert [statuses(out) for out in seen[0][0]] == [expected[method]] * 2


def test_a_guess_costs_as_much_as_a_right_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same hashes for: right, wrong, unknown user; the right one is told apart by its answer alone."""
    work = Work(monkeypatch)
    costs = {}
    for user, password in ((KNOWN_USER, "secret-ana"), (KNOWN_USER, "guess"), (UNKNOWN_USER, "guess")):
        visit = Visit(KNOWN)
        uri = f"sip:{DOMAIN}"
        own = f"<sip:{user}@{DOMAIN}>"
        visit.ask(request("REGISTER", 1, uri=uri, sender=own, target=own))
        value = digest.answer(visit.nonces[0], "REGISTER", uri, user, password, cnonce="c")
        data = request("REGISTER", 2, uri=uri, sender=own, target=own, headers=[f"Authorization: {value}"])
        work.take()
        auth = visit.fence.server.digest
        message = parse(data)
        auth.check(
            message,
            "REGISTER",
            visit.fence.world.now(),
            visit.fence.server.registrar._secrets,
            source=STRANGER,
        )
        costs[(user, password)] = work.take()
    assert len(set(costs.values())) == 1, costs


ODD = (
    "Digest",
    "Digest ,,,",
    "digest realm",
    'Digest username="{user}"',
    'Digest username="{user}", realm="{realm}", nonce="", uri="", response=""',
    'Digest username="{user}", realm="{realm}", nonce="n", uri="{uri}", response="\udcff\udcfe"',
    'Digest username="{user}", realm="{realm}", nonce="\\\0", uri="{uri}", response="r", qop=auth, nc=1, cnonce="c"',
    'Digest username="{user}", realm="{realm}", nonce="n", uri="{uri}", response="r", qop=auth, nc=zzzzzzzz, cnonce="c"',
    'Digest username="{user}", realm="{realm}", nonce="n", uri="{uri}", response="r", qop=auth-int, nc=00000001, cnonce="c"',
    'Digest username="{user}", realm="{realm}", nonce="n", uri="{uri}", response="r", qop=other, nc=00000001, cnonce="c"',
    'Digest username="{user}", realm="{realm}", nonce="n", uri="{uri}", response="r", algorithm=SHA-512-256',
    'Digest username="{user}", realm="{realm}", nonce="n", uri="{uri}", response="r", algorithm=MD5-sess, cnonce="c"',
    'Digest username="{user}", username="x", realm="{realm}", nonce="n", uri="{uri}", response="r"',
    'Digest username*=UTF-8\'\'{user}, realm="{realm}", nonce="n", uri="{uri}", response="r"',
    'Digest username*=LATIN-1\'\'{user}, realm="{realm}", nonce="n", uri="{uri}", response="r"',
    'Digest username="{user}", realm="elsewhere.example", nonce="n", uri="{uri}", response="r"',
    'Digest username="{user}", realm="{realm}", nonce="n", uri="http://[", response="r"',
    'Digest username="{user}", realm="{realm}", nonce="n", uri="sip:other@{realm}", response="r"',
    'Digest username="{user}", realm="{realm}", nonce="' + "f" * 37 + '", uri="{uri}", response="r"',
    'Digest username="{user}, realm="{realm}", nonce="n", uri="{uri}", response="r"',
    "Basic {user}:secret-ana",
    "Bearer {user}",
)


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_credentials(odd: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A challenge or 400, the same for everybody, never more."""
    work = Work(monkeypatch)
    seen = []
    for names in (KNOWN, UNKNOWN):
        visit = Visit(names)
        uri = f"sip:{DOMAIN}" if method == "REGISTER" else f"sip:{visit.number}@{DOMAIN}"
        own = f"<sip:{visit.user}@{DOMAIN}>"
        work.take()
        value = odd.format(user=visit.user, realm=DOMAIN, uri=uri)
        visit.ask(request(method, 1, uri=uri, sender=own, target=own, headers=[f"Authorization: {value}"]))
        seen.append((visit.said, work.take()))
    assert seen[0] == seen[1]
    ((status,),) = [statuses(said) for said in seen[0][0]]
    assert status in (400, 401 if method == "REGISTER" else 407)
