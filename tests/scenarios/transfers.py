"""Transfer: blind, attended, and INVITE with Replaces (RFC 5359 §2.4-2.5, RFC 5589, RFC 3515, RFC 3891)."""

from __future__ import annotations

import dataclasses

from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from numbering.e164 import E164
from numbering.models import Forwarding, ForwardMode, Greeting, GreetingMember
from tests.scenarios.consulting import (
    answer_reinvites,
    ben_talks_with_the_carrier,
    consultation,
    refer,
    replaces,
    reports,
)
from tests.scenarios.stage import ANA, BEN, CALLER, CLEO, OUTSIDE, Stage
from tests.support.party import Dialog, Party, own, sdp

UK = "+447700900123"


def blind_transfer_by_the_callee_to_a_device(stage: Stage) -> None:
    """RFC 5359 §2.4: Ben sends the caller on to Cleo; her offer reaches the caller in a re-INVITE, its answer her ACK."""
    cleo = stage.phone("cleo-phone")
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example>")
    stage.run(0.5)
    assert talk.last("REFER").status == 202
    invite = cleo.incoming.invite
    assert invite is not None
    assert not invite.body, "she is asked for the offer"
    cleo.ring()
    stage.run(1.0)
    assert not call.got("INVITE"), "nobody is disturbed before she answers"
    new = cleo.answer(sdp(7000, 77, 5))
    stage.run(1.0)
    assert reports(talk) == ["100 Trying", "180 Ringing", "200 OK"]
    assert talk.over, "Ben is released"
    asked = call.got("INVITE")[0]
    assert b"m=audio 7000" in asked.body
    assert b"o=- 1 2 IN IP4 192.0.2.9" in asked.body, (
        "for the caller it is the session that it knows, one version on"
    )
    assert new.got("ACK")[0].body == own(4100)
    # and from now on these two talk
    cleo.request(new, "INFO", b"1", "text/plain")
    stage.run(0.5)
    assert call.got("INFO")
    carrier.bye(call)
    stage.run(1.0)
    assert new.over
    record = stage.record
    assert [leg.reason for leg in record.legs] == ["normal_clearing", "transferred", "normal_clearing"]


def blind_transfer_by_the_caller_over_a_trunk(stage: Stage) -> None:
    """The caller transfers the callee to a number of the outside world."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    carrier = stage.carrier()
    answer_reinvites(ben, 6100)
    stage.begin()
    call = ana.call(BEN)
    talk = stage.talk(ana, call, ben)
    refer(ana, call, f"<tel:{OUTSIDE}>")
    stage.run(0.5)
    carrier.ring()
    stage.run(0.5)
    new = carrier.answer(sdp(7000))
    stage.run(1.0)
    assert reports(call) == ["100 Trying", "180 Ringing", "200 OK"]
    assert call.over
    assert new.got("ACK")[0].body == own(6100)
    invite = new.invite
    assert invite is not None
    assert f"<sip:{ANA}@cloudline.example>" in invite.from_value, "the call is made by the one who transfers"
    ben.bye(talk)
    stage.run(1.0)
    assert new.over


def blind_transfer_fails(stage: Stage) -> None:
    """486 from the target: the transferor is told, and the call goes on as it was."""
    cleo = stage.phone("cleo-phone")
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example>")
    stage.run(0.5)
    cleo.reply(cleo.incoming, 486)
    stage.run(0.5)
    assert reports(talk) == ["100 Trying", "486 Busy Here"]
    assert talk.got("NOTIFY")[1].get("subscription-state") == "terminated;reason=noresource"
    ben.request(talk, "INFO", b"1", "text/plain")
    stage.run(0.5)
    assert call.got("INFO")
    # a second REFER in the same dialog says which one its reports are about (RFC 3515 §2.4.6)
    refer(ben, talk, "<sip:+33199009999@cloudline.example>")
    stage.run(0.5)
    assert [m.get("event") for m in talk.got("NOTIFY")][:3] == ["refer", "refer", f"refer;id={talk.cseq}"]
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over


def blind_transfer_to_nobody(stage: Stage) -> None:
    """A target that does not exist, and one that cannot be read."""
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, "<sip:nobody@elsewhere.example>")
    stage.run(0.5)
    assert talk.last("REFER").status == 202
    assert reports(talk)[-1].startswith("4")
    for target in ("<mailto:ana@example.com>", "<sip:", f"<sip:{CLEO}@cloudline.example;method=BYE>", ""):
        refer(ben, talk, target)
        stage.run(0.2)
        assert talk.last("REFER").status == 400, target
    ben.request(talk, "REFER", headers=(("refer-to", f"<sip:{CLEO}@x>"), ("refer-to", f"<sip:{ANA}@x>")))
    ben.request(talk, "REFER")
    stage.run(0.2)
    assert talk.last("REFER").status == 400
    assert call.live
    carrier.bye(call)
    stage.run(1.0)


def transfer_to_an_emergency_number(stage: Stage) -> None:
    """OUT-05: the transferor's phone is told to dial it on the SIM, and counted; no trunk hears of it, and the two talk on."""
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refusals = stage.world.server.runner.performer.stats.refusals
    for count, target in enumerate(("<tel:112>", "<sip:17@cloudline.example>", "<urn:service:sos>"), 1):
        refer(ben, talk, target)
        stage.run(0.5)
        assert talk.last("REFER").status == 202
        assert reports(talk)[-2:] == ["100 Trying", "380 Alternative Service"]
        assert refusals == {"emergency": count}
    assert not call.got("INVITE"), "the carrier's party hears nothing of it"
    assert len(carrier.dialogs) == 1
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over
    assert "OUT-05" in stage.record.trace


def transfer_to_a_number_that_is_barred(stage: Stage) -> None:
    """OUT-04: a transfer is a call of the device that transfers: none to priced numbers."""
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    for target in ("<tel:3631>", "<tel:888>", "<tel:118218>"):
        refer(ben, talk, target)
        stage.run(0.5)
        assert reports(talk)[-1] == "403 Forbidden"
    assert len(carrier.dialogs) == 1
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over


def transferor_hangs_up_early(stage: Stage) -> None:
    """Most phones BYE right after the 202: the transfer goes on without them (RFC 5589 §6.1)."""
    cleo = stage.phone("cleo-phone")
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example>")
    stage.run(0.015)
    ben.bye(talk)
    stage.run(0.5)
    assert call.live
    cleo.ring()
    new = cleo.answer(sdp(7000))
    stage.run(1.0)
    assert new.got("ACK")[0].body == own(4100)
    carrier.bye(call)
    stage.run(1.0)
    assert new.over


def transferor_hangs_up_and_the_target_is_busy(stage: Stage) -> None:
    """Nobody is left to talk with: the call is over."""
    cleo = stage.phone("cleo-phone")
    _carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example>")
    stage.run(0.1)
    ben.bye(talk)
    stage.run(0.5)
    cleo.reply(cleo.incoming, 486)
    stage.run(1.0)
    assert call.over


def moved_party_hangs_up_while_the_target_rings(stage: Stage) -> None:
    """The caller has enough: the target is cancelled, the transferor released."""
    cleo = stage.phone("cleo-phone")
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example>")
    stage.run(0.5)
    cleo.ring()
    stage.run(0.5)
    carrier.bye(call)
    stage.run(1.0)
    assert cleo.incoming.cancelled is not None
    assert talk.over


def transfer_without_reports(stage: Stage) -> None:
    """Refer-Sub: false (RFC 4488): no NOTIFY; the transferor is released when the two talk."""
    cleo = stage.phone("cleo-phone")
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example>", (("refer-sub", "false"), ("supported", "norefersub")))
    stage.run(0.5)
    assert talk.last("REFER").get("refer-sub") == "false"
    cleo.ring()
    cleo.answer(sdp(7000))
    stage.run(1.0)
    assert not talk.got("NOTIFY")
    assert talk.over
    carrier.bye(call)
    stage.run(1.0)


def transferor_does_not_know_its_subscription(stage: Stage) -> None:
    """481 to a NOTIFY ends the subscription, not the call (RFC 5057 §5)."""
    cleo = stage.phone("cleo-phone")
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "NOTIFY":
            ben.reply(dialog, 481, message=message)
        return message.method == "NOTIFY"

    ben.auto = auto
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example>")
    stage.run(0.5)
    assert talk.live
    cleo.reply(cleo.incoming, 486)
    stage.run(0.5)
    assert talk.live
    carrier.bye(call)
    stage.run(1.0)


def transfer_meets_glare(stage: Stage) -> None:
    """The caller re-INVITEs in the instant in which the target answers: our re-INVITE waits (RFC 3261 §14.1)."""
    cleo = stage.phone("cleo-phone")
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example>")
    stage.run(0.5)
    cleo.ring()
    carrier.request(call, "INVITE", sdp(4000, 1, 3, "sendonly"))
    stage.run(0.2)
    new = cleo.answer(sdp(7000))
    stage.run(0.2)
    assert not call.got("INVITE")
    ben.reply(talk, 200, sdp(6000, 1, 2, "recvonly"), message=talk.got("INVITE")[1])
    stage.run(5.0)
    assert len(call.got("INVITE")) == 1
    assert new.got("ACK")[0].body == own(4100)
    carrier.bye(call)
    stage.run(1.0)


def moved_party_refuses_the_target(stage: Stage) -> None:
    """488 from the party that is moved: the target is released, the old call goes on."""
    cleo = stage.phone("cleo-phone")
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    carrier.answers = 0
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example>")
    stage.run(0.5)
    cleo.ring()
    new = cleo.answer(sdp(7000))
    stage.run(0.3)
    carrier.reply(call, 488, message=call.got("INVITE")[0])
    stage.run(1.0)
    assert new.over
    assert reports(talk) == ["100 Trying", "180 Ringing", "488 Not Acceptable Here"]
    assert call.live
    assert talk.live
    carrier.bye(call)
    stage.run(1.0)


def target_hangs_up_while_it_is_connected(stage: Stage) -> None:
    """The target is gone before the moved party answered the re-INVITE: it gets its old partner back."""
    cleo = stage.phone("cleo-phone")
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    carrier.answers = 0
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example>")
    stage.run(0.5)
    cleo.ring()
    new = cleo.answer(sdp(7000))
    stage.run(0.2)
    cleo.bye(new)
    stage.run(0.2)
    assert reports(talk)[-1].startswith("480")
    carrier.reply(call, 200, own(4100), message=call.got("INVITE")[0])
    stage.run(0.3)
    back = call.got("INVITE")[1]
    assert b"m=audio 6000" in back.body, "Ben's description again"
    carrier.reply(call, 200, own(4100), message=back)
    stage.run(1.0)
    assert call.live
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over


def nobody_may_transfer_from_behind_a_trunk(stage: Stage) -> None:
    """A carrier's REFER would make calls in the name of our user: 403."""
    carrier, _ben, call, _talk = ben_talks_with_the_carrier(stage)
    refer(carrier, call, f"<sip:{OUTSIDE}@cloudline.example>")
    stage.run(0.5)
    assert call.last("REFER").status == 403
    carrier.bye(call)
    stage.run(1.0)


def transfer_before_the_answer(stage: Stage) -> None:
    """There is nobody to move yet."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    stage.begin()
    call = ana.call(BEN)
    stage.run(0.3)
    ben.ring()
    stage.run(0.3)
    refer(ana, call, f"<sip:{CLEO}@cloudline.example>")
    stage.run(0.3)
    assert call.last("REFER").status == 403
    ana.cancel(call)
    stage.run(1.0)


def attended_transfer(stage: Stage) -> None:
    """RFC 5589 §7.3: REFER on the first call with a Replaces of the second; the caller and Cleo are joined."""
    carrier, ben, cleo, call, talk, consult, hers = consultation(stage)
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example?Replaces={replaces(consult)}>")
    stage.run(2.0)
    assert reports(talk) == ["100 Trying", "200 OK"]
    assert consult.over, "Ben's call to Cleo is over"
    assert talk.over
    asked, offered = call.got("INVITE")[0], hers.got("INVITE")[1]
    assert not asked.body, "the caller is asked for an offer"
    assert b"m=audio 4100" in offered.body
    assert b"m=audio 7100" in call.got("ACK")[-1].body
    assert b"o=- 1 2 " in call.got("ACK")[-1].body, "the session that the caller knows, one version on"
    cleo.request(hers, "INFO", b"1", "text/plain")
    stage.run(0.3)
    assert call.got("INFO")
    carrier.bye(call)
    stage.run(1.0)
    assert hers.over
    first, second = stage.world.records
    assert first.reason == "transferred"
    assert [leg.leg for leg in first.legs] == ["a", "b1"], (
        "the record of the consultation still tells of Cleo"
    )
    assert second.reason == "normal_clearing"
    assert len(second.legs) == 3


def attended_transfer_on_the_other_leg(stage: Stage) -> None:
    """The same, asked for on the call with Cleo: now she stays and the caller is brought over."""
    _carrier, ben, cleo, call, talk, consult, hers = consultation(stage)
    local, remote = talk.local.rpartition(";tag=")[2], talk.remote.rpartition(";tag=")[2]
    replaces = f"{talk.call_id}%3Bto-tag%3D{remote}%3Bfrom-tag%3D{local}"
    refer(ben, consult, f"<sip:{CALLER}@cloudline.example?Replaces={replaces}>")
    stage.run(2.0)
    assert reports(consult) == ["100 Trying", "200 OK"]
    assert consult.over
    assert talk.over
    assert call.live
    assert hers.live
    cleo.bye(hers)
    stage.run(1.0)
    assert call.over


def attended_transfer_while_the_target_negotiates(stage: Stage) -> None:
    """Cleo sends a re-INVITE as soon as she has answered, as some phones do: the transfer waits until it is settled."""
    carrier, ben, cleo, call, talk, consult, hers = consultation(stage)
    cleo.request(hers, "INVITE", sdp(7001, 1, 2))
    stage.run(0.1)
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example?Replaces={replaces(consult)}>")
    stage.run(0.4)
    assert len(hers.got("INVITE")) == 1, "not called a second time"
    ben.reply(consult, 200, sdp(6002), message=consult.got("INVITE")[0])
    stage.run(2.0)
    assert reports(talk) == ["100 Trying", "200 OK"]
    assert consult.over
    assert talk.over
    carrier.bye(call)
    stage.run(1.0)
    assert hers.over


def attended_transfer_while_the_target_asks_something(stage: Stage) -> None:
    """What Cleo asked was for Ben, who leaves: she is told so, and not left to wait for his answer."""
    carrier, ben, cleo, call, talk, consult, hers = consultation(stage)
    ben.auto = lambda dialog, message, key: message.method == "INFO"
    cleo.request(hers, "INFO", b"1", "text/plain")
    stage.run(0.1)
    assert consult.got("INFO")
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example?Replaces={replaces(consult)}>")
    stage.run(2.0)
    assert reports(talk) == ["100 Trying", "200 OK"]
    assert hers.last("INFO").status == 487
    ben.reply(consult, 200, message=consult.got("INFO")[0])
    stage.run(0.5)
    carrier.bye(call)
    stage.run(1.0)
    assert hers.over


def attended_transfer_to_the_outside(stage: Stage) -> None:
    """The one who was consulted sits behind a trunk: its channel goes with its leg from call to call."""
    listener = "udp:10.0.0.1:5060"
    stage.world.resolver.names["gw.carrier-c.example"] = [Flow("udp", "10.0.3.1", 5060, listener)]
    outside = stage.carrier("10.0.3.1", "carrier-c")
    answer_reinvites(outside, 7100)
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    consult = ben.call(UK, sdp(6001))
    hers = stage.talk(ben, consult, outside, sdp(7000))
    channels = stage.world.server.trunking.channels
    refer(ben, talk, f"<sip:{UK}@cloudline.example?Replaces={replaces(consult)}>")
    stage.run(2.0)
    assert reports(talk) == ["100 Trying", "200 OK"]
    assert consult.over
    assert channels.in_use("carrier-c") == 1, "it still talks"
    carrier.bye(call)
    stage.run(1.0)
    assert hers.over
    assert channels.in_use("carrier-c") == 0


def attended_transfer_fails(stage: Stage) -> None:
    """Cleo refuses the re-INVITE: the caller, who was asked for an offer, hears Ben again."""
    carrier, ben, cleo, call, talk, consult, hers = consultation(stage)
    cleo.answers = 0
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example?Replaces={replaces(consult)}>")
    stage.run(0.5)
    cleo.reply(hers, 488, message=hers.got("INVITE")[1])
    stage.run(1.0)
    assert reports(talk) == ["100 Trying", "488 Not Acceptable Here"]
    assert b"m=audio 6000" in call.got("ACK")[-1].body, "the answer is the description that it had"
    assert hers.over
    assert call.live
    assert talk.live
    carrier.bye(call)
    stage.run(1.0)


def attended_transfer_meets_glare_at_the_target(stage: Stage) -> None:
    """491 from Cleo: she is asked again, with the offer that the caller has made already."""
    carrier, ben, cleo, call, talk, consult, hers = consultation(stage)
    cleo.answers = 0
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example?Replaces={replaces(consult)}>")
    stage.run(0.5)
    cleo.reply(hers, 491, message=hers.got("INVITE")[1])
    stage.run(5.0)
    assert len(call.got("INVITE")) == 1
    again = hers.got("INVITE")[2]
    assert b"m=audio 4100" in again.body
    cleo.reply(hers, 200, own(7100), message=again)
    stage.run(1.0)
    assert talk.over
    carrier.bye(call)
    stage.run(1.0)
    assert hers.over


def replaces_of_somebody_elses_call(stage: Stage) -> None:
    """Only who holds both calls may join them: a Replaces of a dialog of others leads to its target like a blind transfer."""
    zoe, ana, cleo = stage.phone("zoe-phone"), stage.phone("ana-phone"), stage.phone("cleo-phone")
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    theirs = zoe.call(ANA)
    stage.talk(zoe, theirs, ana)
    refer(ben, talk, f"<sip:{CLEO}@cloudline.example?Replaces={replaces(theirs)}>")
    stage.run(0.5)
    assert theirs.live
    assert ana.incoming.live
    assert cleo.rang
    cleo.reply(cleo.incoming, 486)
    stage.run(0.5)
    assert reports(talk)[-1] == "486 Busy Here"
    carrier.bye(call)
    zoe.bye(theirs)
    stage.run(1.0)


def _pick_up(party: Party, dialog: Dialog, body: bytes = b"", extra: str = "") -> Dialog:
    remote, local = dialog.remote.rpartition(";tag=")[2], dialog.local.rpartition(";tag=")[2]
    value = f"{dialog.call_id};to-tag={remote};from-tag={local}{extra}"
    return party.call(ANA, body, headers=(("replaces", value), ("require", "replaces")))


def invite_with_replaces(stage: Stage) -> None:
    """RFC 3891: Ben's desktop takes the call over from his phone."""
    desktop = stage.phone("ben-desktop")
    _carrier, _ben, call, talk = ben_talks_with_the_carrier(stage)
    taken = _pick_up(desktop, talk, sdp(8000))
    stage.run(1.0)
    assert taken.status == 200
    assert talk.over
    assert b"m=audio 8000" in call.got("INVITE")[0].body
    assert taken.last("INVITE").body == own(4100)
    desktop.bye(taken)
    stage.run(1.0)
    assert call.over
    assert [leg.device for leg in stage.record.legs] == ["", "ben-phone", "ben-desktop", "ben-desktop"]


def invite_with_replaces_without_offer(stage: Stage) -> None:
    """The newcomer has no offer: the other party makes it, and the newcomer's ACK brings the answer."""
    desktop = stage.phone("ben-desktop")
    desktop.auto_ack = False
    carrier, _ben, call, talk = ben_talks_with_the_carrier(stage)
    taken = _pick_up(desktop, talk)
    stage.run(0.5)
    assert taken.last("INVITE").body == own(4100)
    assert not [m for m in call.got("ACK") if m.cseq > 1]
    desktop.ack(taken, sdp(8000))
    stage.run(0.5)
    assert b"m=audio 8000" in call.got("ACK")[-1].body
    carrier.bye(call)
    stage.run(1.0)
    assert taken.over


def invite_with_replaces_is_refused(stage: Stage) -> None:
    """A stranger to the company, a dialog that does not exist, an early-only Replaces, and nonsense."""
    desktop, zoe = stage.phone("ben-desktop"), stage.phone("zoe-phone")
    carrier, _ben, call, talk = ben_talks_with_the_carrier(stage)
    stranger = _pick_up(zoe, talk, sdp(8000))
    early = _pick_up(desktop, talk, sdp(8000), ";early-only")
    wrong = Dialog(talk.call_id, talk.local + "x", talk.remote, True)
    gone = _pick_up(desktop, wrong, sdp(8000))
    nonsense = desktop.call(ANA, sdp(8000), headers=(("replaces", "nobody;to-tag="),))
    twice = desktop.call(ANA, sdp(8000), headers=(("replaces", "a;to-tag=1;from-tag=2"),) * 2)
    stage.run(1.0)
    assert [d.status for d in (stranger, early, gone, nonsense, twice)] == [603, 486, 481, 400, 400]
    assert call.live
    assert talk.live
    carrier.bye(call)
    stage.run(1.0)


def newcomer_gives_up(stage: Stage) -> None:
    """CANCEL of an INVITE with Replaces that is not answered yet: 487, and the call goes on as it was."""
    desktop = stage.phone("ben-desktop")
    carrier, _ben, call, talk = ben_talks_with_the_carrier(stage)
    carrier.answers = 0
    taken = _pick_up(desktop, talk, sdp(8000))
    stage.run(0.3)
    asked = call.got("INVITE")[0]
    desktop.cancel(taken)
    stage.run(0.3)
    assert taken.status == 487
    carrier.reply(call, 200, own(4100), message=asked)
    stage.run(0.3)
    carrier.reply(call, 200, own(4100), message=call.got("INVITE")[1])
    stage.run(0.5)
    assert call.live
    assert talk.live
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over


def a_flood_of_transfers(stage: Stage) -> None:
    """A phone that transfers over and over is stopped: each attempt leaves legs in the record."""
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    for _ in range(15):
        refer(ben, talk, "<sip:nobody@elsewhere.example>")
        stage.run(0.1)
    assert [m.status for m in talk.responses if m.method == "REFER"] == [202] * 10 + [403] * 5
    carrier.bye(call)
    stage.run(1.0)
    assert talk.over


def transfer_to_a_greeting_hunts(stage: Stage) -> None:
    """RFC 3515, GRT-01: who is transferred to the company's number reaches whoever answers there."""
    ana, cleo = stage.phone("ana-phone"), stage.phone("cleo-phone")
    members = tuple(GreetingMember(user=user) for user in ("ana", "zoe", "cleo"))
    number = E164("+33639987000")
    stage.world.directory.put_one(Greeting(number=number, account="acme", members=members))
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{number}@cloudline.example>")
    stage.run(0.5)
    ana.ring()
    stage.run(20.0)
    assert cleo.rang, "zoe is away"
    cleo.ring()
    stage.run(0.5)
    cleo.answer(sdp(7000, 77, 5))
    stage.run(1.0)
    assert reports(talk)[-1] == "200 OK"
    carrier.bye(call)
    stage.run(1.0)


def transfer_to_a_greeting_where_nobody_answers(stage: Stage) -> None:
    """RFC 3515: the two who talked go on talking."""
    ana = stage.phone("ana-phone")
    number = E164("+33639987000")
    members = (GreetingMember(user="ana"),)
    stage.world.directory.put_one(Greeting(number=number, account="acme", members=members))
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{number}@cloudline.example>")
    stage.run(0.5)
    ana.ring()
    stage.run(21.0)
    assert reports(talk)[-1].startswith("480")
    assert talk.live
    carrier.bye(call)
    stage.run(1.0)


def transfer_to_a_number_that_forwards(stage: Stage) -> None:
    """FWD-01, RFC 3515: the target forwards all its calls; whom it forwards them to is called."""
    cleo = stage.phone("cleo-phone")
    found = stage.world.directory.number(ANA)
    assert found is not None
    forward = Forwarding(mode=ForwardMode.ALL, to=CLEO)
    stage.world.directory.put_one(dataclasses.replace(found, forward=forward))
    carrier, ben, call, talk = ben_talks_with_the_carrier(stage)
    refer(ben, talk, f"<sip:{ANA}@cloudline.example>")
    stage.run(0.5)
    assert cleo.rang
    cleo.ring()
    stage.run(0.5)
    cleo.answer(sdp(7000, 77, 5))
    stage.run(1.0)
    assert reports(talk)[-1] == "200 OK"
    carrier.bye(call)
    stage.run(1.0)
