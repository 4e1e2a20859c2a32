"""How figures of a bench run become verdicts, and the small tools that it stands on."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from loadtests import ports, proc, servers
from loadtests.micro import JOBS, Job, measure
from loadtests.report import Report
from loadtests.step import Result, longest, median, percentile
from loadtests.targets import TARGETS

FIGURES = {
    "compiled": {
        "cpu_shared": 0.15,
        "cpu_slow": 0.3,
        "highest": 3000.0,
        "kib_per_call": 6.0,
        "delay_p99": 30.0,
    },
    "kamailio": {"cpu_shared": 0.10},
    "sippy": {"cpu_slow": 6.0},
}


def verdicts() -> dict[str, tuple[float, str]]:
    return {target.what: target.verdict(FIGURES) for target in TARGETS}


def test_ratios_are_of_one_run_and_say_what_was_reached() -> None:
    value, verdict = verdicts()["CPU per call, compiled, to Kamailio"]
    assert value == pytest.approx(1.5)
    assert verdict == "reached"
    assert verdicts()["CPU per call, compiled, to Sippy"][1] == "reached"
    assert verdicts()["highest clean rate, compiled"][1] == "reached"
    assert verdicts()["memory per held call"][1] == "aim reached"
    assert verdicts()["set-up delay p99 at half the highest rate"][1] == "MISSED"


def test_what_was_not_measured_is_not_missed() -> None:
    value, verdict = verdicts()["digest REGISTER, CPU s per 1000"]
    assert math.isnan(value)
    assert verdict == "not measured"


def test_percentiles_are_nearest_rank() -> None:
    values = [float(i) for i in range(1, 101)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([7.0], 99) == 7
    assert math.isnan(percentile([], 50))
    assert median([1.0, math.nan, 3.0]) == 2


def test_a_report_is_written_and_can_be_read_again(tmp_path: Path) -> None:
    report = Report(tmp_path, {"quick": True})
    report.figures = {key: dict(values) for key, values in FIGURES.items()}
    report.rates = {"slow": 60.0, "shared": math.nan}
    report.steps.append(step())
    report.write()
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["figures"]["compiled"]["highest"] == 3000
    assert content["rates"]["shared"] is None
    assert content["steps"][0]["clean"] is True
    assert "| Cloudline, compiled |" in (tmp_path / "report.md").read_text()
    assert report.missed() == ["set-up delay p99 at half the highest rate"]


def step(**changes: float) -> Result:
    values = dict.fromkeys(
        (
            "failed",
            "repeats",
            "drops",
            "cpu_s",
            "load",
            "generator_load",
            "other_load",
            "stolen",
            "pss_before",
        ),
        0.0,
    )
    values |= {"rate": 100.0, "asked": 1000, "completed": 1000, "achieved": 99.0, **changes}
    return Result(server="x", kind="calls", **values)  # type: ignore[arg-type]


def test_a_step_is_clean_only_if_rate_and_calls_held() -> None:
    assert step().clean
    assert not step(achieved=90).clean
    assert not step(failed=2).clean
    assert not step(repeats=6).clean
    assert not step(probes=100, probes_failed=1).clean


def test_fictional_numbers_are_distinct_and_bounded() -> None:
    numbers = {servers.fictional_number(i) for i in range(0, 120_000, 7)}
    assert len(numbers) == len(range(0, 120_000, 7))
    assert servers.CALLED not in numbers
    with pytest.raises(ValueError, match="only 120 000"):
        servers.fictional_number(120_000)


def test_a_port_is_given_once_and_its_neighbour_with_it() -> None:
    given = [ports.free_port(beside=10_000) for _ in range(50)]
    both = {*given, *(port + 10_000 for port in given)}
    assert len(both) == 100
    assert both.isdisjoint(ports.free_port() for _ in range(50))


def test_free_ports_and_processes_by_pid() -> None:
    port = ports.free_port()
    assert not proc.udp_bound(("127.0.0.1", port))
    own = [os.getpid()]
    assert proc.cpu_seconds(own) > 0
    assert proc.pss_kib(own) > 1000
    assert own[0] in proc.family(own[0])


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_every_microbenchmark_runs(job: Job) -> None:
    assert measure(job, 1, share=0.002) > 0


def test_the_longest_stall_is_that_of_the_step_alone() -> None:
    before = {0.01: 5.0, 0.05: 6.0, 0.1: 7.0, math.inf: 7.0}
    after = {0.01: 9.0, 0.05: 11.0, 0.1: 12.0, math.inf: 12.0}
    assert longest(before, after) == 0.05
    assert longest(after, after) == 0.0
    assert longest({}, {}) == 0.0
