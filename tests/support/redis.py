"""A throw-away Redis for tests, on a port that was free, without persistence.

It can be killed, frozen and started again on its port, which is how an outage is played.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import ports
from tests.conftest import find_program

HOST = "127.0.0.1"


class RedisServer:
    """One server process."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = ports.free_port(HOST)

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = ["--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no"]
        self._run([*options, "--dir", str(self._folder), "--daemonize", "no", *self._options])

    def _run(self, options: list[str]) -> None:
        program = find_program("redis-server")
        if program is None:
            pytest.fail("missing program: redis-server (make setup installs it)", pytrace=False)
        command = [program, *options]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 20
        while f"process_id:{self._process.pid}" not in self.ask("INFO", "server").split():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"redis-server did not start:\n{(self._folder / 'redis.log').read_text()}")
            time.sleep(0.02)

    def ask(self, *words: str) -> str:
        """What ``redis-cli`` says; empty when it cannot reach the server."""
        program = find_program("redis-cli") or "redis-cli"
        done = subprocess.run(
            [program, "-h", HOST, "-p", str(self.port), *words],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def freeze(self) -> None:
        """It keeps its connections and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Gone at once, with everything that it held."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def keep(self) -> None:
        """What it holds now is what it will have when it is started again, whatever comes until then."""
        assert self.ask("SAVE") == "OK"

    def keep_nothing(self) -> None:
        (self._folder / "dump.rdb").unlink(missing_ok=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """An empty Redis."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()
