"""Digest: the vectors of the RFCs, both sides against each other, and what is refused."""

from __future__ import annotations

import hashlib

import pytest

from callcontrol.sip.digest import (
    Challenge,
    answer,
    choose,
    ha1,
    make_challenge,
    parse_challenges,
    parse_credentials,
    response_digest,
)
from callcontrol.sip.errors import RemoteProtocolError

# RFC 7616 §3.9.1
REALM = "http-auth@example.org"
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
VECTORS = {
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}


@pytest.mark.parametrize("algorithm", VECTORS)
def test_vectors_of_rfc_7616(algorithm: str) -> None:
    secret = ha1(algorithm, "Mufasa", REALM, "Circle of Life")
    digest = response_digest(algorithm, secret, "GET", "/dir/index.html", NONCE, CNONCE, "00000001", "auth")
    assert digest == VECTORS[algorithm]


def test_vector_of_rfc_2617() -> None:
    secret = ha1("MD5", "Mufasa", "testrealm@host.com", "Circle Of Life")
    digest = response_digest(
        *("MD5", secret, "GET", "/dir/index.html", "dcd98b7102dd2f0e8b11d0f600bfb0c093"),
        *("0a4f113b", "00000001", "auth"),
    )
    assert digest == "6629fae49393a05397450978507c4ef1"


def test_vector_of_rfc_2069_as_corrected_by_its_erratum() -> None:
    secret = ha1("MD5", "Mufasa", "testrealm@host.com", "CircleOfLife")
    digest = response_digest("MD5", secret, "GET", "/dir/index.html", "dcd98b7102dd2f0e8b11d0f600bfb0c093")
    assert digest == "1949323746fe6a43ef61f9606e7febea"


@pytest.mark.parametrize(("algorithm", "name"), [("SHA-256-sess", "sha256"), ("MD5-sess", "md5")])
def test_session_variants_mix_the_nonces_into_the_secret(algorithm: str, name: str) -> None:
    def h(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    secret = ha1(algorithm, "alice", "r", "pw")
    assert secret == h("alice:r:pw")
    expected = h(f"{h(f'{secret}:n:c')}:n:00000002:c:auth:{h('INVITE:sip:b')}")
    assert response_digest(algorithm, secret, "INVITE", "sip:b", "n", "c", "00000002", "auth") == expected


def test_auth_int_covers_the_body() -> None:
    secret = ha1("MD5", "alice", "r", "pw")
    body = b"v=0\r\n\xff\xfe"

    def h(data: bytes) -> str:
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    a2 = h(f"INVITE:sip:b:{h(body)}".encode())
    expected = h(f"{secret}:n:00000001:c:auth-int:{a2}".encode())
    digest = response_digest("MD5", secret, "INVITE", "sip:b", "n", "c", "00000001", "auth-int", body)
    assert digest == expected


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5", "SHA-256-sess", "MD5-sess"])
@pytest.mark.parametrize("qop", ["auth", "auth,auth-int", "auth-int", ""])
def test_what_we_answer_is_what_we_check(algorithm: str, qop: str) -> None:
    challenge = choose(
        parse_challenges([make_challenge('re"alm', "n0nce", algorithm, opaque="op,aque", qop=qop)])
    )
    assert challenge is not None
    text = answer(challenge, "INVITE", "sip:bob@b", 'al"ice', "pässword", b"body", "c0", 17)
    got = parse_credentials(text)
    assert (got.username, got.realm, got.nonce, got.uri, got.opaque) == (
        *('al"ice', 're"alm', "n0nce", "sip:bob@b", "op,aque"),
    )
    assert got.algorithm == algorithm
    assert got.qop == {"auth": "auth", "auth,auth-int": "auth", "auth-int": "auth-int", "": ""}[qop]
    assert got.nc == ("00000011" if qop else "")
    secret = ha1(algorithm, 'al"ice', 're"alm', "pässword")
    expected = response_digest(
        algorithm, secret, "INVITE", got.uri, got.nonce, got.cnonce, got.nc, got.qop, b"body"
    )
    assert got.response == expected


def test_challenge_as_rfc_8760_shows_it() -> None:
    challenges = parse_challenges(
        [
            f'Digest realm="{REALM}", qop="auth, auth-int", algorithm=SHA-256, nonce="{NONCE}", opaque="{OPAQUE}"',
            f'Digest realm="{REALM}", qop="auth", algorithm=MD5, nonce="{NONCE}", opaque="{OPAQUE}"',
        ]
    )
    assert [(c.scheme, c.realm, c.algorithm, c.qop, c.nonce, c.opaque, c.stale) for c in challenges] == [
        ("digest", REALM, "SHA-256", ["auth", "auth-int"], NONCE, OPAQUE, False),
        ("digest", REALM, "MD5", ["auth"], NONCE, OPAQUE, False),
    ]


def test_several_challenges_on_one_line() -> None:
    text = 'Basic realm="b", Digest realm="a", nonce="1,2", DIGEST  realm="a",nonce="3",stale=TRUE,algorithm=sha-256,'
    challenges = parse_challenges([text])
    assert [(c.scheme, c.nonce, c.algorithm, c.stale) for c in challenges] == [
        ("basic", "", "", False),
        ("digest", "1,2", "MD5", False),
        ("digest", "3", "SHA-256", True),
    ]


def challenge(algorithm: str, qop: list[str]) -> Challenge:
    return Challenge("digest", "r", "n", algorithm, qop, None, False)


def test_choice_takes_the_stronger_algorithm_wherever_it_stands() -> None:
    md5, sha = challenge("MD5", ["auth"]), challenge("SHA-256", ["auth"])
    assert choose([md5, sha]) is sha
    assert choose([sha, md5]) is sha
    assert choose([md5]) is md5


def test_choice_leaves_what_it_cannot_answer() -> None:
    unknown, strange = challenge("SHA-512-256", ["auth"]), challenge("SHA-256", ["auth-future"])
    basic = parse_challenges(['Basic realm="x"'])
    assert choose([unknown, strange, *basic]) is None
    assert choose([]) is None
    md5 = challenge("MD5", [])
    assert choose([unknown, strange, md5]) is md5


def test_extended_user_name() -> None:
    text = 'Digest username*=UTF-8\'\'J%C3%A4s%C3%B8n%20Doe, realm="r", nonce="n", uri="sip:x", response="AB"'
    got = parse_credentials(text)
    assert (got.username, got.response, got.algorithm) == ("Jäsøn Doe", "ab", "MD5")


BAD_CREDENTIALS = [
    "",
    "Digest",
    "Digest username",
    'Digest username="a", realm="r", nonce="n", uri="sip:x"',
    'Digest username="", realm="r", nonce="n", uri="sip:x", response="1"',
    'Digest username="a", username="b", realm="r", nonce="n", uri="sip:x", response="1"',
    'Digest username="a", username*=UTF-8\'\'b, realm="r", nonce="n", uri="sip:x", response="1"',
    'Digest username*=latin1\'\'b, realm="r", nonce="n", uri="sip:x", response="1"',
    'Digest username*=b, realm="r", nonce="n", uri="sip:x", response="1"',
    'Digest username="a", nonce="n", uri="sip:x", response="1"',
    'Digest username="a", realm="r", nonce="n", uri="sip:x", response="1", qop=auth',
    'Digest username="a", realm="r", nonce="n", uri="sip:x", response="1", qop=auth, cnonce="c", nc=1',
    'Digest username="a", realm="r", nonce="n", uri="sip:x", response="1", qop=auth, cnonce="c", nc=0000000g',
    'Digest username="a", realm="r, nonce="n", uri="sip:x", response="1"',
    'Digest username="a" realm="r", nonce="n", uri="sip:x", response="1"',
    'Digest username="a", realm="r", nonce="n", uri="sip:x", response="1", Digest username="b"',
    "=",
]


@pytest.mark.parametrize("text", BAD_CREDENTIALS)
def test_malformed_credentials(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_credentials(text)
    assert caught.value.status == 400


def test_another_scheme_is_not_malformed() -> None:
    got = parse_credentials("Bearer eyJhbGciOi.J9==")
    assert (got.scheme, got.username) == ("bearer", "")


@pytest.mark.parametrize("text", ["Digest nonce=1", 'Digest realm="r"', 'Digest realm="r", nonce="n', "@"])
def test_malformed_challenges(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_challenges([text])


def test_challenge_is_written_with_what_it_needs() -> None:
    assert make_challenge("r", "n") == 'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"'
    assert make_challenge("r", "n", "MD5", True) == (
        'Digest realm="r", nonce="n", algorithm=MD5, qop="auth", stale=true'
    )
