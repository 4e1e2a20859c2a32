"""Calls over the GSM network, with SIPp as the carriers: through a gateway number, by callback, and to verify a SIM."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests import ports, proc
from tests.e2e.harness import sip
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.server import HOST
from tests.e2e.harness.sipp import SippRun
from tests.e2e.harness.world import ANA, BEN, OUTSIDE, World
from tests.e2e.test_push import PUSH_PASSWORD, App

pytestmark = [pytest.mark.e2e, pytest.mark.needs("sipp", "openssl")]

SIM = "+33639980001"
"""Of the device ana-sim."""
GATEWAY = "+33199000001"
PROOF = "+33199000009"
MOBILE = "carrier-ouest"
"""The network that the SIMs are in."""


class GatewayWorld(World):
    """The usual world, in which one carrier is the SIMs', and some numbers are the platform's own."""

    def __init__(self, folder: Path) -> None:
        self.mqtt_port = ports.free_port(HOST)
        super().__init__(folder, f'\n[mqtt]\nurl = "embedded"\nlisten = "{HOST}:{self.mqtt_port}"\n')

    def document(self, **changes: str) -> str:
        text = super().document(**changes).replace('prefixes = ["+332"]', 'prefixes = ["+33639980"]')
        phone = 'sip_username = "ben-sim"\n'
        text = text.replace(phone, f'{phone}mqtt_password = "{PUSH_PASSWORD}"\n')
        kinds = {GATEWAY: "call_through", "+33199000002": "call_through", PROOF: "verification"}
        for number, kind in kinds.items():
            text += f'\n[[gateway_number]]\ne164 = "{number}"\ntrunk = "{MOBILE}"\nkind = "{kind}"\n'
        return text

    def ask(self, path: str, **body: object) -> dict[str, Any]:
        """What the app of ana's phone is told."""
        token = self.server.database.with_suffix(".token").read_text().strip()
        request = urllib.request.Request(
            f"http://{HOST}:{self.server.http}{path}",
            data=json.dumps({"device": "ana-sim", **body}).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                told: dict[str, Any] = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            told = json.loads(error.read())
        return told

    def sim_calls(self, number: str, scenario: str = "carrier_calls", sim: str = SIM) -> SippRun:
        """The SIM dials a number; its carrier brings the call."""
        run = SippRun(
            scenario,
            self.folder / "sipp",
            local=self.carriers[MOBILE],
            target=self.server.address(),
            keys={"outside": sim, "called": number},
        )
        self._leaving.append(run.stop)
        return run


@pytest.fixture(scope="module")
def gateway_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayWorld]:
    made = GatewayWorld(tmp_path_factory.mktemp("gateway"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def world(gateway_world: GatewayWorld) -> GatewayWorld:
    return gateway_world


@pytest.mark.rule("OUT-02", "CDR-01")
def test_a_sim_is_led_on_through_a_gateway_number(world: GatewayWorld) -> None:
    """The app asks, the SIM dials, the callee sees the cloud number, and the record tells the whole story."""
    before = world.server.records_now()
    told = world.ask("/v1/call-through", number=ANA, to="01 99 00 12 34")
    assert told["gateway_number"] in (GATEWAY, "+33199000002")
    assert 0 < told["expires_in_s"] <= 45
    callee = world.sipp("carrier_answers")
    sim = world.sim_calls(told["gateway_number"])
    sim.wait()
    callee.wait()
    invite = callee.received("INVITE")
    assert sip.user_of(invite.start.split()[1]) == OUTSIDE
    assert sip.user_of(invite.get("from")) == ANA
    assert SIM not in invite.text
    assert told["gateway_number"] not in invite.text
    record = world.server.record_of(before)
    assert (record["reason"], record["direction"], record["number"]) == ("normal_clearing", "outgoing", ANA)
    assert (record["gateway_number"], record["sim"], record["lease"]) == (
        told["gateway_number"],
        SIM,
        told["lease"],
    )
    assert (record["device"], record["trunk"]) == ("ana-sim", MOBILE)
    assert world.server.metric("cloudline_gateway_calls_total", state="leased") >= 1


@pytest.mark.rule("OUT-02", "DEV-01")
def test_an_app_asks_over_mqtt(world: GatewayWorld) -> None:
    """The whole story for an app with nothing but MQTT: lease, call, and the proof of a SIM."""
    app = App("ben-sim", world.mqtt_port)
    world._leaving.append(app.close)
    told = app.ask("r1", json.dumps({"type": "call_through", "to": OUTSIDE}).encode())
    assert told["ok"], told
    callee = world.sipp("carrier_answers")
    world.sim_calls(told["gateway_number"], sim="+33639980002").wait()
    callee.wait()
    assert sip.user_of(callee.received("INVITE").get("from")) == BEN
    proof = app.ask("r2", json.dumps({"type": "verify", "sim": "+33639980008"}).encode())
    world.sim_calls(proof["gateway_number"], "sim_is_refused", "+33639980008").wait()
    result = app.next()
    assert (result["type"], result["state"]) == ("verification", "verified")
    assert result["verification"] == proof["verification"]


@pytest.mark.rule("OUT-02")
def test_a_lease_serves_one_call(world: GatewayWorld) -> None:
    told = world.ask("/v1/call-through", to=OUTSIDE)
    callee = world.sipp("carrier_answers")
    world.sim_calls(told["gateway_number"]).wait()
    callee.wait()
    before = world.server.records_now()
    world.sim_calls(told["gateway_number"], "sim_is_refused").wait()
    assert world.server.record_of(before)["reason"] == "no_lease"


@pytest.mark.rule("OUT-03", "CDR-01")
def test_a_sim_is_called_back_and_joined_with_the_callee(world: GatewayWorld) -> None:
    before = world.server.records_now()
    sim = world.sipp("carrier_answers", MOBILE)
    callee = world.sipp("callee_hangs_up")
    told = world.ask("/v1/callbacks", number=ANA, to=OUTSIDE)
    callee.wait()
    sim.wait()
    first = sim.received("INVITE")
    assert sip.user_of(first.start.split()[1]) == SIM
    assert sip.user_of(first.get("from")) == told["gateway_number"]
    assert not first.text.partition("\r\n\r\n")[2].strip(), "the SIM's side makes the offer"
    second = callee.received("INVITE")
    assert sip.user_of(second.start.split()[1]) == OUTSIDE
    assert sip.user_of(second.get("from")) == ANA
    assert SIM not in second.text
    # the SIM was told at last where the callee listens, and the callee from the beginning where the SIM does
    joined = [m for m in sim.messages() if m.is_request and m.method == "INVITE"][-1]
    assert f"m=audio {callee.media.port} " in joined.text
    assert f"m=audio {sim.media.port} " in second.text
    record = world.server.record_of(before)
    assert (record["reason"], record["ended_by"], record["sim"]) == ("normal_clearing", "callee", SIM)
    assert [leg["role"] for leg in record["legs"]] == ["caller", "callee"]
    assert record["call_ref"] == told["callback"]


@pytest.mark.rule("OUT-03")
def test_a_sim_that_is_not_answered_calls_nobody(world: GatewayWorld) -> None:
    before = world.server.records_now()
    sim = world.sipp("carrier_rings_and_fails", MOBILE)
    told = world.ask("/v1/callbacks", to=OUTSIDE)
    sim.wait()
    record = world.server.record_of(before)
    assert (record["call_ref"], record["answered_ms"]) == (told["callback"], 0)
    assert [(leg["role"], leg["number"]) for leg in record["legs"]] == [("caller", SIM)]


@pytest.mark.rule("DEV-01")
def test_a_sim_proves_itself_and_is_verified_for_good(world: GatewayWorld) -> None:
    before = world.server.records_now()
    told = world.ask("/v1/verifications", sim="+33639980007")
    assert told["gateway_number"] == PROOF
    world.sim_calls(PROOF, "sim_is_refused", "+33639980007").wait()
    assert world.server.record_of(before)["reason"] == "sim_verified"

    def state() -> str:
        path = f"/v1/verifications/{told['verification']}?device=ana-sim"
        return str(world.server.api(path)["state"])

    assert proc.wait_until(lambda: state() == "verified", 5)
    rows = world.server.rows("SELECT sim, sim_verified FROM devices WHERE ref = ?", "ana-sim")
    assert [(row["sim"], bool(row["sim_verified"])) for row in rows] == [("+33639980007", True)]


@pytest.mark.rule("OUT-02", "OUT-03", "OUT-06", "DEV-01", "DEV-02")
def test_an_operator_asks_in_the_place_of_the_app(world: GatewayWorld) -> None:
    """Everything that an app asks for, on the command line."""
    server = world.server

    def says(*words: str) -> str:
        done = server.cli("phone", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"{OUTSIDE} from {ANA}: nothing has a price" in says(
        "price", "ana-sim", "0199001234", "--seconds", "61"
    )
    told = server.cli_json("phone", "call-through", "ana-sim", OUTSIDE)
    (lease,) = [each for each in server.cli_json("leases", "--user", "ana") if each["id"] == told["lease"]]
    assert (lease["state"], lease["to"], lease["number"]) == ("open", OUTSIDE, ANA)
    callee = world.sipp("carrier_answers")
    world.sim_calls(told["gateway_number"], sim=lease["sim"]).wait()
    callee.wait()
    assert says("call-through", "ana-sim", OUTSIDE, "--hide", "--favourite").startswith("dial +33199")
    (kept,) = [each for each in server.cli_json("leases", "--user", "ana") if each["long"]]
    assert kept["hide"]
    says("release", "ana-sim", kept["id"])
    assert not [
        each
        for each in server.cli_json("leases", "--user", "ana")
        if each["long"] and each["state"] == "open"
    ]
    refused = server.cli("phone", "call-through", "ana-1", OUTSIDE)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "SIM" in refused.stderr

    mobile = world.carrier(MOBILE)
    callback = server.cli_json("phone", "callback", "ana-sim", OUTSIDE)
    sim = Leg.answering(mobile)
    sim.ring()
    says("cancel", "ana-sim", callback["callback"])
    sim.expect_cancel()
    asked = server.cli_json("phone", "verify", "ana-sim", "+33639980033")
    assert asked["gateway_number"] == PROOF
    assert "state: pending" in says("verification", "ana-sim", asked["verification"])
    world.scripted("ana-1")
    assert "bindings: 1" in says("sign-out", "ana-1")
