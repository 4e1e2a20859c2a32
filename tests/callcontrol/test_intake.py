"""Who calls, and what a stranger gets: real messages against a small directory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.intake import Admitted, Answer, replaces_in
from callcontrol.limits import AUTH, UNKNOWN_TARGET
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import parse
from dialplan import reasons
from dialplan.facts import OwnCall
from dialplan.plan import Refuse, Ring, ToTrunk
from tests.callcontrol.intake_bench import (
    ANA,
    ANA_FLOW,
    ANA_SECOND,
    BEN,
    BEN_FLOW,
    CARRIER,
    DIRECTORY,
    DOMAIN,
    NOWHERE,
    OUTSIDE,
    STRANGER,
    ZOE,
    Bench,
    from_carrier,
    invite,
)

TO_OUTSIDE = f"sip:{OUTSIDE}@{DOMAIN}"
TO_ANA = f"sip:{ANA}@{DOMAIN}"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def reason(admitted: Admitted) -> str:
    (step,) = admitted.decision.plan.steps
    assert isinstance(step, Refuse)
    return step.reason


# -- who calls --


@pytest.mark.rule("OUT-01")
def test_a_registered_flow_is_its_device(bench: Bench) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    admitted = bench.admitted(invite(TO_OUTSIDE), ANA_FLOW)
    assert (admitted.device, admitted.trunk, admitted.by) == ("ana-phone", "", "flow")
    assert admitted.decision.plan.steps == (ToTrunk(number=OUTSIDE, for_s=120.0),)
    assert admitted.asserted == ANA
    assert admitted.facts.config_version == 42
    assert bench.intake.counters == {"flow": 1}


@pytest.mark.parametrize(
    "flow",
    [
        Flow("udp", "198.51.100.7", 5061, "udp:main"),
        Flow("udp", "198.51.100.9", 5060, "udp:main"),
        Flow("tcp", "198.51.100.7", 5060, "tcp:main", 3),
        Flow("tcp", "198.51.100.7", 5060, "udp:main"),
    ],
)
def test_another_flow_is_not(bench: Bench, flow: Flow) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    assert bench.refused(invite(TO_OUTSIDE), flow).status == 407


def test_an_expired_binding_is_no_proof(bench: Bench) -> None:
    for flow in (ANA_FLOW, BEN_FLOW):
        bench.register("ana-phone", "ana", flow)
        outcome = bench.intake.admit(invite(TO_OUTSIDE), flow, 1_800_000_601.0)
        assert isinstance(outcome, Answer)


def test_a_flow_through_a_proxy_is_no_proof(bench: Bench) -> None:
    for flow in (ANA_FLOW, BEN_FLOW):
        bench.register("ana-phone", "ana", flow, path=("<sip:edge.example;lr>",))
        assert bench.refused(invite(TO_OUTSIDE), flow).status == 407


def test_datagram_flows_prove_nothing_where_addresses_can_be_forged() -> None:
    bench = Bench(trust_datagram_flows=False)
    bench.register("ana-phone", "ana", ANA_FLOW)
    bench.register("ben-phone", "ben", BEN_FLOW)
    assert bench.refused(invite(TO_OUTSIDE), ANA_FLOW).status == 407
    assert bench.admitted(invite(TO_OUTSIDE, sender=f"<sip:1002@{DOMAIN}>"), BEN_FLOW).device == "ben-phone"


@pytest.mark.parametrize("flow", [ANA_FLOW, BEN_FLOW])
@pytest.mark.parametrize(
    ("sender", "device"),
    [
        (f"<sip:ana-phone@{DOMAIN}>", "ana-phone"),
        (f"<sip:1002@{DOMAIN}>", "ben-phone"),
        (f"<sip:{BEN}@{DOMAIN}>", "ben-phone"),
        ("<tel:0639981002>", "ana-phone"),
    ],
)
def test_accounts_of_one_softphone_share_a_flow(bench: Bench, flow: Flow, sender: str, device: str) -> None:
    bench.register("ana-phone", "ana", flow)
    bench.register("ben-phone", "ben", flow)
    assert bench.admitted(invite(TO_OUTSIDE, sender=sender), flow).device == device


@pytest.mark.parametrize("sender", ["<sip:whoever@there.example>", f"<sip:zoe-phone@{DOMAIN}>", "<sip:a@b>"])
def test_a_shared_flow_that_names_none_of_its_devices_must_prove(bench: Bench, sender: str) -> None:
    bench.register("ana-phone", "ana", BEN_FLOW)
    bench.register("ben-phone", "ben", BEN_FLOW)
    assert bench.refused(invite(TO_OUTSIDE, sender=sender), BEN_FLOW).status == 407


def test_the_one_device_of_a_connection_may_write_anything_into_from(bench: Bench) -> None:
    bench.register("ben-phone", "ben", BEN_FLOW)
    for sender in ("<sip:whoever@there.example>", '"x" <sip:anonymous@anonymous.invalid>', "<urn:x:y>"):
        assert bench.admitted(invite(TO_OUTSIDE, sender=sender), BEN_FLOW).device == "ben-phone"


def test_a_device_that_names_another_must_prove_it(bench: Bench) -> None:
    bench.register("ben-phone", "ben", BEN_FLOW)
    request = invite(TO_OUTSIDE, sender=f"<sip:ana-phone@{DOMAIN}>")
    proved = bench.with_credentials(request, BEN_FLOW, "ana-phone", "pa")
    admitted = bench.admitted(proved, BEN_FLOW)
    assert (admitted.device, admitted.by) == ("ana-phone", "digest")


@pytest.mark.parametrize(
    "sender",
    [
        f"<sip:ana-phone@{DOMAIN}>",
        f"<sip:{OUTSIDE}@{DOMAIN}>",
        "<sip:1002@other.example>",
        "<sip:anonymous@x>",
    ],
)
def test_credentials_decide_and_from_does_not(bench: Bench, sender: str) -> None:
    # After a REFER libbaresip calls with From = the number dialled: that names no number of its user.
    if OUTSIDE in sender:
        sender = f"<sip:{OUTSIDE[1:5]}@{DOMAIN}>"
    proved = bench.with_credentials(invite(TO_OUTSIDE, sender=sender), NOWHERE, "ana-phone", "pa")
    admitted = bench.admitted(proved, NOWHERE)
    assert (admitted.device, admitted.by) == ("ana-phone", "digest")
    assert admitted.decision.plan.steps == (ToTrunk(number=OUTSIDE, for_s=120.0),)


def test_a_trunk_is_known_by_address_and_port(bench: Bench) -> None:
    admitted = bench.admitted(from_carrier(TO_ANA), CARRIER)
    assert (admitted.trunk, admitted.device, admitted.by) == ("carrier-a", "", "source")
    assert bench.refused(from_carrier(TO_ANA), Flow("udp", "192.0.2.80", 5081, "udp:main")).status == 407


def test_a_trunk_is_known_by_its_credentials(bench: Bench) -> None:
    proved = bench.with_credentials(from_carrier(TO_ANA), NOWHERE, "carrier-b", "pc")
    admitted = bench.admitted(proved, NOWHERE)
    assert (admitted.trunk, admitted.device, admitted.by) == ("carrier-b", "", "digest")
    assert reason(admitted) == reasons.UNREACHABLE


def test_wrong_credentials_beside_a_trunk_do_not_make_a_trunk(bench: Bench) -> None:
    proved = bench.with_credentials(invite(TO_OUTSIDE), NOWHERE, "ana-phone", "wrong")
    assert bench.refused(proved, CARRIER).status == 407


@pytest.mark.rule("OUT-01")
def test_the_number_linked_to_a_contact_is_shown_when_none_is_named(bench: Bench) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    ana = DIRECTORY.user("ana")
    assert ana is not None
    try:
        DIRECTORY.put_one(replace(ana, contacts={OUTSIDE: ANA_SECOND, STRANGER: ZOE}))
        assert bench.admitted(invite(TO_OUTSIDE), ANA_FLOW).asserted == ANA_SECOND
        # However the contact is dialled; and what is named goes before.
        assert bench.admitted(invite(f"sip:0199001234@{DOMAIN}"), ANA_FLOW).asserted == ANA_SECOND
        named = invite(TO_OUTSIDE, f"P-Preferred-Identity: <sip:{ANA}@{DOMAIN}>")
        assert bench.admitted(named, ANA_FLOW).asserted == ANA
        # A link whose number left the user is not followed.
        assert bench.admitted(invite(f"sip:{STRANGER}@{DOMAIN}"), ANA_FLOW).asserted == ANA
    finally:
        DIRECTORY.put_one(ana)


# -- strangers --


def test_a_stranger_gets_the_same_challenge_whatever_is_dialled(bench: Bench) -> None:
    answers = set()
    for uri in (
        TO_ANA,
        TO_OUTSIDE,
        f"sip:nobody@{DOMAIN}",
        "sip:x@other.example",
        f"sip:112@{DOMAIN}",
        "tel:15",
    ):
        for name in ("ana-phone", "nobody"):
            request = invite(uri, sender=f"<sip:{name}@{DOMAIN}>")
            answered = parse(bench.refused(request, NOWHERE).data)
            lines = [
                (header[0], "nonce" if "nonce" in header[1] else header[1]) for header in answered.headers
            ]
            answers.add((answered.status, tuple(line for line in lines if line[0] not in ("from", "to"))))
    assert len(answers) == 1


def test_wrong_passwords_are_counted_and_get_a_challenge(bench: Bench) -> None:
    for username, password in (("ana-phone", "wrong"), ("nobody", "wrong"), ("carrier-b", "pa")):
        request = bench.with_credentials(invite(TO_OUTSIDE), NOWHERE, username, password)
        answer = bench.refused(request, NOWHERE)
        assert (answer.status, answer.why) == (407, "bad")
    asked, guessed = (NOWHERE.host, UNKNOWN_TARGET, False), (NOWHERE.host, AUTH, True)
    assert bench.suspected.seen == [asked, guessed] * 3


@pytest.mark.rule("OPS-05")
@pytest.mark.parametrize(
    "sender", [f"<sip:ana-phone@{DOMAIN}>", f"<sip:{ANA}@{DOMAIN}>", "<sip:100@192.0.2.1>"]
)
@pytest.mark.parametrize("uri", [TO_ANA, TO_OUTSIDE, f"sip:1002@{DOMAIN}", "sip:100@192.0.2.1"])
def test_what_counts_against_a_stranger_does_not_tell_what_exists(
    bench: Bench, uri: str, sender: str
) -> None:
    """Else twenty tries and the ban that follows, or does not, would tell known numbers from unknown ones."""
    assert bench.refused(invite(uri, sender=sender), NOWHERE).status == 407
    assert bench.suspected.seen == [(NOWHERE.host, UNKNOWN_TARGET, False)]


def test_a_call_without_credentials_counts_no_more_once_they_follow(bench: Bench) -> None:
    request = bench.with_credentials(invite(TO_OUTSIDE), NOWHERE, "ana-phone", "pa")
    assert bench.admitted(request, NOWHERE).by == "digest"
    assert bench.suspected.forgiven == [(NOWHERE.host, UNKNOWN_TARGET)]


def test_nor_does_it_where_phones_are_registered(bench: Bench) -> None:
    """Phones are challenged for each call; a whole office may share the address."""
    bench.register("ana-phone", "ana", Flow("udp", NOWHERE.host, 1234, NOWHERE.listener))
    assert bench.refused(invite("sip:100@192.0.2.1", sender="<sip:100@192.0.2.1>"), NOWHERE).status == 407
    assert bench.suspected.seen == []


def test_malformed_credentials_are_told_so(bench: Bench) -> None:
    answer = bench.refused(invite(TO_OUTSIDE, "Authorization: Digest realm"), NOWHERE)
    assert (answer.status, answer.why) == (400, "malformed")


def test_an_unreadable_target_is_a_bad_request(bench: Bench) -> None:
    request = invite(TO_OUTSIDE)
    request.uri, request.target = "sip:a b@", None
    assert bench.refused(request, CARRIER).status == 400
    assert bench.intake.counters == {"malformed": 1}


# -- what is called --


@pytest.mark.rule("NUM-01")
@pytest.mark.parametrize(
    "uri",
    [
        f"sip:{OUTSIDE}@{DOMAIN}",
        f"sip:{OUTSIDE}@{DOMAIN.upper()}",
        f"sip:{OUTSIDE}@{DOMAIN}:5060;user=phone",
        f"sip:%2B33199001234@{DOMAIN}",
        f"sip:0033199001234@{DOMAIN}",
        f"sip:0199001234@{DOMAIN}",
        f"sip:01-99-00-12-34@{DOMAIN}",
        f"sip:01%2099%2000%2012%2034@{DOMAIN};user=phone",
        f"sip:{OUTSIDE};npdi=yes;rn=+33600001@{DOMAIN}",
        f"sip:199001234;phone-context=+33@{DOMAIN};user=phone",
        f"sips:{OUTSIDE}@{DOMAIN}",
        "sip:+33199001234@192.0.2.1:5062",
        "sip:+33199001234@[2001:db8:0::1]",
        "tel:+33-1-99-00-12-34",
        "tel:0199001234;phone-context=+33",
        f"tel:0199001234;phone-context={DOMAIN}",
        "tel:01.99.00.12.34",
    ],
)
def test_a_number_may_be_dialled_in_many_forms(bench: Bench, uri: str) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    admitted = bench.admitted(invite(uri), ANA_FLOW)
    assert admitted.decision.plan.steps == (ToTrunk(number=OUTSIDE, for_s=120.0),)
    assert admitted.facts.called.foreign_host == ""


@pytest.mark.rule("NUM-01")
def test_national_digits_are_read_in_the_country_of_the_sim(bench: Bench) -> None:
    bench.register("zoe-phone", "zoe", ANA_FLOW)
    request = invite(f"sip:07700900456@{DOMAIN}", sender=f"<sip:zoe-phone@{DOMAIN}>")
    assert bench.admitted(request, ANA_FLOW).facts.called.e164 == "+447700900456"
    context = invite(f"sip:0199001234;phone-context=+33@{DOMAIN}", sender=f"<sip:zoe-phone@{DOMAIN}>")
    assert bench.admitted(context, ANA_FLOW).facts.called.e164 == OUTSIDE


@pytest.mark.parametrize("host", ["other.example", "192.0.2.2", "[2001:db8::2]", f"{DOMAIN}.other.example"])
def test_nothing_is_relayed_to_other_domains(bench: Bench, host: str) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    for user in (OUTSIDE, "1002", ANA):
        assert reason(bench.admitted(invite(f"sip:{user}@{host}"), ANA_FLOW)) == reasons.NOT_FOUND
        assert reason(bench.admitted(from_carrier(f"sip:{user}@{host}"), CARRIER)) == reasons.NOT_FOUND


@pytest.mark.rule("OUT-05")
@pytest.mark.parametrize(
    "uri", [f"sip:112@{DOMAIN}", "tel:15;phone-context=+33", "sip:18@other.example", "urn:service:sos"]
)
def test_emergency_calls_are_refused_with_that_reason(bench: Bench, uri: str) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    assert reason(bench.admitted(invite(uri, "Max-Forwards: 0"), ANA_FLOW)) == reasons.EMERGENCY


@pytest.mark.rule("OUT-05")
def test_emergency_numbers_of_the_sims_and_of_the_numbers_country_count(bench: Bench) -> None:
    bench.register("zoe-phone", "zoe", ANA_FLOW)
    request = invite(f"sip:999@{DOMAIN}", sender=f"<sip:zoe-phone@{DOMAIN}>")
    admitted = bench.admitted(request, ANA_FLOW)
    assert admitted.facts.device is not None
    assert admitted.facts.device.emergency_countries == ("GB",)
    assert reason(admitted) == reasons.EMERGENCY


@pytest.mark.rule("OUT-04")
def test_short_numbers_are_those_of_the_country_of_the_sim(bench: Bench) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    free = bench.admitted(invite(f"sip:3114@{DOMAIN}"), ANA_FLOW)
    assert free.decision.plan.steps == (ToTrunk(number="3114;phone-context=+33", for_s=120.0),)
    for barred in ("3200", "118000", "0899" + 6 * "0", "+33825" + 6 * "0", "12"):
        assert reason(bench.admitted(invite(f"sip:{barred}@{DOMAIN}"), ANA_FLOW)) == reasons.BARRED_CLASS
    abroad = bench.admitted(invite("tel:101;phone-context=+44"), ANA_FLOW)
    assert reason(abroad) == reasons.NO_ROUTE  # a British short number means nothing to a French carrier


def test_without_a_trunk_for_the_prefix_there_is_no_route(bench: Bench) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    assert reason(bench.admitted(invite(f"sip:+15555550123@{DOMAIN}"), ANA_FLOW)) == reasons.NO_ROUTE


@pytest.mark.rule("INC-05")
def test_a_colleague_by_user_name_also_when_it_is_digits(bench: Bench) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    bench.register("ben-phone", "ben", BEN_FLOW)
    admitted = bench.admitted(invite(f"sip:1002@{DOMAIN}"), ANA_FLOW)
    (step,) = admitted.decision.plan.steps
    assert isinstance(step, Ring)
    (target,) = step.targets
    assert (target.user, target.device, target.flow) == ("ben", "ben-phone", BEN_FLOW.dump())
    # As a telephone number the same digits are something else.
    assert reason(bench.admitted(invite(f"sip:1002@{DOMAIN};user=phone"), ANA_FLOW)) == reasons.BARRED_CLASS


def test_user_names_of_other_accounts_are_as_good_as_unknown(bench: Bench) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    bench.register("zoe-phone", "zoe", BEN_FLOW)
    other = bench.admitted(invite(f"sip:zoe-phone@{DOMAIN}"), ANA_FLOW)
    unknown = bench.admitted(invite(f"sip:zoe-phony@{DOMAIN}"), ANA_FLOW)
    assert reason(other) == reason(unknown) == reasons.NOT_FOUND


@pytest.mark.rule("INC-05", "OUT-01")
def test_a_call_between_cloud_numbers_stays_inside(bench: Bench) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    bench.register("zoe-phone", "zoe", BEN_FLOW)
    plan = bench.admitted(invite(f"sip:{ZOE}@{DOMAIN}"), ANA_FLOW).decision.plan
    assert plan.direction == "internal"
    assert (plan.caller.number, plan.caller.display, plan.called) == (ANA, "", ZOE)
    assert isinstance(plan.steps[0], Ring)


@pytest.mark.rule("INC-05", "DEV-04")
def test_push_tokens_are_no_facts(bench: Bench) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    bench.register("ana-desktop", "ana", BEN_FLOW)
    admitted = bench.admitted(from_carrier(TO_ANA), CARRIER)
    (step,) = admitted.decision.plan.steps
    assert isinstance(step, Ring)
    assert {target.device for target in step.targets} == {"ana-phone", "ana-desktop"}
    assert "secret" not in repr(admitted)
    assert "'pa'" not in repr(admitted)


def test_a_device_asleep_is_not_rung_yet(bench: Bench) -> None:
    bench.register("ben-phone", "ben", BEN_FLOW)
    (bound,) = bench.bindings.all()
    bound = replace(bound, push_provider="fcm", push_prid="token", wakes=True)
    bench.bindings.apply([bound.put_to_sleep()])
    assert reason(bench.admitted(from_carrier(f"sip:{BEN}@{DOMAIN}"), CARRIER)) == reasons.UNREACHABLE


# -- who is shown --


@pytest.mark.rule("OUT-01")
@pytest.mark.parametrize(
    ("headers", "sender", "shown"),
    [
        ((), f"<sip:ana-phone@{DOMAIN}>", ANA),
        ((), f"<sip:{ANA_SECOND}@{DOMAIN}>", ANA_SECOND),
        ((), f'"Ana" <sip:0639981002@{DOMAIN};user=phone>', ANA_SECOND),
        ((f"P-Preferred-Identity: <sip:{ANA_SECOND}@{DOMAIN}>",), f"<sip:ana-phone@{DOMAIN}>", ANA_SECOND),
        ((f"P-Preferred-Identity: <tel:{ANA_SECOND}>",), f"<sip:{ANA}@{DOMAIN}>", ANA_SECOND),
        # Asserted identities are for trusted peers; what a device asserts is not read.
        ((f"P-Asserted-Identity: <sip:{ANA_SECOND}@{DOMAIN}>",), f"<sip:ana-phone@{DOMAIN}>", ANA),
    ],
)
def test_the_number_a_device_names(bench: Bench, headers: tuple[str, ...], sender: str, shown: str) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    plan = bench.admitted(invite(TO_OUTSIDE, *headers, sender=sender), ANA_FLOW).decision.plan
    assert plan.caller.number == shown


@pytest.mark.rule("OUT-01", "OUT-09")
def test_a_number_of_somebody_else_is_refused(bench: Bench) -> None:
    bench.register("ben-phone", "ben", BEN_FLOW)
    for headers, sender in (
        ((f"P-Preferred-Identity: <sip:{ANA}@{DOMAIN}>",), f"<sip:1002@{DOMAIN}>"),
        ((), f"<sip:{STRANGER}@{DOMAIN}>"),
    ):
        admitted = bench.admitted(invite(TO_OUTSIDE, *headers, sender=sender), BEN_FLOW)
        assert reason(admitted) == reasons.NOT_YOUR_NUMBER


@pytest.mark.rule("OUT-07")
@pytest.mark.parametrize(
    ("headers", "sender"),
    [
        (("Privacy: id",), f"<sip:ana-phone@{DOMAIN}>"),
        (("Privacy: header;ID;critical",), f"<sip:ana-phone@{DOMAIN}>"),
        ((f"P-Preferred-Identity: <sip:{ANA}@{DOMAIN}>",), '"Anonymous" <sip:anonymous@anonymous.invalid>'),
    ],
)
def test_a_device_may_hide_its_number(bench: Bench, headers: tuple[str, ...], sender: str) -> None:
    bench.register("ana-phone", "ana", BEN_FLOW)
    admitted = bench.admitted(invite(TO_OUTSIDE, *headers, sender=sender), BEN_FLOW)
    assert admitted.decision.plan.caller.hidden
    assert admitted.decision.plan.caller.number == ""
    assert admitted.asserted == ANA


# -- loops --


@pytest.mark.rule("FWD-04")
def test_a_call_that_comes_back_for_the_same_number_is_a_loop(bench: Bench) -> None:
    bench.calls.known["c1"] = OwnCall(call_ref="r1", called=ANA)
    assert reason(bench.admitted(from_carrier(TO_ANA), CARRIER)) == reasons.LOOP
    assert reason(bench.admitted(from_carrier(f"sip:{BEN}@{DOMAIN}"), CARRIER)) == reasons.UNREACHABLE


@pytest.mark.rule("FWD-04")
def test_our_call_reference_is_seen(bench: Bench) -> None:
    bench.calls.known["r1"] = OwnCall(call_ref="r1", called=ANA)
    assert reason(bench.admitted(from_carrier(TO_ANA, "X-Cloudline-Call: r1"), CARRIER)) == reasons.LOOP


@pytest.mark.rule("FWD-04")
@pytest.mark.parametrize(
    "headers",
    [
        (f"Diversion: <sip:{ANA}@192.0.2.80>;reason=unconditional",),
        (f"Diversion: <sip:{OUTSIDE}@x>;reason=no-answer, <tel:0639981001>;reason=user-busy",),
        (
            f"History-Info: <sip:{ANA}@x>;index=1, <sip:{OUTSIDE}@x;cause=302>;index=1.1,"
            f" <sip:{ANA}@x;cause=302>;index=1.2",
        ),
        ("Max-Forwards: 0",),
    ],
)
def test_diversions_and_max_forwards_tell_loops(bench: Bench, headers: tuple[str, ...]) -> None:
    assert reason(bench.admitted(from_carrier(TO_ANA, *headers), CARRIER)) == reasons.LOOP


@pytest.mark.rule("FWD-04")
@pytest.mark.parametrize(
    "header",
    [
        f"Diversion: <sip:{OUTSIDE}@x>;reason=unconditional",
        f"History-Info: <sip:{OUTSIDE}@x>;index=1, <sip:{ANA}@x;cause=302>;index=1.1",
        f"History-Info: <sip:{ANA}@x>;index=1, <sip:{ANA}@y>;index=1.1",
        "Diversion: nonsense",
        "Max-Forwards: 1",
    ],
)
def test_a_call_that_was_diverted_to_us_is_no_loop(bench: Bench, header: str) -> None:
    assert reason(bench.admitted(from_carrier(TO_ANA, header), CARRIER)) == reasons.UNREACHABLE


# -- transfers --


@pytest.mark.rule("OUT-01")
def test_a_transfer_is_a_call_of_the_transferring_device(bench: Bench) -> None:
    bench.register("ana-phone", "ana", ANA_FLOW)
    bench.register("ben-phone", "ben", BEN_FLOW)
    outside = bench.intake.route_transfer(
        "ben-phone", f"sip:0199001234@{DOMAIN}", 1_800_000_000.0, number=BEN
    )
    assert outside is not None
    assert (outside.device, outside.by, outside.asserted) == ("ben-phone", "transfer", BEN)
    assert outside.decision.plan.steps == (ToTrunk(number=OUTSIDE, for_s=120.0),)
    inside = bench.intake.route_transfer("ben-phone", f"sip:{ANA}@{DOMAIN}?Replaces=x", 1_800_000_000.0)
    assert inside is not None
    assert isinstance(inside.decision.plan.steps[0], Ring)


@pytest.mark.rule("OUT-01", "GRT-04")
def test_who_transfers_the_call_of_a_greeting_calls_with_the_own_number(bench: Bench) -> None:
    now = 1_800_000_000.0
    made = bench.intake.route_transfer("ben-phone", f"sip:0199001234@{DOMAIN}", now, number="+33639987000")
    assert made is not None
    assert made.asserted == BEN
    assert made.decision.plan.steps == (ToTrunk(number=OUTSIDE, for_s=120.0),)


def test_transfers_that_lead_nowhere(bench: Bench) -> None:
    now = 1_800_000_000.0
    foreign = bench.intake.route_transfer("ben-phone", "sip:x@other.example", now)
    assert foreign is not None
    assert reason(foreign) == reasons.NOT_FOUND
    stolen = bench.intake.route_transfer("ben-phone", TO_OUTSIDE, now, number=ANA)
    assert stolen is not None
    assert reason(stolen) == reasons.NOT_YOUR_NUMBER
    assert bench.intake.route_transfer("nobody", TO_OUTSIDE, now) is None
    assert bench.intake.route_transfer("ben-phone", "nonsense", now) is None
    assert bench.intake.route_transfer("ben-phone", f"{TO_OUTSIDE};method=BYE", now) is None


def test_replaces_in_a_transfer_target() -> None:
    replaces = replaces_in(
        f"sip:1002@{DOMAIN}?Subject=x&Replaces=12345%40192.0.2.7%3Bto-tag%3D12%3Bfrom-tag%3D5F%3Bearly-only"
    )
    assert replaces is not None
    assert (replaces.call_id, replaces.to_tag, replaces.from_tag) == ("12345@192.0.2.7", "12", "5F")
    assert replaces.early_only
    assert replaces_in(f"sip:1002@{DOMAIN}") is None
    assert replaces_in("tel:+33199001234") is None
    with pytest.raises(RemoteProtocolError):
        replaces_in(f"sip:1002@{DOMAIN}?Replaces=x")


# -- anything --

bits = st.sampled_from(
    [
        "sip:",
        "tel:",
        "@",
        ANA,
        "ana-phone",
        DOMAIN,
        ";",
        "user=phone",
        "<",
        ">",
        '"',
        "%",
        ",",
        "anonymous",
        "é",
        " ",
        "\udc80",
    ]
)
texts = st.lists(bits, max_size=8).map("".join)


@given(texts, texts, texts, texts, st.sampled_from([ANA_FLOW, BEN_FLOW, CARRIER, NOWHERE]))
def test_no_headers_make_intake_raise(uri: str, sender: str, identity: str, privacy: str, flow: Flow) -> None:
    bench = Bench()
    bench.register("ana-phone", "ana", ANA_FLOW)
    bench.register("ben-phone", "ben", BEN_FLOW)
    try:
        request = invite(
            f"sip:{uri.replace(' ', '')}@{DOMAIN}",
            f"P-Asserted-Identity: {identity}",
            f"P-Preferred-Identity: {identity}",
            f"Remote-Party-ID: {identity}",
            f"Privacy: {privacy}",
            f"Diversion: {identity}",
            f"History-Info: {identity}, {sender}",
            f"Authorization: Digest {identity}",
            sender=sender or "<sip:a@b>",
        )
    except RemoteProtocolError:
        return
    outcome = bench.intake.admit(request, flow, 1_800_000_000.0)
    assert isinstance(outcome, Admitted | Answer)
    repr(outcome).encode("utf-8")
