"""UDP on loopback: batches, families, keep-alives, and errors that must fail the right flow and nothing else."""

from __future__ import annotations

import errno
import functools
import socket
import struct
import time

import pytest

from callcontrol.sip.flow import Flow
from callcontrol.transport import OpenGate
from callcontrol.transport.keepalive import MAGIC_COOKIE, stun_answer
from callcontrol.transport.shared import Shared
from callcontrol.transport.udp import BACKLOG, BATCH, SOCKET_BUFFER, UdpSocket
from tests.transport.support import FakeEndpoint, RealClock, UdpPeer, on_both_loops, rig, sip, until


@on_both_loops
async def test_a_datagram_reaches_the_endpoint_and_its_answer_returns_from_the_same_socket() -> None:
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        server.echo()
        peer.send(sip(), server.port("udp"))
        assert await peer.receive() == sip()
        (data, flow), *rest = server.endpoint.received
        assert data == sip()
        assert flow == Flow("udp", "127.0.0.1", peer.port, server.name("udp"))
        assert not rest
        assert server.driver.counters.udp.messages_in == 1
        assert server.driver.counters.udp.messages_out == 1
        assert server.driver.counters.udp.bytes_out == len(sip())


@on_both_loops
async def test_port_zero_is_reported_in_name_and_sent_by() -> None:
    async with rig("udp:127.0.0.1:0", "udp:[::1]:0") as server:
        four, six = server.driver.listeners()
        assert four.port != 0
        assert four.name == f"udp:127.0.0.1:{four.port}"
        assert four.sent_by == f"127.0.0.1:{four.port}"
        assert six.port != 0
        assert six.name == f"udp:[::1]:{six.port}"
        assert six.sent_by == f"[::1]:{six.port}"


@on_both_loops
async def test_ipv6_and_several_listeners_answer_each_from_its_own_socket() -> None:
    async with rig("udp:127.0.0.1:0", "udp:127.0.0.1:0", "udp:[::1]:0") as server:
        server.echo()
        with UdpPeer() as four, UdpPeer(socket.AF_INET6) as six:
            for listener in server.driver.listeners():
                peer = six if ":" in listener.host else four
                peer.send(sip(), listener.port)
                await until(lambda: server.endpoint.received)
                await until(functools.partial(_readable, peer.socket))
                data, sender = peer.socket.recvfrom(65535)
                assert data == sip()
                assert sender[1] == listener.port
                assert server.endpoint.received.pop()[1].listener == listener.name


def _readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_TRUNC))
    except BlockingIOError:
        return False


@on_both_loops
async def test_a_burst_is_taken_in_batches_with_one_turn_each() -> None:
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        before = server.turns
        for number in range(2 * BATCH):
            peer.send(sip(cseq=number), server.port("udp"))
        await until(lambda: len(server.endpoint.received) == 2 * BATCH)
        assert server.turns - before <= 3
        assert server.driver.counters.udp.reads <= 3
        assert server.endpoint.messages == [sip(cseq=number) for number in range(2 * BATCH)]


@on_both_loops
async def test_a_longest_datagram_passes_both_ways() -> None:
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        server.echo()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        longest = sip(b"x" * (65507 - len(sip(b"x" * 10_000)) + 10_000))
        assert len(longest) == 65507
        peer.send(longest, server.port("udp"))
        assert await peer.receive() == longest


@on_both_loops
async def test_what_the_gate_refuses_is_not_parsed() -> None:
    class Closed:
        def admit(self, host: str, now: float) -> bool:
            return False

        def inspect(self, data: bytes, host: str, now: float, *, reliable: bool) -> bool:
            raise AssertionError("what is not admitted is not looked at")

    async with rig("udp:127.0.0.1:0", gate=Closed()) as server, UdpPeer() as peer:
        peer.send(sip(), server.port("udp"))
        await until(lambda: server.driver.counters.dropped.get("gate") == 1)
        assert not server.endpoint.received


@on_both_loops
async def test_nor_is_what_it_recognises_as_a_scanner() -> None:
    class Doorkeeper:
        def admit(self, host: str, now: float) -> bool:
            return True

        def inspect(self, data: bytes, host: str, now: float, *, reliable: bool) -> bool:
            assert not reliable
            return b"scanner" not in data

    async with rig("udp:127.0.0.1:0", gate=Doorkeeper()) as server, UdpPeer() as peer:
        peer.send(sip(method="scanner"), server.port("udp"))
        peer.send(sip(), server.port("udp"))
        await until(lambda: server.endpoint.received)
        assert [data for data, _ in server.endpoint.received] == [sip()]
        assert server.driver.counters.dropped == {"gate": 1}


@on_both_loops
async def test_a_batch_of_huge_datagrams_is_a_small_one() -> None:
    """Others wait for a batch to end; what it costs goes by bytes more than by datagrams."""
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        huge = sip(b"x" * 60_000)
        for _ in range(20):
            peer.send(huge, server.port("udp"))
        await until(lambda: len(server.endpoint.received) == 20)
        assert server.driver.counters.udp.reads >= 7


@on_both_loops
async def test_a_dead_port_fails_its_flow_in_milliseconds_and_only_that_one() -> None:
    """ICMP port unreachable names the destination (RFC 3261 §18.4); the healthy peer is not disturbed."""
    with UdpPeer() as gone:
        dead_port = gone.port
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as healthy:
        dead = Flow("udp", "127.0.0.1", dead_port, server.name("udp"))
        alive = Flow("udp", "127.0.0.1", healthy.port, server.name("udp"))
        started = time.monotonic()
        for _ in range(10):
            server.send(dead, sip())
            server.send(alive, sip())
        await until(lambda: server.endpoint.failed)
        assert server.endpoint.failed_at[0] - started < 1.0
        for _ in range(10):
            assert await healthy.receive() == sip()
        assert set(server.endpoint.failed) == {dead}
        assert server.driver.counters.icmp_errors
        turns = server.turns
        server.send(alive, sip(b"again"))
        assert await healthy.receive() == sip(b"again")
        assert server.turns > turns


@on_both_loops
async def test_the_socket_hears_after_an_error() -> None:
    """uvloop gives up on a descriptor that reports an error; ours must not go deaf."""
    with UdpPeer() as gone:
        dead_port = gone.port
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        server.send(Flow("udp", "127.0.0.1", dead_port, server.name("udp")), sip())
        await until(lambda: server.endpoint.failed)
        server.echo()
        peer.send(sip(), server.port("udp"))
        assert await peer.receive() == sip()


@on_both_loops
async def test_ipv6_dead_port() -> None:
    with UdpPeer(socket.AF_INET6) as gone:
        dead_port = gone.port
    async with rig("udp:[::1]:0") as server:
        dead = Flow("udp", "::1", dead_port, server.name("udp"))
        server.send(dead, sip())
        await until(lambda: server.endpoint.failed)
        assert server.endpoint.failed[0] == dead


@pytest.mark.parametrize(
    ("host", "port", "size", "reason"),
    [
        ("127.0.0.1", 9, 70_000, "EMSGSIZE"),
        ("127.0.0.1", 70_000, 10, "not an address"),
        ("localhost", 9, 10, "not an address"),
        ("example.com", 9, 10, "not an address"),
        ("::1", 9, 10, "not an address"),
        ("", 9, 10, "not an address"),
        ("255.255.255.255", 9, 10, "EACCES"),
    ],
)
@on_both_loops
async def test_what_cannot_be_sent_fails_at_once(host: str, port: int, size: int, reason: str) -> None:
    async with rig("udp:127.0.0.1:0") as server:
        flow = Flow("udp", host, port, server.name("udp"))
        server.send(flow, b"x" * size)
        await until(lambda: server.endpoint.failed)
        assert server.endpoint.failed == [flow]
        assert server.driver.counters.dropped == {reason: 1}


@on_both_loops
async def test_without_a_listener_of_the_family_the_flow_fails() -> None:
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        server.send(Flow("udp", "::1", 5060), sip())
        await until(lambda: server.endpoint.failed)
        assert server.driver.counters.dropped == {"no listener": 1}
        server.send(Flow("udp", "127.0.0.1", peer.port), sip())  # no listener named: picked by family
        assert await peer.receive() == sip()


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"\r\n", b"\0\0\0\0", b"\0", b""])
@on_both_loops
async def test_keep_alive_datagrams_are_absorbed(data: bytes) -> None:
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        peer.send(data, server.port("udp"))
        await until(lambda: server.driver.counters.pings == 1)
        assert not server.endpoint.received


@on_both_loops
async def test_a_message_after_line_breaks_is_a_message() -> None:
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        peer.send(b"\r\n" + sip(), server.port("udp"))
        await until(lambda: server.endpoint.received)
        assert server.endpoint.messages == [b"\r\n" + sip()]


@on_both_loops
async def test_garbage_goes_to_the_endpoint_which_counts_it() -> None:
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        garbage = [b"\x16\x03\x01\x02\x00\x01", b"\xff" * 1500, b"GET / HTTP/1.1\r\n\r\n", bytes(range(256))]
        for data in garbage:
            peer.send(data, server.port("udp"))
        await until(lambda: len(server.endpoint.received) == len(garbage))
        assert server.endpoint.messages == garbage


@on_both_loops
async def test_stun_binding_request_gets_its_mapped_address() -> None:
    """RFC 5626 §4.4.2."""
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        transaction = bytes(range(12))
        peer.send(struct.pack("!HHI", 1, 0, MAGIC_COOKIE) + transaction, server.port("udp"))
        answer = await peer.receive()
        assert answer[:20] == struct.pack("!HHI", 0x0101, 12, MAGIC_COOKIE) + transaction
        assert answer[20:26] == struct.pack("!HHBB", 0x0020, 8, 0, 1)
        port, address = struct.unpack("!HI", answer[26:])
        assert port ^ (MAGIC_COOKIE >> 16) == peer.port
        assert address ^ MAGIC_COOKIE == 0x7F000001
        assert not server.endpoint.received


def test_stun_answer_by_the_vectors_of_rfc_5769() -> None:
    """RFC 5769 §2.2 and §2.3: the XOR-MAPPED-ADDRESS values of the sample responses."""
    transaction = bytes.fromhex("b7e7a701bc34d686fa87dfae")
    request = struct.pack("!HHI", 1, 0, MAGIC_COOKIE) + transaction
    four = stun_answer(request, "192.0.2.1", 32853)
    six = stun_answer(request, "2001:db8:1234:5678:11:2233:4455:6677", 32853)
    assert four is not None
    assert four[20:] == bytes.fromhex("002000080001a147e112a643")
    assert six is not None
    assert six[20:] == bytes.fromhex("002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\1",
        struct.pack("!HHI12x", 1, 4, MAGIC_COOKIE),
        struct.pack("!HHI12x", 1, 0, 7),
        struct.pack("!HHI12x", 0x0101, 0, MAGIC_COOKIE),
    ],
)
def test_what_is_no_binding_request_gets_no_stun_answer(data: bytes) -> None:
    assert stun_answer(data, "192.0.2.1", 5060) is None


@on_both_loops
async def test_buffers_and_queue_are_readable() -> None:
    async with rig("udp:127.0.0.1:0") as server:
        (granted,) = server.driver.receive_buffers().values()
        assert granted == SOCKET_BUFFER
        assert server.driver.kernel_drops() == 0


@on_both_loops
async def test_datagrams_that_had_to_wait_show_as_queue_delay() -> None:
    """The kernel's time stamps tell how late the loop is, whoever held it up; after a silence all is well again."""
    async with rig("udp:127.0.0.1:0") as server, UdpPeer() as peer:
        assert server.driver.queue_delay_s() == 0.0
        peer.send(sip(), server.port("udp"))
        time.sleep(0.1)  # noqa: ASYNC251  (blocking the loop is the point)
        seen: list[float] = []
        server.endpoint.on_receive = lambda _data, _flow: seen.append(server.driver.queue_delay_s())
        await until(lambda: seen)
        assert 0.09 < seen[0] < 5.0
        await until(lambda: server.driver.queue_delay_s() == 0.0)


class FullSocket:
    """A UDP socket whose send buffer is full until told otherwise (a loopback socket's never is)."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.full = True
        self.sent: list[bytes] = []
        self.error = 0

    def getsockopt(self, *_: int) -> int:
        return 2 * SOCKET_BUFFER

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        if self.error:
            raise OSError(self.error, "scripted")
        if self.full:
            raise BlockingIOError
        self.sent.append(data)

    def recvmsg(self, *_: int) -> None:
        raise BlockingIOError


class WatchedPoller:
    def __init__(self) -> None:
        self.events: list[int] = []

    def add(self, _sock: object, events: int, _handler: object) -> None:
        self.events.append(events)

    modify = lambda self, _sock, events: self.events.append(events)  # noqa: E731


def _scripted() -> tuple[UdpSocket, FullSocket, FakeEndpoint, Shared, WatchedPoller]:
    from callcontrol.sip.flow import Listener

    endpoint, sock, poller = FakeEndpoint(), FullSocket(), WatchedPoller()
    shared = Shared(endpoint, OpenGate(), RealClock())
    shared.poller.close()
    shared.poller = poller  # type: ignore[assignment]
    listener = Listener("udp:127.0.0.1:5060", "udp", "127.0.0.1", 5060)
    return UdpSocket(listener, sock, shared), sock, endpoint, shared, poller  # type: ignore[arg-type]


def test_a_full_send_buffer_keeps_order_and_has_a_bound() -> None:
    udp, sock, endpoint, shared, poller = _scripted()
    flow = Flow("udp", "127.0.0.1", 5070)
    now = shared.clock.monotonic()
    for number in range(BACKLOG + 5):
        udp.send(flow, b"%d" % number, now)
    assert udp.waiting() == BACKLOG
    assert shared.counters.dropped == {"backlog": 5}
    assert len(poller.events) == 2  # watched for room once, not once per datagram
    sock.full = False
    udp._send_backlog(now)
    assert sock.sent == [b"%d" % number for number in range(BACKLOG)]
    assert udp.waiting() == 0
    assert poller.events[-1] == poller.events[0]
    assert not endpoint.failed


def test_a_full_device_queue_is_a_loss_not_a_failure() -> None:
    """ENOBUFS passes by itself; SIP retransmits."""
    udp, sock, endpoint, shared, _ = _scripted()
    sock.error = errno.ENOBUFS
    udp.send(Flow("udp", "127.0.0.1", 5070), b"x", shared.clock.monotonic())
    assert not endpoint.failed
    assert shared.counters.dropped == {"ENOBUFS": 1}


def test_an_unreachable_network_fails_the_flow_after_one_more_try() -> None:
    udp, sock, endpoint, shared, _ = _scripted()
    sock.error = errno.ENETUNREACH
    flow = Flow("udp", "127.0.0.1", 5070)
    udp.send(flow, b"x", shared.clock.monotonic())
    assert endpoint.failed == [flow]
