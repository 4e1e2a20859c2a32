"""Call records in SQL: written once however often, read back whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from callcontrol.cdr import CallRecord, LegRecord
from callcontrol.cdr.exporter import CdrExporter, sync_journal
from callcontrol.cdr.outbox import JournalOutbox, MemoryOutbox
from callcontrol.cdr.store import CallFilter, Refused, SqlCallStore
from callcontrol.cdr.tables import CallRow, LegRow
from config.database import DatabaseUnavailable, create_engine
from config.sections import CdrSettings, DatabaseSettings
from tests.support.call_records import call
from tests.support.postgres import Cluster
from tests.support.schema import sqlite_url

QUICK = CdrSettings(linger_seconds=0.001, max_backoff_seconds=0.01)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlCallStore]:
    engine = create_engine(DatabaseSettings(url=url, timeout_seconds=5))
    try:
        yield SqlCallStore(engine)
    finally:
        await engine.dispose()


def run(url: str, scenario: Callable[[SqlCallStore], Awaitable[None]]) -> None:
    async def body() -> None:
        async with opened(url) as store:
            await scenario(store)

    asyncio.run(body())


def test_the_tables_have_every_field() -> None:
    calls = {column.key for column in CallRow.__mapper__.column_attrs}
    assert calls == (set(CallRecord.__struct_fields__) - {"legs"}) | {"duration_ms", "billable_seconds"}
    legs = {column.key for column in LegRow.__mapper__.column_attrs}
    assert legs == set(LegRecord.__struct_fields__) | {"call_ref"}


@pytest.mark.rule("CDR-01")
def test_every_field_comes_back(database_url: str) -> None:
    async def scenario(store: SqlCallStore) -> None:
        record = call(1, gateway_number="+33199000001", caller_hidden=True, reason="busy", facts=b"\x00\xff")
        assert await store.write([record]) == []
        assert await store.get("call-1") == record
        assert await store.get("call-2") is None

    run(database_url, scenario)


@pytest.mark.rule("CDR-01")
def test_durations_are_whole_begun_seconds_from_the_answer() -> None:
    record = call(1)
    assert (record.duration_ms, record.billable_seconds) == (62_001, 61)
    assert call(1, answered_ms=0).billable_seconds == 0
    assert call(1, ended_ms=0).duration_ms == 0
    assert call(1, answered_ms=record.ended_ms - 1000).billable_seconds == 1
    assert call(1, answered_ms=record.ended_ms).billable_seconds == 0


@pytest.mark.rule("CDR-02")
def test_writing_again_changes_nothing(database_url: str) -> None:
    async def scenario(store: SqlCallStore) -> None:
        await store.write([call(1), call(2)])
        await store.write([call(2, status=500), call(3), call(3)])
        found = await store.recent(10)
        assert found == [call(3), call(2), call(1)]

    run(database_url, scenario)


def test_recent_calls_by_what_is_asked(database_url: str) -> None:
    async def scenario(store: SqlCallStore) -> None:
        await store.write([call(index) for index in range(250)])
        await store.write(
            [
                call(300, account="other", user="bob", number="+33639981002"),
                call(301, direction="outgoing", trunk="carrier-b", caller="+33639981001"),
            ]
        )

        async def refs(limit: int = 3, **fields: object) -> list[str]:
            where = CallFilter(**fields)  # type: ignore[arg-type]
            return [record.call_ref for record in await store.recent(limit, where)]

        assert await refs() == ["call-301", "call-300", "call-249"]
        assert await refs(account="other") == ["call-300"]
        assert await refs(user="bob") == ["call-300"]
        assert await refs(number="+33639981002") == ["call-300"]
        assert await refs(direction="outgoing") == ["call-301"]
        assert await refs(trunk="carrier-b") == ["call-301"]
        assert await refs(party="+33639981001", trunk="carrier-b") == ["call-301"]
        assert await refs(until_ms=call(3).started_ms) == ["call-2", "call-1", "call-0"]
        assert await refs(since_ms=call(249).started_ms, account="acme") == ["call-301", "call-249"]

        seen: list[str] = []
        before = None
        while page := await store.recent(100, CallFilter(before=before)):
            seen.extend(record.call_ref for record in page)
            before = (page[-1].started_ms, page[-1].call_ref)
        assert len(seen) == len(set(seen)) == 252

    run(database_url, scenario)


def test_legs_come_in_their_order(database_url: str) -> None:
    async def scenario(store: SqlCallStore) -> None:
        legs = tuple(LegRecord(leg=name, started_ms=1) for name in ("a", "b1", "b2", "b9", "b10"))
        await store.write([call(1, legs=legs[::-1])])
        found = await store.get("call-1")
        assert found is not None
        assert found.legs == legs

    run(database_url, scenario)


def test_one_bad_record_does_not_hold_up_the_others(postgres_url: str) -> None:
    async def scenario(store: SqlCallStore) -> None:
        bad = [call(2, status=1 << 40), call(3, device_class="x" * 17)]
        with_nul = call(4, caller_presented="a\x00b")
        refused = await store.write([call(1), *bad, with_nul, call(5)])
        assert [each.record for each in refused] == bad
        assert all(each.why for each in refused)
        assert len(await store.recent(9)) == 3
        found = await store.get("call-4")
        assert found is not None
        assert found.caller_presented == "a\ufffdb"

    run(postgres_url, scenario)


def test_a_schema_that_is_not_there_is_an_outage(blank_database_url: str) -> None:
    async def body() -> None:
        engine = create_engine(DatabaseSettings(url=blank_database_url))
        try:
            with pytest.raises(DatabaseUnavailable):
                await SqlCallStore(engine).write([call(1)])
        finally:
            await engine.dispose()

    asyncio.run(body())


class FlakyStore:
    """A store that fails as told, before or after it has committed."""

    def __init__(self, store: SqlCallStore, plan: list[str]) -> None:
        self._store = store
        self.plan = plan

    async def write(self, records: object, seals: object = ()) -> list[Refused]:
        step = self.plan.pop(0) if self.plan else ""
        if step == "before":
            raise DatabaseUnavailable("away")
        refused = await self._store.write(records, seals)  # type: ignore[arg-type]
        if step == "after":
            raise DatabaseUnavailable("the answer was lost")
        return refused


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.002)


@pytest.mark.rule("CDR-02")
def test_an_outage_loses_none_and_doubles_none(database_url: str, tmp_path: Path) -> None:
    async def scenario(store: SqlCallStore) -> None:
        loop = asyncio.get_running_loop()
        outbox = JournalOutbox(tmp_path / "outbox", schedule=loop.call_soon, segment_bytes=4096)
        flaky = FlakyStore(store, ["before", "after", "before", "", "after", "before"])
        exporter = CdrExporter(outbox, flaky, QUICK.model_copy(update={"batch": 7}))
        task = loop.create_task(exporter.run())
        sync = loop.create_task(sync_journal(outbox, 0.001))
        for index in range(60):
            outbox.put(call(index))
            if index % 10 == 0:
                await asyncio.sleep(0.002)
        await until(lambda: outbox.depth == 0)
        for each in (task, sync):
            each.cancel()
        await asyncio.gather(task, sync, return_exceptions=True)
        assert exporter.failures == 5
        assert exporter.written == 60
        found = await store.recent(1000)
        assert [record.call_ref for record in found] == [f"call-{index}" for index in reversed(range(60))]
        outbox.close()

    run(database_url, scenario)


@pytest.mark.rule("CDR-02")
def test_a_database_that_really_stops(postgres: Cluster, postgres_url: str, tmp_path: Path) -> None:
    async def scenario(store: SqlCallStore) -> None:
        loop = asyncio.get_running_loop()
        outbox = JournalOutbox(tmp_path / "outbox", schedule=loop.call_soon)
        exporter = CdrExporter(outbox, store, QUICK)
        task = loop.create_task(exporter.run())
        try:
            outbox.put(call(1))
            await until(lambda: outbox.depth == 0)
            await asyncio.to_thread(postgres.stop)
            try:
                for index in range(2, 100):
                    outbox.put(call(index))
                await until(lambda: exporter.failures >= 2)
                assert outbox.depth == 98
            finally:
                await asyncio.to_thread(postgres.start)
            await until(lambda: outbox.depth == 0)
            assert len(await store.recent(1000)) == 99
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            outbox.close()

    run(postgres_url, scenario)


def test_what_the_database_refuses_is_kept_aside(postgres_url: str, tmp_path: Path) -> None:
    async def scenario(store: SqlCallStore) -> None:
        outbox = JournalOutbox(tmp_path / "outbox", schedule=lambda flush: flush())
        exporter = CdrExporter(outbox, store, QUICK)
        outbox.put(call(1, status=1 << 40))
        outbox.put(call(2))
        await exporter.export_batch()
        assert (exporter.written, exporter.rejected, outbox.depth) == (1, 1, 0)
        assert '"call_ref": "call-1"' in (tmp_path / "outbox" / "rejected.jsonl").read_text()
        outbox.close()

    run(postgres_url, scenario)


def test_draining_at_the_end(tmp_path: Path) -> None:
    async def scenario(store: SqlCallStore) -> None:
        outbox = MemoryOutbox()
        for index in range(20):
            outbox.put(call(index))
        exporter = CdrExporter(outbox, store, QUICK.model_copy(update={"batch": 3}))
        assert await exporter.drain(5.0) == 0
        assert len(await store.recent(100)) == 20
        outbox.put(call(99))
        away = CdrExporter(outbox, FlakyStore(store, ["before"]), QUICK)
        assert await away.drain(5.0) == 1
        assert away.failures == 1

    run(sqlite_url(tmp_path), scenario)


def test_the_row_count_is_that_of_calls_and_legs(database_url: str) -> None:
    async def body() -> None:
        engine = create_engine(DatabaseSettings(url=database_url))
        try:
            await SqlCallStore(engine).write([call(index) for index in range(7)])
            async with engine.connect() as connection:
                calls = (await connection.execute(text("SELECT count(*) FROM calls"))).scalar_one()
                legs = (await connection.execute(text("SELECT count(*) FROM call_legs"))).scalar_one()
            assert (calls, legs) == (7, 14)
        finally:
            await engine.dispose()

    asyncio.run(body())
