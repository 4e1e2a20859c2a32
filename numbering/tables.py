"""Tables of the numbering package, and of the revision by which nodes learn of changes."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, String
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


class UserRow(Base):
    __tablename__ = "users"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), ForeignKey("accounts.ref"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(254))
    default_number: Mapped[str | None] = mapped_column(String(16))
    suspended: Mapped[bool]


class DeviceRow(Base):
    __tablename__ = "devices"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column("user_ref", String(64), ForeignKey("users.ref"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    sim: Mapped[str | None] = mapped_column(String(16), index=True)
    sim_verified: Mapped[bool]
    sip_username: Mapped[str | None] = mapped_column(String(64), unique=True)
    sip_password: Mapped[str] = mapped_column(String(128))
    mqtt_password: Mapped[str] = mapped_column(String(160))


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
