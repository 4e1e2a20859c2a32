"""A stranger at the fence: bytes go in as the driver hands them in, and everything that goes out is looked at.

The order is that of `callcontrol.transport`: gate by address, gate by content, endpoint, turn of the core, output.  The
rest of the world (phones, carriers) is that of `tests.support.world`, on virtual time.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from config.settings import Settings
from tests.support.world import DOMAIN, SERVER, World

STRANGER = "203.0.113.66"
KNOWN_USER, UNKNOWN_USER = "ana-phone", "eve-phone"
KNOWN_NUMBER, UNKNOWN_NUMBER = "+33639981001", "+33639981077"
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
METHODS = (
    *("REGISTER", "INVITE", "OPTIONS", "SUBSCRIBE", "MESSAGE", "REFER", "BYE", "CANCEL", "ACK"),
    *("PRACK", "UPDATE", "INFO", "NOTIFY", "PUBLISH", "PING", "invite"),
)
"""What a stranger may ask: all methods that we know, and two that nobody does."""


class Fence:
    """The server, seen from outside."""

    def __init__(self, settings: Settings | None = None, *, open_gate: bool = False, seed: int = 1) -> None:
        """``open_gate``: nobody is limited or banned, so that what lies behind the gate can be reached at will."""
        if settings is None and open_gate:
            settings = Settings.model_validate({"limits": {"trusted_networks": ["0.0.0.0/0", "::/0"]}})
        self.world = World(seed=seed, settings=settings)
        self.server = self.world.server
        self.elsewhere: list[tuple[Flow, bytes]] = []
        """What the server sent to others while a stranger was being served."""
        self.turned_away = 0
        self._count = 0

    def send(
        self, data: bytes, host: str = STRANGER, port: int = 5060, transport: str = "udp", conn: int = 0
    ) -> list[bytes]:
        """One message of a stranger; returns what the server sends back to that host at once."""
        self.receive(data, host, port, transport, conn)
        return self.turn(host)

    def receive(
        self, data: bytes, host: str = STRANGER, port: int = 5060, transport: str = "udp", conn: int = 0
    ) -> bool:
        """The same without the turn of the core; False when the gate dropped it."""
        gate, now = self.server.gate, self.world.now()
        reliable = transport != "udp"
        if not gate.admit(host, now) or not gate.inspect(data, host, now, reliable=reliable):
            self.turned_away += 1
            return False
        if reliable and not conn:
            conn = 1 + hash((host, port)) % 100_000
        flow = Flow(transport, host, port, f"{transport}:{SERVER}:5060", conn)
        self.server.endpoint.receive(data, flow, self.world.network.now)
        return True

    def turn(self, host: str = STRANGER) -> list[bytes]:
        """The core's turn, and its output: to ``host`` it is returned, to parties it is delivered."""
        self.server.turn()
        endpoint = self.server.endpoint
        mine: list[bytes] = []
        while endpoint.out:
            batch = endpoint.out[:]
            endpoint.out.clear()
            for flow, data in batch:
                if flow.host == host:
                    mine.append(data)
                elif flow.host in self.world.network.nodes:
                    self.world.network.transmit(self.world.node, flow, data)
                else:
                    self.elsewhere.append((flow, data))
        return mine

    def wait(self, seconds: float, step: float = 0.5) -> list[bytes]:
        """Let time pass without the network's log: what the server sends to whom nobody knows comes back."""
        network, endpoint = self.world.network, self.server.endpoint
        end = network.now + seconds
        sent: list[bytes] = []
        while network.now < end:
            network.now = min(network.now + step, end)
            endpoint.tick(network.now)
            self.server.turn()
            sent += [data for _, data in endpoint.out]
            endpoint.out.clear()
        return sent

    def number(self) -> int:
        self._count += 1
        return self._count


def request(
    method: str,
    number: int,
    *,
    uri: str = f"sip:{KNOWN_NUMBER}@{DOMAIN}",
    sender: str = "<sip:mallory@outside.example>",
    target: str = "",
    to_tag: str = "",
    cseq: int = 1,
    headers: Sequence[str] = (),
    body: bytes = b"",
    host: str = STRANGER,
    transport: str = "UDP",
    call_id: str = "",
    branch: str = "",
) -> bytes:
    """A well-formed request of a stranger; ``number`` makes it differ from all others."""
    tag = f";tag={to_tag}" if to_tag else ""
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/{transport} {host}:5060;branch={branch or f'z9hG4bKh{number}'};rport",
        "Max-Forwards: 70",
        f"From: {sender};tag=f{number}",
        f"To: {target or f'<{uri}>'}{tag}",
        f"Call-ID: {call_id or f'h{number}'}",
        f"CSeq: {cseq} {method}",
        f"Contact: <sip:mallory@{host}:5060>",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def statuses(out: Sequence[bytes]) -> list[int]:
    return [int(data[8:11]) for data in out if data.startswith(b"SIP/2.0 ")]


def lines_as_anyone_cuts_them(data: bytes) -> list[bytes]:
    """Lines of a message for a receiver that ends them at CRLF, at CR and at LF."""
    return re.split(rb"\r\n|\r|\n", data)


_NONCE = re.compile(rb'nonce="[^"]*"')
_OWN_TAG = re.compile(rb"(?m)^(To:[^\r\n]*;tag=)[^;\r\n]*")


def without_chance(data: bytes, *names: str) -> bytes:
    """A response without what differs each time (nonce, our tag), and with the names that were asked for as X."""
    data = _OWN_TAG.sub(rb"\1T", _NONCE.sub(b'nonce="N"', data))
    for name in names:
        data = data.replace(name.encode(), b"X")
    return data


def read_back(out: Sequence[bytes]) -> list[Message]:
    """Everything that was sent must be readable by a second party: our own strict parser stands in for it."""
    return [parse(data) for data in out]


def shuffled(count: int, seed: int) -> Iterator[random.Random]:
    """Sources of chance, one per run, the same every time."""
    for index in range(count):
        yield random.Random(f"{seed}/{index}")
