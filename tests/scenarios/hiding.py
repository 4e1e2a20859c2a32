"""What crosses from one side to the other and what does not: topology hiding, privacy, bodies and odd spellings."""

from __future__ import annotations

import re

from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from tests.scenarios.stage import ANA, BEN, CALLER, OUTSIDE, Stage
from tests.support.party import Headers, Party, sdp

CROSSES: Headers = (
    ("accept-language", "fr, en;q=0.5"),
    ("alert-info", "<http://www.example.com/sounds/moo.wav>"),
    ("priority", "urgent"),
    ("subject", "lunch"),
    ("user-to-user", "56a390f3d2b7310023a2;encoding=hex"),
    ("p-early-media", "supported"),
)
STAYS: Headers = (
    ("user-agent", "Caller-UA/1.0"),
    ("organization", "Caller Inc"),
    ("server", "x"),
    ("x-secret", "caller-secret"),
    ("p-access-network-info", "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=caller-cell"),
    ("p-charging-vector", "icid-value=caller-icid"),
    ("p-visited-network-id", "caller-visited"),
    ("record-route", "<sip:caller-proxy.example;lr>"),
    ("route", "<sip:cloudline.example;lr>"),
    ("history-info", "<sip:caller-history@example.com>;index=1"),
    ("geolocation-error", "caller-geo"),
    ("identity", "caller-identity"),
    ("call-info", "<http://caller.example/photo.jpg>;purpose=icon"),
    ("date", "Sat, 13 Nov 2010 23:29:00 GMT"),
)


def _marks(party: Party) -> list[bytes]:
    """What the other side must never see of a party: address, Call-IDs, tags, branches, names of its software."""
    marks = [party.host.encode()]
    for dialog in party.dialogs:
        if not dialog.incoming:
            marks.append(dialog.call_id.encode())
            marks.append(dialog.local.rpartition(";tag=")[2].encode())
            marks.append(dialog.invite_branch.encode())
        else:
            marks.append(dialog.local.rpartition(";tag=")[2].encode())
    return marks


def _assert_hidden(stage: Stage, left: Party, right: Party) -> None:
    """No byte that the server sent to one side names the other."""
    log = stage.world.network.log[stage._begun :]
    for seen_by, secret in ((left, right), (right, left)):
        for _, source, target, data in log:
            if source == "10.0.0.1" and target == seen_by.host:
                head = data.partition(b"\r\n\r\n")[0]
                for mark in _marks(secret):
                    assert mark not in head, (mark, head)


def listed_headers_cross_and_no_others(stage: Stage) -> None:
    """An explicit list crosses, in every kind of message; everything else stays on its side."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    carrier.answers = 4100
    listener = "udp:10.0.0.1:5060"
    stage.world.resolver.names["caller-proxy.example"] = [Flow("udp", carrier.host, 5060, listener)]
    stage.begin()
    call = carrier.call(ANA, headers=(*CROSSES, *STAYS), caller=CALLER)
    stage.run(0.3)
    callee: Headers = (
        ("server", "Callee-UA/2.0"),
        ("x-secret", "callee-secret"),
        ("alert-info", "<urn:alert:service:call-waiting>"),
        ("organization", "Callee Inc"),
        ("contact", f'{ana.contact};+sip.instance="<urn:uuid:callee-instance>";pn-provider=callee-push'),
    )
    ana.ring(180, headers=callee[:-1])
    stage.run(0.2)
    dialog = ana.incoming
    invite = dialog.invite
    assert invite is not None
    for name, value in CROSSES:
        assert invite.get(name) == value, name
    ana.reply(dialog, 200, sdp(6000), headers=(*callee[:-1], ("user-to-user", "c0ffee;encoding=hex")))
    stage.run(0.5)
    final = call.last("INVITE")
    assert final.get("user-to-user") == "c0ffee;encoding=hex"
    assert final.get("server") == "Cloudline"
    ana.request(dialog, "INFO", b"x", "text/plain", (*STAYS[:4], ("info-package", "test")))
    ana.request(dialog, "INVITE", sdp(6001), headers=STAYS[:4])
    stage.run(0.5)
    assert call.got("INFO")[0].get("info-package") == "test"
    ana.bye(dialog, STAYS[:4])
    stage.run(1.0)
    _assert_hidden(stage, carrier, ana)
    for party in (ana, carrier):
        for message in stage.sent(party):
            text = message.data.partition(b"\r\n\r\n")[0]
            assert not re.search(
                rb"secret|Caller-UA|Callee-UA|Caller Inc|Callee Inc|callee-|pn-provider", text
            )
            if party is ana:
                assert b"caller-" not in text, text
            names = {name for name, _, _ in message.headers}
            assert names <= ALLOWED, names - ALLOWED


ALLOWED = {
    *("via", "from", "to", "call-id", "cseq", "max-forwards", "contact", "route", "record-route"),
    *("allow", "supported", "require", "session-expires", "min-se", "user-agent", "server", "content-type"),
    *("content-length", "reason", "warning", "p-asserted-identity", "p-called-party-id", "x-cloudline-call"),
    *("rseq", "rack", "retry-after", "subject", "priority", "alert-info", "accept-language", "user-to-user"),
    *("p-early-media", "info-package", "recv-info", "accept", "privacy", "event", "subscription-state"),
    *("content-disposition", "mime-version", "content-language", "content-encoding", "timestamp"),
}
"""Every header that we ever write on a leg."""


def anonymous_caller_leaks_nowhere(stage: Stage) -> None:
    """Privacy in any case and with several values (field hazard 22): a device of ours is not told the number at all."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    headers = (
        ("privacy", "Header;ID"),
        ("p-asserted-identity", f'"Real Name" <sip:{CALLER}@carrier.example>'),
        ("remote-party-id", f"<sip:{CALLER}@carrier.example>;party=calling;privacy=full"),
        ("p-preferred-identity", f"<sip:{CALLER}@carrier.example>"),
        ("diversion", f"<sip:{CALLER}@carrier.example>;reason=unconditional"),
    )
    call = carrier.call(ANA, headers=headers, caller="anonymous")
    talk = stage.talk(carrier, call, ana)
    carrier.request(call, "INFO", b"x", "text/plain", (("p-asserted-identity", f"<sip:{CALLER}@x>"),))
    stage.run(0.2)
    ana.bye(talk)
    stage.run(1.0)
    for message in stage.sent(ana):
        text = message.data.partition(b"\r\n\r\n")[0].decode()
        assert CALLER not in text, text
        assert CALLER.lstrip("+") not in text
        assert "Real Name" not in text
    invite = talk.invite
    assert invite is not None
    assert invite.from_value.startswith('"Anonymous" <sip:anonymous@anonymous.invalid>')
    assert stage.record.caller == CALLER, "our own record knows it"


def hidden_caller_inside(stage: Stage) -> None:
    """A colleague who hides is as hidden inside as outside."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    stage.begin()
    call = ana.call(BEN, headers=(("privacy", "id"),))
    talk = stage.talk(ana, call, ben)
    ben.bye(talk)
    stage.run(1.0)
    for message in stage.sent(ben):
        text = message.data.partition(b"\r\n\r\n")[0].decode()
        assert ANA not in text
        assert "ana-phone" not in text


def call_reference_goes_to_devices_only(stage: Stage) -> None:
    """X-Cloudline-Call is for our own devices, never for trunks; and what a caller sends under that name is not believed."""
    ana, ben = stage.phone("ana-phone"), stage.phone("ben-phone")
    carrier = stage.carrier()
    stage.begin()
    inside = ana.call(BEN, headers=(("x-cloudline-call", "invented"),))
    stage.talk(ana, inside, ben)
    outside = ana.call(OUTSIDE, headers=(("x-cloudline-call", "invented"),))
    stage.talk(ana, outside, carrier)
    ana.bye(inside)
    ana.bye(outside)
    stage.run(1.0)
    first = ben.incoming.invite
    assert first is not None
    assert first.get("x-cloudline-call") == stage.world.records[0].call_ref
    assert all(not message.has("x-cloudline-call") for message in stage.sent(carrier))


MULTIPART = (
    b"--outer\r\nContent-Type: application/sdp\r\n\r\n" + sdp(4000) + b"\r\n--outer\r\n"
    b"Content-Type: application/pidf+xml\r\nContent-ID: <loc@example.com>\r\n\r\n<presence/>\xff\x00\r\n--outer--\r\n"
)


def bodies_cross_byte_for_byte(stage: Stage) -> None:
    """Multipart, unknown types, binary: what we do not understand we carry (RFC 5621)."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    kind: Headers = (
        ("content-type", 'multipart/mixed;boundary="outer"'),
        ("mime-version", "1.0"),
        ("content-disposition", "session;handling=required"),
        ("content-language", "fr"),
    )
    call = carrier.call(ANA, MULTIPART, kind, caller=CALLER)
    stage.run(0.3)
    invite = ana.incoming.invite
    assert invite is not None
    assert invite.body == MULTIPART
    for name, value in kind:
        assert invite.get(name) == value
    weird = bytes(range(256)) * 4
    ana.ring(183, weird, (("content-type", "application/x-unknown"), ("content-encoding", "gzip")))
    stage.run(0.2)
    early = call.responses[-1]
    assert early.body == weird
    assert early.get("content-type") == "application/x-unknown"
    assert early.get("content-encoding") == "gzip"
    talk = stage.talk(carrier, call, ana)
    carrier.request(
        call, "INFO", weird, "application/octet-stream", (("content-disposition", "Info-Package"),)
    )
    stage.run(0.3)
    assert talk.got("INFO")[0].body == weird
    assert talk.got("INFO")[0].get("content-disposition") == "Info-Package"
    ana.bye(talk)
    stage.run(1.0)


def _send_raw(stage: Stage, party: Party, text: str, body: bytes, seen: list[Message]) -> None:
    """A message written by hand: without its Via, which the endpoint of the party puts in."""
    data = text.replace("\n", "\r\n").encode("utf-8", "surrogateescape") + b"\r\n" + body
    party.send(
        f"z9hG4bK{len(seen)}raw{stage.world.commits}", data.split(b" ", 1)[0].decode(), data, seen.append
    )


def compact_forms_and_long_tokens(stage: Stage) -> None:
    """Compact forms, folded lines, odd case, 4 KB tokens, unknown headers, bytes that are no UTF-8 (field hazard 21)."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    seen: list[Message] = []
    long = "t" * 4000
    text = (
        f"INVITE sip:{ANA}@cloudline.example;user=phone SIP/2.0\n"
        f'f: "Zo\udce9 \\"Q\\" \\\\"  <sip:{CALLER}@carrier.example>;tag={long}\n'
        f"t:\n sip:{ANA}@cloudline.example\n"
        f"I: {long}@10.0.1.1\n"
        "CSEQ:  0009\n INVITE\n"
        "m: <sip:carrier@10.0.1.1:5060;ob;x=1>;expires=3600;q=0.5\n"
        "MAX-FORWARDS: 70\n"
        f"X-Unknown-{'h' * 200}: {'v' * 4000}\n"
        "c: application/sdp\n"
        f"l: {len(sdp(4000))}\n"
    )
    _send_raw(stage, carrier, text, sdp(4000), seen)
    stage.run(0.3)
    dialog = ana.incoming
    ana.ring()
    stage.run(0.2)
    assert [m.status for m in seen] == [100, 180]
    assert seen[-1].from_value.endswith(long)
    assert seen[-1].call_id == f"{long}@10.0.1.1"
    invite = dialog.invite
    assert invite is not None
    assert len(invite.data) < 3000
    ana.answer(sdp(6000))
    stage.run(0.1)
    final = seen[-1]
    assert final.status == 200
    contact = re.search(r"<(.*)>", final.get("contact") or "")
    assert contact is not None
    ack = (
        f"ACK {contact.group(1)} SIP/2.0\nf: <sip:{CALLER}@carrier.example>;tag={long}\nt: {final.to_value}\n"
        f"i: {long}@10.0.1.1\ncseq: 9 ACK\nmax-forwards: 70\nl: 0\n"
    )
    carrier.endpoint.send_stateless_request(
        "z9hG4bKrawack", ack.replace("\n", "\r\n").encode() + b"\r\n", carrier.flow
    )
    carrier.node.settle()
    stage.run(0.5)
    ana.bye(dialog)
    stage.run(0.3)
    byes = [parse(d) for _, s, t, d in stage.world.network.log if t == carrier.host and d.startswith(b"BYE")]
    assert byes[0].uri == "sip:carrier@10.0.1.1:5060;ob;x=1"
    assert byes[0].to_value.endswith(f";tag={long}")
    assert stage.record.legs[0].call_id == f"{long}@10.0.1.1"


def a_display_name_with_nul(stage: Stage) -> None:
    """RFC 4475 §3.1.1.2: NUL may stand in a quoted string behind a backslash; it comes back as it was."""
    carrier = stage.carrier()
    stage.phone("ana-phone")
    stage.begin()
    seen: list[Message] = []
    text = (
        f"INVITE sip:{ANA}@cloudline.example SIP/2.0\n"
        f'From: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:{CALLER}@carrier.example>;tag=1\n'
        f'To: "NUL:\\\x00" <sip:{ANA}@cloudline.example>\n'
        "Call-ID: nul@10.0.1.1\nCSeq: 1 INVITE\nContact: <sip:carrier@10.0.1.1:5060>\nMax-Forwards: 70\n"
        "Content-Length: 0\n"
    )
    _send_raw(stage, carrier, text, b"", seen)
    stage.run(31.0)
    assert seen[-1].status == 480
    assert "NUL:\\\x00" in seen[-1].from_value


def contacts_that_lead_nowhere(stage: Stage) -> None:
    """No Contact, one that is no SIP URI, one that cannot be read: 400, for nothing could be sent in the dialog."""
    carrier = stage.carrier()
    stage.phone("ana-phone")
    stage.begin()
    seen: list[Message] = []
    for number, contact in enumerate(
        ("", "Contact: <mailto:a@b>\n", "Contact: <sip:>\n", "Contact: *\n", 'Contact: "open <sip:a@b>\n')
    ):
        text = (
            f"INVITE sip:{ANA}@cloudline.example SIP/2.0\nFrom: <sip:{CALLER}@c.example>;tag=1\n"
            f"To: <sip:{ANA}@cloudline.example>\nCall-ID: c{number}@10.0.1.1\nCSeq: 1 INVITE\n{contact}"
            "Max-Forwards: 70\nContent-Length: 0\n"
        )
        _send_raw(stage, carrier, text, b"", seen)
        stage.run(0.1)
    assert [m.status for m in seen] == [400] * 5
    assert stage.world.calls == 0


def callee_with_an_unusable_contact(stage: Stage) -> None:
    """A 2xx whose Contact cannot be used is ACKed and released by the URI that it was dialled at."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    stage.begin()
    call = carrier.call(ANA, caller=CALLER)
    stage.run(0.3)
    dialog = ana.incoming
    invite = dialog.invite
    assert invite is not None
    ana.ring(180, headers=(("record-route", "<sip:proxy"), ("record-route", "<mailto:x@y>")))
    stage.run(0.1)
    first, ana.contact = ana.contact, "<sip:@@@>"
    ana.answer(sdp(6000))
    stage.run(0.5)
    assert call.status == 200
    ack = dialog.got("ACK")[0]
    assert ack.uri == first.strip("<>")
    carrier.bye(call)
    stage.run(1.0)
    assert dialog.over


def strict_and_loose_routers(stage: Stage) -> None:
    """Record-Route of the carrier's proxies: the route set in their order, a strict router addressed as RFC 2543 wants it."""
    ana = stage.phone("ana-phone")
    carrier = stage.carrier()
    for name in ("p2.example", "old.example"):
        stage.world.resolver.names[name] = [Flow("udp", carrier.host, 5060, "udp:10.0.0.1:5060")]
    stage.begin()
    loose = (("record-route", "<sip:p2.example;lr>, <sip:p1.example;lr=true>"),)
    call = carrier.call(ANA, headers=loose, caller=CALLER)
    talk = stage.talk(carrier, call, ana)
    ana.request(talk, "INFO", b"x", "text/plain")
    stage.run(0.3)
    info = call.got("INFO")[0]
    assert info.items("route") == ["<sip:p2.example;lr>", "<sip:p1.example;lr=true>"]
    assert info.uri == "sip:carrier@10.0.1.1:5060"
    assert call.last("INVITE").items("record-route") == ["<sip:p2.example;lr>", "<sip:p1.example;lr=true>"]
    call.routes = []
    carrier.bye(call)
    stage.run(1.0)
    strict = (("record-route", "<sip:old.example>, <sip:p1.example;lr>"),)
    call = carrier.call(ANA, headers=strict, caller=CALLER)
    talk = stage.talk(carrier, call, ana)
    ana.request(talk, "INFO", b"x", "text/plain")
    stage.run(0.3)
    info = call.got("INFO")[0]
    assert info.uri == "sip:old.example"
    assert info.items("route") == ["<sip:p1.example;lr>", "<sip:carrier@10.0.1.1:5060>"]
    call.routes = []
    carrier.bye(call)
    stage.run(1.0)
