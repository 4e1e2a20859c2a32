"""How the command line finds a running node on the same machine, and the token that opens its API.

The token is a random word in a file next to the database, mode 0600: whoever may read the database may run
the node.  A running node leaves a note (address, token file, process id) in a folder that only its own user
may enter, so that ``cloudline calls`` works in a second terminal without options.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

MIN_TOKEN_LENGTH = 16


class AccessError(Exception):
    """The token or the note cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNote:
    """Where a running node is."""

    url: str
    """``http://127.0.0.1:8080``."""
    token: str = field(repr=False)
    node: str = ""
    pid: int = 0
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Facts of the demo: SIP address, accounts; empty otherwise."""


def token_path(database_url: str) -> Path:
    """The token file that belongs to a database: beside an SQLite file, else in the working directory."""
    parts = urlsplit(database_url)
    if parts.scheme.startswith("sqlite") and parts.path.lstrip("/") not in ("", ":memory:"):
        # sqlite:///relative.db has one slash before the path, sqlite:////absolute.db two
        return Path(parts.path[1:]).with_suffix(".token")
    return Path("cloudline.token")


def ensure_token(path: Path) -> str:
    """The token in ``path``, which is made with mode 0600 if it is not there yet.  Raises AccessError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_token(path)
    except OSError as error:
        raise AccessError(f"{path}: cannot write the operator's token: {error.strerror}") from None
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token


def read_token(path: Path) -> str:
    """The token in ``path``; AccessError if it is missing, readable by others, or too short to be one."""
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise AccessError(f"{path}: cannot read the operator's token: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise AccessError(f"{path}: others may read the operator's token; say: chmod 600 {path}")
    if len(token) < MIN_TOKEN_LENGTH:
        raise AccessError(f"{path}: no token in it; remove the file and start the node again")
    return token


def notes_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the notes, mode 0700: in the user's runtime folder, else in the temporary one.

    Raises AccessError if somebody else owns it.
    """
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base) / "cloudline" if base else Path(tempfile.gettempdir()) / f"cloudline-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise AccessError(f"{folder}: {error.strerror}") from None
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o077:
        raise AccessError(f"{folder}: not a private folder of this user; remove it")
    return folder


def leave_note(note: NodeNote, folder: Path | None = None) -> Path:
    """Write the note of this process; returns its file, which the node removes when it stops."""
    folder = notes_folder() if folder is None else folder
    path = folder / f"node-{note.pid or os.getpid()}.json"
    content = {
        "url": note.url,
        "token": note.token,
        "node": note.node,
        "pid": note.pid or os.getpid(),
        "extra": dict(note.extra),
    }
    scratch = path.with_suffix(".new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    scratch.replace(path)
    return path


def find_notes(folder: Path | None = None) -> list[NodeNote]:
    """Notes of the nodes that run now, the newest first; notes of the dead are removed."""
    folder = notes_folder() if folder is None else folder
    found: list[tuple[float, NodeNote]] = []
    for path in folder.glob("node-*.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            note = NodeNote(
                url=str(content["url"]),
                token=str(content["token"]),
                node=str(content["node"]),
                pid=int(content["pid"]),
                extra={str(key): str(value) for key, value in content["extra"].items()},
            )
            written = path.stat().st_mtime
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # half removed, or not ours
        if _alive(note.pid):
            found.append((written, note))
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return [note for _, note in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
