"""What every test shares: Hypothesis profiles, the marks ``rule`` and ``needs``, programs by name.

Profiles: ``ci`` (the default) is derandomised and bounded, so that a run says the same twice; ``fuzz`` is
for ``make fuzz``, random and long.  Choose with the environment variable ``CLOUDLINE_HYPOTHESIS``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Scenarios assert in functions that are no test modules; a failure is to say what it compared there, too.
pytest.register_assert_rewrite(
    *(f"tests.scenarios.{path.stem}" for path in (ROOT / "tests/scenarios").glob("[a-z]*.py"))
)

settings.register_profile(
    "ci",
    derandomize=True,
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", parent=settings.get_profile("ci"), max_examples=20)
settings.register_profile("fuzz", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("CLOUDLINE_HYPOTHESIS", "ci"))

# Programs that Debian keeps outside PATH of ordinary users, or in a folder with a version.
_EXTRA_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")


def find_program(name: str) -> str | None:
    """Full path of a program, also where Debian hides it (sbin, PostgreSQL's bin folder); else None."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_EXTRA_FOLDERS))
    if found:
        return found
    candidates = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(candidates[0]) if candidates else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A missing program fails the test by its name; it never skips, else a green run would prove nothing."""
    for mark in item.iter_markers("needs"):
        missing = [program for program in mark.args if find_program(str(program)) is None]
        if missing:
            pytest.fail(f"missing program: {', '.join(missing)} (make setup installs it)", pytrace=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first.  A rule id that docs/rules.md does not know is a spelling mistake and would prove nothing."""
    from tests.support.order import rank
    from tests.support.rules import known_rules

    items.sort(key=lambda item: rank(item.nodeid.partition("::")[0]))
    known = known_rules()
    wrong = sorted(
        f"{item.nodeid}: {rule}"
        for item in items
        for mark in item.iter_markers("rule")
        for rule in mark.args
        if rule not in known
    )
    if wrong:
        raise pytest.UsageError("rule ids that docs/rules.md does not list: " + "; ".join(wrong))


@pytest.fixture
def program() -> Callable[[str], str]:
    """A function from a program's name to its path; fails the test by name where it is missing."""

    def find(name: str) -> str:
        path = find_program(name)
        if path is None:
            pytest.fail(f"missing program: {name} (make setup installs it)", pytrace=False)
        return path

    return find


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The top folder of the checkout."""
    return ROOT
