"""The connection to Redis for everything that happens per call, brought up again whenever it is lost.

It comes up again by itself, with growing pauses, and tells its user, who writes anew what may be lost.

Behind Sentinels, and in a Cluster, it looks for the master first; it looks again now and then, and whenever a server says that it
is not, or no longer, the right one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final, cast

import hiredis

from callcontrol.histogram import ROUND_TRIP_SECONDS, Histogram
from callcontrol.live.address import CLUSTER, SENTINEL, Address, Place, master_of
from callcontrol.live.connection import Connection, Done, Replies, Script, command

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 3.0
_SHORT_LIFE_S: Final = 1.0
"""A connection that ended before is followed by the next one after a pause, of so much at the most."""
_WATCH_S: Final = 0.1
_LOOK_S: Final = 2.0
"""How often it is looked whether another server is the master now."""


class LinkError(Exception):
    """Redis cannot be used; the text says why, without the password."""


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
        self._connection: Connection | None = None
        self._server: Place | None = None
        """Whom we are connected to, where that may change."""
        self.on_up: Callable[[], None] = lambda: None
        """The connection is back after it was lost."""
        self.breaks = 0
        """How often an established connection was lost."""
        self.slow = 0
        """How often it was given up because a reply was late."""
        self.command_seconds = {
            "pipeline": Histogram(ROUND_TRIP_SECONDS),
            "command": Histogram(ROUND_TRIP_SECONDS),
        }
        """Waiting for replies: of what is sent per call, many commands at once, and of what is asked by itself."""
        self._pipeline_seconds = self.command_seconds["pipeline"]

    @property
    def is_up(self) -> bool:
        return self._connection is not None and self._connection.is_open

    def send(self, data: bytes, wanted: int, done: Done) -> None:
        """Send commands whose ``wanted`` replies go to ``done``; None at once when the link is down."""
        if self._connection is None:
            done(None)
        else:
            self._connection.send(data, wanted, done, self._pipeline_seconds)

    def tell(self, data: bytes) -> bool:
        """Send commands, each behind `SILENTLY`, to which Redis gives no reply; False: the link is down, or Redis does not know
        how to be silent."""
        connection = self._connection
        if connection is None or not connection.can_tell:
            return False
        connection.tell(data)
        return True

    async def ask(self, *words: str | bytes | int | float) -> object:
        """One command and its reply, for what is not per call.  Raises LinkError."""
        return (await self.ask_all([command(*words)]))[0]

    async def ask_all(self, commands: list[bytes]) -> Replies:
        """Several commands at once.  Raises LinkError when one fails or the link does."""
        connection = self._connection
        if connection is None:
            raise LinkError(f"no connection to Redis at {self.address}")
        return await _ask(connection, commands, self.command_seconds["command"])

    async def connect(self) -> None:
        """Bring the link up for the first time.  Raises LinkError."""
        self._connection = await self._open()

    async def run(self) -> None:
        """Watch the connection, and bring it up again whenever it is lost.  Until cancelled."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            if self._connection is not None:
                since = loop.time()
                await self._watch(self._connection)
                # one that ends as soon as it is used (a server that may only be read) is not opened a hundred times a second
                lived = loop.time() - since >= _SHORT_LIFE_S
                pause = 0.0 if lived else min(max(pause * 2, _FIRST_PAUSE_S), _SHORT_LIFE_S)
                await asyncio.sleep(pause)
            await self._come_back()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
            await connection.closed

    async def _watch(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time() + _LOOK_S
        while not connection.closed.done():
            await asyncio.wait((connection.closed,), timeout=_WATCH_S)
            if connection.oldest() > self._timeout_s:
                self.slow += 1
                _log.warning("live state: Redis at %s is silent; the connection is given up", self.address)
                connection.abort()
            elif self.address.moves and loop.time() >= look_at:
                look_at = loop.time() + _LOOK_S
                if await self._has_moved():
                    connection.abort()
        self._connection = None
        self.breaks += 1
        _log.warning(
            "live state: the connection to Redis at %s is lost: %s", self.address, connection.closed.result()
        )

    async def _has_moved(self) -> bool:
        try:
            now = await self._locate()
        except LinkError:
            return False  # nobody can say; the connection that there is may do
        if now == self._server:
            return False
        _log.warning("live state: the master is now %s:%d", *now)
        return True

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

    async def _open(self) -> Connection:
        address = self.address
        self._server = await self._locate() if not address.path else None
        commands: list[bytes] = []
        if address.password:
            user = (address.username,) if address.username else ()
            commands.append(command("AUTH", *user, address.password))
        if address.database:
            commands.append(command("SELECT", address.database))
        commands.append(command("PING"))
        commands.extend(command("SCRIPT", "LOAD", script.text) for script in self._scripts)
        if address.moves:
            commands.append(command("ROLE"))
        connection, replies = await self._greet(self._server, commands)
        if address.moves and not _is_master(replies[-1]):
            connection.abort()
            raise LinkError(f"Redis at {address}: who is said to be the master is none (yet)")
        with contextlib.suppress(LinkError):  # an ACL may forbid it
            await _ask(connection, [command("CLIENT", "REPLY", "ON")])
            connection.can_tell = True
        return connection

    async def _greet(self, place: Place | None, commands: list[bytes]) -> tuple[Connection, Replies]:
        """A new connection, to the Unix socket without ``place``, and the answers to its first commands."""
        address = self.address
        loop = asyncio.get_running_loop()

        def make() -> asyncio.Protocol:
            return cast(asyncio.Protocol, Connection(self._on_turn, self._on_defect))

        name = f"{place[0]}:{place[1]}" if address.moves and place is not None else str(address)
        try:
            async with asyncio.timeout(max(self._timeout_s, 1.0)):
                if place is None:
                    _, made = await loop.create_unix_connection(make, address.path)
                else:
                    _, made = await loop.create_connection(make, *place)
                connection = cast(Connection, made)
                try:
                    return connection, await _ask(connection, commands)
                except BaseException:
                    connection.abort()
                    raise
        except TimeoutError:
            raise LinkError(f"Redis at {name} does not answer") from None
        except OSError as error:
            raise LinkError(f"Redis at {name} cannot be reached: {error.strerror or error}") from None

    async def _locate(self) -> Place:
        """The server to talk to.  Raises LinkError when nobody knows."""
        address = self.address
        if not address.moves:
            return address.places[0]
        why = ""
        for place in list(address.places):
            try:
                found = await self._ask_for_master(place)
            except LinkError as error:
                why = str(error)
                continue
            if found is None:
                why = f"{place[0]}:{place[1]} knows of no master"
                continue
            # who answered is asked first the next time
            address.places.remove(place)
            address.places.insert(0, place)
            return found
        raise LinkError(f"Redis at {address}: {why}")

    async def _ask_for_master(self, place: Place) -> Place | None:
        address = self.address
        commands: list[bytes] = []
        if address.scheme == SENTINEL:
            if address.sentinel_password:
                user = (address.sentinel_username,) if address.sentinel_username else ()
                commands.append(command("AUTH", *user, address.sentinel_password))
            commands.append(command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service))
        elif address.scheme == CLUSTER:
            if address.password:
                user = (address.username,) if address.username else ()
                commands.append(command("AUTH", *user, address.password))
            commands.append(command("CLUSTER", "SLOTS"))
        connection, replies = await self._greet(place, commands)
        connection.abort()
        reply = replies[-1]
        if address.scheme == CLUSTER:
            return master_of(reply, place)
        return (reply[0].decode(), int(reply[1])) if isinstance(reply, list) and len(reply) == 2 else None


def _is_master(reply: object) -> bool:
    return isinstance(reply, list) and bool(reply) and reply[0] == b"master"


async def _ask(connection: Connection, commands: list[bytes], took: Histogram | None = None) -> Replies:
    answer: asyncio.Future[Replies | None] = asyncio.get_running_loop().create_future()

    def done(replies: Replies | None) -> None:
        if not answer.done():
            answer.set_result(replies)

    connection.send(b"".join(commands), len(commands), done, took)
    replies = await answer
    if replies is None:
        raise LinkError("the connection to Redis was lost")
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise LinkError(f"Redis refuses: {reply}")
    return replies
