"""What numbers have used this month, and the leases of gateway numbers, over the API and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callcontrol.access.tokens import Scope
from callcontrol.cli import main
from callcontrol.usage.counters import Leg, MemoryUsageCounters, Used, owner_of
from callcontrol.usage.month import Calendar
from gateway.leases import LeaseRequest
from numbering.models import PlanLimits
from tests.api.worlds import WORLD
from tests.support.acme import PLANS
from tests.support.api import TOKEN, ApiWorld, api_world, run, running
from tests.support.schema import sqlite_url

ANA, ZOES = "+33639981001", "+33639981009"
MINUTES = PlanLimits(devices=3, numbers=10, minutes={"national": 10, "europe": 0}, callees=5)


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLANS, "advanced", MINUTES)


def use(world: ApiWorld, zone: str, seconds: int, called: str, user: str = "ana") -> None:
    month = Calendar().month(world.clock.now).name
    leg = Leg(f"{zone}{seconds}{called}{user}/b1", zone, seconds, called)
    world.counters.add(owner_of(ANA, user), month, leg, world.clock.now)


@pytest.mark.rule("OUT-08")
def test_a_number_tells_what_it_has_used(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            use(world, "national", 601, "+33199001234")
            use(world, "national", 60, "+33199001235")
            use(world, "europe", 90, "+447700900123")
            use(world, "world", 30, "+15550123")
            use(world, "national", 5000, "+33199001236", user="somebody before")
            answer = await world.ask("GET", "/v1/numbers/%2B33639981001/usage")
            assert answer.json() == {
                "number": ANA,
                "user": "ana",
                "month": "2026-05",
                "begins_at": "2026-05-01T00:00:00.000Z",
                "ends_at": "2026-06-01T00:00:00.000Z",
                "counted": True,
                "zones": [
                    {"zone": "europe", "used_seconds": 90, "included_minutes": 0, "left_seconds": None},
                    {"zone": "national", "used_seconds": 661, "included_minutes": 10, "left_seconds": 0},
                    {"zone": "world", "used_seconds": 30, "included_minutes": None, "left_seconds": 0},
                ],
                # the plan has no bound for Europe, so nothing of the package is used
                "packages": [
                    {
                        "ref": "europe-600",
                        "zones": ["europe"],
                        "minutes": 600,
                        "used_seconds": 0,
                        "left_seconds": 36_000,
                    }
                ],
                "callees": 4,
                "max_callees": 5,
            }

    run(scenario())


@pytest.mark.rule("OUT-08")
def test_a_package_is_used_beyond_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLANS, "advanced", PlanLimits(devices=3, numbers=10, minutes={"europe": 1}))

    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            use(world, "europe", 90, "+447700900123")
            found = (await world.ask("GET", "/v1/numbers/%2B33639981001/usage")).json()
            assert found["packages"][0]["used_seconds"] == 30
            assert found["packages"][0]["left_seconds"] == 36_000 - 30

    run(scenario())


@pytest.mark.rule("OUT-08", "NUM-05")
@pytest.mark.parametrize(
    ("scope", "subject", "number", "status"),
    [
        (Scope.MANAGER, "acme", ANA, 200),
        (Scope.USER, "ana", ANA, 200),
        (Scope.DEVICE, "ana-phone", ANA, 200),
        (Scope.USER, "ben", ANA, 404),
        (Scope.DEVICE, "ben-desk", ANA, 404),
        (Scope.MANAGER, "acme", ZOES, 404),
        (Scope.DEVICE, "ana-phone", ZOES, 404),
    ],
)
def test_only_who_sees_the_number_sees_its_use(
    scope: Scope, subject: str, number: str, status: int, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            token = await world.token(scope, subject)
            answer = await world.ask("GET", f"/v1/numbers/{number.replace('+', '%2B')}/usage", token=token)
            assert answer.status_code == status, answer.text

    run(scenario())


@pytest.mark.rule("OUT-08")
def test_where_nothing_is_bounded_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLANS, "standard", PlanLimits(devices=3, numbers=5))

    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            found = (await world.ask("GET", f"/v1/numbers/{ZOES.replace('+', '%2B')}/usage")).json()
            assert (found["counted"], found["zones"], found["callees"]) == (False, [], 0)

    run(scenario())


class Silent(MemoryUsageCounters):
    """A store that is away."""

    def look(self, owner: str, month: str, called: str, done: Callable[[Used | None], None]) -> None:
        done(None)


def test_counters_that_do_not_answer_are_a_503(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD, counters=Silent()) as world:
            answer = await world.ask("GET", "/v1/numbers/%2B33639981001/usage")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert answer.headers["retry-after"] == "5"

    run(scenario())


# -- leases ---------------------------------------------------------------------------------------------------


def lease(world: ApiWorld, id: str, sim: str, to: str, **more: Any) -> None:
    values = {"kind": "call_through", "user": "ana", "device": "ana-phone", "number": ANA, "life_s": 45.0}
    request = LeaseRequest(**{"id": id, "sim": sim, "to": to, **values, **more})
    world.leases.table.take(request, ["+33199000001", "+33199000002"], world.clock.now)


def three(world: ApiWorld) -> None:
    lease(world, "l-1", "+33639980001", "+33199001234")
    world.clock.now += 1
    lease(world, "l-2", "+33639980001", "+33199001235")
    world.clock.now += 1
    lease(world, "l-3", "+33639980002", "+33199001234", user="ben", device="ben-phone", long=True)
    world.leases.table.use("+33639980001", "+33199000001", "call-1", world.clock.now)


@pytest.mark.rule("OUT-02")
@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["l-1", "l-2", "l-3"]),
        ("?sim=%2B33639980001", ["l-1", "l-2"]),
        ("?sim=%2B33%206%2039%2098%2000%2002", ["l-3"]),
        ("?state=open", ["l-2", "l-3"]),
        ("?state=in_use", ["l-1"]),
        ("?state=over", []),
        ("?sim=%2B33639980001&state=open", ["l-2"]),
        ("?user=ben", ["l-3"]),
        ("?gateway_number=%2B33199000002", ["l-2"]),
    ],
)
def test_operators_list_leases(query: str, ids: list[str], tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            three(world)
            items = (await world.ask("GET", f"/v1/leases{query}")).json()["items"]
            assert [item["id"] for item in items] == ids

    run(scenario())


@pytest.mark.rule("OUT-02")
def test_a_lease_is_shown_in_full_and_in_pages(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            three(world)
            first = (await world.ask("GET", "/v1/leases?limit=2")).json()
            rest = (await world.ask("GET", f"/v1/leases?limit=2&cursor={first['next_cursor']}")).json()
            assert [each["id"] for each in first["items"] + rest["items"]] == ["l-1", "l-2", "l-3"]
            assert rest["next_cursor"] == ""
            assert (await world.ask("GET", "/v1/leases/l-1")).json() == first["items"][0]
            assert first["items"][0] == {
                "id": "l-1",
                "state": "in_use",
                "kind": "call_through",
                "sim": "+33639980001",
                "gateway_number": "+33199000001",
                "user": "ana",
                "device": "ana-phone",
                "number": ANA,
                "to": "+33199001234",
                "hide": False,
                "exclusive": False,
                "long": False,
                "created_at": "2026-05-28T20:26:40.000Z",
                "expires_at": "2026-05-28T20:27:25.000Z",
                "used_at": "2026-05-28T20:26:42.000Z",
                "used_by": "call-1",
                "outcome": "",
            }
            world.clock.now += 100
            states = [each["state"] for each in (await world.ask("GET", "/v1/leases")).json()["items"]]
            assert states == ["in_use", "over", "over"]
            wrong = await world.ask("GET", "/v1/leases?sim=12")
            assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_parameter")

    run(scenario())


def test_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keys(world: ApiWorld) -> None:
        three(world)
        use(world, "national", 61, "+33199001234")

    monkeypatch.setenv("CLOUDLINE_TOKEN", TOKEN)
    with running(sqlite_url(tmp_path), WORLD, keys) as (url, _):

        def cloudline(*words: str) -> str:
            assert main([*words, "--url", url]) == 0
            return capsys.readouterr().out

        listed = cloudline("leases", "--sim", "+33639980001", "--state", "open")
        assert "l-2" in listed
        assert "+33199001235" in listed
        assert "l-1" not in listed
        assert [each["id"] for each in json.loads(cloudline("leases", "--json"))] == ["l-1", "l-2", "l-3"]
        assert "there is no such lease" in cloudline("leases", "--state", "over")
        told = cloudline("number", "usage", ANA)
        assert "national" in told
        assert "1:01" in told
        assert "10:00" in told
        assert json.loads(cloudline("number", "usage", ANA, "--json"))["callees"] == 1
