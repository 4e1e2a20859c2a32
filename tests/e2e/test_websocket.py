"""SIP over WebSocket (RFC 7118) with a small client of our own, plain and secure."""

from __future__ import annotations

import socket

import pytest

from tests.e2e.harness import sip
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.wire import WebSocketWire
from tests.e2e.harness.world import BEN, CLEO, OUTSIDE, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("openssl")]


@pytest.mark.parametrize("transport", ["ws", "wss"])
def test_a_browser_is_called(transport: str, world: World) -> None:
    browser = world.scripted("cleo-1", transport)
    assert isinstance(browser.wire, WebSocketWire)
    assert browser.wire.subprotocol == "sip"
    call = Leg.dial(world.carrier(), CLEO, OUTSIDE)
    leg = Leg.answering(browser)
    assert leg.invite is not None
    assert leg.invite.get("via").split()[0] == f"SIP/2.0/{transport.upper()}"
    leg.ring()
    call.expect_provisional(180)
    leg.accept()
    call.expect_answer()
    leg.hang_up()
    call.expect_hang_up()


def test_a_browser_calls(world: World) -> None:
    browser = world.scripted("cleo-2", "wss")
    phone = world.phone("ben-1", "pjsua", "tls")
    call = Leg.dial(browser, BEN, "cleo-2")
    call.dial_with_credentials()
    ringing = phone.incoming()
    call.expect_provisional(180)
    phone.answer(ringing)
    call.expect_answer()
    phone.wait("up", ringing)
    call.hang_up()
    phone.wait("ended", ringing)


def test_the_subprotocol_is_required(world: World) -> None:
    """RFC 7118 section 4: a WebSocket that does not speak sip is refused."""
    with socket.create_connection(world.server.address("ws"), timeout=5) as plain:
        plain.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        answer = plain.recv(4096)
    assert answer.split()[1] != b"101", answer


def test_a_broken_frame_ends_only_its_own_connection(world: World) -> None:
    good = world.scripted("cleo-1", "ws")
    bad = world.wire("ws")
    bad.send("\x00\x01 no SIP at all\r\n\r\n")
    bad.receive(1.0)
    reply = good.register()
    assert reply.status == 200
    assert sip.user_of(reply.get("contact")) == "cleo-1"
