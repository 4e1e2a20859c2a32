"""A carrier calls a cloud number: its owner's softphones ring, one answers, either side hangs up."""

from __future__ import annotations

import pytest

from loadtests import ports
from tests.e2e.harness import sip
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.server import HOST
from tests.e2e.harness.sipp import SippRun
from tests.e2e.harness.world import ANA, BEN, CLEO, OUTSIDE, SPARE, World

pytestmark = [pytest.mark.e2e, pytest.mark.needs("sipp", "openssl")]
KINDS = [(kind, transport) for kind in ("pjsua", "baresip") for transport in ("udp", "tcp", "tls")]
ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'


@pytest.mark.rule("INC-05", "INC-07", "INC-10", "CDR-01")
def test_all_softphones_ring_one_answers_the_others_are_told(world: World) -> None:
    """pjsua2 and baresip over UDP, TCP and TLS, and a SIPp phone, ring together."""
    phones = [world.phone(f"ana-{i}", kind, transport) for i, (kind, transport) in enumerate(KINDS, 1)]
    watcher = world.scripted("ana-sim", register=False)
    port = ports.free_port(HOST)
    assert watcher.register(contact=f"<sip:ana-sim@{HOST}:{port}>").status == 200
    cancelled = SippRun("phone_is_cancelled", world.folder / "sipp", local=(HOST, port))
    before = world.server.records_now()
    carrier = world.sipp("carrier_calls", calling=ANA)
    ringing = {phone: phone.incoming() for phone in phones}
    winner = phones[2]  # PJSIP over TLS
    winner.answer(ringing[winner])
    winner.wait("up", ringing[winner])
    for phone in phones:
        if phone is not winner:
            phone.wait("ended", ringing[phone])
    cancelled.wait()
    assert cancelled.received("CANCEL").get("reason") == ELSEWHERE
    winner.hears(ringing[winner])
    carrier.wait()
    winner.wait("ended", ringing[winner])
    invite = winner.messages("INVITE")[0]
    assert sip.user_of(invite.get("p-called-party-id")) == ANA
    assert sip.user_of(invite.get("from")) == OUTSIDE
    assert sip.user_of(invite.get("p-asserted-identity")) == OUTSIDE
    record = world.server.record_of(before)
    assert invite.get("x-cloudline-call") == record["call_ref"]
    assert (record["direction"], record["reason"], record["status"]) == ("incoming", "normal_clearing", 200)
    assert (record["number"], record["caller"], record["trunk"]) == (ANA, OUTSIDE, "carrier-a")
    assert (record["device"], record["ended_by"]) == ("ana-3", "caller")
    assert 0 < record["started_ms"] <= record["ringing_ms"] <= record["answered_ms"] < record["ended_ms"]
    devices = sorted(leg["device"] for leg in record["legs"] if leg["role"] == "callee")
    assert devices == sorted([f"ana-{i}" for i in range(1, 7)] + ["ana-sim"])
    assert [leg["device"] for leg in record["legs"] if leg["role"] == "callee" and leg["answered_ms"]] == [
        "ana-3"
    ]
    ladder = world.server.ladder(record["call_ref"])
    cancels = [message for sender, message in ladder if message.method == "CANCEL" and message.is_request]
    assert len(cancels) == 6
    assert {message.get("reason") for message in cancels} == {ELSEWHERE}
    shown = world.server.cli("calls", "ladder", record["call_ref"])
    assert shown.returncode == 0, shown.stderr
    assert "INVITE" in shown.stdout
    assert "487" in shown.stdout


@pytest.mark.parametrize(("kind", "transport"), KINDS)
@pytest.mark.rule("INC-05")
def test_a_softphone_answers_and_hangs_up(kind: str, transport: str, world: World) -> None:
    phone = world.phone("ana-1", kind, transport)
    before = world.server.records_now()
    carrier = world.sipp("carrier_is_left", calling=ANA)
    call = phone.incoming()
    phone.answer(call)
    phone.wait("up", call)
    phone.hears(call)
    phone.hang_up(call)
    carrier.wait()
    record = world.server.record_of(before)
    assert (record["reason"], record["ended_by"], record["device"]) == ("normal_clearing", "callee", "ana-1")


@pytest.mark.rule("INC-07")
def test_two_devices_answer_at_the_same_moment_and_one_gets_the_call(world: World) -> None:
    first, second = (world.scripted(f"ana-{i}") for i in (1, 2))
    carrier = world.carrier()
    call = Leg.dial(carrier, ANA, OUTSIDE)
    legs = [Leg.answering(agent) for agent in (first, second)]
    for leg in legs:
        leg.ring()
    call.expect_provisional(180)
    for leg in legs:
        assert leg.invite is not None
        leg.agent.respond(leg.invite, 200, (), leg.agent.sdp(), leg.tag)
    call.expect_answer()
    for leg in legs:  # RFC 3261 13.2.2.4: also the answer that is not wanted is acknowledged
        leg.agent.expect_request("ACK", call_id=leg.call_id)
    loser = legs[1]
    loser.expect_hang_up()
    assert not any(m.method == "BYE" for m in first.inbox)
    call.hang_up()
    legs[0].expect_hang_up()


@pytest.mark.rule("INC-09")
def test_the_caller_gives_up_and_all_phones_stop_ringing(world: World) -> None:
    phones = [world.phone("ben-1", "pjsua", "udp"), world.phone("ben-2", "baresip", "tcp")]
    before = world.server.records_now()
    carrier = world.sipp("carrier_cancels", calling=BEN)
    ringing = {phone: phone.incoming() for phone in phones}
    for phone, call in ringing.items():
        phone.wait("ended", call)
    carrier.wait()
    record = world.server.record_of(before)
    assert (record["reason"], record["status"], record["ended_by"]) == ("caller_cancelled", 487, "caller")
    for _, message in world.server.ladder(record["call_ref"]):
        if message.method == "CANCEL":
            assert "elsewhere" not in message.get("reason")


@pytest.mark.parametrize(("status", "reason"), [(486, "busy"), (603, "declined"), (480, "unreachable")])
@pytest.mark.rule("INC-08")
def test_the_only_phone_refuses(status: int, reason: str, world: World) -> None:
    phone = world.phone("cleo-1")
    phone.do("first_answer", status=status)
    before = world.server.records_now()
    call = Leg.dial(world.carrier(), CLEO, OUTSIDE)
    assert call.expect_failure().status == status
    assert world.server.record_of(before)["reason"] == reason


@pytest.mark.rule("INC-08")
def test_a_decline_of_one_device_is_the_answer_of_its_user(world: World) -> None:
    one, other = world.scripted("ben-1"), world.scripted("ben-2")
    call = Leg.dial(world.carrier(), BEN, OUTSIDE)
    first, second = Leg.answering(one), Leg.answering(other)
    first.ring()
    second.ring()
    call.expect_provisional(180)
    first.refuse(603)
    second.expect_cancel()
    assert call.expect_failure().status == 603


@pytest.mark.rule("INC-08")
def test_a_busy_device_leaves_the_others_ringing(world: World) -> None:
    one, other = world.scripted("ben-1"), world.scripted("ben-2", "tcp")
    call = Leg.dial(world.carrier(), BEN, OUTSIDE)
    first, second = Leg.answering(one), Leg.answering(other)
    first.refuse(486)
    second.ring()
    call.expect_provisional(180)
    second.accept()
    call.expect_answer()
    second.hang_up()
    call.expect_hang_up()


@pytest.mark.rule("INC-08")
def test_nobody_answers(world: World) -> None:
    """Ben's number rings for two seconds only."""
    phone = world.phone("ben-1", "baresip", "udp")
    before = world.server.records_now()
    call = Leg.dial(world.carrier(), BEN, OUTSIDE)
    ringing = phone.incoming()
    call.expect_provisional(180)
    assert call.expect_failure(timeout=6).status == 480
    phone.wait("ended", ringing)
    assert world.server.record_of(before)["reason"] == "no_answer"


@pytest.mark.rule("INC-01", "INC-08", "OUT-09")
def test_unknown_number_and_nobody_there(world: World) -> None:
    carrier = world.carrier()
    unknown = Leg.dial(carrier, SPARE, OUTSIDE).expect_failure()
    assert unknown.status == 404
    assert "unknown_number" in unknown.get("reason")
    assert unknown.get("warning")
    absent = Leg.dial(carrier, CLEO, OUTSIDE).expect_failure()
    assert absent.status == 480
    assert "unreachable" in absent.get("reason")


def test_a_stranger_is_not_let_through(world: World) -> None:
    """No trunk has this address: nothing rings, and the answer tells nothing about the number."""
    phone = world.phone("cleo-1")
    stranger = world.stranger()
    answers = [Leg.dial(stranger, number, OUTSIDE).expect_failure().status for number in (CLEO, SPARE)]
    assert answers[0] == answers[1]
    assert answers[0] in (401, 403, 407)
    phone.none_of("incoming", 0.5)


def test_early_media_reaches_the_caller(world: World) -> None:
    phone = world.scripted("cleo-1")
    call = Leg.dial(world.carrier(), CLEO, OUTSIDE)
    ringing = Leg.answering(phone)
    ringing.ring(183, phone.sdp())
    progress = call.expect_provisional(183)
    assert f"m=audio {phone.rtp_port} " in progress.body
    ringing.ring(180)
    call.expect_provisional(180)
    ringing.accept()
    answer = call.expect_answer()
    assert f"m=audio {phone.rtp_port} " in answer.body
    call.hang_up()
    ringing.expect_hang_up()
