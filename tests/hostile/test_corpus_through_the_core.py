"""Every torture message of RFC 4475 and RFC 5118 through the whole core: the final answers that go out on the wire.

Twice each: from a stranger, and from a user of ours, who answers the challenge; who is called answers as well.  What the
parser and the screening object to is the same for everybody; the rest of `FINAL` is for the registrar and the calls to say.
"""

from __future__ import annotations

import pytest

from callcontrol.bindings import Binding
from callcontrol.sip import digest
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.fields import parse_name_addr
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message, parse
from callcontrol.sip.uri import parse_uri
from config.settings import Settings
from numbering.models import Device
from tests.corpus.verdicts import BY_NAME, VERDICTS, Verdict
from tests.hostile.kit import Fence, statuses
from tests.support.party import Dialog, Party
from tests.support.world import SERVER, sdp

DOMAINS = {"domain": "example.com", "domains": ["example.net", "example.org", "chair-dnrc.example.com"]}
OPEN = {"trusted_networks": ["0.0.0.0/0"]}
PHONE = "10.1.0.9"

FINAL: dict[str, tuple[int, int]] = {
    # name: (to a stranger, to a user); 0 for none
    "wsinv": (481, 481),  # its To has a tag: a dialog that we do not know
    "intmeth": (501, 501),
    "esc01": (407, 200),
    "escnull": (401, 401),  # nobody can have a name with NUL, so nobody can register it
    "esc02": (501, 501),
    "lwsdisp": (200, 200),
    "longreq": (407, 200),
    "dblreq": (401, 200),
    "semiuri": (200, 200),
    "transports": (200, 200),
    "mpart01": (405, 405),  # MESSAGE outside a dialog
    "unreason": (0, 0),
    "noreason": (0, 0),
    "baddate": (407, 200),
    "regbadct": (401, 400),
    "unksm2": (401, 404),
    "invut": (407, 200),  # bodies cross unread: 415 is the callee's to say
    "regaut01": (401, 200),  # with Digest beside the unknown scheme
    "bcast": (0, 0),
    "badbranch": (200, 200),
    "zeromf": (200, 200),
    "cparam01": (401, 200),
    "cparam02": (401, 200),
    "regescrt": (401, 400),  # its Route would get into every call to this contact
    "sdp01": (407, 200),  # Accept crosses: 406 is the callee's to say
    "inv2543": (400, 400),  # without a Contact nothing could be sent in the dialog
    "ipv6-good": (401, 200),
    "port-ambiguous": (401, 200),
    "port-unambiguous": (401, 200),
    "via-received-param-with-delim": (481, 481),
    "via-received-param-no-delim": (200, 200),
    "ipv6-in-sdp": (407, 404),  # the address in its Request-URI is not ours
    "mult-ip-in-header": (481, 481),
    "mult-ip-in-sdp": (407, 404),
    "ipv4-mapped-ipv6": (407, 480),  # a call to himself, who has no other phone
    "ipv6-bug-abnf-3-colons": (200, 200),
    "ipv6-correct-abnf-2-colons": (200, 200),
}


def expected(verdict: Verdict) -> tuple[int, int]:
    named = FINAL.get(verdict.name.partition("/")[2])
    if named is not None:
        return named
    status = verdict.status if verdict.answered else 0
    return status, status


class Bench(Fence):
    """A server that is at home in the corpus' domains, with one phone that answers whatever comes."""

    def __init__(self) -> None:
        super().__init__(Settings.model_validate({"sip": DOMAINS, "limits": OPEN}))
        self.phone = Party(self.world, "callee", PHONE, "udp")
        self.phone.auto = self._answer

    def _answer(self, dialog: Dialog, message: Message, key: str) -> bool:
        if message.method == "INVITE":
            self.phone.reply(dialog, 200, sdp(5000))
            return True
        return False

    def know(self, username: str) -> None:
        """The user of the corpus' message."""
        self.server.directory.put_one(
            Device(ref="tortured", user="ana", sip_username=username, sip_password="p")
        )

    def can_be_called(self, username: str) -> None:
        """A colleague under this name, registered at the phone."""
        now = self.world.now()
        self.server.directory.put_one(
            Device(ref="callee", user="ben", sip_username=username, sip_password="p")
        )
        flow = Flow("udp", PHONE, 5060, f"udp:{SERVER}:5060")
        binding = Binding(
            aor=f"sip:{username}@example.com", key="k", user="ben", device="callee", contact=f"sip:callee@{PHONE}",
            target=f"sip:callee@{PHONE}", flow=flow.dump(), conn=0, source=PHONE, path=(),
            q=1.0, expires_at=now + 600, registered_at=now, refreshed_at=now, call_id="c", cseq=1,
        )  # fmt: skip
        self.world.bindings.apply([binding])

    def all_answers(self, data: bytes) -> list[bytes]:
        """What is sent back, at once and within the next seconds."""
        out = self.send(data)
        for _ in range(30):
            self.world.network.run_until(self.world.network.now + 0.02)
            self.elsewhere.clear()
        log = self.world.network.log
        late = [sent for _, source, target, sent in log if source == SERVER and target == "203.0.113.66"]
        return out + late


def with_credentials(data: bytes, answers: list[bytes], username: str) -> bytes:
    """The message once more, with an answer to the challenge that came."""
    message = parse(data)
    for answer in answers:
        name = "www-authenticate" if answer.startswith(b"SIP/2.0 401") else "proxy-authenticate"
        (challenge, *_) = digest.parse_challenges(parse(answer).all(name))
        value = digest.answer(challenge, message.method, message.uri, username, "p", cnonce="c")
    line = f"{'Authorization' if name == 'www-authenticate' else 'Proxy-Authorization'}: {value}"
    head, _, body = data.partition(b"\r\n\r\n")
    return head + b"\r\n" + line.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def name_of(message: Message, header: str) -> str:
    try:
        return parse_uri(parse_name_addr(header).uri).user or "user"
    except RemoteProtocolError:
        return "user"


def final(answers: list[bytes]) -> int:
    found = {status for status in statuses(answers) if status >= 200}
    assert len(found) <= 1, found
    return found.pop() if found else 0


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.name)
def test_final_answers(verdict: Verdict) -> None:
    to_stranger, to_user = expected(verdict)
    bench = Bench()
    first = bench.all_answers(verdict.data)
    assert final(first) == to_stranger
    assert not bench.phone.dialogs
    assert bench.world.calls == 0
    if to_stranger not in (401, 407) or to_user == 401:
        return
    message = parse(verdict.data)
    username = name_of(message, message.to_value if message.method == "REGISTER" else message.from_value)
    bench.know(username)
    callee = parse_uri(message.uri).user
    if message.method == "INVITE" and callee != username:
        bench.can_be_called(callee)
    second = bench.all_answers(with_credentials(verdict.data, first, username))
    assert final(second) == to_user
    if message.method != "INVITE" or to_user != 200:
        assert not bench.phone.dialogs
        return
    (dialog,) = bench.phone.dialogs
    (invite,) = dialog.got("INVITE")
    assert (invite.body, invite.content_type) == (message.body, message.content_type), (
        "bodies cross byte for byte"
    )
    assert invite.call_id != message.call_id
    assert "accept" not in [name for name, _, _ in message.headers] or invite.get("accept") == message.get(
        "accept"
    )
    bench.phone.bye(dialog)
    bench.world.run(120)  # the caller of the corpus never says anything more
    assert bench.world.calls == 0
    assert [record.status for record in bench.world.records] == [200]


@pytest.mark.parametrize("name", sorted(FINAL))
def test_the_table_agrees_with_the_corpus(name: str) -> None:
    """Whoever objects by the corpus' table objects here with the same status; nobody else objects, or it says why."""
    verdict = BY_NAME[name]
    to_user = FINAL[name][1]
    on_purpose = {"invut", "sdp01", "regaut01"}
    if verdict.layer in ("screening", "user") and name not in on_purpose:
        assert to_user == verdict.status
    elif verdict.layer == "" and to_user >= 400:
        assert (
            name in {"escnull", "mpart01", "ipv6-in-sdp", "mult-ip-in-sdp", "ipv4-mapped-ipv6"}
            or to_user == 481
        )
