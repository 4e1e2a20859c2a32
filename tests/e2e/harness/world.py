"""Who lives in the tests: people with numbers and phones, carriers, and the server between them.

All numbers are of the ranges kept for fiction.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path

from loadtests import ports, proc
from loadtests.phone import authorization
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.phone import Phone
from tests.e2e.harness.server import HOST, Server
from tests.e2e.harness.sipp import SippRun
from tests.e2e.harness.wire import Address, NothingCame, StreamWire, UdpWire, WebSocketWire, Wire

OUTSIDE = "+33199001234"
"""Somebody of the outside world."""
ANA, BEN, CLEO, DAN = "+33639981001", "+33639981002", "+33639981003", "+33639981004"
"""Cloud numbers: Ana has many devices, Ben two, Cleo two, Dan (on the starter plan) one at a time."""
SPARE = "+33639981009"
"""A cloud number that nobody holds."""
NUMBERS = {"ana": ANA, "ben": BEN, "cleo": CLEO, "dan": DAN}
DEVICES = {"ana": 6, "ben": 2, "cleo": 2, "dan": 2}
STRANGER = "127.0.0.9"
CARRIERS = {
    "carrier-a": ("127.0.0.2", "+", 10),
    "carrier-b": ("127.0.0.3", "+", 20),
    "carrier-gb": ("127.0.0.4", "+44", 1),
    "carrier-us": ("127.0.0.5", "+1", 1),
    "carrier-ouest": ("127.0.0.6", "+332", 1),
}
"""Name: address, prefix, priority.  The last three are for tests in which a carrier fails: a failure keeps a peer
out for a while."""
PASSWORD = "s3cret-word"
SETTINGS = """
[calls]
ring_seconds = 5
trunk_silence_seconds = 1.0

[plans.many]
devices = 8
numbers = 5
"""


def unregister(agent: Agent) -> None:
    """No binding of one test shall ring in the next; the test may have closed the wire itself."""
    if agent.registered:
        with contextlib.suppress(OSError, NothingCame):
            agent.register(0, contact="*", instance=False)


class World:
    """The server and everybody who is connected to it."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.server = Server(folder, settings=SETTINGS + settings)
        self.carriers: dict[str, Address] = {
            name: (host, ports.free_port(host)) for name, (host, _, _) in CARRIERS.items()
        }
        self._agents: dict[str, Agent] = {}
        self._leaving: list[Callable[[], None]] = []

    @property
    def domain(self) -> str:
        return self.server.domain

    def start(self) -> None:
        done = self.server.apply(self.document(ben="ring_seconds = 2"))
        assert done.returncode == 0, f"apply: {done.stdout}{done.stderr}"
        self.server.start()

    def close(self) -> None:
        self.everybody_out()
        self.server.stop()

    def everybody_out(self) -> None:
        while self._leaving:
            self._leaving.pop()()
        self._agents.clear()

    def leaves(self, leave: Callable[[], None]) -> None:
        """Somebody else to be seen out."""
        self._leaving.append(leave)

    # ---- people

    def phone(self, name: str, kind: str = "pjsua", transport: str = "udp", **options: object) -> Phone:
        """A registered softphone of the device ``name`` (``ana-1`` ...)."""
        phone = self.unregistered_phone(kind, transport)
        phone.register(name, PASSWORD, **options)
        return phone

    def unregistered_phone(self, kind: str = "pjsua", transport: str = "udp") -> Phone:
        phone = Phone(kind, transport, self.server.address(transport), self.domain, self.folder / "phones")
        self._leaving.append(phone.close)
        return phone

    def scripted(
        self, name: str, transport: str = "udp", *, register: bool = True, password: str = PASSWORD
    ) -> Agent:
        """A softphone whose every message the test writes."""
        wire = self.wire(transport)
        agent = Agent(
            wire, self.server.address(transport), self.domain, name, password, ports.free_port(HOST)
        )
        self._leaving.append(lambda: unregister(agent))
        if register:
            reply = agent.register()
            assert reply.status == 200, f"{name}: REGISTER was answered {reply.start}\n{agent.story()}"
        return agent

    def wire(self, transport: str, local: str = HOST) -> Wire:
        """A socket to the server, closed at the end of the test."""
        address = self.server.address(transport)
        made: Wire
        match transport:
            case "udp":
                made = UdpWire(local, 0, address)
            case "tcp" | "tls":
                made = StreamWire(address, self.tls() if transport == "tls" else None, local)
            case _:
                made = WebSocketWire(address, self.tls() if transport == "wss" else None)
        self._leaving.append(made.close)
        return made

    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.server.certificate.chain))
        context.check_hostname = False
        return context

    def credentials(self, challenge: str, method: str, user: str, password: str) -> str:
        """Value of Authorization for a request to our domain."""
        return authorization(challenge, method, f"sip:{self.domain}", user, password)

    # ---- carriers

    def stranger(self) -> Agent:
        """Somebody at an address that no trunk has."""
        wire = UdpWire(STRANGER, 0, self.server.address())
        self._leaving.append(wire.close)
        return Agent(wire, self.server.address(), self.domain, rtp_port=ports.free_port(STRANGER))

    def carrier(self, name: str = "carrier-a") -> Agent:
        """A scripted carrier at the trunk's own address; one for the whole of a test."""
        if name not in self._agents:
            host, port = self.carriers[name]
            wire = UdpWire(host, port, self.server.address())
            self._leaving.append(wire.close)
            rtp = ports.free_port(host)
            self._agents[name] = Agent(wire, self.server.address(), self.domain, rtp_port=rtp)
        return self._agents[name]

    def sipp(
        self, scenario: str, carrier: str = "carrier-a", *, calling: str = "", **options: object
    ) -> SippRun:
        """SIPp at a trunk's address: calling ``calling``, or waiting for calls."""
        keys = {"outside": OUTSIDE, "called": calling}
        run = SippRun(
            scenario,
            self.folder / "sipp",
            local=self.carriers[carrier],
            target=self.server.address() if calling else None,
            keys=keys,
            **options,  # type: ignore[arg-type]
        )
        self._leaving.append(run.stop)
        if not calling:
            assert proc.wait_until(lambda: bool(proc.udp_bound(self.carriers[carrier])), 10)
        return run

    # ---- provisioning

    def document(self, **changes: str) -> str:
        """The provisioning document; ``changes`` are extra lines of a user's number."""
        parts = [
            '[[account]]\nref = "acme"\nkind = "company"\nplan = "many"\nmanager = "ana"\n',
            '[[account]]\nref = "solo"\nkind = "consumer"\nplan = "starter"\n',
        ]
        for index, (user, number) in enumerate(NUMBERS.items(), 1):
            account = "solo" if user == "dan" else "acme"
            parts.append(
                f'[[user]]\nref = "{user}"\naccount = "{account}"\nname = "{user.title()}"\n'
                f'email = "{user}@{account}.example"\n'
            )
            parts.append(
                f'[[device]]\nref = "{user}-sim"\nuser = "{user}"\nkind = "phone"\nsim = "+3363998000{index}"\n'
                f'sim_verified = true\nsip_username = "{user}-sim"\nsip_password = "{PASSWORD}"\n'
            )
            parts += [
                f'[[device]]\nref = "{user}-{i}"\nuser = "{user}"\nkind = "desktop"\n'
                f'sip_username = "{user}-{i}"\nsip_password = "{PASSWORD}"\n'
                for i in range(1, DEVICES[user] + 1)
            ]
            parts.append(f'[[number]]\ne164 = "{number}"\nuser = "{user}"\n{changes.get(user, "")}\n')
        for name, (host, prefix, priority) in CARRIERS.items():
            port = self.carriers[name][1]
            parts.append(
                f'[[trunk]]\nref = "{name}"\npeers = ["sip:{host}:{port};transport=udp"]\n'
                f'accept_from = ["{host}/32"]\nport_must_match = false\nprefixes = ["{prefix}"]\n'
                f"priority = {priority}\noptions_seconds = 0\n"
            )
        return "\n".join(parts)
