"""What a party had asked in its call when the node died: its repetition is no second request, and nobody ends the call for it."""

from __future__ import annotations

import pytest

from tests.scenarios.stage import ANA, CALLER, Stage
from tests.support.party import Dialog, Party, own, sdp
from tests.support.wire import DELIVER, LOSE
from tests.support.world import SERVER

pytestmark = pytest.mark.rule("LIVE-02")


def up(stage: Stage, transport: str = "udp") -> tuple[Party, Party, Dialog, Dialog]:
    ana, carrier = stage.phone("ana-phone", transport), stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    talk = stage.talk(carrier, call, ana)
    return ana, carrier, call, talk


def asked_and_dead(stage: Stage, method: str) -> tuple[Party, Party, Dialog, Dialog]:
    """The caller's offer is with the callee when the node dies; the caller's request is under way a second time."""
    ana, carrier, call, talk = up(stage)
    carrier.request(call, method, sdp(4002, 1, 2, "sendonly"))
    stage.run(0.1)
    assert talk.got(method)[-1].body
    stage.world.die()
    stage.run(2.0)
    return ana, carrier, call, talk


def hang_up(stage: Stage, party: Party, dialog: Dialog, other: Dialog) -> None:
    """The call is alive to its end, and leaves nothing."""
    party.bye(dialog)
    stage.run(1.0)
    assert other.over
    stage.settle()


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_what_is_asked_again_after_a_takeover_is_the_same_request(method: str) -> None:
    stage = Stage()
    ana, carrier, call, talk = asked_and_dead(stage, method)
    assert not any(message.status >= 300 for message in call.responses), "refused as a request out of order"
    ana.reply(talk, 200, own(6000), message=talk.got(method)[-1])
    stage.run(1.0)
    assert call.last(method).status == 200
    stage.run(40.0)
    assert (call.live, talk.live) == (True, True)
    carrier.request(call, "INVITE", sdp(4003, 1, 3))
    stage.run(0.3)
    ana.reply(talk, 200, own(6000), message=talk.got("INVITE")[-1])
    stage.run(0.3)
    assert call.last("INVITE").status == 200
    hang_up(stage, carrier, call, talk)


def test_a_reinvite_is_cancelled_after_the_node_that_had_it_died() -> None:
    """It was answered 100, so nothing but the CANCEL will ever be heard of it."""
    stage = Stage()
    ana, carrier, call, talk = up(stage)
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    call.invite_branch = f"z9hG4bK{carrier.name}{carrier._ids}q"
    stage.run(0.3)
    assert call.statuses[-1] == 100
    stage.world.die()
    stage.run(0.1)
    carrier.cancel(call)
    stage.run(0.3)
    assert call.last("CANCEL").status == 200
    assert talk.cancelled is not None
    ana.reply(talk, 487, message=talk.got("INVITE")[-1])
    stage.run(1.0)
    assert call.last("INVITE").status == 487
    assert talk.live
    hang_up(stage, ana, talk, call)


def test_a_reinvite_that_broke_with_its_connection_does_not_end_the_call() -> None:
    """For the phone it has failed; its answer would be waited for in vain, and the call ended for want of an ACK."""
    stage = Stage()
    ana, carrier, call, talk = up(stage, "tcp")
    ana.request(talk, "INVITE", sdp(6002, 1, 2))
    stage.run(0.1)
    stage.world.die()
    stage.run(0.3)
    carrier.reply(call, 200, own(4000), message=call.got("INVITE")[-1])
    stage.run(60.0)
    assert (call.live, talk.live) == (True, True)
    assert call.got("ACK"), "the other side's answer is acknowledged"
    hang_up(stage, carrier, call, talk)


def test_what_was_answered_after_a_takeover_is_answered_alike_when_it_is_asked_again() -> None:
    """The answer was lost on its way; the request is known to no transaction, and is not a new one out of order."""
    stage = Stage()
    ana, carrier, call, talk = up(stage)
    carrier.request(call, "UPDATE", sdp(4002, 1, 2))
    stage.run(0.05)
    stage.world.die()
    link = stage.world.network.link(SERVER, carrier.host)
    link.fates = (LOSE,)
    ana.reply(talk, 200, own(6000), message=talk.got("UPDATE")[-1])
    stage.run(0.1)
    link.fates = (DELIVER,)
    stage.run(3.0)
    assert [m.status for m in call.responses if m.method == "UPDATE" and m.status > 100] == [200]
    hang_up(stage, carrier, call, talk)


def test_what_is_asked_again_while_its_answer_waits_for_the_store_has_one_answer() -> None:
    """For the call it is a request out of order by then; the 500 for that must not follow the 200."""
    stage = Stage(commit_s=0.1)
    ana, carrier, call, talk = up(stage)
    carrier.request(call, "UPDATE", sdp(4002, 1, 2))
    stage.run(1.3)
    stage.world.die()
    stage.run(0.15)
    ana.reply(talk, 200, own(6000), message=talk.got("UPDATE")[-1])
    stage.run(4.0)
    assert call.last("UPDATE").status == 200
    assert stage.times(carrier, "UPDATE", 500) == []
    hang_up(stage, carrier, call, talk)
