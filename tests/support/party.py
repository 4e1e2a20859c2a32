"""Scripted user agents on the virtual network: they do what they are told, and what any sound phone does by itself.

By itself a party answers BYE, CANCEL, PRACK, INFO, NOTIFY and OPTIONS, repeats its 2xx until the ACK and ACKs every 2xx.
Ringing, answering, re-INVITEs and everything odd is up to the script.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from callcontrol.sip import build, digest
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import (
    AckReceived,
    CancelReceived,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
)
from callcontrol.sip.fields import parse_name_addr
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.sip.message import Message
from callcontrol.sip.timers import SipTimers
from callcontrol.sip.uri import parse_uri
from tests.support.wire import Network, Node

SERVER = "10.0.0.1"
DOMAIN = "cloudline.example"
SDP = "application/sdp"
OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

Headers = tuple[tuple[str, str], ...]


def sdp(port: int, session: int = 1, version: int = 1, direction: str = "") -> bytes:
    """A description that is told apart by its port."""
    extra = f"a={direction}\r\n" if direction else ""
    return (
        f"v=0\r\no=- {session} {version} IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\n{extra}"
    ).encode()


def own(port: int) -> bytes:
    """A description whose origin is told apart by its port too, as those of different devices are."""
    return sdp(port, port)


class Ground(Protocol):
    """What a party stands on."""

    network: Network


class Dialog:
    """One call as a party sees it."""

    def __init__(self, call_id: str, local: str, remote: str, incoming: bool) -> None:
        self.call_id = call_id
        self.local = local
        """Own From/To value with tag."""
        self.remote = remote
        self.incoming = incoming
        self.target = ""
        self.routes: list[str] = []
        self.cseq = 0
        self.invite: Message | None = None
        self.invite_key = ""
        self.invite_branch = ""
        self.invite_cseq = 0
        self.responses: list[Message] = []
        """Responses to everything we sent in it."""
        self.requests: list[Message] = []
        """Requests that came in it (the INVITE too, ACKs too)."""
        self.keys: dict[int, str] = {}
        self.cancelled: Message | None = None
        self.failed: list[str] = []
        self.given: list[int] = []
        """Final statuses that we gave to its first INVITE."""
        self.replied: set[int] = set()
        """CSeq numbers of the requests that have our final response."""
        self.acked: set[int] = set()
        self.over = False
        """BYE was sent or received."""

    @property
    def status(self) -> int:
        """Last status of an INVITE that we sent, final or not, else 0."""
        found = self.statuses
        return found[-1] if found else 0

    @property
    def statuses(self) -> list[int]:
        return [m.status for m in self.responses if m.method == "INVITE"]

    @property
    def live(self) -> bool:
        """This side believes that the session stands."""
        if self.over:
            return False
        return any(200 <= s < 300 for s in (self.given if self.incoming else self.statuses))

    @property
    def hanging(self) -> bool:
        """This side still waits for the first INVITE to come to an end."""
        if self.over:
            return False
        if self.incoming:
            return not self.given
        return not any(s >= 200 for s in self.statuses) and not any("INVITE" in f for f in self.failed)

    def got(self, method: str) -> list[Message]:
        """Requests of this method that came."""
        return [m for m in self.requests if m.method == method]

    def last(self, method: str) -> Message:
        """Last response to a request of this method."""
        return [m for m in self.responses if m.method == method][-1]


class Party:
    """One user agent; see the module."""

    def __init__(self, world: Ground, name: str, host: str, transport: str) -> None:
        self.world = world
        self.name = name
        self.host = host
        self.transport = transport
        self.password = ""
        self.endpoint = Endpoint(SipTimers(), Listeners(), secret=host.encode())
        self.node: Node = world.network.node(host, ("udp", "tcp"), endpoint=self.endpoint)
        self.node.turn = lambda node: self._turn()
        self.dialogs: list[Dialog] = []
        self.auto: Callable[[Dialog, Message, str], bool] | None = None
        """Sees every request first; True: it was dealt with."""
        self.answers: int = 0
        """Port to answer re-INVITE and UPDATE with; 0: the script answers them."""
        self.auto_ack = True
        self.repeats = True
        """Repeats its 2xx until the ACK; off for a party that is known to be alone with a lost one."""
        self.supported = ""
        self.allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, REFER, NOTIFY"
        by = f";transport={transport}" if transport != "udp" else ""
        self.contact = f"<sip:{name}@{host}:5060{by}>"
        self.contact_params = ""
        self.replies: list[Message] = []
        self._ids = 0

    # -- small things

    def _id(self) -> str:
        self._ids += 1
        return f"{self.name}{self._ids}"

    @property
    def flow(self) -> Flow:
        return Flow(self.transport, SERVER, 5060, f"{self.transport}:{self.host}:5060")

    @property
    def now(self) -> float:
        return self.world.network.now

    def send(self, branch: str, method: str, data: bytes, owner: object) -> None:
        """Start a client transaction with any message; ``owner``, if callable, is given the responses."""
        self.endpoint.send_request(branch, method, data, self.flow, self.now, owner)
        self.node.settle()

    # -- registration

    def register(self, expires: int = 3600, headers: Headers = ()) -> None:
        """Register with digest; run the world to let it happen."""
        call_id = f"reg-{self.name}-{self.host}"
        self._ids += 3
        first = self._ids

        def ask(cseq: int, authorization: str) -> None:
            uri = f"sip:{DOMAIN}"
            lines = [
                ("max-forwards", "70"),
                ("from", f"<sip:{self.name}@{DOMAIN}>;tag=r{self._id()}"),
                ("to", f"<sip:{self.name}@{DOMAIN}>"),
                ("call-id", call_id),
                ("cseq", f"{cseq} REGISTER"),
                ("contact", f"{self.contact}{self.contact_params};expires={expires}"),
                *headers,
            ]
            if authorization:
                lines.append(("authorization", authorization))
            self.send(f"z9hG4bK{self._id()}r", "REGISTER", build.request("REGISTER", uri, lines), answer)

        def answer(message: Message) -> None:
            self.replies.append(message)
            if message.status == 401 and message.cseq == first:
                challenge = digest.choose(digest.parse_challenges(message.all("www-authenticate")))
                assert challenge is not None
                uri = f"sip:{DOMAIN}"
                value = digest.answer(challenge, "REGISTER", uri, self.name, self.password, b"", "c", 1)
                ask(first + 1, value)

        ask(first, "")

    # -- calls

    def call(self, number: str, body: bytes = OFFER, headers: Headers = (), caller: str = "") -> Dialog:
        """Send an INVITE (answering a challenge by itself)."""
        user = caller or self.name
        local = f"<sip:{user}@{DOMAIN}>;tag={self._id()}t"
        uri = f"sip:{number}@{DOMAIN}"
        dialog = Dialog(f"{self._id()}-{self.host}", local, f"<{uri}>", False)
        self.dialogs.append(dialog)

        def ask(authorization: str) -> None:
            dialog.cseq += 1
            dialog.invite_cseq = dialog.cseq
            lines = [
                ("max-forwards", "70"),
                ("from", dialog.local),
                ("to", f"<{uri}>"),
                ("call-id", dialog.call_id),
                ("cseq", f"{dialog.cseq} INVITE"),
                ("contact", self.contact),
                ("allow", self.allow),
                *headers,
            ]
            if self.supported:
                lines.append(("supported", self.supported))
            if authorization:
                lines.append(("proxy-authorization", authorization))
            dialog.invite_branch = f"z9hG4bK{self._id()}i"
            kind = SDP if body and not any(name == "content-type" for name, _ in headers) else ""
            data = build.request("INVITE", uri, lines, body, kind)
            self.send(dialog.invite_branch, "INVITE", data, answer)

        def answer(message: Message) -> None:
            if message.status in (401, 407) and self.password and dialog.cseq == 1:
                name = "proxy-authenticate" if message.status == 407 else "www-authenticate"
                challenge = digest.choose(digest.parse_challenges(message.all(name)))
                assert challenge is not None
                ask(digest.answer(challenge, "INVITE", uri, self.name, self.password, b"", "c", 1))
                return
            self._on_invite_response(dialog, message)

        ask("")
        return dialog

    def _on_invite_response(self, dialog: Dialog, message: Message) -> None:
        dialog.responses.append(message)
        if message.status == 100:
            return
        if message.to_tag and message.status < 300:
            dialog.remote = message.to_value
            contact = message.get("contact")
            if contact:
                dialog.target = parse_name_addr(contact).uri
            dialog.routes = list(reversed(message.items("record-route")))
        if 100 < message.status < 200 and "100rel" in message.tokens("require"):
            self.prack(dialog, message)
        if 200 <= message.status < 300 and self.auto_ack:
            self.ack(dialog)

    def prack(self, dialog: Dialog, message: Message, body: bytes = b"") -> None:
        """Acknowledge a reliable provisional response, once."""
        rack = f"{message.get('rseq')} {message.cseq} INVITE"
        done = [m.get("rack") for m in dialog.requests if m.method == "PRACK"]
        seen = [
            m
            for m in dialog.responses[:-1]
            if m.get("rseq") == message.get("rseq") and m.to_tag == message.to_tag
        ]
        if rack not in done and not seen:
            self.request(dialog, "PRACK", body, headers=(("rack", rack),))

    def ack(self, dialog: Dialog, body: bytes = b"") -> None:
        data = self._in_dialog(dialog, "ACK", dialog.invite_cseq, (), body, SDP if body else "")
        self.endpoint.send_stateless_request(f"z9hG4bK{self._id()}a", data, self.flow)
        self.node.settle()

    def cancel(self, dialog: Dialog, headers: Headers = ()) -> None:
        to = parse_name_addr(dialog.remote).uri
        lines = [
            ("max-forwards", "70"),
            ("from", dialog.local),
            ("to", f"<sip:{parse_uri(to).user}@{DOMAIN}>"),
            ("call-id", dialog.call_id),
            ("cseq", f"{dialog.invite_cseq} CANCEL"),
            *headers,
        ]
        self.send(dialog.invite_branch, "CANCEL", build.request("CANCEL", to, lines), dialog.responses.append)

    def _in_dialog(
        self, dialog: Dialog, method: str, cseq: int, headers: Headers, body: bytes, kind: str
    ) -> bytes:
        lines = [
            *[("route", route) for route in dialog.routes],
            ("max-forwards", "70"),
            ("from", dialog.local),
            ("to", dialog.remote),
            ("call-id", dialog.call_id),
            ("cseq", f"{cseq} {method}"),
            *headers,
        ]
        return build.request(method, dialog.target, lines, body, kind)

    def request(
        self, dialog: Dialog, method: str, body: bytes = b"", kind: str = "", headers: Headers = ()
    ) -> None:
        """Any request in the dialog; a 2xx to a re-INVITE is ACKed by itself unless ``auto_ack`` is off."""
        dialog.cseq += 1
        if method == "INVITE":
            dialog.invite_cseq = dialog.cseq
        if method == "BYE":
            dialog.over = True
        if method in ("INVITE", "UPDATE", "REFER"):
            contact = (("contact", self.contact),) if self.contact else ()
            headers = (*contact, ("allow", self.allow), *headers)
            if self.supported:
                headers = (*headers, ("supported", self.supported))
        data = self._in_dialog(dialog, method, dialog.cseq, headers, body, kind or (SDP if body else ""))

        def answer(message: Message) -> None:
            if method == "INVITE":
                self._on_invite_response(dialog, message)
            else:
                dialog.responses.append(message)

        self.send(f"z9hG4bK{self._id()}q", method, data, answer)

    def bye(self, dialog: Dialog, headers: Headers = ()) -> None:
        self.request(dialog, "BYE", headers=headers)

    # -- being called

    @property
    def incoming(self) -> Dialog:
        """The last call that came in."""
        found = [dialog for dialog in self.dialogs if dialog.incoming]
        assert found, f"{self.name} was not called"
        return found[-1]

    @property
    def rang(self) -> bool:
        return any(dialog.incoming for dialog in self.dialogs)

    def reply(
        self,
        dialog: Dialog,
        status: int,
        body: bytes = b"",
        headers: Headers = (),
        message: Message | None = None,
        tag: str = "",
    ) -> None:
        """Answer the INVITE of the dialog, or another request of it."""
        first = dialog.invite
        request = message or first
        assert request is not None
        own_tag = tag or dialog.local.rpartition(";tag=")[2]
        extra = headers
        if status < 300 and request.method in ("INVITE", "UPDATE"):
            extra = (("contact", self.contact), ("allow", self.allow), *headers)
        kind = SDP if body and not any(name == "content-type" for name, _ in headers) else ""
        data = build.response(request, status, "", own_tag, extra, body, kind)
        key = dialog.invite_key if request is first else dialog.keys.get(request.cseq, "")
        if status >= 200:
            dialog.replied.add(request.cseq)
        if request is first and status >= 200:
            if tag and not dialog.given:
                dialog.local = f"{dialog.local.rpartition(';tag=')[0]};tag={tag}"
            dialog.given.append(status)
        self.endpoint.send_response(key, status, data, self.now)
        self.node.settle()
        if request.method == "INVITE" and 200 <= status < 300 and self.repeats:
            self._repeat(dialog, request.cseq, key, status, data, 0.5, self.now + 32.0)

    def _repeat(
        self, dialog: Dialog, cseq: int, key: str, status: int, data: bytes, wait: float, until: float
    ) -> None:
        def again() -> None:
            if cseq in dialog.acked or dialog.over:
                return
            if self.now >= until:
                self.bye(dialog)
                return
            self.endpoint.send_response(key, status, data, self.now)
            self.node.settle()
            self._repeat(dialog, cseq, key, status, data, min(wait * 2, 4.0), until)

        self.world.network.at(min(self.now + wait, until), again)

    def ring(self, status: int = 180, body: bytes = b"", headers: Headers = (), tag: str = "") -> None:
        self.reply(self.incoming, status, body, headers, tag=tag)

    def answer(self, body: bytes = b"", headers: Headers = ()) -> Dialog:
        dialog = self.incoming
        self.reply(dialog, 200, body or sdp(5000 + len(self.name)), headers)
        return dialog

    # -- events

    def _turn(self) -> None:
        while self.endpoint.events:
            batch = self.endpoint.events[:]
            self.endpoint.events.clear()
            for event in batch:
                if isinstance(event, ResponseReceived):
                    if callable(event.owner):
                        event.owner(event.message)
                elif isinstance(event, RequestReceived):
                    self._on_request(event.message, event.key)
                elif isinstance(event, AckReceived):
                    dialog = self.find(event.message)
                    if dialog is not None:
                        dialog.requests.append(event.message)
                        dialog.acked.add(event.message.cseq)
                elif isinstance(event, CancelReceived):
                    dialog = self.find(event.message)
                    if dialog is not None and dialog.invite is not None:
                        dialog.cancelled = event.message
                        if not dialog.given:
                            self.reply(dialog, 487)
                elif isinstance(event, TransactionFailed):
                    for dialog in self.dialogs:
                        dialog.failed.append(f"{event.method} {event.cause}")

    def find(self, message: Message) -> Dialog | None:
        """The dialog that a message belongs to, by its Call-ID."""
        for dialog in self.dialogs:
            if dialog.call_id == message.call_id:
                return dialog
        return None

    def _on_request(self, message: Message, key: str) -> None:
        dialog = self.find(message)
        if dialog is None and message.method == "INVITE":
            local = f"{message.to_value};tag={self._id()}u"
            dialog = Dialog(message.call_id, local, message.from_value, True)
            dialog.invite, dialog.invite_key = message, key
            contact = message.get("contact")
            dialog.target = parse_name_addr(contact).uri if contact else ""
            dialog.routes = message.items("record-route")
            self.dialogs.append(dialog)
        if dialog is None:
            status = 200 if message.method in ("OPTIONS", "NOTIFY") else 481
            self.endpoint.send_response(key, status, build.response(message, status, "", "x"), self.now)
            return
        elif message.method == "INVITE" and not message.to_tag:
            # the same call once more, with credentials or another session interval
            dialog.invite, dialog.invite_key, dialog.given = message, key, []
        dialog.requests.append(message)
        dialog.keys[message.cseq] = key
        if self.auto is not None and self.auto(dialog, message, key):
            return
        if message.method == "BYE":
            self.reply(dialog, 481 if dialog.over else 200, message=message)
            dialog.over = True
        elif message.method in ("PRACK", "OPTIONS", "INFO", "NOTIFY"):
            self.reply(dialog, 200, message=message)
        elif self.answers and message is not dialog.invite and message.method in ("INVITE", "UPDATE"):
            body = b"" if message.method == "UPDATE" and not message.body else own(self.answers)
            self.reply(dialog, 200, body, message=message)
