"""Starting, settings on their way to a worker, ports that are somebody else's."""

from __future__ import annotations

import socket

import msgspec
import pytest

from callcontrol.workers.child import Begin, UdpSocket, worker_name
from callcontrol.workers.supervisor import reserve_tcp
from config.settings import Settings

HOST = "127.0.0.1"


def test_a_worker_gets_the_settings_as_they_are() -> None:
    given = Settings.model_validate(
        {
            "node": {"id": "n", "workers": 2},
            "state": {"url": "redis://:secret@127.0.0.1:6379/0"},
            "registrar": {"secret": "a secret of thirty-two characters"},
            "sip": {"listen": ["udp:127.0.0.1:5060", "tcp:[::1]:5060"], "domains": ["other.example"]},
            "plans": {"gold": {"devices": 9, "numbers": 3}},
        }
    )
    begin = Begin(2, 2, given.model_dump_json().encode(), (UdpSocket(HOST, 5060, 7),), 1)
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(begin), type=Begin)
    assert read == begin
    assert Settings.model_validate_json(read.settings) == given
    assert worker_name("n", 2) == "n.2"


def test_all_settings_come_through() -> None:
    assert Settings.model_validate_json(Settings().model_dump_json()) == Settings()


@pytest.mark.parametrize("host", [HOST, "::1"])
def test_a_reserved_port_is_shared_by_workers_and_by_nobody_else(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = reserve_tcp(host, 0)
    port = held.getsockname()[1]
    workers = []
    for _ in range(2):
        sock = socket.socket(family, socket.SOCK_STREAM)
        workers.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen()
    with pytest.raises(OSError):
        reserve_tcp(host, port)
    for sock in (*workers, held):
        sock.close()
    reserve_tcp(host, port).close()


def test_a_port_that_another_program_listens_on_is_refused() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        with pytest.raises(OSError):
            reserve_tcp(HOST, other.getsockname()[1])
