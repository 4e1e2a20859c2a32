"""Answers to requests with an Idempotency-Key, in SQL; and the stores of the API together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from callcontrol.access.store import SqlAuditStore, SqlTokenStore
from callcontrol.access.tables import AnsweredRow
from callcontrol.api.idempotency import Answer, Earlier, Superseded
from callcontrol.provisioning.store import SqlProvisioningStore
from config.database import along, writing


class SqlAnswerStore:
    """The table ``api_answers``; fits `callcontrol.api.idempotency.AnswerStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._insert = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert

    async def begin(
        self, token: str, key: str, request: str, now: float, running_s: float, kept_s: float
    ) -> Earlier | None:
        row = {
            "token": token,
            "key": key,
            "request": request,
            "started_at": now,
            "running_until": now + running_s,
            "written": False,
            "status": 0,
            "headers": {},
            "body": b"",
        }
        ours = (AnsweredRow.token == token) & (AnsweredRow.key == key)
        over = (AnsweredRow.started_at <= now - kept_s) | (
            (AnsweredRow.status == 0) & (AnsweredRow.running_until <= now) & ~AnsweredRow.written
        )
        async with writing(self._engine) as connection:
            await connection.execute(delete(AnsweredRow).where(ours & over))
            insert = self._insert(AnsweredRow).values(row).on_conflict_do_nothing()
            if (await connection.execute(insert)).rowcount:
                return None
            found = (await connection.execute(select(AnsweredRow.__table__).where(ours))).one()
        if not found.status:
            return Earlier(request=found.request, answer=None, is_lost=found.running_until <= now)
        answer = Answer(status=found.status, headers=dict(found.headers), body=found.body)
        return Earlier(request=found.request, answer=answer)

    @contextmanager
    def running(self, token: str, key: str, started_at: float) -> Iterator[None]:
        ours = (
            (AnsweredRow.token == token) & (AnsweredRow.key == key) & (AnsweredRow.started_at == started_at)
        )
        mark = update(AnsweredRow).where(ours & (AnsweredRow.status == 0)).values(written=True)

        async def also(connection: AsyncConnection) -> None:
            if not (await connection.execute(mark)).rowcount:
                raise Superseded

        with along(also):
            yield

    async def finish(self, token: str, key: str, answer: Answer) -> None:
        values = {"status": answer.status, "headers": answer.headers, "body": answer.body}
        ours = (AnsweredRow.token == token) & (AnsweredRow.key == key)
        async with writing(self._engine) as connection:
            await connection.execute(update(AnsweredRow).where(ours).values(values))

    async def release(self, token: str, key: str) -> None:
        ours = (AnsweredRow.token == token) & (AnsweredRow.key == key)
        open_ = ours & (AnsweredRow.status == 0)
        async with writing(self._engine) as connection:
            await connection.execute(delete(AnsweredRow).where(open_ & ~AnsweredRow.written))
            await connection.execute(update(AnsweredRow).where(open_).values(running_until=0.0))

    async def forget(self, before: float) -> int:
        """Remove what was answered before an instant; how many."""
        async with writing(self._engine) as connection:
            done = await connection.execute(delete(AnsweredRow).where(AnsweredRow.started_at < before))
        return int(done.rowcount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What the API keeps in the database."""

    provisioning: SqlProvisioningStore
    tokens: SqlTokenStore
    audit: SqlAuditStore
    answers: SqlAnswerStore


def stores_of(
    engine: AsyncEngine, wall: Callable[[], float], quarantine_days: Mapping[str, int] | None = None
) -> Stores:
    """The stores over one engine."""
    return Stores(
        provisioning=SqlProvisioningStore(engine, wall, quarantine_days),
        tokens=SqlTokenStore(engine),
        audit=SqlAuditStore(engine),
        answers=SqlAnswerStore(engine),
    )
