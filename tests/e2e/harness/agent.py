"""A scripted SIP endpoint: the test says what it sends, and asks for what must come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from loadtests.phone import authorization
from tests.e2e.harness import sip
from tests.e2e.harness.sip import Message
from tests.e2e.harness.wire import Address, NothingCame, Wire

REASONS = {100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted"}
REASONS |= {
    480: "Temporarily Unavailable",
    486: "Busy Here",
    487: "Request Terminated",
    491: "Request Pending",
}
REASONS |= {503: "Service Unavailable", 603: "Decline"}


class Agent:
    """Receives on one wire; repeated datagrams are dropped and counted.

    A message that the test does not ask for stays in ``inbox``; methods in ``idle_answers`` are answered 200
    without the test's doing (OPTIONS probes of a trunk).
    """

    def __init__(
        self,
        wire: Wire,
        server: Address,
        domain: str,
        user: str = "",
        password: str = "",
        rtp_port: int = 40000,
    ) -> None:
        self.wire = wire
        self.server = server
        self.domain = domain
        self.user = user
        self.password = password
        self.rtp_port = rtp_port
        self.inbox: list[Message] = []
        self.log: list[tuple[str, str]] = []
        self.repeats = 0
        self.idle_answers = {"OPTIONS"}
        self.tag = sip.new_id()[:8]
        self._seen: set[tuple[str, ...]] = set()
        self._register_call_id = sip.new_id()
        self._register_cseq = 0
        self.registered = False
        self.instance = f"urn:uuid:00000000-0000-4000-8000-{sip.new_id()[:12]}"

    # ---- what we are

    @property
    def contact(self) -> str:
        port = f":{self.wire.port}" if self.wire.port else ""
        transport = "" if self.wire.param == "udp" else f";transport={self.wire.param}"
        return f"<sip:{self.user or 'carrier'}@{self.wire.host}{port}{transport}>"

    @property
    def via(self) -> str:
        port = f":{self.wire.port}" if self.wire.port else ""
        return f"SIP/2.0/{self.wire.via} {self.wire.host}{port};branch={sip.new_branch()};rport"

    def sdp(self, direction: str = "sendrecv", version: int = 1) -> str:
        host = "127.0.0.1" if self.wire.host.endswith(".invalid") else self.wire.host
        return sip.sdp(host, self.rtp_port, direction, version)

    # ---- sending

    def send(self, text: str, to: Address | None = None) -> None:
        self.log.append(("->", text))
        self.wire.send(text, to or self.server)

    def respond(
        self,
        request: Message,
        status: int,
        headers: Sequence[tuple[str, str]] = (),
        body: str = "",
        tag: str = "",
    ) -> str:
        """Answer a request, with Contact where it makes a dialog.  Returns the text, to send it again."""
        extra = list(headers)
        if request.method in ("INVITE", "UPDATE", "SUBSCRIBE", "REFER") and 100 < status < 300:
            extra.insert(0, ("Contact", self.contact))
        text = sip.response(request, status, REASONS.get(status, "Whatever"), tag or self.tag, extra, body)
        self.send(text, self.server)
        return text

    # ---- receiving

    def _next(self, timeout: float) -> Message | None:
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            came = self.wire.receive(left) if left > 0 else None
            if came is None:
                return None
            text, _ = came
            self.log.append(("<-", text))
            message = sip.parse(text)
            key = (
                message.start,
                message.get("via"),
                message.get("cseq"),
                message.get("to"),
                message.get("rseq"),
            )
            if key in self._seen and message.method != "ACK":
                self.repeats += 1
                continue
            self._seen.add(key)
            if message.is_request and message.method in self.idle_answers and not message.tag("to"):
                self.respond(message, 200)
                continue
            return message

    def expect(self, wanted: Callable[[Message], bool], what: str, timeout: float = 5.0) -> Message:
        """The first message, received before or now, that fits; raises NothingCame with the story so far."""
        end = time.monotonic() + timeout
        while True:
            for index, message in enumerate(self.inbox):
                if wanted(message):
                    return self.inbox.pop(index)
            message_or_none = self._next(end - time.monotonic())
            if message_or_none is None:
                raise NothingCame(f"{self.user or 'carrier'}: {what} did not come\n{self.story()}")
            self.inbox.append(message_or_none)

    def expect_request(self, method: str, timeout: float = 5.0, call_id: str = "") -> Message:
        return self.expect(
            lambda m: m.is_request and m.method == method and call_id in ("", m.call_id), method, timeout
        )

    def expect_response(
        self, method: str, low: int, high: int = 0, timeout: float = 5.0, call_id: str = ""
    ) -> Message:
        """A response to ``method`` with a status from ``low`` to ``high`` (default: only ``low``)."""

        def fits(m: Message) -> bool:
            right = not m.is_request and m.method == method and low <= m.status <= (high or low)
            return right and call_id in ("", m.call_id)

        return self.expect(fits, f"{low}-{high or low} to {method}", timeout)

    def expect_silence(self, seconds: float) -> None:
        """Nothing but what is already in the inbox comes for so long."""
        message = self._next(seconds)
        if message is not None:
            raise AssertionError(f"{self.user or 'carrier'}: unexpected {message.start}\n{self.story()}")

    def story(self) -> str:
        """Both directions, first lines and the headers that matter, for the message of a failed test."""
        lines = []
        for direction, text in self.log[-60:]:
            message = sip.parse(text)
            reason = f"  Reason: {message.get('reason')}" if message.get("reason") else ""
            lines.append(f"  {direction} {message.start[:90]}  CSeq {message.get('cseq')}{reason}")
        return "\n".join(lines) or "  (nothing was sent or received)"

    # ---- whole exchanges

    def transact(
        self,
        method: str,
        uri: str,
        headers: Sequence[tuple[str, str]],
        body: str = "",
        timeout: float = 5.0,
    ) -> Message:
        """Send a non-INVITE request and wait for its final response; UDP requests are repeated meanwhile."""
        branch_via = self.via
        text = sip.build(
            f"{method} {uri} SIP/2.0", [("Via", branch_via), ("Max-Forwards", "70"), *headers], body
        )
        branch = branch_via.split("branch=")[1].split(";")[0]
        self.send(text)
        end = time.monotonic() + timeout
        while True:
            try:
                return self.expect(
                    lambda m: not m.is_request and m.status >= 200 and branch in m.get("via"),
                    f"final response to {method}",
                    min(0.7, max(0.01, end - time.monotonic())),
                )
            except NothingCame:
                if time.monotonic() > end:
                    raise
                if self.wire.via == "UDP":
                    self.send(text)

    def register(
        self, expires: int = 300, contact: str = "", password: str = "", instance: bool = True
    ) -> Message:
        """REGISTER, answering one challenge; the final response, whatever it is."""
        uri = f"sip:{self.domain}"
        aor = f"sip:{self.user}@{self.domain}"
        value = contact or (self.contact + (f';+sip.instance="<{self.instance}>"' if instance else ""))
        answer: list[tuple[str, str]] = []
        for _ in range(2):
            self._register_cseq += 1
            headers = [
                ("From", f"<{aor}>;tag={self.tag}"),
                ("To", f"<{aor}>"),
                ("Call-ID", self._register_call_id),
                ("CSeq", f"{self._register_cseq} REGISTER"),
                ("Contact", value),
                ("Expires", str(expires)),
                ("Supported", "path, outbound"),
                *answer,
            ]
            reply = self.transact("REGISTER", uri, headers)
            if reply.status != 401 or answer:
                self.registered = reply.status == 200 and expires > 0
                return reply
            challenge = self.choose_challenge(reply)
            answer = [
                (
                    "Authorization",
                    authorization(challenge, "REGISTER", uri, self.user, password or self.password),
                )
            ]
        return reply

    @staticmethod
    def choose_challenge(reply: Message) -> str:
        """The first challenge, as a simple phone does (RFC 8760 puts the best first)."""
        challenges = reply.all("www-authenticate") or reply.all("proxy-authenticate")
        assert challenges, f"{reply.start} without a challenge"
        return challenges[0]
