"""Descriptions of third-party call control."""

from __future__ import annotations

import pytest

from mediarelay.bridging import same_media, waiting_answer
from mediarelay.sdp import parse

SDP = "application/sdp"
OFFER = (
    b"v=0\r\no=gw 7 3 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\na=ssrc:77 cname:x\r\n"
    b"m=video 4002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
)


def test_the_offerer_is_kept_waiting() -> None:
    answer = waiting_answer(OFFER, SDP, 5)
    assert answer is not None
    assert answer.decode().split("\r\n") == [
        "v=0",
        "o=- 5 1 IN IP4 0.0.0.0",
        "s=-",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "m=audio 9 RTP/AVP 8 0 101",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=inactive",
        "m=video 0 RTP/AVP 96",
        "",
    ]
    read = parse(answer)
    assert [media.direction for media in read.media][:1] == ["inactive"]
    assert read.media[1].rejected


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", SDP),
        (b"hello", SDP),
        (OFFER, "text/plain"),
        (OFFER.replace(b"RTP/AVP 8", b"RTP/SAVP 8"), SDP),
        (OFFER.replace(b"audio 4000", b"audio 0"), SDP),
    ],
)
def test_what_cannot_be_answered(body: bytes, kind: str) -> None:
    assert waiting_answer(body, kind, 1) is None


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (b"gw 7 3", b"gw 7 4", True),
        (b"8 0 101", b"8 101", True),
        (b"audio 4000", b"audio 4444", False),
        (b"c=IN IP4 192.0.2.9", b"c=IN IP4 192.0.2.10", False),
        (b"a=sendrecv", b"a=sendonly", False),
        (b"m=video 4002 RTP/AVP 96\r\n", b"", False),
        (b"a=ssrc:77 cname:x", b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x", False),
    ],
)
def test_what_makes_a_description_another(old: bytes, new: bytes, same: bool) -> None:
    assert same_media(OFFER, SDP, OFFER.replace(old, new), SDP) is same


def test_what_cannot_be_read_is_compared_as_it_is() -> None:
    assert same_media(b"x", SDP, b"x", SDP)
    assert not same_media(b"x", SDP, OFFER, SDP)
