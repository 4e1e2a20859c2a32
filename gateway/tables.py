"""Tables of the trunks and of the gateway numbers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Double, String, false, true
from sqlalchemy.orm import Mapped, mapped_column

from config.database import Base


class TrunkRow(Base):
    __tablename__ = "trunks"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)
    # Addresses, or tables of address, weight and priority.
    peers: Mapped[list[Any]] = mapped_column(JSON)
    accept_from: Mapped[list[str]] = mapped_column(JSON)
    port_must_match: Mapped[bool]
    username: Mapped[str | None] = mapped_column(String(64), unique=True)
    password: Mapped[str] = mapped_column(String(128))
    prefixes: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    priority: Mapped[int]
    weight: Mapped[int]
    max_channels: Mapped[int]
    max_cps: Mapped[float] = mapped_column(Double)
    number_format: Mapped[str] = mapped_column(String(16))
    country: Mapped[str] = mapped_column(String(2))
    options_seconds: Mapped[float] = mapped_column(Double)
    caller_format: Mapped[str] = mapped_column(String(16), server_default="")
    identity: Mapped[str] = mapped_column(String(16), server_default="pai")
    trusted: Mapped[bool] = mapped_column(server_default=true())
    privacy: Mapped[str] = mapped_column(String(32), server_default="id")
    diversion: Mapped[str] = mapped_column(String(16), server_default="both")
    domain: Mapped[str] = mapped_column(String(255), server_default="")
    host: Mapped[str] = mapped_column(String(255), server_default="")
    headers: Mapped[list[dict[str, str]]] = mapped_column(JSON, server_default="[]")
    register: Mapped[bool] = mapped_column(server_default=false())
    registrar: Mapped[str] = mapped_column(String(255), server_default="")
    auth_username: Mapped[str] = mapped_column(String(64), server_default="")
    register_seconds: Mapped[int] = mapped_column(server_default="3600")


class GatewayNumberRow(Base):
    __tablename__ = "gateway_numbers"

    e164: Mapped[str] = mapped_column(String(16), primary_key=True)
    # no foreign key: provisioning judges references for all objects at once, whatever the order of its statements
    trunk: Mapped[str] = mapped_column(String(64), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    country: Mapped[str] = mapped_column(String(2))
