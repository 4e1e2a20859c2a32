"""What a configuration file that is read again changes at once, and what waits for the next start (OPS-03)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.reloading import LIVE, Source, _flat, compared
from config.settings import Settings, SettingsError, load

pytestmark = pytest.mark.rule("OPS-03")


def written(text: str, folder: Path) -> Path:
    path = folder / "cloudline.toml"
    path.write_text(text)
    return path


def test_live_settings_are_settings() -> None:
    assert set(_flat(Settings())) >= LIVE


def test_the_page_for_operators_names_the_live_settings() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
    told = page.partition("A reload takes over these settings")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+\.\w+)`", told)) == LIVE


def test_nothing_has_changed() -> None:
    reread = compared(Settings(), Settings(), Settings())
    assert (reread.settings, reread.changes, reread.needs_restart) == (Settings(), (), ())


def test_live_settings_are_taken_over_and_others_are_named(tmp_path: Path) -> None:
    before = load(written("[calls]\nring_seconds = 20\n", tmp_path), {})
    source = Source(tmp_path / "cloudline.toml", {}, before)
    written("[calls]\nring_seconds = 25\n[http]\nburst = 7\n[sip.timers]\nt1 = 0.25\n", tmp_path)
    reread = source.read(before)
    assert reread.changes == ("calls.ring_seconds",)
    assert reread.needs_restart == ("http.burst", "sip.timers.t1")
    assert reread.settings.calls.ring_seconds == 25
    assert reread.settings.http.burst == before.http.burst, "not before the next start"
    again = source.read(reread.settings)
    assert (again.changes, again.needs_restart) == ((), ("http.burst", "sip.timers.t1"))


def test_what_the_node_has_put_in_for_itself_is_kept_and_no_difference(tmp_path: Path) -> None:
    """A port of its own choice, the name of a worker."""
    before = load(written("", tmp_path), {})
    running = before.model_copy(update={"node": before.node.model_copy(update={"id": "node.2"})})
    written('[log]\nlevel = "debug"\n', tmp_path)
    reread = Source(tmp_path / "cloudline.toml", {}, before).read(running)
    assert (reread.changes, reread.needs_restart) == (("log.level",), ())
    assert reread.settings.node.id == "node.2"


def test_the_environment_still_wins(tmp_path: Path) -> None:
    environment = {"CLOUDLINE_CALLS__RING_SECONDS": "11"}
    before = load(written("", tmp_path), environment)
    written("[calls]\nring_seconds = 25\n", tmp_path)
    assert Source(tmp_path / "cloudline.toml", environment, before).read(before).changes == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[calls]\nring_seconds = 0\n", r"cloudline.toml:2: calls.ring_seconds: "),
        ("[foo]\n", r"cloudline.toml:1: foo: unknown key"),
        ("[[[", r"cloudline.toml:1: not valid TOML"),
        (None, r"cloudline.toml: cannot be read"),
    ],
)
def test_a_bad_file_is_refused_with_place_and_key(tmp_path: Path, text: str | None, said: str) -> None:
    before = load(written("", tmp_path), {})
    source = Source(tmp_path / "cloudline.toml", {}, before)
    if text is None:
        (tmp_path / "cloudline.toml").unlink()
    else:
        written(text, tmp_path)
    with pytest.raises(SettingsError, match=said):
        source.read(before)
