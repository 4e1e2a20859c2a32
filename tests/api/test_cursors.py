"""Cursors that no page gave out: they come from anybody who has a token, and go into questions to the database."""

from __future__ import annotations

import base64

from tests.api.worlds import WORLD
from tests.support.api import ApiWorld, api_world, run

PLACES = (
    '["²"]',
    '["\\u0000"]',
    '["9223372036854775808"]',
    "[9223372036854775808]",
    "[-9223372036854775809]",
    f"[{'9' * 290}]",
    "[true]",
    "[null]",
    "[]",
    '[1e300, "x"]',
    '[-1e300, "x"]',
    '[1.5, "\\u0000"]',
    "{}",
)


def cursor(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def lists_of(world: ApiWorld) -> list[str]:
    """Paths of all lists that come in pages."""
    return [
        path.replace("{e164}", "%2B33639981001")
        for path, methods in world.app.openapi()["paths"].items()
        if any(each["name"] == "cursor" for each in methods.get("get", {}).get("parameters", ()))
    ]


def test_a_cursor_that_no_page_gave_out_is_refused_or_leads_nowhere(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            paths = lists_of(world)
            assert len(paths) > 15
            for path in paths:
                for place in PLACES:
                    answer = await world.ask("GET", f"{path}?cursor={cursor(place)}")
                    assert answer.status_code in (200, 422), (path, place)
                    if answer.status_code == 422:
                        assert answer.json()["code"] in ("invalid_cursor", "invalid_request"), (path, place)

    run(scenario())


def test_the_history_of_a_number_comes_in_pages(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            history = "/v1/numbers/%2B33639981001/history"
            for action, reason in (("suspend", "unpaid"), ("resume", "paid")):
                path = f"/v1/numbers/%2B33639981001/{action}"
                assert (await world.ask("POST", path, {"reason": reason})).status_code == 200
            whole = (await world.ask("GET", history)).json()["items"]
            found, at = [], ""
            for _ in whole:
                page = (await world.ask("GET", f"{history}?limit=1&cursor={at}")).json()
                found += page["items"]
                at = page["next_cursor"]
            assert (found, at) == (whole, "")
            assert len(found) > 1

    run(scenario())
