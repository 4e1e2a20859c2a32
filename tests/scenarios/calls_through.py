"""Calls through: the SIM's call arrives at a gateway number and goes on to whom the app asked for (OUT-02)."""

from __future__ import annotations

from collections.abc import Mapping

from callcontrol.phone_requests import Ok, Reply
from tests.scenarios.stage import ANA, BEN, OUTSIDE, Stage
from tests.support.party import Dialog, Party, own

SIM = "+33639980000"
"""Of ana's phone."""
SIM_PORT = 8000
NOTHING_HELD = {"open": 0, "in_use": 0, "cooling": 0}


def _parties(stage: Stage) -> tuple[Party, Party]:
    """The SIM's calls come from one carrier, the callee is behind another."""
    sim, carrier = stage.carrier("10.0.2.1", "sim"), stage.carrier()
    sim.answers, carrier.answers = SIM_PORT, 7000
    stage.begin()
    return sim, carrier


def _lease(stage: Stage, to: str = OUTSIDE) -> Mapping[str, object]:
    """The app asks for a gateway number."""
    told: list[Reply] = []
    server = stage.world.server
    server.phone.handle("ana-phone", {"type": "call_through", "to": to}, stage.world.now(), told.append)
    (reply,) = told
    assert isinstance(reply, Ok), reply
    return reply.fields


def _dial(stage: Stage, sim: Party, lease: Mapping[str, object]) -> Dialog:
    """The SIM dials its gateway number; the INVITE to the callee is on its way."""
    dialog = sim.call(str(lease["gateway_number"]), own(SIM_PORT), caller=SIM)
    stage.run(0.3)
    return dialog


def call_through(stage: Stage) -> None:
    """The whole way, with a hold from one side and a refresh from the other; the lease has served once."""
    sim, carrier = _parties(stage)
    lease = _lease(stage)
    dialog = _dial(stage, sim, lease)
    assert f"<sip:{ANA}@" in carrier.incoming.got("INVITE")[0].from_value
    carrier.ring()
    stage.run(1.0)
    assert 180 in dialog.statuses
    carrier.answer(own(7000))
    stage.run(1.0)
    sim.request(dialog, "INVITE", own(SIM_PORT))
    stage.run(1.0)
    carrier.request(carrier.incoming, "UPDATE")
    stage.run(1.0)
    assert carrier.incoming.last("UPDATE").status == 200
    sim.bye(dialog)
    stage.run(1.0)
    assert carrier.incoming.over
    record = stage.record
    assert (record.lease, record.gateway_number) == (lease["lease"], lease["gateway_number"])
    assert (record.sim, record.number, record.called) == (SIM, ANA, OUTSIDE)
    assert (record.reason, record.ended_by) == ("normal_clearing", "caller")
    assert stage.world.leases.counts(stage.world.now()) == NOTHING_HELD


def call_through_to_a_colleague(stage: Stage) -> None:
    """The callee is one of ours: all devices ring, and the late ones are told that somebody else has taken it."""
    phone, desk = stage.phone("ben-phone"), stage.phone("ben-desktop")
    sim, _ = _parties(stage)
    dialog = _dial(stage, sim, _lease(stage, BEN))
    phone.ring()
    desk.ring()
    stage.run(1.0)
    phone.answer(own(6000))
    stage.run(1.0)
    assert dialog.live
    assert desk.incoming.cancelled is not None
    phone.bye(phone.incoming)
    stage.run(1.0)
    assert dialog.over
    assert (stage.record.direction, stage.record.ended_by) == ("internal", "callee")


def call_through_given_up_and_tried_again(stage: Stage) -> None:
    """The SIM hangs up while it rings and dials once more: the lease has not served yet."""
    sim, carrier = _parties(stage)
    lease = _lease(stage)
    dialog = _dial(stage, sim, lease)
    carrier.ring()
    stage.run(1.0)
    sim.cancel(dialog)
    stage.run(1.0)
    assert carrier.incoming.cancelled is not None
    again = _dial(stage, sim, lease)
    carrier.ring()
    stage.run(1.0)
    carrier.answer(own(7000))
    stage.run(1.0)
    assert again.live
    carrier.bye(carrier.incoming)
    stage.run(1.0)
    assert again.over
    assert [record.reason for record in stage.world.records] == ["caller_cancelled", "normal_clearing"]
    assert {record.lease for record in stage.world.records} == {lease["lease"]}
