"""Engines of the two databases that we know, and what both must promise: whole transactions and clear
failures.

SQLite is the embedded default (one node, a file, WAL), PostgreSQL the real one.  Stores work through
`reading` and `writing`, which hide the differences and turn every sign of an absent database into
`DatabaseUnavailable`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, MetaData, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry

from config.sections import DatabaseSettings

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS: Final = Path(__file__).parent / "migrations"

# One key for the advisory lock of our migrations; any constant does, as long as all nodes use the same.
_MIGRATION_LOCK: Final = 0x636C6F7564

# SQLSTATE classes of a server that is starting, stopping, full or overloaded, and of broken connections.
_OUTAGE: Final = ("08", "53", "57")
# ... and of one that does not let us in, or has no such database: an operator's mistake, or a change of password.
_REFUSED: Final = ("28", "3D")


Also = Callable[[AsyncConnection], Awaitable[None]]
"""What is written along with something else, in its transaction."""
_also: ContextVar[tuple[asyncio.Task[object] | None, Also] | None] = ContextVar("also", default=None)


class DatabaseUnavailable(Exception):
    """The database cannot be reached, or gave up in the middle; nothing was written."""


class Base(DeclarativeBase):
    """Base of the table classes of all packages: one schema, one chain of migrations."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def create_engine(settings: DatabaseSettings) -> AsyncEngine:
    """An engine for the URL of the settings; nothing is opened yet."""
    if settings.url.startswith("sqlite"):
        engine = create_async_engine(settings.url, connect_args={"timeout": settings.timeout_seconds})
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    return create_async_engine(
        settings.url,
        pool_size=settings.pool,
        max_overflow=0,
        pool_timeout=settings.timeout_seconds,
        # A connection that died while it was idle is noticed here, not by the first statement of a
        # transaction.
        pool_pre_ping=True,
        connect_args={"timeout": settings.timeout_seconds, "command_timeout": settings.timeout_seconds},
    )


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver's own idea of when to begin is switched off; `_begin_sqlite` says it.
    connection.isolation_level = None
    cursor = connection.cursor()
    # FULL, since call records leave their journal once the database says that they are committed.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns into a writer fails at once when another one writes; IMMEDIATE waits
    # its turn.
    options = connection.get_execution_options()
    if not options.get("cloudline_bare", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("cloudline_write", False) else "BEGIN")


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection that sees one moment of the database until the block ends.

    Raises `DatabaseUnavailable`.
    """
    async with _mapped(), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine, *, commit: bool = True) -> AsyncIterator[AsyncConnection]:
    """A transaction: all of the block is done, or none of it; none of it either without ``commit`` (a dry
    run).  What `along` has announced belongs to the block.

    Raises `DatabaseUnavailable`.
    """
    async with _mapped(), engine.connect() as connection:
        connection = await connection.execution_options(cloudline_write=True)
        async with connection.begin() as transaction:
            yield connection
            if not commit:
                await transaction.rollback()
                return
            announced = _also.get()
            if announced is not None and announced[0] is asyncio.current_task():
                await announced[1](connection)


@contextmanager
def along(also: Also) -> Iterator[None]:
    """Whatever this task writes within the block, ``also`` is written in each of its transactions.

    So that one can tell afterwards whether anything was written, even if the process has died meanwhile.  Tasks that
    the block starts are not meant.
    """
    token = _also.set((asyncio.current_task(), also))
    try:
        yield
    finally:
        _also.reset(token)


@asynccontextmanager
async def _mapped() -> AsyncIterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout, OSError, TimeoutError) as error:
        raise DatabaseUnavailable(_plain(error)) from error
    except DBAPIError as error:
        state = sqlstate(error)
        if error.connection_invalidated or state.startswith((*_OUTAGE, *_REFUSED)) or _is_no_database(error):
            raise DatabaseUnavailable(_plain(error)) from error
        raise


def _is_no_database(error: DBAPIError) -> bool:
    """The file is of another program, or damaged; SQLite has no class of its own for that."""
    return type(error.orig) is sqlite3.DatabaseError


def sqlstate(error: DBAPIError) -> str:
    """The five letters of SQLSTATE; empty from SQLite, which has none."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def _plain(error: Exception) -> str:
    """The driver's own sentence, without the statement and its values."""
    origin = getattr(error, "orig", None) or error
    return f"{type(origin).__name__}: {origin}" if str(origin) else type(origin).__name__


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the schema to the newest revision; several nodes may start at the same time.

    Raises `DatabaseUnavailable`.
    """
    if engine.dialect.name == "sqlite":
        await _use_wal(engine)
    async with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        await connection.run_sync(_upgrade)


async def _use_wal(engine: AsyncEngine, patience_s: float = 10.0) -> None:
    """Let readers and the writer work side by side; the file remembers it.

    The switch needs the file for itself and does not wait its turn, unlike a transaction.
    """
    async with _mapped(), engine.connect() as connection:
        connection = await connection.execution_options(cloudline_bare=True)
        waited = 0.0
        while True:
            try:
                await connection.execute(text("PRAGMA journal_mode = WAL"))
                return
            except OperationalError:
                if waited >= patience_s:
                    raise
            await asyncio.sleep(0.05)
            waited += 0.05


def _upgrade(connection: Connection) -> None:
    if _revision(connection) == newest():
        return
    from alembic import command  # late: it is big, and most starts find nothing to do
    from alembic.util import CommandError

    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        raise DatabaseUnavailable(f"its schema is of another version of Cloudline: {error}") from error


def newest() -> str:
    """The last revision of the chain of migrations, after which their files are named."""
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def _revision(connection: Connection) -> str:
    """The revision that the database has; empty where there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def alembic_config(connection: Connection) -> Config:
    """Configuration of Alembic without an ini file; the connection is the caller's, and so is the commit."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    attributes: dict[str, Any] = config.attributes
    attributes["connection"] = connection
    return config
