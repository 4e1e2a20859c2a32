"""Settings of the call records: the section ``cdr``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config.parts import Count, Seconds, Section


class CdrSettings(Section):
    outbox: str = "cloudline-outbox"
    fsync: bool = True
    fsync_seconds: Seconds = 1.0
    linger_seconds: Seconds = 0.25
    batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    segment_bytes: Annotated[int, Field(ge=4096)] = 4_194_304
    max_backoff_seconds: Seconds = 30.0
    facts: bool = True
    facts_days: Count = 90
