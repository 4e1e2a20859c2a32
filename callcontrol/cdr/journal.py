"""An append-only journal of byte records in segment files: what was appended survives the process.

A segment is a file ``00000001.journal``: a magic line, then frames of length, CRC-32 and payload.  A frame
that a crash cut off ends its segment; a restart never appends to an old segment, so nothing is lost behind a
torn frame.  Records are read in order and acknowledged in order; a segment that is acknowledged as a whole is
deleted.  Which records of the last segments were acknowledged is not kept: after a crash they are read again,
and the reader must bear that.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

MAGIC: Final = b"cloudline journal 1\n"
_FRAME: Final = struct.Struct(">II")
MAX_PAYLOAD: Final = 16 * 1024 * 1024
"""Longer frames are taken for damage."""

_CHUNK: int = 1024 * 1024


class JournalBusy(Exception):
    """Another process has the folder open."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the journal: after the frame that ends there."""

    segment: int
    offset: int


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    size: int
    """Bytes of whole frames, with the magic line."""
    damaged: bool = False
    """Frames were skipped; the file is kept under another name instead of being deleted."""


def frame(payload: bytes) -> bytes:
    """One record as it stands in a segment."""
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


class Journal:
    """The journal in one folder; not shared between processes, not thread-safe.

    With ``synced`` somebody must call `unsynced` now and then.  ``recovered`` is the number of records that
    were found at the start, ``torn_bytes`` and ``damaged_frames`` what could not be read then.
    """

    def __init__(
        self,
        folder: Path,
        segment_bytes: int,
        *,
        synced: bool = True,
        on_rotate: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_rotate``: called before a new segment takes the place of the last one."""
        self._folder = folder
        self._synced = synced
        self._on_rotate = on_rotate
        self._segment_bytes = segment_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise JournalBusy(f"{folder} is in use by another process") from None
        self.recovered = 0
        self.torn_bytes = 0
        self.damaged_frames = 0
        self._segments: list[_Segment] = []
        self._recover()
        self._fd = -1
        self._dirty = False
        self._unsynced: list[int] = []
        self._open_segment()
        first = self._segments[0]
        self._acked = Position(first.number, len(MAGIC))

    # -- start ----------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        for path in sorted(self._folder.glob("[0-9]*.journal"), key=lambda path: int(path.stem)):
            segment = _Segment(int(path.stem), path, len(MAGIC))
            data = path.read_bytes()
            if not data.startswith(MAGIC):
                # Cut off before its first record, or not ours.
                self._retire(path, keep=len(data) > len(MAGIC))
                continue
            frames, end, damaged = _scan(data)
            segment.size = end
            segment.damaged = damaged > 0
            self.recovered += frames
            self.damaged_frames += damaged
            self.torn_bytes += len(data) - end
            if frames:
                self._segments.append(segment)
            else:
                self._retire(path, keep=segment.damaged)
        if self.damaged_frames:
            _log.error("journal %s: %d damaged records were skipped", self._folder, self.damaged_frames)

    def _retire(self, path: Path, *, keep: bool) -> None:
        if keep:
            path.rename(path.with_suffix(".damaged"))
        else:
            path.unlink()

    def _open_segment(self) -> None:
        taken = [int(path.stem) for path in self._folder.glob("[0-9]*.*")]
        number = max(taken, default=0) + 1
        path = self._folder / f"{number:08d}.journal"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            _write_all(fd, MAGIC)
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        self._fd = fd
        if self._synced:
            # The name of the file is a fact of the folder, which has to reach the disk as well.
            self._unsynced.append(os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self._segments.append(_Segment(number, path, len(MAGIC)))

    # -- writing --------------------------------------------------------------------------------------------

    def append(self, frames: Sequence[bytes]) -> None:
        """Write frames (see `frame`) at the end, as one system call where the kernel allows.

        They are then safe from the death of the process, and after the next sync from that of the machine.
        Raises OSError (a full disk); nothing of the frames is then in the journal.
        """
        active = self._segments[-1]
        if active.size >= self._segment_bytes or self._fd < 0:
            self._rotate()
            active = self._segments[-1]
        data = b"".join(frames)
        try:
            _write_all(self._fd, data)
        except OSError:
            self._undo(active)
            raise
        active.size += len(data)
        self._dirty = self._synced

    def _undo(self, active: _Segment) -> None:
        """Take back what a failed write has left, so that no frame ever follows half a one."""
        try:
            os.ftruncate(self._fd, active.size)
        except OSError as error:
            _log.error("journal %s: cannot truncate, leaving it: %s", active.path, error)
            self._close_active()

    def last(self) -> bytes | None:
        """The last sound record of all that is here; None: there is none."""
        for segment in reversed(self._segments):
            offset, found = len(MAGIC), None
            data = segment.path.read_bytes()[: segment.size]
            while offset + _FRAME.size <= len(data):
                length, crc = _FRAME.unpack_from(data, offset)
                payload = data[offset + _FRAME.size : offset + _FRAME.size + length]
                if zlib.crc32(payload) == crc:
                    found = payload
                offset += _FRAME.size + length
            if found is not None:
                return found
        return None

    def _rotate(self) -> None:
        self._on_rotate()
        if self._fd >= 0:
            self._close_active()
        self._open_segment()
        self._drop_acknowledged()

    def _close_active(self) -> None:
        if self._synced:
            self._unsynced.append(self._fd)
        else:
            os.close(self._fd)
        self._fd = -1

    def unsynced(self) -> list[int]:
        """Descriptors to be given to `sync_and_close`, in any thread; they are no longer the journal's."""
        taken, self._unsynced = self._unsynced, []
        if self._dirty and self._fd >= 0:
            taken.append(os.dup(self._fd))
        self._dirty = False
        return taken

    # -- reading --------------------------------------------------------------------------------------------

    def read(self, limit: int) -> tuple[list[bytes], Position]:
        """Up to ``limit`` records after the acknowledged ones, and the position to acknowledge for them."""
        found: list[bytes] = []
        position = self._acked
        for segment in self._segments:
            if segment.number < position.segment:
                continue
            offset = position.offset if segment.number == position.segment else len(MAGIC)
            with segment.path.open("rb") as file:
                want = _CHUNK
                while offset < segment.size and len(found) < limit:
                    file.seek(offset)
                    chunk = file.read(min(want, segment.size - offset))
                    payloads, used = _split(chunk, limit - len(found))
                    if used:
                        found.extend(payloads)
                        offset += used
                    elif len(chunk) < want:
                        # The file has become shorter than it was; the rest cannot be read any more.
                        segment.damaged = True
                        offset = segment.size
                    else:
                        want = segment.size - offset + 1
            position = Position(segment.number, offset)
            if len(found) >= limit:
                break
        return found, position

    def acknowledge(self, position: Position) -> None:
        """Let go of everything up to a position that `read` gave."""
        self._acked = max(self._acked, position)
        self._drop_acknowledged()

    def _drop_acknowledged(self) -> None:
        while len(self._segments) > 1:
            segment = self._segments[0]
            done = self._acked.segment > segment.number or (
                self._acked.segment == segment.number and self._acked.offset >= segment.size
            )
            if not done:
                return
            self._retire(segment.path, keep=segment.damaged)
            self._segments.pop(0)

    def close(self) -> None:
        """Let go of the folder; a journal without unread records leaves no segment behind."""
        active = self._segments[-1]
        if self._fd >= 0:
            self._close_active()
        sync_and_close(self.unsynced())
        self._drop_acknowledged()
        if len(self._segments) == 1 and self._acked >= Position(active.number, active.size):
            self._retire(active.path, keep=active.damaged)
        os.close(self._lock)


def sync_and_close(descriptors: Sequence[int]) -> None:
    """Bring what was written to descriptors of `Journal.unsynced` to the disk, and close them.  Blocks."""
    for fd in descriptors:
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _split(chunk: bytes, limit: int) -> tuple[list[bytes], int]:
    """Whole, sound frames at the beginning of a chunk, and the bytes that they (and damaged ones) take."""
    payloads: list[bytes] = []
    offset = 0
    size = len(chunk)
    while offset + _FRAME.size <= size and len(payloads) < limit:
        length, crc = _FRAME.unpack_from(chunk, offset)
        end = offset + _FRAME.size + length
        if end > size:
            break
        payload = chunk[offset + _FRAME.size : end]
        if zlib.crc32(payload) == crc:
            payloads.append(payload)
        offset = end
    return payloads, offset


def _scan(data: bytes) -> tuple[int, int, int]:
    """Sound frames, where the last whole one ends, and damaged frames of a segment."""
    offset = len(MAGIC)
    frames = damaged = 0
    while offset + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, offset)
        end = offset + _FRAME.size + length
        # Zeros are what a file system shows of blocks that were never written.
        if length == 0 or end > len(data):
            damaged += length > MAX_PAYLOAD
            break
        if zlib.crc32(data[offset + _FRAME.size : end]) == crc:
            frames += 1
        else:
            damaged += 1
        offset = end
    return frames, offset, damaged
