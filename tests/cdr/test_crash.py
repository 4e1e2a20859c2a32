"""kill -9 at any moment: every record that was flushed reaches the database, once."""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from callcontrol.cdr.exporter import CdrExporter
from callcontrol.cdr.outbox import JournalOutbox
from callcontrol.cdr.store import SqlCallStore
from config.database import create_engine
from config.sections import CdrSettings, DatabaseSettings
from tests.support.schema import sqlite_url

ROOT = Path(__file__).resolve().parents[2]


def run_and_kill(folder: Path, first: int, after_lines: int, then_s: float) -> list[str]:
    """Start the victim, kill it ``then_s`` after its n-th line, and return what it had said."""
    victim = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "cdr" / "crash_victim.py"), str(folder), str(first)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert victim.stdout is not None
    said = b""
    try:
        while said.count(b"\n") < after_lines:
            ready, _, _ = select.select([victim.stdout], [], [], 30)
            assert ready, "the victim says nothing"
            said += os.read(victim.stdout.fileno(), 65536)
        deadline = time.monotonic() + then_s
        while (left := deadline - time.monotonic()) > 0:
            if select.select([victim.stdout], [], [], left)[0]:
                said += os.read(victim.stdout.fileno(), 65536)
    finally:
        victim.send_signal(signal.SIGKILL)
        while chunk := os.read(victim.stdout.fileno(), 65536):
            said += chunk
        victim.stdout.close()
        victim.wait(30)
    # The last line may be cut.
    return said.decode().split("\n")[:-1]


def last_number(lines: list[str], word: str, default: int) -> int:
    numbers = [int(line.split()[1]) for line in lines if line.startswith(word)]
    return numbers[-1] if numbers else default


@pytest.mark.rule("CDR-02")
def test_killed_at_random_moments_none_is_lost_and_none_doubled(tmp_path: Path) -> None:
    dice = random.Random(20_260_301)
    folder = tmp_path / "outbox"
    safe: set[str] = set()
    possible: set[str] = set()
    sent: set[str] = set()
    first = 0
    for _ in range(8):
        lines = run_and_kill(folder, first, dice.randrange(1, 120), dice.random() * 0.02)
        until_safe = last_number(lines, "safe", first)
        until_put = max(last_number(lines, "put", first), until_safe)
        safe.update(f"call-{index}" for index in range(first, until_safe))
        # What was put before the kill may have been flushed without its being said; one more turn is at most
        # 7.
        possible.update(f"call-{index}" for index in range(first, until_put + 7))
        sent.update(line.split()[1] for line in lines if line.startswith("sent"))
        first = until_put + 10

    async def export() -> list[str]:
        engine = create_engine(DatabaseSettings(url=sqlite_url(tmp_path)))
        try:
            store = SqlCallStore(engine)
            outbox = JournalOutbox(folder, schedule=lambda flush: flush())
            assert outbox.recovered > 0
            exporter = CdrExporter(outbox, store, CdrSettings(batch=50))
            assert await exporter.drain(60.0) == 0
            outbox.close()
            return [record.call_ref for record in await store.recent(1_000_000)]
        finally:
            await engine.dispose()

    exported = asyncio.run(export())
    assert len(exported) == len(set(exported))
    # What the victim sent itself went nowhere in this test; a real exporter had it in the database by then.
    assert safe - sent <= set(exported) <= possible
    assert len(safe) > 100
    assert list(folder.glob("*.journal")) == []


@pytest.mark.rule("CDR-02")
def test_an_exporter_killed_between_commit_and_acknowledgement_doubles_none(tmp_path: Path) -> None:
    async def body() -> None:
        engine = create_engine(DatabaseSettings(url=sqlite_url(tmp_path)))
        try:
            store = SqlCallStore(engine)
            run_and_kill(tmp_path / "outbox", 0, 30, 0.0)
            for attempt in range(3):
                outbox = JournalOutbox(tmp_path / "outbox", schedule=lambda flush: flush())
                count = outbox.recovered
                await store.write(outbox.take(10_000).records)
                if attempt == 2:
                    assert len(await store.recent(1_000_000)) == count
                outbox.close()
        finally:
            await engine.dispose()

    asyncio.run(body())
