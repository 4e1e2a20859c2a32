"""Who speaks through a proxy of ours."""

from __future__ import annotations

import pytest

from callcontrol.proxies import Proxies
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse

PROXY = Flow("udp", "192.0.2.1", 5060, "udp")


def request(*vias: str) -> Message:
    lines = "".join(f"Via: SIP/2.0/UDP {via}\r\n" for via in vias)
    return parse(
        f"INVITE sip:a@x SIP/2.0\r\n{lines}From: <sip:b@x>;tag=1\r\nTo: <sip:a@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
        "Content-Length: 0\r\n\r\n".encode()
    )


@pytest.mark.rule("OPS-05")
def test_only_a_proxy_of_ours_says_who_is_behind_it() -> None:
    message = request(
        "192.0.2.1;branch=z9hG4bKa", "10.0.0.9:5070;branch=z9hG4bKb;received=198.51.100.7;rport=4000"
    )
    proxies = Proxies(["192.0.2.1/32"])
    assert proxies.origin(message, PROXY) == Flow("udp", "198.51.100.7", 4000)
    stranger = Flow("udp", "192.0.2.2", 5060, "udp")
    assert proxies.origin(message, stranger) is stranger


@pytest.mark.parametrize(
    ("below", "found"),
    [
        ("198.51.100.7:5070;branch=z9hG4bKb", ("198.51.100.7", 5070)),
        ("198.51.100.7;branch=z9hG4bKb", ("198.51.100.7", 5060)),
        ("[2001:db8::7]:5070;branch=z9hG4bKb;rport=x", ("2001:db8::7", 5070)),
    ],
)
def test_what_the_via_says(below: str, found: tuple[str, int]) -> None:
    origin = Proxies(["192.0.2.1/32"]).origin(request("192.0.2.1;branch=z9hG4bKa", below), PROXY)
    assert (origin.host, origin.port) == found


def test_what_the_proxy_asks_itself_is_its_own() -> None:
    assert Proxies(["192.0.2.1/32"]).origin(request("192.0.2.1;branch=z9hG4bKa"), PROXY) is PROXY
    assert Proxies([]).origin(request("192.0.2.1;branch=z9hG4bKa"), PROXY) is PROXY
