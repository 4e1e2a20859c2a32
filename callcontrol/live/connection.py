"""One connection to Redis: commands as bytes, replies in order, no task and no future each.

Commands are sent in batches; the replies of a batch are handed to its ``done`` together.  When the connection ends, or a reply
is late, every batch that waits is told so (None): what became of it is not known.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import hiredis

from callcontrol.histogram import Histogram

_log = logging.getLogger(__name__)

Replies = list[object]
Done = Callable[[Replies | None], None]

_MAX_WRITE_BUFFER: Final = 64 * 1024 * 1024
_WRONG_SERVER: Final[tuple[str, ...]] = ("NOSCRIPT", "READONLY", "LOADING", "MASTERDOWN", "MOVED")
"""Refusals that a new connection may cure: scripts are loaded again, or another server has become master."""


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


SILENTLY: Final = command("CLIENT", "REPLY", "SKIP")
"""Sent before a command to which no reply is wanted."""


class _Batch:
    """Commands whose replies are awaited."""

    __slots__ = ("at", "done", "replies", "took", "wanted")

    def __init__(self, wanted: int, done: Done, at: float, took: Histogram | None) -> None:
        self.wanted = wanted
        self.done = done
        self.at = at
        self.took = took
        """Where it is noted how long the replies were waited for."""
        self.replies: Replies = []


class Connection:
    """One TCP or Unix connection, from its first byte to its end.

    An `asyncio.Protocol` in all but name: compiled classes cannot have interpreted ones above them.
    """

    def __init__(self, on_turn: Callable[[], None], on_defect: Callable[[Exception], None]) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[str] = loop.create_future()
        self.waiting: deque[_Batch] = deque()
        self._on_turn = on_turn
        self._on_defect = on_defect
        self.is_wrong = False
        """The server has said that it cannot serve us."""
        self.can_tell = False
        """The server lets us say that we want no reply; an ACL may forbid it."""
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._time = loop.time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # whatever is sent is on its way when ``send`` returns, and outlives us: uvloop 0.19 would keep it for the end of the
        # turn (0.23 does not)
        self._transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self.waiting
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                if not waiting:
                    raise hiredis.ProtocolError("a reply that nobody has asked for")
                batch = waiting[0]
                batch.replies.append(reply)
                if isinstance(reply, hiredis.ReplyError) and str(reply).startswith(_WRONG_SERVER):
                    self.is_wrong = True
                if len(batch.replies) == batch.wanted:
                    waiting.popleft()
                    if batch.took is not None:
                        batch.took.observe(self._time() - batch.at)
                    self._tell(batch, batch.replies)
        except hiredis.ProtocolError as error:
            _log.error("live state: what Redis sends is not its protocol: %s", error)
            self.abort()
        if self.is_wrong:
            self.abort()
        self._on_turn()

    def eof_received(self) -> None:
        """The transport closes itself."""

    def pause_writing(self) -> None:
        """What Redis does not read is bounded by ``send``."""

    def resume_writing(self) -> None:
        """See ``pause_writing``."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        waiting, self.waiting = self.waiting, deque()
        for batch in waiting:
            self._tell(batch, None)
        if not self.closed.done():
            self.closed.set_result(str(exc) if exc is not None else "closed")
        self._on_turn()

    def send(self, data: bytes, wanted: int, done: Done, took: Histogram | None = None) -> None:
        if self._transport is None:
            done(None)
            return
        self.waiting.append(_Batch(wanted, done, self._time(), took))
        self._write(data)

    def tell(self, data: bytes) -> None:
        """Send commands to which Redis gives no reply: each stands behind `SILENTLY`."""
        self._write(data)

    def _write(self, data: bytes) -> None:
        if self._transport is None:
            return
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
