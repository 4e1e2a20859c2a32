"""Callbacks: the server calls the SIM, then the number that the app asked for, and joins the two (OUT-03, RFC 3725)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from callcontrol.phone_requests import Error, Ok, Reply
from gateway.trunk import Prefix, Trunk
from tests.scenarios.stage import ANA, BEN, OUTSIDE, Stage
from tests.support.party import Dialog, Party, own, sdp

SIM = "+33639980000"
GATEWAY = "+33199000001"
SIM_PORT = 8000


def _ask(stage: Stage, **request: object) -> Reply:
    told: list[Reply] = []
    server = stage.world.server
    server.phone.handle("ana-phone", request, stage.world.now(), told.append)
    (reply,) = told
    return reply


def _call_back(stage: Stage, to: str = OUTSIDE, **more: object) -> Mapping[str, object]:
    """The app asks; the SIM's INVITE is on its way."""
    reply = _ask(stage, type="callback", to=to, **more)
    assert isinstance(reply, Ok), reply
    stage.run(0.2)
    return reply.fields


def _parties(stage: Stage) -> tuple[Party, Party]:
    """SIMs are reached by one carrier, everybody else by another."""
    trunks = {trunk.ref: trunk for trunk in stage.world.trunks.all()}
    mobile = Trunk(
        ref="carrier-b",
        peers=("sip:10.0.2.1:5060",),
        accept_from=("10.0.2.0/24",),
        prefixes=(Prefix("+33639980"),),
    )
    stage.world.trunks.replace([trunks["carrier-a"], mobile, trunks["carrier-c"]], version=2)
    # a leg that shows a gateway number goes by the trunk of that number
    numbers = stage.world.gateways.all()
    stage.world.gateways.replace([replace(each, trunk="carrier-b") for each in numbers], version=2)
    sim, carrier = stage.carrier("10.0.2.1", "sim"), stage.carrier()
    sim.answers = SIM_PORT
    stage.begin()
    return sim, carrier


def _pick_up(stage: Stage, sim: Party) -> Dialog:
    """The SIM rings and is answered; the INVITE to the callee is on its way."""
    sim.ring()
    stage.run(1.0)
    dialog = sim.answer(own(SIM_PORT))
    stage.run(0.3)
    return dialog


def callback(stage: Stage) -> None:
    """The whole way: SIM, callee, joined; the SIM hears what the callee's network plays."""
    sim, carrier = _parties(stage)
    told = _call_back(stage)
    invite = sim.incoming.invite
    assert invite is not None
    assert not invite.body, "the SIM's side makes the offer"
    assert f"<sip:{GATEWAY}@" in invite.from_value
    assert ANA not in invite.data.decode(), "its bill and its screen show the gateway number"
    assert told["gateway_number"] == GATEWAY
    assert not carrier.dialogs
    leg = _pick_up(stage, sim)
    held = leg.got("ACK")[0].body.decode()
    assert "a=inactive" in held
    assert "c=IN IP4 0.0.0.0" in held
    offered = carrier.incoming.invite
    assert offered is not None
    assert offered.body == own(SIM_PORT), "the SIM's own offer"
    assert f"<sip:{ANA}@" in offered.from_value
    assert SIM not in offered.data.decode()
    assert GATEWAY not in offered.data.decode()
    carrier.ring(183, sdp(7000))
    stage.run(1.0)
    (early,) = leg.got("INVITE")[1:]
    assert b"m=audio 7000" in early.body, "it hears the callee's network"
    carrier.answer(sdp(7000))
    stage.run(1.0)
    assert len(leg.got("INVITE")) == 2, "it has that description already"
    assert leg.live
    assert carrier.incoming.live
    sim.bye(leg)
    stage.run(1.0)
    assert carrier.incoming.over
    record = stage.record
    assert (record.direction, record.number, record.called) == ("outgoing", ANA, OUTSIDE)
    assert (record.gateway_number, record.sim, record.device, record.device_class) == (
        GATEWAY,
        SIM,
        "ana-phone",
        "phone",
    )
    assert record.lease
    assert (record.reason, record.ended_by) == ("normal_clearing", "caller")
    assert record.answered_ms > record.legs[0].answered_ms > 0
    assert [(each.role, each.number, each.trunk) for each in record.legs] == [
        ("caller", SIM, "carrier-b"),
        ("callee", OUTSIDE, "carrier-a"),
    ]


def callback_without_early_media(stage: Stage) -> None:
    """A plain 180 cannot be heard by somebody who has answered; the join waits for the answer."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    leg = _pick_up(stage, sim)
    carrier.ring()
    stage.run(3.0)
    assert len(leg.got("INVITE")) == 1
    carrier.answer(sdp(7000))
    stage.run(1.0)
    assert b"m=audio 7000" in leg.got("INVITE")[1].body
    assert carrier.incoming.got("ACK")
    carrier.bye(carrier.incoming)
    stage.run(1.0)
    assert leg.over
    assert (stage.record.reason, stage.record.ended_by) == ("normal_clearing", "callee")


def callback_to_a_colleague(stage: Stage) -> None:
    """The callee is one of ours: no trunk for its leg, all devices ring, and the late ones are told who won."""
    phone, desk = stage.phone("ben-phone"), stage.phone("ben-desktop")
    sim, _ = _parties(stage)
    _call_back(stage, BEN)
    leg = _pick_up(stage, sim)
    phone.ring()
    desk.ring()
    stage.run(1.0)
    phone.answer(sdp(6000))
    stage.run(1.0)
    assert desk.incoming.cancelled is not None
    assert leg.live
    phone.bye(phone.incoming)
    stage.run(1.0)
    assert (stage.record.trunk, stage.record.direction) == ("carrier-b", "internal")


def callback_sim_busy(stage: Stage) -> None:
    """The SIM declines or is busy: the callee is never called."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    sim.reply(sim.incoming, 486)
    stage.run(1.0)
    assert not carrier.dialogs
    assert (stage.record.reason, stage.record.status, stage.record.ended_by) == ("busy", 486, "caller")
    assert stage.record.called == OUTSIDE


def callback_sim_silent(stage: Stage) -> None:
    """The SIM rings out: it is cancelled before its carrier's voicemail picks up, and the callee is never called."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    sim.ring()
    stage.run(30.0)
    assert sim.incoming.cancelled is not None
    assert stage.times(sim, "CANCEL") == [25.0]
    assert not carrier.dialogs
    assert (stage.record.reason, stage.record.answered_ms) == ("no_answer", 0)


def callback_sim_over_another_peer(stage: Stage) -> None:
    """A carrier that cannot reach the SIM is not the end: the next one is tried."""
    sim, carrier = _parties(stage)
    other = stage.world.trunks.get("carrier-a")
    assert other is not None
    _call_back(stage)
    sim.reply(sim.incoming, 503)
    stage.run(0.5)
    assert carrier.incoming.invite is not None
    assert carrier.incoming.invite.uri.startswith(f"sip:{SIM}@")
    carrier.reply(carrier.incoming, 480)
    stage.run(1.0)
    assert [leg.role for leg in stage.record.legs] == ["caller", "caller"]
    assert stage.record.reason == "no_answer"


def callback_callee_busy(stage: Stage) -> None:
    """The callee is busy: the SIM's leg ends with the reason, in words and as a cause of the telephone network."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    leg = _pick_up(stage, sim)
    carrier.reply(carrier.incoming, 486)
    stage.run(1.0)
    reasons = leg.got("BYE")[-1].all("reason")
    assert reasons == ['SIP;cause=486;text="busy"', "Q.850;cause=17"]
    record = stage.record
    assert (record.reason, record.status, record.ended_by, record.answered_ms) == ("busy", 486, "callee", 0)
    assert record.legs[0].answered_ms


def callback_callee_unreachable(stage: Stage) -> None:
    """Nobody answers at the callee's: the SIM does not wait for ever."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    leg = _pick_up(stage, sim)
    carrier.ring()
    stage.run(100.0)
    assert carrier.incoming.cancelled is not None
    assert leg.over
    assert 'text="no_answer"' in leg.got("BYE")[-1].all("reason")[0]
    assert stage.record.reason == "no_answer"


def callback_cancelled_while_the_sim_rings(stage: Stage) -> None:
    """The app thinks better of it."""
    sim, carrier = _parties(stage)
    told = _call_back(stage)
    sim.ring()
    stage.run(1.0)
    assert isinstance(_ask(stage, type="cancel_callback", callback=told["callback"]), Ok)
    stage.run(1.0)
    assert sim.incoming.cancelled is not None
    assert not carrier.dialogs
    assert (stage.record.reason, stage.record.ended_by) == ("caller_cancelled", "caller")
    again = _ask(stage, type="cancel_callback", callback=told["callback"])
    assert isinstance(again, Error)
    assert again.code == "not_found"


def callback_cancelled_while_the_callee_rings(stage: Stage) -> None:
    """The same when the SIM has answered: both legs end."""
    sim, carrier = _parties(stage)
    told = _call_back(stage)
    leg = _pick_up(stage, sim)
    carrier.ring()
    stage.run(1.0)
    _ask(stage, type="cancel_callback", callback=told["callback"])
    stage.run(1.0)
    assert carrier.incoming.cancelled is not None
    assert leg.over
    assert stage.record.reason == "caller_cancelled"


def callback_answer_of_the_sim_crosses_the_cancel(stage: Stage) -> None:
    """The SIM is answered in the moment in which the app cancels: it is released at once."""
    sim, carrier = _parties(stage)
    told = _call_back(stage)
    sim.ring()
    stage.run(1.0)
    sim.answer(own(SIM_PORT))
    _ask(stage, type="cancel_callback", callback=told["callback"])
    stage.run(1.0)
    assert not carrier.dialogs
    assert sim.incoming.over
    assert stage.record.reason == "caller_cancelled"


def callback_sim_hangs_up_while_the_callee_rings(stage: Stage) -> None:
    """The callee stops ringing, and has not missed a call that it could have taken."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    leg = _pick_up(stage, sim)
    carrier.ring()
    stage.run(2.0)
    sim.bye(leg)
    stage.run(1.0)
    assert carrier.incoming.cancelled is not None
    record = stage.record
    assert (record.reason, record.status, record.ended_by) == ("caller_cancelled", 487, "caller")


def callback_sim_hangs_up_as_the_callee_answers(stage: Stage) -> None:
    """BYE and 200 cross: whoever was first, nobody is left in a call."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    leg = _pick_up(stage, sim)
    carrier.ring()
    stage.run(1.0)
    carrier.answer(sdp(7000))
    sim.bye(leg)
    stage.run(2.0)
    assert carrier.incoming.over


def callback_glare(stage: Stage) -> None:
    """The SIM's side sends a re-INVITE in the moment of the join: 491, and we try again after the others (RFC 3261 §14.1)."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    leg = _pick_up(stage, sim)
    carrier.ring()
    stage.run(1.0)
    sim.answers = 0
    carrier.answer(sdp(7000))
    stage.run(0.1)
    sim.reply(leg, 491, message=leg.got("INVITE")[-1])
    sim.answers = SIM_PORT
    stage.run(6.0)
    assert len(leg.got("INVITE")) == 3
    assert leg.live
    assert carrier.incoming.live
    carrier.bye(carrier.incoming)
    stage.run(1.0)
    assert stage.record.reason == "normal_clearing"


def callback_sim_asks_while_it_waits(stage: Stage) -> None:
    """A carrier that refreshes or moves its media before the callee answers keeps its session, and the callee is told."""
    sim, carrier = _parties(stage)
    carrier.answers = 7000
    _call_back(stage)
    leg = _pick_up(stage, sim)
    carrier.ring()
    stage.run(1.0)
    sim.request(leg, "INVITE", own(8800))
    stage.run(1.0)
    assert leg.statuses[-1] == 200
    assert "a=inactive" in leg.responses[-1].body.decode()
    sim.answers = 8800
    carrier.answer(own(7000))
    stage.run(2.0)
    moved = carrier.incoming.got("INVITE")[-1]
    assert b"m=audio 8800" in moved.body
    assert carrier.incoming.live
    sim.bye(leg)
    stage.run(1.0)
    assert stage.record.reason == "normal_clearing"


def callback_sim_refuses_the_join(stage: Stage) -> None:
    """The two have nothing in common: both are released with the reason."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    leg = _pick_up(stage, sim)
    sim.answers = 0
    carrier.ring()
    stage.run(1.0)
    carrier.answer(sdp(7000))
    stage.run(0.1)
    sim.reply(leg, 488, message=leg.got("INVITE")[-1])
    stage.run(1.0)
    assert leg.over
    assert carrier.incoming.over
    assert stage.record.reason == "media_refused"


def callback_sim_without_an_offer(stage: Stage) -> None:
    """A 200 without a description is no offer to call anybody with."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    sim.ring()
    stage.run(0.5)
    sim.reply(sim.incoming, 200)
    stage.run(1.0)
    assert sim.incoming.over
    assert not carrier.dialogs
    assert stage.record.reason == "media_refused"


def callback_hidden(stage: Stage) -> None:
    """OUT-07 on the callee's leg; the SIM sees the gateway number all the same."""
    sim, carrier = _parties(stage)
    _call_back(stage, hide=True)
    leg = _pick_up(stage, sim)
    invite = carrier.incoming.invite
    assert invite is not None
    assert invite.from_value.startswith('"Anonymous" <sip:anonymous@anonymous.invalid>')
    assert invite.get("privacy") == "id"
    assert leg.invite is not None
    assert not leg.invite.has("privacy")
    sim.bye(leg)
    stage.run(1.0)


def callback_asked_for_twice(stage: Stage) -> None:
    """Two taps on the same name are one callback; another name is another one, and the SIM is busy with the first."""
    sim, _ = _parties(stage)
    told = _call_back(stage)
    again = _ask(stage, type="callback", to=OUTSIDE)
    assert again == Ok(fields=told)
    assert len(sim.dialogs) == 1
    other = _call_back(stage, "+33199005679")
    assert other["gateway_number"] != told["gateway_number"], (
        "two calls in flight never share a gateway number"
    )
    sim.reply(sim.dialogs[1], 486)
    sim.reply(sim.dialogs[0], 603)
    stage.run(1.0)
    assert sorted(record.reason for record in stage.world.records) == ["busy", "declined"]


def callback_hold_and_resume(stage: Stage) -> None:
    """Once joined it is a call like any other."""
    sim, carrier = _parties(stage)
    carrier.answers = 7000
    _call_back(stage)
    leg = _pick_up(stage, sim)
    carrier.ring()
    stage.run(0.5)
    carrier.answer(own(7000))
    stage.run(1.0)
    sim.request(leg, "INVITE", sdp(SIM_PORT, 1, 5, "sendonly"))
    stage.run(1.0)
    assert b"a=sendonly" in carrier.incoming.got("INVITE")[-1].body
    carrier.bye(carrier.incoming)
    stage.run(1.0)
    assert leg.over
    assert stage.record.reason == "normal_clearing"


def callback_callee_registers_while_the_sim_rings(stage: Stage) -> None:
    """Nobody is called before the SIM has answered, also a device of the callee that has just come (DEV-05)."""
    phone = stage.phone("ben-phone")
    sim, _ = _parties(stage)
    _call_back(stage, BEN)
    sim.ring()
    late = stage.phone("ben-desktop")
    stage.run(0.5)
    assert not phone.rang
    assert not late.rang
    sim.reply(sim.incoming, 486)
    stage.run(1.0)
    assert not phone.rang
    assert not late.rang
    assert stage.record.reason == "busy"


def callback_early_media_changes_its_mind(stage: Stage) -> None:
    """An announcement first, then the callee elsewhere: the SIM follows."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    leg = _pick_up(stage, sim)
    carrier.ring(183, sdp(7000))
    stage.run(1.0)
    carrier.answer(sdp(7100))
    stage.run(1.0)
    offers = [message.body for message in leg.got("INVITE")[1:]]
    assert [b"m=audio 7000" in offers[0], b"m=audio 7100" in offers[1]] == [True, True]
    sim.bye(leg)
    stage.run(1.0)
    assert stage.record.reason == "normal_clearing"


def callback_sim_does_not_want_early_media(stage: Stage) -> None:
    """It waits in silence, and is asked again when the callee has answered."""
    sim, carrier = _parties(stage)
    _call_back(stage)
    leg = _pick_up(stage, sim)
    sim.answers = 0
    carrier.ring(183, sdp(7000))
    stage.run(0.2)
    sim.reply(leg, 488, message=leg.got("INVITE")[-1])
    sim.answers = SIM_PORT
    stage.run(1.0)
    carrier.answer(sdp(7000))
    stage.run(1.0)
    assert len(leg.got("INVITE")) == 3
    assert leg.live
    sim.bye(leg)
    stage.run(1.0)
    assert stage.record.reason == "normal_clearing"
