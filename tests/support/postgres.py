"""A throw-away PostgreSQL cluster for tests: one per run, in a temporary folder, on a port that was free.

Take the fixture ``postgres`` for the cluster itself, or ``database_url`` for a database of each kind that we
support (the test then runs once per kind): it has our schema and nothing in it.  A conftest gets them by ``from
tests.support.postgres import …``; the cluster is shared however many do.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import ports
from tests.conftest import find_program
from tests.support import schema

_PROGRAMS = ("initdb", "postgres", "pg_isready", "psql")

# The server ends (fast shutdown) when this shell's input does, so also when the test run is killed.
_KEEPER = '"$@" & server=$!; cat; kill -INT $server; wait $server'


class Cluster:
    """A running cluster; `stop` and `start` play an outage of the database."""

    def __init__(self, folder: Path, programs: dict[str, str]) -> None:
        self._folder = folder
        self._programs = programs
        self._names = itertools.count(1)
        self._template: str | None = None
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = ports.free_port()
        # PostgreSQL refuses to run as root; the user of the Debian package is there for it.
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as_user:
            shutil.chown(folder, "postgres")
        options = ["-U", "cloudline", "-A", "trust", "-E", "UTF8", "--no-sync"]
        self._run([*self._as_user, programs["initdb"], "-D", str(self._data), *options])

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command} failed:\n{done.stdout.decode(errors='replace')}")

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        command = [self._programs["postgres"], "-D", str(self._data), "-p", str(self.port)]
        for option in (
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "max_connections=60",
            "shared_buffers=16MB",
        ):
            command += ["-c", option]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user, "sh", "-c", _KEEPER, "keeper", *command],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"postgres did not start:\n{(self._folder / 'log').read_text()}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        asked = subprocess.run(
            [self._programs["pg_isready"], "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            timeout=30,
            check=False,
        )
        return asked.returncode == 0

    def stop(self) -> None:
        """Stop, cutting every connection."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        self._process.wait(30)
        self._process = None

    def create_database(self, *, blank: bool = False) -> str:
        """A new database with our schema, or without anything; returns its URL."""
        if not blank and self._template is None:
            self._template = self.create_database(blank=True)
            schema.migrate(self._template)
        name = f"test_{next(self._names)}"
        template = "template1" if blank else _name(str(self._template))
        self._sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return f"postgresql+asyncpg://cloudline@127.0.0.1:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        self._sql(f"DROP DATABASE IF EXISTS {_name(url)} WITH (FORCE)")

    def _sql(self, statement: str) -> None:
        base = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "cloudline", "-d", "postgres", "-qX"]
        self._run([self._programs["psql"], *base, "-v", "ON_ERROR_STOP=1", "-c", statement])


def _name(url: str) -> str:
    return url.rpartition("/")[2]


class _Shared:
    """The one cluster of the run, kept while any fixture wants it."""

    cluster: Cluster | None = None
    folder: Path | None = None
    users = 0


def _acquire() -> Cluster:
    if _Shared.cluster is None:
        programs = {name: find_program(name) for name in _PROGRAMS}
        missing = [name for name, path in programs.items() if path is None]
        if missing:
            pytest.fail(f"missing program: {', '.join(missing)} (make setup installs it)", pytrace=False)
        folder = Path(tempfile.mkdtemp(prefix="cloudline-postgres-"))
        cluster = Cluster(folder, {name: path for name, path in programs.items() if path is not None})
        _start(cluster)
        _Shared.cluster, _Shared.folder = cluster, folder
    _Shared.users += 1
    return _Shared.cluster


def _start(cluster: Cluster) -> None:
    # Between finding a free port and listening on it another program may have taken it.
    for attempt in range(3):
        try:
            cluster.start()
            return
        except RuntimeError:
            if attempt == 2:
                raise
            cluster.port = ports.free_port()
            time.sleep(0.1)


def _release() -> None:
    _Shared.users -= 1
    if _Shared.users == 0 and _Shared.cluster is not None and _Shared.folder is not None:
        _Shared.cluster.stop()
        shutil.rmtree(_Shared.folder, ignore_errors=True)
        _Shared.cluster = _Shared.folder = None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """The running cluster."""
    cluster = _acquire()
    try:
        yield cluster
    finally:
        _release()


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[str]:
    """URL of a PostgreSQL database with our schema."""
    yield from _one(postgres, blank=False)


@pytest.fixture
def blank_postgres_url(postgres: Cluster) -> Iterator[str]:
    """URL of a PostgreSQL database with nothing in it."""
    yield from _one(postgres, blank=True)


def _one(postgres: Cluster, *, blank: bool) -> Iterator[str]:
    url = postgres.create_database(blank=blank)
    try:
        yield url
    finally:
        postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with our schema, once for each kind."""
    if request.param == "sqlite":
        return schema.sqlite_url(tmp_path)
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with nothing in it, once for each kind."""
    if request.param == "sqlite":
        return schema.blank_sqlite_url(tmp_path / "cloudline.db")
    return str(request.getfixturevalue("blank_postgres_url"))
