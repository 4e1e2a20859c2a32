"""Connections that come and go, and requests too large for UDP (RFC 3261 §18.1.1, §18.2.2)."""

import pytest

from callcontrol.sip.client_half import AVOID_TCP_FOR, MAX_AVOIDED
from callcontrol.sip.flow import Flow
from tests.support.exchanges import LOCAL, PEER, Bench, arriving, request_data, response_to

BIG = b"v=0\r\n" + b"a=x\r\n" * 400
UDP = Flow("udp", PEER, 5060, f"udp:{LOCAL}:5060")
TCP = Flow("tcp", PEER, 5060, f"tcp:{LOCAL}:5060")


# ---- connection lost: client transactions


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
@pytest.mark.parametrize("before", [(), (100,)])
def test_requests_waiting_on_a_lost_connection_fail(method: str, before: tuple[int, ...]) -> None:
    bench = Bench("tcp")
    bench.send(method, owner="owner")
    bench.sent()
    for status in before:
        bench.receive(response_to(bench.last, status))
    bench.told()
    bench.endpoint.connection_lost(8, 0.0)
    assert bench.told() == []
    bench.endpoint.connection_lost(7, 0.0)
    assert bench.told() == [f"failed {method} transport"]
    bench.run(100)
    assert bench.is_empty()


def test_all_requests_on_the_connection_fail_and_no_others() -> None:
    bench = Bench("wss")
    bench.send("INVITE", branch="z9hG4bK-1")
    bench.send("OPTIONS", branch="z9hG4bK-2")
    bench.flow = Flow("wss", PEER, 5060, bench.flow.listener, 8)
    bench.send("OPTIONS", branch="z9hG4bK-3")
    bench.endpoint.connection_lost(7, 0.0)
    assert bench.told() == ["failed INVITE transport", "failed OPTIONS transport"]
    assert bench.endpoint.transactions == 1


def test_requests_sent_to_the_peer_of_a_lost_connection_fail_if_the_peer_is_named() -> None:
    bench = Bench()
    bench.flow = TCP
    bench.send("INVITE")
    bench.endpoint.connection_lost(99, 0.0)
    assert bench.told() == []
    bench.endpoint.connection_lost(99, 0.0, Flow("tcp", PEER, 5060, "", 99))
    assert bench.told() == ["failed INVITE transport"]


def test_udp_failure_does_not_touch_what_only_rings() -> None:
    """Nothing is being sent while it rings: the datagram that failed was another request's."""
    bench = Bench()
    bench.send("INVITE", branch="z9hG4bK-1")
    bench.sent()
    bench.receive(response_to(bench.last, 180))
    bench.told()
    bench.send("OPTIONS", branch="z9hG4bK-2")
    bench.endpoint.send_failed(UDP, 0.0)
    assert bench.told() == ["failed OPTIONS transport"]


def test_a_new_request_may_be_sent_from_the_event_of_a_failure() -> None:
    bench = Bench("tcp")
    bench.send("INVITE", branch="z9hG4bK-1")
    bench.endpoint.connection_lost(7, 0.0)
    bench.send("INVITE", branch="z9hG4bK-2")
    bench.told()
    bench.endpoint.connection_lost(7, 0.0)
    assert bench.told() == ["failed INVITE transport"]


def test_failure_of_what_nobody_waits_for_is_counted() -> None:
    bench = Bench()
    bench.endpoint.send_failed(UDP, 0.0)
    bench.endpoint.connection_lost(3, 0.0)
    assert bench.endpoint.counters.named == {"undeliverable": 1}


# ---- connection lost: server transactions


@pytest.mark.parametrize(
    ("transport", "sent_by", "port"),
    [("tcp", "10.9.9.9:5070", 5070), ("tcp", "10.9.9.9", 5060), ("tls", "10.9.9.9", 5061)],
)
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_response_goes_over_a_new_connection_to_received_and_the_port_of_sent_by(
    transport: str, sent_by: str, port: int, method: str
) -> None:
    bench = Bench(transport)
    bench.receive(arriving(method, sent_by=sent_by, transport=transport.upper()))
    bench.endpoint.connection_lost(7, 0.0)
    assert bench.answer(200)
    assert bench.sent() == ["200"]
    assert bench.last_flow == Flow(transport, PEER, port, bench.flow.listener)
    bench.run(100)
    assert bench.is_empty()


def test_a_browser_cannot_be_called_back() -> None:
    bench = Bench("wss")
    bench.receive(arriving("INVITE", sent_by="x.invalid", transport="WSS"))
    bench.endpoint.connection_lost(7, 0.0)
    bench.answer(486)
    bench.sent()
    assert bench.last_flow == bench.flow  # bound to the dead connection: the driver reports it
    bench.endpoint.send_failed(bench.last_flow, 0.0)
    bench.run(100)
    assert bench.is_empty()
    assert bench.endpoint.counters.named == {"undeliverable": 1, "INVITE without ACK": 1}


def test_finished_transactions_leave_the_table_of_their_connection() -> None:
    bench = Bench("tcp")
    for index in range(3):
        bench.receive(arriving("OPTIONS", f"z9hG4bK-{index}", cseq=index))
        bench.answer(200)
    assert bench.endpoint._serving == {}


# ---- too large for UDP


def send_big(bench: Bench, keep_flow: bool = False, branch: str = "z9hG4bK-big") -> bytes:
    data = request_data("INVITE", body=BIG)
    bench.endpoint.send_request(branch, "INVITE", data, UDP, bench.now, "call", keep_flow)
    assert bench.sent() == ["INVITE"]
    return bench.last


def test_oversize_goes_by_tcp_with_a_via_of_tcp() -> None:
    bench = Bench()
    sent = send_big(bench)
    assert bench.last_flow == TCP
    assert f"Via: SIP/2.0/TCP {LOCAL}:5060;branch=z9hG4bK-big;rport\r\n".encode() in sent
    assert bench.run(31) == []  # a stream: nothing is sent again
    bench.receive(response_to(sent, 200), Flow("tcp", PEER, 5060, TCP.listener, 5))
    assert bench.told() == ["200 INVITE"]
    assert bench.endpoint.counters.named == {"oversize to TCP": 1}


@pytest.mark.parametrize("size", [1299, 1300, 1301])
def test_the_border_is_1300_bytes_on_the_wire(size: int) -> None:
    bench = Bench()
    data = request_data("MESSAGE", body=b"x")
    via = f"Via: SIP/2.0/UDP {LOCAL}:5060;branch=z9hG4bK-b;rport\r\n"
    pad = size - len(data) - len(via) - 3  # Content-Length gains three digits
    data = request_data("MESSAGE", body=b"x" * (1 + pad))
    bench.endpoint.send_request("z9hG4bK-b", "MESSAGE", data, UDP, 0.0)
    assert len(bench.endpoint.out[0][1]) == size
    assert bench.endpoint.out[0][0].transport == ("tcp" if size > 1300 else "udp")


def test_a_registered_flow_is_never_left() -> None:
    bench = Bench()
    send_big(bench, keep_flow=True)
    assert bench.last_flow == UDP
    assert bench.endpoint.counters.named == {}


def test_no_tcp_listener() -> None:
    bench = Bench(transports=("udp",))
    send_big(bench)
    assert bench.last_flow == UDP
    assert bench.endpoint.counters.named == {"oversize without TCP": 1}


@pytest.mark.parametrize("how", ["send_failed", "connection_lost"])
def test_no_tcp_at_the_peer_falls_back_to_udp(how: str) -> None:
    bench = Bench()
    sent = send_big(bench)
    bench.now = 0.3
    if how == "send_failed":
        bench.endpoint.send_failed(bench.last_flow, 0.3)
    else:
        bench.endpoint.connection_lost(5, 0.3, Flow("tcp", PEER, 5060, "", 5))
    assert (bench.sent(), bench.told()) == (["INVITE"], [])
    assert bench.last_flow == UDP
    assert bench.last == sent.replace(b"SIP/2.0/TCP", b"SIP/2.0/UDP", 1)
    assert bench.run(2.0) == [(0.8, "INVITE"), (1.8, "INVITE")]
    bench.receive(response_to(bench.last, 486))
    assert (bench.told(), bench.sent()) == (["486 INVITE"], ["ACK"])
    assert b"SIP/2.0/UDP" in bench.last
    bench.run(100)
    assert bench.is_empty()
    assert bench.endpoint.counters.named == {"oversize to TCP": 1, "oversize back to UDP": 1}


def test_a_second_failure_is_a_failure() -> None:
    bench = Bench()
    send_big(bench)
    bench.endpoint.send_failed(TCP, 0.0)
    bench.endpoint.send_failed(UDP, 0.0)
    assert bench.told() == ["failed INVITE transport"]


def test_once_answered_over_tcp_there_is_no_way_back() -> None:
    bench = Bench()
    sent = send_big(bench)
    bench.receive(response_to(sent, 100), Flow("tcp", PEER, 5060, TCP.listener, 5))
    bench.told()
    bench.endpoint.connection_lost(5, 0.0, Flow("tcp", PEER, 5060, "", 5))
    assert bench.told() == ["failed INVITE transport"]


def test_a_peer_without_tcp_is_remembered_for_a_while() -> None:
    bench = Bench()
    send_big(bench, branch="z9hG4bK-1")
    bench.endpoint.send_failed(TCP, 0.0)
    bench.sent()
    bench.now = AVOID_TCP_FOR - 1
    send_big(bench, branch="z9hG4bK-2")
    assert bench.last_flow == UDP
    bench.now = AVOID_TCP_FOR + 1
    send_big(bench, branch="z9hG4bK-3")
    assert bench.last_flow == TCP


def test_what_is_remembered_is_bounded() -> None:
    bench = Bench()
    data = request_data("INVITE", body=BIG)
    for index in range(MAX_AVOIDED + 10):
        host = f"10.0.{index >> 8}.{index & 255}"
        bench.endpoint.send_request(f"z9hG4bK-{index}", "INVITE", data, Flow("udp", host, 5060), 0.0)
        bench.endpoint.send_failed(Flow("tcp", host, 5060), 0.0)
    assert 0 < len(bench.endpoint._avoid_tcp) <= MAX_AVOIDED


@pytest.mark.parametrize("keep_flow", [False, True])
def test_what_no_datagram_can_hold_fails_alone(keep_flow: bool) -> None:
    bench = Bench()
    bench.send("OPTIONS")
    data = request_data("MESSAGE", body=b"x" * 65_400)
    bench.endpoint.send_request("z9hG4bK-huge", "MESSAGE", data, UDP, 0.0, "call", keep_flow)
    if not keep_flow:
        assert bench.sent() == ["OPTIONS", "MESSAGE"]
        bench.endpoint.send_failed(TCP, 0.0)
    assert bench.told() == ["failed MESSAGE transport"]
    assert bench.endpoint.transactions == 1
    assert bench.endpoint.counters.named["too large for UDP"] == 1
    bench.run(100)
    assert bench.is_empty()


def test_cancel_follows_its_invite_to_tcp() -> None:
    bench = Bench()
    sent = send_big(bench)
    bench.receive(response_to(sent, 180), Flow("tcp", PEER, 5060, TCP.listener, 5))
    bench.endpoint.send_request("z9hG4bK-big", "CANCEL", request_data("CANCEL"), UDP, 0.0)
    assert bench.sent() == ["CANCEL"]
    assert bench.last_flow == TCP
    assert b"SIP/2.0/TCP" in bench.last
