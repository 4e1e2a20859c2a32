"""docs/sip-conformance.md names tests: all of them exist, and every row says what it is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "sip-conformance.md"
TEST = re.compile(r"`([a-z0-9_/]+\.py)::(test_\w+)`")
LADDER = re.compile(r"`ladder:([a-z0-9_]+)`")
VERDICTS = {"yes", "no", "differs", "not yet"}


def rows() -> list[list[str]]:
    """Cells of every row of every table that has a verdict."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and cells[1] in VERDICTS:
            found.append(cells)
    return found


def test_every_test_that_is_named_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = set(TEST.findall(text))
    assert len(named) > 100
    missing = []
    for path, name in sorted(named):
        file = ROOT / "tests" / path
        code = file.read_text(encoding="utf-8") if file.is_file() else ""
        if re.search(rf"^(async )?def {name}\(", code, re.MULTILINE) is None:
            missing.append(f"{path}::{name}")
    assert not missing


def test_every_ladder_that_is_named_exists() -> None:
    named = set(LADDER.findall(PAGE.read_text(encoding="utf-8")))
    assert len(named) > 50
    folder = ROOT / "tests" / "scenarios" / "ladders"
    assert not [name for name in sorted(named) if not (folder / f"{name}.txt").is_file()]


def test_every_claim_has_a_test() -> None:
    """What we say that we do, or do otherwise, somebody has to prove; what we leave out needs no proof."""
    unproved = [cells for cells in rows() if cells[1] in ("yes", "differs") and "`" not in cells[3]]
    assert len(rows()) > 100
    assert not unproved


def test_no_table_row_is_without_a_verdict() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = [
        line
        for line in lines
        if line.startswith("|") and not re.match(r"\|(---|\s*(section|RFC)\s*\|)", line)
    ]
    assert len(table) == len(rows())
