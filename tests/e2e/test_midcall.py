"""What happens within a call: hold, re-INVITE, glare, DTMF, PRACK, session timers, late offer."""

from __future__ import annotations

import pytest

from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.phone import Phone
from tests.e2e.harness.running import talk
from tests.e2e.harness.sip import Message
from tests.e2e.harness.wire import NothingCame
from tests.e2e.harness.world import BEN, CLEO, OUTSIDE, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("openssl")]


def connect(caller: Phone, callee: Phone, number: str) -> tuple[int, int]:
    """A call between two phones that is up and carries audio."""
    call = caller.dial(number)
    ringing = callee.incoming()
    callee.answer(ringing)
    caller.wait("up", call)
    callee.wait("up", ringing)
    callee.hears(ringing)
    return call, ringing


@pytest.mark.parametrize(
    ("holder", "held"),
    [(("pjsua", "tcp"), ("baresip", "udp")), (("baresip", "tls"), ("pjsua", "udp"))],
)
def test_hold_and_resume(holder: tuple[str, str], held: tuple[str, str], world: World) -> None:
    caller, callee = world.phone("ana-1", *holder), world.phone("ben-1", *held)
    call, ringing = connect(caller, callee, BEN)
    caller.do("hold", call=call)
    callee.wait("media", ringing, fits=lambda e: e["state"] == "remote_hold")
    changes = callee.count("media", ringing)
    caller.insist("resume", call)
    callee.wait_more("media", ringing, changes)
    callee.hears(ringing)
    caller.hears(call)
    assert [e for e in callee.events if e.get("event") == "media"][-1]["state"] == "active"
    caller.hang_up(call)
    callee.wait("ended", ringing)


def test_hold_crosses_to_the_carrier(world: World) -> None:
    """The direction of the media and the rest of the body pass unharmed."""
    call, leg = talk(world, "tcp")
    leg.reinvite(leg.agent.sdp("sendonly", 2))
    offered = call.agent.expect_request("INVITE", call_id=call.call_id)
    assert offered.tag("to")
    assert "a=sendonly" in offered.body
    call.agent.respond(offered, 200, (), call.agent.sdp("recvonly", 2))
    answer = leg.expect_answer()
    assert "a=recvonly" in answer.body
    call.agent.expect_request("ACK", call_id=call.call_id)
    call.hang_up()
    leg.expect_hang_up()


def test_reinvite_back_and_forth(world: World) -> None:
    caller, callee = world.phone("ana-1", "pjsua", "udp"), world.phone("ben-1", "pjsua", "tcp")
    call, ringing = connect(caller, callee, BEN)
    for phone, own, other, theirs in ((caller, call, callee, ringing), (callee, ringing, caller, call)) * 2:
        before = other.count("media", theirs)
        phone.insist("reinvite", own)
        other.wait_more("media", theirs, before)
        other.hears(theirs, at_least=10)
    caller.hang_up(call)
    callee.wait("ended", ringing)


def test_a_refused_reinvite_leaves_the_call_as_it_was(world: World) -> None:
    call, leg = talk(world, "tcp")
    leg.reinvite(leg.agent.sdp("sendrecv", 2))
    offered = call.agent.expect_request("INVITE", call_id=call.call_id)
    call.agent.respond(offered, 488)
    refusal = leg.expect_failure()
    assert refusal.status == 488
    call.agent.expect_request("ACK", call_id=call.call_id)
    leg.hang_up()
    call.expect_hang_up()


def is_invite_or_end(message: Message) -> bool:
    return message.method == "INVITE" and (message.is_request or message.status >= 200)


def test_glare(world: World) -> None:
    """Both sides send a re-INVITE at the same moment: 491 to at least one, and the call lives (RFC 3261 14.2)."""
    call, leg = talk(world, "tcp")
    call.reinvite(call.agent.sdp("sendrecv", 2))
    leg.reinvite(leg.agent.sdp("sendrecv", 2))
    ends: dict[Leg, int] = {}
    for _ in range(40):
        for side in (call, leg):
            try:
                message = side.agent.expect(is_invite_or_end, "re-INVITE or its end", 0.2)
            except NothingCame:
                continue
            if message.is_request:
                # ours is under way, or was refused: then the other side's may have its way
                side.agent.respond(message, 200 if side in ends else 491, (), side.agent.sdp(version=2))
            elif message.status == 200:
                ends[side] = 200
                side.ack()
            else:
                ends[side] = message.status
                side.ack_failure(message)
        if len(ends) == 2:
            break
    assert sorted(ends.values()) in ([200, 491], [491, 491]), f"{call.agent.story()}\n{leg.agent.story()}"
    leg.hang_up()
    call.expect_hang_up()


@pytest.mark.parametrize("kinds", [("pjsua", "baresip"), ("baresip", "pjsua")])
def test_digits_by_rtp(kinds: tuple[str, str], world: World) -> None:
    """RFC 4733: the telephone-event payload is negotiated through us and passes between the ends."""
    caller, callee = world.phone("ana-1", kinds[0]), world.phone("ben-1", kinds[1], "tcp")
    call, ringing = connect(caller, callee, BEN)
    caller.do("digits", call=call, digits="15#")
    for digit in "15#":
        callee.wait("digit", ringing, fits=lambda e, d=digit: e["digit"] == d)
    caller.hang_up(call)
    callee.wait("ended", ringing)


def test_digits_by_info(world: World) -> None:
    caller, callee = world.phone("ana-1", "pjsua", "tcp"), world.phone("ben-1", "pjsua", "udp")
    call, ringing = connect(caller, callee, BEN)
    caller.do("digits", call=call, digits="42", info=True)
    for digit in "42":
        callee.wait("digit", ringing, fits=lambda e, d=digit: e["digit"] == d)
    caller.hang_up(call)
    callee.wait("ended", ringing)


def test_info_body_passes_unharmed(world: World) -> None:
    call, leg = talk(world, "tcp")
    body = "Signal=7\r\nDuration=160\r\n"
    leg.agent.send(leg.request_text("INFO", body, "application/dtmf-relay"))
    info = call.agent.expect_request("INFO", call_id=call.call_id)
    assert info.body == body
    assert info.get("content-type").lower() == "application/dtmf-relay"
    call.agent.respond(info, 200)
    leg.agent.expect_response("INFO", 200, call_id=leg.call_id)
    call.hang_up()
    leg.expect_hang_up()


def test_a_phone_that_insists_on_prack(world: World) -> None:
    """100rel required by the caller (RFC 3262): the call comes about, whatever the callee supports."""
    callee = world.phone("ben-1", "baresip", "udp")
    caller = world.phone("ana-1", "pjsua", "udp", prack=True)
    call, ringing = connect(caller, callee, BEN)
    caller.hang_up(call)
    callee.wait("ended", ringing)


def test_reliable_ringing_of_the_callee(world: World) -> None:
    """The callee rings with 100rel and RSeq: somebody sends it a PRACK before it answers."""
    callee = world.scripted("cleo-1")
    call = Leg.dial(world.carrier(), CLEO, OUTSIDE, headers=[("Supported", "100rel")])
    leg = Leg.answering(callee)
    assert leg.invite is not None
    if "100rel" not in leg.invite.get("supported"):
        leg.ring()
        leg.accept()
        call.expect_answer()
    else:
        leg.ring(180, headers=[("Require", "100rel"), ("RSeq", "7001")])
        ringing = call.expect_provisional(180)
        if ringing.get("rseq"):
            call.prack(ringing)
        prack = callee.expect_request("PRACK", call_id=leg.call_id)
        assert prack.get("rack").split()[0] == "7001"
        callee.respond(prack, 200)
        leg.accept()
        call.expect_answer()
    call.hang_up()
    leg.expect_hang_up()


def test_session_timer_of_a_real_phone(world: World) -> None:
    callee = world.phone("ben-1", "pjsua", "udp")
    caller = world.phone("ana-1", "pjsua", "tcp", timer=120)
    call, ringing = connect(caller, callee, BEN)
    caller.hang_up(call)
    callee.wait("ended", ringing)


def test_session_interval_too_small_is_refused_with_the_least(world: World) -> None:
    """RFC 4028 section 9: 422 with Min-SE."""
    world.scripted("cleo-1")
    headers = [("Supported", "timer"), ("Session-Expires", "30;refresher=uac"), ("Min-SE", "30")]
    refusal = Leg.dial(world.carrier(), CLEO, OUTSIDE, headers=headers).expect_failure()
    assert refusal.status == 422
    assert int(refusal.get("min-se")) == 90


def test_session_expires_is_agreed_with_the_caller(world: World) -> None:
    callee = world.scripted("cleo-1")
    headers = [("Supported", "timer"), ("Session-Expires", "300;refresher=uac")]
    call = Leg.dial(world.carrier(), CLEO, OUTSIDE, headers=headers)
    leg = Leg.answering(callee)
    leg.accept()
    answer = call.expect_answer()
    assert answer.get("session-expires").split(";")[0].strip().isdigit()
    assert "timer" in answer.get("require")
    # a refresh by UPDATE without a body is answered at once
    refreshed = call.request("UPDATE", [("Supported", "timer"), ("Session-Expires", "300;refresher=uac")])
    assert refreshed.status == 200
    call.hang_up()
    leg.expect_hang_up()


def test_late_offer(world: World) -> None:
    """An INVITE without a body: the offer comes in the 200, the answer in the ACK."""
    callee = world.scripted("cleo-1", "tls")
    carrier = world.carrier()
    call = Leg.dial(carrier, CLEO, OUTSIDE, body="")
    leg = Leg.answering(callee)
    assert leg.invite is not None
    assert leg.invite.body == ""
    leg.ring()

    callee.respond(leg.invite, 200, (), callee.sdp(), leg.tag)
    offer = call.expect_answer(body=carrier.sdp())
    assert f"m=audio {callee.rtp_port} " in offer.body
    ack = callee.expect_request("ACK", call_id=leg.call_id)
    assert f"m=audio {carrier.rtp_port} " in ack.body
    call.hang_up()
    leg.expect_hang_up()


def test_an_answer_is_repeated_until_it_is_acknowledged(world: World) -> None:
    """A lost ACK (RFC 3261 13.3.1.4): we send the 200 again, and the late ACK ends that."""
    callee = world.scripted("cleo-1")
    carrier = world.carrier()
    call = Leg.dial(carrier, CLEO, OUTSIDE)
    leg = Leg.answering(callee)
    leg.accept()
    final = call.expect_final(200)
    repeats = carrier.repeats
    carrier.expect_silence(1.2)
    assert carrier.repeats > repeats
    call._learn(final)
    call.ack()
    repeats = carrier.repeats
    carrier.expect_silence(2.2)
    assert carrier.repeats <= repeats + 1
    call.hang_up()
    leg.expect_hang_up()


def test_options_and_message_within_a_call(world: World) -> None:
    call, leg = talk(world, "tcp")
    assert call.request("OPTIONS").status == 200
    leg.hang_up()
    call.expect_hang_up()


def test_a_request_of_a_dialog_that_is_gone_is_answered_481(world: World) -> None:
    call, leg = talk(world, "tcp")
    leg.hang_up()
    call.expect_hang_up()
    assert call.request("BYE").status == 481
