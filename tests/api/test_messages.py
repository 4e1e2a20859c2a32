"""Messages to lines over the API: what waits and why, and what lines answer (NUM-10)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from callcontrol.access.tokens import Scope
from numbering.countries import earliest_port
from numbering.policy import COUNTRIES
from numbering.porting import rules_for
from numbering.rio import check_characters
from tests.api.worlds import WORLD
from tests.support.api import ApiWorld, api_world, run

LINE = "+33639981299"
RIO = "04P000000" + check_characters("04", "P", "000000", "0639981299")


async def port(world: ApiWorld) -> str:
    """A port whose line is to be asked."""
    rules = COUNTRIES.of("FR")
    day = earliest_port(rules, rules_for(rules, LINE), world.clock.now)
    body = {"number": LINE, "user": "ana", "rio": RIO, "day": day.isoformat()}
    answer = await world.ask("POST", "/v1/ports", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def says(world: ApiWorld, text: str, line: str = LINE, status: int = 200) -> Any:
    answer = await world.ask("POST", "/v1/messages/received", {"from": line, "text": text})
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.rule("NUM-10")
@pytest.mark.parametrize(
    ("text", "state", "understood"),
    [
        ("YES", "confirmed", True),
        ("oui, je confirme", "confirmed", True),
        ("No.", "cancelled", True),
        ("STOP", "cancelled", True),
        ("who is this?", "requested", False),
        ("", "requested", False),
    ],
)
def test_what_a_line_answers_is_done(text: str, state: str, understood: bool, database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            ref = await port(world)
            told = await says(world, text)
            assert told == {
                "number": LINE,
                "understood": understood,
                "port": ref,
                "state": state,
                "refusal": "",
            }
            assert (await world.ask("GET", f"/v1/ports/{ref}")).json()["state"] == state
            trail = (await world.ask("GET", f"/v1/audit?kind=port&key={ref}")).json()["items"]
            assert [(each["action"], each["account"]) for each in trail] == (
                [("reply", "acme")] if understood else []
            )

    run(scenario())


@pytest.mark.rule("NUM-10")
def test_an_answer_that_comes_twice_does_no_harm(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            await port(world)
            assert (await says(world, "YES"))["state"] == "confirmed"
            again = await says(world, "YES")
            assert (again["state"], again["refusal"]) == ("confirmed", "")

    run(scenario())


@pytest.mark.rule("NUM-10")
def test_an_answer_that_comes_too_late_is_told_and_not_followed(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            ref = await port(world)
            (message,) = (await world.ask("GET", "/v1/messages")).json()["items"]
            inventory = world.services.inventory
            assert inventory is not None
            await inventory.ports.sent(message["id"], actor="x")
            world.clock.now += 49 * 3600
            told = await says(world, "YES")
            assert (told["understood"], told["refusal"], told["port"]) == (True, "too_late", ref)
            assert told["state"] == "awaiting_confirmation"

    run(scenario())


def test_who_was_asked_nothing_is_not_understood(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            told = await says(world, "YES", "+33639981001")
            assert (told["understood"], told["port"]) == (False, "")
            assert (await says(world, "YES", "not a number", 422))["code"] == "invalid_number"
            assert (await says(world, "x" * 2001, LINE, 422))["code"] == "invalid_body"

    run(scenario())


def test_only_operators_have_to_do_with_messages(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            manager = await world.token(Scope.MANAGER, "acme")
            for method, path, body in (
                ("GET", "/v1/messages", None),
                ("POST", "/v1/messages/received", {"from": LINE, "text": "YES"}),
                ("POST", "/v1/messages/1/resend", None),
            ):
                assert (await world.ask(method, path, body, manager)).status_code == 403

    run(scenario())


def test_operators_see_what_waits_and_why(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            ref = await port(world)
            (message,) = (await world.ask("GET", "/v1/messages")).json()["items"]
            at = datetime.fromtimestamp(world.clock.now, UTC).isoformat(timespec="milliseconds")
            assert message == {
                "id": message["id"],
                "to": LINE,
                "kind": "port_confirmation",
                "port": ref,
                "created_at": at.replace("+00:00", "Z"),
                "sent_at": None,
                "attempts": 0,
                "next_at": None,
                "failure": "",
                "given_up": False,
            }
            inventory = world.services.inventory
            assert inventory is not None
            async with inventory._store.work() as work:
                await work.message_failed(
                    message["id"], attempts=20, next_at=9e9, failure="HTTP status 503", given_up=True
                )
            (seen,) = (await world.ask("GET", "/v1/messages")).json()["items"]
            assert (seen["attempts"], seen["failure"], seen["given_up"]) == (20, "HTTP status 503", True)
            again = await world.ask("POST", f"/v1/messages/{message['id']}/resend")
            assert (again.json()["given_up"], again.json()["attempts"]) == (False, 0)
            assert (await world.ask("POST", "/v1/messages/999/resend")).status_code == 404
            await inventory.ports.sent(message["id"], actor="x")
            assert (await world.ask("GET", "/v1/messages")).json()["items"] == []
            every = (await world.ask("GET", "/v1/messages?waiting=false")).json()["items"]
            assert every[0]["sent_at"]
            assert (await world.ask("POST", f"/v1/messages/{message['id']}/resend")).status_code == 409

    run(scenario())


def test_messages_come_in_pages(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            inventory = world.services.inventory
            assert inventory is not None
            async with inventory._store.work() as work:
                from numbering.message import Message

                for at in range(5):
                    await work.add_message(Message(e164=LINE, kind="rio", body="x", created_at=float(at)))
            ids: list[int] = []
            cursor = ""
            while True:
                page = (await world.ask("GET", f"/v1/messages?limit=2&cursor={cursor}")).json()
                ids += [each["id"] for each in page["items"]]
                cursor = page["next_cursor"]
                if not cursor:
                    break
            assert ids == sorted(ids)
            assert len(ids) == 5

    run(scenario())
