"""Messages in the manner of real devices: read field by field, and every line comes out as it went in."""

from __future__ import annotations

from typing import Any

import pytest

from callcontrol.sip.build import request, response
from callcontrol.sip.digest import parse_credentials
from callcontrol.sip.fields import (
    parse_name_addr,
    parse_reason_header,
    parse_replaces,
    parse_session_expires,
    parse_via,
    split_params,
)
from callcontrol.sip.framer import StreamFramer
from callcontrol.sip.message import Message, parse
from callcontrol.sip.uri import parse_uri, unescape
from tests.corpus.verdicts import CORPUS

FILES = sorted((CORPUS / "devices").glob("*.sip"))

# The eager fields, file by file.
FIELDS: dict[str, dict[str, Any]] = {
    "asterisk-trunk-invite": {
        "method": "INVITE",
        "uri": "sip:+33199000042@203.0.113.9:5060",
        "branch": "z9hG4bKPj0d3e2c1b-4a5f-6978-8796-a5b4c3d2e1f0",
        "sent_by": "203.0.113.26:5060",
        "via_transport": "UDP",
        "from_tag": "7d6c5b4a-3928-1706-f5e4-d3c2b1a09f8e",
        "to_tag": "",
        "cseq": 11932,
        "max_forwards": 70,
        "content_type": "application/sdp",
    },
    "baresip-register": {
        "method": "REGISTER",
        "branch": "z9hG4bK9d0c6b5a4f3e2d1c",
        "via_transport": "TLS",
        "call_id": "8c1d5f2e7a3b4c6d",
        "cseq": 41872,
        "body": b"",
        "content_type": "",
    },
    "carrier-183": {
        "is_request": False,
        "status": 183,
        "reason": "Session Progress",
        "method": "INVITE",
        "branch": "z9hG4bK0102030405",
        "from_tag": "cl-17-3",
        "to_tag": "SD4f3e2d1c-0b0a090807060504",
        "call_id": "cl-17-3@203.0.113.9",
        "cseq": 1,
        "max_forwards": -1,
        "content_type": "application/sdp",
    },
    "cisco-invite": {
        "uri": "sip:15550142@198.51.100.1;user=phone",
        "sent_by": "192.0.2.25:51000",
        "via_transport": "TCP",
        "from_tag": "00aabbccddee01f27d3c4b5a-6f7e8d9c",
        "cseq": 101,
    },
    "freeswitch-refer": {
        "method": "REFER",
        "sent_by": "203.0.113.34",
        "from_tag": "NjK7U2y8Hc4aS",
        "to_tag": "3847162905",
        "cseq": 112358,
    },
    "grandstream-options-v6": {
        "method": "OPTIONS",
        "uri": "sip:[2001:db8::5060]:5060",
        "sent_by": "[2001:db8:0:7::1f]:5060",
        "branch": "z9hG4bK1586223467",
    },
    "jssip-register": {
        "via_transport": "WSS",
        "sent_by": "k9v2m4q7x1z3.invalid",
        "max_forwards": 69,
    },
    "kamailio-200": {
        "status": 200,
        "reason": "OK",
        "method": "INVITE",
        "branch": "z9hG4bK1d2a.3b4c5d6e7f8091a2b3c4d5e6f7081920.0",
        "from_tag": "JkT~w2yQe",
        "to_tag": "as5d6e7f80",
    },
    "linphone-invite": {
        "branch": "z9hG4bK.Qm3x~Zr7c",
        "from_tag": "JkT~w2yQe",
        "to_value": "sip:chloe@sip.example.net",
        "to_tag": "",
        "cseq": 20,
    },
    "pjsip-invite": {
        "from_value": '"Anaïs" <sip:ana@sip.example.net>;tag=6f1d0b9a8c7e4d3f',
        "from_tag": "6f1d0b9a8c7e4d3f",
        "cseq": 27183,
    },
    "sipp-bye": {
        "method": "BYE",
        "branch": "z9hG4bK-4711-1-9",
        "from_tag": "4711SIPpTag001",
        "to_tag": "88SIPpTag011",
        "call_id": "1-4711@127.0.0.1",
    },
    "yealink-subscribe": {
        "method": "SUBSCRIBE",
        "uri": "sip:gina@sip.example.net:5060",
        "sent_by": "192.0.2.31:5062",
        "call_id": "0_3829174650@192.0.2.31",
    },
    "zoiper-register": {
        "uri": "sip:sip.example.net;transport=UDP",
        "sent_by": "198.51.100.24:56789",
        "call_id": "Zq2W8xYv1uT7sR4pN6mK3jH5gF9dS0aL..",
    },
}


def read(name: str) -> Message:
    return parse((CORPUS / "devices" / f"{name}.sip").read_bytes())


def test_every_file_has_its_fields() -> None:
    assert {path.stem for path in FILES} == FIELDS.keys()


@pytest.mark.parametrize("name", FIELDS)
def test_fields(name: str) -> None:
    message = read(name)
    assert {field: getattr(message, field) for field in FIELDS[name]} == FIELDS[name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_line_and_the_body_come_out_byte_for_byte(path: Any) -> None:
    data = path.read_bytes()
    message = parse(data)
    head = "\r\n".join([data.split(b"\r\n")[0].decode(), *(header[2] for header in message.headers)])
    assert head.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + message.body == data


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_raw_lines_cross_into_a_new_request(path: Any) -> None:
    """What a B2BUA passes on without touching it is written as it came, folds and odd spacing included."""
    message = parse(path.read_bytes())
    dropped = ("via", "content-length", "content-type", "cseq")
    crossing = [raw for name, _, raw in message.headers if name not in dropped]
    out = request("INVITE", "sip:b@192.0.2.99", [("", raw) for raw in crossing], message.body)
    for raw in crossing:
        assert f"\r\n{raw}\r\n".encode("utf-8", "surrogateescape") in out
    assert out.endswith(b"\r\n\r\n" + message.body)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stream_of_them_is_cut_right(path: Any) -> None:
    data = path.read_bytes()
    assert StreamFramer().feed(data + data) == [data, data]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_request_can_be_answered(path: Any) -> None:
    message = parse(path.read_bytes())
    if not message.is_request:
        return
    answer = parse(response(message, 486, to_tag="ours"))
    assert answer.to_tag == (message.to_tag or "ours")
    assert (answer.status, answer.reason, answer.method) == (486, "Busy Here", message.method)
    assert answer.all("via") == message.all("via")


def test_binding_of_a_softphone() -> None:
    contact = parse_name_addr(read("baresip-register").items("contact")[0])
    assert contact.params == {
        "expires": "600",
        "+sip.instance": "<urn:uuid:6e0f2c44-1b8e-4d1a-9a77-2f3c4d5e6f70>",
        "reg-id": "1",
    }
    assert parse_uri(contact.uri).params == {"transport": "tls"}


def test_binding_of_a_browser() -> None:
    contact = parse_name_addr(read("jssip-register").items("contact")[0])
    assert contact.params["+sip.ice"] is None
    assert parse_uri(contact.uri).host == "k9v2m4q7x1z3.invalid"


def test_credentials_of_a_softphone() -> None:
    credentials = parse_credentials(read("baresip-register").get("authorization") or "")
    assert (credentials.username, credentials.realm, credentials.algorithm, credentials.qop) == (
        *("bruno", "sip.example.net", "SHA-256", "auth"),
    )
    assert (credentials.nc, credentials.cnonce, credentials.uri) == (
        *("00000002", "c1d2e3f4", "sip:sip.example.net"),
    )


def test_quoted_commas_do_not_split_a_contact() -> None:
    contacts = read("linphone-invite").items("contact")
    assert len(contacts) == 1
    assert parse_name_addr(contacts[0]).params["+org.linphone.specs"] == (
        "conference/2.0,ephemeral/1.1,groupchat/1.2,lime"
    )


def test_diversion_and_identity_from_a_trunk() -> None:
    message = read("asterisk-trunk-invite")
    diversion = parse_name_addr(message.items("diversion")[0])
    assert (parse_uri(diversion.uri).user, diversion.params) == ("+33199000001", {"reason": "unconditional"})
    identity = parse_name_addr(message.items("p-asserted-identity")[0])
    assert (identity.display, parse_uri(identity.uri).user) == ("447700900123", "+447700900123")
    assert parse_session_expires(message.get("session-expires") or "") == (1800, "")


def test_route_set_and_vias_through_a_proxy() -> None:
    message = read("kamailio-200")
    routes = [parse_name_addr(route).uri for route in message.items("record-route")]
    assert routes == [
        "sip:203.0.113.27;lr;ftag=JkT~w2yQe;did=5a1.0c7",
        "sip:203.0.113.27:5061;transport=tls;lr;ftag=JkT~w2yQe;did=5a1.0c7",
    ]
    second = parse_via(message.items("via")[1])
    assert second.params == {
        "received": "198.51.100.77",
        "alias": None,
        "branch": "z9hG4bK.Qm3x~Zr7c",
        "rport": "45678",
    }


def test_replaces_in_a_transfer() -> None:
    refer_to = parse_name_addr(read("freeswitch-refer").get("refer-to") or "")
    name, _, value = parse_uri(refer_to.uri).headers.partition("=")
    assert name == "Replaces"
    replaces = parse_replaces(unescape(value))
    assert (replaces.call_id, replaces.to_tag, replaces.from_tag, replaces.early_only) == (
        *("a84b4c76e66710@192.0.2.35", "7743", "6472", False),
    )


def test_compact_and_unusual_lines_of_a_carrier() -> None:
    message = read("carrier-183")
    assert message.tokens("supported") == ["100rel", "timer"]
    assert message.get("rseq") == "1"
    assert message.get("x-carrier-leg") == '9f;a="x,y";;'
    assert parse_reason_header(message.items("reason")[0]).protocol == "Q.850"
    assert message.get("contact") == "<sip:203.0.113.40:5060;transport=udp>"
    assert len(message.body) == int(message.get("content-length") or "")


def test_a_desk_phone_says_much() -> None:
    message = read("cisco-invite")
    assert len(message.items("supported")) == 15
    assert split_params(message.get("remote-party-id") or "")[1]["screen"] == "yes"
    assert message.get("session-id") == (
        "00112233445566778899aabbccddeeff;remote=00000000000000000000000000000000"
    )
    contact = parse_name_addr(message.items("contact")[0])
    assert contact.params == {"+u.sip!devicename.ccm.cisco.com": "SEP00AABBCCDDEE"}
