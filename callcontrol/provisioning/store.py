"""The inventory in SQL: one transaction per change, with a new revision of the directory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from callcontrol.access.audit import AuditEntry, Author
from callcontrol.access.store import KIND as TOKEN
from callcontrol.access.store import record, revoke_of
from callcontrol.pricing.store import PACKAGES, RATES
from callcontrol.provisioning.around import Around
from callcontrol.provisioning.changes import Change, ChangeSet, differences
from callcontrol.provisioning.inventory import Inventory, Item
from callcontrol.provisioning.number_life import Times
from callcontrol.provisioning.service import NOBODY, Decide, Draft, Edited, Judge, Keys, merged
from callcontrol.provisioning.traces import entries_of, handed_over
from config.database import reading, writing
from gateway.store import GATEWAY_NUMBERS, TRUNKS
from numbering.store import (
    ACCOUNTS,
    DEVICES,
    GREETINGS,
    NUMBERS,
    USERS,
    ObjectTable,
    lock_revision,
    record_changes,
)
from numbering.store_traces import forget_people, record_events

_TABLES: dict[str, ObjectTable[Any]] = {
    table.kind: table
    for table in (ACCOUNTS, USERS, DEVICES, NUMBERS, GREETINGS, TRUNKS, GATEWAY_NUMBERS, RATES, PACKAGES)
}
_MANY: Final = 50
"""Objects in one change above which the judging is done beside the event loop."""
_UNIQUE_FIELDS = frozenset({"sip_username", "username"})


class SqlProvisioningStore:
    """`callcontrol.provisioning.service.ProvisioningStore` of a database; raises `DatabaseUnavailable`."""

    def __init__(
        self,
        engine: AsyncEngine,
        wall: Callable[[], float] = time.time,
        quarantine_days: Mapping[str, int] | None = None,
    ) -> None:
        self._engine = engine
        self._wall = wall
        self._quarantine_days = quarantine_days or {}

    def times(self) -> Times:
        return Times(now=self._wall(), quarantine_days=self._quarantine_days)

    async def read(self) -> Inventory:
        async with reading(self._engine) as connection:
            return await _read(connection)

    async def change(self, decide: Decide, *, commit: bool, author: Author = NOBODY) -> ChangeSet:
        async with writing(self._engine, commit=commit) as connection:
            await lock_revision(connection)
            before = await _read(connection)
            after = decide(before.copy())
            changes = differences(before, after)
            if not changes:
                return changes
            now = self._wall()
            entries = entries_of(before, after, changes, author, now)
            revision = await _write(connection, before, after, changes, entries, now)
        return replace(changes, revision=revision if commit else 0)

    async def edit(
        self, keys: Keys, draft: Draft, judge: Judge, *, commit: bool, author: Author = NOBODY
    ) -> Edited:
        async def matching(kind: str, field: str, values: Collection[str]) -> Sequence[Item]:
            table = _TABLES[kind]
            return await (table.matching(connection, field, values) if field else table.all(connection))

        async with writing(self._engine, commit=commit) as connection:
            await lock_revision(connection)
            held = await _some(connection, keys)
            # Judging thousands of objects takes longer than the loop may be held.
            aside = len(keys) > _MANY
            desired = await asyncio.to_thread(draft, held) if aside else draft(held)
            before = await Around(matching, held, desired.inventory).gather()
            times = self.times()

            def decide() -> tuple[Inventory, ChangeSet, list[AuditEntry]]:
                after = merged(before, keys, desired, times, author)
                judge(after, desired)
                changes = differences(before, after)
                return after, changes, entries_of(before, after, changes, author, times.now)

            after, changes, entries = await asyncio.to_thread(decide) if aside else decide()
            if not changes:
                return Edited(changes, before, after)
            revision = await _write(connection, before, after, changes, entries, times.now)
        return Edited(replace(changes, revision=revision if commit else 0), before, after)

    async def page(
        self, kind: str, limit: int, *, after: str = "", where: Mapping[str, str | None]
    ) -> Sequence[Any]:
        """At most ``limit`` objects of a kind beyond a key, in the order of keys."""
        async with reading(self._engine) as connection:
            return await _TABLES[kind].page(connection, limit, after=after, where=where)


async def _some(connection: AsyncConnection, keys: Keys) -> Inventory:
    by_kind: dict[str, list[str]] = {}
    for kind, key in keys:
        by_kind.setdefault(kind, []).append(key)
    found = Inventory()
    for kind, wanted in by_kind.items():
        for item in (await _TABLES[kind].some(connection, wanted)).values():
            found.put(item)
    return found


async def _read(connection: AsyncConnection) -> Inventory:
    return Inventory(
        accounts={item.ref: item for item in await ACCOUNTS.all(connection)},
        users={item.ref: item for item in await USERS.all(connection)},
        devices={item.ref: item for item in await DEVICES.all(connection)},
        numbers={item.e164: item for item in await NUMBERS.all(connection)},
        greetings={item.number: item for item in await GREETINGS.all(connection)},
        trunks={item.ref: item for item in await TRUNKS.all(connection)},
        gateway_numbers={item.e164: item for item in await GATEWAY_NUMBERS.all(connection)},
        rates={item.ref: item for item in await RATES.all(connection)},
        packages={item.ref: item for item in await PACKAGES.all(connection)},
    )


async def _write(
    connection: AsyncConnection,
    before: Inventory,
    after: Inventory,
    changes: ChangeSet,
    entries: Sequence[AuditEntry],
    now: float,
) -> int:
    """Write in the order that foreign keys and unique columns ask for."""

    def objects(selected: Sequence[Change], kind: str) -> list[Any]:
        there = after.of(kind)
        return [there[change.key] for change in selected if change.kind == kind]

    def removed(kind: str) -> list[str]:
        return [change.key for change in changes.removed if change.kind == kind]

    for kind in ("account", "user"):
        await _TABLES[kind].insert(connection, objects(changes.created, kind))
        await _TABLES[kind].update(connection, objects(changes.changed, kind))
    for kind in ("device", "number", "greeting", "trunk", "gateway_number", "rate", "package"):
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
    kept = await forget_people(connection, removed("user"), removed("account"))
    if kept:
        keys.setdefault("number", []).extend(each for each in kept if each not in keys.get("number", ()))
    await record_events(connection, after.events)
    ended = [
        token
        for scope, subjects in handed_over(before, after, changes).items()
        for token in await revoke_of(connection, scope, subjects, now)
    ]
    if ended:
        keys[TOKEN] = ended
    await record(connection, entries)
    return await record_changes(connection, keys)
