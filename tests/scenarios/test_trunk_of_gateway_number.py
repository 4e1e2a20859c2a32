"""The SIM of a callback is called by the trunk of the gateway number that it sees, where that trunk takes it (OUT-03)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callcontrol.phone_requests import Ok, Reply
from gateway.trunk import Prefix
from tests.scenarios.stage import OUTSIDE, Stage

pytestmark = pytest.mark.rule("OUT-03")

GATEWAY = "+33199000001"


def called_by(own: str, other: str) -> tuple[bool, bool]:
    """Whether the SIM's leg went by the trunk of the gateway number, and whether by the other one, with their prefixes."""
    stage = Stage()
    world = stage.world
    trunks = {trunk.ref: trunk for trunk in world.trunks.all()}
    home = replace(
        trunks["carrier-b"], peers=("sip:10.0.2.1:5060",), prefixes=(Prefix(own, 0.05),), priority=50
    )
    cheap = replace(trunks["carrier-a"], prefixes=(Prefix(other, 0.01),), priority=1)
    world.trunks.replace([cheap, home], version=2)
    world.gateways.replace([replace(each, trunk="carrier-b") for each in world.gateways.all()], version=2)
    sim, carrier = stage.carrier("10.0.2.1", "sim"), stage.carrier()
    stage.begin()
    told: list[Reply] = []
    world.server.phone.handle("ana-phone", {"type": "callback", "to": OUTSIDE}, world.now(), told.append)
    (reply,) = told
    assert isinstance(reply, Ok)
    assert reply.fields["gateway_number"] == GATEWAY
    stage.run(0.2)
    rung = [party for party in (sim, carrier) if party.dialogs]
    assert len(rung) == 1
    assert f"<sip:{GATEWAY}@" in (rung[0].incoming.invite.from_value if rung[0].incoming.invite else "")
    return rung[0] is sim, rung[0] is carrier


def test_by_the_trunk_of_the_gateway_number_though_another_is_cheaper() -> None:
    assert called_by("+33", "+336") == (True, False)


def test_by_the_general_way_where_that_trunk_does_not_take_the_sim() -> None:
    assert called_by("+44", "+33") == (False, True)
