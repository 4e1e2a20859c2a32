"""The connection to the broker, when it is lost at the worst of moments (DEV-04)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest

from config.sections import MqttSettings
from gateway.mqtt_client import MqttClient, Outgoing, address_of


class Library:
    """What the MQTT library does, as far as the node uses it; the broker behind it does as the test says."""

    def __init__(self) -> None:
        self.confirmed = asyncio.Event()
        self.lost = asyncio.Event()
        self.published = 0
        self._disconnected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Library:
        return self

    async def __aexit__(self, *reason: object) -> None:
        """The connection is gone."""

    async def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        *,
        properties: Any,
        timeout: float,  # noqa: ASYNC109
    ) -> None:
        self.published += 1
        await asyncio.wait_for(self.confirmed.wait(), timeout)

    @property
    async def messages(self) -> AsyncIterator[aiomqtt.Message]:
        await self.lost.wait()
        raise aiomqtt.MqttError("the broker was killed")
        yield


def push() -> Outgoing:
    return Outgoing(topic="x/y", payload=b"{}", expires_at=time.time() + 30, kind="push")


class Broken:
    """A client whose connections break as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connections: list[Library] = []
        settings = MqttSettings(url="mqtt://127.0.0.1:1")
        self.client = MqttClient(settings, address_of(settings), "node", time.time, lambda: 0.0)
        monkeypatch.setattr(self.client, "_client", self._library)

    def _library(self) -> Library:
        self.connections.append(Library())
        return self.connections[-1]

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        """It runs, and is connected for the first time."""
        running = asyncio.create_task(self.client.run())
        try:
            async with asyncio.timeout(10):
                await self.client.up.wait()
                yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def published(self, connection: int, count: int = 1) -> None:
        """Wait until so much was published over a connection."""
        while self.connections[connection].published < count:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)

    async def lose(self) -> None:
        """The first connection is lost; there is another one."""
        self.connections[0].lost.set()
        while len(self.connections) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.mark.rule("DEV-04")
@pytest.mark.parametrize("turns", range(6))
def test_a_confirmation_that_comes_with_the_loss_keeps_nobody(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is cancelled in which order within a few turns of the loop: the next connection is tried."""

    async def play() -> None:
        broken = Broken(monkeypatch)
        client = broken.client
        async with broken.runs():
            assert client.put(push())
            await broken.published(0)
            broken.connections[0].confirmed.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            await broken.lose()
            await client.up.wait()
            assert sum(client.results.values()) == 1, "the push is told of, once"
            assert client.waiting == 0
            assert client.put(push()), "and the next one goes to the new connection"
            await broken.published(1)

    asyncio.run(play())


@pytest.mark.rule("DEV-04")
def test_pushes_under_way_when_the_connection_is_lost_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        broken = Broken(monkeypatch)
        async with broken.runs():
            for _ in range(50):
                assert broken.client.put(push())
            await broken.published(0, 32)
            await broken.lose()
            assert broken.client.results == {("push", "failed"): 32, ("push", "unavailable"): 18}

    asyncio.run(play())
