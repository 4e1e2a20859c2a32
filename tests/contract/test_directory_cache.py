"""The directory cache, with a source in memory and with both databases: one suite."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest

from callcontrol.provisioning import Document, SqlProvisioningStore, apply
from config.database import create_engine
from config.sections import DatabaseSettings
from gateway.store import TrunkFollower
from gateway.trunk import TrunkDirectory
from numbering import store as store_module
from numbering.cache import DirectoryCache, DirectorySource, DirectoryUnavailable, DirectoryUpdate
from numbering.directory import Directory, DirectoryChanges
from numbering.models import Account, CloudNumber, Device, NumberState, PlanTable, User
from numbering.store import SqlDirectorySource
from tests.support.acme import ACME, PLANS
from tests.support.postgres import Cluster, postgres, postgres_url
from tests.support.schema import sqlite_url

__all__ = ["postgres", "postgres_url"]


class World(Protocol):
    """A source, and somebody who changes what it tells."""

    source: DirectorySource

    async def write(self, text: str, *, prune: bool = False) -> None: ...


class MemoryWorld:
    """The twin of the database: the objects of documents, and a log of changes."""

    def __init__(self) -> None:
        self.source = self
        self._objects: dict[tuple[str, str], Account | User | Device | CloudNumber] = {}
        self._log: list[set[tuple[str, str]]] = []
        self.away = False

    async def write(self, text: str, *, prune: bool = False) -> None:
        from callcontrol.provisioning.inventory import kind_of
        from callcontrol.provisioning.objects import read_documents

        desired = read_documents([Document("memory", text)], PLANS, [])
        new = {
            kind_of(item): item
            for kind in ("account", "user", "device", "number")
            for item in desired.inventory.of(kind).values()
        }
        after = new if prune else {**self._objects, **new}
        keys = {key for key in {*after, *self._objects} if after.get(key) != self._objects.get(key)}
        if keys:
            self._objects = after  # type: ignore[assignment]
            self._log.append(keys)

    async def everything(self, plans: PlanTable) -> Directory:
        if self.away:
            raise DirectoryUnavailable("away")
        directory = Directory(plans=plans, version=len(self._log))
        for item in self._objects.values():
            directory.put_one(item)
        return directory

    async def since(self, version: int) -> DirectoryUpdate | None:
        if self.away:
            raise DirectoryUnavailable("away")
        if version == len(self._log):
            return None
        keys = set[tuple[str, str]]().union(*self._log[version:])
        of = {
            kind: {key: self._objects.get((kind, key)) for name, key in keys if name == kind}
            for kind in ("account", "user", "device", "number")
        }
        changes = DirectoryChanges(
            accounts=of["account"],
            users=of["user"],
            devices=of["device"],
            numbers=of["number"],  # type: ignore[arg-type]
        )
        return DirectoryUpdate(version=len(self._log), changes=changes, kinds=frozenset(of))


class SqlWorld:
    def __init__(self, store: SqlProvisioningStore, source: SqlDirectorySource) -> None:
        self._store = store
        self.source: DirectorySource = source

    async def write(self, text: str, *, prune: bool = False) -> None:
        await apply([Document("sql", text)], self._store, plans=PLANS, prune=prune)


def living(directory: Directory) -> int:
    """Objects, without numbers that rest: the database keeps those, the twin forgets them."""
    return len(directory) - directory.numbers_by_state()[NumberState.QUARANTINED]


Scenario = Callable[[World], Awaitable[None]]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Scenario], None]:
    def runner(scenario: Scenario) -> None:
        async def body() -> None:
            if request.param == "memory":
                await scenario(MemoryWorld())
                return
            url = sqlite_url(tmp_path)
            if request.param == "postgresql":
                url = request.getfixturevalue("postgres_url")
            engine = create_engine(DatabaseSettings(url=url, timeout_seconds=5))
            try:
                await scenario(SqlWorld(SqlProvisioningStore(engine), SqlDirectorySource(engine)))
            finally:
                await engine.dispose()

        asyncio.run(body())

    return runner


def cache(world: World, **options: float) -> DirectoryCache:
    return DirectoryCache(world.source, Directory(), plans=PLANS, **options)  # type: ignore[arg-type]


def test_everything_is_loaded_and_changes_follow(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        await world.write(ACME)
        c = cache(world)
        d = c.directory
        assert c.age() == float("inf")
        await c.load()
        assert (d.version, len(d)) == (1, 7)
        assert c.age() < 60
        assert d.plan_of("ana") == PLANS["advanced"]
        assert not await c.refresh()

        before = d.number("+33639981002")
        await world.write('[[number]]\ne164 = "+33639981002"\nuser = "ana"\n')
        assert await c.refresh()
        after = d.number("+33639981002")
        assert before is not None
        assert after is not None
        assert (before.user, after.user, d.version) == ("ben", "ana", 2)
        assert [number.e164 for number in d.numbers_of("ana")] == ["+33639981001", "+33639981002"]

        # Several revisions at once, and objects that go.
        await world.write('[[account]]\nref = "acme"\n[[user]]\nref = "zoe"\naccount = "acme"\n')
        only = '[[account]]\nref = "acme"\n[[user]]\nref = "zoe"\naccount = "acme"\nname = "Zoe"\n'
        await world.write(only, prune=True)
        assert await c.refresh()
        assert (d.version, living(d)) == (4, 2)
        assert d.device_by_username("ana-phone") is None
        assert d.user("zoe") == User(ref="zoe", account="acme", name="Zoe")
        assert c.refreshes == 3

    run(scenario)


def test_a_change_is_seen_within_a_second_while_polling(run: Callable[[Scenario], None]) -> None:
    async def scenario(world: World) -> None:
        await world.write(ACME)
        seen = asyncio.Event()
        d = Directory()
        c = DirectoryCache(
            world.source, d, plans=PLANS, poll_seconds=0.05, on_change=lambda changes: seen.set()
        )
        await c.load()
        seen.clear()
        task = asyncio.get_running_loop().create_task(c.run())
        await world.write('[[number]]\ne164 = "+33639981009"\nuser = "ana"\n')
        async with asyncio.timeout(10):
            await seen.wait()
        assert d.number("+33639981009") is not None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)


def test_an_absent_source_is_survived() -> None:
    async def scenario() -> None:
        world = MemoryWorld()
        await world.write(ACME)
        c = cache(world, poll_seconds=0.001)
        await c.load()
        world.away = True
        with pytest.raises(DirectoryUnavailable):
            await c.refresh()
        task = asyncio.get_running_loop().create_task(c.run())
        async with asyncio.timeout(10):
            while c.failures < 4:  # noqa: ASYNC110 - the poller has no event for a failure
                await asyncio.sleep(0.001)
        assert c.directory.number("+33639981001") is not None
        await world.write('[[number]]\ne164 = "+33639981009"\nuser = "ana"\n')
        world.away = False
        async with asyncio.timeout(10):
            while c.directory.version < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_a_database_that_stops_and_comes_back(postgres: Cluster, postgres_url: str) -> None:
    async def scenario() -> None:
        engine = create_engine(DatabaseSettings(url=postgres_url, timeout_seconds=5))
        try:
            world = SqlWorld(SqlProvisioningStore(engine), SqlDirectorySource(engine))
            await world.write(ACME)
            c = cache(world)
            await c.load()
            await asyncio.to_thread(postgres.stop)
            try:
                with pytest.raises(DirectoryUnavailable):
                    await c.refresh()
                with pytest.raises(DirectoryUnavailable):
                    await c.load()
                assert c.directory.number("+33639981001") is not None
            finally:
                await asyncio.to_thread(postgres.start)
            await world.write('[[number]]\ne164 = "+33639981009"\nuser = "ana"\n')
            assert await c.refresh()
            assert c.directory.number("+33639981009") is not None
        finally:
            await engine.dispose()

    asyncio.run(scenario())


def test_who_is_far_behind_reads_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEPT_REVISIONS", 3)
    monkeypatch.setattr(store_module, "FULL_READ_ABOVE", 4)
    told: list[DirectoryChanges | None] = []

    async def scenario() -> None:
        engine = create_engine(DatabaseSettings(url=sqlite_url(tmp_path)))
        try:
            world = SqlWorld(SqlProvisioningStore(engine), SqlDirectorySource(engine))
            await world.write(ACME)
            c = DirectoryCache(world.source, Directory(), plans=PLANS, on_change=told.append)
            await c.load()
            for index in range(5):
                await world.write(f'[[number]]\ne164 = "+3363998100{index + 3}"\nuser = "ana"\n')
            assert await c.refresh()
            assert told == [None, None]
            await world.write('[[number]]\ne164 = "+33639981009"\nuser = "ana"\n')
            assert await c.refresh()
            assert told[-1] is not None
            # Too many objects at once.
            await world.write("", prune=True)
            assert await c.refresh()
            assert told[-1] is None
            assert living(c.directory) == 0
        finally:
            await engine.dispose()

    asyncio.run(scenario())


def test_another_database_with_a_lower_revision_is_read_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = create_engine(DatabaseSettings(url=sqlite_url(tmp_path)))
        try:
            world = SqlWorld(SqlProvisioningStore(engine), SqlDirectorySource(engine))
            await world.write(ACME)
            c = cache(world)
            await c.load()
            c.directory.version = 99
            assert await c.refresh()
            assert c.directory.version == 1
        finally:
            await engine.dispose()

    asyncio.run(scenario())


def test_trunks_follow_with_the_directory(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = create_engine(DatabaseSettings(url=sqlite_url(tmp_path)))
        try:
            world = SqlWorld(SqlProvisioningStore(engine), SqlDirectorySource(engine))
            await world.write(ACME)
            trunks = TrunkDirectory()
            follower = TrunkFollower(engine, trunks)
            c = DirectoryCache(world.source, Directory(), plans=PLANS, followers=[follower])
            await c.load()
            assert [trunk.ref for trunk in trunks.all()] == ["carrier-a"]
            assert trunks.match_source("127.0.0.1", 5080) is trunks.get("carrier-a")
            assert trunks.version == 1
            await world.write('[[number]]\ne164 = "+33639981009"\nuser = "ana"\n')
            await c.refresh()
            assert trunks.version == 1
            await world.write('[[trunk]]\nref = "b"\npeers = ["sip:192.0.2.1"]\nprefixes = ["+44"]\n')
            await c.refresh()
            assert [trunk.ref for trunk in trunks.all()] == ["b", "carrier-a"]
            assert trunks.version == 3
        finally:
            await engine.dispose()

    asyncio.run(scenario())


def test_a_follower_that_fails_is_asked_again() -> None:
    class Follower:
        kinds = frozenset({"number"})
        fails = False
        asked = 0

        async def refresh(self, version: int) -> None:
            self.asked += 1
            if self.fails:
                raise DirectoryUnavailable("away")

    async def scenario() -> None:
        world = MemoryWorld()
        await world.write(ACME)
        follower = Follower()
        c = DirectoryCache(world, Directory(), plans=PLANS, followers=[follower])
        await c.load()
        follower.fails = True
        await world.write('[[number]]\ne164 = "+33639981009"\nuser = "ana"\n')
        with pytest.raises(DirectoryUnavailable):
            await c.refresh()
        assert c.directory.version == 1
        follower.fails = False
        assert await c.refresh()
        assert (c.directory.version, follower.asked) == (2, 3)

    asyncio.run(scenario())


def test_objects_are_replaced_and_never_altered() -> None:
    for kind in (Account, User, Device, CloudNumber):
        assert dataclasses.fields(kind)
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
