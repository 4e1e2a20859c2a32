"""The report of the load generator, and what its commands refuse; real runs are in e2e/test_demo.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from callcontrol.cli import main
from callcontrol.loadtest.report import Report, percentile


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (95, 95), (99, 99), (100, 100), (0.1, 1)])
def test_percentiles_of_a_hundred(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], percent) == value


def test_of_one_value_all_percentiles_are_that() -> None:
    assert {percentile([3.0], percent) for percent in (1, 50, 100)} == {3.0}


REPORT = Report(
    kind="calls",
    asked=10,
    completed=7,
    failures={"INVITE: 480 Temporarily Unavailable": 3},
    seconds=2.5,
    asked_rate=5,
    rate=5.1,
    retransmissions=2,
    delays_s={"ringing": [0.002, 0.001], "answered": []},
)


def test_the_report_says_what_failed_and_how_long_it_took() -> None:
    assert REPORT.lines() == [
        "10 calls in 2.5 s, 5.1 a second (5 asked for): 7 completed, 3 failed, 2 messages sent again",
        "  3 failed: INVITE: 480 Temporarily Unavailable",
        "  ringing: p50 1.0 ms, p95 2.0 ms, p99 2.0 ms, max 2.0 ms",
        "  answered: never happened",
    ]


def test_the_report_for_programs_has_milliseconds() -> None:
    view = REPORT.view()
    assert view["failed"] == 3
    assert view["delays_ms"] == {
        "ringing": {"p50": 1.0, "p95": 2.0, "p99": 2.0, "p100": 2.0},
        "answered": {},
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["calls"], "no node runs here"),
        (["register"], "no node runs here"),
        (["calls", "--server", "nonsense"], "--server: 'nonsense' is not HOST:PORT"),
        (["calls", "--server", "127.0.0.1:99999"], "is not HOST:PORT"),
        (["calls", "--server", "127.0.0.1:9"], "--callee: write USER:PASSWORD"),
        (["calls", "--server", "127.0.0.1:9", "--callee", "ben:x"], "--caller: write USER:PASSWORD"),
        (["register", "--server", "127.0.0.1:9"], "--user: write USER:PASSWORD"),
        (["register", "--server", "127.0.0.1:9", "--user", "a:b", "--local", "192.0.2.1"], "cannot be used"),
    ],
)
def test_what_cannot_be_begun_is_refused_with_the_reason(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("CLOUDLINE_URL", raising=False)
    assert main(["loadtest", *arguments]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["calls", "--rate", "0"], ["register", "--seconds", "-1"], []])
def test_wrong_usage(arguments: list[str]) -> None:
    assert main(["loadtest", *arguments]) == 2
