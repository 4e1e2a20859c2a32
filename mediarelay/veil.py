"""A session description that tells nothing of who wrote it (RFC 3323 §4.1, RFC 8866 §5), for callers who hide.

What describes the session for people (name, title, addresses to write or call to) goes, what describes media stays.
Pure.
"""

from __future__ import annotations

import re
from typing import Final

from mediarelay.body import find_sdp
from mediarelay.sdp import SdpError, parse

_FOR_PEOPLE: Final = ("i=", "u=", "e=", "p=", "a=identity:", "a=cat:", "a=keywds:", "a=tool:")
"""Title, pages, mail and telephone of the sender; assertions of identity (RFC 8827); words about the session."""
_CNAME: Final = re.compile(r"(?<=\scname:)\S+")
"""Who sends a stream (RFC 5576 §6.1): many write user@host there."""
_BOUNDARY: Final = re.compile(r'(?i);\s*boundary=(?:"([^"\r\n]+)"|([^;\s"]+))')


def veiled(body: bytes, content_type: str) -> bytes:
    """The session description of a body, cleaned; empty when there is none that can be read.

    Of a multipart body its other parts are gone (locations, cards, pictures), and it stays multipart.
    """
    located = find_sdp(content_type, body)
    if located is None:
        return b""
    try:
        lines = parse(body[located.start : located.stop]).lines
    except SdpError:
        return b""
    kept = [_cleaned(line) for line in lines if not line.startswith(_FOR_PEOPLE)]
    description = "".join(kept).encode("utf-8", "surrogateescape")
    boundary = (
        _BOUNDARY.search(content_type) if content_type.lower().lstrip().startswith("multipart/") else None
    )
    if boundary is None:
        return description
    line = b"--" + (boundary[1] or boundary[2]).encode("utf-8", "surrogateescape")
    return line + b"\r\nContent-Type: application/sdp\r\n\r\n" + description + b"\r\n" + line + b"--\r\n"


def _cleaned(line: str) -> str:
    if line.startswith("s="):
        return "s=-" + line[len(line.rstrip("\r\n")) :]
    if line.startswith("o="):
        _, blank, rest = line.partition(" ")
        return f"o=-{blank}{rest}"
    if line.startswith("a=ssrc:"):
        return _CNAME.sub("-", line)
    return line
