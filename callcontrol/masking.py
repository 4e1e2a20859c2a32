"""Hiding what a log line or a message trace must not show: people's numbers, and secrets.

Two different duties.  *Numbers of people* are shortened at level info and above (``+3363998••••``), because a
log travels further than the database it describes; an operator who asks the API or the CLI sees them in full.
*Secrets* (passwords, digest answers, tokens) are removed at every level and from every ladder, for everyone.

Pure text functions; nothing here raises on odd input.
"""

from __future__ import annotations

import re

REMOVED = "[removed]"
_DOT = "•"

# An E.164 number with its plus sign (RFC 3966 global-number, without visual separators), or a national number
# as it is dialled.  A dot, letter or dash beside it makes it part of something else (an address, an id, a
# version).
_GLOBAL = re.compile(r"(?<![\w.+-])\+\d{6,15}(?![\w•])")
_NATIONAL = re.compile(r"(?<![\w.+:-])0\d{7,14}(?![\w.:•-])")
# The user part of a SIP URI (RFC 3261 section 25.1, userinfo up to the "@"), or the whole of a tel URI.
_SIP_USER = re.compile(r"(?i)\b(sips?:)([^@\s<>;,\"]+)@")
_TEL = re.compile(r"(?i)\b(tel:)(\+?[\d().-]{4,24})")

# Header lines that carry credentials or what helps to guess them (RFC 7616 section 3.4).
_CREDENTIAL_HEADER = re.compile(
    r"(?im)^(?P<name>(?:proxy-)?authorization|authentication-info|cookie)(?P<gap>[ \t]*:[ \t]*)[^\r\n]*"
    r"(?:\r?\n[ \t]+[^\r\n]*)*"
)
_CHALLENGE_NONCE = re.compile(r'(?i)\b(c?nonce|response|opaque)="[^"]*"')
_URL_PASSWORD = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+@")
_ASSIGNED = re.compile(
    r"(?i)\b(password|passwd|secret|token|api[_-]?key|authorization)(\"?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&}]+)"
)
_BEARER = re.compile(r"(?i)\b(bearer|digest|basic)\s+[A-Za-z0-9._~+/=-]{8,}")

# Push tokens wake a device, so they are credentials too (RFC 8599 section 4).
_PUSH = re.compile(r"(?i)\b(pn-prid|pn-param)=[^;>\s,\"]+")

# What an announcement says to its caller alone, a RIO for instance (RFC 4240 section 3.1).
_SPOKEN = re.compile(r"(?i);(param\d+)=[^;?>\s,\"]+")


def mask_number(number: str) -> str:
    """All but the last four digits: ``+33639980001`` becomes ``+3363998••••``; a short word keeps its
    first letter.
    """
    if len(number) <= 4:
        return number[:1] + _DOT * max(len(number) - 1, 0)
    return number[:-4] + _DOT * 4


def mask_user(user: str) -> str:
    """The user part of a SIP URI: a number keeps its head, a name its first letter; ``user:password``
    loses both.
    """
    name = user.partition(":")[0]
    digits = name.lstrip("+")
    if digits.isdigit() and len(digits) > 4:
        return mask_number(name)
    return name[:1] + _DOT * 3


def mask_numbers(text: str) -> str:
    """``text`` with people's numbers and the user parts of SIP and tel URIs shortened."""
    if "@" in text:
        text = _SIP_USER.sub(lambda found: f"{found[1]}{mask_user(found[2])}@", text)
    if "tel:" in text or "TEL:" in text:
        text = _TEL.sub(lambda found: found[1] + mask_number(found[2]), text)
    if "+" in text:
        text = _GLOBAL.sub(lambda found: mask_number(found[0]), text)
    return _NATIONAL.sub(lambda found: mask_number(found[0]), text) if "0" in text else text


def mask_secrets(text: str) -> str:
    """``text`` without passwords, tokens, digest answers and the values of credential headers."""
    if ":" in text or "=" in text:
        text = _CREDENTIAL_HEADER.sub(lambda found: f"{found['name']}{found['gap']}{REMOVED}", text)
        text = _CHALLENGE_NONCE.sub(lambda found: f'{found[1]}="{REMOVED}"', text)
        text = _URL_PASSWORD.sub(lambda found: f"{found[1]}{REMOVED}@", text)
        text = _PUSH.sub(lambda found: f"{found[1]}={REMOVED}", text)
        text = _SPOKEN.sub(lambda found: f";{found[1]}={REMOVED}", text)
        text = _ASSIGNED.sub(_assigned, text)
    return _BEARER.sub(lambda found: f"{found[1]} {REMOVED}", text)


def mask_message(text: str) -> str:
    """A SIP message as it may be shown in a ladder: whole, but without credentials, nonces and push
    tokens.
    """
    head, separator, body = text.partition("\r\n\r\n")
    head = _CREDENTIAL_HEADER.sub(lambda found: f"{found['name']}{found['gap']}{REMOVED}", head)
    head = _CHALLENGE_NONCE.sub(lambda found: f'{found[1]}="{REMOVED}"', head)
    head = _PUSH.sub(lambda found: f"{found[1]}={REMOVED}", head)
    head = _SPOKEN.sub(lambda found: f";{found[1]}={REMOVED}", head)
    # SDP may carry media keys (RFC 4568 a=crypto) and ICE passwords (RFC 8839); both decrypt or hijack a
    # call.
    body = re.sub(r"(?m)^(a=crypto:\d+ \S+ ).*$", rf"\1{REMOVED}", body)
    body = re.sub(r"(?m)^(a=ice-pwd:).*$", rf"\1{REMOVED}", body)
    return head + separator + body


def _assigned(found: re.Match[str]) -> str:
    if found[3] == REMOVED or found[3].startswith(REMOVED):
        return found[0]
    return f"{found[1]}{found[2]}{REMOVED}"
