"""The examples of docs/explain.md are what the commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explaining.examples import PAGE, examples, printed


@pytest.mark.rule("OPS-02")
def test_the_page_shows_what_the_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = PAGE.read_text(encoding="utf-8")
    shown = [output for _, output in examples(text)]
    assert len(shown) == 5
    assert printed(text, tmp_path) == shown, "python -m tests.explaining.examples writes them anew"
