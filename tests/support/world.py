"""A whole node on a virtual network: the real signalling core, scripted parties around it, virtual time.

    world = World()
    bob = world.phone("bob-phone")          # registers
    carrier = world.carrier("carrier-a")
    call = carrier.call("+33639981001")
    world.run(1.0)
    bob.ring(); world.run(1.0); bob.answer()
    ...
    world.records                            # call records as the outbox got them

Parties speak raw SIP through an endpoint of their own, so what the server sends is checked by a second reading of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from callcontrol.assembly import Signalling, Surroundings, make_endpoint, make_gate
from callcontrol.bindings import MemoryBindingStore
from callcontrol.call_store import MemoryCallStore
from callcontrol.cdr import CallRecord
from callcontrol.sip import build, digest
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import AckReceived, CancelReceived, RequestReceived, ResponseReceived, TransactionFailed
from callcontrol.sip.fields import parse_name_addr
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.message import Message
from callcontrol.sip.timers import SipTimers
from callcontrol.sip.uri import parse_uri
from config.settings import Settings
from gateway.trunk import Prefix, Trunk, TrunkDirectory
from numbering.directory import Directory
from numbering.e164 import E164
from numbering.models import Account, AccountKind, CloudNumber, Device, DeviceKind, PlanLimits, User
from tests.support.wire import Network, Node

SERVER = "10.0.0.1"
DOMAIN = "cloudline.example"
START = 1_800_000_000.0
OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
SDP = "application/sdp"


def sdp(port: int, session: int = 1, version: int = 1, direction: str = "") -> bytes:
    """A description that is told apart by its port."""
    extra = f"a={direction}\r\n" if direction else ""
    return (
        f"v=0\r\no=- {session} {version} IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\n{extra}"
    ).encode()


class ListSink:
    """Call records in the order in which they were handed over."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    def put(self, record: CallRecord) -> None:
        self.records.append(record)


class NumericResolver:
    """Numeric URIs and the names of a table; nothing else exists."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self.names: dict[str, list[Flow]] = {}

    def direct(self, uri: str) -> Flow | None:
        parsed = parse_uri(uri)
        if parsed.host in self.names or not parsed.host[:1].isdigit():
            return None
        transport = parsed.params.get("transport") or "udp"
        listener = self._listeners.pick(transport, parsed.host)
        return Flow(transport, parsed.host, parsed.port or 5060, listener.name if listener is not None else "")

    def look_up(self, uri: str, done: Callable[[list[Flow]], None]) -> None:
        done(list(self.names.get(parse_uri(uri).host, [])))


def provisioning() -> tuple[Directory, TrunkDirectory]:
    """A company with ana and ben (two phones each), the consumer zoe, and two carriers."""
    people = {"ana": "acme", "ben": "acme", "cleo": "acme", "zoe": "zoe"}
    numbers = {"ana": "+33639981001", "ben": "+33639981002", "cleo": "+33639981003", "zoe": "+33639981009"}
    directory = Directory(
        accounts=[
            Account(ref="acme", kind=AccountKind.COMPANY, plan="advanced", manager="ana"),
            Account(ref="zoe", plan="advanced"),
        ],
        users=[User(ref=ref, account=account, name=ref.title()) for ref, account in people.items()],
        devices=[
            Device(
                ref=f"{user}-{kind}",
                user=user,
                kind=DeviceKind(kind),
                sim=f"+3363998000{index}" if kind == "phone" else "",
                sim_verified=True,
                sip_username=f"{user}-{kind}",
                sip_password=f"secret-{user}",
            )
            for index, user in enumerate(people)
            for kind in ("phone", "desktop", "browser")
        ],
        numbers=[CloudNumber(e164=E164(number), user=user) for user, number in numbers.items()],
        plans={"advanced": PlanLimits(devices=3, numbers=20)},
    )
    trunks = TrunkDirectory(
        [
            Trunk(
                ref="carrier-a",
                peers=("sip:10.0.1.1:5060", "sip:10.0.1.2:5060"),
                accept_from=("10.0.1.0/24",),
                prefixes=(Prefix("+"),),
                priority=10,
            ),
            Trunk(
                ref="carrier-b",
                peers=("sip:10.0.2.1:5060",),
                accept_from=("10.0.2.0/24",),
                prefixes=(Prefix("+"),),
                priority=20,
                username="cloudline",
                password="trunk-secret",
            ),
        ]
    )
    return directory, trunks


class World:
    """The server and its network."""

    def __init__(self, seed: int = 1, encodes: bool = True, settings: Settings | None = None, latency: float = 0.01) -> None:
        self.network = Network(latency=latency)
        self.random = random.Random(seed)
        self.settings = settings or Settings()
        self.directory, self.trunks = provisioning()
        self.sink = ListSink()
        self.store = MemoryCallStore(encodes=encodes)
        self.bindings = MemoryBindingStore()
        self.listeners = Listeners()
        for transport in ("udp", "tcp"):
            self.listeners.add(Listener(f"{transport}:{SERVER}:5060", transport, SERVER, 5060))
        self.resolver = NumericResolver(self.listeners)
        self.server = self.build()
        self.node = self.network.node(SERVER, transports=(), endpoint=self.server.endpoint)
        self.node.turn = lambda node: self._turn()
        self._ticks = False
        self.parties: list[Party] = []

    def build(self) -> Signalling:
        """A fresh process over the stores that are left."""
        around = Surroundings(
            monotonic=lambda: self.network.now,
            wall=self.now,
            entropy=self.random.randbytes,
            dice=self.random.random,
            key=b"k" * 32,
            resolver=self.resolver,
            calls=self.store,
            bindings=self.bindings,
            records=self.sink,
        )
        endpoint = make_endpoint(self.settings, self.listeners, around.key)
        gate = make_gate(self.settings, self.bindings)
        return Signalling(self.settings, self.directory, self.trunks, endpoint, gate, around)

    def now(self) -> float:
        return START + self.network.now

    def _turn(self) -> None:
        self.server.turn()
        self._arm()

    def _arm(self) -> None:
        """Call timers are no endpoint deadlines: ask the network to come back."""
        due = self.server.runner.next_deadline()
        if due is not None and not self._ticks:
            self._ticks = True
            self.network.at(max(due - START, self.network.now) + 0.001, self._tick)

    def _tick(self) -> None:
        self._ticks = False
        self._turn()

    def run(self, seconds: float) -> None:
        self.network.run_until(self.network.now + seconds)

    @property
    def records(self) -> list[CallRecord]:
        return self.sink.records

    @property
    def calls(self) -> int:
        return len(self.server.runner.calls)

    def phone(self, username: str, host: str = "", transport: str = "udp", register: bool = True) -> Party:
        """A softphone with the credentials of a provisioned device."""
        party = Party(self, username, host or f"10.1.0.{len(self.parties) + 1}", transport)
        party.password = f"secret-{username.partition('-')[0]}"
        self.parties.append(party)
        if register:
            party.register()
            self.run(0.2)
        return party

    def carrier(self, host: str = "10.0.1.1", name: str = "carrier") -> Party:
        """A carrier's gateway."""
        party = Party(self, name, host, "udp")
        self.parties.append(party)
        return party


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
        self.invite_body = b""
        self.responses: list[Message] = []
        """Responses to everything we sent in it."""
        self.requests: list[Message] = []
        """Requests that came in it (the INVITE too, ACKs too)."""
        self.keys: dict[int, str] = {}
        self.cancelled: Message | None = None
        self.failed: list[str] = []

    @property
    def status(self) -> int:
        """Last final status of the INVITE that we sent, else the last provisional one, else 0."""
        found = [m.status for m in self.responses if m.method == "INVITE"]
        return found[-1] if found else 0

    @property
    def statuses(self) -> list[int]:
        return [m.status for m in self.responses if m.method == "INVITE"]

    def got(self, method: str) -> list[Message]:
        """Requests of this method that came."""
        return [m for m in self.requests if m.method == method]

    def last(self, method: str) -> Message:
        """Last response to a request of this method."""
        return [m for m in self.responses if m.method == method][-1]


class Party:
    """A scripted user agent: does what it is told, answers BYE, CANCEL, PRACK and OPTIONS by itself."""

    def __init__(self, world: World, name: str, host: str, transport: str) -> None:
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
        self.auto_ack = True
        self.supported = ""
        self.allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, REFER, NOTIFY"
        self.contact_params = ""
        self.replies: list[Message] = []
        self._ids = 0
        self._conn = 0

    # -- small things

    def _id(self) -> str:
        self._ids += 1
        return f"{self.name}{self._ids}"

    @property
    def flow(self) -> Flow:
        return Flow(self.transport, SERVER, 5060, f"{self.transport}:{self.host}:5060")

    @property
    def contact(self) -> str:
        transport = f";transport={self.transport}" if self.transport != "udp" else ""
        return f"<sip:{self.name}@{self.host}:5060{transport}>"

    @property
    def now(self) -> float:
        return self.world.network.now

    def _send(self, branch: str, method: str, data: bytes, owner: object) -> None:
        self.endpoint.send_request(branch, method, data, self.flow, self.now, owner)
        self.node.settle()

    # -- registration

    def register(self, expires: int = 3600, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Register with digest; run the world to let it happen."""
        call_id = f"reg-{self.name}-{self.host}"
        state = {"cseq": self._ids + 1}
        self._ids += 2

        def send(authorization: str) -> None:
            uri = f"sip:{DOMAIN}"
            lines = [
                ("max-forwards", "70"),
                ("from", f"<sip:{self.name}@{DOMAIN}>;tag=r{self._id()}"),
                ("to", f"<sip:{self.name}@{DOMAIN}>"),
                ("call-id", call_id),
                ("cseq", f"{state['cseq']} REGISTER"),
                ("contact", f"{self.contact}{self.contact_params};expires={expires}"),
                *headers,
            ]
            if authorization:
                lines.append(("authorization", authorization))
            self._send(f"z9hG4bK{self._id()}r", "REGISTER", build.request("REGISTER", uri, lines), answer)

        def answer(message: Message) -> None:
            self.replies.append(message)
            if message.status == 401 and state["cseq"] % 2:
                challenge = digest.choose(digest.parse_challenges(message.all("www-authenticate")))
                assert challenge is not None
                state["cseq"] += 1
                send(digest.answer(challenge, "REGISTER", f"sip:{DOMAIN}", self.name, self.password, b"", "c", 1))

        if state["cseq"] % 2 == 0:
            state["cseq"] += 1
        send("")

    # -- calls

    def call(
        self,
        number: str,
        body: bytes = OFFER,
        headers: tuple[tuple[str, str], ...] = (),
        caller: str = "",
    ) -> Dialog:
        """Send an INVITE (answering a challenge by itself)."""
        user = caller or self.name
        dialog = Dialog(f"{self._id()}-{self.host}", f"<sip:{user}@{DOMAIN}>;tag={self._id()}t", f"<sip:{number}@{DOMAIN}>", False)
        dialog.invite_body = body
        self.dialogs.append(dialog)
        uri = f"sip:{number}@{DOMAIN}"

        def send(authorization: str) -> None:
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
            data = build.request("INVITE", uri, lines, body, SDP if body else "")
            self._send(dialog.invite_branch, "INVITE", data, answer)

        def answer(message: Message) -> None:
            if message.status in (401, 407) and self.password and dialog.cseq == 1:
                name = "proxy-authenticate" if message.status == 407 else "www-authenticate"
                challenge = digest.choose(digest.parse_challenges(message.all(name)))
                assert challenge is not None
                send(digest.answer(challenge, "INVITE", uri, self.name, self.password, b"", "c", 1))
                return
            self._on_invite_response(dialog, message)

        send("")
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
            rack = f"{message.get('rseq')} {message.cseq} INVITE"
            self.request(dialog, "PRACK", headers=(("rack", rack),))
        if 200 <= message.status < 300 and self.auto_ack:
            self.ack(dialog)

    def ack(self, dialog: Dialog, body: bytes = b"") -> None:
        data = self._in_dialog(dialog, "ACK", dialog.invite_cseq, (), body, SDP if body else "")
        self.endpoint.send_stateless_request(f"z9hG4bK{self._id()}a", data, self.flow)
        self.node.settle()

    def cancel(self, dialog: Dialog, headers: tuple[tuple[str, str], ...] = ()) -> None:
        lines = [
            ("max-forwards", "70"),
            ("from", dialog.local),
            ("to", f"<sip:{parse_uri(parse_name_addr(dialog.remote).uri).user}@{DOMAIN}>"),
            ("call-id", dialog.call_id),
            ("cseq", f"{dialog.invite_cseq} CANCEL"),
            *headers,
        ]
        to = parse_name_addr(dialog.remote).uri
        data = build.request("CANCEL", to, lines)
        self._send(dialog.invite_branch, "CANCEL", data, dialog.responses.append)

    def _in_dialog(
        self, dialog: Dialog, method: str, cseq: int, headers: tuple[tuple[str, str], ...], body: bytes, kind: str
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
        self,
        dialog: Dialog,
        method: str,
        body: bytes = b"",
        kind: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Any request in the dialog; a 2xx to a re-INVITE is ACKed by itself unless ``auto_ack`` is off."""
        dialog.cseq += 1
        if method == "INVITE":
            dialog.invite_cseq = dialog.cseq
        if method in ("INVITE", "UPDATE", "REFER"):
            headers = (("contact", self.contact), ("allow", self.allow), *headers)
        data = self._in_dialog(dialog, method, dialog.cseq, headers, body, kind or (SDP if body else ""))

        def answer(message: Message) -> None:
            if method == "INVITE":
                self._on_invite_response(dialog, message)
            else:
                dialog.responses.append(message)

        self._send(f"z9hG4bK{self._id()}q", method, data, answer)

    def bye(self, dialog: Dialog, headers: tuple[tuple[str, str], ...] = ()) -> None:
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
        headers: tuple[tuple[str, str], ...] = (),
        message: Message | None = None,
        tag: str = "",
    ) -> None:
        """Answer the INVITE of the dialog, or another request of it."""
        request = message or dialog.invite
        assert request is not None
        own_tag = tag or dialog.local.rpartition(";tag=")[2]
        extra = headers
        if status < 300 and request.method in ("INVITE", "UPDATE"):
            extra = (("contact", self.contact), ("allow", self.allow), *headers)
        data = build.response(request, status, "", own_tag, extra, body, SDP if body else "")
        key = dialog.keys.get(request.cseq, "") if request.method != "INVITE" or message is not None else dialog.invite_key
        self.endpoint.send_response(key, status, data, self.now)
        self.node.settle()

    def ring(self, status: int = 180, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.reply(self.incoming, status, body, headers)

    def answer(self, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> Dialog:
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
                    dialog = self._find(event.message)
                    if dialog is not None:
                        dialog.requests.append(event.message)
                elif isinstance(event, CancelReceived):
                    dialog = self._find(event.message)
                    if dialog is not None and dialog.invite is not None:
                        dialog.cancelled = event.message
                        self.reply(dialog, 487)
                elif isinstance(event, TransactionFailed):
                    for dialog in self.dialogs:
                        dialog.failed.append(f"{event.method} {event.cause}")

    def _find(self, message: Message) -> Dialog | None:
        for dialog in self.dialogs:
            if dialog.call_id == message.call_id:
                return dialog
        return None

    def _on_request(self, message: Message, key: str) -> None:
        dialog = self._find(message)
        if dialog is None and message.method == "INVITE":
            dialog = Dialog(message.call_id, f"{message.to_value};tag={self._id()}u", message.from_value, True)
            dialog.invite, dialog.invite_key = message, key
            contact = message.get("contact")
            dialog.target = parse_name_addr(contact).uri if contact else ""
            dialog.routes = message.items("record-route")
            self.dialogs.append(dialog)
        if dialog is None:
            status = 200 if message.method in ("OPTIONS", "NOTIFY") else 481
            self.endpoint.send_response(key, status, build.response(message, status, "", "x"), self.now)
            return
        dialog.requests.append(message)
        dialog.keys[message.cseq] = key
        if self.auto is not None and self.auto(dialog, message, key):
            return
        if message.method in ("BYE", "PRACK", "OPTIONS", "INFO", "NOTIFY"):
            self.reply(dialog, 200, message=message)
