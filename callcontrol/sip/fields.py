"""Values of header fields, parsed when asked for (RFC 3261 §7.3.1, §20, §25.1, and the RFCs named below).

Every function takes the unfolded value of one header (``Message.get``) or one member of a list header
(``Message.items``) and raises RemoteProtocolError(400) when it is malformed.
"""

from __future__ import annotations

import re
from typing import Final

from callcontrol.sip import grammar
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.uri import is_clean, parse_hostport, parse_port

_SPECIAL: Final = re.compile(r'[",<>]')
_SEMICOLON_OR_QUOTE: Final = re.compile(r'[";]')
# display-name = *(token LWS) / quoted-string; we also let non-ASCII through, which devices send unquoted.
_DISPLAY: Final = re.compile(rf"[{grammar.TOKEN_CHARS} \t\x80-\U0010ffff]*+")
_PARAM_NAME: Final = re.compile(rf"[{grammar.TOKEN_CHARS}]++")
# gen-value = token / host / quoted-string; wider: any visible text, because URIs stand bare in many real
# parameters
_PARAM_VALUE: Final = re.compile(r"[^\x00-\x20\",;<>\x7f]++")
MAX_CSEQ: Final = 0xFFFFFFFF
"""RFC 3261 §20.16 lets a CSeq number fill 32 bits; §8.1.1.5 asks senders to stay below 2**31, which we do."""
MAX_PARAMS: Final = 100
"""Parameters of one value; honest ones have a dozen, and each costs far more time to read than its bytes to send."""
MAX_SECONDS: Final = 0xFFFFFFFF
"""delta-seconds above 2**32-1 are read as 2**32-1 (RFC 3261 §20.19, RFC 4475 §3.1.2.4)."""


_USUAL_URIS: Final = ("sip:", "sips:", "tel:")


class NameAddr:
    """A ``name-addr`` or ``addr-spec`` with its header parameters (From, To, Contact, Route, Refer-To, ...).

    ``display`` unquoted, "" when absent; ``uri`` as written; ``params`` names in lower case, quoted values
    unquoted, None for a flag; ``tag`` is "" when absent.
    """

    __slots__ = ("display", "params", "uri")

    def __init__(self, display: str, uri: str, params: dict[str, str | None]) -> None:
        self.display: str = display
        self.uri: str = uri
        self.params: dict[str, str | None] = params

    @property
    def tag(self) -> str:
        """The ``tag`` parameter of From and To (RFC 3261 §19.3)."""
        return self.params.get("tag") or ""

    def __str__(self) -> str:
        text = f"{quote(self.display)} <{self.uri}>" if self.display else f"<{self.uri}>"
        return text + format_params(self.params)


class Via:
    """One Via value (RFC 3261 §20.42).

    ``transport`` upper case; ``host`` lower case, IPv6 without brackets; ``port`` or None; ``version``
    "SIP/2.0"; ``branch`` is "" when absent.
    """

    __slots__ = ("host", "params", "port", "transport", "version")

    def __init__(
        self, version: str, transport: str, host: str, port: int | None, params: dict[str, str | None]
    ) -> None:
        self.version: str = version
        self.transport: str = transport
        self.host: str = host
        self.port: int | None = port
        self.params: dict[str, str | None] = params

    @property
    def branch(self) -> str:
        """The ``branch`` parameter (RFC 3261 §8.1.1.7)."""
        return self.params.get("branch") or ""

    @property
    def sent_by(self) -> str:
        """``host[:port]`` as written, in lower case."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.version}/{self.transport} {self.sent_by}{format_params(self.params)}"


def split_list(value: str) -> list[str]:
    """Split a list at its commas, not at those inside quotes or angle brackets (RFC 3261 §7.3.1).

    Empty members are dropped, as RFC 3261 §25.1 lets lists be written sloppily by extension; an open quote or
    bracket swallows the rest, and the parser of the member then refuses it.
    """
    if "," not in value:
        value = value.strip(" \t")
        return [value] if value else []
    out: list[str] = []
    if '"' not in value and "<" not in value:
        for member in value.split(","):
            member = member.strip(" \t")
            if member:
                out.append(member)
        return out
    start = index = 0
    while True:
        match = _SPECIAL.search(value, index)
        if match is None:
            break
        index = match.end()
        char = match.group()
        if char == ",":
            member = value[start : index - 1].strip(" \t")
            if member:
                out.append(member)
            start = index
        elif char == '"':
            quoted = grammar.QUOTED.match(value, index - 1)
            index = len(value) if quoted is None else quoted.end()
        elif char == "<":
            close = value.find(">", index)
            index = len(value) if close < 0 else close + 1
    member = value[start:].strip(" \t")
    if member:
        out.append(member)
    return out


def parse_params(text: str) -> dict[str, str | None]:
    """Read ``;name[=value]...``; names in lower case, quoted values unquoted, the first semicolon optional.

    A name given twice is an error, as is an empty one.
    """
    params: dict[str, str | None] = {}
    if not text:
        return params
    if text.startswith(";tag=") and text[5:].isalnum() and text.isascii():
        params["tag"] = text[5:]
        return params
    index = 0
    end = len(text)
    while index < end and text[index] in " \t;":
        if text[index] == ";":
            index += 1
            break
        index += 1
    if index == end:
        if ";" in text:
            raise RemoteProtocolError(400, "empty parameter")
        return params
    while True:
        index = _skip_space(text, index)
        match = _PARAM_NAME.match(text, index)
        if match is None:
            raise RemoteProtocolError(400, "malformed parameter")
        name = match.group().lower()
        index = _skip_space(text, match.end())
        value: str | None = None
        if index < end and text[index] == "=":
            index = _skip_space(text, index + 1)
            if index < end and text[index] == '"':
                match = grammar.QUOTED.match(text, index)
                if match is None:
                    raise RemoteProtocolError(400, "unclosed quote")
                value = unquote(match.group())
                index = match.end()
            else:
                match = _PARAM_VALUE.match(text, index)
                if match is None:
                    value = ""
                else:
                    value = match.group()
                    index = match.end()
        if name in params:
            raise RemoteProtocolError(400, f"parameter {name} given twice")
        if len(params) == MAX_PARAMS:
            raise RemoteProtocolError(400, "too many parameters")
        params[name] = value
        index = _skip_space(text, index)
        if index == end:
            return params
        if text[index] != ";":
            raise RemoteProtocolError(400, "malformed parameter")
        index += 1


def _skip_space(text: str, index: int) -> int:
    while index < len(text) and (text[index] == " " or text[index] == "\t"):
        index += 1
    return index


def is_plain_value(text: str) -> bool:
    """True for a parameter value that needs no quotes; false for the empty one."""
    return _PARAM_VALUE.fullmatch(text) is not None


def format_params(params: dict[str, str | None]) -> str:
    """Write parameters, each with its semicolon; a value that is no plain parameter value is quoted."""
    text = ""
    for name, value in params.items():
        if value is None:
            text += f";{name}"
        elif _PARAM_VALUE.fullmatch(value) is not None:
            text += f";{name}={value}"
        else:
            text += f";{name}={quote(value)}"
    return text


def parse_name_addr(value: str) -> NameAddr:
    """Read one ``name-addr`` or ``addr-spec`` with parameters (RFC 3261 §20.10).

    Without angle brackets a comma or question mark ends the game (§20: the URI must be enclosed then), and
    semicolon parameters belong to the header.
    """
    value = value.strip(" \t")
    display = ""
    if value.startswith('"'):
        match = grammar.QUOTED.match(value)
        if match is None:
            raise RemoteProtocolError(400, "unclosed quote")
        display = unquote(match.group())
        start = _skip_space(value, match.end())
        if start == len(value) or value[start] != "<":
            raise RemoteProtocolError(400, "display name without <URI>")
    else:
        start = value.find("<")
        if start < 0:
            return _parse_addr_spec(value)
        display = value[:start].strip(" \t")
        if display and _DISPLAY.fullmatch(display) is None:
            raise RemoteProtocolError(400, "display name must be quoted")
    close = value.find(">", start)
    if close < 0:
        raise RemoteProtocolError(400, "unclosed angle bracket")
    uri = value[start + 1 : close]
    usual = uri.startswith(_USUAL_URIS) and uri[-1] != ":" and is_clean(uri)
    if not usual and grammar.ABSOLUTE_URI.fullmatch(uri) is None:
        raise RemoteProtocolError(400, "malformed URI in angle brackets")
    rest = value[close + 1 :].strip(" \t")
    if rest and rest[0] != ";":
        raise RemoteProtocolError(400, "text behind the address")
    return NameAddr(display, uri, parse_params(rest))


def _parse_addr_spec(value: str) -> NameAddr:
    cut = value.find(";")
    uri = value if cut < 0 else value[:cut].rstrip(" \t")
    if "?" in uri or "," in uri:
        raise RemoteProtocolError(400, "URI with ? or , must be in angle brackets")
    if grammar.ABSOLUTE_URI.fullmatch(uri) is None:
        raise RemoteProtocolError(400, "malformed address")
    return NameAddr("", uri, parse_params("" if cut < 0 else value[cut:]))


def parse_via(value: str) -> Via:
    """Read one Via value; white space may stand around each separator (RFC 3261 §25.1, RFC 4475 §3.1.1.1).

    The version is not judged here, so that a request of another SIP version can still be answered.
    """
    slash = value.find("/")
    second = value.find("/", slash + 1)
    if slash < 0 or second < 0:
        raise RemoteProtocolError(400, "malformed Via")
    protocol = value[:slash].strip(" \t")
    version = value[slash + 1 : second].strip(" \t")
    rest = value[second + 1 :].lstrip(" \t")
    match = grammar.TOKEN.match(rest)
    if match is None or not grammar.is_token(protocol) or not grammar.is_token(version):
        raise RemoteProtocolError(400, "malformed Via")
    transport = match.group().upper()
    rest = rest[match.end() :]
    if not rest or rest[0] not in " \t":
        raise RemoteProtocolError(400, "malformed Via")
    cut = rest.find(";")
    sent_by = (rest if cut < 0 else rest[:cut]).strip(" \t")
    if " " in sent_by or "\t" in sent_by:
        # host HCOLON port: "first.example.com: 4000" is legal white space
        sent_by = sent_by.replace(" ", "").replace("\t", "") if ":" in sent_by else sent_by
    host, port = parse_hostport(sent_by)
    params = parse_params("" if cut < 0 else rest[cut:])
    return Via(f"{protocol}/{version}".upper(), transport, host, port, params)


def parse_cseq(value: str) -> tuple[int, str]:
    """Number and method of a CSeq (RFC 3261 §20.16)."""
    match = grammar.CSEQ.fullmatch(value)
    if match is None:
        raise RemoteProtocolError(400, "malformed CSeq")
    digits = match.group(1)
    # A bound before int(): the conversion of thousands of digits is quadratic.
    number = MAX_CSEQ + 1 if len(digits) > 32 else int(digits)
    if number > MAX_CSEQ:
        raise RemoteProtocolError(400, "CSeq number too large")
    return number, match.group(2)


def parse_seconds(value: str) -> int:
    """delta-seconds, cut off at 2**32-1; parameters behind it are left aside (RFC 3261 §20.19, §20.33)."""
    match = grammar.DIGITS.match(value)
    if match is None:
        raise RemoteProtocolError(400, "malformed number of seconds")
    digits = match.group().lstrip("0")
    if len(digits) > 10:
        return MAX_SECONDS
    number = int(digits) if digits else 0
    return number if number < MAX_SECONDS else MAX_SECONDS


def quote(text: str) -> str:
    """A quoted-string holding the text (RFC 3261 §25.1)."""
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def unquote(text: str) -> str:
    """The text inside a quoted-string; text that is not quoted comes back as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    text = text[1:-1]
    if "\\" in text:
        # Backslashes in a row pair up from the left; of what is left each stands before the character it quotes.
        return "\\".join([part.replace("\\", "") for part in text.split("\\\\")])
    return text


def split_params(value: str) -> tuple[str, dict[str, str | None]]:
    """``value *(;param)`` as in Event, Session-Expires, Content-Type or Replaces: value and parameters."""
    cut = value.find(";")
    if cut < 0:
        return value.strip(" \t"), {}
    return value[:cut].strip(" \t"), parse_params(value[cut:])


class Reason:
    """One Reason value (RFC 3326): ``protocol`` ("SIP", "Q.850"), ``cause`` (0 when absent), ``text``."""

    __slots__ = ("cause", "protocol", "text")

    def __init__(self, protocol: str, cause: int, text: str) -> None:
        self.protocol: str = protocol
        self.cause: int = cause
        self.text: str = text


def parse_reason_header(value: str) -> Reason:
    """Read one Reason value (RFC 3326 §2)."""
    protocol, params = split_params(value)
    if not grammar.is_token(protocol):
        raise RemoteProtocolError(400, "malformed Reason")
    cause = params.get("cause") or "0"
    if len(cause) > 5 or grammar.DIGITS.fullmatch(cause) is None:
        raise RemoteProtocolError(400, "malformed cause in Reason")
    return Reason(protocol, int(cause), params.get("text") or "")


class Replaces:
    """The dialog a Replaces header names (RFC 3891 §6.1), tags as the receiver of the header sees them."""

    __slots__ = ("call_id", "early_only", "from_tag", "to_tag")

    def __init__(self, call_id: str, to_tag: str, from_tag: str, early_only: bool) -> None:
        self.call_id: str = call_id
        self.to_tag: str = to_tag
        self.from_tag: str = from_tag
        self.early_only: bool = early_only


def parse_replaces(value: str) -> Replaces:
    """Read a Replaces value; both tags are mandatory (RFC 3891 §6.1)."""
    call_id, params = split_params(value)
    to_tag = params.get("to-tag")
    from_tag = params.get("from-tag")
    if not call_id or not to_tag or not from_tag:
        raise RemoteProtocolError(400, "malformed Replaces")
    return Replaces(call_id, to_tag, from_tag, "early-only" in params)


def parse_session_expires(value: str) -> tuple[int, str]:
    """Seconds and refresher ("uac", "uas" or "") of a Session-Expires (RFC 4028 §4)."""
    _, params = split_params(value)
    refresher = (params.get("refresher") or "").lower()
    if refresher not in ("", "uac", "uas"):
        raise RemoteProtocolError(400, "malformed refresher")
    return parse_seconds(value), refresher


def parse_rack(value: str) -> tuple[int, int, str]:
    """RSeq number, CSeq number and method of a RAck (RFC 3262 §7.2)."""
    rseq, _, cseq = value.partition(" ")
    if grammar.DIGITS.fullmatch(rseq) is None or len(rseq) > 10:
        raise RemoteProtocolError(400, "malformed RAck")
    number, method = parse_cseq(cseq.strip(" \t"))
    return int(rseq), number, method


def parse_rport(value: str | None) -> int:
    """The value of a Via ``rport`` parameter, -1 for none (RFC 3581 §3)."""
    return -1 if not value else parse_port(value)
