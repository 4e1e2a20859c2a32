"""A running demo node says why a call went where it went, what would happen, and what a change would have done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from loadtests import proc
from tests.e2e.test_demo import Demo

pytestmark = pytest.mark.e2e

ANA = "+33639981001"
OUTSIDE = "+33199001234"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo node that has had one call."""
    made = Demo(tmp_path_factory.mktemp("explained"))
    try:
        assert proc.wait_until(lambda: "demo call" in made.text or made.process.poll() is not None, 20)
        assert made.process.poll() is None, made.text
        done = made.command("demo", "call")
        assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        proc.stop(made.process)


def said(demo: Demo, *arguments: str) -> str:
    done = demo.command(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def decisions(text: str) -> list[str]:
    """Lines of the story that fell at the beginning."""
    return [line for line in text.splitlines() if line.startswith("  +0 s ")]


@pytest.mark.rule("OPS-02")
def test_an_explained_call_is_told_as_the_real_one(demo: Demo) -> None:
    real = said(demo, "calls", "show", "last")
    explained = said(demo, "explain", OUTSIDE, ANA, "--answer", "ana-demo@2")
    assert "ring ana-demo for 30 s" in real
    assert "ring ana-demo for 30 s" in explained
    assert decisions(real)
    assert decisions(explained) == decisions(real)
    assert "answered after 2 s" in explained


@pytest.mark.rule("OPS-02")
def test_support_and_customers_read_sentences(demo: Demo) -> None:
    assert "ana-demo rings for 30 seconds." in said(demo, "calls", "show", "last", "--for", "support")
    told = said(demo, "calls", "show", "last", "--for", "customer")
    assert "One device of yours rings." in told
    assert "ana" not in told
    assert OUTSIDE not in told


@pytest.mark.rule("OPS-02")
def test_a_change_is_tried_on_the_calls_of_the_past(demo: Demo) -> None:
    (demo.folder / "change.toml").write_text(f'[[number]]\ne164 = "{ANA}"\nuser = "ana"\ncalls = false\n')

    def impact() -> Any:
        out = said(demo, "apply", "change.toml", "--dry-run", "--impact", "10", "--json")
        return json.loads(out)["impact"]

    assert proc.wait_until(lambda: impact()["calls"] == 1, 10)  # records are gathered before they are written
    (call,) = impact()["elsewhere"]
    assert call["before"]["steps"] == ["ring ana-demo for 30 s"]
    assert call["after"]["steps"] == ["refuse: number_off"]
    assert said(demo, "explain", OUTSIDE, ANA).count("refuse") == 0
