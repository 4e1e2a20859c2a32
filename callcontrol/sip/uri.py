"""SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), and other schemes kept whole.

The user part is held unescaped, because it is compared and looked up; parameters and headers are held as
written. Where a URI must cross unchanged, carry its text, not a `Uri` printed again.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from callcontrol.sip import grammar
from callcontrol.sip.errors import RemoteProtocolError

# user = 1*( unreserved / escaped / user-unreserved ), with our allowance (see `grammar`).
_USER_SAFE: Final = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]++")
_HEX: Final = "0123456789abcdefABCDEF"
_ESCAPES: Final[dict[bytes, bytes]] = {
    (high + low).encode(): bytes((int(high + low, 16),)) for high in _HEX for low in _HEX
}
_MAX_PARAMS: Final = 100
_USUAL_SCHEMES: Final = frozenset(("sip", "sips", "tel"))
_BAD_CHARS: Final = re.compile(r'[\x00-\x20<>"\x7f]')
# RFC 3966 §3: visual-separator = "-" / "." / "(" / ")"
_VISUAL_SEPARATORS: Final = re.compile(r"[\-.()]")
_TEL_SUBSCRIBER: Final = re.compile(r"\+?[0-9A-Fa-f*#\-.()]++")
# RFC 3261 §19.1.4: these match only when both URIs have them, or neither.
_MATCHED_PARAMS: Final = ("transport", "user", "ttl", "method", "maddr", "lr")


class Uri:
    """One URI, taken apart.

    ``scheme`` lower case; ``user`` unescaped, "" when absent; ``password`` as written or None; ``host``
    lower case and without brackets; ``port`` or None; ``params`` names in lower case to the value as
    written (None: a flag); ``headers`` the text after "?", as written; ``rest`` everything after the colon
    for a scheme we do not take apart. A tel URI has its number in ``user`` and no host.
    """

    __slots__ = ("headers", "host", "params", "password", "port", "rest", "scheme", "user")

    def __init__(
        self,
        scheme: str,
        user: str = "",
        host: str = "",
        port: int | None = None,
        params: dict[str, str | None] | None = None,
        headers: str = "",
        password: str | None = None,
        rest: str = "",
    ) -> None:
        self.scheme: str = scheme
        self.user: str = user
        self.host: str = host
        self.port: int | None = port
        self.params: dict[str, str | None] = {} if params is None else params
        self.headers: str = headers
        self.password: str | None = password
        self.rest: str = rest

    @property
    def host_bracketed(self) -> str:
        """The host as it stands in a URI or Via: an IPv6 address in brackets (RFC 3261 §25.1)."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def is_sip(self) -> bool:
        """True for sip and sips."""
        return self.scheme == "sip" or self.scheme == "sips"

    @property
    def hostport(self) -> str:
        """``host`` or ``host:port`` as written in a URI."""
        return self.host_bracketed if self.port is None else f"{self.host_bracketed}:{self.port}"

    def __str__(self) -> str:
        if self.rest:
            return f"{self.scheme}:{self.rest}"
        text = self.scheme + ":"
        if self.scheme == "tel":
            text += self.user
        else:
            if self.user:
                text += escape_user(self.user)
                if self.password is not None:
                    text += ":" + self.password
                text += "@"
            text += self.hostport
        for name, value in self.params.items():
            text += f";{name}" if value is None else f";{name}={value}"
        return f"{text}?{self.headers}" if self.headers else text

    def __repr__(self) -> str:
        return f"Uri({str(self)!r})"


def parse_uri(text: str) -> Uri:
    """Take a URI apart; RemoteProtocolError(400) when it is malformed.

    An unknown scheme is not an error here: the answer to it is 416, which screening gives (RFC 3261
    §8.2.2.1).
    """
    colon = text.find(":")
    scheme = text[:colon]
    if scheme not in _USUAL_SCHEMES:
        if colon <= 0 or grammar.SCHEME.fullmatch(scheme) is None:
            raise RemoteProtocolError(400, "URI without scheme")
        scheme = scheme.lower()
    if not is_clean(text) and _BAD_CHARS.search(text) is not None:
        raise RemoteProtocolError(400, "URI with a character that must be escaped")
    rest = text[colon + 1 :]
    if scheme == "sip" or scheme == "sips":
        return _parse_sip(scheme, rest)
    if scheme == "tel":
        return _parse_tel(rest)
    if not rest:
        raise RemoteProtocolError(400, "URI with nothing after its scheme")
    return Uri(scheme, rest=rest)


def is_clean(text: str) -> bool:
    """True for visible ASCII without blanks, quotes and angle brackets; quicker to know than by an expression."""
    return (
        text.isascii()
        and text.isprintable()
        and " " not in text
        and "<" not in text
        and ">" not in text
        and '"' not in text
    )


def _parse_sip(scheme: str, rest: str) -> Uri:
    user = ""
    password: str | None = None
    # The first "@" ends the user part, which must escape its own; behind it devices do not always (Replaces in a
    # Refer-To). A "?" may stand in the user part, so headers are looked for behind it.
    at = rest.find("@")
    query = rest.find("?", at + 1)
    if at >= 0:
        userinfo = rest[:at]
        cut = userinfo.find(":")
        if cut >= 0:
            password = userinfo[cut + 1 :]
            userinfo = userinfo[:cut]
        if not userinfo:
            raise RemoteProtocolError(400, "URI with an empty user part")
        user = unescape(userinfo)
    headers = ""
    if query >= 0:
        headers = rest[query + 1 :]
        rest = rest[:query]
    parts = rest[at + 1 :].split(";")
    host, port = parse_hostport(parts[0])
    params: dict[str, str | None] = {}
    for part in parts[1:]:
        _add_param(params, part)
    return Uri(scheme, user, host, port, params, headers, password)


def _parse_tel(rest: str) -> Uri:
    parts = rest.split(";")
    if _TEL_SUBSCRIBER.fullmatch(parts[0]) is None:
        raise RemoteProtocolError(400, "tel URI without a number")
    params: dict[str, str | None] = {}
    for part in parts[1:]:
        _add_param(params, part)
    return Uri("tel", parts[0], params=params)


def _add_param(params: dict[str, str | None], part: str) -> None:
    """Add one URI parameter; RFC 3261 §19.1.1 forbids a name twice, an empty one is none, and a hundred are too many."""
    name, equals, value = part.partition("=")
    name = name.lower()
    if not name or name in params or len(params) == _MAX_PARAMS:
        raise RemoteProtocolError(400, "URI with an empty or doubled parameter")
    params[name] = value if equals else None


def parse_hostport(text: str) -> tuple[str, int | None]:
    """Split ``host[:port]``; the host comes back in lower case and without brackets.

    RemoteProtocolError(400) for an IPv6 address without brackets (RFC 5118 §4.2) or a port beyond 65535.
    """
    known = _HOSTPORTS.get(text)
    if known is None:
        known = _read_hostport(text)
        if len(_HOSTPORTS) >= _MAX_HOSTPORTS:
            _HOSTPORTS.clear()
        _HOSTPORTS[text] = known
    return known


_HOSTPORTS: Final[dict[str, tuple[str, int | None]]] = {}
"""Sound ones that were read lately: most messages name the same few hosts."""
_MAX_HOSTPORTS: Final = 4096


def _read_hostport(text: str) -> tuple[str, int | None]:
    if grammar.HOST.match(text) is None:
        raise RemoteProtocolError(400, "malformed host")
    if text.startswith("["):
        close = text.find("]")
        host = text[1:close]
        tail = text[close + 1 :]
        if ":::" in host and "." in host:
            # RFC 3261's grammar let one colon too many stand before an embedded IPv4 address (RFC 5118 §4.10)
            host = host.replace(":::", "::", 1)
        if not is_ipv6(host):
            raise RemoteProtocolError(400, "malformed IPv6 address")
    else:
        colon = text.find(":")
        host = text if colon < 0 else text[:colon]
        tail = "" if colon < 0 else text[colon:]
        if grammar.HOST.fullmatch(host) is None:
            raise RemoteProtocolError(400, "malformed host")
    if not tail:
        return host.lower(), None
    return host.lower(), parse_port(tail[1:]) if tail[0] == ":" else _malformed_port()


def _malformed_port() -> int:
    raise RemoteProtocolError(400, "malformed port")


def parse_port(text: str) -> int:
    """A port number, 0 to 65535."""
    if len(text) > 5 or grammar.DIGITS.fullmatch(text) is None or int(text) > 65535:
        return _malformed_port()
    return int(text)


def is_ipv6(text: str) -> bool:
    """True for an IPv6 address in text form, without brackets and without a zone."""
    if "%" in text:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def unescape(text: str) -> str:
    """Replace %HH by the byte it stands for (RFC 3261 §19.1.2); a "%" without two hex digits stays."""
    if "%" not in text:
        return text
    first, *rest = text.encode("utf-8", "surrogateescape").split(b"%")
    out = [first]
    for part in rest:
        byte = _ESCAPES.get(part[:2])
        out.append(b"%" + part if byte is None else byte + part[2:])
    return b"".join(out).decode("utf-8", "surrogateescape")


def escape_user(user: str) -> str:
    """Escape a user part for the wire: all but unreserved and user-unreserved characters (RFC 3261 §25.1)."""
    if _USER_SAFE.fullmatch(user) is not None:
        return user
    out: list[str] = []
    for char in user:
        if _USER_SAFE.fullmatch(char) is not None:
            out.append(char)
        else:
            for byte in char.encode("utf-8", "surrogateescape"):
                out.append(f"%{byte:02X}")
    return "".join(out)


def same(a: Uri, b: Uri) -> bool:
    """True when two URIs are equivalent (RFC 3261 §19.1.4; IPv6 by value, RFC 5954 §4.2; tel, RFC 3966 §4).

    Note that this relation is not transitive: a parameter outside the five named ones counts only where
    both have it.
    """
    if a.scheme != b.scheme:
        return False
    if a.scheme == "tel":
        return _same_tel(a, b)
    if a.rest or b.rest:
        return a.rest == b.rest
    if a.user != b.user or a.port != b.port or (a.password or "") != (b.password or ""):
        return False
    if a.host != b.host and not _same_address(a.host, b.host):
        return False
    for name in _MATCHED_PARAMS:
        if (name in a.params) != (name in b.params):
            return False
    for name, value in a.params.items():
        if name in b.params and _folded(value) != _folded(b.params[name]):
            return False
    return _header_set(a.headers) == _header_set(b.headers)


def _same_tel(a: Uri, b: Uri) -> bool:
    if _VISUAL_SEPARATORS.sub("", a.user).lower() != _VISUAL_SEPARATORS.sub("", b.user).lower():
        return False
    if a.params.keys() != b.params.keys():
        return False
    for name, value in a.params.items():
        other = b.params[name]
        if name == "ext" or (name == "phone-context" and (value or "").startswith("+")):
            value = _VISUAL_SEPARATORS.sub("", value or "")
            other = _VISUAL_SEPARATORS.sub("", other or "")
        if _folded(value) != _folded(other):
            return False
    return True


def _same_address(a: str, b: str) -> bool:
    if ":" not in a or ":" not in b or not is_ipv6(a) or not is_ipv6(b):
        return False
    return ipaddress.IPv6Address(a) == ipaddress.IPv6Address(b)


def _folded(value: str | None) -> str:
    return "" if value is None else unescape(value).lower()


def _header_set(headers: str) -> list[str]:
    """The header part as a sorted list of ``name=value``, names in lower case and values unescaped."""
    if not headers:
        return []
    out: list[str] = []
    for part in headers.split("&"):
        name, _, value = part.partition("=")
        out.append(f"{unescape(name).lower()}={unescape(value)}")
    out.sort()
    return out
