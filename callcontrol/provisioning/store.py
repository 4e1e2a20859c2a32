"""The inventory in SQL: one transaction per change, with a new revision of the directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from callcontrol.provisioning.changes import Change, ChangeSet, differences
from callcontrol.provisioning.inventory import Inventory
from callcontrol.provisioning.service import Decide
from config.database import reading, writing
from gateway.store import GATEWAY_NUMBERS, TRUNKS
from numbering.store import ACCOUNTS, DEVICES, NUMBERS, USERS, ObjectTable, lock_revision, record_changes

_TABLES: dict[str, ObjectTable[Any]] = {
    table.kind: table for table in (ACCOUNTS, USERS, DEVICES, NUMBERS, TRUNKS, GATEWAY_NUMBERS)
}
_UNIQUE_FIELDS = frozenset({"sip_username", "username"})


class SqlProvisioningStore:
    """`callcontrol.provisioning.service.ProvisioningStore` of a database; raises `DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self) -> Inventory:
        async with reading(self._engine) as connection:
            return await _read(connection)

    async def change(self, decide: Decide, *, commit: bool) -> ChangeSet:
        async with writing(self._engine, commit=commit) as connection:
            await lock_revision(connection)
            before = await _read(connection)
            after = decide(before.copy())
            changes = differences(before, after)
            if not changes:
                return changes
            revision = await _write(connection, after, changes)
        return replace(changes, revision=revision if commit else 0)


async def _read(connection: AsyncConnection) -> Inventory:
    return Inventory(
        accounts={item.ref: item for item in await ACCOUNTS.all(connection)},
        users={item.ref: item for item in await USERS.all(connection)},
        devices={item.ref: item for item in await DEVICES.all(connection)},
        numbers={item.e164: item for item in await NUMBERS.all(connection)},
        trunks={item.ref: item for item in await TRUNKS.all(connection)},
        gateway_numbers={item.e164: item for item in await GATEWAY_NUMBERS.all(connection)},
    )


async def _write(connection: AsyncConnection, after: Inventory, changes: ChangeSet) -> int:
    """Write in the order that foreign keys and unique columns ask for."""

    def objects(selected: Sequence[Change], kind: str) -> list[Any]:
        there = after.of(kind)
        return [there[change.key] for change in selected if change.kind == kind]

    def removed(kind: str) -> list[str]:
        return [change.key for change in changes.removed if change.kind == kind]

    for kind in ("account", "user"):
        await _TABLES[kind].insert(connection, objects(changes.created, kind))
        await _TABLES[kind].update(connection, objects(changes.changed, kind))
    for kind in ("device", "number", "trunk", "gateway_number"):
        table = _TABLES[kind]
        await table.delete(connection, removed(kind))
        renamed = [
            change.key
            for change in changes.changed
            if change.kind == kind and any(field.name in _UNIQUE_FIELDS for field in change.fields)
        ]
        await table.clear_unique(connection, renamed)
        await table.insert(connection, objects(changes.created, kind))
        await table.update(connection, objects(changes.changed, kind))
    for kind in ("user", "account"):
        await _TABLES[kind].delete(connection, removed(kind))
    keys: dict[str, list[str]] = {}
    for change in (*changes.created, *changes.changed, *changes.removed):
        keys.setdefault(change.kind, []).append(change.key)
    return await record_changes(connection, keys)
