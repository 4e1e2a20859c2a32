"""Every scenario with a server that is killed at each of its saves, and a new process that goes on over what was stored.

Whatever was going on: nobody is left in a session or waiting for ever, either side can hold and hang up, every call ends, and
each has exactly one record, however often it was written (LIVE-02, LIVE-03, CDR-02).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.scenarios.aftermath import WHO, go_on_and_check
from tests.scenarios.stage import Scenario, Stage
from tests.scenarios.test_ladders import SCENARIOS
from tests.support.world import ACTED, SAVED, UNSAVED, Crashed

SAMPLE = 3
"""Each point is crashed in one of the three ways, in turn; the scenarios of the list below in all."""
THOROUGH = {
    "session_established_callee_hangs_up",
    "all_devices_ring_one_answers",
    "caller_gives_up_while_ringing",
    "answer_crosses_cancel",
    "hold_and_resume",
    "reinvite_without_offer",
    "late_offer",
    "failover_on_503",
    "we_refresh_the_callee_by_reinvite",
    "blind_transfer_by_the_callee_to_a_device",
    "attended_transfer",
    "caller_requires_100rel",
    "sleeping_phone_wakes_and_answers",
    "second_phone_wakes_after_the_first",
    "phone_of_a_mobile_network_that_forgot_it",
    "caller_leaves_while_the_woken_phone_rings",
    "callback",
    "call_through",
}
HOW = (SAVED, UNSAVED, ACTED)


def commits_of(scenario: Scenario) -> int:
    stage = Stage()
    scenario(stage)
    stage.settle()
    return stage.world.commits


def points(name: str) -> Iterator[tuple[int, str, str]]:
    """(commit, how, who hangs up afterwards) for a scenario."""
    number = 0
    for commit in range(1, commits_of(SCENARIOS[name]) + 1):
        for offset in range(len(HOW) if name in THOROUGH else 1):
            number += 1
            yield commit, HOW[(commit + offset) % len(HOW)], WHO[number % len(WHO)]


def play_to_the_end(stage: Stage, name: str) -> None:
    SCENARIOS[name](stage)
    stage.run(100.0)


@pytest.mark.rule("LIVE-02", "LIVE-03", "CDR-02")
@pytest.mark.parametrize("name", SCENARIOS)
def test_nobody_is_left_behind_when_the_server_dies(name: str) -> None:
    for commit, how, who in points(name):
        stage = Stage(crash_at=commit, crash_how=how)
        with pytest.raises(Crashed):
            play_to_the_end(stage, name)
        go_on_and_check(stage, who, how, f"killed at save {commit} ({how}), then {who} hangs up")


@pytest.mark.rule("LIVE-02", "LIVE-03", "CDR-02")
@pytest.mark.parametrize("name", sorted(THOROUGH))
def test_nobody_is_left_behind_when_the_one_that_takes_over_dies_too(name: str) -> None:
    for commit, how, who in points(name):
        stage = Stage(crash_at=commit, crash_how=how)
        stage.world.crash_again = 1 + commit % 2
        with pytest.raises(Crashed):
            play_to_the_end(stage, name)
        with contextlib.suppress(Crashed):
            stage.run(60.0)
        go_on_and_check(stage, who, how, f"killed at save {commit} ({how}) and again, then {who} hangs up")
