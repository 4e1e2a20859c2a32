"""A leg: one party of a call, its INVITE usage, and what the record will say about it."""

from __future__ import annotations

from typing import Final

from callcontrol.sip.usage import Usage

CALLER: Final = "caller"
CALLEE: Final = "callee"

# what became of a callee's leg, besides a reason of the closed list
ELSEWHERE: Final = "answered_elsewhere"

LEG_FIELDS: Final = (
    "id",
    "usage",
    "role",
    "device_class",
    "user",
    "device",
    "trunk",
    "peer",
    "number",
    "binding",
    "address",
    "user_agent",
    "call_id",
    "started_at",
    "ringing_at",
    "answered_at",
    "ended_at",
    "status",
    "reason",
    "ended_by",
    "step",
    "tried",
    "foreign",
)


class Leg:
    """One SIP dialog of a call, or one attempt at one."""

    __slots__ = LEG_FIELDS

    def __init__(self, id: str, usage: Usage, role: str, now: float) -> None:
        self.id = id
        self.usage = usage
        self.role = role
        self.device_class = ""
        """``trunk``, or the kind of the device."""
        self.user = ""
        self.device = ""
        self.trunk = ""
        self.peer = ""
        self.number = ""
        """Number or user name of the party."""
        self.binding = ""
        """Key of the binding that was rung."""
        self.address = ""
        """Dumped flow or URI of the other side's signalling."""
        self.user_agent = ""
        self.call_id = ""
        self.started_at = now
        self.ringing_at = 0.0
        self.answered_at = 0.0
        self.ended_at = 0.0
        self.status = 0
        self.reason = ""
        self.ended_by = ""
        self.step = 0
        """Index of the plan step that dialled it."""
        self.tried = ""
        """``trunk peer`` key of the attempt."""
        self.foreign = False
        """Its session descriptions come from another party than at first (transfer), so their origin is rewritten."""

    def finish(self, now: float, status: int, reason: str, ended_by: str) -> None:
        """Note the outcome; the first one stands."""
        if not self.ended_at:
            self.ended_at = now
            self.status = self.status or status
            self.reason = self.reason or reason
            self.ended_by = ended_by
