"""Strangers at a running server: sockets, the gate before them, bans that end, memory, the log (OPS-05)."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import proc
from tests.e2e.harness.server import Server
from tests.hostile.kit import METHODS, request, statuses
from tests.hostile.test_storm import PAGE, mutate, seeds, spoil

pytestmark = [pytest.mark.e2e, pytest.mark.needs("openssl"), pytest.mark.rule("OPS-05")]

DOMAIN = "e2e.example"
FRIEND, SCANNER, GUESSER, FLOODER = "127.0.0.7", "127.0.0.8", "127.0.0.10", "127.0.0.11"
BAN_S = 1.5
MESSAGES = 6000


class Guarded(Server):
    """With its gate in force, and bans that a test can wait for; only the flooder is let in without limits."""

    def _config(self) -> str:
        text = super()._config()
        trusted = 'trusted_networks = ["127.0.0.0/8"]'
        assert trusted in text
        return text.replace(trusted, f'trusted_networks = ["{FLOODER}/32"]\nban_seconds = {BAN_S}')

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("guarded"))
    try:
        made.start()
        yield made
        assert made.complaints() == []
        assert made.stop() == 0
    finally:
        made.stop()


class Guest:
    """A UDP socket at an address of the loopback network."""

    def __init__(self, server: Server, host: str) -> None:
        self.host = host
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.number = random.randrange(1 << 30)

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, method: str = "OPTIONS", wait: float = 1.0, headers: tuple[str, ...] = ()) -> list[int]:
        """Statuses that come back within ``wait`` seconds; the first answer ends the wait."""
        self.number += 1
        data = request(method, self.number, uri=f"sip:{DOMAIN}", host=self.host, headers=headers)
        self.socket.sendto(data, self.server.address())
        self.socket.settimeout(wait)
        try:
            return statuses([self.socket.recv(65536)])
        except TimeoutError:
            return []


def test_a_scanner_is_dropped_banned_and_let_in_again(server: Guarded) -> None:
    with Guest(server, SCANNER) as scanner, Guest(server, FRIEND) as friend:
        assert scanner.ask() == [200]
        begin = time.monotonic()
        assert scanner.ask(wait=0.2, headers=("User-Agent: friendly-scanner",)) == []
        assert scanner.ask(wait=0.2) == []
        assert friend.ask() == [200]
        listed = server.api("/v1/bans")["items"]
        assert [(ban["address"], ban["reason"]) for ban in listed] == [(SCANNER, "scanner")]
        assert proc.wait_until(lambda: scanner.ask(wait=0.1) == [200], 10)
        assert BAN_S <= time.monotonic() - begin < BAN_S + 3
        assert server.metric("cloudline_suspicions_total", reason="scanner") == 1


def test_a_banned_address_gets_no_connection(server: Guarded) -> None:
    def answer(wait: float = 1.0) -> bytes:
        with socket.create_connection(server.address("tcp"), 1.0, source_address=(GUESSER, 0)) as wire:
            wire.settimeout(wait)
            wire.sendall(request("OPTIONS", 1, uri=f"sip:{DOMAIN}", host=GUESSER, transport="TCP"))
            return wire.recv(65536)

    assert statuses([answer()]) == [200]
    with socket.create_connection(server.address("tcp"), 1.0, source_address=(GUESSER, 0)) as wire:
        wire.sendall(
            request("OPTIONS", 2, host=GUESSER, transport="TCP", headers=("User-Agent: sipvicious",))
        )
        wire.settimeout(0.2)
        with pytest.raises(TimeoutError):
            wire.recv(1)
    with pytest.raises(ConnectionError):
        answer()

    def is_back() -> bool:
        with contextlib.suppress(OSError):
            return statuses([answer()]) == [200]
        return False

    assert proc.wait_until(is_back, 10)


def test_a_storm_leaves_the_server_as_it_was(server: Guarded) -> None:
    """Hostile messages over UDP, TCP, TLS and WebSocket, while somebody else asks and is answered."""
    dice = random.Random(3)
    made = seeds()
    messages = [
        (mutate if dice.random() < 0.4 else spoil)(dice.choice(made), dice)[:60_000] for _ in range(500)
    ]
    for method in METHODS:
        messages += [request(method, number, uri=f"sip:{DOMAIN}", host=FLOODER) for number in range(20)]
    slowest = 0.0

    def storm(count: int) -> None:
        nonlocal slowest
        for index in range(count):
            flooder.socket.sendto(dice.choice(messages), server.address())
            if index % 20 == 0:
                over_stream(("tcp", "tls", "ws", "wss")[index // 20 % 4], dice.choice(messages))
            if index % 50 == 0:
                begin = time.monotonic()
                assert friend.ask(wait=3.0) == [200]
                slowest = max(slowest, time.monotonic() - begin)

    def over_stream(transport: str, data: bytes) -> None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(server.address(transport), 1.0, source_address=(FLOODER, 0)) as wire,
        ):
            wire.sendall(data)

    with Guest(server, FLOODER) as flooder, Guest(server, FRIEND) as friend:
        storm(MESSAGES // 3)
        before = server.resident_bytes()
        storm(MESSAGES)
        assert slowest < 0.5
        assert friend.ask() == [200]
    assert server.alive
    assert server.resident_bytes() - before < 12_000_000
    assert server.metric("cloudline_calls") == 0
    assert proc.wait_until(lambda: server.metric("cloudline_connections") == 0, 5)


def test_the_largest_datagrams_hold_nobody_up(server: Guarded) -> None:
    """A hundred of 60 kB that are hard to read, at once: who asks behind them is answered without a noticeable wait."""
    heavy = request(
        "INVITE", 1, uri="sip:" + "%41" * 5000 + "@x", headers=[f"X-{i}: {'v' * 230}" for i in range(110)]
    )
    with Guest(server, FLOODER) as flooder, Guest(server, FRIEND) as friend:
        for _ in range(100):
            flooder.socket.sendto(heavy, server.address())
        begin = time.monotonic()
        assert friend.ask(wait=3.0) == [200]
        assert time.monotonic() - begin < 1.0
