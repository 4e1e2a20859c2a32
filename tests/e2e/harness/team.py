"""One node of two workers, with a Redis of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from loadtests import ports, proc
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.server import Server
from tests.e2e.harness.world import PASSWORD, World
from tests.support.redis import RedisServer


class Team(World):
    """The usual world, served by several processes."""

    def __init__(self, folder: Path, store: RedisServer, workers: int = 2, lease_s: float = 4.0) -> None:
        state = f'\n[state]\nurl = "{store.url}"\nlease_seconds = {lease_s}\n'
        trunks = "[trunks]\nregister_retry_seconds = 0.5\nregister_retry_max_seconds = 1.0\n"
        super().__init__(folder, settings=state + trunks)
        self.registrar = ("127.0.0.7", ports.free_port("127.0.0.7"))
        config = self.server.config
        config.write_text(config.read_text().replace('id = "e2e"', f'id = "e2e"\nworkers = {workers}'))

    def document(self, **changes: str) -> str:
        """One more carrier, which wants the node to register."""
        host, port = self.registrar
        return super().document(**changes) + (
            f'\n[[trunk]]\nref = "registers"\npeers = ["sip:{host}:{port};transport=udp"]\nregister = true\n'
            'username = "acme"\npassword = "driver-secret"\ndomain = "carrier.example"\noptions_seconds = 0\n'
        )

    def start(self) -> None:
        done = self.server.apply(self.document(ben="ring_seconds = 2"))
        assert done.returncode == 0, f"apply: {done.stdout}{done.stderr}"
        self.server.start(patience=60)
        assert proc.wait_until(lambda: up(self.server) == 2, 30)

    def scripted(
        self, name: str, transport: str = "udp", *, register: bool = True, password: str = PASSWORD
    ) -> Agent:
        """As ever; registered, it is known to every worker: what one takes the others read a moment later."""
        agent = super().scripted(name, transport, register=register, password=password)
        if register:
            self.settle()
        return agent

    def settle(self) -> None:
        def known() -> bool:
            metric = self.server.metric
            return metric("cloudline_registrations_known") >= metric("cloudline_registrations") > 0

        assert proc.wait_until(known, 5)


def up(server: Server) -> float:
    """Workers that serve; 0 while the one with the API is away."""
    try:
        return server.metric("cloudline_workers", state="up")
    except OSError:
        return 0.0


def workers(server: Server) -> list[dict[str, Any]]:
    """What the node says of its workers."""
    found: list[dict[str, Any]] = server.api("/v1/node")["workers"]
    return found


def calls_by_worker(server: Server) -> list[int]:
    return [each["calls"] for each in workers(server)]


def kill(server: Server, worker: int) -> int:
    """Kill a worker; its former process."""
    pid = int(workers(server)[worker - 1]["pid"])
    os.kill(pid, signal.SIGKILL)
    return pid
