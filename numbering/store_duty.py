"""Work that one node does for all: a row with an owner and an expiry, taken, renewed and given up in SQL.

The row keeps nodes from doing the same at the same time; it is not what makes the work right.  Each piece of work
looks again, within its own transaction, whether it is still to be done, so a node that believes too long in its
duty (stopped in the middle, a clock that is wrong) does nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from config.database import reading, writing
from numbering.tables import DutyRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Who has a duty, and until when (unix time)."""

    owner: str
    expires_at: float
    term: int
    """Grows with each change of owner."""


class SqlDuty:
    """One duty of one candidate.  All methods raise `config.database.DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine, name: str, owner: str, seconds: float) -> None:
        """``owner`` differs from every other process, also from an earlier one of the same node."""
        self._engine = engine
        self._name = name
        self._owner = owner
        self._seconds = seconds

    async def hold(self, now: float) -> bool:
        """Take the duty, or keep it for another while; False: another candidate has it."""
        free = or_(DutyRow.owner == self._owner, DutyRow.expires_at <= now)
        try:
            async with writing(self._engine) as connection:
                row = (
                    await connection.execute(
                        select(DutyRow.owner, DutyRow.term).where(DutyRow.name == self._name)
                    )
                ).first()
                until = now + self._seconds
                if row is None:
                    await connection.execute(
                        insert(DutyRow).values(name=self._name, owner=self._owner, expires_at=until, term=1)
                    )
                    return True
                # Who has read the same row at the same time and was quicker has changed its term.
                seen = and_(DutyRow.name == self._name, DutyRow.term == row.term, free)
                term = row.term if row.owner == self._owner else row.term + 1
                done = await connection.execute(
                    update(DutyRow).where(seen).values(owner=self._owner, expires_at=until, term=term)
                )
                return bool(done.rowcount == 1)
        except IntegrityError:
            return False

    async def give_up(self) -> None:
        """Let another candidate have it at once; does nothing for who has not got it."""
        async with writing(self._engine) as connection:
            mine = and_(DutyRow.name == self._name, DutyRow.owner == self._owner)
            await connection.execute(update(DutyRow).where(mine).values(expires_at=0.0))

    async def who(self) -> Duty | None:
        """Who has it, or had it last; None: nobody ever."""
        async with reading(self._engine) as connection:
            query = select(DutyRow.owner, DutyRow.expires_at, DutyRow.term).where(DutyRow.name == self._name)
            row = (await connection.execute(query)).first()
        return None if row is None else Duty(owner=row.owner, expires_at=row.expires_at, term=row.term)
