"""Rates and packages over the API: operators write them, managers read what concerns their account (OUT-06)."""

from __future__ import annotations

from typing import Any

import pytest

from callcontrol.access.tokens import Scope
from tests.api.worlds import WORLD
from tests.support.api import api_world, run

pytestmark = pytest.mark.rule("OUT-06")


def test_a_rate_lives_over_the_api(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            body = {"prefix": "+4477", "per_minute": "0.06", "connection": "0.1", "valid_from": "2026-01-01"}
            made = await world.ask("POST", "/v1/rates", body)
            assert made.status_code == 201, made.text
            assert made.headers["location"] == "/v1/rates/standard/+4477/2026-01-01"
            assert made.json() == {
                "ref": "standard/+4477/2026-01-01",
                "table": "standard",
                "prefix": "+4477",
                "valid_from": "2026-01-01",
                "per_minute": "0.06",
                "connection": "0.10",
                "minimum_seconds": 0,
                "increment_seconds": 1,
                "currency": "EUR",
                "zone": "",
            }
            path = "/v1/rates/standard/%2B4477/2026-01-01"
            seen = await world.ask("GET", path)
            assert (seen.json(), seen.headers["etag"]) == (made.json(), made.headers["etag"])
            # calls are priced by it from now on
            found = world.book.rate("standard", "+447700900123", "2026-06-01")
            assert found is not None
            assert str(found.per_minute) == "0.06"
            before = world.book.rate("standard", "+447700900123", "2025-12-31")
            assert before is not None
            assert before.prefix == "+44"
            stale = await world.ask("PATCH", path, {"zone": "europe"}, headers={"If-Match": '"old"'})
            assert stale.status_code == 412
            changed = await world.ask(
                "PATCH",
                path,
                {"per_minute": "0.07", "connection": None},
                headers={"If-Match": made.headers["etag"]},
            )
            assert changed.json() == {**made.json(), "per_minute": "0.07", "connection": "0.00"}
            assert (await world.ask("DELETE", path)).status_code == 204
            assert (await world.ask("GET", path)).status_code == 404
            assert world.book.rate("standard", "+447700900123", "2026-06-01") == before
            trail = (await world.ask("GET", "/v1/audit?kind=rate")).json()["items"]
            assert [(each["action"], each["actor"]) for each in trail[:3]] == [
                ("remove", "operator"),
                ("change", "operator"),
                ("create", "operator"),
            ]

    run(scenario())


def test_a_package_lives_over_the_api(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            made = await world.ask(
                "POST", "/v1/packages", {"ref": "world-60", "zones": ["world"], "minutes": 60}
            )
            assert made.status_code == 201, made.text
            assert made.json() == {"ref": "world-60", "name": "", "zones": ["world"], "minutes": 60}
            path = "/v1/packages/world-60"
            changed = await world.ask(
                "PATCH", path, {"name": "The world"}, headers={"If-Match": made.headers["etag"]}
            )
            assert (changed.status_code, changed.json()["name"]) == (200, "The world")
            given = await world.ask("PATCH", "/v1/accounts/acme", {"packages": ["world-60"]})
            assert given.status_code == 200, given.text
            used = await world.ask("DELETE", path)
            assert (used.status_code, used.json()["code"]) == (409, "in_use")
            assert "acme" in used.text
            assert (await world.ask("PATCH", "/v1/accounts/acme", {"packages": None})).status_code == 200
            assert (await world.ask("DELETE", path)).status_code == 204
            assert (await world.ask("GET", path)).status_code == 404

    run(scenario())


def test_a_post_with_a_key_is_done_once(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            key = {"Idempotency-Key": "k1"}
            body = {"prefix": "+49", "per_minute": "0.05"}
            first = await world.ask("POST", "/v1/rates", body, headers=key)
            again = await world.ask("POST", "/v1/rates", body, headers=key)
            assert (first.status_code, again.status_code) == (201, 201)
            assert again.json() == first.json()
            assert again.headers["idempotency-replayed"] == "true"
            other = await world.ask("POST", "/v1/rates", body)
            assert (other.status_code, other.json()["code"]) == (409, "already_there")

    run(scenario())


REFUSED = [
    ("POST", "/v1/rates", {"prefix": "44", "per_minute": "0.05"}, "/prefix"),
    ("POST", "/v1/rates", {"prefix": "+44"}, "/per_minute"),
    ("POST", "/v1/rates", {"prefix": "+49", "per_minute": 0.05}, "/per_minute"),
    ("POST", "/v1/rates", {"prefix": "+49", "per_minute": "-1"}, "/per_minute"),
    ("POST", "/v1/rates", {"prefix": "+49", "per_minute": "1", "currency": "USD"}, "/currency"),
    ("POST", "/v1/rates", {"prefix": "+49", "per_minute": "1", "valid_from": "2026-13-01"}, "/valid_from"),
    ("PATCH", "/v1/rates/standard/%2B44", {"prefix": "+49"}, "/prefix"),
    ("PATCH", "/v1/rates/standard/%2B44", {"per_minute": None}, "/per_minute"),
    ("POST", "/v1/packages", {"ref": "p", "zones": []}, "/zones"),
    ("PATCH", "/v1/packages/europe-600", {"zones": None}, "/zones"),
    ("PATCH", "/v1/packages/europe-600", {"minutes": -1}, "/minutes"),
]


@pytest.mark.parametrize(("method", "path", "body", "pointer"), REFUSED)
def test_what_is_no_tariff_names_the_field(
    method: str, path: str, body: dict[str, Any], pointer: str, database_url: str
) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            before = world.directory.version
            answer = await world.ask(method, path, body)
            assert answer.status_code == 422, answer.text
            assert answer.json()["errors"][0]["pointer"] == pointer
            assert not await world.cache.refresh()
            assert world.directory.version == before

    run(scenario())


def test_a_manager_reads_what_concerns_its_account(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            manager = await world.token(Scope.MANAGER, "acme")
            rates = (await world.ask("GET", "/v1/rates", token=manager)).json()["items"]
            assert [rate["ref"] for rate in rates] == ["standard/+44"]
            other = (await world.ask("GET", "/v1/rates?table=zetas", token=manager)).json()["items"]
            assert other == []
            assert (await world.ask("GET", "/v1/rates/zetas/%2B44", token=manager)).status_code == 404
            packages = (await world.ask("GET", "/v1/packages", token=manager)).json()["items"]
            assert [package["ref"] for package in packages] == ["europe-600"]
            assert (await world.ask("GET", "/v1/packages/zetas-600", token=manager)).status_code == 404
            every = (await world.ask("GET", "/v1/rates")).json()["items"]
            assert [rate["ref"] for rate in every] == ["standard/+44", "zetas/+44"]
            one = (await world.ask("GET", "/v1/rates?table=zetas&prefix=%2B44")).json()["items"]
            assert [rate["ref"] for rate in one] == ["zetas/+44"]

    run(scenario())


def test_rates_come_in_pages(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            for code in ("+31", "+32", "+49"):
                await world.ask("POST", "/v1/rates", {"prefix": code, "per_minute": "1"})
            refs: list[str] = []
            cursor = ""
            while True:
                page = (await world.ask("GET", f"/v1/rates?table=standard&limit=3&cursor={cursor}")).json()
                refs += [rate["prefix"] for rate in page["items"]]
                cursor = page["next_cursor"]
                if not cursor:
                    break
            assert refs == ["+31", "+32", "+44", "+49"]

    run(scenario())
