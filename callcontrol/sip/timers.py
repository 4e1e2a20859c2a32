"""The timers of RFC 3261 §17 (table in appendix A), RFC 6026 and RFC 4320, by value.

Everything follows from T1, T2 and T4.  A deployment may change these; tests take other values instead of
waiting. Timer C (an INVITE that rings for ever) is the TU's: its transaction has no opinion on how long a
phone may ring.
"""

from __future__ import annotations

from typing import Final

NEVER: Final = float("inf")
"""A deadline that does not come."""

ANSWER_WITHIN: Final = 0.2
"""An INVITE server transaction sends 100 itself when its TU has said nothing for this long (§17.2.1)."""


class TimerTable:
    """Every timer for one kind of transport, seconds.  Zero means that the state it guards is left at
    once."""

    __slots__ = ("a", "b", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "trying_invite", "trying_other")

    def __init__(self, t1: float, t2: float, t4: float, reliable: bool) -> None:
        whole = 64 * t1
        self.a: float = NEVER if reliable else t1
        """First retransmission of an INVITE; doubles each time."""
        self.b: float = whole
        """Wait for the first response to an INVITE.  Also how long a cancelled INVITE may lack its final
        (§9.1)."""
        self.d: float = 0.0 if reliable else max(32.0, whole)
        """Absorb repeated refusals of our INVITE.  At least 32 s, because the peer's H is not ours to
        shrink."""
        self.e: float = NEVER if reliable else t1
        """First retransmission of another request; doubles up to T2."""
        self.f: float = whole
        """Wait for the final response to another request."""
        self.g: float = NEVER if reliable else t1
        """First retransmission of our refusal of an INVITE; doubles up to T2."""
        self.h: float = whole
        """Wait for the ACK of our refusal."""
        self.i: float = 0.0 if reliable else t4
        """Absorb further ACKs."""
        self.j: float = 0.0 if reliable else whole
        """Repeat the final response for retransmitted requests."""
        self.k: float = 0.0 if reliable else t4
        """Absorb repeated finals to our request."""
        self.l: float = whole
        """Accepted: absorb retransmitted INVITEs while the TU repeats its 2xx (RFC 6026 §7.1).  Any
        transport."""
        self.m: float = whole
        """Accepted: pass up every 2xx, forked or repeated (RFC 6026 §7.2).  Any transport."""
        self.trying_invite: float = ANSWER_WITHIN
        self.trying_other: float = _until_interval_is_t2(t1, t2)
        """When a silent TU's non-INVITE request gets its 100, and not earlier (RFC 4320 §4.1)."""


def _until_interval_is_t2(t1: float, t2: float) -> float:
    """Time that Timer E takes until it is reset to T2: 0.5 + 1 + 2 = 3.5 s with the defaults."""
    elapsed = t1
    interval = t1
    while interval * 2 < t2:
        interval *= 2
        elapsed += interval
    return elapsed


class SipTimers:
    """T1 (round-trip estimate), T2 (longest interval), T4 (longest life of a message in the network),
    seconds."""

    __slots__ = ("reliable", "t1", "t2", "t4", "unreliable")

    def __init__(self, t1: float = 0.5, t2: float = 4.0, t4: float = 5.0) -> None:
        if not 0 < t1 <= t2 or t4 <= 0:
            raise ValueError(f"SIP timers need 0 < T1 <= T2 and 0 < T4, not T1={t1}, T2={t2}, T4={t4}")
        self.t1: float = t1
        self.t2: float = t2
        self.t4: float = t4
        self.unreliable: TimerTable = TimerTable(t1, t2, t4, reliable=False)
        self.reliable: TimerTable = TimerTable(t1, t2, t4, reliable=True)

    def table(self, reliable: bool) -> TimerTable:
        return self.reliable if reliable else self.unreliable
