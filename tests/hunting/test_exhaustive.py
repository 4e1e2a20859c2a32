"""Small cases, all of them, in all orders of what happens in the same instant: the server does what ``docs/hunting.md`` says.

``make hunting`` plays many more.
"""

from __future__ import annotations

import pytest

from tests.hunting import families
from tests.hunting.explore import Explorer
from tests.hunting.ring import RingPlay


def report(name: str, explorer: Explorer) -> None:
    print(f"{name}: {explorer.cases} cases, {explorer.runs} runs")


@pytest.mark.rule("INC-05", "INC-07", "INC-08", "INC-09", "DEV-05")
def test_the_devices_of_one_person() -> None:
    explorer = Explorer(RingPlay)
    explorer.explore_all(families.single(families.VOIP, 2, (1,)), leaves=True)
    explorer.explore_all(families.single(families.VOIP, 3, (1,)), leaves=False)
    report("devices of one person", explorer)
    assert explorer.runs > 4000
