"""Calls in a real Redis for a world whose clock is played: the scripts and pipelines of a node, each waited for on the spot."""

from __future__ import annotations

import socket
from collections.abc import Callable

import hiredis

from callcontrol.live import keys
from callcontrol.live.calls import SCRIPTS, TAKE, RedisCallStore
from callcontrol.live.connection import Done, command
from tests.support.redis import HOST


class BlockingLink:
    """What `RedisCallStore` needs of a link; replies come before ``send`` returns."""

    is_up = True

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=10)
        self._reader = hiredis.Reader()
        for script in SCRIPTS:
            self.ask("SCRIPT", "LOAD", script.text)

    def send(self, data: bytes, wanted: int, done: Done) -> None:
        self._socket.sendall(data)
        replies: list[object] = []
        while len(replies) < wanted:
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(65536))
            else:
                replies.append(reply)
        done(replies)

    def tell(self, data: bytes) -> bool:
        self._socket.sendall(data)
        return True

    def ask(self, *words: str | int) -> object:
        told: list[object] = []
        self.send(command(*words), 1, lambda replies: told.extend(replies or ()))
        assert not isinstance(told[0], hiredis.ReplyError), told[0]
        return told[0]

    def close(self) -> None:
        self._socket.close()


class RedisCalls:
    """`callcontrol.call_store.MemoryCallStore` as the world uses it.  Each process that goes on is a node of another name."""

    encodes = True
    waiting = False

    def __init__(self, link: BlockingLink) -> None:
        self._link = link
        self._life = 1
        self._before = 0
        self._store = self._of_life()

    @property
    def saved(self) -> int:
        """Saves and deletions that Redis has taken, of all lives."""
        return self._before + self._store.saved

    def _of_life(self) -> RedisCallStore:
        return RedisCallStore(self._link, f"node-{self._life}", keep_s=600)  # type: ignore[arg-type]  # all that it uses

    def save(self, ref: str, epoch: int, snapshot: bytes) -> None:
        self._store.save(ref, epoch, snapshot)

    def delete(self, ref: str, epoch: int) -> None:
        self._store.delete(ref, epoch)

    def claim(self, ref: str, request: str) -> None:
        self._store.claim(ref, request)

    def commit(self, done: Callable[[frozenset[str]], None] | None) -> None:
        self._store.commit(done)

    @property
    def snapshots(self) -> list[str]:
        """Calls of the node that died; whoever asks takes them over next."""
        found = self._link.ask("SMEMBERS", keys.calls_of(f"node-{self._life}"))
        self._life += 1
        self._before = self.saved
        self._store = self._of_life()
        return sorted(ref.decode() for ref in found) if isinstance(found, list) else []

    def take(self, ref: str) -> tuple[int, bytes] | None:
        old, new = f"node-{self._life - 1}", f"node-{self._life}"
        if self._link.ask("SMOVE", keys.calls_of(old), keys.calls_of(new), ref) != 1:
            return None
        told: list[object] = []
        take = TAKE.call((keys.call(ref),), new, old)
        self._link.send(take, 1, lambda replies: told.extend(replies or ()))
        reply = told[0]
        if not isinstance(reply, list):
            return None
        self._store.adopt([ref])
        return int(reply[0]), reply[1]

    def left(self) -> list[str]:
        """Keys of calls that are still there; the trace of one that was taken over and is over does not count."""
        found = self._link.ask("KEYS", f"{keys.TAG}:call*")
        names = sorted(name.decode() for name in found) if isinstance(found, list) else []
        return [name for name in names if not self._is_trace(name)]

    def _is_trace(self, name: str) -> bool:
        if not name.startswith(keys.call("")):
            return False
        held = self._link.ask("GET", name)
        return isinstance(held, bytes) and held.endswith(b"\n") and len(held) == 11
