"""The record of changes: who did what, over the API and the command line, with no secret in it."""

from __future__ import annotations

import pytest

from callcontrol.access.audit import Author
from callcontrol.access.tokens import Scope, id_of
from callcontrol.provisioning import Document, apply
from tests.api.worlds import WORLD
from tests.support.acme import PLANS
from tests.support.api import api_world, run


@pytest.mark.rule("OPS-03")
def test_every_change_is_recorded(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            manager = await world.token(Scope.MANAGER, "acme")
            await world.ask("POST", "/v1/users", {"ref": "cid", "account": "acme"}, manager)
            await world.ask("PATCH", "/v1/devices/ana-phone", {"sip_password": "new-secret"}, manager)
            await world.ask("DELETE", "/v1/users/cid", token=manager)
            await world.ask("POST", "/v1/devices/zoe-phone/sign-out")
            await world.ask("POST", "/v1/drain")
            await apply(
                [
                    Document(
                        "f",
                        '[[user]]\nref = "zoe"\naccount = "zeta"\nname = "Zoe"\nemail = "zoe@zeta.example"\n',
                    )
                ],
                world.stores.provisioning,
                plans=PLANS,
                author=Author(actor="cli:root"),
            )
            items = (await world.ask("GET", "/v1/audit")).json()["items"]
            told = [(each["actor"], each["action"], each["kind"], each["key"]) for each in items]
            assert told == [
                ("cli:root", "change", "user", "zoe"),
                ("operator", "drain", "node", "node-1"),
                ("operator", "sign_out", "device", "zoe-phone"),
                ("manager:acme", "remove", "user", "cid"),
                ("manager:acme", "change", "device", "ana-phone"),
                ("manager:acme", "create", "user", "cid"),
                ("test", "create", "token", id_of(manager)),
            ]
            assert items[0]["detail"] == "name: Zoe Example -> Zoe"
            assert items[4]["detail"] == "sip_password: (secret) -> (another)"
            assert items[4]["token"] == id_of(manager)
            assert "new-secret" not in str(items)
            # a manager reads its own account's, and nothing else
            own = (await world.ask("GET", "/v1/audit", token=manager)).json()["items"]
            assert {each["account"] for each in own} == {"acme"}
            assert len(own) == 4
            some = (await world.ask("GET", "/v1/audit?kind=user&key=cid")).json()["items"]
            assert [each["action"] for each in some] == ["remove", "create"]
            page = (await world.ask("GET", "/v1/audit?limit=3")).json()
            rest = (await world.ask("GET", f"/v1/audit?limit=9&cursor={page['next_cursor']}")).json()
            assert page["items"] + rest["items"] == items

    run(scenario())


def test_what_is_refused_or_only_tried_is_not_recorded(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            await world.ask("POST", "/v1/users", {"ref": "ana", "account": "acme"})
            await world.ask("POST", "/v1/users", {"ref": "x", "account": "nowhere"})
            await world.ask("POST", "/v1/provisioning?dry_run=true", {"account": [{"ref": "psi"}]})
            await world.ask("PATCH", "/v1/users/ana", {"name": "Ana Example"})  # as it is
            assert (await world.ask("GET", "/v1/audit")).json()["items"] == []

    run(scenario())


def test_old_entries_are_forgotten(database_url: str) -> None:
    async def scenario() -> None:
        async with api_world(database_url, WORLD) as world:
            await world.ask("POST", "/v1/users", {"ref": "cid", "account": "acme"})
            world.clock.now += 399 * 86_400.0
            await world.upkeep.round(purge=True)
            assert len((await world.ask("GET", "/v1/audit")).json()["items"]) == 1
            world.clock.now += 2 * 86_400.0
            await world.upkeep.round(purge=True)
            assert (await world.ask("GET", "/v1/audit")).json()["items"] == []

    run(scenario())
