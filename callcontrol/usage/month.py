"""Calendar months in UTC, by which use is counted (OUT-08).  Pure.

One boundary for all numbers: the same on every node and in every query, without gaps or doubled hours.  A call
belongs to the month in which it began.
"""

from __future__ import annotations

from datetime import UTC, datetime


class Month:
    """One month: ``name`` is ``2027-01``; ``begins`` and ``ends`` are Unix seconds, the end is no part of it."""

    __slots__ = ("begins", "ends", "name")

    def __init__(self, year: int, month: int) -> None:
        self.name = f"{year:04d}-{month:02d}"
        self.begins = datetime(year, month, 1, tzinfo=UTC).timestamp()
        following = (year + 1, 1) if month == 12 else (year, month + 1)
        self.ends = datetime(*following, 1, tzinfo=UTC).timestamp()


class Calendar:
    """The month of an instant; remembers the one that was asked for last, which nearly always is the next, too."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = Month(1970, 1)

    def month(self, at: float) -> Month:
        """Month of Unix time ``at``."""
        last = self._last
        if not last.begins <= at < last.ends:
            day = datetime.fromtimestamp(at, UTC)
            last = self._last = Month(day.year, day.month)
        return last


def day_of(at: float) -> str:
    """Day of Unix time ``at``, ``2027-01-31`` in UTC."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()
