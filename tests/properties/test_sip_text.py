"""Properties of messages, URIs, header values, framing and digest, over generated input.

The invariant over all bytes: a Message or RemoteProtocolError, never anything else
(`tests.fuzz.invariant`).
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from callcontrol.sip import digest
from callcontrol.sip.build import request, response
from callcontrol.sip.errors import LocalProtocolError
from callcontrol.sip.fields import (
    NameAddr,
    format_params,
    parse_name_addr,
    parse_params,
    quote,
    split_list,
    unquote,
)
from callcontrol.sip.framer import StreamFramer
from callcontrol.sip.message import parse
from callcontrol.sip.uri import Uri, escape_user, parse_uri, same, unescape
from tests.fuzz.invariant import corpus, one_input

TOKEN = st.text("abzAZ09-.!%*_+`'~", min_size=1, max_size=12)
# Any text a message can hold: no line ends and no NUL; lone surrogates U+DC80-DCFF are bytes that are no
# UTF-8.
TEXT = st.text(
    st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])
    | st.sampled_from('"\\;,<>=:@ \t\udc80\udcff'),
    max_size=40,
).map(lambda text: text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"))
VALUE = TEXT.map(lambda text: text.strip(" \t"))
HOST = st.sampled_from(("example.com", "192.0.2.1", "[2001:db8::1]", "a.b-c.invalid"))
PARAMS = st.dictionaries(TOKEN.map(str.lower), st.none() | TEXT, max_size=4)


@given(st.binary(max_size=300))
@example(b"\r\n\r\n")
@example(b"INVITE sip:a SIP/2.0\r\n\r\n")
def test_any_bytes(data: bytes) -> None:
    one_input(data)


@given(st.sampled_from(corpus()), st.integers(0, 3000), st.integers(0, 40), st.binary(max_size=20))
def test_messages_with_a_hole_or_a_patch(data: bytes, at: int, gap: int, patch: bytes) -> None:
    at %= len(data)
    one_input(data[:at] + patch + data[at + gap :])


SPELLINGS = {
    "via": ("Via", "v", "VIA", "viA"),
    "from": ("From", "f", "fRom"),
    "to": ("To", "t", "TO"),
    "call-id": ("Call-ID", "i", "CALL-id", "Call-Id"),
    "cseq": ("CSeq", "CSEQ", "Cseq", "cseq"),
    "subject": ("Subject", "s", "SUBJECT"),
    "x-thing": ("X-Thing", "x-thing", "X-THING"),
}


@st.composite
def header_lines(draw: st.DrawFn, name: str, value: str) -> str:
    """One header in some spelling: case, compact form, white space, folded at its spaces."""
    colon = draw(st.sampled_from((":", ": ", " : ", "\t:\t ", ":\r\n ")))
    if draw(st.booleans()):
        fold = draw(st.sampled_from((" ", "\r\n ", "\r\n\t", " \r\n  ")))
        value = fold.join(value.split(" "))
    return draw(st.sampled_from(SPELLINGS[name])) + colon + value + draw(st.sampled_from(("", " ", "\t")))


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, dict[str, str], bytes]:
    """A request on the wire, the values of its headers with folds as single spaces, and its body."""
    word = st.text("abcXYZ019-_", min_size=1, max_size=10)
    values = {
        "via": f"SIP/2.0/UDP {draw(HOST)};rport;branch=z9hG4bK{draw(word)};x={draw(word)}",
        "from": f"{quote(draw(word))} <sip:{draw(word)}@{draw(HOST)}>;tag={draw(word)}",
        "to": f"<sip:{draw(word)}@{draw(HOST)}>",
        "call-id": f"{draw(word)}@{draw(HOST)}",
        "cseq": f"{draw(st.integers(0, 2**31 - 1))} OPTIONS",
        "subject": " ".join(draw(st.lists(word, max_size=4))),
        "x-thing": " ".join(draw(st.lists(word, max_size=4))),
    }
    lines = [draw(header_lines(name, value)) for name, value in values.items()]
    body = draw(st.binary(max_size=60))
    lines.append(draw(st.sampled_from(("Content-Length: ", "l:", "CONTENT-LENGTH :\r\n "))) + str(len(body)))
    lines = draw(st.permutations(lines))
    head = "\r\n".join(["OPTIONS sip:b@example.com SIP/2.0", *lines])
    return head.encode() + b"\r\n\r\n" + body, values, body


@given(requests())
def test_spelling_does_not_change_what_is_said(made: tuple[bytes, dict[str, str], bytes]) -> None:
    data, values, body = made
    message = parse(data)
    assert {name: message.get(name) for name in values} == values
    assert message.body == body
    assert f";branch={message.branch};" in values["via"]
    assert values["from"].endswith(f";tag={message.from_tag}")
    assert values["cseq"] == f"{message.cseq} OPTIONS"
    raw = "\r\n".join([header[2] for header in message.headers]).encode()
    assert data == b"OPTIONS sip:b@example.com SIP/2.0\r\n" + raw + b"\r\n\r\n" + body


@given(st.lists(requests(), max_size=4), st.lists(st.integers(0, 5000), max_size=8), st.integers(0, 3))
def test_framing_does_not_depend_on_splits(
    made: list[tuple[bytes, dict[str, str], bytes]], cuts: list[int], pings: int
) -> None:
    messages = [data for data, _, _ in made]
    stream = (b"\r\n\r\n" * pings) + b"".join(messages)
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    framer = StreamFramer()
    out: list[bytes] = []
    for start, end in pairwise(places):
        out += framer.feed(stream[start:end])
    assert (out, framer.pings, framer.waiting) == (messages, pings, 0)


@given(TOKEN, TEXT, st.binary(max_size=40))
def test_a_header_is_written_and_read_or_refused(name: str, value: str, body: bytes) -> None:
    name = f"x{name}".lower()
    basics = [("via", "SIP/2.0/UDP h;branch=b"), ("from", "<sip:a@b>;tag=1"), ("to", "<sip:b@c>")]
    data = request("INFO", "sip:b@c", [*basics, ("call-id", "c"), ("cseq", "1 INFO"), (name, value)], body)
    message = parse(data)
    assert message.get(name) == value.strip(" \t")
    assert message.body == body
    assert parse(response(message, 200, to_tag="t")).call_id == "c"


@given(TEXT, st.sampled_from(("\r\n", "\r", "\n", "\0", "\r\n ", "\n\t")), TEXT)
def test_nothing_is_smuggled_into_a_message(before: str, breaker: str, after: str) -> None:
    value = before + breaker + after
    try:
        data = request("INFO", "sip:b@c", [("x-thing", value)])
    except LocalProtocolError:
        return
    # Only a NUL behind a backslash, a quoted-pair, may pass.
    assert breaker == "\0"
    assert "\\\0" in value
    assert data.count(b"\r\n") == 4


@given(TEXT)
def test_quoting_is_undone(text: str) -> None:
    assert unquote(quote(text)) == text


@given(PARAMS)
def test_parameters_are_read_as_they_were_written(params: dict[str, str | None]) -> None:
    assert parse_params(format_params(params)) == params


@given(st.lists(st.tuples(TEXT, PARAMS), max_size=5))
def test_lists_of_addresses(made: list[tuple[str, dict[str, str | None]]]) -> None:
    addresses = [NameAddr(display, "sip:a,b@c;x", params) for display, params in made]
    members = [parse_name_addr(member) for member in split_list(", ".join([str(one) for one in addresses]))]
    assert [(one.display, one.uri, one.params) for one in members] == [
        (one.display, one.uri, one.params) for one in addresses
    ]


@st.composite
def uris(draw: st.DrawFn) -> Uri:
    value = st.none() | st.text("abC019%+-.[]", min_size=1, max_size=6)
    return Uri(
        draw(st.sampled_from(("sip", "sips"))),
        draw(TEXT),
        draw(HOST).strip("[]"),
        draw(st.none() | st.integers(0, 65535)),
        draw(st.dictionaries(st.text("abc-", min_size=1, max_size=4), value, max_size=3)),
        draw(st.sampled_from(("", "a=b", "A=%41&b=c"))),
    )


@given(uris())
def test_uris_are_read_as_they_were_written(uri: Uri) -> None:
    again = parse_uri(str(uri))
    assert (again.scheme, again.user, again.host, again.port, again.params, again.headers) == (
        *(uri.scheme, uri.user, uri.host, uri.port, uri.params, uri.headers),
    )
    assert same(uri, again)


@given(uris(), uris())
def test_equivalence_of_uris_is_symmetric(a: Uri, b: Uri) -> None:
    assert same(a, a)
    assert same(a, b) == same(b, a)


@given(TEXT)
def test_escaping_is_undone(text: str) -> None:
    assert unescape(escape_user(text)) == text
    assert escape_user(text).isascii()


@given(
    *(TEXT.filter(bool), TEXT, TEXT, TEXT.filter(bool), st.binary(max_size=20)),
    st.sampled_from(tuple(digest.ALGORITHMS.values())),
    st.sampled_from(("", "auth", "auth-int", "auth,auth-int")),
    st.integers(1, 0xFFFFFFFF),
)
def test_credentials_that_we_make_are_those_that_we_check(
    user: str, realm: str, password: str, nonce: str, body: bytes, algorithm: str, qop: str, nc: int
) -> None:
    offered = digest.parse_challenges([digest.make_challenge(realm, nonce, algorithm, qop=qop)])
    challenge = digest.choose(offered)
    assert challenge is not None
    made = digest.answer(challenge, "REGISTER", "sip:r", user, password, body, "cn", nc)
    got = digest.parse_credentials(made)
    assert (got.username, got.realm, got.nonce) == (user, realm, nonce)
    secret = digest.ha1(got.algorithm, user, realm, password)
    proof = digest.response_digest(
        *(got.algorithm, secret, "REGISTER", got.uri, got.nonce, got.cnonce, got.nc, got.qop, body)
    )
    assert got.response == proof
