"""The built-in MQTT broker (``mqtt.url = "embedded"``): for one node, demos and tests; MQTT 3.1.1 without TLS.

The work is done by amqtt.  In front of it stands a door of our own, because a broker must not do anything for a client before
it knows who that is: the door reads the CONNECT packet, checks user, password and client id, and only then hands the connection
over, with the packet.  So a stranger can neither end nor take over a session.  What a device may read and write is decided by
``gateway.mqtt_access`` for each topic.

State: sessions and waiting pushes, in memory, bounded; they end with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from amqtt.adapters import ReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, BaseContext, BrokerConfig, ListenerConfig, ListenerType
from amqtt.errors import AMQTTError, MQTTError
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import ApplicationMessage, Session

from gateway import mqtt_access
from numbering import mqtt_password

_log = logging.getLogger(__name__)

CONNECT_S: Final = 5.0
"""A client that has not said who it is by then is sent away."""
MAX_CONNECT_BYTES: Final = 2048
MAX_CLIENTS: Final = 5000
MAX_WAITING: Final = 100
"""Pushes that wait for one device that is away; the oldest give way."""
SESSION_S: Final = 14 * 86_400
"""How long the session of a device that is away is kept."""
_DOOR: Final = "door"
_NAME: Final = b"\x00\x04MQTT"
_ACCEPTED_LEVEL: Final = 4
# Return codes of CONNACK (MQTT 3.1.1 §3.2.2.3).
_BAD_LEVEL, _BAD_ID, _BAD_CREDENTIALS, _NOT_ALLOWED = 1, 2, 4, 5


class Guard:
    """Who may come in, and what they may do there."""

    def __init__(
        self, hash_of: Callable[[str], str], servers: Mapping[str, str], wall: Callable[[], float]
    ) -> None:
        """``hash_of``: device ref -> hash of its password, empty for no access.  ``servers``: users that may do
        everything, with their passwords."""
        self._hash_of = hash_of
        self._servers = servers
        self.wall = wall

    def admits(self, username: str, password: str) -> bool:
        wanted = self._servers.get(username)
        if wanted is not None:
            return hmac.compare_digest(wanted.encode(), password.encode("utf-8", "surrogateescape"))
        return mqtt_password.matches(password, self._hash_of(username))

    def may(self, username: str, action: str, topic: str) -> bool:
        if username in self._servers:
            return mqtt_access.server_may(topic)
        return bool(self._hash_of(username)) and mqtt_access.may(username, action, topic)


class GuardPlugin(BaseAuthPlugin, BaseTopicPlugin):
    """amqtt's side of a `Guard`."""

    @dataclass
    class Config(BaseAuthPlugin.Config):
        """Configuration of the plugin; amqtt makes it from a dictionary."""

        guard: Guard | None = field(default=None)

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        config: Any = context.config
        if not isinstance(config.guard, Guard):
            raise TypeError("the plugin needs a guard")
        self._guard = config.guard

    async def authenticate(self, *, session: Session) -> bool | None:
        """The door has asked for the password already; the session is that of the CONNECT which it let in."""
        return True

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        if session is None or not session.username or not topic:
            return False
        wanted = mqtt_access.WRITE if action is Action.PUBLISH else mqtt_access.READ
        return self._guard.may(session.username, wanted, topic)

    async def on_broker_message_received(self, *, client_id: str, message: ApplicationMessage) -> None:
        """Nothing is retained: a device could fill the memory with requests that nobody ever takes away."""
        if message is not None and message.publish_packet is not None:
            message.publish_packet.retain_flag = False


class EmbeddedBroker:
    """The broker and its door."""

    def __init__(self, guard: Guard, host: str, port: int) -> None:
        self._guard = guard
        self._host = host
        self._port = port
        self._broker: Broker | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self.refused = 0
        """Clients that were sent away."""

    @property
    def port(self) -> int:
        """The port that it listens on; another one than wished for, where that was 0."""
        return self._port

    async def start(self) -> None:
        """Open the door.  OSError when the address cannot be used."""
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.ERROR)  # they name clients and topics at each step
        plugin = f"{GuardPlugin.__module__}.{GuardPlugin.__name__}"
        config = BrokerConfig(
            listeners={"default": ListenerConfig(type=ListenerType.EXTERNAL, bind=_DOOR)},
            plugins={plugin: {"guard": self._guard}},
            session_expiry_interval=SESSION_S,
        )
        self._broker = Broker(config)
        await self._broker.start()
        self._server = await asyncio.start_server(self._connected, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection and forget all sessions."""
        if self._server is not None:
            self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        if self._broker is not None:
            await self._broker.shutdown()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= MAX_CLIENTS:
            writer.close()
            return
        self._clients.add(task)
        try:
            await self._serve(reader, writer)
        except (
            OSError,
            asyncio.IncompleteReadError,
            TimeoutError,
            _Unreadable,
            AMQTTError,
            MQTTError,
        ) as error:
            _log.debug("MQTT client: %s", error)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_S):
            raw = await read_connect(reader)
        hello = parse_connect(raw)
        if hello.level != _ACCEPTED_LEVEL:
            await self._refuse(writer, _BAD_LEVEL)
        elif not self._guard.admits(hello.username, hello.password):
            await self._refuse(writer, _BAD_CREDENTIALS)
        elif not mqtt_access.client_id_fits(hello.username, hello.client_id):
            await self._refuse(writer, _BAD_ID)
        elif hello.will and not self._guard.may(hello.username, mqtt_access.WRITE, hello.will):
            await self._refuse(writer, _NOT_ALLOWED)
        elif self._broker is not None:
            self._tidy(self._broker, hello.client_id)
            await self._broker.external_connected(
                _Reader(raw, reader), StreamWriterAdapter(writer), "default"
            )

    async def _refuse(self, writer: asyncio.StreamWriter, code: int) -> None:
        self.refused += 1
        writer.write(bytes((0x20, 2, 0, code)))
        with contextlib.suppress(OSError):
            await writer.drain()

    def _tidy(self, broker: Broker, client_id: str) -> None:
        """What waits for a device and is worth nothing any more is not delivered (3.1.1 knows no message expiry)."""
        session = broker.sessions.get(client_id, (None, None))[0]
        if session is None:
            return
        queue = session.retained_messages
        waiting = [queue.get_nowait() for _ in range(queue.qsize())]
        now = self._guard.wall()
        for message in [message for message in waiting if not is_expired(message.data, now)][-MAX_WAITING:]:
            queue.put_nowait(message)


def is_expired(payload: bytes | bytearray, now: float) -> bool:
    """True for a push whose time to live has passed; what tells no time does not expire."""
    try:
        body = json.loads(payload)
        return bool(body["sent_at"] + body["ttl_s"] <= now)
    except (ValueError, KeyError, TypeError):
        return False


class _Unreadable(Exception):
    """No CONNECT packet of MQTT."""


@dataclass(frozen=True, slots=True)
class Connect:
    """What a CONNECT packet says of the client (MQTT 3.1.1 §3.1)."""

    level: int
    client_id: str
    username: str
    password: str
    will: str = ""
    """Topic of its last will; empty: none."""


async def read_connect(reader: asyncio.StreamReader) -> bytes:
    """The bytes of the first packet, which must be a CONNECT of moderate size."""
    head = await reader.readexactly(2)
    if head[0] != 0x10:
        raise _Unreadable("first packet is no CONNECT")
    size, shift = head[1] & 0x7F, 7
    while head[-1] & 0x80:
        if shift > 14:
            raise _Unreadable("CONNECT is too long")
        head += await reader.readexactly(1)
        size |= (head[-1] & 0x7F) << shift
        shift += 7
    if size > MAX_CONNECT_BYTES:
        raise _Unreadable("CONNECT is too long")
    return head + await reader.readexactly(size)


def parse_connect(raw: bytes) -> Connect:
    """Read a CONNECT packet; of other versions than 3.1.1 the version alone."""
    start = 1
    while raw[start] & 0x80:
        start += 1
    body = raw[start + 1 :]
    if len(body) < 10 or body[:6] != _NAME:
        raise _Unreadable("no MQTT")
    level, flags = body[6], body[7]
    if level != _ACCEPTED_LEVEL:
        return Connect(level, "", "", "")
    at = 10

    def take() -> str:
        nonlocal at
        size = int.from_bytes(body[at : at + 2], "big")
        text = body[at + 2 : at + 2 + size]
        if len(text) != size or at + 2 > len(body):
            raise _Unreadable("CONNECT is cut short")
        at += 2 + size
        return text.decode("utf-8", "surrogateescape")

    client_id = take()
    will = ""
    if flags & 0x04:
        will, _ = take(), take()  # topic and message
    username = take() if flags & 0x80 else ""
    password = take() if flags & 0x40 else ""
    return Connect(level, client_id, username, password, will)


class _Reader(ReaderAdapter):
    """The connection with its first packet still to be read."""

    def __init__(self, first: bytes, reader: asyncio.StreamReader) -> None:
        self._first = first
        self._reader = reader

    async def read(self, n: int = -1) -> bytes:
        if self._first and n > 0:
            taken, self._first = self._first[:n], self._first[n:]
            return taken
        if n < 0:
            return await self._reader.read(n)
        return await self._reader.readexactly(n)

    def feed_eof(self) -> None:
        self._reader.feed_eof()
