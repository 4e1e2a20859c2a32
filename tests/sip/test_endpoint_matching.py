"""Which transaction a request belongs to, where its responses go, merged requests, malformed input."""

import pytest

from callcontrol.sip import build
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import RequestReceived
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.message import parse
from callcontrol.sip.reception import MAX_KEY, STATELESS_TAG, server_key, stamp
from callcontrol.sip.timers import SipTimers
from tests.support.exchanges import LOCAL, PEER, Bench, arriving, response_to


def via_line(data: bytes) -> str:
    return data.split(b"\r\n")[1].decode()


# ---- received, rport, and the way back (RFC 3261 §18.2, RFC 3581)

SOURCE = Flow("udp", PEER, 33333, f"udp:{LOCAL}:5060")
STREAM = Flow("tcp", PEER, 33333, f"tcp:{LOCAL}:5060", 7)

#  value of the Via as it came, over which flow -> as it goes back, to which port
VIA_TABLE = [
    (f"SIP/2.0/UDP {PEER}:5060;branch=z9hG4bKx;rport", SOURCE, f"...;rport=33333;received={PEER}", 33333),
    (
        f"SIP/2.0/UDP {PEER};rport;branch=z9hG4bKx",
        SOURCE,
        f"SIP/2.0/UDP {PEER};rport=33333;branch=z9hG4bKx;received={PEER}",
        33333,
    ),
    (
        f"SIP/2.0/UDP {PEER};branch=z9hG4bKx;RPort",
        SOURCE,
        f"SIP/2.0/UDP {PEER};branch=z9hG4bKx;rport=33333;received={PEER}",
        33333,
    ),
    (
        f"SIP/2.0/UDP {PEER};branch=z9hG4bKx; rport ;x=y",
        SOURCE,
        f"SIP/2.0/UDP {PEER};branch=z9hG4bKx;rport=33333;x=y;received={PEER}",
        33333,
    ),
    (
        f"SIP/2.0/UDP {PEER};branch=z9hG4bKx; Received =1.2.3.4;rport",
        SOURCE,
        f"SIP/2.0/UDP {PEER};branch=z9hG4bKx;rport=33333;received={PEER}",
        33333,
    ),
    (f"SIP/2.0/UDP {PEER};branch=z9hG4bKx;rportal=1", SOURCE, "...", 5060),
    # without rport: received only where the host differs, and the port of sent-by
    (f"SIP/2.0/UDP {PEER}:5070;branch=z9hG4bKx", SOURCE, "...", 5070),
    (f"SIP/2.0/UDP {PEER};branch=z9hG4bKx", SOURCE, "...", 5060),
    ("SIP/2.0/UDP pc.example.org:5070;branch=z9hG4bKx", SOURCE, f"...;received={PEER}", 5070),
    ("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx", SOURCE, f"...;received={PEER}", 5060),
    ("SIP/2.0/UDP 10.0.0.1:0;branch=z9hG4bKx", SOURCE, f"...;received={PEER}", 33333),
    # what the peer claims about itself does not count
    (
        "SIP/2.0/UDP 10.0.0.1;received=203.0.113.66;branch=z9hG4bKx",
        SOURCE,
        f"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;received={PEER}",
        5060,
    ),
    (
        "SIP/2.0/UDP 10.0.0.1;rport=9;branch=z9hG4bKx;received=203.0.113.66",
        SOURCE,
        f"SIP/2.0/UDP 10.0.0.1;rport=33333;branch=z9hG4bKx;received={PEER}",
        33333,
    ),
    (
        f"SIP/2.0/UDP {PEER};branch=z9hG4bKx;received=203.0.113.66",
        SOURCE,
        f"SIP/2.0/UDP {PEER};branch=z9hG4bKx",
        5060,
    ),
    # maddr is not followed
    (
        "SIP/2.0/UDP 10.0.0.1;maddr=203.0.113.66;branch=z9hG4bKx",
        SOURCE,
        f"...;received={PEER}",
        5060,
    ),
    # a quoted parameter that looks like others
    (
        'SIP/2.0/UDP 10.0.0.1;x=";rport;received=1.2.3.4";branch=z9hG4bKx',
        SOURCE,
        f'SIP/2.0/UDP 10.0.0.1;x=";rport;received=1.2.3.4";branch=z9hG4bKx;received={PEER}',
        5060,
    ),
    (
        'SIP/2.0/UDP 10.0.0.1;x=";";branch=z9hG4bKx;rport',
        SOURCE,
        f'SIP/2.0/UDP 10.0.0.1;x=";";branch=z9hG4bKx;rport=33333;received={PEER}',
        33333,
    ),
    # streams: the connection
    (f"SIP/2.0/TCP {PEER}:5060;branch=z9hG4bKx;rport", STREAM, f"...;rport=33333;received={PEER}", 33333),
    ("SIP/2.0/TCP 10.0.0.1:5099;branch=z9hG4bKx", STREAM, f"...;received={PEER}", 33333),
]


@pytest.mark.parametrize(("came", "flow", "goes", "port"), VIA_TABLE)
def test_top_via_is_completed_and_the_response_finds_its_way(
    came: str, flow: Flow, goes: str, port: int
) -> None:
    bench = Bench()
    bench.receive(arriving("OPTIONS", via=came), flow)
    assert bench.answer(200)
    assert bench.sent() == ["200"]
    if goes.startswith("..."):
        plain = came.removesuffix(";rport") if ";rport=" in goes else came
        goes = plain + goes[3:]
    assert via_line(bench.last) == f"Via: {goes}"
    assert bench.last_flow == Flow(flow.transport, PEER, port, flow.listener, flow.conn)


def test_ipv6_source() -> None:
    bench = Bench()
    flow = Flow("udp", "2001:db8::9", 33333, "udp:[::]:5060")
    bench.receive(arriving("OPTIONS", via="SIP/2.0/UDP [2001:db8::9]:5070;branch=z9hG4bKx"), flow)
    bench.answer(200)
    bench.sent()
    assert via_line(bench.last) == "Via: SIP/2.0/UDP [2001:db8::9]:5070;branch=z9hG4bKx"
    assert bench.last_flow.port == 5070
    bench.receive(arriving("OPTIONS", via="SIP/2.0/UDP [2001:db8::1];branch=z9hG4bKy;rport"), flow)
    bench.answer(200)
    bench.sent()
    assert via_line(bench.last).endswith(";rport=33333;received=2001:db8::9")


def test_only_the_first_of_several_vias_is_touched() -> None:
    bench = Bench()
    line = f"SIP/2.0/UDP {PEER};branch=z9hG4bKx;rport, SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKy;rport"
    bench.receive(arriving("OPTIONS", via=line), SOURCE)
    bench.answer(200)
    bench.sent()
    assert via_line(bench.last) == (
        f"Via: SIP/2.0/UDP {PEER};branch=z9hG4bKx;rport=33333;received={PEER}, "
        "SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKy;rport"
    )


@pytest.mark.parametrize(("came", "flow"), [(row[0], row[1]) for row in VIA_TABLE])
def test_stamping_twice_is_stamping_once(came: str, flow: Flow) -> None:
    message = parse(arriving("OPTIONS", via=came))
    reply = stamp(message, flow)
    once = message.top_via
    assert stamp(message, flow) == reply
    assert message.top_via == once


def test_source_of_the_request_is_told_not_the_way_back() -> None:
    bench = Bench()
    bench.receive(arriving("OPTIONS", via=f"SIP/2.0/UDP {PEER}:5070;branch=z9hG4bKx"), SOURCE)
    event = bench.endpoint.events[0]
    assert isinstance(event, RequestReceived)
    assert event.flow == SOURCE


# ---- matching with the cookie (§17.2.3)


@pytest.mark.parametrize(
    "other",
    [
        arriving("OPTIONS", "z9hG4bK-2", call_id="call-2"),
        arriving("OPTIONS", "z9hG4bK-1", sent_by=f"{PEER}:5061", call_id="call-2"),
        arriving("INFO", "z9hG4bK-1", call_id="call-2"),
    ],
)
def test_another_branch_sent_by_or_method_is_another_transaction(other: bytes) -> None:
    bench = Bench()
    bench.receive(arriving("OPTIONS", "z9hG4bK-1"))
    bench.receive(other)
    assert len(bench.told()) == 2


def test_everything_else_may_differ() -> None:
    bench = Bench()
    bench.receive(arriving("OPTIONS", "z9hG4bK-1"))
    bench.receive(arriving("OPTIONS", "z9hG4bK-1", call_id="other", from_tag="other", cseq=9))
    assert bench.told() == ["request OPTIONS"]


def test_cookie_in_any_case() -> None:
    bench = Bench()
    bench.receive(arriving("OPTIONS", "Z9HG4BK-1"))
    assert bench.key == f"Z9HG4BK-1|{PEER}:5060|OPTIONS"


def test_a_long_key_is_kept_short() -> None:
    keys = set()
    for end in "ab":
        message = parse(arriving("OPTIONS", "z9hG4bK" + "x" * 9000 + end))
        key = server_key(message, "OPTIONS")
        assert len(key) < MAX_KEY
        keys.add(key)
    assert len(keys) == 2


# ---- matching by the rules of RFC 2543 (§17.2.3)

OLD_VIA = f"SIP/2.0/UDP {PEER}:5060"


def test_old_invite_its_retransmission_and_its_ack() -> None:
    bench = Bench()
    bench.receive(arriving("INVITE", via=OLD_VIA))
    bench.receive(arriving("INVITE", via=OLD_VIA))
    assert bench.told() == ["request INVITE"]
    bench.answer(486, to_tag="ours")
    bench.sent()
    bench.receive(arriving("ACK", via=OLD_VIA, to_tag="ours"))
    assert bench.told() == []
    assert bench.run(100) == []
    assert bench.is_empty()
    assert bench.endpoint.counters.named == {}


def test_old_ack_with_another_to_tag_is_for_another_answer() -> None:
    bench = Bench()
    bench.receive(arriving("INVITE", via=OLD_VIA))
    bench.told()
    bench.answer(486, to_tag="ours")
    bench.sent()
    bench.receive(arriving("ACK", via=OLD_VIA, to_tag="theirs"))
    assert bench.told() == ["ACK"]
    assert bench.run(1)[0] == (0.5, "486")


@pytest.mark.parametrize("branch", ["", ";branch=1", ";branch=z9hG4bK"])
def test_without_a_branch_that_identifies_the_old_rules_hold(branch: str) -> None:
    """A bare cookie is RFC 4475 §3.2.1."""
    bench = Bench()
    via = OLD_VIA + branch
    bench.receive(arriving("OPTIONS", via=via))
    bench.receive(arriving("OPTIONS", via=via))
    assert bench.told() == ["request OPTIONS"]
    bench.receive(arriving("OPTIONS", via=via, call_id="other"))
    bench.receive(arriving("OPTIONS", via=via, cseq=2))
    bench.receive(arriving("OPTIONS", via=via, from_tag="other"))
    bench.receive(arriving("OPTIONS", via=via, to_tag="other"))
    bench.receive(arriving("INFO", via=via, to_tag="x"))
    assert len(bench.told()) == 5


def test_old_cancel_finds_its_invite() -> None:
    bench = Bench()
    bench.receive(arriving("INVITE", via=OLD_VIA))
    bench.receive(arriving("CANCEL", via=OLD_VIA))
    assert bench.told() == ["request INVITE", "cancel"]


# ---- merged requests (§8.2.2.2)


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "MESSAGE"])
def test_the_same_request_by_another_way_is_refused(method: str) -> None:
    bench = Bench()
    bench.receive(arriving(method, "z9hG4bK-1"))
    bench.receive(arriving(method, "z9hG4bK-2"))
    assert (bench.told(), bench.sent()) == ([f"request {method}"], ["482"])
    assert bench.endpoint.transactions == 1
    assert bench.endpoint.counters.stateless == {482: 1}
    bench.receive(arriving("ACK", "z9hG4bK-2", to_tag=parse(bench.last).to_tag))
    assert bench.told() == []


@pytest.mark.parametrize(
    "other",
    [
        arriving("INVITE", "z9hG4bK-2", call_id="other"),
        arriving("INVITE", "z9hG4bK-2", from_tag="other"),
        arriving("INVITE", "z9hG4bK-2", cseq=2),
        arriving("INVITE", "z9hG4bK-2", to_tag="in-a-dialog"),
        arriving("MESSAGE", "z9hG4bK-2"),
    ],
)
def test_requests_that_are_not_merged(other: bytes) -> None:
    bench = Bench()
    bench.receive(arriving("INVITE", "z9hG4bK-1"))
    bench.receive(other)
    assert len(bench.told()) == 2


def test_merging_lasts_while_the_first_is_answered_2xx_and_lingers() -> None:
    bench = Bench()
    bench.receive(arriving("INVITE", "z9hG4bK-1"))
    bench.answer(200)
    bench.run(31)
    bench.sent()
    bench.receive(arriving("INVITE", "z9hG4bK-2"))
    assert bench.sent() == ["482"]
    bench.run(33)
    bench.told()
    bench.receive(arriving("INVITE", "z9hG4bK-3"))
    assert bench.told() == ["request INVITE"]


@pytest.mark.parametrize("status", [302, 401, 407, 486])
def test_a_proxy_that_hunts_may_come_again_after_a_refusal(status: int) -> None:
    """The same Call-ID and CSeq with a new branch: a serial fork, or digest done by sloppy clients."""
    bench = Bench()
    bench.receive(arriving("INVITE", "z9hG4bK-1"))
    bench.answer(status)
    bench.told()
    bench.sent()
    bench.receive(arriving("INVITE", "z9hG4bK-2"))
    assert (bench.told(), bench.sent()) == (["request INVITE"], [])
    bench.answer(486)
    bench.run(100)
    assert bench.is_empty()


# ---- ACK


def test_ack_that_matches_nothing_is_passed_up() -> None:
    bench = Bench()
    bench.receive(arriving("ACK", to_tag="bob"))
    assert bench.told() == ["ACK"]


def test_ack_of_a_stateless_refusal_is_absorbed() -> None:
    bench = Bench()
    bench.receive(arriving("ACK", to_tag=STATELESS_TAG + "abc"))
    assert bench.told() == []
    assert bench.endpoint.counters.absorbed == {"ACK": 1}


# ---- malformed input (§16.3, §18.3)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (arriving("INVITE").replace(b"CSeq: 1 INVITE", b"CSeq: x INVITE"), 400),
        (arriving("INVITE").replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"), 400),
        (arriving("INVITE").replace(b"SIP/2.0\r\n", b"SIP/3.0\r\n", 1), 505),
        (arriving("OPTIONS").replace(b"Max-Forwards: 70", b"Max-Forwards: 700"), 400),
    ],
)
def test_malformed_request_is_refused_without_state_always_with_the_same_words(
    data: bytes, status: int
) -> None:
    bench = Bench()
    bench.receive(data)
    first = bench.endpoint.out[0]
    bench.receive(data)
    assert bench.endpoint.out == [first, first]
    assert bench.sent() == [str(status)] * 2
    assert f";tag={STATELESS_TAG}".encode() in bench.last
    assert bench.is_empty()
    assert bench.told() == []
    assert bench.endpoint.counters.parse_errors == {status: 2}


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"\x80\xff\xfe",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"INVITE sip:x SIP/2.0\r\n\r\n",
        b"SIP/2.0 200 OK\r\nCSeq: nonsense\r\n\r\n",
        arriving("ACK").replace(b"CSeq: 1 ACK", b"CSeq: x ACK"),
    ],
)
def test_what_cannot_or_must_not_be_answered_is_counted(data: bytes) -> None:
    bench = Bench()
    bench.receive(data)
    assert (bench.sent(), bench.told()) == ([], [])
    assert sum(bench.endpoint.counters.parse_errors.values()) == 1


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\r\n\r\n", "keep-alive"),
        (b"\0\0\0\0", "keep-alive"),
        (b"", "keep-alive"),
        (b"\x00\x01\x00\x00" + b"\x21\x12\xa4\x42" + b"x" * 12, "STUN"),
    ],
)
def test_keep_alives_are_no_errors(data: bytes, name: str) -> None:
    bench = Bench()
    bench.receive(data)
    assert bench.sent() == []
    assert bench.endpoint.counters.dropped == {name: 1}
    assert bench.endpoint.counters.parse_errors == {}


def test_secret_has_the_length_of_a_key() -> None:
    with pytest.raises(ValueError, match="32"):
        Endpoint(SipTimers(), Listeners(), secret=b"x" * 33)


# ---- without transactions


def test_stateless_request_and_response() -> None:
    bench = Bench()
    endpoint = bench.endpoint
    ack = build.request("ACK", "sip:bob@example.org", [("call-id", "c")])
    endpoint.send_stateless_request("z9hG4bK-ack", ack, Flow("udp", PEER, 5060))
    assert endpoint.out[0][0] == Flow("udp", PEER, 5060, f"udp:{LOCAL}:5060")
    assert via_line(endpoint.out[0][1]) == f"Via: SIP/2.0/UDP {LOCAL}:5060;branch=z9hG4bK-ack;rport"
    endpoint.out.clear()
    message = parse(arriving("OPTIONS", via=f"SIP/2.0/UDP {PEER}:5070;branch=z9hG4bK-1"))
    endpoint.send_stateless_response(message, SOURCE, b"SIP/2.0 481 Gone\r\n\r\n")
    assert endpoint.out[0][0] == Flow("udp", PEER, 5070, SOURCE.listener)
    assert endpoint.counters.messages == {("out", "ACK", "udp"): 1, ("out", "4xx", "udp"): 1}
    assert endpoint.transactions == 0


def test_no_listener_of_that_kind() -> None:
    bench = Bench(transports=("udp",))
    six = Flow("udp", "2001:db8::1", 5060)
    bench.endpoint.send_request("z9hG4bK-c", "OPTIONS", arriving("OPTIONS"), six, 0.0)
    assert bench.told() == ["failed OPTIONS transport"]
    bench.endpoint.send_stateless_request("z9hG4bK-c", arriving("ACK"), six)
    assert bench.endpoint.out == []
    assert bench.endpoint.counters.named == {"no listener for request": 1}
    assert bench.is_empty()


def test_listener_that_a_restart_renamed() -> None:
    bench = Bench()
    bench.flow = Flow("udp", PEER, 5060, "udp:192.0.2.1:5999")
    bench.send("OPTIONS")
    assert bench.sent() == ["OPTIONS"]
    assert bench.last_flow.listener == f"udp:{LOCAL}:5060"


def test_ipv6_listener_recognises_its_responses() -> None:
    bench = Bench()
    bench.endpoint.listeners.add(Listener("udp:[::]:5060", "udp", "::", 5060, "2001:DB8::1"))
    bench.flow = Flow("udp", "2001:db8::9", 5060)
    bench.send("OPTIONS")
    assert bench.sent() == ["OPTIONS"]
    assert b"[2001:DB8::1]:5060;branch" in bench.last
    bench.receive(response_to(bench.last, 200))
    assert bench.told() == ["200 OPTIONS"]


# ---- the tap


def test_tap_sees_every_message_with_its_call_id() -> None:
    bench = Bench()
    seen: list[tuple[str, str, str]] = []
    bench.endpoint.tap = lambda direction, flow, data, call_id: seen.append(
        (direction, data.split(b" ")[0].decode(), call_id)
    )
    bench.receive(arriving("OPTIONS", call_id="one"))
    bench.answer(200)
    compact = arriving("OPTIONS", "z9hG4bK-2", call_id="two").replace(b"Call-ID:", b"i :")
    bench.receive(compact)
    bench.answer(404)
    bench.send("BYE", call_id="three")
    bench.run(0.5)
    bench.receive(b"nonsense")
    bench.receive(arriving("OPTIONS", call_id="four").replace(b"CSeq: 1", b"CSeq: x"))
    assert seen == [
        ("in", "OPTIONS", "one"),
        ("out", "SIP/2.0", "one"),
        ("in", "OPTIONS", "two"),
        ("out", "SIP/2.0", "two"),
        ("out", "BYE", "three"),
        ("out", "BYE", "three"),
        ("in", "nonsense", ""),
        ("in", "OPTIONS", "four"),
        ("out", "SIP/2.0", "four"),
    ]


@pytest.mark.rule("LIVE-02")
def test_a_cancel_for_another_node_says_what_that_one_said() -> None:
    """RFC 3261 §17.2.3: the peer knows the INVITE by branch and sent-by; the answer to the CANCEL is ours all the same."""
    bench = Bench()
    cancel = (
        b"CANCEL sip:ana@192.0.2.9 SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:ana@b>\r\nCall-ID: c\r\n"
        b"CSeq: 1 CANCEL\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    flow = Flow("udp", PEER, 5060, f"udp:{LOCAL}:5060")
    bench.endpoint.send_request("z9hG4bKdead", "CANCEL", cancel, flow, 0.0, sent_by="198.51.100.7:5060")
    (sent,) = [data for _, data in bench.endpoint.out]
    assert via_line(sent) == "Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKdead;rport"
    bench.endpoint.receive(response_to(sent, 200), flow, 0.1)
    assert not bench.endpoint.counters.dropped, "its answer is ours"
