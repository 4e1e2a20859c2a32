"""What must hold of every input of the SIP parser: a Message or RemoteProtocolError, never anything else.

And what was read can be read again: an accepted request has an answer that parses, its lines stay byte for byte, what
crosses can be written, and the stream framer cuts the same messages whatever the splits. `fuzz_parser` looks for inputs
that break this; `mutate` makes inputs where no coverage guides.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from callcontrol.sip import digest, fields, uri
from callcontrol.sip.build import request, response
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.framer import StreamFramer
from callcontrol.sip.message import Limits, Message, parse

CORPUS = Path(__file__).resolve().parent.parent / "corpus"

# Header values are fed to every reader, whatever the header is called: what each reader must survive is any
# text.
READERS: tuple[Callable[[str], object], ...] = (
    uri.parse_uri,
    fields.parse_name_addr,
    fields.parse_via,
    fields.parse_cseq,
    fields.parse_params,
    fields.parse_seconds,
    fields.parse_reason_header,
    fields.parse_replaces,
    fields.parse_session_expires,
    fields.parse_rack,
    fields.split_list,
    fields.unquote,
    digest.parse_credentials,
    lambda value: digest.parse_challenges([value]),
)
SMALL = Limits(max_message=4096, max_headers=64, max_line=1024, max_vias=8)


def one_input(data: bytes) -> None:
    """The invariant on one input; whatever is raised here is a find."""
    read = attempt(parse, data)
    if isinstance(read, Message):
        check_message(read)
    else:
        assert isinstance(read, RemoteProtocolError)
        assert 400 <= read.status <= 699
        if read.message is not None and read.message.is_request:
            assert response(read.message, read.status, to_tag="t").endswith(b"\r\n\r\n")
    check_stream(data)


def attempt(reader: Callable[[Any], object], value: object) -> object:
    """What the reader returns, or the one error that it may raise."""
    try:
        return reader(value)
    except RemoteProtocolError as error:
        return error


def check_message(message: Message) -> None:
    """An accepted message: all values can be read on demand, lines are kept, an answer parses."""
    assert message.call_id
    assert message.sent_by
    assert message.method
    raw = "\r\n".join([header[2] for header in message.headers]).encode("utf-8", "surrogateescape")
    assert raw + b"\r\n\r\n" in message.data
    assert message.body in message.data
    for name, value, _ in message.headers:
        assert message.has(name)
        assert not message.items(name) or message.all(name)
        for reader in READERS:
            attempt(reader, value)
    check_round_trips(message)
    if message.is_request:
        answer = parse(response(message, 200, to_tag="t"))
        assert answer.all("via") == message.all("via")
        assert (answer.call_id, answer.cseq, answer.method, answer.branch, answer.from_tag) == (
            *(message.call_id, message.cseq, message.method, message.branch, message.from_tag),
        )
        assert answer.to_tag == (message.to_tag or "t")
        # What crosses a B2BUA is written by us: no value that was read may be refused, or change.
        crossing = [(name, value) for name, value, _ in message.headers if not name.startswith("content-")]
        again = parse(request(message.method, message.uri, crossing, message.body))
        assert [header[:2] for header in again.headers[: len(crossing)]] == crossing
        assert again.body == message.body


def check_round_trips(message: Message) -> None:
    """What was taken apart and printed says the same when taken apart again."""
    for value in (message.from_value, message.to_value, *message.items("contact")):
        address = attempt(fields.parse_name_addr, value)
        if not isinstance(address, fields.NameAddr):
            continue
        again = fields.parse_name_addr(str(address))
        assert (again.display, again.uri, again.params) == (address.display, address.uri, address.params)
        parsed = attempt(uri.parse_uri, address.uri)
        if isinstance(parsed, uri.Uri):
            assert uri.same(parsed, uri.parse_uri(str(parsed)))


def check_stream(data: bytes) -> None:
    """The framer: whole and in pieces it gives the same messages and ends in the same error."""
    size = 1 + len(data) % 7
    results = []
    for pieces in ([data], [data[at : at + size] for at in range(0, len(data), size)]):
        framer = StreamFramer(SMALL)
        out: list[bytes] = []
        try:
            for piece in pieces:
                out += framer.feed(piece)
        except RemoteProtocolError:
            pass  # kept in framer.error, compared below
        failed = (framer.error.status, framer.error.reason) if framer.error is not None else None
        results.append((out, framer.pings, failed))
    assert results[0] == results[1]


def corpus() -> list[bytes]:
    """The torture messages and those of devices."""
    return [path.read_bytes() for path in sorted(CORPUS.glob("*/*.*")) if path.suffix not in (".py", ".pyc")]


PIECES = tuple(
    b'\r\n|\r\n |\r|\n|\0|\\|"|<|>|;|,|:|;;|[|]|@|?|%|%00|%41|=|/|*|  |\t|"\\|\xff|\xc3\xa9|\xe2\x80\xa8|'
    b";tag=|;branch=|SIP/2.0|SIP/2.0/UDP |Via: |v:|To: |Content-Length: |l:|CSeq: |INVITE|sip:|<sip:a@b>|"
    b"99999999999|-1|0".split(b"|")
)


def mutate(data: bytes, dice: random.Random) -> bytes:
    """The message with a few pieces put in, cut out, doubled, swapped, or bytes changed."""
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 3, 5, 8))):
        at = dice.randrange(len(out) + 1)
        end = min(len(out), at + dice.choice((1, 1, 2, 4, 16, 64)))
        match dice.randrange(6):
            case 0:
                out[at:at] = dice.choice(PIECES)
            case 1:
                del out[at:end]
            case 2:
                out[at:at] = out[at:end]
            case 3:
                out[at:end] = dice.randbytes(end - at)
            case 4:
                out[at:end] = dice.choice(PIECES)
            case _:
                # The same header lines in another order, some twice.
                start_line, *lines = bytes(out).partition(b"\r\n\r\n")[0].split(b"\r\n")
                rest = bytes(out[len(b"\r\n".join((start_line, *lines))) :])
                lines = [*lines, *dice.sample(lines, min(len(lines), dice.choice((0, 0, 1))))]
                dice.shuffle(lines)
                out = bytearray(b"\r\n".join((start_line, *lines)) + rest)
    return bytes(out)
