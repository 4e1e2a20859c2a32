"""Requests of phones over HTTP: for whom they are asked, and what the service's answers become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from callcontrol.access.tokens import Scope
from callcontrol.phone_requests import BAD_REQUEST, Error, Ok, Reply, refusal
from callcontrol.provisioning import check
from dialplan import reasons
from tests.api.worlds import WORLD, Phones, tokens
from tests.support.acme import PLANS, acme
from tests.support.api import api_world, run, without_database
from tests.support.schema import sqlite_url

ASKED = {"to": "+33199001234", "number": "+33639981001"}


class Fixed:
    """Gives one answer."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def handle(
        self, device_ref: str, request: Mapping[str, object], now: float, done: Callable[[Reply], None]
    ) -> None:
        done(self.reply)
        done(refusal(reasons.NOT_FOUND))  # a second answer is none


@pytest.mark.rule("OUT-02")
def test_a_lease_for_whoever_asks(tmp_path: Path) -> None:
    async def scenario() -> None:
        phones = Phones()
        async with api_world(sqlite_url(tmp_path), WORLD, phones=phones) as world:
            keys = await tokens(world)
            for scope, body in (
                (Scope.DEVICE, ASKED),
                (Scope.DEVICE, {**ASKED, "device": "ana-phone"}),
                (Scope.USER, ASKED),  # the one phone of the user
                (Scope.MANAGER, {**ASKED, "device": "ana-phone"}),
                (Scope.OPERATOR, {**ASKED, "device": "ana-phone"}),
            ):
                answer = await world.ask("POST", "/v1/call-through", body, keys[scope])
                assert answer.status_code == 201, answer.text
                assert answer.json()["gateway_number"] == "+33199000001"
                assert phones.asked[-1] == ("ana-phone", {"type": "call_through", **ASKED})
            count = len(phones.asked)
            for scope in (Scope.MANAGER, Scope.OPERATOR):
                answer = await world.ask("POST", "/v1/call-through", ASKED, keys[scope])
                assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/device")
            for scope in (Scope.DEVICE, Scope.USER, Scope.MANAGER):
                for device in ("zoe-phone", "no-phone"):
                    answer = await world.ask(
                        "POST", "/v1/callbacks", {**ASKED, "device": device}, keys[scope]
                    )
                    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/device")
            assert len(phones.asked) == count

    run(scenario())


@pytest.mark.rule("OUT-09")
@pytest.mark.parametrize(
    ("reply", "status", "code", "retry"),
    [
        (refusal(reasons.UNVERIFIED_SIM), 403, "unverified_sim", None),
        (refusal(reasons.NO_CREDIT), 403, "no_credit", None),
        (refusal(reasons.BARRED_CLASS), 403, "barred_class", None),
        (refusal(reasons.INVALID_NUMBER), 422, "invalid_number", None),
        (refusal(reasons.NOT_FOUND), 404, "not_found", None),
        (refusal(reasons.TOO_MANY_CALLS), 429, "too_many_calls", "5"),
        (refusal(reasons.UNAVAILABLE, retry_after_s=7), 503, "unavailable", "7"),
        (refusal(reasons.NO_GATEWAY_NUMBER, retry_after_s=1.5), 503, "no_gateway_number", "2"),
        (Error(code=BAD_REQUEST, message="to is missing"), 422, "invalid_body", None),
    ],
)
def test_a_refusal_keeps_its_reason(reply: Error, status: int, code: str, retry: str | None) -> None:
    """The same word as in SIP, in the record and in the trace; and no database is needed to say it."""

    async def scenario() -> None:
        async with without_database(phones=Fixed(reply)) as away:
            for item in check(acme(), PLANS).inventory.devices.values():
                away.directory.put_one(item)
            body = {**ASKED, "device": "ana-phone"}
            for method, path, sent in (
                ("POST", "/v1/call-through", body),
                ("POST", "/v1/callbacks", body),
                ("GET", "/v1/prices?to=112&device=ana-phone", None),
            ):
                answer = await away.ask(method, path, sent)
                assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
                assert answer.headers.get("retry-after") == retry
                assert answer.json()["detail"]

    run(scenario())


def test_nobody_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            answer = await world.ask("POST", "/v1/callbacks", {**ASKED, "device": "ana-phone"})
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")

    run(scenario())


def test_an_answer_is_given_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        fields = {"per_minute": "0.02", "currency": "EUR"}
        async with api_world(sqlite_url(tmp_path), WORLD, phones=Fixed(Ok(fields=fields))) as world:
            answer = await world.ask("GET", "/v1/prices?to=%2B33199001234&seconds=60&device=ana-phone")
            assert (answer.status_code, answer.json()) == (200, fields)

    run(scenario())
