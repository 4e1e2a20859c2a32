"""Calls that devices make: to the outside world over trunks, and to other cloud numbers (OUT-01, OUT-07, trunks)."""

from __future__ import annotations

from callcontrol.sip.digest import ha1, make_challenge, parse_credentials, response_digest
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from tests.scenarios.stage import ANA, BEN, OUTSIDE, Stage
from tests.support.party import Dialog, Party, sdp

TRUNK_REALM = "carrier.example"


def outgoing_call(stage: Stage) -> None:
    """A softphone calls the outside world and shows its cloud number (OUT-01)."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    dialog = carrier.incoming
    invite = dialog.invite
    assert invite is not None
    assert invite.uri == f"sip:{OUTSIDE}@10.0.1.1:5060;user=phone"
    assert f"<sip:{ANA}@cloudline.example>" in invite.from_value
    assert invite.get("p-asserted-identity") == f"<sip:{ANA}@cloudline.example>"
    assert not invite.has("x-cloudline-call")
    assert not invite.has("p-called-party-id")
    assert not invite.has("privacy")
    carrier.ring(183, sdp(7000))
    stage.run(1.0)
    carrier.answer(sdp(7000))
    stage.run(1.0)
    ana.bye(call)
    stage.run(1.0)
    record = stage.record
    assert (record.direction, record.trunk, record.device) == ("outgoing", "carrier-a", "ana-phone")
    assert (record.caller, record.called) == (ANA, OUTSIDE)


def hidden_number(stage: Stage) -> None:
    """OUT-07: the callee sees nobody, the trunk asserts the real number with Privacy: id."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = ana.call(OUTSIDE, headers=(("privacy", "Id ; USER"),))
    dialog = stage.talk(ana, call, carrier)
    invite = dialog.invite
    assert invite is not None
    assert invite.from_value.startswith('"Anonymous" <sip:anonymous@anonymous.invalid>')
    assert invite.get("p-asserted-identity") == f"<sip:{ANA}@cloudline.example>"
    assert invite.get("privacy") == "id"
    ana.bye(call)
    stage.run(1.0)
    for message in stage.sent(carrier):
        assert ANA not in message.from_value + message.to_value + (message.get("contact") or "")
    assert stage.record.caller_presented == "anonymous"


def internal_call(stage: Stage) -> None:
    """From one cloud number to another: no trunk is touched, all devices of the callee ring."""
    ana = stage.phone("ana-phone")
    phones = [stage.phone("ben-phone"), stage.phone("ben-desktop")]
    carrier = stage.carrier()
    stage.begin()
    call = ana.call(BEN)
    stage.run(0.5)
    phones[0].ring()
    phones[1].ring()
    stage.run(1.0)
    talk = phones[1].answer(sdp(6000))
    stage.run(1.0)
    assert call.status == 200
    invite = talk.invite
    assert invite is not None
    assert f"<sip:{ANA}@cloudline.example>" in invite.from_value
    assert invite.has("x-cloudline-call")
    phones[1].bye(talk)
    stage.run(1.0)
    assert not carrier.rang
    assert stage.record.direction == "internal"


def failover_on_silence(stage: Stage) -> None:
    """A peer that does not even say 100 is given up after 5 s; the next peer of the trunk takes the call."""
    ana = stage.phone("ana-phone")
    second = stage.carrier("10.0.1.2", "carrier-2")
    stage._names["10.0.1.1"] = "carrier-1"
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(5.5)
    assert second.rang
    second.ring()
    stage.run(1.0)
    second.answer(sdp(7000))
    stage.run(1.0)
    assert call.status == 200
    # a peer that was silent is tried last for a while
    ana.bye(call)
    stage.run(1.0)
    another = ana.call(OUTSIDE)
    stage.run(0.5)
    assert len(second.dialogs) == 2
    ana.cancel(another)
    stage.run(1.0)
    legs = [(leg.peer, leg.reason, leg.status) for leg in stage.world.records[0].legs[1:]]
    assert legs == [
        ("sip:10.0.1.1:5060", "trunk_failed", 408),
        ("sip:10.0.1.2:5060", "normal_clearing", 200),
    ]


def failover_on_503(stage: Stage) -> None:
    """503 of one peer, 500 of the next, then another trunk."""
    ana = stage.phone("ana-phone")
    first, second = stage.carrier("10.0.1.1", "carrier-1"), stage.carrier("10.0.1.2", "carrier-2")
    other = stage.carrier("10.0.2.1", "carrier-b")
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    first.reply(first.incoming, 503)
    stage.run(0.5)
    second.reply(second.incoming, 500)
    stage.run(0.5)
    stage.talk(ana, call, other)
    ana.bye(call)
    stage.run(1.0)
    assert [leg.status for leg in stage.record.legs] == [200, 503, 500, 200]
    assert stage.record.trunk == "carrier-b"


def failover_on_dead_transport(stage: Stage) -> None:
    """A peer whose connection cannot be made fails at once, not after a timeout."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier("10.0.1.2", "carrier-2")
    stage.begin()
    # an INVITE that is too large for a datagram goes by TCP (§18.1.1), where the first peer refuses connections
    stage.world.resolver.names["nowhere.example"] = []
    call = ana.call(OUTSIDE)
    stage.run(0.05)
    stage.world.server.endpoint.send_failed(
        Flow("udp", "10.0.1.1", 5060, "udp:10.0.0.1:5060"), stage.world.network.now
    )
    stage.world.node.settle()
    stage.run(0.3)
    assert carrier.rang
    stage.talk(ana, call, carrier)
    ana.bye(call)
    stage.run(1.0)
    assert [leg.status for leg in stage.record.legs] == [200, 503, 200]


def all_peers_fail(stage: Stage) -> None:
    """No peer takes the call: what is wrong with our carriers is no 503 of ours, which would make the caller avoid us."""
    ana = stage.phone("ana-phone")
    carriers = [stage.carrier("10.0.1.1", "carrier-1"), stage.carrier("10.0.1.2", "carrier-2")]
    carriers.append(stage.carrier("10.0.2.1", "carrier-b"))
    stage.begin()
    call = ana.call(OUTSIDE)
    for carrier in carriers:
        stage.run(0.5)
        carrier.reply(carrier.incoming, 503, headers=(("retry-after", "30"),))
    stage.run(1.0)
    assert call.status == 502
    assert stage.record.reason == "trunk_failed"


def busy_callee_is_not_failed_over(stage: Stage) -> None:
    """A 4xx that speaks of the callee is the answer, whichever peer gave it."""
    ana = stage.phone("ana-phone")
    first, second = stage.carrier("10.0.1.1", "carrier-1"), stage.carrier("10.0.1.2", "carrier-2")
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    first.ring()
    stage.run(0.5)
    first.reply(first.incoming, 486)
    stage.run(1.0)
    assert call.status == 486
    assert not second.rang


def _challenges(carrier: Party, nonce: str) -> str:
    """Has the carrier challenge every INVITE without right credentials; returns the challenge."""
    challenge = make_challenge(TRUNK_REALM, nonce, "MD5")

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method != "INVITE" or message.to_tag:
            return False
        value = message.get("authorization")
        if value is None:
            carrier.reply(dialog, 401, headers=(("www-authenticate", challenge),))
            return True
        given = parse_credentials(value)
        secret = ha1("MD5", "cloudline", TRUNK_REALM, "trunk-secret")
        wanted = response_digest("MD5", secret, "INVITE", given.uri, nonce, given.cnonce, given.nc, given.qop)
        assert given.response == wanted
        return True

    carrier.auto = auto
    return challenge


def trunk_challenges_us(stage: Stage) -> None:
    """401 of a trunk: the INVITE goes again with credentials, to the same peer, and its ACK carries them (§22, §13.2.2.4)."""
    stage.headers = ("authorization",)
    ana = stage.phone("ana-phone")
    carrier = stage.carrier("10.0.2.1", "carrier-b")
    _challenges(carrier, "nonce-1")
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(11.0)  # both peers of the first trunk are silent
    carrier.ring()
    stage.run(0.5)
    carrier.answer(sdp(7000))
    stage.run(1.0)
    dialog = carrier.incoming
    invites = dialog.got("INVITE")
    assert [message.cseq for message in invites] == [1, 2]
    assert invites[0].call_id == invites[1].call_id
    assert invites[0].from_tag == invites[1].from_tag
    assert dialog.got("ACK")[-1].get("authorization") == invites[1].get("authorization")
    ana.bye(call)
    stage.run(1.0)
    assert len([leg for leg in stage.record.legs if leg.trunk == "carrier-b"]) == 1


def trunk_refuses_our_password(stage: Stage) -> None:
    """A second challenge that is not stale is the end: no loop, and the caller is not asked for our password."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier("10.0.2.1", "carrier-b")
    challenge = make_challenge(TRUNK_REALM, "nonce-1", "SHA-256")

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "INVITE":
            carrier.reply(dialog, 407, headers=(("proxy-authenticate", challenge),))
        return message.method == "INVITE"

    carrier.auto = auto
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(15.0)
    assert len(carrier.incoming.got("INVITE")) == 2
    assert call.status == 502
    assert stage.record.reason == "trunk_failed"


def session_interval_too_small_for_the_carrier(stage: Stage) -> None:
    """422: the INVITE goes again with what the carrier asks for (RFC 4028 §7.4)."""
    stage.headers = ("session-expires", "min-se")
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.5)
    dialog = carrier.incoming
    carrier.reply(dialog, 422, headers=(("min-se", "3600"),))
    stage.run(0.5)
    invite = dialog.got("INVITE")[1]
    assert invite.cseq == 2
    assert invite.get("session-expires") == "3600"
    assert invite.get("min-se") == "3600"
    stage.talk(ana, call, carrier)
    ana.bye(call)
    stage.run(1.0)


def carrier_asks_for_ever_longer_intervals(stage: Stage) -> None:
    """A peer that answers each INVITE with a larger 422 is left after a few."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()

    def auto(dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "INVITE":
            carrier.reply(dialog, 422, headers=(("min-se", str(2000 + message.cseq)),))
        return message.method == "INVITE"

    carrier.auto = auto
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(20.0)
    assert len(carrier.incoming.got("INVITE")) == 4
    assert call.status >= 500


def carrier_wants_to_be_reached_elsewhere(stage: Stage) -> None:
    """A carrier that signals from one address and answers with the Contact of another: the dialog follows (§12.2.1.1)."""
    ana = stage.phone("ana-phone")
    gateway, switch = stage.carrier("10.0.1.1", "gateway"), stage.carrier("10.0.1.7", "switch")
    stage.begin()
    call = ana.call(OUTSIDE)
    stage.run(0.3)
    dialog = gateway.incoming
    switch.dialogs.append(dialog)
    gateway.contact = switch.contact
    gateway.ring()
    stage.run(0.3)
    gateway.answer(sdp(7000))
    stage.run(0.3)
    assert dialog.acked, "the ACK went to the switch"
    ana.bye(call)
    stage.run(0.5)
    incoming = gateway.call(ANA, caller=OUTSIDE)
    stage.run(0.3)
    switch.dialogs.append(incoming)
    talk = stage.talk(gateway, incoming, ana)
    ana.bye(talk)
    stage.run(0.5)
    log = [
        (target, data.split(b" ", 1)[0])
        for _, source, target, data in stage.world.network.log
        if source == "10.0.0.1"
    ]
    assert ("10.0.1.7", b"ACK") in log
    assert log.count(("10.0.1.7", b"BYE")) == 2
    assert ("10.0.1.1", b"BYE") not in log
    assert incoming.over
