"""What every store of calls must do; run for each store there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from callcontrol.call_store import MemoryCallStore
from callcontrol.live.address import Address
from callcontrol.live.calls import SCRIPTS, TAKE, RedisCallStore
from callcontrol.live.keys import call as key_of
from callcontrol.live.link import RedisLink
from callcontrol.ports import CallStore
from tests.support.redis import RedisServer, redis

__all__ = ["redis"]

Lost = frozenset[str]


class Held:
    """A store with what the contract asks of it: a commit to wait for, and taking a call over."""

    def __init__(self, store: CallStore) -> None:
        self.store = store

    async def commit(self) -> Lost:
        told: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
        self.store.commit(told.set_result)
        async with asyncio.timeout(5):
            return await told

    async def take(self, ref: str) -> tuple[int, bytes] | None:
        raise NotImplementedError


class HeldMemory(Held):
    def __init__(self) -> None:
        self.memory = MemoryCallStore(encodes=True)
        super().__init__(self.memory)

    async def take(self, ref: str) -> tuple[int, bytes] | None:
        return self.memory.take(ref)


class HeldRedis(Held):
    def __init__(self, link: RedisLink, waits: bool) -> None:
        super().__init__(RedisCallStore(link, "node-1", keep_s=600, waits=waits))
        self.link = link
        self._takes = 1

    async def take(self, ref: str) -> tuple[int, bytes] | None:
        """Each time as another node."""
        self._takes += 1
        (reply,) = await self.link.ask_all([TAKE.call((key_of(ref),), f"node-{self._takes}", "")])
        if not isinstance(reply, list):
            return None
        return int(reply[0]), bytes(reply[1])


@asynccontextmanager
async def held(kind: str, server: RedisServer) -> AsyncIterator[Held]:
    if kind == "memory":
        yield HeldMemory()
        return
    link = RedisLink(Address(server.url), scripts=SCRIPTS)
    await link.connect()
    try:
        yield HeldRedis(link, waits=kind == "redis")
    finally:
        await link.close()


async def saved_and_taken(it: Held) -> None:
    """A call that its owner has saved, and that another node has under epoch 2."""
    it.store.save("a", 1, b"one")
    assert await it.commit() == frozenset()
    assert await it.take("a") == (2, b"one")


@pytest.fixture(params=["memory", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


pytestmark = pytest.mark.rule("LIVE-01")


def test_what_was_saved_can_be_taken_over(kind: str, redis: RedisServer) -> None:
    async def play() -> None:
        async with held(kind, redis) as it:
            it.store.save("a", 1, b"one")
            it.store.save("b", 1, b"\0\xff two")
            it.store.save("a", 1, b"later")
            assert await it.commit() == frozenset()
            assert await it.take("a") == (2, b"later")
            assert await it.take("b") == (2, b"\0\xff two")
            assert await it.take("c") is None

    asyncio.run(play())


def test_who_lost_a_call_learns_it_from_the_next_save(kind: str, redis: RedisServer) -> None:
    async def play() -> None:
        async with held(kind, redis) as it:
            it.store.save("a", 1, b"one")
            it.store.save("b", 1, b"one")
            await it.commit()
            assert await it.take("a") == (2, b"one")
            it.store.save("a", 1, b"of the old owner")
            it.store.save("b", 1, b"two")
            assert await it.commit() == frozenset({"a"})
            assert await it.take("a") == (3, b"one")
            it.store.save("a", 3, b"of the new owner")
            assert await it.commit() == frozenset()
            assert await it.take("a") == (4, b"of the new owner")

    asyncio.run(play())


def test_a_save_that_nobody_waits_for_counts_like_any_other(kind: str, redis: RedisServer) -> None:
    async def play() -> None:
        async with held(kind, redis) as it:
            it.store.save("a", 1, b"one")
            it.store.commit(None)  # the first one
            it.store.save("a", 1, b"two")
            it.store.commit(None)
            assert await it.commit() == frozenset()
            assert await it.take("a") == (2, b"two")
            it.store.save("a", 1, b"of the old owner")
            it.store.commit(None)
            assert await it.take("a") == (3, b"two")
            it.store.save("a", 1, b"of the old owner")
            assert await it.commit() == frozenset({"a"})

    asyncio.run(play())


def test_only_the_owner_deletes(kind: str, redis: RedisServer) -> None:
    async def play() -> None:
        async with held(kind, redis) as it:
            await saved_and_taken(it)
            it.store.delete("a", 1)
            assert await it.commit() == frozenset({"a"})
            assert await it.take("a") == (3, b"one")
            it.store.delete("a", 3)
            assert await it.commit() == frozenset()
            assert await it.take("a") is None

    asyncio.run(play())


@pytest.mark.rule("LIVE-02", "CDR-02")
def test_a_call_that_is_over_does_not_rise_again_from_who_lost_it(kind: str, redis: RedisServer) -> None:
    """A node that was cut off comes with its save when the new owner has ended and deleted the call."""

    async def play() -> None:
        async with held(kind, redis) as it:
            await saved_and_taken(it)
            it.store.delete("a", 2)
            assert await it.commit() == frozenset()
            assert await it.take("a") is None
            it.store.save("a", 1, b"of the old owner")
            assert await it.commit() == frozenset({"a"})
            it.store.delete("a", 1)
            assert await it.commit() == frozenset({"a"})
            assert await it.take("a") is None

    asyncio.run(play())


@pytest.mark.rule("LIVE-02", "CDR-01")
def test_a_request_begins_one_call(kind: str, redis: RedisServer) -> None:
    """An INVITE that its caller sends again comes to another node when its own has died right after the save."""

    async def play() -> None:
        async with held(kind, redis) as it:
            it.store.save("a", 1, b"one")
            it.store.claim("a", "z9hG4bKone|INVITE")
            it.store.save("b", 1, b"another")
            it.store.claim("b", "z9hG4bKtwo|INVITE")
            assert await it.commit() == frozenset()
            it.store.save("c", 1, b"the first again")
            it.store.claim("c", "z9hG4bKone|INVITE")
            assert await it.commit() == frozenset({"c"})
            assert await it.take("c") is None
            assert await it.take("a") == (2, b"one")
            it.store.delete("a", 2)
            assert await it.commit() == frozenset()
            it.store.save("d", 1, b"and after its end")
            it.store.claim("d", "z9hG4bKone|INVITE")
            assert await it.commit() == frozenset({"d"}), "it is answered by who had taken it over"
            it.store.delete("b", 1)
            assert await it.commit() == frozenset()
            it.store.save("e", 1, b"what ended with its own node is forgotten")
            it.store.claim("e", "z9hG4bKtwo|INVITE")
            assert await it.commit() == frozenset()
            assert await it.take("e") == (2, b"what ended with its own node is forgotten")

    asyncio.run(play())


def test_saved_and_deleted_in_one_turn_is_gone(kind: str, redis: RedisServer) -> None:
    async def play() -> None:
        async with held(kind, redis) as it:
            it.store.save("a", 1, b"one")
            it.store.delete("a", 1)
            assert await it.commit() == frozenset()
            assert await it.take("a") is None

    asyncio.run(play())


def test_commits_are_answered_in_order(kind: str, redis: RedisServer) -> None:
    async def play() -> None:
        async with held(kind, redis) as it:
            order: list[int] = []
            last: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            for number in range(50):
                if number % 3:
                    it.store.save(f"call-{number % 7}", 1, b"x" * number)

                def done(lost: Lost, number: int = number) -> None:
                    order.append(number)
                    if number == 49:
                        last.set_result(None)

                it.store.commit(done)
            async with asyncio.timeout(5):
                await last
            assert order == list(range(50))
            assert not it.store.waiting

    asyncio.run(play())


def test_a_commit_of_nothing_is_done_at_once(kind: str, redis: RedisServer) -> None:
    async def play() -> None:
        async with held(kind, redis) as it:
            told: list[Lost] = []
            it.store.commit(told.append)
            assert told == [frozenset()]

    asyncio.run(play())


def test_a_store_that_does_not_wait_tells_of_a_lost_call_later(redis: RedisServer) -> None:
    """``state.durability = "async"``."""

    async def play() -> None:
        async with held("redis, async", redis) as it:
            it.store.save("a", 1, b"one")
            assert await it.commit() == frozenset()
            await it.take("nothing")  # the link answers in order: the save is done
            assert await it.take("a") == (2, b"one")
            it.store.save("a", 1, b"late")
            assert await it.commit() == frozenset()
            await it.take("nothing")
            assert await it.commit() == frozenset({"a"})

    asyncio.run(play())
