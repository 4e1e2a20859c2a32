"""The HTTP API of a running server: what it changes, phones feel at once."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.e2e.harness.server import HOST
from tests.e2e.harness.world import PASSWORD, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("openssl")]


def ask(world: World, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request with a token; status and JSON."""
    request = urllib.request.Request(
        f"http://{HOST}:{world.server.http}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def token_of(world: World, *words: str) -> str:
    done = world.server.cli("token", "create", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.rule("OPS-03")
def test_a_device_made_over_the_api_registers_within_a_second(world: World) -> None:
    operator = token_of(world, "operator")
    body = {
        "ref": "ben-9",
        "user": "ben",
        "kind": "desktop",
        "sip_username": "ben-9",
        "sip_password": PASSWORD,
    }
    began = time.monotonic()
    assert ask(world, operator, "POST", "/v1/devices", body)[0] == 201
    agent = world.scripted("ben-9")
    assert time.monotonic() - began < 1.0
    assert agent.registered

    # signed out, it comes back with its password, and not with the one that was changed
    status, view = ask(world, operator, "POST", "/v1/devices/ben-9/sign-out")
    assert (status, view["bindings"]) == (200, 1)
    assert world.server.api("/v1/registrations?user=ben-9")["items"] == []
    assert agent.register().status == 200
    assert ask(world, operator, "PATCH", "/v1/devices/ben-9", {"sip_password": "another"})[0] == 200
    assert world.scripted("ben-9", register=False).register().status in (401, 403)
    assert world.scripted("ben-9", register=False, password="another").register().status == 200

    # and when it is gone its registrations are too
    assert ask(world, operator, "DELETE", "/v1/devices/ben-9")[0] == 204
    assert world.server.api("/v1/registrations?user=ben-9")["items"] == []
    assert world.scripted("ben-9", register=False, password="another").register().status in (401, 403)


@pytest.mark.rule("DEV-02")
def test_a_device_sees_itself_and_signs_itself_out(world: World) -> None:
    agent = world.scripted("ben-1")
    token = token_of(world, "device", "ben-1")
    assert ask(world, token, "GET", "/v1/devices/ben-1")[1]["user"] == "ben"
    assert ask(world, token, "GET", "/v1/devices/ana-1")[0] == 404
    (mine,) = ask(world, token, "GET", "/v1/registrations")[1]["items"]
    assert mine["device"] == "ben-1"
    assert ask(world, token, "POST", "/v1/devices/ben-1/sign-out")[1] == {"bindings": 1}
    assert agent.register().status == 200


def test_what_was_done_is_recorded_and_counted(world: World) -> None:
    operator = token_of(world, "operator", "--label", "of the test")
    status, page = ask(world, operator, "GET", "/v1/audit?kind=token&limit=1")
    assert (status, page["items"][0]["action"], page["items"][0]["actor"]) == (200, "create", "operator")
    assert ask(world, "cl_wrong", "GET", "/v1/node")[0] == 401
    assert world.server.metric("cloudline_http_wrong_tokens_total") >= 1
    assert world.server.metric("cloudline_http_requests_total", route="/v1/audit", status="2xx") >= 1
    assert world.server.metric("cloudline_http_request_seconds_count", route="/v1/tokens") >= 1
