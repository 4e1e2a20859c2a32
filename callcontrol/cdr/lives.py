"""Which life of an outbox folder this is, and what the chain of the one before ended with.

A small file beside the journal: it is written when a life begins, when a segment of the journal ends, and at the end.  Between
those the journal itself tells, for its last segment is there as long as the process lives.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import msgspec

from callcontrol.cdr.chain import unwrap

_log = logging.getLogger(__name__)

NAME: Final = "chain.json"


class Head(msgspec.Struct, frozen=True):
    """What is known of the chains of a folder."""

    base: str
    """Names the folder's producers: ``<base>.<life>``."""
    life: int
    digest: str
    """Of the last record that was written to the journal; empty: none ever was."""


def begin(folder: Path, name: str, entropy: bytes, last: bytes | None) -> Head:
    """The next life.  ``name``: of the node, for a folder that has none yet; ``last``: the last record in the journal."""
    held = _read(folder / NAME)
    base = held.base if held is not None else f"{name}-{entropy.hex()}"
    life = held.life if held is not None else 0
    digest = held.digest if held is not None else ""
    seal = None
    if last is not None:
        try:
            seal, _ = unwrap(last)
        except msgspec.DecodeError as error:
            _log.error("call records: the end of the chain cannot be read: %s", error)
    if seal is not None:
        base, _, number = seal.producer.rpartition(".")
        life = max(life, int(number))
        digest = seal.digest
    head = Head(base, life + 1, digest)
    write(folder, head)
    return head


def write(folder: Path, head: Head) -> None:
    """Keep a head.  Raises OSError."""
    draft = folder / f"{NAME}.new"
    draft.write_bytes(msgspec.json.encode(head))
    os.replace(draft, folder / NAME)


def _read(path: Path) -> Head | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Head)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        _log.error("call records: %s cannot be read, a new chain begins: %s", path, error)
        return None
