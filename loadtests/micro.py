"""``python -m loadtests.micro``: microseconds of CPU for single jobs of the SIP core, no sockets.

Each job runs in batches; the least CPU time of a batch counts, since a shared machine only ever adds.  Says whether
the core is compiled: run it before and after ``make compile``.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from callcontrol.sip import build, digest, message, uri
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import RequestReceived
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.framer import StreamFramer
from callcontrol.sip.timers import SipTimers
from callcontrol.sip.wheel import Wheel
from loadtests import micro_call

NEAR, FAR = "192.0.2.1", "198.51.100.7"
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"
    b"m=audio 20000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
)


def invite(number: int) -> bytes:
    """An INVITE as a carrier sends it."""
    return (
        f"INVITE sip:+33639981001@{NEAR}:5060 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {FAR}:5060;branch=z9hG4bKmicro{number};rport\r\n"
        "Max-Forwards: 70\r\n"
        f'From: "Caller" <sip:+33199001234@{FAR}>;tag=from{number}\r\n'
        f"To: <sip:+33639981001@{NEAR}:5060>\r\n"
        f"Call-ID: micro-{number}@{FAR}\r\n"
        "CSeq: 1 INVITE\r\n"
        f"Contact: <sip:carrier@{FAR}:5060>\r\n"
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK\r\n"
        "Supported: timer, 100rel\r\n"
        f"P-Asserted-Identity: <sip:+33199001234@{FAR}>\r\n"
        "User-Agent: micro\r\n"
        "Content-Type: application/sdp\r\n"
        f"Content-Length: {len(SDP)}\r\n\r\n"
    ).encode() + SDP


@dataclass(frozen=True, slots=True)
class Job:
    """``run(count)`` does the job so many times."""

    name: str
    run: Callable[[int], None]
    count: int


def parse_invite(count: int) -> None:
    data = [invite(i) for i in range(count)]
    parse = message.parse
    for one in data:
        parse(one)


def parse_response(count: int) -> None:
    request = message.parse(invite(1))
    data = build.response(request, 200, "", "totag", (("Contact", f"<sip:a@{FAR}>"),), SDP, "application/sdp")
    parse = message.parse
    for _ in range(count):
        parse(data)


def write_response(count: int) -> None:
    request = message.parse(invite(1))
    contact = (("Contact", f"<sip:a@{NEAR}>"),)
    for _ in range(count):
        build.response(request, 180, "", "totag", contact)


def write_request(count: int) -> None:
    headers = (
        ("max-forwards", "69"),
        ("from", f"<sip:+33199001234@{NEAR}>;tag=ours"),
        ("to", "<sip:+33639981001@example.org>"),
        ("call-id", "abcdefghijkl"),
        ("cseq", "1 INVITE"),
        ("contact", f"<sip:{NEAR}:5060>"),
    )
    for _ in range(count):
        build.request("INVITE", f"sip:phone@{FAR}:5060", headers, SDP, "application/sdp")


def parse_uri(count: int) -> None:
    for _ in range(count):
        uri.parse_uri("sip:+33639981001@198.51.100.7:5060;transport=udp;user=phone")


def frame_stream(count: int) -> None:
    """Count messages, cut from a stream that comes in pieces of 1400 bytes."""
    stream = b"".join(invite(i) for i in range(count))
    framer = StreamFramer()
    for start in range(0, len(stream), 1400):
        framer.feed(stream[start : start + 1400])


def run_wheel(count: int) -> None:
    wheel: Wheel[int] = Wheel()
    due: list[int] = []
    for i in range(count):
        wheel.add(10.0 + (i % 500) * 0.02, i)
    wheel.advance(30.0, due)


def check_digest(count: int) -> None:
    secret = digest.ha1("SHA-256", "ana", "example.org", "secret")
    for _ in range(count):
        digest.response_digest(
            "SHA-256", secret, "REGISTER", "sip:example.org", "n1", "c1", "00000001", "auth"
        )


class Side:
    """One endpoint with the address that it is known by."""

    def __init__(self, host: str) -> None:
        listeners = Listeners()
        listeners.add(Listener(f"udp:{host}:5060", "udp", host, 5060))
        self.host = host
        self.endpoint = Endpoint(SipTimers(), listeners, secret=b"micro")

    def deliver(self, other: Side, now: float) -> None:
        """Hand everything that waits to be sent to the other side."""
        flow = Flow("udp", self.host, 5060, f"udp:{other.host}:5060")
        out, self.endpoint.out = self.endpoint.out, []
        for _, data in out:
            other.endpoint.receive(data, flow, now)


def exchange_invites(count: int) -> None:
    """INVITE, 180, 200, ACK, BYE, 200 between two endpoints: both halves of all transactions of a call."""
    near, far = Side(NEAR), Side(FAR)
    to_far = Flow("udp", FAR, 5060, f"udp:{NEAR}:5060")
    body = ("content-type", "application/sdp")
    for i in range(count):
        now = 1.0 + i / 1000
        head = (
            ("max-forwards", "70"),
            ("from", f"<sip:a@{NEAR}>;tag=a{i}"),
            ("to", f"<sip:b@{FAR}>"),
            ("call-id", f"call{i}"),
        )
        data = build.request("INVITE", f"sip:b@{FAR}", (*head, ("cseq", "1 INVITE")), SDP, body[1])
        near.endpoint.send_request(f"z9hG4bKi{i}", "INVITE", data, to_far, now)
        near.deliver(far, now)
        request = far.endpoint.events.pop()
        assert isinstance(request, RequestReceived)
        for status, payload in ((180, b""), (200, SDP)):
            kind = body[1] if payload else ""
            answer = build.response(
                request.message, status, "", f"b{i}", (("contact", f"<sip:{FAR}>"),), payload, kind
            )
            far.endpoint.send_response(request.key, status, answer, now)
            far.deliver(near, now)
        ack = build.request("ACK", f"sip:{FAR}", (*head, ("cseq", "1 ACK")))
        near.endpoint.send_stateless_request(f"z9hG4bKa{i}", ack, to_far)
        near.deliver(far, now)
        bye = build.request("BYE", f"sip:{FAR}", (*head, ("cseq", "2 BYE")))
        near.endpoint.send_request(f"z9hG4bKb{i}", "BYE", bye, to_far, now)
        near.deliver(far, now)
        end = far.endpoint.events.pop()
        assert isinstance(end, RequestReceived)
        far.endpoint.send_response(end.key, 200, build.response(end.message, 200), now)
        far.deliver(near, now)
        near.endpoint.events.clear()
        far.endpoint.events.clear()
        if i % 20 == 0:
            near.endpoint.tick(now)
            far.endpoint.tick(now)


JOBS = (
    Job("parse an INVITE", parse_invite, 4000),
    Job("parse a 200 with body", parse_response, 4000),
    Job("write a 180", write_response, 8000),
    Job("write an INVITE", write_request, 8000),
    Job("parse a URI", parse_uri, 20000),
    Job("cut an INVITE from a stream", frame_stream, 4000),
    Job("set and fire a timer", run_wheel, 50000),
    Job("compute a digest response", check_digest, 5000),
    Job("transactions of a call, both sides", exchange_invites, 1500),
)


WHOLE_CALLS = {"a whole call through the node's core": 1, "the same with 100 000 numbers": 100_000}


def measure(job: Job, rounds: int, share: float = 1.0) -> float:
    """Least CPU time of one job over the rounds, microseconds."""
    count = max(10, round(job.count * share))
    job.run(max(10, count // 10))
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        begin = time.process_time()
        job.run(count)
        best = min(best, time.process_time() - begin)
    return best / count * 1e6


def is_compiled() -> bool:
    return not (message.__file__ or "").endswith(".py")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.micro", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="part of a name")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = {job.name: measure(job, arguments.rounds) for job in JOBS if arguments.only in job.name}
    for name, numbers in WHOLE_CALLS.items():
        if arguments.only in name:
            results[name] = micro_call.measure(arguments.rounds, numbers=numbers)
    if arguments.json:
        print(json.dumps({"compiled": is_compiled(), "microseconds": results}, indent=1))
        return 0
    print(f"core: {'compiled' if is_compiled() else 'interpreted'}, CPU time, least of {arguments.rounds}")
    for name, value in results.items():
        print(f"{value:9.2f} µs  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
