"""Tokens and the record of changes in SQL.  Methods raise `config.database.DatabaseUnavailable`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from callcontrol.access.audit import AuditEntry, shortened
from callcontrol.access.tables import AuditRow, TokenRow
from callcontrol.access.tokens import Scope, Token
from config.database import reading, writing
from numbering.store import lock_revision, record_changes

_PAGE: Final = 500
KIND: Final = "token"
"""Kind under which changes of tokens are listed with the directory's, so that every node forgets at once."""


class SqlTokenStore:
    """The table ``api_tokens``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def get(self, token_id: str) -> Token | None:
        async with reading(self._engine) as connection:
            row = (
                await connection.execute(select(TokenRow.__table__).where(TokenRow.id == token_id))
            ).first()
        return _token(row) if row is not None else None

    async def list(
        self,
        limit: int,
        *,
        after: str = "",
        account: str | None = None,
        scopes: Collection[Scope] = tuple(Scope),
        subjects: Collection[str] | None = None,
    ) -> list[Token]:
        """Tokens in the order of their ids, of one account or of some subjects where these are given."""
        query = select(TokenRow.__table__).where(TokenRow.id > after)
        query = query.where(TokenRow.scope.in_([scope.value for scope in scopes]))
        if account is not None:
            query = query.where(TokenRow.account == account)
        if subjects is not None:
            query = query.where(TokenRow.subject.in_(list(subjects)))
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query.order_by(TokenRow.id).limit(limit))).all()
        return [_token(row) for row in rows]

    async def add(self, token: Token, entry: AuditEntry) -> None:
        """Keep a new token."""
        async with writing(self._engine) as connection:
            await connection.execute(insert(TokenRow), [_values(token)])
            await record(connection, [entry])

    async def rotate(self, token_id: str, new: Token, ends_at: float, entry: AuditEntry) -> bool:
        """Keep ``new`` and let the old one end at ``ends_at``; False if that has ended or was rotated already."""
        async with writing(self._engine) as connection:
            await lock_revision(connection)
            done = await connection.execute(
                update(TokenRow)
                .where(TokenRow.id == token_id, TokenRow.revoked_at == 0)
                .values(revoked_at=ends_at, replaced_by=new.id)
            )
            if not done.rowcount:
                return False
            await connection.execute(insert(TokenRow), [_values(new)])
            await record(connection, [entry])
            await record_changes(connection, {KIND: [token_id]})
        return True

    async def revoke(self, token_id: str, now: float, entry: AuditEntry) -> bool:
        """End a token now, also one that was to end later; False if there is none that works."""
        async with writing(self._engine) as connection:
            await lock_revision(connection)
            done = await connection.execute(
                update(TokenRow)
                .where(TokenRow.id == token_id, (TokenRow.revoked_at == 0) | (TokenRow.revoked_at > now))
                .values(revoked_at=now)
            )
            if not done.rowcount:
                return False
            await record(connection, [entry])
            await record_changes(connection, {KIND: [token_id]})
        return True

    async def mark_used(self, used: Mapping[str, float]) -> None:
        """When tokens were last used; the directory's revision stays, since nobody must hear of it."""
        async with writing(self._engine) as connection:
            for token_id, at in used.items():
                await connection.execute(
                    update(TokenRow)
                    .where(TokenRow.id == token_id, TokenRow.last_used_at < at)
                    .values(last_used_at=at)
                )


async def revoke_of(
    connection: AsyncConnection, scope: Scope, subjects: Sequence[str], now: float
) -> list[str]:
    """End the tokens of subjects that are gone or changed hands; returns the ids, for `record_changes`."""
    ended: list[str] = []
    for start in range(0, len(subjects), _PAGE):
        theirs = (
            (TokenRow.scope == scope.value)
            & TokenRow.subject.in_(subjects[start : start + _PAGE])
            & ((TokenRow.revoked_at == 0) | (TokenRow.revoked_at > now))
        )
        found = (await connection.execute(select(TokenRow.id).where(theirs))).scalars().all()
        if found:
            await connection.execute(update(TokenRow).where(theirs).values(revoked_at=now))
            ended.extend(found)
    return ended


class SqlAuditStore:
    """The table ``audit``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def write(self, entries: Sequence[AuditEntry]) -> None:
        async with writing(self._engine) as connection:
            await record(connection, entries)

    async def latest(
        self,
        limit: int,
        *,
        before: int = 0,
        account: str | None = None,
        kind: str = "",
        key: str = "",
        actor: str = "",
    ) -> list[AuditEntry]:
        """Entries, the latest first; ``before`` an id, ``account=None`` for all accounts."""
        query = select(AuditRow.__table__)
        if before:
            query = query.where(AuditRow.id < before)
        if account is not None:
            query = query.where(AuditRow.account == account)
        for column, value in ((AuditRow.kind, kind), (AuditRow.key, key), (AuditRow.actor, actor)):
            if value:
                query = query.where(column == value)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query.order_by(AuditRow.id.desc()).limit(limit))).all()
        return [
            AuditEntry(
                id=row.id,
                at=row.at_ms / 1000,
                actor=row.actor,
                token=row.token,
                account=row.account,
                action=row.action,
                kind=row.kind,
                key=row.key,
                detail=row.detail,
            )
            for row in rows
        ]

    async def forget(self, before: float) -> int:
        """Remove entries older than an instant; how many."""
        async with writing(self._engine) as connection:
            done = await connection.execute(delete(AuditRow).where(AuditRow.at_ms < int(before * 1000)))
        return int(done.rowcount)


async def record(connection: AsyncConnection, entries: Sequence[AuditEntry]) -> None:
    """Write entries within the transaction of the change that they tell of."""
    for start in range(0, len(entries), _PAGE):
        rows = [
            {
                "at_ms": int(entry.at * 1000),
                "actor": entry.actor,
                "token": entry.token,
                "account": entry.account,
                "action": entry.action,
                "kind": entry.kind,
                "key": entry.key,
                "detail": shortened(entry.detail),
            }
            for entry in entries[start : start + _PAGE]
        ]
        await connection.execute(insert(AuditRow), rows)


def _token(row: Row[Any]) -> Token:
    values = dict(row._mapping)
    return Token(**{**values, "scope": Scope(values["scope"])})


def _values(token: Token) -> dict[str, Any]:
    return {**asdict(token), "scope": token.scope.value}
