"""Every route, with every scope, on objects of one's own and of others.

What is not there for a token is answered as what is not there at all: 404 in a path, the same sentence in a body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from callcontrol.access.tokens import Scope
from callcontrol.api.routing import Routes, ScopedRoute
from callcontrol.provisioning import export
from gateway.leases import LeaseRequest
from tests.api.worlds import WORLD, ZETAS_WORDS, Phones, tokens
from tests.support.api import ApiWorld, api_world, app_over, run
from tests.support.fake_node import FakeNode
from tests.support.schema import sqlite_url

DATE = "2026-06-15"


@dataclass(frozen=True)
class Case:
    """How to ask for one route: the key in its path, and its body; ``{}`` stands for a user of one's own."""

    own: str = ""
    foreign: str = ""
    """Empty: the route names no object in its path."""
    body: Any = None
    query: str = ""
    foreign_body: Any = None
    """A body that names an object of others; None: there is no such field."""
    fine: tuple[int, ...] = field(default=(200, 201, 202, 204))
    """Statuses that show that the door let it through."""


DEVICE = {"ref": "new-phone", "user": "ana", "sip_username": "new-phone"}
NUMBER = "+33639981001"
ZOES = "+33639981009"
FREE = "+33639981050"
ALSO_FREE = "+33639981051"
GREETING = "+33639987000"
ZETAS = "+33639987009"
HOURS = {"zone": "Europe/Paris", "slots": [{"days": ["mon"], "from": "09:00", "to": "18:00"}]}

CASES: dict[tuple[str, str], Case] = {
    ("GET", "/v1/node"): Case(),
    ("POST", "/v1/drain"): Case(),
    ("POST", "/v1/reload"): Case(),
    ("GET", "/v1/calls"): Case(),
    ("GET", "/v1/calls/{ref}"): Case("c-1", "c-none"),
    ("GET", "/v1/calls/{ref}/ladder"): Case("c-1", "c-none"),
    ("DELETE", "/v1/calls/{ref}"): Case("c-1", "c-none"),
    ("POST", "/v1/explain"): Case(
        body={"caller": "ana-phone", "called": "+33199001234"},
        foreign_body={"caller": "zoe", "called": "+33199001234"},
    ),
    ("GET", "/v1/cdrs"): Case(),
    ("GET", "/v1/registrations"): Case(),
    ("GET", "/v1/bans"): Case(),
    ("DELETE", "/v1/bans/{address:path}"): Case("198.51.100.7", "198.51.100.99"),
    ("GET", "/v1/accounts"): Case(),
    ("POST", "/v1/accounts"): Case(body={"ref": "omega"}),
    ("GET", "/v1/accounts/{ref}"): Case("acme", "zeta"),
    ("PATCH", "/v1/accounts/{ref}"): Case("acme", "zeta", {"plan": "advanced"}),
    ("DELETE", "/v1/accounts/{ref}"): Case("acme", "zeta", fine=(204, 409)),
    ("GET", "/v1/users"): Case(),
    ("POST", "/v1/users"): Case(
        body={"ref": "new", "account": "acme"}, foreign_body={"ref": "new", "account": "zeta"}
    ),
    ("GET", "/v1/users/{ref}"): Case("ana", "zoe"),
    ("PATCH", "/v1/users/{ref}"): Case("ana", "zoe", {"name": "Ana Again"}),
    ("DELETE", "/v1/users/{ref}"): Case("ana", "zoe", fine=(204, 409)),
    ("GET", "/v1/devices"): Case(),
    ("POST", "/v1/devices"): Case(body=DEVICE, foreign_body={**DEVICE, "user": "zoe"}),
    ("GET", "/v1/devices/{ref}"): Case("ana-phone", "zoe-phone"),
    ("PATCH", "/v1/devices/{ref}"): Case(
        "ana-phone", "zoe-phone", {"sip_password": "another"}, foreign_body={"user": "zoe"}
    ),
    ("DELETE", "/v1/devices/{ref}"): Case("ana-phone", "zoe-phone"),
    ("POST", "/v1/devices/{ref}/sign-out"): Case("ana-phone", "zoe-phone"),
    ("GET", "/v1/numbers"): Case(),
    ("POST", "/v1/numbers"): Case(body={"e164": "+33639981077", "user": "ana"}),
    ("GET", "/v1/numbers/{e164}"): Case(NUMBER, ZOES),
    ("PATCH", "/v1/numbers/{e164}"): Case(NUMBER, ZOES, {"hide": True}),
    ("GET", "/v1/numbers/{e164}/forward"): Case(NUMBER, ZOES),
    ("PUT", "/v1/numbers/{e164}/forward"): Case(NUMBER, ZOES, {"mode": "all", "to": "0199001234"}),
    ("DELETE", "/v1/numbers/{e164}/forward"): Case(NUMBER, ZOES),
    ("GET", "/v1/numbers/{e164}/hours"): Case(NUMBER, ZOES),
    ("PUT", "/v1/numbers/{e164}/hours"): Case(NUMBER, ZOES, HOURS),
    ("DELETE", "/v1/numbers/{e164}/hours"): Case(NUMBER, ZOES),
    ("GET", "/v1/numbers/{e164}/blocks"): Case(NUMBER, ZOES),
    ("POST", "/v1/numbers/{e164}/blocks"): Case(NUMBER, ZOES, {"caller": "+33639989998"}),
    ("DELETE", "/v1/numbers/{e164}/blocks/{caller}"): Case(NUMBER, ZOES, fine=(204, 404, 422)),
    ("GET", "/v1/users/{ref}/blocks"): Case("ana", "zoe"),
    ("POST", "/v1/users/{ref}/blocks"): Case("ana", "zoe", {"caller": "anonymous"}),
    ("DELETE", "/v1/users/{ref}/blocks/{caller}"): Case("ana", "zoe", fine=(204, 404, 422)),
    ("GET", "/v1/greetings"): Case(),
    ("POST", "/v1/greetings"): Case(
        body={"number": ALSO_FREE, "account": "acme", "members": ["ana"]},
        foreign_body={"number": ALSO_FREE, "account": "zeta", "members": []},
    ),
    ("GET", "/v1/greetings/{number}"): Case(GREETING, ZETAS),
    ("PUT", "/v1/greetings/{number}"): Case(
        GREETING,
        ZETAS,
        {"account": "acme", "members": ["ben"]},
        foreign_body={"account": "zeta", "members": ["ben"]},
    ),
    ("PATCH", "/v1/greetings/{number}"): Case(GREETING, ZETAS, {"repeat": 2}),
    ("DELETE", "/v1/greetings/{number}"): Case(GREETING, ZETAS),
    ("GET", "/v1/greetings/{number}/hours"): Case(GREETING, ZETAS),
    ("GET", "/v1/greetings/{number}/blocks"): Case(GREETING, ZETAS),
    ("POST", "/v1/greetings/{number}/blocks"): Case(GREETING, ZETAS, {"caller": "anonymous"}),
    ("DELETE", "/v1/greetings/{number}/blocks/{caller}"): Case(GREETING, ZETAS, fine=(204, 404, 422)),
    ("GET", "/v1/available-numbers"): Case(),
    ("GET", "/v1/available-runs"): Case(query="?length=2"),
    ("GET", "/v1/numbers/{e164}/history"): Case(NUMBER, "nonsense", fine=(200, 422)),
    ("POST", "/v1/stock"): Case(body={"numbers": ["+33639981060"]}),
    ("DELETE", "/v1/stock/{e164}"): Case(FREE, "+33639981099", fine=(204, 409)),
    ("POST", "/v1/reservations"): Case(
        body={"numbers": [FREE], "user": "ana"}, foreign_body={"numbers": [FREE], "user": "zoe"}
    ),
    ("DELETE", "/v1/reservations/{e164}"): Case(FREE, ZOES, fine=(204, 404, 409)),
    ("POST", "/v1/numbers/{e164}/assign"): Case(
        FREE, ZOES, {"user": "ana"}, foreign_body={"user": "zoe"}, fine=(200, 409)
    ),
    ("POST", "/v1/numbers/{e164}/reassign"): Case(
        NUMBER, ZOES, {"user": "ben"}, foreign_body={"user": "zoe"}, fine=(200, 409)
    ),
    ("POST", "/v1/numbers/{e164}/suspend"): Case(NUMBER, ZOES, {"reason": "unpaid"}),
    ("POST", "/v1/numbers/{e164}/resume"): Case(NUMBER, ZOES),
    ("POST", "/v1/numbers/{e164}/renew"): Case(NUMBER, ZOES, {}, fine=(200, 409, 422)),
    ("POST", "/v1/numbers/{e164}/rio"): Case(NUMBER, ZOES, fine=(200, 409)),
    ("POST", "/v1/numbers/{e164}/release"): Case(NUMBER, ZOES, fine=(200, 404, 409)),
    ("POST", "/v1/numbers/{e164}/take-back"): Case(
        NUMBER, ZOES, {"user": "ana"}, foreign_body={"user": "zoe"}, fine=(200, 404, 409)
    ),
    ("GET", "/v1/ports"): Case(),
    ("POST", "/v1/ports"): Case(
        body={"number": "+33639981090", "user": "ana", "rio": "X", "day": DATE},
        foreign_body={"number": "+33639981090", "user": "zoe", "rio": "X", "day": DATE},
        fine=(201, 422),
    ),
    ("GET", "/v1/ports/{port_id}"): Case("none", "none", fine=(404,)),
    ("POST", "/v1/ports/{port_id}/cancel"): Case("none", "none", fine=(404,)),
    ("POST", "/v1/ports/{port_id}/confirm"): Case("none", "none", fine=(404,)),
    ("POST", "/v1/ports/{port_id}/schedule"): Case("none", "none", fine=(404,)),
    ("POST", "/v1/ports/{port_id}/refuse"): Case("none", "none", {"why": "other"}, fine=(404,)),
    ("POST", "/v1/ports/{port_id}/complete"): Case("none", "none", fine=(404,)),
    ("POST", "/v1/call-through"): Case(
        body={"device": "ana-phone", "to": "+33199001234"},
        foreign_body={"device": "zoe-phone", "to": "+33199001234"},
    ),
    ("DELETE", "/v1/call-through/{lease}"): Case("l1", "", query="?device=ana-phone"),
    ("POST", "/v1/callbacks"): Case(
        body={"device": "ana-phone", "to": "+33199001234"},
        foreign_body={"device": "zoe-phone", "to": "+33199001234"},
    ),
    ("DELETE", "/v1/callbacks/{callback}"): Case("k1", "", query="?device=ana-phone"),
    ("POST", "/v1/verifications"): Case(
        body={"device": "ana-phone", "sim": "+33639980001"},
        foreign_body={"device": "zoe-phone", "sim": "+33639980001"},
    ),
    ("GET", "/v1/verifications/{verification}"): Case("v1", "", query="?device=ana-phone"),
    ("GET", "/v1/prices"): Case(query="?device=ana-phone&to=%2B33199001234"),
    ("GET", "/v1/messages"): Case(),
    ("POST", "/v1/messages/received"): Case(body={"from": "+33639981299", "text": "YES"}),
    ("POST", "/v1/messages/{message}/resend"): Case("1", "999", fine=(200, 404)),
    ("GET", "/v1/leases"): Case(),
    ("GET", "/v1/leases/{lease}"): Case("l1", "l-none"),
    ("GET", "/v1/numbers/{e164}/usage"): Case(NUMBER, ZOES),
    ("GET", "/v1/rates"): Case(),
    ("POST", "/v1/rates"): Case(body={"prefix": "+49", "per_minute": "0.05"}),
    ("GET", "/v1/rates/{ref:path}"): Case("standard/+44", "zetas/+44"),
    ("PATCH", "/v1/rates/{ref:path}"): Case("standard/+44", "none/+44", {"per_minute": "0.07"}),
    ("DELETE", "/v1/rates/{ref:path}"): Case("standard/+44", "none/+44"),
    ("GET", "/v1/packages"): Case(),
    ("POST", "/v1/packages"): Case(body={"ref": "world-60", "zones": ["world"]}),
    ("GET", "/v1/packages/{ref}"): Case("europe-600", "zetas-600"),
    ("PATCH", "/v1/packages/{ref}"): Case("europe-600", "none-600", {"minutes": 700}),
    ("DELETE", "/v1/packages/{ref}"): Case("europe-600", "none-600", fine=(204, 409)),
    ("GET", "/v1/trunks"): Case(),
    ("GET", "/v1/routes"): Case(query="?number=%2B33199001234"),
    ("POST", "/v1/trunks"): Case(body={"ref": "carrier-z", "accept_from": ["192.0.2.0/24"]}),
    ("GET", "/v1/trunks/{ref}"): Case("carrier-a", "carrier-none"),
    ("PATCH", "/v1/trunks/{ref}"): Case("carrier-a", "carrier-none", {"weight": 7}),
    ("DELETE", "/v1/trunks/{ref}"): Case("carrier-a", "carrier-none", fine=(204, 409)),
    ("GET", "/v1/gateway-numbers"): Case(),
    ("POST", "/v1/gateway-numbers"): Case(body={"e164": "+33199000002", "trunk": "carrier-a"}),
    ("GET", "/v1/gateway-numbers/{e164}"): Case("+33199000001", "+33199000099"),
    ("PATCH", "/v1/gateway-numbers/{e164}"): Case("+33199000001", "+33199000099", {"kind": "verification"}),
    ("DELETE", "/v1/gateway-numbers/{e164}"): Case("+33199000001", "+33199000099"),
    ("POST", "/v1/provisioning"): Case(body={"account": [{"ref": "psi"}]}),
    ("GET", "/v1/audit"): Case(),
    ("GET", "/v1/tokens"): Case(),
    ("POST", "/v1/tokens"): Case(
        body={"scope": "device", "subject": "ana-phone"},
        foreign_body={"scope": "device", "subject": "zoe-phone"},
    ),
    ("GET", "/v1/tokens/{token_id}"): Case("{token}", "{zoe}"),
    ("POST", "/v1/tokens/{token_id}/rotate"): Case("{token}", "{zoe}", fine=(201, 409)),
    ("DELETE", "/v1/tokens/{token_id}"): Case("{token}", "{zoe}"),
}


def routes(app: FastAPI) -> list[ScopedRoute]:
    return [each for each in app.routes if isinstance(each, ScopedRoute)]


APP = app_over(FakeNode())
ROUTES = sorted(
    ((next(iter(each.methods or ())), each.path, each.scopes) for each in routes(APP)),
    key=lambda each: (each[0] == "DELETE", list(CASES).index(each[:2]) if each[:2] in CASES else 0),
)


def test_every_route_has_a_case() -> None:
    assert {(method, path) for method, path, _ in ROUTES} == CASES.keys()


def test_nothing_below_v1_is_open() -> None:
    """A route that was made without a scope is none of ours."""
    plain = [
        each.path for each in APP.routes if isinstance(each, APIRoute) and not isinstance(each, ScopedRoute)
    ]
    assert sorted(plain) == ["/healthz", "/metrics", "/readyz"]
    assert all(each.path.startswith("/v1/") for each in routes(APP))


def test_a_route_without_scopes_cannot_be_made() -> None:
    async def endpoint() -> None:
        raise AssertionError("never called")

    with pytest.raises(TypeError, match="must say which scopes"):
        Routes(FastAPI(), "odd").get("/v1/odd", ())(endpoint)


def filled(path: str, key: str, query: str) -> str:
    return re.sub(r"{[^}]+}", key.replace("+", "%2B"), path) + query


async def world_of(world: ApiWorld) -> tuple[dict[Scope, str], dict[str, str]]:
    """Tokens, and ids that paths name."""
    inventory = world.services.inventory
    assert inventory is not None
    await inventory.add([FREE, ALSO_FREE], actor="test")
    await world.cache.refresh()
    world.leases.table.take(
        LeaseRequest(
            id="l1", kind="call_through", sim="+33639980001", user="ana", device="ana-phone", life_s=60
        ),
        ["+33199000001"],
        world.clock.now,
    )
    theirs = await world.token(Scope.DEVICE, "zoe-phone")
    own = await world.token(Scope.DEVICE, "ana-phone")
    return await tokens(world), {"{zoe}": theirs.split("_")[1], "{token}": own.split("_")[1]}


def reveals_nothing(answer: httpx.Response, asked: str) -> None:
    for word in ZETAS_WORDS:
        assert word in asked or word not in answer.text, answer.text


@pytest.mark.parametrize("scope", list(Scope))
def test_what_is_of_others_is_not_there(scope: Scope, tmp_path: Path) -> None:
    """And asking for it changes nothing."""

    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD, phones=Phones()) as world:
            keys, ids = await world_of(world)
            token = keys[scope]
            before = await export(world.stores.provisioning, secrets=True)
            for method, path, scopes in ROUTES:
                case = CASES[method, path]
                key = ids.get(case.foreign, case.foreign)
                if key and not (
                    scope is Scope.OPERATOR and ("zo" in case.foreign or "ze" in key or key in (ZOES, ZETAS))
                ):
                    target = filled(path, key, case.query)
                    answer = await world.ask(method, target, case.body, token)
                    expected = (404,) if scope in scopes else (403,)
                    if path.endswith("/history"):
                        expected = (403, 422)
                    assert answer.status_code in expected, (method, path, answer.text)
                    reveals_nothing(answer, target + key + str(case.body))
                if case.foreign_body is not None and scope is not Scope.OPERATOR:
                    target = filled(path, ids.get(case.own, case.own), case.query)
                    answer = await world.ask(method, target, case.foreign_body, token)
                    assert answer.status_code == (422 if scope in scopes else 403), (
                        method,
                        path,
                        answer.text,
                    )
                    assert_same_as_missing = await world.ask(
                        method, target, _missing(case.foreign_body), token
                    )
                    assert answer.status_code == assert_same_as_missing.status_code
                    assert _plain(answer) == _plain(assert_same_as_missing)
                if not case.foreign:
                    answer = await world.ask("GET", filled(path, case.own, case.query), token=token)
                    if method == "GET" and scope is not Scope.OPERATOR:
                        assert answer.status_code == (200 if scope in scopes else 403), (path, answer.text)
                        reveals_nothing(answer, "")
            assert await export(world.stores.provisioning, secrets=True) == before

    run(scenario())


def _missing(body: dict[str, Any]) -> dict[str, Any]:
    """The same body, naming what is nowhere."""
    there = {"zeta": "nope", "zoe": "nop", "zoe-phone": "nop-phone"}
    return {
        name: there.get(value, value) if isinstance(value, str) else value for name, value in body.items()
    }


def _plain(answer: httpx.Response) -> str:
    return re.sub("zoe-phone|nop-phone|zeta|nope|zoe|nop", "X", answer.text)


@pytest.mark.parametrize("scope", list(Scope))
def test_what_is_ones_own_is_there(scope: Scope, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD, phones=Phones()) as world:
            keys, ids = await world_of(world)
            for method, path, scopes in ROUTES:
                case = CASES[method, path]
                target = filled(path, ids.get(case.own, case.own), case.query)
                if path.startswith("/v1/tokens/") and scope is Scope.DEVICE:
                    target = path.replace("{token_id}", keys[scope].split("_")[1])
                if method == "DELETE" and path == "/v1/devices/{ref}":
                    continue  # its tokens end with it; see test_tokens.py
                answer = await world.ask(method, target, case.body, keys[scope])
                if scope not in scopes:
                    assert answer.status_code == 403, (method, path, answer.text)
                    assert answer.json()["code"] == "forbidden"
                else:
                    assert answer.status_code in case.fine, (method, path, answer.text)

    run(scenario())
