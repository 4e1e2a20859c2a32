"""The operator's token and the notes of running nodes: private, and of no use to anybody else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from callcontrol.operator_access import (
    AccessError,
    NodeNote,
    ensure_token,
    find_notes,
    leave_note,
    notes_folder,
    read_token,
    token_path,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite+aiosqlite:///cloudline.db", "cloudline.token"),
        ("sqlite+aiosqlite:////var/lib/cloudline/node.db", "/var/lib/cloudline/node.token"),
        ("sqlite+aiosqlite:///:memory:", "cloudline.token"),
        ("postgresql+asyncpg://cloudline@127.0.0.1/cloudline", "cloudline.token"),
    ],
)
def test_the_token_is_next_to_the_database(url: str, path: str) -> None:
    assert token_path(url) == Path(path)


def test_a_token_is_made_once_and_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        token = ensure_token(tmp_path / "node.token")
    finally:
        os.umask(before)
    assert len(token) >= 32
    assert mode(tmp_path / "node.token") == 0o600
    assert ensure_token(tmp_path / "node.token") == token
    assert read_token(tmp_path / "node.token") == token


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [("x" * 40, 0o644, "chmod 600"), ("", 0o600, "no token in it"), ("short", 0o600, "no token in it")],
)
def test_a_token_that_is_none(tmp_path: Path, content: str, mode: int, complaint: str) -> None:
    path = tmp_path / "node.token"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(AccessError, match=complaint):
        ensure_token(path)


def test_a_token_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="cannot write"):
        ensure_token(tmp_path / "none" / "node.token")
    with pytest.raises(AccessError, match="cannot read"):
        read_token(tmp_path / "node.token")


def test_notes_of_the_living_only(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(30)
    path = leave_note(NodeNote(url="http://127.0.0.1:1", token="t", node="gone", pid=dead.pid), tmp_path)
    leave_note(NodeNote(url="http://127.0.0.1:2", token="t", node="here", extra={"domain": "d"}), tmp_path)
    (tmp_path / "node-9.json").write_text("half a no")
    (tmp_path / "node-8.json").write_text("[]")
    (note,) = find_notes(tmp_path)
    assert note.node == "here"
    assert note.pid == os.getpid()
    assert note.extra == {"domain": "d"}
    assert not path.exists()


def test_a_note_is_private_and_its_token_not_shown(tmp_path: Path) -> None:
    note = NodeNote(url="http://127.0.0.1:2", token="secret-token", node="here")
    assert mode(leave_note(note, tmp_path)) == 0o600
    assert "secret-token" not in repr(note)


def test_the_folder_is_private(tmp_path: Path) -> None:
    folder = notes_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert mode(folder) == 0o700
    folder.chmod(0o777)
    with pytest.raises(AccessError, match="not a private folder"):
        notes_folder({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_link_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "cloudline").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AccessError, match="not a private folder"):
        notes_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
