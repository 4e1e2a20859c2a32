"""The rules of RFC 3261 §8.2 as a table: request, refusal."""

import pytest

from callcontrol.sip import build
from callcontrol.sip.message import Message, parse
from callcontrol.sip.screening import Capabilities, screen
from tests.support.exchanges import Header, with_top_via

CAPABILITIES = Capabilities(
    allow=("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "INFO", "MESSAGE"),
    accept=("application/sdp", "multipart/*"),
    supported=("100rel", "timer"),
    passed_on=("INFO", "MESSAGE"),
)
ALLOW = ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, MESSAGE")
ACCEPT = ("Accept", "application/sdp, multipart/*")
IDENTITY = ("Accept-Encoding", "identity")


def request(
    method: str = "INVITE",
    uri: str = "sip:bob@example.org",
    forwards: int | None = 70,
    body: bytes = b"",
    content_type: str = "",
    extra: tuple[Header, ...] = (),
) -> Message:
    headers = [
        ("from", "<sip:alice@example.org>;tag=a"),
        ("to", "<sip:bob@example.org>"),
        ("call-id", "c"),
        ("cseq", f"1 {method}"),
        *extra,
    ]
    if forwards is not None:
        headers.append(("max-forwards", str(forwards)))
    data = build.request(method, uri, headers, body, content_type)
    return parse(with_top_via(data, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx"))


B = b"body"
SDP = "application/sdp"
OPTIONAL = ("content-disposition", "session; handling=optional")
REQUIRED = ("content-disposition", "session;handling=required")

TABLE: list[tuple[Message, int, tuple[Header, ...]]] = [
    (request(), 0, ()),
    (request(forwards=None), 0, ()),
    # §8.2.1 method
    (request("PUBLISH"), 405, (ALLOW,)),
    (request("REFER"), 405, (ALLOW,)),
    (request("NEWMETHOD"), 501, (ALLOW,)),
    (request("invite"), 501, (ALLOW,)),
    # §16.3 Max-Forwards
    (request(forwards=0), 483, ()),
    (request("MESSAGE", forwards=0), 483, ()),
    (request("OPTIONS", forwards=0), 0, ()),
    (request("REGISTER", forwards=0), 0, ()),
    (request(forwards=1), 0, ()),
    # §8.2.2.1 scheme
    (request(uri="sips:bob@example.org"), 0, ()),
    (request(uri="SIP:bob@example.org"), 0, ()),
    (request(uri="tel:+33639980001"), 0, ()),
    (request(uri="unknown:whatever"), 416, ()),
    (request(uri="http://example.org"), 416, ()),
    # §8.2.2.3 Require
    (request(extra=(("require", "100rel"),)), 0, ()),
    (request(extra=(("require", "Timer, 100REL"),)), 0, ()),
    (
        request(extra=(("require", "100rel, Nothing"), ("require", "other"))),
        420,
        (("Unsupported", "Nothing, other"),),
    ),
    (request("CANCEL", extra=(("require", "nothing"),)), 0, ()),
    (request(extra=(("proxy-require", "nothing"),)), 0, ()),
    # §8.2.3 content
    (request(body=B, content_type=SDP), 0, ()),
    (request(body=B, content_type="Application/SDP;x=y"), 0, ()),
    (request(body=B, content_type="multipart/mixed;boundary=x"), 0, ()),
    (request(body=B, content_type="text/plain"), 415, (ACCEPT,)),
    (request(body=B, content_type="application/sdpx"), 415, (ACCEPT,)),
    (request(content_type="text/plain"), 0, ()),
    (request(body=B), 400, ()),
    (request(body=B, content_type="text/plain", extra=(OPTIONAL,)), 0, ()),
    (request(body=B, content_type="text/plain", extra=(REQUIRED,)), 415, (ACCEPT,)),
    (
        request(body=B, content_type="text/plain", extra=(("content-disposition", "render"),)),
        415,
        (ACCEPT,),
    ),
    (request(body=B, content_type=SDP, extra=(("content-encoding", "gzip"),)), 415, (IDENTITY,)),
    (request(body=B, content_type=SDP, extra=(("content-encoding", "gzip"), OPTIONAL)), 0, ()),
    (request(body=B, content_type=SDP, extra=(("content-encoding", "identity"),)), 0, ()),
    (request("INFO", body=B, content_type="application/dtmf-relay"), 0, ()),
    (request("MESSAGE", body=B), 0, ()),
    # an ACK is never refused
    (request("ACK", uri="unknown:x", forwards=0, extra=(("require", "nothing"),)), 0, ()),
    # the first rule broken counts
    (request("PUBLISH", uri="unknown:x", forwards=0), 405, (ALLOW,)),
    (request(uri="unknown:x", extra=(("require", "nothing"),)), 416, ()),
    (
        request(body=B, content_type="text/plain", extra=(("require", "nothing"),)),
        420,
        (("Unsupported", "nothing"),),
    ),
]


@pytest.mark.parametrize(("message", "status", "headers"), TABLE)
def test_table(message: Message, status: int, headers: tuple[Header, ...]) -> None:
    refusal = screen(message, CAPABILITIES)
    if status == 0:
        assert refusal is None
        return
    assert refusal is not None
    assert (refusal.status, refusal.headers) == (status, headers)
    data = build.response(message, refusal.status, refusal.reason, "tag", refusal.headers)
    assert parse(data).status == status
    assert str(status) in repr(refusal)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (request(uri="anything:x"), 0),
        (request("INFO", forwards=0), 0),
        (request("PUBLISH"), 405),
        (request(extra=(("require", "nothing"),)), 420),
        (request(body=B, content_type="text/plain"), 415),
    ],
)
def test_inside_a_dialog_uri_and_hops_do_not_matter(message: Message, status: int) -> None:
    refusal = screen(message, CAPABILITIES, in_dialog=True)
    assert (refusal.status if refusal else 0) == status


@pytest.mark.parametrize(
    ("accept", "content_type", "accepted"),
    [
        (("*/*",), "text/plain", True),
        (("text/*",), "text/plain", True),
        (("text/*",), "textual/plain", False),
        (("text/plain",), "text/plain", True),
        ((), "text/plain", False),
        (("application/sdp",), "nonsense", False),
    ],
)
def test_accept_patterns(accept: tuple[str, ...], content_type: str, accepted: bool) -> None:
    assert Capabilities(("INVITE",), accept, ()).accepts(content_type) is accepted
