"""What front and workers say to each other: frames over a Unix stream, each with its kind and the other side's number.

A frame is a length (4 bytes), a kind, a party (to whom on the way to the front, from whom on the way to a worker: 0 is the
front, ``EVERYBODY`` all the others) and a payload.  The front passes frames between workers on without looking into them.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from callcontrol.sip.flow import Flow

HEAD: Final = struct.Struct(">IBB")
MAX_PAYLOAD: Final = 16 * 1024 * 1024
FRONT: Final = 0
EVERYBODY: Final = 255

# from the front
BEGIN: Final = 1
"""The first one: settings and sockets, as MessagePack."""
DATAGRAM: Final = 2
"""Came over UDP: listener, address, bytes."""
CLOCK: Final = 3
"""Before datagrams, now and then: when they were read, and how long they had waited then."""
ORDER: Final = 4
"""``drain``, ``stop``, ``reload``: what the operator wants of the node."""
WORKER_GONE: Final = 5
"""A worker died: its number."""

# from a worker to the front, and on to the others
READY: Final = 16
"""It serves: facts of it as MessagePack; to the others its number alone."""

# between workers, by the front
MESSAGE: Final = 32
"""Came over a connection of the sender and belongs to a call of the receiver: flow, bytes."""
SEND: Final = 33
"""To be sent over a connection of the receiver: flow, bytes."""
UNSENT: Final = 34
"""What ``SEND`` asked for was not possible: flow."""
CLOSED: Final = 35
"""A connection of the sender is gone: its id."""
CLOSE: Final = 36
"""End a connection of the receiver: its id."""
UNREACHABLE: Final = 37
"""ICMP: nobody listens at this address: flow."""
MOVED: Final = 38
"""A call has moved: its worker, its reference."""
TELL: Final = 39
"""News for the others, as MessagePack: what, and of whom."""
ASK: Final = 40
"""A question, as MessagePack: number, what, words."""
ANSWER: Final = 41
"""Its answer, as MessagePack: number, words."""

_STAMP: Final = struct.Struct(">dd")
_CONN: Final = struct.Struct(">Q")


class Frame(NamedTuple):
    kind: int
    party: int
    payload: bytes


class FrameError(Exception):
    """The stream holds something else than frames."""


def frame(kind: int, party: int, payload: bytes) -> bytes:
    return HEAD.pack(len(payload), kind, party) + payload


class Reader:
    """Finds the frames in the bytes of a stream."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes.  Raises `FrameError`."""
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        at, end, unpack = 0, len(data), HEAD.unpack_from
        while end - at >= 6:
            size, kind, party = unpack(data, at)
            if size > MAX_PAYLOAD:
                raise FrameError(f"a frame of {size} bytes")
            if end - at - 6 < size:
                break
            frames.append(Frame(kind, party, data[at + 6 : at + 6 + size]))
            at += 6 + size
        self._rest = data[at:]
        return frames


def datagram_head(listener: int, host: str, port: int) -> bytes:
    """Payload of ``DATAGRAM`` up to the bytes."""
    address = f"{port} {host}".encode()
    return bytes((listener, len(address))) + address


def read_datagram_head(payload: bytes) -> tuple[int, bytes]:
    """(listener, length of the head): what is needed to find the flow in a table."""
    return payload[0], payload[: 2 + payload[1]]


def address_of(head: bytes) -> tuple[str, int]:
    """Host and port of a datagram's head."""
    port, _, host = head[2:].decode().partition(" ")
    return host, int(port)


def with_flow(flow: Flow, data: bytes = b"") -> bytes:
    """Payload of ``MESSAGE``, ``SEND``, ``UNSENT`` and ``UNREACHABLE``."""
    dumped = flow.dump().encode()
    return len(dumped).to_bytes(2, "big") + dumped + data


def read_flow(payload: bytes) -> tuple[Flow, bytes]:
    """What ``with_flow`` was given.  Raises ValueError."""
    size = int.from_bytes(payload[:2], "big") + 2
    return Flow.load(payload[2:size].decode()), payload[size:]


def stamp(read_at: float, waited_s: float) -> bytes:
    """Payload of ``CLOCK``: monotonic seconds, which all processes of a machine have alike."""
    return _STAMP.pack(read_at, waited_s)


def read_stamp(payload: bytes) -> tuple[float, float]:
    read_at, waited_s = _STAMP.unpack(payload)
    return read_at, waited_s


def connection(conn: int) -> bytes:
    """Payload of ``CLOSED`` and ``CLOSE``."""
    return _CONN.pack(conn)


def read_connection(payload: bytes) -> int:
    (conn,) = _CONN.unpack(payload)
    return int(conn)
