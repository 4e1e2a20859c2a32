"""One connection to Redis for everything that happens per call: pipelined commands, replies in order, no task and
no future each.

Commands are written as bytes (``command``) and sent in batches; the replies of a batch are handed to its ``done`` together.
When the connection ends, or a reply is late, every batch that waits is told so (None): what became of it is not known.
The link then comes up again by itself, with growing pauses, and tells its user, who writes anew what may be lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, cast
from urllib.parse import unquote, urlsplit

import hiredis

_log = logging.getLogger(__name__)

Replies = list[object]
Done = Callable[[Replies | None], None]

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 3.0
_WATCH_S: Final = 0.1
_MAX_WRITE_BUFFER: Final = 64 * 1024 * 1024


class LinkError(Exception):
    """Redis cannot be used; the text says why, without the password."""


class Address:
    """Where Redis is, of ``redis://[user[:password]@]host[:port][/db]`` or ``unix:///path``."""

    __slots__ = ("database", "host", "password", "path", "port", "username")

    def __init__(self, url: str) -> None:
        """Raises ValueError for a URL that names something else."""
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "unix"):
            raise ValueError(f"{parts.scheme or 'this'} is not redis:// or unix://")
        self.path = parts.path if parts.scheme == "unix" else ""
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 6379
        self.username = unquote(parts.username or "")
        self.password = unquote(parts.password or "")
        text = "" if self.path else parts.path.strip("/")
        if text and not (text.isascii() and text.isdigit()):
            raise ValueError(f"{text!r} is not the number of a database")
        self.database = int(text or 0)

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}/{self.database}"


class Script:
    """A Lua script, called by its SHA1."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: tuple[str, ...], *arguments: str | bytes | int | float) -> bytes:
        """The command that runs it."""
        return command("EVALSHA", self.sha, len(keys), *keys, *arguments)


def command(*words: str | bytes | int | float) -> bytes:
    """A command as RESP bytes."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # bytes are taken as they are
    return packed


class _Batch:
    """Commands whose replies are awaited."""

    __slots__ = ("at", "done", "replies", "wanted")

    def __init__(self, wanted: int, done: Done, at: float) -> None:
        self.wanted = wanted
        self.done = done
        self.at = at
        self.replies: Replies = []


class _Connection(asyncio.Protocol):
    """One TCP or Unix connection, from its first byte to its end."""

    def __init__(self, on_turn: Callable[[], None], on_defect: Callable[[Exception], None]) -> None:
        self.closed = asyncio.get_running_loop().create_future()
        self.waiting: deque[_Batch] = deque()
        self._on_turn = on_turn
        self._on_defect = on_defect
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._time = asyncio.get_running_loop().time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self.waiting
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                if not waiting:
                    raise hiredis.ProtocolError("a reply that nobody has asked for")
                batch = waiting[0]
                batch.replies.append(reply)
                if len(batch.replies) == batch.wanted:
                    waiting.popleft()
                    self._tell(batch, batch.replies)
        except hiredis.ProtocolError as error:
            _log.error("live state: what Redis sends is not its protocol: %s", error)
            self.abort()
        self._on_turn()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        waiting, self.waiting = self.waiting, deque()
        for batch in waiting:
            self._tell(batch, None)
        if not self.closed.done():
            self.closed.set_result(str(exc) if exc is not None else "closed")
        self._on_turn()

    def send(self, data: bytes, wanted: int, done: Done) -> None:
        if self._transport is None:
            done(None)
            return
        self.waiting.append(_Batch(wanted, done, self._time()))
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > _MAX_WRITE_BUFFER:
            self.abort()

    def oldest(self) -> float:
        """Age of the batch that waits longest, seconds; 0 when none waits."""
        return self._time() - self.waiting[0].at if self.waiting else 0.0

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _tell(self, batch: _Batch, replies: Replies | None) -> None:
        try:
            batch.done(replies)
        except Exception as error:  # noqa: BLE001 - one call's defect must not cost the connection of all
            self._on_defect(error)


class RedisLink:
    """Keeps a connection up; see the module."""

    def __init__(
        self,
        address: Address,
        *,
        scripts: Iterable[Script] = (),
        timeout_s: float = 1.0,
        on_turn: Callable[[], None] = lambda: None,
        on_defect: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """``on_turn``: called after each batch of replies; ``on_defect``: told what a ``done`` raised."""
        self.address = address
        self._scripts = tuple(scripts)
        self._timeout_s = timeout_s
        self._on_turn = on_turn
        self._on_defect = on_defect
        self._connection: _Connection | None = None
        self.on_up: Callable[[], None] = lambda: None
        """The connection is back after it was lost."""
        self.breaks = 0
        """How often an established connection was lost."""
        self.slow = 0
        """How often it was given up because a reply was late."""

    @property
    def is_up(self) -> bool:
        return self._connection is not None and self._connection.is_open

    def send(self, data: bytes, wanted: int, done: Done) -> None:
        """Send commands whose ``wanted`` replies go to ``done``; None at once when the link is down."""
        if self._connection is None:
            done(None)
        else:
            self._connection.send(data, wanted, done)

    def reset(self) -> None:
        """Give the connection up and make a new one."""
        if self._connection is not None:
            self._connection.abort()

    async def ask(self, *words: str | bytes | int | float) -> object:
        """One command and its reply, for what is not per call.  Raises LinkError."""
        return (await self.ask_all([command(*words)]))[0]

    async def ask_all(self, commands: list[bytes]) -> Replies:
        """Several commands at once.  Raises LinkError when one fails or the link does."""
        connection = self._connection
        if connection is None:
            raise LinkError(f"no connection to Redis at {self.address}")
        return await _ask(connection, commands)

    async def connect(self) -> None:
        """Bring the link up for the first time.  Raises LinkError."""
        self._connection = await self._open()

    async def run(self) -> None:
        """Watch the connection, and bring it up again whenever it is lost.  Until cancelled."""
        while True:
            if self._connection is not None:
                await self._watch(self._connection)
            await self._come_back()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
            await connection.closed

    async def _watch(self, connection: _Connection) -> None:
        while not connection.closed.done():
            await asyncio.wait((connection.closed,), timeout=_WATCH_S)
            if connection.oldest() > self._timeout_s:
                self.slow += 1
                _log.warning("live state: Redis at %s is silent; the connection is given up", self.address)
                connection.abort()
        self._connection = None
        self.breaks += 1
        _log.warning(
            "live state: the connection to Redis at %s is lost: %s", self.address, connection.closed.result()
        )

    async def _come_back(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                self._connection = await self._open()
            except LinkError as error:
                _log.warning("live state: %s; trying again in %.1f s", error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                continue
            _log.info("live state: connected to Redis at %s", self.address)
            self.on_up()
            return

    async def _open(self) -> _Connection:
        address = self.address
        loop = asyncio.get_running_loop()

        def make() -> _Connection:
            return _Connection(self._on_turn, self._on_defect)

        try:
            async with asyncio.timeout(max(self._timeout_s, 1.0)):
                if address.path:
                    _, connection = await loop.create_unix_connection(make, address.path)
                else:
                    _, connection = await loop.create_connection(make, address.host, address.port)
                try:
                    await self._greet(connection)
                except BaseException:
                    connection.abort()
                    raise
        except TimeoutError:
            raise LinkError(f"Redis at {address} does not answer") from None
        except OSError as error:
            raise LinkError(f"Redis at {address} cannot be reached: {error.strerror or error}") from None
        return connection

    async def _greet(self, connection: _Connection) -> None:
        address = self.address
        commands: list[bytes] = []
        if address.password:
            user = (address.username,) if address.username else ()
            commands.append(command("AUTH", *user, address.password))
        if address.database:
            commands.append(command("SELECT", address.database))
        commands.append(command("PING"))
        commands.extend(command("SCRIPT", "LOAD", script.text) for script in self._scripts)
        await _ask(connection, commands)


async def _ask(connection: _Connection, commands: list[bytes]) -> Replies:
    answer: asyncio.Future[Replies | None] = asyncio.get_running_loop().create_future()

    def done(replies: Replies | None) -> None:
        if not answer.done():
            answer.set_result(replies)

    connection.send(b"".join(commands), len(commands), done)
    replies = await answer
    if replies is None:
        raise LinkError("the connection to Redis was lost")
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise LinkError(f"Redis refuses: {reply}")
    return replies
