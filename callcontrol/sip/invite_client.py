"""INVITE client transaction (RFC 3261 §17.1.1, as amended by RFC 6026 §7.2).

                      | INVITE
      Timer A: send   v                 Timer B or transport error
      again ----- [CALLING] ------------------------------------------+
                  |  |   \\ 2xx: pass up                                |
              1xx |  |    +-------------> [ACCEPTED] -- Timer M --->  |
                  v  |                     2xx: pass up               v
           [PROCEEDING] 2xx -------------------^                [TERMINATED]
                  |  | 300-699: ACK, pass up                          ^
                  v  v                                                |
                [COMPLETED] -- Timer D or transport error ------------+
                 300-699: ACK

Beyond the figure: an INVITE whose CANCEL was sent ends 64*T1 later if no final comes (§9.1); it is then a
timeout, and nobody should try another address.  Timer C belongs to the TU.
"""

from __future__ import annotations

from callcontrol.sip.events import TIMEOUT, ResponseReceived, TransactionFailed
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.sip.outputs import Outputs
from callcontrol.sip.transaction import (
    ACCEPTED,
    CALLING,
    COMPLETED,
    DUE,
    PROCEEDING,
    TERMINATED,
    ClientTransaction,
)


class InviteClient(ClientTransaction):
    """One INVITE of ours and its hop-by-hop ACK."""

    __slots__ = ("ack", "cancelled")

    def __init__(
        self, branch: str, request: bytes, via: bytes, sent_by: str, flow: Flow, owner: object | None
    ) -> None:
        super().__init__(branch, "INVITE", request, via, sent_by, flow, owner)
        self.ack: bytes = b""
        self.cancelled: bool = False

    def start(self, now: float, io: Outputs) -> None:
        table = io.timers.table(self.flow.reliable)
        self.enter(CALLING)
        self.interval = table.a
        self.resend_at = now + table.a
        self.end_at = now + table.b
        io.transmit_request(self.flow, "INVITE", self.request)

    def receive(self, message: Message, flow: Flow, now: float, io: Outputs) -> None:
        status = message.status
        state = self.state
        if state in (CALLING, PROCEEDING):
            if status < 200:
                if state == CALLING:
                    self.enter(PROCEEDING)
                    # Nothing is sent again from here on; only the ACK of a refusal is still made from the
                    # head.
                    self.request = self.request[: self.request.find(b"\r\n\r\n") + 4]
                io.events.append(ResponseReceived(self.branch, message, flow, self.owner))
            elif status < 300:
                io.events.append(ResponseReceived(self.branch, message, flow, self.owner))
                self.request = b""
                self.linger(ACCEPTED, now, io.timers.table(self.flow.reliable).m)
            else:
                io.events.append(ResponseReceived(self.branch, message, flow, self.owner))
                self.ack = acknowledge(self.request, self.via, message.to_value)
                self.request = b""
                io.transmit_request(self.flow, "ACK", self.ack)
                self.linger(COMPLETED, now, io.timers.table(self.flow.reliable).d)
        elif state == COMPLETED and status >= 300:
            io.counters.absorb("INVITE")
            io.counters.resend("ACK")
            io.transmit_request(self.flow, "ACK", self.ack)
        elif state == ACCEPTED and 200 <= status < 300:
            io.events.append(ResponseReceived(self.branch, message, flow, self.owner))
        else:
            io.counters.drop("response after final")

    def awaits_path(self) -> bool:
        # While it rings over UDP nothing is sent, so a send that failed was another's.
        return self.state == CALLING or (self.state == PROCEEDING and self.flow.reliable)

    def cancel(self, now: float, io: Outputs) -> None:
        """Its CANCEL goes out: from now on a final response is owed within 64*T1."""
        self.cancelled = True
        self.end_at = now + io.timers.table(self.flow.reliable).b

    def hasten(self, now: float, io: Outputs) -> None:
        """Send it again now, and go on from there as Timer A has it (§17.1.1.2)."""
        if self.state == CALLING and not self.flow.reliable:
            self.resend_at = now + self.interval
            io.counters.resend("INVITE")
            io.transmit_request(self.flow, "INVITE", self.request)

    def fire(self, now: float, io: Outputs) -> None:
        if self.end_at <= now + DUE:
            if self.state in (CALLING, PROCEEDING):
                self.fail(TIMEOUT, io)
            else:
                self.enter(TERMINATED)
        elif self.resend_at <= now + DUE:
            self.interval *= 2
            self.resend_at = now + self.interval
            io.counters.resend("INVITE")
            io.transmit_request(self.flow, "INVITE", self.request)

    def fail(self, cause: str, io: Outputs) -> None:
        if self.state in (CALLING, PROCEEDING):
            if self.cancelled and cause == TIMEOUT:
                io.counters.note("cancelled INVITE without final")
            io.counters.fail("INVITE", cause)
            io.events.append(TransactionFailed(self.branch, "INVITE", cause, self.owner))
        self.request = b""
        self.enter(TERMINATED)


def acknowledge(invite: bytes, via: bytes, to_value: str) -> bytes:
    """The ACK of a 300-699 (§17.1.1.3): from the INVITE as sent, but with the To of the response.

    ``invite`` is our own message with at least its whole head, ``via`` its top Via line with the line end.
    """
    head = invite[: invite.find(b"\r\n\r\n") + 2]
    line, _, rest = head.partition(b"\r\n")
    ack = [b"ACK", line[line.find(b" ") :], b"\r\n", via, b"Max-Forwards: 70\r\n"]
    for header in rest.split(b"\r\n"):
        name, _, value = header.partition(b":")
        kind = name.strip().lower()
        if kind in (b"route", b"from", b"f", b"call-id", b"i"):
            ack += (header, b"\r\n")
        elif kind == b"cseq":
            number = value.split()[0]
            ack += (b"CSeq: ", number, b" ACK\r\n")
    ack += (b"To: ", to_value.encode("utf-8", "surrogateescape"), b"\r\nContent-Length: 0\r\n\r\n")
    return b"".join(ack)
