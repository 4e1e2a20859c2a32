"""TCP on loopback: framing, keep-alive, connecting on demand, reuse, limits, deadlines, slow and broken peers."""

from __future__ import annotations

import asyncio
import functools
import resource
import socket
import struct
import time
from typing import Any

import pytest

from callcontrol.sip.flow import Flow
from callcontrol.transport import StreamBounds
from callcontrol.transport.accepting import address_key
from tests.transport.support import Rig, StreamPeer, connected, on_both_loops, raw_socket, rig, sip, until

TCP = "tcp:127.0.0.1:0"


class Upstream:
    """A TCP server of the other side: remembers its connections and what they bring."""

    def __init__(self) -> None:
        self.peers: list[StreamPeer] = []
        self.data = b""
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Upstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(StreamPeer(reader, writer))
        try:
            while part := await reader.read(65536):
                self.data += part
        except ConnectionError:
            return

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for peer in self.peers:
            await peer.close()
        await self._server.wait_closed()


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# -- receiving ---------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_messages_are_framed_and_answered_on_their_connection() -> None:
    async with rig(TCP) as server, connected(server.port("tcp")) as peer:
        server.echo()
        peer.send(sip(b"one") + sip(b"two"))
        assert await peer.exactly(len(sip(b"one")) * 2) == sip(b"one") + sip(b"two")
        flows = {flow for _, flow in server.endpoint.received}
        assert len(flows) == 1
        (flow,) = flows
        assert (flow.transport, flow.host, flow.port) == ("tcp", "127.0.0.1", peer.port)
        assert flow.listener == server.name("tcp")
        assert flow.conn > 0
        (row,) = server.driver.connections()
        assert (row.id, row.direction, row.phase) == (flow.conn, "in", "open")
        assert (row.messages_in, row.messages_out, row.pending_bytes) == (2, 2, 0)
        assert row.remote == f"127.0.0.1:{peer.port}"
        assert server.driver.connection_totals() == {("tcp", "open"): 1}


@on_both_loops
async def test_a_message_in_single_bytes() -> None:
    async with rig(TCP) as server, connected(server.port("tcp")) as peer:
        for byte in sip(b"slow"):
            peer.send(bytes((byte,)))
            await asyncio.sleep(0)
        await until(lambda: server.endpoint.received)
        assert server.endpoint.messages == [sip(b"slow")]


@on_both_loops
async def test_double_crlf_is_answered_with_one() -> None:
    """RFC 5626 §4.4.1; a single CRLF is no ping."""
    async with rig(TCP) as server, connected(server.port("tcp")) as peer:
        peer.send(b"\r\n\r\n")
        assert await peer.exactly(2) == b"\r\n"
        peer.send(b"\r\n" + sip() + b"\r\n\r\n")
        assert await peer.exactly(2) == b"\r\n"
        assert server.endpoint.messages == [sip()]
        assert server.driver.counters.pings == 2


@on_both_loops
async def test_garbage_ends_the_connection_and_nothing_else() -> None:
    async with rig(TCP) as server, connected(server.port("tcp")) as good:
        server.echo()
        for noise in (b"\x16\x03\x01" + bytes(20_000), b"\xff" * 70_000, b"A" * 70_000):
            async with connected(server.port("tcp")) as bad:
                bad.send(noise)
                await bad.to_end()
        good.send(sip())
        assert await good.exactly(len(sip())) == sip()
        assert server.driver.counters.closed == {"framing": 3}
        assert not [data for data in server.endpoint.messages if data != sip()]


@on_both_loops
async def test_a_request_without_content_length_is_answered_before_the_end() -> None:
    async with rig(TCP) as server, connected(server.port("tcp")) as peer:
        peer.send(sip() + sip().replace(b"Content-Length: 0\r\n", b""))
        answer = await peer.to_end()
        assert answer.startswith(b"SIP/2.0 400 ")
        assert server.endpoint.messages == [sip()]


@on_both_loops
async def test_a_message_that_announces_too_much_is_answered_before_the_end() -> None:
    async with rig(TCP) as server, connected(server.port("tcp")) as peer:
        peer.send(sip().replace(b"Content-Length: 0", b"Content-Length: 99999999"))
        assert (await peer.to_end()).startswith(b"SIP/2.0 513 ")
        assert not server.endpoint.received


@on_both_loops
async def test_the_gate_stops_messages_and_new_connections() -> None:
    class Gate:
        open = True

        def admit(self, host: str, now: float) -> bool:
            return self.open

        def inspect(self, data: bytes, host: str, now: float, *, reliable: bool) -> bool:
            assert reliable
            return b"scanner" not in data

    gate = Gate()
    async with rig(TCP, gate=gate) as server, connected(server.port("tcp")) as peer:
        peer.send(sip().replace(b"OPTIONS", b"scanner"))
        await until(lambda: server.driver.counters.dropped.get("gate") == 1)
        assert not server.endpoint.received
        peer.send(sip())
        await until(lambda: server.endpoint.received)
        gate.open = False
        peer.send(sip())
        await until(lambda: server.driver.counters.dropped.get("gate") == 2)
        other = raw_socket(server.port("tcp"))
        await until(lambda: server.driver.counters.refused == {"gate": 1})
        other.close()
        assert len(server.endpoint.received) == 1


# -- losing ------------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_lost_connection_is_told_with_its_id() -> None:
    async with rig(TCP) as server:
        async with connected(server.port("tcp")) as peer:
            peer.send(sip())
            await until(lambda: server.endpoint.received)
        conn = server.endpoint.received[0][1].conn
        await until(lambda: server.lost)
        assert server.lost == server.endpoint.lost == [conn]
        assert server.driver.connections() == []


@on_both_loops
async def test_a_reset_in_the_middle_of_a_message() -> None:
    async with rig(TCP) as server:
        for _ in range(3):
            sock = raw_socket(server.port("tcp"))
            sock.send(sip() + sip()[:40])
            await until(lambda: server.driver.connections())
            await until(lambda: server.endpoint.received)
            server.endpoint.received.clear()
            reset(sock)
            await until(lambda: not server.driver.connections())
        assert server.driver.counters.closed == {"ECONNRESET": 3}


@on_both_loops
async def test_a_reset_while_we_write() -> None:
    async with rig(TCP) as server:
        sock = raw_socket(server.port("tcp"), 4096)
        sock.send(sip())
        await until(lambda: server.endpoint.received)
        flow = server.endpoint.received[0][1]
        server.send(flow, sip(b"x" * 60_000))
        reset(sock)
        server.send(flow, sip(b"x" * 60_000))
        await until(lambda: server.lost)
        assert server.endpoint.lost == [flow.conn]


@pytest.mark.rule("INC-06", "DEV-05")
@on_both_loops
async def test_hazard_13_a_dead_tcp_binding_fails_in_milliseconds() -> None:
    """A stored flow whose connection is gone fails at once, not after a connect or transaction timeout."""
    async with rig(TCP) as server:
        async with connected(server.port("tcp")) as peer:
            peer.send(sip(method="REGISTER"))
            await until(lambda: server.endpoint.received)
            stored = server.endpoint.received[0][1].dump()
        await until(lambda: server.lost)
        started = time.monotonic()
        server.send(Flow.load(stored), sip(method="INVITE"))
        await until(lambda: server.endpoint.failed)
        assert server.endpoint.failed_at[0] - started < 0.5
        assert server.endpoint.failed == [Flow.load(stored)]
        assert server.driver.counters.dropped == {"no connection": 1}


@on_both_loops
async def test_a_flow_of_another_process_never_reaches_a_stranger() -> None:
    """Ids start at random, and one that exists must also name the same peer."""
    async with rig(TCP) as server, rig(TCP) as other, connected(server.port("tcp")) as peer:
        peer.send(sip())
        await until(lambda: server.endpoint.received)
        flow = server.endpoint.received[0][1]
        async with connected(other.port("tcp")) as stranger:
            stranger.send(sip())
            await until(lambda: other.endpoint.received)
            assert other.endpoint.received[0][1].conn != flow.conn
        server.send(Flow("tcp", flow.host, flow.port + 1, flow.listener, flow.conn), sip())
        await until(lambda: server.endpoint.failed)
        assert server.driver.counters.dropped == {"no connection": 1}


# -- connecting --------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_connection_is_opened_on_demand_and_reused() -> None:
    async with Upstream() as upstream, rig(TCP) as server:
        flow = Flow("tcp", "127.0.0.1", upstream.port)
        for number in range(5):
            server.send(flow, sip(b"%d" % number))
        await until(lambda: upstream.data == b"".join(sip(b"%d" % number) for number in range(5)))
        server.send(flow, sip(b"5"))
        await until(lambda: upstream.data.endswith(sip(b"5")))
        assert len(upstream.peers) == 1
        assert server.driver.counters.connected == {"tcp": 1}
        upstream.peers[0].send(sip(b"answer"))
        await until(lambda: server.endpoint.received)
        data, back = server.endpoint.received[0]
        assert data == sip(b"answer")
        (row,) = server.driver.connections()
        assert back.conn == row.id
        assert (row.direction, back.port, back.listener) == ("out", upstream.port, server.name("tcp"))
        server.send(back, sip(b"over the same"))
        await until(lambda: upstream.data.endswith(sip(b"over the same")))
        assert len(upstream.peers) == 1


@on_both_loops
async def test_a_lost_outgoing_connection_fails_what_waits_and_is_replaced() -> None:
    async with Upstream() as upstream, rig(TCP) as server:
        flow = Flow("tcp", "127.0.0.1", upstream.port)
        server.send(flow, sip())
        await until(lambda: upstream.data)
        await upstream.peers[0].close()
        await until(lambda: server.lost)
        assert flow in server.endpoint.lost_to
        server.send(flow, sip(b"second"))
        await until(lambda: upstream.data.endswith(sip(b"second")))
        assert len(upstream.peers) == 2


@on_both_loops
async def test_a_refused_connection_fails_in_milliseconds() -> None:
    async with rig(TCP) as server:
        flow = Flow("tcp", "127.0.0.1", closed_port())
        started = time.monotonic()
        server.send(flow, sip())
        await until(lambda: server.endpoint.failed)
        assert server.endpoint.failed_at[0] - started < 0.5
        assert server.endpoint.failed == [flow]
        assert server.lost == []  # it was never open: no binding can be on it
        assert "ECONNREFUSED" in server.driver.counters.connect_failed
        await until(lambda: not server.driver.connections())


@on_both_loops
async def test_a_connect_that_is_not_answered_fails_at_the_connect_timeout() -> None:
    """A listening socket whose backlog is full drops SYNs, as a firewall would."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        async with rig(TCP, bounds=StreamBounds(connect_s=0.15)) as server:
            flow = Flow("tcp", "127.0.0.1", port)
            started = time.monotonic()
            server.send(flow, sip())
            await until(lambda: server.endpoint.failed)
            assert 0.1 < server.endpoint.failed_at[0] - started < 2.0
            assert server.driver.counters.connect_failed == {"connect timeout": 1}
        for filler in fillers:
            filler.close()


@on_both_loops
async def test_what_waits_for_a_connection_is_bounded() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        async with rig(TCP, bounds=StreamBounds(connect_s=5.0, queue_bytes=3 * len(sip()))) as server:
            flow = Flow("tcp", "127.0.0.1", deaf.getsockname()[1])
            for _ in range(4):
                server.send(flow, sip())
            await until(lambda: server.endpoint.failed)
            assert server.driver.counters.dropped == {"queue full": 1}
            (row,) = server.driver.connections()
            assert (row.phase, row.pending_bytes) == ("connecting", 3 * len(sip()))
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    ("flow", "reason"),
    [
        (Flow("tcp", "localhost", 5060), "not an address"),
        (Flow("tcp", "127.0.0.1", 70_000), "not an address"),
        (Flow("tcp", "::1", 5060), "no listener"),
        (Flow("tls", "127.0.0.1", 5061), "no listener"),
        (Flow("ws", "127.0.0.1", 80), "no connection"),
        (Flow("tcp", "127.0.0.1", 5060, conn=-5), "unknown target"),
        (Flow("tcp", "127.0.0.1", 5060, conn=5), "no connection"),
    ],
)
@on_both_loops
async def test_flows_that_lead_nowhere_fail_at_once(flow: Flow, reason: str) -> None:
    async with rig(TCP) as server:
        server.send(flow, sip())
        await until(lambda: server.endpoint.failed)
        assert server.endpoint.failed == [flow]
        assert server.driver.counters.dropped == {reason: 1}


@on_both_loops
async def test_ipv6_both_ways() -> None:
    async with rig("tcp:[::1]:0") as server, rig("tcp:[::1]:0") as other:
        other.echo()
        server.send(Flow("tcp", "::1", other.port("tcp")), sip())
        await until(lambda: server.endpoint.received)
        assert server.endpoint.received[0][1].host == "::1"
        assert other.driver.connections()[0].remote.startswith("[::1]:")


# -- limits ------------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_connections_per_address_and_in_total_are_limited() -> None:
    async with rig(TCP, bounds=StreamBounds(per_address=3, connections=100)) as server:
        socks = [raw_socket(server.port("tcp")) for _ in range(5)]
        await until(lambda: server.driver.counters.refused == {"per address": 2})
        assert len(server.driver.connections()) == 3
        for sock in socks:
            sock.close()
        await until(lambda: not server.driver.connections())
        async with connected(server.port("tcp")) as again:
            server.echo()
            again.send(sip())
            assert await again.exactly(len(sip())) == sip()
    async with rig(TCP, bounds=StreamBounds(connections=2)) as server:
        socks = [raw_socket(server.port("tcp")) for _ in range(4)]
        await until(lambda: server.driver.counters.refused == {"connections": 2})
        for sock in socks:
            sock.close()


def test_an_ipv6_site_counts_as_one_address() -> None:
    assert address_key("2001:db8:0:1::5") == address_key("2001:db8:0:1:ffff::9")
    assert address_key("2001:db8:0:1::5") != address_key("2001:db8:0:2::5")
    assert address_key("fe80::1%lo") == address_key("fe80::2")
    assert address_key("192.0.2.1") == "192.0.2.1"


@on_both_loops
async def test_many_connections_come_and_go_and_leave_nothing() -> None:
    async with rig(TCP) as server:
        server.echo()
        socks = [raw_socket(server.port("tcp")) for _ in range(400)]
        for sock in socks:
            sock.send(sip())
        await until(lambda: len(server.endpoint.received) == 400)
        assert len({flow.conn for _, flow in server.endpoint.received}) == 400
        assert server.driver.connection_totals() == {("tcp", "open"): 400}
        for sock in socks:
            await until(functools.partial(_has_bytes, sock))
        for number, sock in enumerate(socks):
            (reset if number % 2 else socket.socket.close)(sock)
        await until(lambda: not server.driver.connections())
        streams = server.driver._streams
        assert len(server.lost) == 400
        assert streams.acceptor.addresses() == 0
        assert (streams.acceptor.opening, streams.acceptor.total) == (0, 0)
        assert not streams._by_peer


def _has_bytes(sock: socket.socket) -> bool:
    try:
        return len(sock.recv(65536, socket.MSG_PEEK)) >= len(sip())
    except BlockingIOError:
        return False


@on_both_loops
async def test_running_out_of_descriptors_pauses_accepting_and_recovers() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with rig(TCP) as server:
        client = socket.socket()
        lowest_free = client.fileno() + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            client.connect(("127.0.0.1", server.port("tcp")))
            await until(lambda: server.driver.counters.refused.get("EMFILE"))
            batches = server.driver.counters.batches
            await asyncio.sleep(0.05)
            assert server.driver.counters.batches - batches < 5  # paused, not spinning
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: server.driver.connections(), "accepting again after the pause")
        client.close()


# -- deadlines ---------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_a_silent_new_connection_is_closed_and_a_slow_loris_too() -> None:
    """Bytes that never complete a message keep nothing open."""
    async with rig(TCP, bounds=StreamBounds(first_message_s=0.2, linger_s=0.05)) as server:
        async with connected(server.port("tcp")) as silent, connected(server.port("tcp")) as loris:
            ended = asyncio.ensure_future(loris.to_end())
            for byte in sip():
                if ended.done():
                    break
                loris.send(bytes((byte,)))
                await asyncio.sleep(0.005)
            assert await ended == b""
            assert await silent.to_end() == b""
        assert server.driver.counters.closed == {"idle": 2}
        assert not server.endpoint.received


@on_both_loops
async def test_keep_alives_hold_a_connection_and_silence_ends_it() -> None:
    async with rig(TCP, bounds=StreamBounds(first_message_s=0.3, idle_s=0.3, linger_s=0.05)) as server:
        async with connected(server.port("tcp")) as peer:
            started = time.monotonic()
            while time.monotonic() - started < 0.7:
                peer.send(b"\r\n\r\n")
                assert await peer.exactly(2) == b"\r\n"
                await asyncio.sleep(0.02)
            assert server.driver.connections()
            assert await peer.to_end() == b""
        assert server.driver.counters.closed == {"idle": 1}


# -- slow readers ------------------------------------------------------------------------------------------------------


def deaf_peer(server: Rig) -> socket.socket:
    sock = raw_socket(server.port("tcp"), 4096)
    sock.send(sip())
    return sock


@on_both_loops
async def test_hazard_25_a_peer_that_stops_reading_never_stalls_others() -> None:
    """It is closed at the bound; meanwhile another connection gets every message at once."""
    bounds = StreamBounds(write_bytes=256 * 1024)
    async with rig(TCP, bounds=bounds) as server, connected(server.port("tcp")) as good:
        deaf = deaf_peer(server)
        good.send(sip())
        await until(lambda: len(server.endpoint.received) == 2)
        flows = {flow.port: flow for _, flow in server.endpoint.received}
        to_deaf, to_good = flows.pop(deaf.getsockname()[1]), flows[good.port]
        big, sent = sip(b"x" * 20_000), 0
        slowest = 0.0
        while to_deaf.conn not in server.lost:
            sent += 1
            assert sent < 2000, "the bound never bit"
            server.send(to_deaf, big)
            started = time.monotonic()
            server.send(to_good, sip(b"hello"))
            assert await good.exactly(len(sip(b"hello"))) == sip(b"hello")
            slowest = max(slowest, time.monotonic() - started)
            for row in server.driver.connections():
                assert row.pending_bytes <= bounds.write_bytes + len(big)
        assert slowest < 1.0
        assert server.driver.counters.closed == {"slow reader": 1}
        assert server.endpoint.lost == [to_deaf.conn]
        deaf.close()


@on_both_loops
async def test_a_peer_that_takes_nothing_for_long_is_closed_below_the_bound() -> None:
    async with rig(TCP, bounds=StreamBounds(stall_s=0.2, write_bytes=1 << 30)) as server:
        deaf = deaf_peer(server)
        await until(lambda: server.endpoint.received)
        flow = server.endpoint.received[0][1]
        while not server.driver.connections()[0].pending_bytes:
            server.send(flow, sip(b"x" * 60_000))
            await asyncio.sleep(0)
        await until(lambda: server.lost)
        assert server.driver.counters.closed == {"stalled": 1}
        deaf.close()


@on_both_loops
async def test_partial_writes_arrive_whole_and_in_order() -> None:
    async with rig(TCP, bounds=StreamBounds(write_bytes=64 << 20)) as server:
        sock = deaf_peer(server)
        await until(lambda: server.endpoint.received)
        flow = server.endpoint.received[0][1]
        expected = b""
        while server.driver.connections()[0].pending_bytes < 300_000:
            message = sip(bytes((len(expected) % 251,)) * 60_000)
            expected += message
            server.send(flow, message)
            await asyncio.sleep(0)
        got = bytearray()

        def read_some() -> bool:
            try:
                got.extend(sock.recv(1 << 20))
            except BlockingIOError:
                return False
            return len(got) >= len(expected)

        await until(read_some)
        assert bytes(got) == expected
        await until(lambda: not server.driver.connections()[0].pending_bytes)
        server.send(flow, sip(b"after"))
        await until(lambda: _has_bytes(sock))
        sock.close()


# -- the driver --------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_stop_writes_what_is_left_and_ends_in_good_order() -> None:
    async with rig(TCP, drain_s=2.0) as server, connected(server.port("tcp")) as peer:
        peer.send(sip())
        await until(lambda: server.endpoint.received)
        flow = server.endpoint.received[0][1]
        for number in range(50):
            server.endpoint.out.append((flow, sip(b"%d" % number)))
        reading = asyncio.ensure_future(peer.to_end())
        await server.driver.stop(2.0)
        assert await reading == b"".join(sip(b"%d" % number) for number in range(50))
        assert server.driver.connections() == []
        assert server.driver.listeners() == []


@on_both_loops
async def test_stop_does_not_wait_for_ever_for_a_deaf_peer() -> None:
    async with rig(TCP, drain_s=0.1, bounds=StreamBounds(write_bytes=64 << 20, linger_s=60)) as server:
        deaf = deaf_peer(server)
        await until(lambda: server.endpoint.received)
        for _ in range(200):
            server.endpoint.out.append((server.endpoint.received[0][1], sip(b"x" * 60_000)))
        started = time.monotonic()
        await server.driver.stop(0.1)
        assert time.monotonic() - started < 5.0
        deaf.close()


@on_both_loops
async def test_close_connection_by_the_operator() -> None:
    async with rig(TCP) as server, connected(server.port("tcp")) as peer:
        peer.send(sip())
        await until(lambda: server.endpoint.received)
        conn = server.endpoint.received[0][1].conn
        assert server.driver.close_connection(conn, "operator")
        assert await peer.to_end() == b""
        assert not server.driver.close_connection(conn + 1, "operator")
        assert server.driver.counters.closed == {"operator": 1}


@on_both_loops
async def test_an_error_of_the_endpoint_ends_only_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug met again on every turn would spin: the connection goes, others live, and the loop is told."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    async with (
        rig(TCP) as server,
        connected(server.port("tcp")) as bad,
        connected(server.port("tcp")) as good,
    ):

        def receive(data: bytes, flow: Flow) -> None:
            if data == sip(b"bug"):
                raise ZeroDivisionError
            server.endpoint.out.append((flow, data))

        server.endpoint.on_receive = receive
        bad.send(sip(b"bug"))
        assert await bad.to_end() == b""
        good.send(sip())
        assert await good.exactly(len(sip())) == sip()
        assert server.driver.counters.closed == {"internal error": 1}
        assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]
