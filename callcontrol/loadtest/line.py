"""One UDP socket with a SIP endpoint on it, which many calls or registrations of the generator share."""

from __future__ import annotations

import secrets
import socket
import time
from dataclasses import dataclass

from callcontrol.sip import build, digest
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.events import Event
from callcontrol.sip.fields import parse_name_addr
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.message import Message
from callcontrol.sip.timers import SipTimers

_BUFFER = 4 << 20
_AT_ONCE = 200
"""Datagrams that are read before anything is sent."""
Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A device of the server under load, or somebody behind a trunk (without password)."""

    user: str
    password: str = ""


class Line:
    """A party: its socket, its transactions, its name."""

    def __init__(
        self, account: Account, server: tuple[str, int], domain: str, local: tuple[str, int]
    ) -> None:
        """Raises OSError when the socket cannot be had."""
        self.account = account
        self.domain = domain
        self.socket = socket.socket(
            socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM
        )
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self.socket.bind(local)
            self.socket.setblocking(False)
        except OSError:
            self.socket.close()
            raise
        host, port = self.socket.getsockname()[:2]
        self._host = f"[{host}]" if ":" in host else host
        self.address = f"{self._host}:{port}"
        listeners = Listeners()
        listeners.add(Listener("load", "udp", host, port))
        self.endpoint = Endpoint(SipTimers(), listeners)
        self._flow = Flow("udp", server[0], server[1], "load")
        self.broken = 0
        """Datagrams that the system did not take."""

    def close(self) -> None:
        self.socket.close()

    # -- the wire

    def read(self) -> list[Event]:
        """Take what has come, let timers run, send what is due; what it means."""
        now = time.monotonic()
        for _ in range(_AT_ONCE):
            try:
                data, source = self.socket.recvfrom(65535)
            except (BlockingIOError, ConnectionRefusedError):
                break
            self.endpoint.receive(data, Flow("udp", source[0], source[1], "load"), now)
        self.endpoint.tick(now)
        events = list(self.endpoint.events)
        self.endpoint.events.clear()
        self.flush()
        return events

    def flush(self) -> None:
        for flow, data in self.endpoint.out:
            try:
                self.socket.sendto(data, (flow.host, flow.port))
            except OSError:  # full, or refused: the transaction sends it again
                self.broken += 1
        self.endpoint.out.clear()

    # -- messages

    def description(self) -> bytes:
        """An offer and an answer; no media are sent."""
        kind, host = ("IP6", self._host[1:-1]) if self._host.startswith("[") else ("IP4", self._host)
        return (
            f"v=0\r\no=load 1 1 IN {kind} {host}\r\ns=-\r\nc=IN {kind} {host}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\n"
        ).encode()

    def head(self, method: str, to: str, call_id: str, cseq: int, tag: str) -> Headers:
        """Header fields of a request."""
        return [
            ("Max-Forwards", "70"),
            ("From", f"<sip:{self.account.user}@{self.domain}>;tag={tag}"),
            ("To", to),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<sip:{self.account.user}@{self.address}>"),
            ("User-Agent", "cloudline-loadtest"),
        ]

    def send(self, method: str, uri: str, headers: Headers, body: bytes = b"", *, owner: str) -> None:
        """A request in a transaction of its own; ``owner`` is told of its failure."""
        data = build.request(method, uri, headers, body, "application/sdp" if body else "")
        branch = "z9hG4bK" + secrets.token_hex(8)
        self.endpoint.send_request(branch, method, data, self._flow, time.monotonic(), owner)

    def acknowledge(self, uri: str, headers: Headers) -> None:
        """The ACK of a 2xx."""
        data = build.request("ACK", uri, headers)
        self.endpoint.send_stateless_request("z9hG4bK" + secrets.token_hex(8), data, self._flow)

    def respond(self, key: str, request: Message, status: int, tag: str, body: bytes = b"") -> None:
        headers = (("Contact", f"<sip:{self.account.user}@{self.address}>"),)
        data = build.response(request, status, "", tag, headers, body, "application/sdp" if body else "")
        self.endpoint.send_response(key, status, data, time.monotonic())

    def credentials(self, challenge: Message, method: str, uri: str) -> Headers | None:
        """The header that answers a 401 or 407; None when there is nothing to answer with."""
        asked, given = (
            ("www-authenticate", "Authorization")
            if challenge.status == 401
            else ("proxy-authenticate", "Proxy-Authorization")
        )
        chosen = digest.choose(digest.parse_challenges(challenge.all(asked)))
        if chosen is None or not self.account.password:
            return None
        value = digest.answer(
            chosen, method, uri, self.account.user, self.account.password, b"", secrets.token_hex(8), 1
        )
        return [(given, value)]


def target_of(message: Message, default: str) -> str:
    """Where the requests of a dialog go: the Contact of the other side."""
    contact = message.get("contact")
    try:
        return parse_name_addr(contact).uri if contact else default
    except RemoteProtocolError:
        return default
