"""The call is total: whatever is done to it, it never raises, it ends, it has one winner and one record, and nobody is left."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.adversary import BODIES, HEADERS, Adversary, plan_of
from tests.support.party import sdp

SMALL = st.integers(0, 29)
STEPS = st.lists(st.tuples(st.integers(0, 22), SMALL, SMALL, SMALL), max_size=40)
IN_CI = 1000


@settings(max_examples=IN_CI if os.environ.get("CLOUDLINE_HYPOTHESIS", "ci") == "ci" else 20_000)
@given(
    plan=st.lists(st.integers(0, 4), max_size=3),
    body=st.sampled_from(BODIES),
    headers=st.sampled_from(HEADERS),
    steps=STEPS,
    reload=st.booleans(),
)
def test_a_call_survives_everything_and_comes_to_its_end(
    plan: list[int],
    body: bytes,
    headers: tuple[tuple[str, str], ...],
    steps: list[tuple[int, int, int, int]],
    reload: bool,
) -> None:
    adversary = Adversary(plan_of(*plan), body, headers, reload)
    for kind, which, first, second in steps:
        adversary.step(kind, which, first, second)
    adversary.verdict()


@settings(max_examples=IN_CI if os.environ.get("CLOUDLINE_HYPOTHESIS", "ci") == "ci" else 20_000)
@given(
    plan=st.lists(st.integers(0, 4), max_size=3),
    steps=STEPS,
    reload=st.booleans(),
    along=st.integers(0, 5),
)
def test_a_callback_survives_everything_and_comes_to_its_end(
    plan: list[int], steps: list[tuple[int, int, int, int]], reload: bool, along: int
) -> None:
    """OUT-03: the same when we call first, whatever the SIM and the callee do, and however far it has come by then."""
    adversary = Adversary(plan_of(*plan), b"", (), reload, callback=True)
    for number in range(along):
        adversary.accept(sdp(7000 + number))
    for kind, which, first, second in steps:
        adversary.step(kind, which, first, second)
    adversary.verdict()
