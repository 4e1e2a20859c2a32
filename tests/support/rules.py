"""Which rule of the product is proved by which test: ``make rules`` (``python -m tests.support.rules``).

Reads the ids from ``docs/rules.md``, collects the tests without running them, and prints for each rule the
tests that carry ``@pytest.mark.rule("<id>")``; then the rules that have none.  ``--json`` prints the same as
JSON; ``--missing`` exits 1 if a rule has no test.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import sys
from functools import cache
from pathlib import Path

import pytest

RULES_PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "rules.md"
_LINE = re.compile(r"^\| (?P<id>[A-Z]{2,4}-\d\d) \| (?P<text>.+?) \|")


@cache
def known_rules() -> dict[str, str]:
    """Rule id -> its line in ``docs/rules.md``, in the order of the page."""
    rules: dict[str, str] = {}
    for line in RULES_PAGE.read_text(encoding="utf-8").splitlines():
        if found := _LINE.match(line):
            if found["id"] in rules:
                raise ValueError(f"{RULES_PAGE.name}: {found['id']} is listed twice")
            rules[found["id"]] = found["text"].strip()
    return rules


class RuleCollector:
    """A pytest plugin that notes rule marks while tests are collected."""

    def __init__(self) -> None:
        self.tests: dict[str, list[str]] = {}
        self.collected = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            self.collected += 1
            for mark in item.iter_markers("rule"):
                for rule in mark.args:
                    node = item.nodeid.split("[", 1)[0]  # one line for all parameters of a test
                    names = self.tests.setdefault(str(rule), [])
                    if node not in names:
                        names.append(node)


def collect(paths: list[str]) -> RuleCollector:
    """Collect the tests below ``paths`` without running them; RuntimeError when pytest cannot."""
    collector = RuleCollector()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *paths], plugins=[collector])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest could not collect the tests:\n{output.getvalue()}")
    return collector


def report(collector: RuleCollector) -> str:
    """The report as text: every rule with its tests, then the rules without one."""
    lines = []
    missing = []
    for rule, text in known_rules().items():
        tests = collector.tests.get(rule, [])
        if not tests:
            missing.append(rule)
            continue
        lines.append(f"{rule}  {text}")
        lines.extend(f"    {test}" for test in tests)
    lines.append("")
    lines.append(f"Rules with a test: {len(known_rules()) - len(missing)} of {len(known_rules())}")
    if missing:
        lines.append(f"No test yet: {', '.join(missing)}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Which product rule is proved by which test.")
    parser.add_argument("--json", action="store_true", help="print one JSON object: rule id -> tests")
    parser.add_argument("--missing", action="store_true", help="exit 1 if a rule has no test")
    parser.add_argument("paths", nargs="*", default=["tests"], help="where to look (default: tests)")
    arguments = parser.parse_args(argv)
    try:
        collector = collect(arguments.paths)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({rule: collector.tests.get(rule, []) for rule in known_rules()}, indent=2))
    else:
        print(report(collector))
    return int(arguments.missing and any(rule not in collector.tests for rule in known_rules()))


if __name__ == "__main__":
    sys.exit(main())
