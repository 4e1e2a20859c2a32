"""The node's connection to the MQTT broker: sends what is put, hands over what devices ask, comes back when it was lost.

``put`` never waits.  Without a connection, or with a full queue, a message has failed at once; one that could not be handed to
the broker in time has failed too.  Every outcome is counted.  Messages travel with QoS 1; with MQTT 5 they carry the time
after which nobody wants them any more, with 3.1.1 the payload alone says so.  Sessions are clean: requests that come while no
node listens are lost, and the device asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from config.mqtt import MqttSettings
from gateway.push import REQUESTS, DevicePush, Outgoing, push_topic

_log = logging.getLogger(__name__)

WORKERS: Final = 32
"""Messages that may wait for their PUBACK at the same time."""
SHARED: Final = "$share/cloudline/"
"""Prefix of a subscription of which one of several nodes gets each message (MQTT 5 §4.8.2; Mosquitto offers it to 3.1.1 too)."""
_FIRST_PAUSE_S: Final = 0.2
_STEADY_S: Final = 5.0
"""A connection that lived for so long was a good one: the next pause is short again."""
_INCOMING: Final = 1000
_LATENCY_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)

PUSH: Final = "push"
RESULTS: Final = ("delivered", "unavailable", "queue_full", "timeout", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where the broker is and as whom we come."""

    host: str
    port: int
    tls: bool
    username: str
    password: str

    def __repr__(self) -> str:
        return f"BrokerAddress({self.name})"

    @property
    def name(self) -> str:
        """For people: without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def address_of(settings: MqttSettings) -> BrokerAddress:
    """The address in ``mqtt.url``; what it does not name comes from the other settings."""
    parts = urlsplit(settings.url)
    tls = parts.scheme == "mqtts"
    return BrokerAddress(
        host=parts.hostname or "localhost",
        port=parts.port or (8883 if tls else 1883),
        tls=tls,
        username=unquote(parts.username or settings.username),
        password=unquote(parts.password or settings.password),
    )


class Latency:
    """How long the broker took to take messages; read as a histogram."""

    def __init__(self) -> None:
        self.bounds: tuple[float, ...] = _LATENCY_BOUNDS
        self.counts = [0] * (len(_LATENCY_BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        index = 0
        while index < len(self.bounds) and seconds > self.bounds[index]:
            index += 1
        self.counts[index] += 1
        self.total += seconds


@dataclass(slots=True)
class _Waiting:
    message: Outgoing
    put_at: float
    """Of the loop's clock."""


Listener = Callable[[str, bytes], None]
"""Told (topic, payload) of what came on a subscription."""


class MqttClient:
    """One connection, kept up by ``run``."""

    def __init__(
        self,
        settings: MqttSettings,
        address: BrokerAddress,
        identifier: str,
        wall: Callable[[], float],
        dice: Callable[[], float],
        subscriptions: Sequence[str] = (REQUESTS,),
        on_message: Listener | None = None,
        *,
        version_5: bool | None = None,
        shared: bool = True,
    ) -> None:
        """``identifier``: client id, unique at the broker.  ``dice``: uniform in [0, 1).  ``shared``: subscribe so that
        one of several nodes gets each request."""
        self._settings = settings
        self.address = address
        self._identifier = identifier
        self._wall = wall
        self._dice = dice
        self._subscriptions = subscriptions
        self._on_message = on_message
        self._version_5 = settings.protocol == "5" if version_5 is None else version_5
        self._shared = shared
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(settings.queue)
        self._in_flight = 0
        self.connected = False
        self.connects = 0
        """Connections that came about so far."""
        self.refusals = 0
        """Attempts to connect that failed, and connections that were lost."""
        self.results: dict[tuple[str, str], int] = {}
        """(kind, result) -> messages."""
        self.received = 0
        self.latency = Latency()
        """Put to PUBACK, of pushes."""
        self.up = asyncio.Event()

    # -- sending --------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Messages that the broker has not taken yet."""
        return self._queue.qsize() + self._in_flight

    def put(self, message: Outgoing) -> bool:
        """Have a message sent; never waits.  False: it has failed."""
        if not self.connected:
            self._count(message.kind, "unavailable")
            return False
        try:
            self._queue.put_nowait(_Waiting(message, asyncio.get_running_loop().time()))
        except asyncio.QueueFull:
            self._count(message.kind, "queue_full")
            return False
        return True

    def _count(self, kind: str, result: str) -> None:
        key = (kind, result)
        self.results[key] = self.results.get(key, 0) + 1

    async def _send_all(self, client: aiomqtt.Client) -> None:
        # Not only until it is cancelled: what is confirmed in the moment of its cancellation swallows it (asyncio.wait_for,
        # up to Python 3.11), and then somebody would serve a connection that is gone for ever.
        while self.connected:
            waiting = await self._queue.get()
            self._in_flight += 1
            try:
                await self._send(client, waiting)
            finally:
                self._in_flight -= 1
                self._queue.task_done()

    async def _send(self, client: aiomqtt.Client, waiting: _Waiting) -> None:
        message = waiting.message
        clock = asyncio.get_running_loop().time
        left_s = self._settings.send_seconds - (clock() - waiting.put_at)
        if left_s <= 0 or message.expires_at <= self._wall():
            self._count(message.kind, "timeout")
            return
        try:
            properties = self._properties(message)
            await client.publish(message.topic, message.payload, 1, properties=properties, timeout=left_s)
        except (aiomqtt.MqttError, ValueError) as error:
            self._count(message.kind, "timeout" if "timed out" in str(error) else "failed")
        except asyncio.CancelledError:
            self._count(message.kind, "failed")  # the connection is gone, and nobody knows whether it arrived
            raise
        else:
            self._count(message.kind, "delivered")
            if message.kind == PUSH:
                self.latency.observe(clock() - waiting.put_at)

    def _properties(self, message: Outgoing) -> Properties | None:
        if not self._version_5:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        expiry: Any = max(1, math.ceil(message.expires_at - self._wall()))
        properties.MessageExpiryInterval = expiry
        return properties

    def _fail_all(self) -> None:
        """The connection is gone: what waits would arrive too late."""
        while not self._queue.empty():
            self._count(self._queue.get_nowait().message.kind, "unavailable")
            self._queue.task_done()

    async def drain(self, seconds: float) -> None:
        """Wait until the broker has taken what was put, at most so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), seconds)

    # -- the connection -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, serve, and connect again when it was lost, until cancelled."""
        loop = asyncio.get_running_loop()
        pause_s = _FIRST_PAUSE_S
        while True:
            began = loop.time()
            try:
                await self._serve()
            except (aiomqtt.MqttError, OSError, ssl.SSLError) as error:
                self.refusals += 1
                if loop.time() - began > _STEADY_S:
                    pause_s = _FIRST_PAUSE_S
                wait_s = pause_s * (0.5 + self._dice() / 2)  # so that nodes do not come back all at once
                _log.warning(
                    "MQTT broker %s: %s; pushes fail, next attempt in %.1f s",
                    self.address.name,
                    error,
                    wait_s,
                )
                await asyncio.sleep(wait_s)
                pause_s = min(pause_s * 2, self._settings.max_backoff_seconds)

    async def _serve(self) -> None:
        client = self._client()
        async with client:
            try:
                await self._subscribe(client)
                self.connects += 1
                self.connected = True
                self.up.set()
                _log.info("connected to MQTT broker %s", self.address.name)
                senders = [
                    asyncio.create_task(self._send_all(client), name="mqtt send") for _ in range(WORKERS)
                ]
                try:
                    async for message in client.messages:
                        self._receive(message)
                finally:
                    self.connected = False
                    for sender in senders:
                        sender.cancel()
                    await asyncio.gather(*senders, return_exceptions=True)
            finally:
                self.connected = False
                self.up.clear()
                self._fail_all()
                lost = client._disconnected
                if lost.done() and not lost.cancelled():
                    lost.exception()  # else asyncio complains later that nobody has looked at it

    def _client(self) -> aiomqtt.Client:
        settings, address = self._settings, self.address
        context = ssl.create_default_context(cafile=settings.ca or None) if address.tls else None
        client = aiomqtt.Client(
            address.host,
            address.port,
            username=address.username or None,
            password=address.password or None,
            identifier=self._identifier,
            protocol=aiomqtt.ProtocolVersion.V5 if self._version_5 else aiomqtt.ProtocolVersion.V311,
            clean_session=None if self._version_5 else True,
            clean_start=True if self._version_5 else MQTT_CLEAN_START_FIRST_ONLY,
            keepalive=settings.keepalive_seconds,
            timeout=settings.connect_seconds,
            max_queued_incoming_messages=_INCOMING,
            max_inflight_messages=WORKERS,
            tls_context=context,
            logger=logging.getLogger(f"{__name__}.library"),
        )
        client.pending_calls_threshold = WORKERS
        return client

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        for topic in self._subscriptions if self._on_message is not None else ():
            wanted = f"{SHARED}{topic}" if self._shared else topic
            codes = await client.subscribe(wanted, qos=1)
            if any((code if isinstance(code, int) else code.value) >= 0x80 for code in codes):
                raise aiomqtt.MqttError(f"the broker refuses the subscription to {wanted}")

    def _receive(self, message: aiomqtt.Message) -> None:
        self.received += 1
        if message.retain:
            return  # somebody's request of long ago, which the broker would bring at each of our connections
        payload = message.payload
        if self._on_message is not None and isinstance(payload, (bytes, bytearray)):
            self._on_message(message.topic.value, bytes(payload))


class MqttPushes:
    """Pushes to devices over an `MqttClient` (``gateway.push.PushSink``)."""

    def __init__(self, client: MqttClient) -> None:
        self._client = client

    def put(self, push: DevicePush, now: float) -> bool:
        message = Outgoing(
            topic=push_topic(push.device),
            payload=push.payload(),
            expires_at=push.sent_at + push.ttl_s,
            kind=PUSH,
        )
        return self._client.put(message)
