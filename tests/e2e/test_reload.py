"""The configuration file of a running node is changed: what it says counts for the next call, what is bad is refused (OPS-03)."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from loadtests import proc
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.world import CLEO, OUTSIDE, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("openssl"), pytest.mark.rule("OPS-03")]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def file(node: World) -> Iterator[str]:
    """What the file says; it says so again afterwards."""
    text = node.server.config.read_text()
    yield text
    node.server.config.write_text(text)
    assert node.server.cli("reload").returncode == 0
    node.everybody_out()


def rings_for(node: World) -> float:
    """Seconds until a call that nobody answers is over."""
    phone = node.scripted("cleo-1")
    call = Leg.dial(node.carrier(), CLEO, OUTSIDE)
    leg = Leg.answering(phone)
    leg.ring()
    call.expect_provisional(180)
    began = time.monotonic()
    leg.expect_cancel(10)
    call.expect_failure(480, 480)
    return time.monotonic() - began


def test_a_ring_time_counts_for_the_next_call_and_running_ones_stay(node: World, file: str) -> None:
    phone = node.scripted("cleo-1")
    call = Leg.dial(node.carrier("carrier-b"), CLEO, OUTSIDE)
    leg = Leg.answering(phone)
    leg.accept()
    call.expect_answer()
    node.server.config.write_text(file.replace("ring_seconds = 5", "ring_seconds = 1"))
    done = node.server.cli("reload", "--json")
    assert done.returncode == 0, done.stderr
    assert "calls.ring_seconds" in json.loads(done.stdout)["changes"]
    assert 0.8 < rings_for(node) < 3
    assert call.hang_up().status == 200
    leg.expect_hang_up()


def test_what_waits_for_the_next_start_is_named(node: World, file: str) -> None:
    node.server.config.write_text(file + "\n[trunks]\ndown_after = 7\n")
    done = node.server.cli("reload")
    assert done.returncode == 0, done.stderr
    assert "takes effect at the next start: trunks.down_after" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ring_seconds = 5", "ring_seconds = 0", "calls.ring_seconds: "),
        ("[calls]", "[cals]", "did you mean 'calls'?"),
        ("[calls]", "[calls", "not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_and_the_old_settings_stay(
    node: World, file: str, old: str, new: str, said: str
) -> None:
    node.server.config.write_text(file.replace(old, new))
    done = node.server.cli("reload")
    assert done.returncode == 1
    assert said in done.stderr
    assert str(node.server.config) in done.stderr
    assert node.server.is_ready()
    node.server.config.write_text(file)


def test_by_a_signal_the_log_says_what_came_of_it(node: World, file: str) -> None:
    def logged(words: str, since: int) -> bool:
        node.server.signal(signal.SIGHUP)
        return proc.wait_until(lambda: words in node.server.log.read_text()[since:], 5)

    node.server.config.write_text(file.replace("ring_seconds = 5", "ring_seconds = 6"))
    assert logged("reloaded: calls.ring_seconds", node.server.log_position())
    node.server.config.write_text(file.replace("ring_seconds = 5", "ring_seconds = -1"))
    assert logged("the old configuration stays in force", node.server.log_position())
    assert node.server.is_ready()
