"""SIP over WebSocket (RFC 7118): upgrade, frames, keep-alive, bounds, and everything that is not a WebSocket."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.sip.flow import Flow
from callcontrol.transport import StreamBounds, WebSocketPolicy
from callcontrol.transport.websocket import WebSocket
from tests.transport.support import Authority, Rig, StreamPeer, connected, on_both_loops, rig, sip, until

WS = "ws:127.0.0.1:0"
KEY = base64.b64encode(b"0123456789abcdef").decode()

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 0x1, 0x2, 0x8, 0x9, 0xA, 0x0


def upgrade(path: str = "/", **changes: str | None) -> bytes:
    """An upgrade request as a browser sends it; ``changes`` replace headers (underscores are dashes), None removes."""
    headers: dict[str, str | None] = {
        "Host": "sip.example.com",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "sip",
        "Origin": "https://app.example",
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
    }
    for name, value in changes.items():
        headers[name.replace("_", "-")] = value
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes = b"\x12\x34\x56\x78") -> bytes:
    """One client frame (RFC 6455 §5.2), masked unless ``mask`` is empty."""
    head = bytes((opcode | (0x80 if fin else 0),))
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes((len(payload) | bit,))
    elif len(payload) < 65536:
        head += struct.pack("!BH", 126 | bit, len(payload))
    else:
        head += struct.pack("!BQ", 127 | bit, len(payload))
    if mask:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + mask + payload


class Browser:
    """A WebSocket client that speaks bytes."""

    def __init__(self, peer: StreamPeer) -> None:
        self.peer = peer
        self.response = b""

    async def head(self) -> bytes:
        lines = b""
        while not lines.endswith(b"\r\n\r\n"):
            lines += await self.peer.exactly(1)
        return lines

    async def receive(self) -> tuple[int, bytes]:
        first, second = await self.peer.exactly(2)
        size = second & 0x7F
        assert not second & 0x80, "a server must not mask"
        if size == 126:
            (size,) = struct.unpack("!H", await self.peer.exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.peer.exactly(8))
        assert first & 0x80
        return first & 0x0F, await self.peer.exactly(size)

    async def close_code(self) -> int:
        opcode, payload = await self.receive()
        assert opcode == CLOSE
        return int.from_bytes(payload[:2], "big")

    def send(self, *frames: bytes) -> None:
        self.peer.send(b"".join(frames))


@asynccontextmanager
async def browser(
    server: Rig, request: bytes | None = None, transport: str = "ws", **options: Any
) -> AsyncIterator[Browser]:
    async with connected(server.port(transport), **options) as peer:
        client = Browser(peer)
        peer.send(request or upgrade())
        client.response = await client.head()
        yield client


# -- upgrade -----------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_upgrade_and_a_message_each_way() -> None:
    async with rig(WS) as server, browser(server) as client:
        server.echo()
        assert client.response.startswith(b"HTTP/1.1 101 ")
        expected = base64.b64encode(
            hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        )
        response = client.response.lower()
        assert b"sec-websocket-accept: " + expected.lower() in response
        assert b"sec-websocket-protocol: sip\r\n" in response
        assert b"extensions" not in response  # compression is not accepted
        client.send(frame(TEXT, sip()))
        assert await client.receive() == (TEXT, sip())
        (data, flow) = server.endpoint.received[0]
        assert data == sip()
        assert (flow.transport, flow.listener) == ("ws", server.name("ws"))
        assert flow.conn > 0
        assert (flow.reliable, flow.secure) == (True, False)


@on_both_loops
async def test_secure_websocket(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with rig("wss:127.0.0.1:0", tls=authority.files("server")) as server:
        server.echo()
        async with browser(server, transport="wss", ssl=authority.client_context()) as client:
            client.send(frame(TEXT, sip()))
            assert await client.receive() == (TEXT, sip())
            flow = server.endpoint.received[0][1]
            assert (flow.transport, flow.secure) == ("wss", True)


@pytest.mark.parametrize(
    "request_bytes",
    [
        upgrade().replace(b"Upgrade: websocket", b"UPGRADE:WebSocket").replace(b"Host", b"hOST"),
        upgrade().replace(b"Sec-WebSocket-Protocol", b"sec-websocket-protocol"),
        upgrade(Sec_WebSocket_Protocol="xmpp, SIP"),
        upgrade(Sec_WebSocket_Protocol="chat,sip"),
        upgrade(Connection="upgrade"),
        upgrade("/ws?token=1"),
        upgrade(X_Forwarded_For="192.0.2.1", Cookie="a=b; c=d"),
    ],
)
@on_both_loops
async def test_headers_of_any_spelling(request_bytes: bytes) -> None:
    async with rig(WS) as server, browser(server, request_bytes) as client:
        assert client.response.startswith(b"HTTP/1.1 101 ")
        client.send(frame(TEXT, sip()))
        await until(lambda: server.endpoint.received)


@pytest.mark.parametrize(
    ("request_bytes", "status", "has"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426, b"Upgrade: websocket\r\n"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404, b""),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", 426, b""),
        (b"HEAD / HTTP/1.0\r\n\r\n", 426, b""),
        (upgrade(Sec_WebSocket_Version="8"), 426, b"Sec-WebSocket-Version: 13\r\n"),
        (upgrade(Sec_WebSocket_Key=None), 426, b""),
        (upgrade(Sec_WebSocket_Protocol=None), 400, b"subprotocol sip is required"),
        (upgrade(Sec_WebSocket_Protocol="xmpp"), 400, b"subprotocol sip is required"),
        (upgrade(Origin="https://evil.example"), 403, b""),
        (upgrade(Origin=None), 403, b""),
        (upgrade("/other"), 404, b""),
        (upgrade(Host="\u00e9"), 400, b""),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, b""),
        (sip(), 400, b""),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, 400, b""),
    ],
)
@on_both_loops
async def test_what_is_no_sip_websocket_gets_a_short_answer_and_the_end(
    request_bytes: bytes, status: int, has: bytes
) -> None:
    policy = WebSocketPolicy(origins=frozenset({"https://app.example"}), paths=frozenset({"/"}))
    async with rig(WS, websocket=policy) as server, connected(server.port("ws")) as peer:
        peer.send(request_bytes)
        answer = await peer.to_end()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert has in answer
        assert b"Connection: close\r\n" in answer
        assert len(answer) < 400
        assert server.driver.counters.closed == {f"http {status}": 1}
        assert not server.endpoint.received
        assert not server.lost


@on_both_loops
async def test_an_upgrade_in_single_bytes() -> None:
    async with rig(WS) as server, connected(server.port("ws")) as peer:
        for byte in upgrade():
            peer.send(bytes((byte,)))
        assert (await Browser(peer).head()).startswith(b"HTTP/1.1 101 ")
        for byte in frame(TEXT, sip()):
            peer.send(bytes((byte,)))
        await until(lambda: server.endpoint.messages == [sip()])


@on_both_loops
async def test_an_upgrade_that_never_completes_times_out() -> None:
    async with rig(WS, bounds=StreamBounds(handshake_s=0.2)) as server, connected(server.port("ws")) as peer:
        peer.send(upgrade()[:-2])
        assert await peer.to_end() == b""
        assert server.driver.counters.closed == {"handshake timeout": 1}


# -- messages ----------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_text_binary_and_fragments_with_a_ping_between() -> None:
    async with rig(WS) as server, browser(server) as client:
        message = sip("héllo".encode())
        client.send(frame(TEXT, message), frame(BINARY, message))
        client.send(
            frame(TEXT, message[:100], fin=False),
            frame(CONTINUATION, message[100:101], fin=False),
            frame(PING, b"are you there"),
            frame(CONTINUATION, b"", fin=False),
            frame(CONTINUATION, message[101:]),
        )
        assert await client.receive() == (PONG, b"are you there")
        await until(lambda: len(server.endpoint.received) == 3)
        assert server.endpoint.messages == [message] * 3


@on_both_loops
async def test_a_message_split_inside_a_character_comes_whole() -> None:
    async with rig(WS) as server, browser(server) as client:
        message = sip("é".encode())
        client.send(frame(TEXT, message[:-1], fin=False), frame(CONTINUATION, message[-1:]))
        await until(lambda: server.endpoint.messages == [message])


@on_both_loops
async def test_bytes_that_are_no_utf8_travel_as_binary() -> None:
    async with rig(WS) as server, browser(server) as client:
        server.echo()
        client.send(frame(BINARY, sip(b"\xff\xfe")))
        assert await client.receive() == (BINARY, sip(b"\xff\xfe"))


@on_both_loops
async def test_a_long_message_passes_both_ways() -> None:
    async with rig(WS) as server, browser(server) as client:
        server.echo()
        message = sip(b"x" * 60_000)
        client.send(frame(TEXT, message))
        assert await client.receive() == (TEXT, message)


@on_both_loops
async def test_crlf_keep_alive_inside_a_message() -> None:
    """RFC 7118 §6: the pong of RFC 5626 §4.4.1 comes as a message too."""
    async with rig(WS) as server, browser(server) as client:
        client.send(frame(TEXT, b"\r\n\r\n"), frame(TEXT, b"\r\n"), frame(TEXT, sip()))
        assert await client.receive() == (TEXT, b"\r\n")
        await until(lambda: server.endpoint.messages == [sip()])
        assert server.driver.counters.pings == 2


# -- bounds and broken frames ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "code", "reason"),
    [
        ([frame(TEXT, b"x" * 65_536)], 1009, "websocket too big"),
        (
            [frame(BINARY, b"x" * 40_000, fin=False)] * 1 + [frame(CONTINUATION, b"x" * 40_000)],
            1009,
            "websocket too big",
        ),
        (
            [b"\x81\xff\x00\x00\x7f\xff\xff\xff\xff\xff\x00\x00\x00\x00" + b"x" * 70_000],
            1009,
            "websocket too big",
        ),
        ([frame(TEXT, sip(), mask=b"")], 1002, "websocket error"),
        ([frame(CONTINUATION, b"x")], 1002, "websocket error"),
        ([frame(TEXT, b"x", fin=False), frame(TEXT, b"x")], 1002, "websocket error"),
        ([frame(0x3, b"x")], 1002, "websocket error"),
        ([frame(PING, b"x" * 126)], 1002, "websocket error"),
        ([frame(PING, b"x", fin=False)], 1002, "websocket error"),
        ([bytes((frame(TEXT, b"x")[0] | 0x40,)) + frame(TEXT, b"x")[1:]], 1002, "websocket error"),
        ([frame(TEXT, b"\xff\xfe")], 1007, "websocket error"),
        ([frame(CLOSE, b"\x03")], 1002, "websocket error"),
        ([frame(CLOSE, struct.pack("!H", 1000))], 1000, "websocket closed"),
        ([frame(CLOSE, struct.pack("!H", 1001) + b"bye")], 1001, "websocket closed"),
        ([frame(CLOSE)], 0, "websocket closed"),
    ],
)
@on_both_loops
async def test_close_codes(frames: list[bytes], code: int, reason: str) -> None:
    async with rig(WS) as server, browser(server) as client:
        client.send(*frames)
        assert await client.close_code() == code
        assert await client.peer.to_end() == b""
        await until(lambda: server.lost)
        assert server.driver.counters.closed == {reason: 1}
        assert not server.endpoint.received


@on_both_loops
async def test_messages_before_a_broken_frame_are_delivered() -> None:
    async with rig(WS) as server, browser(server) as client:
        client.send(frame(TEXT, sip(b"1")), frame(TEXT, sip(b"2")), frame(0x3))
        assert await client.close_code() == 1002
        assert server.endpoint.messages == [sip(b"1"), sip(b"2")]


@on_both_loops
async def test_a_reset_in_the_middle_of_a_frame() -> None:
    async with rig(WS) as server:
        async with browser(server) as client:
            client.send(frame(TEXT, sip())[:50])
            await until(lambda: server.driver.connections()[0].bytes_in > len(upgrade()))
        await until(lambda: server.lost)
        assert not server.endpoint.received


@on_both_loops
async def test_shutdown_says_going_away() -> None:
    async with rig(WS) as server, browser(server) as client:
        client.send(frame(TEXT, sip()))
        await until(lambda: server.endpoint.received)
        await server.driver.stop(0.3)
        assert await client.close_code() == 1001


@on_both_loops
async def test_a_silent_browser_is_pinged_and_a_dead_one_closed() -> None:
    bounds = StreamBounds(ping_s=0.1, pong_s=0.2, linger_s=0.05)
    async with rig(WS, bounds=bounds) as server, browser(server) as client:
        client.send(frame(TEXT, sip()))
        for _ in range(3):
            assert await client.receive() == (PING, b"")
            client.send(frame(PONG))
        assert server.driver.connections()
        assert await client.receive() == (PING, b"")
        await until(lambda: server.lost)
        assert server.driver.counters.closed == {"no pong": 1}


@on_both_loops
async def test_a_browser_that_is_gone_cannot_be_called_back() -> None:
    """Its Via says something.invalid (RFC 7118 §5): the connection is the only way, and without it sending fails."""
    async with rig(WS) as server:
        async with browser(server) as client:
            client.send(frame(TEXT, sip()))
            await until(lambda: server.endpoint.received)
        flow = server.endpoint.received[0][1]
        await until(lambda: server.lost)
        for gone in (flow, Flow("ws", flow.host, flow.port)):
            server.endpoint.failed.clear()
            server.send(gone, sip())
            await until(lambda: server.endpoint.failed)
        assert server.driver.counters.dropped == {"no connection": 2}


# -- the codec without sockets -----------------------------------------------------------------------------------------


def opened() -> WebSocket:
    codec = WebSocket(WebSocketPolicy())
    assert codec.feed(upgrade()) == []
    assert codec.ready
    codec.replies.clear()
    return codec


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_any_bytes_after_the_upgrade_never_raise(pieces: list[bytes]) -> None:
    codec = opened()
    for piece in pieces:
        for message in codec.feed(piece):
            assert len(message) <= 65_535
    assert isinstance(codec.goodbye(), bytes)


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_any_bytes_before_the_upgrade_never_raise(pieces: list[bytes]) -> None:
    codec = WebSocket(WebSocketPolicy(paths=frozenset({"/"})))
    for piece in pieces:
        assert codec.feed(piece) == []


@given(st.data())
def test_a_spoiled_upgrade_never_raises(data: st.DataObject) -> None:
    request = bytearray(upgrade())
    for _ in range(data.draw(st.integers(1, 4))):
        request[data.draw(st.integers(0, len(request) - 1))] = data.draw(st.integers(0, 255))
    codec = WebSocket(WebSocketPolicy(origins=frozenset({"https://app.example"}), paths=frozenset({"/"})))
    codec.feed(bytes(request))
    assert codec.ready or codec.ended or not codec.replies


@given(st.data())
def test_the_same_messages_come_out_of_any_split(data: st.DataObject) -> None:
    messages = [sip(b"x" * size) for size in data.draw(st.lists(st.integers(0, 300), min_size=1, max_size=3))]
    stream = b"".join(frame(TEXT, message, mask=os.urandom(4)) for message in messages)
    codec = opened()
    got: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += codec.feed(stream[:size])
        stream = stream[size:]
    assert got == messages


def test_nothing_is_read_after_the_end() -> None:
    codec = opened()
    codec.feed(frame(CLOSE))
    assert codec.ended
    assert codec.feed(frame(TEXT, sip())) == []
    assert codec.probe() == b""
    assert codec.goodbye() == b""
