"""Two nodes behind Kamailio, as ``config/kamailio`` has it: phones and carriers know nobody but the proxy."""

from __future__ import annotations

import subprocess
from pathlib import Path

from loadtests import ports, proc
from tests.conftest import find_program
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.pair import Pair
from tests.e2e.harness.server import ROOT, Server
from tests.e2e.harness.wire import Address, UdpWire
from tests.e2e.harness.world import PASSWORD
from tests.support.redis import RedisServer

FRONT = "127.0.0.20"
CONFIG = ROOT / "config" / "kamailio"


class Kamailio:
    """The shipped configuration with other addresses."""

    def __init__(self, folder: Path, nodes: list[Address]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.address: Address = (FRONT, ports.free_port(FRONT))
        listing = folder / "dispatcher.list"
        listing.write_text("".join(f"1 sip:{host}:{port}\n" for host, port in nodes))
        text = (CONFIG / "kamailio.cfg").read_text()
        for old, new in (
            ("listen=udp:127.0.0.1:5060", f"listen=udp:{FRONT}:{self.address[1]}"),
            ("/etc/kamailio/dispatcher.list", str(listing)),
            ("children=4", "children=2"),
            # on a machine with more to do than tests, a node that lives may be silent for a second or two
            ('"fr_timer", 1500', '"fr_timer", 1900'),
            ('"ds_ping_interval", 2', '"ds_ping_interval", 1'),
        ):
            assert old in text
            text = text.replace(old, new)
        self.config = folder / "kamailio.cfg"
        self.config.write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def check(self) -> subprocess.CompletedProcess[str]:
        """What Kamailio says of the configuration."""
        command = [find_program("kamailio") or "kamailio", "-c", "-f", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def start(self) -> None:
        program = find_program("kamailio") or "kamailio"
        command = [
            program,
            "-f",
            str(self.config),
            "-DD",
            "-E",
            "-m",
            "64",
            "-M",
            "8",
            "-w",
            str(self._folder),
        ]
        with (self._folder / "kamailio.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        assert proc.wait_until(lambda: bool(proc.udp_bound(self.address)), 10), self.tail()

    def tail(self) -> str:
        return "\n".join((self._folder / "kamailio.log").read_text().splitlines()[-30:])

    def stop(self) -> None:
        if self._process is not None:
            proc.stop(self._process, 5.0)
            self._process = None


class Fronted(Pair):
    """Kamailio, two nodes, one Redis, one database."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        super().__init__(folder, server)
        self.nodes: list[Server] = [self.world.server, self.second]
        for node in self.nodes:
            text = node.config.read_text().replace("ring_seconds = 5", "ring_seconds = 80")
            text = text.replace("lease_seconds = 1.0", "lease_seconds = 2.5")
            node.config.write_text(
                text.replace("[sip]\n", f'[sip]\ndomains = ["{FRONT}"]\nproxies = ["{FRONT}/32"]\n', 1)
            )
        self.kamailio = Kamailio(folder / "kamailio", [node.address() for node in self.nodes])

    def start(self) -> None:
        super().start()
        self.kamailio.start()

    def close(self) -> None:
        super().close()
        self.kamailio.stop()

    def carrier(self, name: str = "carrier-a") -> Agent:
        """A scripted carrier that calls the proxy."""
        agent = self.world.carrier(name)
        agent.server = self.kamailio.address
        return agent

    def phone(self, name: str) -> Agent:
        """A softphone that registers through the proxy."""
        wire = UdpWire("127.0.0.1", 0, self.kamailio.address)
        agent = Agent(
            wire, self.kamailio.address, self.world.domain, name, PASSWORD, ports.free_port("127.0.0.1")
        )
        self.world.leaves(wire.close)
        reply = agent.register()
        assert reply.status == 200, (
            f"{name}: REGISTER was answered {reply.start}\n{agent.story()}\n{self.kamailio.tail()}"
        )
        assert proc.wait_until(
            lambda: all(node.metric("cloudline_registrations_known") for node in self.nodes if node.alive), 10
        )
        return agent

    def counted_in(self, node: Server) -> None:
        """Waits until the proxy offers calls to this node, which has just started: it has answered OPTIONS."""
        assert proc.wait_until(
            lambda: node.metric("cloudline_sip_messages_total", direction="in", method="OPTIONS") >= 2, 15
        ), f"{node.tail()}\n{self.kamailio.tail()}"

    def calls(self) -> list[float]:
        """Calls in memory, node by node; 0 for a dead one."""
        return [node.metric("cloudline_calls") if node.alive else 0.0 for node in self.nodes]
