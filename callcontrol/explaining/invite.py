"""The INVITE that somebody would send: facts are gathered from it as from a real one, and nobody gets it."""

from __future__ import annotations

from urllib.parse import quote

from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.message import Message, parse
from callcontrol.sip.uri import Uri, parse_uri
from dialplan.facts import CallerNumber

HOST = "explain.invalid"
"""Host of whoever is made up (RFC 2606): such a message is nobody's."""
_PLAIN = "+-_.!~*'()&=$,;?/"


class InviteError(ValueError):
    """What was dialled fits into no Request-URI."""


def request_uri(called: str, domain: str) -> Uri:
    """What is dialled, as a Request-URI.  Raises InviteError."""
    text = called.strip()
    scheme = text.partition(":")[0].lower()
    try:
        if scheme in ("sip", "sips", "tel", "urn"):
            return parse_uri(text)
        return parse_uri(f"sip:{quote(text, safe=_PLAIN)}@{domain}")
    except RemoteProtocolError:
        raise InviteError(f"{called!r} cannot be dialled") from None


def from_device(username: str, number: str, hidden: bool, uri: Uri, domain: str) -> Message:
    """The INVITE of a device: its user name in From, the number that the call is made with beside it."""
    lines = [f"From: <sip:{quote(username, safe=_PLAIN)}@{domain}>;tag=explained"]
    if number:
        lines.append(f"P-Preferred-Identity: <sip:{number}@{domain}>")
    if hidden:
        lines.append("Privacy: id")
    return _invite(uri, lines)


def from_trunk(caller: CallerNumber, uri: Uri) -> Message:
    """The INVITE of a carrier, which asserts who calls."""
    number = caller.e164 or caller.presented
    user = quote(number, safe=_PLAIN)
    lines = [
        "From: Anonymous <sip:anonymous@anonymous.invalid>;tag=explained"
        if caller.hidden
        else f"From: <sip:{user or 'unavailable'}@{HOST}>;tag=explained"
    ]
    if number:
        lines.append(f"P-Asserted-Identity: <sip:{user}@{HOST}>")
    if caller.hidden:
        lines.append("Privacy: id")
    return _invite(uri, lines)


def _invite(uri: Uri, lines: list[str]) -> Message:
    target = str(uri)
    text = "\r\n".join(
        [
            f"INVITE {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {HOST};branch=z9hG4bKexplained",
            *lines,
            f"To: <{target}>",
            f"Call-ID: explained@{HOST}",
            "CSeq: 1 INVITE",
            "Max-Forwards: 70",
            f"Contact: <sip:caller@{HOST}>",
            "Content-Length: 0",
            "",
            "",
        ]
    )
    try:
        return parse(text.encode())
    except RemoteProtocolError as error:
        raise InviteError(f"{target!r} cannot be dialled: {error}") from None
