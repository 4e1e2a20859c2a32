"""Tables of the numbering package, and of the revision by which nodes learn of changes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base


class AccountRow(Base):
    __tablename__ = "accounts"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    plan: Mapped[str] = mapped_column(String(64))
    # No foreign key: account and manager name each other, and provisioning checks both.
    manager: Mapped[str | None] = mapped_column(String(64))
    suspended: Mapped[bool]
    # Millionths of the currency's unit.
    credit: Mapped[int] = mapped_column(BigInteger)
    packages: Mapped[list[str]] = mapped_column(JSON)


class UserRow(Base):
    __tablename__ = "users"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), ForeignKey("accounts.ref"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(254))
    default_number: Mapped[str | None] = mapped_column(String(16))
    suspended: Mapped[bool]
    contacts: Mapped[dict[str, str]] = mapped_column(JSON)
    call_waiting: Mapped[bool]
    block: Mapped[list[str]] = mapped_column(JSON)
    spam: Mapped[list[str]] = mapped_column(JSON)


class DeviceRow(Base):
    __tablename__ = "devices"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column("user_ref", String(64), ForeignKey("users.ref"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    sim: Mapped[str | None] = mapped_column(String(16), index=True)
    sim_verified: Mapped[bool]
    sip_username: Mapped[str | None] = mapped_column(String(64), unique=True)
    sip_password: Mapped[str] = mapped_column(String(128))
    sim_country: Mapped[str | None] = mapped_column(String(2))
    sim_seen_at: Mapped[float] = mapped_column(Double)
    mqtt_password: Mapped[str] = mapped_column(String(160))
    answer: Mapped[str] = mapped_column(String(8))


class NumberRow(Base):
    __tablename__ = "numbers"

    e164: Mapped[str] = mapped_column(String(16), primary_key=True)
    # Empty for numbers that nobody holds.
    user: Mapped[str | None] = mapped_column("user_ref", String(64), ForeignKey("users.ref"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    category: Mapped[str] = mapped_column(String(16))
    calls: Mapped[bool]
    hide: Mapped[bool]
    ring_seconds: Mapped[float] = mapped_column(Double)
    block: Mapped[list[str]] = mapped_column(JSON)
    spam: Mapped[list[str]] = mapped_column(JSON)
    # As `numbering.store_forms` writes them.
    hours: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    forward: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    voicemail: Mapped[bool]
    gsm_fallback: Mapped[bool]
    # Company whose Greeting has the number, in place of a user.
    account: Mapped[str | None] = mapped_column(String(64), ForeignKey("accounts.ref"), index=True)
    expires_at: Mapped[float] = mapped_column(Double)
    until: Mapped[float] = mapped_column("until_at", Double)
    # No foreign keys: who had a number may be gone, and the number rests all the same.
    kept_for: Mapped[str | None] = mapped_column(String(64), index=True)
    kept_account: Mapped[str | None] = mapped_column(String(64), index=True)
    since: Mapped[float] = mapped_column(Double)
    held_since: Mapped[float] = mapped_column(Double)
    version: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        # What the clock looks for, and what people search.
        Index("ix_numbers_state_until_at", "state", "until_at"),
        Index("ix_numbers_state_expires_at", "state", "expires_at"),
        Index("ix_numbers_state_e164", "state", "e164"),
    )


class GreetingRow(Base):
    """Company numbers that hunt; their life is that of the number in ``numbers``."""

    __tablename__ = "greetings"

    number: Mapped[str] = mapped_column(String(16), ForeignKey("numbers.e164"), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), ForeignKey("accounts.ref"), index=True)
    strategy: Mapped[str] = mapped_column(String(16))
    # All of them are users of the account; provisioning sees to that.
    members: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    ring_seconds: Mapped[float] = mapped_column(Double)
    repeat: Mapped[int] = mapped_column("repeat_count")
    limit_seconds: Mapped[float] = mapped_column(Double)
    hours: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    open: Mapped[dict[str, Any]] = mapped_column("open_flow", JSON)
    closed: Mapped[dict[str, Any]] = mapped_column("closed_flow", JSON)
    unanswered: Mapped[dict[str, Any]] = mapped_column("unanswered_flow", JSON)
    block: Mapped[list[str]] = mapped_column(JSON)
    spam: Mapped[list[str]] = mapped_column(JSON)


class NumberEventRow(Base):
    """What happened to numbers (NUM-04); rows are only added.  No foreign key: the history of a number outlives it."""

    __tablename__ = "number_events"

    # SQLite counts by itself only in a column of this very type.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    e164: Mapped[str] = mapped_column(String(16))
    at: Mapped[float] = mapped_column("at_time", Double)
    action: Mapped[str] = mapped_column(String(32))
    # None: not one of our numbers.
    before: Mapped[str | None] = mapped_column("state_before", String(16))
    after: Mapped[str | None] = mapped_column("state_after", String(16))
    former: Mapped[str] = mapped_column(String(64))
    user: Mapped[str] = mapped_column("user_ref", String(64))
    actor: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(200))

    __table_args__ = (Index("ix_number_events_e164_id", "e164", "id"),)


class PortRow(Base):
    """Numbers that come to us and leave us (NUM-10, NUM-11)."""

    __tablename__ = "ports"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    direction: Mapped[str] = mapped_column(String(4))
    e164: Mapped[str] = mapped_column(String(16), index=True)
    user: Mapped[str] = mapped_column("user_ref", String(64))
    state: Mapped[str] = mapped_column(String(24))
    rio: Mapped[str] = mapped_column(String(12))
    port_at: Mapped[float] = mapped_column(Double)
    requested_at: Mapped[float] = mapped_column(Double)
    confirm_by: Mapped[float] = mapped_column(Double)
    had_left: Mapped[bool]
    reason: Mapped[str] = mapped_column(String(24))
    version: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index("ix_ports_state_port_at", "state", "port_at"),)


class NumberMessageRow(Base):
    """Short messages that wait to be sent to a line, and those that were."""

    __tablename__ = "number_messages"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    e164: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(24))
    body: Mapped[str] = mapped_column(Text)
    # The port that the message is about; empty: none.
    port: Mapped[str] = mapped_column(String(32), index=True)
    created_at: Mapped[float] = mapped_column(Double)
    # 0: it waits.
    sent_at: Mapped[float] = mapped_column(Double, index=True)
    # Tries to hand it over that failed, when the next one is due, and why the last one failed.
    attempts: Mapped[int] = mapped_column(Integer)
    next_at: Mapped[float] = mapped_column(Double)
    failure: Mapped[str] = mapped_column(String(200))
    # No more tries: people have to look.
    given_up: Mapped[bool]


class RioReferenceRow(Base):
    """Contract references of lines, from which their RIO is made; another holder gets another one."""

    __tablename__ = "rio_references"

    e164: Mapped[str] = mapped_column(String(16), primary_key=True)
    reference: Mapped[str] = mapped_column(String(6))
    user: Mapped[str] = mapped_column("user_ref", String(64))
    held_since: Mapped[float] = mapped_column(Double)


class DutyRow(Base):
    """Work that one node does for all: who has it, and until when."""

    __tablename__ = "duties"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(100))
    expires_at: Mapped[float] = mapped_column(Double)
    # Grows with each change of owner.
    term: Mapped[int] = mapped_column(BigInteger)


class DirectoryStateRow(Base):
    """One row: the revision of everything that the directory shows."""

    __tablename__ = "directory_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)
    # Changes up to this revision are no longer listed; who knows less must read everything.
    forgotten: Mapped[int] = mapped_column(BigInteger)


class DirectoryChangeRow(Base):
    """What changed in which revision, by kind and key."""

    __tablename__ = "directory_changes"

    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
