"""A node dies in the middle of a POST with ``Idempotency-Key``: what was written is not written twice, what was not is done anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from callcontrol.api.idempotency import RUNNING_S, Answer, AnswerStore, Earlier, Idempotency
from config.database import DatabaseUnavailable
from tests.api.worlds import WORLD, Phones
from tests.support.api import ApiWorld, api_world, run

KEY = {"Idempotency-Key": "2f6b1c54-0b8e-4f0e-9d0c-0f6f5d0a7a11"}
TOKEN_BODY = {"scope": "user", "subject": "ana"}


class Died(BaseException):
    """The process ends here: nothing after this line is executed."""


class Dying:
    """The store of answers of a node that dies before it keeps one."""

    def __init__(self, store: AnswerStore) -> None:
        self._store = store

    async def begin(
        self, token: str, key: str, request: str, now: float, running_s: float, kept_s: float
    ) -> Earlier | None:
        return await self._store.begin(token, key, request, now, running_s, kept_s)

    def running(self, token: str, key: str, started_at: float) -> AbstractContextManager[None]:
        return self._store.running(token, key, started_at)

    async def finish(self, token: str, key: str, answer: Answer) -> None:
        raise Died

    async def release(self, token: str, key: str) -> None:
        raise Died


def idempotency(world: ApiWorld) -> Idempotency:
    found: Idempotency = world.app.state.idempotency
    return found


async def dies(world: ApiWorld, path: str, body: dict[str, Any]) -> None:
    """Ask, and let the node die before it has kept its answer; another one has its database then."""
    world_store, idempotency(world)._store = idempotency(world)._store, Dying(world.stores.answers)
    with pytest.raises(Died):
        await world.ask("POST", path, body, headers=KEY)
    idempotency(world)._store = world_store


def replace(world: ApiWorld, create: Callable[..., Awaitable[Any]]) -> None:
    """Let tokens be made in another way."""
    setattr(world.services.tokens, "create", create)  # noqa: B010


async def tokens(world: ApiWorld) -> int:
    return len((await world.ask("GET", "/v1/tokens")).json()["items"])


def test_what_was_written_before_the_node_died_is_not_written_again(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            await dies(world, "/v1/tokens", TOKEN_BODY)
            assert await tokens(world) == 1
            soon = await world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=KEY)
            assert (soon.status_code, soon.json()["code"]) == (409, "idempotency_running")
            for _ in range(2):
                world.clock.now += RUNNING_S
                again = await world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=KEY)
                assert (again.status_code, again.json()["code"]) == (409, "answer_lost")
            assert await tokens(world) == 1
            other = await world.ask("POST", "/v1/users", {"ref": "new", "account": "acme"}, headers=KEY)
            assert other.json()["code"] == "idempotency_mismatch"
            fresh = {"Idempotency-Key": "another"}
            assert (await world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=fresh)).status_code == 201
            # and after its time the key is a new one
            world.clock.now += world.services.settings.idempotency_seconds
            assert (await world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=KEY)).status_code == 201

    run(scenario())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/users", {"ref": "new", "account": "acme"}),
        ("/v1/stock", {"numbers": ["+33639981777"]}),
    ],
)
def test_objects_and_numbers_tell_that_they_were_written(
    database_url: str, path: str, body: dict[str, Any]
) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            await dies(world, path, body)
            world.clock.now += RUNNING_S
            again = await world.ask("POST", path, body, headers=KEY)
            assert (again.status_code, again.json()["code"]) == (409, "answer_lost")

    run(scenario())


def test_what_was_not_written_when_the_node_died_is_done(database_url: str) -> None:
    """Before the commit of the work, or within its transaction, which is rolled back."""

    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            create = world.services.tokens.create

            async def never(*given: Any) -> Any:
                raise Died

            replace(world, never)
            with pytest.raises(Died):
                await world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=KEY)
            replace(world, create)
            assert await tokens(world) == 0
            world.clock.now += RUNNING_S
            again = await world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=KEY)
            assert again.status_code == 201
            assert await tokens(world) == 1

    run(scenario())


def test_work_that_is_in_no_database_is_done_anew(database_url: str) -> None:
    async def scenario() -> None:
        phones = Phones()
        async with api_world(database_url, WORLD, phones=phones) as world:
            body = {"device": "ana-phone", "to": "+33199001234"}
            await dies(world, "/v1/callbacks", body)
            world.clock.now += RUNNING_S
            assert (await world.ask("POST", "/v1/callbacks", body, headers=KEY)).status_code == 202
            assert len(phones.asked) == 2

    run(scenario())


def test_a_request_that_was_taken_for_dead_writes_nothing_any_more(database_url: str) -> None:
    """It took longer than a minute, and whoever asked has asked again: one of the two is done."""

    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            create = world.services.tokens.create
            may_go_on, waits = asyncio.Event(), asyncio.Event()

            async def slow(*given: Any) -> Any:
                replace(world, create)
                waits.set()
                await may_go_on.wait()
                return await create(*given)

            replace(world, slow)
            first = asyncio.create_task(world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=KEY))
            await waits.wait()
            world.clock.now += RUNNING_S
            assert (await world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=KEY)).status_code == 201
            may_go_on.set()
            late = await first
            assert (late.status_code, late.json()["code"]) == (409, "idempotency_running")
            assert await tokens(world) == 1
            kept = await world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=KEY)
            assert kept.json()["code"] == "answer_not_kept", "the answer of the one that was done"

    run(scenario())


def test_a_failure_after_the_work_is_no_reason_to_do_it_again(database_url: str) -> None:
    """The token is made, and then the database goes away before this node sees it: 503, and the key says what happened."""

    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            create = world.services.tokens.create

            async def then_away(*given: Any) -> Any:
                replace(world, create)
                await create(*given)
                raise DatabaseUnavailable("away")

            replace(world, then_away)
            assert (await world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=KEY)).status_code == 503
            again = await world.ask("POST", "/v1/tokens", TOKEN_BODY, headers=KEY)
            assert (again.status_code, again.json()["code"]) == (409, "answer_lost")
            assert await tokens(world) == 1

    run(scenario())
