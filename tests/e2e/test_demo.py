"""What a newcomer does first: ``cloudline serve --demo``, then ``cloudline demo call`` in a second terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests import proc
from tests.e2e.harness.server import CLI, ROOT

pytestmark = pytest.mark.e2e


class Demo:
    """A demo node on ports of its own choice, and the commands of a second terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.run.mkdir(mode=0o700)
        self.output = folder / "output"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDLINE_")}
        self.environment = {
            **clean,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "XDG_RUNTIME_DIR": str(self.run),
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*CLI, "serve", "--demo"],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CLI, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    made = Demo(tmp_path_factory.mktemp("demo"))
    try:
        ready = proc.wait_until(lambda: "demo call" in made.text or made.process.poll() is not None, 20)
        assert ready, made.text
        assert made.process.poll() is None, made.text
        yield made
    finally:
        proc.stop(made.process)


def test_it_says_how_to_make_a_call(demo: Demo) -> None:
    """Where SIP, the API and the metrics are, two accounts, and one command."""
    text = demo.text
    for place in ("udp:127.0.0.1:", "tcp:127.0.0.1:", "http://127.0.0.1:", "/metrics"):
        assert place in text, text
    assert len(re.findall(r"user \S+ +password \S+", text)) == 2
    assert "cloudline demo call" in text


def test_demo_call_shows_ladder_and_trace(demo: Demo) -> None:
    done = demo.command("demo", "call")
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("INVITE", "180", "200", "ACK", "BYE", "INC-05"):
        assert word in done.stdout, done.stdout


def test_a_second_call_works_too_and_both_are_listed(demo: Demo) -> None:
    assert demo.command("demo", "call").returncode == 0
    records = demo.command("cdr", "list", "--json")
    assert records.returncode == 0, records.stderr
    reasons = [record["reason"] for record in json.loads(records.stdout)]
    assert reasons.count("normal_clearing") >= 2


@pytest.mark.rule("OUT-02")
def test_demo_call_through_tells_the_story_of_a_gateway_call(demo: Demo) -> None:
    done = demo.command("demo", "call-through")
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("dial +33199000001", "sees +33639981001", "OUT-02", "with lease", "BYE"):
        assert word in done.stdout, done.stdout


@pytest.mark.rule("OUT-03")
def test_demo_callback_tells_the_story_of_a_callback(demo: Demo) -> None:
    done = demo.command("demo", "callback")
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("SIM +33639980001 rings and sees +3319900000", "sees +33639981001", "OUT-03", "joined"):
        assert word in done.stdout, done.stdout


def test_loadtest_calls_and_reports(demo: Demo) -> None:
    done = demo.command("loadtest", "calls", "--rate", "10", "--seconds", "1", "--talk", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["asked"], report["completed"], report["failed"]) == (10, 10, 0)
    assert set(report["delays_ms"]) == {"ringing", "answered", "hung up"}
    assert report["delays_ms"]["answered"]["p50"] >= 100  # it rings for so long


def test_loadtest_calls_as_a_carrier(demo: Demo) -> None:
    found = re.search(r"udp:(127\.0\.0\.1):(\d+)", demo.text)
    assert found is not None
    trunk = f"127.0.0.1:{int(found.group(2)) + 20}"
    options = ("--trunk", trunk, "--caller", "+33199001234", "--rate", "10", "--seconds", "0.5")
    done = demo.command("loadtest", "calls", "+33639981002", *options)
    assert done.returncode == 0, done.stderr
    assert "5 completed, 0 failed" in done.stdout


def test_loadtest_registers_and_reports(demo: Demo) -> None:
    done = demo.command("loadtest", "register", "--rate", "20", "--seconds", "0.5")
    assert done.returncode == 0, done.stderr
    assert "10 completed, 0 failed" in done.stdout


def test_loadtest_says_what_failed(demo: Demo) -> None:
    options = ("--rate", "10", "--seconds", "0.3")
    done = demo.command("loadtest", "calls", "not-a-colleague", *options)
    assert done.returncode == 1
    assert "3 failed: INVITE: 404" in done.stdout
    assert "3 of 3 calls failed" in done.stderr
    assert demo.command("loadtest", "calls", "not-a-colleague", *options, "--max-failed", "1").returncode == 0


def test_make_run_is_setup_and_the_demo() -> None:
    """The recipe of ``make run``, without carrying it out again: it installs, then serves the demo."""
    done = subprocess.run(
        ["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "serve --demo" in done.stdout


def test_without_a_node_the_commands_say_so(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(run), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *CLI[1:], "calls"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "serve" in done.stderr
