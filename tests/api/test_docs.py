"""The examples of docs/api.md, run in their order; an answer has what the page shows of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from callcontrol.phone_requests import Reply, refusal
from dialplan import reasons
from tests.support.api import ApiWorld, api_world, run
from tests.support.schema import sqlite_url

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
EXAMPLE = re.compile(r"```sh\n(curl [^\n]*)\n```\n\n```\n(\d{3})\n(.*?)\n```", re.DOTALL)


def examples() -> list[tuple[str, int, Any]]:
    found = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    return [(command, int(status), json.loads(body)) for command, status, body in found]


def agrees(shown: Any, real: Any) -> bool:
    """Whether everything that is shown is there; what an example leaves out may be anything."""
    if isinstance(shown, dict):
        return isinstance(real, dict) and all(key in real and agrees(shown[key], real[key]) for key in shown)
    if isinstance(shown, list):
        return isinstance(real, list) and len(shown) == len(real) and all(map(agrees, shown, real))
    return bool(shown == real)


async def curl(world: ApiWorld, command: str) -> Any:
    """What curl would do, as far as the page uses it."""
    method, target, body, headers = "", "", None, {}
    words = iter(shlex.split(command)[1:])
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "--json":
            body = json.loads(next(words))
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        else:
            assert word.startswith("$API/"), command
            target = word.removeprefix("$API")
    assert headers.pop("Authorization") == "Bearer $TOKEN"
    return await world.ask(method or ("GET" if body is None else "POST"), target, body, headers=headers)


class Refusing:
    """As the service answers a phone whose SIM was never verified."""

    def handle(
        self, device_ref: str, request: Mapping[str, object], now: float, done: Callable[[Reply], None]
    ) -> None:
        done(refusal(reasons.UNVERIFIED_SIM))


def test_the_examples_are_true(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), phones=Refusing()) as world:
            for command, status, shown in examples():
                answer = await curl(world, command)
                assert answer.status_code == status, (command, answer.text)
                assert agrees(shown, answer.json()), (command, answer.text)

    assert len(examples()) >= 15
    run(scenario())
