"""Line breaks in every field that we copy: none of them becomes a line of a message that we send (OPS-05).

The bytes are put in on the wire, behind the back of the parties' own builders: wherever a party wrote PLACE.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from callcontrol.sip.flow import Flow
from callcontrol.sip.message import parse
from tests.hostile.kit import Fence, lines_as_anyone_cuts_them, request, statuses
from tests.support.party import OFFER, Dialog, Party
from tests.support.wire import Node
from tests.support.world import DOMAIN, SERVER, World

pytestmark = pytest.mark.rule("OPS-05")

ATTACKS = (
    b"a\r\nX-Evil: 1",
    b"a\nX-Evil: 1",
    b"a\rX-Evil: 1",
    b"a\r\n\r\nX-Evil: 1",
    b"a\0\r\nX-Evil: 1",
    b"a%0d%0aX-Evil:%201",
    b"a%0D%0A%0D%0AX-Evil:%201",
    b"a\\\r\\\nX-Evil: 1",
    b'a"\r\nX-Evil: 1\r\nY: "',
    b"a>\r\nX-Evil: 1\r\nY: <sip:a",
    b"a\xc4\x8dX-Evil: 1",  # a letter whose code ends in the octet of CR
    b"a\xe2\x80\xa8X-Evil: 1",  # LINE SEPARATOR
    b"a\xc2\x85X-Evil: 1",  # NEXT LINE
    b"a\x0b\x0cX-Evil: 1\x1c\x1d\x1e",
    b"a\xc0\x8d\xc0\x8aX-Evil: 1",  # CR and LF in too many octets
)


class Injector:
    """A world in which PLACE becomes the attack on its way to the server, and all that leaves the server is checked."""

    def __init__(self, attack: bytes) -> None:
        self.world = World(encodes=False)
        self.attack = attack
        self.used = 0
        self.passed = self.world.network.transmit
        self.world.network.transmit = self._transmit  # type: ignore[method-assign]
        self.ana = self.world.phone("ana-phone")
        self.ben = self.world.phone("ben-phone")
        self.carrier = self.world.carrier()

    def _transmit(self, sender: Node, flow: Flow, data: bytes) -> None:
        if flow.host == SERVER:
            self.used += data.count(b"PLACE")
            data = data.replace(b"PLACE", self.attack)
        elif sender is self.world.node:
            check_sound(data)
        self.passed(sender, flow, data)

    def end(self) -> None:
        assert self.used, "the attack never went out"
        self.world.run(300)


def check_sound(data: bytes) -> None:
    head, _, body = data.partition(b"\r\n\r\n")
    assert not [line for line in lines_as_anyone_cuts_them(head) if line.lower().startswith(b"x-evil")], data
    bare = head.replace(b"\r\n", b"")
    assert b"\r" not in bare
    assert b"\n" not in bare
    assert b"\0" not in head.replace(b"\\\0", b"")
    if data[8:11] not in (b"400", b"505", b"513"):  # these repeat what could not be read
        assert len(parse(data).body) == len(body), "our own end of the head is the first one"


def headers_of_the_caller(field: str) -> tuple[tuple[str, str], ...]:
    return ((field, f"<sip:PLACE@{DOMAIN}>"), (field, '"PLACE" <sip:x@y>'), (field, "PLACE"))


CROSSING = (
    *(
        "subject",
        "alert-info",
        "user-to-user",
        "accept",
        "accept-language",
        "priority",
        "in-reply-to",
        "geolocation",
    ),
    *(
        "p-preferred-identity",
        "p-asserted-identity",
        "remote-party-id",
        "diversion",
        "history-info",
        "privacy",
    ),
    *(
        "reason",
        "user-agent",
        "organization",
        "content-disposition",
        "content-language",
        "supported",
        "require",
    ),
    *("record-route", "route", "session-expires", "min-se", "timestamp", "x-cloudline-call", "recv-info"),
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_headers_of_an_invite(attack: bytes) -> None:
    """Each header that crosses, is copied, read or answered; from a carrier and from a phone."""
    injector = Injector(attack)
    for field in CROSSING:
        for form in headers_of_the_caller(field):
            for caller, number in ((injector.carrier, "+33639981001"), (injector.ana, "+33639981002")):
                call = caller.call(number, headers=(form,))
                injector.world.run(0.1)
                caller.cancel(call)
                injector.world.run(0.1)
    injector.end()


FRAME = (
    b"INVITE sip:%(user)s@"
    + DOMAIN.encode()
    + b" SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bK%(n)d%(via)s\r\n"
    b"Max-Forwards: 70\r\nFrom: %(from)s;tag=%(n)d%(tag)s\r\nTo: %(to)s\r\nCall-ID: c%(n)d%(id)s\r\nCSeq: 1 INVITE\r\n"
    b"Contact: %(contact)s\r\nContent-Type: application/sdp%(type)s\r\nContent-Length: %(size)d\r\n\r\n"
)
PLACES = {
    b"user": b"PLACE",
    b"via": b";x=PLACE",
    b"from": b'"PLACE" <sip:+15550142@x>',
    b"tag": b"PLACE",
    b"to": b'"PLACE" <sip:+33639981001@x>',
    b"id": b"PLACE",
    b"contact": b"<sip:PLACE@10.0.1.1>",
    b"type": b";x=PLACE",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_frame_of_an_invite(attack: bytes) -> None:
    injector = Injector(attack)
    plain = {
        b"user": b"+33639981001", b"via": b"", b"from": b"<sip:+15550142@x>", b"tag": b"", b"to": b"<sip:a@x>", b"id": b"",
        b"contact": b"<sip:c@10.0.1.1>", b"type": b"",
    }  # fmt: skip
    more = {
        b"from": (b"<sip:PLACE@x>", b"<sip:+15550142@x;p=PLACE>", b"<sip:+15550142@x>;p=PLACE"),
        b"user": (b"+33PLACE",),
    }
    number = 0
    for place, value in PLACES.items():
        for form in (value, *more.get(place, ())):
            number += 1
            data = FRAME % {**plain, place: form, b"n": number, b"size": len(OFFER)} + OFFER
            flow = Flow("udp", SERVER, 5060, "udp:10.0.1.1:5060")
            injector.world.network.transmit(injector.carrier.node, flow, data)
            injector.world.run(0.2)
    injector.end()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_stranger_is_answered_with_what_he_said_and_no_more(attack: bytes) -> None:
    fence = Fence(open_gate=True)
    text = attack.decode("utf-8", "surrogateescape")
    answered = 0
    for method in ("OPTIONS", "INVITE", "REGISTER", "SUBSCRIBE", "BYE", "CANCEL", "NEW"):
        for field in (
            "From",
            "To",
            "Call-ID",
            "Via",
            "Record-Route",
            "Timestamp",
            "Require",
            "Authorization",
            "Contact",
        ):
            data = request(
                method,
                fence.number(),
                headers=[f"{field}: PLACE"] if field in ("Require", "Timestamp") else [],
            )
            lines = data.split(b"\r\n")
            for at, line in enumerate(lines):
                if line.startswith(field.encode() + b":"):
                    lines[at] = line + text.encode("utf-8", "surrogateescape")
            out = fence.send(b"\r\n".join(lines).replace(b"PLACE", attack))
            for answer in out:
                check_sound(answer)
            answered += len(statuses(out))
    assert answered


def talk(injector: Injector, first: Callable[[Party], None] | None = None) -> tuple[Dialog, Dialog]:
    call = injector.carrier.call("+33639981001")
    injector.world.run(0.1)
    if first is not None:
        first(injector.ana)
        injector.world.run(0.1)
    injector.ana.answer()
    injector.world.run(0.2)
    return call, injector.ana.incoming


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_a_callee_says(attack: bytes) -> None:
    """Provisional and final answers, good and bad: the headers that cross, and those that do not."""
    injector = Injector(attack)
    forms = [
        (name, value)
        for name in (
            "alert-info",
            "user-to-user",
            "p-early-media",
            "retry-after",
            "server",
            "warning",
            "reason",
            "contact",
        )
        for value in ("PLACE", '"PLACE" <sip:PLACE@10.1.0.1>')
    ]
    for form in forms:
        talk(injector, lambda ana, form=form: ana.ring(183, OFFER, (form,)))  # type: ignore[misc]
        injector.ana.bye(injector.ana.incoming)
        for status in (302, 407, 486, 503, 603):
            injector.carrier.call("+33639981001")
            injector.world.run(0.1)
            injector.ana.reply(injector.ana.incoming, status, headers=(form,))
            injector.world.run(0.1)
    injector.end()


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_said_within_a_call(attack: bytes) -> None:
    injector = Injector(attack)
    forms = (
        ("BYE", (("reason", 'SIP;cause=200;text="PLACE"'),)),
        ("INFO", (("info-package", "PLACE"), ("content-disposition", "PLACE"))),
        ("MESSAGE", (("subject", "PLACE"),)),
        ("REFER", (("refer-to", f"<sip:PLACE@{DOMAIN}>"), ("referred-by", "<sip:PLACE@x>"))),
        ("REFER", (("refer-to", f"<sip:+33639981002@{DOMAIN}?Replaces=PLACE%3Bto-tag%3Da%3Bfrom-tag%3Db>"),)),
        ("REFER", (("refer-to", f"<sip:+33639981002@{DOMAIN}?Subject=PLACE>"),)),
        ("REFER", (("refer-to", "<tel:+33639981002;x=PLACE>"),)),
        ("UPDATE", (("session-expires", "1800;x=PLACE"),)),
        ("NOTIFY", (("event", "PLACE"), ("subscription-state", "PLACE"))),
        ("PLACE", ()),
    )
    for method, headers in forms:
        caller, callee = talk(injector)
        party, dialog = (injector.ana, callee) if method != "BYE" else (injector.carrier, caller)
        if method == "PLACE":
            party.request(dialog, "INFO", b"x", "text/plain", (("x", "PLACE"),))
        else:
            party.request(
                dialog, method, b"x" if method in ("INFO", "MESSAGE") else b"", "text/x;y=PLACE", headers
            )
        injector.world.run(1.0)
        injector.ana.bye(callee)
        injector.world.run(0.2)
    injector.end()


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_a_phone_registers(attack: bytes) -> None:
    """It comes back in the 200, and in the INVITEs to it."""
    injector = Injector(attack)
    for params in (
        ';+sip.instance="<urn:x:PLACE>"',
        ";PLACE=1",
        ';methods="PLACE"',
        ';+sip.instance="PLACE";reg-id=1',
    ):
        injector.ben.contact_params = params
        injector.ben.register(headers=(("supported", "path, outbound, gruu"), ("user-agent", "PLACE")))
        injector.world.run(0.3)
        injector.carrier.call("+33639981002")
        injector.world.run(0.3)
    injector.ben.contact_params = ""
    injector.ben.register(headers=(("path", "<sip:PLACE@10.9.9.9;lr>"), ("supported", "path")))
    injector.world.run(0.3)
    injector.carrier.call("+33639981002")
    injector.end()
