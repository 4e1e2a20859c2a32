"""A call that waits for a device that was woken, and a server that dies meanwhile: whoever takes it over goes on waiting."""

from __future__ import annotations

import pytest

from tests.scenarios.stage import ANA, CALLER, Stage
from tests.support.party import Dialog, Party, sdp
from tests.support.world import SAVED, UNSAVED, Crashed


def told(stage: Stage, device: str) -> list[str]:
    """What was pushed to a device, each once: whoever takes a call over repeats what may not have gone out."""
    return list(dict.fromkeys(stage.pushed(device)))


def killed_while_waiting(stage: Stage) -> tuple[Party, Dialog]:
    """A call waits for ana's phone, which sleeps, when the server dies; another process goes on."""
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(1.0)
    stage.world.crash_at, stage.world.crash_how = stage.world.commits + 1, SAVED
    another = carrier.call("+33639981002", caller=CALLER)  # any save will do
    with pytest.raises(Crashed):
        stage.run(1.0)
    assert call.status == 100, "it waits on"
    assert another.status >= 300
    return carrier, call


@pytest.mark.rule("LIVE-02", "DEV-05")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_that_waits_for_a_sleeper_outlives_its_server(transport: str) -> None:
    stage = Stage()
    phone = stage.sleeper("ana-phone", transport)
    ben = stage.phone("ben-phone")
    carrier, call = killed_while_waiting(stage)
    phone.register()
    stage.run(0.5)
    phone.ring()
    stage.run(1.0)
    assert call.status == 180
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    assert call.last("INVITE").body == sdp(6000)
    carrier.bye(call)
    stage.run(1.0)
    assert phone.incoming.over
    assert told(stage, "ana-phone") == ["incoming_call"]
    assert {record.reason for record in stage.world.records} == {"normal_clearing", "node_lost"}
    assert len(ben.dialogs) <= 1
    stage.settle()


@pytest.mark.rule("LIVE-02", "INC-09")
def test_the_caller_can_leave_a_call_that_was_taken_over_while_it_waits() -> None:
    stage = Stage()
    phone = stage.sleeper("ana-phone")
    stage.phone("ben-phone")
    carrier, call = killed_while_waiting(stage)
    carrier.cancel(call)
    stage.run(1.0)
    assert call.status == 487
    phone.register()
    stage.run(1.0)
    assert not phone.rang
    assert told(stage, "ana-phone") == ["incoming_call", "call_ended cancelled", "missed_call"]
    stage.settle()


@pytest.mark.rule("LIVE-02", "DEV-05")
def test_a_phone_that_registered_while_nobody_had_the_call_is_rung_by_who_takes_it_over() -> None:
    stage = Stage()
    phone = stage.sleeper("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(1.0)
    stage.world.crash_at, stage.world.crash_how = stage.world.commits + 1, UNSAVED
    phone.register()  # its INVITE is what the server dies over
    with pytest.raises(Crashed):
        stage.run(1.0)
    stage.run(0.5)
    assert phone.rang
    phone.ring()
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)
    stage.settle()


@pytest.mark.rule("LIVE-02", "INC-06")
def test_the_wake_deadline_of_a_call_that_was_taken_over_stands() -> None:
    stage = Stage()
    stage.sleeper("ana-phone")
    stage.phone("ben-phone")
    _, call = killed_while_waiting(stage)
    stage.run(9.0)
    assert call.status == 480
    assert told(stage, "ana-phone") == ["incoming_call", "call_ended missed", "missed_call"]
    stage.settle()
