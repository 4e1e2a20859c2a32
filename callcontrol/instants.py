"""Instants on the wire: Unix seconds inside, RFC 3339 in UTC outside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema


def rfc3339(instant: float) -> str:
    """Unix seconds as ``2026-05-28T20:26:40.500Z``."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    float,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
