"""Thousands of objects over HTTP: all or nothing, quick, and without holding up the loop that carries calls."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from callcontrol.access.tokens import Scope
from callcontrol.provisioning import export
from tests.api.worlds import WORLD
from tests.support.api import ApiWorld, api_world, run
from tests.support.schema import sqlite_url

COUNT = 1500
LONGEST_HOLD_S = 0.1
"""Of processor time, so that a busy machine does not count; 25 ms are usual, half of them the interpreter's collector."""


def documents(count: int) -> dict[str, Any]:
    """``count`` users with a device and a number each."""
    return {
        "account": [{"ref": "big", "kind": "company", "plan": "advanced"}],
        "user": [{"ref": f"u{n}", "account": "big", "name": f"User {n}"} for n in range(count)],
        "device": [
            {
                "ref": f"d{n}",
                "user": f"u{n}",
                "sim": f"+3363998{n + 2000}",
                "sip_username": f"d{n}",
                "sip_password": f"long and random {n}",
            }
            for n in range(count)
        ],
        "number": [{"e164": f"+3363998{n + 5000}", "user": f"u{n}"} for n in range(count)],
    }


class Watch:
    """How much processor time passed on the event loop between two ticks of a timer, at most; with the collector set
    as a node sets it.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._running = False
        self._last = 0.0

    def start(self) -> None:
        self._running = True
        self._last = time.thread_time()
        self._tick()

    def stop(self) -> None:
        self._running = False

    def _tick(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        if self._running:
            asyncio.get_running_loop().call_later(0.001, self._tick)


@pytest.fixture
def watch() -> Iterator[Watch]:
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    yield Watch()
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.rule("OPS-03")
def test_thousands_at_once(watch: Watch, database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            body = json.dumps(documents(COUNT)).encode()
            before = await export(world.stores.provisioning, secrets=True)
            dry = await send(world, body, "?dry_run=true")
            assert dry.status_code == 200, dry.text
            assert dry.json()["revision"] == 0
            assert await export(world.stores.provisioning, secrets=True) == before

            watch.start()
            began = time.monotonic()
            done = await send(world, body)
            took = time.monotonic() - began
            watch.stop()
            view = done.json()
            assert (done.status_code, view["created"], view["changed"]) == (200, 3 * COUNT + 1, 0), done.text
            assert len(view["changes"]) == 1000
            assert watch.longest < LONGEST_HOLD_S, f"the loop was held for {watch.longest:.3f} s"
            print(
                f"\n{3 * COUNT + 1} objects in {took:.2f} s, the loop held for {watch.longest * 1000:.0f} ms"
            )
            # calls may use them at once
            assert world.directory.device_by_username(f"d{COUNT - 1}") is not None
            # and again it is nothing
            again = await send(world, body)
            assert (again.json()["created"], again.json()["changed"], again.json()["revision"]) == (0, 0, 0)

    run(scenario())


async def send(world: ApiWorld, body: bytes, query: str = "", token: str | None = None) -> Any:
    headers = {"Content-Type": "application/json"}
    if token is not None:
        return await world.ask("POST", f"/v1/provisioning{query}", content=body, headers=headers, token=token)
    return await world.ask("POST", f"/v1/provisioning{query}", content=body, headers=headers)


def test_one_mistake_and_nothing_is_done(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            before = await export(world.stores.provisioning, secrets=True)
            wrong = documents(60)
            wrong["number"][40]["user"] = "nobody"
            wrong["device"][7]["sim"] = "twelve"
            answer = await send(world, json.dumps(wrong).encode())
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (422, "invalid_object")
            assert [each["pointer"] for each in problem["errors"]] == ["/device/7/sim"]
            wrong["device"][7]["sim"] = "+33639982007"
            answer = await send(world, json.dumps(wrong).encode())
            assert [each["pointer"] for each in answer.json()["errors"]] == ["/number/40/user"]
            assert "nobody" in answer.text
            assert await export(world.stores.provisioning, secrets=True) == before

    run(scenario())


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 422, "invalid_body"),
        (b"[]", "application/json", 422, "invalid_body"),
        (b"", "application/json", 422, "invalid_body"),
        (b'{"acount": []}', "application/json", 422, "invalid_object"),
        (b'{"account": {}}', "application/json", 422, "invalid_object"),
        (b'{"account": [7]}', "application/json", 422, "invalid_object"),
        (b'{"account": [{"ref": "x"}]}', "text/plain", 415, "unsupported_media_type"),
        (b"[" * 100_000, "application/json", 422, "invalid_body"),
        (b" " * 2_097_153, "application/json", 413, "body_too_large"),
    ],
)
def test_bodies_that_cannot_be_read(body: bytes, kind: str, status: int, code: str, tmp_path: Any) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path)) as world:
            answer = await world.ask("POST", "/v1/provisioning", content=body, headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text

    run(scenario())


def test_a_body_without_a_length_is_cut_as_well(tmp_path: Any) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path)) as world:
            sent: list[Any] = []
            chunks = 0

            async def receive() -> dict[str, Any]:
                nonlocal chunks
                chunks += 1
                assert chunks < 100, "it reads on although it is too much"
                return {"type": "http.request", "body": b" " * 100_000, "more_body": True}

            async def answer(message: Any) -> None:
                sent.append(message)

            token = await world.token(Scope.OPERATOR)
            scope = {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": "POST",
                "path": "/v1/users",
                "raw_path": b"/v1/users",
                "query_string": b"",
                "root_path": "",
                "scheme": "http",
                "headers": [
                    (b"authorization", f"Bearer {token}".encode()),
                    (b"content-type", b"application/json"),
                ],
                "client": ("127.0.0.1", 1),
                "server": ("127.0.0.1", 80),
            }
            await world.app(scope, receive, answer)
            assert sent[0]["status"] == 413
            assert chunks == 21

    run(scenario())
