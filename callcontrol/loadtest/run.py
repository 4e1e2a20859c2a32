"""The loads: registrations with digest, and calls that ring, are answered, talk and are hung up by the caller."""

from __future__ import annotations

import secrets
import select
import time
from collections.abc import Callable, Sequence
from typing import Final

from callcontrol.loadtest.line import Account, Headers, Line, target_of
from callcontrol.loadtest.report import Report
from callcontrol.sip.events import (
    AckReceived,
    CancelReceived,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
)
from callcontrol.sip.message import Message

PATIENCE_S: Final = 35.0
"""How long after the last one was begun the rest is waited for: transactions end by then."""
_TICK_S: Final = 0.02
_AGAIN_S: Final = 0.5
"""How soon an answer that nobody has acknowledged is sent again (T1 of RFC 3261)."""


class Failed(Exception):
    """The load cannot be begun; the text says why."""


class Attempt:
    """One registration, or one call of a caller."""

    __slots__ = (
        "ack",
        "answered",
        "begun",
        "call_id",
        "cseq",
        "line",
        "ringing",
        "tag",
        "target",
        "to",
        "uri",
    )

    def __init__(self, line: Line, uri: str, to: str, now: float) -> None:
        self.line = line
        self.uri = uri
        self.to = to
        self.target = uri
        self.call_id = secrets.token_hex(10)
        self.tag = secrets.token_hex(4)
        self.cseq = 1
        self.begun = now
        self.ringing = 0.0
        self.answered = 0.0
        self.ack: Headers = []

    def head(self, method: str, *more: tuple[str, str]) -> Headers:
        return [*self.line.head(method, self.to, self.call_id, self.cseq, self.tag), *more]


class Load:
    """What all loads have in common: beginning at a rate, counting, the end."""

    kind = ""
    steps: tuple[str, ...] = ()

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.open: dict[str, Attempt] = {}
        self.completed = 0
        self.failures: dict[str, int] = {}
        self.delays: dict[str, list[float]] = {step: [] for step in self.steps}

    def run(self, rate: float, seconds: float, say: Callable[[str], None] = lambda text: None) -> Report:
        """Begin ``rate`` a second for so long, and see all of them through."""
        asked = max(1, round(rate * seconds))
        begun, made, told = time.monotonic(), 0, 0.0
        last = begun
        while made < asked or self.open:
            now = time.monotonic()
            while made < asked and made / rate <= now - begun:
                self.begin(made, now)
                made, last = made + 1, now
            for line in self.lines:
                line.flush()
            if made == asked and now - last > PATIENCE_S:
                for call_id in list(self.open):
                    self.fail(call_id, "no end")
            if now - told >= 1.0:
                told = now
                say(f"{made} begun, {self.completed} completed, {sum(self.failures.values())} failed")
            due = made / rate - (now - begun) if made < asked else _TICK_S
            self.step(min(max(due, 0.0), _TICK_S))
        ended = time.monotonic()
        self.linger()
        return Report(
            kind=self.kind,
            asked=asked,
            completed=self.completed,
            failures=self.failures,
            seconds=ended - begun,
            asked_rate=rate,
            rate=(asked - 1) / (last - begun) if last > begun else rate,
            retransmissions=sum(sum(line.endpoint.counters.retransmissions.values()) for line in self.lines),
            delays_s=self.delays,
        )

    def step(self, seconds: float) -> None:
        """Wait for so long at the most, and take what has come."""
        select.select([line.socket for line in self.lines], [], [], seconds)
        for line in self.lines:
            for event in line.read():
                self.on_event(line, event)
        self.on_time(time.monotonic())
        for line in self.lines:
            line.flush()

    def on_event(self, line: Line, event: object) -> None:
        if isinstance(event, ResponseReceived):
            attempt = self.open.get(event.message.call_id)
            if attempt is not None:
                self.on_response(attempt, event.message, time.monotonic())
        elif isinstance(event, TransactionFailed):
            found = [each.call_id for each in self.open.values() if event.owner == each.call_id]
            for call_id in found:
                self.fail(call_id, f"{event.method}: {event.cause}")

    def fail(self, call_id: str, what: str) -> None:
        if self.open.pop(call_id, None) is not None:
            self.failures[what] = self.failures.get(what, 0) + 1

    def refused(self, attempt: Attempt, answer: Message) -> None:
        self.fail(attempt.call_id, f"{answer.method}: {answer.status} {answer.reason}".strip())

    # -- what a load does

    def begin(self, number: int, now: float) -> None:
        raise NotImplementedError

    def on_response(self, attempt: Attempt, answer: Message, now: float) -> None:
        raise NotImplementedError

    def on_time(self, now: float) -> None:
        """What is due now."""

    def linger(self) -> None:
        """After the last one has ended."""


class RegisterLoad(Load):
    """REGISTER, challenge, REGISTER, 200; each account has one contact, however often it registers."""

    kind = "registrations"
    steps = ("registered",)

    def __init__(self, lines: Sequence[Line], expires: int = 300) -> None:
        super().__init__(lines)
        self._expires = expires

    def begin(self, number: int, now: float) -> None:
        line = self.lines[number % len(self.lines)]
        to = f"<sip:{line.account.user}@{line.domain}>"
        attempt = Attempt(line, f"sip:{line.domain}", to, now)
        self.open[attempt.call_id] = attempt
        self._send(attempt)

    def _send(self, attempt: Attempt, *credentials: tuple[str, str]) -> None:
        headers = attempt.head("REGISTER", ("Expires", str(self._expires)), *credentials)
        attempt.line.send("REGISTER", attempt.uri, headers, owner=attempt.call_id)

    def on_response(self, attempt: Attempt, answer: Message, now: float) -> None:
        if answer.status < 200:
            return
        if answer.status == 401 and attempt.cseq == 1:
            credentials = attempt.line.credentials(answer, "REGISTER", attempt.uri)
            if credentials is not None:
                attempt.cseq = 2
                self._send(attempt, *credentials)
                return
        if answer.status >= 300:
            self.refused(attempt, answer)
            return
        self.delays["registered"].append(now - attempt.begun)
        del self.open[attempt.call_id]
        self.completed += 1


class CallLoad(Load):
    """Calls from one party to another one, both of them here."""

    kind = "calls"
    steps = ("ringing", "answered", "hung up")

    def __init__(self, caller: Line, callee: Line, number: str, *, ring_s: float, talk_s: float) -> None:
        super().__init__((caller, callee))
        self._caller, self._callee = caller, callee
        self._number = number
        self._ring_s, self._talk_s = ring_s, talk_s
        self._rings: dict[str, tuple[float, RequestReceived]] = {}
        """Call-ID of the callee's side -> when it is answered."""
        self._answers: dict[str, tuple[float, float, RequestReceived]] = {}
        """Call-ID -> when the answer is sent again unless it is acknowledged, the pause until then, the INVITE."""
        self._talks: list[tuple[float, str]] = []
        """When the caller hangs up, ascending."""
        self._tag = secrets.token_hex(4)

    def begin(self, number: int, now: float) -> None:
        uri = f"sip:{self._number}@{self._caller.domain}"
        attempt = Attempt(self._caller, uri, f"<{uri}>", now)
        self.open[attempt.call_id] = attempt
        self._invite(attempt)

    def _invite(self, attempt: Attempt, *credentials: tuple[str, str]) -> None:
        headers = attempt.head("INVITE", *credentials)
        attempt.line.send("INVITE", attempt.uri, headers, attempt.line.description(), owner=attempt.call_id)

    def on_response(self, attempt: Attempt, answer: Message, now: float) -> None:
        if answer.method == "BYE":
            self._hung_up(attempt, answer, now)
        elif answer.status in (401, 407) and attempt.cseq == 1:
            credentials = attempt.line.credentials(answer, "INVITE", attempt.uri)
            if credentials is None:
                self.refused(attempt, answer)
                return
            attempt.cseq = 2
            self._invite(attempt, *credentials)
        elif answer.status >= 300:
            self.refused(attempt, answer)
        elif answer.status >= 200:
            if not attempt.answered:
                attempt.to, attempt.target = answer.to_value, target_of(answer, attempt.target)
                attempt.ack = attempt.head("ACK")
                attempt.answered = now
                self.delays["answered"].append(now - attempt.begun)
                self._talks.append((now + self._talk_s, attempt.call_id))
            attempt.line.acknowledge(attempt.target, attempt.ack)
        elif answer.status > 100 and not attempt.ringing:
            attempt.ringing = now
            self.delays["ringing"].append(now - attempt.begun)

    def _hung_up(self, attempt: Attempt, answer: Message, now: float) -> None:
        if answer.status < 200:
            return
        if answer.status >= 300:
            self.refused(attempt, answer)
            return
        self.delays["hung up"].append(now - attempt.begun)
        del self.open[attempt.call_id]
        self.completed += 1

    def on_time(self, now: float) -> None:
        for call_id in [call_id for call_id, (at, _) in self._rings.items() if at <= now]:
            _, event = self._rings.pop(call_id)
            self._answer(event, now, _AGAIN_S)
        for call_id, (at, pause, event) in list(self._answers.items()):
            if at <= now:
                del self._answers[call_id]
                if pause < PATIENCE_S:
                    self._answer(event, now, pause * 2)
        while self._talks and self._talks[0][0] <= now:
            _, call_id = self._talks.pop(0)
            attempt = self.open.get(call_id)
            if attempt is not None:
                attempt.cseq += 1
                attempt.begun = now
                attempt.line.send("BYE", attempt.target, attempt.head("BYE"), owner=call_id)

    def _answer(self, event: RequestReceived, now: float, pause: float) -> None:
        self._callee.respond(event.key, event.message, 200, self._tag, self._callee.description())
        self._answers[event.message.call_id] = (now + pause, pause, event)

    def on_event(self, line: Line, event: object) -> None:
        if isinstance(event, AckReceived):
            self._answers.pop(event.message.call_id, None)
        elif isinstance(event, CancelReceived):
            ringing = self._rings.pop(event.message.call_id, None)
            if ringing is not None:
                line.respond(event.key, ringing[1].message, 487, self._tag)
        elif not isinstance(event, RequestReceived):
            super().on_event(line, event)
        elif (
            event.message.method == "INVITE"
            and line is self._callee
            and ";tag=" not in event.message.to_value
        ):
            line.respond(event.key, event.message, 180, self._tag)
            self._rings[event.message.call_id] = (time.monotonic() + self._ring_s, event)
        else:
            self._other(line, event)

    def _other(self, line: Line, event: RequestReceived) -> None:
        method, call_id = event.message.method, event.message.call_id
        if method == "BYE":
            self._answers.pop(call_id, None)
            if call_id in self.open:
                self.fail(
                    call_id, f"hung up by the server: {event.message.get('reason') or 'no reason given'}"
                )
        body = line.description() if method in ("INVITE", "UPDATE") and event.message.body else b""
        known = method in ("BYE", "OPTIONS", "INVITE", "UPDATE", "INFO")
        line.respond(event.key, event.message, 200 if known else 501, self._tag, body)

    def linger(self) -> None:
        """The callee's side ends a moment after the caller's."""
        end = time.monotonic() + 1.0
        while self._answers and time.monotonic() < end:
            self.step(_TICK_S)
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            self.step(_TICK_S)


def register(line: Line, expires: int) -> None:
    """Register the account of a line for so long, or take it away (0).  Raises Failed."""
    load = RegisterLoad([line], expires)
    report = load.run(1.0, 1.0)
    if not report.completed:
        raise Failed(f"{line.account.user} is not registered: {next(iter(report.failures))}")


def open_line(account: Account, server: tuple[str, int], domain: str, local: tuple[str, int]) -> Line:
    """Raises Failed."""
    try:
        return Line(account, server, domain, local)
    except OSError as error:
        raise Failed(f"{local[0]}:{local[1]} cannot be used: {error.strerror or error}") from None
