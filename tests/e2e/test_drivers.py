"""The drivers of this folder on a registrar and proxy of somebody else (Kamailio): a test of the tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadtests import ports, proc
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.phone import Phone
from tests.e2e.harness.wire import Address, StreamWire, UdpWire

pytestmark = [pytest.mark.e2e, pytest.mark.needs("kamailio")]
DOMAIN = "driver.example"
PASSWORD = "driver-secret"
NewPhone = Callable[..., Phone]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder = tmp_path_factory.mktemp("kamailio")
    host, port = "127.0.0.1", ports.free_port()
    config = Path(__file__).parent / "harness" / "registrar.cfg"
    command = ["kamailio", "-f", str(config), "-DD", "-E", "-m", "64", "-M", "8", "-w", str(folder)]
    command += ["-Y", str(folder), "-l", f"udp:{host}:{port}", "-l", f"tcp:{host}:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        assert proc.wait_until(lambda: proc.udp_bound((host, port)), 5), (folder / "log").read_text()[-500:]
        yield host, port
    finally:
        proc.stop(process)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("kind", ["pjsua", "baresip"])
def test_two_phones_talk_and_either_hangs_up(
    kind: str, transport: str, proxy: Address, new_phone: NewPhone
) -> None:
    caller, callee = (new_phone(kind, transport, proxy, DOMAIN) for _ in range(2))
    callee.register("bob", PASSWORD)
    caller.register("alice", PASSWORD)
    call = caller.dial("bob")
    ringing = callee.incoming()
    if kind == "pjsua":  # baresip's binding tells of a 180 that comes at once before anybody can listen
        caller.wait("early", call)
    callee.answer(ringing)
    caller.wait("up", call)
    callee.wait("up", ringing)
    caller.hears(call)
    callee.hears(ringing)
    callee.hang_up(ringing)
    caller.wait("ended", call)


def test_a_phone_with_a_wrong_password_is_refused(proxy: Address, new_phone: NewPhone) -> None:
    phone = new_phone("pjsua", "udp", proxy, DOMAIN)
    assert phone.register("eve", "wrong", expect=0) == 401


def test_a_scripted_endpoint_calls_a_phone(proxy: Address, new_phone: NewPhone) -> None:
    callee = new_phone("pjsua", "udp", proxy, DOMAIN)
    callee.register("bob", PASSWORD)
    wire = StreamWire(proxy)
    try:
        agent = Agent(wire, proxy, DOMAIN, "carol", PASSWORD, ports.free_port())
        assert agent.register().status == 200
        leg = Leg.dial(agent, "bob", "carol")
        ringing = callee.incoming()
        leg.expect_provisional(180)
        callee.answer(ringing)
        leg.expect_answer()
        callee.wait("up", ringing)
        leg.hang_up()
        callee.wait("ended", ringing)
    finally:
        wire.close()


def test_a_cancel_is_seen_by_the_scripted_endpoint(proxy: Address, new_phone: NewPhone) -> None:
    caller = new_phone("baresip", "udp", proxy, DOMAIN)
    caller.register("alice", PASSWORD)
    wire = UdpWire(server=proxy)
    try:
        agent = Agent(wire, proxy, DOMAIN, "dora", PASSWORD, ports.free_port())
        assert agent.register().status == 200
        call = caller.dial("dora")
        leg = Leg.answering(agent)
        leg.ring()
        caller.wait("early", call)
        caller.hang_up(call)
        leg.expect_cancel()
    finally:
        wire.close()
