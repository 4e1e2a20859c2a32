"""Cloudline as a user starts it: documents, ``apply``, ``serve``, its HTTP faces, its log, its database."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from loadtests import proc
from tests.e2e.harness import certificate
from tests.e2e.harness.wire import Address, NothingCame

ROOT = Path(__file__).resolve().parents[3]
CLI = [sys.executable, "-m", "callcontrol.cli"]
HOST = "127.0.0.1"
TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")


class Server:
    """One node of ours with a database of its own.  ``trunks`` are addresses that carriers may bind to."""

    def __init__(self, folder: Path, domain: str = "e2e.example", settings: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.domain = domain
        self.ports = {transport: proc.free_port(HOST) for transport in TRANSPORTS}
        self.http = proc.free_port(HOST)
        self.certificate = certificate.make(folder, "e2e.example")
        self.config = folder / "cloudline.toml"
        self.database = folder / "cloudline.db"
        self.log = folder / "server.log"
        self.config.write_text(self._config() + settings)
        self._process: subprocess.Popen[bytes] | None = None

    def address(self, transport: str = "udp") -> Address:
        return HOST, self.ports[transport]

    # ---- life

    def apply(self, document: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Write the provisioning document and apply it; the finished command, not yet judged."""
        path = self.folder / "provisioning.toml"
        path.write_text(document)
        return self.cli("apply", str(path), *options)

    def start(self, patience: float = 20.0) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*CLI, "serve", "--config", str(self.config)],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        ready = proc.wait_until(lambda: not self.alive or self.is_ready(), patience)
        if not ready or not self.alive:
            self.stop()
            raise AssertionError(f"the server did not become ready:\n{self.tail(40)}")

    def stop(self, patience: float = 10.0) -> int:
        """TERM, then KILL where that does not help; the exit code."""
        if self._process is None:
            return 0
        code = proc.stop(self._process, patience)
        self._process = None
        return code

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    # ---- faces

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an HTTP GET."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.http}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of a metric that have these labels; 0 when there is none."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            right = line.startswith((f"{name}{{", f"{name} "))
            if right and all(f'{key}="{value}"' in line for key, value in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def cli(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CLI, *arguments, "--config", str(self.config)],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def cli_json(self, *arguments: str) -> Any:
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, f"cloudline {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def ladder(self, reference: str) -> str:
        done = self.cli("calls", "ladder", reference)
        assert done.returncode == 0, f"calls ladder {reference}: {done.stdout}{done.stderr}"
        return done.stdout

    # ---- records

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=5) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def record_of(self, since: set[str], timeout: float = 8.0) -> dict[str, Any]:
        """The one call record that was written since `records_now`, with its legs under ``legs``."""
        end = time.monotonic() + timeout
        new: list[dict[str, Any]] = []
        while time.monotonic() < end:
            new = [row for row in self.rows("SELECT * FROM call_records") if row["id"] not in since]
            if new:
                break
            time.sleep(0.1)
        if not new:
            raise NothingCame(f"no call record was written\n{self.tail(30)}")
        assert len(new) == 1, f"{len(new)} call records for one call: {new}"
        legs = self.rows("SELECT * FROM leg_records WHERE call_id = ? ORDER BY number", new[0]["id"])
        return {**new[0], "legs": legs}

    def records_now(self) -> set[str]:
        return {row["id"] for row in self.rows("SELECT id FROM call_records")}

    def tail(self, lines: int = 20) -> str:
        return (
            "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
        )

    def log_position(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def complaints(self, since: int = 0) -> list[str]:
        """Log lines that tell of a bug: tracebacks and errors."""
        text = self.log.read_bytes()[since:].decode(errors="replace")
        return [line for line in text.splitlines() if "Traceback" in line or '"level": "error"' in line]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def _config(self) -> str:
        listen = ", ".join(f'"{transport}:{HOST}:{port}"' for transport, port in self.ports.items())
        return f"""\
[node]
id = "e2e"

[sip]
listen = [{listen}]
domain = "{self.domain}"

[sip.tls]
certificate = "{self.certificate.chain}"
key = "{self.certificate.key}"

[database]
url = "sqlite+aiosqlite:///{self.database}"

[http]
listen = "{HOST}:{self.http}"

[limits]
trusted_networks = ["127.0.0.0/8"]

[log]
level = "info"
format = "json"

[cdr]
outbox = "{self.folder / "outbox"}"
linger_seconds = 0.05
"""
