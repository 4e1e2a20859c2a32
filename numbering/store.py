"""The SQL side of numbering: objects to rows and back, the directory's revision, and what the cache reads.

The functions work within a transaction of their caller (`config.database.reading`,
`config.database.writing`), so that provisioning can write objects of several packages as one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Table, bindparam, delete, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from config.database import Base, DatabaseUnavailable, reading
from numbering import store_rows
from numbering.cache import DirectoryUnavailable, DirectoryUpdate
from numbering.directory import Directory, DirectoryChanges
from numbering.models import PlanTable
from numbering.tables import (
    AccountRow,
    DeviceRow,
    DirectoryChangeRow,
    DirectoryStateRow,
    GreetingRow,
    NumberRow,
    UserRow,
)

T = TypeVar("T")

# Rows per statement: a page is read or written in a few milliseconds, so the loop never stalls on a big
# table.
PAGE: Final = 500

KEPT_REVISIONS: Final = 1000
"""Revisions whose changes stay listed; a node that is further behind reads everything."""

FULL_READ_ABOVE: Final = 20_000
"""Changed objects above which reading everything is the quicker way."""


class ObjectTable(Generic[T]):
    """A table whose rows are objects of one kind, named by one key column."""

    def __init__(
        self,
        kind: str,
        row: type[Base],
        key: str,
        load: Callable[[Row[Any]], T],
        dump: Callable[[T], dict[str, Any]],
        unique: str = "",
    ) -> None:
        self.kind = kind
        table = row.__table__
        if not isinstance(table, Table):
            raise TypeError(f"{row.__name__} is not mapped to a table")
        self._row = row
        self.table = table
        self._key = table.c[key]
        self.load = load
        self.dump = dump
        self._unique = unique

    async def pages(self, connection: AsyncConnection) -> AsyncIterator[list[T]]:
        """Every object, in the order of keys, a page at a time."""
        last = ""
        while True:
            query = select(self.table).where(self._key > last).order_by(self._key).limit(PAGE)
            rows = (await connection.execute(query)).all()
            yield [self.load(row) for row in rows]
            if len(rows) < PAGE:
                return
            last = rows[-1]._mapping[self._key]

    async def all(self, connection: AsyncConnection) -> list[T]:
        """Every object, in the order of keys."""
        return [item async for page in self.pages(connection) for item in page]

    async def some(self, connection: AsyncConnection, keys: Collection[str]) -> dict[str, T]:
        """The objects that there are among ``keys``."""
        found: dict[str, T] = {}
        wanted = sorted(keys)
        for start in range(0, len(wanted), PAGE):
            query = select(self.table).where(self._key.in_(wanted[start : start + PAGE]))
            for row in (await connection.execute(query)).all():
                found[row._mapping[self._key]] = self.load(row)
        return found

    async def matching(self, connection: AsyncConnection, field: str, values: Collection[str]) -> list[T]:
        """The objects whose ``field`` is one of ``values``."""
        column = getattr(self._row, field)
        found: list[T] = []
        wanted = sorted(values)
        for start in range(0, len(wanted), PAGE):
            last = ""
            while True:
                query = select(self.table).where(column.in_(wanted[start : start + PAGE]), self._key > last)
                rows = (await connection.execute(query.order_by(self._key).limit(PAGE))).all()
                found.extend(self.load(row) for row in rows)
                if len(rows) < PAGE:
                    break
                last = rows[-1]._mapping[self._key]
        return found

    async def page(
        self, connection: AsyncConnection, limit: int, *, after: str = "", where: Mapping[str, str | None]
    ) -> list[T]:
        """At most ``limit`` objects beyond a key, in the order of keys.

        ``where`` names fields and their values; ``user.account`` is the account of the user who has the object,
        ``holder`` and ``holder.account`` also find numbers that are kept for somebody.
        """
        query = select(self.table).where(self._key > after)
        for field, value in where.items():
            users = select(UserRow.ref).where(UserRow.account == value)
            if field == "user.account":
                query = query.where(getattr(self._row, "user").in_(users))  # noqa: B009 - rows of several kinds
            elif field == "holder":
                query = query.where((NumberRow.user == value) | (NumberRow.kept_for == value))
            elif field == "holder.account":
                kept = NumberRow.kept_for.in_(users) | (NumberRow.kept_account == value)
                query = query.where(NumberRow.user.in_(users) | (NumberRow.account == value) | kept)
            else:
                query = query.where(getattr(self._row, field) == value)
        rows = (await connection.execute(query.order_by(self._key).limit(limit))).all()
        return [self.load(row) for row in rows]

    async def insert(self, connection: AsyncConnection, objects: Iterable[T]) -> None:
        waiting = iter(objects)
        while rows := [self.dump(item) for item in islice(waiting, PAGE)]:
            await connection.execute(insert(self.table), rows)

    async def update(self, connection: AsyncConnection, objects: Iterable[T]) -> None:
        rows = [self.dump(item) for item in objects]
        if not rows:
            return
        statement = (
            update(self.table)
            .where(self._key == bindparam("sought"))
            .values({name: bindparam(f"new_{name}") for name in rows[0] if name != self._key.name})
        )
        values = [
            {("sought" if name == self._key.name else f"new_{name}"): value for name, value in row.items()}
            for row in rows
        ]
        for start in range(0, len(values), PAGE):
            await connection.execute(statement, values[start : start + PAGE])

    async def clear_unique(self, connection: AsyncConnection, keys: Sequence[str]) -> None:
        """Let go of the values of the unique column, so that two objects may exchange theirs."""
        if not self._unique:
            return
        statement = update(self.table).values({self._unique: None})
        for start in range(0, len(keys), PAGE):
            await connection.execute(statement.where(self._key.in_(keys[start : start + PAGE])))

    async def delete(self, connection: AsyncConnection, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), PAGE):
            await connection.execute(delete(self.table).where(self._key.in_(keys[start : start + PAGE])))


ACCOUNTS: Final = ObjectTable("account", AccountRow, "ref", store_rows.load_account, store_rows.dump_account)
USERS: Final = ObjectTable("user", UserRow, "ref", store_rows.load_user, store_rows.dump_user)
DEVICES: Final = ObjectTable(
    "device", DeviceRow, "ref", store_rows.load_device, store_rows.dump_device, unique="sip_username"
)
NUMBERS: Final = ObjectTable("number", NumberRow, "e164", store_rows.load_number, store_rows.dump_number)
GREETINGS: Final = ObjectTable(
    "greeting", GreetingRow, "number", store_rows.load_greeting, store_rows.dump_greeting
)


async def lock_revision(connection: AsyncConnection) -> int:
    """The revision, held against every other writer until the transaction ends."""
    query = select(DirectoryStateRow.revision).where(DirectoryStateRow.id == 1).with_for_update()
    return int((await connection.execute(query)).scalar_one())


async def record_changes(connection: AsyncConnection, keys: Mapping[str, Collection[str]]) -> int:
    """Start a new revision that consists of changes to ``keys`` (by kind); returns its number.

    The caller holds the lock of `lock_revision`, so revisions become visible in their order.
    """
    revision = await lock_revision(connection) + 1
    rows = [
        {"revision": revision, "kind": kind, "key": key}
        for kind in sorted(keys)
        for key in sorted(keys[kind])
    ]
    for start in range(0, len(rows), PAGE):
        await connection.execute(insert(DirectoryChangeRow), rows[start : start + PAGE])
    forgotten = max(revision - KEPT_REVISIONS, 0)
    await connection.execute(delete(DirectoryChangeRow).where(DirectoryChangeRow.revision <= forgotten))
    await connection.execute(
        update(DirectoryStateRow)
        .where(DirectoryStateRow.id == 1)
        .values(revision=revision, forgotten=forgotten)
    )
    return revision


class SqlDirectorySource:
    """What the directory cache reads, from SQL; fits `numbering.cache.DirectorySource`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def everything(self, plans: PlanTable) -> Directory:
        """The whole directory.  Raises `DirectoryUnavailable`."""
        try:
            async with reading(self._engine) as connection:
                revision, _ = await self._revision(connection)
                directory = Directory(plans=plans, version=revision)
                for table in (ACCOUNTS, USERS, DEVICES, NUMBERS, GREETINGS):
                    async for page in table.pages(connection):
                        for item in page:
                            directory.put_one(item)
                return directory
        except DatabaseUnavailable as error:
            raise DirectoryUnavailable(str(error)) from error

    async def since(self, version: int) -> DirectoryUpdate | None:
        """What has changed after ``version``; None when nothing has.  Raises `DirectoryUnavailable`."""
        try:
            async with reading(self._engine) as connection:
                return await self._since(connection, version)
        except DatabaseUnavailable as error:
            raise DirectoryUnavailable(str(error)) from error

    async def _since(self, connection: AsyncConnection, version: int) -> DirectoryUpdate | None:
        revision, forgotten = await self._revision(connection)
        if revision == version:
            return None
        # Less than what we know: the database was exchanged for another one.
        if revision < version or version < forgotten:
            return DirectoryUpdate(version=revision, changes=None, kinds=frozenset())
        keys: dict[str, set[str]] = {}
        query = (
            select(DirectoryChangeRow.kind, DirectoryChangeRow.key)
            .where(DirectoryChangeRow.revision > version)
            .distinct()
            .limit(FULL_READ_ABOVE + 1)
        )
        rows = (await connection.execute(query)).all()
        if len(rows) > FULL_READ_ABOVE:
            return DirectoryUpdate(version=revision, changes=None, kinds=frozenset())
        for kind, key in rows:
            keys.setdefault(kind, set()).add(key)
        accounts = await _changed(ACCOUNTS, connection, keys)
        users = await _changed(USERS, connection, keys)
        devices = await _changed(DEVICES, connection, keys)
        numbers = await _changed(NUMBERS, connection, keys)
        greetings = await _changed(GREETINGS, connection, keys)
        changes = DirectoryChanges(
            accounts=accounts, users=users, devices=devices, numbers=numbers, greetings=greetings
        )
        return DirectoryUpdate(version=revision, changes=changes, kinds=frozenset(keys))

    @staticmethod
    async def _revision(connection: AsyncConnection) -> tuple[int, int]:
        query = select(DirectoryStateRow.revision, DirectoryStateRow.forgotten)
        revision, forgotten = (await connection.execute(query.where(DirectoryStateRow.id == 1))).one()
        return int(revision), int(forgotten)


async def _changed(
    table: ObjectTable[T], connection: AsyncConnection, keys: Mapping[str, set[str]]
) -> Mapping[str, T | None]:
    wanted = keys.get(table.kind)
    if not wanted:
        return {}
    found = await table.some(connection, wanted)
    changed: dict[str, T | None] = {key: found.get(key) for key in wanted}
    return changed
