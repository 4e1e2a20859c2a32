"""What the parser reads by short cuts for the spellings that nearly everybody uses is what its expressions read."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from callcontrol.sip import digest, grammar, message, uri, usual
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import parse_name_addr

PIECES = (
    *(
        "<sip:",
        "<sips:",
        "<tel:",
        "<SIP:",
        "<",
        ">",
        "sip:",
        "alice",
        "@",
        "example.com",
        ":5060",
        ":70000",
        ":",
        ";",
    ),
    *(
        ";tag=",
        ";TAG=",
        "tag=",
        "=",
        "a1B2",
        "z9.-",
        '"',
        '"Bob" ',
        "Bob ",
        " ",
        "\t",
        ",",
        "%41",
        "\\",
        "é",
        "\x7f",
    ),
    *(";user=phone", "\udc80", "\0", "ａ"),
)
VIA_PIECES = (
    *(
        "SIP/2.0/",
        "SIP/2.0/UDP ",
        "SIP/2.0/TCP ",
        "SIP/2.0/udp ",
        "sip/2.0/UDP ",
        "UDP",
        " ",
        "192.0.2.4",
        "Host.Example",
    ),
    *(
        ":5060",
        ":60000",
        ":99999",
        ":",
        ";rport",
        ";rport=5",
        ";branch=",
        ";BRANCH=",
        "branch=",
        "z9hG4bK1",
        "-2-0",
        "=",
        ";",
    ),
    *(";received=192.0.2.1", ",", "[2001:db8::1]", '"', "é", "ａ", "\t", "_", "\\"),
)


def joined(pieces: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(pieces), max_size=9).map("".join)


@given(joined(PIECES))
def test_the_tag_of_a_bare_address(value: str) -> None:
    tag = usual.tag_of(value)
    if tag is not None:
        match = grammar.PLAIN_ADDRESS.fullmatch(value)
        assert match is not None
        assert tag == (match.group(1) or "")
        assert parse_name_addr(value).tag == tag


@given(joined(VIA_PIECES))
def test_a_bare_via(value: str) -> None:
    read = message.Message(b"")
    if usual.read_via(read, value):
        match = grammar.PLAIN_VIA.fullmatch(value)
        assert match is not None
        transport, sent_by, branch = match.groups()
        found = (read.top_via, read.via_transport, read.sent_by, read.branch)
        assert found == (value, transport.upper(), sent_by.lower(), branch)


@given(joined(PIECES))
def test_clean_text_holds_nothing_that_must_be_escaped(text: str) -> None:
    if uri.is_clean(text):
        assert uri._BAD_CHARS.search(text) is None
        if text.startswith(("sip:", "sips:", "tel:")) and text[-1] != ":":
            assert grammar.ABSOLUTE_URI.fullmatch(text) is not None


HOST_PIECES = (
    "example.com",
    "192.0.2.4",
    ":",
    "5060",
    "65536",
    "[2001:db8::1]",
    "[",
    "EXAMPLE",
    " ",
    "-",
    "_",
)


@given(joined(HOST_PIECES))
def test_a_host_that_is_remembered_is_the_one_that_was_read(text: str) -> None:
    def told(read: Callable[[str], tuple[str, int | None]]) -> tuple[str, int | None] | str:
        try:
            return read(text)
        except RemoteProtocolError as error:
            return error.reason

    assert told(uri.parse_hostport) == told(uri.parse_hostport) == told(uri._read_hostport)


def test_memories_of_hosts_are_bounded() -> None:
    for number in range(2 * uri._MAX_HOSTPORTS):
        uri.parse_hostport(f"h{number}.example")
    assert len(uri._HOSTPORTS) <= uri._MAX_HOSTPORTS
    for number in range(2 * usual._MAX_SENT_BYS):
        assert usual.read_via(message.Message(b""), f"SIP/2.0/UDP h{number};branch=z9hG4bK1")
    assert len(usual._SENT_BYS) <= usual._MAX_SENT_BYS


DIGEST_PIECES = (
    *(
        "Digest ",
        "digest ",
        "username=",
        'realm="x"',
        'username="ana"',
        "nc=00000001",
        "algorithm=SHA-256",
        "qop=auth",
        ",",
    ),
    *(
        ", ",
        " ,",
        '"',
        "\\",
        "=",
        "é",
        "username*=UTF-8''a",
        "stale",
        '""',
        "a.b",
        "uri=",
        '"sip:a@b"',
        " ",
        "MD5-sess",
        "ａ",
    ),
)


@given(joined(DIGEST_PIECES))
def test_credentials_of_the_usual_kind(value: str) -> None:
    params = digest._read_usual(value)
    if params is not None:
        assert digest._parse_one(value, 0) == ("digest", params, len(value))


@given(st.lists(st.sampled_from(DIGEST_PIECES), min_size=1, max_size=6))
def test_credentials_of_the_usual_kind_with_commas(pieces: list[str]) -> None:
    value = "Digest " + ", ".join(pieces)
    params = digest._read_usual(value)
    if params is not None:
        assert digest._parse_one(value, 0) == ("digest", params, len(value))
