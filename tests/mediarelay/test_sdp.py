"""Rewrites of session descriptions as text before, dashed line, text after."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediarelay.sdp import (
    DIRECTIONS,
    Sdp,
    SdpError,
    is_hold,
    media_lines,
    parse,
    same_content,
    same_session,
    set_direction,
    with_origin,
)

PHONE = b"""v=0
o=- 3901 1 IN IP4 192.0.2.10
s=pjmedia
b=AS:84
t=0 0
a=X-nat:0
m=audio 4000 RTP/AVP 8 0 101
c=IN IP4 192.0.2.10
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=rtcp:4001 IN IP4 192.0.2.10
a=sendrecv
a=ssrc:1431 cname:6f
""".replace(b"\n", b"\r\n")

BROWSER = b"""v=0
o=mozilla 8041 0 IN IP6 ::1
s=-
t=0 0
a=fingerprint:sha-256 4A:AD:B9:B1
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 109 0
c=IN IP6 2001:db8::7
a=candidate:0 1 UDP 2122187007 2001:db8::7 50102 typ host
a=sendrecv
a=ice-ufrag:8c
a=ice-pwd:1a
a=mid:0
a=rtcp-mux
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNf
m=video 0 UDP/TLS/RTP/SAVPF 120
a=inactive
a=mid:1
"""


def rewritten(before: str, change: Callable[[Sdp], Sdp], after: str) -> None:
    result = change(parse(before.encode()))
    assert str(result) == after
    assert result.encode() == after.encode()


def both(text: str) -> tuple[str, str]:
    before, _, after = text.partition("-" * 20 + "\n")
    return before, after


ORIGIN = """\
v=0
o=alice  2890844526  17 IN IP4 host.cloudline.example
s=
c=IN IP4 192.0.2.10
t=0 0
m=audio 49170 RTP/AVP 0
a=x-vendor  kept   as it is
--------------------
v=0
o=alice 77 3 IN IP4 host.cloudline.example
s=
c=IN IP4 192.0.2.10
t=0 0
m=audio 49170 RTP/AVP 0
a=x-vendor  kept   as it is
"""

ORIGIN_IPV6 = """\
v=0
o=- 1 1 IN IP6 2001:db8::1
s=-
t=0 0
--------------------
v=0
o=- 77 3 IN IP6 2001:db8::1
s=-
t=0 0
"""


@pytest.mark.parametrize("text", [ORIGIN, ORIGIN_IPV6])
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_origin_changes_two_fields_and_nothing_else(text: str, eol: str) -> None:
    before, after = both(text)
    rewritten(before.replace("\n", eol), lambda sdp: with_origin(sdp, "77", 3), after.replace("\n", eol))


HOLD_IN_PLACE = """\
v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
t=0 0
m=audio 4000 RTP/AVP 0
a=sendrecv
a=ptime:20
m=video 0 RTP/AVP 31
a=sendrecv
--------------------
v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
t=0 0
m=audio 4000 RTP/AVP 0
a=sendonly
a=ptime:20
m=video 0 RTP/AVP 31
a=sendrecv
"""

HOLD_ADDED = """\
v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
t=0 0
m=audio 4000 RTP/AVP 0
a=ptime:20
m=audio 4002 RTP/AVP 0
--------------------
v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
t=0 0
m=audio 4000 RTP/AVP 0
a=ptime:20
a=sendonly
m=audio 4002 RTP/AVP 0
a=sendonly
"""

HOLD_OVER_SESSION = """\
v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
t=0 0
a=inactive
m=audio 4000 RTP/AVP 0

--------------------
v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
t=0 0
a=inactive
m=audio 4000 RTP/AVP 0
a=sendonly

"""


@pytest.mark.parametrize("text", [HOLD_IN_PLACE, HOLD_ADDED, HOLD_OVER_SESSION])
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_direction_is_set_where_it_stands_or_at_the_end_of_the_section(text: str, eol: str) -> None:
    before, after = both(text)
    rewritten(before.replace("\n", eol), lambda sdp: set_direction(sdp, "sendonly"), after.replace("\n", eol))


def test_direction_of_one_section() -> None:
    sdp = set_direction(parse(BROWSER), "recvonly", media=1)
    assert [media.direction for media in sdp.media] == ["sendrecv", "recvonly"]


def test_a_line_after_a_last_line_without_line_end_takes_the_line_end_in_use() -> None:
    before = PHONE[: PHONE.index(b"a=rtpmap")].rstrip(b"\r\n")
    assert set_direction(parse(before), "inactive").encode() == before + b"\r\na=inactive\r\n"


def test_what_holds_already_is_not_written_again() -> None:
    sdp = parse(b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n")
    assert set_direction(sdp, "sendrecv") == sdp


def test_fields_of_a_phone() -> None:
    sdp = parse(PHONE)
    (audio,) = media_lines(sdp)
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == (
        "audio",
        4000,
        "RTP/AVP",
        ("8", "0", "101"),
    )
    assert audio.connection is not None
    assert audio.connection.address == "192.0.2.10"
    port, where = audio.rtcp
    assert port == 4001
    assert where == audio.connection
    assert audio.attributes("rtpmap") == ["101 telephone-event/8000"]
    assert sdp.session.attribute("X-nat") == "0"
    assert sdp.origin.address_type == "IP4"


def test_fields_of_a_browser_over_ipv6() -> None:
    sdp = parse(BROWSER)
    audio, video = sdp.media
    assert sdp.origin.address == "::1"
    assert audio.connection is not None
    assert (audio.connection.address_type, audio.connection.address) == ("IP6", "2001:db8::7")
    assert audio.rtcp == (9, audio.connection)
    assert audio.attribute("rtcp-mux") == ""
    assert audio.attribute("ice-ufrag") == "8c"
    assert sdp.session.attribute("fingerprint") == "sha-256 4A:AD:B9:B1"
    assert video.rejected
    assert video.connection is None
    assert video.rtcp == (1, None)


def offer(*media: str, session: str = "") -> Sdp:
    return parse(
        ("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n" + session + "t=0 0\r\n" + "".join(media)).encode()
    )


@pytest.mark.parametrize(
    ("sdp", "held"),
    [
        (offer("m=audio 4000 RTP/AVP 0\r\n"), False),
        (offer("m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n"), True),
        (offer("m=audio 4000 RTP/AVP 0\r\na=inactive\r\n"), True),
        (offer("m=audio 4000 RTP/AVP 0\r\na=recvonly\r\n"), False),
        (offer("m=audio 4000 RTP/AVP 0\r\n", session="a=sendonly\r\n"), True),
        (offer("m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n", session="a=sendonly\r\n"), False),
        (offer("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n"), True),
        (offer("m=audio 4000 RTP/AVP 0\r\n", session="c=IN IP4 0.0.0.0\r\n"), True),
        (offer("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 ::\r\n"), True),
        (offer("m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n", "m=video 0 RTP/AVP 31\r\n"), True),
        (offer("m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n", "m=video 4002 RTP/AVP 31\r\n"), False),
        (offer("m=audio 0 RTP/AVP 0\r\na=inactive\r\n"), False),
        (offer(), False),
    ],
)
def test_hold(sdp: Sdp, held: bool) -> None:
    assert is_hold(sdp) is held


def test_same_session_and_same_content() -> None:
    first = parse(PHONE)
    refreshed = with_origin(first, "3901", 2)
    held = set_direction(refreshed, "sendonly")
    assert same_session(first, held)
    assert same_content(first, refreshed)
    assert not same_content(first, held)
    assert not same_session(first, with_origin(first, "3902", 1))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"o=- 1 1 IN IP4 192.0.2.1\r\n",
        b"v=0\r\nm=audio\r\n",
        b"v=0\r\nm=audio x RTP/AVP 0\r\n",
        b"v=0\r\nm=audio 65536 RTP/AVP 0\r\n",
        b"v=0\r\nm=audio \xd9\xa1 RTP/AVP 0\r\n",
        b"v=0\r\n" + b"m=audio 1 RTP/AVP 0\r\n" * 65,
        b"v=0\r\n" + b"a=x\r\n" * 4096,
    ],
)
def test_unreadable_bodies_are_refused_with_one_error(body: bytes) -> None:
    with pytest.raises(SdpError):
        parse(body)


@pytest.mark.parametrize(
    "body", [b"v=0\r\ns=-\r\n", b"v=0\r\no=- 1 1 IN IP4\r\n", b"v=0\r\nm=audio 1 X\r\no=- 1 1 IN IP4 a\r\n"]
)
def test_without_readable_origin(body: bytes) -> None:
    with pytest.raises(SdpError):
        with_origin(parse(body), "1", 1)


def test_nothing_with_a_line_end_is_written() -> None:
    sdp = parse(PHONE)
    for content in ("a=x\r\na=y", "a=\n", "a=\0"):
        with pytest.raises(ValueError, match="line end"):
            sdp.replace_line(0, content)
    with pytest.raises(ValueError, match="numeric"):
        with_origin(sdp, "1 1", 1)
    with pytest.raises(ValueError, match="direction"):
        set_direction(sdp, "both")


line_end = st.sampled_from([b"\r\n", b"\n", b"\r"])
any_line = st.one_of(
    st.binary(max_size=30).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"")),
    st.sampled_from(
        [b"a=sendonly", b"a=recvonly", b"c=IN IP4 0.0.0.0", b"m=audio 4000 RTP/AVP 0", b"m=video 0 X 1", b""]
    ),
)
descriptions = st.lists(st.tuples(any_line, line_end), max_size=20).map(
    lambda lines: b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n" + b"".join(line + end for line, end in lines)
)


@given(descriptions)
def test_what_was_not_changed_comes_out_byte_for_byte(body: bytes) -> None:
    try:
        sdp = parse(body)
    except SdpError:
        return
    assert sdp.encode() == body
    changed = with_origin(sdp, "9", 9)
    assert changed.encode() == body.replace(b"o=- 1 1 IN IP4 192.0.2.1", b"o=- 9 9 IN IP4 192.0.2.1", 1)


@given(descriptions, st.sampled_from(sorted(DIRECTIONS)))
def test_direction_touches_direction_lines_only(body: bytes, direction: str) -> None:
    try:
        sdp = parse(body)
    except SdpError:
        return
    changed = set_direction(sdp, direction)
    assert all(media.rejected or media.direction == direction for media in changed.media)
    assert len(changed.media) == len(sdp.media)
    others = [line.rstrip("\r\n") for line in sdp.lines if line[2:].strip() not in DIRECTIONS]
    assert [line.rstrip("\r\n") for line in changed.lines if line[2:].strip() not in DIRECTIONS] == others
    assert set_direction(changed, direction) == changed


@given(st.binary(max_size=400))
def test_any_octets_give_a_description_or_one_error(body: bytes) -> None:
    try:
        sdp = parse(b"v=0\r\n" + body)
    except SdpError:
        return
    assert sdp.encode() == b"v=0\r\n" + body
    is_hold(sdp)


def test_unreadable_lines_count_as_absent() -> None:
    sdp = offer("m=audio 4000 RTP/AVP 0\r\nc=IN IP4\r\na=rtcp:x\r\n", session="c=IN IP4 192.0.2.9/127\r\n")
    (audio,) = sdp.media
    assert audio.connection is not None
    assert audio.connection.address == "192.0.2.9"
    assert audio.rtcp == (4001, audio.connection)


def test_descriptions_are_values() -> None:
    assert parse(PHONE) == parse(PHONE)
    assert len({parse(PHONE), parse(PHONE), parse(BROWSER)}) == 2
    assert "pjmedia" in repr(parse(PHONE))
