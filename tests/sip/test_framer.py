"""Streams: the same messages whole, byte by byte, at any split; what no stream recovers from."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.framer import StreamFramer
from callcontrol.sip.message import Limits, parse

HEAD = (
    "OPTIONS sip:b@example.com SIP/2.0\r\n"
    "Via: SIP/2.0/TCP h;branch=z9hG4bK1\r\n"
    "From: <sip:a@example.com>;tag=1\r\n"
    "To: <sip:b@example.com>\r\n"
    "Call-ID: c\r\n"
    "CSeq: 1 OPTIONS\r\n"
)


def message(length: str = "Content-Length: 0", body: bytes = b"") -> bytes:
    return f"{HEAD}{length}\r\n\r\n".encode() + body


EMPTY = message()
FULL = message("l : 5", b"\r\n\r\n!")
FOLDED = message("CONTENT-length:\r\n\t 3 ", b"abc")


def feed(
    pieces: Iterable[bytes], limits: Limits | None = None
) -> tuple[list[bytes], int, RemoteProtocolError | None]:
    """Everything that comes out of a framer, pings and the error at the end among it."""
    framer = StreamFramer(limits or Limits())
    out: list[bytes] = []
    try:
        for piece in pieces:
            out += framer.feed(piece)
        framer.feed(b"")
    except RemoteProtocolError as error:
        return out, framer.pings, error
    return out, framer.pings, framer.error


def splits(data: bytes) -> Iterable[list[bytes]]:
    """Whole, byte by byte, and every split in two."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(len(data)):
        yield [data[:at], data[at:]]


@pytest.mark.parametrize(
    ("data", "messages", "pings"),
    [
        (b"", [], 0),
        (EMPTY, [EMPTY], 0),
        (FULL + EMPTY + FOLDED, [FULL, EMPTY, FOLDED], 0),
        (b"\r\n\r\n" + EMPTY, [EMPTY], 1),
        (EMPTY + b"\r\n\r\n" + FULL + b"\r\n\r\n\r\n\r\n", [EMPTY, FULL], 3),
        (b"\r\n" + EMPTY + b"\r\n" + FULL, [EMPTY, FULL], 0),
        (b"\r\n\r\n\r\n", [], 1),
        (EMPTY + FULL[:-1], [EMPTY], 0),
        (EMPTY + b"\r", [EMPTY], 0),
    ],
)
def test_splits_do_not_matter(data: bytes, messages: list[bytes], pings: int) -> None:
    for pieces in splits(data):
        assert feed(pieces) == (messages, pings, None)


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (f"{HEAD}\r\n".encode(), 400, "Content-Length missing on a stream"),
        (message("Content-Length: -1"), 400, "malformed Content-Length"),
        (message("Content-Length:"), 400, "malformed Content-Length"),
        (message("Content-Length: 1 2"), 400, "malformed Content-Length"),
        (message("Content-Length: 99999999999"), 400, "malformed Content-Length"),
        (message("Content-Length: 5\r\nl: 5"), 400, "Content-Length given more than once"),
        (message("Content-Length: 70000"), 513, "Message Too Large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "Content-Length missing on a stream"),
        (b"\x16\x03\x01" * 6000, 400, "start line too long"),
        (b"OPTIONS sip:b SIP/2.0\r\nX: " + b"y" * 66000, 513, "Message Too Large"),
        (b"OPTIONS sip:b SIP/2.0\r\nX: " + b"y" * 66000 + b"\r\n\r\n", 513, "Message Too Large"),
    ],
)
def test_beyond_repair(data: bytes, status: int, reason: str) -> None:
    for pieces in (
        [data],
        [data[at : at + 7] for at in range(0, len(data), 7)],
        [EMPTY + data],
        [EMPTY, data],
    ):
        out, _, error = feed(pieces)
        assert out == [EMPTY] * (EMPTY in pieces[0])
        assert error is not None
        assert (error.status, error.reason) == (status, reason)


def test_messages_before_the_error_come_out_first() -> None:
    framer = StreamFramer()
    assert framer.feed(EMPTY + f"{HEAD}\r\n".encode() + EMPTY) == [EMPTY]
    assert framer.error is not None
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            framer.feed(EMPTY)
    assert framer.waiting == 0


def test_the_error_can_be_answered_where_the_head_was_read() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        StreamFramer().feed(f"{HEAD}\r\n".encode())
    assert caught.value.message is not None
    assert caught.value.message.call_id == "c"
    with pytest.raises(RemoteProtocolError) as caught:
        StreamFramer().feed(message("Content-Length: x"))
    assert caught.value.message is not None
    with pytest.raises(RemoteProtocolError) as caught:
        StreamFramer().feed(b"GET / HTTP/1.0\r\n\r\n")
    assert caught.value.message is None


def test_pings_are_counted_until_taken() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n\r\n\r\n\r\n") == []
    assert framer.pings == 2
    framer.pings = 0
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n\r") == []
    assert framer.pings == 0
    assert framer.feed(b"\n" + EMPTY) == [EMPTY]
    assert framer.pings == 1


def test_what_waits_is_bounded() -> None:
    limits = Limits(max_message=1000, max_line=200)
    framer = StreamFramer(limits)
    framer.feed(message("l: 500", b"x" * 499))
    assert framer.waiting == len(message("l: 500")) + 499
    assert framer.feed(b"x") != []
    assert framer.waiting == 0
    assert feed([message("l: 900")], limits)[2] is not None


def test_a_long_head_in_small_pieces_is_scanned_once() -> None:
    """64 kB in single bytes: were each piece scanned from the start, this would be 2e9 comparisons."""
    head = HEAD + "".join([f"X-{n}: {'y' * 200}\r\n" for n in range(200)])
    data = f"{head}l: 20000\r\n\r\n".encode() + b"z" * 20000
    out, _, error = feed([data[at : at + 1] for at in range(len(data))])
    assert (out, error) == ([data], None)


def test_framer_and_parser_agree_on_the_length() -> None:
    for data in (EMPTY, FULL, FOLDED):
        assert parse(data).body == data.partition(b"\r\n\r\n")[2]
