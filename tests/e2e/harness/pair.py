"""Two nodes with one Redis and one database."""

from __future__ import annotations

import signal
from pathlib import Path

from loadtests import ports, proc
from tests.e2e.harness.agent import Agent
from tests.e2e.harness.server import HOST, Server
from tests.e2e.harness.wire import StreamWire, UdpWire, WebSocketWire, Wire
from tests.e2e.harness.world import PASSWORD, World, unregister
from tests.support.redis import RedisServer
from tests.support.redis_groups import Group

SIM, GATEWAY, MOBILE = "+33639980001", "+33199000001", "carrier-ouest"
"""The SIM of ana's phone, the number that it dials to reach us, and the carrier that brings its calls."""


class Lines(World):
    """The usual world with a gateway number, and a carrier that takes one call at a time."""

    def document(self, **changes: str) -> str:
        text = super().document(**changes).replace('prefixes = ["+332"]', 'prefixes = ["+33639980"]')
        text = text.replace('prefixes = ["+44"]', 'prefixes = ["+44"]\nmax_channels = 1')
        return f'{text}\n[[gateway_number]]\ne164 = "{GATEWAY}"\ntrunk = "{MOBILE}"\nkind = "call_through"\n'


class Pair:
    """Two nodes with one Redis and one database."""

    def __init__(self, folder: Path, server: RedisServer | Group) -> None:
        state = f'\n[state]\nurl = "{server.url}"\nlease_seconds = 1.0\n'
        self.world: World = Lines(folder / "one", settings=state)
        self.second = Server(folder / "two", settings=state)
        text = self.second.config.read_text().replace('id = "e2e"', 'id = "second"')
        self.second.config.write_text(
            text.replace(str(self.second.database), str(self.world.server.database))
        )
        self.second.database = self.world.server.database

    def start(self) -> None:
        self.world.start()
        self.second.start()

    def close(self) -> None:
        self.world.close()
        self.second.stop()

    def lose_the_first(self) -> None:
        """Kill it, and bring its parties to the second."""
        self.world.server.signal(signal.SIGKILL)
        assert proc.wait_until(lambda: not self.world.server.alive, 5)

    def scripted_at_second(self, name: str, transport: str = "udp") -> Agent:
        """A softphone that registers with the second node."""
        address = self.second.address(transport)
        wire: Wire
        if transport == "udp":
            wire = UdpWire(HOST, 0, address)
        elif transport == "tcp":
            wire = StreamWire(address, None, HOST)
        else:
            wire = WebSocketWire(address, None)
        agent = Agent(wire, address, self.world.domain, name, PASSWORD, ports.free_port(HOST))
        self.world.leaves(wire.close)
        self.world.leaves(lambda: unregister(agent))
        reply = agent.register()
        assert reply.status == 200, f"{name}: REGISTER was answered {reply.start}\n{agent.story()}"
        return agent
