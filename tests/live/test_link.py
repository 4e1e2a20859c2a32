"""The link to Redis: replies in order, outages, silence, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from callcontrol.live.address import Address
from callcontrol.live.calls import SCRIPTS, RedisCallStore
from callcontrol.live.connection import SILENTLY, Replies, command
from callcontrol.live.link import LinkError, RedisLink
from callcontrol.transport import loop
from tests.support.redis import RedisServer, redis

__all__ = ["redis"]

pytestmark = pytest.mark.rule("LIVE-01")


@asynccontextmanager
async def running(server: RedisServer, timeout_s: float = 1.0) -> AsyncIterator[RedisLink]:
    link = RedisLink(Address(server.url), scripts=SCRIPTS, timeout_s=timeout_s)
    await link.connect()
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.close()


async def until(what: str, condition: Callable[[], object]) -> None:
    """Wait for what other processes bring about; ``what`` is for the reader of a failure."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within 10 s: {what}")


def test_replies_come_to_whom_they_belong(redis: RedisServer) -> None:
    async def play() -> None:
        async with running(redis) as link:
            told: list[Replies | None] = []
            for number in range(100):
                data = command("SET", f"k{number}", "x" * number * 100) + command("STRLEN", f"k{number}")
                link.send(data, 2, told.append)
            await until("all replies", lambda: len(told) == 100)
            assert told == [[b"OK", number * 100] for number in range(100)]

    asyncio.run(play())


def test_how_long_replies_took_is_measured(redis: RedisServer) -> None:
    async def play() -> None:
        async with running(redis) as link:
            told: list[Replies | None] = []
            link.send(command("SET", "a", 1) + command("GET", "a"), 2, told.append)
            await until("the replies", lambda: told)
            await link.ask("PING")
            counts = {op: histogram.count for op, histogram in link.command_seconds.items()}
            assert counts == {"pipeline": 1, "command": 1}, "each batch counts once"

    asyncio.run(play())


@pytest.mark.parametrize("run", [asyncio.run, loop.run])
def test_what_is_told_is_there_though_we_do_nothing_more(
    redis: RedisServer, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    """A process that is killed after it has sent a response has saved what came before that."""

    async def play() -> None:
        async with running(redis) as link:
            assert link.tell(SILENTLY + command("SET", "a", 1) + SILENTLY + command("SET", "b", "x" * 20_000))
            # nothing of ours runs while another process asks
            assert redis.ask("GET", "a") == "1"
            assert redis.ask("STRLEN", "b") == "20000"
            assert await link.ask("GET", "a") == b"1", "no reply came for what was told"
            assert link.tell(SILENTLY + b"*1\r\n$7\r\nNONSENS\r\n")
            assert await link.ask("GET", "a") == b"1", "nor for what Redis refuses"

    run(play())


def test_where_redis_may_not_be_silent_replies_are_asked_for(redis: RedisServer) -> None:
    async def play() -> None:
        await asyncio.to_thread(redis.ask, "ACL", "SETUSER", "default", "-client|reply")
        async with running(redis) as link:
            assert not link.tell(SILENTLY + command("SET", "a", 1))
            assert await link.ask("GET", "a") is None
            store = RedisCallStore(link, "one", keep_s=600)
            for state in (b"first", b"second"):
                store.save("call", 1, state)
                store.commit(None)
            await until("the saves", lambda: not store.waiting)
            assert "second" in await asyncio.to_thread(redis.ask, "GET", "{cl}:call:call")

    asyncio.run(play())


def test_a_server_that_dies_is_told_to_all_who_wait_and_found_again(redis: RedisServer) -> None:
    async def play() -> None:
        async with running(redis) as link:
            back: list[bool] = []
            link.on_up = lambda: back.append(True)
            redis.freeze()
            told: list[Replies | None] = []
            for _ in range(3):
                link.send(command("PING"), 1, told.append)
            redis.kill()
            await until("the loss", lambda: len(told) == 3)
            assert told == [None, None, None]
            link.send(command("PING"), 1, told.append)
            assert told[3] is None  # at once
            redis.start()
            await until("the link", lambda: link.is_up)
            assert back == [True]
            assert await link.ask("PING") == b"PONG"

    asyncio.run(play())


def test_a_silent_server_is_not_waited_for(redis: RedisServer) -> None:
    async def play() -> None:
        async with running(redis, timeout_s=0.2) as link:
            redis.freeze()
            told: list[Replies | None] = []
            began = asyncio.get_running_loop().time()
            link.send(command("PING"), 1, told.append)
            await until("the end of patience", lambda: told)
            assert told == [None]
            assert asyncio.get_running_loop().time() - began < 2.0
            assert link.slow == 1
            redis.thaw()
            await until("the link", lambda: link.is_up)

    asyncio.run(play())


def test_what_was_not_saved_is_written_when_redis_is_back(redis: RedisServer) -> None:
    """The latest state of each call, and only if nobody else has it now."""

    async def play() -> None:
        async with running(redis) as link:
            store = RedisCallStore(link, "node-1", keep_s=600)
            store.save("a", 1, b"before")
            store.save("b", 1, b"before")
            told: list[frozenset[str]] = []
            store.commit(told.append)
            await until("the save", lambda: told)
            redis.kill()
            await until("the loss", lambda: not link.is_up)
            for state in (b"during", b"last"):
                store.save("a", 1, state)
                store.commit(told.append)
            store.delete("b", 1)
            store.commit(told.append)
            assert told == [frozenset()] * 4  # calls go on
            assert store.unsaved == 2
            redis.start()
            await until("the link", lambda: link.is_up)
            store.distrust()
            store.write_unsaved()
            await until("the save", lambda: not store.waiting)
            assert store.unsaved == 0
            assert await link.ask("GET", "{cl}:call:a") == b"0000000001node-1\nlast"
            assert await link.ask("GET", "{cl}:call:b") is None

    asyncio.run(play())


def test_scripts_that_redis_forgot_are_loaded_again(redis: RedisServer) -> None:
    async def play() -> None:
        async with running(redis) as link:
            store = RedisCallStore(link, "node-1", keep_s=600)
            await link.ask("SCRIPT", "FLUSH")
            store.save("a", 1, b"one")
            told: list[frozenset[str]] = []
            store.commit(told.append)
            await until("the refusal", lambda: told)
            assert store.unsaved == 1
            await until("a new link", lambda: link.breaks == 1 and link.is_up)
            store.write_unsaved()
            await until("the save", lambda: not store.waiting)
            assert await link.ask("GET", "{cl}:call:a") == b"0000000001node-1\none"

    asyncio.run(play())


def test_a_server_that_may_only_be_read_is_not_tried_without_pause(redis: RedisServer) -> None:
    """As a master is that was made a replica: connections open, and end with the first save."""

    async def play() -> None:
        async with running(redis) as link:
            store = RedisCallStore(link, "node-1", keep_s=600)
            await link.ask("REPLICAOF", "127.0.0.1", "1")
            store.save("a", 1, b"one")
            store.commit(lambda lost: None)
            end = asyncio.get_running_loop().time() + 1.5
            while asyncio.get_running_loop().time() < end:
                store.write_unsaved()
                await asyncio.sleep(0.01)
            assert 2 <= link.breaks <= 6
            redis.ask("REPLICAOF", "NO", "ONE")
            await until("the link", lambda: link.is_up)
            store.write_unsaved()
            await until("the save", lambda: not store.unsaved and not store.waiting)

    asyncio.run(play())


def test_a_full_redis_costs_no_call(redis: RedisServer) -> None:
    async def play() -> None:
        async with running(redis) as link:
            store = RedisCallStore(link, "node-1", keep_s=600)
            await link.ask("CONFIG", "SET", "maxmemory", "1")
            told: list[frozenset[str]] = []
            store.save("a", 1, b"one")
            store.commit(told.append)
            await until("the refusal", lambda: told)
            assert told == [frozenset()]
            assert "OOM" in store.refusal
            await link.ask("CONFIG", "SET", "maxmemory", "0")
            store.write_unsaved()
            await until("the save", lambda: not store.waiting)
            assert not store.refusal
            assert await link.ask("GET", "{cl}:call:a") == b"0000000001node-1\none"
            assert await link.ask("SMEMBERS", "{cl}:calls:node-1") == [b"a"], (
                "or nobody would ever take it over"
            )

    asyncio.run(play())


def test_an_older_state_that_failed_does_not_come_back(redis: RedisServer) -> None:
    async def play() -> None:
        async with running(redis) as link:
            store = RedisCallStore(link, "node-1", keep_s=600)
            told: list[frozenset[str]] = []
            await link.ask("CONFIG", "SET", "maxmemory", "1")
            store.save("a", 1, b"one")
            store.commit(told.append)
            await until("the refusal", lambda: told)
            await link.ask("CONFIG", "SET", "maxmemory", "0")
            store.save("a", 1, b"two")
            store.commit(told.append)
            store.write_unsaved()  # the later one is on its way
            await until("the save", lambda: len(told) == 2)
            store.write_unsaved()
            await until("rest", lambda: not store.waiting)
            assert await link.ask("GET", "{cl}:call:a") == b"0000000001node-1\ntwo"

    asyncio.run(play())


def test_a_password_is_needed_and_not_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        server.ask("CONFIG", "SET", "requirepass", "s3cret-word")

        async def play(url: str) -> object:
            link = RedisLink(Address(url))
            await link.connect()
            try:
                return await link.ask("PING")
            finally:
                await link.close()

        right = f"redis://:s3cret-word@127.0.0.1:{server.port}/1"
        assert asyncio.run(play(right)) == b"PONG"
        for url in (server.url, f"redis://:wrong-word@127.0.0.1:{server.port}"):
            with pytest.raises(LinkError) as caught:
                asyncio.run(play(url))
            assert "word" not in str(caught.value).lower().replace("password", "")
    finally:
        server.kill()


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "redis://h/x",
        "redis://h/-1",
        "redis://h/²",
        "redis://h,i/0",
        "redis://h:x/0",
        "redis+sentinel://h",
        "redis+sentinel://h/service/x",
        "redis+cluster://h/1",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"redis|database|host:port"):
        Address(url)


def test_nobody_there() -> None:
    async def play() -> None:
        await RedisLink(Address("redis://127.0.0.1:1")).connect()

    with pytest.raises(LinkError, match="cannot be reached"):
        asyncio.run(play())
