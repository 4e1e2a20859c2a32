"""INVITE client transaction: every arrow of RFC 3261 figure 5 as amended by RFC 6026 figure 1, and its CANCEL."""

import pytest

from callcontrol.sip.events import TIMEOUT, TRANSPORT, ResponseReceived, TransactionFailed
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import parse
from callcontrol.sip.timers import SipTimers
from tests.support.exchanges import LOCAL, PEER, Bench, request_data, response_to

STREAMS = ("tcp", "tls", "ws", "wss")


def calling(transport: str = "udp", owner: object | None = None) -> Bench:
    bench = Bench(transport)
    bench.send("INVITE", owner=owner)
    assert bench.sent() == ["INVITE"]
    return bench


def invite_of(bench: Bench) -> bytes:
    return bench.last


def answered(bench: Bench, *statuses: int) -> Bench:
    """The peer sends these responses, in order."""
    invite = invite_of(bench)
    for status in statuses:
        bench.receive(response_to(invite, status))
    return bench


# ---- Calling


def test_via_is_put_in_behind_the_start_line() -> None:
    bench = calling()
    lines = bench.last.split(b"\r\n")
    assert lines[0] == b"INVITE sip:bob@example.org SIP/2.0"
    assert lines[1] == f"Via: SIP/2.0/UDP {LOCAL}:5060;branch=z9hG4bK-c;rport".encode()
    assert lines[2].startswith(b"From:")
    assert bench.last_flow == bench.flow


def test_timer_a_doubles_without_bound_and_timer_b_ends_it() -> None:
    bench = calling(owner="call")
    assert bench.run(100) == [
        (0.5, "INVITE"),
        (1.5, "INVITE"),
        (3.5, "INVITE"),
        (7.5, "INVITE"),
        (15.5, "INVITE"),
        (31.5, "INVITE"),
        (32.0, "failed INVITE timeout"),
    ]
    assert bench.is_empty()
    counters = bench.endpoint.counters
    assert counters.retransmissions == {"INVITE": 6}
    assert counters.failed == {("INVITE", TIMEOUT): 1}
    assert counters.messages == {("out", "INVITE", "udp"): 7}


def test_retransmissions_are_byte_for_byte_the_same() -> None:
    bench = calling()
    first = bench.last
    bench.now = 0.5
    bench.endpoint.tick(0.5)
    assert bench.endpoint.out == [(bench.flow, first)]


@pytest.mark.parametrize("transport", STREAMS)
def test_streams_retransmit_nothing_and_keep_timer_b(transport: str) -> None:
    assert calling(transport).run(100) == [(32.0, "failed INVITE timeout")]


def test_failure_names_branch_method_cause_and_owner() -> None:
    bench = calling(owner="call")
    bench.endpoint.tick(32.0)
    event = bench.endpoint.events[0]
    assert isinstance(event, TransactionFailed)
    assert (event.branch, event.method, event.cause, event.owner) == ("z9hG4bK-c", "INVITE", TIMEOUT, "call")


def test_other_t1() -> None:
    bench = Bench(timers=SipTimers(t1=1.0))
    bench.send("INVITE")
    bench.sent()
    assert [when for when, _ in bench.run(100)] == [1, 3, 7, 15, 31, 63, 64]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_transport_error_while_calling(transport: str) -> None:
    bench = calling(transport)
    bench.endpoint.send_failed(bench.flow, bench.now)
    assert bench.told() == ["failed INVITE transport"]
    assert bench.run(100) == []
    assert bench.is_empty()
    assert bench.endpoint.counters.failed == {("INVITE", TRANSPORT): 1}


# ---- 1xx


def test_1xx_stops_timers_a_and_b_and_is_passed_up() -> None:
    bench = answered(calling(owner="call"), 100, 180, 180, 183)
    event = bench.endpoint.events[0]
    assert isinstance(event, ResponseReceived)
    assert (event.branch, event.flow, event.owner, event.message.status) == (
        "z9hG4bK-c",
        bench.flow,
        "call",
        100,
    )
    assert bench.told() == ["100 INVITE", "180 INVITE", "180 INVITE", "183 INVITE"]
    assert bench.run(3600) == []
    assert bench.endpoint.transactions == 1


def test_1xx_from_different_peers_of_a_fork_all_pass() -> None:
    bench = calling()
    invite = invite_of(bench)
    bench.receive(response_to(invite, 180, to_tag="one"))
    bench.receive(response_to(invite, 180, to_tag="two"))
    assert bench.told() == ["180 INVITE", "180 INVITE"]


# ---- 2xx: RFC 6026


@pytest.mark.parametrize("before", [(), (100,), (100, 180)])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_2xx_every_copy_and_fork_is_passed_up_until_timer_m(transport: str, before: tuple[int, ...]) -> None:
    bench = answered(calling(transport), *before)
    invite = invite_of(bench)
    bench.told()
    for tag in ("one", "one", "two"):
        bench.receive(response_to(invite, 200, to_tag=tag))
    assert bench.told() == ["200 INVITE"] * 3
    assert bench.sent() == []  # the ACK of a 2xx is the TU's
    bench.run(31.9)
    bench.receive(response_to(invite, 200, to_tag="one"))
    assert bench.told() == ["200 INVITE"]
    assert bench.run(100) == []
    assert bench.is_empty()
    bench.receive(response_to(invite, 200))
    assert bench.told() == ["stray 200"], "its dialog may be known to the TU"
    assert bench.endpoint.counters.dropped == {}


@pytest.mark.parametrize("status", [100, 180, 486, 603])
def test_accepted_absorbs_all_but_2xx(status: int) -> None:
    bench = answered(calling(), 200)
    invite = invite_of(bench)
    bench.told()
    bench.receive(response_to(invite, status))
    assert (bench.told(), bench.sent()) == ([], [])
    assert bench.endpoint.counters.dropped == {"response after final": 1}


def test_transport_error_in_accepted_is_nothing_to_the_transaction() -> None:
    bench = answered(calling("tcp"), 200)
    bench.told()
    bench.endpoint.connection_lost(bench.flow.conn, bench.now)
    assert bench.told() == []
    assert bench.endpoint.transactions == 1


# ---- 300-699


@pytest.mark.parametrize("status", [301, 404, 486, 503, 603, 699])
@pytest.mark.parametrize("before", [(), (180,)])
def test_refusal_is_passed_up_and_acknowledged_and_timer_d_absorbs(
    status: int, before: tuple[int, ...]
) -> None:
    bench = answered(calling(), *before)
    invite = invite_of(bench)
    bench.told()
    bench.receive(response_to(invite, status))
    assert (bench.told(), bench.sent()) == ([f"{status} INVITE"], ["ACK"])
    ack = bench.last
    for _ in range(3):
        bench.receive(response_to(invite, status))
        assert (bench.told(), bench.sent()) == ([], ["ACK"])
        assert bench.last == ack
    bench.receive(response_to(invite, 200))
    bench.receive(response_to(invite, 180))
    assert (bench.told(), bench.sent()) == ([], [])
    counters = bench.endpoint.counters
    assert counters.absorbed == {"INVITE": 3}
    assert counters.retransmissions == {"ACK": 3}
    assert counters.dropped == {"response after final": 2}
    bench.run(31.9)
    assert bench.endpoint.transactions == 1
    bench.run(32.1)
    assert bench.is_empty()


@pytest.mark.parametrize("transport", STREAMS)
def test_timer_d_is_zero_on_streams(transport: str) -> None:
    bench = answered(calling(transport), 486)
    assert (bench.told(), bench.sent()) == (["486 INVITE"], ["ACK"])
    assert bench.endpoint.transactions == 0


def test_ack_is_made_of_the_invite_and_the_to_of_the_response() -> None:
    bench = Bench()
    invite = request_data(
        "INVITE",
        "sip:bob@198.51.100.7:5062;x=y",
        cseq=4711,
        extra=[
            ("route", "<sip:one.example;lr>, <sip:two.example;lr>"),
            ("route", "<sip:three.example;lr>"),
            ("contact", "<sip:alice@192.0.2.1>"),
            ("proxy-authorization", 'Digest username="alice"'),
            ("require", "100rel"),
        ],
        body=b"v=0\r\nCSeq: 1 in the body\r\n",
    )
    bench.endpoint.send_request("z9hG4bK-c", "INVITE", invite, bench.flow, 0.0)
    bench.sent()
    sent = bench.last
    bench.receive(response_to(sent, 180))
    bench.receive(response_to(sent, 407, to_tag="chosen"))
    assert bench.sent() == ["ACK"]
    assert bench.last.decode().split("\r\n") == [
        "ACK sip:bob@198.51.100.7:5062;x=y SIP/2.0",
        f"Via: SIP/2.0/UDP {LOCAL}:5060;branch=z9hG4bK-c;rport",
        "Max-Forwards: 70",
        "From: <sip:alice@example.org>;tag=alice",
        "Call-ID: call-1",
        "CSeq: 4711 ACK",
        "Route: <sip:one.example;lr>, <sip:two.example;lr>",
        "Route: <sip:three.example;lr>",
        "To: <sip:bob@example.org>;tag=chosen",
        "Content-Length: 0",
        "",
        "",
    ]
    assert bench.last_flow == bench.flow
    parse(bench.last)


def test_transport_error_after_the_refusal_changes_nothing() -> None:
    bench = answered(calling(), 486)
    bench.told()
    bench.endpoint.send_failed(bench.flow, bench.now)
    assert bench.told() == []
    assert bench.endpoint.counters.named == {"undeliverable": 1}


# ---- CANCEL (§9.1)


def test_cancel_before_any_response_is_held_back_until_the_first_1xx() -> None:
    bench = calling()
    invite = invite_of(bench)
    bench.send("CANCEL")
    assert bench.sent() == []
    assert bench.run(3.0) == [(0.5, "INVITE"), (1.5, "INVITE")]
    bench.receive(response_to(invite, 100))
    assert (bench.told(), bench.sent()) == (["100 INVITE"], ["CANCEL"])
    assert bench.last.split(b"\r\n")[1] == invite.split(b"\r\n")[1]  # the same Via (§9.1)
    cancel = bench.last
    bench.receive(response_to(cancel, 200))
    bench.receive(response_to(invite, 487))
    assert (bench.told(), bench.sent()) == (["200 CANCEL", "487 INVITE"], ["ACK"])
    assert bench.run(100) == []
    assert bench.is_empty()
    assert bench.endpoint.counters.named == {"CANCEL held back": 1}


@pytest.mark.parametrize("final", [200, 486])
def test_held_cancel_is_dropped_when_the_first_response_is_final(final: int) -> None:
    bench = calling()
    bench.send("CANCEL")
    answered(bench, final)
    assert bench.told() == [f"{final} INVITE"]
    assert "CANCEL" not in bench.sent()
    assert bench.endpoint.counters.named["CANCEL not sent"] == 1
    bench.run(100)
    assert bench.is_empty()


@pytest.mark.parametrize("cause", [TIMEOUT, TRANSPORT])
def test_held_cancel_dies_with_its_invite(cause: str) -> None:
    bench = calling()
    bench.send("CANCEL")
    if cause == TRANSPORT:
        bench.endpoint.send_failed(bench.flow, bench.now)
        assert bench.told() == ["failed INVITE transport"]
    else:
        assert bench.run(100)[-1] == (32.0, "failed INVITE timeout")
    bench.run(100)
    assert bench.is_empty()
    assert bench.endpoint.counters.named["CANCEL not sent"] == 1


def test_cancel_while_it_rings_goes_at_once_and_repeats_like_any_request() -> None:
    bench = answered(calling(), 180)
    bench.told()
    bench.send("CANCEL")
    assert bench.sent() == ["CANCEL"]
    assert [when for when, what in bench.run(8.0) if what == "CANCEL"] == [0.5, 1.5, 3.5, 7.5]


@pytest.mark.parametrize("final", [200, 486])
def test_cancel_after_a_final_is_not_sent(final: int) -> None:
    bench = answered(calling(), 180, final)
    bench.sent()
    bench.send("CANCEL")
    assert bench.sent() == []
    assert bench.endpoint.counters.named == {"CANCEL not sent": 1}


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_cancelled_invite_without_final_ends_after_64_t1(transport: str) -> None:
    """Hazard 5 of the field: the 487 never comes.  One timeout, and nothing is sent anywhere else."""
    bench = answered(calling(transport, owner="call"), 180)
    bench.told()
    bench.run(10.0)
    bench.send("CANCEL")
    cancel = bench.endpoint.out[-1][1]
    bench.sent()
    bench.receive(response_to(cancel, 200))
    bench.receive(response_to(invite_of(bench), 180))  # a late 1xx does not prolong it
    bench.told()
    assert bench.run(200) == [(42.0, "failed INVITE timeout")]
    assert bench.is_empty()
    assert bench.endpoint.counters.named == {"cancelled INVITE without final": 1}


def test_cancelled_invite_may_still_be_answered() -> None:
    bench = answered(calling(), 180)
    invite = invite_of(bench)
    bench.send("CANCEL")
    bench.receive(response_to(invite, 200))
    assert bench.told()[-1] == "200 INVITE"


def test_unanswered_cancel_fails_by_itself() -> None:
    bench = answered(calling(), 180)
    invite = invite_of(bench)
    bench.send("CANCEL")
    bench.receive(response_to(invite, 487))
    bench.told()
    bench.sent()
    assert bench.run(100)[-1] == (32.0, "failed CANCEL timeout")
    assert bench.is_empty()


def test_cancel_of_an_invite_sent_by_another_node_goes_out_as_it_is() -> None:
    """After a takeover the branch is known and the transaction is not (§9.1 wants the Via to be the same)."""
    bench = Bench()
    bench.send("CANCEL", branch="z9hG4bK-saved")
    assert bench.sent() == ["CANCEL"]
    assert b";branch=z9hG4bK-saved;rport" in bench.last


# ---- what belongs to nobody


def test_the_same_request_again_is_one_request() -> None:
    bench = calling()
    bench.send("INVITE")
    bench.send("CANCEL")
    bench.send("CANCEL")
    assert bench.sent() == []
    assert bench.endpoint.counters.named == {"request repeated by TU": 2, "CANCEL held back": 1}


def test_response_with_another_sent_by_is_not_ours() -> None:
    bench = calling()
    foreign = response_to(invite_of(bench), 200).replace(LOCAL.encode(), b"192.0.2.99")
    bench.receive(foreign)
    assert bench.told() == []
    assert bench.endpoint.counters.dropped == {"response not ours": 1}


def test_response_with_another_method_or_branch_matches_nothing() -> None:
    bench = calling()
    data = response_to(invite_of(bench), 200)
    bench.receive(data.replace(b"CSeq: 1 INVITE", b"CSeq: 1 BYE"))
    bench.receive(data.replace(b"z9hG4bK-c", b"z9hG4bK-d"))
    bench.receive(data.replace(b"CSeq: 1 INVITE", b"CSeq: 1 INVENTED"))
    bench.receive(response_to(invite_of(bench), 486).replace(b"z9hG4bK-c", b"z9hG4bK-d"))
    assert bench.told() == ["stray 200"]
    assert bench.endpoint.counters.dropped == {
        "stray response 2xx BYE": 1,
        "stray response 4xx INVITE": 1,
        "stray response 2xx other": 1,
    }


def test_response_may_come_over_another_flow() -> None:
    bench = calling()
    other = Flow("udp", PEER, 5090, bench.flow.listener)
    bench.receive(response_to(invite_of(bench), 180), other)
    event = bench.endpoint.events[0]
    assert isinstance(event, ResponseReceived)
    assert event.flow == other
