"""OUT-07: nothing of a caller who hides is read anywhere, whatever the caller's own software writes into its messages.

Every byte that leaves the server is searched: INVITEs, responses, requests in the dialog, bodies, pushes, events, log lines,
metrics, and what the record says was shown.  Only P-Asserted-Identity towards a trunk has the number.
"""

from __future__ import annotations

import dataclasses
import io
import re

import pytest

from callcontrol import call_views
from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.routes.calls import Parties
from callcontrol.audience import CUSTOMER
from callcontrol.b2bua.crossing import veiled_lines
from callcontrol.call_events import CallEvents
from callcontrol.call_log import LoggedOutbox
from callcontrol.logs import CallLog
from callcontrol.node_view import CallView
from callcontrol.phone_requests import Ok, Reply
from callcontrol.story import Story, Viewer, tell
from config.sections import LogSettings
from gateway.push import Outgoing
from mediarelay.veil import veiled
from numbering.e164 import E164
from tests.support.party import DOMAIN, SERVER, Dialog, Headers, Party, sdp
from tests.support.world import ListSink, World

pytestmark = pytest.mark.rule("OUT-07")

CLEO, BEN, OUTSIDE = E164("+33639981003"), "+33639981002", "+33199001234"
SECRETS = ("cleo", "639981003", "639980002", "hush")
"""Name, number and SIM of the caller, and a word that its software puts wherever it can."""

DIRTY_SDP = (
    b"v=0\r\no=cleo 1 1 IN IP4 192.0.2.9\r\ns=Cleo calls, hush\r\ni=hush\r\nu=http://hush.example/cleo\r\n"
    b"e=cleo@hush.example (Cleo)\r\np=+33 6 39 98 10 03\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\na=tool:hush 1.0\r\n"
    b"a=identity:hush\r\nm=audio 4000 RTP/AVP 0\r\ni=cleo\r\na=ssrc:1 cname:cleo@hush\r\na=sendrecv\r\n"
)
MULTIPART = (
    b"--edge\r\nContent-Type: application/sdp\r\n\r\n" + DIRTY_SDP + b"\r\n--edge\r\n"
    b"Content-Type: application/pidf+xml\r\n\r\n<presence entity='pres:cleo@hush.example'/>\r\n--edge--\r\n"
)
ME = f"<sip:{CLEO}@{DOMAIN}>"
DIRT: Headers = (
    ("contact", f'"Cleo" <sip:{CLEO}@10.9.9.9;hush=1>;+sip.instance="<urn:uuid:hush>"'),
    ("p-asserted-identity", f'"Cleo" {ME}'),
    ("remote-party-id", f'"Cleo" {ME};party=calling;privacy=off'),
    ("diversion", f"{ME};reason=unconditional"),
    ("history-info", f"{ME};index=1, <sip:hush@{DOMAIN};cause=302>;index=1.1"),
    ("subject", "Cleo calls, hush"),
    ("user-to-user", "hush;encoding=hex"),
    ("alert-info", "<http://hush.example/cleo.wav>"),
    ("call-info", "<http://hush.example/cleo.jpg>;purpose=icon"),
    ("in-reply-to", "cleo@hush"),
    ("geolocation", "<cid:cleo@hush>"),
    ("reply-to", ME),
    ("organization", "hush"),
    ("user-agent", "hush/1.0"),
    ("accept-language", "x-hush"),
    ("accept", "application/sdp, text/hush"),
    ("priority", "hush"),
    ("content-language", "x-hush"),
    ("x-secret", CLEO),
    ("referred-by", ME),
    ("identity", "hush"),
)


def hidden_by(how: str) -> tuple[Headers, str]:
    """Headers and From user of a call that hides in one of the ways there are."""
    preferred = (("p-preferred-identity", f'"Cleo" {ME}'),)
    return {
        "switch": (preferred, ""),
        "privacy": ((*preferred, ("privacy", "id")), ""),
        "odd privacy": ((*preferred, ("privacy", "Critical;  HEADER ; Id")), CLEO),
        "two lines": ((*preferred, ("privacy", "none"), ("privacy", "user")), CLEO),
        "from": (preferred, "anonymous"),
    }[how]


HOW = ["switch", "privacy", "odd privacy", "two lines", "from"]


class Scene:
    """Cleo, who hides, and somebody who is called."""

    def __init__(self, how: str) -> None:
        self.world = World()
        self.headers, self.user = hidden_by(how)
        number = self.world.directory.number(CLEO)
        assert number is not None
        self.world.directory.put_one(dataclasses.replace(number, hide=how == "switch"))
        for ref in ("ben-browser",):
            sleeper = self.world.directory.device(ref)
            assert sleeper is not None
            self.world.directory.put_one(dataclasses.replace(sleeper, mqtt_password="hashed"))
        self.events: list[Outgoing] = []
        self.log = io.StringIO()
        runner = self.world.server.runner
        runner.running.watcher = CallEvents(self._event, DOMAIN, lambda user: "acme")
        self.cleo = self.world.phone("cleo-phone")
        self.cleo.auto = self._answer
        self.begun = len(self.world.network.log)

    def _event(self, event: Outgoing) -> bool:
        self.events.append(event)
        return True

    def _answer(self, dialog: Dialog, message: object, key: str) -> bool:
        """Cleo's software answers re-INVITEs as it writes its own."""
        method = getattr(message, "method", "")
        if method not in ("INVITE", "UPDATE"):
            return False
        self.cleo.reply(dialog, 200, DIRTY_SDP, DIRT[5:], message=message)  # type: ignore[arg-type]
        return True

    def call(self, number: str, body: bytes = DIRTY_SDP, kind: Headers = ()) -> Dialog:
        dialog = self.cleo.call(number, body, (*self.headers, *DIRT, *kind), caller=self.user)
        self.world.run(0.4)
        return dialog

    def talk(self, callee: Party, dialog: Dialog) -> None:
        """Everything that parties say to each other in a call."""
        callee.ring(183, sdp(7000))
        self.world.run(0.2)
        answered = callee.answer(sdp(7000))
        self.world.run(0.5)
        assert dialog.status == 200, dialog.statuses
        self.cleo.request(dialog, "INVITE", DIRTY_SDP, headers=DIRT[5:])
        self.world.run(0.3)
        callee.reply(answered, 200, sdp(7001), message=answered.requests[-1])
        self.world.run(0.3)
        self.cleo.request(dialog, "INFO", b"Signal=5", "application/dtmf-relay", DIRT[5:])
        self.world.run(0.3)
        callee.request(answered, "INVITE", sdp(7002))
        self.world.run(0.5)
        self.cleo.bye(dialog, (("reason", 'SIP;cause=200;text="hush, cleo"'), *DIRT[5:]))
        self.world.run(1.0)

    def sent(self, party: Party) -> list[bytes]:
        log = self.world.network.log[self.begun :]
        return [data for _, source, target, data in log if source == SERVER and target == party.host]


def secrets_in(text: str) -> list[str]:
    plain = text.lower()
    digits = re.sub(r"[\s.()-]", "", plain)
    return [secret for secret in SECRETS if secret in plain or secret in digits]


def assert_silent(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert not secrets_in(text), (secrets_in(text), text)


@pytest.mark.parametrize("how", HOW)
def test_a_trunk_reads_the_number_in_one_header_only(how: str) -> None:
    scene = Scene(how)
    carrier = scene.world.carrier()
    dialog = scene.call(OUTSIDE)
    invite = carrier.incoming.invite
    assert invite is not None
    assert invite.get("p-asserted-identity") == f"<sip:{CLEO}@{DOMAIN}>"
    assert invite.get("privacy") == "id"
    assert invite.from_value.startswith('"Anonymous" <sip:anonymous@anonymous.invalid>')
    assert b"m=audio 4000 RTP/AVP 0" in invite.body, "the offer is there all the same"
    scene.talk(carrier, dialog)
    messages = scene.sent(carrier)
    assert len(messages) >= 6
    for data in messages:
        assert_silent(data.replace(f"P-Asserted-Identity: <sip:{CLEO}@{DOMAIN}>\r\n".encode(), b""))


@pytest.mark.parametrize("how", HOW)
def test_a_device_reads_it_nowhere_nor_does_its_push(how: str) -> None:
    scene = Scene(how)
    ben = scene.world.phone("ben-phone")
    dialog = scene.call(BEN)
    scene.talk(ben, dialog)
    messages = scene.sent(ben)
    assert len(messages) >= 6
    for data in messages:
        assert_silent(data)
    pushes = [push for _, push in scene.world.push_log]
    assert {push.type for push in pushes} >= {"incoming_call", "call_ended"}
    for push in pushes:
        assert push.caller == "anonymous"
        assert_silent(push.payload())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (MULTIPART, 'multipart/mixed;boundary="edge"'),
        (MULTIPART, "multipart/mixed; boundary=edge"),
        (b"<presence entity='pres:cleo@hush'/>", "application/pidf+xml"),
        (b"BEGIN:VCARD cleo", "text/vcard"),
        (DIRTY_SDP[2:], "application/sdp"),
    ],
)
def test_bodies_of_every_kind(body: bytes, kind: str) -> None:
    scene = Scene("privacy")
    ben = scene.world.phone("ben-phone")
    scene.call(BEN, body, (("content-type", kind), ("content-disposition", "session;filename=cleo")))
    invite = ben.incoming.invite
    assert invite is not None
    assert_silent(invite.data)
    if body is MULTIPART:
        assert (invite.get("content-type") or "").startswith("multipart/mixed")
        assert invite.body.count(b"--edge") == 2
        assert b"m=audio 4000" in invite.body


def test_a_caller_who_gives_up_tells_nothing_more() -> None:
    scene = Scene("privacy")
    ben = scene.world.phone("ben-phone")
    dialog = scene.call(BEN)
    scene.cleo.cancel(dialog, (("reason", 'SIP;cause=487;text="cleo, hush"'),))
    scene.world.run(1.0)
    cancels = [data for data in scene.sent(ben) if data.startswith(b"CANCEL")]
    assert cancels
    assert b"Reason: SIP;cause=487\r\n" in cancels[0]
    for data in scene.sent(ben):
        assert_silent(data)
    missed = [push for _, push in scene.world.push_log if push.type == "missed_call"]
    assert missed
    assert all(push.caller == "anonymous" for push in missed)


def test_a_caller_who_is_moved_by_a_transfer_stays_hidden() -> None:
    scene = Scene("privacy")
    ben, carrier = scene.world.phone("ben-phone"), scene.world.carrier()
    dialog = scene.call(BEN)
    ben.ring()
    scene.world.run(0.2)
    answered = ben.answer(sdp(7000))
    scene.world.run(0.5)
    ben.request(answered, "REFER", headers=(("refer-to", f"<sip:{OUTSIDE}@{DOMAIN}>"),))
    scene.world.run(0.5)
    carrier.answer(sdp(7100))
    scene.world.run(1.0)
    assert carrier.incoming.acked
    scene.cleo.bye(dialog)
    scene.world.run(1.0)
    for data in scene.sent(carrier):
        assert_silent(data)


def test_records_log_lines_events_and_metrics() -> None:
    scene = Scene("privacy")
    carrier = scene.world.carrier()
    scene.talk(carrier, scene.call(OUTSIDE))
    (record,) = scene.world.records
    assert (record.caller_hidden, record.caller_presented) == (True, "anonymous")
    assert record.caller == CLEO, "our own record knows who it was (MAN, emergency, disputes)"
    LoggedOutbox(ListSink(), CallLog(LogSettings(), scene.log)).put(record)
    assert_silent(scene.log.getvalue().replace(record.call_ref, "").encode())
    assert '"caller":"anonymous"' in scene.events[-1].payload.decode()
    for event in scene.events:
        # The account's own integrations know which of its numbers was used; who called is not told.
        text = re.sub(r'"(number|user)":"[^"]*",?', "", event.payload.decode())
        assert_silent(re.sub(r'"device":"[^"]*",?', "", text).encode())
    stats = scene.world.server.runner.performer.stats
    assert_silent(repr((stats.attempts, stats.refusals, list(stats.setup), list(stats.answer))).encode())


def test_nobody_who_shows_the_number_is_cleaned() -> None:
    scene = Scene("privacy")
    scene.headers = ()
    ben = scene.world.phone("ben-phone")
    scene.call(BEN, MULTIPART, (("content-type", 'multipart/mixed;boundary="edge"'),))
    invite = ben.incoming.invite
    assert invite is not None
    assert invite.body == MULTIPART
    assert invite.get("subject") == "Cleo calls, hush"


def test_a_veiled_description_is_still_one() -> None:
    clean = veiled(DIRTY_SDP, "application/sdp").decode()
    assert clean == (
        "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
        "m=audio 4000 RTP/AVP 0\r\na=ssrc:1 cname:-\r\na=sendrecv\r\n"
    )
    assert veiled(clean.encode(), "application/sdp") == clean.encode()


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('Reason: Q.850;cause=16;text="hush"', "Reason: Q.850;cause=16"),
        ('Reason: SIP ;cause=200 ;text="Call completed elsewhere"', "Reason: SIP;cause=200"),
        ("Reason: hush;cause=1", ""),
        ("Reason: SIP;text=hush", ""),
        ("Priority: urgent", "Priority: urgent"),
        ("Priority: hush", ""),
        ("P-Early-Media: supported", "P-Early-Media: supported"),
        ("Subject: hush", ""),
    ],
)
def test_lines_that_may_cross(line: str, kept: str) -> None:
    assert veiled_lines([line]) == ([kept] if kept else [])


def told_over_the_api(scene: Scene, user: str, view: CallView, story: Story) -> str:
    """Everything that the API answers to a user who asks about a call."""
    directory = scene.world.directory
    viewer = Viewer(
        owns_number=lambda number: (held := directory.number(number)) is not None and held.user == user,
        owns_user=lambda ref: ref == user,
    )
    who = Principal(scope=Scope.USER, token="t", account="acme", user=user)
    shown = Parties(directory).view(who, view)
    return repr((dataclasses.replace(shown, ref=""), tell(story, CUSTOMER, viewer)))


@pytest.mark.parametrize("how", HOW)
def test_who_is_called_does_not_read_it_over_the_api(how: str) -> None:
    """A colleague's call: nobody's user, device or number but the own ones, while it runs and afterwards."""
    scene = Scene(how)
    ben = scene.world.phone("ben-phone")
    dialog = scene.call(BEN)
    (call,) = scene.world.server.runner.calls.values()
    running = call_views.running_view(call), call_views.running_story(call)
    scene.talk(ben, dialog)
    (record,) = scene.world.records
    ended = call_views.ended_view(record), call_views.ended_story(record)
    for view, story in (running, ended):
        text = told_over_the_api(scene, "ben", view, story)
        assert "anonymous" in text
        assert_silent(text.encode())
        assert CLEO in told_over_the_api(scene, "cleo", view, story), "it is her own call"


def test_a_sim_that_calls_through_is_nobodys_business() -> None:
    """Also of a caller who shows the cloud number: whom it calls reads that one, and no number of the SIM."""
    scene = Scene("privacy")
    sim = "+33639980002"
    ingress, ben = scene.world.carrier("10.0.2.1", "ingress"), scene.world.phone("ben-phone")
    told: list[Reply] = []
    request = {"type": "call_through", "to": BEN}
    scene.world.server.phone.handle("cleo-phone", request, scene.world.now(), told.append)
    (reply,) = told
    assert isinstance(reply, Ok), reply
    ingress.call(str(reply.fields["gateway_number"]), caller=sim)
    scene.world.run(0.5)
    assert ben.rang
    (call,) = scene.world.server.runner.calls.values()
    text = told_over_the_api(scene, "ben", call_views.running_view(call), call_views.running_story(call))
    assert CLEO in text, "she does not hide"
    for secret in (sim, "cleo-phone", "'cleo'", "10.0.2.1", "carrier-b"):
        assert secret not in text
