"""A phone that sleeps: the push over a real broker wakes it, it registers, gets the INVITE and answers (DEV-04, DEV-05)."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from loadtests import ports, proc
from tests.conftest import find_program
from tests.e2e.harness.server import HOST
from tests.e2e.harness.world import ANA, OUTSIDE, PASSWORD, World
from tests.support.brokers import mosquitto_conf

pytestmark = [pytest.mark.e2e, pytest.mark.needs("sipp", "openssl", "mosquitto")]
PUSH_PASSWORD = "push-secret"
SERVER_PASSWORD = "mqtt-server-secret"


class App:
    """What an app keeps besides its SIP stack: a connection to the broker, and what came over it."""

    def __init__(self, device: str, port: int, password: str = PUSH_PASSWORD) -> None:
        self.device = device
        self.news: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self._ready: queue.Queue[bool] = queue.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=device, clean_session=False)
        self._client.username_pw_set(device, password)
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(f"cloudline/v1/devices/{device}/push", 1), (f"cloudline/v1/devices/{device}/replies/+", 1)]
        )
        self._client.on_subscribe = lambda *_: self._ready.put(True)
        self._client.on_message = lambda _client, _data, message: self.news.put(
            (message.topic.rpartition("/")[2], json.loads(message.payload))
        )
        self._client.connect(HOST, port)
        self._client.loop_start()
        self._ready.get(timeout=5)

    def next(self, timeout: float = 8.0) -> dict[str, Any]:
        return self.news.get(timeout=timeout)[1]

    def ask(self, request: str, body: bytes) -> dict[str, Any]:
        self._client.publish(f"cloudline/v1/devices/{self.device}/requests/{request}", body, qos=1)
        topic, reply = self.news.get(timeout=5)
        assert topic == request
        return reply

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class PushWorld(World):
    """The world, with phones that can be pushed."""

    port = 0

    def document(self, **changes: str) -> str:
        text = super().document(**changes)
        for device in ("ana-sim", "ana-1"):
            text = text.replace(
                f'sip_username = "{device}"\n',
                f'sip_username = "{device}"\nmqtt_password = "{PUSH_PASSWORD}"\n',
            )
        return text


class MosquittoProcess:
    """A Mosquitto with the files of ``cloudline mqtt access``."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = find_program("mosquitto")
        assert program is not None
        config = self._folder / "mosquitto.conf"
        config.write_text(mosquitto_conf(self._port, (self._folder / "cloudline.conf").read_text()))
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(config), "-v"], stdout=log, stderr=log)

    def stop(self) -> None:
        if self._process is not None:
            proc.stop(self._process)
            self._process = None

    def kill(self) -> None:
        """Die without a word to anybody."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(5)
        self._process = None


def made(folder: Path, url: str, listen: str = "127.0.0.1:1883") -> PushWorld:
    settings = f"""
[mqtt]
url = "{url}"
listen = "{listen}"
max_backoff_seconds = 0.5
"""
    return PushWorld(folder, settings.replace("[calls]", ""))


def up(world: PushWorld) -> bool:
    return world.server.metric("cloudline_mqtt_up") == 1


def with_mosquitto(
    world: PushWorld, folder: Path, port: int, stack: contextlib.ExitStack
) -> MosquittoProcess:
    """A Mosquitto with the files that the running node writes for it."""
    done = world.server.cli("mqtt", "access", "--config", str(world.server.config), "--out", str(folder))
    assert done.returncode == 0, done.stderr
    broker = MosquittoProcess(folder, port)
    stack.callback(broker.stop)
    broker.start()
    return broker


@pytest.fixture(params=["mosquitto", "embedded"])
def pushing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PushWorld]:
    """A node with its broker."""
    port = ports.free_port(HOST)
    with contextlib.ExitStack() as stack:
        if request.param == "embedded":
            world = made(tmp_path, "embedded", f"{HOST}:{port}")
        else:
            world = made(tmp_path, f"mqtt://cloudline:{SERVER_PASSWORD}@{HOST}:{port}")
        world.port = port
        stack.callback(world.close)
        world.start()
        if request.param == "mosquitto":
            with_mosquitto(world, tmp_path / "mosquitto", port, stack)
        assert proc.wait_until(lambda: up(world), 10), world.server.tail(20)
        yield world
        complaints = world.server.complaints(0)
        assert not complaints, complaints


@pytest.mark.rule("DEV-04", "DEV-05", "INC-05")
def test_a_sleeping_softphone_wakes_on_the_push_and_answers(pushing: PushWorld) -> None:
    world = pushing
    app = App("ana-1", world.port)
    phone = world.unregistered_phone("pjsua", "tcp")
    before = world.server.records_now()
    carrier = world.sipp("carrier_calls", calling=ANA)
    push = app.next()
    assert (push["type"], push["number"], push["caller"]) == ("incoming_call", ANA, OUTSIDE)
    assert abs(push["sent_at"] - time.time()) < 5
    assert 4 <= push["ttl_s"] <= 5
    phone.register("ana-1", PASSWORD)
    call = phone.incoming()
    phone.answer(call)
    phone.wait("up", call)
    phone.hears(call)
    assert phone.messages("INVITE")[0].get("x-cloudline-call") == push["call"]
    carrier.wait()
    phone.wait("ended", call)
    record = world.server.record_of(before)
    assert (record["call_ref"], record["device"], record["reason"]) == (
        push["call"],
        "ana-1",
        "normal_clearing",
    )
    server = world.server
    assert server.metric("cloudline_wake_seconds_count", result="woke") == 1
    assert server.metric("cloudline_push_requests_total", type="incoming_call", result="accepted") == 2
    (binding,) = [row for row in server.cli_json("registrations") if row["device"] == "ana-1"]
    (wake,) = binding["wakes"]
    assert wake["outcome"] == "woke"
    assert 0 < wake["seconds"] < 5
    app.close()


@pytest.mark.rule("INC-06", "INC-09")
def test_a_phone_that_does_not_wake_is_told_of_the_missed_call_when_it_comes(pushing: PushWorld) -> None:
    world = pushing
    app = App("ana-1", world.port)
    app.close()  # away, with its session kept at the broker
    before = world.server.records_now()
    carrier = world.sipp("carrier_is_refused", calling=ANA)
    carrier.wait()
    record = world.server.record_of(before)
    assert (record["status"], record["reason"]) == (480, "unreachable")
    time.sleep(1.2)  # the push itself has expired by now; brokers count whole seconds
    again = App("ana-1", world.port)
    told = [again.next()["type"]]
    with contextlib.suppress(queue.Empty):
        while True:
            told.append(again.next(1.0)["type"])
    assert "incoming_call" not in told, "nobody is to answer a call that is over"
    assert "missed_call" in told
    again.close()


def test_a_request_over_mqtt_has_its_reply(pushing: PushWorld) -> None:
    app = App("ana-1", pushing.port)
    reply = app.ask("r1", b"no json")
    assert reply["ok"] is False
    assert reply["error"]["code"] == "bad_request"
    asked = json.dumps({"type": "price", "to": OUTSIDE, "number": ANA}).encode()
    reply = app.ask("r2", asked)
    assert reply["ok"] is True
    assert app.ask("r2", asked) == reply, "the same request has the same reply"
    app.close()


def test_a_broker_that_is_away_costs_no_call(tmp_path: Path) -> None:
    """Phones that are there ring as ever, those that sleep cost no time, and the node is ready without its broker."""
    port = ports.free_port(HOST)
    world = made(tmp_path, f"mqtt://cloudline:{SERVER_PASSWORD}@{HOST}:{port}")
    try:
        world.start()
        phone = world.phone("ana-2", "pjsua", "udp")
        carrier = world.sipp("carrier_calls", calling=ANA)
        call = phone.incoming()
        phone.answer(call)
        phone.wait("up", call)
        carrier.wait()
        phone.wait("ended", call)
        phone.close()
        before = world.server.records_now()
        began = time.monotonic()
        world.sipp("carrier_is_refused", calling=ANA).wait()
        assert time.monotonic() - began < 3, "nobody waits for a device that nothing will wake"
        assert world.server.record_of(before)["reason"] == "unreachable"
        server = world.server
        assert server.metric("cloudline_push_requests_total", type="incoming_call", result="refused") >= 2
        assert server.metric("cloudline_mqtt_connect_failures_total") >= 1
        assert server.metric("cloudline_mqtt_up") == 0
        log = server.log.read_text()
        assert f"mqtt://{HOST}:{port}" in log
        assert SERVER_PASSWORD not in log
    finally:
        world.close()


@pytest.mark.rule("DEV-04", "DEV-05", "INC-05")
def test_a_broker_that_is_killed_in_the_middle_of_a_wake(tmp_path: Path) -> None:
    """The phone that was woken is rung all the same; the next call pushes in vain at once; then the broker is found again."""
    port = ports.free_port(HOST)
    with contextlib.ExitStack() as stack:
        world = made(tmp_path, f"mqtt://cloudline:{SERVER_PASSWORD}@{HOST}:{port}")
        stack.callback(world.close)
        world.start()
        broker = with_mosquitto(world, tmp_path / "mosquitto", port, stack)
        assert proc.wait_until(lambda: up(world), 10), world.server.tail(20)
        app = App("ana-1", port)
        phone = world.unregistered_phone("pjsua", "tcp")
        before = world.server.records_now()
        carrier = world.sipp("carrier_calls", calling=ANA)
        assert app.next()["type"] == "incoming_call"
        broker.kill()
        phone.register("ana-1", PASSWORD)
        call = phone.incoming()
        phone.answer(call)
        phone.wait("up", call)
        carrier.wait()
        phone.wait("ended", call)
        assert world.server.record_of(before)["reason"] == "normal_clearing"
        assert proc.wait_until(lambda: not up(world), 5)
        phone.close()
        app.close()

        # nobody is there, and nobody can be woken: that is known at once
        before = world.server.records_now()
        began = time.monotonic()
        world.sipp("carrier_is_refused", calling=ANA).wait()
        assert time.monotonic() - began < 3
        assert world.server.record_of(before)["reason"] == "unreachable"
        refused = world.server.metric("cloudline_push_requests_total", type="incoming_call", result="refused")
        assert refused >= 2

        broker.start()
        assert proc.wait_until(lambda: up(world), 10), "it is tried again, at most half a second apart"
        app = App("ana-1", port)
        stack.callback(app.close)
        carrier = world.sipp("carrier_is_refused", calling=ANA)
        pushed = app.next()
        while pushed["type"] != "incoming_call":
            pushed = app.next()  # what could not be told before
        carrier.wait()
