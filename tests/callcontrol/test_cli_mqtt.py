"""``cloudline mqtt access``: the files of a Mosquitto, from the devices in the database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callcontrol.cli import main
from numbering import mqtt_password
from tests.support.acme import ACME

PUSHED = ACME.replace('sip_password = "secret"', 'sip_password = "secret"\nmqtt_password = "push"')


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cloudline.toml"
    path.write_text(
        f'[database]\nurl = "sqlite+aiosqlite:///{tmp_path}/t.db"\n'
        '[mqtt]\nurl = "mqtt://cloudline:server%2Fsecret@127.0.0.1:1883"\n'
    )
    return path


def apply(config: Path, text: str) -> None:
    document = config.parent / "acme.toml"
    document.write_text(text)
    assert main(["apply", "--config", str(config), str(document)]) == 0


def passwords(folder: Path) -> dict[str, str]:
    lines = (folder / "cloudline.passwd").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def test_files_name_the_devices_and_the_server(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apply(config, PUSHED)
    folder = config.parent / "mosquitto"
    capsys.readouterr()
    assert main(["mqtt", "access", "--config", str(config), "--out", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(folder), "devices": 1, "server": "cloudline"}
    found = passwords(folder)
    assert set(found) == {"ana-phone", "cloudline"}, "ben's desktop has no password there, so no access"
    assert mqtt_password.matches("push", found["ana-phone"])
    assert mqtt_password.matches("server/secret", found["cloudline"])
    assert f"acl_file {folder}/cloudline.acl" in (folder / "cloudline.conf").read_text()
    assert (folder / "cloudline.passwd").stat().st_mode & 0o007 == 0, "nobody else reads it"


def test_users_of_the_operators_own_are_kept(config: Path) -> None:
    apply(config, PUSHED)
    folder = config.parent / "mosquitto"
    folder.mkdir()
    (folder / "local.passwd").write_text("crm:$7$101$AAAA$BBBB\n")
    (folder / "local.acl").write_text("user crm\ntopic read cloudline/v1/events/calls/acme\n")
    for _ in range(2):
        assert main(["mqtt", "access", "--config", str(config), "--out", str(folder)]) == 0
    assert passwords(folder)["crm"] == "$7$101$AAAA$BBBB"
    assert (folder / "cloudline.acl").read_text().count("user crm") == 1


def test_a_password_that_is_not_written_stays_and_one_that_is_emptied_goes(config: Path) -> None:
    folder = config.parent / "mosquitto"
    for text, expected in ((PUSHED, True), (ACME, True), (PUSHED.replace('"push"', '""'), False)):
        apply(config, text)
        assert main(["mqtt", "access", "--config", str(config), "--out", str(folder)]) == 0
        assert ("ana-phone" in passwords(folder)) is expected


def test_export_shows_the_hash_only_with_secrets(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apply(config, PUSHED)
    capsys.readouterr()
    assert main(["export", "--config", str(config)]) == 0
    assert "mqtt_password" not in capsys.readouterr().out
    assert main(["export", "--secrets", "--config", str(config)]) == 0
    exported = capsys.readouterr().out
    assert '"push"' not in exported
    apply(config, exported)
    capsys.readouterr()
    assert main(["export", "--secrets", "--config", str(config)]) == 0
    assert capsys.readouterr().out == exported, "what was exported is what apply accepts"


def test_a_folder_that_cannot_be_written_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apply(config, PUSHED)
    blocked = config.parent / "file"
    blocked.write_text("")
    assert main(["mqtt", "access", "--config", str(config), "--out", str(blocked / "x")]) == 1
    assert str(blocked / "x") in capsys.readouterr().err
