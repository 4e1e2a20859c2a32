"""URIs: taken apart, printed, compared (RFC 3261 §19.1, RFC 3966, RFC 5118, RFC 5954)."""

from __future__ import annotations

from typing import Any

import pytest

from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.uri import Uri, escape_user, is_ipv6, parse_hostport, parse_uri, same, unescape

PARTS: dict[str, dict[str, Any]] = {
    "sip:alice@atlanta.com": {"scheme": "sip", "user": "alice", "host": "atlanta.com", "port": None},
    "sip:alice:secretword@atlanta.com;transport=tcp": {
        "password": "secretword",
        "params": {"transport": "tcp"},
    },
    "sips:alice@atlanta.com?subject=project%20x&priority=urgent": {
        "scheme": "sips",
        "headers": "subject=project%20x&priority=urgent",
    },
    "sip:+1-212-555-1212:1234@gateway.com;user=phone": {"user": "+1-212-555-1212", "password": "1234"},
    "sips:1212@gateway.com": {"user": "1212"},
    "sip:alice@192.0.2.4": {"host": "192.0.2.4"},
    "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com": {
        "user": "",
        "host": "atlanta.com",
        "params": {"method": "REGISTER"},
        "headers": "to=alice%40atlanta.com",
    },
    "sip:alice;day=tuesday@atlanta.com": {"user": "alice;day=tuesday", "params": {}},
    "SIP:a@EXAMPLE.com:05060;LR;X=Y": {
        "scheme": "sip",
        "host": "example.com",
        "port": 5060,
        "params": {"lr": None, "x": "Y"},
    },
    "sip:user?with@example.com": {"user": "user?with", "host": "example.com", "headers": ""},
    "sip:[2001:db8::1]:5061;transport=tls": {"host": "2001:db8::1", "port": 5061},
    "sip:isa@h?Replaces=a@b;to-tag=1": {"user": "isa", "host": "h", "headers": "Replaces=a@b;to-tag=1"},
    "sip:my_host.lan": {"host": "my_host.lan"},
    "sip:a%20b@h": {"user": "a b"},
    "sip:100%@h": {"user": "100%"},
    "tel:+33-6-39-98-00-01;ext=12": {"scheme": "tel", "user": "+33-6-39-98-00-01", "params": {"ext": "12"}},
    "tel:0042;phone-context=+33": {"user": "0042", "params": {"phone-context": "+33"}},
    "urn:service:sos": {"scheme": "urn", "rest": "service:sos"},
}


@pytest.mark.parametrize("text", PARTS)
def test_parts(text: str) -> None:
    uri = parse_uri(text)
    assert {name: getattr(uri, name) for name in PARTS[text]} == PARTS[text]


@pytest.mark.parametrize("text", PARTS)
def test_printing_says_the_same(text: str) -> None:
    uri = parse_uri(text)
    assert same(parse_uri(str(uri)), uri)
    assert str(parse_uri(str(uri))) == str(uri)


def test_usual_spelling_is_printed_as_it_came() -> None:
    for text in (
        "sip:+33639980001@sip.example.net:5060;transport=udp;ob",
        "sips:[2001:db8::7]:5061;lr",
        "sip:a:b@c?x=y",
        "tel:+33639980001",
        "mailto:a@b",
    ):
        assert str(parse_uri(text)) == text
        assert repr(parse_uri(text)) == f"Uri({text!r})"


@pytest.mark.parametrize(
    "text",
    [
        *("", "sip", "sip:", ":a@b", "sip:@h", "sip:a@", "sip:a@b@c", "1sip:a@b", "s p:a@b"),
        *("sip:a b@c", "sip:a@b>", "<sip:a@b>", "sip:a\t@b", 'sip:"a"@b', "sip:a\x7f@b", "sip:a@b\x00"),
        *("sip:a@b:", "sip:a@b:99999", "sip:a@b:65536", "sip:a@b:x", "sip:a@b:-1", "sip:a@b:٣"),
        *("sip:a@b;", "sip:a@b;;lr", "sip:a@b;=x", "sip:a@b;lr;LR", "sip:a@b/c", "sip:a@b,c"),
        *("sip:2001:db8::1", "sip:[2001:db8::1", "sip:[2001:db8::1]x", "sip:[2001:db8:::1]", "sip:[1.2.3.4]"),
        *("sip:[fe80::1%25eth0]", "sip:[]", "tel:", "tel:alice", "tel:+33;;x", "tel:+33;x;x", "http:"),
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_uri(text)
    assert caught.value.status == 400


# RFC 3261 §19.1.4, the examples of the text
EQUAL = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
    ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::0:1]"),
    ("tel:+33-6-39-98-00-01", "tel:+33639980001"),
    ("tel:0042;phone-context=+33-6", "tel:0042;phone-context=+336"),
    ("tel:0042;phone-context=A.example", "tel:0042;phone-context=a.EXAMPLE"),
    ("tel:+33639980001;ext=1-2", "tel:+33639980001;ext=12"),
    ("urn:x:Y", "URN:x:Y"),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:a@h", "sips:a@h"),
    ("sip:a:x@h", "sip:a:y@h"),
    ("sip:a@h;lr", "sip:a@h"),
    ("sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]"),
    ("sip:a@[2001:db8::1]", "sip:a@h"),
    ("tel:+33639980001", "tel:+33639980002"),
    ("tel:0042;phone-context=+33", "tel:0042"),
    ("tel:+33639980001;ext=12", "tel:+33639980001;ext=13"),
    ("urn:x:Y", "urn:x:y"),
]


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_equivalent(a: str, b: str) -> None:
    assert same(parse_uri(a), parse_uri(b))
    assert same(parse_uri(b), parse_uri(a))


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_not_equivalent(a: str, b: str) -> None:
    assert not same(parse_uri(a), parse_uri(b))
    assert not same(parse_uri(b), parse_uri(a))


def test_equivalence_is_not_transitive() -> None:
    """RFC 3261 §19.1.4 says so: security=on and security=off both match none."""
    plain, on, off = (parse_uri(f"sip:carol@chicago.com{p}") for p in ("", ";security=on", ";security=off"))
    assert same(plain, on)
    assert same(plain, off)
    assert not same(on, off)


def test_escaping_of_the_user_part() -> None:
    assert escape_user("a b@c%:é") == "a%20b%40c%25%3A%C3%A9"
    assert unescape(escape_user("a b@c%:é\udcff")) == "a b@c%:é\udcff"
    assert unescape("%4") == "%4"
    assert unescape("%zz%41%") == "%zzA%"


def test_a_uri_of_ours_is_printed_with_all_its_parts() -> None:
    uri = Uri("sip", "bob", "2001:db8::1", 5070, {"transport": "tcp", "lr": None}, "x=y", "pw")
    assert str(uri) == "sip:bob:pw@[2001:db8::1]:5070;transport=tcp;lr?x=y"
    assert (uri.hostport, uri.is_sip) == ("[2001:db8::1]:5070", True)
    assert (Uri("sip", host="h").hostport, Uri("tel", "1").is_sip) == ("h", False)


def test_host_and_port() -> None:
    assert parse_hostport("Example.COM:5060") == ("example.com", 5060)
    assert parse_hostport("[2001:DB8::1]") == ("2001:db8::1", None)


def test_zones_do_not_leave_their_host() -> None:
    assert is_ipv6("fe80::1")
    assert not any(is_ipv6(text) for text in ("fe80::1%eth0", "[::1]", "192.0.2.1", "", "::ffff:300.1.1.1"))
