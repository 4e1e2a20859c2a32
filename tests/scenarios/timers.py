"""Session timers (RFC 4028): who refreshes, 422 both ways, expiry, and refreshes that are refused."""

from __future__ import annotations

import itertools

from callcontrol.sip.message import Message
from tests.scenarios.stage import ANA, CALLER, Stage
from tests.support.party import Dialog, Headers, Party, sdp

TIMER: Headers = (("supported", "timer"),)
SHOW = ("session-expires", "min-se")


def _up(
    stage: Stage, headers: Headers = (), answer: Headers = (), allow: str = ""
) -> tuple[Party, Party, Dialog, Dialog]:
    stage.headers = SHOW
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    if allow:
        ana.allow = allow
    stage.begin()
    call = carrier.call(ANA, headers=headers, caller=CALLER)
    stage.run(0.3)
    ana.ring()
    talk = ana.answer(sdp(6000), answer)
    stage.run(0.5)
    return carrier, ana, call, talk


def both_parties_without_timers(stage: Stage) -> None:
    """Nobody knows timers: we offer them to the callee and watch nobody; the longest call is bounded anyway."""
    carrier, _ana, call, talk = _up(stage)
    invite = talk.invite
    assert invite is not None
    assert invite.get("session-expires") == "1800"
    assert invite.get("min-se") == "90"
    assert not call.last("INVITE").has("session-expires")
    stage.run(3700.0)
    assert not talk.got("UPDATE")
    assert len(talk.got("INVITE")) == 1
    carrier.bye(call)
    stage.run(1.0)


def caller_refreshes(stage: Stage) -> None:
    """The caller names itself the refresher; each refresh by UPDATE moves the end of the session."""
    headers = (*TIMER, ("session-expires", "600;refresher=uac"))
    carrier, _ana, call, talk = _up(stage, headers)
    final = call.last("INVITE")
    assert final.get("session-expires") == "600;refresher=uac"
    assert final.get("require") == "timer"
    for _ in range(3):
        stage.run(300.0)
        carrier.request(call, "UPDATE", headers=headers)
        stage.run(0.5)
        assert call.last("UPDATE").get("session-expires") == "600;refresher=uac"
    assert call.live
    assert not talk.got("UPDATE"), "the other leg has a timer of its own"
    carrier.bye(call)
    stage.run(1.0)


def caller_stops_refreshing(stage: Stage) -> None:
    """The refresher vanished: BYE to both, at the interval less 32 s (§10)."""
    carrier, _ana, call, talk = _up(stage, (*TIMER, ("session-expires", "600;refresher=uac")))
    stage.run(566.0)
    assert call.live
    stage.run(5.0)
    assert call.over
    assert talk.over
    assert stage.times(carrier, "BYE") == [568.31]
    record = stage.record
    assert (record.reason, record.ended_by) == ("session_expired", "server")


def we_refresh_the_callee_by_update(stage: Stage) -> None:
    """The callee takes our offer of a timer and leaves the refreshing to us: UPDATE without body at half the interval."""
    carrier, ana, call, talk = _up(
        stage, answer=(("session-expires", "1800;refresher=uac"), ("require", "timer"))
    )

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "UPDATE":
            ana.reply(dialog, 200, headers=(("session-expires", "1800;refresher=uac"),), message=message)
        return message.method == "UPDATE"

    ana.auto = auto
    stage.run(2800.0)
    updates = talk.got("UPDATE")
    assert [m.get("session-expires") for m in updates] == ["1800;refresher=uac"] * 3
    assert all(not m.body for m in updates)
    assert [round(t) for t in stage.times(ana, "UPDATE")] == [900, 1800, 2700]
    assert not call.got("UPDATE")
    carrier.bye(call)
    stage.run(1.0)


def we_refresh_the_callee_by_reinvite(stage: Stage) -> None:
    """A callee without UPDATE is refreshed by a re-INVITE with the description that it knows (§7.4)."""
    carrier, ana, call, talk = _up(
        stage, answer=(("session-expires", "1800;refresher=uac"),), allow="INVITE, ACK, BYE, CANCEL"
    )
    stage.run(900.0)
    asked = talk.got("INVITE")[1]
    first = talk.invite
    assert first is not None
    assert asked.body == first.body, "the same description, so that nothing changes"
    ana.reply(talk, 200, sdp(6000), headers=(("session-expires", "1800;refresher=uac"),), message=asked)
    stage.run(1.0)
    assert asked.cseq in talk.acked
    assert not call.got("INVITE")
    carrier.bye(call)
    stage.run(1.0)


def callee_refreshes(stage: Stage) -> None:
    """The callee is the refresher of its own leg."""
    _carrier, ana, _call, talk = _up(stage, answer=(("session-expires", "1800;refresher=uas"),))
    stage.run(900.0)
    ana.request(talk, "UPDATE", headers=(*TIMER, ("session-expires", "1800;refresher=uac")))
    stage.run(1700.0)
    assert talk.last("UPDATE").status == 200
    assert talk.last("UPDATE").get("session-expires") == "1800;refresher=uac"
    assert talk.live
    stage.run(200.0)
    assert talk.over
    assert stage.record.reason == "session_expired"


def session_interval_too_small(stage: Stage) -> None:
    """422 with our Min-SE, at the INVITE and at a refresh (§9)."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.headers = SHOW
    stage.begin()
    refused = carrier.call(ANA, headers=(*TIMER, ("session-expires", "60")), caller=CALLER)
    stage.run(0.3)
    assert refused.status == 422
    assert refused.last("INVITE").get("min-se") == "90"
    call = carrier.call(ANA, headers=(*TIMER, ("session-expires", "90")), caller=CALLER)
    talk = stage.talk(carrier, call, ana)
    for method in ("UPDATE", "INVITE"):
        carrier.request(call, method, headers=(*TIMER, ("session-expires", "30")))
        stage.run(0.3)
        assert call.last(method).status == 422
        assert call.last(method).get("min-se") == "90"
    ana.bye(talk)
    stage.run(1.0)


def refresh_meets_glare(stage: Stage) -> None:
    """491 to our refresh: again after 2.1-4 s towards the callee, whose Call-ID is ours (RFC 3261 §14.1)."""
    carrier, ana, call, _talk = _up(stage, answer=(("session-expires", "1800;refresher=uac"),))
    answers = [491, 491, 200]

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "UPDATE":
            ana.reply(dialog, answers.pop(0), message=message)
        return message.method == "UPDATE"

    ana.auto = auto
    stage.run(920.0)
    times = stage.times(ana, "UPDATE")
    assert len(times) == 3
    assert all(2.1 <= after - before <= 4.1 for before, after in itertools.pairwise(times))
    carrier.bye(call)
    stage.run(1.0)


def refresh_towards_the_caller_meets_glare(stage: Stage) -> None:
    """The same towards the caller, who owns the Call-ID: 0-2 s."""
    headers = (*TIMER, ("session-expires", "600;refresher=uas"))
    carrier, ana, call, talk = _up(stage, headers)
    assert call.last("INVITE").get("session-expires") == "600;refresher=uas"
    answers = [491, 491, 491, 200]

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "UPDATE":
            carrier.reply(dialog, answers.pop(0), message=message)
        return message.method == "UPDATE"

    carrier.auto = auto
    stage.run(320.0)
    times = stage.times(carrier, "UPDATE")
    assert len(times) == 4
    assert all(0.0 <= after - before <= 2.1 for before, after in itertools.pairwise(times))
    ana.bye(talk)
    stage.run(1.0)


def refresh_answered_481(stage: Stage) -> None:
    """The callee does not know the call any more: BYE, and the other side is released (field hazard 9)."""
    _carrier, ana, call, talk = _up(stage, answer=(("session-expires", "1800;refresher=uac"),))

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method in ("UPDATE", "BYE"):
            dialog.over = True
            ana.reply(dialog, 481, message=message)
        return message.method in ("UPDATE", "BYE")

    ana.auto = auto
    stage.run(902.0)
    assert call.over
    assert [m.method for m in talk.requests][-2:] == ["UPDATE", "BYE"]
    record = stage.record
    assert (record.reason, record.ended_by) == ("session_expired", "server")


def refresh_by_update_is_not_allowed(stage: Stage) -> None:
    """405 to our UPDATE: the peer said that it has it, so try a re-INVITE before the session is given up."""
    carrier, ana, call, talk = _up(stage, answer=(("session-expires", "1800;refresher=uac"),))

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "UPDATE":
            ana.reply(dialog, 405, message=message)
        elif message.method == "INVITE" and message is not dialog.invite:
            ana.reply(
                dialog, 200, sdp(6000), headers=(("session-expires", "1800;refresher=uac"),), message=message
            )
        return message.method in ("UPDATE", "INVITE")

    ana.auto = auto
    stage.run(903.0)
    assert [m.method for m in talk.requests][-3:] == ["UPDATE", "INVITE", "ACK"]
    stage.run(1000.0)
    assert call.live
    assert len(talk.got("UPDATE")) == 1, "it is not tried again"
    carrier.bye(call)
    stage.run(1.0)


def refresh_refused_otherwise(stage: Stage) -> None:
    """Any other refusal: the session goes on until its end, then BYE (§10)."""
    _carrier, ana, call, _talk = _up(
        stage, answer=(("session-expires", "1800;refresher=uac"),), allow="INVITE, ACK, BYE, CANCEL"
    )

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "INVITE" and message is not dialog.invite:
            ana.reply(dialog, 500, message=message)
            return True
        return False

    ana.auto = auto
    stage.run(1790.0)
    assert call.live
    stage.run(20.0)
    assert call.over
    assert stage.record.reason == "session_expired"


def refresh_is_not_answered(stage: Stage) -> None:
    """The callee was switched off: our refresh times out, and the call ends 64·T1 later, not at the end of the session."""
    _carrier, ana, call, talk = _up(stage, answer=(("session-expires", "1800;refresher=uac"),))
    ana.node.up = False
    stage.run(900.0 + 33.0)
    assert call.over
    talk.over = True  # nobody can tell it
    stage.run(40.0)
    assert stage.record.reason == "session_expired"


def refresh_of_ours_is_too_small(stage: Stage) -> None:
    """422 to a refresh of ours: again at once with what the peer asks for; a peer that never has enough is left alone."""
    carrier, ana, call, talk = _up(stage, answer=(("session-expires", "1800;refresher=uac"),))

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "UPDATE":
            ana.reply(dialog, 422, headers=(("min-se", str(3600 + message.cseq)),), message=message)
        return message.method == "UPDATE"

    ana.auto = auto
    stage.run(905.0)
    updates = talk.got("UPDATE")
    assert len(updates) == 4
    assert updates[1].get("min-se") == "3602"
    carrier.bye(call)
    stage.run(1.0)


def reinvite_of_a_party_refused_422_by_the_other(stage: Stage) -> None:
    """The other leg's session timer is ours to agree on: the asker never hears of that 422."""
    carrier, ana, call, talk = _up(stage)
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    stage.run(0.2)
    ana.reply(talk, 422, headers=(("min-se", "2400"),), message=talk.got("INVITE")[1])
    stage.run(0.2)
    again = talk.got("INVITE")[2]
    assert again.get("session-expires") == "2400;refresher=uas" or again.get("session-expires")
    assert again.body == sdp(4002, 1, 2)
    ana.reply(talk, 200, sdp(6002), message=again)
    stage.run(0.5)
    assert call.last("INVITE").status == 200
    carrier.bye(call)
    stage.run(1.0)


def a_refused_reinvite_does_not_change_the_timer(stage: Stage) -> None:
    """What a re-INVITE asks of the session timer takes effect with its 2xx only."""
    headers = (*TIMER, ("session-expires", "600;refresher=uac"))
    carrier, ana, call, talk = _up(stage, headers)
    other = (*TIMER, ("session-expires", "6000;refresher=uas"))
    carrier.request(call, "INVITE", sdp(4002, 1, 2), headers=other)
    stage.run(0.2)
    ana.reply(talk, 488, message=talk.got("INVITE")[1])
    stage.run(0.2)
    assert call.last("INVITE").status == 488
    stage.run(580.0)
    assert call.over, "the old interval holds"


def interval_shorter_than_allowed(stage: Stage) -> None:
    """A callee that answers with an interval below Min-SE does not have us refresh every second."""
    carrier, ana, call, talk = _up(stage, answer=(("session-expires", "2;refresher=uac"),))

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "UPDATE":
            ana.reply(dialog, 200, headers=(("session-expires", "1;refresher=uac"),), message=message)
        return message.method == "UPDATE"

    ana.auto = auto
    stage.run(100.0)
    assert len(talk.got("UPDATE")) == 2
    carrier.bye(call)
    stage.run(1.0)


def early_update_keeps_the_timer_that_was_promised(stage: Stage) -> None:
    """An UPDATE of ours before the answer has no word on the session timer, and takes none away."""
    stage.headers = SHOW
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    carrier.answers = 4002
    stage.begin()
    headers = (("supported", "100rel, timer"), ("session-expires", "600;refresher=uac"))
    call = carrier.call(ANA, headers=headers, caller=CALLER)
    stage.run(0.3)
    ana.ring(183, sdp(6000), headers=(("require", "100rel"), ("rseq", "1")))
    stage.run(0.3)
    ana.request(ana.incoming, "UPDATE", sdp(6002))
    stage.run(0.3)
    assert ana.incoming.last("UPDATE").status == 200
    ana.answer(sdp(6002))
    stage.run(0.5)
    assert call.last("INVITE").get("session-expires") == "600;refresher=uac"
    stage.run(575.0)
    assert call.over, "the caller promised to refresh and did not"
