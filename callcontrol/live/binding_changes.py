"""Reads what other nodes write of registrations: everything at start, then change by change (LIVE-01, DEV-05).

A link of its own waits in Redis for the next entry of the stream.  Whoever lost the thread (an outage, a stream that went on
too far without this node, a node that came back) looks through all keys again, and goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from callcontrol.bindings import Binding
from callcontrol.live import keys
from callcontrol.live.bindings import (
    Order,
    Place,
    RedisBindingStore,
    order_of,
    place_of,
    read_binding,
    read_place,
    read_value,
)
from callcontrol.live.link import LinkError, RedisLink

_log = logging.getLogger(__name__)

BATCH: Final = 500
BLOCK_MS: Final = 1000
_SCAN: Final = 500
_SLICE: Final = 200
_RETRY_S: Final = 0.1


class BindingChanges:
    """Keeps a store in step with Redis; see the module."""

    def __init__(
        self,
        reader: RedisLink,
        store: RedisBindingStore,
        node: str,
        process: str,
        *,
        on_turn: Callable[[], None] = lambda: None,
        on_defect: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """``on_turn``: asks for a turn in which what was learnt is worked off."""
        self._reader = reader
        self._store = store
        self._node = node
        self._process = process
        self._on_turn = on_turn
        self._on_defect = on_defect
        self._last = "0-0"
        self._in_step = False
        self._rewrites = False
        self.resyncs = 0
        """How often everything was looked through again."""

    @property
    def in_step(self) -> bool:
        """What is held is what other nodes have written, but for what is on its way."""
        return self._in_step

    def look_again(self, *, rewrite: bool = False) -> None:
        """Something may have been missed; ``rewrite``: and Redis may have lost what this node wrote."""
        self._in_step = False
        self._rewrites = self._rewrites or rewrite

    async def open(self) -> int:
        """Take in what there is; how many bindings are in force.  Raises LinkError."""
        await self._find_end()
        found = await self._everything()
        self._in_step = True
        return self._store.take_in(list(found.values()))

    async def run(self) -> None:
        """Follow the stream.  Until cancelled."""
        while True:
            try:
                if not self._in_step:
                    await self._resync()
                    self._on_turn()
                if await self._read():
                    self._on_turn()
            except LinkError as error:
                if self._in_step:
                    _log.warning("live state: changes of registrations cannot be read: %s", error)
                self._in_step = False
                await asyncio.sleep(_RETRY_S)

    # -- the stream

    async def _find_end(self) -> None:
        reply = await self._reader.ask("XREVRANGE", keys.BINDING_CHANGES, "+", "-", "COUNT", 1)
        self._last = _text(reply[0][0]) if isinstance(reply, list) and reply else "0-0"

    async def _read(self) -> int:
        """Work off the changes that have come since; how many.  Raises LinkError."""
        words = ("COUNT", BATCH, "BLOCK", BLOCK_MS, "STREAMS", keys.BINDING_CHANGES, self._last)
        reply = await self._reader.ask("XREAD", *words)
        if not isinstance(reply, list):
            if self._last != "0-0" and await self._reader.ask("EXISTS", keys.BINDING_CHANGES) == 0:
                self.look_again(rewrite=True)
            return 0
        entries = reply[0][1]
        if len(entries) == BATCH and await self._has_gap():
            self.look_again()
            return 0
        for id, fields in entries:
            self._last = _text(id)
            try:
                self._take(order_of(id), fields)
            except Exception as error:  # noqa: BLE001 - one entry that cannot be read costs only itself
                self._on_defect(error)
        self._store.reached(order_of(self._last))
        return len(entries)

    async def _has_gap(self) -> bool:
        """Whether the oldest entry that is left is younger than the last one that was read."""
        reply = await self._reader.ask("XRANGE", keys.BINDING_CHANGES, "-", "+", "COUNT", 1)
        if self._last == "0-0":
            return False
        return isinstance(reply, list) and bool(reply) and order_of(reply[0][0]) > order_of(self._last)

    def _take(self, order: Order, fields: list[bytes]) -> None:
        if fields[1] == self._process.encode():
            return
        if fields[2] == b"r":
            try:
                self._store.learn(read_place(fields[3]), order, None)
            except msgspec.DecodeError as error:
                _log.error("live state: a change of registrations cannot be read: %s", error)
            return
        binding = read_binding(fields[3])
        if binding is not None:
            self._store.learn(place_of(binding), order, binding)

    # -- all keys

    async def _everything(self) -> dict[Place, Binding]:
        found: dict[Place, Binding] = {}
        cursor = "0"
        while True:
            reply = await self._reader.ask("SCAN", cursor, "MATCH", keys.BINDINGS + "*", "COUNT", _SCAN)
            cursor, names = (_text(reply[0]), reply[1]) if isinstance(reply, list) else ("0", [])
            if names:
                values = await self._reader.ask("MGET", *names)
                for value in values if isinstance(values, list) else ():
                    binding = read_value(value) if isinstance(value, bytes) else None
                    if binding is not None:
                        found[place_of(binding)] = binding
                await asyncio.sleep(0)
            if cursor == "0":
                return found

    async def _resync(self) -> None:
        store = self._store
        if self._rewrites:
            own = store.own()
            for at in range(0, len(own), _SLICE):
                store.write(own[at : at + _SLICE])
                await asyncio.sleep(0)
            await store.settle()
            self._rewrites = False
        await self._find_end()
        end = order_of(self._last)
        store.reached(end)
        found = await self._everything()
        stale: list[Place] = []
        for place, binding in found.items():
            if not store.is_settled(place, end):
                continue
            held = store.find(place)
            if binding.node != self._node:
                if held is None or _differs(held, binding):
                    store.adopt(place, binding)
            elif held is None:
                stale.append(place)
        for held in store.all():
            place = place_of(held)
            if held.node != self._node and place not in found and store.is_settled(place, end):
                store.adopt(place, None, "expired")
        store.forget(stale)
        self._in_step = True
        self.resyncs += 1


def _differs(held: Binding, found: Binding) -> bool:
    return (held.node, held.refreshed_at, held.flow, held.expires_at) != (
        found.node,
        found.refreshed_at,
        found.flow,
        found.expires_at,
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
