"""The chain of the call records: what it proves, on both databases, through outages and crashes."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from callcontrol.cdr import CallRecord, chain
from callcontrol.cdr.chain import Chain, fits, unwrap, wrap
from callcontrol.cdr.exporter import CdrExporter
from callcontrol.cdr.outbox import JournalOutbox
from callcontrol.cdr.store import SqlCallStore
from callcontrol.cdr.store_seals import SqlSeals, Verification
from config.database import DatabaseUnavailable, create_engine
from config.sections import CdrSettings, DatabaseSettings
from tests.cdr.test_crash import last_number, run_and_kill
from tests.support.call_records import START_MS, call
from tests.support.schema import sqlite_url

pytestmark = pytest.mark.rule("CDR-02")


class Books:
    """A database, and what an accountant may do to it."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(DatabaseSettings(url=url, timeout_seconds=5))
        self.store = SqlCallStore(self.engine)

    async def verify(self, since_ms: int = 0) -> Verification:
        return await SqlSeals(self.engine).verify(since_ms)

    async def found(self, since_ms: int = 0) -> list[tuple[str, int, int, str]]:
        made = await self.verify(since_ms)
        return [(item.kind, item.first, item.last, item.call_ref) for item in made.findings]

    async def do(self, statement: str) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(text(statement))

    async def export(self, outbox: JournalOutbox) -> None:
        exporter = CdrExporter(outbox, self.store, CdrSettings(batch=100))
        assert await exporter.drain(60.0) == 0


def run(url: str, scenario: Callable[[Books], Awaitable[None]]) -> None:
    async def body() -> None:
        books = Books(url)
        try:
            await scenario(books)
        finally:
            await books.engine.dispose()

    asyncio.run(body())


def box(folder: Path) -> JournalOutbox:
    return JournalOutbox(folder, schedule=lambda flush: flush(), node="node-1")


def test_a_whole_chain_is_whole(database_url: str, tmp_path: Path) -> None:
    async def scenario(books: Books) -> None:
        for life in range(3):
            outbox = box(tmp_path / "outbox")
            assert outbox.producer.endswith(f".{life + 1}")
            for index in range(700):
                outbox.put(call(life * 700 + index))
            await books.export(outbox)
            outbox.close()
        made = await books.verify()
        assert made.findings == []
        assert (made.records, made.producers, made.unsealed) == (2100, 3, 0)
        made = await books.verify(START_MS + 2_000_000)
        assert made.findings == []
        assert made.producers == 1

    run(database_url, scenario)


def test_what_was_done_to_the_books_is_told(database_url: str, tmp_path: Path) -> None:
    async def scenario(books: Books) -> None:
        outbox = box(tmp_path / "outbox")
        for index in range(1, 21):
            outbox.put(call(index))
        await books.export(outbox)
        assert await books.found() == []
        await books.do(
            "UPDATE calls SET billable_seconds = 1, answered_ms = answered_ms + 1 WHERE call_ref = 'call-3'"
        )
        await books.do(
            "UPDATE call_legs SET number = '+33639981002' WHERE call_ref = 'call-4' AND leg = 'b1'"
        )
        await books.do(
            "UPDATE calls SET facts = NULL, trace = '' WHERE call_ref = 'call-5'"
        )  # may be dropped
        await books.do("DELETE FROM call_legs WHERE call_ref = 'call-6'")
        await books.do("DELETE FROM calls WHERE call_ref = 'call-6'")
        await books.do("DELETE FROM call_seals WHERE seq BETWEEN 10 AND 12")
        await books.do("UPDATE call_seals SET previous = 'nobody' WHERE seq = 15")
        assert sorted(await books.found()) == [
            ("broken_link", 15, 15, "call-15"),
            ("changed_record", 3, 3, "call-3"),
            ("changed_record", 4, 4, "call-4"),
            ("changed_record", 15, 15, "call-15"),
            ("gap", 10, 12, ""),
            ("missing_record", 6, 6, "call-6"),
        ]
        assert (await books.verify()).unsealed == 3
        assert await books.found(START_MS + (16 + 62) * 1000 + 1) == []
        outbox.close()

    run(database_url, scenario)


def test_one_call_that_two_nodes_have_recorded_is_a_repeat(database_url: str, tmp_path: Path) -> None:
    """A node died between its record and the end of the call; who took the call over recorded it as well."""

    async def scenario(books: Books) -> None:
        first, second = box(tmp_path / "one"), box(tmp_path / "two")
        first.put(call(1))
        first.put(call(2))
        second.put(call(2, node="node-2", ended_by="server"))
        second.put(call(3))
        await books.export(first)
        await books.export(second)
        made = await books.verify()
        assert [(item.kind, item.call_ref) for item in made.findings] == [("repeat", "call-2")]
        assert "also " in made.findings[0].detail
        assert len(await books.store.recent(10)) == 3
        for outbox in (first, second):
            outbox.close()

    run(database_url, scenario)


def test_a_lost_end_is_told_by_the_next_life(database_url: str, tmp_path: Path) -> None:
    async def scenario(books: Books) -> None:
        outbox = box(tmp_path / "outbox")
        for index in range(10):
            outbox.put(call(index))
        await books.export(outbox)
        outbox.put(call(10))
        outbox.close()
        for path in (tmp_path / "outbox").glob("*.journal"):
            path.unlink()  # what no exporter has seen
        outbox = box(tmp_path / "outbox")
        outbox.put(call(11))
        await books.export(outbox)
        outbox.close()
        assert await books.found() == [("gap", 0, 0, "call-11")]

    run(database_url, scenario)


def test_what_the_database_refuses_is_told_and_is_no_gap(postgres_url: str, tmp_path: Path) -> None:
    async def scenario(books: Books) -> None:
        outbox = box(tmp_path / "outbox")
        for record in (call(1), call(2, status=1 << 40), call(3, dialled="06\x0039"), call(4)):
            outbox.put(record)
        await books.export(outbox)
        outbox.close()
        assert await books.found() == [("refused", 2, 2, "call-2")]

    run(postgres_url, scenario)


def test_odd_characters_and_legs_out_of_order_come_back_as_they_were_sealed(
    database_url: str, tmp_path: Path
) -> None:
    async def scenario(books: Books) -> None:
        outbox = box(tmp_path / "outbox")
        record = call(1, caller_presented="Zoë \U0001f600 \ud83d", dialled='"<>&\\')
        outbox.put(msgspec.structs.replace(record, legs=record.legs[::-1]))
        outbox.put(CallRecord(call_ref="bare"))
        outbox.put(call(2, legs=(), diversions=()))
        await books.export(outbox)
        outbox.close()
        assert await books.found() == []

    run(database_url, scenario)


def test_fields_that_come_later_break_no_old_seal() -> None:
    """A version whose records ended with the legs has sealed this one."""
    seal = Chain("node-1.1").seal(call(1))
    values: list[object] = msgspec.to_builtins(msgspec.structs.replace(call(1), trace=""))
    digest = chain._digest(msgspec.json.encode(values[:30]), "node-1.1", 1, "")
    old = msgspec.structs.replace(seal, fields="30.20", digest=digest)
    assert fits(seal, call(1))
    assert fits(old, call(1))
    assert fits(old, call(1, sim="+33639980001"))
    assert not fits(seal, call(1, sim="+33639980001"))
    assert not fits(old, call(1, status=404))
    assert not fits(msgspec.structs.replace(seal, fields="x"), call(1))


def test_journals_hold_seals_and_those_of_before_have_none() -> None:
    seal = Chain("node-1.1").seal(call(1))
    payload = msgspec.msgpack.encode(call(1))
    assert unwrap(wrap(seal, payload)) == (seal, payload)
    assert unwrap(payload) == (None, payload)


class Away:
    """A database that is away for long."""

    async def write(self, records: object, seals: object = ()) -> list[object]:
        raise DatabaseUnavailable("away")


def test_hours_without_a_database_and_crashes_lose_and_double_none(tmp_path: Path) -> None:
    """Five lives of the node, four of them killed, with thousands of records; then the database is back."""

    async def scenario(books: Books) -> None:
        dice = random.Random(20_260_917)
        folder = tmp_path / "outbox"
        safe: set[str] = set()
        sent: set[str] = set()
        first = 0
        for _ in range(4):
            lines = await asyncio.to_thread(
                run_and_kill, folder, first, 600 + dice.randrange(300), dice.random() * 0.02
            )
            until_safe = last_number(lines, "safe", first)
            safe.update(f"call-{index}" for index in range(first, until_safe))
            sent.update(line.split()[1] for line in lines if line.startswith("sent"))
            first = max(last_number(lines, "put", first), until_safe) + 10
        outbox = box(folder)
        away = CdrExporter(outbox, Away(), CdrSettings(batch=50))  # type: ignore[arg-type]
        for index in range(first, first + 1000):
            outbox.put(call(index))
            safe.add(f"call-{index}")
        assert await away.drain(1.0) == outbox.depth
        assert away.failures == 1
        await books.export(outbox)
        outbox.close()
        made = await books.verify()
        exported = {record.call_ref for record in await books.store.recent(100_000)}
        assert safe - sent <= exported
        assert len(exported) > 3000
        # the victims threw away what they "sent"; of the rest nothing is missing, doubled or changed
        missing = sum(
            item.last - item.first + 1 for item in made.findings if item.kind == "gap" and item.first
        )
        assert {item.kind for item in made.findings} <= {"gap"}
        assert missing <= len(sent)

    run(sqlite_url(tmp_path), scenario)


def test_the_command_tells_people_and_programs(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)

    async def fill(books: Books) -> None:
        outbox = box(tmp_path / "outbox")
        for index in range(1, 6):
            outbox.put(call(index))
        await books.export(outbox)
        outbox.close()

    run(url, fill)
    config = tmp_path / "cloudline.toml"
    config.write_text(f'[database]\nurl = "{url}"\n')

    def command(*options: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "callcontrol.cli", "cdr", "verify", "--config", str(config), *options]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    done = command()
    assert done.returncode == 0, done.stderr
    assert "5 records of 1 chain" in done.stdout

    async def spoil(books: Books) -> None:
        await books.do("DELETE FROM call_seals WHERE seq = 2")

    run(url, spoil)
    done = command("--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert not told["ok"]
    assert [(item["kind"], item["first"]) for item in told["findings"]] == [("gap", 2)]
    assert "gap" in command().stdout
    assert command("--since", "2099-01-01").returncode == 0
    assert command("--since", "yesterday").returncode == 2
    shutil.rmtree(tmp_path / "outbox")
