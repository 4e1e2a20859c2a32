"""Leases of nodes and the calls of the dead: who takes what, and what stays where it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from callcontrol.live.address import Address
from callcontrol.live.calls import SCRIPTS, RedisCallStore
from callcontrol.live.link import LinkError, RedisLink
from callcontrol.live.nodes import ELSEWHERE, GONE, HERE, NODE_SCRIPTS, NodeLease
from tests.support.redis import RedisServer, redis

__all__ = ["redis"]

pytestmark = pytest.mark.rule("LIVE-02", "LIVE-03")

LEASE_S = 1.0


class Node:
    """A node without telephony: what it resumes is a list."""

    def __init__(self, link: RedisLink, name: str, process: str) -> None:
        self.link = link
        self.name = name
        self.store = RedisCallStore(link, name, keep_s=60)
        self.resumed: dict[bytes, int] = {}
        self.times: dict[bytes, int] = {}
        self.usurped = False
        self.moved: list[str] = []
        self.unsure = 0
        self.defects: list[Exception] = []
        self.lease = NodeLease(
            link,
            self.store,
            name,
            process,
            lease_s=LEASE_S,
            resume=self._resume,
            may_move=lambda data: not data.startswith(b"ringing"),
            on_usurped=self._usurped,
            on_moved=self.moved.extend,
            on_unsure=self._unsure,
            on_defect=self.defects.append,
        )

    def _resume(self, data: bytes, epoch: int) -> None:
        if data == b"unreadable":
            raise ValueError("not a snapshot")
        if data == b"a bug":
            raise LookupError("a bug that one call meets")
        self.times[data] = self.times.get(data, 0) + 1
        self.resumed[data] = epoch

    def _usurped(self) -> None:
        self.usurped = True

    def _unsure(self) -> None:
        self.unsure += 1

    async def save(self, ref: str, data: bytes, epoch: int = 1) -> frozenset[str]:
        told: asyncio.Future[frozenset[str]] = asyncio.get_running_loop().create_future()
        self.store.save(ref, epoch, data)
        self.store.commit(told.set_result)
        return await told

    async def fetch(self, ref: str) -> str:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.lease.fetch(ref, told.set_result)
        return await told


@asynccontextmanager
async def nodes(server: RedisServer, *names: str) -> AsyncIterator[list[Node]]:
    made = []
    for number, name in enumerate(names):
        link = RedisLink(Address(server.url), scripts=(*SCRIPTS, *NODE_SCRIPTS))
        await link.connect()
        made.append(Node(link, name, f"process {number}"))
    try:
        yield made
    finally:
        for node in made:
            await node.link.close()


async def calls_of(node: Node) -> set[str]:
    """What the set of the node names."""
    held = await node.link.ask("SMEMBERS", f"{{cl}}:calls:{node.name}")
    assert isinstance(held, list)
    return {ref.decode() for ref in held}


async def watch(*survivors: Node, seconds: float = 2 * LEASE_S) -> None:
    """Let the survivors live, all at the same time."""
    tasks = [asyncio.create_task(node.lease.run()) for node in survivors]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_survivors_share_the_calls_of_the_dead_and_none_is_taken_twice(redis: RedisServer) -> None:
    async def play() -> None:
        async with nodes(redis, "a", "b", "c") as (dead, *survivors):
            for node in (dead, *survivors):
                await node.lease.begin()
            for number in range(200):
                await dead.save(f"call-{number}", f"talking {number}".encode())
            await watch(*survivors)
            taken = [data for node in survivors for data in node.resumed]
            assert sorted(taken) == sorted(f"talking {number}".encode() for number in range(200))
            assert {epoch for node in survivors for epoch in node.resumed.values()} == {2}
            assert sum(node.lease.recovered for node in survivors) == 200
            assert set(await survivors[0].lease.alive()) == {"b", "c"}
            # the dead one was only asleep: its next save tells it
            assert await dead.save("call-7", b"talking on") == frozenset({"call-7"})

    asyncio.run(play())


def test_a_redis_that_was_emptied_is_noticed_by_the_next_beat(redis: RedisServer) -> None:
    """The connection stands, so nothing else tells."""

    async def play() -> None:
        async with nodes(redis, "a") as (node,):
            await node.lease.begin()
            await node.lease.renew()
            assert node.unsure == 0
            await node.link.ask("FLUSHALL")
            await node.lease.renew()
            assert node.unsure == 1
            await node.lease.renew()
            assert node.unsure == 1

    asyncio.run(play())


def test_a_call_of_the_last_life_that_no_set_names_is_taken_when_it_is_asked_for(redis: RedisServer) -> None:
    async def play() -> None:
        async with nodes(redis, "a", "a") as (before, after):
            await before.save("call-1", b"talking")
            await before.link.ask("DEL", "{cl}:calls:a")
            assert await after.lease.recover() == 0
            assert await after.fetch("call-1") == HERE
            assert after.resumed == {b"talking": 2}
            assert await after.fetch("call-1") == HERE
            assert after.times == {b"talking": 1}
            assert await before.save("call-1", b"talking on") == frozenset({"call-1"})

    asyncio.run(play())


@pytest.mark.parametrize("junk", ["", "junk", "00000000xx" + "a" + chr(10) + "talking", "0000000001no line"])
def test_a_call_that_is_none_keeps_nobody_from_starting(redis: RedisServer, junk: str) -> None:
    async def play() -> None:
        async with nodes(redis, "a", "a") as (before, after):
            for ref in ("call-1", "call-2"):
                await before.save(ref, f"talking {ref}".encode())
            await before.link.ask("SET", "{cl}:call:call-1", junk)
            assert await after.lease.recover() == 1
            assert set(after.resumed) == {b"talking call-2"}
            assert await after.fetch("call-1") == GONE

    asyncio.run(play())


def test_a_call_that_meets_a_bug_costs_neither_the_others_nor_the_node(redis: RedisServer) -> None:
    """Or it would go from one node to the next, and end each of them."""

    async def play() -> None:
        async with nodes(redis, "a", "b") as (dead, survivor):
            await dead.lease.begin()
            await survivor.lease.begin()
            for ref, data in (("call-1", b"a bug"), ("call-2", b"talking"), ("call-3", b"a bug")):
                await dead.save(ref, data)
            assert await survivor.fetch("call-3") == GONE
            await watch(survivor)
            assert survivor.resumed == {b"talking": 2}
            assert [str(error) for error in survivor.defects] == ["a bug that one call meets"] * 2
            assert survivor.lease.orphaned == 1
            assert set(await survivor.lease.alive()) == {"b"}, "it takes over from the next one, too"

    asyncio.run(play())


def test_nothing_is_taken_from_a_node_that_lives(redis: RedisServer) -> None:
    async def play() -> None:
        async with nodes(redis, "a", "b") as (first, second):
            await first.lease.begin()
            await second.lease.begin()
            await first.save("call-1", b"talking")
            await watch(first, second, seconds=3 * LEASE_S)
            assert not second.resumed
            assert await first.save("call-1", b"talking on") == frozenset()

    asyncio.run(play())


def test_a_node_that_comes_back_takes_its_own_calls(redis: RedisServer) -> None:
    async def play() -> None:
        async with nodes(redis, "a", "a") as (before, after):
            await before.lease.begin()
            await before.save("call-1", b"talking")
            await before.save("call-2", b"unreadable")
            await before.save("call-3", b"gone")
            await before.link.ask("DEL", "{cl}:call:call-3")
            await after.lease.begin()
            assert await after.lease.recover() == 1
            assert after.resumed == {b"talking": 2}
            assert after.lease.orphaned == 2
            assert await after.lease.recover() == 1  # what could not be read is not looked at again
            await watch(before, seconds=LEASE_S)
            assert before.usurped
            assert not after.usurped

    asyncio.run(play())


def test_a_call_is_fetched_when_a_request_for_it_comes_here(redis: RedisServer) -> None:
    async def play() -> None:
        async with nodes(redis, "a", "b", "c") as (owner, other, third):
            for node in (owner, other, third):
                await node.lease.begin()
            await owner.save("call-1", b"talking")
            await owner.save("call-2", b"ringing")
            await owner.save("call-3", b"unreadable")
            assert await other.fetch("call-1") == HERE
            assert await other.fetch("call-2") == ELSEWHERE
            assert await other.fetch("call-3") == GONE
            assert await other.fetch("nobody") == GONE
            assert other.resumed == {b"talking": 2}
            assert await owner.save("call-1", b"talking on") == frozenset({"call-1"})
            assert await calls_of(owner) == {"call-2", "call-3"}, "what it has lost it does not name for ever"
            # the old owner dies later: what it lost before is not taken from the new one
            await watch(other, third)
            assert other.resumed.keys() | third.resumed.keys() == {b"talking", b"ringing"}
            assert other.resumed[b"talking"] == 2
            assert b"talking" not in third.resumed

    asyncio.run(play())


def test_a_call_that_is_fetched_while_its_node_is_found_dead_is_resumed_once(redis: RedisServer) -> None:
    """Both ways lead to the same node; the second must neither raise the epoch again nor forget whose call it is."""

    async def play() -> None:
        async with nodes(redis, "a", "b") as (dead, survivor):
            await dead.lease.begin()
            await survivor.lease.begin()
            refs = [f"call-{number}" for number in range(120)]
            for ref in refs:
                await dead.save(ref, f"talking {ref}".encode())
            asked = [asyncio.create_task(survivor.fetch(ref)) for ref in refs[:40]]
            adopting = asyncio.create_task(survivor.lease._adopt("a"))
            await asyncio.sleep(0)
            asked += [asyncio.create_task(survivor.fetch(ref)) for ref in refs[40:]]
            asked += [asyncio.create_task(survivor.fetch(ref)) for ref in refs]
            assert set(await asyncio.gather(*asked)) == {HERE}
            await adopting
            assert survivor.times == {f"talking {ref}".encode(): 1 for ref in refs}
            assert set(survivor.resumed.values()) == {2}
            assert await calls_of(survivor) == set(refs)
            assert await survivor.save("call-50", b"talking on", 2) == frozenset()
            assert survivor.lease.recovered == len(refs)

    asyncio.run(play())


def test_a_node_is_told_what_was_fetched_from_it(redis: RedisServer) -> None:
    """It would take its copy for the call, and those who talked in it for busy, until it next wanted to save it."""

    async def play() -> None:
        async with nodes(redis, "a", "b") as (owner, other):
            await owner.lease.begin()
            for ref in ("call-1", "call-2"):
                await owner.save(ref, b"talking")
            assert await other.fetch("call-1") == HERE
            assert await other.fetch("nobody") == GONE
            assert owner.moved == []
            await owner.lease.renew()
            assert owner.moved == ["call-1"]
            assert await owner.save("call-1", b"talking") == {"call-1"}
            await owner.lease.renew()
            await other.lease.renew()
            assert owner.moved == ["call-1"], "once"
            assert other.moved == []

    asyncio.run(play())


def test_every_beat_tells_who_lives_and_where(redis: RedisServer) -> None:
    async def play() -> None:
        async with nodes(redis, "a", "b", "c") as (first, second, third):
            told: list[str] = []
            members = first.lease.members
            members.on_come.append(lambda name: told.append(f"+{name}"))
            members.on_gone.append(lambda name: told.append(f"-{name}"))
            second.lease.members.address = ("192.0.2.2", 5060)
            third.lease.members.address = ("2001:db8::3", 5060)
            for node in (first, second, third):
                await node.lease.begin()
            await first.lease.renew()
            assert members.names() == ["a", "b", "c"]
            assert members.address_of("b") == ("192.0.2.2", 5060)
            assert members.lives_at(("2001:db8::3", 5060))
            assert members.address_of("a") is None
            await second.lease.leave()
            await watch(first)  # the third one falls silent
            assert members.names() == ["a"]
            assert not members.lives_at(("192.0.2.2", 5060))
            assert told == ["+b", "+c", "-b", "-c"]
            await third.lease.begin()
            await first.lease.renew()
            assert told[-1] == "+c"

    asyncio.run(play())


def test_a_node_whose_start_took_longer_than_its_lease_has_heirs_as_soon_as_it_runs(
    redis: RedisServer,
) -> None:
    """It was given up while it started.  A call that begins right then, before it dies, is not forgotten."""

    async def play() -> None:
        async with nodes(redis, "a", "b") as (slow, heir):
            await slow.lease.begin()
            await watch(heir)
            assert set(await heir.lease.alive()) == {"b"}
            running = asyncio.create_task(slow.lease.run())
            await asyncio.sleep(LEASE_S / 8)  # the first quarter of a lease is not over
            await slow.save("call-1", b"talking")
            running.cancel()
            await watch(heir)
            assert heir.resumed == {b"talking": 2}

    asyncio.run(play())


def test_a_node_that_leaves_is_not_mourned(redis: RedisServer) -> None:
    async def play() -> None:
        async with nodes(redis, "a", "b") as (leaving, staying):
            await leaving.lease.begin()
            await staying.lease.begin()
            await leaving.lease.leave()
            assert set(await staying.lease.alive()) == {"b"}

    asyncio.run(play())


def test_without_redis_no_lease(redis: RedisServer) -> None:
    async def play() -> None:
        async with nodes(redis, "a") as (node,):
            redis.kill()
            with pytest.raises(LinkError):
                await node.lease.begin()
            assert await node.fetch("call-1") == ELSEWHERE, "nobody may be told that a call is over for that"
            await node.lease.leave()

    asyncio.run(play())


@pytest.mark.rule("LIVE-02", "LIVE-03")
def test_a_node_that_slept_beyond_its_lease_asks_what_is_still_its_own(redis: RedisServer) -> None:
    """Others may have taken its calls, and it would learn of each only when it next saves it."""

    async def play() -> None:
        async with nodes(redis, "a", "b") as (asleep, other):
            await asleep.lease.begin()
            await other.lease.begin()
            await asleep.lease.renew()
            assert asleep.unsure == 0
            await asyncio.sleep(1.5 * LEASE_S)
            await asleep.lease.renew()
            assert asleep.unsure == 1
            await asleep.lease.renew()
            assert asleep.unsure == 1
            # one that was mourned has no lease at all
            await watch(other)
            assert await asleep.link.ask("ZSCORE", "{cl}:nodes", "a") is None
            await asleep.lease.renew()
            assert asleep.unsure == 2

    asyncio.run(play())
