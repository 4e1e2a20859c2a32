"""A bounded run of the fuzz target: seeded mutations, and coverage-guided where atheris is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.fuzz_parser import run_seeded
from tests.fuzz.invariant import corpus, mutate, one_input

TARGET = Path(__file__).with_name("fuzz_parser.py")


@pytest.mark.parametrize("data", corpus(), ids=range(len(corpus())))
def test_the_corpus_itself(data: bytes) -> None:
    one_input(data)
    one_input(data[: len(data) // 2])
    one_input(data + data)


def test_seeded_mutations() -> None:
    run_seeded(3000, seed=4475)


def test_mutations_reach_both_sides_of_the_parser() -> None:
    """A mutator whose output is always refused, or never, would prove little."""
    import random

    from callcontrol.sip.errors import RemoteProtocolError
    from callcontrol.sip.message import parse

    dice = random.Random(1)
    reasons: dict[str, int] = {}
    for _ in range(600):
        try:
            parse(mutate(dice.choice(corpus()), dice))
            reason = "accepted"
        except RemoteProtocolError as error:
            reason = error.reason
        reasons[reason] = reasons.get(reason, 0) + 1
    assert reasons["accepted"] > 60
    assert len(reasons) > 15


def test_the_target_as_a_program(tmp_path: Path) -> None:
    """As ``make fuzz`` starts it, but bounded; without atheris its seeded runs stand in."""
    guided = find_spec("atheris") is not None
    options = ["-atheris_runs=300", "-verbosity=0"] if guided else ["-seeded_runs=300", "-seed=1"]
    done = subprocess.run(
        [sys.executable, str(TARGET), *options], cwd=tmp_path, capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_single_inputs_are_run_again(tmp_path: Path) -> None:
    find = tmp_path / "find"
    find.write_bytes(corpus()[0])
    subprocess.run([sys.executable, str(TARGET), str(find)], timeout=60, check=True)
