"""Phones and a registrar for tests: REGISTER requests that are built, challenged and answered without a wire."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from callcontrol.auth import DigestPolicy, DigestServer
from callcontrol.bindings import Binding, MemoryBindingStore
from callcontrol.registrar import Registrar
from callcontrol.registration import RegistrarPolicy
from callcontrol.sip import digest
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from numbering.directory import Directory
from numbering.models import Account, Device, PlanLimits, User

DOMAIN = "cloudline.example"
SECRET = b"0123456789abcdef"
NOW = 1_800_000_000.0
PUSH = ("mqtt", "fcm")
_numbers = itertools.count()


def device(ref: str, user: str) -> Device:
    return Device(ref=ref, user=user, sip_username=ref, sip_password=f"pw-{ref}")


def directory(*, per_user: int = 3) -> Directory:
    """Two users of one company: ana with five devices, ben with one."""
    names = ("phone", "desk", "tablet", "browser", "spare")
    return Directory(
        accounts=[Account(ref="acme", plan="advanced")],
        users=[User(ref="ana", account="acme"), User(ref="ben", account="acme")],
        devices=[*(device(f"ana-{name}", "ana") for name in names), device("ben-phone", "ben")],
        plans={"advanced": PlanLimits(devices=per_user, numbers=5)},
    )


class Site:
    """A registrar with its store, auth and directory."""

    def __init__(
        self,
        *,
        per_user: int = 3,
        policy: RegistrarPolicy | None = None,
        digest_policy: DigestPolicy | None = None,
    ) -> None:
        self.directory = directory(per_user=per_user)
        self.store = MemoryBindingStore()
        self.auth = DigestServer(DOMAIN, SECRET, digest_policy)
        self.policy = policy or RegistrarPolicy(domain=DOMAIN, push_providers=PUSH)
        self.registrar = Registrar(self.directory, self.store, self.auth, self.policy)

    def of(self, username: str, now: float = NOW) -> list[Binding]:
        return self.registrar.bindings_of(f"sip:{username}@{DOMAIN}", now)

    def reasons(self) -> list[str]:
        """Names of the events since the last call, removals with their reason."""
        names = [
            f"{type(event).__name__} {getattr(event, 'reason', '')}".strip()
            for event in self.registrar.events
        ]
        self.registrar.events.clear()
        return names


class Phone:
    """Writes REGISTER requests of one phone, with its own Call-ID and CSeq, and answers challenges."""

    def __init__(
        self,
        username: str = "ana-phone",
        *,
        host: str = "192.0.2.10",
        port: int = 5060,
        transport: str = "udp",
        conn: int = 0,
        call_id: str = "",
        password: str | None = None,
    ) -> None:
        self.username = username
        self.password = f"pw-{username}" if password is None else password
        self.flow = Flow(transport, host, port, f"{transport}:198.51.100.1:5060", conn)
        self.call_id = call_id.replace(" ", "-") or f"call-{next(_numbers)}"
        self.cseq = 0
        self.uri = f"sip:{DOMAIN}"
        self.to = f"<sip:{username}@{DOMAIN}>"
        self.algorithm = "SHA-256"
        self.nonce = ""
        self.nc = 0

    @property
    def contact(self) -> str:
        host = f"[{self.flow.host}]" if ":" in self.flow.host else self.flow.host
        transport = "" if self.flow.transport == "udp" else f";transport={self.flow.transport}"
        return f"<sip:{self.username}@{host}:{self.flow.port}{transport}>"

    def request(
        self,
        *contacts: str,
        expires: int | str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        cseq: int | None = None,
        authorization: str = "",
        method: str = "REGISTER",
    ) -> Message:
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        host = f"[{self.flow.host}]" if ":" in self.flow.host else self.flow.host
        lines = [
            f"{method} {self.uri} SIP/2.0",
            f"Via: SIP/2.0/{self.flow.transport.upper()} {host}:{self.flow.port};branch=z9hG4bK{cseq}",
            f"From: {self.to};tag=f1",
            f"To: {self.to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            "Max-Forwards: 70",
            *(f"Contact: {contact}" for contact in contacts),
            *(f"{name}: {value}" for name, value in headers),
        ]
        if expires is not None:
            lines.append(f"Expires: {expires}")
        if authorization:
            lines.append(f"Authorization: {authorization}")
        return parse("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())

    def authorize(self, method: str = "REGISTER", uri: str = "", qop: str = "auth") -> str:
        """Credentials for the nonce at hand."""
        self.nc += 1
        challenge = digest.Challenge(
            "digest", DOMAIN, self.nonce, self.algorithm, [qop] if qop else [], None, False
        )
        return digest.answer(
            challenge, method, uri or self.uri, self.username, self.password, b"", "c0ffee", self.nc
        )

    def take(self, response: Message) -> bool:
        """Take the nonce of a 401 or 407; False when there is none for our algorithm."""
        values = response.all("www-authenticate") + response.all("proxy-authenticate")
        for challenge in digest.parse_challenges(values):
            if challenge.algorithm == self.algorithm:
                self.nonce, self.nc = challenge.nonce, 0
                return True
        return False

    def register(
        self,
        site: Site,
        *contacts: str,
        now: float = NOW,
        expires: int | str | None = 600,
        headers: Sequence[tuple[str, str]] = (),
        cseq: int | None = None,
    ) -> Message:
        """The final response, a challenge answered on the way; no contact given: the phone's own."""
        for _ in range(2):
            response = parse(
                site.registrar.handle(
                    self.request(
                        *(contacts or (self.contact,)),
                        expires=expires,
                        headers=headers,
                        cseq=cseq,
                        authorization=self.authorize() if self.nonce else "",
                    ),
                    self.flow,
                    now,
                )
            )
            if response.status != 401 or not self.take(response):
                return response
        return response

    def query(self, site: Site, now: float = NOW) -> Message:
        """A REGISTER without Contact."""
        for _ in range(2):
            request = self.request(authorization=self.authorize() if self.nonce else "")
            response = parse(site.registrar.handle(request, self.flow, now))
            if response.status != 401 or not self.take(response):
                break
        return response


def instance(number: int) -> str:
    """A Contact parameter with the instance id of phone ``number``."""
    return f';+sip.instance="<urn:uuid:00000000-0000-4000-8000-{number:012d}>"'


def binding(
    key: str = "k1",
    *,
    username: str = "ana-phone",
    user: str = "ana",
    conn: int = 0,
    source: str = "192.0.2.10",
    q: float = 1.0,
    lasts: float = 600.0,
    at: float = NOW,
    wakes: bool = False,
) -> Binding:
    """One binding as a store would hold it."""
    contact = f"sip:{username}@{source or '192.0.2.10'}:5060"
    return Binding(
        aor=f"sip:{username}@cloudline.example",
        key=key,
        user=user,
        device=username,
        contact=contact,
        target=contact,
        flow=f"{'tcp' if conn else 'udp'}|{source}|5060|{conn}|",
        conn=conn,
        source=source,
        path=(),
        q=q,
        expires_at=at + lasts,
        registered_at=at,
        refreshed_at=at,
        call_id=f"call-{key}",
        cseq=1,
        push_provider="mqtt" if wakes else "",
        push_prid="token" if wakes else "",
        wakes=wakes,
    )
