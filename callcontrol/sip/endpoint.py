"""The SIP endpoint: all transactions of one node behind five inputs and two lists (RFC 3261 §17, §18; RFC
6026, 4320, 3581).

``receive`` and ``tick`` take bytes and the time, ``send_*`` take what the TU wants said, ``connection_lost``
and ``send_failed`` what the sockets suffered.  Results are appended to ``out`` (flow, bytes) and ``events``;
whoever drains them owns the lists.  Nothing here waits, reads a clock, draws a random number or knows
dialogs.  Malformed input is answered where RFC 3261 allows it, counted, and never raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from callcontrol.sip.build import response
from callcontrol.sip.client_half import ClientHalf
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.events import AckReceived, CancelReceived, RequestReceived
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.sip.invite_server import InviteServer
from callcontrol.sip.message import DEFAULT, Limits, Message, is_keep_alive, parse
from callcontrol.sip.non_invite_server import NonInviteServer
from callcontrol.sip.reception import (
    STATELESS_TAG,
    has_cookie,
    merge_key,
    return_port,
    server_key,
    stamp,
    stateless_tag,
)
from callcontrol.sip.timers import SipTimers
from callcontrol.sip.transaction import PROCEEDING, TERMINATED, ClientTransaction, ServerTransaction

Headers = Sequence[tuple[str, str]]

MAX_KEEP_ALIVE: Final = 16
"""Bytes up to which what is no message is taken for a keep-alive (``jaK``, ``hello``) and held against nobody."""


class Endpoint(ClientHalf):
    """See the module.  One per node or worker; ``out`` and ``events`` come from ``Outputs``."""

    def __init__(
        self,
        timers: SipTimers,
        listeners: Listeners,
        limits: Limits = DEFAULT,
        secret: bytes = b"",
        max_transactions: int = 1_000_000,
        retry_after: int = 5,
        priority: Callable[[Message], bool] | None = None,
    ) -> None:
        """``secret``: key of the To tags of stateless answers, at most 32 bytes.

        ``max_transactions``: above it requests outside dialogs get 503 with ``retry_after`` seconds; requests
        inside dialogs, and those of which ``priority`` says so (emergency calls), have a quarter more.
        """
        super().__init__(timers, listeners)
        if len(secret) > 32:
            raise ValueError("secret is longer than 32 bytes")
        self.limits: Limits = limits
        self.secret: bytes = secret
        self.max_transactions: int = max_transactions
        self.retry_after: int = retry_after
        self.priority: Callable[[Message], bool] | None = priority
        self.on_malformed: Callable[[Flow], None] | None = None
        """Told the flow of what is no SIP message, for those who keep watch over strangers."""
        self.relay: Callable[[Message, Flow, float], bool] | None = None
        """Asked first about every message: True if it was for somebody else and has been passed on."""
        self.overloaded: bool = False
        """Set from outside while the queue delay is too long: INVITEs that would open a dialog are shed."""
        self._servers: dict[str, ServerTransaction] = {}
        self._merged: dict[int, str] = {}
        self._serving: dict[int, dict[str, ServerTransaction]] = {}

    @property
    def transactions(self) -> int:
        """Transactions held, finished ones that still absorb stragglers included."""
        return len(self._clients) + len(self._servers)

    # ---------------------------------------------------------------- input from the wire

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """One datagram, or one message framed from a stream.  Never raises for what a peer sent."""
        try:
            message = parse(data, self.limits)
        except RemoteProtocolError as error:
            self._receive_malformed(data, error, flow)
            return
        if self.tap is not None:
            self.tap("in", flow, data, message.call_id)
        if message.is_request:
            self.counters.request("in", message.method, flow.transport)
        else:
            self.counters.response("in", message.status, flow.transport)
        if self.relay is not None and self.relay(message, flow, now):
            return
        if message.is_request:
            self._receive_request(message, flow, now)
        else:
            self._receive_response(message, flow, now)

    def _receive_malformed(self, data: bytes, error: RemoteProtocolError, flow: Flow) -> None:
        if is_keep_alive(data):
            self.counters.drop("keep-alive")
            return
        if data[0] < 4:
            # The first two bits of STUN are zero (RFC 5626 §8); what the transport has not answered ends here.
            self.counters.drop("STUN")
            return
        status = error.status
        self.counters.parse_errors[status] = self.counters.parse_errors.get(status, 0) + 1
        # Shorter than any start line: one of the odd keep-alives of phones.
        if self.on_malformed is not None and len(data) > MAX_KEEP_ALIVE:
            self.on_malformed(flow)
        message = error.message
        if self.tap is not None:
            self.tap("in", flow, data, "" if message is None else message.call_id)
        if message is not None and message.is_request and message.method != "ACK":
            self._refuse(message, flow, status, error.reason, ())

    def _receive_request(self, message: Message, flow: Flow, now: float) -> None:
        method = message.method
        if method == "ACK":
            self._receive_ack(message, flow, now)
            return
        key = server_key(message, method)
        transaction = self._servers.get(key)
        if transaction is not None:
            transaction.retransmitted(now, self)
            return
        if method == "CANCEL":
            self._receive_cancel(key, message, flow, now)
            return
        if not self._admits(message):
            self._refuse(message, flow, 503, "", (("Retry-After", str(self.retry_after)),))
            return
        merge = 0
        if not message.to_tag:
            merge = merge_key(message)
            if merge in self._merged:
                self._refuse(message, flow, 482, "Merged Request", ())
                return
        reply = stamp(message, flow)
        port = return_port(message, flow)
        if method == "INVITE":
            transaction = InviteServer(key, message, reply, port, now, self)
        else:
            transaction = NonInviteServer(key, method, message, reply, port, now, self)
        if merge:
            transaction.merge_key = merge
            self._merged[merge] = key
        self._add_server(transaction)
        self.events.append(RequestReceived(key, message, flow))

    def _receive_ack(self, message: Message, flow: Flow, now: float) -> None:
        transaction = self._servers.get(server_key(message, "INVITE"))
        if isinstance(transaction, InviteServer) and (
            has_cookie(message) or transaction.answered_as(message.to_tag)
        ):
            transaction.acknowledged(message, flow, now, self)
            self._settle_server(transaction)
        elif message.to_tag.startswith(STATELESS_TAG):
            self.counters.absorb("ACK")
        else:
            self.events.append(AckReceived(message, flow))

    def _receive_cancel(self, key: str, message: Message, flow: Flow, now: float) -> None:
        """Answered here; what it does to the INVITE is the TU's business (RFC 3261 §9.2)."""
        invite = self._servers.get(server_key(message, "INVITE"))
        if not isinstance(invite, InviteServer):
            self._refuse(message, flow, 481, "", ())
            return
        tag = invite.to_tag() or stateless_tag(message, self.secret)
        transaction = NonInviteServer(
            key, "CANCEL", message, stamp(message, flow), return_port(message, flow), now, self
        )
        transaction.respond(200, response(message, 200, to_tag=tag), now, self)
        if transaction.state != TERMINATED:
            self._add_server(transaction)
        if invite.state == PROCEEDING:
            self.events.append(CancelReceived(invite.key, message))
        else:
            self.counters.note("CANCEL after final")

    def _admits(self, message: Message) -> bool:
        """Bounds on state and work (§21.5.4): what belongs to a call, and emergency, comes first."""
        held = len(self._clients) + len(self._servers)
        limit = self.max_transactions
        if held < limit and not (self.overloaded and message.method == "INVITE"):
            return True
        if message.to_tag or (self.priority is not None and self.priority(message)):
            return held < limit + limit // 4
        return False

    def _refuse(self, message: Message, flow: Flow, status: int, reason: str, headers: Headers) -> None:
        """Answer without keeping state: the same request gets the same answer again (§8.2.7)."""
        self.counters.stateless[status] = self.counters.stateless.get(status, 0) + 1
        reply = stamp(message, flow)
        tag = stateless_tag(message, self.secret)
        self.transmit_response(reply, status, response(message, status, reason, to_tag=tag, headers=headers))

    # ---------------------------------------------------------------- input from the clock

    def tick(self, now: float) -> None:
        """Do what is due.  To be called at ``next_deadline``, or at any other time."""
        due = self._due
        wheel = self._wheel
        wheel.advance(now, due)
        if not due:
            return
        self._due = []
        for transaction in due:
            if transaction.scheduled <= wheel.grain:
                transaction.scheduled = 0
            if transaction.state == TERMINATED:
                continue
            transaction.fire(now, self)
            if isinstance(transaction, ClientTransaction):
                self._settle_client(transaction)
            elif isinstance(transaction, ServerTransaction):
                self._settle_server(transaction)

    # ---------------------------------------------------------------- input from the TU

    def send_response(self, key: str, status: int, data: bytes, now: float) -> bool:
        """Answer a request.  False if its transaction is gone or cannot take this answer any more."""
        transaction = self._servers.get(key)
        if transaction is None:
            self.counters.drop("response of ours without transaction")
            return False
        taken = transaction.respond(status, data, now, self)
        if status >= 300 and transaction.merge_key:
            # Refused is not ongoing: a proxy that hunts may bring the same call again, for another number.
            del self._merged[transaction.merge_key]
            transaction.merge_key = 0
        self._settle_server(transaction)
        return taken

    def answer_once(self, key: str, status: int, data: bytes, now: float) -> bool:
        """Answer a request and forget it (§8.2.7): for strangers, who are not to fill memory, and over whose forged
        addresses nobody is to be sent the same refusal ten times (§26.3.2.4).  The request sent again is a new one.
        """
        transaction = self._servers.get(key)
        if transaction is None:
            self.counters.drop("response of ours without transaction")
            return False
        self.counters.stateless[status] = self.counters.stateless.get(status, 0) + 1
        transaction.send(status, data, self)
        transaction.last = b""
        transaction.enter(TERMINATED)
        self._settle_server(transaction)
        return True

    def send_stateless_response(self, message: Message, flow: Flow, data: bytes) -> None:
        """Send once, without a transaction; ``message`` is the request, ``flow`` the one it came over."""
        reply = stamp(message, flow)
        self.transmit_response(reply, int(data[8:11]), data)

    def claim(self, key: str, owner: object | None) -> None:
        """Attach the TU's owner to a server transaction, for `owner_of`.  Nothing if it is gone."""
        transaction = self._servers.get(key)
        if transaction is not None:
            transaction.owner = owner

    def owner_of(self, key: str) -> object | None:
        """Who has claimed a server transaction; None: nobody has, or it is gone."""
        transaction = self._servers.get(key)
        return None if transaction is None else transaction.owner

    def adopt_invite(self, key: str, flow: Flow, owner: object, now: float) -> None:
        """Go on with the INVITE of a peer that came to a process which is gone: it is known when it is sent again or
        cancelled, and its answer is repeated until the ACK (§17.2.1)."""
        if key not in self._servers:
            transaction = InviteServer(key, None, flow, flow.port, now, self)
            transaction.owner = owner
            self._add_server(transaction)

    def leave(self, key: str) -> None:
        """Another process answers this request: its transaction ends here without a word."""
        transaction = self._servers.get(key)
        if transaction is not None:
            transaction.last = b""
            transaction.enter(TERMINATED)
            self._settle_server(transaction)

    # ---------------------------------------------------------------- input from the sockets

    def connection_lost(self, conn_id: int, now: float, flow: Flow | None = None) -> None:
        """A stream connection is gone.  Requests waiting on it fail; responses will go over a new one
        (§18.2.2).

        ``flow``, if given, names the peer: requests sent to it over any connection fail too.
        """
        self._fail_waiting(f"#{conn_id}", now)
        if flow is not None:
            self._fail_waiting(Flow(flow.transport, flow.host, flow.port).key, now)
        serving = self._serving.pop(conn_id, None)
        if serving is None:
            return
        for transaction in serving.values():
            old = transaction.flow
            # A browser cannot be called back: its responses stay bound to the dead connection, and die there.
            if old.transport in ("tcp", "tls"):
                transaction.flow = Flow(old.transport, old.host, transaction.return_port, old.listener)

    # ---------------------------------------------------------------- server transactions

    def _add_server(self, transaction: ServerTransaction) -> None:
        self._servers[transaction.key] = transaction
        conn = transaction.flow.conn
        if conn:
            serving = self._serving.get(conn)
            if serving is None:
                self._serving[conn] = {transaction.key: transaction}
            else:
                serving[transaction.key] = transaction
        self._schedule(transaction)

    def _settle_server(self, transaction: ServerTransaction) -> None:
        if transaction.state != TERMINATED:
            self._schedule(transaction)
            return
        transaction.message = None
        self._servers.pop(transaction.key, None)
        if transaction.merge_key:
            self._merged.pop(transaction.merge_key, None)
        conn = transaction.flow.conn
        if conn:
            serving = self._serving.get(conn)
            if serving is not None:
                serving.pop(transaction.key, None)
                if not serving:
                    del self._serving[conn]
