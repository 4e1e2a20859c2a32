"""Small cases, all of them, in all orders of what happens in the same instant: the server does what ``docs/hunting.md`` says.

``make hunting`` plays many more.
"""

from __future__ import annotations

import pytest

from callcontrol.b2bua.events import Event, ResponseIn
from tests.hunting.cases import DECLINES, SILENT, Case, Device, Person, simultaneous
from tests.hunting.explore import Explorer
from tests.hunting.hunt import HuntPlay
from tests.hunting.suites import QUICK, Suite
from tests.hunting.wire import Leg
from tests.hunting.world import Disagreement

RULES = (
    "GRT-01",
    "GRT-02",
    "GRT-03",
    "GRT-04",
    "GRT-10",
    "INC-05",
    "INC-06",
    "INC-07",
    "INC-08",
    "INC-09",
    "DEV-05",
)


@pytest.mark.rule(*RULES)
@pytest.mark.parametrize("name", QUICK)
def test_the_server_does_what_the_specification_says(name: str) -> None:
    suite: Suite = QUICK[name]
    explorer = Explorer(suite.make)
    explorer.explore_all(suite.cases(), suite.leaves)
    print(f"{name}: {explorer.cases} cases, {explorer.runs} runs")
    assert explorer.runs >= explorer.cases > 100


class DeafToDeclines(HuntPlay):
    """A server that hears busy where a member declines."""

    def feed(self, event: Event) -> list[Leg]:
        if isinstance(event, ResponseIn) and event.message.status == 603:
            event.message.status = 486
        return super().feed(event)


def test_a_server_that_does_something_else_is_found_out() -> None:
    pair = (
        Person(devices=(Device(does=DECLINES, after=5.0), Device(does=SILENT))),
        Person(devices=(Device(),)),
    )
    with pytest.raises(Disagreement, match="ana-1 declines: the server wants"):
        Explorer(DeafToDeclines).explore(Case(people=pair, groups=simultaneous(2)), leaves=False)
