"""Call records in outboxes that nobody has any more: of workers that this node had when it had more of them (CDR-02)."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Final

from callcontrol.cdr.exporter import CallStore, CdrExporter
from callcontrol.cdr.journal import MAGIC, JournalBusy
from callcontrol.cdr.outbox import JournalOutbox
from config.database import DatabaseUnavailable
from config.sections import CdrSettings

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"worker-([1-9]\d*)")
AGAIN_S: Final = 5.0
"""How long after a failure it is tried again."""


def folder_of(outbox: Path, worker: int) -> Path:
    """The outbox of a worker.  The first one has that of the node, so that a node may get workers and lose them again."""
    return outbox if worker == 1 else outbox / f"worker-{worker}"


def found(outbox: Path, workers: int) -> list[Path]:
    """Outboxes of workers beyond the number that there are now."""
    if not outbox.is_dir():
        return []
    names = [(path, _NAME.fullmatch(path.name)) for path in outbox.iterdir() if path.is_dir()]
    beyond = [path for path, name in names if name is not None and int(name.group(1)) > workers]
    return sorted(path for path in beyond if _holds_something(path))


def _holds_something(folder: Path) -> bool:
    """Opening an outbox begins another life of its chain, so one that is empty is left alone."""
    return any(file.stat().st_size > len(MAGIC) for file in folder.glob("*.journal"))


async def export(outbox: Path, workers: int, store: CallStore, settings: CdrSettings) -> int:
    """Bring what lies there to the database, however long that takes; how many records."""
    exported = 0
    for folder in found(outbox, workers):
        exported += await _export(folder, store, settings)
    return exported


async def _export(folder: Path, store: CallStore, settings: CdrSettings) -> int:
    try:
        left = JournalOutbox(folder, schedule=lambda flush: None, segment_bytes=settings.segment_bytes)
    except (JournalBusy, OSError) as error:
        _log.error("call records: %s cannot be read: %s", folder, error)
        return 0
    exporter = CdrExporter(left, store, settings)
    try:
        while left.depth:
            try:
                await exporter.export_batch()
            except (DatabaseUnavailable, OSError) as error:
                _log.warning("call records: %d wait in %s: %s", left.depth, folder, error)
                await asyncio.sleep(AGAIN_S)
    finally:
        left.close()
    if exporter.written:
        _log.info("call records: %d of a former worker were in %s", exporter.written, folder)
    return exporter.written
