"""The way of pushes, requests and replies: one suite, on the built-in broker and on a real Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiomqtt
import pytest

from gateway.mqtt_client import MqttClient, MqttPushes
from gateway.push import DevicePush, Outgoing, push_topic, reply_topic
from tests.support.brokers import (
    PASSWORDS,
    SERVER_PASSWORD,
    Broker,
    Embedded,
    Mosquitto,
    device_client,
    server_client,
)

Scene = Callable[[Broker], Awaitable[None]]
QUIET_S = 0.3
"""How long a test waits for what must not come."""


@pytest.fixture(params=["embedded", pytest.param("mosquitto", marks=pytest.mark.needs("mosquitto"))])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scene], None]:
    """Plays a scene with a fresh broker."""

    def run(scene: Scene) -> None:
        async def main() -> None:
            broker: Broker = Embedded(tmp_path) if request.param == "embedded" else Mosquitto(tmp_path)
            async with broker:
                await asyncio.wait_for(scene(broker), 30)

        asyncio.run(main())

    return run


@contextlib.asynccontextmanager
async def running(client: MqttClient) -> AsyncIterator[MqttClient]:
    task = asyncio.create_task(client.run())
    try:
        up = asyncio.create_task(client.up.wait())
        await asyncio.wait((task, up), timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert not task.done(), task.exception()
        assert up.done(), "no connection"
        yield client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def push(device: str = "ana-phone", ttl_s: float = 30.0, call: str = "c1") -> DevicePush:
    return DevicePush(
        device=device,
        type="incoming_call",
        call=call,
        uuid="5f0f0d1e-0000-5000-8000-000000000001",
        number="+33639981001",
        caller="+33199001234",
        sent_at=time.time(),
        ttl_s=ttl_s,
    )


async def received(client: aiomqtt.Client, count: int = 1) -> list[aiomqtt.Message]:
    found: list[aiomqtt.Message] = []
    async with asyncio.timeout(5):
        async for message in client.messages:
            found.append(message)
            if len(found) == count:
                break
    return found


async def nothing_comes(client: aiomqtt.Client) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(QUIET_S):
            async for message in client.messages:
                pytest.fail(f"{message.topic} came: {message.payload!r}")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.rule("DEV-04")
def test_a_push_reaches_its_device_and_no_other(play: Callable[[Scene], None]) -> None:
    async def scene(broker: Broker) -> None:
        async with (
            running(server_client(broker)) as node,
            device_client(broker, "ana-phone") as ana,
            device_client(broker, "ben-phone") as ben,
        ):
            await ana.subscribe(push_topic("ana-phone"), qos=1)
            await ben.subscribe(push_topic("ben-phone"), qos=1)
            sent = push()
            assert MqttPushes(node).put(sent, time.time())
            (message,) = await received(ana)
            assert message.topic.value == "cloudline/v1/devices/ana-phone/push"
            assert message.qos == 1
            assert json.loads(bytes(message.payload)) == {  # type: ignore[arg-type]
                "type": "incoming_call",
                "call": "c1",
                "uuid": "5f0f0d1e-0000-5000-8000-000000000001",
                "number": "+33639981001",
                "caller": "+33199001234",
                "sent_at": round(sent.sent_at, 3),
                "ttl_s": 30.0,
            }
            await nothing_comes(ben)
            await until(lambda: node.results == {("push", "delivered"): 1})
            assert sum(node.latency.counts) == 1

    play(scene)


@pytest.mark.rule("DEV-04")
def test_what_waited_for_a_device_is_delivered_unless_its_time_has_passed(
    play: Callable[[Scene], None],
) -> None:
    async def scene(broker: Broker) -> None:
        async with device_client(broker, "ana-phone", persistent=True) as ana:
            await ana.subscribe(push_topic("ana-phone"), qos=1)
        async with running(server_client(broker)) as node:
            pushes = MqttPushes(node)
            assert pushes.put(push(ttl_s=1.0, call="stale"), time.time())
            assert pushes.put(push(ttl_s=60.0, call="fresh"), time.time())
            await until(lambda: node.results.get(("push", "delivered")) == 2)
            await asyncio.sleep(2.1)  # MQTT counts whole seconds
            async with device_client(broker, "ana-phone", persistent=True) as ana:
                (message,) = await received(ana)
                assert json.loads(bytes(message.payload))["call"] == "fresh"  # type: ignore[arg-type]
                await nothing_comes(ana)

    play(scene)


@pytest.mark.rule("DEV-04")
def test_pushes_to_one_device_arrive_in_their_order(play: Callable[[Scene], None]) -> None:
    async def scene(broker: Broker) -> None:
        async with running(server_client(broker)) as node, device_client(broker, "ana-phone") as ana:
            await ana.subscribe(push_topic("ana-phone"), qos=1)
            for number in range(50):
                assert MqttPushes(node).put(push(call=f"c{number}"), time.time())
            calls = [json.loads(bytes(m.payload))["call"] for m in await received(ana, 50)]  # type: ignore[arg-type]
            assert calls == [f"c{number}" for number in range(50)]

    play(scene)


def test_a_request_is_answered_on_the_topic_of_its_reply(play: Callable[[Scene], None]) -> None:
    async def scene(broker: Broker) -> None:
        asked: list[tuple[str, bytes]] = []
        node = server_client(broker, on_message=lambda topic, payload: asked.append((topic, payload)))
        async with running(node), device_client(broker, "ana-phone") as ana:
            await ana.subscribe(reply_topic("ana-phone", "+"), qos=1)
            await ana.publish("cloudline/v1/devices/ana-phone/requests/r1", b'{"type":"price"}', qos=1)
            await until(lambda: bool(asked))
            assert asked == [("cloudline/v1/devices/ana-phone/requests/r1", b'{"type":"price"}')]
            reply = Outgoing(
                topic=reply_topic("ana-phone", "r1"),
                payload=b'{"ok":true}',
                expires_at=time.time() + 30,
                kind="reply",
            )
            assert node.put(reply)
            (message,) = await received(ana)
            assert (message.topic.value, message.payload) == (
                "cloudline/v1/devices/ana-phone/replies/r1",
                b'{"ok":true}',
            )

    play(scene)


@pytest.mark.parametrize(
    "topic",
    [
        "cloudline/v1/devices/ben-phone/push",
        "cloudline/v1/devices/ben-phone/replies/+",
        "cloudline/v1/devices/+/push",
        "cloudline/v1/devices/#",
        "cloudline/v1/events/calls/acme",
        "#",
        "+/+/+/+/+",
        "$SYS/#",
    ],
)
def test_a_device_reads_nothing_but_its_own(play: Callable[[Scene], None], topic: str) -> None:
    async def scene(broker: Broker) -> None:
        async with running(server_client(broker)) as node, device_client(broker, "ana-phone") as ana:
            # Mosquitto grants any subscription and sends nothing on it; the built-in broker refuses it
            with contextlib.suppress(aiomqtt.MqttError):
                await ana.subscribe(topic, qos=1)
            pushes = MqttPushes(node)
            assert pushes.put(push("ben-phone"), time.time())
            for other in (reply_topic("ben-phone", "r1"), "cloudline/v1/events/calls/acme"):
                assert node.put(
                    Outgoing(topic=other, payload=b"{}", expires_at=time.time() + 9, kind="event")
                )
            await until(lambda: sum(node.results.values()) == 3)
            await nothing_comes(ana)

    play(scene)


@pytest.mark.parametrize(
    "topic",
    [
        "cloudline/v1/devices/ben-phone/requests/r1",
        "cloudline/v1/devices/ben-phone/push",
        "cloudline/v1/devices/ana-phone/push",
        "cloudline/v1/devices/ana-phone/replies/r1",
        "cloudline/v1/devices/ana-phone/requests/a/b",
        "cloudline/v1/events/calls/acme",
        "elsewhere",
    ],
)
def test_a_device_writes_nothing_but_its_own_requests(play: Callable[[Scene], None], topic: str) -> None:
    async def scene(broker: Broker) -> None:
        asked: list[str] = []
        node = server_client(
            broker,
            on_message=lambda topic, payload: asked.append(topic),
            subscriptions=("cloudline/v1/#",),
        )
        async with running(node), device_client(broker, "ana-phone") as ana:
            with contextlib.suppress(aiomqtt.MqttError):  # a broker may also end the connection
                await ana.publish(topic, b"{}", qos=1)
            await asyncio.sleep(QUIET_S)
            assert asked == []

    play(scene)


@pytest.mark.parametrize(
    ("device", "password"),
    [("ana-phone", "wrong"), ("nobody", "ana-secret"), ("ana-phone", "ben-secret"), ("cloudline", "wrong")],
)
def test_a_stranger_does_not_come_in(play: Callable[[Scene], None], device: str, password: str) -> None:
    async def scene(broker: Broker) -> None:
        with pytest.raises(aiomqtt.MqttError):
            async with device_client(broker, device, password):
                pytest.fail("let in")

    play(scene)


def test_nobody_takes_the_waiting_pushes_of_another(play: Callable[[Scene], None]) -> None:
    """A session belongs to a client id; whoever knows that of another device gets nothing by it."""

    async def scene(broker: Broker) -> None:
        async with device_client(broker, "ana-phone", persistent=True) as ana:
            await ana.subscribe(push_topic("ana-phone"), qos=1)
        async with running(server_client(broker)) as node:
            assert MqttPushes(node).put(push(ttl_s=60.0), time.time())
            await until(lambda: node.results.get(("push", "delivered")) == 1)
            with contextlib.suppress(aiomqtt.MqttError):  # the built-in broker does not even let it in
                async with device_client(broker, "ben-phone", persistent=True, client_id="ana-phone") as ben:
                    assert MqttPushes(node).put(push(ttl_s=60.0, call="c2"), time.time())
                    await nothing_comes(ben)

    play(scene)


def test_a_last_will_writes_nothing_that_its_device_may_not(play: Callable[[Scene], None]) -> None:
    async def scene(broker: Broker) -> None:
        async with device_client(broker, "ben-phone") as ben:
            await ben.subscribe(push_topic("ben-phone"), qos=1)
            ana = device_client(broker, "ana-phone", will=aiomqtt.Will(push_topic("ben-phone"), b"{}", 1))
            with contextlib.suppress(aiomqtt.MqttError):
                async with ana:
                    socket = ana._client.socket()
                    assert socket is not None
                    socket.close()  # without a word
            await nothing_comes(ben)

    play(scene)


def test_a_broker_that_goes_away_costs_pushes_and_comes_back(play: Callable[[Scene], None]) -> None:
    async def scene(broker: Broker) -> None:
        asked: list[str] = []
        node = server_client(broker, on_message=lambda topic, payload: asked.append(topic))
        async with running(node):
            pushes = MqttPushes(node)
            await broker.stop()
            await until(lambda: not node.connected)
            began = time.monotonic()
            assert not pushes.put(push(), time.time())
            assert time.monotonic() - began < 0.05, "it fails at once"
            assert node.results == {("push", "unavailable"): 1}
            await until(lambda: node.refusals >= 3)
            await broker.start()
            await asyncio.wait_for(node.up.wait(), 10)
            async with device_client(broker, "ana-phone") as ana:
                await ana.subscribe(push_topic("ana-phone"), qos=1)
                assert pushes.put(push(), time.time())
                assert await received(ana)
                await ana.publish("cloudline/v1/devices/ana-phone/requests/r1", b"{}", qos=1)
                await until(lambda: bool(asked))
            assert node.connects == 2

    play(scene)


def test_a_burst_beyond_the_queue_fails_at_once_and_is_counted(play: Callable[[Scene], None]) -> None:
    async def scene(broker: Broker) -> None:
        async with running(server_client(broker, queue=10)) as node:
            taken = [MqttPushes(node).put(push(call=f"c{number}"), time.time()) for number in range(30)]
            assert taken == [True] * 10 + [False] * 20
            await until(lambda: node.waiting == 0)
            assert node.results == {("push", "queue_full"): 20, ("push", "delivered"): 10}

    play(scene)


def test_passwords_are_in_no_log(play: Callable[[Scene], None], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def scene(broker: Broker) -> None:
        node = server_client(broker)
        async with running(node), device_client(broker, "ana-phone") as ana:
            await ana.subscribe(push_topic("ana-phone"), qos=1)
            await broker.stop()
            await until(lambda: node.refusals >= 1)
        assert SERVER_PASSWORD not in repr(node.address)

    with contextlib.suppress(aiomqtt.MqttError):
        play(scene)
    assert "broker mqtt://127.0.0.1" in caplog.text
    for secret in (SERVER_PASSWORD, *PASSWORDS.values()):
        assert secret not in caplog.text


@pytest.mark.needs("mosquitto")
def test_of_several_nodes_one_gets_each_request(tmp_path: Path) -> None:
    """A shared subscription of MQTT 5; the built-in broker has one node only."""

    async def main() -> None:
        async with Mosquitto(tmp_path) as broker:
            asked: list[list[str]] = [[], []]
            nodes = [
                server_client(
                    broker,
                    identifier=f"cloudline/node-{number}",
                    on_message=lambda topic, payload, number=number: asked[number].append(topic),
                )
                for number in range(2)
            ]
            async with running(nodes[0]), running(nodes[1]), device_client(broker, "ana-phone") as ana:
                for number in range(20):
                    await ana.publish(f"cloudline/v1/devices/ana-phone/requests/r{number}", b"{}", qos=1)
                await until(lambda: sum(map(len, asked)) >= 20)
                await asyncio.sleep(QUIET_S)
                assert sorted(asked[0] + asked[1]) == sorted(
                    f"cloudline/v1/devices/ana-phone/requests/r{number}" for number in range(20)
                )
                assert all(asked), "both have their share"

    asyncio.run(main())
