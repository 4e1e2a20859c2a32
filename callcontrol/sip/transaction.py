"""What the four transactions of RFC 3261 §17 have in common: vocabulary, a place for two deadlines, nothing
of their rules.

Each machine has its own file and is driven by one method per input.  ``enter`` is the only way to change
state; the timers of the state that is left die with it.  Timers are state: the owner of a transaction asks
for ``next_deadline`` after each input and calls ``fire`` when it has come.
"""

from __future__ import annotations

from typing import Final

from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.outputs import Outputs
from callcontrol.sip.timers import NEVER, SipTimers
from callcontrol.sip.wheel import GRAINS_PER_SECOND, Wheel

CALLING: Final = 0
TRYING: Final = 1
PROCEEDING: Final = 2
COMPLETED: Final = 3
CONFIRMED: Final = 4
ACCEPTED: Final = 5
TERMINATED: Final = 6

STATE_NAMES: Final = ("calling", "trying", "proceeding", "completed", "confirmed", "accepted", "terminated")

DUE: Final = 1e-4
"""A deadline this close counts as reached: the wheel counts in grains, whose instants are rounded."""


class Transaction:
    """State, flow, owner and the two deadlines that any state has at most: send again, and leave."""

    __slots__ = ("end_at", "flow", "interval", "key", "owner", "resend_at", "scheduled", "state")

    def __init__(self, key: str, flow: Flow, state: int, owner: object | None) -> None:
        self.key: str = key
        self.flow: Flow = flow
        self.state: int = state
        self.owner: object | None = owner
        self.interval: float = 0.0
        """Time to the next retransmission after the coming one, seconds."""
        self.resend_at: float = NEVER
        self.end_at: float = NEVER
        self.scheduled: int = 0
        """Grain of the wheel in which this transaction is looked at next; 0 for none."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {STATE_NAMES[self.state]})"

    def next_deadline(self) -> float:
        """The instant at which ``fire`` wants to be called; ``NEVER`` if only a message can move this
        transaction."""
        return min(self.end_at, self.resend_at)

    def fire(self, now: float, io: Outputs) -> None:
        """Do what is due at ``now``; nothing if the deadline was moved meanwhile."""
        raise NotImplementedError

    def enter(self, state: int) -> None:
        """Change state; the timers of the state we leave die with it."""
        self.state = state
        self.resend_at = NEVER
        self.end_at = NEVER
        if state == TERMINATED:
            self.owner = None

    def linger(self, state: int, now: float, seconds: float) -> None:
        """Enter a state that only waits for stragglers, or terminate at once where nothing can straggle."""
        if seconds > 0:
            self.enter(state)
            self.end_at = now + seconds
        else:
            self.enter(TERMINATED)


class ClientTransaction(Transaction):
    """The side that sent the request."""

    __slots__ = ("branch", "fallback", "method", "request", "sent_by", "via", "waits_on")

    def __init__(
        self,
        branch: str,
        method: str,
        request: bytes,
        via: bytes,
        sent_by: str,
        flow: Flow,
        owner: object | None,
    ) -> None:
        super().__init__(f"{branch}|{method}", flow, TRYING, owner)
        self.branch: str = branch
        self.method: str = method
        self.request: bytes = request
        """As sent, our Via included; empty once it cannot be needed again."""
        self.via: bytes = via
        """The Via line that the endpoint put in."""
        self.sent_by: str = sent_by
        """Our sent-by in lower case; a response with another is not ours (§18.1.2)."""
        self.waits_on: str = ""
        """Key of the flow whose failure would fail this transaction; empty once it would not."""
        self.fallback: Flow | None = None
        """Set while an oversize request is tried over TCP: the UDP flow it was meant for (RFC 3261
        §18.1.1)."""

    def start(self, now: float, io: Outputs) -> None:
        """Send the request and begin to wait."""
        raise NotImplementedError

    def receive(self, message: Message, flow: Flow, now: float, io: Outputs) -> None:
        """A response with our branch and method."""
        raise NotImplementedError

    def awaits_path(self) -> bool:
        """True while the transaction still depends on its flow, to send again or to be answered over it."""
        return self.state < COMPLETED

    def fail(self, cause: str, io: Outputs) -> None:
        """No final response can come any more: the peer cannot be reached, or the time is over."""
        raise NotImplementedError


class ServerTransaction(Transaction):
    """The side that answers."""

    __slots__ = ("last", "merge_key", "message", "method", "return_port", "status")

    def __init__(self, key: str, method: str, message: Message | None, flow: Flow, return_port: int) -> None:
        super().__init__(key, flow, TRYING, None)
        self.method: str = method
        self.message: Message | None = message
        """The request, until the first response: a 100 of our own is made from it."""
        self.return_port: int = return_port
        """Port of the peer's sent-by: where responses go when its connection is gone (RFC 3261 §18.2.2)."""
        self.merge_key: int = 0
        """Entry in the endpoint's table of merged requests; 0 for none."""
        self.last: bytes = b""
        """The response to repeat; empty when there is none, or when repeating is the TU's business."""
        self.status: int = 0

    def respond(self, status: int, data: bytes, now: float, io: Outputs) -> bool:
        """The TU answers.  False if the answer comes too late or does not fit; it is then counted, not
        sent."""
        raise NotImplementedError

    def retransmitted(self, now: float, io: Outputs) -> None:
        """The same request came again."""
        raise NotImplementedError

    def send(self, status: int, data: bytes, io: Outputs) -> None:
        self.status = status
        self.message = None
        io.transmit_response(self.flow, status, data)


class Timekeeper(Outputs):
    """Outputs with the wheel in which transactions wait for their deadlines."""

    def __init__(self, timers: SipTimers) -> None:
        super().__init__(timers)
        self._wheel: Wheel[Transaction] = Wheel()
        self._due: list[Transaction] = []

    def next_deadline(self) -> float | None:
        """When ``tick`` may have something to do; None when no timer is outstanding."""
        return self._wheel.next_deadline()

    def _schedule(self, transaction: Transaction) -> None:
        """Have the wheel look at the transaction in time; an entry that comes too early costs one look."""
        deadline = transaction.next_deadline()
        if deadline == NEVER:
            return
        scheduled = transaction.scheduled
        if scheduled == 0 or (deadline - DUE) * GRAINS_PER_SECOND < scheduled - 1:
            transaction.scheduled = self._wheel.add(deadline, transaction)
