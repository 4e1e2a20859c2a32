"""What a change leaves behind besides itself: lines of the record, and tokens that open nothing any more.  Pure."""

from __future__ import annotations

from callcontrol.access.audit import AuditEntry, Author
from callcontrol.access.tokens import Scope
from callcontrol.provisioning.changes import Change, ChangeSet
from callcontrol.provisioning.inventory import Inventory
from numbering.models import Account, CloudNumber, Device, Greeting, User


def entries_of(
    before: Inventory, after: Inventory, changes: ChangeSet, author: Author, now: float
) -> list[AuditEntry]:
    """One line per object, with the account that it belongs to (that it belonged to, if it is gone).

    None for an author without a name: a test, a check.
    """
    if not author.actor:
        return []
    done = [
        *(("create", change, after) for change in changes.created),
        *(("change", change, after) for change in changes.changed),
        *(("remove", change, before) for change in changes.removed),
    ]
    return [
        AuditEntry(
            at=now,
            actor=author.actor,
            token=author.token,
            account=account_of(there, change.kind, change.key),
            action=action,
            kind=change.kind,
            key=change.key,
            detail="; ".join(map(str, change.fields)),
        )
        for action, change, there in done
    ]


def account_of(inventory: Inventory, kind: str, key: str) -> str:
    """Ref of the account that an object belongs to; empty for the platform's own."""
    item = inventory.of(kind).get(key)
    if isinstance(item, Account):
        return item.ref
    if isinstance(item, Greeting) or (isinstance(item, CloudNumber) and item.account):
        return item.account
    user = item if isinstance(item, User) else None
    if isinstance(item, Device | CloudNumber):
        user = inventory.users.get(item.user)
    return user.account if user is not None else ""


def handed_over(before: Inventory, after: Inventory, changes: ChangeSet) -> dict[Scope, list[str]]:
    """Subjects whose tokens end: those that are gone, and those that have changed hands.

    Who had them must not reach through an old token what belongs to somebody else now (NUM-05).
    """

    def named(selected: tuple[Change, ...], kind: str) -> list[str]:
        return [change.key for change in selected if change.kind == kind]

    moved_devices = [
        key for key in named(changes.changed, "device") if before.devices[key].user != after.devices[key].user
    ]
    moved_users = [
        key for key in named(changes.changed, "user") if before.users[key].account != after.users[key].account
    ]
    found = {
        Scope.MANAGER: named(changes.removed, "account"),
        Scope.USER: named(changes.removed, "user") + moved_users,
        Scope.DEVICE: named(changes.removed, "device") + moved_devices,
    }
    return {scope: subjects for scope, subjects in found.items() if subjects}
