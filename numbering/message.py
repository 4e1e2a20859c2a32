"""A short message to a line (NUM-10, NUM-11)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A short message to a line."""

    id: int = 0
    e164: str
    kind: str
    """``port_confirmation`` or ``rio``."""
    body: str
    port: str = ""
    """Port that it is about; empty: none."""
    created_at: float
    sent_at: float = 0.0
    """0: it waits."""
    attempts: int = 0
    """Tries to hand it over that failed."""
    next_at: float = 0.0
    """When the next one is due."""
    failure: str = ""
    """Why the last one failed."""
    given_up: bool = False
    """It is not tried any more: people have to look."""
