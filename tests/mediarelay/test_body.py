"""The description inside multipart bodies: located without harm, replaced without touching other parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediarelay.body import find_sdp, replace_sdp

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
OTHER = b"v=0\r\no=- 2 2 IN IP6 2001:db8::1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ISUP = b"\x01\x00\x49\x00\x00\x03\x02\x00\x07\x04\x10\x00\x33\x63\x21\x43\r\n\r\n\x00"


def multipart(*parts: bytes, boundary: bytes = b"unique-1") -> bytes:
    return (
        b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
    )


def sdp_in(content_type: str, body: bytes) -> bytes | None:
    located = find_sdp(content_type, body)
    return None if located is None else body[located.start : located.stop]


SDP_PART = b"Content-Type: application/sdp\r\n\r\n" + SDP
ISUP_PART = (
    b"Content-Type: application/ISUP;version=nxv3\r\nContent-Disposition: signal;handling=optional\r\n\r\n"
    + ISUP
)


@pytest.mark.parametrize(
    "content_type",
    ["application/sdp", "Application/SDP", "application/sdp;charset=utf-8", " application / sdp "],
)
def test_plain_body(content_type: str) -> None:
    assert sdp_in(content_type, SDP) == SDP
    assert replace_sdp(content_type, SDP, OTHER) == OTHER


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed;boundary=unique-1",
        'multipart/mixed; boundary="unique-1"',
        'Multipart/Mixed; x="a;b\\"c"; BOUNDARY=unique-1',
    ],
)
def test_two_parts_in_either_order(content_type: str) -> None:
    for parts in ((SDP_PART, ISUP_PART), (ISUP_PART, SDP_PART)):
        body = b"preamble\r\n" + multipart(*parts) + b"epilogue"
        assert sdp_in(content_type, body) == SDP
        assert replace_sdp(content_type, body, OTHER) == body.replace(SDP, OTHER)


def test_nested_multipart() -> None:
    inner = b"Content-Type: multipart/alternative; boundary=in\r\n\r\n" + multipart(SDP_PART, boundary=b"in")
    body = multipart(ISUP_PART, inner)
    assert sdp_in("multipart/mixed;boundary=unique-1", body) == SDP
    assert replace_sdp("multipart/mixed;boundary=unique-1", body, OTHER) == body.replace(SDP, OTHER)


def test_nesting_is_bounded() -> None:
    body, boundary = SDP_PART, b""
    for depth in range(8):
        body = (
            (
                b"Content-Type: multipart/mixed;boundary="
                + boundary
                + b"\r\n\r\n"
                + multipart(body, boundary=boundary)
            )
            if depth
            else body
        )
        boundary = b"b%d" % depth
    assert find_sdp("multipart/mixed;boundary=b7", multipart(body, boundary=b"b7")) is None


def test_content_length_of_the_part_follows() -> None:
    headers = b"Content-Length:  %d \r\nContent-Type:\r\n application/sdp\r\n\r\n"
    body = multipart(headers % len(SDP) + SDP, ISUP_PART)
    wanted = multipart(headers % len(OTHER) + OTHER, ISUP_PART)
    assert replace_sdp("multipart/mixed;boundary=unique-1", body, OTHER) == wanted


@pytest.mark.parametrize(
    "part",
    [
        b"Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n\r\n" + SDP,
        b"Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w",
        b"Content-Type: text/plain\r\n\r\n" + SDP,
        b"Content-Type: application/sdp\r\n",
        SDP,
        b"",
    ],
)
def test_other_parts_are_not_the_session_description(part: bytes) -> None:
    body = multipart(part)
    assert find_sdp("multipart/mixed;boundary=unique-1", body) is None
    with pytest.raises(ValueError, match="no session description"):
        replace_sdp("multipart/mixed;boundary=unique-1", body, OTHER)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "multipart/mixed",
        "multipart/mixed;boundary=",
        "multipart/mixed;boundary=" + "x" * 71,
    ],
)
def test_types_without_description(content_type: str) -> None:
    assert find_sdp(content_type, multipart(SDP_PART)) is None


def test_the_explicit_session_disposition_counts() -> None:
    body = multipart(
        b"Content-Disposition: session;handling=required\r\nContent-Type: application/sdp\r\n\r\n" + SDP
    )
    assert sdp_in("multipart/related;boundary=unique-1", body) == SDP


@given(st.text(max_size=60), st.binary(max_size=300))
def test_never_raises_and_stays_inside(content_type: str, body: bytes) -> None:
    for kind in (content_type, "multipart/mixed;boundary=b"):
        located = find_sdp(kind, body)
        if located is not None:
            assert 0 <= located.start <= located.stop <= len(body)


pieces = st.sampled_from(
    [
        b"--b\r\n",
        b"--b--\r\n",
        b"\r\n",
        b"Content-Type: application/sdp\r\n",
        b"v=0\r\n",
        b"c: multipart/x;boundary=b\r\n",
        b" ",
        b"l: 5\r\n",
    ]
)


@given(st.lists(pieces, max_size=30))
def test_a_rewrite_changes_the_description_alone(parts: list[bytes]) -> None:
    body = b"".join(parts)
    kind = "multipart/mixed;boundary=b"
    located = find_sdp(kind, body)
    if located is None:
        return
    assert replace_sdp(kind, body, body[located.start : located.stop]).endswith(body[located.stop :])
    changed = replace_sdp(kind, body, b"v=0\r\nX")
    again = find_sdp(kind, changed)
    assert again is not None
    assert changed[again.start : again.stop] == b"v=0\r\nX"


def test_other_headers_of_a_part_and_bare_line_feeds_do_no_harm() -> None:
    body = b"--b\nContent-ID: <1>\nContent-Length: many\nContent-Type: application/sdp\n\nv=0\n--b--\n"
    assert sdp_in("multipart/mixed;boundary=b", body) == b"v=0"
    assert replace_sdp("multipart/mixed;boundary=b", body, b"v=0\nx") == body.replace(b"v=0", b"v=0\nx")
    crossed = b"--b\r\nContent-Type: application/sdp\r\n\r\n--b--"
    assert sdp_in("multipart/mixed;boundary=b", crossed) is None


@pytest.mark.parametrize("encoding", [b"binary", b"8BIT", b"7bit"])
def test_encodings_that_leave_the_octets_alone(encoding: bytes) -> None:
    part = b"Content-Transfer-Encoding: " + encoding + b"\r\nContent-Type: application/sdp\r\n\r\n" + SDP
    assert sdp_in("multipart/mixed;boundary=unique-1", multipart(part)) == SDP
