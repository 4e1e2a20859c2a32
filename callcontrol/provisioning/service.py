"""Apply and export: the two things that can be done with the inventory as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from callcontrol.access.audit import Author
from callcontrol.provisioning.around import Around
from callcontrol.provisioning.changes import ChangeSet, differences, target
from callcontrol.provisioning.documents import Document, Problem, ProvisioningError
from callcontrol.provisioning.export import to_toml
from callcontrol.provisioning.inventory import Inventory, Item
from callcontrol.provisioning.number_life import Times, settle
from callcontrol.provisioning.objects import Desired, read_documents
from callcontrol.provisioning.rules import Rules
from callcontrol.provisioning.terms import STANDARD_TERMS, Terms, warnings_of
from numbering.models import PlanTable

Decide = Callable[[Inventory], Inventory]
Keys = Sequence[tuple[str, str]]
"""Objects by kind and key."""
Draft = Callable[[Inventory], Desired]
"""From objects as they are to what they are to be; those that it leaves out are removed."""
Judge = Callable[[Inventory, Desired], None]
"""Raises what is wrong with an inventory as it would be."""

NOBODY: Final = Author(actor="")
"""Author of changes that are not recorded: those of a test or a check."""


@dataclass(frozen=True, slots=True)
class Edited:
    """What a change of some objects did."""

    changes: ChangeSet
    before: Inventory
    """Those objects and what surrounds them."""
    after: Inventory


class ProvisioningStore(Protocol):
    """Where the inventory is kept."""

    def times(self) -> Times:
        """The time by which numbers live, and how long they rest."""
        ...

    async def read(self) -> Inventory:
        """The whole inventory at one moment."""
        ...

    async def change(self, decide: Decide, *, commit: bool, author: Author = NOBODY) -> ChangeSet:
        """Replace the inventory by what ``decide`` makes of it, as one transaction against every other
        writer.

        What ``decide`` raises ends the transaction and comes out.  Nothing is written without ``commit``.
        """
        ...

    async def edit(
        self, keys: Keys, draft: Draft, judge: Judge, *, commit: bool, author: Author = NOBODY
    ) -> Edited:
        """Change some objects, reading these and what surrounds them instead of the whole inventory.

        One transaction, as `change`.
        """
        ...


class MemoryProvisioningStore:
    """`ProvisioningStore` of a test or a check: an inventory in memory."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._inventory = Inventory()
        self._revision = 0
        self._wall = wall

    def times(self) -> Times:
        return Times(now=self._wall())

    async def read(self) -> Inventory:
        return self._inventory.copy()

    async def change(self, decide: Decide, *, commit: bool, author: Author = NOBODY) -> ChangeSet:
        after = decide(self._inventory.copy())
        changes = differences(self._inventory, after)
        if not commit or not changes:
            return changes
        self._inventory = after.copy()
        self._revision += 1
        return replace(changes, revision=self._revision)

    async def edit(
        self, keys: Keys, draft: Draft, judge: Judge, *, commit: bool, author: Author = NOBODY
    ) -> Edited:
        held = Inventory()
        for kind, key in keys:
            if (item := self._inventory.of(kind).get(key)) is not None:
                held.put(item)
        desired = draft(held)
        before = await Around(self._matching, held, desired.inventory).gather()
        after = merged(before, keys, desired, self.times(), author)
        judge(after, desired)
        changes = differences(before, after)
        if commit and changes:
            for change in (*changes.created, *changes.changed, *changes.removed):
                self._inventory.of(change.kind).pop(change.key, None)
                if (item := after.of(change.kind).get(change.key)) is not None:
                    self._inventory.put(item)
            self._revision += 1
            changes = replace(changes, revision=self._revision)
        return Edited(changes, before, after)

    async def _matching(self, kind: str, field: str, values: Collection[str]) -> Sequence[Item]:
        items = self._inventory.of(kind).values()
        return [item for item in items if not field or getattr(item, field) in values]


def merged(before: Inventory, keys: Keys, desired: Desired, times: Times, author: Author) -> Inventory:
    """A part of the inventory after a change: objects of ``keys`` are replaced, or gone if nothing desires them.

    Raises `ProvisioningError` for what the life of a number does not allow.
    """
    after = target(before, desired, prune=False)
    for kind, key in keys:
        if key not in desired.inventory.of(kind):
            after.of(kind).pop(key, None)
    problems = settle(before, after, desired, times, author.actor)
    if problems:
        raise ProvisioningError(problems)
    return after


def check(documents: Sequence[Document], plans: PlanTable) -> Desired:
    """Read documents and judge them by themselves, without a database.

    References to objects that only a database has are not judged.  Raises `ProvisioningError`.
    """
    problems: list[Problem] = []
    desired = read_documents(documents, plans, problems)
    if problems:
        raise ProvisioningError(problems)
    return desired


async def apply(
    documents: Sequence[Document],
    store: ProvisioningStore,
    *,
    plans: PlanTable,
    terms: Terms = STANDARD_TERMS,
    prune: bool = False,
    dry_run: bool = False,
    author: Author = NOBODY,
    seen: Callable[[Inventory, Inventory], None] = lambda before, after: None,
) -> ChangeSet:
    """Bring the inventory to what the documents say; all or nothing.

    ``seen`` is shown the inventory as it was and as it is to be, before anything is written.
    With ``prune`` what they do not name is removed; numbers that somebody holds are given up, and rest.
    A dry run finds out everything and writes nothing.
    Applying the same documents again changes nothing.  Raises `ProvisioningError`,
    `config.database.DatabaseUnavailable`.
    """
    desired = check(documents, plans)

    def decide(current: Inventory) -> Inventory:
        after = target(current, desired, prune=prune)
        problems = settle(current, after, desired, store.times(), author.actor)
        problems += Rules(after, desired, plans, terms).check()
        if problems:
            raise ProvisioningError(problems)
        seen(current, after)
        return after

    changes = await store.change(decide, commit=not dry_run, author=author)
    return replace(changes, warnings=told_of(desired, terms))


def told_of(desired: Desired, terms: Terms) -> tuple[str, ...]:
    """Warnings about the objects that documents write, with their places."""
    found: list[str] = []
    for (kind, key), entry in desired.places.items():
        item = desired.inventory.of(kind).get(key)
        found.extend(str(entry.problem(text)) for text in warnings_of(item, terms))
    return tuple(found)


async def export(store: ProvisioningStore, *, secrets: bool = False) -> str:
    """The inventory as a document that `apply` accepts; passwords only with ``secrets``.

    Raises `config.database.DatabaseUnavailable`.
    """
    return to_toml(await store.read(), secrets=secrets)
