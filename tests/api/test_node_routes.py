"""The HTTP API over a node of fixed content: pages, errors, the token, and what must not leave."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from callcontrol.access.service import TokenCache, Tokens
from callcontrol.api.pages import MAX_PAGE
from callcontrol.api.server import HttpServer
from callcontrol.node_view import ComponentView, Node, ReloadView
from config.sections import HttpSettings
from tests.support.api import TOKEN, ApiWorld, app_over
from tests.support.fake_node import FakeNode


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


def ask(
    node: Node, method: str, path: str, token: str | None = TOKEN, app: FastAPI | None = None
) -> httpx.Response:
    """One request to the application, without a socket."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app or app_over(node), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            headers = {} if token is None else {b"Authorization": f"Bearer {token}".encode()}
            return await client.request(method, path, headers=headers)

    return asyncio.run(send())


def get(node: Node, path: str) -> Any:
    answer = ask(node, "GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_health_names_its_parts(node: FakeNode) -> None:
    assert get(node, "/healthz")["status"] == "ok"
    node.parts = (ComponentView(name="event_loop", ok=False, detail="stalled for 12 s"),)
    answer = ask(node, "GET", "/healthz", token=None)
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "failed",
        "components": [{"name": "event_loop", "ok": False, "detail": "stalled for 12 s"}],
    }


@pytest.mark.rule("OPS-04")
def test_a_draining_node_is_healthy_but_not_ready(node: FakeNode) -> None:
    assert ask(node, "GET", "/readyz", token=None).status_code == 200
    answer = ask(node, "POST", "/v1/drain")
    assert answer.status_code == 202
    assert answer.json()["draining"] is True
    assert ask(node, "GET", "/readyz", token=None).status_code == 503
    assert ask(node, "GET", "/healthz", token=None).status_code == 200


def test_metrics_are_prometheus_text(node: FakeNode) -> None:
    answer = ask(node, "GET", "/metrics", token=None)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.headers["content-type"].count("charset") == 1
    assert "cloudline_sip_messages_total{" in answer.text


def operator_routes() -> list[tuple[str, str]]:
    schema = app_over(FakeNode()).openapi()
    return [
        (method.upper(), re.sub(r"{\w+}", "c-1", path))
        for path, methods in schema["paths"].items()
        for method in methods
        if path.startswith("/v1/")
    ]


@pytest.mark.rule("OPS-05")
@pytest.mark.parametrize(("method", "path"), operator_routes())
def test_nothing_below_v1_without_the_token(node: FakeNode, method: str, path: str) -> None:
    app = app_over(node, HttpSettings(wrong_tokens=1000))
    for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1], "é"):
        answer = ask(node, method, path, token, app)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "unauthorized"
    assert node.hung_up == []
    assert len(node.banned) == 2
    assert not node.draining
    assert node.reloads == 0


def test_an_empty_token_never_opens_anything() -> None:
    world = ApiWorld("sqlite+aiosqlite:///:memory:")
    with pytest.raises(ValueError, match="must not be empty"):
        Tokens(
            world.stores.tokens,
            TokenCache(),
            world.directory,
            operator_token="",
            wall=world.clock,
            entropy=bytes,
        )


def test_calls_come_in_pages() -> None:
    node = FakeNode(running=5)
    first = get(node, "/v1/calls?limit=2")
    second = get(node, f"/v1/calls?limit=2&cursor={first['next_cursor']}")
    third = get(node, f"/v1/calls?limit=2&cursor={second['next_cursor']}")
    seen = [call["ref"] for page in (first, second, third) for call in page["items"]]
    assert seen == ["c-1", "c-2", "c-3", "c-4", "c-5"]
    assert third["next_cursor"] == ""


def test_a_page_goes_on_where_it_was_although_that_call_has_ended() -> None:
    node = FakeNode(running=5)
    first = get(node, "/v1/calls?limit=2")
    node.running.remove("c-2")
    node.running.insert(0, "c-0")
    second = get(node, f"/v1/calls?limit=9&cursor={first['next_cursor']}")
    assert [call["ref"] for call in second["items"]] == ["c-3", "c-4", "c-5"]


def test_a_call_says_times_numbers_and_why(node: FakeNode) -> None:
    call = get(node, "/v1/calls/c-1")
    assert call["started_at"] == "2026-05-28T20:26:40.000Z"
    assert call["answered_at"] == "2026-05-28T20:26:42.000Z"
    assert call["ended_at"] is None
    assert call["caller"] == "+33199001234"  # an operator sees numbers in full
    assert [leg["leg"] for leg in call["legs"]] == ["a", "b1", "b2"]
    assert call["trace"][0] == {"rule": "INC-01", "outcome": "known", "detail": "held by ana", "at": 0.0}


def test_ended_calls(node: FakeNode) -> None:
    (call,) = get(node, "/v1/calls?state=ended")["items"]
    assert call["state"] == "ended"
    assert call["reason"] == "normal_clearing"


@pytest.mark.rule("OPS-02")
def test_the_ladder_has_no_credentials(node: FakeNode) -> None:
    ladder = get(node, "/v1/calls/c-1/ladder")
    assert [party["name"] for party in ladder["parties"]] == [
        "carrier-a",
        "Cloudline",
        "ana-phone",
        "ana-desk",
    ]
    first = ladder["entries"][0]
    assert "Proxy-Authorization: [removed]" in first["message"]
    assert "6629fae49393a053" not in json.dumps(ladder)
    assert first["label"] == "INVITE (SDP)"
    assert ladder["truncated"] == 2


def test_hang_up(node: FakeNode) -> None:
    assert ask(node, "DELETE", "/v1/calls/c-2").status_code == 202
    assert node.hung_up == ["c-2"]
    assert ask(node, "DELETE", "/v1/calls/e-1").status_code == 404


def test_registrations_of_one_user_or_device(node: FakeNode) -> None:
    assert len(get(node, "/v1/registrations")["items"]) == 2
    (one,) = get(node, "/v1/registrations?user=ben")["items"]
    assert one["device"] == "ben-desk"
    page = get(node, "/v1/registrations?limit=1")
    rest = get(node, f"/v1/registrations?limit=1&cursor={page['next_cursor']}")
    assert rest["items"][0]["device"] == "ben-desk"
    assert rest["next_cursor"] == ""


def test_trunks_and_bans(node: FakeNode) -> None:
    trunks = get(node, "/v1/trunks")["items"]
    assert [(trunk["ref"], trunk["up"]) for trunk in trunks] == [("carrier-a", True), ("carrier-b", False)]
    assert get(node, "/v1/bans")["items"][0]["address"] == "198.51.100.7"
    assert ask(node, "DELETE", "/v1/bans/2001:db8::/64").status_code == 204
    assert node.banned == ["198.51.100.7"]
    assert ask(node, "DELETE", "/v1/bans/2001:db8::/64").status_code == 404


@pytest.mark.rule("CDR-01")
def test_call_records(node: FakeNode) -> None:
    page = get(node, "/v1/cdrs")
    (record,) = page["items"]
    assert record["billable_seconds"] == 60
    assert record["duration_seconds"] == 62
    assert record["ringing_at"] is None
    assert record["legs"][0]["leg"] == "a"
    assert get(node, f"/v1/cdrs?cursor={page['next_cursor']}")["next_cursor"] == ""
    assert get(node, "/v1/cdrs?number=%2B33639989999")["items"] == []


def test_a_lost_database_is_said_without_its_password(node: FakeNode) -> None:
    node.database_up = False
    answer = ask(node, "GET", "/v1/cdrs")
    assert answer.status_code == 503
    assert answer.json()["code"] == "database_unavailable"
    assert answer.headers["retry-after"] == "5"
    assert "hunter2" not in answer.text


@pytest.mark.rule("OPS-03")
def test_a_bad_reload_is_refused(node: FakeNode) -> None:
    assert ask(node, "POST", "/v1/reload").json()["changes"] == ["calls.ring_seconds"]
    node.reload_view = ReloadView(ok=False, problems=("cloudline.toml:3: sip.listen: udp is no address",))
    answer = ask(node, "POST", "/v1/reload")
    assert answer.status_code == 409
    assert answer.json()["problems"] == ["cloudline.toml:3: sip.listen: udp is no address"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/calls?limit=0", 422, "invalid_parameter"),
        (f"/v1/calls?limit={MAX_PAGE + 1}", 422, "invalid_parameter"),
        ("/v1/calls?state=odd", 422, "invalid_parameter"),
        ("/v1/calls?cursor=no-such-call", 422, "invalid_cursor"),
        ("/v1/calls?cursor=WyJjLTEiXQ", 422, "invalid_cursor"),
        ("/v1/registrations?cursor=-1", 422, "invalid_cursor"),
        ("/v1/registrations?cursor=%C2%B2", 422, "invalid_cursor"),
        ("/v1/cdrs?cursor=odd", 422, "invalid_cursor"),
        ("/v1/calls/none", 404, "not_found"),
        ("/v1/calls/none/ladder", 404, "not_found"),
        ("/v1/nothing", 404, "not_found"),
        ("/v1/drain", 405, "method_not_allowed"),
    ],
)
def test_errors_are_problems(node: FakeNode, path: str, status: int, code: str) -> None:
    answer = ask(node, "GET", path)
    problem = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["title"]


def test_a_bug_in_a_handler_tells_the_client_nothing(node: FakeNode) -> None:
    node.broken = True
    answer = ask(node, "GET", "/v1/calls/c-1")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "hunter2" not in answer.text


def test_openapi_is_3_1_and_says_date_time() -> None:
    schema = app_over(FakeNode()).openapi()
    assert schema["openapi"].startswith("3.1")
    assert schema["components"]["schemas"]["CallView"]["properties"]["started_at"]["format"] == "date-time"
    assert "token" in schema["components"]["securitySchemes"]


def test_the_server_runs_in_a_loop_that_has_other_work(node: FakeNode) -> None:
    async def scenario() -> None:
        server = HttpServer(app_over(node), "127.0.0.1", 0)
        await server.start()
        try:
            assert not server.url.endswith(":0")
            async with httpx.AsyncClient(base_url=server.url) as client:
                assert (await client.get("/healthz")).json()["status"] == "ok"
            other = HttpServer(app_over(node), "127.0.0.1", int(server.url.rsplit(":", 1)[1]))
            with pytest.raises(OSError, match=r"http\.listen"):
                await other.start()
        finally:
            await server.stop()
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(server.url + "/healthz")

    asyncio.run(scenario())


def test_no_answer_waits_for_a_delayed_ack(node: FakeNode) -> None:
    """asyncio switches Nagle's algorithm off where the listening socket names its protocol, and nowhere else."""

    async def scenario() -> list[int]:
        server = HttpServer(app_over(node), "127.0.0.1", 0)
        await server.start()
        try:
            return [each.proto for listening in server._server.servers for each in listening.sockets]
        finally:
            await server.stop()

    assert asyncio.run(scenario()) == [socket.IPPROTO_TCP]


def test_stopping_twice_is_stopping_once(node: FakeNode) -> None:
    async def scenario() -> None:
        server = HttpServer(app_over(node), "::1", 0)
        await server.start()
        assert server.url.startswith("http://[::1]:")
        await server.stop()
        await server.stop()

    asyncio.run(scenario())
