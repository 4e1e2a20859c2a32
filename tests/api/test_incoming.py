"""What happens to calls that come in, over HTTP: forwarding, hours, block lists, and Greetings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from callcontrol.access.tokens import Scope
from numbering.models import NumberState
from tests.api.worlds import WORLD
from tests.support.api import ApiWorld, api_world, run

NUMBER = "/v1/numbers/%2B33639981001"
HEAD = "/v1/greetings/%2B33639987000"
FREE = "+33639987055"


def play(database_url: str, steps: Callable[[ApiWorld], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            await steps(world)

    run(scenario())


async def done(
    world: ApiWorld, method: str, path: str, body: Any = None, status: int = 200, **more: Any
) -> Any:
    answer = await world.ask(method, path, body, **more)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


# -- forwarding -------------------------------------------------------------------------------------------


@pytest.mark.rule("FWD-01")
def test_a_user_forwards_his_calls(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        ana = await world.token(Scope.USER, "ana")
        body = {"mode": "missed", "to": "01 99 00 12 34", "causes": ["busy"]}
        found = await done(world, "PUT", f"{NUMBER}/forward", body, token=ana)
        assert found == {"mode": "missed", "to": "+33199001234", "causes": ["busy"]}
        number = world.directory.number("+33639981001")
        assert number is not None
        assert number.forward.to == "+33199001234"
        # what a change does not say is as by default
        found = await done(
            world, "PUT", f"{NUMBER}/forward", {"mode": "all", "to": "+33199001234"}, token=ana
        )
        assert found["causes"] == ["no_answer", "busy", "declined", "unreachable"]
        await done(world, "DELETE", f"{NUMBER}/forward", status=204, token=ana)
        assert (await done(world, "GET", f"{NUMBER}/forward", token=ana))["mode"] == "off"
        assert (await done(world, "GET", NUMBER, token=ana))["forward"]["to"] == ""

    play(database_url, steps)


@pytest.mark.rule("FWD-01", "OUT-04")
def test_what_cannot_be_forwarded_to_is_said(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        own = {"mode": "all", "to": "+33639981001"}
        problem = await done(world, "PUT", f"{NUMBER}/forward", own, 422)
        assert problem["code"] == "invalid_object"
        assert problem["detail"] == (
            "forward: to: +33639981001 is the number itself; forward to another number"
        )
        problem = await done(world, "PUT", f"{NUMBER}/forward", {"mode": "all"}, 422)
        assert problem["errors"][0]["pointer"] == "/forward/to"
        assert "calls are forwarded to nobody" in problem["detail"]

    play(database_url, steps)


def test_an_old_etag_changes_nothing(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        answer = await world.ask("GET", f"{NUMBER}/forward")
        tag = answer.headers["etag"]
        assert tag == (await world.ask("GET", NUMBER)).headers["etag"]
        await done(world, "PATCH", NUMBER, {"hide": True})
        body = {"mode": "all", "to": "+33199001234"}
        await done(world, "PUT", f"{NUMBER}/forward", body, 412, headers={"If-Match": tag})
        assert (await done(world, "GET", f"{NUMBER}/forward"))["mode"] == "off"

    play(database_url, steps)


# -- hours ------------------------------------------------------------------------------------------------


@pytest.mark.rule("SLOT-01")
def test_hours_with_what_they_mean_now(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        assert await done(world, "GET", f"{NUMBER}/hours") == {
            "zone": "",
            "slots": [],
            "holidays": [],
            "special": [],
            "on": True,
            "why": "it has no hours",
            "next_change": None,
        }
        world.clock.now = datetime(2027, 1, 4, 9, 0, tzinfo=UTC).timestamp()  # a Monday, 10:00 in Paris
        body = {
            "slots": [{"days": ["mon", "tue"], "from": "08:30", "to": "19:00"}],
            "holidays": ["FR"],
            "special": [{"date": "2027-01-04", "from": "08:00", "to": "12:00", "name": "half day"}],
        }
        found = await done(world, "PUT", f"{NUMBER}/hours", body)
        assert found["zone"] == "Europe/Paris"
        assert found["slots"] == body["slots"]
        assert found["special"] == [
            {"date": "2027-01-04", "from": "08:00", "to": "12:00", "closed": False, "name": "half day"}
        ]
        assert (found["on"], found["next_change"]) == (True, "2027-01-04T11:00:00.000Z")
        number = await done(world, "GET", NUMBER)
        assert number["slot"] == [{"zone": "Europe/Paris", **body["slots"][0]}]
        # what is shown can be written again
        kept = {name: number[name] for name in ("slot", "holidays", "forward")}
        assert await done(world, "PATCH", NUMBER, {**kept, "forward": None}) == number
        await done(world, "DELETE", f"{NUMBER}/hours", status=204)
        assert (await done(world, "GET", f"{NUMBER}/hours"))["on"] is True

    play(database_url, steps)


@pytest.mark.rule("SLOT-01")
def test_hours_that_cannot_be_are_refused_with_the_place(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        slot = {"days": ["mon"], "from": "09:00", "to": "12:00"}
        problem = await done(world, "PUT", f"{NUMBER}/hours", {"slots": [slot, slot]}, 422)
        assert problem["errors"][0]["pointer"] == "/slot/1/from"
        assert "overlap on mon at 09:00" in problem["detail"]
        problem = await done(world, "PUT", f"{NUMBER}/hours", {"slots": [slot], "zone": "Paris"}, 422)
        assert "'Paris' is not a time zone; write one like Europe/Paris" in problem["detail"]

    play(database_url, steps)


# -- block lists ------------------------------------------------------------------------------------------


@pytest.mark.rule("BLK-01")
@pytest.mark.parametrize(
    ("path", "scope", "subject"),
    [(NUMBER, Scope.USER, "ana"), ("/v1/users/ana", Scope.USER, "ana"), (HEAD, Scope.MANAGER, "acme")],
)
def test_callers_are_blocked_listed_and_unblocked(
    database_url: str, path: str, scope: Scope, subject: str
) -> None:
    async def steps(world: ApiWorld) -> None:
        token = await world.token(scope, subject)
        if path == NUMBER:
            await done(world, "PATCH", path, {"block": None}, token=token)
        assert await done(world, "GET", f"{path}/blocks", token=token) == {"block": [], "spam": []}
        for caller in ("+33639989998", "+33 639989998", "+3316*", "anonymous"):
            found = await done(world, "POST", f"{path}/blocks", {"caller": caller}, 201, token=token)
        assert found == {"block": ["+33639989998", "+3316*", "anonymous"], "spam": []}
        found = await done(
            world, "POST", f"{path}/blocks", {"caller": "+3316*", "spam": True}, 201, token=token
        )
        assert found == {"block": ["+33639989998", "anonymous"], "spam": ["+3316*"]}
        await done(world, "DELETE", f"{path}/blocks/%2B3316*", status=204, token=token)
        await done(world, "DELETE", f"{path}/blocks/anonymous", status=204, token=token)
        await done(world, "DELETE", f"{path}/blocks/anonymous", status=404, token=token)
        found = await done(world, "GET", f"{path}/blocks", token=token)
        assert found == {"block": ["+33639989998"], "spam": []}
        problem = await done(world, "POST", f"{path}/blocks", {"caller": "class:nice"}, 422, token=token)
        assert problem["errors"][0]["pointer"] == "/caller"
        assert "is no class of numbers" in problem["detail"]

    play(database_url, steps)


@pytest.mark.rule("BLK-01")
def test_two_who_block_at_the_same_moment_both_succeed(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        callers = [f"+3363998999{digit}" for digit in range(8)]
        await asyncio.gather(
            *(done(world, "POST", f"{HEAD}/blocks", {"caller": caller}, 201) for caller in callers)
        )
        assert sorted((await done(world, "GET", f"{HEAD}/blocks"))["block"]) == callers

    play(database_url, steps)


def test_what_many_objects_ask_for_in_vain_is_told(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        body = {"number": [{"e164": "+33639981002", "user": "ben", "voicemail": True}]}
        found = await done(world, "POST", "/v1/provisioning", body)
        assert "number +33639981002: voicemail: there is no voicemail server" in found["warnings"][0]

    play(database_url, steps)


@pytest.mark.rule("INC-05", "GRT-10")
def test_a_user_sets_call_waiting_and_how_his_phone_answers(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        ana = await world.token(Scope.USER, "ana")
        user = await done(world, "PATCH", "/v1/users/ana", {"call_waiting": True}, token=ana)
        assert user["call_waiting"] is True
        assert (await done(world, "PATCH", "/v1/users/ana", {"call_waiting": None}, token=ana))[
            "call_waiting"
        ] is False
        phone = "/v1/devices/ana-phone"
        assert (await done(world, "PATCH", phone, {"answer": "gsm"}, token=ana))["answer"] == "gsm"
        assert (await done(world, "PATCH", phone, {"answer": None}, token=ana))["answer"] == "voip"
        problem = await done(world, "PATCH", "/v1/devices/ben-desk", {"answer": "gsm"}, 422)
        assert "there is no SIM to be called" in problem["detail"]

    play(database_url, steps)


# -- Greetings --------------------------------------------------------------------------------------------


@pytest.mark.rule("GRT-08", "NUM-05")
def test_a_greeting_from_its_making_to_its_end(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        manager = await world.token(Scope.MANAGER, "acme")
        inventory = world.services.inventory
        assert inventory is not None
        await inventory.add([FREE], actor="test")
        await world.cache.refresh()
        body = {
            "number": FREE,
            "account": "acme",
            "strategy": "priority",
            "members": ["ana", {"user": "ben", "priority": 2, "ring_seconds": 9}],
            "open": [{"days": ["mon"], "from": "22:00", "to": "06:00"}],
            "closed": {"action": "forward", "to": "01 99 00 12 34"},
            "unanswered": {"action": "voicemail"},
        }
        made = await world.ask(
            "POST", "/v1/greetings", body, token=manager, headers={"Idempotency-Key": "once"}
        )
        assert made.status_code == 201, made.text
        again = await world.ask(
            "POST", "/v1/greetings", body, token=manager, headers={"Idempotency-Key": "once"}
        )
        assert again.json() == made.json()
        path = made.headers["location"].replace("+", "%2B")
        found = made.json()
        assert found["zone"] == "Europe/Paris"
        assert found["members"][1] == {"user": "ben", "priority": 2, "ring_seconds": 9.0}
        assert found["closed"] == {"action": "forward", "to": "+33199001234"}
        assert "there is no voicemail server" in found["warnings"][0]
        number = world.directory.number(FREE)
        assert number is not None
        assert (number.account, number.user) == ("acme", "")
        shown = await done(world, "GET", f"/v1/numbers/{FREE.replace('+', '%2B')}", token=manager)
        assert (shown["account"], shown["state"]) == ("acme", "active")
        listed = await done(world, "GET", "/v1/numbers", token=manager)
        assert FREE in [each["e164"] for each in listed["items"]]
        # one field, and a whole one
        changed = await done(
            world, "PATCH", path, {"closed": {"action": "refuse"}, "repeat": 1}, token=manager
        )
        assert (changed["closed"], changed["repeat"]) == ({"action": "refuse", "to": ""}, 1)
        whole = {"account": "acme", "members": ["ben"]}
        await done(world, "PUT", path, whole, 412, token=manager, headers={"If-Match": made.headers["etag"]})
        changed = await done(world, "PUT", path, whole, token=manager)
        assert (changed["repeat"], changed["open"], changed["strategy"]) == (0, [], "cascade")
        await done(world, "DELETE", path, status=204, token=manager)
        assert world.directory.greeting(FREE) is None
        number = world.directory.number(FREE)
        assert number is not None
        assert (number.state, number.kept_account) == (NumberState.QUARANTINED, "acme")
        told = await done(world, "GET", "/v1/audit", token=manager)
        assert [each["action"] for each in told["items"] if each["kind"] == "greeting"][:4] == [
            "remove",
            "change",
            "change",
            "create",
        ]

    play(database_url, steps)


@pytest.mark.rule("GRT-08", "NUM-03")
def test_a_manager_takes_no_number_that_is_not_to_be_had(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        manager = await world.token(Scope.MANAGER, "acme")
        body = {"account": "acme", "members": ["ana"]}
        unknown = await done(world, "POST", "/v1/greetings", {"number": FREE, **body}, 422, token=manager)
        foreign = await done(
            world, "POST", "/v1/greetings", {"number": "+33639981009", **body}, 422, token=manager
        )
        assert unknown["detail"].replace(FREE, "X") == foreign["detail"].replace("+33639981009", "X")
        held = await done(
            world, "POST", "/v1/greetings", {"number": "+33639981001", **body}, 422, token=manager
        )
        assert "held by user 'ana': a number has exactly one holder" in held["detail"]
        # an operator brings one in
        await done(world, "POST", "/v1/greetings", {"number": FREE, **body}, 201)
        await done(world, "POST", "/v1/greetings", {"number": FREE, **body}, 409)

    play(database_url, steps)


@pytest.mark.rule("GRT-08", "GRT-04")
def test_neither_members_nor_other_companies_touch_it(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        await done(world, "GET", HEAD, status=403, token=await world.token(Scope.USER, "ana"))
        await done(world, "GET", HEAD, status=404, token=await world.token(Scope.MANAGER, "zeta"))
        manager = await world.token(Scope.MANAGER, "acme")
        problem = await done(world, "PATCH", HEAD, {"members": ["zoe"]}, 422, token=manager)
        assert "zeta" not in str(problem)
        problem = await done(world, "DELETE", "/v1/users/ben", status=409, token=manager)
        assert "members: there is no user 'ben'" in str(problem)

    play(database_url, steps)


@pytest.mark.rule("GRT-05")
def test_opening_hours_with_the_next_change(database_url: str) -> None:
    async def steps(world: ApiWorld) -> None:
        world.clock.now = datetime(2027, 1, 1, 12, 0, tzinfo=UTC).timestamp()  # a Friday, and New Year's Day
        found = await done(world, "GET", f"{HEAD}/hours")
        assert (found["on"], found["next_change"]) == (True, "2027-01-01T17:00:00.000Z")
        await done(world, "PATCH", HEAD, {"holidays": ["FR"]})
        found = await done(world, "GET", f"{HEAD}/hours")
        assert (found["on"], found["next_change"]) == (False, "2027-01-04T08:00:00.000Z")
        assert "holiday, Jour de l'an" in found["why"]
        await done(world, "PATCH", HEAD, {"open": None})
        found = await done(world, "GET", f"{HEAD}/hours")
        assert (found["on"], found["holidays"]) == (True, [])

    play(database_url, steps)
