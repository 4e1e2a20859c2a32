"""What only a real broker can show: TLS, a broker that hangs, MQTT 3.1.1 from our side, users of the operator's own."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import ssl
import time
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from config.mqtt import MqttSettings
from gateway.mqtt_client import BrokerAddress, MqttClient, MqttPushes, address_of
from gateway.push import Outgoing, push_topic
from tests.contract.test_push_channel import nothing_comes, push, received, running, until
from tests.e2e.harness import certificate
from tests.support.brokers import SERVER, SERVER_PASSWORD, Mosquitto, device_client, server_client

pytestmark = [pytest.mark.needs("mosquitto", "openssl"), pytest.mark.rule("DEV-04")]


def tls_client(port: int, ca: str, host: str = "127.0.0.1") -> MqttClient:
    settings = MqttSettings(
        url=f"mqtts://{SERVER}:{SERVER_PASSWORD}@{host}:{port}",
        ca=ca,
        connect_seconds=2.0,
        max_backoff_seconds=0.2,
    )
    return MqttClient(settings, address_of(settings), f"{SERVER}/tls", time.time, lambda: 0.5)


@pytest.fixture
def secured(tmp_path: Path) -> tuple[Mosquitto, Path]:
    """A broker that speaks TLS only, and the authority of its certificate."""
    made = certificate.make(tmp_path, "127.0.0.1")
    broker = Mosquitto(tmp_path)
    config = tmp_path / "mosquitto.conf"
    listener = f"listener {broker.port} 127.0.0.1\n"
    config.write_text(
        config.read_text().replace(listener, f"{listener}certfile {made.chain}\nkeyfile {made.key}\n")
    )
    return broker, Path(made.chain)


def test_a_push_goes_over_tls(secured: tuple[Mosquitto, Path]) -> None:
    async def main() -> None:
        broker, authority = secured
        async with broker:
            context = ssl.create_default_context(cafile=str(authority))
            context.check_hostname = False
            device = aiomqtt.Client(
                "127.0.0.1", broker.port, username="ana-phone", password="ana-secret", tls_context=context
            )
            node = tls_client(broker.port, str(authority), "localhost")
            node.address = BrokerAddress(
                host="127.0.0.1", port=broker.port, tls=True, username=SERVER, password=SERVER_PASSWORD
            )
            async with running(node), device:
                await device.subscribe(push_topic("ana-phone"), qos=1)
                assert MqttPushes(node).put(push(), time.time())
                assert await received(device)

    asyncio.run(main())


@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning"
)  # paho leaves a socket whose handshake failed to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_whose_certificate_nobody_knows_is_not_spoken_to(secured: tuple[Mosquitto, Path]) -> None:
    async def main() -> None:
        broker, _ = secured
        async with broker:
            node = tls_client(broker.port, "")
            task = asyncio.create_task(node.run())
            await until(lambda: node.refusals >= 2)
            assert not node.connected
            assert not MqttPushes(node).put(push(), time.time())
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    gc.collect()


def test_a_broker_that_hangs_costs_a_push_its_time_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with Mosquitto(tmp_path) as broker, running(server_client(broker, send_seconds=0.3)) as node:
            broker.signal(signal.SIGSTOP)
            try:
                began = time.monotonic()
                for number in range(5):
                    assert MqttPushes(node).put(push(call=f"c{number}"), time.time())
                assert time.monotonic() - began < 0.1, "putting never waits"
                await until(lambda: node.results.get(("push", "timeout")) == 5)
                assert time.monotonic() - began < 2.0
            finally:
                broker.signal(signal.SIGCONT)

    asyncio.run(main())


def test_a_broker_that_hangs_for_long_is_left_for_a_new_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with Mosquitto(tmp_path) as broker, running(server_client(broker, keepalive_seconds=2)) as node:
            broker.signal(signal.SIGSTOP)
            try:
                await until(lambda: not node.connected)
            finally:
                broker.signal(signal.SIGCONT)
            await asyncio.wait_for(node.up.wait(), 10)

    asyncio.run(main())


def test_the_node_speaks_3_1_1_where_it_must(tmp_path: Path) -> None:
    async def main() -> None:
        async with Mosquitto(tmp_path) as broker:
            broker.version_5 = False
            asked: list[str] = []
            node = server_client(broker, on_message=lambda topic, payload: asked.append(topic))
            async with running(node), device_client(broker, "ana-phone") as ana:
                await ana.subscribe(push_topic("ana-phone"), qos=1)
                assert MqttPushes(node).put(push(), time.time())
                assert await received(ana)
                await ana.publish("cloudline/v1/devices/ana-phone/requests/r1", b"{}", qos=1)
                await until(lambda: bool(asked))

    asyncio.run(main())


def test_a_push_carries_the_time_after_which_it_is_worth_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with Mosquitto(tmp_path) as broker:
            device = aiomqtt.Client(
                "127.0.0.1",
                broker.port,
                username="ana-phone",
                password="ana-secret",
                protocol=aiomqtt.ProtocolVersion.V5,
            )
            async with running(server_client(broker)) as node, device:
                await device.subscribe(push_topic("ana-phone"), qos=1)
                assert MqttPushes(node).put(push(ttl_s=22.0), time.time())
                (message,) = await received(device)
                properties: Any = message.properties
                assert properties.MessageExpiryInterval == 22

    asyncio.run(main())


def test_an_integration_reads_the_events_of_its_account_and_no_others(tmp_path: Path) -> None:
    async def main() -> None:
        broker = Mosquitto(tmp_path)
        with (tmp_path / "cloudline.passwd").open("a") as passwords:
            passwords.write(
                (tmp_path / "cloudline.passwd").read_text().splitlines()[0].replace("ana-phone", "crm") + "\n"
            )
        with (tmp_path / "cloudline.acl").open("a") as rules:
            rules.write("\nuser crm\ntopic read cloudline/v1/events/calls/acme\n")
        async with (
            broker,
            running(server_client(broker)) as node,
            device_client(broker, "crm", "ana-secret") as crm,
        ):
            await crm.subscribe("cloudline/v1/events/calls/#", qos=1)
            for account in ("zoe", "acme"):
                message = Outgoing(
                    topic=f"cloudline/v1/events/calls/{account}",
                    payload=json.dumps({"subject": account}).encode(),
                    expires_at=time.time() + 60,
                    kind="event",
                )
                assert node.put(message)
            (event,) = await received(crm)
            assert event.topic.value == "cloudline/v1/events/calls/acme"
            await nothing_comes(crm)

    asyncio.run(main())


def test_a_retained_request_is_not_taken_again_and_again(tmp_path: Path) -> None:
    """The broker would bring it at every connection of a node that shares no subscription."""

    async def main() -> None:
        async with Mosquitto(tmp_path) as broker:
            broker.shared = False
            async with device_client(broker, "ana-phone") as ana:
                await ana.publish("cloudline/v1/devices/ana-phone/requests/r1", b"{}", qos=1, retain=True)
            asked: list[str] = []
            async with running(server_client(broker, on_message=lambda topic, payload: asked.append(topic))):
                await asyncio.sleep(0.3)
            assert asked == []

    asyncio.run(main())


def test_the_files_are_what_mosquitto_takes(tmp_path: Path) -> None:
    """It names nothing in its log that it does not understand."""

    async def main() -> None:
        async with Mosquitto(tmp_path):
            await asyncio.sleep(0.1)

    asyncio.run(main())
    lines = (tmp_path / "mosquitto.log").read_text().splitlines()
    complaints = [
        line for line in lines if any(word in line for word in ("Error", "Warning", "Note", "deprecated"))
    ]
    assert [line for line in complaints if "run as root" not in line] == []
