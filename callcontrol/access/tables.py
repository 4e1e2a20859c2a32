"""Tables of tokens, of answered requests, and of what was changed by whom."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Double, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base


class TokenRow(Base):
    __tablename__ = "api_tokens"
    __table_args__ = (Index("ix_api_tokens_scope_subject", "scope", "subject"),)

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    scope: Mapped[str] = mapped_column(String(16))
    # No foreign key: a token outlives its subject as a revoked row that lists still show.
    subject: Mapped[str] = mapped_column(String(64))
    account: Mapped[str] = mapped_column(String(64), index=True)
    digest: Mapped[str] = mapped_column(String(64))
    label: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[float] = mapped_column(Double)
    created_by: Mapped[str] = mapped_column(String(100))
    expires_at: Mapped[float] = mapped_column(Double)
    revoked_at: Mapped[float] = mapped_column(Double)
    replaced_by: Mapped[str] = mapped_column(String(16))
    last_used_at: Mapped[float] = mapped_column(Double)


class AnsweredRow(Base):
    """One Idempotency-Key of one token: the request it came with, and its answer once there is one."""

    __tablename__ = "api_answers"

    token: Mapped[str] = mapped_column(String(16), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[float] = mapped_column(Double, index=True)
    # Until then a request without an answer counts as running; later its node is taken for dead.
    running_until: Mapped[float] = mapped_column(Double)
    # Something of what was asked for has been committed, whether or not it was ever answered.
    written: Mapped[bool] = mapped_column(Boolean)
    # 0: no answer yet.
    status: Mapped[int] = mapped_column(Integer)
    headers: Mapped[dict[str, str]] = mapped_column(JSON)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class AuditRow(Base):
    """One change of one object, or one thing that was done."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_account_id", "account", "id"),)

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    at_ms: Mapped[int] = mapped_column(BigInteger, index=True)
    actor: Mapped[str] = mapped_column(String(100))
    token: Mapped[str] = mapped_column(String(16))
    account: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(32))
    key: Mapped[str] = mapped_column(String(100))
    detail: Mapped[str] = mapped_column(Text)
