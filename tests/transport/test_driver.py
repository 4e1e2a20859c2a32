"""The driver's turns, timer, start and stop; listen entries; and the real endpoint behind it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from typing import Any

import pytest

from callcontrol.sip.build import request, response
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.events import RequestReceived, ResponseReceived, TransactionFailed
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.sip.timers import SipTimers
from callcontrol.transport import Driver, LagMeter, OpenGate, loop_factory, parse_listen, run
from callcontrol.transport.driver import ROUNDS, TICK_S
from callcontrol.transport.listening import make_listener, primary_address
from callcontrol.transport.poller import READ, Poller
from tests.transport.support import (
    FakeEndpoint,
    RealClock,
    UdpPeer,
    connected,
    on_both_loops,
    rig,
    sip,
    until,
)

UDP = "udp:127.0.0.1:0"


# -- turns -------------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_all_sockets_that_are_ready_share_one_turn() -> None:
    async with (
        rig(UDP, UDP, "tcp:127.0.0.1:0") as server,
        UdpPeer() as peer,
        connected(server.port("tcp")) as stream,
    ):
        await until(lambda: server.driver.connections())
        before = server.turns
        for listener in server.driver.listeners():
            if listener.transport == "udp":
                peer.send(sip(), listener.port)
        stream.writer.get_extra_info("socket")  # written below without giving the loop a chance in between
        stream.send(sip())
        await until(lambda: len(server.endpoint.received) == 3)
        assert server.turns - before == 1


@on_both_loops
async def test_a_kick_is_one_turn_however_often_it_is_asked_for() -> None:
    async with rig(UDP) as server:
        before = server.turns
        for _ in range(10):
            server.driver.kick()
        await until(lambda: server.turns > before)
        await asyncio.sleep(0)
        assert server.turns == before + 1


@on_both_loops
async def test_a_turn_at_once_is_over_when_it_returns() -> None:
    async with rig(UDP) as server, UdpPeer() as peer:
        server.endpoint.out.append((Flow("udp", "127.0.0.1", peer.port), sip()))
        before = server.turns
        server.driver.turn_now()
        assert server.turns == before + 1
        assert server.endpoint.out == []
        assert await peer.receive() == sip()


@on_both_loops
async def test_within_a_turn_the_next_one_is_asked_for() -> None:
    async with rig(UDP) as server:
        depth = [0]

        def turn() -> None:
            depth.append(depth[-1] + 1)
            if len(depth) == 2:
                server.driver.turn_now()
                assert depth == [0, 1]

        server.driver._turn = turn
        server.driver.turn_now()
        assert len(depth) == 2
        await until(lambda: len(depth) == 3)


@on_both_loops
async def test_whoever_brought_a_turn_about_is_not_told_of_its_bugs() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    async with rig(UDP) as server, UdpPeer() as peer:

        def turn() -> None:
            server.driver._turn = lambda: None
            raise ZeroDivisionError

        server.driver._turn = turn
        server.endpoint.out.append((Flow("udp", "127.0.0.1", peer.port), sip()))
        server.driver.turn_now()
        assert await peer.receive() == sip()
        assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]
    server.driver.turn_now()  # after the end: nothing happens


@on_both_loops
async def test_what_fails_while_writing_earns_another_round() -> None:
    """The transaction users hear of the failure in the same turn, and what they send then goes out in it."""
    async with rig(UDP) as server, UdpPeer() as peer:
        bad = Flow("udp", "127.0.0.1", 70_000)
        good = Flow("udp", "127.0.0.1", peer.port)
        endpoint = server.endpoint
        turns: list[int] = []

        def turn() -> None:
            turns.append(len(endpoint.failed))
            if len(endpoint.failed) == 1 and not endpoint.out:
                endpoint.out.append((good, sip()))

        server.driver._turn = turn
        server.send(bad, sip())
        assert await peer.receive() == sip()
        assert turns[:2] == [0, 1]


@on_both_loops
async def test_failures_without_end_do_not_hold_the_loop() -> None:
    async with rig(UDP) as server:
        endpoint = server.endpoint
        bad = Flow("udp", "127.0.0.1", 70_000)
        going = True

        def turn() -> None:
            if going:
                endpoint.out.append((bad, sip()))

        server.driver._turn = turn
        server.driver.kick()
        await until(lambda: len(endpoint.failed) > 3 * ROUNDS)  # and this test still gets to run
        going = False


@on_both_loops
async def test_an_error_of_a_transaction_user_does_not_keep_back_the_output() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    async with rig(UDP) as server, UdpPeer() as peer:

        def turn() -> None:
            server.driver._turn = lambda: None
            raise ZeroDivisionError

        server.driver._turn = turn
        server.send(Flow("udp", "127.0.0.1", peer.port), sip())
        assert await peer.receive() == sip()
        assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]
        server.echo()
        peer.send(sip(b"next"), server.port("udp"))
        assert await peer.receive() == sip(b"next")


@on_both_loops
async def test_a_bug_met_while_writing_one_message_does_not_take_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    async with rig(UDP) as server, UdpPeer() as peer:
        flow = Flow("udp", "127.0.0.1", peer.port)

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(server.driver._streams, "send", fail)
        for data in (b"one", b"two"):
            server.endpoint.out.append((Flow("tcp", "127.0.0.1", 1), b"bug"))
            server.endpoint.out.append((flow, sip(data)))
        server.driver.kick()
        assert await peer.receive() == sip(b"one")
        assert await peer.receive() == sip(b"two")
        assert [type(each["exception"]) for each in reported] == [ZeroDivisionError] * 2


# -- time --------------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_it_ticks_only_while_there_is_something_to_wait_for() -> None:
    async with rig(UDP) as server:
        assert server.driver._timer is None
        server.endpoint.deadline = time.monotonic() + 1000
        server.driver.kick()
        await until(lambda: len(server.endpoint.ticks) >= 5)
        gaps = [b - a for a, b in zip(server.endpoint.ticks, server.endpoint.ticks[1:], strict=False)]
        assert min(gaps) >= TICK_S / 2
        server.endpoint.deadline = None
        await until(lambda: server.driver._timer is None)
        seen = len(server.endpoint.ticks)
        await asyncio.sleep(3 * TICK_S)
        assert len(server.endpoint.ticks) == seen


@on_both_loops
async def test_others_may_ask_for_the_tick() -> None:
    wanted = True
    async with rig(UDP, needs_tick=lambda: wanted) as server:
        turns = server.turns
        await until(lambda: server.turns > turns + 3)
        wanted = False
        await until(lambda: server.driver._timer is None)


@on_both_loops
async def test_a_blocked_loop_shows_in_the_lag() -> None:
    async with rig(UDP) as server:
        server.endpoint.deadline = time.monotonic() + 1000
        server.driver.kick()
        await until(lambda: server.endpoint.ticks)
        time.sleep(0.12)  # noqa: ASYNC251  (blocking the loop is the point)
        await until(lambda: server.driver.lag.maximum_s > 0.08)
        server.endpoint.deadline = None


def test_lag_meter() -> None:
    meter = LagMeter()
    for value in (-0.5, 0.001, 0.0011, 0.3, 9.0):
        meter.observe(value)
    assert meter.count == sum(meter.buckets) == 5
    assert meter.buckets[0] == 2
    assert meter.buckets[1] == 1
    assert meter.buckets[meter.bounds_s.index(0.5)] == 1
    assert meter.buckets[-1] == 1
    assert meter.total_s == pytest.approx(9.3021)
    assert meter.take_maximum() == 9.0
    assert meter.maximum_s == 0.0


# -- start and stop ----------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_taken_port_is_named_and_nothing_stays_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        entry = f"udp:127.0.0.1:{taken.getsockname()[1]}"
        endpoint = FakeEndpoint()
        driver = Driver(endpoint, RealClock(), lambda: None, OpenGate())
        with pytest.raises(OSError, match=f"cannot listen on {entry}: ") as refused:
            await driver.start([UDP, "tcp:127.0.0.1:0", entry])
        assert refused.value.errno == errno.EADDRINUSE
        assert endpoint.listeners.all() == []
    assert len(os.listdir("/proc/self/fd")) == before


@on_both_loops
async def test_stop_closes_everything_and_may_be_called_twice() -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with rig(UDP, "tcp:127.0.0.1:0") as server:
        await server.driver.stop()
        await server.driver.stop()
        server.driver.kick()  # after the end: nothing happens
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("text", "transport", "host", "port"),
    [
        ("udp:127.0.0.1:5060", "udp", "127.0.0.1", 5060),
        ("tls:[::1]:5061", "tls", "::1", 5061),
        ("tcp:[2001:db8::1]:0", "tcp", "2001:db8::1", 0),
        (" wss:0.0.0.0:443 ", "wss", "0.0.0.0", 443),
        ("ws:[::]:80", "ws", "::", 80),
    ],
)
def test_listen_entries(text: str, transport: str, host: str, port: int) -> None:
    assert parse_listen(text) == (transport, host, port)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("127.0.0.1:5060", "the transport must be one of udp, tcp, tls, ws, wss"),
        ("sctp:127.0.0.1:5060", "the transport must be"),
        ("udp:localhost:5060", "is not an IP address"),
        ("udp::5060", "is not an IP address"),
        ("udp:127.0.0.1", "the port is missing"),
        ("udp:127.0.0.1:", "the port is missing"),
        ("udp:127.0.0.1:sip", "is not a port"),
        ("udp:127.0.0.1:65536", "is not a port"),
        ("udp:127.0.0.1:-1", "is not a port"),
        ("udp:::1:5060", "goes in brackets"),
        ("udp:[::1:5060", "brackets do not match"),
        ("udp:[::1]5060", "brackets do not match"),
        ("", "the transport must be"),
    ],
)
def test_bad_listen_entries_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_listen(text)


@pytest.mark.parametrize(
    ("entry", "advertise", "sent_by"),
    [
        ("udp:127.0.0.1:0", "", "127.0.0.1:7"),
        ("udp:127.0.0.1:0", "sip.example.com", "sip.example.com:7"),
        ("udp:127.0.0.1:0", "sip.example.com:5060", "sip.example.com:5060"),
        ("tcp:[::1]:0", "[2001:db8::5]:5060", "[2001:db8::5]:5060"),
        ("tls:127.0.0.1:0", "sip.example.com:5060", "sip.example.com:7"),
        ("udp:0.0.0.0:0", "", f"{primary_address(False)}:7"),
    ],
)
def test_how_a_listener_is_advertised(entry: str, advertise: str, sent_by: str) -> None:
    assert make_listener(parse_listen(entry), 7, advertise).sent_by == sent_by


def test_the_primary_address_is_an_address() -> None:
    socket.inet_pton(socket.AF_INET, primary_address(False))
    socket.inet_pton(socket.AF_INET6, primary_address(True).partition("%")[0])


@on_both_loops
async def test_a_bad_advertised_name_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a port"):
        async with rig(UDP, advertise="sip.example.com:many"):
            pass


def test_run_uses_uvloop_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def kind() -> str:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    assert run(kind()) == "uvloop"
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)
    assert loop_factory() is asyncio.new_event_loop
    assert run(kind()) == "asyncio"


def test_a_socket_closed_inside_a_batch_is_closed_after_it() -> None:
    """Else its descriptor number could name a new connection while events for the old one are still to come."""
    poller = Poller()
    pairs = [socket.socketpair() for _ in range(2)]
    served: list[int] = []

    def handler(index: int) -> Any:
        def on_ready(_events: int) -> None:
            served.append(index)
            for own, _ in pairs:
                poller.close_socket(own)
                assert own.fileno() >= 0

        return on_ready

    for index, (own, other) in enumerate(pairs):
        poller.add(own, READ, handler(index))
        other.send(b"x")
    assert poller.run(10) == 2
    assert len(served) == 1  # the other was no longer wanted when its turn came
    assert [own.fileno() for own, _ in pairs] == [-1, -1]
    for _, other in pairs:
        other.close()
    poller.close()


# -- the real endpoint -------------------------------------------------------------------------------------------------


class Node:
    """The real endpoint and a driver; requests are answered with ``status``."""

    def __init__(self, status: int = 200) -> None:
        self.endpoint = Endpoint(SipTimers(), Listeners())
        self.status = status
        self.events: list[object] = []
        self.driver = Driver(self.endpoint, RealClock(), self.turn, OpenGate())

    def turn(self) -> None:
        events, self.endpoint.events = self.endpoint.events, []
        for event in events:
            self.events.append(event)
            if isinstance(event, RequestReceived):
                answer = response(event.message, self.status, to_tag="node")
                self.endpoint.send_response(event.key, self.status, answer, time.monotonic())

    def call(self, branch: str, flow: Flow, body: bytes = b"") -> None:
        data = request(
            "OPTIONS",
            "sip:bob@example.com",
            [
                ("From", "<sip:alice@example.com>;tag=a"),
                ("To", "<sip:bob@example.com>"),
                ("Call-ID", branch),
                ("CSeq", "1 OPTIONS"),
                ("Max-Forwards", "70"),
            ],
            body,
            "text/plain" if body else "",
        )
        self.endpoint.send_request(branch, "OPTIONS", data, flow, time.monotonic())
        self.driver.kick()

    def outcome(self, branch: str) -> object | None:
        for event in self.events:
            if isinstance(event, ResponseReceived | TransactionFailed) and event.branch == branch:
                return event
        return None


@on_both_loops
async def test_two_real_nodes_over_udp_and_tcp() -> None:
    client, server = Node(), Node()
    listen = [UDP, "tcp:127.0.0.1:0", "udp:[::1]:0"]
    await client.driver.start(listen)
    await server.driver.start(listen)
    try:
        for listener in server.driver.listeners():
            branch = f"z9hG4bK{listener.transport}{listener.port}"
            client.call(branch, Flow(listener.transport, listener.host, listener.port))
            await until(lambda: client.outcome(branch))  # noqa: B023
            outcome = client.outcome(branch)
            assert isinstance(outcome, ResponseReceived)
            assert outcome.message.status == 200
            assert outcome.flow.transport == listener.transport
    finally:
        await client.driver.stop(0.5)
        await server.driver.stop(0.5)


@on_both_loops
async def test_a_dead_peer_fails_the_transaction_at_once_over_udp_and_tcp() -> None:
    node = Node()
    await node.driver.start([UDP, "tcp:127.0.0.1:0"])
    with UdpPeer() as gone:
        port = gone.port
    try:
        for transport in ("udp", "tcp"):
            started = time.monotonic()
            node.call(f"z9hG4bK{transport}", Flow(transport, "127.0.0.1", port))
            await until(lambda: node.outcome(f"z9hG4bK{transport}"))  # noqa: B023
            failed = node.outcome(f"z9hG4bK{transport}")
            assert isinstance(failed, TransactionFailed)
            assert failed.cause == "transport"
            assert time.monotonic() - started < 1.0
    finally:
        await node.driver.stop(0.5)


@on_both_loops
async def test_an_oversize_request_goes_by_tcp_and_comes_back_to_udp_where_there_is_none() -> None:
    """RFC 3261 §18.1.1, both halves, over real sockets."""
    client, both, udp_only = Node(), Node(), Node()
    await client.driver.start([UDP, "tcp:127.0.0.1:0"])
    await udp_only.driver.start([UDP])
    await both.driver.start([UDP])
    udp_port = both.driver.listeners()[0].port
    tcp_too = Node()
    await tcp_too.driver.start([f"tcp:127.0.0.1:{udp_port}"])
    try:
        client.call("z9hG4bKtcp", Flow("udp", "127.0.0.1", udp_port), b"x" * 2000)
        await until(lambda: client.outcome("z9hG4bKtcp"))
        assert [type(event) for event in tcp_too.events] == [RequestReceived]
        assert both.events == []
        only = udp_only.driver.listeners()[0].port
        client.call("z9hG4bKudp", Flow("udp", "127.0.0.1", only), b"x" * 2000)
        await until(lambda: client.outcome("z9hG4bKudp"))
        outcome = client.outcome("z9hG4bKudp")
        assert isinstance(outcome, ResponseReceived)
        assert outcome.flow.transport == "udp"
    finally:
        for node in (client, both, udp_only, tcp_too):
            await node.driver.stop(0.5)


@on_both_loops
async def test_hostile_bytes_never_hurt_the_real_endpoint() -> None:
    node = Node()
    await node.driver.start([UDP, "tcp:127.0.0.1:0"])
    udp, tcp = node.driver.listeners()
    try:
        with UdpPeer() as peer:
            for data in (
                b"",
                b"\0",
                b"\xff" * 3000,
                b"INVITE\r\n\r\n",
                sip()[:50],
                b"SIP/2.0 200 OK\r\n\r\n",
                b"\x80" * 65_000,
            ):
                peer.send(data, udp.port)
            async with connected(tcp.port) as stream:
                stream.send(b"SIP/2.0 banana\r\nContent-Length: 0\r\n\r\n" + b"\xff" * 100_000)
                await stream.to_end()
            peer.send(sip().replace(b"TCP", b"UDP"), udp.port)
            while not (await peer.receive()).startswith(b"SIP/2.0 200 "):
                pass
    finally:
        await node.driver.stop(0.5)
