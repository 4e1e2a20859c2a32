"""When the garbage collector runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from callcontrol.collector import BUSY_S, QUIET_S, YOUNG, Collector


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class Counted:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return 0


def test_it_sets_aside_what_was_loaded_and_leaves_the_old_alone() -> None:
    collect = Counted()
    Collector(collect).start(1000.0)
    assert collect.times == 1
    assert gc.get_freeze_count() > 0
    young, middle, old = gc.get_threshold()
    assert young == YOUNG
    assert min(middle, old) > 1_000_000


def test_a_full_collection_waits_for_quiet() -> None:
    collect = Counted()
    collector = Collector(collect)
    collector.start(1000.0)
    assert not collector.look(0, 1000.0 + QUIET_S - 1)
    assert not collector.look(1, 1000.0 + QUIET_S + 1)
    assert collector.look(0, 1000.0 + QUIET_S + 2)
    assert collect.times == 2
    assert not collector.look(0, 1000.0 + QUIET_S + 3)


def test_a_node_that_is_never_quiet_collects_after_hours() -> None:
    collect = Counted()
    collector = Collector(collect)
    collector.start(0.0)
    assert not collector.look(20_000, BUSY_S - 1)
    assert collector.look(20_000, BUSY_S)
    assert collect.times == 2
