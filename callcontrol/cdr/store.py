"""Call records in SQL: idempotent writes in batches, and reading them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import msgspec
from sqlalchemy import Select, Table, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect, Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from callcontrol.cdr.chain import Seal, leg_order
from callcontrol.cdr.outbox import printable
from callcontrol.cdr.records import CallRecord, LegRecord, OfferRecord
from callcontrol.cdr.tables import CallRow, LegRow, SealRow
from config.database import Base, DatabaseUnavailable, reading, sqlstate, writing

_PAGE: Final = 100
"""Calls per statement: the loop is not held for longer than a few milliseconds."""

_MAX_BIGINT: Final = (1 << 63) - 1

# SQLSTATE classes that say "this value, never": data exceptions and broken constraints.
_REFUSED: Final = ("22", "23")


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that the database will never take."""

    record: CallRecord
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Which past calls are asked for; empty fields do not restrict."""

    account: str = ""
    user: str = ""
    number: str = ""
    """The cloud number."""
    party: str = ""
    """Caller or called number."""
    direction: str = ""
    trunk: str = ""
    since_ms: int = 0
    until_ms: int = 0
    before: tuple[int, str] | None = None
    """Continue after the last one seen: its ``started_ms`` and ``call_ref``."""


class SqlCallStore:
    """The tables ``calls`` and ``call_legs``; all methods raise `config.database.DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._calls = _Insert(CallRow, engine.dialect)
        self._legs = _Insert(LegRow, engine.dialect)
        self._seals = _seal_statement(engine.dialect)

    async def write(self, records: Sequence[CallRecord], seals: Sequence[Seal | None] = ()) -> list[Refused]:
        """Write records as one transaction; those that are there already stay as they are.  ``seals``: one each, or none at all.

        Returns what the database refuses for what it contains; everything else is committed.
        """
        try:
            await self._write(records, seals)
        except DBAPIError as error:
            if not _is_refusal(error):
                raise DatabaseUnavailable(str(error.orig)) from error
        else:
            return []
        # One of them is bad: find it, without holding up the others.
        refused: list[Refused] = []
        for at, record in enumerate(records):
            seal = seals[at : at + 1]
            try:
                await self._write([printable(record)], seal)
            except DBAPIError as error:
                if not _is_refusal(error):
                    raise DatabaseUnavailable(str(error.orig)) from error
                refused.append(Refused(record, str(error.orig)))
                await self._write_seals_alone(printable(record), seal)
        return refused

    async def _write_seals_alone(self, record: CallRecord, seals: Sequence[Seal | None]) -> None:
        """A record that is set aside is no gap in its chain."""
        async with writing(self._engine) as connection:
            for seal in seals:
                if seal is not None:
                    row = _seal_row(
                        seal, msgspec.structs.replace(record, call_ref=record.call_ref[:64]), True
                    )
                    await connection.exec_driver_sql(self._seals, row)

    async def _write(self, records: Sequence[CallRecord], seals: Sequence[Seal | None] = ()) -> None:
        async with writing(self._engine) as connection:
            for start in range(0, len(records), _PAGE):
                page = records[start : start + _PAGE]
                calls = [self._calls.row(record.call_ref, record) for record in page]
                await self._calls.run(connection, calls)
                legs = [self._legs.row(record.call_ref, leg) for record in page for leg in record.legs]
                await self._legs.run(connection, legs)
            rows = [
                _seal_row(seal, record, False)
                for seal, record in zip(seals, records, strict=False)
                if seal is not None
            ]
            if rows:
                await connection.exec_driver_sql(self._seals, rows)

    async def get(self, call_ref: str) -> CallRecord | None:
        """One call with its legs."""
        async with reading(self._engine) as connection:
            query = select(CallRow.__table__).where(CallRow.call_ref == call_ref)
            found = await _with_legs(connection, query)
        return found[0] if found else None

    async def forget_facts(self, since_ms: int, until_ms: int) -> int:
        """Drop the facts of calls that began within the half-open interval; how many."""
        within = (CallRow.started_ms >= since_ms, CallRow.started_ms < until_ms, CallRow.facts.is_not(None))
        async with writing(self._engine) as connection:
            done = await connection.execute(update(CallRow).where(*within).values(facts=None))
        return done.rowcount

    async def recent(self, limit: int, where: CallFilter | None = None) -> list[CallRecord]:
        """The latest calls with their legs, the latest first."""
        query = _filtered(where or CallFilter())
        query = query.order_by(CallRow.started_ms.desc(), CallRow.call_ref.desc()).limit(limit)
        async with reading(self._engine) as connection:
            return await _with_legs(connection, query)


async def calls_with_legs(connection: AsyncConnection, refs: Sequence[str]) -> dict[str, CallRecord]:
    """Those of the calls that are there, by reference."""
    query = select(CallRow.__table__).where(CallRow.call_ref.in_(list(refs)))
    return {record.call_ref: record for record in await _with_legs(connection, query)}


def _filtered(where: CallFilter) -> Select[Any]:
    query = select(CallRow.__table__)
    for column, value in (
        (CallRow.account, where.account),
        (CallRow.user, where.user),
        (CallRow.number, where.number),
        (CallRow.direction, where.direction),
        (CallRow.trunk, where.trunk),
    ):
        if value:
            query = query.where(column == value)
    if where.party:
        query = query.where((CallRow.caller == where.party) | (CallRow.called == where.party))
    if where.since_ms:
        query = query.where(CallRow.started_ms >= where.since_ms)
    if where.until_ms:
        query = query.where(CallRow.started_ms < where.until_ms)
    if where.before is not None:
        query = query.where(tuple_(CallRow.started_ms, CallRow.call_ref) < where.before)
    return query


async def _with_legs(connection: AsyncConnection, query: Select[Any]) -> list[CallRecord]:
    rows = (await connection.execute(query)).all()
    legs: dict[str, list[LegRecord]] = {row.call_ref: [] for row in rows}
    query = select(LegRow.__table__).where(LegRow.call_ref.in_(list(legs)))
    for row in (await connection.execute(query)).all():
        legs[row.call_ref].append(_leg(row))
    for found in legs.values():
        found.sort(key=leg_order)
    return [_call(row, tuple(legs[row.call_ref])) for row in rows]


def _seal_statement(dialect: Dialect) -> str:
    table = SealRow.__table__
    if not isinstance(table, Table):
        raise TypeError("SealRow is not mapped to a table")
    insert = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    compiled = insert(table).on_conflict_do_nothing().compile(dialect=dialect)
    if compiled.positiontup != [column.name for column in table.columns]:
        raise TypeError(f"{dialect.name} does not bind the columns in their order")
    return str(compiled)


def _seal_row(seal: Seal, record: CallRecord, refused: bool) -> tuple[Any, ...]:
    ended = min(max(record.ended_ms or record.started_ms, 0), _MAX_BIGINT)
    return (
        seal.producer,
        seal.seq,
        record.call_ref,
        seal.previous,
        seal.digest,
        seal.fields,
        ended,
        refused,
    )


_json: Final = msgspec.json.Encoder()
_offers: Final = msgspec.json.Decoder(tuple[OfferRecord, ...])
_RENAMED: Final = {"user_ref": "user"}


def _call(row: Row[Any], legs: tuple[LegRecord, ...]) -> CallRecord:
    values = {_RENAMED.get(name, name): value for name, value in row._mapping.items()}
    known = {name: values[name] for name in CallRecord.__struct_fields__ if name != "legs"}
    known["diversions"] = tuple(known["diversions"])
    known["facts"] = known["facts"] or b""
    known["offers"] = _offers.decode(known["offers"])
    return CallRecord(**known, legs=legs)


def _leg(row: Row[Any]) -> LegRecord:
    values = {_RENAMED.get(name, name): value for name, value in row._mapping.items()}
    return LegRecord(**{name: values[name] for name in LegRecord.__struct_fields__})


class _Insert:
    """An insert that leaves existing rows alone, prepared once and run on the driver itself.

    Going through SQLAlchemy for each batch would cost more than the database.
    """

    def __init__(self, row: type[Base], dialect: Dialect) -> None:
        table = row.__table__
        if not isinstance(table, Table):
            raise TypeError(f"{row.__name__} is not mapped to a table")
        insert = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
        compiled = insert(table).on_conflict_do_nothing().compile(dialect=dialect)
        order = compiled.positiontup
        if order is None or order[0] != "call_ref":
            raise TypeError(f"{dialect.name} does not bind the columns in their order")
        self._statement = str(compiled)
        # One call into C for all fields of a record.
        self._rest = attrgetter(*(_RENAMED.get(name, name) for name in order[1:]))
        self._lists = [index for index, name in enumerate(order) if name in ("diversions", "offers")]

    def row(self, call_ref: str, item: CallRecord | LegRecord) -> tuple[Any, ...]:
        values = (call_ref, *self._rest(item))
        for index in self._lists:
            values = (*values[:index], _json.encode(values[index]).decode(), *values[index + 1 :])
        return values

    async def run(self, connection: AsyncConnection, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            await connection.exec_driver_sql(self._statement, rows)


def _is_refusal(error: DBAPIError) -> bool:
    state = sqlstate(error)
    if state:
        return state.startswith(_REFUSED)
    # SQLite has no SQLSTATE: integers beyond 64 bits and broken constraints come as these.
    return type(error).__name__ in {"IntegrityError", "DataError"}
