"""What became of each device that a call was for, as people see it (INC-09)."""

from __future__ import annotations

from dataclasses import dataclass

from callcontrol.cdr.records import CallRecord
from callcontrol.instants import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferView:
    """What became of one device that a call was for (INC-09); ``device`` is empty when no device of the user could be rung."""

    user: str
    device: str
    outcome: str
    """``answered``, ``answered_elsewhere``, ``missed``, ``declined``, ``busy``, ``caller_gone``, ``never_reached``."""
    why: str = ""
    """Of ``busy`` and ``never_reached``: the cause."""
    rang_at: Instant | None = None


def offers_of(record: CallRecord) -> tuple[OfferView, ...]:
    """What became of each device that a call was for."""
    return tuple(
        OfferView(
            user=offer.user,
            device=offer.device,
            outcome=offer.outcome,
            why=offer.why,
            rang_at=offer.rang_ms / 1000 if offer.rang_ms else None,
        )
        for offer in record.offers
    )
