"""How the impact of a change on the calls of the past is printed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from callcontrol.explaining.impact import Impact, Way


def print_impact(found: Impact) -> None:
    """The counts, then each call that would have gone elsewhere: before and after, with the rule that decided."""
    counts = [f"{found.same} as before", f"{len(found.elsewhere)} elsewhere"]
    if found.already:
        counts.append(f"{found.already} elsewhere already by earlier changes")
    if found.unread:
        counts.append(f"{len(found.unread)} cannot be replayed")
    typer.echo(f"\nimpact on the last {found.calls} calls: {', '.join(counts)}")
    for call in found.elsewhere:
        moment = datetime.fromtimestamp(call.started_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        typer.echo(f"  call {call.call_ref}, {moment} UTC, {call.caller or 'unknown'} -> {call.called}")
        _print_way("before", call.before)
        _print_way("after", call.after)
    for unread in found.unread:
        typer.echo(f"  call {unread.call_ref} cannot be replayed: {unread.why}")


def _print_way(word: str, way: Way) -> None:
    typer.echo(f"    {word:<7} {'; then '.join(way.steps)}")
    if way.rule:
        typer.echo(f"            {way.rule} {way.why}")


def impact_json(found: Impact) -> Any:
    """The same for programs, as the API gives it."""
    from pydantic import TypeAdapter

    from callcontrol.explaining.view import ImpactView, impact_view

    return TypeAdapter(ImpactView).dump_python(impact_view(found, found.calls), mode="json")
