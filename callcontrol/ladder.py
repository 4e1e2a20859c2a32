"""The SIP ladder of running and recent calls: who sent what to whom, when (OPS-02).

Every message leaves one short line; the whole text is kept as long as the budget of bytes lasts, so that a call of a minute ago
can be read in full and a node with many calls up does not grow.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

MAX_LINES: Final = 400
"""Lines kept of one call: a call that exchanges more (a day of session refreshes) keeps its beginning and is counted."""


_START_MAX: Final = 80
_SDP: Final = b"\r\n\r\nv=0\r"
"""The end of the head and the beginning of a session description."""


class Line:
    """One message of one leg."""

    __slots__ = ("_start", "at", "data", "flow", "leg", "outgoing")

    def __init__(self, at: float, leg: str, outgoing: bool, flow: str, data: bytes) -> None:
        self.at = at
        self.leg = leg
        self.outgoing = outgoing
        self.flow = flow
        """Dumped flow, or the URI that was not resolved yet."""
        self.data: bytes = data
        """The whole message; empty once the budget needed the room."""
        self._start = b""

    @property
    def label(self) -> str:
        """The start line as a ladder shows it; worked out when somebody looks."""
        return label_of(self.data or self._start)

    def shrink(self) -> int:
        """Keep what the label is made of alone; returns the bytes given back."""
        data = self.data
        end = data.find(b"\r\n")
        start = data[: end if end >= 0 else _START_MAX]
        self._start = start + _SDP if data.find(_SDP, end) >= 0 else start
        self.data = b""
        return len(data)


class Ladders:
    """Ladders by call reference, for running calls and the last ``recent`` ended ones."""

    def __init__(self, budget: int = 2 * 1024 * 1024, recent: int = 500) -> None:
        """``budget``: bytes of whole messages that are kept."""
        self._budget = budget
        self._recent = recent
        self._lines: dict[str, list[Line]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._full: deque[Line] = deque()
        self._bytes = 0
        self.dropped: dict[str, int] = {}

    def add(self, ref: str, at: float, leg: str, outgoing: bool, flow: str, data: bytes) -> None:
        """Note a message; ``data`` is the message as bytes."""
        lines = self._lines.get(ref)
        if lines is None:
            lines = self._lines[ref] = []
        elif len(lines) >= MAX_LINES:
            self.dropped[ref] = self.dropped.get(ref, 0) + 1
            return
        line = Line(at, leg, outgoing, flow, data)
        lines.append(line)
        self._full.append(line)
        self._bytes += len(data)
        while self._bytes > self._budget:
            self._bytes -= self._full.popleft().shrink()

    def of(self, ref: str) -> list[Line]:
        return self._lines.get(ref, [])

    def move(self, ref: str, to: str) -> None:
        """A leg went over to another call: its further messages are noted there; what was is told in both."""
        self._lines.setdefault(to, []).extend(self._lines.get(ref, [])[:MAX_LINES])

    def end(self, ref: str) -> None:
        """The call ended: it is remembered until ``recent`` further ones ended."""
        self._ended[ref] = None
        while len(self._ended) > self._recent:
            old, _ = self._ended.popitem(last=False)
            self._lines.pop(old, None)
            self.dropped.pop(old, None)


def label_of(data: bytes) -> str:
    """``INVITE (SDP)``, ``180 Ringing``: the start line as a ladder shows it."""
    end = data.find(b"\r\n")
    start = data[: end if end >= 0 else _START_MAX].decode("utf-8", "replace")
    has_sdp = data.find(_SDP, end) >= 0
    if start.startswith("SIP/2.0 "):
        text = start[8:]
    else:
        text = start.partition(" ")[0]
    return f"{text} (SDP)" if has_sdp else text
