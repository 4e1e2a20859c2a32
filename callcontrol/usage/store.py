"""What the call records say was used: the SQL side of reconciliation (OUT-08)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from callcontrol.cdr.tables import CallRow, LegRow
from config.database import reading

NUMBERS: Final = 200
"""Numbers of one page, so that the loop is not held for longer than some milliseconds."""
_KEYS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedRow:
    """Seconds that a number called another one with, in the hands of one user."""

    number: str
    user: str
    called: str
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePage:
    """Some numbers, at one moment of the database."""

    rows: tuple[UsedRow, ...]
    known: frozenset[str]
    """Of the keys that were asked about, those that are part of the rows."""
    last: str
    """Greatest number of the page; empty: there are no more."""


class SqlUsageRecords:
    """Sums over ``calls`` and ``call_legs``; raises `config.database.DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self,
        begins_ms: int,
        ends_ms: int,
        after: str,
        pending: Callable[[Collection[tuple[str, str]]], Awaitable[Sequence[str]]],
    ) -> UsagePage:
        """What the calls of a period have used, of the numbers that follow ``after``.

        ``pending`` is given the pairs of number and user, and returns the keys (``call_ref/leg``) that may be part
        of the sums or not; it is asked after the moment that the sums are of.
        """
        async with reading(self._engine) as connection:
            period = and_(CallRow.started_ms >= begins_ms, CallRow.started_ms < ends_ms)
            payer = case((LegRow.payer != "", LegRow.payer), else_=CallRow.number)
            payer_user = case((LegRow.payer != "", LegRow.payer_user), else_=CallRow.user)
            numbers = (
                select(payer)
                .select_from(CallRow)
                .join(LegRow, LegRow.call_ref == CallRow.call_ref)
                .where(payer > after, period, CallRow.answered_ms > 0)
                .distinct()
                .order_by(payer)
                .limit(NUMBERS)
            )
            found = list((await connection.execute(numbers)).scalars())
            if not found:
                return UsagePage(rows=(), known=frozenset(), last="")
            seconds = case(
                (LegRow.ended_ms > LegRow.answered_ms, (LegRow.ended_ms - LegRow.answered_ms + 999) // 1000),
                else_=0,
            )
            sums = (
                select(payer, payer_user, LegRow.number.label("called"), func.sum(seconds))
                .select_from(CallRow)
                .join(LegRow, LegRow.call_ref == CallRow.call_ref)
                .where(
                    payer.in_(found),
                    period,
                    LegRow.peer != "",
                    LegRow.device == "",
                    LegRow.answered_ms > 0,
                    LegRow.number.like("+%"),
                )
                .group_by(payer, payer_user, LegRow.number)
            )
            rows = tuple(
                UsedRow(number=number, user=user, called=called, seconds=int(total))
                for number, user, called, total in (await connection.execute(sums)).all()
            )
            keys = await pending({(row.number, row.user) for row in rows})
            known = await _known(connection, keys)
        return UsagePage(rows=rows, known=known, last=found[-1])


async def _known(connection: AsyncConnection, keys: Sequence[str]) -> frozenset[str]:
    """The keys whose legs the database has."""
    refs = sorted({key.rpartition("/")[0] for key in keys})
    there: set[str] = set()
    for start in range(0, len(refs), _KEYS):
        query = select(LegRow.call_ref, LegRow.leg).where(LegRow.call_ref.in_(refs[start : start + _KEYS]))
        there.update(f"{call_ref}/{leg}" for call_ref, leg in (await connection.execute(query)).all())
    return frozenset(there.intersection(keys))
