"""The wheel: order, rounding, lateness, size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.sip.wheel import Wheel

UNIX = 1_900_000_000.0


def test_gives_what_is_due_in_order_of_deadline_then_of_adding() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.add(2.0, "late")
    wheel.add(1.0, "first")
    wheel.add(1.0, "second")
    out: list[str] = []
    wheel.advance(1.5, out)
    assert out == ["first", "second"]
    wheel.advance(2.0, out)
    assert out == ["first", "second", "late"]
    assert wheel.next_deadline() is None
    assert len(wheel) == 0


def test_next_deadline_is_the_earliest() -> None:
    wheel: Wheel[int] = Wheel()
    assert wheel.next_deadline() is None
    wheel.add(3.0, 1)
    wheel.add(0.5, 2)
    assert wheel.next_deadline() == 0.5
    out: list[int] = []
    wheel.advance(0.49, out)
    assert out == []
    assert wheel.next_deadline() == 0.5


def test_deadline_in_the_past_fires_with_the_next_grain_and_is_not_lost() -> None:
    wheel: Wheel[int] = Wheel()
    out: list[int] = []
    wheel.advance(10.0, out)
    wheel.add(1.0, 1)
    assert wheel.next_deadline() == pytest.approx(10.02)
    wheel.advance(10.02, out)
    assert out == [1]


def test_time_that_goes_backwards_gives_nothing() -> None:
    wheel: Wheel[int] = Wheel()
    out: list[int] = []
    wheel.advance(10.0, out)
    wheel.add(10.5, 1)
    wheel.advance(5.0, out)
    assert out == []
    wheel.advance(10.5, out)
    assert out == [1]


@given(
    start=st.sampled_from([0.0, 12345.678, UNIX, UNIX + 0.013]),
    delays=st.lists(st.floats(min_value=0, max_value=4000, allow_nan=False), min_size=1, max_size=50),
)
def test_nothing_is_early_nothing_is_later_than_a_grain_and_following_deadlines_always_progresses(
    start: float, delays: list[float]
) -> None:
    wheel: Wheel[int] = Wheel()
    wheel.advance(start, [])
    for index, delay in enumerate(delays):
        wheel.add(start + delay, index)
    fired: dict[int, float] = {}
    while (due := wheel.next_deadline()) is not None:
        out: list[int] = []
        wheel.advance(due, out)
        assert out, "next_deadline promised something"
        fired.update((index, due) for index in out)
    assert len(fired) == len(delays)
    for index, delay in enumerate(delays):
        assert -1e-4 <= fired[index] - (start + delay) <= 0.0402


def test_a_hundred_thousand_items_are_few_buckets() -> None:
    """What it costs to add does not grow: the heap holds grains, not items."""
    wheel: Wheel[int] = Wheel()
    for index in range(100_000):
        wheel.add(32.0 + (index % 1600) * 0.02, index)
    assert len(wheel) == 100_000
    assert len(wheel._grains) <= 1601
    out: list[int] = []
    wheel.advance(100.0, out)
    assert sorted(out) == list(range(100_000))
