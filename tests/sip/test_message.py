"""The parser: usual messages, odd spellings, defects with their status, bounds."""

from __future__ import annotations

import pytest

from callcontrol.sip.build import response
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.message import Limits, Message, is_keep_alive, parse

LINES = {
    "start": "INVITE sip:bob@192.0.2.4 SIP/2.0",
    "via": "Via: SIP/2.0/UDP client.example.com:5060;branch=z9hG4bK74bf9;rport",
    "max-forwards": "Max-Forwards: 70",
    "from": "From: Alice <sip:alice@example.com>;tag=9fxced76sl",
    "to": "To: Bob <sip:bob@example.com>",
    "call-id": "Call-ID: 3848276298220188511@example.com",
    "cseq": "CSeq: 2 INVITE",
}


def wire(*more: str, body: bytes = b"", without: str = "", **other: str) -> bytes:
    """The usual INVITE with some lines replaced (``_`` for ``-``, ``from_``), left out, or added."""
    lines = {**LINES, **{name.rstrip("_").replace("_", "-"): line for name, line in other.items()}}
    lines.pop(without, None)
    return "\r\n".join([*lines.values(), *more, "", ""]).encode("utf-8", "surrogateescape") + body


def refused(data: bytes, limits: Limits | None = None) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        parse(data, limits or Limits())
    return caught.value


def test_usual_request() -> None:
    data = wire("Content-Type: Application/SDP ; x=y", "Content-Length: 3", body=b"v=0")
    m = parse(data)
    assert m.is_request
    assert (m.method, m.uri, m.status, m.reason) == ("INVITE", "sip:bob@192.0.2.4", 0, "")
    assert (m.branch, m.sent_by, m.via_transport) == ("z9hG4bK74bf9", "client.example.com:5060", "UDP")
    assert m.top_via == "SIP/2.0/UDP client.example.com:5060;branch=z9hG4bK74bf9;rport"
    assert (m.from_tag, m.to_tag) == ("9fxced76sl", "")
    assert (m.from_value, m.to_value) == (
        *("Alice <sip:alice@example.com>;tag=9fxced76sl", "Bob <sip:bob@example.com>"),
    )
    assert (m.call_id, m.cseq, m.cseq_method) == ("3848276298220188511@example.com", 2, "INVITE")
    assert (m.max_forwards, m.content_type, m.body, m.data) == (70, "application/sdp", b"v=0", data)
    assert repr(m) == "<Message 'INVITE sip:bob@192.0.2.4' '3848276298220188511@example.com' 2 INVITE>"


def test_usual_response() -> None:
    m = parse(wire(start="SIP/2.0 486 Busy Here", without="max-forwards"))
    assert not m.is_request
    assert (m.status, m.reason, m.method, m.uri, m.max_forwards) == (486, "Busy Here", "INVITE", "", -1)
    assert "486 Busy Here" in repr(m)


def test_response_to_a_method_nobody_knows() -> None:
    m = parse(wire(start="sip/2.0 200 OK", cseq="CSeq: 7 FROBNICATE"))
    assert (m.method, m.cseq, m.status) == ("FROBNICATE", 7, 200)


def test_access_to_headers() -> None:
    m = parse(
        wire(
            'Contact: "A, B" <sip:a@b>, <sip:c@d>',
            "m: <sip:e@f>",
            "Supported:",
            "k: Timer, 100REL",
            "X-Thing: 1",
            "x-thing:2",
        )
    )
    assert m.get("contact") == '"A, B" <sip:a@b>, <sip:c@d>'
    assert m.all("contact") == ['"A, B" <sip:a@b>, <sip:c@d>', "<sip:e@f>"]
    assert m.items("contact") == ['"A, B" <sip:a@b>', "<sip:c@d>", "<sip:e@f>"]
    assert (m.get("supported"), m.has("supported")) == ("", True)
    assert m.tokens("supported") == ["timer", "100rel"]
    assert m.all("x-thing") == ["1", "2"]
    assert (m.get("route"), m.has("route"), m.all("route"), m.items("route"), m.tokens("route")) == (
        *(None, False, [], [], []),
    )


def test_headers_keep_order_names_values_and_raw_lines() -> None:
    m = parse(wire("X-B :  two words\t", "x-a:", "s:Hello"))
    assert m.headers[-3:] == [
        ("x-b", "two words", "X-B :  two words\t"),
        ("x-a", "", "x-a:"),
        ("subject", "Hello", "s:Hello"),
    ]
    assert [header[0] for header in m.headers[:6]] == [name for name in LINES if name != "start"]


def test_folded_lines() -> None:
    m = parse(wire("Subject: one", " two\t", "\tthree: four", "X-Y: y", to="To:\r\n  <sip:b@c>\r\n ;tag=5"))
    assert m.get("subject") == "one two three: four"
    assert (m.to_tag, m.to_value) == ("5", "<sip:b@c> ;tag=5")
    assert ("subject", "one two three: four", "Subject: one\r\n two\t\r\n\tthree: four") in m.headers
    assert m.headers[-1] == ("x-y", "y", "X-Y: y")


def test_a_fold_of_nothing_but_space() -> None:
    assert parse(wire("Subject: one", " ", "X-Y: y")).get("subject") == "one"


def test_bytes_that_are_no_utf8_cross() -> None:
    line = b"X-Latin: Andr\xe9 \xff\xfe\x80"
    data = wire("X-Latin: @").replace(b"X-Latin: @", line)
    m = parse(data)
    assert m.headers[-1][2].encode("utf-8", "surrogateescape") == line


def test_odd_spellings_of_eager_fields() -> None:
    m = parse(
        wire(
            via="v: SIP / 2.0 / tcp Host.Example ; branch = z9hG4bKa , SIP/2.0/UDP b",
            max_forwards="max-forwards: 007",
            to='t: "B \\" B" <sip:b@c;tag=no> ; foo=bar ; TAG = yes',
            cseq="CSEQ:\t0002  INVITE",
            start="INVITE sip:bob@192.0.2.4 sip/2.0",
        )
    )
    assert (m.via_transport, m.sent_by, m.branch) == ("TCP", "host.example", "z9hG4bKa")
    assert m.top_via == "SIP / 2.0 / tcp Host.Example ; branch = z9hG4bKa"
    assert (m.max_forwards, m.cseq, m.to_tag) == (7, 2, "yes")


def test_tag_is_looked_for_outside_quotes_and_brackets() -> None:
    m = parse(wire(from_='From: ";tag=x" <sip:a@b;tag=y>;p=";tag=z"'))
    assert m.from_tag == ""


def test_branch_is_looked_for_outside_other_parameters() -> None:
    m = parse(wire(via="Via: SIP/2.0/UDP h;xbranch=1;y=branch;Branch=z9hG4bKx"))
    assert m.branch == "z9hG4bKx"
    m = parse(wire(via='Via: SIP/2.0/UDP h;y=";branch=no";branch=yes'))
    assert m.branch == "yes"


def test_empty_lines_in_front_are_skipped() -> None:
    assert parse(b"\r\n\r\n\r\n" + wire()).method == "INVITE"
    assert parse(b"\r\n" + wire("l: 1", body=b"x")).body == b"x"


def test_body_and_content_length() -> None:
    assert parse(wire(body=b"rest")).body == b"rest"
    assert parse(wire("l: 0002", body=b"rest")).body == b"re"
    assert parse(wire("Content-Length: 0", body=b"rest")).body == b""
    assert parse(wire("l: 4", body=b"\r\n\r\n")).body == b"\r\n\r\n"


DEFECTS: dict[str, bytes] = {
    "malformed request line": wire(start="INVITE"),
    "malformed request line ": wire(start="INVITE  sip:a@b SIP/2.0"),
    "malformed request line  ": wire(start="GET / HTTP/1.1"),
    "malformed request line   ": wire(start="INVITE sip:a@b SIP/2.x"),
    "malformed method": wire(start="INV@TE sip:a@b SIP/2.0"),
    "malformed status line": wire(start="SIP/2.0 20 OK"),
    "malformed status line ": wire(start="SIP/2.0 700 Late"),
    "malformed status line  ": wire(start="SIP/3.0 200 OK"),
    "Request-URI: malformed host": wire(start="INVITE sip:a@ SIP/2.0"),
    "Request-URI: URI without scheme": wire(start="INVITE bob SIP/2.0"),
    "Request-URI with headers": wire(start="INVITE sip:a@b?x=y SIP/2.0"),
    "malformed header line": wire("no colon here"),
    "malformed header line ": wire(": no name"),
    "malformed header line  ": wire("bad name: x"),
    "malformed header line   ": wire("Via"),
    "malformed header line    ": wire("X-Y", " : folded before the colon"),
    "malformed header line     ": wire(start=LINES["start"] + "\r\n folded"),
    "mandatory header missing": wire(without="from"),
    "mandatory header missing ": wire(without="to"),
    "mandatory header missing  ": wire(without="call-id"),
    "mandatory header missing   ": wire(without="cseq"),
    "mandatory header missing    ": wire(without="via"),
    "empty Via": wire(via="Via:"),
    "Via: malformed host": wire(via="Via: SIP/2.0/UDP ;branch=1"),
    "Via: malformed parameter": wire(via="Via: SIP/2.0/UDP h;;branch=1"),
    "Via: malformed branch": wire(via='Via: SIP/2.0/UDP h;branch="a b"'),
    "Via: malformed branch ": wire(via="Via: SIP/2.0/UDP h;branch"),
    "Via of another protocol version": wire(via="Via: SIP/3.0/UDP h;branch=1"),
    "From: display name must be quoted": wire(from_="From: A, B <sip:a@b>;tag=1"),
    "From: malformed tag": wire(from_="From: <sip:a@b>;tag="),
    "To: malformed tag": wire(to='To: <sip:a@b>;tag="a;b"'),
    "To: malformed tag ": wire(to="To: <sip:a@b>;tag"),
    "malformed Call-ID": wire(call_id="Call-ID: a b"),
    "malformed Call-ID ": wire(call_id="Call-ID:"),
    "malformed CSeq": wire(cseq="CSeq: INVITE"),
    "malformed CSeq ": wire(cseq="CSeq: -2 INVITE"),
    "CSeq number too large": wire(cseq="CSeq: 4294967296 INVITE"),
    "CSeq method differs from the request's": wire(cseq="CSeq: 2 invite"),
    "malformed Max-Forwards": wire(max_forwards="Max-Forwards: 256"),
    "malformed Max-Forwards ": wire(max_forwards="Max-Forwards: many"),
    "malformed Max-Forwards  ": wire(max_forwards="Max-Forwards: -1"),
    "malformed Max-Forwards   ": wire(max_forwards="Max-Forwards: ²"),
    "malformed Content-Length": wire("l: x"),
    "malformed Content-Length ": wire("l: 99999999999"),
    "body shorter than Content-Length": wire("l: 5", body=b"four"),
    "Content-Length given more than once": wire("Content-Length: 0", "l: 0"),
    "Call-ID given more than once": wire("i: another"),
    "From given more than once": wire("f: <sip:a@b>;tag=9fxced76sl"),
    "Replaces given more than once": wire(
        "Replaces: a;to-tag=1;from-tag=2", "Replaces: b;to-tag=1;from-tag=2"
    ),
    "CR or LF alone in the header section": wire("X-Y: a\nEvil: b"),
    "CR or LF alone in the header section ": wire("X-Y: a\rb"),
    "NUL in the header section": wire("X-Y: a\0b"),
    "NUL in the header section ": wire('X-Y: "\\\\\0"'),
    "header section without end": wire()[:-2],
    "malformed request line    ": b"",
}


@pytest.mark.parametrize("reason", DEFECTS)
def test_defects_are_named(reason: str) -> None:
    error = refused(DEFECTS[reason])
    assert (error.status, error.reason) == (400, reason.strip())
    assert str(error) == f"400 {reason.strip()}"


def test_another_version_is_505_whatever_else_is_wrong() -> None:
    error = refused(wire("l: x", start="INVITE sip:a@b SIP/3.0", via="Via: SIP/3.0/UDP h:5070;branch=1"))
    assert (error.status, error.reason) == (505, "SIP version not supported")
    assert error.message is not None
    assert error.message.sent_by == "h:5070"


def test_quoted_nul_is_legal() -> None:
    assert parse(wire('X-Y: "\\\0"', 'Y: "\\\\\\\0"')).has("x-y")


def test_scalar_headers_that_only_inform_may_be_doubled() -> None:
    assert parse(wire("Subject: a", "Subject: b", "User-Agent: x", "User-Agent: y")).get("subject") == "a"


def test_a_defect_leaves_what_an_answer_needs() -> None:
    error = refused(wire("l: x", "no colon", max_forwards="Max-Forwards: x"))
    assert error.message is not None
    m = parse(response(error.message, 400, "Bad Things", to_tag="us"))
    assert (m.status, m.reason, m.branch, m.call_id, m.cseq, m.from_tag, m.to_tag) == (
        *(400, "Bad Things", "z9hG4bK74bf9", "3848276298220188511@example.com", 2, "9fxced76sl", "us"),
    )


@pytest.mark.parametrize("name", ["via", "from", "to", "call-id", "cseq"])
def test_no_answer_without_what_it_needs(name: str) -> None:
    assert refused(wire(without=name)).message is None


def test_no_answer_to_what_could_break_it() -> None:
    assert refused(wire("X-Y: a\nVia: evil")).message is None
    assert refused(wire("X-Y: a\0")).message is None


def test_a_malformed_response_is_marked_as_one() -> None:
    error = refused(wire("l: x", start="SIP/2.0 200 OK"))
    assert error.message is not None
    assert not error.message.is_request


def test_refusal_of_a_malformed_via_can_be_stamped() -> None:
    """The endpoint writes received into the top Via before it answers; it must find a sane one."""
    error = refused(wire(via='Via: SIP/2.0/UDP h:5070;;x="open, SIP/2.0/UDP g'))
    assert error.message is not None
    assert (error.message.top_via, error.message.sent_by) == ("SIP/2.0/UDP h:5070", "h:5070")


def test_stamping_the_top_via() -> None:
    m = parse(
        wire("Via: SIP/2.0/UDP third", via='V: SIP/2.0/UDP h;branch=1;rport, SIP/2.0/UDP second;x="a,b"')
    )
    m.set_top_via("SIP/2.0/UDP h;branch=1;rport=5;received=192.0.2.1")
    assert m.top_via == "SIP/2.0/UDP h;branch=1;rport=5;received=192.0.2.1"
    assert m.items("via") == [m.top_via, 'SIP/2.0/UDP second;x="a,b"', "SIP/2.0/UDP third"]
    assert m.get("via") == f'{m.top_via}, SIP/2.0/UDP second;x="a,b"'
    assert parse(response(m, 200)).items("via") == m.items("via")


def test_bounds() -> None:
    assert refused(wire(), Limits(max_message=100)).status == 513
    limits = Limits(max_headers=12, max_line=80, max_vias=3)
    assert parse(wire(*["X-Y: y"] * 6), limits).all("x-y") == ["y"] * 6
    assert refused(wire(*["X-Y: y"] * 7), limits).reason == "too many header lines"
    assert parse(wire("X-Y: " + "y" * 75), limits).has("x-y")
    assert refused(wire("X-Y: " + "y" * 76), limits).reason == "header line too long"
    via = "Via: SIP/2.0/UDP h"
    assert parse(wire(via, via), limits).all("via")[1:] == ["SIP/2.0/UDP h"] * 2
    assert refused(wire(via, via, via), limits).reason == "too many Via values"
    assert refused(wire(f"{via}, SIP/2.0/UDP a, SIP/2.0/UDP b"), limits).reason == "too many Via values"
    assert refused(wire(via="v: " + ",".join(["SIP/2.0/UDP h"] * 4)), limits).reason == "too many Via values"
    assert parse(wire(via="v: " + ",".join(["SIP/2.0/UDP h"] * 3)), limits).branch == ""


def test_no_pattern_takes_more_than_linear_time() -> None:
    """Values at the bound that make backtracking patterns hang; each parse here takes about a millisecond."""
    long = "a" * 16000
    slashes = "\\" * 15999
    for line in (
        *(
            f'From: "{long}',
            f"From: {long}",
            f"From: {'a ' * 8000}",
            f"From: <sip:{long}",
            f"f: {'<' * 16000}",
        ),
        *(f"From: <sip:a@b>{';a' * 8000};", f'From: {slashes}"', f'From: "{slashes}'),
    ):
        assert refused(wire(from_=line)).status == 400
    for line in (
        f"Via: SIP/2.0/UDP h{';a=b' * 4000};",
        f"Via: {'/' * 16000}",
        f"Via: SIP/2.0/UDP {'[' * 16000}",
    ):
        assert refused(wire(via=line)).status == 400
    assert refused(wire(start=f"INVITE sip:{long[:8000]}@{'a.' * 3000}@ SIP/2.0")).status == 400
    assert refused(wire(cseq=f"CSeq: {'9' * 16000} INVITE")).status == 400


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0", b" \t\r\n", b"\0\0\0\0"])
def test_keep_alives(data: bytes) -> None:
    assert is_keep_alive(data)
    assert refused(data).message is None


def test_a_message_is_no_keep_alive() -> None:
    assert not is_keep_alive(wire())
    assert not is_keep_alive(b"jaK\0")


def test_messages_leave_no_cyclic_garbage() -> None:
    import gc

    data = wire("Contact: <sip:a@b>", body=b"x")
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            message: Message | None = parse(data)
            assert message is not None
            response(message, 200, to_tag="x")
        message = None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_addresses_in_brackets_alone_each_give_their_own_tag() -> None:
    m = parse(
        wire(from_="From: <sip:alice@example.com>;tag=9fxced", to="To: <sip:bob@example.com>;tag=a6c85cf")
    )
    assert (m.from_tag, m.to_tag) == ("9fxced", "a6c85cf")
    assert (
        parse(wire(from_="From: <sip:alice@example.com>;tag=9fxced", to="To: <sip:bob@example.com>")).to_tag
        == ""
    )
