"""Databases that have our schema already: copies of one that the migrations made, once per test process.

Tests of the migrations themselves take ``blank_database_url`` of `tests.support.postgres`.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from config.database import create_engine, upgrade
from config.sections import DatabaseSettings


def migrate(url: str) -> None:
    """Bring a database to the newest schema; also where a loop runs already (a fixture of an async test)."""
    with ThreadPoolExecutor(1) as beside:
        beside.submit(asyncio.run, _migrate(url)).result()


async def _migrate(url: str) -> None:
    engine = create_engine(DatabaseSettings(url=url))
    try:
        await upgrade(engine)
    finally:
        await engine.dispose()


@cache
def _template() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    folder = tempfile.TemporaryDirectory(prefix="cloudline-schema-")
    file = Path(folder.name) / "schema.db"
    migrate(blank_sqlite_url(file))
    return folder, file


def sqlite_url(folder: Path, name: str = "cloudline.db") -> str:
    """URL of an SQLite database in the folder; it is made when it is not there."""
    file = folder / name
    if not file.exists():
        shutil.copyfile(_template()[1], file)
    return blank_sqlite_url(file)


def blank_sqlite_url(file: Path) -> str:
    """URL of an SQLite database that nobody has made yet."""
    return f"sqlite+aiosqlite:///{file}"
