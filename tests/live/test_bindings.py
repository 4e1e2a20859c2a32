"""Bindings that all nodes know: over a real Redis, what the others and those who start find of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from callcontrol.bindings import Binding
from callcontrol.live import bindings as scripts
from callcontrol.live import keys
from callcontrol.live.address import Address
from callcontrol.live.binding_changes import BindingChanges
from callcontrol.live.bindings import RedisBindingStore
from callcontrol.live.link import RedisLink
from callcontrol.live.members import Members
from callcontrol.relay import FlowTokens
from tests.callcontrol.register_kit import binding
from tests.support.redis import RedisServer, redis

__all__ = ["redis"]

pytestmark = pytest.mark.rule("LIVE-01")

NOW = float(int(time.time()))
"""Redis expires by its own clock, so these bindings live today."""
KEY = bytes(32)
ADDRESSES = {"a": "192.0.2.1:5060", "b": "192.0.2.2:5060", "c": "192.0.2.3:5060"}


class Node:
    """A node that does nothing but register phones."""

    def __init__(self, server: RedisServer, name: str, process: str = "") -> None:
        self.links = [
            RedisLink(Address(server.url), scripts=scripts.SCRIPTS, timeout_s=timeout)
            for timeout in (0.5, 3.0)
        ]
        self.members = Members(name)
        self.members.update(ADDRESSES)
        self.told: list[str] = []
        self.defects: list[Exception] = []
        process = process or f"process of {name}"
        self.store = RedisBindingStore(self.links[0], lambda: NOW, self.members, process)
        self.store.tokens = FlowTokens(KEY)
        self.store.listener = f"udp:{name}:5060"
        self.store.on_put = lambda new, old: self.told.append(f"+{new.key} {new.node}")
        self.store.on_removed = lambda old, reason: self.told.append(f"-{old.key} {reason}")
        self.changes = BindingChanges(self.links[1], self.store, name, process, on_defect=self.defects.append)
        self.links[0].on_up = lambda: self.changes.look_again(rewrite=True)
        self.members.on_come.append(lambda come: self.changes.look_again())

    async def begin(self) -> int:
        for link in self.links:
            await link.connect()
        return await self.changes.open()

    def keys(self) -> list[str]:
        return sorted(each.key for each in self.store.all())

    def put(self, *names: str, at: float = NOW, **changes: object) -> None:
        self.store.apply([replace(registered(name, at), **changes) for name in names])  # type: ignore[arg-type]

    def remove(self, *names: str) -> None:
        self.store.apply([], [each for each in self.store.all() if each.key in names])

    def of(self, name: str) -> Binding | None:
        return self.store.find((registered(name).aor, name))


@asynccontextmanager
async def node(server: RedisServer, name: str, process: str = "") -> AsyncIterator[Node]:
    made = Node(server, name, process)
    await made.begin()
    tasks = [asyncio.create_task(each.run()) for each in (*made.links, made.changes)]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in made.links:
            await link.close()
        assert not made.defects


async def until(what: str, condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for what Redis brings about; ``what`` is for the reader of a failure."""
    for _ in range(int(seconds * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {seconds:g} s: {what}")


def registered(key: str, at: float = NOW) -> Binding:
    return binding(key, at=at, lasts=3600.0)


def test_what_is_registered_on_one_node_all_know(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            one.put("x", "y")
            await until("both", lambda: two.keys() == ["x", "y"])
            assert two.told == ["+x a", "+y a"]
            assert two.store.own() == []
            one.remove("x")
            await until("the end of x", lambda: two.keys() == ["y"])
            two.remove("y")  # a sign-out may come anywhere
            await until("the end of y", lambda: not one.keys())
            assert one.told == ["-y unregistered"]
            async with node(redis, "c") as young:
                assert young.keys() == []

    asyncio.run(play())


def test_a_node_that_starts_finds_everything(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            one.put("x")
            one.put("over tcp", conn=7, flow="tcp|192.0.2.9|5060|7|tcp:a")
            two.put("z")
            await until("all", lambda: len(one.keys()) == len(two.keys()) == 3)
            async with node(redis, "c") as young:
                assert young.keys() == ["over tcp", "x", "z"]
                assert young.store.on_connection(7) == []  # a number of another node's
                found = young.of("over tcp")
                assert found is not None
                assert not found.asleep

    asyncio.run(play())


def test_a_node_that_comes_back_has_lost_its_connections(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "b") as other:
            async with node(redis, "a", "first life") as one:
                one.put("x")
                one.put("gone", conn=7, flow="tcp|192.0.2.9|5060|7|tcp:a")
                one.put("asleep", conn=7, flow="tcp|192.0.2.9|5060|7|tcp:a", wakes=True)
                await until("all", lambda: len(other.keys()) == 3)
            async with node(redis, "a", "second life") as again:
                assert again.keys() == ["asleep", "x"]
                assert [each.asleep for each in again.store.all() if each.key == "asleep"] == [True]
                await until("the news", lambda: other.keys() == ["asleep", "x"])
                found = other.of("asleep")
                assert found is not None
                assert found.asleep

    asyncio.run(play())


def test_of_two_registrations_the_later_one_counts_everywhere(redis: RedisServer) -> None:
    async def play() -> None:
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(node(redis, name)) for name in "abc"]
            for number in range(200):
                nodes[number % 3].put("x", call_id=f"call {number}")
                if number % 7 == 0:
                    await asyncio.sleep(0)

            def agreed() -> bool:
                held = [each.of("x") for each in nodes]
                return len({(each.node, each.call_id) for each in held if each is not None}) == 1

            await until("one truth", agreed)
            held = nodes[0].of("x")
            async with node(redis, "d") as young:
                assert [(each.node, each.call_id) for each in young.store.all()] == [
                    (held.node, held.call_id) if held is not None else ()
                ]

    asyncio.run(play())


def test_a_connection_that_ends_late_takes_nothing_from_where_the_phone_went(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            one.put("x", conn=7, flow="tcp|192.0.2.9|5060|7|tcp:a")
            await until("x", lambda: two.keys() == ["x"])
            two.put("x")
            one.remove("x")  # in the same moment, and it knows of nothing yet

            def is_there() -> bool:
                held = one.of("x"), two.of("x")
                return all(each is not None and each.node == "b" for each in held)

            await until("the newer one", is_there)
            assert redis.ask("EXISTS", keys.binding(registered("x").aor, "x")) == "1"

    asyncio.run(play())


@pytest.mark.rule("LIVE-03")
def test_a_dead_node_takes_its_connections_along(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            stream = "tcp|192.0.2.9|5060|7|tcp:a"
            one.put("udp")
            one.put("gone", conn=7, flow=stream)
            one.put("asleep", conn=7, flow=stream, wakes=True)
            await until("all", lambda: len(two.keys()) == 3)
            two.members.update({})
            assert two.keys() == ["asleep", "udp"]
            assert "-gone connection_lost" in two.told
            left = two.of("asleep"), two.of("udp")
            assert [each.asleep for each in left if each is not None] == [True, False]
            async with node(redis, "c") as young:
                young.members.update({})
                assert young.keys() == ["asleep", "udp"]
            two.members.update(ADDRESSES)  # it was only late
            await until("all again", lambda: two.keys() == ["asleep", "gone", "udp"])

    asyncio.run(play())


def test_the_way_to_a_phone(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            one.put("udp")
            one.put("tcp", conn=7, flow="tcp|192.0.2.9|5060|7|tcp:a")
            one.put("path", flow="", path=("<sip:proxy.example;lr>",))
            await until("all", lambda: len(two.keys()) == 3)
            own = one.of("tcp")
            assert own is not None
            assert one.store.way(own) == ("tcp|192.0.2.9|5060|7|tcp:a", ())
            found = {each.key: two.store.way(each) for each in two.store.all()}
            assert found["path"] == ("", ("<sip:proxy.example;lr>",))
            for key in ("udp", "tcp"):
                way = found[key]
                assert way is not None
                assert way[0] == "udp|192.0.2.1|5060|0|udp:b:5060"
                assert way[1][0].endswith("@192.0.2.1:5060;lr>")
            two.members.update({"a": ""})  # it lives, and nobody knows where
            found = {each.key: two.store.way(each) for each in two.store.all()}
            assert found["tcp"] is None
            assert found["udp"] == ("udp|192.0.2.10|5060|0|", ())

    asyncio.run(play())


def test_what_happened_during_an_outage_is_made_good(redis: RedisServer) -> None:
    """Redis comes back empty; phones have registered and left meanwhile, and one of them has moved."""

    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            one.put("stays", "leaves", "moves")
            two.put("other")
            await until("all", lambda: one.keys() == two.keys() == ["leaves", "moves", "other", "stays"])
            redis.kill()
            await until("the loss", lambda: not one.links[0].is_up and not two.links[0].is_up)
            one.remove("leaves")
            one.put("comes", at=NOW + 1)
            two.put("moves", at=NOW + 2)
            redis.start()
            expected = ["comes", "moves", "other", "stays"]
            await until("what is true", lambda: one.keys() == two.keys() == expected)
            await until(
                "the move",
                lambda: all(
                    each is not None and each.node == "b" for each in (one.of("moves"), two.of("moves"))
                ),
            )
            assert one.store.failed

    asyncio.run(play())


def test_everything_is_deleted_while_nodes_run(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one, node(redis, "b") as two:
            one.put("x")
            two.put("y")
            await until("both", lambda: one.keys() == two.keys() == ["x", "y"])
            redis.ask("FLUSHALL")
            await until("the keys", lambda: redis.ask("KEYS", "{cl}:binding:*").count("binding") == 2)
            await until("rest", lambda: one.changes.in_step and two.changes.in_step)
            assert one.keys() == two.keys() == ["x", "y"]

    asyncio.run(play())


def test_whoever_is_too_far_behind_looks_through_everything(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one, AsyncExitStack() as stack:
            two = await stack.enter_async_context(node(redis, "b"))
            one.put("first")
            await until("first", lambda: two.keys() == ["first"])
            two.changes._last = "1-0"  # as if it had slept for long
            one.store.apply([registered(f"phone {number}") for number in range(600)])
            await one.store.settle()
            redis.ask("XTRIM", "{cl}:bindings", "MAXLEN", "550")
            await until("all", lambda: len(two.keys()) == 601)

    asyncio.run(play())


def test_an_entry_that_cannot_be_read_costs_only_itself(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one:
            one.put("x")
            await one.links[0].ask("SET", "{cl}:binding:sip:x@y:1", b"0000000000000a\n\xc1 nonsense")
            await one.links[0].ask("SET", "{cl}:binding:sip:x@y:2", b"0000000000000a\n\x81\xa6schema\x63")
            for entry in (("p", "q", "b", b"b\n\xc1"), ("p", "q", "r", b"\xc1")):
                await one.links[0].ask("XADD", "{cl}:bindings", "*", *entry)
            one.put("y")
            async with node(redis, "b") as two:
                assert two.keys() == ["x", "y"]
            await until("rest", lambda: one.changes.in_step)

    asyncio.run(play())


def test_ten_thousand_are_found_in_seconds(redis: RedisServer) -> None:
    async def play() -> None:
        async with node(redis, "a") as one:
            for at in range(0, 10_000, 500):
                one.store.apply([registered(f"phone {number}") for number in range(at, at + 500)])
            await one.store.settle()
            young = Node(redis, "b")
            began = time.perf_counter()
            assert await young.begin() == 10_000
            took = time.perf_counter() - began
            for link in young.links:
                await link.close()
            assert took < 10.0  # 0.5 s on a machine of today

    asyncio.run(play())
