"""The record of changes: who did what to which object, and when.  Values; secrets never come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_DETAIL: Final = 2000
"""Characters of an entry's detail; what is beyond is cut with an ellipsis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who makes a change."""

    actor: str
    """``operator``, ``manager:acme``, ``user:ana``, ``device:ana-phone``, ``cli:root`` …"""
    token: str = ""
    """Id of the token that the request came with; empty for the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the record."""

    id: int = 0
    """Grows with time; 0 before it is written."""
    at: float
    """Unix seconds."""
    actor: str
    token: str = ""
    account: str = ""
    """Account that the object belongs to: whose manager may read this."""
    action: str
    """``create``, ``change``, ``remove``, and verbs of resources: ``sign_out``, ``hang_up``, ``revoke`` …"""
    kind: str
    key: str
    detail: str = ""
    """Fields with their values before and after; secrets as ``(secret) -> (another)``."""


def shortened(detail: str) -> str:
    """A detail within its bound."""
    return detail if len(detail) <= MAX_DETAIL else detail[: MAX_DETAIL - 1] + "…"
