"""SIPp as carrier or softphone: a scenario of ours, its exit code, and the messages that it saw."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from loadtests import ports, proc
from tests.e2e.harness import sip
from tests.e2e.harness.rtp import RtpEcho
from tests.e2e.harness.sip import Message
from tests.e2e.harness.wire import Address

SCENARIOS = Path(__file__).resolve().parent.parent / "sipp"


class SippRun:
    """One SIPp process.  ``wait`` gives its verdict; ``messages`` what it sent and received."""

    def __init__(
        self,
        scenario: str,
        folder: Path,
        *,
        local: Address,
        target: Address | None = None,
        transport: str = "u1",
        calls: int = 1,
        timeout: int = 20,
        keys: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.scenario = scenario
        self.log = folder / f"{scenario}-{local[1]}.log"
        self.errors = folder / f"{scenario}-{local[1]}.errors"
        self.screen = folder / f"{scenario}-{local[1]}.screen"
        self.media = RtpEcho(local[0])
        command = ["sipp", *([f"{target[0]}:{target[1]}"] if target else [])]
        command += ["-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", local[0], "-p", str(local[1])]
        command += ["-mi", local[0], "-mp", str(ports.free_port(local[0])), "-t", transport, "-nostdin"]
        command += ["-key", "rtp", str(self.media.port)]
        command += ["-m", str(calls), "-timeout", f"{timeout}s", "-timeout_error", "-skip_rlimit"]
        command += [
            "-trace_msg",
            "-message_file",
            str(self.log),
            "-trace_err",
            "-error_file",
            str(self.errors),
        ]
        for key, value in (keys or {}).items():
            command += ["-key", key, value]
        with self.screen.open("wb") as screen:
            self._process = subprocess.Popen(
                [*command, *options], cwd=folder, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen
            )
        self._timeout = timeout

    def wait(self) -> None:
        """Until the scenario is over; fails with what SIPp complained about."""
        try:
            code = self._process.wait(self._timeout + 10)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"SIPp {self.scenario} did not end\n{self.story()}") from None
        assert code == 0, f"SIPp {self.scenario} ended with {code}\n{self.story()}"

    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self.media.close()
        if self.running():
            proc.stop(self._process, 2)

    def messages(self, received: bool = True) -> list[Message]:
        """Messages in the order of the log: received ones, or those sent."""
        if not self.log.exists():
            return []
        text = self.log.read_text(errors="replace").replace("\r\n", "\n")
        found = []
        pattern = r"^-{20,}[^\n]*\n[^\n]*message (sent|received)[^\n]*:\n\n(.*?)(?=^-{20,}|\Z)"
        for direction, body in re.findall(pattern, text, re.MULTILINE | re.DOTALL):
            if (direction == "received") == received:
                found.append(sip.parse(body.lstrip("\n").replace("\n", "\r\n")))
        return found

    def received(self, method: str) -> Message:
        """The first request received with the method."""
        for message in self.messages():
            if message.is_request and message.method == method:
                return message
        raise AssertionError(f"SIPp {self.scenario} received no {method}\n{self.story()}")

    def story(self) -> str:
        lines = [f"  got {m.start}" for m in self.messages()] + [
            f"  sent {m.start}" for m in self.messages(False)
        ]
        errors = self.errors.read_text(errors="replace")[-1500:] if self.errors.exists() else ""
        return "\n".join(lines[-40:]) + f"\n{errors}"
