"""A load of registrations with digest: each is REGISTER, 401, REGISTER, 200.

Our own and not SIPp's: Debian's SIPp reads only the first challenge and knows MD5 alone, while a server of today
offers SHA-256 first (RFC 8760).  Runs as a process of its own, so that it can have a core:

    python -m loadtests.registering SERVER:PORT LOCAL RATE COUNT USERS DOMAIN

prints one JSON line when it is done.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from loadtests import proc
from loadtests.phone import authorization
from loadtests.servers import load_user
from loadtests.sipp import Address, Counters

T1 = 0.5
GIVE_UP = 8.0


@dataclass(slots=True)
class Attempt:
    """One registration on its way."""

    number: int
    user: str
    password: str
    call_id: str
    begun: float
    text: bytes = b""
    cseq: int = 1
    sent: float = 0.0
    wait: float = T1


class Registering:
    """Starts registrations at a rate and sees them through."""

    def __init__(self, server: tuple[str, int], local: str, users: int, domain: str) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind((local, 0))
        self.sock.setblocking(False)
        self.server, self.users, self.domain = server, users, domain
        self.here = f"{local}:{self.sock.getsockname()[1]}"
        self.open: dict[str, Attempt] = {}
        self.completed = self.failed = self.repeats = 0

    def begin(self, number: int) -> None:
        user, password = load_user(number % self.users)
        attempt = Attempt(number, user, password, uuid.uuid4().hex, time.monotonic())
        self.open[attempt.call_id] = attempt
        self._send(attempt, "")

    def _send(self, attempt: Attempt, credentials: str) -> None:
        aor = f"sip:{attempt.user}@{self.domain}"
        urn = f"urn:uuid:00000000-0000-4000-8000-{attempt.number % self.users:012x}"
        attempt.text = (
            f"REGISTER sip:{self.domain} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.here};branch=z9hG4bK{attempt.call_id}{attempt.cseq}\r\n"
            f"Max-Forwards: 70\r\nFrom: <{aor}>;tag={attempt.call_id[:8]}\r\nTo: <{aor}>\r\n"
            f"Call-ID: {attempt.call_id}\r\nCSeq: {attempt.cseq} REGISTER\r\n"
            f'Contact: <sip:{attempt.user}@{self.here}>;+sip.instance="<{urn}>"\r\nExpires: 3600\r\n'
            f"{credentials}Content-Length: 0\r\n\r\n"
        ).encode()
        attempt.sent, attempt.wait = time.monotonic(), T1
        self.sock.sendto(attempt.text, self.server)

    def read(self) -> None:
        while True:
            try:
                reply = self.sock.recv(65535).decode("utf-8", "replace")
            except (BlockingIOError, ConnectionRefusedError):
                return
            found = re.search(r"^(?:Call-ID|i)\s*:\s*(\S+)", reply, re.IGNORECASE | re.MULTILINE)
            attempt = self.open.get(found.group(1)) if found else None
            if attempt is None or reply.startswith("SIP/2.0 1"):
                continue
            cseq = re.search(r"^CSeq\s*:\s*(\d+)", reply, re.IGNORECASE | re.MULTILINE)
            if cseq is None or int(cseq.group(1)) != attempt.cseq:
                continue
            if reply.startswith("SIP/2.0 401") and attempt.cseq == 1:
                challenge = re.search(
                    r"^WWW-Authenticate\s*:\s*(.+?)\s*$", reply, re.IGNORECASE | re.MULTILINE
                )
                attempt.cseq = 2
                uri = f"sip:{self.domain}"
                value = challenge.group(1) if challenge else 'Digest realm="", nonce=""'
                answer = authorization(value, "REGISTER", uri, attempt.user, attempt.password)
                self._send(attempt, f"Authorization: {answer}\r\n")
                continue
            del self.open[attempt.call_id]
            if reply.startswith("SIP/2.0 200"):
                self.completed += 1
            else:
                self.failed += 1

    def repeat(self) -> None:
        """Retransmissions (timer E of RFC 3261) and giving up."""
        now = time.monotonic()
        for attempt in list(self.open.values()):
            if now - attempt.begun > GIVE_UP:
                del self.open[attempt.call_id]
                self.failed += 1
            elif now - attempt.sent > attempt.wait:
                attempt.sent, attempt.wait = now, attempt.wait * 2
                self.repeats += 1
                self.sock.sendto(attempt.text, self.server)

    def run(self, rate: float, count: int) -> float:
        """Seconds from the first registration to the end of the last."""
        begun, made, looked = time.monotonic(), 0, 0.0
        while made < count or self.open:
            now = time.monotonic() - begun
            while made < count and made / rate <= now:
                self.begin(made)
                made += 1
            patience = min(0.02, made / rate - now) if made < count else 0.02
            if select.select([self.sock], [], [], max(0.0, patience))[0]:
                self.read()
            if now - looked > 0.1:
                looked = now
                self.repeat()
        return time.monotonic() - begun


class Generator:
    """The generator as a process on a core, with the face that a step expects of one."""

    def __init__(
        self,
        server: Address,
        local: str,
        rate: float,
        count: int,
        users: int,
        domain: str,
        folder: Path,
        core: int | None,
    ) -> None:
        root = Path(__file__).resolve().parent.parent
        command = [sys.executable, "-m", "loadtests.registering", str(server), local]
        command += [f"{rate:g}", str(count), str(users), domain]
        self.cpu = 0.0
        self._output = folder / "registering"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=root,
                env={**os.environ, "PYTHONPATH": str(root)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if core is not None:
            proc.pin([self.process.pid], core)

    def running(self) -> bool:
        if self.process.poll() is not None:
            return False
        self.cpu = max(self.cpu, proc.cpu_seconds([self.process.pid]))
        return True

    def finish(self, patience: float) -> None:
        if self.running():
            proc.stop(self.process, patience)

    def counters(self) -> Counters:
        text = self._output.read_text(errors="replace").strip()
        if not text.startswith("{"):
            return Counters(completed=0, failed=0, repeats=0, seconds=0.0)
        return Counters(**json.loads(text))

    def complaint(self) -> str:
        return self._output.read_text(errors="replace").strip()[-200:]


def main() -> int:
    server, local, rate, count, users, domain = sys.argv[1:]
    host, port = server.rsplit(":", 1)
    load = Registering((host, int(port)), local, int(users), domain)
    seconds = load.run(float(rate), int(count))
    counted = {"completed": load.completed, "failed": load.failed, "repeats": load.repeats}
    print(json.dumps({**counted, "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
