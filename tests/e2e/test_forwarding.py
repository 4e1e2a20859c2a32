"""Numbers that forward, refuse callers, have hours, or whose SIM is called, with real phones and carriers (INC-*, FWD-*)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness import sip
from tests.e2e.harness.company import (
    AWAY,
    INBOUND,
    MEDIA_HOST,
    MOBILE,
    OUTBOUND,
    RING_S,
    SIMS,
    WAKE_S,
    Company,
    closed_now,
    forward,
    lines_of,
    number,
    outcomes,
    refusals,
)
from tests.e2e.harness.dialog import Leg
from tests.e2e.harness.wire import NothingCame
from tests.e2e.harness.world import CLEO, OUTSIDE

pytestmark = [pytest.mark.e2e, pytest.mark.needs("sipp", "openssl")]
(
    ALL,
    ON_BUSY,
    ON_NO_ANSWER,
    THERE,
    BACK,
    INSIDE,
    CHAIN,
    BARRED,
    LISTS,
    OFF,
    OFF_BOX,
    GSM,
    FALLBACK,
    CHANGING,
) = (f"+336399820{place:02}" for place in range(14))
"""Numbers; what each does is told by `DOCUMENTS`."""
PREMIUM = "+33899" + "000000"
ABROAD, AMERICA = "+447700900123", "+15550100"


CLOSED = f"[[number.slot]]\n{closed_now()}"
DOCUMENTS = "\n".join(
    [
        number(ALL, forward(AWAY)),
        number(ON_BUSY, forward(AWAY, "missed", '["busy"]')),
        number(ON_NO_ANSWER, forward(AWAY, "missed", '["no_answer"]')),
        number(THERE, forward(BACK)),
        number(BACK, forward(THERE), user="cleo"),
        number(INSIDE, forward(CLEO)),
        number(CHAIN, forward(ON_BUSY), user="cleo"),
        number(BARRED, "voicemail = true", forward(PREMIUM)),
        number(LISTS, f'block = ["{OUTSIDE}", "+4477*", "anonymous"]', 'spam = ["class:fixed_or_mobile"]'),
        number(OFF, CLOSED),
        number(OFF_BOX, "voicemail = true", CLOSED),
        number(GSM, user="gus"),
        number(FALLBACK, "gsm_fallback = true", user="hal").replace(f"= {RING_S}", "= 8"),
        number(CHANGING).replace(f"= {RING_S}", "= 60"),
    ]
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    made = Company(tmp_path_factory.mktemp("forwarding"), DOCUMENTS, blocked_as="busy")
    try:
        made.start()
        yield made
    finally:
        made.close()


def diversion(world: Company, e164: str, reason: str) -> str:
    return f"<sip:{e164}@{world.domain}>;reason={reason};counter=1"


def talks(caller: Leg, callee: Leg) -> None:
    """The callee answers, the caller hangs up."""
    callee.accept()
    caller.expect_answer()
    caller.hang_up()
    callee.expect_hang_up()


def voicemail_uri(world: Company, e164: str, cause: int) -> str:
    target = f";target=sip:{e164}%40{world.domain};cause={cause}"
    return f"sip:voicemail@{MEDIA_HOST}:{world.media_port}{target}"


# ---- forwarding


@pytest.mark.rule("INC-04", "FWD-01", "FWD-02", "FWD-03", "CDR-01")
def test_all_calls_are_forwarded(world: Company) -> None:
    """SIPp calls, SIPp is called: it sees the original caller, and who forwarded."""
    phone = world.phone("ben-1", "pjsua", "udp")
    outside = world.sipp("carrier_answers", OUTBOUND)
    before = world.server.records_now()
    world.sipp_calls("carrier_calls", ALL).wait()
    outside.wait()
    invite = outside.received("INVITE")
    assert sip.user_of(invite.start.split()[1]) == AWAY
    assert sip.user_of(invite.get("from")) == sip.user_of(invite.get("p-asserted-identity")) == OUTSIDE
    assert invite.get("diversion") == diversion(world, ALL, "unconditional")
    assert [sip.user_of(each) for each in invite.items("history-info")] == [ALL, AWAY]
    record = world.server.record_of(before)
    assert (record["number"], record["user_ref"], record["called"]) == (ALL, "ben", ALL)
    assert (record["caller"], record["caller_presented"]) == (OUTSIDE, OUTSIDE)
    (caller, callee) = record["legs"]
    assert (caller["trunk"], callee["trunk"], callee["number"]) == (INBOUND, OUTBOUND, AWAY)
    assert not [event for event in phone.events if event.get("event") == "incoming"]


@pytest.mark.rule("FWD-02", "OUT-07")
def test_a_hidden_caller_stays_hidden_when_forwarded(world: Company) -> None:
    outside = world.carrier(OUTBOUND)
    asserted = f"<sip:{OUTSIDE}@carrier.example>"
    call = world.call(
        ALL, "sip:anonymous@anonymous.invalid", [("P-Asserted-Identity", asserted), ("Privacy", "id")]
    )
    leg = Leg.answering(outside)
    assert leg.invite is not None
    assert sip.user_of(leg.invite.get("from")) == "anonymous"
    assert "id" in leg.invite.get("privacy")
    assert sip.user_of(leg.invite.get("p-asserted-identity")) == OUTSIDE
    assert sip.user_of(leg.invite.get("diversion")) == ALL
    assert OUTSIDE not in leg.invite.text.replace(leg.invite.get("p-asserted-identity"), "")
    talks(call, leg)


@pytest.mark.rule("INC-08", "FWD-01", "FWD-02")
@pytest.mark.parametrize(
    ("called", "refusal", "reason"), [(ON_BUSY, 486, "user-busy"), (ON_NO_ANSWER, 0, "no-answer")]
)
def test_a_missed_call_is_forwarded_for_its_cause(
    called: str, refusal: int, reason: str, world: Company
) -> None:
    phone = world.phone("ben-1", "pjsua", "tcp")
    if refusal:
        phone.do("first_answer", status=refusal)
    outside = world.carrier(OUTBOUND)
    before = world.server.records_now()
    call = world.call(called)
    phone.wait("ended", phone.incoming())
    leg = Leg.answering(outside)
    assert leg.invite is not None
    assert leg.invite.get("diversion") == diversion(world, called, reason)
    assert sip.user_of(leg.invite.get("from")) == OUTSIDE
    talks(call, leg)
    record = world.server.record_of(before)
    assert record["reason"] == "normal_clearing"
    assert [leg["device"] or leg["trunk"] for leg in record["legs"]] == [INBOUND, "ben-1", OUTBOUND]


@pytest.mark.rule("INC-08", "FWD-01")
@pytest.mark.parametrize(("called", "refusal", "status"), [(ON_BUSY, 0, 480), (ON_NO_ANSWER, 486, 486)])
def test_a_call_missed_for_another_cause_is_not_forwarded(
    called: str, refusal: int, status: int, world: Company
) -> None:
    phone = world.phone("ben-1", "baresip", "udp") if not refusal else world.phone("ben-1", "pjsua", "tls")
    if refusal:
        phone.do("first_answer", status=refusal)
    outside = world.carrier(OUTBOUND)
    before = world.server.records_now()
    call = world.call(called)
    phone.wait("ended", phone.incoming())
    assert call.expect_failure().status == status
    record = world.server.record_of(before)
    assert ("FWD-01", "pass") in [line[:2] for line in lines_of(record)]
    assert not outside.inbox
    outside.expect_silence(0.1)


@pytest.mark.rule("FWD-04")
def test_two_numbers_that_forward_to_each_other(world: Company) -> None:
    before = world.server.records_now()
    call = world.call(THERE)
    refusal = call.expect_failure()
    assert refusal.status == 482
    assert "loop" in refusal.get("reason")
    record = world.server.record_of(before)
    assert record["reason"] == "loop"
    assert refusals(record) == [("FWD-04", "refuse:loop")]
    assert len(record["legs"]) == 1, "nobody was called"


@pytest.mark.rule("FWD-01", "FWD-02", "INC-10")
def test_a_forward_to_a_colleague_takes_no_trunk(world: Company) -> None:
    cleo, ben = world.phone("cleo-1", "pjsua", "tls"), world.phone("ben-1", "baresip", "tcp")
    before = world.server.records_now()
    carrier = world.sipp_calls("carrier_is_left", INSIDE)
    call = cleo.incoming()
    cleo.answer(call)
    cleo.wait("up", call)
    cleo.hears(call)
    cleo.hang_up(call)
    carrier.wait()
    invite = cleo.messages("INVITE")[0]
    assert sip.user_of(invite.get("from")) == OUTSIDE
    assert sip.user_of(invite.get("p-called-party-id")) == CLEO
    record = world.server.record_of(before)
    assert (record["number"], record["device"], record["reason"]) == (INSIDE, "cleo-1", "normal_clearing")
    assert outcomes(record) == {"cleo-1": "answered"}
    assert not [event for event in ben.events if event.get("event") == "incoming"]


@pytest.mark.rule("FWD-02")
def test_who_forwarded_first_is_told_last(world: Company) -> None:
    """Cleo's number forwards to Ben's, which forwards when he is busy."""
    ben, outside = world.scripted("ben-1"), world.carrier(OUTBOUND)
    call = world.call(CHAIN)
    Leg.answering(ben).refuse(486)
    leg = Leg.answering(outside)
    assert leg.invite is not None
    assert leg.invite.items("diversion") == [
        diversion(world, ON_BUSY, "user-busy"),
        diversion(world, CHAIN, "unconditional"),
    ]
    assert [sip.user_of(each) for each in leg.invite.items("history-info")] == [CHAIN, ON_BUSY, AWAY]
    talks(call, leg)


@pytest.mark.rule("FWD-03", "OUT-04", "INC-08")
def test_what_may_not_be_called_is_not_forwarded_to_and_voicemail_answers(world: Company) -> None:
    """Premium numbers were barred after the forward was set."""
    outside, voicemail = world.carrier(OUTBOUND), world.voicemail()
    before = world.server.records_now()
    call = world.call(BARRED)
    leg = Leg.answering(voicemail)
    assert leg.invite is not None
    assert leg.invite.start.split()[1].startswith(voicemail_uri(world, BARRED, 0).removesuffix("0"))
    talks(call, leg)
    record = world.server.record_of(before)
    assert refusals(record) == [("OUT-04", "refuse:barred_class")]
    assert record["reason"] == "normal_clearing"
    outside.expect_silence(0.1)


# ---- who may call, and when


@pytest.mark.rule("INC-02", "BLK-01")
@pytest.mark.parametrize(
    ("caller", "entry"),
    [
        (OUTSIDE, "block list of"),
        (ABROAD, "as +4477*, on the block list"),
        ("anonymous", "hidden callers are on the block list"),
        (AMERICA, "as fixed_or_mobile, on the spam list"),
    ],
)
def test_a_blocked_caller_hears_busy_and_nothing_rings(caller: str, entry: str, world: Company) -> None:
    phone = world.scripted("ben-1")
    before = world.server.records_now()
    if caller == "anonymous":
        asserted = f"<sip:{AWAY}@carrier.example>"
        headers = [("P-Asserted-Identity", asserted), ("Privacy", "id")]
        call = world.call(LISTS, "sip:anonymous@anonymous.invalid", headers)
    else:
        call = world.call(LISTS, caller)
    assert call.expect_failure().status == 486
    record = world.server.record_of(before)
    assert record["reason"] == "blocked"
    assert refusals(record) == [("INC-02", "refuse:blocked")]
    assert entry in next(detail for rule, _, detail in lines_of(record) if rule == "INC-02")
    assert len(record["legs"]) == 1
    phone.expect_silence(0.1)


@pytest.mark.rule("INC-02")
def test_who_is_on_no_list_is_let_through(world: Company) -> None:
    phone = world.scripted("ben-1")
    call = world.call(LISTS, AWAY)
    talks(call, Leg.answering(phone))


@pytest.mark.rule("INC-03", "SLOT-01")
def test_a_number_outside_of_its_hours(world: Company) -> None:
    phone, voicemail = world.scripted("ben-1"), world.voicemail_of_sipp()
    before = world.server.records_now()
    world.sipp_calls("carrier_is_refused", OFF).wait()
    record = world.server.record_of(before)
    assert (record["status"], record["reason"]) == (480, "number_off")
    assert refusals(record) == [("INC-03", "refuse:number_off")]
    call = world.call(OFF_BOX)
    call.expect_answer()
    call.hang_up()
    voicemail.wait()
    invite = voicemail.received("INVITE")
    assert invite.start.split()[1] == voicemail_uri(world, OFF_BOX, 302)
    assert f"<sip:{OFF_BOX}@{world.domain}>" in invite.get("diversion")
    phone.expect_silence(0.1)


# ---- the SIM


@pytest.mark.rule("INC-05", "FWD-02")
def test_a_phone_that_answers_by_gsm_is_called_on_its_sim(world: Company) -> None:
    """It is registered as well, and does not ring over VoIP."""
    phone = world.phone("gus-1", "pjsua", "udp")
    mobile = world.sipp("carrier_answers", MOBILE)
    before = world.server.records_now()
    call = world.call(GSM)
    call.expect_answer()
    call.hang_up()
    mobile.wait()
    invite = mobile.received("INVITE")
    assert sip.user_of(invite.start.split()[1]) == SIMS["gus"]
    assert sip.user_of(invite.get("from")) == sip.user_of(invite.get("p-asserted-identity")) == OUTSIDE
    assert invite.get("diversion") == diversion(world, GSM, "unconditional")
    assert not [event for event in phone.events if event.get("event") == "incoming"]
    record = world.server.record_of(before)
    assert outcomes(record) == {"gus-1": "answered"}
    assert record["reason"] == "normal_clearing"


@pytest.mark.rule("INC-06", "DEV-04")
def test_the_sim_is_called_when_the_phone_does_not_wake(world: Company) -> None:
    app, mobile = world.app("hal-1"), world.carrier(MOBILE)
    before = world.server.records_now()
    call = world.call(FALLBACK)
    assert app.next("incoming_call")["number"] == FALLBACK
    leg = Leg.answering(mobile)
    assert leg.invite is not None
    assert sip.user_of(leg.invite.start.split()[1]) == SIMS["hal"]
    assert leg.invite.get("diversion") == diversion(world, FALLBACK, "unavailable")
    leg.ring()
    call.expect_provisional(180)
    talks(call, leg)
    record = world.server.record_of(before)
    assert outcomes(record) == {"hal-1": "answered"}
    waited = record["legs"][1]["started_ms"] - record["started_ms"]
    assert WAKE_S * 1000 <= waited + 50 < (WAKE_S + 1.5) * 1000


@pytest.mark.rule("INC-06", "DEV-05")
def test_the_sim_is_not_called_when_the_phone_wakes_in_time(world: Company) -> None:
    app, mobile = world.app("hal-1"), world.carrier(MOBILE)
    phone = world.scripted("hal-1", "tcp", register=False)
    call = world.call(FALLBACK)
    app.next("incoming_call")
    assert phone.register().status == 200
    leg = Leg.answering(phone)
    leg.ring()
    call.expect_provisional(180)
    mobile.expect_silence(WAKE_S + 0.3)
    talks(call, leg)


# ---- changes


@pytest.mark.rule("OPS-03", "INC-04")
def test_a_forward_is_switched_on_and_off(world: Company) -> None:
    """The next call goes by it; the call that rings goes on ringing."""
    ben, outside = world.scripted("ben-1"), world.carrier(OUTBOUND)
    rings = world.call(CHANGING)
    here = Leg.answering(ben)
    here.ring()
    lasting = number(CHANGING, forward(AWAY)).replace(f"= {RING_S}", "= 60")
    assert world.apply_and_see(lasting) < 1.0
    call = world.call(CHANGING)
    talks(call, Leg.answering(outside))
    talks(rings, here)
    assert world.apply_and_see(number(CHANGING)) < 1.0
    call = world.call(CHANGING)
    talks(call, Leg.answering(ben))
    with pytest.raises(NothingCame):
        Leg.answering(outside, 0.1)
