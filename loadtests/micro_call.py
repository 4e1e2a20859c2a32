"""A whole call through the signalling core, without sockets: what one costs, and what one held call weighs.

The core is the very one that a node runs (``callcontrol.assembly``): intake, directory lookups, dialplan and trace,
call machine, ladder, call record.  Trunk and softphone are text templates; only the core's time counts.
"""

from __future__ import annotations

import gc
import os
import re
import time
from collections.abc import Callable

from callcontrol.assembly import Signalling, Surroundings, make_endpoint, make_gate
from callcontrol.bindings import MemoryBindingStore
from callcontrol.call_store import MemoryCallStore
from callcontrol.cdr import CallRecord
from callcontrol.sip import digest
from callcontrol.sip.flow import Flow, Listener, Listeners
from config.settings import Settings
from gateway.trunk import Prefix, Trunk, TrunkDirectory
from numbering.directory import Directory
from numbering.e164 import E164
from numbering.models import Account, AccountKind, CloudNumber, Device, DeviceKind, PlanLimits, User

SERVER, CARRIER, PHONE = "10.0.0.1", "10.0.1.1", "10.0.2.1"
CALLED, DOMAIN = "+33639981001", "bench.example"
NUMBERS_OF_A_USER = 5
LISTENER = f"udp:{SERVER}:5060"
BODY = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8 0 101\r\n"
    "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
)
COPIED = re.compile(rb"^(?:Via|From|Call-ID|CSeq|Record-Route): .*\r\n", re.MULTILINE | re.IGNORECASE)
TO = re.compile(rb"^To: (.*)\r\n", re.MULTILINE | re.IGNORECASE)
CONTACT = re.compile(rb"^Contact: <([^>]*)>", re.MULTILINE | re.IGNORECASE)
CALL_ID = re.compile(rb"^Call-ID: (\S+)", re.MULTILINE | re.IGNORECASE)


class Clock:
    """Time that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now


class Numeric:
    """Finds nothing but numeric addresses: no name is asked for in these calls."""

    def direct(self, uri: str) -> Flow | None:
        found = re.search(r"(\d+\.\d+\.\d+\.\d+)(?::(\d+))?", uri)
        return Flow("udp", found.group(1), int(found.group(2) or 5060), LISTENER) if found else None

    def look_up(self, uri: str, done: Callable[[list[Flow]], None]) -> None:
        done([])


class Counting:
    """Takes call records and keeps their number."""

    def __init__(self) -> None:
        self.count = 0

    def put(self, record: CallRecord) -> None:
        self.count += 1


class Node:
    """The core with one trunk, one number, one registered device, and the time it spent."""

    def __init__(self, numbers: int = 1) -> None:
        settings = Settings.model_validate({"sip": {"domain": DOMAIN}, "limits": {"bans": False}})
        self.clock = Clock()
        self.records = Counting()
        listeners = Listeners()
        listeners.add(Listener(LISTENER, "udp", SERVER, 5060))
        bindings = MemoryBindingStore()
        endpoint = make_endpoint(settings, listeners, b"k" * 32)
        directory, trunks = provisioning(numbers)
        around = Surroundings(
            monotonic=self.clock.monotonic,
            wall=self.clock.wall,
            entropy=os.urandom,
            dice=lambda: 0.5,
            key=b"k" * 32,
            resolver=Numeric(),
            calls=MemoryCallStore(),
            bindings=bindings,
            records=self.records,
        )
        self.core = Signalling(settings, directory, trunks, endpoint, make_gate(settings, bindings), around)
        self.endpoint = endpoint
        self.spent = 0.0

    def feed(self, messages: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Hand in messages (host, bytes) in batches as a busy socket does; what comes out, by host."""
        flows = {host: Flow("udp", host, 5060, LISTENER) for host in (CARRIER, PHONE)}
        sent: list[tuple[str, bytes]] = []
        for start in range(0, len(messages), 16):
            self.clock.now += 0.001
            batch = messages[start : start + 16]
            begin = time.process_time()
            for host, data in batch:
                self.endpoint.receive(data, flows[host], self.clock.now)
            self.core.turn()
            self.endpoint.tick(self.clock.now)
            self.spent += time.process_time() - begin
            sent += [(flow.host, data) for flow, data in self.endpoint.out]
            self.endpoint.out.clear()
        return sent

    def register(self) -> None:
        """The softphone registers, with digest."""
        head = (
            f"Via: SIP/2.0/UDP {PHONE}:5060;branch=z9hG4bKreg%d\r\nMax-Forwards: 70\r\n"
            f"From: <sip:bench@{DOMAIN}>;tag=1\r\nTo: <sip:bench@{DOMAIN}>\r\nCall-ID: reg\r\n"
            f"CSeq: %d REGISTER\r\nContact: <sip:bench@{PHONE}:5060>\r\nExpires: 3600\r\n"
        )
        start = f"REGISTER sip:{DOMAIN} SIP/2.0\r\n"
        (_, challenge), *_ = self.feed([(PHONE, f"{start}{head % (1, 1)}Content-Length: 0\r\n\r\n".encode())])
        offered = re.findall(r"^WWW-Authenticate: (.*)\r$", challenge.decode(), re.MULTILINE | re.IGNORECASE)
        chosen = digest.choose(digest.parse_challenges(offered))
        if chosen is None:
            raise RuntimeError(f"no challenge: {challenge!r}")
        answer = digest.answer(chosen, "REGISTER", f"sip:{DOMAIN}", "bench", "secret", b"", "cnonce", 1)
        again = f"{start}{head % (2, 2)}Authorization: {answer}\r\nContent-Length: 0\r\n\r\n"
        (_, reply), *_ = self.feed([(PHONE, again.encode())])
        if not reply.startswith(b"SIP/2.0 200"):
            raise RuntimeError(f"not registered: {reply!r}")
        self.spent = 0.0


def provisioning(numbers: int) -> tuple[Directory, TrunkDirectory]:
    from loadtests.servers import fictional_number

    more = [
        CloudNumber(e164=E164(fictional_number(i)), user=f"user{i // NUMBERS_OF_A_USER}")
        for i in range(numbers - 1)
    ]
    holders = [User(ref=f"user{i}", account="bench") for i in range(-(-numbers // NUMBERS_OF_A_USER))]
    directory = Directory(
        accounts=[Account(ref="bench", kind=AccountKind.COMPANY, plan="all", manager="bench")],
        users=[User(ref="bench", account="bench", name="Bench"), *holders],
        devices=[
            Device(
                ref="desk", user="bench", kind=DeviceKind.DESKTOP, sip_username="bench", sip_password="secret"
            )
        ],
        numbers=[CloudNumber(e164=E164(CALLED), user="bench"), *more],
        plans={"all": PlanLimits(devices=3, numbers=1_000_000)},
    )
    trunk = Trunk(
        ref="trunk", peers=(f"sip:{CARRIER}:5060",), accept_from=(f"{CARRIER}/32",), prefixes=(Prefix("+"),)
    )
    return directory, TrunkDirectory([trunk])


def invite(number: int) -> bytes:
    return (
        f"INVITE sip:{CALLED}@{SERVER}:5060 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {CARRIER}:5060;branch=z9hG4bKi{number}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:+33199001234@{CARRIER}>;tag=c{number}\r\nTo: <sip:{CALLED}@{SERVER}:5060>\r\n"
        f"Call-ID: {number}@carrier\r\nCSeq: 1 INVITE\r\nContact: <sip:carrier@{CARRIER}:5060>\r\n"
        f"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
    ).encode()


def reply(request: bytes, status: str, body: str = "") -> bytes:
    """A softphone's answer to a request of the core."""
    head = request.partition(b"\r\n\r\n")[0] + b"\r\n"
    to = TO.search(head)
    if to is None:
        raise RuntimeError(f"no To: {request!r}")
    tagged = to.group(1) if b";tag=" in to.group(1) else to.group(1) + b";tag=phone"
    kind = "Content-Type: application/sdp\r\n" if body else ""
    tail = f"Contact: <sip:bench@{PHONE}:5060>\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    copied = b"".join(COPIED.findall(head))
    return f"SIP/2.0 {status}\r\n".encode() + copied + b"To: " + tagged + b"\r\n" + tail.encode()


def follow(answer: bytes, method: str, cseq: int, number: int) -> bytes:
    """The carrier's ACK or BYE to the 200 that it got."""
    contact, to = CONTACT.search(answer), TO.search(answer)
    if contact is None or to is None:
        raise RuntimeError(f"no dialog in {answer!r}")
    return (
        f"{method} {contact.group(1).decode()} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {CARRIER}:5060;branch=z9hG4bK{method}{number}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:+33199001234@{CARRIER}>;tag=c{number}\r\nTo: {to.group(1).decode()}\r\n"
        f"Call-ID: {number}@carrier\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def set_up(node: Node, first: int, count: int) -> list[tuple[int, bytes]]:
    """Calls from INVITE to ACK; each call's number with the 200 that the carrier got."""
    sent = node.feed([(CARRIER, invite(i)) for i in range(first, first + count)])
    rung = [data for host, data in sent if host == PHONE and data.startswith(b"INVITE")]
    node.feed([(PHONE, reply(data, "180 Ringing")) for data in rung])
    sent = node.feed([(PHONE, reply(data, "200 OK", BODY)) for data in rung])
    up = [(_number(data), data) for host, data in sent if host == CARRIER and data.startswith(b"SIP/2.0 200")]
    if len(up) != count:
        raise RuntimeError(f"{len(up)} of {count} calls came about")
    node.feed([(CARRIER, follow(data, "ACK", 1, i)) for i, data in up])
    return up


def release(node: Node, up: list[tuple[int, bytes]]) -> None:
    """The carrier hangs up; the softphone agrees."""
    sent = node.feed([(CARRIER, follow(data, "BYE", 2, i)) for i, data in up])
    node.feed(
        [(PHONE, reply(data, "200 OK")) for host, data in sent if host == PHONE and data.startswith(b"BYE")]
    )


def _number(data: bytes) -> int:
    found = CALL_ID.search(data)
    return int(found.group(1).partition(b"@")[0]) if found else -1


def measure(rounds: int, count: int = 400, numbers: int = 1) -> float:
    """Least CPU time of the core for one call, set up and released, microseconds."""
    node = Node(numbers)
    node.register()
    best = float("inf")
    for turn in range(rounds):
        gc.collect()
        node.spent = 0.0
        release(node, set_up(node, turn * count, count))
        best = min(best, node.spent)
        node.clock.now += 40.0  # the transactions' lingering is over: their removal belongs to the price
        node.feed([])
        node.endpoint.tick(node.clock.now)
    if node.records.count != rounds * count:
        raise RuntimeError(f"{node.records.count} call records for {rounds * count} calls")
    return best / count * 1e6
