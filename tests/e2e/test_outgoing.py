"""Softphones call: the outside world through a trunk, and other cloud numbers."""

from __future__ import annotations

import pytest

from tests.e2e.harness import sip
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.world import ANA, BEN, OUTSIDE, SPARE, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("sipp", "openssl")]


@pytest.mark.parametrize(("kind", "transport"), [("pjsua", "tls"), ("baresip", "udp"), ("pjsua", "tcp")])
@pytest.mark.rule("OUT-01", "CDR-01")
def test_a_softphone_calls_the_outside_world(kind: str, transport: str, world: World) -> None:
    """The called side sees the cloud number, and nothing of the device."""
    phone = world.phone("ana-1", kind, transport)
    carrier = world.sipp("carrier_answers")
    before = world.server.records_now()
    call = phone.dial(OUTSIDE)
    phone.wait("early", call)
    phone.wait("up", call)
    phone.hears(call)
    phone.hang_up(call)
    carrier.wait()
    invite = carrier.received("INVITE")
    assert sip.user_of(invite.start.split()[1]) == OUTSIDE
    assert sip.user_of(invite.get("to")) == OUTSIDE
    assert sip.user_of(invite.get("from")) == ANA
    assert sip.user_of(invite.get("p-asserted-identity")) == ANA
    # the head tells nothing of the device; what the phone itself writes into its media description passes
    assert "ana-1" not in invite.text.partition("\r\n\r\n")[0]
    assert not invite.get("x-cloudline-call")
    record = world.server.record_of(before)
    assert (record["direction"], record["reason"], record["trunk"]) == (
        "outgoing",
        "normal_clearing",
        "carrier-a",
    )
    assert (record["number"], record["called"], record["device"]) == (ANA, OUTSIDE, "ana-1")
    assert len(record["legs"]) == 2


@pytest.mark.rule("OUT-01")
def test_the_outside_world_hangs_up(world: World) -> None:
    phone = world.phone("ana-1", "baresip", "tls")
    carrier = world.carrier()
    call = phone.dial(OUTSIDE)
    leg = Leg.answering(carrier)
    leg.ring()
    leg.accept()
    phone.wait("up", call)
    leg.hang_up()
    phone.wait("ended", call)


@pytest.mark.parametrize("dialled", [BEN, BEN.replace("+33", "0"), BEN.replace("+", "00")])
@pytest.mark.rule("OUT-01", "NUM-01")
def test_a_softphone_calls_another_cloud_number(dialled: str, world: World) -> None:
    """However it is dialled: with plus sign, as in France, or with the international prefix."""
    caller, callee = world.phone("ana-1", "pjsua", "tcp"), world.phone("ben-1", "baresip", "tls")
    before = world.server.records_now()
    call = caller.dial(dialled)
    ringing = callee.incoming()
    caller.wait("early", call)
    callee.answer(ringing)
    caller.wait("up", call)
    callee.wait("up", ringing)
    caller.hears(call)
    callee.hears(ringing)
    callee.hang_up(ringing)
    caller.wait("ended", call)
    record = world.server.record_of(before)
    assert (record["direction"], record["reason"], record["caller"]) == ("internal", "normal_clearing", ANA)
    assert (record["called"], record["ended_by"]) == (BEN, "callee")


@pytest.mark.rule("OUT-01", "INC-10")
def test_the_callee_sees_the_cloud_number_and_not_the_device(world: World) -> None:
    callee = world.scripted("ben-1")
    caller = world.phone("ana-2", "pjsua")
    call = caller.dial(BEN)
    leg = Leg.answering(callee)
    assert leg.invite is not None
    assert sip.user_of(leg.invite.get("from")) == ANA
    assert sip.user_of(leg.invite.get("p-called-party-id")) == BEN
    assert "ana-2" not in leg.invite.text
    leg.refuse(486)
    assert caller.wait("ended", call)["code"] == 486


@pytest.mark.rule("OUT-01", "OUT-09")
def test_a_number_of_somebody_else_is_refused(world: World) -> None:
    phone = world.scripted("ana-1")
    call = Leg.dial(
        phone, OUTSIDE, "ana-1", headers=[("P-Preferred-Identity", f"<sip:{BEN}@{world.domain}>")]
    )
    call.dial_with_credentials(headers=[("P-Preferred-Identity", f"<sip:{BEN}@{world.domain}>")])
    refusal = call.expect_failure()
    assert refusal.status == 403
    assert "not_your_number" in refusal.get("reason")
    assert refusal.get("warning")


@pytest.mark.rule("OUT-05")
@pytest.mark.parametrize("number", ["112", "15"])
def test_emergency_is_answered_380_and_no_trunk_hears_of_it(number: str, world: World) -> None:
    carrier = world.carrier()
    phone = world.scripted("ana-1")
    call = Leg.dial(phone, number, "ana-1")
    call.dial_with_credentials()
    assert call.expect_failure().status == 380
    carrier.expect_silence(0.3)


@pytest.mark.rule("NUM-01", "OUT-09")
def test_an_unreadable_number_and_an_unheld_one(world: World) -> None:
    phone = world.phone("ana-1")
    unreadable = phone.wait("ended", phone.dial("0639"))
    assert unreadable["code"] in (404, 484)
    carrier = world.carrier()
    call = phone.dial(SPARE)
    # nobody here holds it: it is a number of the outside world like any other
    leg = Leg.answering(carrier)
    leg.refuse(404)
    assert phone.wait("ended", call)["code"] in (404, 502)


@pytest.mark.needs("sipp")
@pytest.mark.rule("CDR-01")
def test_a_carrier_that_is_unavailable_is_followed_by_the_next(world: World) -> None:
    """503 of SIPp at the trunk for Great Britain; the trunk for everything takes over."""
    phone = world.phone("ana-1")
    first = world.sipp("carrier_unavailable", "carrier-gb")
    carrier, second = world.carrier("carrier-a"), world.carrier("carrier-b")
    before = world.server.records_now()
    call = phone.dial("+447700900123")
    leg = Leg.answering(carrier)
    leg.ring()
    leg.accept()
    phone.wait("up", call)
    first.wait()
    phone.hang_up(call)
    leg.expect_hang_up()
    second.expect_silence(0.1)
    record = world.server.record_of(before)
    assert record["trunk"] == "carrier-a"
    tried = [(leg["trunk"], leg["status"]) for leg in record["legs"] if leg["role"] == "callee"]
    assert tried == [("carrier-gb", 503), ("carrier-a", 200)]


def test_a_silent_carrier_is_followed_by_the_next(world: World) -> None:
    """It listens but never answers: after a second (trunk_silence_seconds) the other is tried."""
    phone = world.phone("ana-1", "baresip")
    silent = world.carrier("carrier-us")
    second = world.carrier("carrier-a")
    call = phone.dial("+12025550123")
    leg = Leg.answering(second, timeout=6)
    leg.accept()
    phone.wait("up", call)
    silent.expect_request("INVITE")
    phone.hang_up(call)
    leg.expect_hang_up()


def test_a_dead_carrier_is_followed_by_the_next(world: World) -> None:
    """Nobody listens at its port: the refusal of the network is known at once."""
    phone = world.phone("ana-1", "pjsua", "tcp")
    carrier = world.carrier("carrier-a")
    call = phone.dial("+33261910001")
    leg = Leg.answering(carrier, timeout=4)
    leg.accept()
    phone.wait("up", call)
    leg.hang_up()
    phone.wait("ended", call)


def test_busy_outside_is_final(world: World) -> None:
    """486 is the answer of a person: no other carrier is tried."""
    phone = world.phone("ana-1")
    carrier, other = world.carrier(), world.carrier("carrier-b")
    call = phone.dial(OUTSIDE)
    Leg.answering(carrier).refuse(486)
    assert phone.wait("ended", call)["code"] == 486
    other.expect_silence(0.3)


def test_a_softphone_cancels(world: World) -> None:
    phone = world.phone("ana-1", "baresip", "tcp")
    carrier = world.carrier()
    call = phone.dial(OUTSIDE)
    leg = Leg.answering(carrier)
    leg.ring()
    phone.wait("early", call)
    phone.hang_up(call)
    leg.expect_cancel()
    phone.wait("ended", call)


def test_a_colleague_is_called_by_name(world: World) -> None:
    callee = world.phone("cleo-1", "pjsua", "udp")
    caller = world.phone("ben-1", "baresip", "udp")
    call = caller.dial("cleo-1")
    ringing = callee.incoming()
    callee.answer(ringing)
    caller.wait("up", call)
    caller.hang_up(call)
    callee.wait("ended", ringing)
