"""For whom the story of a call is told, and how its times are written.  Pure."""

from __future__ import annotations

from typing import Final

ENGINEER: Final = "engineer"
"""Every decision: rule, outcome, detail."""
SUPPORT: Final = "support"
"""A plain sentence for each decision that mattered."""
CUSTOMER: Final = "customer"
"""Redacted: nothing of anybody else."""
AUDIENCES: Final = (ENGINEER, SUPPORT, CUSTOMER)


def offset(at: float) -> str:
    """Seconds after the beginning of the call: ``+8 s``, ``+12.5 s``."""
    return f"+{round(at, 1):g} s"
