"""The sizing of pools of gateway numbers: deterministic, and in step with what leases promise (OUT-02)."""

from __future__ import annotations

import pytest

from loadtests.leases import Traffic, main, play, smallest_pool, speed

SMALL = Traffic(sims=500, calls_per_hour=2.0, minutes=3.0, hidden=0.0)


@pytest.mark.rule("OUT-02")
def test_a_pool_is_sized_by_one_sim_not_by_all() -> None:
    """Ten times the SIMs with the same habits need the same few numbers."""
    few = smallest_pool(SMALL, 0.001)
    many = smallest_pool(Traffic(sims=5000, calls_per_hour=2.0, minutes=3.0, hidden=0.0), 0.001)
    assert few.pool <= 4
    assert many.pool <= few.pool + 1
    assert many.most > 5 * few.most


def test_each_sim_that_hides_needs_a_number_for_itself() -> None:
    hiding = Traffic(sims=500, calls_per_hour=2.0, minutes=3.0, hidden=0.2)
    assert smallest_pool(hiding, 0.01).pool > 5


def test_the_same_seed_is_the_same_traffic() -> None:
    assert play(SMALL, 2, seed=7) == play(SMALL, 2, seed=7)
    assert play(SMALL, 2, seed=7) != play(SMALL, 2, seed=8)


def test_too_small_a_pool_refuses() -> None:
    outcome = play(Traffic(sims=5, calls_per_hour=60.0, minutes=5.0), 1)
    assert outcome.share > 0.3
    assert 0 < outcome.longest_wait_s <= 60.0


def test_speed_is_measured() -> None:
    assert speed(50, 4, 2) > 100


def test_the_command_prints_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sims", "200", "--hidden", "0.01", "--hours", "0.5"]) == 0
    text = capsys.readouterr().out
    assert text.count("leases/s") == 3
    assert text.count("gateway numbers for") == 2
