"""Redis as it is run where it must not fail: a master with a replica and Sentinels, and a Cluster.  Real processes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from loadtests import ports
from tests.conftest import find_program
from tests.support.redis import HOST, RedisServer

SERVICE = "calls"
_BUS = 10_000
"""The bus port of a node of a Cluster, above its own."""


class NotYet(AssertionError):
    """Servers that are starting, or changing over, do not know (all agree on) this yet."""


def until(what: str, condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for other processes; ``what`` is for the reader of a failure.  ``NotYet`` out of ``condition`` is a no."""
    deadline = time.monotonic() + seconds
    told = ""
    while True:
        try:
            if condition():
                return
        except NotYet as no:
            told = f" ({no})"
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}{told}"
        time.sleep(0.05)


class Group:
    """Several servers, and how they are named in a URL."""

    servers: list[RedisServer]
    url: str

    def master(self) -> RedisServer:
        """The server that has our keys now."""
        raise NotImplementedError

    def close(self) -> None:
        for server in self.servers:
            server.kill()

    def others(self) -> list[RedisServer]:
        held = self.master()
        return [server for server in self.servers if server is not held]


class SentinelGroup(Group):
    """A master, a replica, three Sentinels."""

    def __init__(self, folder: Path) -> None:
        self.servers = []
        for number in (1, 2):
            home = folder / f"server-{number}"
            home.mkdir(parents=True)
            self.servers.append(RedisServer(home, "--repl-diskless-sync-delay", "0"))
        self.sentinels = [Sentinel(folder / f"sentinel-{n}", self.servers[0].port) for n in (1, 2, 3)]
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}/0"

    def start(self) -> None:
        first, second = self.servers
        first.start()
        second.start()
        second.ask("REPLICAOF", HOST, str(first.port))
        until("the replica", lambda: "master_link_status:up" in second.ask("INFO", "replication"))
        for sentinel in self.sentinels:
            sentinel.start()
        until("the Sentinels know each other", lambda: all(each.is_ready() for each in self.sentinels))

    def close(self) -> None:
        for sentinel in self.sentinels:
            sentinel.kill()
        super().close()

    def master(self) -> RedisServer:
        told = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE).split()
        for server in self.servers:
            if str(server.port) in told:
                return server
        raise NotYet("the Sentinel names no server of ours as the master")

    def change_over(self) -> None:
        """Another master, as an operator asks for it: the old one lives on as its replica."""
        old = self.master()
        self.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)
        until("another master", lambda: self.master() is not old)


class Sentinel(RedisServer):
    """One Sentinel."""

    def __init__(self, folder: Path, master: int) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder)
        self._master = master

    def start(self) -> None:
        config = self._folder / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind {HOST}\ndir {self._folder}\n"
            f"sentinel monitor {SERVICE} {HOST} {self._master} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 3000\n"
        )
        self._run([str(config), "--sentinel"])

    def is_ready(self) -> bool:
        words = self.ask("SENTINEL", "MASTER", SERVICE).split()
        told = dict(zip(words[::2], words[1::2], strict=False))
        return (told.get("num-other-sentinels"), told.get("num-slaves")) == ("2", "1")


class ClusterGroup(Group):
    """Three masters, each with a replica, made by ``redis-cli --cluster create``."""

    def __init__(self, folder: Path) -> None:
        self.servers = []
        for number in range(6):
            home = folder / f"node-{number}"
            home.mkdir(parents=True)
            server = RedisServer(home, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
            server.port = ports.free_port(HOST, beside=_BUS)
            self.servers.append(server)
        self.url = "redis+cluster://" + ",".join(f"{HOST}:{server.port}" for server in self.servers)

    def start(self) -> None:
        for server in self.servers:
            server.start()
        program = find_program("redis-cli") or "redis-cli"
        hosts = [f"{HOST}:{server.port}" for server in self.servers]
        command = [program, "--cluster", "create", *hosts, "--cluster-replicas", "1", "--cluster-yes"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        until("the Cluster", lambda: all(self._is_up(server) for server in self.servers))
        until("replicas", lambda: "master_link_status:up" in self._replica().ask("INFO", "replication"))

    @staticmethod
    def _is_up(server: RedisServer) -> bool:
        told = server.ask("CLUSTER", "INFO")
        return "cluster_state:ok" in told and "cluster_known_nodes:6" in told

    def _line(self, port: int) -> list[str]:
        for server in self.servers:
            for line in server.ask("CLUSTER", "NODES").splitlines():
                if f":{port}@" in line:
                    return line.split()
        raise NotYet(f"no node knows the one at {port}")

    def master(self) -> RedisServer:
        slot = int(self._answer("CLUSTER", "KEYSLOT", "{cl}"))
        for line in self._answer("CLUSTER", "NODES").splitlines():
            words = line.split()
            if "master" not in words[2] or "fail" in words[2]:
                continue
            for part in words[8:]:
                low, _, high = part.partition("-")
                if low.isdigit() and int(low) <= slot <= int(high or low):
                    return self._of(words[1])
        raise NotYet("nobody has our slot")

    def _answer(self, *words: str) -> str:
        """Of the first node that answers."""
        for server in self.servers:
            told = server.ask(*words)
            if told:
                return told
        raise NotYet("no node of the Cluster answers")

    def _of(self, address: str) -> RedisServer:
        port = address.partition("@")[0].rpartition(":")[2]
        return next(server for server in self.servers if str(server.port) == port)

    def _replica(self) -> RedisServer:
        own = self._line(self.master().port)[0]
        for line in self._answer("CLUSTER", "NODES").splitlines():
            words = line.split()
            if words[3] == own and "fail" not in words[2]:
                return self._of(words[1])
        raise NotYet("our master has no replica")

    def change_over(self) -> None:
        """Its replica takes the place of our master, which lives on."""
        old = self.master()
        until("the order", lambda: self._replica().ask("CLUSTER", "FAILOVER") == "OK")
        until("another master", lambda: self.master() is not old)
