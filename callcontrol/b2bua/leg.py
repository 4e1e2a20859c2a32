"""A leg: one party of a call, its INVITE usage, and what the record will say about it."""

from __future__ import annotations

from typing import Final

from callcontrol.b2bua.crossing import veiled_lines
from callcontrol.sip.usage import CANCELLING, CLOSED, Usage
from mediarelay.continuity import continue_session
from mediarelay.veil import veiled

CALLER: Final = "caller"
CALLEE: Final = "callee"

MEDIA: Final = "media"
"""Device class of the legs of media servers."""

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
    "foreign",
    "channel",
    "refers",
    "heard",
    "rang",
    "veil",
    "seek",
    "payer",
    "payer_user",
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
        """Number of the offer that it belongs to (``Call.stage``)."""
        self.foreign = False
        """Its session descriptions come from another party than at first (transfer), so their origin is rewritten."""
        self.channel = ""
        """Key of the trunk channel that it holds; it stays the same when the leg moves to another call."""
        self.refers = 0
        """REFERs that it sent so far."""
        self.heard = False
        """It responded in some way, be it with 100: somebody is there."""

        self.rang = False
        """The callee's phone rang, or media came: what follows is the callee's answer."""
        self.veil = False
        """The other party hides: what it writes is cleaned of who it is before this one gets it (OUT-07)."""
        self.seek = ""
        """It calls the SIM of a device in place of a softphone; the channel of its attempt.  Empty: it does not."""
        self.payer = ""
        """Cloud number that has it called, E.164, when that is not the call's own: it was forwarded (FWD-03)."""
        self.payer_user = ""
        """Ref of its holder."""

    def finish(self, now: float, status: int, reason: str, ended_by: str) -> None:
        """Note the outcome; the first one stands."""
        if not self.ended_at:
            self.ended_at = now
            self.status = self.status or status
            self.reason = self.reason or reason
            self.ended_by = ended_by

    def body_for(self, body: bytes, content_type: str) -> bytes:
        """A description as this party may see it: nothing of who hides, its own session when the other party changed."""
        if self.veil and body:
            body = veiled(body, content_type)
        if not self.foreign or not body or not self.usage.local_body:
            return body
        return continue_session(self.usage.local_body, self.usage.local_type, body, content_type)

    def lines_for(self, lines: list[str]) -> list[str]:
        """Header lines that cross, as this party may see them."""
        return veiled_lines(lines) if self.veil else lines

    def waits_for(self, branch: str) -> bool:
        """True while the cancelled INVITE, or the re-INVITE, with this branch has no final response."""
        return self.usage.state == CANCELLING or branch in self.usage.pending

    def path_back(self) -> str:
        """Where a response goes whose transaction was on another node."""
        usage = self.usage
        return usage.flow or (usage.dialog.next_hop() if usage.dialog is not None else "")

    def husk(self) -> Leg:
        """What the record says about this leg, without its dialog: it lives on in another call."""
        twin = Leg(self.id, Usage(self.id, self.usage.scope, self.usage.uac), self.role, self.started_at)
        twin.usage.state = CLOSED
        for name in _TOLD:
            setattr(twin, name, getattr(self, name))
        return twin


_TOLD: Final = (
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
    "ringing_at",
    "answered_at",
    "status",
    "step",
)
