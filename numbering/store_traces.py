"""What changes of numbers leave behind: their events; and what people who are gone leave.

For the inventory and for provisioning alike, within a transaction of the caller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from numbering.lifecycle import NumberEvent
from numbering.models import NumberState, User
from numbering.store import PAGE
from numbering.tables import NumberEventRow, NumberRow


def without_number(user: User, e164: str) -> User:
    """The user without anything that names the number; the same object when nothing does."""
    linked = {contact: number for contact, number in user.contacts.items() if number != e164}
    default = "" if user.default_number == e164 else user.default_number
    if default == user.default_number and len(linked) == len(user.contacts):
        return user
    return replace(user, default_number=default, contacts=linked)


async def forget_people(
    connection: AsyncConnection, users: Collection[str], accounts: Collection[str]
) -> list[str]:
    """Numbers that were kept for people who are gone are kept for nobody: another one may get the same ref.

    Returns the numbers.
    """
    gone: list[str] = []
    for column, refs in ((NumberRow.kept_for, users), (NumberRow.kept_account, accounts)):
        if not refs:
            continue
        found = (await connection.execute(select(NumberRow.e164).where(column.in_(sorted(refs))))).scalars()
        gone += found.all()
        await connection.execute(
            update(NumberRow)
            .where(column.in_(sorted(refs)))
            .values({column: None, NumberRow.version: NumberRow.version + 1})
        )
    return gone


async def record_events(connection: AsyncConnection, events: Iterable[NumberEvent]) -> None:
    """Write events of numbers, in their order."""
    rows = [
        {
            "e164": event.e164,
            "at_time": event.at,
            "action": event.action,
            "state_before": None if event.before is None else event.before.value,
            "state_after": None if event.after is None else event.after.value,
            "former": event.former,
            "user_ref": event.user,
            "actor": event.actor,
            "reason": event.reason,
        }
        for event in events
    ]
    for start in range(0, len(rows), PAGE):
        table: Any = NumberEventRow.__table__
        await connection.execute(insert(table), rows[start : start + PAGE])


def load_event(row: Row[Any]) -> NumberEvent:
    """An event as it was recorded."""
    return NumberEvent(
        e164=row.e164,
        at=row.at_time,
        action=row.action,
        before=None if row.state_before is None else NumberState(row.state_before),
        after=None if row.state_after is None else NumberState(row.state_after),
        former=row.former,
        user=row.user_ref,
        actor=row.actor,
        reason=row.reason,
    )
