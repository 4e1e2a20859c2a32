"""The node's part in MQTT put together: client, built-in broker where it is wished for, pushes, requests, events of calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from callcontrol.call_events import CallEvents
from callcontrol.metrics import Metrics
from callcontrol.node_view import ComponentView
from callcontrol.phone_channel import PhoneChannel
from callcontrol.phone_requests import PhoneRequestHandler
from callcontrol.pushing import Pushing
from callcontrol.runner import Runner
from config.mqtt import EMBEDDED, MqttSettings
from config.parts import split_host_port
from gateway.leases import Lease
from gateway.mqtt_client import PUSH, BrokerAddress, MqttClient, MqttPushes, address_of
from gateway.push import Outgoing, push_topic
from numbering.directory import Directory

if TYPE_CHECKING:
    from gateway.mqtt_broker import EmbeddedBroker

DRAIN_S: Final = 1.0
"""How long a stop waits for the last pushes to be taken."""
RESULT_S: Final = 600.0
"""How long it is worth telling an app what became of a verification."""
_OWN_USER: Final = "cloudline-node"
"""As whom the node comes to its own built-in broker, with a password made at each start."""


class PhoneLink:
    """Opened once, before the signalling core is made."""

    def __init__(
        self,
        settings: MqttSettings,
        node: str,
        domain: str,
        directory: Directory,
        wall: Callable[[], float],
        dice: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._settings = settings
        self._node = node
        self._directory = directory
        self._wall = wall
        self._dice = dice
        self._entropy = entropy
        self._domain = domain
        self._broker: EmbeddedBroker | None = None
        self.client: MqttClient
        self.pushes: MqttPushes
        self.channel: PhoneChannel
        self.events: CallEvents

    def _account_of(self, user: str) -> str:
        account = self._directory.account_of(user)
        return "" if account is None else account.ref

    async def open(self) -> None:
        """Start the built-in broker, if it is the one.  OSError when its address cannot be used."""
        settings = self._settings
        embedded = settings.url == EMBEDDED
        address = await self._open_broker() if embedded else address_of(settings)
        self.client = MqttClient(
            settings,
            address,
            f"{address.username or 'cloudline'}/{self._node}-{self._entropy(4).hex()}",
            self._wall,
            self._dice,
            on_message=lambda topic, payload: self.channel.receive(topic, payload),
            version_5=False if embedded else None,
            shared=not embedded,
        )
        self.pushes = MqttPushes(self.client)
        self.channel = PhoneChannel(
            None,
            self.client.put,
            lambda ref: self._directory.device(ref) is not None,
            self._wall,
            per_minute=settings.requests_per_minute,
            max_bytes=settings.request_bytes,
        )
        self.events = CallEvents(self.client.put, self._domain, self._account_of)

    async def _open_broker(self) -> BrokerAddress:
        # amqtt is loaded by those alone who use it
        from gateway.mqtt_broker import EmbeddedBroker, Guard

        settings = self._settings
        password = self._entropy(16).hex()
        servers = {_OWN_USER: password}
        if settings.password:
            servers[settings.username] = settings.password
        host, port = split_host_port(settings.listen)
        self._broker = EmbeddedBroker(Guard(self._hash_of, servers, self._wall), host, port)
        await self._broker.start()
        reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return BrokerAddress(
            host=reached, port=self._broker.port, tls=False, username=_OWN_USER, password=password
        )

    def _hash_of(self, ref: str) -> str:
        device = self._directory.device(ref)
        return device.mqtt_password if device is not None else ""

    @property
    def where(self) -> str:
        """The address of the broker, for people."""
        return self.client.address.name

    def serve(self, handler: PhoneRequestHandler) -> None:
        """From now on requests of devices are answered by ``handler``."""
        self.channel.handler = handler

    def verified(self, lease: Lease, state: str, reason: str, now: float) -> None:
        """Tell the app what became of the verification of its SIM (DEV-01); it may ask again if this is lost."""
        body = {"type": "verification", "verification": lease.id, "state": state, "sim": lease.sim}
        if reason:
            body["reason"] = reason
        payload = json.dumps(body | {"sent_at": round(now, 3)}, separators=(",", ":")).encode()
        topic = push_topic(lease.device)
        self.client.put(Outgoing(topic=topic, payload=payload, expires_at=now + RESULT_S, kind=PUSH))

    def watch(self, runner: Runner) -> None:
        """Tell integrations of its calls."""
        if self._settings.events:
            runner.running.watcher = self.events

    async def run(self) -> None:
        """Keep the connection up."""
        await self.client.run()

    async def drain(self) -> None:
        """Let the last pushes go out."""
        await self.client.drain(DRAIN_S)

    async def close(self) -> None:
        """Stop the built-in broker."""
        if self._broker is not None:
            await self._broker.stop()

    def component(self) -> ComponentView:
        """Part of the readiness: calls go on without a broker, so it is told and not held against the node."""
        detail = (
            f"connected to {self.where}"
            if self.client.connected
            else f"no connection to {self.where}: pushes fail"
        )
        return ComponentView(name="mqtt", ok=True, detail=detail)

    def register(self, metrics: Metrics, pushing: Pushing | None) -> None:
        """Let the metrics read the channel and what comes of pushes."""
        client = self.client
        metrics.register_all(
            {
                "mqtt_up": lambda: int(client.connected),
                "mqtt_connects": lambda: client.connects,
                "mqtt_connect_failures": lambda: client.refusals,
                "mqtt_messages": lambda: client.results,
                "mqtt_waiting": lambda: client.waiting,
                "push_latency_seconds": lambda: client.latency,
                "phone_requests": lambda: self.channel.results,
            }
        )
        if pushing is not None:
            metrics.register_all(
                {
                    "push_requests": lambda: pushing.sent,
                    "wake_seconds": lambda: pushing.wake_seconds,
                    "calls_lost": lambda: pushing.lost,
                }
            )
