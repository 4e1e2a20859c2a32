"""Non-INVITE server transaction (RFC 3261 §17.2.2, as amended by RFC 4320 §4).

              | request: pass up; 100 if the TU is silent until Timer E has reached T2
              v
          [TRYING] ----------- 200-699 from TU: send ------------> [COMPLETED] -- Timer J --> [TERMINATED]
              | 100: send                                           request: repeat the final     ^
              v                                                         ^                         |
        [PROCEEDING] --------- 200-699 from TU: send -------------------+                         |
         request: repeat the 100                                                                  |
          [TRYING], [PROCEEDING] -- 64*T1 without an answer: too late for any, counted -----------+

RFC 4320: no 1xx but 100, no 408, no final response after the peer has given up; such answers are swallowed
and counted.
"""

from __future__ import annotations

from callcontrol.sip.build import response
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.outputs import Outputs
from callcontrol.sip.timers import NEVER
from callcontrol.sip.transaction import COMPLETED, DUE, PROCEEDING, TERMINATED, TRYING, ServerTransaction


class NonInviteServer(ServerTransaction):
    """Any request of a peer but INVITE and ACK."""

    __slots__ = ("not_before",)

    def __init__(
        self, key: str, method: str, message: Message, flow: Flow, return_port: int, now: float, io: Outputs
    ) -> None:
        super().__init__(key, method, message, flow, return_port)
        table = io.timers.table(flow.reliable)
        self.state = TRYING
        self.resend_at = now + table.trying_other
        self.end_at = now + table.f
        self.not_before: float = 0.0 if flow.reliable else self.resend_at
        """A 100 before this instant would slow down retransmissions that are still needed (RFC 4320 §4.1)."""

    def respond(self, status: int, data: bytes, now: float, io: Outputs) -> bool:
        if self.state == COMPLETED:
            io.counters.drop("response of ours after final")
            return False
        if status < 200:
            if status > 100 or now + DUE < self.not_before:
                io.counters.drop("1xx of ours to non-INVITE")
                return False
            self._try_on(data, io)
            return True
        if status == 408:
            io.counters.drop("408 of ours to non-INVITE")
            self.enter(TERMINATED)
            return False
        self.send(status, data, io)
        self.last = data
        self.linger(COMPLETED, now, io.timers.table(self.flow.reliable).j)
        return True

    def retransmitted(self, now: float, io: Outputs) -> None:
        io.counters.absorb(self.method)
        if self.last:
            io.counters.resend(self.method)
            io.transmit_response(self.flow, self.status, self.last)

    def fire(self, now: float, io: Outputs) -> None:
        if self.end_at <= now + DUE:
            if self.state != COMPLETED:
                io.counters.note("request without answer")
            self.last = b""
            self.enter(TERMINATED)
        elif self.resend_at <= now + DUE:
            self.resend_at = NEVER
            if self.message is not None:
                self._try_on(response(self.message, 100), io)

    def _try_on(self, data: bytes, io: Outputs) -> None:
        # The state changes without ``enter``: the peer's patience does not grow with our 100.
        self.resend_at = NEVER
        self.state = PROCEEDING
        self.last = data
        self.send(100, data, io)
