"""The SQL side of the number inventory: one transaction of a change, with its events and its revision.

A `Work` holds the lock of the directory's revision from its first statement on, so changes follow one another,
whichever node makes them; each writes a number only in the version that it has read.  A `Look` sees one moment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from config.database import reading, writing
from numbering.lifecycle import NumberEvent
from numbering.message import Message
from numbering.models import Account, CloudNumber, Device, NumberState, User
from numbering.porting import OPEN, Port, PortState
from numbering.refusal import Fault, Refused
from numbering.store import (
    ACCOUNTS,
    DEVICES,
    GREETINGS,
    NUMBERS,
    PAGE,
    USERS,
    lock_revision,
    record_changes,
)
from numbering.store_rows import dump_port, load_port
from numbering.store_traces import load_event, record_events, without_number
from numbering.tables import (
    DeviceRow,
    NumberEventRow,
    NumberMessageRow,
    NumberRow,
    PortRow,
    RioReferenceRow,
    UserRow,
)

_OPEN: Final = tuple(state.value for state in OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a search looks for, as far as the database can tell."""

    states: Collection[NumberState]
    prefixes: Collection[str] = ()
    """E.164 prefixes, one of which the number has; empty: any."""
    like: str = ""
    category: str = ""
    kept_for: str = ""
    kept_account: str = ""
    """With either of these two: only numbers kept for that user, or that company."""


class Look:
    """Reading within one moment."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def number(self, e164: str) -> CloudNumber | None:
        return (await NUMBERS.some(self._connection, [e164])).get(e164)

    async def numbers(self, e164s: Collection[str]) -> Mapping[str, CloudNumber]:
        return await NUMBERS.some(self._connection, e164s)

    async def numbers_of(self, user: str) -> Sequence[CloudNumber]:
        """Numbers that a user holds."""
        return await NUMBERS.matching(self._connection, "user", [user])

    async def numbers_of_company(self, account: str) -> Sequence[CloudNumber]:
        """Numbers that a company holds for its Greetings."""
        return await NUMBERS.matching(self._connection, "account", [account])

    async def promised(self, user: str) -> int:
        """Numbers that a user has reserved or ports in: they will be held, and count against the plan."""
        states = (NumberState.RESERVED.value, NumberState.PORTING_IN.value)
        query = select(func.count()).where(NumberRow.kept_for == user, NumberRow.state.in_(states))
        return int((await self._connection.execute(query)).scalar_one())

    async def user(self, ref: str) -> User | None:
        return (await USERS.some(self._connection, [ref])).get(ref)

    async def users_of(self, account: str) -> Sequence[User]:
        return await USERS.matching(self._connection, "account", [account])

    async def account(self, ref: str) -> Account | None:
        return (await ACCOUNTS.some(self._connection, [ref])).get(ref)

    async def device(self, ref: str) -> Device | None:
        return (await DEVICES.some(self._connection, [ref])).get(ref)

    async def devices_of(self, user: str) -> Sequence[Device]:
        return await DEVICES.matching(self._connection, "user", [user])

    async def is_sim(self, e164: str) -> bool:
        """Whether a number is the SIM of a device of ours."""
        query = select(DeviceRow.ref).where(DeviceRow.sim == e164).limit(1)
        return (await self._connection.execute(query)).first() is not None

    async def find(self, wanted: Wanted, after: str, limit: int) -> Sequence[CloudNumber]:
        """Numbers beyond ``after``, ascending."""
        query = select(*NumberRow.__table__.columns).where(NumberRow.e164 > after, *_conditions(wanted))
        rows = (await self._connection.execute(query.order_by(NumberRow.e164).limit(limit))).all()
        return [NUMBERS.load(row) for row in rows]

    async def due(self, now: float, limit: int) -> Sequence[CloudNumber]:
        """Numbers whose time has come, those that wait longest first."""
        resting = (NumberState.RESERVED.value, NumberState.QUARANTINED.value)
        timed = and_(NumberRow.state.in_(resting), NumberRow.until > 0, NumberRow.until <= now)
        lapsed = and_(
            NumberRow.state == NumberState.ACTIVE.value, NumberRow.expires_at > 0, NumberRow.expires_at <= now
        )
        found: list[CloudNumber] = []
        for condition, column in ((timed, NumberRow.until), (lapsed, NumberRow.expires_at)):
            query = select(*NumberRow.__table__.columns).where(condition).order_by(column).limit(limit)
            found += [NUMBERS.load(row) for row in (await self._connection.execute(query)).all()]
        return found[:limit]

    async def due_ports(self, now: float, limit: int) -> Sequence[Port]:
        """Open ports whose time has come."""
        late = or_(
            PortRow.port_at <= now,
            and_(
                PortRow.state.in_((PortState.REQUESTED.value, PortState.AWAITING_CONFIRMATION.value)),
                PortRow.confirm_by > 0,
                PortRow.confirm_by <= now,
            ),
        )
        query = select(PortRow.__table__).where(PortRow.state.in_(_OPEN), late).order_by(PortRow.port_at)
        return [load_port(row) for row in (await self._connection.execute(query.limit(limit))).all()]

    async def port(self, ref: str) -> Port | None:
        query = select(PortRow.__table__).where(PortRow.id == ref)
        row = (await self._connection.execute(query)).first()
        return None if row is None else load_port(row)

    async def ports(
        self,
        *,
        e164: str = "",
        direction: str = "",
        only_open: bool = False,
        after: str = "",
        limit: int = PAGE,
    ) -> Sequence[Port]:
        """Ports beyond an id, in the order of ids, which is that of time."""
        query = select(PortRow.__table__).where(PortRow.id > after)
        if e164:
            query = query.where(PortRow.e164 == e164)
        if direction:
            query = query.where(PortRow.direction == direction)
        if only_open:
            query = query.where(PortRow.state.in_(_OPEN))
        rows = (await self._connection.execute(query.order_by(PortRow.id).limit(limit))).all()
        return [load_port(row) for row in rows]

    async def history(self, e164: str, limit: int, before: int = 0) -> Sequence[tuple[int, NumberEvent]]:
        """What happened to a number, the latest first, with the ids by which pages are turned."""
        query = select(NumberEventRow.__table__).where(NumberEventRow.e164 == e164)
        if before:
            query = query.where(NumberEventRow.id < before)
        rows = (await self._connection.execute(query.order_by(NumberEventRow.id.desc()).limit(limit))).all()
        return [(row.id, load_event(row)) for row in rows]

    async def messages(self, *, waiting: bool, limit: int, after: int = 0) -> Sequence[Message]:
        """Messages to lines, the oldest first; ``waiting``: those that nobody has sent."""
        query = select(NumberMessageRow.__table__).where(NumberMessageRow.id > after)
        query = query.order_by(NumberMessageRow.id).limit(limit)
        if waiting:
            query = query.where(NumberMessageRow.sent_at == 0)
        return [Message(**row._mapping) for row in (await self._connection.execute(query)).all()]

    async def message(self, ref: int) -> Message | None:
        query = select(NumberMessageRow.__table__).where(NumberMessageRow.id == ref)
        row = (await self._connection.execute(query)).first()
        return None if row is None else Message(**row._mapping)

    async def is_waiting(self, e164: str, kind: str) -> bool:
        """Whether a message of a kind to a line waits."""
        waiting = and_(
            NumberMessageRow.e164 == e164, NumberMessageRow.kind == kind, NumberMessageRow.sent_at == 0
        )
        return (
            await self._connection.execute(select(NumberMessageRow.id).where(waiting))
        ).first() is not None

    async def due_messages(self, now: float, limit: int) -> Sequence[Message]:
        """Messages that a sender is to carry now, the oldest first."""
        due = and_(
            NumberMessageRow.sent_at == 0,
            NumberMessageRow.given_up.is_(False),
            NumberMessageRow.next_at <= now,
        )
        query = select(NumberMessageRow.__table__).where(due).order_by(NumberMessageRow.id).limit(limit)
        return [Message(**row._mapping) for row in (await self._connection.execute(query)).all()]

    async def waiting_messages(self, *, given_up: bool = False) -> int:
        """How many messages wait; of those, how many no sender tries any more."""
        query = select(func.count()).where(NumberMessageRow.sent_at == 0)
        if given_up:
            query = query.where(NumberMessageRow.given_up.is_(True))
        return int((await self._connection.execute(query)).scalar_one())

    async def rio_reference(self, number: CloudNumber) -> str:
        """The contract reference of the number's present holding; empty: none yet."""
        query = select(RioReferenceRow.reference).where(
            RioReferenceRow.e164 == number.e164,
            RioReferenceRow.user == (number.user or number.kept_for),
        )
        return str((await self._connection.execute(query)).scalar() or "")


class Work(Look):
    """A change: what is written here is seen by calls within a second, or not at all."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection)
        self.touched: dict[str, set[str]] = {}

    def _touch(self, kind: str, key: str) -> None:
        self.touched.setdefault(kind, set()).add(key)

    async def write(self, before: CloudNumber | None, after: CloudNumber | None) -> None:
        """One number in place of what was read.  Raises Refused when somebody else has changed it since."""
        if before is None:
            if after is None:
                raise TypeError("nothing to write")
            if await self.number(after.e164) is not None:
                raise Refused(Fault.STALE, f"{after.e164} has come into the inventory meanwhile")
            await NUMBERS.insert(self._connection, [after])
            self._touch(NUMBERS.kind, after.e164)
            return
        seen = and_(NumberRow.e164 == before.e164, NumberRow.version == before.version)
        if after is None:
            done = await self._connection.execute(delete(NumberRow).where(seen))
        else:
            values = {key: value for key, value in NUMBERS.dump(after).items() if key != "e164"}
            done = await self._connection.execute(
                update(NumberRow.__table__).where(seen).values(values)  # type: ignore[arg-type]
            )
        if done.rowcount != 1:
            raise Refused(Fault.STALE, f"{before.e164} has been changed meanwhile")
        self._touch(NUMBERS.kind, before.e164)
        if before.user and (after is None or after.user != before.user):
            await self._forget(before.user, before.e164)
        if before.account and (after is None or after.account != before.account):
            # The Greeting is nothing without its number.
            await GREETINGS.delete(self._connection, [before.e164])
            self._touch(GREETINGS.kind, before.e164)

    async def _forget(self, ref: str, e164: str) -> None:
        """A number that a user holds no longer is nobody's default, and linked to none of his contacts."""
        user = await self.user(ref)
        if user is not None and (after := without_number(user, e164)) is not user:
            await USERS.update(self._connection, [after])
            self._touch(USERS.kind, ref)

    async def tell(self, events: Iterable[NumberEvent]) -> None:
        """Record what happened."""
        await record_events(self._connection, events)

    async def set_suspended(self, *, user: str = "", account: str = "", suspended: bool) -> None:
        """The switch of a whole user, or a whole account (NUM-13)."""
        if user:
            known = await self.user(user)
            if known is not None and known.suspended != suspended:
                statement = update(UserRow).where(UserRow.ref == user).values(suspended=suspended)
                await self._connection.execute(statement)
                self._touch(USERS.kind, user)
            return
        company = await self.account(account)
        if company is not None and company.suspended != suspended:
            table = ACCOUNTS.table
            await self._connection.execute(
                update(table).where(table.c.ref == account).values(suspended=suspended)
            )
            self._touch(ACCOUNTS.kind, account)

    async def sim_seen(self, device: str, country: str, at: float) -> None:
        """A SIM has shown itself (NUM-08)."""
        await self._connection.execute(
            update(DeviceRow).where(DeviceRow.ref == device).values(sim_country=country, sim_seen_at=at)
        )
        self._touch(DEVICES.kind, device)

    async def add_port(self, port: Port) -> None:
        table: Any = PortRow.__table__
        await self._connection.execute(insert(table).values(dump_port(port)))

    async def write_port(self, before: Port, after: Port) -> None:
        """One port in place of what was read.  Raises Refused when somebody else has changed it since."""
        seen = and_(PortRow.id == before.id, PortRow.version == before.version)
        done = await self._connection.execute(
            update(PortRow.__table__).where(seen).values(dump_port(after))  # type: ignore[arg-type]
        )
        if done.rowcount != 1:
            raise Refused(Fault.STALE, f"port {before.id} has been changed meanwhile")

    async def add_message(self, message: Message) -> None:
        await self._connection.execute(
            insert(NumberMessageRow).values(
                e164=message.e164,
                kind=message.kind,
                body=message.body,
                port=message.port,
                created_at=message.created_at,
                sent_at=message.sent_at,
                attempts=message.attempts,
                next_at=message.next_at,
                failure=message.failure,
                given_up=message.given_up,
            )
        )

    async def message_failed(
        self, ref: int, *, attempts: int, next_at: float, failure: str, given_up: bool
    ) -> None:
        """A message was not taken; one that was sent meanwhile stays as it is."""
        waiting = and_(NumberMessageRow.id == ref, NumberMessageRow.sent_at == 0)
        await self._connection.execute(
            update(NumberMessageRow)
            .where(waiting)
            .values(attempts=attempts, next_at=next_at, failure=failure, given_up=given_up)
        )

    async def message_sent(self, ref: int, at: float) -> None:
        await self._connection.execute(
            update(NumberMessageRow).where(NumberMessageRow.id == ref).values(sent_at=at)
        )

    async def drop_messages(self, port: str) -> None:
        """What waits to be asked about a port that is over is not asked any more."""
        await self._connection.execute(
            delete(NumberMessageRow).where(NumberMessageRow.port == port, NumberMessageRow.sent_at == 0)
        )

    async def set_rio_reference(self, number: CloudNumber, reference: str) -> None:
        await self._connection.execute(delete(RioReferenceRow).where(RioReferenceRow.e164 == number.e164))
        await self._connection.execute(
            insert(RioReferenceRow).values(
                e164=number.e164,
                reference=reference,
                user=number.user or number.kept_for,
                held_since=number.held_since,
            )
        )

    async def drop_rio_reference(self, e164: str) -> None:
        """Another holding gets another reference."""
        await self._connection.execute(delete(RioReferenceRow).where(RioReferenceRow.e164 == e164))


class InventoryStore:
    """Opens transactions; both raise `config.database.DatabaseUnavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def look(self) -> AsyncIterator[Look]:
        async with reading(self._engine) as connection:
            yield Look(connection)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        """A change; what the block raises undoes it."""
        async with writing(self._engine) as connection:
            await lock_revision(connection)
            work = Work(connection)
            yield work
            if work.touched:
                await record_changes(connection, work.touched)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [NumberRow.state.in_([state.value for state in wanted.states])]
    if wanted.prefixes:
        found.append(or_(*(NumberRow.e164.startswith(prefix) for prefix in sorted(wanted.prefixes))))
    if wanted.like:
        found.append(NumberRow.e164.like(wanted.like))
    if wanted.category:
        found.append(NumberRow.category == wanted.category)
    if wanted.kept_for or wanted.kept_account:
        mine = [NumberRow.kept_for == wanted.kept_for] if wanted.kept_for else []
        ours = [NumberRow.kept_account == wanted.kept_account] if wanted.kept_account else []
        found.append(or_(*mine, *ours))
    return found
