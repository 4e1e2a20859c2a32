"""The chain of migrations builds the schema that the table classes describe, on both databases."""

from __future__ import annotations

import asyncio

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from callcontrol.access.tables import TokenRow
from callcontrol.cdr.tables import CallRow
from callcontrol.pricing.tables import RateRow
from config.database import MIGRATIONS, Base, alembic_config, create_engine, newest, upgrade
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
