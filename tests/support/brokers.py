"""MQTT brokers for tests: the built-in one, and a real Mosquitto with the files that the CLI writes; both on free ports.

A broker is used within one event loop: ``async with Mosquitto(folder, devices) as broker: …``.  ``stop`` and ``start`` play an
outage; the port stays the same.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol

import aiomqtt

from config.mqtt import MqttSettings
from gateway.mqtt_access import ACL_FILE, PASSWORD_FILE, acl_file, conf_file, password_file
from gateway.mqtt_broker import EmbeddedBroker, Guard
from gateway.mqtt_client import BrokerAddress, MqttClient
from loadtests import ports
from numbering import mqtt_password
from tests.conftest import find_program

SERVER = "cloudline"
SERVER_PASSWORD = "server-secret"
PASSWORDS = {"ana-phone": "ana-secret", "ben-phone": "ben-secret"}
"""Devices and their passwords."""

HASHES = {ref: mqtt_password.hashed(ref, password) for ref, password in PASSWORDS.items()}


def mosquitto_conf(port: int, text: str) -> str:
    """A whole configuration: ours with a listener; root stays root, because the files are in folders of root's."""
    user = "user root\n" if os.geteuid() == 0 else ""
    return f"{user}listener {port} 127.0.0.1\n{text}"


class Broker(Protocol):
    """What the tests do with one."""

    version_5: bool
    shared: bool
    port: int

    async def __aenter__(self) -> Broker: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class _Base:
    def __init__(self) -> None:
        self.port = ports.free_port()

    async def start(self) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class Embedded(_Base):
    """The built-in broker."""

    version_5 = False
    shared = False

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._broker: EmbeddedBroker | None = None

    async def __aenter__(self) -> Embedded:
        await self.start()
        return self

    async def start(self) -> None:
        guard = Guard(lambda ref: HASHES.get(ref, ""), {SERVER: SERVER_PASSWORD}, time.time)
        self._broker = EmbeddedBroker(guard, "127.0.0.1", self.port)
        await self._broker.start()

    async def stop(self) -> None:
        if self._broker is not None:
            await self._broker.stop()
            self._broker = None


class Mosquitto(_Base):
    """A Mosquitto process in a folder of its own."""

    version_5 = True
    shared = True

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (folder / PASSWORD_FILE).write_text(password_file(HASHES, SERVER, SERVER_PASSWORD))
        (folder / ACL_FILE).write_text(acl_file(SERVER))
        (folder / "mosquitto.conf").write_text(mosquitto_conf(self.port, conf_file(folder)))

    async def __aenter__(self) -> Mosquitto:
        await self.start()
        return self

    async def start(self) -> None:
        program = find_program("mosquitto")
        assert program is not None, "missing program: mosquitto (make setup installs it)"
        log = (self.folder / "mosquitto.log").open("ab")
        command = [program, "-c", str(self.folder / "mosquitto.conf"), "-v"]
        self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - a test waits for nothing else
        log.close()
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if self._process.poll() is not None:
                    break
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return
        raise AssertionError(f"mosquitto does not start:\n{(self.folder / 'mosquitto.log').read_text()}")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, 10)
            self._process = None


def server_client(broker: Broker, **more: object) -> MqttClient:
    """The client of a node; ``more``: settings of ``[mqtt]`` and arguments of `MqttClient`."""
    import time

    arguments = {name: more.pop(name) for name in list(more) if name in ("on_message", "subscriptions")}
    identifier = str(more.pop("identifier", f"{SERVER}/node-1"))
    settings = MqttSettings(
        url=f"mqtt://127.0.0.1:{broker.port}",
        **{"connect_seconds": 2.0, "max_backoff_seconds": 0.2, **more},  # type: ignore[arg-type]
    )
    address = BrokerAddress(
        host="127.0.0.1", port=broker.port, tls=False, username=SERVER, password=SERVER_PASSWORD
    )
    return MqttClient(
        settings,
        address,
        identifier,
        time.time,
        lambda: 0.5,
        version_5=broker.version_5,
        shared=broker.shared,
        **arguments,  # type: ignore[arg-type]
    )


def device_client(
    broker: Broker,
    device: str,
    password: str = "",
    *,
    persistent: bool = False,
    client_id: str = "",
    will: aiomqtt.Will | None = None,
) -> aiomqtt.Client:
    """A phone's own client, of MQTT 3.1.1 as old ones are."""
    return aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username=device,
        password=password or PASSWORDS.get(device, "wrong"),
        identifier=client_id or device,
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=not persistent,
        timeout=3.0,
        will=will,
    )
