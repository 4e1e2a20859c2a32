"""Answering a digest challenge in a dialog of ours (RFC 3261 §22, RFC 8760): one header line from a 401 or 407."""

from __future__ import annotations

from . import digest
from .errors import RemoteProtocolError
from .message import Message


class Login:
    """Credentials that we use towards a peer (a carrier's trunk); never stored with the call, never logged."""

    __slots__ = ("password", "username")

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self.password = password


def authorize(
    response: Message, login: Login, method: str, uri: str, cnonce: str, second: bool, body: bytes
) -> str:
    """The Authorization or Proxy-Authorization line, or empty when the challenge cannot be read or answered.

    A second challenge is answered only if it says that the nonce was stale: the same password would fail again.
    ``body`` counts for ``auth-int``.
    """
    proxy = response.status == 407
    try:
        found = digest.parse_challenges(response.all("proxy-authenticate" if proxy else "www-authenticate"))
    except RemoteProtocolError:
        return ""
    challenge = digest.choose(found)
    if challenge is None or (second and not challenge.stale):
        return ""
    value = digest.answer(challenge, method, uri, login.username, login.password, body, cnonce, 1)
    return f"{'Proxy-Authorization' if proxy else 'Authorization'}: {value}"
