"""Bindings that outlive the process: a copy in memory answers, and every change is written behind it (LIVE-01).

Nothing waits for the write.  A REGISTER whose last write was lost with Redis is made again by the device when it refreshes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from callcontrol.bindings import Binding, MemoryBindingStore
from callcontrol.live import keys
from callcontrol.live.link import RedisLink, Replies, command

_log = logging.getLogger(__name__)

_SCAN: Final = 500
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(dict[str, object])


class RedisBindingStore:
    """`callcontrol.bindings.BindingStore` with a shadow in Redis."""

    def __init__(self, link: RedisLink, wall: Callable[[], float]) -> None:
        # held, not inherited from: the store in memory may be compiled
        self._held = MemoryBindingStore()
        self._link = link
        self._wall = wall
        self.failed = 0
        """Changes of which it is not known that they are in Redis."""

    def bindings_of(self, aor: str, now: float) -> list[Binding]:
        return self._held.bindings_of(aor, now)

    def bindings_of_user(self, user: str, now: float) -> list[Binding]:
        return self._held.bindings_of_user(user, now)

    def on_connection(self, conn: int) -> list[Binding]:
        return self._held.on_connection(conn)

    def has_source(self, address: str) -> bool:
        return self._held.has_source(address)

    def expire(self, now: float) -> list[Binding]:
        return self._held.expire(now)

    def next_deadline(self) -> float | None:
        return self._held.next_deadline()

    def all(self) -> list[Binding]:
        return self._held.all()

    def __len__(self) -> int:
        return len(self._held)

    def apply(self, put: Sequence[Binding], remove: Sequence[Binding] = ()) -> None:
        self._held.apply(put, remove)
        commands = [command("DEL", keys.binding(binding.aor, binding.key)) for binding in remove]
        commands.extend(_write(binding) for binding in put)
        self._send(commands)

    async def load(self) -> int:
        """Take in what is in Redis, when the process starts; how many bindings are in force again.  Raises LinkError."""
        found: list[dict[str, object]] = []
        cursor: object = b"0"
        while True:
            reply = await self._link.ask("SCAN", _text(cursor), "MATCH", keys.BINDINGS + "*", "COUNT", _SCAN)
            cursor, names = reply if isinstance(reply, list) else (b"0", [])
            if names:
                values = await self._link.ask("MGET", *names)
                found.extend(_readable(values if isinstance(values, list) else []))
            if _text(cursor) == "0":
                break
        latest = {(_text(data.get("aor")), _text(data.get("key"))): data for data in found}
        count = self._held.restore(latest.values(), self._wall())
        self.write_all()  # a binding over a connection that is gone is asleep now, or gone too
        return count

    def write_all(self) -> None:
        """Write everything again: Redis may have lost it."""
        self._send([_write(binding) for binding in self.all()])

    def _send(self, commands: list[bytes]) -> None:
        if commands:
            self._link.send(
                b"".join(commands), len(commands), lambda replies: self._sent(len(commands), replies)
            )

    def _sent(self, count: int, replies: Replies | None) -> None:
        if replies is None or any(isinstance(reply, Exception) for reply in replies):
            self.failed += count


def _write(binding: Binding) -> bytes:
    until = int(binding.expires_at * 1000) + 1
    name = keys.binding(binding.aor, binding.key)
    return command("SET", name, _encoder.encode(binding.dump()), "PXAT", until)


def _readable(values: Sequence[object]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for value in values:
        if not isinstance(value, bytes):
            continue  # expired between the two commands
        try:
            data = _decoder.decode(value)
            Binding.load(data)
        except (msgspec.DecodeError, ValueError) as error:
            _log.error("live state: a binding in Redis cannot be read: %s", error)
            continue
        found.append(data)
    return found


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
