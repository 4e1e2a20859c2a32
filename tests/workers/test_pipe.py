"""Frames between front and workers: found again however the stream is cut, bounded, never waiting."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.sip.flow import Flow
from callcontrol.workers import frames
from callcontrol.workers.frames import Frame, FrameError, Reader, frame
from callcontrol.workers.pipe import Pipe, pair

FRAMES = st.lists(st.tuples(st.integers(1, 255), st.integers(0, 255), st.binary(max_size=200)), max_size=20)


@given(FRAMES, st.lists(st.integers(1, 50), max_size=40))
def test_frames_are_found_however_the_stream_is_cut(
    given_frames: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(frame(*each) for each in given_frames)
    reader, found, at = Reader(), list[Frame](), 0
    for size in [*cuts, len(stream)]:
        found.extend(reader.feed(stream[at : at + size]))
        at += size
    assert [tuple(each) for each in found] == given_frames


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(FrameError):
        Reader().feed(struct.pack(">IBB", 2**31, 1, 1))


@given(st.sampled_from(["udp", "tcp", "tls", "ws", "wss"]), st.integers(0, 2**53), st.binary(max_size=60))
def test_a_flow_and_its_bytes_come_through(transport: str, conn: int, data: bytes) -> None:
    flow = Flow(transport, "2001:db8::1", 65535, f"{transport}:[::]:5060", conn)
    assert frames.read_flow(frames.with_flow(flow, data)) == (flow, data)
    assert frames.read_connection(frames.connection(conn)) == conn


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8:1:2:3:4:5:6", "fe80::1%eth0"])
def test_a_datagram_keeps_its_address(host: str) -> None:
    payload = frames.datagram_head(3, host, 5060) + b"OPTIONS sip:x SIP/2.0\r\n\r\n"
    listener, head = frames.read_datagram_head(payload)
    assert listener == 3
    assert frames.address_of(head) == (host, 5060)
    assert payload[len(head) :].startswith(b"OPTIONS")


def test_stamps_come_through() -> None:
    assert frames.read_stamp(frames.stamp(12.5, 0.25)) == (12.5, 0.25)


def ends() -> tuple[Pipe, Pipe]:
    one, other = pair()
    return Pipe(one, 200_000), Pipe(other)


def test_what_a_side_does_not_read_waits_up_to_the_bound_and_is_then_lost() -> None:
    writer, reader = ends()
    writer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    payload = b"x" * 1000
    taken = 0
    while writer.put(frames.DATAGRAM, 0, payload):
        taken += 1
        writer.flush()
    assert writer.lost == 1
    assert 150_000 < writer.waiting <= 200_000
    assert not writer.flush()
    found = 0
    while found < taken:
        got = reader.read()
        found += len(got)
        assert all(each.payload == payload for each in got)
        writer.flush()
    assert writer.flush()
    assert (writer.waiting, found) == (0, taken)
    writer.close()
    reader.close()


def test_the_end_of_the_other_side_is_seen_by_both_ways() -> None:
    writer, reader = ends()
    writer.put(frames.TELL, 1, b"last words")
    writer.flush()
    writer.close()
    assert [each.payload for each in reader.read()] == [b"last words"]
    assert reader.read() == []
    assert reader.broken
    one, other = ends()
    other.close()
    one.put(frames.TELL, 1, b"nobody hears this")
    assert one.flush()
    assert one.broken
    assert not one.put(frames.TELL, 1, b"nor this")
    one.close()
    reader.close()
