"""Within a call: hold, re-INVITE, UPDATE, glare, INFO, MESSAGE, OPTIONS (RFC 3261 §14, RFC 5359 §2.1, RFC 3311, RFC 6086)."""

from __future__ import annotations

from callcontrol.sip.message import Message
from tests.scenarios.stage import ANA, CALLER, Stage
from tests.support.party import Dialog, Party, sdp


def _up(stage: Stage) -> tuple[Party, Party, Dialog, Dialog]:
    """A carrier and a phone talk: (carrier, phone, the carrier's dialog, the phone's)."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    return carrier, ana, call, stage.talk(carrier, call, ana)


def hold_and_resume(stage: Stage) -> None:
    """RFC 5359 §2.1: the phone holds (sendonly, recvonly) and resumes; the other side is asked each time."""
    carrier, ana, call, talk = _up(stage)
    ana.request(talk, "INVITE", sdp(6000, 1, 2, "sendonly"))
    stage.run(0.2)
    asked = call.got("INVITE")[0]
    assert asked.body == sdp(6000, 1, 2, "sendonly")
    carrier.reply(call, 200, sdp(4000, 1, 2, "recvonly"), message=asked)
    stage.run(1.0)
    assert talk.last("INVITE").body == sdp(4000, 1, 2, "recvonly")
    assert [m.method for m in call.requests] == ["INVITE", "ACK"]
    ana.request(talk, "INVITE", sdp(6000, 1, 3))
    stage.run(0.2)
    carrier.reply(call, 200, sdp(4000, 1, 3), message=call.got("INVITE")[1])
    stage.run(1.0)
    carrier.bye(call)
    stage.run(1.0)


def reinvite_by_the_caller(stage: Stage) -> None:
    """The other direction, with a new Contact: what follows goes there (§12.2.1.2)."""
    carrier, ana, call, talk = _up(stage)
    carrier.request(call, "INVITE", sdp(4002, 1, 2), headers=(("subject", "video please"),))
    stage.run(0.2)
    asked = talk.got("INVITE")[1]
    assert asked.body == sdp(4002, 1, 2)
    assert asked.get("subject") == "video please"
    ana.reply(talk, 200, sdp(6002), message=asked)
    stage.run(1.0)
    assert call.last("INVITE").body == sdp(6002)
    ana.bye(talk)
    stage.run(1.0)


def reinvite_without_offer(stage: Stage) -> None:
    """Late offer within the call: the answer travels in both ACKs."""
    carrier, ana, call, talk = _up(stage)
    carrier.auto_ack = False
    carrier.request(call, "INVITE")
    stage.run(0.2)
    asked = talk.got("INVITE")[1]
    assert not asked.body
    ana.reply(talk, 200, sdp(6002), message=asked)
    stage.run(0.2)
    assert call.last("INVITE").body == sdp(6002)
    assert len(talk.got("ACK")) == 1, "the ACK waits for the caller's answer"
    carrier.ack(call, sdp(4002))
    stage.run(0.5)
    assert talk.got("ACK")[1].body == sdp(4002)
    ana.bye(talk)
    stage.run(1.0)


def reinvite_is_refused(stage: Stage) -> None:
    """488: the session goes on as it was; what was refused is not taken for agreed later (RFC 6141)."""
    carrier, ana, call, talk = _up(stage)
    carrier.request(call, "INVITE", sdp(4999, 1, 2))
    stage.run(0.2)
    asked = talk.got("INVITE")[1]
    ana.reply(talk, 488, headers=(("retry-after", "5"),), message=asked)
    stage.run(0.5)
    assert call.last("INVITE").status == 488
    assert call.last("INVITE").get("retry-after") == "5"
    live = next(iter(stage.world.server.runner.calls.values()))
    assert b"4999" not in live.legs["a"].usage.remote_body
    assert b"4999" not in live.legs["b1"].usage.local_body
    carrier.request(call, "INFO", b"Signal=5\r\n", "application/dtmf-relay")
    stage.run(0.5)
    assert call.last("INFO").status == 200
    carrier.bye(call)
    stage.run(1.0)
    assert stage.record.reason == "normal_clearing"


def statuses_of_a_reinvite_across(stage: Stage) -> None:
    """What speaks of the offer crosses; what speaks of the other side's dialog does not end the asker's."""
    carrier, ana, call, talk = _up(stage)
    for given, told in ((603, 603), (606, 606), (500, 500), (503, 500), (302, 488), (407, 488), (415, 415)):
        carrier.request(call, "INVITE", sdp(4002, 1, 2))
        stage.run(0.2)
        ana.reply(talk, given, message=talk.got("INVITE")[-1])
        stage.run(0.5)
        assert call.last("INVITE").status == told, given
    assert call.live
    carrier.bye(call)
    stage.run(1.0)


def glare_of_the_parties(stage: Stage) -> None:
    """Both re-INVITE at once: each is told 491 by us, whose own re-INVITE is under way there (§14.1)."""
    carrier, ana, call, talk = _up(stage)
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    stage.run(0.005)
    ana.request(talk, "INVITE", sdp(6002, 1, 2))
    stage.run(0.2)
    assert talk.last("INVITE").status == 491
    ana.reply(talk, 491, message=talk.got("INVITE")[1])
    stage.run(0.5)
    assert call.last("INVITE").status == 491
    # the one that does not own the Call-ID of its dialog comes back first
    ana.request(talk, "INVITE", sdp(6002, 1, 3))
    stage.run(0.2)
    carrier.reply(call, 200, sdp(4000), message=call.got("INVITE")[-1])
    stage.run(0.5)
    assert talk.last("INVITE").status == 200
    carrier.bye(call)
    stage.run(1.0)


def second_reinvite_before_the_first_is_answered(stage: Stage) -> None:
    """§14.2: 500 with Retry-After for an INVITE that comes while the peer's earlier one is open."""
    carrier, ana, call, talk = _up(stage)
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    stage.run(0.2)
    first = talk.got("INVITE")[1]
    carrier.request(call, "INVITE", sdp(4003, 1, 3))
    stage.run(0.2)
    final = next(m for m in call.responses if m.cseq == 3)
    assert final.status == 500
    assert 0 <= int(final.get("retry-after") or "-1") <= 10
    call.invite_cseq -= 1
    ana.reply(talk, 200, sdp(6002), message=first)
    stage.run(0.5)
    carrier.bye(call)
    stage.run(1.0)
    assert call.last("BYE").status == 200


def reinvite_crosses_bye(stage: Stage) -> None:
    """The phone asks while the caller hangs up: 487 or 481 for the re-INVITE, and both sides are released."""
    carrier, ana, call, talk = _up(stage)
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    stage.run(0.2)
    ana.bye(talk)
    stage.run(0.5)
    assert call.last("INVITE").status == 487
    assert call.over
    assert stage.record.ended_by == "callee"


def reinvite_answered_after_the_asker_hung_up(stage: Stage) -> None:
    """The 2xx of a re-INVITE whose asker is gone is ACKed all the same, or it is repeated at us for 32 s."""
    carrier, ana, call, talk = _up(stage)
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    stage.run(0.2)
    asked = talk.got("INVITE")[1]
    stage.world.network.link("10.0.0.1", ana.host).latency = 0.3  # our BYE is slow
    carrier.bye(call)
    stage.run(0.1)
    ana.reply(talk, 200, sdp(6002), message=asked)
    stage.run(2.0)
    assert asked.cseq in talk.acked
    assert talk.over


def cancelled_reinvite(stage: Stage) -> None:
    """A re-INVITE that rings (for video, say) and is cancelled by its asker: the other party is no longer asked either."""
    carrier, ana, call, talk = _up(stage)
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    branch = f"z9hG4bK{carrier.name}{carrier._ids}q"
    stage.run(0.5)
    ana.reply(talk, 180, message=talk.got("INVITE")[1])
    stage.run(0.5)
    call.invite_branch = branch
    carrier.cancel(call)
    stage.run(0.1)
    assert talk.cancelled is not None
    ana.reply(talk, 487, message=talk.got("INVITE")[1])
    stage.run(0.5)
    assert call.last("INVITE").status == 487
    assert call.live or call.responses
    call.over = False
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over


def reinvite_without_any_end(stage: Stage) -> None:
    """100 and then nothing: after three minutes the re-INVITE is cancelled, then given up; the call goes on."""
    carrier, ana, call, talk = _up(stage)
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    stage.run(185.0)
    assert talk.cancelled is not None
    stage.run(40.0)
    assert call.last("INVITE").status == 500
    ana.request(talk, "INFO", b"1", "text/plain")
    stage.run(0.5)
    assert talk.last("INFO").status == 200
    carrier.bye(call)
    stage.run(1.0)


def update_with_offer(stage: Stage) -> None:
    """UPDATE crosses as UPDATE where both sides know it (RFC 3311)."""
    carrier, ana, call, talk = _up(stage)
    ana.request(talk, "UPDATE", sdp(6000, 1, 2, "sendonly"))
    stage.run(0.2)
    asked = call.got("UPDATE")[0]
    carrier.reply(call, 200, sdp(4000, 1, 2, "recvonly"), message=asked)
    stage.run(0.5)
    assert talk.last("UPDATE").body == sdp(4000, 1, 2, "recvonly")
    carrier.bye(call)
    stage.run(1.0)


def update_for_a_party_without_it(stage: Stage) -> None:
    """A party that does not allow UPDATE is asked by re-INVITE."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    carrier.allow = "INVITE, ACK, CANCEL, BYE"
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    talk = stage.talk(carrier, call, ana)
    ana.request(talk, "UPDATE", sdp(6002, 1, 2))
    stage.run(0.2)
    assert not call.got("UPDATE")
    carrier.reply(call, 200, sdp(4002), message=call.got("INVITE")[0])
    stage.run(0.5)
    assert talk.last("UPDATE").status == 200
    assert talk.last("UPDATE").body == sdp(4002)
    assert len(call.got("ACK")) == 1
    carrier.bye(call)
    stage.run(1.0)


def update_without_description(stage: Stage) -> None:
    """A refresh is answered on its own leg; the other side hears nothing of it."""
    carrier, ana, call, talk = _up(stage)
    carrier.request(call, "UPDATE")
    stage.run(0.5)
    assert call.last("UPDATE").status == 200
    assert not talk.got("UPDATE")
    assert not talk.got("INVITE")[1:]
    ana.bye(talk)
    stage.run(1.0)


def info_both_ways(stage: Stage) -> None:
    """DTMF by INFO crosses with its body; the same digit twice is two digits (RFC 6086, field hazard 23)."""
    carrier, ana, call, talk = _up(stage)
    for _ in range(2):
        carrier.request(call, "INFO", b"Signal=5\r\nDuration=160\r\n", "application/dtmf-relay")
        stage.run(0.2)
    ana.request(talk, "INFO", b"Signal=#\r\n", "application/dtmf-relay")
    stage.run(0.2)
    assert [m.body for m in talk.got("INFO")] == [b"Signal=5\r\nDuration=160\r\n"] * 2
    assert talk.got("INFO")[0].content_type == "application/dtmf-relay"
    assert call.got("INFO")[0].body == b"Signal=#\r\n"
    assert [m.status for m in call.responses if m.method == "INFO"] == [200, 200]
    carrier.bye(call)
    stage.run(1.0)


def info_before_the_caller_acknowledged(stage: Stage) -> None:
    """The callee's first digit may be faster than the caller's ACK; it is not lost."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    carrier.auto_ack = False
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.ring()
    talk = ana.answer(sdp(6000))
    stage.run(0.1)
    ana.request(talk, "INFO", b"Signal=1\r\n", "application/dtmf-relay")
    stage.run(0.1)
    assert call.got("INFO")[0].body == b"Signal=1\r\n"
    carrier.ack(call)
    stage.run(0.5)
    carrier.bye(call)
    stage.run(1.0)


def info_is_refused(stage: Stage) -> None:
    """What the other party says to an INFO is what the asker is told; 481 to an INFO ends no call (RFC 5057)."""
    carrier, ana, call, _talk = _up(stage)

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "INFO":
            ana.reply(dialog, 415 if message.cseq % 2 else 481, message=message)
        return message.method == "INFO"

    ana.auto = auto
    for _ in range(2):
        carrier.request(call, "INFO", b"x", "application/unknown")
        stage.run(0.3)
    assert sorted(m.status for m in call.responses if m.method == "INFO") == [415, 488]
    assert call.live
    carrier.bye(call)
    stage.run(1.0)


def message_in_the_call(stage: Stage) -> None:
    """MESSAGE within the dialog crosses (RFC 3428); a body without a type is no reason to invent one."""
    carrier, ana, call, talk = _up(stage)

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "MESSAGE":
            ana.reply(dialog, 202, message=message)
        return message.method == "MESSAGE"

    ana.auto = auto
    carrier.request(call, "MESSAGE", "Grüße".encode("latin-1"), "text/plain;charset=iso-8859-1")
    stage.run(0.3)
    assert call.last("MESSAGE").status == 202
    sent = talk.got("MESSAGE")[0]
    assert sent.body == "Grüße".encode("latin-1")
    assert sent.get("content-type") == "text/plain;charset=iso-8859-1"
    carrier.bye(call)
    stage.run(1.0)


def options_in_the_call(stage: Stage) -> None:
    """OPTIONS within the dialog asks us, not the other party; a NOTIFY that nobody subscribed to is refused."""
    carrier, ana, call, talk = _up(stage)
    ana.request(talk, "OPTIONS")
    ana.request(talk, "NOTIFY", headers=(("event", "refer"), ("subscription-state", "active")))
    stage.run(0.5)
    assert talk.last("OPTIONS").status == 200
    assert "UPDATE" in (talk.last("OPTIONS").get("allow") or "")
    assert talk.last("NOTIFY").status == 481
    assert not call.got("OPTIONS")
    carrier.bye(call)
    stage.run(1.0)


def unknown_method_in_the_call(stage: Stage) -> None:
    """501 with what we know; the call goes on."""
    carrier, ana, call, talk = _up(stage)
    ana.request(talk, "DANCE")
    stage.run(0.5)
    assert talk.last("DANCE").status == 501
    assert talk.last("DANCE").has("allow")
    carrier.bye(call)
    stage.run(1.0)


def out_of_order_request(stage: Stage) -> None:
    """§12.2.2: a CSeq that does not count upwards is refused with 500, and changes nothing."""
    carrier, ana, call, talk = _up(stage)
    ana.request(talk, "INFO", b"1", "text/plain")
    stage.run(0.2)
    talk.cseq = 0
    ana.request(talk, "BYE")
    stage.run(0.5)
    assert talk.last("BYE").status == 500
    talk.over = False
    assert call.live
    carrier.bye(call)
    stage.run(1.0)


def maximum_duration(stage: Stage) -> None:
    """A call that nobody ends is ended by us (14400 s by default, here 60)."""
    stage.configure(max_duration_seconds=60.0)
    _carrier, _ana, call, talk = _up(stage)
    stage.run(62.0)
    assert call.over
    assert talk.over
    record = stage.record
    assert (record.reason, record.ended_by) == ("max_duration", "server")
    assert call.got("BYE")[0].all("reason") == ['Q.850;cause=102;text="max_duration"']


def operator_hangs_up(stage: Stage) -> None:
    """A call that the operator ends, while it is up."""
    _carrier, _ana, call, talk = _up(stage)
    runner = stage.world.server.runner
    ref = next(iter(runner.calls))
    assert runner.hang_up(ref, "operator", stage.world.now())
    runner.flush(stage.world.now())
    stage.world.node.settle()
    stage.run(1.0)
    assert call.over
    assert talk.over
    assert not runner.hang_up(ref, "operator", stage.world.now())
    assert (stage.record.reason, stage.record.ended_by) == ("operator", "server")


def operator_hangs_up_while_ringing(stage: Stage) -> None:
    """The same before the answer."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.ring()
    stage.run(1.0)
    runner = stage.world.server.runner
    runner.hang_up(next(iter(runner.calls)), "operator", stage.world.now())
    runner.flush(stage.world.now())
    stage.world.node.settle()
    stage.run(1.0)
    assert call.status == 480
    assert ana.incoming.cancelled is not None
    assert (stage.record.reason, stage.record.ended_by) == ("operator", "server")


def a_flood_of_requests(stage: Stage) -> None:
    """A party that asks faster than the other answers is told to come back later; the call goes on."""
    carrier, ana, call, talk = _up(stage)
    ana.auto = lambda dialog, message, key: message.method == "INFO"
    for _ in range(50):
        carrier.request(call, "INFO", b"x", "text/plain")
    stage.run(0.3)
    assert len(talk.got("INFO")) == 20
    refused = [m for m in call.responses if m.method == "INFO"]
    assert [m.status for m in refused] == [500] * 30
    assert all(m.has("retry-after") for m in refused)
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over
