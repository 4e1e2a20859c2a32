"""A very small user agent over one UDP socket, in blocking style, with which the demo makes its calls."""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable
from typing import Final, TypeVar

from callcontrol.sip import build, digest
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import RequestReceived, ResponseReceived
from callcontrol.sip.fields import parse_name_addr
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.message import Message
from callcontrol.sip.timers import SipTimers

Found = TypeVar("Found")

PATIENCE_S: Final = 15.0
"""How long one step of a demo is waited for."""


class Agent:
    """A very small user agent over one UDP socket, in blocking style."""

    def __init__(self, user: str, server: tuple[str, int], domain: str, port: int = 0) -> None:
        self._user = user
        self._domain = domain
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((server[0], port))
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"127.0.0.1:{port} is taken: {error.strerror}") from error
        self._socket.setblocking(False)
        own = self._socket.getsockname()
        self.address = f"{own[0]}:{own[1]}"
        listeners = Listeners()
        listeners.add(Listener("demo", "udp", own[0], own[1]))
        self._endpoint = Endpoint(SipTimers(), listeners)
        self._flow = Flow("udp", server[0], server[1], "demo")
        self._requests: list[RequestReceived] = []
        self._responses: list[Message] = []
        self._tag = secrets.token_hex(4)

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    # -- waiting

    def step(self, seconds: float) -> None:
        """Take what has come, let timers run, send what is due."""
        ready, _, _ = select.select([self._socket], [], [], seconds)
        now = time.monotonic()
        if ready:
            data, address = self._socket.recvfrom(65535)
            self._endpoint.receive(data, Flow("udp", address[0], address[1], "demo"), now)
        self._endpoint.tick(now)
        for event in self._endpoint.events:
            if isinstance(event, RequestReceived):
                self._requests.append(event)
            elif isinstance(event, ResponseReceived):
                self._responses.append(event.message)
        self._endpoint.events.clear()
        self._flush()

    def _flush(self) -> None:
        for flow, data in self._endpoint.out:
            self._socket.sendto(data, (flow.host, flow.port))
        self._endpoint.out.clear()

    def pause(self, seconds: float, other: Agent) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.step(0.01)
            other.step(0.01)

    def wait(self, what: str, found: Callable[[], Found | None], other: Agent) -> Found:
        """Until ``found`` gives something; RuntimeError after a while."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            got = found()
            if got is not None:
                return got
            self.step(0.01)
            other.step(0.01)
        raise RuntimeError(f"{what} did not come within {PATIENCE_S:.0f} s")

    def request(self, method: str) -> RequestReceived | None:
        for event in self._requests:
            if event.message.method == method:
                self._requests.remove(event)
                return event
        return None

    def response(self, method: str, least: int) -> Message | None:
        for message in self._responses:
            if message.method == method and message.status >= least:
                self._responses.remove(message)
                return message
        return None

    # -- speaking

    def description(self) -> bytes:
        host = self.address.partition(":")[0]
        return (
            f"v=0\r\no=demo 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            "m=audio 40000 RTP/AVP 0 8\r\n"
        ).encode()

    def _lines(
        self, to: str, call_id: str, cseq: int, method: str, caller: str = ""
    ) -> list[tuple[str, str]]:
        return [
            ("Max-Forwards", "70"),
            ("From", f"<sip:{caller or self._user}@{self._domain}>;tag={self._tag}"),
            ("To", to),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<sip:{self._user}@{self.address}>"),
        ]

    def _send(self, method: str, uri: str, lines: list[tuple[str, str]], body: bytes = b"") -> None:
        data = build.request(method, uri, lines, body, "application/sdp" if body else "")
        branch = "z9hG4bK" + secrets.token_hex(8)
        self._endpoint.send_request(branch, method, data, self._flow, time.monotonic())
        self._flush()

    def register(self, password: str) -> None:
        """Register with digest.  Raises RuntimeError when it is refused."""
        uri = f"sip:{self._domain}"
        to = f"<sip:{self._user}@{self._domain}>"
        call_id = secrets.token_hex(8)
        lines = [*self._lines(to, call_id, 1, "REGISTER"), ("Expires", "120")]
        self._send("REGISTER", uri, lines)
        challenge = self.wait("the challenge", lambda: self.response("REGISTER", 200), self)
        chosen = digest.choose(digest.parse_challenges(challenge.all("www-authenticate")))
        if chosen is None:
            raise RuntimeError(f"REGISTER was answered {challenge.status} {challenge.reason}")
        value = digest.answer(chosen, "REGISTER", uri, self._user, password, b"", secrets.token_hex(4), 1)
        lines = [*self._lines(to, call_id, 2, "REGISTER"), ("Expires", "120"), ("Authorization", value)]
        self._send("REGISTER", uri, lines)
        answer = self.wait("the registration", lambda: self.response("REGISTER", 200), self)
        if answer.status != 200:
            raise RuntimeError(f"REGISTER was answered {answer.status} {answer.reason}")

    def invite(self, number: str, caller: str = "") -> str:
        """Call a number, in the name of somebody else if one is given; returns the Call-ID."""
        call_id = secrets.token_hex(8)
        uri = f"sip:{number}@{self._domain}"
        lines = self._lines(f"<{uri}>", call_id, 1, "INVITE", caller)
        self._send("INVITE", uri, lines, self.description())
        return call_id

    def respond(self, event: RequestReceived, status: int, body: bytes = b"") -> None:
        headers = (("Contact", f"<sip:{self._user}@{self.address}>"),)
        kind = "application/sdp" if body else ""
        data = build.response(event.message, status, "", self._tag, headers, body, kind)
        self._endpoint.send_response(event.key, status, data, time.monotonic())
        self._flush()

    def _in_dialog(self, method: str, call_id: str, cseq: int, answer: Message, caller: str = "") -> bytes:
        contact = answer.get("contact")
        uri = parse_name_addr(contact).uri if contact else f"sip:{self._domain}"
        return build.request(method, uri, self._lines(answer.to_value, call_id, cseq, method, caller))

    def acknowledge(self, call_id: str, answer: Message) -> None:
        if answer.status >= 300:
            return  # the transaction did it
        data = self._in_dialog("ACK", call_id, 1, answer)
        self._endpoint.send_stateless_request("z9hG4bK" + secrets.token_hex(8), data, self._flow)
        self._flush()

    def bye(self, call_id: str, answer: Message, caller: str = "") -> None:
        """Hang up a call that was made with `invite`."""
        self._bye(self._in_dialog("BYE", call_id, 2, answer, caller))

    def hang_up(self, event: RequestReceived) -> None:
        """Hang up a call that came in and was answered."""
        invite = event.message
        contact = invite.get("contact")
        uri = parse_name_addr(contact).uri if contact else f"sip:{self._domain}"
        lines = [
            ("Max-Forwards", "70"),
            ("From", f"{invite.to_value};tag={self._tag}"),
            ("To", invite.from_value),
            ("Call-ID", invite.call_id),
            ("CSeq", "1 BYE"),
        ]
        self._bye(build.request("BYE", uri, lines))

    def caller_of(self, event: RequestReceived) -> str:
        """Number that an INVITE shows."""
        return parse_name_addr(event.message.from_value).uri.partition(":")[2].partition("@")[0]

    def _bye(self, data: bytes) -> None:
        self._endpoint.send_request(
            "z9hG4bK" + secrets.token_hex(8), "BYE", data, self._flow, time.monotonic()
        )
        self._flush()
