"""What waits for the store and what does not: an answer does, the end of a call does not on the only node that there is."""

from __future__ import annotations

import pytest

from callcontrol.saving import DOUBT_S, FROZEN_S
from tests.scenarios.stage import ANA, CALLER, Stage
from tests.support.party import Dialog, Party, sdp

FAR_S = 0.4
"""A commit takes so long."""


@pytest.fixture
def stage() -> Stage:
    """A node that is alone."""
    return Stage(commit_s=FAR_S)


def live(stage: Stage, seconds: float) -> None:
    """As a node lives that looks at its calls many times a second."""
    for _ in range(round(seconds / 0.25)):
        stage.run(0.25)
        stage.world.turn()


def talking(stage: Stage) -> tuple[Party, Dialog, Party, Dialog]:
    ana, carrier = stage.phone("ana-phone"), stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    live(stage, 1.0)
    ana.ring()
    live(stage, 1.0)
    answered = ana.answer(sdp(6000))
    live(stage, 2.0)
    assert call.status == 200
    return carrier, call, ana, answered


def test_an_answer_waits_for_the_store(stage: Stage) -> None:
    ana, carrier = stage.phone("ana-phone"), stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    live(stage, 1.0)
    ana.answer(sdp(6000))
    live(stage, FAR_S / 2)
    assert call.status < 200
    live(stage, FAR_S)
    assert call.status == 200


@pytest.mark.rule("LIVE-02")
def test_the_end_of_a_call_is_on_its_way_to_the_store_and_waits_for_no_reply(stage: Stage) -> None:
    carrier, call, _, answered = talking(stage)
    before = dict(stage.world.store.snapshots)
    carrier.bye(call)
    stage.run(FAR_S / 4)
    assert answered.got("BYE")
    assert stage.world.store.snapshots != before
    stage.settle()


def test_who_gives_up_is_told_at_once(stage: Stage) -> None:
    ana, carrier = stage.phone("ana-phone"), stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    live(stage, 1.0)
    ana.ring()
    live(stage, 1.0)
    carrier.cancel(call)
    stage.run(FAR_S / 4)
    assert call.status == 487
    stage.settle()


@pytest.mark.rule("LIVE-03")
def test_where_there_are_others_it_is_asked_whose_the_call_is(stage: Stage) -> None:
    """A request that reached another node may have brought it there."""
    stage.world.alone = False
    carrier, call, _, answered = talking(stage)
    carrier.bye(call)
    stage.run(FAR_S / 4)
    assert not answered.got("BYE")
    live(stage, 2 * FAR_S)
    assert answered.got("BYE")
    stage.settle()


@pytest.mark.rule("LIVE-03")
def test_a_node_that_was_frozen_asks_first_whose_the_call_is(stage: Stage) -> None:
    """Others may have taken it; what it then wants done, they do."""
    carrier, call, _, answered = talking(stage)
    stage.run(FROZEN_S + 0.5)
    carrier.bye(call)
    stage.run(FAR_S / 4)
    assert not answered.got("BYE")
    live(stage, 2 * FAR_S)
    assert answered.got("BYE")
    stage.settle()


def test_a_node_that_was_frozen_long_ago_is_sure_again(stage: Stage) -> None:
    carrier, call, _, answered = talking(stage)
    stage.run(FROZEN_S + 0.5)
    live(stage, DOUBT_S + 1.0)
    carrier.bye(call)
    stage.run(FAR_S / 4)
    assert answered.got("BYE")
    stage.settle()


@pytest.mark.rule("LIVE-03")
def test_after_an_outage_of_the_store_it_is_asked_too(stage: Stage) -> None:
    carrier, call, _, answered = talking(stage)
    runner = stage.world.server.runner
    runner.save_again(list(runner.calls))
    carrier.bye(call)
    stage.run(FAR_S / 4)
    assert not answered.got("BYE")
    live(stage, 2 * FAR_S)
    assert answered.got("BYE")
    stage.settle()
