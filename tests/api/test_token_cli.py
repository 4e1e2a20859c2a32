"""``cloudline token`` against a running API."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from callcontrol.cli import main
from tests.api.worlds import WORLD
from tests.support.api import TOKEN, ApiWorld, running
from tests.support.schema import sqlite_url


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    async def nothing(_world: ApiWorld) -> None:
        return None

    monkeypatch.setenv("CLOUDLINE_TOKEN", TOKEN)
    with running(sqlite_url(tmp_path), WORLD, nothing) as (address, _):
        monkeypatch.setenv("CLOUDLINE_URL", address)
        yield address


def status(url: str, path: str, token: str) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    found = connection.getresponse().status
    connection.close()
    return found


def test_a_token_from_its_making_to_its_end(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    def cloudline(*arguments: str) -> str:
        assert main(["token", *arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out.strip()

    word = cloudline("create", "manager", "acme", "--label", "the portal", "--days", "30")
    assert status(url, "/v1/users/ana", word) == 200
    assert status(url, "/v1/users/zoe", word) == 404
    (listed,) = json.loads(cloudline("list", "--json"))
    assert (listed["scope"], listed["subject"], listed["label"]) == ("manager", "acme", "the portal")
    assert listed["expires_at"] is not None
    assert listed["created_by"] == "operator"
    table = cloudline("list")
    assert "the portal" in table
    assert word not in table
    new = cloudline("rotate", listed["id"], "--grace", "3600")
    assert status(url, "/v1/users/ana", word) == status(url, "/v1/users/ana", new) == 200
    for each in json.loads(cloudline("list", "--json")):
        assert each["id"] in cloudline("revoke", each["id"])
    assert status(url, "/v1/users/ana", word) == status(url, "/v1/users/ana", new) == 401


@pytest.mark.usefixtures("url")
def test_what_cannot_be_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "create", "king"]) == 1
    assert "is none of operator, manager, user, device" in capsys.readouterr().err
    assert main(["token", "create", "user", "nobody"]) == 1
    assert "there is no user 'nobody'" in capsys.readouterr().err
    assert main(["token", "revoke", "none"]) == 1
    assert "No such token" in capsys.readouterr().err
