"""Every scenario with a server that is killed at each of its saves, and a new process that goes on over what was stored.

Whatever was going on: nobody is left in a session or waiting for ever, either side can hold and hang up, every call ends, and
each has exactly one record, however often it was written (LIVE-02, LIVE-03, CDR-02).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.scenarios.stage import Scenario, Stage
from tests.scenarios.test_ladders import SCENARIOS
from tests.support.party import Dialog, Party, sdp
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
}
HOW = (SAVED, UNSAVED, ACTED)
WHO = ("caller", "callee", "nobody")


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


def live(stage: Stage, incoming: bool) -> list[tuple[Party, Dialog]]:
    return [
        (party, dialog)
        for party in stage.world.parties
        for dialog in party.dialogs
        if dialog.live and dialog.incoming == incoming and party.node.up
    ]


def go_on(stage: Stage, who: str) -> None:
    """What the people do who notice nothing of the crash, or too much."""
    stage.world.crash_at = 0
    for number, party in enumerate(stage.world.parties):
        party.auto, party.auto_ack, party.answers = None, True, 9000 + number
    stage.run(1.0)
    if who == "nobody":
        stage.run(15_000.0)
        return
    for side in (who == "callee", who != "callee"):
        for party, dialog in live(stage, side):
            party.request(dialog, "INVITE", sdp(9100, 1, 9, "sendonly"))
            stage.run(5.0)
            if dialog.live:
                party.bye(dialog)
            stage.run(1.0)
        if not stage.world.calls:
            break  # whoever is still in a session now was left behind
    stage.run(400.0)


def check(stage: Stage) -> None:
    stage.settle()
    by_ref: dict[str, list[object]] = {}
    for record in stage.world.records:
        by_ref.setdefault(record.call_ref, []).append(record)
    assert stage.world.saved <= set(by_ref), "each call has its record"
    for records in by_ref.values():
        assert all(record == records[0] for record in records), "a record is written again as it was"


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
        go_on_and_check(stage, who, f"killed at save {commit} ({how}), then {who} hangs up")


def go_on_and_check(stage: Stage, who: str, what: str) -> None:
    try:
        go_on(stage, who)
        check(stage)
    except BaseException:
        print(what)
        print(stage.ladder())
        raise


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
        go_on_and_check(stage, who, f"killed at save {commit} ({how}) and again, then {who} hangs up")
