"""Who may import whom, what pure modules must not touch, and that nothing is reached by tests alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache

import pytest

from tests.architecture.source import PACKAGES, STANDARD_LIBRARY, Module, modules, resolve

MAY_IMPORT = {
    "callcontrol": {"dialplan", "gateway", "mediarelay", "numbering", "config"},
    "dialplan": {"numbering"},
    "gateway": {"numbering", "config"},
    "numbering": {"config"},
    "mediarelay": {"config"},
    "config": set[str](),
}

# Pure modules: a value in, a value out.  Everything that waits, reads a clock, throws dice or knows the
# configuration is an argument.
PURE = (
    "callcontrol.sip",
    "callcontrol.sip.*",
    "callcontrol.b2bua",
    "callcontrol.b2bua.*",
    "callcontrol.cdr",
    "callcontrol.cdr.records",
    "callcontrol.ids",
    "callcontrol.masking",
    "callcontrol.pricing.rates",
    "callcontrol.pricing.zones",
    "callcontrol.usage.charges",
    "callcontrol.usage.counters",
    "callcontrol.usage.month",
    "callcontrol.usage.slots",
    "callcontrol.histogram",
    "callcontrol.cli.ladder",
    "callcontrol.workers.compass",
    "callcontrol.workers.frames",
    "dialplan",
    "dialplan.*",
    "numbering.classes",
    "numbering.e164",
    "numbering.national",
    "numbering.planfile",
    "numbering.plans",
    "numbering.hours",
    "numbering.company_numbers",
    "numbering.models",
    "numbering.store_forms",
    "numbering.money",
    "numbering.directory",
    "numbering.countries",
    "numbering.lifecycle",
    "numbering.policy",
    "numbering.porting",
    "numbering.refusal",
    "numbering.residence",
    "numbering.rio",
    "numbering.search",
    "numbering.vip",
    "gateway.trunk",
    "gateway.routes",
    "gateway.health",
    "gateway.profile",
    "gateway.registration",
    "gateway.gateway_numbers",
    "gateway.leases",
    "gateway.lease_table",
    "mediarelay.sdp",
    "mediarelay.body",
    "mediarelay.continuity",
    "mediarelay.bridging",
    "mediarelay.veil",
    "mediarelay.rewrite",
    "mediarelay.bencode",
)
IMPURE = ("dialplan.loader", "dialplan.store")
FORBIDDEN_IN_PURE = {
    "aiosqlite",
    "asyncio",
    "asyncpg",
    "config",
    "logging",
    "multiprocessing",
    "os",
    "pydantic",
    "random",
    "redis",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "sqlalchemy",
    "ssl",
    "structlog",
    "subprocess",
    "sys",
    "threading",
    "time",
    "uuid",
    "uvloop",
}
CLOCK_CALLS = {"now", "utcnow", "today"}

# Beyond the standard library and itself, what the two compiled packages may use.
SIP_MAY_USE = {"callcontrol.sip"}
B2BUA_MAY_USE = {
    "callcontrol.b2bua",
    "callcontrol.cdr.records",
    "callcontrol.sip",
    "dialplan",
    "mediarelay",
    "msgspec",
}

SQL_MODULES = (
    "*.tables",
    "*.store",
    "*.store_*",
    "config.database",
    "config.migrations",
    "config.migrations.*",
)
# Module -> why it may know SQLAlchemy although it is neither tables nor store.
SQL_EXCEPTIONS = {
    "callcontrol.wiring.http": "is handed the engine for the stores of the API",
    "callcontrol.wiring.stores": "is handed the engine for the stores of the node",
    "callcontrol.demo": "is handed the engine of the demo's database",
}

ENTRIES = ("callcontrol.cli", "callcontrol.serving")
# Module -> why no import leads to it.
LOADED_OTHERWISE = {"config.migrations*": "Alembic loads its scripts by their place in the folder"}


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def pure_modules() -> list[Module]:
    return [each for name, each in modules().items() if matches(name, PURE) and not matches(name, IMPURE)]


def distinct(module: Module) -> Iterator[tuple[str, int]]:
    seen = set()
    for name, line in module.imports:
        if name and (name, line) not in seen:
            seen.add((name, line))
            yield name, line


def within(name: str, allowed: set[str]) -> bool:
    return any(name == each or name.startswith(each + ".") for each in allowed)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_they_may(package: str) -> None:
    wrong = []
    for module in modules().values():
        if module.name.split(".")[0] != package:
            continue
        for name, line in distinct(module):
            top = name.split(".")[0]
            if top in ("tests", "loadtests") or (
                top in PACKAGES and top != package and top not in MAY_IMPORT[package]
            ):
                wrong.append(f"{module.where}:{line} imports {name}")
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("package", "allowed"), [("callcontrol.sip", SIP_MAY_USE), ("callcontrol.b2bua", B2BUA_MAY_USE)]
)
def test_the_compiled_core_stands_on_little(package: str, allowed: set[str]) -> None:
    wrong = []
    for module in modules().values():
        if not within(module.name, {package}):
            continue
        for name, line in distinct(module):
            ours = resolve(name)
            target = ours if ours is not None else name
            if target.split(".")[0] in STANDARD_LIBRARY or within(target, allowed):
                continue
            if ours is not None and any(each.startswith(ours + ".") for each in allowed):
                continue  # "from mediarelay import sdp": the package's own __init__
            wrong.append(f"{module.where}:{line} imports {name}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_pure_modules_touch_no_world() -> None:
    wrong = [
        f"{module.where}:{line} imports {name}"
        for module in pure_modules()
        for name, line in distinct(module)
        if name.split(".")[0] in FORBIDDEN_IN_PURE
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_pure_modules_import_pure_modules_only() -> None:
    """What a pure module pulls in runs with it, so it must be pure too (or an empty package)."""
    pure = {module.name for module in pure_modules()}
    wrong = [
        f"{module.where}:{line} imports {name}"
        for module in pure_modules()
        for name, line in distinct(module)
        if (ours := resolve(name)) is not None and ours not in pure and modules()[ours].imports
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_pure_modules_read_no_clock() -> None:
    wrong = [
        f"{module.where}:{node.lineno} asks for the time"
        for module in pure_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCK_CALLS
        and ast.unparse(node.func.value).rpartition(".")[2] in ("datetime", "date")
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_pure_modules_are_there() -> None:
    """A pattern that matches nothing guards nothing; those of rooms that come later are named here."""
    later = {"mediarelay.rewrite", "mediarelay.bencode"}
    idle = {pattern for pattern in PURE if not any(fnmatchcase(name, pattern) for name in modules())}
    assert idle <= later


def test_sql_stays_in_tables_and_stores() -> None:
    wrong = [
        f"{module.where}:{line} imports {name}"
        for module in modules().values()
        for name, line in distinct(module)
        if name.split(".")[0] in ("sqlalchemy", "alembic", "aiosqlite", "asyncpg")
        and not matches(module.name, SQL_MODULES)
        and module.name not in SQL_EXCEPTIONS
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_web_framework_stays_at_the_edge() -> None:
    edge = ("callcontrol.api", "callcontrol.api.*", "callcontrol.cli", "callcontrol.cli.*")
    wrong = [
        f"{module.where}:{line} imports {name}"
        for module in modules().values()
        for name, line in distinct(module)
        if name.split(".")[0] in ("fastapi", "starlette", "uvicorn", "typer", "rich", "click")
        and not matches(module.name, edge)
    ]
    assert not wrong, "\n" + "\n".join(wrong)


@cache
def reached() -> set[str]:
    """Modules that the program itself gets to from its two entries."""
    found: set[str] = set()
    waiting = [name for name in modules() if name in ENTRIES or name.startswith("callcontrol.cli.")]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        package = name.rpartition(".")[0]
        if package:
            waiting.append(package)
        waiting.extend(
            each for imported, _ in modules()[name].imports if (each := resolve(imported)) is not None
        )
    return found


def test_both_entries_are_there() -> None:
    assert set(ENTRIES) <= set(modules())


def test_no_module_is_reached_by_tests_alone() -> None:
    unreached = [
        module.where
        for name, module in modules().items()
        if name not in reached() and not matches(name, tuple(LOADED_OTHERWISE)) and module.tree.body[1:]
    ]
    assert not unreached, "\n" + "\n".join(unreached)
