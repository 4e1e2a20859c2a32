"""``Idempotency-Key``: what is sent twice is done once, also on another node and after a restart."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Any

import pytest

from callcontrol.access.tokens import Scope
from callcontrol.api.idempotency import RUNNING_S, Answer, AnswerStore, Earlier, Idempotency
from callcontrol.phone_requests import refusal
from config.database import DatabaseUnavailable
from dialplan import reasons
from tests.api.worlds import WORLD, Phones
from tests.support.api import ApiWorld, api_world, run, without_database

KEY = {"Idempotency-Key": "2f6b1c54-0b8e-4f0e-9d0c-0f6f5d0a7a11"}
BODY = {"ref": "new", "account": "acme"}


def test_the_second_request_gets_the_first_answer(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            first = await world.ask("POST", "/v1/users", BODY, headers=KEY)
            second = await world.ask("POST", "/v1/users", BODY, headers=KEY)
            assert first.status_code == second.status_code == 201
            assert first.json() == second.json()
            for name in ("etag", "location", "content-type"):
                assert first.headers[name] == second.headers[name]
            assert "idempotency-replayed" not in first.headers
            assert second.headers["idempotency-replayed"] == "true"
            # without the key it is a second request
            assert (await world.ask("POST", "/v1/users", BODY)).status_code == 409

    run(scenario())


def test_it_survives_a_restart_and_holds_on_every_node(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            first = await world.ask("POST", "/v1/users", BODY, headers=KEY)
        later = ApiWorld(database_url)
        await later.cache.load()
        second = await later.ask("POST", "/v1/users", BODY, headers=KEY)
        await later.engine.dispose()
        assert second.json() == first.json()
        assert second.headers["idempotency-replayed"] == "true"

    run(scenario())


def test_a_key_belongs_to_one_request_and_one_token(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            assert (await world.ask("POST", "/v1/users", BODY, headers=KEY)).status_code == 201
            other = await world.ask("POST", "/v1/users", {**BODY, "name": "Other"}, headers=KEY)
            assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
            path = await world.ask("POST", "/v1/accounts", BODY, headers=KEY)
            assert path.json()["code"] == "idempotency_mismatch"
            manager = await world.token(Scope.MANAGER, "acme")
            assert (await world.ask("POST", "/v1/users", BODY, manager, KEY)).json()[
                "code"
            ] == "already_there"

    run(scenario())


def test_two_at_once_are_one(database_url: str) -> None:
    """The second is told to wait, or gets the answer if it comes late enough; never a second device."""

    async def scenario() -> None:
        phones = Phones()
        async with api_world(database_url, WORLD, phones=phones) as world:
            body = {"device": "ana-phone", "to": "+33199001234"}
            answers = await asyncio.gather(
                *(world.ask("POST", "/v1/callbacks", body, headers=KEY) for _ in range(5))
            )
            assert len(phones.asked) == 1
            codes = [each.status_code for each in answers]
            assert 202 in codes
            assert set(codes) <= {202, 409}
            assert {each.json()["code"] for each in answers if each.status_code == 409} <= {
                "idempotency_running"
            }

    run(scenario())


def test_a_request_whose_node_died_may_be_sent_again(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            answers, now = world.stores.answers, world.clock.now
            assert await answers.begin("t", "k", "hash", now, RUNNING_S, 100.0) is None
            running = await answers.begin("t", "k", "hash", now + 1, RUNNING_S, 100.0)
            assert running is not None
            assert running.answer is None
            assert await answers.begin("t", "k", "hash", now + RUNNING_S, RUNNING_S, 100.0) is None
            await answers.finish("t", "k", Answer(status=201, headers={"etag": "x"}, body=b"{}"))
            done = await answers.begin("t", "k", "hash", now + RUNNING_S + 1, RUNNING_S, 100.0)
            assert done is not None
            assert done.answer == Answer(status=201, headers={"etag": "x"}, body=b"{}")
            # and after its time the key is a new one
            assert await answers.begin("t", "k", "other", now + 161, RUNNING_S, 100.0) is None
            await answers.release("t", "k")
            assert await answers.begin("t", "k", "third", now + 162, RUNNING_S, 100.0) is None
            assert await answers.forget(now + 1000) == 1

    run(scenario())


def test_what_was_refused_is_refused_again_and_what_failed_is_tried_again(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            double = {"ref": "ana", "account": "acme"}
            first = await world.ask("POST", "/v1/users", double, headers=KEY)
            second = await world.ask("POST", "/v1/users", double, headers=KEY)
            assert first.status_code == second.status_code == 409
            assert second.headers["idempotency-replayed"] == "true"
            # a body that cannot be read was never a request: it may be corrected under the same key
            key = {"Idempotency-Key": "another"}
            wrong = await world.ask("POST", "/v1/users", {"ref": "x y", "account": "acme"}, headers=key)
            assert wrong.status_code == 422
            assert (await world.ask("POST", "/v1/users", BODY, headers=key)).status_code == 201

    run(scenario())


def test_a_secret_is_not_shown_twice(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            body = {"scope": "user", "subject": "ana"}
            first = await world.ask("POST", "/v1/tokens", body, headers=KEY)
            assert first.status_code == 201
            second = await world.ask("POST", "/v1/tokens", body, headers=KEY)
            assert (second.status_code, second.json()["code"]) == (409, "answer_not_kept")
            assert len((await world.ask("GET", "/v1/tokens")).json()["items"]) == 1

    run(scenario())


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_cannot_be_used_is_refused(key: str) -> None:
    async def scenario() -> None:
        async with without_database() as world:
            answer = await world.ask("POST", "/v1/users", BODY, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_idempotency_key")

    run(scenario())


def test_no_database_no_key() -> None:
    async def scenario() -> None:
        async with without_database() as world:
            answer = await world.ask("POST", "/v1/drain", headers=KEY)
        assert answer.status_code == 503
        assert not (await world.node.info()).draining

    run(scenario())


class Flaky:
    """The store of answers over a database that goes away when it is told to."""

    def __init__(self, store: AnswerStore) -> None:
        self._store = store
        self.away = False

    def _check(self) -> None:
        if self.away:
            raise DatabaseUnavailable("away")

    async def begin(
        self, token: str, key: str, request: str, now: float, running_s: float, kept_s: float
    ) -> Earlier | None:
        self._check()
        return await self._store.begin(token, key, request, now, running_s, kept_s)

    def running(self, token: str, key: str, started_at: float) -> AbstractContextManager[None]:
        return self._store.running(token, key, started_at)

    async def finish(self, token: str, key: str, answer: Answer) -> None:
        self._check()
        await self._store.finish(token, key, answer)

    async def release(self, token: str, key: str) -> None:
        self._check()
        await self._store.release(token, key)


def flaky(world: ApiWorld) -> Flaky:
    idempotency: Idempotency = world.app.state.idempotency
    made = Flaky(world.stores.answers)
    idempotency._store = made
    return made


def test_what_was_done_is_answered_as_done_when_the_database_goes_away(database_url: str) -> None:
    """Between the work and the keeping of its answer: nobody is told to try again what was done, and nothing is done twice."""

    async def scenario() -> None:
        phones = Phones()
        async with api_world(database_url, WORLD, phones=phones) as world:
            store = flaky(world)
            body = {"device": "ana-phone", "to": "+33199001234"}
            handle = phones.handle

            def then_away(*request: Any) -> None:
                store.away = True
                handle(*request)

            phones.handle = then_away  # type: ignore[method-assign]
            first = await world.ask("POST", "/v1/callbacks", body, headers=KEY)
            assert first.status_code == 202
            again = await world.ask("POST", "/v1/callbacks", body, headers=KEY)
            assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
            store.away = False
            other = await world.ask("POST", "/v1/users", BODY, headers={"Idempotency-Key": "another"})
            assert other.status_code == 201
            for _ in range(2):
                assert (await world.ask("POST", "/v1/callbacks", body, headers=KEY)).status_code == 202
            assert len(phones.asked) == 1, "it was done once"
            other = await world.ask("POST", "/v1/callbacks", {**body, "hide": True}, headers=KEY)
            assert other.json()["code"] == "idempotency_mismatch"

    run(scenario())


def test_what_was_done_is_told_to_the_other_nodes_when_the_database_is_back(database_url: str) -> None:
    """Also when nobody sends anything to the node that did it."""

    async def scenario() -> None:
        phones = Phones()
        async with api_world(database_url, WORLD, phones=phones) as world:
            store = flaky(world)
            body = {"device": "ana-phone", "to": "+33199001234"}
            handle = phones.handle

            def then_away(*request: Any) -> None:
                store.away = True
                handle(*request)

            phones.handle = then_away  # type: ignore[method-assign]
            first = await world.ask("POST", "/v1/callbacks", body, headers=KEY)
            assert first.status_code == 202
            await world.upkeep.round(purge=False)
            other = ApiWorld(database_url)
            await other.cache.load()
            assert (await other.ask("POST", "/v1/callbacks", body, headers=KEY)).status_code == 409, "it runs"
            store.away = False
            await world.upkeep.round(purge=False)
            again = await other.ask("POST", "/v1/callbacks", body, headers=KEY)
            await other.engine.dispose()
            assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
            assert len(phones.asked) == 1

    run(scenario())


def test_a_key_is_free_again_after_an_outage(database_url: str) -> None:
    """What was refused because the database went away may be sent again as soon as it is back."""

    async def scenario() -> None:
        phones = Phones()
        async with api_world(database_url, WORLD, phones=phones) as world:
            store = flaky(world)
            handle = phones.handle

            def refuses(device: str, request: object, now: float, done: Any) -> None:
                store.away = True
                done(refusal(reasons.UNAVAILABLE))

            phones.handle = refuses  # type: ignore[method-assign]
            body = {"device": "ana-phone", "to": "+33199001234"}
            for _ in range(2):
                assert (await world.ask("POST", "/v1/callbacks", body, headers=KEY)).status_code == 503
            store.away = False
            phones.handle = handle  # type: ignore[method-assign]
            assert (await world.ask("POST", "/v1/callbacks", body, headers=KEY)).status_code == 202
            assert len(phones.asked) == 1

    run(scenario())
