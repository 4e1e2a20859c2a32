"""Tables of the call records."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base


class CallRow(Base):
    """One call attempt; the columns are those of `callcontrol.cdr.records.CallRecord`."""

    __tablename__ = "calls"
    # What people ask for: the latest calls of all, of an account, of a number.
    __table_args__ = (
        Index("ix_calls_started_ms", "started_ms"),
        Index("ix_calls_account_started_ms", "account", "started_ms"),
        Index("ix_calls_number_started_ms", "number", "started_ms"),
    )

    call_ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    direction: Mapped[str] = mapped_column(String(16))
    node: Mapped[str] = mapped_column(String(64))
    config_version: Mapped[int] = mapped_column(BigInteger)
    started_ms: Mapped[int] = mapped_column(BigInteger)
    ringing_ms: Mapped[int] = mapped_column(BigInteger)
    answered_ms: Mapped[int] = mapped_column(BigInteger)
    ended_ms: Mapped[int] = mapped_column(BigInteger)
    duration_ms: Mapped[int] = mapped_column(BigInteger)
    billable_seconds: Mapped[int] = mapped_column(Integer)
    account: Mapped[str] = mapped_column(String(64))
    user: Mapped[str] = mapped_column("user_ref", String(64))
    number: Mapped[str] = mapped_column(Text)
    caller: Mapped[str] = mapped_column(Text)
    caller_presented: Mapped[str] = mapped_column(Text)
    caller_hidden: Mapped[bool]
    dialled: Mapped[str] = mapped_column(Text)
    called: Mapped[str] = mapped_column(Text)
    original_called: Mapped[str] = mapped_column(Text)
    diversions: Mapped[list[str]] = mapped_column(JSON)
    destination: Mapped[str] = mapped_column(Text)
    trunk: Mapped[str] = mapped_column(String(64))
    gateway_number: Mapped[str] = mapped_column(Text)
    device: Mapped[str] = mapped_column(String(64))
    device_class: Mapped[str] = mapped_column(String(16))
    status: Mapped[int] = mapped_column(Integer)
    cause: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(Text)
    ended_by: Mapped[str] = mapped_column(String(16))
    trace_id: Mapped[str] = mapped_column(Text)
    trace: Mapped[str] = mapped_column(Text)
    lease: Mapped[str] = mapped_column(Text, server_default="")
    sim: Mapped[str] = mapped_column(Text, server_default="")
    facts: Mapped[bytes | None] = mapped_column(LargeBinary)
    offers: Mapped[str] = mapped_column(Text, server_default="[]")


class LegRow(Base):
    """One leg of a call; the columns are those of `callcontrol.cdr.records.LegRecord`."""

    __tablename__ = "call_legs"

    call_ref: Mapped[str] = mapped_column(
        String(64), ForeignKey("calls.call_ref", ondelete="CASCADE"), primary_key=True
    )
    leg: Mapped[str] = mapped_column(String(16), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    call_id: Mapped[str] = mapped_column(Text)
    number: Mapped[str] = mapped_column(Text)
    user: Mapped[str] = mapped_column("user_ref", String(64))
    device: Mapped[str] = mapped_column(String(64))
    device_class: Mapped[str] = mapped_column(String(16))
    trunk: Mapped[str] = mapped_column(String(64))
    peer: Mapped[str] = mapped_column(Text)
    transport: Mapped[str] = mapped_column(String(8))
    address: Mapped[str] = mapped_column(Text)
    user_agent: Mapped[str] = mapped_column(Text)
    started_ms: Mapped[int] = mapped_column(BigInteger)
    ringing_ms: Mapped[int] = mapped_column(BigInteger)
    answered_ms: Mapped[int] = mapped_column(BigInteger)
    ended_ms: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[int] = mapped_column(Integer)
    cause: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(Text)
    ended_by: Mapped[str] = mapped_column(String(16))
    payer: Mapped[str] = mapped_column(Text, server_default="")
    payer_user: Mapped[str] = mapped_column(String(64), server_default="")


class SealRow(Base):
    """The place of one call record in the chain of its producer (`callcontrol.cdr.chain`)."""

    __tablename__ = "call_seals"
    __table_args__ = (
        Index("ix_call_seals_call_ref", "call_ref"),
        Index("ix_call_seals_ended_ms", "ended_ms"),
    )

    producer: Mapped[str] = mapped_column(String(96), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    call_ref: Mapped[str] = mapped_column(String(64))
    previous: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    fields: Mapped[str] = mapped_column(String(16))
    ended_ms: Mapped[int] = mapped_column(BigInteger)
    refused: Mapped[bool]
    """The database did not take the record; it is set aside in the outbox folder of its node."""
