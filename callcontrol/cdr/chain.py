"""The chain that call records hang on: whoever removes, repeats or changes one can be shown it (CDR-02).

Each life of a node's outbox is a *producer*.  Its records are counted from 1, and each bears the digest of the one before it; the
first of a life bears that of the last one of the life before.  A number that is missing is a gap, one call under two numbers a
repeat, a digest that does not fit what stands in the database a change.

The digest covers what is billed and who called whom.  Facts and trace of the decisions are left out: they may be dropped later.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise
from typing import Final

import msgspec

from callcontrol.cdr.records import CallRecord, LegRecord

_NUL: Final = b"\\u0000"
_REPLACED: Final = "\ufffd".encode()
_FIELDS: Final = f"{len(CallRecord.__struct_fields__)}.{len(LegRecord.__struct_fields__)}"
_LEGS: Final = CallRecord.__struct_fields__.index("legs")
_encoder: Final = msgspec.json.Encoder()


class Seal(msgspec.Struct, frozen=True, array_like=True):
    """The place of one record in its chain."""

    producer: str
    seq: int
    previous: str
    """Digest of the record before it; empty for the very first one."""
    digest: str
    fields: str
    """Fields of a call and of a leg when the digest was made: later ones do not count."""


class Chain:
    """Seals the records of one producer in their order."""

    def __init__(self, producer: str, previous: str = "") -> None:
        self.producer = producer
        self.seq = 0
        self.digest = previous

    def seal(self, record: CallRecord) -> Seal:
        """The next link.  Raises UnicodeEncodeError for characters that no database takes; nothing has happened then."""
        content = _encoder.encode(_kept(record))
        previous, seq = self.digest, self.seq + 1
        digest = _digest(content, self.producer, seq, previous)
        self.seq, self.digest = seq, digest
        return Seal(self.producer, seq, previous, digest, _FIELDS)


def fits(seal: Seal, record: CallRecord) -> bool:
    """Whether a record, read back from the database, is the one that was sealed."""
    calls, _, legs = seal.fields.partition(".")
    if not (calls.isdigit() and legs.isdigit()):
        return False
    values: list[object] = msgspec.to_builtins(_kept(record))
    held = values[_LEGS]
    values[_LEGS] = [leg[: int(legs)] for leg in held] if isinstance(held, list) else held
    content = _encoder.encode(values[: int(calls)])
    return _digest(content, seal.producer, seal.seq, seal.previous) == seal.digest


def _kept(record: CallRecord) -> CallRecord:
    """Without what may be dropped, and its legs in the order in which the database gives them back."""
    legs = record.legs
    for first, second in pairwise(legs):
        if second.started_ms <= first.started_ms and leg_order(second) < leg_order(first):
            legs = tuple(sorted(legs, key=leg_order))
            break
    return msgspec.structs.replace(record, facts=b"", trace="", legs=legs)


def leg_order(leg: LegRecord) -> tuple[int, int, str]:
    """In the order in which they came: the caller's first, ``b2`` before ``b10``."""
    return leg.started_ms, len(leg.leg), leg.leg


def _digest(content: bytes, producer: str, seq: int, previous: str) -> str:
    if _NUL in content:
        content = content.replace(_NUL, _REPLACED)  # as it is written where a database takes no NUL
    return blake2b(f"{producer}\n{seq}\n{previous}\n".encode() + content, digest_size=20).hexdigest()


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """A record as it stands in the journal."""

    seal: Seal
    record: msgspec.Raw


_SEALED_START: Final = 0x92
"""First byte of a `Sealed`, an array of two; a record of the journals before chains is an array of thirty and more."""
_sealed_encoder: Final = msgspec.msgpack.Encoder()
_sealed_decoder: Final = msgspec.msgpack.Decoder(Sealed)


def wrap(seal: Seal, payload: bytes) -> bytes:
    """A sealed record for the journal."""
    return _sealed_encoder.encode(Sealed(seal, msgspec.Raw(payload)))


def unwrap(payload: bytes) -> tuple[Seal | None, bytes]:
    """Seal and record of a payload of the journal; no seal for one of an older version.  Raises msgspec.DecodeError."""
    if payload[:1] != bytes((_SEALED_START,)):
        return None, payload
    sealed = _sealed_decoder.decode(payload)
    return sealed.seal, bytes(sealed.record)
