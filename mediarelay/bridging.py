"""Descriptions of third-party call control (RFC 3725): an answer that takes nothing yet, and whether two parties still agree.

A party that is called first, while the other one is still to be called, offers its session; the answer that keeps it waiting
accepts every stream that can be accepted and receives and sends nothing (RFC 3264 §6.1, ``a=inactive``).
"""

from __future__ import annotations

from typing import Final

from mediarelay.body import find_sdp
from mediarelay.sdp import Media, Sdp, SdpError, parse

_DISCARD: Final = 9
_KEPT: Final = ("rtpmap", "fmtp", "mid", "ptime")
"""Attributes of an offered stream that its answer repeats."""
_SECURED: Final = ("SAVP", "SAVPF", "DTLS")
_TRANSPORT: Final = ("crypto", "fingerprint", "ice-ufrag", "candidate")
"""Attributes that say how media travel, besides port and address."""


def waiting_answer(body: bytes, content_type: str, number: int) -> bytes | None:
    """The answer to an offer that keeps the offerer waiting; ``number`` names our session.

    None when there is no offer that can be read, or none of its streams can be held without keys of ours.
    """
    offer = _description(body, content_type)
    if offer is None:
        return None
    lines = ["v=0", f"o=- {number} 1 IN IP4 0.0.0.0", "s=-", "c=IN IP4 0.0.0.0", "t=0 0"]
    accepted = False
    for media in offer.media:
        fits = media.kind == "audio" and not media.rejected
        if not fits or any(word in media.protocol for word in _SECURED):
            lines.append(f"m={media.kind} 0 {media.protocol} {' '.join(media.formats)}")
            continue
        accepted = True
        lines.append(f"m=audio {_DISCARD} {media.protocol} {' '.join(media.formats)}")
        for name in _KEPT:
            lines.extend(f"a={name}:{value}" for value in media.attributes(name))
        lines.append("a=inactive")
    if not accepted:
        return None
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")


def same_media(first: bytes, first_type: str, second: bytes, second_type: str) -> bool:
    """Whether a party that was told ``first`` can go on when the other's description is ``second`` now.

    Streams, addresses and ports must be the same; that fewer codecs are left after an agreement is no change.
    """
    one, two = _description(first, first_type), _description(second, second_type)
    if one is None or two is None:
        return first == second
    if len(one.media) != len(two.media):
        return False
    return all(_place(a) == _place(b) for a, b in zip(one.media, two.media, strict=True))


def _place(media: Media) -> tuple[object, ...]:
    if media.rejected:
        return (media.kind, 0)
    connection = media.connection
    address = "" if connection is None else connection.address
    how = [media.attributes(name) for name in _TRANSPORT]
    return (media.kind, media.port, media.protocol, address, media.direction, how)


def _description(body: bytes, content_type: str) -> Sdp | None:
    located = find_sdp(content_type, body)
    if located is None:
        return None
    try:
        return parse(body[located.start : located.stop])
    except SdpError:
        return None
