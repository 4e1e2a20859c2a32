"""Looking through the chains of call records in SQL: what is missing, what is there twice, what does not fit (CDR-02)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from callcontrol.cdr.chain import Seal, fits
from callcontrol.cdr.records import CallRecord
from callcontrol.cdr.store import calls_with_legs
from callcontrol.cdr.tables import CallRow, SealRow
from config.database import reading

_PAGE: Final = 500

GAP: Final = "gap"
REPEAT: Final = "repeat"
BROKEN: Final = "broken_link"
MISSING: Final = "missing_record"
CHANGED: Final = "changed_record"
REFUSED: Final = "refused"
KINDS: Final = (GAP, REPEAT, BROKEN, MISSING, CHANGED, REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    kind: str
    """``gap``: numbers without a record; ``repeat``: one call under several numbers; ``broken_link``: a record does not follow on
    the one before; ``missing_record``: it was written and is gone; ``changed_record``: it is not what was written;
    ``refused``: the database did not take it, the outbox folder has it."""
    producer: str
    first: int
    last: int
    call_ref: str = ""
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Verification:
    """What was looked through, and what was found."""

    producers: int = 0
    records: int = 0
    unsealed: int = 0
    """Records that hang on no chain: they are from before there were chains, or nobody's outbox brought them."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings


class SqlSeals:
    """The table ``call_seals``; raises `config.database.DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def verify(self, since_ms: int = 0) -> Verification:
        """Look through all chains, from the first record on whose call ended then or later."""
        made = Verification()
        async with reading(self._engine) as connection:
            starts = await _starts(connection, since_ms)
            repeated = await _repeated(connection, since_ms)
            made.producers = len(starts)
            for producer in sorted(starts, key=_in_order):
                walk = _Walk(made, producer, frozenset(repeated))
                await walk.begin(connection, starts[producer])
                async for rows in _pages(connection, producer, starts[producer]):
                    await walk.take(connection, rows)
            made.findings += [
                Finding(
                    kind=REPEAT,
                    producer=places[0][0],
                    first=places[0][1],
                    last=places[0][1],
                    call_ref=ref,
                    detail=_places(places),
                )
                for ref, places in sorted(repeated.items())
            ]
            made.unsealed = await _unsealed(connection, since_ms)
        return made


def _in_order(producer: str) -> tuple[str, int]:
    base, _, life = producer.rpartition(".")
    return base, int(life) if life.isdigit() else 0


def _places(places: list[tuple[str, int]]) -> str:
    return "also " + ", ".join(f"{producer} {seq}" for producer, seq in places[1:])


async def _starts(connection: AsyncConnection, since_ms: int) -> dict[str, int]:
    """Producer -> number of the first record that is looked at."""
    query = (
        select(SealRow.producer, func.min(SealRow.seq))
        .where(SealRow.ended_ms >= since_ms)
        .group_by(SealRow.producer)
    )
    found = {row[0]: int(row[1]) for row in (await connection.execute(query)).all()}
    return found if since_ms else dict.fromkeys(found, 1)


async def _repeated(connection: AsyncConnection, since_ms: int) -> dict[str, list[tuple[str, int]]]:
    """Calls with several numbers, and those."""
    several = select(SealRow.call_ref).group_by(SealRow.call_ref).having(func.count() > 1)
    if since_ms:
        several = several.where(SealRow.ended_ms >= since_ms)
    query = select(SealRow.call_ref, SealRow.producer, SealRow.seq).where(SealRow.call_ref.in_(several))
    found: dict[str, list[tuple[str, int]]] = {}
    for row in (await connection.execute(query.order_by(SealRow.producer, SealRow.seq))).all():
        found.setdefault(row[0], []).append((row[1], int(row[2])))
    return found


async def _pages(connection: AsyncConnection, producer: str, start: int) -> AsyncIterator[list[Row[Any]]]:
    after = start - 1
    while True:
        query = select(SealRow.__table__).where(SealRow.producer == producer, SealRow.seq > after)
        rows = list((await connection.execute(query.order_by(SealRow.seq).limit(_PAGE))).all())
        if not rows:
            return
        yield rows
        after = rows[-1].seq


async def _unsealed(connection: AsyncConnection, since_ms: int) -> int:
    sealed = select(SealRow.call_ref).where(SealRow.call_ref == CallRow.call_ref).exists()
    query = select(func.count()).select_from(CallRow).where(~sealed, CallRow.ended_ms >= since_ms)
    return int((await connection.execute(query)).scalar_one())


class _Walk:
    """One chain, from its first number that is looked at to its last."""

    def __init__(self, made: Verification, producer: str, repeated: frozenset[str]) -> None:
        self._made = made
        self._producer = producer
        self._repeated = repeated
        self._next = 0
        self._digest: str | None = None
        """What the next record must name; None: not known, it follows a gap."""

    async def begin(self, connection: AsyncConnection, start: int) -> None:
        self._next = start
        query = select(SealRow.digest).where(SealRow.producer == self._producer, SealRow.seq == start - 1)
        self._digest = (await connection.execute(query)).scalar_one_or_none()

    async def take(self, connection: AsyncConnection, rows: list[Row[Any]]) -> None:
        calls = await calls_with_legs(connection, [row.call_ref for row in rows])
        for row in rows:
            self._made.records += 1
            if row.seq > self._next:
                self._find(GAP, self._next, row.seq - 1)
                self._digest = None
            if row.seq == 1:
                await self._check_first(connection, row)
            elif self._digest is not None and row.previous != self._digest:
                self._find(BROKEN, row.seq, row.seq, row.call_ref, "it names another predecessor")
            self._next, self._digest = row.seq + 1, row.digest
            self._check_content(row, calls.get(row.call_ref))

    async def _check_first(self, connection: AsyncConnection, row: Row[Any]) -> None:
        """The first record of a life names the last one of a life before it."""
        if not row.previous:
            return
        base = self._producer.rpartition(".")[0]
        query = select(func.count()).where(
            SealRow.digest == row.previous, SealRow.producer.startswith(f"{base}.", autoescape=True)
        )
        if not (await connection.execute(query)).scalar_one():
            self._find(GAP, 0, 0, row.call_ref, "the last records of the life before it are not there")

    def _check_content(self, row: Row[Any], record: CallRecord | None) -> None:
        if row.refused:
            self._find(
                REFUSED, row.seq, row.seq, row.call_ref, "it is in rejected.jsonl of the outbox folder"
            )
        elif record is None:
            self._find(MISSING, row.seq, row.seq, row.call_ref)
        elif row.call_ref in self._repeated:
            return  # the first that came is kept, and which one that was nobody has written down
        elif not fits(Seal(row.producer, row.seq, row.previous, row.digest, row.fields), record):
            self._find(CHANGED, row.seq, row.seq, row.call_ref)

    def _find(self, kind: str, first: int, last: int, call_ref: str = "", detail: str = "") -> None:
        self._made.findings.append(
            Finding(
                kind=kind, producer=self._producer, first=first, last=last, call_ref=call_ref, detail=detail
            )
        )
