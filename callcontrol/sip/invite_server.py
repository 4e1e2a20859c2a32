"""INVITE server transaction (RFC 3261 §17.2.1, as amended by RFC 6026 §7.1).

              | INVITE: pass up; 100 if the TU is silent for 200 ms
              v
        [PROCEEDING] --- 2xx from TU: send ---> [ACCEPTED] -- Timer L --+
         INVITE: repeat the last 1xx             INVITE: absorb         |
              |                                  ACK: pass up           |
              | 300-699 from TU: send            2xx from TU: send      v
              v                                                   [TERMINATED]
         [COMPLETED] -- Timer H: no ACK, counted ----------------------^ ^
          INVITE, Timer G: repeat                                        |
              | ACK                                                      |
              v                                                          |
         [CONFIRMED] -- Timer I -----------------------------------------+
          ACK: absorb

The TU repeats its 2xx itself, by calling ``respond`` again, until the ACK has come (§13.3.1.4).
"""

from __future__ import annotations

from callcontrol.sip.build import response
from callcontrol.sip.events import AckReceived
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from callcontrol.sip.outputs import Outputs
from callcontrol.sip.timers import NEVER
from callcontrol.sip.transaction import (
    ACCEPTED,
    COMPLETED,
    CONFIRMED,
    DUE,
    PROCEEDING,
    TERMINATED,
    ServerTransaction,
)


class InviteServer(ServerTransaction):
    """One INVITE of a peer."""

    __slots__ = ()

    def __init__(
        self, key: str, message: Message | None, flow: Flow, return_port: int, now: float, io: Outputs
    ) -> None:
        """``message`` None: the INVITE came to another process, which has answered it with 100 or will never."""
        super().__init__(key, "INVITE", message, flow, return_port)
        self.state = PROCEEDING
        self.resend_at = NEVER if message is None else now + io.timers.table(flow.reliable).trying_invite

    def respond(self, status: int, data: bytes, now: float, io: Outputs) -> bool:
        if self.state == PROCEEDING:
            self.send(status, data, io)
            if status < 200:
                self.resend_at = NEVER
                self.last = data
            elif status < 300:
                self.last = b""
                self.owner = None
                self.linger(ACCEPTED, now, io.timers.table(self.flow.reliable).l)
            else:
                table = io.timers.table(self.flow.reliable)
                self.last = data
                self.linger(COMPLETED, now, table.h)
                self.interval = table.g
                self.resend_at = now + table.g
                self.owner = None
            return True
        if self.state == ACCEPTED and 200 <= status < 300:
            io.counters.resend("INVITE")
            io.transmit_response(self.flow, status, data)
            return True
        io.counters.drop("response of ours after final")
        return False

    def retransmitted(self, now: float, io: Outputs) -> None:
        io.counters.absorb("INVITE")
        if self.last and (self.state == PROCEEDING or self.state == COMPLETED):
            io.counters.resend("INVITE")
            io.transmit_response(self.flow, self.status, self.last)

    def acknowledged(self, ack: Message, flow: Flow, now: float, io: Outputs) -> None:
        """An ACK with the branch of the INVITE."""
        if self.state == COMPLETED:
            self.last = b""
            self.linger(CONFIRMED, now, io.timers.table(self.flow.reliable).i)
        elif self.state == ACCEPTED:
            io.events.append(AckReceived(ack, flow))
        elif self.state == CONFIRMED:
            io.counters.absorb("ACK")
        else:
            io.counters.drop("ACK before final")

    def to_tag(self) -> str:
        """The To tag of our last response, empty if there is none (or it was a 2xx, which the TU keeps)."""
        return parse(self.last).to_tag if self.last else ""

    def answered_as(self, to_tag: str) -> bool:
        """True if an ACK with this To tag is for our answer; asked for peers of RFC 2543 (§17.2.3)."""
        return self.state != COMPLETED or self.to_tag() == to_tag

    def fire(self, now: float, io: Outputs) -> None:
        if self.end_at <= now + DUE:
            if self.state == COMPLETED:
                io.counters.note("INVITE without ACK")
            self.last = b""
            self.enter(TERMINATED)
        elif self.resend_at <= now + DUE:
            if self.state == PROCEEDING:
                self._try_on(io)
            else:
                self.interval = min(self.interval * 2, io.timers.t2)
                self.resend_at = now + self.interval
                io.counters.resend("INVITE")
                io.transmit_response(self.flow, self.status, self.last)

    def _try_on(self, io: Outputs) -> None:
        self.resend_at = NEVER
        if self.message is not None:
            self.last = response(self.message, 100)
            self.send(100, self.last, io)
