"""How facts are printed: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 240


def console() -> Console:
    """A console on standard output; as wide as needed where nobody looks (a pipe, a file)."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """One JSON value, indented, on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A plain table; ``empty`` is said instead of a table without rows."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # Text: a "[" in a name is no markup
    if table.row_count:
        console().print(table)
    else:
        typer.echo(empty)


def moment(value: Any) -> str:
    """An instant of the API for a table: ``2026-05-28 20:26:40`` in UTC, or a dash."""
    if not value:
        return "-"
    return datetime.fromisoformat(str(value)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def span(start: Any, end: Any) -> str:
    """From one instant to the other: ``1:02:03``; a dash if either did not happen."""
    if not start or not end:
        return "-"
    seconds = int((datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(start))).total_seconds())
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
