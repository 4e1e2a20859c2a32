"""What others ran into with calls, one test each; the numbers are those of the field study.

25 (connections) and 26 (registrar) are tested with the parts concerned.
"""

from __future__ import annotations

import pytest

from callcontrol.sip.digest import make_challenge
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from dialplan.plan import LIVE, NO_BINDING, Ring, WakeTarget
from tests.scenarios import hiding, incoming, midcall, outgoing, races, timers, waking
from tests.scenarios.stage import ANA, CALLER, Scenario, Stage
from tests.support.party import Dialog, Party, own, sdp
from tests.support.world import SAVED, SERVER, Crashed

UK = "+447700900123"
GATEWAY = "gw.carrier-c.example"


def play(scenario: Scenario) -> Stage:
    """A scenario that tells the story already; its own assertions count."""
    stage = Stage()
    scenario(stage)
    stage.settle()
    return stage


def call_up(stage: Stage) -> tuple[Party, Party, Dialog, Dialog]:
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    return carrier, ana, call, stage.talk(carrier, call, ana)


def test_hazard_01_losers_200_after_cancel_gets_ack_then_bye_on_one_socket() -> None:
    stage = play(races.answer_crosses_cancel)
    loser = next(party for party in stage.world.parties if party.name == "ana-desktop")
    sent = [
        parse(data).method
        for _, source, target, data in stage.world.network.log
        if source == SERVER and target == loser.host and not data.startswith(b"SIP")
    ]
    assert sent == ["INVITE", "CANCEL", "ACK", "BYE"]


def test_hazard_02_callee_hangs_up_before_our_ack_reaches_the_caller() -> None:
    play(races.callee_hangs_up_before_the_caller_acknowledged)


def test_hazard_03_a_busy_member_does_not_end_a_fork_that_still_rings() -> None:
    stage = Stage()
    busy, ringing = stage.phone("ana-phone"), stage.phone("ana-desktop")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    ringing.ring()
    busy.reply(busy.incoming, 486)
    stage.run(5.0)
    assert call.status == 180, "one still rings"
    stage.run(30.0)
    assert call.status == 486, "on timeout the best response is what the busy one said (RFC 3261 §16.7)"
    stage.settle()


@pytest.mark.rule("INC-08")
def test_hazard_04_a_decline_is_the_users_answer_and_nobody_elses() -> None:
    stage = Stage()
    mine = [stage.phone("ana-phone"), stage.phone("ana-desktop")]
    colleague = stage.phone("ben-phone")
    carrier = stage.carrier()
    stage.plan(Ring(targets=stage.targets("ana", "ben"), for_s=20.0))
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    for phone in (*mine, colleague):
        phone.ring()
    stage.run(0.3)
    mine[0].reply(mine[0].incoming, 603)
    stage.run(0.5)
    assert mine[1].incoming.cancelled is not None, "the user's other device stops"
    assert colleague.incoming.cancelled is None, "another member of the group rings on"
    colleague.answer(sdp(6000))
    stage.run(0.5)
    assert call.status == 200
    carrier.bye(call)
    stage.run(1.0)
    stage.settle()


def names(stage: Stage, *hosts: str) -> list[Party]:
    """A carrier behind a name that leads to several addresses."""
    listener = f"udp:{SERVER}:5060"
    stage.world.resolver.names[GATEWAY] = [Flow("udp", host, 5060, listener) for host in hosts]
    return [stage.carrier(host, f"gw-{number}") for number, host in enumerate(hosts, 1)]


def test_hazard_05_a_cancelled_peer_that_never_answers_487_is_left_after_64_t1_and_no_other_is_tried() -> (
    None
):
    stage = Stage()
    ana = stage.phone("ana-phone")
    first, second = names(stage, "10.0.3.1", "10.0.3.2")
    stage.begin()
    call = ana.call(UK)
    stage.run(0.5)
    assert first.rang
    first.ring()
    stage.run(0.5)
    first.node.up = False
    ana.cancel(call)
    stage.run(0.5)
    assert call.status == 487, "the caller does not wait for the peer"
    stage.run(40.0)
    assert stage.world.calls == 0
    assert not second.rang
    stage.settle()


def test_hazard_05_a_name_is_followed_to_the_next_address_only_while_nobody_gave_up() -> None:
    stage = Stage()
    ana = stage.phone("ana-phone")
    first, second = names(stage, "10.0.3.1", "10.0.3.2")
    stage.begin()
    call = ana.call(UK)
    stage.run(0.5)
    first.reply(first.incoming, 503)
    stage.run(0.5)
    assert second.rang, "RFC 3263 §4.3"
    stage.talk(ana, call, second)
    ana.bye(call)
    stage.run(1.0)
    assert [leg.peer for leg in stage.record.legs[1:]] == [f"sip:{GATEWAY}"], "for the call it is one attempt"
    stage.settle()


def test_hazard_06_bye_for_a_call_that_is_gone_is_answered_481_at_once() -> None:
    play(races.bye_for_a_call_that_is_gone)


def one_legged(stage: Stage) -> tuple[Party, Dialog]:
    """A call whose other party is ourselves, as voicemail and announcements will be: the leg of the phone is taken away."""
    carrier, ana, call, talk = call_up(stage)
    live = next(iter(stage.world.server.runner.calls.values()))
    del live.legs[live.b]
    live.b = ""
    ana.node.up = False
    talk.over = True
    return carrier, call


def test_hazard_07_reinvite_and_update_on_a_call_with_one_leg_are_answered() -> None:
    stage = Stage()
    carrier, call = one_legged(stage)
    for method in ("INVITE", "UPDATE"):
        carrier.request(call, method, sdp(4002, 1, 2))
        stage.run(0.5)
        assert call.last(method).status == 200
        assert call.last(method).body == sdp(6000), "it keeps the session that it has"
    carrier.request(call, "UPDATE")
    carrier.bye(call)
    stage.run(0.5)
    assert call.last("UPDATE").status == 200
    stage.settle()


def test_hazard_08_back_off_after_491_depends_on_who_owns_the_call_id() -> None:
    play(timers.refresh_meets_glare)  # 2.1-4 s: the Call-ID is ours
    play(timers.refresh_towards_the_caller_meets_glare)  # 0-2 s: it is the caller's


def test_hazard_09_a_refresh_answered_481_ends_the_call_with_bye() -> None:
    play(timers.refresh_answered_481)
    play(timers.refresh_is_not_answered)


@pytest.mark.parametrize("status", [481, 408])
def test_hazard_09_a_relayed_reinvite_answered_481_or_408_ends_the_call(status: int) -> None:
    stage = Stage()
    carrier, ana, call, talk = call_up(stage)
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    stage.run(0.3)
    ana.reply(talk, status, message=talk.got("INVITE")[1])
    stage.run(1.0)
    assert talk.got("BYE"), "the side that does not know the dialog is told once more"
    assert call.over
    assert stage.record.reason == "session_expired"
    stage.settle()


def test_hazard_10_a_challenge_is_answered_at_the_same_member_and_supersedes_the_leg() -> None:
    play(outgoing.trunk_challenges_us)


@pytest.mark.parametrize("status", [401, 407, 422])
def test_hazard_10_a_retry_stays_with_the_address_that_asked_for_it(status: int) -> None:
    stage = Stage()
    ana = stage.phone("ana-phone")
    first, second = names(stage, "10.0.3.1", "10.0.3.2")
    challenge = make_challenge("carrier-c.example", "n1", "MD5")
    header = {
        401: ("www-authenticate", challenge),
        407: ("proxy-authenticate", challenge),
        422: ("min-se", "2000"),
    }
    seen: list[str] = []

    def ask(party: Party) -> None:
        def auto(dialog: Dialog, message: Message, key: str) -> bool:
            if message.method == "INVITE":
                seen.append(party.host)
                if len(seen) == 2:
                    party.reply(dialog, status, headers=(header[status],))
            return message.method == "INVITE" and len(seen) == 2

        party.auto = auto

    ask(first)
    ask(second)
    stage.begin()
    call = ana.call(UK)
    stage.run(0.3)
    first.reply(first.incoming, 503)  # so that the second address is the one in use
    stage.run(0.5)
    assert seen == ["10.0.3.1", "10.0.3.2", "10.0.3.2"]
    second.auto = None
    stage.talk(ana, call, second)
    ana.bye(call)
    stage.run(1.0)
    assert len(stage.record.legs) == 2
    stage.settle()


ROUTES = (("record-route", "<sip:p2.carrier.example;lr>"), ("record-route", "<sip:p1.carrier.example;lr>"))


def taken_over(who_goes_on: str) -> Stage:
    """A call with a route set, some requests either way, a crash, and then one side goes on."""
    stage = Stage()
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    carrier.answers = 4100
    stage.world.resolver.names["p2.carrier.example"] = [Flow("udp", carrier.host, 5060, f"udp:{SERVER}:5060")]
    stage.begin()
    call = carrier.call(ANA, headers=ROUTES, caller=CALLER)
    talk = stage.talk(carrier, call, ana)
    call.routes = []  # the proxies are not played
    for _ in range(3):
        carrier.request(call, "INFO", b"1", "text/plain")
        ana.request(talk, "INFO", b"2", "text/plain")
        stage.run(0.3)
    stage.world.crash_at, stage.world.crash_how = stage.world.commits + 1, SAVED
    ana.request(talk, "INVITE", sdp(6000, 1, 2, "sendonly"))
    with pytest.raises(Crashed):
        stage.run(1.0)
    before = [(dialog, len(dialog.requests), max(m.cseq for m in dialog.requests)) for dialog in (call, talk)]
    ana.answers = 6100
    if who_goes_on == "caller":
        carrier.contact = "<sip:moved@10.0.1.1:5060>"
        carrier.request(call, "INVITE", sdp(4200, 1, 3))
        stage.run(0.5)
        assert call.last("INVITE").body == own(6100)
        carrier.bye(call)
    else:
        ana.request(talk, "UPDATE", sdp(6200, 1, 3))
        stage.run(0.5)
        assert talk.last("UPDATE").body == own(4100)
        ana.bye(talk)
    stage.run(1.0)
    assert call.over
    assert talk.over
    for dialog, count, used in before:
        later = [m.cseq for m in dialog.requests[count:] if m.method != "ACK"]
        assert all(cseq > used for cseq in later), "CSeq counts on from what was used"
    for message in call.requests:
        if message.method != "ACK":
            assert message.items("route") == ["<sip:p2.carrier.example;lr>", "<sip:p1.carrier.example;lr>"]
    stage.settle()
    return stage


@pytest.mark.rule("LIVE-02")
@pytest.mark.parametrize("who", ["caller", "callee"])
def test_hazard_11_a_call_that_was_taken_over_goes_on_from_either_side(who: str) -> None:
    taken_over(who)


def test_hazard_11_a_reinvite_moves_the_target_and_an_update_without_contact_does_not() -> None:
    stage = Stage()
    carrier, ana, call, talk = call_up(stage)
    ana.answers = 6100
    carrier.contact = "<sip:moved@10.0.1.1:5060>"
    carrier.request(call, "INVITE", sdp(4002, 1, 2))
    stage.run(0.5)
    ana.request(talk, "INFO", b"1", "text/plain")
    stage.run(0.3)
    assert call.got("INFO")[-1].uri == "sip:moved@10.0.1.1:5060"
    carrier.contact = ""
    carrier.request(call, "UPDATE")
    stage.run(0.3)
    ana.request(talk, "INFO", b"2", "text/plain")
    stage.run(0.3)
    assert call.got("INFO")[-1].uri == "sip:moved@10.0.1.1:5060"
    carrier.bye(call)
    stage.run(1.0)
    stage.settle()


@pytest.mark.rule("DEV-05")
def test_hazard_12_a_device_that_registers_when_the_hunt_has_moved_on_is_not_rung() -> None:
    stage = Stage()
    stage.phone("ana-phone")
    colleague = stage.phone("ben-phone")
    carrier = stage.carrier()
    stage.plan(
        Ring(targets=stage.targets("ana"), for_s=5.0),
        Ring(targets=stage.targets("ben"), for_s=20.0),
    )
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(6.0)
    assert colleague.rang
    late = stage.phone("ana-desktop")
    stage.run(1.0)
    assert not late.rang
    also_late = stage.phone("ben-desktop")
    stage.run(1.0)
    assert also_late.rang, "for the step that rings now a device is never too late"
    carrier.cancel(call)
    stage.run(1.0)
    stage.settle()


@pytest.mark.rule("DEV-05")
def test_hazard_12_a_second_device_after_the_first_that_joined_late() -> None:
    stage = Stage()
    first = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(1.0)
    second = stage.phone("ana-desktop")
    second.ring()
    stage.run(1.0)
    third = stage.phone("ana-browser")
    third.ring()
    first.register()  # a refresh of one that rings already is no new branch
    stage.run(1.0)
    assert [len(party.dialogs) for party in (first, second, third)] == [1, 1, 1]
    third.answer(sdp(6003))
    stage.run(1.0)
    assert call.last("INVITE").body == sdp(6003)
    assert first.incoming.cancelled is not None
    assert second.incoming.cancelled is not None
    carrier.bye(call)
    stage.run(1.0)
    stage.settle()


@pytest.mark.rule("DEV-05", "INC-06", "INC-09")
def test_hazard_12_a_hunt_moves_on_from_a_sleeper_which_is_told_and_not_rung() -> None:
    stage = Stage()
    late = stage.sleeper("ana-phone")
    colleague = stage.phone("ben-phone")
    stage.pushable("ben-phone")
    carrier = stage.carrier()
    stage.plan(
        Ring(targets=(), for_s=20.0, wake=(WakeTarget(user="ana", device="ana-phone", why=NO_BINDING),)),
        Ring(
            targets=stage.targets("ben"),
            for_s=20.0,
            wake=(WakeTarget(user="ben", device="ben-phone", why=LIVE),),
        ),
    )
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(7.9)
    assert not colleague.rang
    stage.run(0.5)
    assert colleague.rang, "a member that sleeps costs its wake deadline, not its ring time"
    colleague.ring()
    assert stage.pushed("ana-phone") == ["incoming_call", "call_ended cancelled"]
    late.register()
    stage.run(1.0)
    assert not late.rang
    carrier.cancel(call)
    stage.run(1.0)
    assert stage.pushed("ana-phone")[2:] == [], (
        "a member of a hunt is told of what really rang, and nothing else"
    )
    assert stage.pushed("ben-phone") == ["missed_call"]
    stage.settle()


@pytest.mark.rule("DEV-05")
def test_hazard_12_a_second_phone_that_wakes_after_the_first() -> None:
    play(waking.second_phone_wakes_after_the_first)


@pytest.mark.rule("DEV-05")
def test_hazard_13_a_dead_connection_fails_in_milliseconds() -> None:
    stage = play(waking.dead_connection_is_noticed_and_the_phone_woken)
    assert stage.world.push_log[0][0] - stage._start < 0.03


@pytest.mark.rule("DEV-05")
def test_hazard_13_a_dead_connection_holds_up_no_other_device_and_nobody() -> None:
    stage = Stage()
    stage.phone("ana-phone", "tcp")
    other = stage.phone("ana-desktop")
    carrier = stage.carrier()
    stage.begin()
    for conn in list(stage.world.network.connections):
        stage.world.network.cut(conn)
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.05)
    assert other.rang
    other.reply(other.incoming, 486)
    stage.run(0.1)
    assert call.status == 486, "the dead one had failed before"
    stage.settle()


@pytest.mark.rule("DEV-06")
def test_hazard_14_many_pushes_one_phone_one_contact() -> None:
    stage = Stage()
    phone = stage.sleeper("ana-phone", "tcp")
    carrier = stage.carrier()
    for number in range(20):
        # each wake-up brings another port, another Call-ID and no instance id: all that stays is the token
        phone.contact = f"<sip:ana-phone@{phone.host}:{6000 + number};transport=tcp;pn-provider=acme;pn-prid=ZH5Xa;pn-param=x>"
        call = carrier.call(ANA, caller=CALLER)
        stage.run(1.0)
        phone.register()
        stage.run(0.5)
        carrier.cancel(call)
        stage.run(0.5)
        for conn in list(stage.world.network.connections):
            stage.world.network.cut(conn)
            stage.world.server.registrar.connection_lost(conn)
    assert len(phone.dialogs) == 20, "each call came once"
    assert len(stage.world.bindings.bindings_of_user("ana", stage.world.now())) == 1
    stage.settle()


@pytest.mark.rule("DEV-04")
def test_hazard_15_a_phone_that_rings_by_itself_is_not_pushed() -> None:
    play(waking.long_silent_phone_that_rings_is_not_pushed)


def test_hazard_18_the_caller_leaves_while_the_next_member_is_being_dialled() -> None:
    stage = Stage()
    first, second = stage.phone("ana-phone"), stage.phone("ben-phone")
    carrier = stage.carrier()
    stage.plan(
        Ring(targets=stage.targets("ana"), for_s=5.0),
        Ring(targets=stage.targets("ben"), for_s=20.0),
    )
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    first.ring()
    stage.run(4.704)
    carrier.cancel(call)  # it arrives just after the step is over, on the way of the next INVITE
    stage.run(1.0)
    assert second.rang
    assert second.incoming.cancelled is not None
    assert call.status == 487
    stage.run(30.0)
    assert len(second.dialogs) == 1
    assert stage.record.reason == "caller_cancelled"
    stage.settle()


def test_hazard_19_an_unanswered_call_has_a_deadline_whatever_its_plan_says() -> None:
    stage = Stage()
    phone = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.plan(Ring(targets=stage.targets("ana"), for_s=100_000.0))
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    phone.ring()
    stage.run(91.0)
    assert call.status == 480
    assert phone.incoming.cancelled is not None
    assert stage.record.reason == "no_answer"
    stage.settle()


@pytest.mark.rule("INC-09")
def test_hazard_20_a_missed_call_is_one_that_rang_and_was_not_answered_elsewhere() -> None:
    stage = Stage()
    rang, silent, busy = stage.phone("ana-phone"), stage.phone("ana-desktop"), stage.phone("ana-browser")
    carrier = stage.carrier()
    stage.begin()
    missed = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    rang.ring()
    busy.reply(busy.incoming, 486)
    stage.run(2.0)
    carrier.cancel(missed)
    stage.run(1.0)
    legs = {leg.device: leg for leg in stage.record.legs}
    assert legs["ana-phone"].ringing_ms
    assert not legs["ana-desktop"].ringing_ms, "it never rang: nothing was missed there"
    assert legs["ana-browser"].reason == "busy"
    assert {legs[device].reason for device in ("ana-phone", "ana-desktop")} == {"caller_cancelled"}
    answered = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    rang.ring()
    silent.ring()
    silent.answer(sdp(6000))
    stage.run(0.5)
    carrier.bye(answered)
    stage.run(1.0)
    legs = {leg.device: leg for leg in stage.world.records[1].legs}
    assert legs["ana-phone"].reason == "answered_elsewhere"
    stage.settle()


def test_hazard_21_unknown_and_very_long_headers_and_compact_forms() -> None:
    play(hiding.compact_forms_and_long_tokens)
    play(hiding.a_display_name_with_nul)


@pytest.mark.rule("OUT-07")
def test_hazard_22_privacy_in_any_case_and_with_several_values() -> None:
    play(hiding.anonymous_caller_leaks_nowhere)
    play(outgoing.hidden_number)


def test_hazard_23_dtmf_by_info_between_two_parties_repeats_and_all() -> None:
    play(midcall.info_both_ways)


def test_hazard_23_dtmf_by_info_on_a_call_with_one_leg_is_taken_note_of() -> None:
    stage = Stage()
    carrier, call = one_legged(stage)
    for body in (b"Signal=5\r\n", b"Signal=5\r\n", b"Signal=flash\r\n"):
        carrier.request(call, "INFO", body, "application/dtmf-relay")
        stage.run(0.2)
    assert [m.status for m in call.responses if m.method == "INFO"] == [200, 200, 200]
    carrier.request(call, "MESSAGE", b"hello", "text/plain")
    stage.run(0.2)
    assert call.last("MESSAGE").status == 480, "there is nobody to tell"
    carrier.bye(call)
    stage.run(0.5)
    stage.settle()


def test_hazard_20_the_first_to_answer_is_who_the_record_names() -> None:
    stage = play(incoming.all_devices_ring_one_answers)
    assert stage.record.device == "ana-desktop"
