"""The journal on a disk that is full, cut off, damaged or shared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.cdr import journal as journal_module
from callcontrol.cdr.journal import MAGIC, Journal, JournalBusy, frame, sync_and_close
from callcontrol.cdr.outbox import JournalOutbox
from tests.support.call_records import call

pytestmark = pytest.mark.rule("CDR-02")


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def abandon(journal: Journal) -> None:
    """What kill -9 leaves: descriptors are closed, nothing else is done."""
    for fd in (journal._fd, journal._lock, *journal._unsynced):
        os.close(fd)


def test_records_outlive_the_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 20)
    journal.append([frame(b"one"), frame(b"two")])
    abandon(journal)
    again = Journal(tmp_path, 1 << 20)
    assert again.recovered == 2
    again.append([frame(b"three")])
    payloads, position = again.read(10)
    assert payloads == [b"one", b"two", b"three"]
    again.acknowledge(position)
    again.close()
    assert segments(tmp_path) == []


def test_segments_go_when_they_are_acknowledged(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 64)
    for index in range(20):
        journal.append([frame(b"x" * 30 + bytes([index]))])
    assert len(segments(tmp_path)) > 5
    payloads, position = journal.read(7)
    journal.acknowledge(position)
    left = len(segments(tmp_path))
    payloads, position = journal.read(100)
    assert [payload[-1] for payload in payloads] == list(range(7, 20))
    journal.acknowledge(position)
    assert len(segments(tmp_path)) == 1 < left
    journal.close()


@given(cut=st.integers(0, 200), segment_bytes=st.sampled_from([40, 1 << 20]))
def test_a_torn_tail_ends_at_the_last_whole_record(
    tmp_path_factory: pytest.TempPathFactory, cut: int, segment_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    payloads = [bytes([65 + index]) * (index * 7 + 1) for index in range(6)]
    journal = Journal(folder, segment_bytes)
    for payload in payloads:
        journal.append([frame(payload)])
    abandon(journal)
    last = segments(folder)[-1]
    size = max(last.stat().st_size - cut, 0)
    os.truncate(last, size)

    again = Journal(folder, segment_bytes)
    found, _ = again.read(100)
    assert found == payloads[: len(found)]
    if segment_bytes == 40:
        assert len(found) >= 5  # only the last segment was cut
    whole = size - sum(8 + len(payload) for payload in found[len(found) - again.recovered :])
    assert whole < 8 + 36 + len(MAGIC) + 200
    again.append([frame(b"after")])
    assert again.read(100)[0] == [*found, b"after"]
    again.close()


@given(cut=st.integers(0, 60))
def test_a_cut_takes_only_the_records_behind_it(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    journal = Journal(folder, 1 << 20)
    journal.append([frame(b"0123456789"), frame(b"abcdefghij"), frame(b"ABCDEFGHIJ")])
    abandon(journal)
    path = segments(folder)[0]
    size = path.stat().st_size - cut
    os.truncate(path, max(size, 0))
    whole = max(size - len(MAGIC), 0) // 18
    again = Journal(folder, 1 << 20)
    assert again.recovered == whole
    assert again.read(9)[0] == [b"0123456789", b"abcdefghij", b"ABCDEFGHIJ"][:whole]
    again.close()


def test_blocks_that_were_never_written_are_a_torn_tail(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 20)
    journal.append([frame(b"one")])
    abandon(journal)
    with segments(tmp_path)[0].open("ab") as file:
        file.write(bytes(4096))
    again = Journal(tmp_path, 1 << 20)
    assert again.read(9)[0] == [b"one"]
    assert again.torn_bytes == 4096
    assert again.damaged_frames == 0
    again.close()


def test_a_damaged_record_is_skipped_and_its_file_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 20)
    journal.append([frame(b"first"), frame(b"second"), frame(b"third")])
    abandon(journal)
    path = segments(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"second", b"sekond"))
    again = Journal(tmp_path, 1 << 20)
    payloads, position = again.read(9)
    assert payloads == [b"first", b"third"]
    assert (again.recovered, again.damaged_frames) == (2, 1)
    again.acknowledge(position)
    again.close()
    assert [found.suffix for found in tmp_path.glob("0*")] == [".damaged"]


def test_a_length_out_of_bounds_keeps_the_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 20)
    journal.append([frame(b"first"), frame(b"second")])
    abandon(journal)
    path = segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[len(MAGIC) + 13] = 0xFF
    path.write_bytes(data)
    again = Journal(tmp_path, 1 << 20)
    payloads, position = again.read(9)
    assert payloads == [b"first"]
    again.acknowledge(position)
    again.close()
    assert len(list(tmp_path.glob("*.damaged"))) == 1


def test_a_record_larger_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_CHUNK", 64)
    journal = Journal(tmp_path, 1 << 20)
    records = [b"a" * 10, b"b" * 500, b"c" * 63, b"d"]
    journal.append([frame(record) for record in records])
    assert journal.read(2)[0] == records[:2]
    assert journal.read(9)[0] == records
    journal.close()


def test_a_file_that_became_shorter_does_not_hang_the_reader(tmp_path: Path) -> None:
    outbox = JournalOutbox(tmp_path, schedule=lambda flush: flush())
    outbox.put(call(0))
    os.truncate(segments(tmp_path)[0], len(MAGIC) + 20)
    assert outbox.take(5).records == ()
    assert outbox.depth == 0
    outbox.put(call(1))
    assert outbox.depth == 1
    outbox.close()


def test_one_folder_one_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 20)
    with pytest.raises(JournalBusy, match="in use by another process"):
        Journal(tmp_path, 1 << 20)
    journal.close()
    Journal(tmp_path, 1 << 20).close()


class FullDisk:
    """Stands in for ``os.write``; takes ``room`` bytes and then refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, fd: int, data: bytes | memoryview) -> int:
        if self.room <= 0:
            raise OSError(28, "No space left on device")
        taken = self._write(fd, bytes(data)[: self.room])
        self.room -= taken
        return taken


def test_a_full_disk_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, 1 << 20)
    journal.append([frame(b"one")])
    disk = FullDisk(monkeypatch, 5)
    with pytest.raises(OSError, match="No space"):
        journal.append([frame(b"two")])
    disk.room = 1 << 20
    journal.append([frame(b"three")])
    assert journal.read(9)[0] == [b"one", b"three"]
    journal.close()


def test_a_full_disk_when_a_segment_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, 1)
    journal.append([frame(b"one")])
    disk = FullDisk(monkeypatch, 3)
    with pytest.raises(OSError, match="No space"):
        journal.append([frame(b"two")])
    assert len(segments(tmp_path)) == 1
    disk.room = 1 << 20
    journal.append([frame(b"three")])
    assert journal.read(9)[0] == [b"one", b"three"]
    journal.close()


def test_records_reach_the_exporter_past_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = JournalOutbox(tmp_path, schedule=lambda flush: flush())
    outbox.put(call(0))
    disk = FullDisk(monkeypatch, 0)
    outbox.put(call(1))
    outbox.put(call(2))
    assert outbox.write_failures == 2
    assert outbox.take(9).records == (call(0),)
    outbox.acknowledge(outbox.take(9))
    from_memory = outbox.take(1)
    assert from_memory.records == (call(1),)
    outbox.put(call(3))
    outbox.acknowledge(from_memory)
    disk.room = 1 << 20
    outbox.put(call(4))
    assert outbox.take(9).records == (call(2), call(3), call(4))
    assert outbox.depth == 3
    outbox.close()
    # The first was acknowledged, but its segment holds others still: it is read again.
    again = JournalOutbox(tmp_path, schedule=lambda flush: flush())
    assert again.take(9).records == (call(0), call(2), call(3), call(4))
    again.close()


def test_memory_is_bounded_when_disk_and_database_are_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callcontrol.cdr.outbox.MAX_WAITING", 5)
    outbox = JournalOutbox(tmp_path, schedule=lambda flush: flush())
    FullDisk(monkeypatch, 0)
    for index in range(8):
        outbox.put(call(index))
    assert (outbox.depth, outbox.lost) == (5, 3)


def test_a_turn_of_the_loop_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soon: list[object] = []
    outbox = JournalOutbox(tmp_path, schedule=soon.append)
    writes: list[int] = []
    write = os.write

    def counted(fd: int, data: bytes) -> int:
        writes.append(len(data))
        return write(fd, data)

    monkeypatch.setattr(os, "write", counted)
    for index in range(50):
        outbox.put(call(index))
    assert len(soon) == 1
    assert writes == []
    outbox.flush()
    assert len(writes) == 1
    outbox.close()


def test_syncing_closes_what_it_took(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        journal.append([frame(b"x")])
    sync_and_close(journal.unsynced())
    assert len(os.listdir("/proc/self/fd")) <= before
    assert journal.unsynced() == []
    journal.close()


def test_a_record_of_another_form_is_kept_aside(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1 << 20)
    journal.append([frame(b"\xc1 not msgpack"), frame(b"\x93\x01\x02\x03")])
    abandon(journal)
    outbox = JournalOutbox(tmp_path, schedule=lambda flush: flush())
    outbox.put(call(0))
    batch = outbox.take(9)
    assert batch.records == (call(0),)
    outbox.acknowledge(batch)
    assert outbox.depth == 0
    assert outbox.unreadable >= 2
    assert len((tmp_path / "rejected.jsonl").read_text().splitlines()) >= 2
    outbox.close()
