"""Header values: lists, parameters, addresses, Vias and the smaller ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import (
    NameAddr,
    format_params,
    is_plain_value,
    parse_cseq,
    parse_name_addr,
    parse_params,
    parse_rack,
    parse_reason_header,
    parse_replaces,
    parse_rport,
    parse_seconds,
    parse_session_expires,
    parse_via,
    quote,
    split_list,
    split_params,
    unquote,
)
from callcontrol.sip.grammar import is_token
from callcontrol.sip.headers import NAMES, SINGLE, SPELLING, canonical


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ("", []),
        (" \t", []),
        ("a", ["a"]),
        (" a , b,c ", ["a", "b", "c"]),
        (",,a,,", ["a"]),
        (
            '"x, y" <sip:a@b>, <sip:c,d@e;x=1>;q=1, sip:f@g',
            ['"x, y" <sip:a@b>', "<sip:c,d@e;x=1>;q=1", "sip:f@g"],
        ),
        (r'"a\",b", c', [r'"a\",b"', "c"]),
        (r'"a\\", b', [r'"a\\"', "b"]),
        ('<a>;x="<,", b', ['<a>;x="<,"', "b"]),
        ('"open, b', ['"open, b']),
        ("<open, b", ["<open, b"]),
        ("a>, b", ["a>", "b"]),
    ],
)
def test_lists_split_at_their_commas_only(value: str, members: list[str]) -> None:
    assert split_list(value) == members


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("", {}),
        ("  ", {}),
        (";a", {"a": None}),
        ("a=1;B", {"a": "1", "b": None}),
        (' ; a = "x;y" ; b = ', {"a": "x;y", "b": ""}),
        (r';a="\"\\"', {"a": '"\\'}),
        (";u=<>", None),
        (";maddr=[::1];x=a/b?c=d@e", {"maddr": "[::1]", "x": "a/b?c=d@e"}),
        (";", None),
        (";;a", None),
        (";a;", None),
        (";a;;b", None),
        (";=b", None),
        (";a b", None),
        (';a="x', None),
        (';a="x"y', None),
        (";a=1;A=2", None),
        (";a=1,b", None),
    ],
)
def test_parameters(text: str, params: dict[str, str | None] | None) -> None:
    if params is None:
        with pytest.raises(RemoteProtocolError) as caught:
            parse_params(text)
        assert caught.value.status == 400
    else:
        assert parse_params(text) == params
        assert parse_params(format_params(params)) == params


def test_parameters_are_quoted_only_where_they_must_be() -> None:
    assert (
        format_params({"a": None, "b": "1", "c": "x y", "d": "", "e": 'q"'}) == ';a;b=1;c="x y";d="";e="q\\""'
    )
    assert is_plain_value("a@b:c/d")
    assert not any(is_plain_value(text) for text in ("", "a b", "a;b", 'a"', "a,b", "<a", "a\0"))


@pytest.mark.parametrize(
    ("value", "display", "uri", "params"),
    [
        ("sip:a@b", "", "sip:a@b", {}),
        ("sip:a@b;tag=1", "", "sip:a@b", {"tag": "1"}),
        ("sip:a@b ; tag = 1", "", "sip:a@b", {"tag": "1"}),
        ("<sip:a@b;lr?x=y>;tag=1", "", "sip:a@b;lr?x=y", {"tag": "1"}),
        ("A G. Bell <sip:a@b>", "A G. Bell", "sip:a@b", {}),
        ('"A, <G>; Bell"<sip:a@b>', "A, <G>; Bell", "sip:a@b", {}),
        (r'"a \"b\" \\" <sip:a@b>', 'a "b" \\', "sip:a@b", {}),
        ('"" <sip:a@b>', "", "sip:a@b", {}),
        ("Анна <sip:a@b>", "Анна", "sip:a@b", {}),
        ("<tel:+33639980001>", "", "tel:+33639980001", {}),
        (
            ' <sip:a@b>;+sip.instance="<urn:uuid:1>";reg-id=1 ',
            "",
            "sip:a@b",
            {"+sip.instance": "<urn:uuid:1>", "reg-id": "1"},
        ),
    ],
)
def test_addresses(value: str, display: str, uri: str, params: dict[str, str | None]) -> None:
    address = parse_name_addr(value)
    assert (address.display, address.uri, address.params) == (display, uri, params)
    assert address.tag == (params.get("tag") or "")
    again = parse_name_addr(str(address))
    assert (again.display, again.uri, again.params) == (display, uri, params)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "*", "alice", "<>", "<alice>", "<sip:a@b", "sip:a@b>", "< sip:a@b>", "<sip:a@b >"),
        *(
            '"Alice <sip:a@b>',
            '"Alice" sip:a@b',
            '"Alice"',
            "Bell, A <sip:a@b>",
            'A "x" <sip:a@b>',
            "A@B <sip:a@b>",
        ),
        *("<sip:a@b>tag=1", "<sip:a@b> x", "<sip:a@b>;", "<sip:a@b>;;tag=1", "<sip:a@b>;tag=1;tag=2"),
        *("sip:a@b?x=y", "sip:a,b@c", "sip:a b@c", "<sip:a@b>, <sip:c@d>"),
    ],
)
def test_malformed_addresses(value: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_name_addr(value)
    assert caught.value.status == 400


def test_an_address_of_ours() -> None:
    assert str(NameAddr('Bob "B"', "sip:b@c", {"tag": "t", "x": None})) == '"Bob \\"B\\"" <sip:b@c>;tag=t;x'
    assert str(NameAddr("", "sip:b@c", {})) == "<sip:b@c>"


@pytest.mark.parametrize(
    ("value", "transport", "host", "port", "params"),
    [
        ("SIP/2.0/UDP h", "UDP", "h", None, {}),
        ("SIP/2.0/tls H.example:5061;branch=z9hG4bKx", "TLS", "h.example", 5061, {"branch": "z9hG4bKx"}),
        ("SIP / 2.0 / UDP  h : 4000 ; rport ;branch = b", "UDP", "h", 4000, {"rport": None, "branch": "b"}),
        ("SIP/2.0/UDP [2001:db8::1]:5060;received=[::1]", "UDP", "2001:db8::1", 5060, {"received": "[::1]"}),
        ('SIP/2.0/WS a.invalid;x="a;b"', "WS", "a.invalid", None, {"x": "a;b"}),
    ],
)
def test_vias(value: str, transport: str, host: str, port: int | None, params: dict[str, str | None]) -> None:
    via = parse_via(value)
    assert (via.transport, via.host, via.port, via.params) == (transport, host, port, params)
    assert (via.version, via.branch) == ("SIP/2.0", params.get("branch") or "")
    again = parse_via(str(via))
    assert (again.transport, again.host, again.port, again.params) == (transport, host, port, params)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "SIP/2.0",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0/UDPh",
            "SIP/2.0 UDP h",
            "/2.0/UDP h",
            "SIP//UDP h",
        ),
        *("SIP/2.0/UDP h;", "SIP/2.0/UDP h;;", "SIP/2.0/UDP a b", "SIP/2.0/UDP h:", "SIP/2.0/UDP h:70000"),
        *("SIP/2.0/UDP 2001:db8::1", "SIP/2.0/UDP [::1", "SIP/2.0/UDP h;branch=1;branch=2", "SIP/2.0/UDP ;x"),
    ],
)
def test_malformed_vias(value: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_via(value)
    assert caught.value.status == 400


def test_cseq() -> None:
    assert parse_cseq("1 INVITE") == (1, "INVITE")
    assert parse_cseq("0009 \t INVITE") == (9, "INVITE")
    assert parse_cseq("4294967295 a%b") == (4294967295, "a%b")
    for value in (
        "",
        "1",
        "INVITE",
        "1INVITE",
        "-1 INVITE",
        "1 IN VITE",
        "4294967296 BYE",
        "1" * 5000 + " BYE",
        "١ BYE",
    ):
        with pytest.raises(RemoteProtocolError):
            parse_cseq(value)


def test_seconds_are_cut_off_not_refused_when_huge() -> None:
    assert parse_seconds("3600;x") == 3600
    assert parse_seconds("0") == 0
    assert parse_seconds("4294967296") == parse_seconds("9" * 5000) == 4294967295
    for value in ("", "x", "-1", " 1"):
        with pytest.raises(RemoteProtocolError):
            parse_seconds(value)


def test_quoting() -> None:
    assert quote('a"b\\c') == '"a\\"b\\\\c"'
    assert unquote('"a\\"b\\\\c"') == 'a"b\\c'
    assert [unquote(text) for text in ("a", '"', '"a', "")] == ["a", '"', '"a', ""]


def test_reason_header() -> None:
    reason = parse_reason_header('SIP ;cause=200 ;text="Call completed elsewhere"')
    assert (reason.protocol, reason.cause, reason.text) == ("SIP", 200, "Call completed elsewhere")
    assert parse_reason_header("Q.850").cause == 0


def test_replaces() -> None:
    replaces = parse_replaces("98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff;early-only")
    assert (replaces.call_id, replaces.to_tag, replaces.from_tag, replaces.early_only) == (
        *("98732@sip.example.com", "ff87ff", "r33th4x0r", True),
    )


def test_session_expires() -> None:
    assert parse_session_expires("1800;refresher=UAC") == (1800, "uac")
    assert parse_session_expires("90") == (90, "")


def test_rack_and_rport() -> None:
    assert parse_rack("776656 1 INVITE") == (776656, 1, "INVITE")
    assert [parse_rport(value) for value in (None, "", "5060")] == [-1, -1, 5060]
    assert split_params("text/plain ; charset=utf-8") == ("text/plain", {"charset": "utf-8"})
    assert split_params(" presence ") == ("presence", {})


@pytest.mark.parametrize(
    ("reader", "values"),
    [
        (parse_reason_header, ["", "a b", "SIP;cause=x", "SIP;cause=999999", "SIP;cause=-1"]),
        (
            parse_replaces,
            ["", "id", "id;to-tag=1", "id;from-tag=1", ";to-tag=1;from-tag=2", "id;to-tag;from-tag=1"],
        ),
        (parse_session_expires, ["", "x", "90;refresher=both"]),
        (parse_rack, ["", "1", "1 1", "x 1 INVITE", "1 x INVITE", "99999999999 1 INVITE"]),
        (parse_rport, ["0x", "65536", "-1"]),
    ],
)
def test_malformed_small_values(reader: Callable[[str], Any], values: list[str]) -> None:
    for value in values:
        with pytest.raises(RemoteProtocolError) as caught:
            reader(value)
        assert caught.value.status == 400


def test_names_of_headers() -> None:
    assert [canonical(name) for name in ("Call-ID", "call-id", "CALL-ID", "cAll-Id", "i", "I")] == [
        "call-id"
    ] * 6
    assert (canonical("X-Unknown"), canonical("WWW-authenticate")) == ("x-unknown", "www-authenticate")
    assert (SPELLING["cseq"], SPELLING["www-authenticate"], SPELLING["mime-version"]) == (
        *("CSeq", "WWW-Authenticate", "MIME-Version"),
    )
    assert SPELLING.keys() >= SINGLE
    assert set(NAMES.values()) == SPELLING.keys()


def test_compact_forms_of_the_registry() -> None:
    compact = {name: NAMES[name] for name in NAMES if len(name) == 1 and name.islower()}
    assert compact == {
        "a": "accept-contact",
        "b": "referred-by",
        "c": "content-type",
        "d": "request-disposition",
        "e": "content-encoding",
        "f": "from",
        "i": "call-id",
        "j": "reject-contact",
        "k": "supported",
        "l": "content-length",
        "m": "contact",
        "n": "identity-info",
        "o": "event",
        "r": "refer-to",
        "s": "subject",
        "t": "to",
        "u": "allow-events",
        "v": "via",
        "x": "session-expires",
        "y": "identity",
    }


def test_tokens() -> None:
    assert is_token("a-.!%*_+`'~9")
    assert not any(is_token(text) for text in ("", "a b", "a:b", 'a"', "é", "a\n"))
