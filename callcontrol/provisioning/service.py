"""Apply and export: the two things that can be done with the inventory as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from callcontrol.provisioning.changes import ChangeSet, differences, target
from callcontrol.provisioning.documents import Document, Problem, ProvisioningError
from callcontrol.provisioning.export import to_toml
from callcontrol.provisioning.inventory import Inventory
from callcontrol.provisioning.objects import Desired, read_documents
from callcontrol.provisioning.rules import Rules
from numbering.models import PlanTable

Decide = Callable[[Inventory], Inventory]


class ProvisioningStore(Protocol):
    """Where the inventory is kept."""

    async def read(self) -> Inventory:
        """The whole inventory at one moment."""
        ...

    async def change(self, decide: Decide, *, commit: bool) -> ChangeSet:
        """Replace the inventory by what ``decide`` makes of it, as one transaction against every other
        writer.

        What ``decide`` raises ends the transaction and comes out.  Nothing is written without ``commit``.
        """
        ...


class MemoryProvisioningStore:
    """`ProvisioningStore` of a test or a check: an inventory in memory."""

    def __init__(self) -> None:
        self._inventory = Inventory()
        self._revision = 0

    async def read(self) -> Inventory:
        return self._inventory.copy()

    async def change(self, decide: Decide, *, commit: bool) -> ChangeSet:
        after = decide(self._inventory.copy())
        changes = differences(self._inventory, after)
        if not commit or not changes:
            return changes
        self._inventory = after.copy()
        self._revision += 1
        return replace(changes, revision=self._revision)


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
    prune: bool = False,
    dry_run: bool = False,
) -> ChangeSet:
    """Bring the inventory to what the documents say; all or nothing.

    With ``prune`` what they do not name is removed.  A dry run finds out everything and writes nothing.
    Applying the same documents again changes nothing.  Raises `ProvisioningError`,
    `config.database.DatabaseUnavailable`.
    """
    desired = check(documents, plans)

    def decide(current: Inventory) -> Inventory:
        after = target(current, desired, prune=prune)
        problems = Rules(after, desired, plans).check()
        if problems:
            raise ProvisioningError(problems)
        return after

    return await store.change(decide, commit=not dry_run)


async def export(store: ProvisioningStore, *, secrets: bool = False) -> str:
    """The inventory as a document that `apply` accepts; passwords only with ``secrets``.

    Raises `config.database.DatabaseUnavailable`.
    """
    return to_toml(await store.read(), secrets=secrets)
