"""Verified SIMs in the database (DEV-01, DEV-03), and the writer that survives its outages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from callcontrol.provisioning import Document, SqlProvisioningStore, apply
from callcontrol.sim_writer import SimWriter
from config.database import DatabaseUnavailable, create_engine
from config.sections import DatabaseSettings
from numbering.cache import DirectoryCache
from numbering.directory import Directory
from numbering.models import Device
from numbering.store import SqlDirectorySource
from numbering.store_sims import SqlSims
from tests.support.acme import PLANS

OLD, NEW = "+33639980001", "+33639980002"
DOCUMENT = f"""
[[account]]
ref = "a"
[[user]]
ref = "u"
account = "a"
[[user]]
ref = "v"
account = "a"
[[device]]
ref = "d"
user = "u"
sim = "{OLD}"
[[device]]
ref = "e"
user = "v"
sim = "{NEW}"
sim_verified = true
"""

Scenario = Callable[[SqlSims, Callable[[], Awaitable[Directory]]], Awaitable[None]]


def play(url: str, scenario: Scenario) -> None:
    """Run with a database that holds two devices, and a directory that follows it."""

    async def run() -> None:
        engine = create_engine(DatabaseSettings(url=url))
        try:
            await apply([Document("1", DOCUMENT)], SqlProvisioningStore(engine), plans=PLANS)
            directory = Directory(plans=PLANS)
            cache = DirectoryCache(SqlDirectorySource(engine), directory, plans=PLANS)
            await cache.load()

            async def refreshed() -> Directory:
                await cache.refresh()
                return directory

            await scenario(SqlSims(engine), refreshed)
        finally:
            await engine.dispose()

    asyncio.run(run())


def device(directory: Directory, ref: str) -> Device:
    found = directory.device(ref)
    assert found is not None
    return found


@pytest.mark.rule("DEV-01")
def test_a_verified_sim_is_seen_by_every_node(database_url: str) -> None:
    async def scenario(sims: SqlSims, refreshed: Callable[[], Awaitable[Directory]]) -> None:
        assert await sims.verified("d", OLD)
        directory = await refreshed()
        version = directory.version
        assert (device(directory, "d").sim, device(directory, "d").sim_verified) == (OLD, True)
        assert await sims.verified("d", OLD), "again changes nothing"
        assert (await refreshed()).version == version
        assert not await sims.verified("nobody", OLD)

    play(database_url, scenario)


@pytest.mark.rule("DEV-03")
def test_a_changed_sim_is_not_verified_any_more(database_url: str) -> None:
    async def scenario(sims: SqlSims, refreshed: Callable[[], Awaitable[Directory]]) -> None:
        await sims.changed("e", OLD)
        assert device(await refreshed(), "e").sim_verified, "it has another one anyway"
        await sims.changed("e", NEW)
        changed = device(await refreshed(), "e")
        assert (changed.sim, changed.sim_verified) == (NEW, False)
        await sims.changed("nobody", NEW)

    play(database_url, scenario)


def test_a_sim_that_passed_on_belongs_to_who_called_with_it(database_url: str) -> None:
    async def scenario(sims: SqlSims, refreshed: Callable[[], Awaitable[Directory]]) -> None:
        assert await sims.verified("d", NEW)
        directory = await refreshed()
        assert (device(directory, "d").sim, device(directory, "d").sim_verified) == (NEW, True)
        assert (device(directory, "e").sim, device(directory, "e").sim_verified) == ("", False)

    play(database_url, scenario)


class Away:
    """A table whose database is away for a while."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.written: list[tuple[str, str]] = []

    async def verified(self, device: str, sim: str) -> bool:
        self._try()
        self.written.append((device, sim))
        return True

    async def changed(self, device: str, sim: str) -> None:
        self._try()
        self.written.append((device, f"not {sim}"))

    def _try(self) -> None:
        if self.left:
            self.left -= 1
            raise DatabaseUnavailable("away")


def write(failures: int, patience_s: float) -> tuple[Away, list[bool], SimWriter, int]:
    table, told, kicks = Away(failures), [], []

    async def run() -> SimWriter:
        writer = SimWriter(table, patience_s, 0.001, lambda: kicks.append(1))
        writer.changed("d", OLD)
        finished = asyncio.Event()

        def done(is_written: bool) -> None:
            told.append(is_written)
            finished.set()

        writer.verified("d", NEW, done)
        assert writer.waiting == 2
        task = asyncio.create_task(writer.run())
        await finished.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return writer

    writer = asyncio.run(run())
    return table, told, writer, len(kicks)


def test_an_outage_delays_what_is_written() -> None:
    table, told, writer, kicks = write(failures=3, patience_s=60.0)
    assert table.written == [("d", f"not {OLD}"), ("d", NEW)]
    assert told == [True]
    assert (writer.failures, writer.given_up, kicks) == (3, 0, 1)


def test_an_outage_that_does_not_end_is_told() -> None:
    _, told, writer, _ = write(failures=1_000_000, patience_s=0.0)
    assert told == [False]
    assert writer.given_up == 2


def test_there_is_a_bound_on_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callcontrol.sim_writer.MAX_WAITING", 1)
    told: list[bool] = []

    async def run() -> None:
        writer = SimWriter(Away(0))
        writer.changed("d", OLD)
        writer.verified("d", NEW, told.append)

    asyncio.run(run())
    assert told == [False]
