"""Races and losses: what crosses on the wire, what is lost, and who is left behind (RFC 3261 §9, §13.2.2.4, §13.3.1.4, §15)."""

from __future__ import annotations

from callcontrol.sip import build
from tests.scenarios.stage import ANA, BEN, CALLER, Stage
from tests.support.party import Dialog, Party, sdp
from tests.support.wire import DELIVER, LOSE


def _lose_next(stage: Stage, source: str, target: str, count: int = 1) -> None:
    """The next datagrams from one host to another are lost."""
    link = stage.world.network.link(source, target)
    link.fates = [*[LOSE] * count, *[DELIVER] * 100_000]
    link.sent = 0


def _ring(stage: Stage, *usernames: str) -> tuple[Party, list[Party], Dialog]:
    phones = [stage.phone(name) for name in usernames]
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    for phone in phones:
        phone.ring()
    stage.run(0.3)
    return carrier, phones, call


def answer_crosses_cancel(stage: Stage) -> None:
    """The loser's 200 crosses our CANCEL: ACK, then BYE, in this order."""
    carrier, phones, call = _ring(stage, "ana-phone", "ana-desktop")
    phones[0].answer(sdp(6001))
    stage.run(0.005)
    loser = phones[1].answer(sdp(6002))
    stage.run(1.0)
    assert call.last("INVITE").body == sdp(6001)
    assert [m.method for m in loser.requests] == ["INVITE", "ACK", "BYE"]
    carrier.bye(call)
    stage.run(1.0)
    assert stage.record.device == "ana-phone"
    assert [leg.reason for leg in stage.record.legs if leg.device == "ana-desktop"] == ["answered_elsewhere"]


def two_answers_in_the_same_instant(stage: Stage) -> None:
    """Both 200s arrive in one batch: one winner, and the other is released."""
    carrier, phones, call = _ring(stage, "ana-phone", "ana-desktop")
    first = phones[0].answer(sdp(6001))
    second = phones[1].answer(sdp(6002))
    stage.run(1.0)
    assert call.statuses.count(200) == 1
    assert call.last("INVITE").body == sdp(6001)
    assert first.live
    assert second.over
    carrier.bye(call)
    stage.run(1.0)


def cancel_of_the_caller_crosses_our_200(stage: Stage) -> None:
    """CANCEL after our 2xx has no effect (§9.2): the caller ACKs and hangs up."""
    carrier, phones, call = _ring(stage, "ana-phone")
    phones[0].answer(sdp(6000))
    stage.run(0.015)
    carrier.cancel(call)
    stage.run(0.5)
    assert call.status == 200
    assert [m.status for m in call.responses if m.method == "CANCEL"] == [200]
    assert phones[0].incoming.live
    carrier.bye(call)
    stage.run(1.0)
    assert stage.record.ended_by == "caller"


def answer_after_the_caller_left(stage: Stage) -> None:
    """The caller cancels; the callee's 200 comes all the same: ACK and BYE for it, 487 for the caller."""
    carrier, phones, call = _ring(stage, "ana-phone")
    carrier.cancel(call)
    stage.run(0.005)
    late = phones[0].answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 487
    assert [m.method for m in late.requests] == ["INVITE", "ACK", "BYE"]
    assert stage.record.reason == "caller_cancelled"


def callee_hangs_up_before_the_caller_acknowledged(stage: Stage) -> None:
    """Field hazard 2: our BYE to the caller waits for its ACK (§15)."""
    carrier, phones, call = _ring(stage, "ana-phone")
    carrier.auto_ack = False
    talk = phones[0].answer(sdp(6000))
    stage.run(0.1)
    phones[0].bye(talk)
    stage.run(1.0)
    assert not call.got("BYE")
    carrier.ack(call)
    stage.run(0.5)
    assert call.over
    assert stage.record.ended_by == "callee"


def ack_of_the_caller_is_lost(stage: Stage) -> None:
    """The 2xx is sent again at T1, doubling to T2, until an ACK comes; the callee is not disturbed."""
    carrier, phones, call = _ring(stage, "ana-phone")
    carrier.auto_ack = False
    phones[0].answer(sdp(6000))
    stage.run(10.0)
    assert stage.times(carrier, "INVITE", 200) == [0.61, 1.11, 2.11, 4.11, 8.11]
    carrier.ack(call)
    stage.run(10.0)
    assert len(stage.times(carrier, "INVITE", 200)) == 5
    carrier.bye(call)
    stage.run(1.0)


def caller_never_acknowledges(stage: Stage) -> None:
    """64·T1 without ACK: BYE to both (§13.3.1.4)."""
    carrier, phones, call = _ring(stage, "ana-phone")
    carrier.auto_ack = False
    phones[0].answer(sdp(6000))
    stage.run(40.0)
    assert len(stage.times(carrier, "INVITE", 200)) == 11
    assert call.over
    assert phones[0].incoming.over
    assert (stage.record.reason, stage.record.ended_by) == ("protocol_error", "server")


def ack_of_ours_is_lost(stage: Stage) -> None:
    """The callee repeats its 2xx until our ACK gets through; the caller hears nothing of it."""
    carrier, phones, call = _ring(stage, "ana-phone")
    _lose_next(stage, "10.0.0.1", phones[0].host, 2)
    phones[0].answer(sdp(6000))
    stage.run(5.0)
    assert 1 in phones[0].incoming.acked
    assert call.statuses.count(200) == 1
    carrier.bye(call)
    stage.run(1.0)


def late_ack_of_an_earlier_invite(stage: Stage) -> None:
    """A doubled ACK of the first INVITE does not acknowledge a later re-INVITE."""
    carrier, phones, call = _ring(stage, "ana-phone")
    phones[0].answer(sdp(6000))
    stage.run(0.5)
    carrier.auto_ack = False
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    stage.run(0.1)
    talk = phones[0].incoming
    phones[0].reply(talk, 200, sdp(6002), message=talk.got("INVITE")[1])
    stage.run(0.1)
    call.invite_cseq = 1
    carrier.ack(call)
    stage.run(1.0)
    assert len(stage.times(carrier, "INVITE", 200)) >= 3, "the 2xx of the re-INVITE still waits for its ACK"
    call.invite_cseq = 2
    carrier.ack(call)
    stage.run(5.0)
    carrier.bye(call)
    stage.run(1.0)


def both_hang_up_at_once(stage: Stage) -> None:
    """BYEs that cross are both answered 200."""
    carrier, phones, call = _ring(stage, "ana-phone")
    talk = phones[0].answer(sdp(6000))
    stage.run(0.5)
    carrier.bye(call)
    phones[0].bye(talk)
    stage.run(0.5)
    assert call.last("BYE").status == 200
    assert talk.last("BYE").status == 200


def bye_is_lost(stage: Stage) -> None:
    """A BYE of ours that is lost is sent again; a party that is gone is given up after 64·T1."""
    carrier, phones, call = _ring(stage, "ana-phone")
    talk = phones[0].answer(sdp(6000))
    stage.run(0.5)
    phones[0].node.up = False
    carrier.bye(call)
    stage.run(1.0)
    assert call.last("BYE").status == 200
    assert len(stage.world.records) == 1
    talk.over = True  # the phone was switched off: nobody can tell it
    stage.run(40.0)


def bye_for_a_call_that_is_gone(stage: Stage) -> None:
    """481 at once, for any request in a dialog that we do not know (any more)."""
    carrier, phones, call = _ring(stage, "ana-phone")
    phones[0].answer(sdp(6000))
    stage.run(0.5)
    carrier.bye(call)
    stage.run(50.0)
    for method in ("BYE", "INFO", "UPDATE", "OPTIONS", "INVITE"):
        carrier.request(call, method)
        stage.run(0.1)
        assert call.last(method).status == 481, method


def cancel_for_nothing(stage: Stage) -> None:
    """A CANCEL that matches no INVITE is answered 481."""
    carrier, _phones, call = _ring(stage, "ana-phone")
    lines = [
        ("max-forwards", "70"),
        ("from", call.local),
        ("to", f"<sip:{ANA}@cloudline.example>"),
        ("call-id", call.call_id),
        ("cseq", "1 CANCEL"),
    ]
    found: list[int] = []
    data = build.request("CANCEL", f"sip:{ANA}@cloudline.example", lines)
    carrier.send("z9hG4bKother", "CANCEL", data, lambda message: found.append(message.status))
    stage.run(0.3)
    assert found == [481]
    carrier.cancel(call)
    stage.run(1.0)


def lost_provisionals_and_finals(stage: Stage) -> None:
    """Every third datagram in every direction is lost; the call is set up and ended all the same."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    for host in (ana.host, carrier.host):
        for pair in ((host, "10.0.0.1"), ("10.0.0.1", host)):
            link = stage.world.network.link(*pair)
            link.fates = [DELIVER, LOSE, DELIVER]
            link.sent = 0
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(2.0)
    ana.ring()
    stage.run(2.0)
    talk = ana.answer(sdp(6000))
    stage.run(5.0)
    assert call.live
    ana.bye(talk)
    stage.run(10.0)
    assert call.over


def phone_loses_its_connection_while_ringing(stage: Stage) -> None:
    """A phone on TCP whose connection breaks fails at once and holds up nobody (field hazard 13)."""
    ana = stage.phone("ana-phone", "tcp")
    ben = stage.phone("ben-phone")
    stage.begin()
    call = ben.call(ANA)
    stage.run(0.5)
    ana.ring()
    stage.run(0.5)
    ana.node.up = False
    for conn in list(stage.world.network.connections):
        stage.world.network.cut(conn)
    stage.run(0.1)
    assert call.status == 480
    assert stage.record.legs[1].status == 503


def phone_comes_back_on_another_connection(stage: Stage) -> None:
    """A phone on TCP changes its connection within the call; a re-INVITE over the new one brings it back."""
    ana = stage.phone("ana-phone", "tcp")
    carrier = stage.carrier()
    carrier.answers = 4000
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    talk = stage.talk(carrier, call, ana)
    for conn in list(stage.world.network.connections):
        stage.world.network.cut(conn)
    stage.run(1.0)
    assert call.live
    ana.request(talk, "INVITE", sdp(6001, 1, 2))
    stage.run(1.0)
    assert talk.last("INVITE").status == 200
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over


def callee_registers_elsewhere_and_calls_back(stage: Stage) -> None:
    """Two calls of the same two people at the same time are two calls."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    stage.begin()
    there = ana.call(BEN)
    back = ben.call(ANA)
    stage.run(0.3)
    assert stage.world.calls == 2
    first = ben.answer(sdp(6001))
    second = ana.answer(sdp(6002))
    stage.run(0.5)
    assert there.last("INVITE").body == sdp(6001)
    assert back.last("INVITE").body == sdp(6002)
    ben.bye(first)
    ben.bye(back)
    stage.run(0.5)
    assert second.over
    assert there.over
