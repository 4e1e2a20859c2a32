"""Call records: what is written about every call attempt, and how it reaches the database."""

from callcontrol.cdr.records import CallRecord, LegRecord

__all__ = ["CallRecord", "LegRecord"]
