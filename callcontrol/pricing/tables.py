"""Tables of rates and packages."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base


class RateRow(Base):
    """Amounts are millionths of the currency's unit."""

    __tablename__ = "rates"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    table: Mapped[str] = mapped_column("rate_table", String(32))
    prefix: Mapped[str] = mapped_column(String(16))
    per_minute: Mapped[int] = mapped_column(BigInteger)
    connection: Mapped[int] = mapped_column("connection_fee", BigInteger)
    minimum_seconds: Mapped[int] = mapped_column(Integer)
    increment_seconds: Mapped[int] = mapped_column(Integer)
    currency: Mapped[str] = mapped_column(String(3))
    zone: Mapped[str] = mapped_column(String(32))
    valid_from: Mapped[str] = mapped_column(String(10))


class PackageRow(Base):
    __tablename__ = "packages"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    zones: Mapped[list[str]] = mapped_column(JSON)
    minutes: Mapped[int] = mapped_column(Integer)
