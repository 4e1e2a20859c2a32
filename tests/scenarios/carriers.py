"""Carriers that fail, and how they want to be spoken to: failover by the cause table, profiles of trunks, FQDN in Contact."""

from __future__ import annotations

import dataclasses

from gateway.profile import DiversionHeader, HeaderRule, IdentityHeader, PrivacyForm, RuleAction
from gateway.trunk import NumberFormat, Trunk
from tests.scenarios.stage import ANA, CALLER, OUTSIDE, Stage
from tests.support.party import Dialog, Party, sdp


def _carriers(stage: Stage) -> tuple[Party, Party, Party]:
    """Two peers of carrier-a, and carrier-b."""
    first, second = stage.carrier("10.0.1.1", "carrier-1"), stage.carrier("10.0.1.2", "carrier-2")
    return first, second, stage.carrier("10.0.2.1", "carrier-b")


def _change(stage: Stage, ref: str, **fields: object) -> Trunk:
    """Provision another value of some fields of a trunk."""
    trunks = stage.world.trunks
    changed = [
        dataclasses.replace(trunk, **fields) if trunk.ref == ref else trunk  # type: ignore[arg-type]
        for trunk in trunks.all()
    ]
    trunks.replace(changed, version=trunks.version + 1)
    found = trunks.get(ref)
    assert found is not None
    return found


def _finish(stage: Stage, caller: Party, call: Dialog, carrier: Party) -> None:
    stage.talk(caller, call, carrier)
    caller.bye(call)
    stage.run(1.0)


# -- failover -------------------------------------------------------------------------------------------------------


def carrier_that_forbids_is_left_with_all_its_peers(stage: Stage) -> None:
    """403: the carrier will not, at whichever of its peers; another carrier is tried, and its second peer is not."""
    ana = stage.phone("ana-phone")
    first, second, other = _carriers(stage)
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    first.reply(first.incoming, 403)
    stage.run(0.5)
    assert other.rang
    assert not second.rang
    _finish(stage, ana, call, other)
    assert [leg.status for leg in stage.record.legs] == [200, 403, 200]


def no_failover_after_ringing(stage: Stage) -> None:
    """The callee's phone rang: what comes then is the end, and nobody rings a second time."""
    ana = stage.phone("ana-phone")
    first, second, other = _carriers(stage)
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    first.ring()
    stage.run(3.0)
    first.reply(first.incoming, 503)
    stage.run(1.0)
    assert call.status == 502
    assert not second.rang
    assert not other.rang


def no_failover_after_early_media(stage: Stage) -> None:
    """The caller heard something already."""
    ana = stage.phone("ana-phone")
    first, second, other = _carriers(stage)
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    first.ring(183, sdp(7000))
    stage.run(3.0)
    first.reply(first.incoming, 500)
    stage.run(1.0)
    assert call.status == 502
    assert not second.rang
    assert not other.rang


def failover_after_mere_progress(stage: Stage) -> None:
    """183 without media: nobody has heard or seen anything, so the next peer is tried."""
    ana = stage.phone("ana-phone")
    first, second, _ = _carriers(stage)
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    first.ring(183)
    stage.run(1.0)
    first.reply(first.incoming, 503)
    stage.run(0.5)
    _finish(stage, ana, call, second)


def unallocated_number_is_not_failed_over(stage: Stage) -> None:
    """Q.850 cause 1 behind a 500: the network knows that there is no such number; every carrier would say so."""
    ana = stage.phone("ana-phone")
    first, second, other = _carriers(stage)
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    first.reply(first.incoming, 500, headers=(("reason", 'Q.850;cause=1;text="Unallocated"'),))
    stage.run(1.0)
    assert call.status == 484
    assert stage.record.reason == "invalid_number"
    assert not second.rang
    assert not other.rang


def no_route_at_one_carrier(stage: Stage) -> None:
    """404 with Q.850 cause 3: this carrier has no route; another one may."""
    ana = stage.phone("ana-phone")
    first, second, other = _carriers(stage)
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    first.reply(first.incoming, 404, headers=(("reason", "Q.850;cause=3"),))
    stage.run(0.5)
    assert not second.rang
    _finish(stage, ana, call, other)


def busy_behind_a_503(stage: Stage) -> None:
    """Q.850 cause 17 behind a 503: the callee is busy, and the peer is well."""
    ana = stage.phone("ana-phone")
    first, second, other = _carriers(stage)
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    first.reply(first.incoming, 503, headers=(("reason", "Q.850;cause=17"),))
    stage.run(1.0)
    assert call.status == 486
    health = stage.world.server.trunking.health
    assert health.levels(stage.world.now()) == (frozenset(), frozenset())
    assert not second.rang
    assert not other.rang


def retry_after_of_a_carrier_is_honoured(stage: Stage) -> None:
    """503 with Retry-After: 120: for two minutes the other peer comes first, also when it had a call meanwhile."""
    ana = stage.phone("ana-phone")
    first, second, _ = _carriers(stage)
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    first.reply(first.incoming, 503, headers=(("retry-after", "120 (maintenance);duration=60"),))
    stage.run(0.5)
    _finish(stage, ana, call, second)
    stage.run(100.0)
    again = ana.call(OUTSIDE)
    stage.run(0.5)
    assert len(first.dialogs) == 1
    _finish(stage, ana, again, second)
    stage.run(30.0)
    third = ana.call(OUTSIDE)
    stage.run(0.5)
    assert len(first.dialogs) == 2
    _finish(stage, ana, third, first)


def carrier_that_says_trying_and_no_more(stage: Stage) -> None:
    """100 and then nothing for 20 s: cancelled, and the next peer is tried; what crosses the CANCEL is released."""
    ana = stage.phone("ana-phone")
    first, second, _ = _carriers(stage)
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.1)
    first.reply(first.incoming, 100)
    stage.run(19.0)
    assert not second.rang
    stage.run(2.0)
    assert second.rang
    assert first.incoming.cancelled is not None
    _finish(stage, ana, call, second)
    assert [leg.reason for leg in stage.record.legs[1:]] == ["trunk_failed", "normal_clearing"]


def carrier_that_is_slow_but_rings(stage: Stage) -> None:
    """Mobile networks take their time: 100, and 180 fifteen seconds later."""
    ana = stage.phone("ana-phone")
    first, second, _ = _carriers(stage)
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.1)
    first.reply(first.incoming, 100)
    stage.run(15.0)
    first.ring()
    stage.run(20.0)
    assert not second.rang
    first.answer(sdp(7000))
    stage.run(1.0)
    assert call.status == 200
    ana.bye(call)
    stage.run(1.0)


# -- how carriers want to be spoken to ------------------------------------------------------------------------------


def carrier_that_knows_us_by_name(stage: Stage) -> None:
    """Teams: our FQDN in From and Contact of every request and answer, both ways; the Request-URI may name it too."""
    stage.headers = ("contact",)
    _change(stage, "carrier-a", host="sbc.acme.example:5061", domain="sbc.acme.example")
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.world.resolver.names["sbc.acme.example"] = []
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.3)
    dialog = carrier.incoming
    invite = dialog.invite
    assert invite is not None
    assert f"<sip:{ANA}@sbc.acme.example>" in invite.from_value
    assert (invite.get("contact") or "").endswith("@sbc.acme.example:5061>")
    assert invite.get("p-asserted-identity") == f"<sip:{ANA}@sbc.acme.example>"
    stage.talk(ana, call, carrier)
    carrier.answers = 7002
    ana.request(call, "INVITE", sdp(4002, 1, 2))
    stage.run(0.3)
    assert (dialog.got("INVITE")[-1].get("contact") or "").endswith("@sbc.acme.example:5061>")
    ana.bye(call)
    stage.run(1.0)


def carrier_calls_us_by_name(stage: Stage) -> None:
    """A call to our FQDN is for us, and our answer names it in Contact."""
    stage.headers = ("contact",)
    _change(stage, "carrier-a", host="sbc.acme.example", domain="sbc.acme.example")
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    text = (
        f"INVITE sip:{ANA}@SBC.acme.example;user=phone SIP/2.0\nFrom: <sip:{CALLER}@teams.example>;tag=1\n"
        f"To: <sip:{ANA}@sbc.acme.example>\nCall-ID: named@10.0.1.1\nCSeq: 1 INVITE\nContact: <sip:c@10.0.1.1:5060>\n"
        "Max-Forwards: 70\nContent-Length: 0\n\n"
    )
    seen = []
    carrier.send("z9hG4bKnamed", "INVITE", text.replace("\n", "\r\n").encode(), seen.append)
    stage.run(0.5)
    ana.ring()
    stage.run(0.5)
    assert (seen[-1].get("contact") or "").endswith("@sbc.acme.example>")
    ana.reply(ana.incoming, 486)
    stage.run(1.0)
    assert seen[-1].status == 486


def carrier_with_a_profile_of_its_own(stage: Stage) -> None:
    """Remote-Party-ID, national numbers with a context, and header rules."""
    stage.headers = ("remote-party-id", "x-account", "subject")
    _change(
        stage,
        "carrier-a",
        identity=IdentityHeader.RPID,
        number_format=NumberFormat.CONTEXT,
        caller_format=NumberFormat.DIGITS,
        headers=(
            HeaderRule(RuleAction.ADD, "X-Account", "4711"),
            HeaderRule(RuleAction.REPLACE, "s", "a call"),
            HeaderRule(RuleAction.REMOVE, "Priority"),
        ),
    )
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = ana.call(OUTSIDE, headers=(("subject", "lunch"), ("priority", "urgent")))
    stage.run(0.3)
    invite = carrier.incoming.invite
    assert invite is not None
    national = "0" + OUTSIDE[3:]
    assert invite.uri == f"sip:{national};phone-context=+33@10.0.1.1:5060;user=phone"
    party = f"<sip:{ANA[1:]}@cloudline.example>;party=calling;privacy=off;screen=yes"
    assert invite.get("remote-party-id") == party
    assert f"<sip:{ANA[1:]}@cloudline.example>" in invite.from_value
    assert not invite.has("p-asserted-identity")
    assert (invite.get("x-account"), invite.get("subject"), invite.has("priority")) == (
        "4711",
        "a call",
        False,
    )
    _finish(stage, ana, call, carrier)


def carrier_that_is_not_trusted_with_a_hidden_number(stage: Stage) -> None:
    """The number is withheld altogether; the carrier is still asked not to show any of its own making."""
    _change(
        stage,
        "carrier-a",
        trusted=False,
        identity=IdentityHeader.RPID,
        privacy=PrivacyForm.USER,
        diversion=DiversionHeader.NONE,
    )
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = ana.call(OUTSIDE, headers=(("privacy", "id"),))
    stage.run(0.3)
    invite = carrier.incoming.invite
    assert invite is not None
    assert invite.get("privacy") == "user;id"
    _finish(stage, ana, call, carrier)
    for message in stage.sent(carrier):
        assert ANA[3:] not in message.data.decode()


# -- time that a caller gives ---------------------------------------------------------------------------------------


def expires_of_an_invite(stage: Stage) -> None:
    """RFC 3261 §13.3.1: the caller waits for ten seconds; then 487, and nobody rings any more."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, headers=(("expires", "10"),), caller=CALLER)
    stage.run(0.3)
    ana.ring()
    stage.run(9.0)
    assert call.status == 180
    stage.run(1.0)
    assert call.status == 487
    assert ana.incoming.cancelled is not None
    assert stage.record.reason == "no_answer"


def expires_of_an_invite_that_is_answered_in_time(stage: Stage) -> None:
    """A device's call, too; the answer ends the waiting, and an Expires that cannot be read begins none."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = ana.call(OUTSIDE, headers=(("expires", "5"),))
    stage.talk(ana, call, carrier)
    stage.run(10.0)
    ana.bye(call)
    stage.run(1.0)
    odd = ana.call(OUTSIDE, headers=(("expires", "soon"),))
    stage.talk(ana, odd, carrier)
    ana.bye(odd)
    stage.run(1.0)
    assert [record.reason for record in stage.world.records] == ["normal_clearing"] * 2
