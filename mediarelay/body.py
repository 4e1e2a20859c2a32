"""The session description inside a message body, alone or as one part of a multipart body (RFC 2046, RFC
5621).

A multipart body (SDP with ISUP, with PIDF-LO location, with resource lists) is never rebuilt: the octets of
the description are located in it and only those are replaced, so every other part passes unharmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_DEPTH: Final = 4
"""How deep multiparts may nest; RFC 5621 examples have two levels."""
MAX_PARTS: Final = 64

_IDENTITY_ENCODINGS: Final = frozenset({"", "7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where the description lies in the body."""

    start: int
    stop: int
    length_start: int = -1
    """Value of a Content-Length among the headers of the part, which must follow a new size; -1: it has
    none."""
    length_stop: int = -1


def find_sdp(content_type: str, body: bytes) -> Located | None:
    """Locate the session description of a body with this Content-Type value; None if it has none.

    Only the description of the session itself counts: a part with another Content-Disposition
    (``early-session``, RFC 3959) or a transfer encoding that hides its octets is left alone.
    """
    kind, parameters = _media_type(content_type)
    if kind == "application/sdp":
        return Located(start=0, stop=len(body)) if body else None
    if kind.startswith("multipart/"):
        return _in_multipart(parameters, body, 0, len(body), MAX_DEPTH)
    return None


def replace_sdp(content_type: str, body: bytes, description: bytes) -> bytes:
    """The same body with another session description.  Raises ValueError if the body has none."""
    located = find_sdp(content_type, body)
    if located is None:
        raise ValueError("body has no session description")
    after = description + body[located.stop :]
    if located.length_start < 0:
        return body[: located.start] + after
    length = str(len(description)).encode()
    between = body[located.length_stop : located.start]
    return body[: located.length_start] + length + between + after


def _in_multipart(
    parameters: dict[str, str], body: bytes, start: int, stop: int, depth: int
) -> Located | None:
    boundary = parameters.get("boundary", "")
    if not boundary or len(boundary) > 70 or depth == 0:  # RFC 2046 §5.1.1: at most 70 characters
        return None
    for part_start, part_stop in _parts(
        body, start, stop, b"--" + boundary.encode("utf-8", "surrogateescape")
    ):
        found = _in_part(body, part_start, part_stop, depth)
        if found is not None:
            return found
    return None


def _parts(body: bytes, start: int, stop: int, delimiter: bytes) -> list[tuple[int, int]]:
    """Ranges between delimiter lines, without the line end that belongs to the delimiter (RFC 2046
    §5.1.1)."""
    parts: list[tuple[int, int]] = []
    opened = -1
    position = start
    while position < stop and len(parts) < MAX_PARTS:
        end = body.find(b"\n", position, stop)
        after = stop if end < 0 else end + 1
        line = body[position:after].rstrip()
        if line == delimiter or line == delimiter + b"--":
            if opened >= 0:
                parts.append((opened, max(opened, _without_line_end(body, opened, position))))
            if line != delimiter:
                return parts
            opened = after
        position = after
    return parts


def _without_line_end(body: bytes, start: int, stop: int) -> int:
    if stop - 1 >= start and body[stop - 1 : stop] == b"\n":
        stop -= 1
        if stop - 1 >= start and body[stop - 1 : stop] == b"\r":
            stop -= 1
    return stop


def _in_part(body: bytes, start: int, stop: int, depth: int) -> Located | None:
    content_type = ""
    length_start = length_stop = -1
    position = start
    while position < stop:
        end = body.find(b"\n", position, stop)
        after = stop if end < 0 else end + 1
        line = body[position:after].decode("utf-8", "surrogateescape").rstrip("\r\n")
        if not line:
            position = after
            break
        while body[after : after + 1] in (b" ", b"\t") and after < stop:  # folded header
            end = body.find(b"\n", after, stop)
            folded = stop if end < 0 else end + 1
            line += " " + body[after:folded].decode("utf-8", "surrogateescape").strip()
            after = folded
        name, _, value = line.partition(":")
        match name.strip().lower():
            case "content-type" | "c":
                content_type = value.strip()
            case "content-disposition":
                if value.partition(";")[0].strip().lower() not in ("", "session"):
                    return None
            case "content-transfer-encoding":
                if value.strip().lower() not in _IDENTITY_ENCODINGS:
                    return None
            case "content-length" | "l":
                digits = value.strip()
                if digits.isascii() and digits.isdigit():
                    length_start = body.index(digits.encode(), position, after)
                    length_stop = length_start + len(digits)
        position = after
    kind, parameters = _media_type(content_type)
    if kind == "application/sdp" and position < stop:
        return Located(start=position, stop=stop, length_start=length_start, length_stop=length_stop)
    if kind.startswith("multipart/") and length_start < 0:
        return _in_multipart(parameters, body, position, stop, depth - 1)
    return None


def _media_type(value: str) -> tuple[str, dict[str, str]]:
    """Type in lower case without blanks, and its parameters; quoted values may hold ``;`` (RFC 2045 §5.1)."""
    pieces: list[str] = []
    piece: list[str] = []
    quoted = escaped = False
    for char in value:
        if escaped:
            piece.append(char)
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == ";" and not quoted:
            pieces.append("".join(piece))
            piece = []
        else:
            piece.append(char)
    pieces.append("".join(piece))
    parameters: dict[str, str] = {}
    for text in pieces[1:]:
        key, _, content = text.partition("=")
        parameters.setdefault(key.strip().lower(), content.strip())
    return "".join(pieces[0].split()).lower(), parameters
