"""Session descriptions that travel through us: read without loss, changed line by line (RFC 8866, RFC 3264).

A description is kept as the lines that were received, with their own line ends.  Reading an attribute never
changes a byte; a rewrite replaces exactly one line, so ICE, DTLS fingerprints, SDES keys, unknown attributes
and vendor lines come out as they came in.  Bytes that are not UTF-8 (``a=charset``, RFC 8866 §6.10) pass
through as well.

Left out on purpose: building descriptions from nothing, and judging codecs.  With direct media the two ends
agree between themselves; what we need is to see (direction, addresses, hold) and to keep one ``o=`` line per
leg (RFC 3264 §8).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_LINES: Final = 4096
"""Bound on lines; the largest offers of browsers with many candidates stay below 600."""
MAX_MEDIA: Final = 64
"""Bound on media sections; browsers' conference offers reach about 30."""

DIRECTIONS: Final = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_HELD: Final = frozenset({"sendonly", "inactive"})
_NULL_ADDRESSES: Final = frozenset({"0.0.0.0", "::"})


class SdpError(ValueError):
    """A body that says it is SDP but cannot be read as far as we need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The ``o=`` line (RFC 8866 §5.2)."""

    username: str
    session_id: str
    version: str
    network_type: str
    address_type: str
    address: str

    @property
    def identity(self) -> tuple[str, str, str, str, str]:
        """What makes the session globally unique: everything but the version."""
        return (self.username, self.session_id, self.network_type, self.address_type, self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A ``c=`` line (RFC 8866 §5.7), or the address part of ``a=rtcp`` (RFC 3605)."""

    network_type: str
    address_type: str
    address: str
    """Address without the TTL and count of multicast."""

    @property
    def is_null(self) -> bool:
        """The old way to hold a call (RFC 2543; RFC 3264 §8.4 tells to accept it)."""
        return self.address in _NULL_ADDRESSES


class Section:
    """Lines of one part of the description: the session part or one media part."""

    __slots__ = ("_sdp", "start", "stop")

    def __init__(self, sdp: Sdp, start: int, stop: int) -> None:
        self._sdp = sdp
        self.start = start
        """Index of the first line (the ``m=`` line of a media part)."""
        self.stop = stop
        """Index after the last line."""

    def lines(self, kind: str) -> Iterator[tuple[int, str]]:
        """Index and value of the lines of one type letter, in order."""
        prefix = kind + "="
        for index in range(self.start, self.stop):
            raw = self._sdp.lines[index]
            if raw.startswith(prefix):
                yield index, raw[2:].rstrip("\r\n")

    def attributes(self, name: str) -> list[str]:
        """Values of all ``a=name`` or ``a=name:value`` lines; a flag gives an empty value."""
        return [value for _, value in self._find(name)]

    def attribute(self, name: str) -> str | None:
        """First value of an attribute, an empty string for a flag, or None."""
        for _, value in self._find(name):
            return value
        return None

    def _find(self, name: str) -> Iterator[tuple[int, str]]:
        for index, text in self.lines("a"):
            key, _, value = text.partition(":")
            if key == name:
                yield index, value

    @property
    def end(self) -> int:
        """Where a line may be added: after the last line that is not empty (some devices send empty lines at
        the end)."""
        index = self.stop
        while index > self.start + 1 and not self._sdp.lines[index - 1].strip():
            index -= 1
        return index

    @property
    def connections(self) -> list[Connection]:
        """``c=`` lines of this part only (a media part may have several, RFC 8866 §5.7)."""
        return [found for _, value in self.lines("c") if (found := _connection(value)) is not None]

    @property
    def direction_line(self) -> int | None:
        """Index of the last direction attribute of this part, None if it has none."""
        last = None
        for index, text in self.lines("a"):
            if text.strip() in DIRECTIONS:
                last = index
        return last


class Media(Section):
    """One media section (RFC 8866 §5.14)."""

    __slots__ = ("formats", "index", "kind", "port", "port_count", "protocol")

    def __init__(self, sdp: Sdp, start: int, stop: int, index: int) -> None:
        super().__init__(sdp, start, stop)
        self.index = index
        """Position among the media sections, from 0; offer and answer match by it (RFC 3264 §6)."""
        fields = sdp.lines[start][2:].split()
        if len(fields) < 3:
            raise SdpError(f"m= line {index + 1} has too few fields")
        port, _, count = fields[1].partition("/")
        if not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise SdpError(f"m= line {index + 1} has no valid port")
        self.kind = fields[0]
        """``audio``, ``video``, ``application``, …"""
        self.port = int(port)
        self.port_count = int(count) if count.isascii() and count.isdigit() and len(count) < 6 else 1
        self.protocol = fields[2]
        """``RTP/AVP``, ``UDP/TLS/RTP/SAVPF``, …"""
        self.formats = tuple(fields[3:])

    @property
    def rejected(self) -> bool:
        """Port zero: refused or ended (RFC 3264 §6, §8.2); a bundled section has port zero as well (RFC
        9143)."""
        return self.port == 0

    @property
    def connection(self) -> Connection | None:
        """The address that holds for this media: its own ``c=``, else the session's."""
        own = self.connections or self._sdp.session.connections
        return own[0] if own else None

    @property
    def direction(self) -> str:
        """Own direction, else the session's, else ``sendrecv`` (RFC 8866 §6.7)."""
        line = self.direction_line
        if line is None:
            line = self._sdp.session.direction_line
        return "sendrecv" if line is None else self._sdp.lines[line][2:].strip()

    @property
    def rtcp(self) -> tuple[int, Connection | None]:
        """Port and address of RTCP: ``a=rtcp`` (RFC 3605), the RTP port with ``a=rtcp-mux``, else the next
        port."""
        value = self.attribute("rtcp")
        if value is not None:
            port, _, rest = value.strip().partition(" ")
            if port.isascii() and port.isdigit() and int(port) <= 65535:
                return int(port), _connection(rest) or self.connection
        if self.attribute("rtcp-mux") is not None:
            return self.port, self.connection
        return self.port + 1, self.connection

    @property
    def held(self) -> bool:
        """The sender of this description does not want to hear this media (RFC 3264 §8.4)."""
        if self.direction in _HELD:
            return True
        connection = self.connection
        return connection is not None and connection.is_null


class Sdp:
    """One session description.  Immutable: changes give a new one that shares the untouched lines."""

    __slots__ = ("_media", "lines")

    def __init__(self, lines: tuple[str, ...]) -> None:
        self.lines = lines
        """Lines as received, each with its own line end."""
        self._media: tuple[Media, ...] | None = None

    def __str__(self) -> str:
        return "".join(self.lines)

    def __repr__(self) -> str:
        return f"Sdp({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sdp) and self.lines == other.lines

    def __hash__(self) -> int:
        return hash(self.lines)

    def encode(self) -> bytes:
        """The body for the wire; what was not changed is what was parsed, byte for byte."""
        return "".join(self.lines).encode("utf-8", "surrogateescape")

    @property
    def session(self) -> Section:
        """Lines before the first ``m=``."""
        media = self.media
        return Section(self, 0, media[0].start if media else len(self.lines))

    @property
    def media(self) -> tuple[Media, ...]:
        """Media sections in order.  Raises SdpError when an ``m=`` line cannot be read."""
        if self._media is None:
            starts = [index for index, raw in enumerate(self.lines) if raw.startswith("m=")]
            if len(starts) > MAX_MEDIA:
                raise SdpError(f"more than {MAX_MEDIA} media sections")
            ranges = zip(starts, [*starts[1:], len(self.lines)], strict=False)
            self._media = tuple(Media(self, start, stop, i) for i, (start, stop) in enumerate(ranges))
        return self._media

    @property
    def origin(self) -> Origin:
        """The ``o=`` line.  Raises SdpError when there is none or it has not six fields."""
        return _origin(self.lines[_origin_line(self)])

    def replace_line(self, index: int, content: str) -> Sdp:
        """A copy with one line replaced; the line end stays.  Raises ValueError for content with a line end
        in it."""
        return Sdp(
            (*self.lines[:index], _checked(content) + _eol(self.lines[index]), *self.lines[index + 1 :])
        )

    def insert_line(self, index: int, content: str) -> Sdp:
        """A copy with a line inserted before ``index``, with the line end in use around it."""
        lines = list(self.lines)
        eol = next((end for raw in reversed(lines[:index]) if (end := _eol(raw))), "\r\n")
        if index > 0 and not _eol(lines[index - 1]):
            # The last line may come without a line end (RFC 8866 §5 asks for one; devices forget it).
            lines[index - 1] += eol
        lines.insert(index, _checked(content) + eol)
        return Sdp(tuple(lines))


def parse(body: bytes) -> Sdp:
    """Read a session description.

    Raises SdpError when it does not start with ``v=``, is not within bounds or has an unreadable ``m=`` line;
    everything else (unknown types, wrong order, empty lines, missing last line end) is kept and passed on.
    """
    if not body.startswith(b"v="):
        raise SdpError("does not start with v=")
    pieces = body.splitlines(keepends=True)
    if len(pieces) > MAX_LINES:
        raise SdpError(f"more than {MAX_LINES} lines")
    # The octets are decoded one line at a time: an invalid sequence cannot swallow a line end.
    sdp = Sdp(tuple(piece.decode("utf-8", "surrogateescape") for piece in pieces))
    _ = sdp.media  # an unreadable m= line shows now, not in the middle of a call
    return sdp


def media_lines(sdp: Sdp) -> tuple[Media, ...]:
    """The media sections in order (RFC 3264 §5: their number and order never change within a session)."""
    return sdp.media


def with_origin(sdp: Sdp, session_id: str, version: int) -> Sdp:
    """Rewrite session id and version of ``o=`` and keep the rest of the line.

    The far end of a leg must see one session id and a version that grows by one with each change (RFC 3264
    §8), whatever description of whichever B-leg we pass to it.  Raises SdpError when there is no readable
    ``o=`` line.
    """
    if not (session_id.isascii() and session_id.isdigit()) or version < 0:
        raise ValueError("session id and version of o= are numeric strings (RFC 8866 §5.2)")
    index = _origin_line(sdp)
    origin = _origin(sdp.lines[index])
    return sdp.replace_line(
        index,
        f"o={origin.username} {session_id} {version} "
        f"{origin.network_type} {origin.address_type} {origin.address}",
    )


def set_direction(sdp: Sdp, direction: str, media: int | None = None) -> Sdp:
    """Give one media section (or all that are not refused) a direction attribute.

    An existing line is replaced where it stands; a new one goes to the end of the media section.  Nothing
    changes where the direction holds already.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"not a direction: {direction}")
    wanted = range(len(sdp.media)) if media is None else (media,)
    for index in wanted:
        section = sdp.media[index]
        if section.direction == direction or (media is None and section.rejected):
            continue
        line = section.direction_line
        content = "a=" + direction
        sdp = sdp.insert_line(section.end, content) if line is None else sdp.replace_line(line, content)
    return sdp


def is_hold(sdp: Sdp) -> bool:
    """Whether the sender puts the other side on hold: every live media section is sendonly, inactive or has a
    null address."""
    live = [media for media in sdp.media if not media.rejected]
    return bool(live) and all(media.held for media in live)


def same_session(a: Sdp, b: Sdp) -> bool:
    """Whether both describe the same session: ``o=`` equal but for the version (RFC 8866 §5.2)."""
    return a.origin.identity == b.origin.identity


def same_content(a: Sdp, b: Sdp) -> bool:
    """Whether nothing but ``o=`` differs: a session refresh, not a change of media."""
    return _without_origin(a) == _without_origin(b)


def _without_origin(sdp: Sdp) -> list[str]:
    return [raw.rstrip("\r\n") for raw in sdp.lines if not raw.startswith("o=")]


def _origin_line(sdp: Sdp) -> int:
    for index, raw in enumerate(sdp.lines):
        if raw.startswith("o="):
            return index
        if raw.startswith("m="):
            break
    raise SdpError("no o= line")


def _origin(raw: str) -> Origin:
    fields = raw[2:].split()
    if len(fields) != 6:
        raise SdpError("o= has not six fields")
    username, session_id, version, network_type, address_type, address = fields
    return Origin(
        username=username,
        session_id=session_id,
        version=version,
        network_type=network_type,
        address_type=address_type,
        address=address,
    )


def _connection(value: str) -> Connection | None:
    fields = value.split()
    if len(fields) != 3:
        return None
    return Connection(
        network_type=fields[0],
        address_type=fields[1],
        address=fields[2].partition("/")[0],
    )


def _eol(raw: str) -> str:
    return raw[len(raw.rstrip("\r\n")) :]


def _checked(content: str) -> str:
    if "\r" in content or "\n" in content or "\0" in content:
        raise ValueError("a line of SDP holds no line end and no NUL")
    return content
