"""House rules that can be read off the files: lengths, words, numbers, habits."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, modules, project_files, text_of
from tests.support.order import LONGEST

MAX_LINES = 450
MAX_LINES_OF_TESTS = 650  # a table of cases is long and still easy to read
# File -> why it is longer.
LONGER: dict[str, str] = {
    "callcontrol/b2bua/transfer.py": "REFER and Replaces with both outcomes; half of it alone makes no sense",
    "callcontrol/sip/usage.py": "the INVITE usage: one object, whose halves are already files of their own",
    "callcontrol/sip/usage_session.py": "re-INVITE, UPDATE and refreshes share the state of one offer",
    "callcontrol/transport/stream.py": "one connection: reading, writing and its deadlines are one invariant",
    "callcontrol/transport/streams.py": "the table of connections and its limits",
    "tests/simulation/talker.py": "one autonomous user agent: what it may say depends on all that it has said",
}

# Written in two halves so that this file does not hold what it forbids.
FORBIDDEN = {
    "a path of somebody's machine": re.compile(r"/wo" r"rk/|/ho" r"me/[a-z]|/ro" r"ot/|/Us" r"ers/"),
    "the host of a package registry": re.compile(
        r"py" r"pi\.org|pythonho" r"sted|deb\.deb" r"ian\.org|npm" r"js\.(?:org|com)|crates" r"\.io|cdn\.",
        re.IGNORECASE,
    ),
    "how the work was organised": re.compile(
        r"\biss" r"ue #?\d|\bbuil" r"der [A-H]\b|\bhel" r"per session|\bsub" r"agent"
    ),
    "a note to come back later": re.compile(r"\bTO" r"DO\b|\bFIX" r"ME\b|\bX" r"XX\b"),
}
# (file, what) -> why it may.
EXCUSED: dict[tuple[str, str], str] = {}

# Ranges that regulators keep for fiction: France (Arcep, one in each zone), United Kingdom mobile, North America
# 555-01xx.
_FRANCE = r"(?:1 ?99 ?00|2 ?61 ?91|3 ?53 ?01|4 ?65 ?71|5 ?36 ?49|6 ?39 ?98)"
FICTION = re.compile(rf"33 ?{_FRANCE}|44 ?7700 ?900|1(?:[2-9]\d\d)?55501|1 555 01")
FICTION_NATIONAL = re.compile(rf"0{_FRANCE}|07700900")
GLOBAL_NUMBER = re.compile(r"(?<![\w.])\+(\d[\d ]{7,17}\d)(?!\w)")
NATIONAL_NUMBER = re.compile(r"(?<![\w.+:/-])(?!0123456789)(0[1-9]\d{8,9})(?![\w.:-])")
# Tests of how numbers are read need numbers of all kinds; the torture messages are quoted from their RFCs.
NUMBERS_ALLOWED = (
    "tests/numbering/",
    "tests/corpus/",
    "numbering/",
    "tests/sip/test_rfc",
    "tests/gateway/test_trunks.py",
    "tests/architecture/test_files.py",
)

TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".toml",
    ".yml",
    ".yaml",
    ".json",
    ".sh",
    ".xml",
    ".cfg",
    ".txt",
    ".service",
    "",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_files() -> list[Path]:
    return [path for path in project_files() if path.suffix in TEXT_SUFFIXES and path.name != "LICENSE"]


def test_files_stay_short() -> None:
    long = {
        name_of(path): lines
        for path in project_files()
        if path.suffix == ".py"
        and (lines := text_of(path).count("\n"))
        > (MAX_LINES_OF_TESTS if name_of(path).startswith("tests/") else MAX_LINES)
    }
    wrong = [f"{name}: {lines} lines" for name, lines in long.items() if name not in LONGER]
    assert not wrong, "\n" + "\n".join(wrong)
    assert all((ROOT / name).is_file() for name in LONGER), "an excuse for a file that is gone"


def test_files_that_are_begun_first_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_words_that_have_no_place_here(what: str) -> None:
    found = [
        f"{name_of(path)}:{number}: {match[0]}"
        for path in text_files()
        if (name_of(path), what) not in EXCUSED
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if (match := FORBIDDEN[what].search(line))
    ]
    assert not found, "\n" + "\n".join(found)


def test_telephone_numbers_are_fictional() -> None:
    found: list[str] = []
    for path in text_files():
        if name_of(path).startswith(NUMBERS_ALLOWED):
            continue
        for number, line in enumerate(text_of(path).splitlines(), 1):
            wrong = [each[0] for each in GLOBAL_NUMBER.finditer(line) if not FICTION.match(each[1])]
            wrong += [
                each[1] for each in NATIONAL_NUMBER.finditer(line) if not FICTION_NATIONAL.match(each[1])
            ]
            found.extend(f"{name_of(path)}:{number}: {each}" for each in wrong)
    assert not found, "\n" + "\n".join(found)


@cache
def python_files(folder: str) -> list[tuple[str, ast.Module]]:
    return [
        (name_of(path), ast.parse(text_of(path)))
        for path in project_files()
        if path.suffix == ".py" and name_of(path).startswith(folder)
    ]


def test_every_module_says_what_it_is() -> None:
    silent = [
        module.where
        for module in modules().values()
        if module.tree.body and not ast.get_docstring(module.tree)
    ]
    assert not silent, "\n" + "\n".join(silent)


def test_no_exception_is_swallowed() -> None:
    """An ``except`` that catches everything must do something with it."""
    found = []
    for module in modules().values():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            if broad and all(isinstance(each, ast.Pass | ast.Continue) for each in node.body):
                found.append(f"{module.where}:{node.lineno}")
    assert not found, "\n" + "\n".join(found)


def test_no_assert_checks_input() -> None:
    """Asserts vanish under -O and give no status, so the core raises; a shell may tell the type checker
    something.
    """
    found = [
        f"{module.where}:{node.lineno}"
        for module in modules().values()
        if module.name.startswith(
            ("callcontrol.sip", "callcontrol.b2bua", "dialplan", "numbering", "gateway")
        )
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assert)
    ]
    assert not found, "\n" + "\n".join(found)


def test_no_test_sleeps_where_a_clock_can_be_turned() -> None:
    """Real time is for tests of real programs."""
    real = (
        "tests/e2e/",
        "tests/observability/",
        "tests/transport/",
        "tests/cdr/",
        "tests/contract/",
        "tests/live/",
        "tests/support/",
        "tests/conftest.py",
    )
    found = [
        f"{name}:{node.lineno}"
        for name, tree in python_files("tests/")
        if not name.startswith(real)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep")
        and node.args
        and ast.unparse(node.args[0]) not in ("0", "0.0")
    ]
    assert not found, "\n" + "\n".join(found)


def test_no_test_is_skipped_for_ever() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in python_files("tests/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("pytest.mark.skip", "pytest.mark.skipif", "pytest.skip")
    ]
    assert not found, "\n" + "\n".join(found)


def test_every_test_can_fail() -> None:
    """A test without assertion, expectation or call of something that checks proves nothing."""
    found = []
    for name, tree in python_files("tests/"):
        if not Path(name).name.startswith("test_"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                acts = [
                    each for each in ast.walk(node) if isinstance(each, ast.Assert | ast.Call | ast.Raise)
                ]
                if not acts:
                    found.append(f"{name}:{node.lineno}")
    assert not found, "\n" + "\n".join(found)


def test_no_group_is_possessive() -> None:
    """Python up to 3.11.4 (Debian 12 has 3.11.2) matches ``(...)*+`` wrongly; of single characters it is right."""
    found = [
        f"{module.where}:{node.lineno}"
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str | bytes)
        and re.search(r"(?<!\\)\)(?:[*+?]|\{[\d,]+\})\+", _as_text(node.value))
        and "(?:" in _as_text(node.value)
    ]
    assert not found, "\n" + "\n".join(found)


def _as_text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def test_every_package_has_a_page() -> None:
    """What it owns, its words, its invariants, what state it has and whether that survives a restart."""
    rooms = ["callcontrol", "callcontrol/sip", "callcontrol/transport", "callcontrol/b2bua"]
    rooms += ["config", "dialplan", "gateway", "mediarelay", "numbering", "loadtests"]
    missing = [room for room in rooms if not (ROOT / room / "README.md").is_file()]
    assert not missing, "\n" + "\n".join(missing)
