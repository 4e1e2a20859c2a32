"""Digest server (RFC 7616, RFC 8760): order of challenges, nonces, replays, and what strangers learn."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.auth import (
    ALGORITHM,
    AUTH_INT,
    BAD,
    MALFORMED,
    NONE,
    OK,
    QOP,
    REPLAY,
    STALE,
    URI,
    DeviceSecrets,
    DigestPolicy,
    DigestServer,
    Ha1Table,
    Verdict,
)
from callcontrol.sip import digest
from callcontrol.sip.message import parse
from tests.callcontrol.register_kit import DOMAIN, NOW, SECRET, Phone, directory

HOST = "192.0.2.10"


def server(**policy: object) -> DigestServer:
    return DigestServer(DOMAIN, SECRET, DigestPolicy(**policy))  # type: ignore[arg-type]


def check(
    auth: DigestServer, phone: Phone, authorization: str, *, now: float = NOW, source: str = HOST
) -> Verdict:
    request = phone.request(authorization=authorization)
    return auth.check(request, "REGISTER", now, DeviceSecrets(directory(), DOMAIN), source=source)


def challenged(auth: DigestServer, phone: Phone, *, now: float = NOW, source: str = HOST) -> Phone:
    """The phone after it has been challenged."""
    verdict = check(auth, phone, "", now=now, source=source)
    assert verdict.reason == NONE
    raw = auth.refuse(phone.request(), verdict, now, source=source, transport="udp")
    assert phone.take(parse(raw))
    return phone


@pytest.mark.parametrize(
    ("transport", "offered"),
    [
        ("udp", ["SHA-256", "MD5"]),
        ("tcp", ["SHA-256", "MD5"]),
        ("tls", ["SHA-256", "MD5"]),
        ("ws", ["MD5"]),
        ("wss", ["MD5"]),
    ],
)
def test_challenges_are_those_that_clients_of_the_transport_can_answer(
    transport: str, offered: list[str]
) -> None:
    lines = server().challenge(NOW, source=HOST, transport=transport)
    challenges = digest.parse_challenges([value for _, value in lines])
    assert [challenge.algorithm for challenge in challenges] == offered
    assert {challenge.qop[0] for challenge in challenges} == {"auth"}
    assert len({challenge.nonce for challenge in challenges}) == 1


@pytest.mark.parametrize(("method", "status", "header"), [("REGISTER", 401, "www"), ("INVITE", 407, "proxy")])
def test_register_is_challenged_as_by_a_registrar_and_others_as_by_a_proxy(
    method: str, status: int, header: str
) -> None:
    auth = server()
    request = Phone().request(method=method)
    response = parse(auth.refuse(request, Verdict(NONE), NOW, source=HOST, transport="udp"))
    assert response.status == status
    assert len(response.all(f"{header}-authenticate")) == 2
    assert response.to_tag


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_the_right_password_is_accepted_with_either_algorithm(algorithm: str) -> None:
    auth = server()
    phone = Phone()
    phone.algorithm = algorithm
    verdict = check(auth, challenged(auth, phone), phone.authorize())
    assert verdict.ok
    assert verdict.username == "ana-phone"
    assert verdict.proven
    assert auth.counters[OK] == 1


def test_proxy_authorization_counts_as_well() -> None:
    auth = server()
    phone = challenged(auth, Phone())
    request = phone.request(headers=[("Proxy-Authorization", phone.authorize())])
    assert auth.check(request, "REGISTER", NOW, DeviceSecrets(directory(), DOMAIN), source=HOST).ok


def test_an_old_header_beside_a_good_one_does_no_harm() -> None:
    auth = server()
    phone = challenged(auth, Phone())
    old = phone.authorize()
    assert check(auth, phone, old).ok
    phone = challenged(auth, phone)
    request = phone.request(headers=[("Authorization", old), ("Authorization", phone.authorize())])
    assert auth.check(request, "REGISTER", NOW, DeviceSecrets(directory(), DOMAIN), source=HOST).ok


def test_credentials_for_another_realm_are_not_ours_to_judge() -> None:
    auth = server()
    phone = challenged(auth, Phone())
    other = phone.authorize().replace(f'realm="{DOMAIN}"', 'realm="elsewhere.example"')
    assert check(auth, phone, other).reason == NONE
    assert check(auth, phone, "Basic YW5hOnB3").reason == NONE


@pytest.mark.rule("OPS-05")
def test_unknown_user_and_wrong_password_get_the_same_answer() -> None:
    auth = server()
    answers = []
    for phone in (Phone(password="wrong"), Phone("nobody", password="wrong")):
        challenged(auth, phone)
        phone.call_id = "same"
        request = phone.request(cseq=7, authorization=phone.authorize())
        verdict = auth.check(request, "REGISTER", NOW, DeviceSecrets(directory(), DOMAIN), source=HOST)
        assert verdict.reason == BAD
        raw = auth.refuse(request, verdict, NOW, source=HOST, transport="udp").decode()
        response = parse(raw.encode())
        nonce = digest.parse_challenges(response.all("www-authenticate"))[0].nonce
        answers.append(raw.replace(nonce, "NONCE").replace(phone.username, "USER"))
    assert answers[0] == answers[1]
    assert "stale" not in answers[0]


@pytest.mark.rule("OPS-05")
def test_a_stranger_costs_the_same_hashes_as_a_subscriber(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = server()
    counts = []
    for phone in (Phone(password="wrong"), Phone("nobody")):
        challenged(auth, phone)
        authorization = phone.authorize()
        hashed: list[bytes] = []

        def counted(data: bytes, real: object = hashlib.sha256, hashed: list[bytes] = hashed) -> object:
            hashed.append(data)
            return real(data)  # type: ignore[operator]

        with monkeypatch.context() as patch:
            patch.setattr(hashlib, "sha256", counted)
            assert check(auth, phone, authorization).reason == BAD
        assert any(data.startswith(phone.username.encode()) for data in hashed)
        counts.append(len(hashed))
    assert counts[0] == counts[1]


def test_a_device_without_a_password_does_not_exist_for_the_digest() -> None:
    auth = server()
    phone = challenged(auth, Phone("ana-phone", password=""))
    assert check(auth, phone, phone.authorize()).reason == BAD


@pytest.mark.parametrize("age", [300.5, 86400.0])
def test_an_expired_nonce_is_stale_and_the_next_one_works(age: float) -> None:
    auth = server(nonce_s=300.0)
    phone = challenged(auth, Phone())
    verdict = check(auth, phone, phone.authorize(), now=NOW + age)
    assert (verdict.reason, verdict.stale) == (STALE, True)
    raw = auth.refuse(phone.request(), verdict, NOW + age, source=HOST, transport="udp")
    assert all(c.stale for c in digest.parse_challenges(parse(raw).all("www-authenticate")))
    phone.take(parse(raw))
    assert check(auth, phone, phone.authorize(), now=NOW + age).ok


@pytest.mark.rule("OPS-05")
def test_stale_is_never_said_to_one_who_does_not_know_the_password() -> None:
    auth = server()
    phone = challenged(auth, Phone(password="guess"))
    verdict = check(auth, phone, phone.authorize(), now=NOW + 9999)
    assert (verdict.reason, verdict.stale, verdict.proven) == (BAD, False, False)


def test_a_nonce_of_our_own_making_only() -> None:
    auth = server()
    phone = challenged(auth, Phone())
    good = phone.nonce
    for forged in (
        "",
        "x",
        good[:-1],
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.upper(),
        "é" * len(good),
    ):
        phone.nonce = forged or "-"
        assert check(auth, phone, phone.authorize()).reason == STALE
    other = DigestServer(DOMAIN, b"another secret!!")
    phone.nonce = good
    assert check(other, phone, phone.authorize()).reason == STALE


@pytest.mark.rule("OPS-05")
def test_a_nonce_proves_the_address_that_asked_for_it_and_no_other() -> None:
    auth = server()
    phone = challenged(auth, Phone(), source="192.0.2.10")
    assert check(auth, phone, phone.authorize(), source="203.0.113.9").reason == STALE
    guesser = challenged(auth, Phone(password="guess"), source="198.51.100.66")
    assert check(auth, guesser, guesser.authorize(), source="198.51.100.66").proven
    forged = check(auth, guesser, guesser.authorize(), source="192.0.2.10")
    assert (forged.reason, forged.proven) == (BAD, False)


def test_ipv6_privacy_addresses_of_one_line_share_a_nonce() -> None:
    auth = server()
    phone = challenged(auth, Phone(), source="2001:db8:1:2::1")
    assert check(auth, phone, phone.authorize(), source="2001:db8:1:2:aaaa::9").ok


def test_a_count_used_twice_is_a_replay_and_asked_again_as_stale() -> None:
    auth = server()
    phone = challenged(auth, Phone())
    credentials = phone.authorize()
    assert check(auth, phone, credentials).ok
    verdict = check(auth, phone, credentials)
    assert (verdict.reason, verdict.stale, verdict.ok) == (REPLAY, True, False)
    assert check(auth, phone, phone.authorize()).ok, "the next count still works"


def test_counts_may_arrive_out_of_order_within_the_window() -> None:
    auth = server()
    phone = challenged(auth, Phone())
    values = [phone.authorize() for _ in range(100)]
    assert check(auth, phone, values[99]).ok
    assert check(auth, phone, values[98]).ok
    assert check(auth, phone, values[36]).ok
    assert check(auth, phone, values[35]).reason == REPLAY, (
        "64 behind: cannot be remembered, so it is refused"
    )
    assert check(auth, phone, values[98]).reason == REPLAY


@given(st.lists(st.integers(0, 200), max_size=60))
def test_no_count_is_ever_accepted_twice(counts: list[int]) -> None:
    auth = server()
    phone = challenged(auth, Phone())
    accepted: list[int] = []
    for count in counts:
        phone.nc = count - 1
        if check(auth, phone, phone.authorize()).ok:
            accepted.append(count)
    assert len(accepted) == len(set(accepted))
    fresh_maxima = [c for i, c in enumerate(counts) if all(c > other for other in counts[:i])]
    assert set(fresh_maxima) <= set(accepted), "a count above all before is never refused"


def test_when_memory_is_full_forgotten_nonces_are_refused_not_trusted() -> None:
    auth = server(max_nonces=10)
    first = challenged(auth, Phone())
    used = first.authorize()
    assert check(auth, first, used).ok
    for number in range(1, 50):
        phone = challenged(auth, Phone("ana-desk"), now=NOW + number / 100)
        assert check(auth, phone, phone.authorize(), now=NOW + number / 100).ok
    assert len(auth._uses) <= 10
    verdict = check(auth, first, used, now=NOW + 1)
    assert (verdict.reason, verdict.stale) == (STALE, True)
    challenged(auth, first, now=NOW + 1)
    assert check(auth, first, first.authorize(), now=NOW + 1).ok


def test_expired_nonces_leave_memory() -> None:
    auth = server(nonce_s=300.0)
    phone = challenged(auth, Phone())
    assert check(auth, phone, phone.authorize()).ok
    other = challenged(auth, Phone("ana-desk"), now=NOW + 400)
    assert check(auth, other, other.authorize(), now=NOW + 400).ok
    assert len(auth._uses) == 1


def test_a_clock_set_back_neither_revives_old_nonces_nor_refuses_new_ones() -> None:
    auth = server(nonce_s=300.0, max_nonces=4)
    phone = challenged(auth, Phone())
    used = phone.authorize()
    assert check(auth, phone, used).ok
    for number in range(20):
        later = NOW + 4000 if number == 0 else NOW + 1 + number / 1000
        other = challenged(auth, Phone("ana-desk"), now=later)
        credentials = other.authorize()
        assert check(auth, other, credentials, now=later).ok, number
        assert check(auth, other, credentials, now=later).reason == REPLAY
    assert check(auth, phone, used, now=NOW + 2).reason == STALE


def test_after_a_restart_nonces_from_before_are_stale_for_their_uses_are_forgotten() -> None:
    first = server()
    phone = challenged(first, Phone())
    used = phone.authorize()
    assert check(first, phone, used).ok
    restarted = server()
    assert check(restarted, phone, used, now=NOW + 1).reason == STALE
    challenged(restarted, phone, now=NOW + 1)
    assert check(restarted, phone, phone.authorize(), now=NOW + 1).ok


@pytest.mark.rule("OPS-05")
def test_strangers_take_no_memory() -> None:
    auth = server()
    for number in range(200):
        phone = challenged(auth, Phone(f"user{number}", password="x"))
        assert check(auth, phone, phone.authorize()).reason == BAD
    assert len(auth._uses) == 0


def test_without_qop_a_nonce_serves_once() -> None:
    auth = server()
    phone = challenged(auth, Phone())
    credentials = phone.authorize(qop="")
    assert "qop" not in credentials
    assert check(auth, phone, credentials).ok
    assert check(auth, phone, credentials).reason == REPLAY
    assert check(auth, phone, phone.authorize()).reason == REPLAY, "nor with a count afterwards"


def test_without_qop_can_be_switched_off() -> None:
    auth = server(allow_without_qop=False)
    phone = challenged(auth, Phone())
    assert check(auth, phone, phone.authorize(qop="")).reason == QOP


def test_auth_int_is_refused_in_so_many_words() -> None:
    auth = server()
    phone = challenged(auth, Phone())
    verdict = check(auth, phone, phone.authorize(qop="auth-int"))
    assert verdict.reason == AUTH_INT
    response = parse(auth.refuse(phone.request(), verdict, NOW, source=HOST, transport="udp"))
    assert response.status == 400
    assert "auth-int" in (response.get("warning") or "")


@pytest.mark.parametrize("algorithm", ["MD5-sess", "SHA-256-sess", "SHA-512-256"])
def test_an_algorithm_that_was_not_offered_is_not_accepted(algorithm: str) -> None:
    auth = server()
    phone = challenged(auth, Phone())
    credentials = phone.authorize().replace("algorithm=SHA-256", f"algorithm={algorithm}")
    assert check(auth, phone, credentials).reason == ALGORITHM


def test_an_algorithm_switched_off_is_neither_offered_nor_accepted() -> None:
    auth = server(algorithms=("SHA-256",))
    phone = Phone()
    challenged(auth, phone)
    phone.algorithm = "MD5"
    assert check(auth, phone, phone.authorize()).reason == ALGORITHM
    assert len(auth.challenge(NOW)) == 1


def test_stored_hashes_serve_instead_of_passwords() -> None:
    auth = server()
    table = Ha1Table({"MD5": digest.ha1("MD5", "ana-phone", DOMAIN, "pw-ana-phone")})
    for algorithm, reason in (("MD5", OK), ("SHA-256", BAD)):
        phone = Phone()
        phone.algorithm = algorithm
        challenged(auth, phone)
        request = phone.request(authorization=phone.authorize())
        assert auth.check(request, "REGISTER", NOW, lambda _: table, source=HOST).reason == reason


URIS = [
    (f"sip:{DOMAIN}", "sip:CLOUDLINE.example", True, True),
    (f"sip:{DOMAIN}", f"sip:{DOMAIN};transport=tcp", False, True),
    (f"sip:{DOMAIN}", f"sip:{DOMAIN}:5060", False, True),
    (f"sip:{DOMAIN}", "sip:198.51.100.1", False, True),
    (f"sip:{DOMAIN}", "sips:cloudline.example", False, True),
    (f"sip:{DOMAIN}", "sip:elsewhere.example", False, False),
    (f"sip:{DOMAIN}", f"sip:ana@{DOMAIN}", False, False),
    (f"sip:{DOMAIN}", "nonsense", False, False),
    (f"sip:+33639981001@{DOMAIN}", "sip:198.51.100.1:5060", False, True),
    (f"sip:+33639981001@{DOMAIN}", f"sip:+33639981002@{DOMAIN}", False, False),
]


@pytest.mark.parametrize(("actual", "claimed", "strict", "lenient"), URIS)
def test_the_digest_uri_must_fit_the_request_as_closely_as_set(
    actual: str, claimed: str, strict: bool, lenient: bool
) -> None:
    for mode, fits in (
        ("strict", strict),
        ("lenient", lenient),
        ("off", True),
    ):
        auth = server(uri_check=mode)
        phone = challenged(auth, Phone())
        phone.uri = actual
        verdict = check(auth, phone, phone.authorize(uri=claimed))
        assert verdict.reason == (OK if fits else URI), mode
        if not fits:
            assert (
                parse(auth.refuse(phone.request(), verdict, NOW, source=HOST, transport="udp")).status == 400
            )


def test_the_method_is_part_of_the_digest() -> None:
    auth = server()
    phone = challenged(auth, Phone())
    assert check(auth, phone, phone.authorize(method="INVITE")).reason == BAD


@pytest.mark.parametrize("value", ["Digest", "Digest username", 'Digest username="a', "Digest ,,,", "\x01"])
def test_malformed_credentials_are_named(value: str) -> None:
    assert check(server(), Phone(), value).reason == MALFORMED


def test_no_more_than_four_headers_are_looked_at() -> None:
    auth = server()
    phone = challenged(auth, Phone())
    wrong = Phone(password="x")
    wrong.nonce = phone.nonce
    headers = [("Authorization", wrong.authorize()) for _ in range(4)]
    request = phone.request(headers=[*headers, ("Authorization", phone.authorize())])
    assert auth.check(request, "REGISTER", NOW, DeviceSecrets(directory(), DOMAIN), source=HOST).reason == BAD


def test_nonces_differ_even_within_one_instant() -> None:
    auth = server()
    nonces = {digest.parse_challenges([auth.challenge(NOW)[0][1]])[0].nonce for _ in range(1000)}
    assert len(nonces) == 1000


def test_the_to_tag_is_the_same_for_the_same_request_and_needs_the_secret() -> None:
    request = Phone().request()
    auth = server()
    assert auth.tag(request) == auth.tag(request)
    assert auth.tag(request) != DigestServer(DOMAIN, b"another secret!!").tag(request)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        DigestServer(DOMAIN, b"short")


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_stands_in_the_header_gives_a_verdict(head: str, tail: str) -> None:
    auth = server()
    text = "".join(c for c in f"{head}Digest username={tail}" if c not in "\r\n\0")
    phone = Phone()
    request = phone.request()
    request.headers.append(("authorization", text, f"Authorization: {text}"))
    request._first["authorization"] = text
    verdict = auth.check(request, "REGISTER", NOW, DeviceSecrets(directory(), DOMAIN), source=HOST)
    assert not verdict.ok


@pytest.mark.parametrize("agent", ["SIPp", "baresip v1.0.0 (x86_64/linux)"])
def test_agents_that_stop_at_an_unknown_algorithm_are_offered_md5_alone(agent: str) -> None:
    lines = server().challenge(NOW, source=HOST, agent=agent)
    assert [algorithm_of(value) for _, value in lines] == ["MD5"]


def test_others_are_offered_the_stronger_algorithm_first() -> None:
    lines = server().challenge(NOW, source=HOST, agent="baresip v3.10.1")
    assert [algorithm_of(value) for _, value in lines] == ["SHA-256", "MD5"]


def algorithm_of(challenge: str) -> str:
    return challenge.partition("algorithm=")[2].partition(",")[0]
