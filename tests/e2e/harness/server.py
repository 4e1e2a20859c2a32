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

from loadtests import ports, proc
from tests.e2e.harness import certificate, sip
from tests.e2e.harness.sip import Message
from tests.e2e.harness.wire import Address, NothingCame

ROOT = Path(__file__).resolve().parents[3]
CLI = [sys.executable, "-c", "import sys; from callcontrol.cli import main; sys.exit(main())"]
HOST = "127.0.0.1"
TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")


class Server:
    """One node of ours with a database of its own.  ``trunks`` are addresses that carriers may bind to."""

    def __init__(self, folder: Path, domain: str = "e2e.example", settings: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.domain = domain
        self.ports = {transport: ports.free_port(HOST) for transport in TRANSPORTS}
        self.http = ports.free_port(HOST)
        self.expected: list[str] = []
        """Words of errors that a test brings about."""
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
        return self.cli("apply", str(path), "--config", str(self.config), *options)

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

    def api(self, path: str) -> Any:
        """JSON of the operator's API."""
        token = self.database.with_suffix(".token").read_text().strip()
        request = urllib.request.Request(
            f"http://{HOST}:{self.http}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read())

    def cli(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A command as a user types it in a second terminal: it finds the node by itself."""
        return subprocess.run(
            [*CLI, *arguments],
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

    def ladder(self, reference: str) -> list[tuple[str, Message]]:
        """The messages of a call in order, each with the name of the party that sent it."""
        view = self.api(f"/v1/calls/{reference}/ladder")
        names = [party["name"] for party in view["parties"]]
        return [(names[entry["source"]], sip.parse(entry["message"])) for entry in view["entries"]]

    # ---- records

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=5) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def record_of(self, since: set[str], timeout: float = 8.0) -> dict[str, Any]:
        """The one call record written since `records_now`, with its legs under ``legs``."""
        end = time.monotonic() + timeout
        new: list[dict[str, Any]] = []
        while time.monotonic() < end:
            new = [row for row in self.rows("SELECT * FROM calls") if row["call_ref"] not in since]
            if new:
                break
            time.sleep(0.1)
        if not new:
            raise NothingCame(f"no call record was written\n{self.tail(30)}")
        assert len(new) == 1, f"{len(new)} call records for one call: {new}"
        legs = self.rows("SELECT * FROM call_legs WHERE call_ref = ? ORDER BY leg", new[0]["call_ref"])
        return {**new[0], "legs": legs}

    def records_now(self) -> set[str]:
        return {row["call_ref"] for row in self.rows("SELECT call_ref FROM calls")}

    def wait_idle(self, timeout: float = 8.0) -> None:
        """Until no call is in memory and every record is in the database; fails with what is left."""

        def idle() -> bool:
            return self.metric("cloudline_calls") == 0 and self.metric("cloudline_cdr_outbox_depth") == 0

        if not proc.wait_until(idle, timeout):
            left = self.api("/v1/calls")["items"]
            for call in left:  # the next test shall not suffer
                self.cli("calls", "hangup", call["ref"])
            depth = self.metric("cloudline_cdr_outbox_depth")
            shown = json.dumps(left, indent=1)[:3000]
            raise AssertionError(
                f"left over: {depth:g} records in the outbox, calls {shown}\n{self.tail(15)}"
            )

    def tail(self, lines: int = 20) -> str:
        return (
            "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
        )

    def log_position(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def complaints(self, since: int = 0) -> list[str]:
        """Log lines that tell of a bug: tracebacks, and errors that no test has brought about."""
        text = self.log.read_bytes()[since:].decode(errors="replace")
        found = [line for line in text.splitlines() if "Traceback" in line or '"level":"error"' in line]
        return [line for line in found if not any(words in line for words in self.expected)]

    def _environment(self) -> dict[str, str]:
        run = self.folder / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDLINE_")}
        return {**clean, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "XDG_RUNTIME_DIR": str(run)}

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
