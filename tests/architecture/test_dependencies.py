"""What is imported is declared, what is declared is imported, and what was tested is pinned without an address."""

from __future__ import annotations

import re
import tomllib

from tests.architecture.source import PACKAGES, ROOT, STANDARD_LIBRARY, modules

# Module name -> name of the package that brings it, where the two differ.
BROUGHT_BY = {"dns": "dnspython", "paho": "paho-mqtt", "prometheus_client": "prometheus-client"}
# Declared and never imported by name: SQLAlchemy loads its drivers by the URL.
BY_NAME_ONLY = {"aiosqlite", "asyncpg"}


def name_of(requirement: str) -> str:
    """Package name of a requirement, as registries compare names."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def declared() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["project"]["dependencies"])


def imported() -> set[str]:
    tops = {name.split(".")[0] for module in modules().values() for name, _ in module.imports if name}
    return {BROUGHT_BY.get(top, top) for top in tops - STANDARD_LIBRARY - set(PACKAGES)}


def test_what_is_imported_is_declared_and_nothing_else() -> None:
    names = {name_of(each) for each in declared()}
    assert {name_of(each) for each in imported()} - names == set()
    assert names - {name_of(each) for each in imported()} - BY_NAME_ONLY == set()


def test_every_dependency_is_bounded_on_both_sides() -> None:
    assert [each for each in declared() if ">=" not in each or "<" not in each.split(";")[0]] == []


def test_what_was_tested_is_pinned() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!+]*", line)] == []
    pinned = {name_of(line) for line in lines}
    assert {name_of(each) for each in declared()} <= pinned
