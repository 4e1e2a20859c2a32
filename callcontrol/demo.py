"""``cloudline serve --demo`` and ``cloudline demo call``: a node on loopback that anyone can call within a minute.

The demo call is a real one: a small carrier and a small softphone speak SIP over UDP with the running node.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from callcontrol.operator_access import NodeNote
from callcontrol.plans import plan_table
from callcontrol.provisioning import Document, SqlProvisioningStore, apply
from callcontrol.sip import build, digest
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import RequestReceived, ResponseReceived
from callcontrol.sip.fields import parse_name_addr
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.message import Message
from callcontrol.sip.timers import SipTimers
from config.settings import Settings

Found = TypeVar("Found")

DOMAIN: Final = "cloudline.example"
ANA: Final = "+33639981001"
BEN: Final = "+33639981002"
OUTSIDE: Final = "+33199001234"
PASSWORD: Final = "demo"
RING_S: Final = 2.0
"""How long the demo's softphone rings before it answers."""
TALK_S: Final = 1.0
PATIENCE_S: Final = 15.0

_DOCUMENT: Final = """
[[account]]
ref = "demo"
kind = "company"
plan = "advanced"
manager = "ana"

[[user]]
ref = "ana"
account = "demo"
name = "Ana Example"

[[user]]
ref = "ben"
account = "demo"
name = "Ben Example"

[[device]]
ref = "ana-phone"
user = "ana"
kind = "phone"
sim = "+33639980001"
sim_verified = true
sip_username = "ana-phone"
sip_password = "{password}"

[[device]]
ref = "ana-demo"
user = "ana"
kind = "desktop"
sip_username = "ana-demo"
sip_password = "{password}"

[[device]]
ref = "ben-phone"
user = "ben"
kind = "phone"
sim = "+33639980002"
sim_verified = true
sip_username = "ben-phone"
sip_password = "{password}"

[[number]]
e164 = "{ana}"
user = "ana"

[[number]]
e164 = "{ben}"
user = "ben"

[[trunk]]
ref = "demo-carrier"
peers = ["sip:127.0.0.1:{carrier};transport=udp"]
accept_from = ["127.0.0.1/32"]
port_must_match = true
prefixes = ["+"]
options_seconds = 0
"""


def settings_for(settings: Settings, folder: Path) -> Settings:
    """The settings of a demo node: loopback, SQLite and journal in ``folder``, test networks trusted."""
    sip = free_port(5060)
    http = free_port(8080)
    return settings.model_copy(
        update={
            "sip": settings.sip.model_copy(
                update={"listen": (f"udp:127.0.0.1:{sip}", f"tcp:127.0.0.1:{sip}"), "domain": DOMAIN}
            ),
            "http": settings.http.model_copy(update={"listen": f"127.0.0.1:{http}"}),
            "database": settings.database.model_copy(
                update={"url": f"sqlite+aiosqlite:///{folder / 'demo.db'}"}
            ),
            "cdr": settings.cdr.model_copy(update={"outbox": str(folder / "outbox")}),
            "limits": settings.limits.model_copy(update={"trust_test_networks": True}),
            "node": settings.node.model_copy(update={"drain_seconds": 2.0}),
        }
    )


def free_port(wanted: int) -> int:
    """``wanted`` if UDP and TCP of it are free on loopback, else any that is."""
    for port in (wanted, 0):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tcp.bind(("127.0.0.1", port))
                taken = int(tcp.getsockname()[1])
                udp.bind(("127.0.0.1", taken))
            except OSError:
                continue
            return taken
    raise OSError("no free port on 127.0.0.1")


def carrier_port(settings: Settings) -> int:
    """Port of the demo's carrier: beside the node's own."""
    return int(settings.sip.listen[0].rpartition(":")[2]) + 20


async def provision(engine: AsyncEngine, settings: Settings) -> None:
    """Put the demo's users, numbers and trunk into the database."""
    text = _DOCUMENT.format(password=PASSWORD, ana=ANA, ben=BEN, carrier=carrier_port(settings))
    await apply([Document("demo", text)], SqlProvisioningStore(engine), plans=plan_table(settings))


def facts(listeners: Listeners, settings: Settings) -> dict[str, str]:
    """What ``cloudline demo call`` has to know."""
    udp = next(listener for listener in listeners.all() if listener.transport == "udp")
    return {
        "sip": f"{udp.host}:{udp.port}",
        "carrier": str(carrier_port(settings)),
        "domain": DOMAIN,
        "database": settings.database.url,
    }


def banner(listeners: Listeners, settings: Settings) -> list[str]:
    """What to type into a softphone, and the command that needs none."""
    address = facts(listeners, settings)["sip"]
    return [
        "",
        "  Two softphone accounts (any softphone on this machine, UDP or TCP):",
        f"    user ana-phone   password {PASSWORD}   domain {DOMAIN}   server (proxy) {address}   number {ANA}",
        f"    user ben-phone   password {PASSWORD}   domain {DOMAIN}   server (proxy) {address}   number {BEN}",
        f"  Register both, and dial {BEN} from ana-phone.",
        "",
        "  Or let the demo place a call by itself, in a second terminal:",
        "    .venv/bin/cloudline demo call",
        "",
        "  Ctrl-C stops the node.",
    ]


# -- the demo call --------------------------------------------------------------------------------------------------


def place_call(note: NodeNote, say: Callable[[str], None]) -> str:
    """Register a softphone, call its number from the carrier, talk, hang up.  Returns the call reference.

    Raises RuntimeError when a step does not happen, OSError when a socket cannot be used.
    """
    host, _, port = note.extra["sip"].rpartition(":")
    domain = note.extra["domain"]
    with Agent("ana-demo", (host, int(port)), domain) as phone:
        phone.register(PASSWORD)
        say(f"registered a softphone as ana-demo ({phone.address})")
        with Agent(OUTSIDE, (host, int(port)), domain, int(note.extra["carrier"])) as carrier:
            say(f"the demo's carrier calls {ANA} from {OUTSIDE}")
            return _talk(phone, carrier, say)


def _talk(phone: Agent, carrier: Agent, say: Callable[[str], None]) -> str:
    call = carrier.invite(ANA)
    incoming = phone.wait("the INVITE", lambda: phone.request("INVITE"), carrier)
    ref = incoming.message.get("x-cloudline-call") or ""
    if not ref:
        raise RuntimeError("the INVITE carries no call reference")
    phone.respond(incoming, 180)
    say("ana-demo rings")
    phone.pause(RING_S, carrier)
    phone.respond(incoming, 200, phone.description())
    answer = carrier.wait("the answer", lambda: carrier.response("INVITE", 200), phone)
    carrier.acknowledge(call, answer)
    say("answered" if answer.status < 300 else f"ended with {answer.status} {answer.reason}")
    if answer.status >= 300:
        return ref
    carrier.pause(TALK_S, phone)
    carrier.bye(call, answer)
    bye = phone.wait("the BYE", lambda: phone.request("BYE"), carrier)
    phone.respond(bye, 200)
    carrier.wait("the end", lambda: carrier.response("BYE", 200), phone)
    say("hung up")
    phone.pause(0.3, carrier)
    return ref


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

    def _lines(self, to: str, call_id: str, cseq: int, method: str) -> list[tuple[str, str]]:
        return [
            ("Max-Forwards", "70"),
            ("From", f"<sip:{self._user}@{self._domain}>;tag={self._tag}"),
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

    def invite(self, number: str) -> str:
        """Call a number; returns the Call-ID."""
        call_id = secrets.token_hex(8)
        uri = f"sip:{number}@{self._domain}"
        self._send("INVITE", uri, self._lines(f"<{uri}>", call_id, 1, "INVITE"), self.description())
        return call_id

    def respond(self, event: RequestReceived, status: int, body: bytes = b"") -> None:
        headers = (("Contact", f"<sip:{self._user}@{self.address}>"),)
        kind = "application/sdp" if body else ""
        data = build.response(event.message, status, "", self._tag, headers, body, kind)
        self._endpoint.send_response(event.key, status, data, time.monotonic())
        self._flush()

    def _in_dialog(self, method: str, call_id: str, cseq: int, answer: Message) -> tuple[str, bytes]:
        contact = answer.get("contact")
        uri = parse_name_addr(contact).uri if contact else f"sip:{self._domain}"
        return uri, build.request(method, uri, self._lines(answer.to_value, call_id, cseq, method))

    def acknowledge(self, call_id: str, answer: Message) -> None:
        if answer.status >= 300:
            return  # the transaction did it
        _, data = self._in_dialog("ACK", call_id, 1, answer)
        self._endpoint.send_stateless_request("z9hG4bK" + secrets.token_hex(8), data, self._flow)
        self._flush()

    def bye(self, call_id: str, answer: Message) -> None:
        _, data = self._in_dialog("BYE", call_id, 2, answer)
        self._endpoint.send_request(
            "z9hG4bK" + secrets.token_hex(8), "BYE", data, self._flow, time.monotonic()
        )
        self._flush()
