"""The client half of the endpoint: our requests and their transactions (RFC 3261 §8.1, §9.1, §17.1, §18.1).

``Endpoint`` is one with this class; it is apart only so that it can be read apart.
"""

from __future__ import annotations

from typing import Final

from callcontrol.sip.events import TRANSPORT, StrayAnswer, TransactionFailed
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.invite_client import InviteClient
from callcontrol.sip.message import Message
from callcontrol.sip.non_invite_client import NonInviteClient
from callcontrol.sip.outputs import class_label, method_label
from callcontrol.sip.timers import SipTimers
from callcontrol.sip.transaction import (
    CALLING,
    PROCEEDING,
    TERMINATED,
    TRYING,
    ClientTransaction,
    Timekeeper,
)

MAX_DATAGRAM: Final = 1300
"""Bytes of a request above which UDP is left for TCP while the path's MTU is unknown (RFC 3261 §18.1.1)."""

AVOID_TCP_FOR: Final = 300.0
"""Seconds for which a peer that refused TCP gets its oversize requests over UDP at once."""

MAX_AVOIDED: Final = 1024

MAX_UDP: Final = 65_507
"""Bytes that a UDP datagram can hold over IPv4; with more, sending fails for everybody who waits on the flow."""


class ClientHalf(Timekeeper):
    """Sends requests and matches responses to them."""

    def __init__(self, timers: SipTimers, listeners: Listeners) -> None:
        super().__init__(timers)
        self.listeners: Listeners = listeners
        self._clients: dict[str, ClientTransaction] = {}
        self._waiting: dict[str, dict[str, ClientTransaction]] = {}  # by key of the flow that they depend on
        self._held: dict[str, tuple[bytes, object | None]] = {}  # CANCELs whose INVITE has no response yet
        self._avoid_tcp: dict[str, float] = {}

    def send_request(
        self,
        branch: str,
        method: str,
        data: bytes,
        flow: Flow,
        now: float,
        owner: object | None = None,
        keep_flow: bool = False,
        sent_by: str = "",
    ) -> None:
        """Start a client transaction.  ``data`` has no Via; ours is put in.  Outcome: events with ``branch``.

        ``sent_by``: of a CANCEL whose INVITE another node has sent, what the Via said there; empty: ours.

        A CANCEL bears the branch of its INVITE and goes its way; before the first 1xx it is held back, after
        a final dropped (§9.1).  An oversize UDP request goes by TCP if we listen there, unless ``keep_flow``
        says that the peer can only be reached over this flow (RFC 5626).  The same branch and method twice is
        one request.
        """
        key = f"{branch}|{method}"
        if key in self._clients or key in self._held:
            self.counters.note("request repeated by TU")
            return
        if method == "CANCEL":
            invite = self._clients.get(f"{branch}|INVITE")
            if isinstance(invite, InviteClient):
                self._cancel(key, invite, data, owner, now)
                return
        target = flow
        fallback: Flow | None = None
        if len(data) > MAX_DATAGRAM - 100 and flow.transport == "udp" and not keep_flow:
            target = self._for_oversize(branch, len(data), flow, now)
            if target is not flow:
                fallback = flow
        listener = self._listener(target)
        if listener is None:
            self.counters.fail(method, TRANSPORT)
            self.events.append(TransactionFailed(branch, method, TRANSPORT, owner))
            return
        if target.listener != listener.name:
            target = Flow(target.transport, target.host, target.port, listener.name, target.conn)
        start = listener.via
        if sent_by and sent_by != listener.sent_by_lower:
            start = start.replace(f" {listener.sent_by}", f" {sent_by}", 1)
        via = f"{start}{branch};rport\r\n".encode()
        request = with_via(data, via)
        sent_by = sent_by or listener.sent_by_lower
        transaction: ClientTransaction
        if method == "INVITE":
            transaction = InviteClient(branch, request, via, sent_by, target, owner)
        else:
            transaction = NonInviteClient(branch, method, request, via, sent_by, target, owner)
        transaction.fallback = fallback
        self._start(transaction, now)

    def send_again(self, branch: str, now: float) -> None:
        """Retransmit an INVITE that has no response yet at once: its peer can be reached only now.  Nothing over a connection."""
        transaction = self._clients.get(f"{branch}|INVITE")
        if isinstance(transaction, InviteClient) and transaction.state == CALLING:
            transaction.hasten(now, self)
            self._schedule(transaction)

    def send_stateless_request(self, branch: str, data: bytes, flow: Flow) -> None:
        """Send once, without a transaction: the ACK of a 2xx (§13.2.2.4)."""
        listener = self._listener(flow)
        if listener is None:
            self.counters.note("no listener for request")
            return
        if flow.listener != listener.name:
            flow = Flow(flow.transport, flow.host, flow.port, listener.name, flow.conn)
        request = with_via(data, f"{listener.via}{branch};rport\r\n".encode())
        self.transmit_request(flow, data[: data.find(b" ")].decode(), request)

    def send_failed(self, flow: Flow, now: float) -> None:
        """What was to go over ``flow`` (as it stood in ``out``) did not: requests waiting on it fail, or
        change to UDP."""
        if not self._fail_waiting(flow.key, now):
            self.counters.note("undeliverable")

    def _receive_response(self, message: Message, flow: Flow, now: float) -> None:
        transaction = self._clients.get(f"{message.branch}|{message.cseq_method}")
        if transaction is None:
            if message.cseq_method == "INVITE" and 200 <= message.status < 300:
                self.events.append(StrayAnswer(message.branch, message, flow))
            else:
                self.counters.drop(
                    f"stray response {class_label(message.status)} {method_label(message.cseq_method)}"
                )
            return
        if message.sent_by != transaction.sent_by:
            self.counters.drop("response not ours")  # RFC 3261 §18.1.2
            return
        transaction.receive(message, flow, now, self)
        if self._held and transaction.state != CALLING:
            self._release_cancel(transaction, now)
        self._settle_client(transaction)

    def _fail_waiting(self, flow_key: str, now: float) -> bool:
        waiting = self._waiting.pop(flow_key, None)
        if waiting is None:
            return False
        for transaction in waiting.values():
            transaction.waits_on = ""
            if transaction.fallback is not None and transaction.state in (CALLING, TRYING):
                self._fall_back(transaction, flow_key, now)
            else:
                transaction.fail(TRANSPORT, self)
                self._settle_client(transaction)
        return True

    def connections_lost(self, first: int, end: int, now: float) -> None:
        """All stream connections with these ids are gone at once, with the process that had them: what waits on one fails."""
        for key in list(self._waiting):
            if key[:1] == "#" and first <= int(key[1:]) < end:
                self._fail_waiting(key, now)

    def _listener(self, flow: Flow) -> Listener | None:
        """The listener of a flow; one of the same kind if it has none, or if a restart renamed it."""
        if flow.listener:
            listener = self.listeners.get(flow.listener)
            if listener is not None:
                return listener
        return self.listeners.pick(flow.transport, flow.host)

    def _for_oversize(self, branch: str, size: int, flow: Flow, now: float) -> Flow:
        udp = self._listener(flow)
        if udp is None or size + len(udp.via) + len(branch) + 8 <= MAX_DATAGRAM:
            return flow
        tcp = self.listeners.pick("tcp", flow.host)
        if tcp is None:
            self.counters.note("oversize without TCP")
            return flow
        target = Flow("tcp", flow.host, flow.port, tcp.name)
        until = self._avoid_tcp.get(target.key)
        if until is not None:
            if now < until:
                self.counters.note("oversize without TCP")
                return flow
            del self._avoid_tcp[target.key]
        self.counters.note("oversize to TCP")
        return target

    def _fall_back(self, transaction: ClientTransaction, flow_key: str, now: float) -> None:
        """TCP was tried for size only and did not come about: retry over UDP (§18.1.1)."""
        flow = transaction.fallback
        transaction.fallback = None
        listener = None if flow is None else self._listener(flow)
        if flow is None or listener is None:
            transaction.fail(TRANSPORT, self)
            self._settle_client(transaction)
            return
        self.counters.note("oversize back to UDP")
        if len(self._avoid_tcp) >= MAX_AVOIDED:
            self._avoid_tcp.clear()
        self._avoid_tcp[flow_key] = now + AVOID_TCP_FOR
        via = f"{listener.via}{transaction.branch};rport\r\n".encode()
        transaction.request = transaction.request.replace(transaction.via, via, 1)
        transaction.via = via
        transaction.sent_by = listener.sent_by_lower
        transaction.flow = Flow(flow.transport, flow.host, flow.port, listener.name)
        self._start(transaction, now)

    def _start(self, transaction: ClientTransaction, now: float) -> None:
        if len(transaction.request) > MAX_UDP and not transaction.flow.reliable:
            self.counters.note("too large for UDP")
            transaction.fail(TRANSPORT, self)
            self._settle_client(transaction)
            return
        self._clients[transaction.key] = transaction
        flow_key = transaction.flow.key
        transaction.waits_on = flow_key
        waiting = self._waiting.get(flow_key)
        if waiting is None:
            self._waiting[flow_key] = {transaction.key: transaction}
        else:
            waiting[transaction.key] = transaction
        transaction.start(now, self)
        self._schedule(transaction)

    def _settle_client(self, transaction: ClientTransaction) -> None:
        state = transaction.state
        if transaction.waits_on and not transaction.awaits_path():
            self._stop_waiting(transaction)
        if state == TERMINATED:
            self._clients.pop(transaction.key, None)
            if self._held and self._held.pop(f"{transaction.branch}|CANCEL", None) is not None:
                self.counters.note("CANCEL not sent")
        else:
            self._schedule(transaction)

    def _stop_waiting(self, transaction: ClientTransaction) -> None:
        waiting = self._waiting.get(transaction.waits_on)
        if waiting is not None:
            waiting.pop(transaction.key, None)
            if not waiting:
                del self._waiting[transaction.waits_on]
        transaction.waits_on = ""

    def _cancel(self, key: str, invite: InviteClient, data: bytes, owner: object | None, now: float) -> None:
        if invite.state == CALLING:
            self._held[key] = (data, owner)
            self.counters.note("CANCEL held back")
        elif invite.state == PROCEEDING:
            self._send_cancel(invite, data, owner, now)
        else:
            self.counters.note("CANCEL not sent")

    def _release_cancel(self, transaction: ClientTransaction, now: float) -> None:
        """The INVITE has its first response: send its CANCEL, or forget it if that was the final."""
        if not isinstance(transaction, InviteClient):
            return
        held = self._held.pop(f"{transaction.branch}|CANCEL", None)
        if held is None:
            return
        if transaction.state == PROCEEDING:
            self._send_cancel(transaction, held[0], held[1], now)
        else:
            self.counters.note("CANCEL not sent")

    def _send_cancel(self, invite: InviteClient, data: bytes, owner: object | None, now: float) -> None:
        invite.cancel(now, self)
        self._schedule(invite)
        request = with_via(data, invite.via)
        cancel = NonInviteClient(
            invite.branch, "CANCEL", request, invite.via, invite.sent_by, invite.flow, owner
        )
        self._start(cancel, now)


def with_via(data: bytes, via: bytes) -> bytes:
    """``data`` with ``via`` (a whole line) put in after the start line."""
    cut = data.find(b"\r\n") + 2
    return data[:cut] + via + data[cut:]
