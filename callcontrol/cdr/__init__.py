"""Call records: what is written about every call attempt, and how it reaches the database."""

from callcontrol.cdr.records import CallRecord, LegRecord, OfferRecord

__all__ = ["CallRecord", "LegRecord", "OfferRecord"]
