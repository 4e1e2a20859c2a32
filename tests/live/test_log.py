"""Tables that all nodes have alike, over a real Redis: order, newcomers, outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from callcontrol.live.address import Address
from callcontrol.live.link import RedisLink
from callcontrol.live.log import LEAVE_COPY, UNAVAILABLE, SharedLog
from tests.support.redis import RedisServer, redis

__all__ = ["redis"]

pytestmark = pytest.mark.rule("LIVE-01")


class Tally:
    """A table in which the order of the steps shows."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def step(self, verb: str, words: Sequence[Any]) -> object:
        if verb == "fail":
            raise ValueError("a step that cannot be done")
        self.words.append(words[0])
        return len(self.words)

    def dump(self) -> object:
        return self.words

    def load(self, data: Any) -> None:
        self.words = list(data)


class Node:
    def __init__(self, server: RedisServer, name: str) -> None:
        self.links = [
            RedisLink(Address(server.url), scripts=(LEAVE_COPY,), timeout_s=timeout) for timeout in (0.5, 3.0)
        ]
        self.tally = Tally()
        self.defects: list[Exception] = []
        self.backs = 0
        self.log = SharedLog(
            self.links[0],
            self.links[1],
            name,
            {"tally": self.tally},
            patience_s=1.0,
            on_defect=self.defects.append,
        )
        self.links[0].on_up = self.log.say_again
        self.log.on_back.append(self._back)

    def _back(self) -> None:
        self.backs += 1

    async def begin(self) -> list[asyncio.Task[None]]:
        for link in self.links:
            await link.connect()
        await self.log.open()
        return [asyncio.create_task(each.run()) for each in (*self.links, self.log)]

    async def ask(self, word: str) -> object:
        told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.log.submit("tally", "add", (word,), told.set_result)
        async with asyncio.timeout(5):
            return await told


@asynccontextmanager
async def node(server: RedisServer, name: str) -> AsyncIterator[Node]:
    made = Node(server, name)
    tasks = await made.begin()
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in made.links:
            await link.close()


async def settled(*nodes: Node, steps: int) -> None:
    for _ in range(1000):
        if all(len(each.tally.words) >= steps for each in nodes):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within 10 s: {[len(each.tally.words) for each in nodes]} of {steps} steps")


async def in_step(*nodes: Node, is_so: bool = True) -> None:
    for _ in range(1000):
        if all(each.log.in_step is is_so for each in nodes):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"in step within 10 s: {[each.log.in_step for each in nodes]}")


def test_all_nodes_do_all_steps_in_one_order(redis: RedisServer) -> None:
    async def play() -> None:
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(node(redis, name)) for name in "abc"]
            results = await asyncio.gather(
                *(
                    each.ask(f"{number} of {index}")
                    for number in range(100)
                    for index, each in enumerate(nodes)
                )
            )
            await settled(*nodes, steps=300)
            assert nodes[0].tally.words == nodes[1].tally.words == nodes[2].tally.words
            assert sorted(int(str(result)) for result in results) == list(range(1, 301))
            assert not nodes[0].defects

    asyncio.run(play())


def test_steps_that_nobody_waits_for_go_together_and_before_the_one_that_is_waited_for(
    redis: RedisServer,
) -> None:
    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            told: list[object] = []
            one.log.submit("tally", "add", ("first",), told.append, linger=True)
            one.log.insist("tally", "add", ("second",), linger=True)
            assert await one.ask("third") == 3
            assert told == [1]
            await settled(one, two, steps=3)
            assert one.tally.words == two.tally.words == ["first", "second", "third"]
            assert await one.links[0].ask("XLEN", "{cl}:log") == 1
            one.log.submit("tally", "add", ("later",), linger=True)
            await settled(one, two, steps=4)  # after a moment, though nothing else comes
            one.log.submit("tally", "add", ("last",), linger=True)
            one.log.write()  # the node stops
            assert await one.links[0].ask("XLEN", "{cl}:log") == 3

    asyncio.run(play())


def test_a_newcomer_has_what_the_others_have(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as first:
            for number in range(1200):
                first.log.submit("tally", "add", (str(number),))
            await settled(first, steps=1200)
            async with node(redis, "b") as young:
                assert young.tally.words == first.tally.words  # every step was still there
            await first.log._leave_copy()
            await first.ask("after the copy")
            await first.links[0].ask("XTRIM", "{cl}:log", "MAXLEN", 1)
            async with node(redis, "c") as late:
                assert late.tally.words == first.tally.words

    asyncio.run(play())


def test_a_step_that_cannot_be_done_stops_nobody(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            one.log.submit("tally", "fail", ())
            one.log.submit("nothing", "add", ("x",))
            await one.links[0].ask("XADD", "{cl}:log", "*", "s", b"\xc1 nonsense")
            assert await two.ask("fine") == 1
            await settled(one, two, steps=1)
            assert len(one.defects) == len(two.defects) == 3

    asyncio.run(play())


def test_an_outage_is_told_at_once_and_what_was_insisted_on_is_done_later(redis: RedisServer) -> None:
    """Redis comes back empty: the tables of the nodes are what all go on with."""

    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            await one.ask("before")
            await settled(one, two, steps=1)
            redis.kill()
            await in_step(one, is_so=False)
            assert await one.ask("lost") is UNAVAILABLE
            one.log.insist("tally", "add", ("insisted",))
            redis.start()
            await in_step(one, two)
            assert await two.ask("after") in (2, 3)
            await settled(one, two, steps=3)
            assert one.tally.words == two.tally.words
            assert sorted(one.tally.words) == ["after", "before", "insisted"]
            assert one.backs + two.backs >= 2

    asyncio.run(play())


def test_a_silent_redis_is_not_waited_for(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one:
            redis.freeze()
            began = asyncio.get_running_loop().time()
            assert await one.ask("slow") is UNAVAILABLE
            assert asyncio.get_running_loop().time() - began < 2.0
            redis.thaw()
            await in_step(one)
            assert isinstance(await one.ask("again"), int)

    asyncio.run(play())


def test_everything_is_deleted_while_nodes_run(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            await one.ask("before")
            await settled(one, two, steps=1)
            redis.ask("FLUSHALL")
            for _ in range(100):
                if one.log.reloads or two.log.reloads:
                    break
                await asyncio.sleep(0.05)
            await in_step(one, two)
            await one.ask("x")
            await two.ask("y")
            await settled(one, two, steps=3)
            assert one.tally.words == two.tally.words

    asyncio.run(play())
