"""Writing: what is copied, what is added, and that nothing can be smuggled in."""

from __future__ import annotations

import pytest

from callcontrol.sip.build import REASONS, request, response
from callcontrol.sip.errors import LocalProtocolError
from callcontrol.sip.message import Message, parse

INVITE = (
    b"INVITE sip:bob@example.com SIP/2.0\r\n"
    b"v: SIP/2.0/UDP a;branch=z9hG4bK1\r\n"
    b"Record-Route: <sip:p1;lr>\r\n"
    b"f :\t<sip:alice@example.com>;tag=1\r\n"
    b"VIA: SIP/2.0/UDP b;branch=z9hG4bK2,\r\n SIP/2.0/UDP c\r\n"
    b"record-route:<sip:p2;lr>\r\n"
    b'To: "Bob"\r\n  <sip:bob@example.com> \r\n'
    b"i: abc\r\n"
    b"CSeq: 1  INVITE\r\n"
    b"Timestamp: 54\r\n"
    b"Subject: x\r\n"
    b"\r\n"
)


@pytest.fixture
def invite() -> Message:
    return parse(INVITE)


def test_response_copies_lines_as_they_came(invite: Message) -> None:
    assert response(invite, 180, to_tag="us", headers=[("contact", "<sip:me>")]) == (
        b"SIP/2.0 180 Ringing\r\n"
        b"v: SIP/2.0/UDP a;branch=z9hG4bK1\r\n"
        b"VIA: SIP/2.0/UDP b;branch=z9hG4bK2,\r\n SIP/2.0/UDP c\r\n"
        b"Record-Route: <sip:p1;lr>\r\n"
        b"record-route:<sip:p2;lr>\r\n"
        b"f :\t<sip:alice@example.com>;tag=1\r\n"
        b'To: "Bob"\r\n  <sip:bob@example.com>;tag=us\r\n'
        b"i: abc\r\n"
        b"CSeq: 1  INVITE\r\n"
        b"Contact: <sip:me>\r\n"
        b"Content-Length: 0\r\n"
        b"\r\n"
    )


def test_trying_has_the_timestamp_and_no_tag(invite: Message) -> None:
    m = parse(response(invite, 100, to_tag="us"))
    assert (m.get("timestamp"), m.to_tag, m.has("record-route")) == ("54", "", False)
    assert not parse(response(invite, 180)).has("timestamp")


@pytest.mark.parametrize(
    ("status", "kept"), [(100, False), (180, True), (200, True), (302, False), (486, False)]
)
def test_record_route_where_a_dialog_may_come_of_it(invite: Message, status: int, kept: bool) -> None:
    assert parse(response(invite, status)).has("record-route") is kept


def test_no_record_route_for_a_request_that_forms_no_dialog() -> None:
    options = parse(INVITE.replace(b"INVITE", b"OPTIONS"))
    assert not parse(response(options, 200)).has("record-route")


def test_tag_of_an_existing_dialog_stays() -> None:
    m = parse(INVITE.replace(b"<sip:bob@example.com> ", b"<sip:bob@example.com>;tag=theirs"))
    assert parse(response(m, 200, to_tag="us")).to_tag == "theirs"


def test_tag_behind_an_address_without_brackets() -> None:
    m = parse(INVITE.replace(b'"Bob"\r\n  <sip:bob@example.com> ', b"sip:bob@example.com;user=phone"))
    answer = parse(response(m, 200, to_tag="us"))
    assert (answer.to_tag, answer.to_value) == ("us", "sip:bob@example.com;user=phone;tag=us")


def test_reasons(invite: Message) -> None:
    assert parse(response(invite, 486)).reason == "Busy Here"
    assert parse(response(invite, 486, "Besetzt für immer")).reason == "Besetzt für immer"
    assert parse(response(invite, 499)).reason == "Unknown"
    assert REASONS[423] == "Interval Too Brief"
    assert all(100 <= status < 700 for status in REASONS)


def test_body_and_its_headers(invite: Message) -> None:
    m = parse(response(invite, 200, body=b"v=0\r\n\0\xff", content_type="application/sdp"))
    assert (m.body, m.content_type, m.get("content-length")) == (b"v=0\r\n\0\xff", "application/sdp", "7")


def test_request_is_written_in_the_order_given() -> None:
    data = request(
        "INFO",
        "sip:b@c",
        [
            ("max-forwards", "70"),
            ("call-id", "x"),
            ("X-Odd_Name", " y"),
            ("www-authenticate", "z"),
            ("new-thing", ""),
        ],
        b"hi",
        "text/plain",
    )
    assert data == (
        b"INFO sip:b@c SIP/2.0\r\n"
        b"Max-Forwards: 70\r\n"
        b"Call-ID: x\r\n"
        b"X-Odd_Name:  y\r\n"
        b"WWW-Authenticate: z\r\n"
        b"new-thing: \r\n"
        b"Content-Type: text/plain\r\n"
        b"Content-Length: 2\r\n"
        b"\r\nhi"
    )


def test_bytes_that_are_no_utf8_leave_as_they_came() -> None:
    value = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert b"\r\nSubject: caf\xe9\r\n" in request("INFO", "sip:b", [("subject", value)])


def test_raw_lines_keep_their_folds() -> None:
    raw = "s :  one\r\n two\r\n\tthree "
    assert f"\r\n{raw}\r\n".encode() in request("INFO", "sip:b", [("", raw), ("x-y", "z")])


def test_quoted_nul_may_cross() -> None:
    assert b'"\\\x00"' in request("INFO", "sip:b", [("x-y", '"\\\0"')])


EVIL = ["a\r\nEvil: 1", "a\nEvil: 1", "a\rb", "a\0b", "a\r\n b", "\n", '"\\\\\0"']


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_breaks_out_of_a_request(evil: str) -> None:
    for call in (
        lambda: request("INFO", "sip:b", [("subject", evil)]),
        lambda: request("INFO", "sip:b", [("subject", "ok"), (f"X{evil}", "ok")]),
        lambda: request("INFO", f"sip:b{evil}", []),
        lambda: request(f"INFO{evil}", "sip:b", []),
        lambda: request("INFO", "sip:b", [], b"x", f"text/plain{evil}"),
    ):
        with pytest.raises(LocalProtocolError):
            call()


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_breaks_out_of_a_response(invite: Message, evil: str) -> None:
    for call in (
        lambda: response(invite, 200, evil),
        lambda: response(invite, 200, to_tag=evil),
        lambda: response(invite, 200, headers=[("subject", evil)]),
        lambda: response(invite, 200, headers=[(evil, "x")]),
        lambda: response(invite, 200, content_type=evil),
    ):
        with pytest.raises(LocalProtocolError):
            call()


@pytest.mark.parametrize(
    "raw", ["A: b\r\nEvil: 1", "A: b\n c", "A: b\r\n\r\n c", "A: b\r\n", "A: \0", "\r\n a"]
)
def test_nothing_breaks_out_of_a_raw_line(raw: str) -> None:
    with pytest.raises(LocalProtocolError):
        request("INFO", "sip:b", [("", raw)])


@pytest.mark.parametrize("tag", ["a;b", "a b", 'a"', "<a>", "a,b"])
def test_a_tag_of_ours_is_a_token(invite: Message, tag: str) -> None:
    with pytest.raises(LocalProtocolError):
        response(invite, 200, to_tag=tag)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "é"])
def test_a_name_is_a_token(name: str) -> None:
    with pytest.raises(LocalProtocolError):
        request("INFO", "sip:b", [(name, "x")])


def test_spaces_do_not_move_the_request_line() -> None:
    for method, uri in (("INFO x", "sip:b"), ("INFO", "sip:b SIP/2.0 x")):
        with pytest.raises(LocalProtocolError):
            request(method, uri, [])
