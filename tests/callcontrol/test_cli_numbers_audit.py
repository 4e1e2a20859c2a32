"""Steps of numbers done on the command line stand in ``/v1/audit`` like those of the API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from callcontrol.access.store import SqlAuditStore
from callcontrol.access.tokens import Scope
from config.database import DatabaseUnavailable
from numbering.rio import check_characters
from tests.callcontrol.test_cli_numbers import LINE, facts, good, own_world, run, wished
from tests.support.api import api_world
from tests.support.api import run as run_async
from tests.support.inventory import ONE, THREE, TWO
from tests.support.schema import sqlite_url

__all__ = ["own_world", "run"]

Run = Callable[..., tuple[int, str, str]]


def audit(folder: Path, account: str = "") -> list[dict[str, Any]]:
    """What ``/v1/audit`` shows over the same database: to an operator, or to the manager of an account."""

    async def scenario() -> Any:
        async with api_world(sqlite_url(folder, "n.db")) as world:
            token = await world.token(Scope.MANAGER, account) if account else None
            given = {"token": token} if token else {}
            return (await world.ask("GET", "/v1/audit?limit=100", **given)).json()["items"]

    found: list[dict[str, Any]] = run_async(scenario())
    return [each for each in found if each["kind"] in ("number", "port", "message", "user", "account")]


@pytest.mark.rule("NUM-04", "OPS-03")
def test_every_step_on_the_command_line_is_recorded(run: Run, own_world: Path) -> None:
    good(run("number", "reserve", "ana", "+33 6 39 98 12 01"))
    good(run("number", "assign", ONE, "ana"))
    good(run("number", "suspend", ONE, "--reason", "unpaid"))
    good(run("number", "resume", ONE))
    good(run("number", "reassign", ONE, "ben"))
    good(run("number", "renew", ONE, "2099-01-31"))
    good(run("number", "rio", ONE))
    good(run("number", "release", ONE, "--reason", "moves away"))
    good(run("number", "take-back", ONE, "ben"))
    good(run("number", "reserve", "zoe", TWO))
    good(run("number", "unreserve", TWO))
    good(run("number", "withdraw", THREE))
    good(run("number", "suspend", "--user", "zoe", "--reason", "fraud"))
    items = audit(own_world)
    assert {each["actor"][:3] for each in items} == {"cli"}
    told = [(each["action"], each["kind"], each["key"], each["account"], each["detail"]) for each in items]
    done = told[: next(place for place, each in enumerate(told) if each[0] == "create")]
    assert done == [
        ("suspend", "user", "zoe", "zoe", "fraud"),
        ("withdraw", "number", THREE, "", ""),
        ("unreserve", "number", TWO, "", ""),
        ("reserve", "number", TWO, "zoe", "1 numbers for zoe"),
        ("take_back", "number", ONE, "acme", ""),
        ("release", "number", ONE, "acme", "moves away"),
        ("rio", "number", ONE, "acme", ""),
        ("renew", "number", ONE, "acme", ""),
        ("reassign", "number", ONE, "acme", "to ben"),
        ("resume", "number", ONE, "acme", "resumed"),
        ("suspend", "number", ONE, "acme", "unpaid"),
        ("assign", "number", ONE, "acme", "to ana"),
        ("reserve", "number", ONE, "acme", "1 numbers for ana"),
        ("add", "number", ONE, "", "3 numbers"),
    ]
    # a manager reads what concerns its account, and nothing of others
    own = audit(own_world, "acme")
    assert {each["account"] for each in own} == {"acme"}
    assert TWO not in {each["key"] for each in own}


@pytest.mark.rule("NUM-10", "OPS-03")
def test_ports_and_messages_on_the_command_line_are_recorded(run: Run, own_world: Path) -> None:
    rio = "04P000000" + check_characters("04", "P", "000000", "0639981299")
    port = facts(run("number", "port-in", "request", LINE, "ana", rio, wished(), "--json"))["port"]
    message = str(facts(run("number", "messages", "--json"))[0]["id"])
    good(run("number", "sent", message))
    assert run("number", "port-in", "reply", LINE, "who is this?")[0] == 1
    good(run("number", "port-in", "reply", LINE, "Oui"))
    good(run("number", "port-in", "schedule", port))
    good(run("number", "port-in", "cancel", port))
    told = [(each["action"], each["kind"], each["key"], each["account"]) for each in audit(own_world)][:5]
    assert told == [
        ("cancel", "port", port, "acme"),
        ("schedule", "port", port, "acme"),
        ("reply", "port", port, "acme"),
        ("sent", "message", message, ""),
        ("request", "port", LINE, "acme"),
    ]
    assert rio not in str(audit(own_world))


def test_looking_is_not_recorded(run: Run, own_world: Path) -> None:
    before = audit(own_world)
    good(run("number", "search"))
    good(run("number", "show", ONE))
    good(run("number", "history", ONE))
    assert run("number", "release", ONE)[0] == 1
    assert audit(own_world) == before


def test_what_is_done_stands_when_it_cannot_be_recorded(
    run: Run, own_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: SqlAuditStore, entries: Any) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(SqlAuditStore, "write", away)
    code, out, err = run("number", "assign", ONE, "ana")
    assert code == 0
    assert "held by ana" in out
    assert "done, but not in the record of changes: gone" in err
