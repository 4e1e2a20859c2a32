"""Numbers as carriers really write them, in both directions, through the whole core; and our name in Contact."""

from __future__ import annotations

import dataclasses

import pytest

from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.wire import ListenerContacts
from gateway.trunk import NumberFormat
from tests.support.world import World

ANA = "+33639981001"
NATIONAL = "0639981001"
CALLER = "+33199001234"
OUTSIDE = "+33199005678"

CALLED = [
    f"sip:{ANA}@cloudline.example;user=phone",
    f"sip:00{ANA[1:]}@cloudline.example",
    f"sip:{ANA[1:]}@10.0.0.1:5060",
    f"sip:{NATIONAL}@10.0.0.1",
    f"sip:{NATIONAL};phone-context=+33@10.0.0.1;user=phone",
    f"sip:{NATIONAL}@10.0.0.1;user=phone;phone-context=+33",
    f"tel:{ANA}",
    "tel:+33-6-39-98-10-01",
    f"tel:{NATIONAL};phone-context=+33",
    f"sip:{ANA};npdi;rn=+336001@cloudline.example;user=phone",
    f"sip:{ANA};rn=6001;rn-context=+33;npdi@cloudline.example",
    # routing prefixes of French portability before the number
    f"sip:+336001{NATIONAL}@cloudline.example;user=phone",
    f"sip:+336001{NATIONAL[1:]}@cloudline.example;user=phone",
    f"sip:06001{NATIONAL[1:]}@cloudline.example",
    f"sip:+335090{NATIONAL[1:]}@cloudline.example",
    f"sip:+335260{NATIONAL[1:]}@cloudline.example",
    f"sip:%2B{ANA[1:]}@cloudline.example",
]
CALLING = [
    f"From: <sip:{CALLER}@c.example>;tag=1",
    f"From: <sip:00{CALLER[1:]}@c.example;user=phone>;tag=1",
    f"From: <sip:{CALLER[1:]}@c.example>;tag=1",
    "From: <sip:0199001234@c.example>;tag=1",
    "From: <sip:0199001234;phone-context=+33@c.example;user=phone>;tag=1",
    f'From: "0199001234" <sip:{CALLER}@c.example>;tag=1',
    f"From: <tel:{CALLER}>;tag=1",
    "From: <tel:0199001234;phone-context=+33>;tag=1",
    f"From: <sip:pbx@c.example>;tag=1\nP-Asserted-Identity: <tel:{CALLER}>",
    "From: <sip:pbx@c.example>;tag=1\nRemote-Party-ID: <sip:0199001234@c.example>;party=calling",
]


def invite(world: World, uri: str, sender: str) -> None:
    carrier = world.carrier()
    text = (
        f"INVITE {uri} SIP/2.0\n{sender}\nTo: <sip:x@cloudline.example>\nCall-ID: n@10.0.1.1\nCSeq: 1 INVITE\n"
        "Contact: <sip:c@10.0.1.1:5060>\nMax-Forwards: 70\nContent-Length: 0\n\n"
    )
    carrier.send("z9hG4bKnumber", "INVITE", text.replace("\n", "\r\n").encode(), lambda message: None)
    world.run(0.5)


@pytest.mark.rule("NUM-01")
@pytest.mark.parametrize("uri", CALLED)
def test_a_call_reaches_its_number_however_it_is_written(uri: str) -> None:
    world = World()
    ana = world.phone("ana-phone")
    invite(world, uri, f"From: <sip:{CALLER}@c.example>;tag=1")
    assert ana.rang
    assert ana.incoming.invite is not None
    assert ana.incoming.invite.get("p-called-party-id") == f"<sip:{ANA}@cloudline.example>"


@pytest.mark.rule("NUM-01")
@pytest.mark.parametrize("sender", CALLING)
def test_the_caller_is_known_however_it_is_written(sender: str) -> None:
    world = World()
    ana = world.phone("ana-phone")
    invite(world, f"sip:{ANA}@cloudline.example", sender)
    assert ana.incoming.invite is not None
    assert ana.incoming.invite.get("p-asserted-identity") == f"<sip:{CALLER}@cloudline.example>"


@pytest.mark.parametrize(
    ("form", "called", "caller"),
    [
        (NumberFormat.E164, OUTSIDE, ANA),
        (NumberFormat.DIGITS, OUTSIDE[1:], ANA[1:]),
        (NumberFormat.INTERNATIONAL, f"00{OUTSIDE[1:]}", f"00{ANA[1:]}"),
        (NumberFormat.NATIONAL, "0199005678", NATIONAL),
        (NumberFormat.CONTEXT, "0199005678;phone-context=+33", f"{NATIONAL};phone-context=+33"),
    ],
)
def test_a_carrier_gets_numbers_in_its_own_form(form: NumberFormat, called: str, caller: str) -> None:
    world = World()
    changed = [dataclasses.replace(trunk, number_format=form) for trunk in world.trunks.all()]
    world.trunks.replace(changed, version=2)
    ana, carrier = world.phone("ana-phone"), world.carrier()
    ana.call(OUTSIDE)
    world.run(0.5)
    message = carrier.incoming.invite
    assert message is not None
    assert message.uri == f"sip:{called}@10.0.1.1:5060;user=phone"
    assert message.from_value.startswith(f"<sip:{caller}@cloudline.example>;tag=")
    assert message.get("p-asserted-identity") == f"<sip:{caller}@cloudline.example>"


def test_our_name_in_contact_keeps_the_transport() -> None:
    listeners = Listeners()
    for transport, port in (("udp", 5060), ("tls", 5061)):
        listeners.add(Listener(f"{transport}:192.0.2.1:{port}", transport, "192.0.2.1", port))
    contacts = ListenerContacts(listeners, Flow.load)
    tls = Flow("tls", "192.0.2.9", 5061).dump()
    assert contacts.uri("x.b1", tls) == "sip:x.b1@192.0.2.1:5061;transport=tls"
    assert contacts.uri("x.b1", tls, "sbc.example:5061") == "sip:x.b1@sbc.example:5061;transport=tls"
    assert (
        contacts.uri("x.b1", Flow("udp", "192.0.2.9", 5060).dump(), "sbc.example") == "sip:x.b1@sbc.example"
    )
