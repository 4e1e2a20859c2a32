"""Tokens: kept as hashes, rotated, revoked, expired, seen by every node at once; guessing is slow."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from callcontrol.access.audit import Author
from callcontrol.access.tokens import Scope, digest_of, id_of, issue
from callcontrol.api.throttle import Failures, Throttle
from config.sections import HttpSettings
from tests.api.worlds import WORLD, tokens
from tests.support.api import TOKEN, ApiWorld, Entropy, api_world, run, without_database
from tests.support.schema import sqlite_url

WHO = Author(actor="test")


def test_a_token_is_an_id_and_256_bits() -> None:
    word, token_id = issue(Entropy())
    assert id_of(word) == token_id
    assert len(word) == 3 + 16 + 1 + 43
    assert id_of(word + "x") == id_of("cl_" + token_id) == id_of("") == ""


def test_the_database_holds_no_token(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            made = await world.ask("POST", "/v1/tokens", {"scope": "manager", "subject": "acme"})
            assert made.status_code == 201
            assert made.headers["cache-control"] == "no-store"
            word = made.json()["token"]
            async with world.engine.connect() as connection:
                rows = (await connection.execute(text("SELECT * FROM api_tokens"))).all()
                audit = (await connection.execute(text("SELECT * FROM audit WHERE kind = 'token'"))).all()
            assert word not in str(rows) + str(audit)
            assert word.rpartition("_")[2] not in str(rows) + str(audit)
            assert digest_of(word) in str(rows)
            shown = await world.ask("GET", f"/v1/tokens/{made.json()['details']['id']}")
            assert digest_of(word) not in shown.text
            assert word not in shown.text
            assert (await world.ask("GET", "/v1/users/ana", token=word)).status_code == 200

    run(scenario())


def test_a_rotated_token_lives_for_its_grace(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            old = await world.token(Scope.USER, "ana")
            path = f"/v1/tokens/{id_of(old)}/rotate"
            made = await world.ask("POST", path, {"grace_seconds": 60}, old)  # everyone may rotate its own
            assert made.status_code == 201, made.text
            new = made.json()["token"]
            again = await world.ask("POST", path, {"grace_seconds": 60})
            assert (again.status_code, again.json()["code"]) == (409, "token_ended")
            for clock, lives in ((0.0, True), (59.0, True), (61.0, False)):
                world.clock.now += clock
                assert (await world.ask("GET", "/v1/users/ana", token=old)).is_success is lives
                assert (await world.ask("GET", "/v1/users/ana", token=new)).is_success
                world.clock.now -= clock

    run(scenario())


def test_revoked_and_expired_tokens_open_nothing(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            word = await world.token(Scope.USER, "ana")
            assert (await world.ask("DELETE", f"/v1/tokens/{id_of(word)}")).status_code == 204
            assert (await world.ask("GET", "/v1/users/ana", token=word)).status_code == 401
            assert (await world.ask("DELETE", f"/v1/tokens/{id_of(word)}")).status_code == 204  # it has ended
            body = {"scope": "user", "subject": "ana", "expires_at": "2026-05-28T20:27:40Z"}
            short = (await world.ask("POST", "/v1/tokens", body)).json()["token"]
            assert (await world.ask("GET", "/v1/users/ana", token=short)).status_code == 200
            world.clock.now += 61
            assert (await world.ask("GET", "/v1/users/ana", token=short)).status_code == 401
            past = await world.ask("POST", "/v1/tokens", body)
            assert past.status_code == 422
            assert past.json()["errors"][0]["pointer"] == "/expires_at"

    run(scenario())


def test_another_node_forgets_a_revoked_token_with_the_next_refresh(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as one:
            other = ApiWorld(database_url)
            await other.cache.load()
            word = await one.token(Scope.USER, "ana")
            assert (await other.ask("GET", "/v1/users/ana", token=word)).status_code == 200
            assert (await one.ask("DELETE", f"/v1/tokens/{id_of(word)}")).status_code == 204
            assert await other.cache.refresh()  # what the poller does three times a second
            assert (await other.ask("GET", "/v1/users/ana", token=word)).status_code == 401
            await other.engine.dispose()

    run(scenario())


@pytest.mark.rule("NUM-05")
def test_tokens_end_with_their_subject_and_when_it_changes_hands(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            phone, desk = [await world.token(Scope.DEVICE, ref) for ref in ("ana-phone", "ben-desk")]
            user = await world.token(Scope.USER, "ana")
            assert (await world.ask("PATCH", "/v1/devices/ben-desk", {"user": "ana"})).status_code == 200
            assert (await world.ask("GET", "/v1/devices/ben-desk", token=desk)).status_code == 401
            assert (await world.ask("DELETE", "/v1/devices/ana-phone", token=user)).status_code == 204
            assert (await world.ask("GET", "/v1/devices/ana-phone", token=phone)).status_code == 401
            # a new device of the same name is another one
            body = {"ref": "ana-phone", "user": "ana"}
            assert (await world.ask("POST", "/v1/devices", body)).status_code == 201
            assert (await world.ask("GET", "/v1/devices/ana-phone", token=phone)).status_code == 401
            await world.provision('[[user]]\nref = "ana"\naccount = "acme"\nname = "Still Ana"\n')
            assert (await world.ask("GET", "/v1/users/ana", token=user)).status_code == 200

    run(scenario())


def test_known_tokens_work_while_the_database_is_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            word = await world.token(Scope.USER, "ana")
            fresh = await world.token(Scope.USER, "ben")
            assert (await world.ask("GET", "/v1/users/ana", token=word)).status_code == 200
            await check_away(world, word, fresh)

    async def check_away(world: ApiWorld, word: str, fresh: str) -> None:
        async with without_database() as away:
            away.directory.adopt(world.directory)
            for token_id in (id_of(word),):
                away.token_cache.put(token_id, await world.stores.tokens.get(token_id), 0)
            assert (await away.ask("GET", "/v1/users/ana", token=word)).status_code == 200
            assert (await away.ask("GET", "/v1/users/ana", token=TOKEN)).status_code == 200
            unknown = await away.ask("GET", "/v1/users/ben", token=fresh)
            assert (unknown.status_code, unknown.json()["code"]) == (503, "database_unavailable")
            for method, path, body in (
                ("POST", "/v1/users", {"ref": "new", "account": "acme"}),
                ("PATCH", "/v1/users/ana", {"name": "Ana"}),
                ("GET", "/v1/users", None),
            ):
                answer = await away.ask(method, path, body)
                assert answer.status_code == 503, path
                assert answer.headers["retry-after"] == "5"

    run(scenario())


def test_the_last_use_is_known_to_the_minute(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            word = await world.token(Scope.USER, "ana")
            path = f"/v1/tokens/{id_of(word)}"
            assert (await world.ask("GET", path)).json()["last_used_at"] is None
            revision = world.directory.version
            await world.ask("GET", "/v1/users/ana", token=word)
            await world.upkeep.round(purge=False)
            assert (await world.ask("GET", path)).json()["last_used_at"] == "2026-05-28T20:26:40.000Z"
            assert not await world.cache.refresh()  # nobody has to hear of it
            assert world.directory.version == revision

    run(scenario())


def test_who_guesses_waits_and_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = HttpSettings(wrong_tokens=3, wrong_token_seconds=60)
        async with api_world(sqlite_url(tmp_path), WORLD, settings=settings) as world:
            word = await world.token(Scope.USER, "ana")
            late = await world.token(Scope.USER, "ben")
            assert (await world.ask("GET", "/v1/users/ana", token=word)).status_code == 200
            guesses = [await world.ask("GET", "/v1/users/ana", token="cl_x") for _ in range(4)]
            assert [each.status_code for each in guesses] == [401, 401, 401, 429]
            assert int(guesses[-1].headers["retry-after"]) == 60
            assert guesses[-1].json()["code"] == "too_many_wrong_tokens"
            # a token that is known needs no look-up; an unknown one waits like everybody there
            assert (await world.ask("GET", "/v1/users/ana", token=word)).status_code == 200
            assert (await world.ask("GET", "/v1/users/ben", token=late)).status_code == 429
            elsewhere = await world.ask("GET", "/v1/users/ben", token=late, client=("192.0.2.7", 1))
            assert elsewhere.status_code == 200
            world.clock.now += 60
            assert (await world.ask("GET", "/v1/users/ana", token="cl_x")).status_code == 401
            assert world.services.counters.wrong_tokens == 4

    run(scenario())


def test_a_token_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = HttpSettings(rate_per_second=2, burst=3)
        async with api_world(sqlite_url(tmp_path), WORLD, settings=settings) as world:
            ana, ben = await world.token(Scope.USER, "ana"), await world.token(Scope.USER, "ben")
            answers = [await world.ask("GET", "/v1/users/ana", token=ana) for _ in range(4)]
            assert [each.status_code for each in answers] == [200, 200, 200, 429]
            assert answers[-1].headers["retry-after"] == "1"
            assert answers[-1].json()["code"] == "too_many_requests"
            assert (await world.ask("GET", "/v1/users/ben", token=ben)).status_code == 200
            world.clock.now += 0.5
            assert (await world.ask("GET", "/v1/users/ana", token=ana)).status_code == 200

    run(scenario())


def test_throttles_forget_what_they_need_not_know() -> None:
    throttle, failures = Throttle(1, 1), Failures(1, 10)
    for number in range(50_000):
        assert throttle.take(str(number), 0.0) == 0.0
        failures.add(str(number), 0.0)
    assert throttle.take("49999", 0.0) == 1.0
    assert failures.wait("49999", 4.0) == 6.0
    assert failures.wait("49999", 10.0) == 0.0
    assert failures.wait("0", 0.0) == 0.0


@pytest.mark.parametrize(
    ("scope", "body", "status"),
    [
        (Scope.MANAGER, {"scope": "operator"}, 403),
        (Scope.MANAGER, {"scope": "manager", "subject": "acme"}, 403),
        (Scope.MANAGER, {"scope": "user", "subject": "ben"}, 201),
        (Scope.MANAGER, {"scope": "user", "subject": "zoe"}, 422),
        (Scope.USER, {"scope": "user", "subject": "ana"}, 403),
        (Scope.USER, {"scope": "device", "subject": "ana-phone"}, 201),
        (Scope.USER, {"scope": "device", "subject": "ben-desk"}, 422),
        (Scope.DEVICE, {"scope": "device", "subject": "ana-phone"}, 403),
        (Scope.OPERATOR, {"scope": "operator", "subject": "acme"}, 422),
        (Scope.OPERATOR, {"scope": "operator"}, 201),
        (Scope.OPERATOR, {"scope": "user"}, 422),
        (Scope.OPERATOR, {"scope": "user", "subject": "nobody"}, 422),
    ],
)
def test_nobody_makes_a_token_above_its_own(
    scope: Scope, body: dict[str, str], status: int, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            word = (await tokens(world))[scope]
            answer = await world.ask("POST", "/v1/tokens", body, word)
            assert answer.status_code == status, answer.text

    run(scenario())
