"""Softphones that nobody here wrote, each in a process of its own, driven by JSON lines.

Both kinds (PJSIP by ``pjsua2-python``, libbaresip by ``baresip-python``) understand the same commands and
report the same events, so that a test can ring all of them together.  Commands go in as ``{"do": ...}``; what
happens comes out as ``{"event": ..., "call": n}``, and the answer to a command as ``{"reply": ...}``.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtests import proc
from tests.e2e.harness import sip
from tests.e2e.harness.sip import Message
from tests.e2e.harness.wire import NothingCame

Event = dict[str, Any]
KINDS = {"pjsua": "pjsua_phone.py", "baresip": "baresip_phone.py"}
HERE = Path(__file__).parent


class PhoneError(AssertionError):
    """The phone refused a command or died."""


class Phone:
    """A softphone process.  It is registered once `register` returned 200."""

    def __init__(self, kind: str, transport: str, server: tuple[str, int], domain: str, folder: Path) -> None:
        self.kind, self.transport, self.server, self.domain = kind, transport, server, domain
        self.user = ""
        self.events: list[Event] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{kind}-{transport}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / KINDS[kind])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
            )
        self._news: queue.Queue[Event | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __str__(self) -> str:
        return f"{self.kind} {self.user} over {self.transport}"

    # ---- commands

    def do(self, command: str, timeout: float = 10.0, **arguments: object) -> Event:
        """Carry out one command; raises PhoneError with what the phone said."""
        line = json.dumps({"do": command, **arguments}) + "\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise PhoneError(f"{self} has ended: {self.last_lines()}") from error
        before = len(self.events)
        reply = self._wait(
            lambda e: "reply" in e and e["reply"] == command, timeout, f"reply to {command}", before
        )
        if reply.get("error"):
            raise PhoneError(f"{self}: {command}: {reply['error']}")
        return reply

    def register(self, user: str, password: str, expect: int = 200, **options: object) -> int:
        """Register; the status of the registrar's last answer, which must be ``expect`` (0: any)."""
        self.user = user
        self.do(
            "register",
            user=user,
            password=password,
            domain=self.domain,
            host=self.server[0],
            port=self.server[1],
            transport=self.transport,
            **options,
        )
        code = int(self.wait("registered", timeout=10)["code"])
        if expect and code != expect:
            raise PhoneError(f"{self}: REGISTER was answered {code}, not {expect}")
        return code

    def dial(self, number: str, **options: object) -> int:
        """Call a number (or a whole URI); the phone's own number for the call."""
        transport = "" if self.transport == "udp" else f";transport={self.transport}"
        uri = number if ":" in number else f"sip:{number}@{self.domain}{transport}"
        return int(self.do("dial", uri=uri, **options)["call"])

    def answer(self, call: int, status: int = 200) -> None:
        self.do("answer", call=call, status=status)

    def hang_up(self, call: int) -> None:
        self.do("hangup", call=call)

    # ---- what happened

    def wait(
        self,
        event: str,
        call: int | None = None,
        timeout: float = 6.0,
        fits: Callable[[Event], bool] | None = None,
    ) -> Event:
        """The first event of that name (of that call) that came or comes."""

        def wanted(e: Event) -> bool:
            return (
                e.get("event") == event
                and (call is None or e.get("call") == call)
                and (fits is None or fits(e))
            )

        return self._wait(wanted, timeout, f"{event}{f' of call {call}' if call else ''}", 0)

    def wait_more(self, event: str, call: int, than: int, timeout: float = 6.0) -> None:
        """Until more events of that name than so many came for the call."""
        self.wait(event, call, timeout, lambda e: self.count(event, call) > than)

    def count(self, event: str, call: int) -> int:
        return sum(e.get("event") == event and e.get("call") == call for e in self.events)

    def incoming(self, timeout: float = 6.0, after: int = 0) -> int:
        """Number of the next incoming call."""
        return int(self.wait("incoming", timeout=timeout, fits=lambda e: e["call"] > after)["call"])

    def none_of(self, event: str, seconds: float, call: int | None = None) -> None:
        """Such an event has not come and does not come for so long."""
        try:
            found = self.wait(event, call, seconds)
        except NothingCame:
            return
        raise AssertionError(f"{self}: unexpected {found}\n{self.story()}")

    def messages(self, method: str = "") -> list[Message]:
        """SIP messages that the phone received, as far as the kind of phone shows them."""
        texts = [e["text"] for e in self.events if e.get("event") == "message"]
        found = [sip.parse(text) for text in texts]
        return [m for m in found if method in ("", m.method)]

    def packets(self, call: int) -> int:
        """RTP packets received in the call so far."""
        return int(self.do("stats", call=call)["received"])

    def insist(self, command: str, call: int) -> None:
        """Carry out a command that a phone refuses while its last re-INVITE is still on its way."""
        end = time.monotonic() + 4
        while True:
            try:
                self.do(command, call=call)
                return
            except PhoneError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def hears(self, call: int, seconds: float = 1.0, at_least: int = 20) -> int:
        """RTP goes on arriving: packets received within so many seconds; fails below ``at_least``."""
        before = self.packets(call)
        end = time.monotonic() + seconds + 3
        while time.monotonic() < end:
            got = self.packets(call) - before
            if got >= at_least:
                return got
            time.sleep(0.05)
        raise NothingCame(f"{self}: only {self.packets(call) - before} RTP packets came\n{self.story()}")

    def story(self) -> str:
        shown = [e for e in self.events if e.get("event") != "message"][-30:]
        return "\n".join(f"  {json.dumps(e)[:200]}" for e in shown) or "  (no events)"

    def last_lines(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-6:]) or "no output"

    # ---- the end

    def close(self) -> None:
        """Unregister, hang up and end the process."""
        if self._process.poll() is None:
            with contextlib.suppress(PhoneError, NothingCame):
                self.do("quit", timeout=4)
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            proc.stop(self._process)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def kill(self) -> None:
        """As if the battery were pulled."""
        self._process.kill()
        self._process.wait(3)

    # ---- inside

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while we read: the phone is being ended
            for line in self._process.stdout:
                with contextlib.suppress(json.JSONDecodeError):  # a library's own print
                    self._news.put(json.loads(line))
        self._news.put(None)

    def _wait(self, wanted: Callable[[Event], bool], timeout: float, what: str, start: int) -> Event:
        for event in self.events[start:]:
            if wanted(event):
                return event
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            try:
                event_or_none = self._news.get(timeout=left)
            except queue.Empty:
                break
            if event_or_none is None:
                self._news.put(None)
                raise PhoneError(f"{self} ended while {what} was awaited: {self.last_lines()}")
            self.events.append(event_or_none)
            if wanted(event_or_none):
                return event_or_none
        raise NothingCame(f"{self}: no {what}\n{self.story()}")
