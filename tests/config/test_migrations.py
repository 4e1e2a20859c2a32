"""The chain of migrations builds the schema that the table classes describe, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from callcontrol.access.tables import TokenRow
from callcontrol.cdr.tables import CallRow
from callcontrol.pricing.tables import RateRow
from config.database import (
    MIGRATIONS,
    Base,
    DatabaseUnavailable,
    alembic_config,
    create_engine,
    newest,
    upgrade,
)
from config.sections import DatabaseSettings
from gateway.tables import TrunkRow
from numbering.tables import NumberRow

PACKAGES = (CallRow, TrunkRow, NumberRow, RateRow, TokenRow)
"""One table of each package: importing it registers the others with ``Base``."""


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))


def test_upgrade_from_empty_gives_the_described_schema(blank_database_url: str) -> None:
    async def run() -> list[object]:
        engine = create_engine(DatabaseSettings(url=blank_database_url))
        try:
            await upgrade(engine)
            async with engine.connect() as connection:
                return await connection.run_sync(differences)
        finally:
            await engine.dispose()

    assert asyncio.run(run()) == []


def test_upgrade_again_changes_nothing_and_keeps_rows(blank_database_url: str) -> None:
    async def run() -> int:
        engine = create_engine(DatabaseSettings(url=blank_database_url))
        try:
            await upgrade(engine)
            async with engine.begin() as connection:
                await connection.execute(text("UPDATE directory_state SET revision = 7"))
            await upgrade(engine)
            async with engine.connect() as connection:
                return int(
                    (await connection.execute(text("SELECT revision FROM directory_state"))).scalar_one()
                )
        finally:
            await engine.dispose()

    assert asyncio.run(run()) == 7


def test_nodes_that_start_together_upgrade_once(blank_database_url: str) -> None:
    async def run() -> int:
        engines = [create_engine(DatabaseSettings(url=blank_database_url)) for _ in range(3)]
        try:
            await asyncio.gather(*(upgrade(engine) for engine in engines))
            async with engines[0].connect() as connection:
                return int(
                    (await connection.execute(text("SELECT count(*) FROM directory_state"))).scalar_one()
                )
        finally:
            for engine in engines:
                await engine.dispose()

    assert asyncio.run(run()) == 1


def test_the_life_of_numbers_can_be_taken_back_and_brought_again(blank_database_url: str) -> None:
    """Down to the first tables, with a number that was there before; then up again."""

    def walk(connection: Connection) -> None:
        config = alembic_config(connection)
        command.downgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO numbers (e164, state, category, calls, hide, ring_seconds, block)"
                " VALUES ('+33639981001', 'active', 'standard', true, false, 0, '[]')"
            )
        )
        command.upgrade(config, "head")

    async def run() -> tuple[list[object], tuple[object, ...]]:
        engine = create_engine(DatabaseSettings(url=blank_database_url))
        try:
            await upgrade(engine)
            async with engine.begin() as connection:
                await connection.run_sync(walk)
            async with engine.connect() as connection:
                row = (
                    await connection.execute(text("SELECT version, expires_at, kept_for FROM numbers"))
                ).one()
                return await connection.run_sync(differences), tuple(row)
        finally:
            await engine.dispose()

    found, row = asyncio.run(run())
    assert found == []
    assert row == (1, 0.0, None)


def test_every_package_takes_part() -> None:
    assert {row.__tablename__ for row in PACKAGES} <= set(Base.metadata.tables)


def test_there_is_one_chain() -> None:
    script = ScriptDirectory(str(MIGRATIONS))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1
    assert script.get_heads() == [newest()], "files are named after their revisions"


async def opened(url: str) -> None:
    engine = create_engine(DatabaseSettings(url=url))
    try:
        await upgrade(engine)
    finally:
        await engine.dispose()


def test_a_schema_of_a_newer_version_is_left_alone_and_named(blank_database_url: str) -> None:
    """As after going back to an older version."""

    async def run() -> None:
        await opened(blank_database_url)
        engine = create_engine(DatabaseSettings(url=blank_database_url))
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = 'of tomorrow'"))
        await engine.dispose()
        with pytest.raises(DatabaseUnavailable, match=r"another version of Cloudline.*of tomorrow"):
            await opened(blank_database_url)

    asyncio.run(run())


@pytest.mark.parametrize("content", [b"no database " * 400, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        asyncio.run(opened(f"sqlite+aiosqlite:///{tmp_path / 'file'}"))


def test_a_database_that_is_not_there_is_refused_in_a_sentence(blank_postgres_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="nosuch"):
        asyncio.run(opened(blank_postgres_url.rpartition("/")[0] + "/nosuch"))


def test_a_user_who_may_not_come_in_is_refused_in_a_sentence(blank_postgres_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="nobody"):
        asyncio.run(opened(blank_postgres_url.replace("//cloudline@", "//nobody@")))
