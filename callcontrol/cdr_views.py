"""Call records as the API shows them (CDR-01): frozen values, made from the stored ones."""

from __future__ import annotations

from dataclasses import dataclass

from callcontrol.cdr.records import CallRecord, LegRecord
from callcontrol.instants import Instant
from callcontrol.offer_views import OfferView, offers_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRecordView:
    """One leg of a call record (CDR-01)."""

    leg: str
    role: str
    number: str
    user: str
    device: str
    trunk: str
    started_at: Instant
    ringing_at: Instant | None
    answered_at: Instant | None
    ended_at: Instant | None
    status: int
    cause: int
    reason: str
    ended_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrView:
    """One call record (CDR-01)."""

    call_ref: str
    direction: str
    account: str
    user: str
    number: str
    caller: str
    caller_hidden: bool
    dialled: str
    called: str
    destination: str
    trunk: str
    device: str
    started_at: Instant
    ringing_at: Instant | None
    answered_at: Instant | None
    ended_at: Instant | None
    duration_seconds: float
    billable_seconds: int
    status: int
    cause: int
    """ITU-T Q.850."""
    reason: str
    ended_by: str
    diversions: tuple[str, ...] = ()
    legs: tuple[LegRecordView, ...] = ()
    offers: tuple[OfferView, ...] = ()
    """What became of each device that the call was for (INC-09)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrPage:
    """Call records, the latest first."""

    items: tuple[CdrView, ...]
    next_cursor: str = ""
    """Empty on the last page."""


def cdr_view(record: CallRecord) -> CdrView:
    """The view of a stored call record."""
    return CdrView(
        call_ref=record.call_ref,
        direction=record.direction,
        account=record.account,
        user=record.user,
        number=record.number,
        caller=record.caller,
        caller_hidden=record.caller_hidden,
        dialled=record.dialled,
        called=record.called,
        destination=record.destination,
        trunk=record.trunk,
        device=record.device,
        started_at=record.started_ms / 1000,
        ringing_at=_instant(record.ringing_ms),
        answered_at=_instant(record.answered_ms),
        ended_at=_instant(record.ended_ms),
        duration_seconds=record.duration_ms / 1000,
        billable_seconds=record.billable_seconds,
        status=record.status,
        cause=record.cause,
        reason=record.reason,
        ended_by=record.ended_by,
        diversions=tuple(record.diversions),
        legs=tuple(_leg_record_view(leg) for leg in record.legs),
        offers=offers_of(record),
    )


def _leg_record_view(leg: LegRecord) -> LegRecordView:
    return LegRecordView(
        leg=leg.leg,
        role=leg.role,
        number=leg.number,
        user=leg.user,
        device=leg.device,
        trunk=leg.trunk,
        started_at=leg.started_ms / 1000,
        ringing_at=_instant(leg.ringing_ms),
        answered_at=_instant(leg.answered_ms),
        ended_at=_instant(leg.ended_ms),
        status=leg.status,
        cause=leg.cause,
        reason=leg.reason,
        ended_by=leg.ended_by,
    )


def _instant(milliseconds: int) -> float | None:
    return milliseconds / 1000 if milliseconds else None
