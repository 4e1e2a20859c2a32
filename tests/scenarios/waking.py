"""Devices that sleep: a push wakes them, and the INVITE reaches them when they register (DEV-04 to DEV-06, INC-06, INC-09)."""

from __future__ import annotations

from tests.scenarios.stage import ANA, BEN, CALLER, CLEO, Stage
from tests.support.party import sdp

MISSED = ["incoming_call", "call_ended missed", "missed_call"]


def sleeping_phone_wakes_and_answers(stage: Stage) -> None:
    """DEV-04, DEV-05: the push goes out at once, the INVITE as soon as the phone registers; only then the caller hears ringing."""
    phone = stage.sleeper("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.5)
    (push,) = stage.world.pushes.to("ana-phone")
    assert (push.type, push.number, push.caller, push.ttl_s) == ("incoming_call", ANA, CALLER, 30.0)
    stage.run(2.0)
    assert call.statuses == [100], "nothing rings yet"
    phone.register()
    stage.run(0.3)
    invite = phone.incoming.invite
    assert invite is not None
    assert invite.get("x-cloudline-call") == push.call, "the phone knows the call that it was woken for"
    phone.ring()
    stage.run(2.0)
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert call.statuses == [100, 180, 200]
    carrier.bye(call)
    stage.run(1.0)
    assert stage.pushed("ana-phone") == ["incoming_call"], "whoever answered needs no telling"
    assert stage.record.device == "ana-phone"


def nobody_wakes(stage: Stage) -> None:
    """INC-06: with nobody there by the wake deadline the call ends after 8 s, not after the ring time of 30 s."""
    stage.sleeper("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(7.9)
    assert call.status == 100
    stage.run(0.5)
    assert call.status == 480
    assert stage.record.reason == "unreachable"
    assert stage.pushed("ana-phone") == MISSED, "nobody else would tell that person"


def one_rings_while_another_sleeps_on(stage: Stage) -> None:
    """A device that rings is not cut short because another one did not wake."""
    desktop = stage.phone("ana-desktop")
    stage.pushable("ana-desktop")
    stage.sleeper("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    desktop.ring()
    stage.run(25.0)
    assert call.status == 180
    stage.run(6.0)
    assert call.status == 480
    assert stage.record.reason == "no_answer"
    assert stage.pushed("ana-phone") == MISSED
    assert stage.pushed("ana-desktop") == ["missed_call"], "it was there: nothing had to wake it"


def phone_that_came_to_be_during_the_call_is_told_of_it(stage: Stage) -> None:
    """INC-09: a phone that no push could reach when the call began, and that joined it late, has missed it like any other."""
    desktop, phone = stage.phone("ana-desktop"), stage.phone("ana-phone", host="10.1.9.9")
    phone.register(expires=0)
    carrier = stage.carrier()
    stage.run(0.5)
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    desktop.ring()
    stage.run(2.0)
    stage.pushable("ana-phone")
    phone.register()
    stage.run(0.3)
    phone.ring()
    stage.run(30.0)
    assert call.status == 480
    assert stage.pushed("ana-phone") == ["missed_call"]
    assert stage.pushed("ana-desktop") == [], "no push can reach it"


def second_phone_wakes_after_the_first(stage: Stage) -> None:
    """Whoever comes second is rung as well, and may answer."""
    first, second = stage.sleeper("ana-phone"), stage.sleeper("ana-browser")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(2.0)
    first.register()
    stage.run(0.3)
    first.ring()
    stage.run(3.0)
    second.register()
    stage.run(0.3)
    second.ring()
    stage.run(2.0)
    second.answer(sdp(6100))
    stage.run(1.0)
    assert call.last("INVITE").body == sdp(6100)
    assert first.incoming.cancelled is not None
    assert stage.pushed("ana-phone") == ["incoming_call", "call_ended answered_elsewhere"]
    assert stage.pushed("ana-browser") == ["incoming_call"]
    carrier.bye(call)
    stage.run(1.0)


def woken_phone_registers_again_and_again(stage: Stage) -> None:
    """DEV-06: one device gets one INVITE, however often it registers."""
    phone = stage.sleeper("ana-phone")
    phone.contact_params = ';+sip.instance="<urn:uuid:00000000-0000-1000-8000-aabbccddeeff>"'
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(1.0)
    for _ in range(3):
        phone.register()
        stage.run(0.5)
    phone.ring()
    phone.register()
    stage.run(1.0)
    assert len(phone.dialogs) == 1
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)


def phone_wakes_when_another_has_answered(stage: Stage) -> None:
    """Who comes too late is not rung; its push channel has told it why."""
    desktop = stage.phone("ana-desktop")
    late = stage.sleeper("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    desktop.ring()
    stage.run(1.0)
    desktop.answer(sdp(6000))
    stage.run(1.0)
    late.register()
    stage.run(1.0)
    assert not late.rang
    assert stage.pushed("ana-phone") == ["incoming_call", "call_ended answered_elsewhere"]
    carrier.bye(call)
    stage.run(1.0)
    assert stage.pushed("ana-phone")[2:] == [], "nothing was missed"


def caller_leaves_before_the_phone_wakes(stage: Stage) -> None:
    """INC-09: the phone that was woken for nothing is told so, and that there was a call."""
    phone = stage.sleeper("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(2.0)
    carrier.cancel(call)
    stage.run(1.0)
    phone.register()
    stage.run(1.0)
    assert call.status == 487
    assert not phone.rang
    assert stage.pushed("ana-phone") == ["incoming_call", "call_ended cancelled", "missed_call"]


def caller_leaves_while_the_woken_phone_rings(stage: Stage) -> None:
    """INC-09: one missed call for the device that rang; none for the one that says busy itself."""
    phone, busy = stage.sleeper("ana-phone"), stage.sleeper("ana-desktop")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(1.0)
    phone.register()
    busy.register()
    stage.run(0.3)
    phone.ring()
    busy.reply(busy.incoming, 486)
    stage.run(2.0)
    carrier.cancel(call)
    stage.run(1.0)
    assert phone.incoming.cancelled is not None
    assert stage.pushed("ana-phone") == ["incoming_call", "call_ended cancelled", "missed_call"]
    assert stage.pushed("ana-desktop") == ["incoming_call", "call_ended cancelled"]


def woken_phone_is_busy(stage: Stage) -> None:
    """Everybody who was waited for has said no: the call does not wait for the deadline."""
    phone = stage.sleeper("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(1.0)
    phone.register()
    stage.run(0.3)
    phone.reply(phone.incoming, 486)
    stage.run(0.5)
    assert call.status == 486
    assert stage.record.reason == "busy"


def busy_device_does_not_end_the_wait_for_a_sleeper(stage: Stage) -> None:
    """A device that is busy costs the one that sleeps nothing of its time."""
    desktop = stage.phone("ana-desktop")
    phone = stage.sleeper("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    desktop.reply(desktop.incoming, 486)
    stage.run(4.0)
    assert call.status == 100
    phone.register()
    stage.run(0.3)
    phone.ring()
    stage.run(1.0)
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)


def declining_tells_the_sleepers(stage: Stage) -> None:
    """INC-08: who declines on one device is not waited for on another one, which is told so."""
    desktop = stage.phone("ana-desktop")
    stage.sleeper("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    desktop.reply(desktop.incoming, 603)
    stage.run(1.0)
    assert call.status == 603
    assert stage.pushed("ana-phone") == ["incoming_call", "call_ended answered_elsewhere"]


def dead_connection_is_noticed_and_the_phone_woken(stage: Stage) -> None:
    """A connection that is gone fails in milliseconds, holds up nobody, and the phone behind it is pushed."""
    phone = stage.phone("ana-phone", "tcp")
    stage.pushable("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    for conn in list(stage.world.network.connections):
        stage.world.network.cut(conn)
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.1)
    assert stage.pushed("ana-phone") == ["incoming_call"]
    stage.run(1.0)
    phone.register()
    stage.run(0.5)
    phone.ring()
    stage.run(1.0)
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)


def phone_of_a_mobile_network_that_forgot_it(stage: Stage) -> None:
    """UDP, long silent: the INVITE gets no response, so a second later the phone is pushed; it comes from another port."""
    phone = stage.phone("ana-phone")
    stage.pushable("ana-phone")
    carrier = stage.carrier()
    stage.run(300.0)
    phone.node.up = False
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.9)
    assert stage.pushed("ana-phone") == []
    stage.run(0.3)
    assert stage.pushed("ana-phone") == ["incoming_call"]
    awake = stage.phone("ana-phone", host="10.1.9.9")
    awake.contact = phone.contact.replace(phone.host, awake.host)
    stage.run(0.3)
    assert len(awake.dialogs) == 1
    awake.ring()
    stage.run(1.0)
    awake.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)


def phone_of_a_mobile_network_wakes_where_it_was(stage: Stage) -> None:
    """The same, but its network gives it the same port: the INVITE that was lost goes out again the moment it is heard."""
    phone = stage.phone("ana-phone")
    stage.pushable("ana-phone")
    carrier = stage.carrier()
    stage.run(300.0)
    phone.node.up = False
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(4.0)
    assert stage.pushed("ana-phone") == ["incoming_call"]
    phone.node.up = True
    phone.register()
    stage.run(0.1)
    assert phone.rang, "its next retransmission would have come 3 s later"
    phone.ring()
    stage.run(1.0)
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    assert len(phone.dialogs) == 1
    carrier.bye(call)
    stage.run(1.0)


def long_silent_phone_that_rings_is_not_pushed(stage: Stage) -> None:
    """A phone that was silent for long and is there all the same answers its INVITE: the push is not sent."""
    phone = stage.phone("ana-phone")
    stage.pushable("ana-phone")
    carrier = stage.carrier()
    stage.run(300.0)
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.5)
    phone.ring()
    stage.run(5.0)
    assert stage.pushed("ana-phone") == []
    phone.answer(sdp(6000))
    stage.run(1.0)
    carrier.bye(call)
    stage.run(1.0)
    assert stage.pushed("ana-phone") == []


def phone_with_a_push_token_sleeps_and_wakes(stage: Stage) -> None:
    """RFC 8599: its registration outlives its connection; the INVITE shows nothing of its token."""
    phone = stage.phone("ana-phone", "tcp")
    stage.pushable("ana-phone")
    phone.contact = phone.contact.replace(">", ";pn-provider=acme;pn-prid=ZH5Xa;pn-param=x>")
    phone.register()
    stage.run(0.5)
    carrier = stage.carrier()
    for conn in list(stage.world.network.connections):
        stage.world.network.cut(conn)
        stage.world.server.registrar.connection_lost(conn)
    stage.run(1.0)
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(2.0)
    assert stage.pushed("ana-phone") == ["incoming_call"]
    phone.register()
    stage.run(0.5)
    invite = phone.incoming.invite
    assert invite is not None
    assert b"pn-" not in invite.data
    phone.ring()
    stage.run(1.0)
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)


def push_of_a_hidden_caller(stage: Stage) -> None:
    """OUT-07: nothing that is pushed tells who hides."""
    stage.sleeper("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    carrier.call(ANA, caller=CALLER, headers=(("privacy", "id"),))
    stage.run(10.0)
    for push in stage.world.pushes.pushes:
        assert push.caller == "anonymous"
        assert CALLER.encode() not in push.payload()


def colleague_asleep(stage: Stage) -> None:
    """An internal call to a device that sleeps: it is woken like any other."""
    ben = stage.phone("ben-phone")
    phone = stage.sleeper("ana-phone")
    stage.begin()
    call = ben.call(ANA)
    stage.run(2.0)
    phone.register()
    stage.run(0.3)
    phone.ring()
    stage.run(0.5)
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    (push,) = stage.world.pushes.to("ana-phone")
    assert push.caller == BEN
    ben.bye(call)
    stage.run(1.0)


def broker_is_away(stage: Stage) -> None:
    """A push that fails at once costs no time: the call does not wait for a device that nothing will wake."""
    stage.sleeper("ana-phone")
    stage.world.pushes.up = False
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.5)
    assert call.status == 480
    assert stage.world.pushes.failed == 1


def broker_is_away_while_another_device_rings(stage: Stage) -> None:
    """Whoever can be reached rings as ever; a device that wakes by itself still joins."""
    desktop = stage.phone("ana-desktop")
    phone = stage.sleeper("ana-phone")
    stage.world.pushes.up = False
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    desktop.ring()
    stage.run(9.0)
    phone.register()
    stage.run(0.3)
    phone.ring()
    stage.run(0.5)
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)


def blind_transfer_to_a_sleeping_device(stage: Stage) -> None:
    """The target of a transfer is woken like any callee, and joins when it registers."""
    cleo = stage.sleeper("cleo-phone")
    ben = stage.phone("ben-phone")
    carrier = stage.carrier()
    carrier.answers = 4100
    stage.begin()
    call = carrier.call(BEN, caller=CALLER)
    talk = stage.talk(carrier, call, ben)
    refer = (("refer-to", f"<sip:{CLEO}@cloudline.example>"),)
    ben.request(talk, "REFER", headers=refer)
    stage.run(2.0)
    (push,) = stage.world.pushes.to("cleo-phone")
    assert (push.type, push.number) == ("incoming_call", CLEO)
    cleo.register()
    stage.run(0.3)
    assert len(cleo.dialogs) == 1
    cleo.ring()
    stage.run(0.5)
    cleo.answer(sdp(7000))
    stage.run(1.0)
    assert talk.over, "the transferor is released"
    assert stage.pushed("cleo-phone") == ["incoming_call"]
    carrier.bye(call)
    stage.run(1.0)


def blind_transfer_to_a_device_that_does_not_wake(stage: Stage) -> None:
    """By the wake deadline the transferor is told that nobody can be reached; the two talk on."""
    stage.sleeper("cleo-phone")
    ben = stage.phone("ben-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(BEN, caller=CALLER)
    talk = stage.talk(carrier, call, ben)
    refer = (("refer-to", f"<sip:{CLEO}@cloudline.example>"),)
    ben.request(talk, "REFER", headers=refer)
    stage.run(7.5)
    assert [message.body.decode().strip() for message in talk.got("NOTIFY")] == ["SIP/2.0 100 Trying"]
    stage.run(1.5)
    assert b"480" in talk.got("NOTIFY")[-1].body
    assert stage.pushed("cleo-phone") == ["incoming_call", "call_ended cancelled"]
    assert call.live
    carrier.bye(call)
    stage.run(1.0)


def moved_party_leaves_while_the_target_is_woken(stage: Stage) -> None:
    """Whoever was woken for a transfer is told when there is nobody left to talk with."""
    late = stage.sleeper("cleo-phone")
    ben = stage.phone("ben-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(BEN, caller=CALLER)
    talk = stage.talk(carrier, call, ben)
    ben.request(talk, "REFER", headers=(("refer-to", f"<sip:{CLEO}@cloudline.example>"),))
    stage.run(1.0)
    carrier.bye(call)
    stage.run(1.0)
    late.register()
    stage.run(1.0)
    assert not late.rang
    assert stage.pushed("cleo-phone") == ["incoming_call", "call_ended cancelled"]


def transfer_while_the_broker_is_away(stage: Stage) -> None:
    """A target that nothing can wake costs the transferor no time."""
    stage.sleeper("cleo-phone")
    ben = stage.phone("ben-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(BEN, caller=CALLER)
    talk = stage.talk(carrier, call, ben)
    stage.world.pushes.up = False
    ben.request(talk, "REFER", headers=(("refer-to", f"<sip:{CLEO}@cloudline.example>"),))
    stage.run(1.0)
    assert b"480" in talk.got("NOTIFY")[-1].body
    carrier.bye(call)
    stage.run(1.0)
