"""Records in outboxes of workers that are no more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from callcontrol.cdr import leftovers
from callcontrol.cdr.chain import Seal
from callcontrol.cdr.outbox import JournalOutbox
from callcontrol.cdr.records import CallRecord
from callcontrol.cdr.store import Refused
from config.database import DatabaseUnavailable
from config.sections import CdrSettings

pytestmark = pytest.mark.rule("CDR-02")


class Store:
    def __init__(self, failures: int = 0) -> None:
        self.refs: list[str] = []
        self.failures = failures

    async def write(self, records: Sequence[CallRecord], seals: Sequence[Seal | None] = ()) -> list[Refused]:
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailable("away")
        self.refs.extend(record.call_ref for record in records)
        return []


def leave(folder: Path, worker: int, *refs: str) -> None:
    outbox = JournalOutbox(leftovers.folder_of(folder, worker), schedule=lambda flush: None)
    for ref in refs:
        outbox.put(CallRecord(call_ref=ref, direction="incoming", started_ms=1, ended_ms=2))
    outbox.close()


def export(folder: Path, workers: int, store: Store) -> int:
    return asyncio.run(leftovers.export(folder, workers, store, CdrSettings(outbox=str(folder))))


def test_the_first_worker_has_the_outbox_of_the_node(tmp_path: Path) -> None:
    assert leftovers.folder_of(tmp_path, 1) == tmp_path
    assert leftovers.folder_of(tmp_path, 3) == tmp_path / "worker-3"


def test_records_of_former_workers_reach_the_database_once(tmp_path: Path) -> None:
    for worker in (1, 2, 3, 4):
        leave(tmp_path, worker, f"r{worker}a", f"r{worker}b")
    store = Store()
    assert export(tmp_path, 2, store) == 4
    assert store.refs == ["r3a", "r3b", "r4a", "r4b"]
    assert export(tmp_path, 2, store) == 0
    assert leftovers.found(tmp_path, 2) == []
    assert export(tmp_path, 1, store) == 2
    assert store.refs[4:] == ["r2a", "r2b"]


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    for name in ("worker-", "worker-x", "worker-02", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "worker-9").write_text("a file")
    assert leftovers.found(tmp_path, 1) == []
    assert leftovers.found(tmp_path / "missing", 1) == []


def test_a_database_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "AGAIN_S", 0.001)
    leave(tmp_path, 2, "r")
    store = Store(failures=3)
    assert export(tmp_path, 1, store) == 1
    assert store.refs == ["r"]


def test_an_outbox_that_another_process_has_is_left_to_it(tmp_path: Path) -> None:
    held = JournalOutbox(leftovers.folder_of(tmp_path, 2), schedule=lambda flush: None)
    held.put(CallRecord(call_ref="r", direction="incoming", started_ms=1, ended_ms=2))
    store = Store()
    assert export(tmp_path, 1, store) == 0
    assert store.refs == []
    held.close()
