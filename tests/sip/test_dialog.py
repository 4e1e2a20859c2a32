"""Dialogs (RFC 3261 §12): what is read from peers, and what is written in a dialog."""

from __future__ import annotations

import pytest

from callcontrol.sip import build
from callcontrol.sip.dialog import (
    Dialog,
    assemble,
    contact_uri,
    response_head,
    route_set,
    uac_dialog,
    uas_dialog,
)
from callcontrol.sip.errors import LocalProtocolError
from callcontrol.sip.message import Message, parse


def invite(*headers: tuple[str, str]) -> Message:
    lines = [
        ("via", "SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bK1"),
        ("from", "<sip:a@carrier.example>;tag=them"),
        ("to", "<sip:b@cloudline.example>"),
        ("call-id", "c1"),
        ("cseq", "7 INVITE"),
        *headers,
    ]
    return parse(build.request("INVITE", "sip:b@cloudline.example", lines))


def dialog(routes: list[str], target: str = "") -> Dialog:
    return Dialog(
        "c1", "us", "them", "<sip:b@x>;tag=us", "<sip:a@x>;tag=them", 0, 7, routes, "sip:a@10.0.1.1", target
    )


@pytest.mark.parametrize(
    ("value", "uri"),
    [
        ("<sip:a@10.0.1.1:5060>", "sip:a@10.0.1.1:5060"),
        ('<sips:a@h;transport=tcp;ob>;expires=5;+sip.instance="<urn:uuid:1>"', "sips:a@h;transport=tcp;ob"),
        ("sip:a@h;expires=5", "sip:a@h"),
        ('"A, B" <sip:a@h>', "sip:a@h"),
        ("<sip:a@h>, <sip:b@h>", "sip:a@h"),
        ("<sip:a@h?Subject=x>", "sip:a@h"),
        ("<sip:a@[2001:db8::1]:5060>", "sip:a@[2001:db8::1]:5060"),
        ("<sip:a@h:50600>", "sip:a@h:50600"),
        ("<sip:a?b@h>", "sip:a?b@h"),
        ("*", ""),
        ("<tel:+33199001234>", ""),
        ("<mailto:a@b>", ""),
        ("<sip:>", ""),
        ("<sip:@h>", ""),
        ('"open <sip:a@h>', ""),
        ("", ""),
    ],
)
def test_contact_that_can_be_used(value: str, uri: str) -> None:
    assert contact_uri(invite(("contact", value))) == uri


def test_no_contact() -> None:
    assert contact_uri(invite()) == ""


def test_route_set_leaves_out_what_cannot_be_read() -> None:
    message = invite(
        ("record-route", '<sip:p1;lr>, <sip:p2.example:5070;lr>;x="a,b"'),
        ("record-route", "<mailto:x@y>"),
        ("record-route", "nonsense <"),
        ("record-route", "<sip:p3;lr>"),
    )
    assert route_set(message) == ["<sip:p1;lr>", '<sip:p2.example:5070;lr>;x="a,b"', "<sip:p3;lr>"]


def test_uas_keeps_the_order_of_routes_and_uac_turns_it_round() -> None:
    """§12.1.1, §12.1.2."""
    routes = ("record-route", "<sip:p1;lr>, <sip:p2;lr>")
    request = invite(routes, ("contact", "<sip:a@10.0.1.1>"))
    assert uas_dialog(request, "us", "").route_set == ["<sip:p1;lr>", "<sip:p2;lr>"]
    answer = parse(build.response(request, 200, "", "us", (("contact", "<sip:b@10.0.2.1>"),)))
    made = uac_dialog(answer, "<sip:a@carrier.example>;tag=them", 7, "", "sip:dialled@x")
    assert made.route_set == ["<sip:p2;lr>", "<sip:p1;lr>"]
    assert (made.local_tag, made.remote_tag, made.remote_target) == ("them", "us", "sip:b@10.0.2.1")


def test_a_2xx_without_usable_contact_leads_to_where_it_was_dialled() -> None:
    answer = parse(build.response(invite(), 200, "", "us", (("contact", "<mailto:x>"),)))
    assert uac_dialog(answer, "", 7, "", "sip:dialled@x").remote_target == "sip:dialled@x"


def test_loose_routes() -> None:
    text = dialog(["<sip:p1;lr>", "<sip:p2;lr>"]).request("BYE", 1, [], b"", "").decode()
    assert text.startswith("BYE sip:a@10.0.1.1 SIP/2.0\r\nRoute: <sip:p1;lr>\r\nRoute: <sip:p2;lr>\r\n")


def test_a_strict_router_becomes_the_request_uri() -> None:
    """§12.2.1.1, for elements of RFC 2543."""
    text = dialog(["<sip:old>", "<sip:p2;lr>"]).request("BYE", 1, [], b"", "").decode()
    assert text.startswith("BYE sip:old SIP/2.0\r\nRoute: <sip:p2;lr>\r\nRoute: <sip:a@10.0.1.1>\r\n")


def test_next_hop() -> None:
    assert dialog(["<sip:p1;lr>"], "flow").next_hop() == "flow"
    assert dialog(["<sip:p1;lr>"]).next_hop() == "sip:p1;lr"
    assert dialog([]).next_hop() == "sip:a@10.0.1.1"


def test_cseq_counts_upwards() -> None:
    """§12.2.2."""
    made = dialog([])
    assert not made.accepts(7)
    assert not made.accepts(3)
    assert made.accepts(9)
    assert not made.accepts(8)
    assert [made.next_cseq(), made.next_cseq()] == [1, 2]


def test_target_refresh_without_contact_changes_nothing() -> None:
    made = dialog([])
    made.refresh_target(invite())
    made.refresh_target(invite(("contact", "<mailto:x>")))
    assert made.remote_target == "sip:a@10.0.1.1"
    made.refresh_target(invite(("contact", "<sip:new@h>")))
    assert made.remote_target == "sip:new@h"


@pytest.mark.parametrize("line", ["X: a\r\nEvil: b", "X: a\nEvil: b", "X: a\rb", "X: \0"])
def test_header_injection_is_our_bug(line: str) -> None:
    with pytest.raises(LocalProtocolError):
        assemble(["BYE sip:a SIP/2.0", line], b"", "")


def test_nul_behind_a_backslash_is_legal_in_a_header_and_nowhere_else() -> None:
    assert b"\\\0" in assemble(["BYE sip:a SIP/2.0", 'From: "\\\0" <sip:a>'], b"", "")
    with pytest.raises(LocalProtocolError):
        assemble(["BYE sip:\\\0 SIP/2.0"], b"", "")


def test_a_body_without_a_type_gets_none() -> None:
    assert assemble(["INFO sip:a SIP/2.0"], b"x", "") == b"INFO sip:a SIP/2.0\r\nContent-Length: 1\r\n\r\nx"


def test_response_repeats_vias_and_unfolds_what_was_folded() -> None:
    raw = (
        b"INVITE sip:b@x SIP/2.0\r\nv: SIP/2.0/UDP 10.0.1.1:5060\r\n ;branch=z9hG4bK1\r\nVia: SIP/2.0/TCP two;branch=z9hG4bK2\r\n"
        b"f: <sip:a@x>;tag=1\r\nt: <sip:b@x>\r\ni: c1\r\nCSeq: 1 INVITE\r\nRecord-Route: <sip:p;lr>\r\nTimestamp: 54\r\n\r\n"
    )
    message = parse(raw)
    assert response_head(message, True) == [
        "v: SIP/2.0/UDP 10.0.1.1:5060 ;branch=z9hG4bK1",
        "Via: SIP/2.0/TCP two;branch=z9hG4bK2",
        "Record-Route: <sip:p;lr>",
        "From: <sip:a@x>;tag=1",
        "To: <sip:b@x>",
        "Call-ID: c1",
        "CSeq: 1 INVITE",
        "Timestamp: 54",
    ]
    assert "Record-Route: <sip:p;lr>" not in response_head(message, False)
