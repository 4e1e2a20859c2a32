"""Refusals of the number inventory: what is not done, and why.  Pure."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """Why something is refused; the closed list of codes of API and CLI."""

    UNKNOWN_NUMBER = "unknown_number"
    UNKNOWN_USER = "unknown_user"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_PORT = "unknown_port"
    INVALID_NUMBER = "invalid_number"
    WRONG_STATE = "wrong_state"
    HELD = "held"
    """Somebody holds the number (NUM-03)."""
    KEPT = "kept"
    """The number is kept for somebody else: reserved, or in quarantine."""
    OTHER_COMPANY = "other_company"
    LIMIT = "limit"
    """The plan allows no more numbers (NUM-02)."""
    TOO_EARLY = "too_early"
    TOO_LATE = "too_late"
    STALE = "stale"
    """The number has changed since it was read."""
    BAD_REQUEST = "bad_request"
    RIO = "rio"
    """The RIO is no RIO, or that of another number (NUM-10)."""
    NO_RIO = "no_rio"
    """Lines of this country, or of this operator, have none."""
    NOT_PORTABLE = "not_portable"
    PORTING = "porting"
    """The number is being ported already."""


class Refused(Exception):
    """The change is not made; ``fault`` is for programs, the message for people."""

    def __init__(self, fault: Fault, message: str) -> None:
        self.fault = fault
        super().__init__(message)
