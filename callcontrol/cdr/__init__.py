"""Call records: what is written about every call attempt, and how it reaches the database (CDR-01, CDR-02)."""

from callcontrol.cdr.records import CallRecord, LegRecord

__all__ = ["CallRecord", "LegRecord"]
