"""What of a call counts: its legs to the outside, told by the record alone (OUT-08).  Pure.

The same reading serves the live counters, which are told when a call ends, and the query by which they are
reconciled, so that both come to the same sums.
"""

from __future__ import annotations

from callcontrol.cdr.records import CallRecord


class Spent:
    """Seconds of one leg that a number called the outside with."""

    __slots__ = ("called", "key", "number", "seconds", "started_at", "user")

    def __init__(
        self, key: str, number: str, called: str, seconds: int, started_at: float, user: str = ""
    ) -> None:
        self.key = key
        """``call_ref/leg``: a leg counts once, however often it is told."""
        self.number = number
        self.user = user
        """Ref of its holder."""
        self.called = called
        self.seconds = seconds
        """Since the answer, each begun one counted."""
        self.started_at = started_at
        """Unix time of the call: it says which month counts."""


def spent(record: CallRecord) -> list[Spent]:
    """The legs of a call that count: dialled by us over a trunk, answered, to a number, from a cloud number.

    A SIM that was called in place of its owner's softphone is not counted: it has a device.

    A leg that joined by an attended transfer counts from there on; before, it counted in the call that it left.
    """
    if not record.number:
        return []
    started_at = record.started_ms / 1000
    return [
        Spent(
            f"{record.call_ref}/{leg.leg}",
            leg.payer or record.number,
            leg.number,
            -(-max(leg.ended_ms - leg.answered_ms, 0) // 1000),
            started_at,
            leg.payer_user if leg.payer else record.user,
        )
        for leg in record.legs
        if leg.peer and leg.answered_ms and not leg.device and leg.number.startswith("+")
    ]
