"""Calls from a carrier to a cloud number: the owner's devices ring (RFC 3665 §3, INC-05 to INC-10)."""

from __future__ import annotations

from tests.scenarios.stage import ANA, CALLER, Stage
from tests.support.party import sdp


def session_established_callee_hangs_up(stage: Stage) -> None:
    """RFC 3665 §3.1, with us in the middle; Bob hangs up."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.5)
    ana.ring()
    stage.run(2.0)
    talk = ana.answer(sdp(6000))
    stage.run(3.0)
    invite = talk.invite
    assert invite is not None
    assert invite.get("p-called-party-id") == f"<sip:{ANA}@cloudline.example>"
    assert invite.get("p-asserted-identity") == f"<sip:{CALLER}@cloudline.example>"
    assert invite.get("max-forwards") == "69"
    ana.bye(talk, (("reason", 'Q.850;cause=16;text="bye"'),))
    stage.run(1.0)
    assert call.got("BYE")[0].all("reason") == ['Q.850;cause=16;text="bye"']
    record = stage.record
    assert (record.reason, record.ended_by, record.status) == ("normal_clearing", "callee", 200)
    assert record.billable_seconds == 3


def session_established_caller_hangs_up(stage: Stage) -> None:
    """The same, and the caller hangs up."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    talk = stage.talk(carrier, call, ana)
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over
    assert stage.record.ended_by == "caller"


def all_devices_ring_one_answers(stage: Stage) -> None:
    """INC-05, INC-07: the losers get CANCEL with the reason by which they do not note a missed call."""
    phones = [stage.phone("ana-phone"), stage.phone("ana-desktop", "tcp"), stage.phone("ana-browser")]
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    for phone in phones:
        phone.ring()
        stage.run(0.2)
    phones[1].answer(sdp(6000))
    stage.run(1.0)
    assert call.statuses == [100, 180, 200]  # further ringing is no news to the caller
    for loser in (phones[0], phones[2]):
        cancelled = loser.incoming.cancelled
        assert cancelled is not None
        assert cancelled.all("reason") == ['SIP;cause=200;text="Call completed elsewhere"']
    carrier.bye(call)
    stage.run(1.0)
    record = stage.record
    assert record.device == "ana-desktop"
    assert sorted(f"{leg.device} {leg.reason}" for leg in record.legs) == [
        " normal_clearing",
        "ana-browser answered_elsewhere",
        "ana-desktop normal_clearing",
        "ana-phone answered_elsewhere",
    ]


def caller_gives_up_while_ringing(stage: Stage) -> None:
    """RFC 3665 §3.8 and INC-09: every device is cancelled, and none is told that the call was completed elsewhere."""
    first, second = stage.phone("ana-phone"), stage.phone("ana-desktop")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    first.ring()
    stage.run(2.0)
    carrier.cancel(call)
    stage.run(1.0)
    assert call.status == 487
    assert first.incoming.cancelled is not None
    assert not first.incoming.cancelled.has("reason")
    # the second device never said a word, not even 100: its CANCEL waits for that (§9.1), here its transaction's own 100
    assert second.incoming.cancelled is not None
    record = stage.record
    assert (record.reason, record.ended_by, record.status) == ("caller_cancelled", "caller", 487)


def caller_gives_up_with_a_reason(stage: Stage) -> None:
    """A reason of the caller's side crosses, but not the claim that the call was completed elsewhere (INC-09)."""
    phone = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    phone.ring()
    stage.run(1.0)
    carrier.cancel(call, (("reason", 'Q.850;cause=16;text="caller hung up"'),))
    stage.run(1.0)
    again = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    phone.ring()
    carrier.cancel(again, (("reason", 'SIP ;cause=200 ;text="Call completed elsewhere"'),))
    stage.run(1.0)
    first, second = [dialog.cancelled for dialog in phone.dialogs]
    assert first is not None
    assert second is not None
    assert first.all("reason") == ['Q.850;cause=16;text="caller hung up"']
    assert second.all("reason") == []


def caller_ends_its_early_dialog_with_bye(stage: Stage) -> None:
    """RFC 3261 §15: the caller may BYE an early dialog; its INVITE is answered 487."""
    phone = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    phone.ring()
    stage.run(1.0)
    carrier.bye(call)
    stage.run(1.0)
    assert call.status == 487
    assert phone.incoming.cancelled is not None
    assert stage.record.ended_by == "caller"


def busy_here(stage: Stage) -> None:
    """RFC 3665 §3.9: the only device is busy; the caller is told."""
    phone = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    phone.reply(phone.incoming, 486)
    stage.run(1.0)
    assert call.status == 486
    final = call.last("INVITE")
    assert final.all("reason") == ['SIP;cause=486;text="busy"', "Q.850;cause=17"]
    assert final.get("warning") == '399 cloudline "The callee is busy."'
    record = stage.record
    assert (record.reason, record.ended_by, record.cause) == ("busy", "callee", 17)


def no_answer(stage: Stage) -> None:
    """RFC 3665 §3.10: the device rings for the whole ring time (30 s)."""
    phone = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    phone.ring()
    stage.run(35.0)
    assert call.status == 480
    assert phone.incoming.cancelled is not None
    assert "completed elsewhere" not in str(phone.incoming.cancelled.all("reason"))
    record = stage.record
    assert (record.reason, record.ended_by, record.cause) == ("no_answer", "server", 19)


def nobody_registered(stage: Stage) -> None:
    """RFC 3665 §3.11: 480 at once."""
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(1.0)
    assert call.status == 480
    assert stage.record.reason == "unreachable"


def unknown_number(stage: Stage) -> None:
    """INC-01: there is no such number."""
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call("+33639981999", caller=CALLER)
    stage.run(1.0)
    assert call.status == 404
    assert stage.record.reason == "unknown_number"


def best_response_of_several(stage: Stage) -> None:
    """RFC 3261 §16.7: 486 says more about the callee than 480 and 408, whatever came first or last."""
    phones = [stage.phone("ana-phone"), stage.phone("ana-desktop"), stage.phone("ana-browser")]
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    for phone, status in zip(phones, (480, 486, 500), strict=True):
        phone.reply(phone.incoming, status)
        stage.run(0.2)
    stage.run(1.0)
    assert call.status == 486


def declining_stops_the_other_devices(stage: Stage) -> None:
    """INC-08: a 6xx from one device is the user's answer."""
    first, second = stage.phone("ana-phone"), stage.phone("ana-desktop")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    first.ring()
    second.ring()
    stage.run(1.0)
    first.reply(first.incoming, 603)
    stage.run(1.0)
    assert call.status == 603
    assert second.incoming.cancelled is not None
    assert second.incoming.cancelled.all("reason") == ['SIP;cause=603;text="Declined elsewhere"']
    record = stage.record
    assert (record.reason, record.ended_by) == ("declined", "callee")


def late_device_joins(stage: Stage) -> None:
    """DEV-05: a device that registers while its user is rung gets the INVITE at once, and may answer."""
    first = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    first.ring()
    stage.run(3.0)
    late = stage.phone("ana-desktop")
    stage.run(0.3)
    late.ring()
    stage.run(1.0)
    late.answer(sdp(6100))
    stage.run(1.0)
    assert call.status == 200
    assert call.last("INVITE").body == sdp(6100)
    assert first.incoming.cancelled is not None
    carrier.bye(call)
    stage.run(1.0)
    assert stage.record.device == "ana-desktop"


def late_device_of_one_who_declined(stage: Stage) -> None:
    """INC-08: who declined is not rung again because another of the devices wakes up."""
    first = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    first.reply(first.incoming, 603)
    late = stage.phone("ana-desktop")
    stage.run(1.0)
    assert call.status == 603
    assert not late.rang


def late_offer(stage: Stage) -> None:
    """No SDP in the INVITE: the callee offers in its 2xx, the answer travels in the ACKs (RFC 3665 §3.7, RFC 3264)."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    carrier.auto_ack = False
    stage.begin()
    call = carrier.call(ANA, b"", caller=CALLER)
    stage.run(0.3)
    ana.ring()
    talk = ana.answer(sdp(6000))
    stage.run(0.2)
    assert call.last("INVITE").body == sdp(6000)
    assert not talk.got("ACK")  # it has to carry the answer
    carrier.ack(call, sdp(4000))
    stage.run(1.0)
    assert talk.got("ACK")[0].body == sdp(4000)
    ana.bye(talk)
    stage.run(1.0)
    assert call.over


def early_media_and_change_of_mind(stage: Stage) -> None:
    """183 with a description, then another one: the caller sees another early dialog, never two answers in one (RFC 6337)."""
    first, second = stage.phone("ana-phone"), stage.phone("ana-desktop")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    first.ring(183, sdp(6001))
    stage.run(0.3)
    second.ring(183, sdp(6002))
    stage.run(0.3)
    second.answer(sdp(6002))
    stage.run(1.0)
    tags = [message.to_tag for message in call.responses if message.status > 100]
    assert tags[0] != tags[1]
    assert tags[1] == tags[2]
    carrier.bye(call)
    stage.run(1.0)


def callee_behind_a_forking_proxy_answers_twice(stage: Stage) -> None:
    """Two 2xx with different tags to one INVITE: the first is the call, the second gets ACK and BYE (§13.2.2.4)."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.ring(tag="fork-one")
    ana.ring(tag="fork-two")
    stage.run(0.3)
    dialog = ana.incoming
    ana.reply(dialog, 200, sdp(6001), tag="fork-one")
    ana.reply(dialog, 200, sdp(6002), tag="fork-two")
    stage.run(1.0)
    acks = [message.to_tag for message in dialog.got("ACK")]
    byes = [message.to_tag for message in dialog.got("BYE")]
    assert acks == ["fork-one", "fork-two"]
    assert byes == ["fork-two"]
    assert call.last("INVITE").body == sdp(6001)
    dialog.over = False  # the script plays two phones behind one Call-ID; the first one talks on
    carrier.bye(call)
    stage.run(1.0)
    assert [message.to_tag for message in dialog.got("BYE")] == ["fork-two", "fork-one"]


def merged_request(stage: Stage) -> None:
    """RFC 3261 §8.2.2.2: the same INVITE by a second way is no second call: 482."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.ring()
    stage.run(0.3)
    invite = next(data for _, source, _, data in stage.world.network.log if source == carrier.host)
    start, _, rest = invite.partition(b"\r\n")
    copy = start + b"\r\n" + rest.partition(b"\r\n")[2]  # without the Via: the endpoint puts another one in
    found: list[int] = []
    carrier.send("z9hG4bKcopy", "INVITE", copy, lambda message: found.append(message.status))
    stage.run(0.5)
    assert found == [482]
    ana.answer(sdp(6000))
    stage.run(0.5)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)
    assert len(ana.dialogs) == 1
