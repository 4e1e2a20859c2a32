"""Non-INVITE client transaction (RFC 3261 §17.1.2; RFC 4320 leaves it as it is, and forbids its TU to pass on
a timeout).

                      | request
      Timer E: send   v                 Timer F or transport error
      again ----- [TRYING] ------------------------------------------+
                  |      \\ 200-699: pass up                          |
              1xx |       +--------> [COMPLETED] -- Timer K --->     v
                  v                      ^                     [TERMINATED]
            [PROCEEDING] 200-699 --------+                           ^
      Timer E: send again at T2          Timer F or transport error -+

A 1xx slows the retransmissions down to T2, it does not stop them (§17.1.2.2): nothing else would bring a lost
final response.
"""

from __future__ import annotations

from callcontrol.sip.events import TIMEOUT, ResponseReceived, TransactionFailed
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.outputs import Outputs
from callcontrol.sip.transaction import COMPLETED, DUE, PROCEEDING, TERMINATED, TRYING, ClientTransaction


class NonInviteClient(ClientTransaction):
    """Any request of ours but INVITE and ACK."""

    __slots__ = ()

    def start(self, now: float, io: Outputs) -> None:
        table = io.timers.table(self.flow.reliable)
        self.enter(TRYING)
        self.interval = table.e
        self.resend_at = now + table.e
        self.end_at = now + table.f
        io.transmit_request(self.flow, self.method, self.request)

    def receive(self, message: Message, flow: Flow, now: float, io: Outputs) -> None:
        if self.state == COMPLETED:
            io.counters.drop("response after final")
            return
        io.events.append(ResponseReceived(self.branch, message, flow, self.owner))
        if message.status < 200:
            # The state changes without ``enter``: both timers run on.
            self.state = PROCEEDING
            return
        self.request = b""
        self.linger(COMPLETED, now, io.timers.table(self.flow.reliable).k)
        self.owner = None

    def fire(self, now: float, io: Outputs) -> None:
        if self.end_at <= now + DUE:
            if self.state == COMPLETED:
                self.enter(TERMINATED)
            else:
                self.fail(TIMEOUT, io)
        elif self.resend_at <= now + DUE:
            t2 = io.timers.t2
            self.interval = t2 if self.state == PROCEEDING else min(self.interval * 2, t2)
            self.resend_at = now + self.interval
            io.counters.resend(self.method)
            io.transmit_request(self.flow, self.method, self.request)

    def fail(self, cause: str, io: Outputs) -> None:
        if self.state != COMPLETED:
            io.counters.fail(self.method, cause)
            io.events.append(TransactionFailed(self.branch, self.method, cause, self.owner))
        self.request = b""
        self.enter(TERMINATED)
