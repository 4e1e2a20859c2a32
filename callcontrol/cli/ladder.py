"""A SIP ladder as SIP people draw it: a column per party, an arrow per message, the time at the left.

Pure: a ladder in, lines of text out; the caller colours them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_TIME_WIDTH = 9
_MIN_GAP = 14
_MAX_GAP = 44


@dataclass(frozen=True, slots=True)
class Arrow:
    """One message."""

    at: datetime
    source: int
    target: int
    label: str
    tail: str
    """What stands at the right: transport and note."""
    message: str


@dataclass(frozen=True, slots=True)
class Ladder:
    """What is drawn."""

    parties: tuple[tuple[str, str], ...]
    """Name and address, from left to right."""
    arrows: tuple[Arrow, ...]
    truncated: int = 0


def read(view: Mapping[str, Any]) -> Ladder:
    """A ladder from the API's JSON (``LadderView``)."""
    arrows = []
    for entry in view["entries"]:
        tail = " ".join(
            part for part in (entry["transport"], f"({entry['note']})" if entry["note"] else "") if part
        )
        arrows.append(
            Arrow(
                at=datetime.fromisoformat(entry["at"]),
                source=entry["source"],
                target=entry["target"],
                label=entry["label"],
                tail=tail,
                message=entry["message"],
            )
        )
    parties = tuple((party["name"], party["address"]) for party in view["parties"])
    return Ladder(parties, tuple(arrows), view["truncated"])


def draw(ladder: Ladder, full: bool = False) -> list[str]:
    """The lines of the drawing; ``full`` adds each message's text below its arrow."""
    gap = _gap(ladder)
    columns = [_TIME_WIDTH + gap // 2 + gap * index for index in range(len(ladder.parties))]
    lines = [_heads([name for name, _ in ladder.parties], columns, gap)]
    if any(address for _, address in ladder.parties):
        lines.append(_heads([address for _, address in ladder.parties], columns, gap))
    lines.append(_lifelines(columns))
    for arrow in ladder.arrows:
        seconds = (arrow.at - ladder.arrows[0].at).total_seconds()
        lines.append(f"{seconds:8.3f}" + _arrow_line(arrow, columns)[8:])
        if full and arrow.message:
            lines.extend(
                f"{'':8}  {line}" for line in arrow.message.replace("\r", "").rstrip("\n").split("\n")
            )
    if ladder.truncated:
        lines.append(f"{'':{_TIME_WIDTH}}… and {ladder.truncated} more messages that were not kept")
    return lines


def _gap(ladder: Ladder) -> int:
    """Distance of two columns: every label fits between its parties, within reason."""
    gap = _MIN_GAP
    for name, address in ladder.parties:
        gap = max(gap, len(name) + 2, len(address) + 2)
    for arrow in ladder.arrows:
        span = max(abs(arrow.target - arrow.source), 1)
        gap = max(gap, -(-(len(arrow.label) + 7) // span))
    return min(gap, _MAX_GAP)


def _heads(texts: Sequence[str], columns: Sequence[int], gap: int) -> str:
    line = ""
    for text, column in zip(texts, columns, strict=True):
        shown = text if len(text) < gap else text[: gap - 2] + "…"
        line = line.ljust(max(column - len(shown) // 2, 0)) + shown
    return line.rstrip()


def _lifelines(columns: Sequence[int]) -> str:
    line = [" "] * (columns[-1] + 1) if columns else []
    for column in columns:
        line[column] = "│"
    return "".join(line)


def _arrow_line(arrow: Arrow, columns: Sequence[int]) -> str:
    line = list(_lifelines(columns))
    if arrow.source == arrow.target:
        text = f" {arrow.label} (to itself)"
        return "".join(line[: columns[arrow.source] + 1]) + text
    left, right = sorted((columns[arrow.source], columns[arrow.target]))
    room = right - left - 1
    line[left + 1 : right] = "─" * room
    if arrow.target > arrow.source:
        line[right - 1] = "▶"
    else:
        line[left + 1] = "◀"
    label = arrow.label if len(arrow.label) <= room - 6 else arrow.label[: room - 7] + "…"
    begin = left + 1 + (room - len(label) - 2) // 2
    line[begin : begin + len(label) + 2] = f" {label} "
    return "".join(line) + (f"  {arrow.tail}" if arrow.tail else "")
