"""Carriers: we register with Kamailio, SIPp refuses and breaks down, and each gets the identity that it asked for."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests import ports, proc
from tests.e2e.harness import sip
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.wire import Address, UdpWire
from tests.e2e.harness.world import ANA, OUTSIDE, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("sipp", "kamailio", "openssl")]

REGISTRAR = "127.0.0.7"
CALLER = "127.0.0.8"
QUICK = """
[trunks]
quick_options_seconds = 0.3
options_timeout_seconds = 0.3
register_retry_seconds = 0.5
"""
PROFILES = {
    "carrier-gb": 'identity = "rpid"\nnumber_format = "international"\ncaller_format = "digits"\n',
    "carrier-us": 'identity = "from"\ntrusted = false\n',
}
"""Extra lines of trunks."""


class Kamailio:
    """The carrier's registrar; ``registrar.cfg`` has one password for all."""

    def __init__(self, folder: Path, address: Address) -> None:
        self.folder = folder
        self.address = address
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        host, port = self.address
        config = Path(__file__).parent / "harness" / "registrar.cfg"
        command = ["kamailio", "-f", str(config), "-DD", "-E", "-m", "64", "-M", "8", "-w", str(self.folder)]
        command += ["-Y", str(self.folder), "-l", f"udp:{host}:{port}"]
        with (self.folder / "kamailio.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        assert proc.wait_until(lambda: proc.udp_bound(self.address), 5)

    def stop(self) -> None:
        if self._process is not None:
            proc.stop(self._process)
            self._process = None


class Carriers(World):
    """The usual world, in which one more carrier wants us to register, and two have tastes of their own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, QUICK)
        self.kamailio = Kamailio(folder, (REGISTRAR, ports.free_port(REGISTRAR)))

    def document(self, **changes: str) -> str:
        text = super().document(**changes)
        for ref, lines in PROFILES.items():
            text = text.replace(f'[[trunk]]\nref = "{ref}"\n', f'[[trunk]]\nref = "{ref}"\n{lines}')
        host, port = self.kamailio.address
        return text + (
            f'\n[[trunk]]\nref = "registers"\npeers = ["sip:{host}:{port};transport=udp"]\nregister = true\n'
            'username = "acme"\npassword = "driver-secret"\ndomain = "carrier.example"\nregister_seconds = 600\n'
            'options_seconds = 1\nheaders = [{ action = "add", name = "X-Account", value = "4711" }]\n'
        )

    def peer(self) -> dict[str, Any]:
        """What ``cloudline trunks`` says of the registrar."""
        trunks = {trunk["ref"]: trunk for trunk in self.server.cli_json("trunks")}
        peer: dict[str, Any] = trunks["registers"]["peers"][0]
        return peer

    def is_registered(self) -> bool:
        return self.peer()["registration"] == "registered"


@pytest.fixture(scope="module")
def carriers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carriers]:
    made = Carriers(tmp_path_factory.mktemp("carriers"))
    try:
        made.kamailio.start()
        made.start()
        yield made
    finally:
        made.close()
        made.kamailio.stop()


@pytest.fixture
def world(carriers: Carriers) -> Carriers:
    return carriers


def call_over_the_registrar(world: Carriers) -> Leg:
    """Somebody calls the number over the carrier that we registered with; it knows us by our contact."""
    host, port = world.kamailio.address
    wire = UdpWire(CALLER, 0, (host, port))
    world._leaving.append(wire.close)
    agent = Agent(wire, (host, port), "carrier.example", rtp_port=ports.free_port(CALLER))
    leg = Leg(agent, sip.new_id(), f"<sip:{OUTSIDE}@carrier.example>;tag={sip.new_id()[:8]}",
              f"<sip:{ANA}@carrier.example>", f"sip:acme@{host}:{port}", 1)  # fmt: skip
    leg.send_invite((), agent.sdp())
    return leg


def test_we_register_with_a_carrier_and_its_calls_come_to_us(world: Carriers) -> None:
    assert proc.wait_until(world.is_registered, 5)
    assert world.server.metric("cloudline_trunk_registered", trunk="registers") == 1
    assert "until" in world.server.cli("trunks").stdout
    phone = world.scripted("ana-1")
    before = world.server.records_now()
    call = call_over_the_registrar(world)
    leg = Leg.answering(phone)
    assert leg.invite is not None
    assert sip.user_of(leg.invite.get("from")) == OUTSIDE
    assert sip.user_of(leg.invite.get("p-called-party-id")) == ANA
    leg.ring()
    leg.accept()
    call.expect_answer()
    call.hang_up()
    leg.expect_hang_up()
    record = world.server.record_of(before)
    assert (record["direction"], record["trunk"], record["called"]) == ("incoming", "registers", ANA)


def test_a_carrier_that_restarts_is_registered_with_again(world: Carriers) -> None:
    """Kamailio forgets all contacts when it ends; OPTIONS notice that it was away."""
    assert proc.wait_until(world.is_registered, 5)
    world.kamailio.stop()
    assert proc.wait_until(lambda: world.peer()["state"] == "down", 15)
    assert world.server.metric("cloudline_trunk_peer_state", trunk="registers", state="down") == 1
    since = world.server.metric("cloudline_trunk_register_requests_total", trunk="registers", result="2xx")
    world.kamailio.start()
    assert proc.wait_until(
        lambda: (
            world.server.metric("cloudline_trunk_register_requests_total", trunk="registers", result="2xx")
            > since
        ),
        15,
    )
    assert world.peer()["state"] == "up"
    phone = world.scripted("ana-1")
    call = call_over_the_registrar(world)
    leg = Leg.answering(phone)
    leg.refuse(486)
    assert call.expect_failure().status == 486
    assert world.server.metric("cloudline_trunk_options_seconds_count", trunk="registers") > 0


def test_a_carrier_that_closed_our_account_is_followed_by_another_one(world: Carriers) -> None:
    """403 of SIPp: the number goes over the next trunk."""
    phone = world.phone("ana-1")
    first = world.sipp("carrier_forbids", "carrier-ouest")
    carrier = world.carrier("carrier-a")
    before = world.server.records_now()
    call = phone.dial("+33261910001")
    leg = Leg.answering(carrier)
    leg.ring()
    leg.accept()
    phone.wait("up", call)
    first.wait()
    phone.hang_up(call)
    leg.expect_hang_up()
    record = world.server.record_of(before)
    tried = [(leg["trunk"], leg["status"]) for leg in record["legs"] if leg["role"] == "callee"]
    assert tried == [("carrier-ouest", 403), ("carrier-a", 200)]
    assert world.server.metric("cloudline_trunk_failovers_total", trunk="carrier-ouest") == 1


def test_no_other_carrier_rings_the_callee_again(world: Carriers) -> None:
    """SIPp rings, then breaks down: the callee has heard the telephone, and it does not ring anew."""
    phone = world.phone("ana-1")
    first = world.sipp("carrier_rings_and_fails", "carrier-ouest")
    carrier = world.carrier("carrier-a")
    call = phone.dial("+33261910001")
    phone.wait("early", call)
    assert phone.wait("ended", call)["code"] == 502
    first.wait()
    carrier.expect_silence(0.3)


@pytest.mark.rule("OUT-07")
def test_each_carrier_is_told_who_calls_as_it_wants(world: Carriers) -> None:
    """Remote-Party-ID and numbers as digits for SIPp; a carrier that is not trusted learns nothing of a hidden number."""
    phone = world.phone("ana-1")
    carrier = world.sipp("carrier_answers", "carrier-gb")
    call = phone.dial("+447700900123")
    phone.wait("up", call)
    phone.hang_up(call)
    carrier.wait()
    invite = carrier.received("INVITE")
    assert sip.user_of(invite.start.split()[1]) == "00447700900123"
    assert sip.user_of(invite.get("from")) == ANA[1:]
    assert sip.user_of(invite.get("remote-party-id")) == ANA[1:]
    assert not invite.get("p-asserted-identity")
    hidden = world.sipp("carrier_answers", "carrier-us")
    other = world.scripted("ana-2")
    leg = Leg.dial(other, "+12025550123", "ana-2", headers=[("Privacy", "id")])
    leg.dial_with_credentials(headers=[("Privacy", "id")])
    leg.expect_answer()
    leg.hang_up()
    hidden.wait()
    for message in hidden.messages():
        assert ANA[4:] not in message.text
    assert hidden.received("INVITE").get("privacy") == "id"


def test_a_route_is_explained(world: Carriers) -> None:
    routes = world.server.cli_json("trunks", "route", "+447700900123")
    assert [route["trunk"] for route in routes][:1] == ["carrier-gb"]
    assert {route["trunk"] for route in routes} == {"carrier-gb", "carrier-a", "carrier-b"}
    assert routes[0]["called"] == "00447700900123"
    assert "prefix +44" in world.server.cli("trunks", "route", "0044 7700 900123").stdout


def test_the_last_thing_is_to_unregister(world: Carriers) -> None:
    """A node that ends takes its contact out: the carrier has nowhere to send a call."""
    assert proc.wait_until(world.is_registered, 5)
    assert world.server.stop() == 0
    call = call_over_the_registrar(world)
    assert call.expect_failure().status == 404
    assert "trunk is left" in world.server.log.read_text()
