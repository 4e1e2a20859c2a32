"""Before the answer: reliable provisional responses, PRACK, early UPDATE, early INFO (RFC 3262, RFC 3311)."""

from __future__ import annotations

from tests.scenarios.stage import ANA, CALLER, Stage
from tests.support.party import Party, own, sdp
from tests.support.wire import DELIVER, LOSE

REL = (("supported", "100rel"),)
MUST = (("require", "100rel"), ("supported", "100rel"))


def _reliable(rseq: int) -> tuple[tuple[str, str], ...]:
    return (("require", "100rel"), ("rseq", str(rseq)))


def _hold_pracks(party: Party) -> None:
    """The caller no longer acknowledges by itself: the script sends its PRACKs."""
    party.prack = lambda dialog, message, body=b"": None  # type: ignore[method-assign]


def reliable_early_media_for_the_caller(stage: Stage) -> None:
    """The caller knows 100rel: a 183 with a description reaches it reliably, a 180 without one does not have to."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, headers=REL, caller=CALLER)
    stage.run(0.3)
    ana.ring(180)
    stage.run(0.3)
    ana.ring(183, sdp(6000))
    stage.run(1.0)
    ana.answer(sdp(6000))
    stage.run(1.0)
    provisional = [m for m in call.responses if 100 < m.status < 200]
    assert [(m.status, m.get("rseq")) for m in provisional] == [(180, None), (183, "1")]
    assert call.last("PRACK").status == 200
    assert call.last("INVITE").to_tag == provisional[1].to_tag
    carrier.bye(call)
    stage.run(1.0)


def caller_requires_100rel(stage: Stage) -> None:
    """Require: 100rel: everything above 100 is reliable, one at a time, each after the PRACK of the one before."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _hold_pracks(carrier)
    stage.begin()
    call = carrier.call(ANA, headers=MUST, caller=CALLER)
    stage.run(0.3)
    ana.ring(180)
    ana.ring(183, sdp(6000))
    stage.run(0.3)
    waiting = [m.status for m in call.responses]
    assert waiting == [100, 180], "the 183 waits for the PRACK of the 180"
    carrier.request(call, "PRACK", headers=(("rack", "1 1 INVITE"),))
    stage.run(0.1)
    assert call.responses[-1].status == 183
    assert call.responses[-1].get("rseq") == "2"
    carrier.request(call, "PRACK", headers=(("rack", "1 1 INVITE"),))  # the wrong one again
    stage.run(0.1)
    assert call.last("PRACK").status == 481
    carrier.request(call, "PRACK", headers=(("rack", "2 1 INVITE"),))
    stage.run(0.1)
    assert call.last("PRACK").status == 200
    ana.answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)


def lost_prack(stage: Stage) -> None:
    """A PRACK that is lost: the 180 is repeated at T1, doubling; the 2xx waits for the PRACK (RFC 3262 §3)."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _hold_pracks(carrier)
    stage.begin()
    call = carrier.call(ANA, headers=MUST, caller=CALLER)
    stage.run(0.3)
    ana.ring(180)
    stage.run(0.2)
    ana.answer(sdp(6000))
    stage.run(4.0)
    assert call.statuses == [100, 180, 180, 180, 180], "no 2xx before the PRACK"
    assert stage.times(carrier, "INVITE", 180) == [0.31, 0.81, 1.81, 3.81]
    carrier.request(call, "PRACK", headers=(("rack", "1 1 INVITE"),))
    stage.run(0.5)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)


def no_prack_at_all(stage: Stage) -> None:
    """A caller that required reliable responses and never acknowledges one is refused after 64·T1."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _hold_pracks(carrier)
    stage.configure_ring(ANA, 60.0)
    stage.begin()
    call = carrier.call(ANA, headers=MUST, caller=CALLER)
    stage.run(0.3)
    ana.ring(180)
    stage.run(35.0)
    assert call.status == 504
    assert ana.incoming.cancelled is not None
    assert stage.record.reason == "protocol_error"


def caller_gives_up_while_the_2xx_waits_for_a_prack(stage: Stage) -> None:
    """Somebody answered, but the caller does not know yet: its CANCEL still counts, and it has no answered call."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _hold_pracks(carrier)
    stage.begin()
    call = carrier.call(ANA, headers=MUST, caller=CALLER)
    stage.run(0.3)
    ana.ring(180)
    talk = ana.answer(sdp(6000))
    stage.run(0.3)
    carrier.cancel(call)
    stage.run(1.0)
    assert call.status == 487
    assert talk.over
    record = stage.record
    assert (record.reason, record.status, record.answered_ms) == ("caller_cancelled", 487, 0)


def callee_hangs_up_while_the_2xx_waits_for_a_prack(stage: Stage) -> None:
    """The answer is gone before the caller heard of it: no 2xx, but a refusal."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _hold_pracks(carrier)
    stage.begin()
    call = carrier.call(ANA, headers=MUST, caller=CALLER)
    stage.run(0.3)
    ana.ring(180)
    talk = ana.answer(sdp(6000))
    stage.run(0.3)
    ana.bye(talk)
    stage.run(1.0)
    assert call.status == 480
    assert stage.record.answered_ms == 0


def callee_rings_reliably(stage: Stage) -> None:
    """Reliable provisional responses of the callee: PRACK for each, in order; repetitions and gaps are not acknowledged again."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.ring(180, headers=_reliable(7))
    stage.run(0.2)
    ana.ring(180, headers=_reliable(7))  # our PRACK was lost, it thinks
    ana.ring(183, sdp(6000), headers=_reliable(9))  # out of order: 8 is missing
    stage.run(0.2)
    ana.ring(183, sdp(6000), headers=_reliable(8))
    stage.run(0.2)
    dialog = ana.incoming
    assert [m.get("rack") for m in dialog.got("PRACK")] == ["7 1 INVITE", "8 1 INVITE"]
    assert [m.cseq for m in dialog.got("PRACK")] == [2, 3]
    # the 2xx leaves out the description: the answer was in the reliable 183 (RFC 3262 §5)
    ana.reply(dialog, 200)
    stage.run(1.0)
    assert call.last("INVITE").body == sdp(6000)
    carrier.bye(call)
    stage.run(1.0)


def nonsense_in_rseq(stage: Stage) -> None:
    """What is no number is no reliable response; it harms nobody."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    for value in ("\u00b2", "-1", "", "99999999999999", "\u0663"):
        ana.ring(183, headers=(("require", "100rel"), ("rseq", value)))
    stage.run(0.3)
    assert not ana.incoming.got("PRACK")
    stage.talk(carrier, call, ana)
    carrier.bye(call)
    stage.run(1.0)


def early_update_by_the_caller(stage: Stage) -> None:
    """After a reliable answer either side may offer anew before the call is answered (RFC 3311 §5.1)."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, headers=REL, caller=CALLER)
    stage.run(0.3)
    ana.ring(183, sdp(6000), headers=_reliable(1))
    stage.run(0.3)
    carrier.request(call, "UPDATE", sdp(4002, 1, 2))
    stage.run(0.2)
    dialog = ana.incoming
    update = dialog.got("UPDATE")[0]
    assert update.body == sdp(4002, 1, 2)
    ana.reply(dialog, 200, sdp(6002), message=update)
    stage.run(0.3)
    assert call.last("UPDATE").body == sdp(6002)
    ana.answer(sdp(6002))
    stage.run(1.0)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)


def early_update_by_the_callee(stage: Stage) -> None:
    """The same from the other side; before the caller acknowledged the first answer there is nothing to update."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    carrier.answers = 4002
    stage.begin()
    call = carrier.call(ANA, headers=REL, caller=CALLER)
    stage.run(0.3)
    ana.ring(183, sdp(6000), headers=_reliable(1))
    stage.run(0.005)
    dialog = ana.incoming
    ana.request(dialog, "UPDATE", sdp(6001))
    stage.run(0.3)
    assert dialog.last("UPDATE").status == 500
    ana.request(dialog, "UPDATE", sdp(6002))
    stage.run(0.3)
    assert dialog.last("UPDATE").status == 200
    assert dialog.last("UPDATE").body == own(4002)
    assert call.got("UPDATE")[0].body == sdp(6002)
    ana.answer(sdp(6002))
    stage.run(1.0)
    carrier.bye(call)
    stage.run(1.0)


def update_without_description_before_the_answer(stage: Stage) -> None:
    """A pure UPDATE (a new Contact) is answered on its own leg."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.ring(180)
    stage.run(0.2)
    carrier.request(call, "UPDATE")
    stage.run(0.2)
    assert call.last("UPDATE").status == 200
    assert not ana.incoming.got("UPDATE")
    stage.talk(carrier, call, ana)
    carrier.bye(call)
    stage.run(1.0)


def prack_with_an_offer(stage: Stage) -> None:
    """A PRACK may carry a new offer (RFC 3262 §5); it becomes an UPDATE for the callee."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    _hold_pracks(carrier)
    stage.begin()
    call = carrier.call(ANA, headers=REL, caller=CALLER)
    stage.run(0.3)
    ana.ring(183, sdp(6000), headers=_reliable(1))
    stage.run(0.2)
    carrier.request(call, "PRACK", sdp(4002, 1, 2), headers=(("rack", "1 1 INVITE"),))
    stage.run(0.2)
    dialog = ana.incoming
    update = dialog.got("UPDATE")[0]
    assert update.body == sdp(4002, 1, 2)
    ana.reply(dialog, 200, sdp(6002), message=update)
    stage.run(0.2)
    assert call.last("PRACK").body == sdp(6002)
    ana.answer(sdp(6002))
    stage.run(1.0)
    carrier.bye(call)
    stage.run(1.0)


def info_before_the_answer(stage: Stage) -> None:
    """An INFO in an early dialog crosses where there is exactly one callee that it can be for (RFC 6086)."""
    first, second = stage.phone("ana-phone"), stage.phone("ana-desktop")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    first.ring(183, sdp(6000))
    stage.run(0.2)
    carrier.request(call, "INFO", b"Signal=1\r\n", "application/dtmf-relay")
    stage.run(0.2)
    assert call.last("INFO").status == 500
    second.reply(second.incoming, 486)
    stage.run(0.2)
    carrier.request(call, "INFO", b"Signal=1\r\n", "application/dtmf-relay")
    stage.run(0.2)
    assert call.last("INFO").status == 200
    assert first.incoming.got("INFO")[0].body == b"Signal=1\r\n"
    stage.talk(carrier, call, first)
    carrier.bye(call)
    stage.run(1.0)


def pracks_in_two_early_dialogs(stage: Stage) -> None:
    """Two phones with early media: two dialogs for the caller, each with RSeq and CSeq of its own."""
    first, second = stage.phone("ana-phone"), stage.phone("ana-desktop")
    carrier = stage.carrier()
    _hold_pracks(carrier)
    stage.begin()
    call = carrier.call(ANA, headers=REL, caller=CALLER)
    stage.run(0.3)
    first.ring(183, sdp(6001))
    stage.run(0.1)
    carrier.request(call, "PRACK", headers=(("rack", "1 1 INVITE"),))
    second.ring(183, sdp(6002))
    stage.run(0.1)
    assert [m.get("rseq") for m in call.responses if m.status == 183] == ["1", "1"]
    call.cseq = 1  # in the other dialog the caller counts from its INVITE
    carrier.request(call, "PRACK", headers=(("rack", "1 1 INVITE"),))
    stage.run(0.1)
    assert [m.status for m in call.responses if m.method == "PRACK"] == [200, 200]
    first.ring(183, sdp(6001))
    stage.run(0.1)
    again = [m for m in call.responses if m.status == 183][-1]
    assert again.get("rseq") == "2"
    carrier.prack = Party.prack.__get__(carrier)  # type: ignore[method-assign]
    call.cseq = 2
    carrier.request(call, "PRACK", headers=(("rack", "2 1 INVITE"),))
    stage.run(0.1)
    assert call.last("PRACK").status == 200
    second.answer(sdp(6002))
    stage.run(0.5)
    # the session is the second dialog, in which the caller used CSeq 2 for its only PRACK
    call.cseq = 2
    carrier.bye(call)
    stage.run(1.0)
    assert call.last("BYE").status == 200


def callee_cannot_bye_an_early_dialog(stage: Stage) -> None:
    """RFC 3261 §15: only the caller may; the callee has final responses for that.  The call rings on."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.ring(180)
    stage.run(0.2)
    dialog = ana.incoming
    ana.bye(dialog)
    stage.run(0.3)
    assert dialog.last("BYE").status == 481
    dialog.over = False
    ana.answer(sdp(6000))
    stage.run(0.5)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)


def ringing_is_repeated_each_minute(stage: Stage) -> None:
    """RFC 3261 §13.3.1.1: without it a proxy on the way gives up after three."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.configure_ring(ANA, 85.0)
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ana.ring(180)
    stage.run(70.0)
    assert stage.times(carrier, "INVITE", 180) == [0.31, 60.31]
    stage.talk(carrier, call, ana)
    carrier.bye(call)
    stage.run(1.0)


def a_flood_of_early_dialogs(stage: Stage) -> None:
    """A callee that invents a new tag and description with each 183 is shown to the caller a few times, and no more."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    for number in range(100):
        ana.ring(183, sdp(6000 + number), tag=f"t{number}")
    stage.run(0.5)
    assert len([m for m in call.responses if m.status == 183]) == 20
    stage.talk(carrier, call, ana)
    carrier.bye(call)
    stage.run(1.0)


def prack_of_ours_is_lost(stage: Stage) -> None:
    """Our PRACK is a transaction like any other: it is sent again, with the same CSeq."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    stage.world.network.link("10.0.0.1", ana.host).fates = [LOSE, *[DELIVER] * 1000]
    stage.world.network.link("10.0.0.1", ana.host).sent = 0
    ana.ring(183, sdp(6000), headers=_reliable(1))
    stage.run(1.0)
    assert [m.cseq for m in ana.incoming.got("PRACK")] == [2]
    stage.talk(carrier, call, ana)
    carrier.bye(call)
    stage.run(1.0)
