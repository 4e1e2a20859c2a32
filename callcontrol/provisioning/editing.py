"""Creating, changing and removing single objects, and many at once, by the rules that documents are judged by.

What comes over HTTP is read by the same readers and judged by the same rules as a document, so that there is
one validation, and what one way refuses the other refuses too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from callcontrol.access.audit import Author
from callcontrol.provisioning.documents import Document, Problem, ProvisioningError
from callcontrol.provisioning.export import values_of
from callcontrol.provisioning.inventory import Inventory, Item
from callcontrol.provisioning.objects import Desired
from callcontrol.provisioning.rules import Rules
from callcontrol.provisioning.service import Edited, Judge, ProvisioningStore, check, told_of
from callcontrol.provisioning.terms import STANDARD_TERMS, Terms
from numbering.models import PlanTable

Change = Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]
"""A patch, or what makes one of the object as it is within the transaction."""
Guard = Callable[[Item], None]
"""Is shown the object as it is within the transaction, and raises what speaks against changing it."""

_NAME: Final = "request"
# Read back from an object they would say what only a change may say.
_ONLY_WHEN_WRITTEN: Final = frozenset({"sim_verified"})
_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "account": {"credit": "0"},
    "user": {"contacts": {}, "block": [], "spam": [], "call_waiting": False},
    "device": {"answer": "voip"},
}
"""Defaults of what a document leaves as it is when it does not speak of it."""


class NotThere(Exception):
    """There is no such object."""


class AlreadyThere(Exception):
    """There is such an object already."""


class EditRefused(ProvisioningError):
    """The rules refuse it; ``after`` is the part of the inventory that they looked at."""

    def __init__(self, problems: Sequence[Problem], after: Inventory) -> None:
        super().__init__(problems)
        self.after = after


class Editor:
    """Changes of a store.  Methods raise `ProvisioningError` and `config.database.DatabaseUnavailable`."""

    def __init__(self, store: ProvisioningStore, plans: PlanTable, terms: Terms = STANDARD_TERMS) -> None:
        self._store = store
        self._plans = plans
        self.terms = terms

    async def create(self, kind: str, values: Mapping[str, Any], author: Author) -> Edited:
        """Make one object.  Raises `AlreadyThere`."""
        desired = self._read(kind, values)
        keys = list(desired.places)

        def draft(held: Inventory) -> Desired:
            if any(key in held.of(kind) for kind, key in keys):
                raise AlreadyThere
            return desired

        return await self._store.edit(keys, draft, self._judge(), commit=True, author=author)

    async def change(self, kind: str, key: str, change: Change, guard: Guard, author: Author) -> Edited:
        """Put a patch over one object (RFC 7396: a key that is null goes back to its default).

        Raises `NotThere`, and what ``guard`` raises.
        """

        def draft(held: Inventory) -> Desired:
            item = held.of(kind).get(key)
            if item is None:
                raise NotThere
            guard(item)
            patch = change(item) if callable(change) else change
            values = {
                name: value for name, value in values_of(item).items() if name not in _ONLY_WHEN_WRITTEN
            }
            merged = merge_patch(values, patch)
            for name, default in _DEFAULTS.get(kind, {}).items():
                if name in patch and patch[name] is None:
                    merged[name] = default
            return self._read(kind, merged)

        return await self._store.edit([(kind, key)], draft, self._judge(), commit=True, author=author)

    async def replace(
        self, kind: str, key: str, values: Mapping[str, Any], guard: Guard, author: Author
    ) -> Edited:
        """Put another object with the same key in the place of one; what it does not say is as by default.

        Raises `NotThere`, and what ``guard`` raises.
        """
        desired = self._read(kind, values)

        def draft(held: Inventory) -> Desired:
            item = held.of(kind).get(key)
            if item is None:
                raise NotThere
            guard(item)
            return desired

        return await self._store.edit([(kind, key)], draft, self._judge(), commit=True, author=author)

    async def remove(self, kind: str, key: str, guard: Guard, author: Author) -> Edited:
        """Remove one object that nothing else names.  Raises `NotThere`, and what ``guard`` raises."""

        def draft(held: Inventory) -> Desired:
            item = held.of(kind).get(key)
            if item is None:
                raise NotThere
            guard(item)
            return Desired(Inventory(), {}, frozenset())

        return await self._store.edit([(kind, key)], draft, self._judge(), commit=True, author=author)

    async def put(self, values: Mapping[str, Any], author: Author, *, dry_run: bool) -> Edited:
        """Bring all objects of a document to what it says; all or nothing."""
        return await self.put_read(
            check([Document(_NAME, values=values)], self._plans), author, dry_run=dry_run
        )

    async def put_read(self, desired: Desired, author: Author, *, dry_run: bool) -> Edited:
        """As `put`, with a document that has been read."""
        edited = await self._store.edit(
            list(desired.places), lambda held: desired, self._judge(), commit=not dry_run, author=author
        )
        return replace(edited, changes=replace(edited.changes, warnings=told_of(desired, self.terms)))

    def read(self, values: Mapping[str, Any]) -> Desired:
        """Read a document; it may be called beside the event loop."""
        return check([Document(_NAME, values=values)], self._plans)

    def _read(self, kind: str, values: Mapping[str, Any]) -> Desired:
        return check([Document(_NAME, values={kind: [dict(values)]})], self._plans)

    def _judge(self) -> Judge:
        def judge(after: Inventory, desired: Desired) -> None:
            problems = Rules(after, desired, self._plans, self.terms).check()
            if problems:
                raise EditRefused(problems, after)

        return judge


def merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Merge Patch (RFC 7396 section 2)."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            inner = result.get(name)
            result[name] = merge_patch(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[name] = value
    return result
