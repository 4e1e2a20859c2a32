"""Digest authentication, both sides (RFC 7616, RFC 8760, RFC 3261 §22.4).

Algorithms SHA-256 and MD5, each also as -sess; quality of protection "auth", "auth-int" and none (RFC 2069,
which old devices still speak). Left out: SHA-512-256 and userhash, which no SIP device is known to ask for,
and Authentication-Info. Nonces, counts and secrets are the caller's business.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from callcontrol.sip import grammar
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import MAX_PARAMS, quote, unquote
from callcontrol.sip.uri import unescape

ALGORITHMS: Final[dict[str, str]] = {
    "sha-256": "SHA-256",
    "sha-256-sess": "SHA-256-sess",
    "md5": "MD5",
    "md5-sess": "MD5-sess",
}
"""Lower case to the usual spelling, the ones we can compute; strongest first."""

_PREFERENCE: Final = ("SHA-256", "SHA-256-sess", "MD5", "MD5-sess")
# auth-param = token EQUAL ( token / quoted-string ); some devices leave odd characters unquoted
_AUTH_PARAM: Final = re.compile(
    rf'[ \t,]*+([{grammar.TOKEN_CHARS}]++)[ \t]*+=[ \t]*+("(?:[^"\\]|\\.)*"|[^ \t,"]*+)[ \t]*+(?=,|$)',
    re.DOTALL,
)
_SCHEME: Final = re.compile(rf"[ \t,]*+([{grammar.TOKEN_CHARS}]++)(?:[ \t]++|$)")
_NC: Final = re.compile(r"[0-9A-Fa-f]{8}")


class Challenge:
    """One challenge of a WWW-Authenticate or Proxy-Authenticate header (RFC 7616 §3.3).

    ``scheme`` lower case; ``algorithm`` in the usual spelling, as written when we do not know it; ``qop`` the
    offered values in lower case, empty for the legacy form.
    """

    __slots__ = ("algorithm", "nonce", "opaque", "qop", "realm", "scheme", "stale")

    def __init__(
        self,
        scheme: str,
        realm: str,
        nonce: str,
        algorithm: str,
        qop: list[str],
        opaque: str | None,
        stale: bool,
    ) -> None:
        self.scheme: str = scheme
        self.realm: str = realm
        self.nonce: str = nonce
        self.algorithm: str = algorithm
        self.qop: list[str] = qop
        self.opaque: str | None = opaque
        self.stale: bool = stale


class Credentials:
    """What an Authorization or Proxy-Authorization header claims (RFC 7616 §3.4).

    ``scheme`` lower case; for another than "digest" only that is filled in. ``nc`` the eight hex digits or
    ""; ``algorithm`` in the usual spelling, MD5 when absent; ``qop`` lower case, "" for the legacy form;
    ``response`` lower case.
    """

    __slots__ = (
        "algorithm",
        "cnonce",
        "nc",
        "nonce",
        "opaque",
        "qop",
        "realm",
        "response",
        "scheme",
        "uri",
        "username",
    )

    def __init__(self, scheme: str) -> None:
        self.scheme: str = scheme
        self.username: str = ""
        self.realm: str = ""
        self.nonce: str = ""
        self.uri: str = ""
        self.response: str = ""
        self.algorithm: str = "MD5"
        self.cnonce: str = ""
        self.nc: str = ""
        self.qop: str = ""
        self.opaque: str = ""


def parse_challenges(values: list[str]) -> list[Challenge]:
    """The challenges of all WWW-Authenticate (or Proxy-Authenticate) lines of a response, in order.

    Several may share a line. RemoteProtocolError(400) when one is malformed.
    """
    out: list[Challenge] = []
    for value in values:
        index = 0
        while index < len(value):
            scheme, params, index = _parse_one(value, index)
            if scheme != "digest":
                out.append(Challenge(scheme, params.get("realm", ""), "", "", [], None, False))
                continue
            if "nonce" not in params or "realm" not in params:
                raise RemoteProtocolError(400, "challenge without realm or nonce")
            out.append(
                Challenge(
                    scheme,
                    params["realm"],
                    params["nonce"],
                    _algorithm(params.get("algorithm", "MD5")),
                    [option.strip().lower() for option in params.get("qop", "").split(",") if option.strip()],
                    params.get("opaque"),
                    params.get("stale", "").lower() == "true",
                )
            )
    return out


def parse_credentials(value: str) -> Credentials:
    """Read one Authorization or Proxy-Authorization value; RemoteProtocolError(400) when it is malformed.

    An unknown scheme is no error: see ``scheme`` (RFC 4475 §3.3.7). An unknown algorithm keeps its spelling.
    """
    scheme = "digest"
    params = _read_usual(value)
    if params is None:
        scheme_match = _SCHEME.match(value)
        if scheme_match is not None and scheme_match.group(1).lower() != "digest":
            return Credentials(scheme_match.group(1).lower())
        scheme, params, index = _parse_one(value, 0)
        if index < len(value):
            raise RemoteProtocolError(400, "malformed credentials")
    out = Credentials(scheme)
    out.username = _username(params)
    out.realm = params.get("realm", "")
    out.nonce = params.get("nonce", "")
    out.uri = params.get("uri", "")
    out.response = params.get("response", "").lower()
    out.algorithm = _algorithm(params.get("algorithm", "MD5"))
    out.cnonce = params.get("cnonce", "")
    out.nc = params.get("nc", "")
    out.qop = params.get("qop", "").lower()
    out.opaque = params.get("opaque", "")
    if not out.username or not out.nonce or not out.uri or not out.response or "realm" not in params:
        raise RemoteProtocolError(400, "credentials without username, realm, nonce, uri or response")
    if out.qop and (not out.cnonce or _NC.fullmatch(out.nc) is None):
        raise RemoteProtocolError(400, "credentials with qop but without cnonce or nc")
    return out


def _username(params: dict[str, str]) -> str:
    """``username``, or ``username*`` in the form of RFC 5987: UTF-8''percent-encoded (RFC 7616 §3.4)."""
    extended = params.get("username*")
    if extended is None:
        return params.get("username", "")
    charset, _, rest = extended.partition("'")
    _, quote_mark, text = rest.partition("'")
    if "username" in params or not quote_mark or charset.lower() != "utf-8":
        raise RemoteProtocolError(400, "malformed username*")
    return unescape(text)


def _algorithm(text: str) -> str:
    return ALGORITHMS.get(text.lower(), text)


def _read_usual(value: str) -> dict[str, str] | None:
    """The parameters of digest credentials as nearly all phones write them, ``name="value"`` or ``name=word`` with commas
    between; None for every other spelling, which costs the expressions of `_parse_one`."""
    if not value.startswith("Digest ") or not value.isascii():
        return None
    params: dict[str, str] = {}
    size = len(value)
    index = 7
    while True:
        equals = value.find("=", index)
        name = value[index:equals].lower()
        if equals < 0 or not name.isalpha() or name in params or len(params) == MAX_PARAMS:
            return None
        index = equals + 1
        if value[index : index + 1] == '"':
            close = value.find('"', index + 1)
            text = value[index + 1 : close]
            if close < 0 or "\\" in text:
                return None
            index = close + 1
        else:
            comma = value.find(",", index)
            close = size if comma < 0 else comma
            text = value[index:close]
            if not text.replace("-", "").isalnum():
                return None
            index = close
        params[name] = text
        if index == size:
            return params
        if value[index] != ",":
            return None
        index += 2 if value[index + 1 : index + 2] == " " else 1


def _parse_one(value: str, index: int) -> tuple[str, dict[str, str], int]:
    """Scheme, parameters (names in lower case, values unquoted), and where the next challenge begins."""
    match = _SCHEME.match(value, index)
    if match is None:
        raise RemoteProtocolError(400, "malformed authentication header")
    scheme = match.group(1).lower()
    index = match.end()
    params: dict[str, str] = {}
    while index < len(value):
        match = _AUTH_PARAM.match(value, index)
        if match is None:
            if params and value[index] == "," and _SCHEME.match(value, index) is not None:
                return scheme, params, index
            if not value[index:].strip(" \t,"):
                return scheme, params, len(value)
            raise RemoteProtocolError(400, "malformed authentication parameter")
        name = match.group(1).lower()
        if name in params:
            raise RemoteProtocolError(400, f"authentication parameter {name} given twice")
        if len(params) == MAX_PARAMS:
            raise RemoteProtocolError(400, "too many authentication parameters")
        params[name] = unquote(match.group(2))
        index = match.end()
    return scheme, params, index


def _hash(algorithm: str, text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    if algorithm.startswith("SHA-256"):
        return hashlib.sha256(data).hexdigest()
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """H(username:realm:password) in hex: what may be stored instead of the password (RFC 7616 §3.4.2).

    The -sess variants share the value of their plain algorithm; `response_digest` makes the session part.
    """
    return _hash(algorithm, f"{username}:{realm}:{password}")


def response_digest(
    algorithm: str,
    ha1_hex: str,
    method: str,
    uri: str,
    nonce: str,
    cnonce: str = "",
    nc: str = "",
    qop: str = "",
    body: bytes = b"",
) -> str:
    """The ``response`` value in hex (RFC 7616 §3.4.1); without ``qop`` the form of RFC 2069.

    ``uri`` is the text of the digest-uri, ``nc`` eight hex digits. ``body`` matters for "auth-int" only.
    """
    if algorithm.endswith("-sess"):
        ha1_hex = _hash(algorithm, f"{ha1_hex}:{nonce}:{cnonce}")
    a2 = f"{method}:{uri}"
    if qop == "auth-int":
        a2 += ":" + _hash(algorithm, body.decode("utf-8", "surrogateescape"))
    ha2 = _hash(algorithm, a2)
    if not qop:
        return _hash(algorithm, f"{ha1_hex}:{nonce}:{ha2}")
    return _hash(algorithm, f"{ha1_hex}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}")


def choose(challenges: list[Challenge]) -> Challenge | None:
    """The challenge we answer: SHA-256 before MD5, then the first received; None when we can answer none."""
    for algorithm in _PREFERENCE:
        for challenge in challenges:
            if (
                challenge.scheme == "digest"
                and challenge.algorithm == algorithm
                and _qop(challenge) is not None
            ):
                return challenge
    return None


def _qop(challenge: Challenge) -> str | None:
    """The quality of protection we take: "auth" before "auth-int", "" for legacy, None when nothing fits."""
    if not challenge.qop:
        return ""
    if "auth" in challenge.qop:
        return "auth"
    return "auth-int" if "auth-int" in challenge.qop else None


def answer(
    challenge: Challenge,
    method: str,
    uri: str,
    username: str,
    password: str,
    body: bytes = b"",
    cnonce: str = "",
    nc: int = 1,
) -> str:
    """The value of Authorization (or Proxy-Authorization) for a challenge that `choose` gave (RFC 7616 §3.4).

    ``cnonce`` must be given unless the challenge is of the legacy form; ``nc`` counts the uses of this
    nonce from 1.
    """
    qop = _qop(challenge) or ""
    count = f"{nc:08x}"
    secret = ha1(challenge.algorithm, username, challenge.realm, password)
    digest = response_digest(
        challenge.algorithm, secret, method, uri, challenge.nonce, cnonce, count, qop, body
    )
    text = (
        f"Digest username={quote(username)}, realm={quote(challenge.realm)}, nonce={quote(challenge.nonce)}, "
        f'uri={quote(uri)}, response="{digest}", algorithm={challenge.algorithm}'
    )
    if challenge.opaque is not None:
        text += f", opaque={quote(challenge.opaque)}"
    if qop:
        text += f", qop={qop}, nc={count}"
    if qop or challenge.algorithm.endswith("-sess"):
        text += f", cnonce={quote(cnonce)}"
    return text


def make_challenge(
    realm: str,
    nonce: str,
    algorithm: str = "SHA-256",
    stale: bool = False,
    opaque: str = "",
    qop: str = "auth",
) -> str:
    """The value of a WWW-Authenticate or Proxy-Authenticate header (RFC 7616 §3.3)."""
    text = f"Digest realm={quote(realm)}, nonce={quote(nonce)}, algorithm={algorithm}"
    if qop:
        text += f', qop="{qop}"'
    if opaque:
        text += f", opaque={quote(opaque)}"
    return f"{text}, stale=true" if stale else text
