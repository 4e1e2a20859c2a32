"""Requests of devices over MQTT: what is answered, once, and what is turned away."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from callcontrol.phone_channel import REMEMBERED_S, PhoneChannel
from callcontrol.phone_requests import Error, Ok, Reply
from gateway.push import Outgoing

TOPIC = "cloudline/v1/devices/ana-phone/requests/r1"


class Service:
    """The requests that it was asked, and a reply for each; with ``late`` the script replies."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, object]]] = []
        self.waiting: list[Callable[[Reply], None]] = []
        self.late = False

    def handle(
        self, device_ref: str, request: Mapping[str, object], now: float, done: Callable[[Reply], None]
    ) -> None:
        self.asked.append((device_ref, dict(request)))
        if request["type"] == "boom":
            raise ZeroDivisionError
        if self.late:
            self.waiting.append(done)
        elif request["type"] == "price":
            done(Ok(fields={"per_minute": "0.02"}))
        else:
            done(Error(code="bad_request", message="what?"))


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.now = 1000.0
        self.sent: list[Outgoing] = []
        self.service = Service()
        self.channel = PhoneChannel(
            self.service, self._send, {"ana-phone"}.__contains__, lambda: self.now, **settings
        )

    def _send(self, message: Outgoing) -> bool:
        self.sent.append(message)
        return True

    def ask(self, body: object, topic: str = TOPIC) -> None:
        self.channel.receive(topic, body if isinstance(body, bytes) else json.dumps(body).encode())

    @property
    def replies(self) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.sent]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_request_is_answered_on_its_own_topic(bench: Bench) -> None:
    bench.ask({"type": "price", "to": "+447700900123"})
    assert bench.service.asked == [("ana-phone", {"type": "price", "to": "+447700900123"})]
    (reply,) = bench.sent
    assert reply.topic == "cloudline/v1/devices/ana-phone/replies/r1"
    assert bench.replies == [{"ok": True, "per_minute": "0.02"}]
    assert bench.channel.results == {"ok": 1}


def test_an_error_has_a_code_and_a_sentence(bench: Bench) -> None:
    bench.ask({"type": "nonsense"})
    assert bench.replies == [{"ok": False, "error": {"code": "bad_request", "message": "what?"}}]


def test_a_reply_may_come_later(bench: Bench) -> None:
    bench.service.late = True
    bench.ask({"type": "price"})
    assert bench.sent == []
    bench.service.waiting[0](Ok(fields={}))
    assert bench.replies == [{"ok": True}]
    bench.service.waiting[0](Ok(fields={"again": 1}))
    assert len(bench.sent) == 1, "a request has one reply"


def test_a_request_delivered_twice_is_one_request_with_the_same_reply(bench: Bench) -> None:
    bench.ask({"type": "price"})
    bench.ask({"type": "price"})
    assert len(bench.service.asked) == 1
    assert bench.sent[0].payload == bench.sent[1].payload
    assert bench.channel.results == {"ok": 1, "repeated": 1}


def test_a_request_delivered_again_while_it_is_served_is_served_once(bench: Bench) -> None:
    bench.service.late = True
    bench.ask({"type": "price"})
    bench.ask({"type": "price"})
    assert len(bench.service.asked) == 1
    bench.service.waiting[0](Ok(fields={}))
    assert len(bench.sent) == 1


def test_an_id_may_be_used_again_when_it_is_forgotten(bench: Bench) -> None:
    bench.ask({"type": "price"})
    bench.now += REMEMBERED_S + 1
    bench.ask({"type": "price"})
    assert len(bench.service.asked) == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"[1]", b'"x"', b"null", b"{}", b'{"type":7}', b"[" * 4000, b"{" * 100, b"NaN"],
)
def test_what_is_no_request_is_told_so(bench: Bench, body: bytes) -> None:
    bench.ask(body)
    assert bench.service.asked == []
    assert [reply["error"]["code"] for reply in bench.replies] == ["bad_request"]


def test_a_request_that_is_too_long_is_not_even_read(bench: Bench) -> None:
    bench.ask({"type": "price", "to": "x" * 5000})
    assert bench.service.asked == []
    assert bench.replies[0]["error"]["code"] == "bad_request"


@pytest.mark.parametrize(
    "topic",
    [
        "cloudline/v1/devices/ana-phone/push",
        "cloudline/v1/devices/ana-phone/requests/",
        "cloudline/v1/devices/ana-phone/requests/" + "x" * 65,
        "cloudline/v1/devices/ana-phone/requests/a b",
        "cloudline/v1/devices/nobody/requests/r1",
        "cloudline/v1/devices//requests/r1",
        "cloudline/v2/devices/ana-phone/requests/r1",
        "r1",
        "",
    ],
)
def test_what_comes_on_another_topic_is_ignored(bench: Bench, topic: str) -> None:
    bench.ask({"type": "price"}, topic)
    assert bench.sent == []
    assert bench.channel.results == {"ignored": 1}


def test_a_flood_is_refused_with_the_time_to_wait_and_then_not_answered_any_more() -> None:
    bench = Bench(per_minute=10)
    for number in range(100):
        bench.ask({"type": "price"}, f"cloudline/v1/devices/ana-phone/requests/r{number}")
    assert len(bench.service.asked) == 10
    refused = [reply["error"] for reply in bench.replies[10:]]
    assert {error["code"] for error in refused} == {"too_many_requests"}
    assert refused[0]["retry_after_s"] == 6
    assert bench.channel.results == {"ok": 10, "too_many_requests": 10, "dropped": 80}
    bench.now += 200.0
    bench.ask({"type": "price"}, "cloudline/v1/devices/ana-phone/requests/again")
    assert bench.replies[-1]["ok"]


def test_the_rate_of_one_device_is_not_that_of_another() -> None:
    bench = Bench(per_minute=1)
    bench.channel = PhoneChannel(
        bench.service, bench._send, lambda ref: True, lambda: bench.now, per_minute=1
    )
    for device in ("a", "b", "c"):
        bench.ask({"type": "price"}, f"cloudline/v1/devices/{device}/requests/r1")
    assert [reply["ok"] for reply in bench.replies] == [True] * 3


def test_a_request_that_hits_a_bug_is_answered_and_the_next_one_served(bench: Bench) -> None:
    bench.ask({"type": "boom"})
    assert bench.replies[0]["error"] == {
        "code": "unavailable",
        "message": "The request could not be served.",
        "retry_after_s": 5,
    }
    bench.ask({"type": "price"}, TOPIC + "x")
    assert bench.replies[1]["ok"]


def test_without_a_service_every_request_is_told_so() -> None:
    bench = Bench()
    bench.channel.handler = None
    bench.ask({"type": "price"})
    assert bench.replies[0]["error"]["code"] == "unavailable"
