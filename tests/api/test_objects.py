"""Accounts, users, devices, numbers, trunks and gateway numbers: made, changed, listed, removed; by one set of rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callcontrol.access.tokens import Scope
from callcontrol.api import bodies
from callcontrol.api.incoming_bodies import NewGreeting
from callcontrol.api.routes import trunks as trunk_routes
from callcontrol.api.routes.trunks import TrunkSetup
from callcontrol.provisioning.documents import KINDS, Entry
from callcontrol.provisioning.objects import _read
from callcontrol.provisioning.reading import Reader
from config.toml_lines import line_index
from gateway.trunk import Trunk
from numbering.models import Device
from tests.api.worlds import WORLD
from tests.support.acme import PLANS
from tests.support.api import api_world, run
from tests.support.schema import sqlite_url

BODIES = {
    "account": bodies.NewAccount,
    "user": bodies.NewUser,
    "device": bodies.NewDevice,
    "number": bodies.NewNumber,
    "greeting": NewGreeting,
    "trunk": trunk_routes.NewTrunk,
    "gateway_number": trunk_routes.NewGatewayNumber,
}
# Key of a document -> why no request has it.
ONLY_DOCUMENTS = {
    "users": "a mistake that documents are told about",
    "state": "numbers pass from state to state by requests of their own",
    "member": "members with what is set for each can be written as members, too",
}
BULK_ALONE = {"rate", "package"}
"""Kinds that come in price lists: POST /v1/provisioning."""


@pytest.mark.parametrize("kind", sorted(set(KINDS) - BULK_ALONE))
def test_bodies_have_the_fields_of_documents(kind: str) -> None:
    problems: list[Any] = []
    reader = Reader(
        Entry(kind, {"user": "x", "register": True, "caller_format": "e164"}, "f", (kind, 0), line_index("")),
        problems,
    )
    _read(reader, PLANS)
    fields = BODIES[kind].model_fields
    names = {field.alias or name for name, field in fields.items()}
    assert names == set(reader._known) - set(ONLY_DOCUMENTS)


def test_a_trunk_is_shown_whole_but_for_its_password() -> None:
    assert {*TrunkSetup.__dataclass_fields__, "password"} == set(Trunk.__dataclass_fields__)


def test_an_object_from_its_making_to_its_end(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            body = {
                "ref": "ben-phone",
                "user": "ben",
                "sim": "+33 6 39 98 00 02",
                "sip_username": "ben-phone",
            }
            made = await world.ask("POST", "/v1/devices", {**body, "sip_password": "hush-hush"})
            assert made.status_code == 201, made.text
            assert made.headers["location"] == "/v1/devices/ben-phone"
            assert made.json()["sim"] == "+33639980002"
            assert "hush" not in made.text
            # this node sees it at once, so that a call or a REGISTER that comes now does too
            known = world.directory.device_by_username("ben-phone")
            assert known is not None
            assert known.sip_password == "hush-hush"

            tag = made.headers["etag"]
            path = "/v1/devices/ben-phone"
            changed = await world.ask(
                "PATCH", path, {"kind": "phone", "sip_username": "bp"}, headers={"If-Match": tag}
            )
            assert changed.status_code == 200, changed.text
            assert changed.headers["etag"] != tag
            stale = await world.ask("PATCH", path, {"kind": "phone"}, headers={"If-Match": tag})
            assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
            # what the patch does not name stays, a secret too; null puts back the default
            device = world.directory.device("ben-phone")
            assert device == Device(
                ref="ben-phone", user="ben", sim="+33639980002", sip_username="bp", sip_password="hush-hush"
            )
            bare = await world.ask("PATCH", path, {"sim": None, "sip_username": None, "sip_password": None})
            assert bare.json()["sim"] == bare.json()["sip_username"] == ""

            assert (await world.ask("DELETE", path, headers={"If-Match": tag})).status_code == 412
            assert (await world.ask("DELETE", path)).status_code == 204
            assert (await world.ask("GET", path)).status_code == 404
            assert (await world.ask("DELETE", path)).status_code == 404

    run(scenario())


def test_a_tag_saves_the_body(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            first = await world.ask("GET", "/v1/users/ana")
            again = await world.ask("GET", "/v1/users/ana", headers={"If-None-Match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == first.headers["etag"]
            other = await world.ask("GET", "/v1/users/ben", headers={"If-None-Match": first.headers["etag"]})
            assert other.status_code == 200

    run(scenario())


@pytest.mark.rule("DEV-03")
def test_another_sim_is_to_be_verified_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            user = await world.token(Scope.USER, "ana")
            path = "/v1/devices/ana-phone"
            assert (await world.ask("GET", path)).json()["sim_verified"] is True
            renamed = await world.ask("PATCH", path, {"sip_password": "another"}, user)
            assert renamed.json()["sim_verified"] is True
            other = await world.ask("PATCH", path, {"sim": "+33639980003"}, user)
            assert other.json() == {**renamed.json(), "sim": "+33639980003", "sim_verified": False}
            own_word = await world.ask("PATCH", path, {"sim_verified": True}, user)
            assert (own_word.status_code, own_word.json()["code"]) == (403, "field_forbidden")

    run(scenario())


REFUSED = [
    ("POST", "/v1/users", {"ref": "x", "account": "acne"}, "/account", ""),
    ("POST", "/v1/users", {"ref": "x"}, "/account", "add it"),
    ("POST", "/v1/users", {"ref": "x", "account": "acme", "nmae": "X"}, "/nmae", "leave it out"),
    ("POST", "/v1/devices", {"ref": "x", "user": "ana", "sim": "12"}, "/sim", ""),
    ("POST", "/v1/devices", {"ref": "x", "user": "ana", "sim": "+33639980009"}, "/sim", ""),
    ("POST", "/v1/devices", {"ref": "x", "user": "ana", "sip_username": "zoe-phone"}, "/sip_username", ""),
    ("POST", "/v1/devices", {"ref": "x", "user": "ana", "kind": "fridge"}, "/kind", "phone"),
    ("POST", "/v1/numbers", {"e164": "+33639981003", "user": "nobody"}, "/user", ""),
    ("PATCH", "/v1/numbers/%2B33639981001", {"ring_seconds": 601}, "/ring_seconds", ""),
    ("PATCH", "/v1/numbers/%2B33639981001", {"block": ["+33"]}, "/block", "E.164"),
    ("PATCH", "/v1/accounts/acme", {"plan": "golden"}, "/plan", "advanced"),
    ("PATCH", "/v1/accounts/acme", {"manager": "zoe"}, "/manager", ""),
    ("POST", "/v1/trunks", {"ref": "t"}, "", "accept_from"),
    ("POST", "/v1/trunks", {"ref": "t", "accept_from": ["127.0.0.1/33"]}, "/accept_from", "192.0.2.0/24"),
    ("POST", "/v1/gateway-numbers", {"e164": "+33639981001", "trunk": "carrier-a"}, "/e164", ""),
]


@pytest.mark.parametrize(("method", "path", "body", "pointer", "remedy"), REFUSED)
def test_a_refusal_names_the_field_and_what_to_change(
    method: str, path: str, body: dict[str, Any], pointer: str, remedy: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            before = world.directory.version
            answer = await world.ask(method, path, body)
            assert answer.status_code == 422, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert problem["code"] in ("invalid_object", "invalid_body")
            first = problem["errors"][0]
            assert first["pointer"] == pointer
            assert first["detail"]
            assert remedy in first["remedy"]
            assert not await world.cache.refresh()
            assert world.directory.version == before

    run(scenario())


def test_a_rule_says_nothing_about_others(tmp_path: Path) -> None:
    """That a user name is taken cannot be hidden; by whom can."""

    async def scenario() -> None:
        async with api_world(sqlite_url(tmp_path), WORLD) as world:
            user = await world.token(Scope.USER, "ana")
            for body in (
                {"ref": "x", "user": "ana", "sip_username": "zoe-phone"},
                {"ref": "x", "user": "ana", "sim": "+33639980009"},
            ):
                told = await world.ask("POST", "/v1/devices", body)
                assert "device zoe-phone" in told.text
                veiled = await world.ask("POST", "/v1/devices", body, user)
                assert veiled.status_code == 422
                assert "device zoe-phone" not in veiled.text
                assert "somebody else's" in veiled.text

    run(scenario())


def test_what_is_needed_is_not_removed(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            for path, names in (
                ("/v1/users/ana", "ana-phone"),
                ("/v1/accounts/acme", "user"),
                ("/v1/trunks/carrier-a", "+33199000001"),
            ):
                answer = await world.ask("DELETE", path)
                assert (answer.status_code, answer.json()["code"]) == (409, "in_use"), path
                assert names in answer.text

    run(scenario())


def test_lists_come_in_pages_that_stay_whole(database_url: str) -> None:
    """What comes or goes between two pages is neither doubled nor makes others vanish."""

    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            for n in range(10):
                body = {"ref": f"u{n}", "account": "acme"}
                assert (await world.ask("POST", "/v1/users", body)).status_code == 201
            first = (await world.ask("GET", "/v1/users?limit=5")).json()
            refs = [user["ref"] for user in first["items"]]
            assert refs == ["ana", "ben", "u0", "u1", "u2"]
            await world.ask("POST", "/v1/users", {"ref": "aaa", "account": "acme"})
            await world.ask("DELETE", "/v1/users/u2")
            second = (await world.ask("GET", f"/v1/users?limit=5&cursor={first['next_cursor']}")).json()
            third = (await world.ask("GET", f"/v1/users?limit=5&cursor={second['next_cursor']}")).json()
            refs += [user["ref"] for user in second["items"] + third["items"]]
            assert refs == ["ana", "ben", *(f"u{n}" for n in range(10)), "zoe"]
            assert third["next_cursor"] == ""
            # every list takes a cursor, and none takes that of another kind of list
            for path in ("/v1/calls", "/v1/audit", "/v1/cdrs"):
                answer = await world.ask("GET", f"{path}?cursor={first['next_cursor']}")
                assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor"), path

    run(scenario())


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/v1/users", ["ana", "ben"]),
        ("/v1/users?account=zeta", []),
        ("/v1/devices", ["ana-phone", "ben-desk"]),
        ("/v1/devices?user=ben", ["ben-desk"]),
        ("/v1/devices?user=zoe", []),
        ("/v1/numbers", ["+33639981001", "+33639981002", "+33639987000"]),
        ("/v1/greetings?account=zeta", []),
        ("/v1/numbers?user=zoe", []),
        ("/v1/numbers?state=quarantined", []),
        ("/v1/accounts", ["acme"]),
    ],
)
def test_a_manager_lists_its_own(path: str, keys: list[str], database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            manager = await world.token(Scope.MANAGER, "acme")
            items = (await world.ask("GET", path, token=manager)).json()["items"]
            assert [item.get("ref") or item.get("e164") for item in items] == keys

    run(scenario())


@pytest.mark.rule("NUM-05", "NUM-03", "NUM-09")
def test_a_number_lives_over_the_api(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            manager = await world.token(Scope.MANAGER, "acme")
            stranger = await world.token(Scope.MANAGER, "zeta")
            number = "/v1/numbers/%2B33639981050"
            stock = await world.ask("POST", "/v1/stock", {"numbers": ["+33639981050"]})
            assert stock.status_code == 201
            found = (await world.ask("GET", "/v1/available-numbers?country=FR", token=manager)).json()[
                "items"
            ]
            assert [each["e164"] for each in found] == ["+33639981050"]
            assert found[0]["capabilities"] == ["calls", "messages", "voicemail"]
            given = await world.ask("POST", f"{number}/assign", {"user": "ben"}, manager)
            assert (given.status_code, given.json()["state"]) == (200, "active")
            assert given.json()["capabilities"] == ["calls", "messages", "voicemail"]
            taken = await world.ask("POST", f"{number}/assign", {"user": "zoe"}, stranger)
            assert taken.status_code == 404
            held = await world.ask("POST", f"{number}/assign", {"user": "zoe"})
            assert (held.status_code, held.json()["code"]) == (409, "held")
            passed = await world.ask("POST", f"{number}/reassign", {"user": "ana"}, manager)
            assert passed.json()["user"] == "ana"
            stale = await world.ask(
                "POST", f"{number}/release", token=manager, headers={"If-Match": given.headers["etag"]}
            )
            assert stale.status_code == 412
            gone = await world.ask("POST", f"{number}/release", {"reason": "not needed"}, manager)
            assert gone.json()["state"] == "quarantined"
            assert gone.json()["until"] > gone.json().get("since", "")
            # who had it sees it and takes it back; for others it is not there
            assert "+33639981050" in (await world.ask("GET", "/v1/numbers", token=manager)).text
            assert (await world.ask("GET", number, token=stranger)).status_code == 404
            back = await world.ask("POST", f"{number}/take-back", {"user": "ana"}, manager)
            assert back.json()["state"] == "active", back.text
            actions = [
                each["action"] for each in (await world.ask("GET", f"{number}/history")).json()["items"]
            ]
            assert actions == ["take_back", "release", "reassign", "assign", "add"]

    run(scenario())
