"""Bindings behind which Redis stands: what another process finds of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from callcontrol.bindings import Binding
from callcontrol.live.bindings import RedisBindingStore
from callcontrol.live.link import Address, RedisLink
from tests.callcontrol.register_kit import binding
from tests.support.redis import RedisServer, redis

__all__ = ["redis"]

pytestmark = pytest.mark.rule("LIVE-01")

NOW = float(int(time.time()))
"""Redis expires by its own clock, so these bindings live today."""


async def opened(server: RedisServer, now: float = NOW) -> tuple[RedisLink, RedisBindingStore]:
    link = RedisLink(Address(server.url))
    await link.connect()
    return link, RedisBindingStore(link, lambda: now)


def registered(key: str) -> Binding:
    return binding(key, at=NOW, lasts=3600.0)


def test_another_process_finds_what_was_registered(redis: RedisServer) -> None:
    async def play() -> None:
        link, store = await opened(redis)
        kept, gone, asleep = (registered(key) for key in ("instance a", "instance b", "instance c"))
        over_tcp = replace(asleep, conn=7, flow="tcp|192.0.2.1|5060|x|7")
        store.apply([kept, gone, over_tcp, replace(over_tcp, key="instance d", wakes=True)])
        store.apply([], [gone])
        await link.ask("PING")  # replies come in order: all is written
        later, other = await opened(redis)
        assert await other.load() == 2
        assert sorted(each.key for each in other.all()) == ["instance a", "instance d"]
        assert [each.asleep for each in sorted(other.all(), key=lambda each: each.key)] == [False, True]
        assert next(each for each in other.all() if each.key == "instance a").dump() == kept.dump()
        await link.close()
        await later.close()

    asyncio.run(play())


def test_an_entry_that_cannot_be_read_costs_only_itself(redis: RedisServer) -> None:
    async def play() -> None:
        link, store = await opened(redis)
        store.apply([registered("instance a")])
        await link.ask("SET", "cl:binding:sip:x@y:1", b"\xc1 nonsense")
        await link.ask("SET", "cl:binding:sip:x@y:2", b"\x81\xa6schema\x63")
        assert await store.load() == 1
        await link.close()

    asyncio.run(play())


def test_ten_thousand_are_found(redis: RedisServer) -> None:
    async def play() -> None:
        link, store = await opened(redis)
        store.apply([registered(f"instance {number}") for number in range(10_000)])
        await link.ask("PING")  # replies come in order: all is written
        later, other = await opened(redis)
        assert await other.load() == 10_000
        await link.close()
        await later.close()

    asyncio.run(play())
