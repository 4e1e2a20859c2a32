"""Redis behind Sentinels and in a Cluster: the link finds the master, and finds the next one when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from callcontrol.live.address import SLOT, Address, master_of
from callcontrol.live.calls import SCRIPTS, RedisCallStore
from callcontrol.live.link import LinkError, RedisLink
from callcontrol.live.nodes import NODE_SCRIPTS, NodeLease
from tests.support.redis_groups import ClusterGroup, Group, SentinelGroup

pytestmark = pytest.mark.rule("LIVE-01")


def test_what_the_urls_say() -> None:
    server = Address("redis://:p%40ss@h:1/2")
    assert (server.places, server.password, server.database, server.moves) == ([("h", 1)], "p@ss", 2, False)
    behind = Address("redis+sentinel://u:p@h1,h2:5/calls/3?sentinel_password=word")
    assert behind.places == [("h1", 26379), ("h2", 5)]
    assert (behind.username, behind.password, behind.sentinel_password) == ("u", "p", "word")
    assert (behind.service, behind.database, behind.moves) == ("calls", 3, True)
    cluster = Address("redis+cluster://[::1]:7000,h2")
    assert cluster.places == [("::1", 7000), ("h2", 6379)]
    assert "p" not in str(behind).partition("/")[0].replace("p", "", 0).partition("@")[0] or "u:p" not in str(
        behind
    )


def test_the_master_of_our_slot() -> None:
    slots = [[0, SLOT - 1, [b"a", 1, b"id"]], [SLOT, 16383, [b"", 2, b"id"], [b"c", 3, b"id"]]]
    assert master_of(slots, ("seed", 9)) == ("seed", 2)
    assert master_of(slots[:1], ("seed", 9)) is None
    assert master_of(b"odd", ("seed", 9)) is None


@pytest.fixture(scope="module", params=[SentinelGroup, ClusterGroup], ids=["sentinel", "cluster"])
def group(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    made: Group = request.param(tmp_path_factory.mktemp("group"))
    try:
        made.start()  # type: ignore[attr-defined]
        yield made
    finally:
        made.close()


@asynccontextmanager
async def running(url: str) -> AsyncIterator[RedisLink]:
    link = RedisLink(Address(url), scripts=(*SCRIPTS, *NODE_SCRIPTS), timeout_s=0.5)
    await link.connect()
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.close()


async def until(what: str, condition: Callable[[], object], seconds: float = 20.0) -> None:
    for _ in range(int(seconds * 50)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what}")


async def saved(store: RedisCallStore, ref: str, data: bytes) -> None:
    """Save, as the node does: what could not be saved is written later."""
    told: list[frozenset[str]] = []
    store.save(ref, 1, data)
    store.commit(told.append)
    await until("the save, or its failure", lambda: told)
    for _ in range(1000):
        store.write_unsaved()
        await asyncio.sleep(0.02)
        if not store.unsaved and not store.waiting:
            return
    raise AssertionError("a call stays unsaved")


def _raised(error: Exception) -> None:
    raise error


def lease_of(link: RedisLink, store: RedisCallStore, name: str, resumed: list[bytes]) -> NodeLease:
    return NodeLease(
        link,
        store,
        name,
        f"process of {name}",
        lease_s=1.0,
        resume=lambda data, epoch: resumed.append(data),
        may_move=lambda data: True,
        on_usurped=lambda: None,
        on_defect=_raised,
    )


def test_calls_are_saved_taken_over_and_survive_a_change_of_masters(group: Group) -> None:
    """First one that an operator asks for, by which the old master becomes a replica; then the new one is killed."""

    async def play() -> None:
        async with running(group.url) as link, running(group.url) as other:
            store, second = (
                RedisCallStore(each, name, keep_s=600) for each, name in ((link, "a"), (other, "b"))
            )
            resumed: list[bytes] = []
            lease = lease_of(other, second, "b", resumed)
            await lease_of(link, store, "a", resumed).begin()
            await lease.begin()
            await saved(store, "one", b"first")
            await asyncio.to_thread(group.change_over)  # type: ignore[attr-defined]
            # what the old master still takes before it knows is lost; when the link is up again everything is written anew
            await until("the move", lambda: link.breaks == 1 and link.is_up)
            await saved(store, "one", b"second")
            new = group.master()
            assert "second" in await asyncio.to_thread(new.ask, "GET", "{cl}:call:one")
            await asyncio.to_thread(new.kill)
            await until("the loss", lambda: not link.is_up)
            store.distrust()
            await saved(store, "one", b"third")
            await until("the other link", lambda: other.is_up)
            told: list[str] = []
            lease.fetch("one", told.append)
            await until("the answer", lambda: told)
            assert told == ["here"]
            assert resumed == [b"third"]
            await asyncio.to_thread(new.start)

    asyncio.run(play())


def test_nobody_knows_a_master(group: Group) -> None:
    async def play() -> None:
        url = (
            group.url.replace("/calls/", "/nobody/")
            if "/calls/" in group.url
            else "redis+cluster://127.0.0.1:1"
        )
        with pytest.raises(LinkError, match=r"knows of no master|cannot be reached"):
            await RedisLink(Address(url)).connect()

    asyncio.run(play())


def test_not_all_who_are_asked_have_to_answer(group: Group) -> None:
    async def play() -> None:
        scheme, _, rest = group.url.partition("://")
        async with running(f"{scheme}://127.0.0.1:1,{rest}") as link:
            assert await link.ask("PING") == b"PONG"

    asyncio.run(play())


def test_a_lone_server_is_no_cluster(tmp_path: Path) -> None:
    from tests.support.redis import RedisServer

    server = RedisServer(tmp_path)
    server.start()
    try:
        with pytest.raises(LinkError, match="cluster support"):
            asyncio.run(RedisLink(Address(f"redis+cluster://127.0.0.1:{server.port}")).connect())
    finally:
        server.kill()
