"""Messages to lines over HTTP: against a real server on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError

from callcontrol.message_webhook import WebhookSender
from callcontrol.number_office import NumberOffice
from config.messages import MessageSettings
from config.sections import NumberSettings
from numbering.clockwork import DUTY
from numbering.message import Message
from numbering.messages import Handover, Outcome, RetryPolicy
from numbering.porting import PortState
from numbering.store_duty import SqlDuty
from tests.contract.test_messages import FRIDAY, LINE, RIO
from tests.support.acme import PLANS
from tests.support.inventory import World, play
from tests.support.schema import sqlite_url

MESSAGE = Message(id=7, e164=LINE, kind="port_confirmation", body="Réponds OUI", port="p1", created_at=1.0)
TOKEN = "a-token-of-the-gateway"


class Gateway(ThreadingHTTPServer):
    """A message gateway: answers as it is told to, 202 when it is told nothing more."""

    daemon_threads = True

    def __init__(self, *answers: tuple[int, dict[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.taken: dict[str, Any] = {}
        """By key: what was posted twice is sent once."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/sms/send?brand=x"


class _Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, headers, body))
        status, extra = self.server.answers.pop(0) if self.server.answers else (202, {})
        if status < 300:
            self.server.taken[headers["idempotency-key"]] = body
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_words: Any) -> None:
        """Nothing on standard error."""


@contextmanager
def gateway(*answers: tuple[int, dict[str, str]]) -> Iterator[Gateway]:
    server = Gateway(*answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def post(url: str, **settings: Any) -> Handover:
    sender = WebhookSender(MessageSettings(url=url, token=TOKEN, **settings))
    return asyncio.run(sender.send(MESSAGE, "key-1"))


@pytest.mark.rule("NUM-10")
def test_a_message_is_posted() -> None:
    with gateway() as server:
        assert post(server.url) == Handover(outcome=Outcome.TAKEN)
    ((path, headers, body),) = server.asked
    assert path == "/sms/send?brand=x"
    assert body == {
        "id": "key-1",
        "to": LINE,
        "text": "Réponds OUI",
        "kind": "port_confirmation",
        "port": "p1",
    }
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["idempotency-key"] == "key-1"
    assert headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "retry_after"),
    [
        (200, {}, Outcome.TAKEN, 0),
        (204, {}, Outcome.TAKEN, 0),
        (400, {}, Outcome.REFUSED, 0),
        (413, {}, Outcome.REFUSED, 0),
        (422, {}, Outcome.REFUSED, 0),
        (301, {"Location": "http://127.0.0.1:1/"}, Outcome.FAILED, 0),
        (401, {}, Outcome.FAILED, 0),
        (404, {}, Outcome.FAILED, 0),
        (409, {}, Outcome.FAILED, 0),
        (429, {"Retry-After": "120"}, Outcome.FAILED, 120),
        (503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, Outcome.FAILED, 0),
        (503, {"Retry-After": "99999999999999"}, Outcome.FAILED, 0),
        (500, {}, Outcome.FAILED, 0),
    ],
)
def test_what_the_gateway_says(
    status: int, headers: dict[str, str], outcome: Outcome, retry_after: float
) -> None:
    with gateway((status, headers)) as server:
        answer = post(server.url)
    assert (answer.outcome, answer.retry_after_s) == (outcome, retry_after)
    assert answer.why == ("" if outcome is Outcome.TAKEN else f"HTTP status {status}")


def test_a_gateway_that_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    answer = post(f"http://127.0.0.1:{port}/")
    assert answer.outcome is Outcome.FAILED
    assert "refused" in answer.why.lower()


@contextmanager
def talker(say: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that is none: what it says to who connects is up to the test."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def body() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                say(peer)

        thread = threading.Thread(target=body)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join(10)


def test_a_gateway_that_says_nothing() -> None:
    done = threading.Event()
    with talker(lambda peer: done.wait(10) and None) as url:  # type: ignore[func-returns-value]
        answer = post(url, timeout_seconds=0.05)
        done.set()
    assert answer == Handover(outcome=Outcome.FAILED, why="no answer in time")


@pytest.mark.parametrize("line", [b"", b"hello\r\n\r\n", b"HTTP/1.1 2000 what\r\n\r\n"])
def test_an_answer_that_is_no_http(line: bytes) -> None:
    with talker(lambda peer: peer.sendall(line)) as url:
        answer = post(url)
    assert answer.outcome is Outcome.FAILED
    assert answer.why.startswith("no answer: ")
    assert "hello" not in answer.why


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://gateway.example/", "https://host/path"),
        ("https:///sms", "https://host/path"),
        ("https://user:secret@gateway.example/", "messages.token"),
        ("https://gateway.example:99999/", "65535"),
        ("https://gateway.example/a b", "without spaces"),
    ],
)
def test_an_address_that_is_none(url: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MessageSettings(url=url)


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(ValidationError, match="must not exceed"):
        MessageSettings(retry_seconds=10, retry_max_seconds=5)
    assert TOKEN not in repr(MessageSettings(url="https://gateway.example/", token=TOKEN))


@pytest.mark.rule("NUM-10")
def test_a_node_asks_the_line_over_the_gateway(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The whole way: the port is asked for, the gateway fails once, takes the question, and the port waits for the answer."""
    caplog.set_level(logging.DEBUG)

    async def scenario(world: World) -> None:
        settings = NumberSettings(operator_code="ZZ", clock_seconds=0.01)
        sender = WebhookSender(MessageSettings(url=server.url, token=TOKEN))
        duty = SqlDuty(world.engine, DUTY, "node-1 x", settings.duty_seconds)
        office = NumberOffice(
            world.store, duty, settings, PLANS, world.clock, sender, RetryPolicy(first_s=30)
        )
        port = await office.inventory.ports.request(LINE, "zoe", RIO, FRIDAY, actor="x")
        assert office.courier is not None
        await office.clockwork.tick()
        assert await office.courier.round() == 0
        world.clock.now += 31
        assert await office.courier.round() == 1
        found = await office.inventory.ports.get(port.id)
        assert found.state is PortState.AWAITING_CONFIRMATION
        assert office.handed() == {"taken": 1, "failed": 1, "refused": 0}

    with gateway((503, {})) as server:
        play(sqlite_url(tmp_path), scenario)
    assert len(server.asked) == 2
    assert len(server.taken) == 1, "both had the same key"
    ((_, body),) = server.taken.items()
    assert "reply YES to move" in body["text"]
    assert TOKEN not in caplog.text
    assert LINE not in "".join(each.getMessage() for each in caplog.records if "taken" in each.message)


def test_the_courier_works_beside_the_clock(tmp_path: Any) -> None:
    """A gateway that is slow holds up nothing else that the node does for numbers."""

    class Slow:
        def __init__(self) -> None:
            self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

        async def send(self, message: Message, key: str) -> Handover:
            self.asked.set()
            await self.may_answer.wait()
            return Handover(outcome=Outcome.TAKEN)

    async def scenario(world: World) -> None:
        settings = NumberSettings(operator_code="ZZ", clock_seconds=0.01)
        sender = Slow()
        duty = SqlDuty(world.engine, DUTY, "node-1 x", settings.duty_seconds)
        office = NumberOffice(world.store, duty, settings, PLANS, world.clock, sender)
        ticked = asyncio.Event()
        tick = office.clockwork.tick

        async def counted() -> int:
            done = await tick()
            if sender.asked.is_set():
                ticked.set()
            return done

        office.clockwork.tick = counted  # type: ignore[method-assign]
        await office.inventory.ports.request(LINE, "zoe", RIO, FRIDAY, actor="x")
        task = asyncio.create_task(office.run())
        async with asyncio.timeout(20):
            await sender.asked.wait()
            await ticked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    play(sqlite_url(tmp_path), scenario)
