"""An intake with a small company, a consumer, two carriers, and messages as devices send them."""

from __future__ import annotations

from callcontrol.auth import DigestServer
from callcontrol.bindings import Binding, MemoryBindingStore
from callcontrol.dialled import OurHosts
from callcontrol.gather import IntakeSettings
from callcontrol.intake import Admitted, Answer, Intake
from callcontrol.sip.digest import answer, choose, parse_challenges
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from dialplan.facts import OwnCall
from gateway.trunk import Prefix, Trunk, TrunkDirectory
from numbering.directory import Directory
from numbering.e164 import E164
from numbering.models import Account, AccountKind, CloudNumber, Device, User

NOW = 1_800_000_000.0
DOMAIN = "cloudline.example"
ANA, ANA_SECOND = E164("+33639981001"), E164("+33639981002")
BEN, ZOE = E164("+33639982001"), E164("+447700900123")
OUTSIDE, STRANGER = E164("+33199001234"), E164("+33639989999")

CARRIER = Flow("udp", "192.0.2.80", 5080, "udp:main")
ANA_FLOW = Flow("udp", "198.51.100.7", 5060, "udp:main")
BEN_FLOW = Flow("tcp", "198.51.100.8", 40000, "tcp:main", 17)
NOWHERE = Flow("udp", "203.0.113.9", 5060, "udp:main")

DIRECTORY = Directory(
    accounts=[Account(ref="acme", kind=AccountKind.COMPANY), Account(ref="zoe-alone")],
    users=[
        User(ref="ana", account="acme", name="Ana Example", default_number=ANA),
        User(ref="ben", account="acme", name="Ben Example"),
        User(ref="zoe", account="zoe-alone", name="Zoe Example"),
    ],
    devices=[
        Device(
            ref="ana-phone",
            user="ana",
            sim="+33639980001",
            sim_verified=True,
            sip_username="ana-phone",
            sip_password="pa",
        ),
        Device(ref="ana-desktop", user="ana", sip_username="ana-desktop", sip_password="pd"),
        Device(ref="ben-phone", user="ben", sip_username="1002", sip_password="pb"),
        Device(
            ref="zoe-phone",
            user="zoe",
            sim=ZOE,
            sim_verified=True,
            sip_username="zoe-phone",
            sip_password="pz",
        ),
    ],
    numbers=[
        CloudNumber(e164=ANA, user="ana"),
        CloudNumber(e164=ANA_SECOND, user="ana"),
        CloudNumber(e164=BEN, user="ben"),
        CloudNumber(e164=ZOE, user="zoe"),
    ],
    version=42,
)
TRUNKS = TrunkDirectory(
    [
        Trunk(
            ref="carrier-a",
            peers=("sip:192.0.2.80:5080",),
            accept_from=("192.0.2.80/32",),
            port_must_match=True,
            prefixes=(Prefix("+33"),),
            country="FR",
        ),
        Trunk(ref="carrier-b", peers=("sip:192.0.2.90",), username="carrier-b", password="pc"),
    ]
)


def binding(
    device: str, user: str, flow: Flow, *, path: tuple[str, ...] = (), expires_s: float = 600
) -> Binding:
    return Binding(
        aor=f"sip:{device}@{DOMAIN}",
        key=f"instance urn:uuid:{device}",
        user=user,
        device=device,
        contact=f"sip:{device}@{flow.host}:{flow.port};pn-provider=fcm;pn-prid=secret",
        target=f"sip:{device}@{flow.host}:{flow.port}",
        flow=flow.dump(),
        conn=flow.conn,
        source=flow.host,
        path=path,
        q=1.0,
        expires_at=NOW + expires_s,
        registered_at=NOW - 60,
        refreshed_at=NOW - 60,
        call_id=f"register-{device}",
        cseq=1,
    )


class Suspected:
    """Suspicions as they were counted."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bool]] = []
        self.forgiven: list[tuple[str, str]] = []

    def suspect(self, host: str, kind: str, now: float, *, proven: bool) -> None:
        assert now == NOW
        self.seen.append((host, kind, proven))

    def absolve(self, host: str, kind: str, now: float) -> None:
        assert now == NOW
        self.forgiven.append((host, kind))


class KnownCalls:
    """Calls under way, by Call-ID or call reference."""

    def __init__(self) -> None:
        self.known: dict[str, OwnCall] = {}

    def own_calls(self, sip_call_id: str, call_ref: str) -> tuple[OwnCall, ...]:
        return tuple(self.known[key] for key in (sip_call_id, call_ref) if key in self.known)


class Bench:
    """An intake with its surroundings at hand."""

    def __init__(self, *, trust_datagram_flows: bool = True) -> None:
        self.bindings = MemoryBindingStore()
        self.suspected = Suspected()
        self.calls = KnownCalls()
        self.digest = DigestServer(DOMAIN, b"0123456789abcdef")
        self.intake = Intake(
            IntakeSettings(
                hosts=OurHosts(frozenset({DOMAIN, "192.0.2.1", "2001:db8::1"})),
                country="FR",
                trust_datagram_flows=trust_datagram_flows,
            ),
            DIRECTORY,
            TRUNKS,
            self.bindings,
            self.digest,
            self.suspected,
            self.calls,
        )

    def register(self, device: str, user: str, flow: Flow, *, path: tuple[str, ...] = ()) -> None:
        self.bindings.apply([binding(device, user, flow, path=path)])

    def admitted(self, message: Message, flow: Flow) -> Admitted:
        outcome = self.intake.admit(message, flow, NOW)
        assert isinstance(outcome, Admitted), outcome
        return outcome

    def refused(self, message: Message, flow: Flow) -> Answer:
        outcome = self.intake.admit(message, flow, NOW)
        assert isinstance(outcome, Answer), outcome
        return outcome

    def with_credentials(self, request: Message, flow: Flow, username: str, password: str) -> Message:
        """The request sent anew, with the answer to the challenge that it got."""
        answered = parse(self.refused(request, flow).data)
        assert answered.status == 407
        challenge = choose(parse_challenges(answered.all("proxy-authenticate")))
        assert challenge is not None
        value = answer(challenge, "INVITE", request.uri, username, password, cnonce="c0ffee")
        head, _, body = request.data.partition(b"\r\n\r\n")
        return parse(head + b"\r\nProxy-Authorization: " + value.encode() + b"\r\n\r\n" + body)


def invite(
    uri: str, *headers: str, sender: str = f"<sip:ana-phone@{DOMAIN}>", call_id: str = "c1"
) -> Message:
    """An initial INVITE as it comes from the wire."""
    lines = [
        f"INVITE {uri} SIP/2.0",
        "Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKx1;rport",
        f"From: {sender};tag=f1",
        f"To: <{uri}>",
        f"Call-ID: {call_id}",
        "CSeq: 1 INVITE",
        "Contact: <sip:ana-phone@198.51.100.7:5060>",
        *headers,
        "Content-Length: 0",
    ]
    return parse(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape"))


def from_carrier(uri: str, *headers: str, sender: str = f"<sip:{STRANGER}@192.0.2.80>") -> Message:
    """An initial INVITE of a carrier."""
    return invite(uri, *headers, sender=sender)
