"""Transfers as real phones make them: blind and attended (RFC 5589)."""

from __future__ import annotations

import pytest

from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.phone import Phone
from tests.e2e.harness.world import BEN, CLEO, OUTSIDE, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("openssl")]


def answer(caller: Phone, callee: Phone, number: str, after: int = 0) -> tuple[int, int]:
    call = caller.dial(number)
    ringing = callee.incoming(after=after)
    callee.answer(ringing)
    caller.wait("up", call)
    callee.wait("up", ringing)
    return call, ringing


def live_call(phone: Phone) -> int:
    """The number of the phone's call that is up and has not ended; the newest."""
    up = [e["call"] for e in phone.events if e.get("event") == "up"]
    ended = {e["call"] for e in phone.events if e.get("event") == "ended"}
    left = [call for call in up if call not in ended]
    assert left, f"{phone} has no call left\n{phone.story()}"
    return int(left[-1])


@pytest.mark.parametrize("kind", ["pjsua", "baresip"])
def test_blind_transfer(kind: str, world: World) -> None:
    """Ben sends Ana on to Cleo and is out of the call."""
    ana, ben, cleo = world.phone("ana-1", kind), world.phone("ben-1", kind), world.phone("cleo-1", kind)
    _, ringing = answer(ana, ben, BEN)
    cleo.do("first_answer", status=200)
    ben.do("transfer", call=ringing, to=f"sip:{CLEO}@{world.domain}")
    reached = cleo.incoming()
    cleo.wait("up", reached)
    cleo.hears(reached)
    if kind == "pjsua":
        ben.wait("transfer", ringing, fits=lambda e: e["final"] and e["code"] == 200)
        ben.hang_up(ringing)
    ben.wait("ended", ringing)
    ana.hears(live_call(ana))
    ana.hang_up(live_call(ana))
    cleo.wait("ended", reached)


@pytest.mark.parametrize("kind", ["pjsua", "baresip"])
def test_attended_transfer(kind: str, world: World) -> None:
    """Ben asks Cleo first, then joins Ana and Cleo."""
    ana, ben, cleo = world.phone("ana-1", kind), world.phone("ben-1", kind), world.phone("cleo-1", kind)
    _, ringing = answer(ana, ben, BEN)
    ben.do("hold", call=ringing)
    ana.wait("media", fits=lambda e: e["state"] == "remote_hold")
    consult, _ = answer(ben, cleo, CLEO)
    ben.do("attended", call=ringing, other=consult)
    for own in (ringing, consult):
        try:
            ben.wait("ended", own, timeout=3)
        except AssertionError:
            ben.hang_up(own)
            ben.wait("ended", own)
    ana.hears(live_call(ana))
    cleo.hears(live_call(cleo))
    ana.hang_up(live_call(ana))
    cleo.wait("ended", live_call(cleo))


def test_blind_transfer_to_a_busy_phone_is_told(world: World) -> None:
    """The transferor is told 486, and the call with it goes on."""
    ana, ben, cleo = world.phone("ana-1"), world.phone("ben-1"), world.phone("cleo-1")
    call, ringing = answer(ana, ben, BEN)
    cleo.do("first_answer", status=486)
    ben.do("transfer", call=ringing, to=f"sip:{CLEO}@{world.domain}")
    told = ben.wait("transfer", ringing, fits=lambda e: bool(e["final"]), timeout=8)
    assert told["code"] == 486
    ben.hears(ringing)
    ana.hears(call)
    ana.hang_up(call)
    ben.wait("ended", ringing)


def test_a_caller_from_the_trunk_is_transferred(world: World) -> None:
    """The carrier knows nothing of REFER: the server makes the new call for it."""
    ben, cleo = world.phone("ben-1", "pjsua", "tcp"), world.phone("cleo-1", "baresip", "udp")
    carrier = world.carrier()
    call = Leg.dial(carrier, BEN, OUTSIDE)
    ringing = ben.incoming()
    ben.answer(ringing)
    call.expect_answer()
    cleo.do("first_answer", status=200)
    ben.do("transfer", call=ringing, to=f"sip:{CLEO}@{world.domain}")
    while True:  # the new media description reaches the carrier in a re-INVITE or UPDATE, or two
        request = carrier.expect(
            lambda m: m.is_request and m.method in ("INVITE", "UPDATE", "REFER"), "re-INVITE"
        )
        assert request.method != "REFER", "REFER must not cross to a carrier"
        carrier.respond(request, 200, (), carrier.sdp(version=2))
        if request.method == "INVITE":
            carrier.expect_request("ACK", call_id=call.call_id)
            break
    reached = cleo.incoming()
    cleo.wait("up", reached)
    ben.hang_up(ringing)
    call.hang_up()
    cleo.wait("ended", reached)


def test_a_stranger_cannot_refer(world: World) -> None:
    """REFER outside a dialog, by nobody we know."""
    stranger = world.stranger()
    refused = stranger.transact(
        "REFER",
        f"sip:{BEN}@{world.domain}",
        [
            ("From", "<sip:x@192.0.2.1>;tag=1"),
            ("To", f"<sip:{BEN}@{world.domain}>"),
            ("Call-ID", "stranger-refer"),
            ("CSeq", "1 REFER"),
            ("Contact", stranger.contact),
            ("Refer-To", f"<sip:{OUTSIDE}@{world.domain}>"),
        ],
    )
    assert 400 <= refused.status < 500
