"""What is said in the small cases, as messages."""

from __future__ import annotations

from typing import Final

from callcontrol.b2bua.env import CallEnv
from callcontrol.ids import KeyedIds
from callcontrol.sip import build
from callcontrol.sip.message import Message, parse
from callcontrol.sip.usage import UsageEnv
from tests.hunting.cases import WAKE_S

SDP: Final = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
)
FLOW: Final = "udp|10.0.1.1|5060|0|udp:10.0.0.1:5060"
CALLED: Final = "+33639987000"
"""Number of the Greeting."""


class _Contacts:
    def uri(self, scope: str, target: str, host: str = "") -> str:
        return f"sip:{scope}@10.0.0.1:5060"

    def sent_by(self, target: str) -> str:
        return "192.0.2.1:5060"


def environment() -> CallEnv:
    """Surroundings of the call: nothing but the hunt itself ends it."""
    usage = UsageEnv(KeyedIds(b"k" * 32), _Contacts(), session_expires=0)
    return CallEnv(usage, "cloudline.example", "node", total_ring_s=1000.0, wake_s=WAKE_S)


def parsed(data: bytes) -> Message:
    """A request of the call, as the endpoint would send it."""
    cut = data.find(b"\r\n") + 2
    return parse(data[:cut] + b"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx\r\n" + data[cut:])


def from_caller(method: str, cseq: int, tag: str = "", body: bytes = b"") -> Message:
    """A request of the caller; ``tag``: ours, within the dialog."""
    lines = [
        ("via", f"SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bK{method}"),
        ("max-forwards", "70"),
        ("from", "<sip:+33199001234@carrier.example>;tag=caller"),
        ("to", f"<sip:{CALLED}@cloudline.example>" + (f";tag={tag}" if tag else "")),
        ("call-id", "call-id"),
        ("cseq", f"{cseq} {method}"),
        ("contact", "<sip:them@10.0.1.1:5060>"),
    ]
    kind = "application/sdp" if body else ""
    return parse(build.request(method, f"sip:{CALLED}@cloudline.example", lines, body, kind))


def answer(request: Message, status: int, device: str, tag: str) -> Message:
    """A response of a device."""
    headers = (("contact", f"<sip:{device}@10.1.0.1:5060>"),) if status < 300 else ()
    body = SDP if status == 200 and request.method == "INVITE" else b""
    return parse(build.response(request, status, "", tag, headers, body, "application/sdp" if body else ""))


INVITE: Final = from_caller("INVITE", 1, body=SDP)


class Leg:
    """An INVITE of the server that a device has."""

    def __init__(self, device: str, leg: str, branch: str, message: Message) -> None:
        self.device = device
        self.leg = leg
        self.branch = branch
        self.message = message
        self.is_over = False
        self.is_cancelled = False
        self.cancel_lines: list[str] = []
        self.accepted = False
