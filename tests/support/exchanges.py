"""One endpoint on the bench: messages to feed it, and what it did as short words with times.

Words of what is sent: method or status ("INVITE", "486"); of what is told: "486 INVITE", "request BYE",
"ACK", "cancel", "failed INVITE timeout".
"""

from __future__ import annotations

from collections.abc import Sequence

from callcontrol.sip import build
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import (
    AckReceived,
    CancelReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StrayAnswer,
    TransactionFailed,
)
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.message import Message, parse
from callcontrol.sip.timers import SipTimers

LOCAL = "192.0.2.1"
PEER = "198.51.100.7"
TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")

Header = tuple[str, str]


def request_data(
    method: str,
    uri: str = "sip:bob@example.org",
    *,
    call_id: str = "call-1",
    cseq: int = 1,
    from_tag: str = "alice",
    to_tag: str = "",
    extra: Sequence[Header] = (),
    body: bytes = b"",
) -> bytes:
    """A request without Via, as a TU hands it over."""
    headers = [
        ("from", f"<sip:alice@example.org>;tag={from_tag}" if from_tag else "<sip:alice@example.org>"),
        ("to", f"<sip:bob@example.org>;tag={to_tag}" if to_tag else "<sip:bob@example.org>"),
        ("call-id", call_id),
        ("cseq", f"{cseq} {method}"),
        ("max-forwards", "70"),
        *extra,
    ]
    return build.request(method, uri, headers, body, "application/sdp" if body else "")


def with_top_via(data: bytes, value: str) -> bytes:
    """The same with a Via, as it arrives."""
    line, _, rest = data.partition(b"\r\n")
    return line + b"\r\nVia: " + value.encode() + b"\r\n" + rest


def arriving(
    method: str,
    branch: str = "z9hG4bK-1",
    *,
    transport: str = "UDP",
    sent_by: str = f"{PEER}:5060",
    via: str = "",
    call_id: str = "call-1",
    cseq: int = 1,
    from_tag: str = "alice",
    to_tag: str = "",
    extra: Sequence[Header] = (),
    body: bytes = b"",
) -> bytes:
    """A request as it comes from the peer; ``via`` replaces the whole value."""
    data = request_data(
        method, call_id=call_id, cseq=cseq, from_tag=from_tag, to_tag=to_tag, extra=extra, body=body
    )
    return with_top_via(data, via or f"SIP/2.0/{transport} {sent_by};branch={branch};rport")


def response_to(data: bytes, status: int, to_tag: str = "bob") -> bytes:
    """The peer's response to a request that we sent."""
    return build.response(parse(data), status, to_tag=to_tag)


def word(data: bytes) -> str:
    """What a message is: its method, or its status."""
    words = data.split(b" ", 2)
    return (words[1] if words[0] == b"SIP/2.0" else words[0]).decode()


def event_word(event: Event) -> str:
    match event:
        case RequestReceived():
            return f"request {event.message.method}"
        case AckReceived():
            return "ACK"
        case CancelReceived():
            return "cancel"
        case ResponseReceived():
            return f"{event.message.status} {event.message.method}"
        case TransactionFailed():
            return f"failed {event.method} {event.cause}"
        case StrayAnswer():
            return f"stray {event.message.status}"


class Bench:
    """An endpoint, its peer's flow, and the time."""

    def __init__(
        self,
        transport: str = "udp",
        timers: SipTimers | None = None,
        transports: Sequence[str] = TRANSPORTS,
        max_transactions: int = 1_000_000,
    ) -> None:
        listeners = Listeners()
        for name in transports:
            listeners.add(Listener(f"{name}:{LOCAL}:5060", name, LOCAL, 5060))
        self.endpoint = Endpoint(
            timers or SipTimers(), listeners, secret=b"test", max_transactions=max_transactions
        )
        conn = 0 if transport == "udp" else 7
        self.flow = Flow(transport, PEER, 5060, f"{transport}:{LOCAL}:5060", conn)
        self.now = 0.0
        self.last = b""
        """The message sent last."""
        self.last_flow = self.flow
        self.key = ""
        """Key of the request that came last."""
        self.message: Message | None = None

    # What happens to the endpoint.

    def receive(self, data: bytes, flow: Flow | None = None) -> None:
        self.endpoint.receive(data, flow or self.flow, self.now)
        for event in self.endpoint.events:
            if isinstance(event, RequestReceived):
                self.key, self.message = event.key, event.message

    def send(
        self, method: str, branch: str = "z9hG4bK-c", owner: object | None = None, call_id: str = "call-1"
    ) -> None:
        data = request_data(method, call_id=call_id)
        self.endpoint.send_request(branch, method, data, self.flow, self.now, owner)

    def answer(self, status: int, to_tag: str = "bob") -> bool:
        """The TU answers the request that came last."""
        assert self.message is not None
        data = build.response(self.message, status, to_tag=to_tag)
        return self.endpoint.send_response(self.key, status, data, self.now)

    # What it did since it was asked last.

    def sent(self) -> list[str]:
        out = self.endpoint.out
        if out:
            self.last_flow, self.last = out[-1]
        words = [word(data) for _, data in out]
        out.clear()
        return words

    def told(self) -> list[str]:
        words = [event_word(event) for event in self.endpoint.events]
        self.endpoint.events.clear()
        return words

    def run(self, until: float) -> list[tuple[float, str]]:
        """Follow the endpoint's own deadlines; (time, word) of all that is sent or told on the way."""
        done: list[tuple[float, str]] = []
        while True:
            due = self.endpoint.next_deadline()
            if due is None or due > until:
                self.now = max(self.now, until)
                return done
            assert due >= self.now, "a deadline in the past"
            self.now = due
            self.endpoint.tick(due)
            done += [(round(due, 3), text) for text in self.sent() + self.told()]

    def is_empty(self) -> bool:
        """True when nothing is held and no timer is outstanding."""
        endpoint = self.endpoint
        tables = (
            endpoint._clients,
            endpoint._servers,
            endpoint._merged,
            endpoint._waiting,
            endpoint._serving,
            endpoint._held,
        )
        return endpoint.transactions == 0 and not any(tables) and endpoint.next_deadline() is None
