"""A company's number hunts over members: phones that answer, decline, are busy, silent, away or asleep (GRT-*)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness import sip
from tests.e2e.harness.company import (
    AWAY,
    MEDIA_HOST,
    OUTBOUND,
    RING_S,
    Company,
    closed_now,
    greeting,
    lines_of,
    outcomes,
    refusals,
)
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.phone import Phone
from tests.e2e.harness.world import CLEO, OUTSIDE

pytestmark = [pytest.mark.e2e, pytest.mark.needs("sipp", "openssl")]
ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'
CASCADE, ALL, PRIORITY, WAITING, SLEEPY, CLOSED, UNANSWERED, REFUSING, CHANGING = (
    f"+3363998700{place}" for place in range(1, 10)
)


def closed(action: str) -> str:
    return f"[[greeting.open]]\n{closed_now()}[greeting.closed]\naction = {action}"


DOCUMENTS = "\n".join(
    [
        greeting(CASCADE, "fay", "ana", "cleo", "ben", "eve, ring_seconds = 8"),
        greeting(ALL, "ana", "ben", "cleo", strategy="simultaneous"),
        greeting(
            PRIORITY,
            "cleo, priority = 2",
            "ana, priority = 1",
            "ben, priority = 1",
            strategy="priority",
            more="repeat = 1",
        ),
        greeting(WAITING, "ana", "ivy", strategy="simultaneous"),
        greeting(SLEEPY, "ana", "eve", strategy="simultaneous"),
        greeting(CLOSED, "ana", more=closed(f'"forward"\nto = "{AWAY}"')),
        greeting(UNANSWERED, "ben", more='[greeting.unanswered]\naction = "voicemail"'),
        greeting(REFUSING, "ana", more='block = ["+447700*"]\n' + closed('"refuse"')),
        greeting(CHANGING, "ana, ring_seconds = 60", "ben"),
    ]
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    made = Company(tmp_path_factory.mktemp("greeting"), DOCUMENTS)
    try:
        made.start()
        yield made
    finally:
        made.close()


def reason_of_cancel(phone: Phone) -> str:
    """What the one CANCEL to a phone said."""
    (cancel,) = phone.messages("CANCEL")
    return cancel.get("reason")


def busy_with_a_call(world: Company, name: str) -> Leg:
    """Somebody talks with the outside world."""
    carrier = world.carrier(OUTBOUND)
    call = Leg.dial(world.scripted(name), AWAY, name)
    call.dial_with_credentials()
    Leg.answering(carrier).accept()
    call.expect_answer()
    return call


@pytest.mark.rule("GRT-01", "GRT-10", "DEV-04", "DEV-05", "INC-07", "CDR-01")
def test_a_cascade_passes_over_whoever_cannot_take_the_call(world: Company) -> None:
    """Fay is away, Ana rings in vain, Cleo talks, Ben declines, Eve's phone sleeps: it is woken, and she answers."""
    ana, ben = world.phone("ana-1", "pjsua", "udp"), world.phone("ben-1", "pjsua", "tcp")
    ben.do("first_answer", status=603)
    eve, app = world.unregistered_phone("pjsua", "tls"), world.app("eve-1")
    talk = busy_with_a_call(world, "cleo-1")
    before = world.server.records_now()
    carrier = world.sipp_calls("carrier_is_left", CASCADE)
    ringing = ana.incoming()
    push = app.next("incoming_call")
    assert (push["number"], push["caller"]) == (CASCADE, OUTSIDE)
    eve.register("eve-1", "s3cret-word")
    call = eve.incoming()
    eve.answer(call)
    eve.wait("up", call)
    eve.hears(call)
    ana.wait("ended", ringing)
    ben.wait("ended", ben.incoming())
    eve.hang_up(call)
    carrier.wait()
    talked = world.server.records_now()
    talk.hang_up()
    assert reason_of_cancel(ana) == ELSEWHERE, "when her time was over a colleague could still answer"
    invite = eve.messages("INVITE")[0]
    assert sip.user_of(invite.get("from")) == OUTSIDE
    assert sip.user_of(invite.get("p-called-party-id")) == CASCADE
    assert not talk.agent.inbox, "nothing rang beside the call of Cleo"
    (reference,) = talked - before
    (row,) = world.server.rows("SELECT * FROM calls WHERE call_ref = ?", reference)
    assert (row["number"], row["device"], row["reason"]) == (CASCADE, "eve-1", "normal_clearing")
    assert outcomes(row) == {
        "fay": "never_reached",
        "ana-1": "answered_elsewhere",
        "cleo": "busy",
        "ben-1": "declined",
        "eve-1": "answered",
    }
    shown = world.server.api(f"/v1/calls/{reference}")["offers"]
    assert {each["device"] or each["user"]: each["outcome"] for each in shown} == outcomes(row)
    legs = world.server.rows("SELECT * FROM call_legs WHERE call_ref = ? ORDER BY started_ms", reference)
    assert [leg["device"] for leg in legs if leg["role"] == "callee"] == ["ana-1", "ben-1", "eve-1"]
    first, second = legs[1], legs[2]
    assert first["started_ms"] - row["started_ms"] < 1000, "who is away costs no time"
    assert abs(second["started_ms"] - first["started_ms"] - RING_S * 1000) < 1000, "nor does who talks"
    assert push["sent_at"] * 1000 - second["ended_ms"] < 1000, "nor who declines"


@pytest.mark.rule("GRT-02", "INC-07")
def test_all_ring_at_once_and_the_first_answer_wins(world: Company) -> None:
    ana, ben = world.phone("ana-1", "pjsua", "tls"), world.phone("ben-1", "baresip", "udp")
    cleo = world.phone("cleo-1", "pjsua", "tcp")
    cleo.do("first_answer", status=603)
    before = world.server.records_now()
    carrier = world.sipp_calls("carrier_is_left", ALL)
    rings = ana.incoming()
    call = ben.incoming()
    cleo.wait("ended", cleo.incoming())
    world.until_over("cleo-1")
    ben.answer(call)
    ben.wait("up", call)
    ana.wait("ended", rings)
    ben.hang_up(call)
    carrier.wait()
    assert reason_of_cancel(ana) == ELSEWHERE
    record = world.server.record_of(before)
    assert outcomes(record) == {"ana-1": "answered_elsewhere", "ben-1": "answered", "cleo-1": "declined"}
    legs = {leg["device"]: leg for leg in record["legs"] if leg["role"] == "callee"}
    assert (legs["cleo-1"]["status"], legs["ana-1"]["status"], legs["ben-1"]["status"]) == (603, 487, 200)
    assert legs["ben-1"]["ended_by"] == "callee"


@pytest.mark.rule("GRT-03", "GRT-09", "GRT-04")
def test_priorities_ring_one_after_the_other_and_once_more(world: Company) -> None:
    ana, ben = world.scripted("ana-1"), world.phone("ben-1", "pjsua", "udp")
    cleo = world.phone("cleo-1", "baresip", "tcp")
    before = world.server.records_now()
    call = world.call(PRIORITY)
    first = Leg.answering(ana)
    first.ring()
    call.expect_provisional(180)
    in_time = ben.incoming()
    assert first.expect_cancel().get("reason") == ELSEWHERE
    ben.wait("ended", in_time)
    cleo.incoming()
    again = Leg.answering(ana)
    again.ring()
    again.accept()
    call.expect_answer()
    call.hang_up()
    again.expect_hang_up()
    ben.incoming(after=in_time)
    record = world.server.record_of(before)
    assert outcomes(record) == {
        "ana-1": "answered",
        "ben-1": "answered_elsewhere",
        "cleo-1": "answered_elsewhere",
    }
    legs = [leg for leg in record["legs"] if leg["role"] == "callee"]
    began = record["started_ms"]
    offers = [(leg["device"], round((leg["started_ms"] - began) / 1000 / RING_S)) for leg in legs]
    assert sorted(offers) == [("ana-1", 0), ("ana-1", 2), ("ben-1", 0), ("ben-1", 2), ("cleo-1", 1)]


@pytest.mark.rule("GRT-10")
def test_a_member_in_a_call_is_passed_over_but_with_call_waiting_is_rung(world: Company) -> None:
    """Ana and Ivy talk with each other; Ivy has call waiting."""
    ana, ivy = world.phone("ana-1", "pjsua", "tcp"), world.phone("ivy-1", "pjsua", "udp")
    together = ana.dial("ivy-1")
    with_ana = ivy.incoming()
    ivy.answer(with_ana)
    ana.wait("up", together)
    before = world.server.records_now()
    call = world.call(WAITING)
    beside = ivy.incoming(after=with_ana)
    call.expect_provisional(180)
    ivy.answer(beside, 486)
    assert call.expect_failure().status == 486
    record = world.server.record_of(before)
    assert outcomes(record) == {"ana": "busy", "ivy-1": "busy"}
    assert ("GRT-10", "busy") in [line[:2] for line in lines_of(record)]
    assert not [event for event in ana.events if event.get("event") == "incoming"]
    ana.hang_up(together)
    ivy.wait("ended", with_ana)


@pytest.mark.rule("INC-09", "DEV-04")
def test_the_caller_gives_up(world: Company) -> None:
    """Who rang has missed a call, who was only being woken has not; nobody is told that it was answered elsewhere."""
    ana, app = world.phone("ana-1", "pjsua", "udp"), world.app("eve-1")
    before = world.server.records_now()
    carrier = world.sipp_calls("carrier_cancels", SLEEPY)
    ringing = ana.incoming()
    app.next("incoming_call")
    ana.wait("ended", ringing)
    carrier.wait()
    ended = app.next("call_ended")
    assert ended["reason"] == "cancelled"
    assert "cause=200" not in reason_of_cancel(ana)
    record = world.server.record_of(before)
    assert (record["reason"], record["ended_by"]) == ("caller_cancelled", "caller")
    assert outcomes(record) == {"ana-1": "missed", "eve-1": "caller_gone"}


@pytest.mark.rule("GRT-05", "FWD-02", "FWD-03")
def test_a_closed_company_forwards_to_the_outside_world(world: Company) -> None:
    """The callee sees the original caller, its carrier who forwarded."""
    phone = world.phone("ana-1", "pjsua", "udp")
    outside = world.sipp("carrier_answers", OUTBOUND)
    before = world.server.records_now()
    carrier = world.sipp_calls("carrier_calls", CLOSED)
    carrier.wait()
    outside.wait()
    invite = outside.received("INVITE")
    assert sip.user_of(invite.start.split()[1]) == sip.user_of(invite.get("to")) == AWAY
    assert sip.user_of(invite.get("from")) == OUTSIDE
    assert sip.user_of(invite.get("p-asserted-identity")) == OUTSIDE
    assert invite.get("diversion") == f"<sip:{CLOSED}@{world.domain}>;reason=unconditional;counter=1"
    first, second = invite.items("history-info")
    assert first == f"<sip:{CLOSED}@{world.domain}>;index=1"
    assert sip.user_of(second) == AWAY
    assert second.endswith(";cause=302>;index=1.1")
    record = world.server.record_of(before)
    assert (record["number"], record["reason"], record["status"]) == (CLOSED, "normal_clearing", 200)
    assert record["account"] == "acme"
    rules = [line[:2] for line in lines_of(record)]
    assert ("GRT-05", "forward") in rules
    assert ("FWD-01", "forward") in rules
    assert not [event for event in phone.events if event.get("event") == "incoming"]


@pytest.mark.rule("GRT-06", "INC-09")
def test_nobody_answers_and_voicemail_does(world: Company) -> None:
    """The media server is told whose mailbox, and why (RFC 4458); a machine is nobody: Ben has missed a call."""
    ben, voicemail = world.phone("ben-1", "pjsua", "tcp"), world.voicemail_of_sipp()
    before = world.server.records_now()
    call = world.call(UNANSWERED)
    ringing = ben.incoming()
    call.expect_provisional(180)
    ben.wait("ended", ringing)
    call.expect_answer()
    call.hang_up()
    voicemail.wait()
    invite = voicemail.received("INVITE")
    assert invite.start.split()[1] == (
        f"sip:voicemail@{MEDIA_HOST}:{world.media_port};target=sip:{UNANSWERED}%40{world.domain};cause=408"
    )
    assert f"<sip:{UNANSWERED}@{world.domain}>;reason=no-answer" in invite.get("diversion")
    assert invite.get("history-info").count("cause=408") == 1
    assert sip.user_of(invite.get("from")) == OUTSIDE
    assert reason_of_cancel(ben).startswith("SIP;cause=408")
    record = world.server.record_of(before)
    assert outcomes(record) == {"ben-1": "missed"}
    assert ("VM-01", "voicemail") in [line[:2] for line in lines_of(record)]


@pytest.mark.rule("GRT-04", "OUT-01")
def test_a_member_passes_a_call_of_the_company_on(world: Company) -> None:
    """A colleague calls the company; Ben, who answers, transfers the call to the number of Cleo."""
    ana, ben, cleo = (world.phone(f"{user}-1", "pjsua", "udp") for user in ("ana", "ben", "cleo"))
    cleo.do("first_answer", status=200)
    call = ana.dial(UNANSWERED)
    ringing = ben.incoming()
    ben.answer(ringing)
    ana.wait("up", call)
    ben.do("transfer", call=ringing, to=f"sip:{CLEO}@{world.domain}")
    reached = cleo.incoming()
    cleo.wait("up", reached)
    ben.wait("transfer", ringing, fits=lambda e: e["final"] and e["code"] == 200)
    ben.hang_up(ringing)
    cleo.hears(reached)
    ana.hang_up(call)
    cleo.wait("ended", reached)


@pytest.mark.rule("GRT-05", "OUT-09")
def test_a_closed_company_refuses(world: Company) -> None:
    before = world.server.records_now()
    world.sipp_calls("carrier_is_refused", REFUSING).wait()
    record = world.server.record_of(before)
    assert (record["status"], record["reason"]) == (480, "closed")
    assert refusals(record) == [("GRT-05", "refuse:closed")]
    assert outcomes(record) == {}


@pytest.mark.rule("INC-02", "BLK-01")
def test_a_caller_on_the_list_of_a_company_is_declined(world: Company) -> None:
    before = world.server.records_now()
    assert world.call(REFUSING, "+447700900123").expect_failure().status == 603
    record = world.server.record_of(before)
    assert refusals(record) == [("INC-02", "refuse:blocked")]


@pytest.mark.rule("OPS-03", "GRT-04")
def test_new_members_ring_at_the_next_call_and_a_running_hunt_keeps_its_own(world: Company) -> None:
    ana, ben, cleo = (world.scripted(f"{user}-1") for user in ("ana", "ben", "cleo"))
    running = world.call(CHANGING)
    first = Leg.answering(ana)
    first.ring()
    running.expect_provisional(180)
    assert world.apply_and_see(greeting(CHANGING, "cleo")) < 1.0
    later = world.call(CHANGING)
    new = Leg.answering(cleo)
    new.accept()
    later.expect_answer()
    first.refuse(486)
    second = Leg.answering(ben)
    second.accept()
    running.expect_answer()
    for call, answered in ((later, new), (running, second)):
        call.hang_up()
        answered.expect_hang_up()
    world.server.wait_idle()
    shown = world.server.cli("greeting", "show", CHANGING).stdout
    assert "cleo" in shown
    assert "ben" not in shown
