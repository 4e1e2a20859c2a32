"""Two nodes over one Redis and a carrier with which they register: it has one contact, also when a node is killed (LIVE-01)."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator

import pytest

from callcontrol.sip import build
from callcontrol.sip.message import parse
from loadtests import proc
from tests.e2e.harness.pair import Pair
from tests.e2e.harness.running import redis_in, running
from tests.e2e.harness.server import HOST, Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("openssl", "redis-server", "redis-cli"),
    pytest.mark.rule("LIVE-01", "LIVE-02"),
]


class Registrar:
    """A carrier that takes registrations without asking who it is, and answers OPTIONS."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self.bindings: dict[str, int] = {}
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"end", (HOST, self.port))
        self._thread.join(10)
        self._socket.close()

    @property
    def contacts(self) -> list[str]:
        """``host:port`` of each contact."""
        return sorted(re.sub(r"^sip:[^@]*@|;.*$", "", uri) for uri in list(self.bindings))

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(65536)
            if data == b"end":
                return
            message = parse(data)
            headers: list[tuple[str, str]] = []
            if message.method == "REGISTER":
                for contact in message.all("contact"):
                    uri, _, expires = contact.strip("<").partition(">;expires=")
                    if expires == "0":
                        self.bindings.pop(uri, None)
                    else:
                        self.bindings[uri] = int(expires)
                headers = [
                    ("contact", f"<{uri}>;expires={expires}") for uri, expires in self.bindings.items()
                ]
            self._socket.sendto(build.response(message, 200, "", "tag", headers), peer)


@pytest.fixture
def carrier() -> Iterator[Registrar]:
    made = Registrar()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with (
        redis_in(tmp_path_factory.mktemp("redis")) as store,
        running(Pair(tmp_path_factory.mktemp("nodes"), store)) as made,
    ):
        yield made


def at(server: Server) -> str:
    host, port = server.address()
    return f"{host}:{port}"


def test_one_node_registers_and_the_other_takes_over(pair: Pair, carrier: Registrar) -> None:
    first, second = pair.world.server, pair.second
    document = (
        f'[[trunk]]\nref = "registers"\npeers = ["sip:{HOST}:{carrier.port}"]\nusername = "acme"\n'
        'password = "a long word"\nregister = true\nprefixes = ["+999"]\noptions_seconds = 0\n'
    )
    assert first.apply(document).returncode == 0
    assert proc.wait_until(lambda: bool(carrier.bindings), 10)

    def known(server: Server) -> bool:
        return server.metric("cloudline_trunk_registered", trunk="registers", peer="1") == 1

    assert proc.wait_until(lambda: known(first) and known(second), 10), "each knows of it"
    (contact,) = carrier.contacts
    assert contact in (at(first), at(second))
    # the node that has the duty is killed: the other one is the carrier's only contact a few seconds later
    if contact == at(first):
        pair.lose_the_first()
        left = second
    else:
        assert proc.wait_until(lambda: known(second), 5)
        second.stop()
        left = first
    assert proc.wait_until(lambda: carrier.contacts == [at(left)], 10), carrier.contacts
    assert proc.wait_until(lambda: known(left), 5)
