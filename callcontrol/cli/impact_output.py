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


def impact_json(found: Impact) -> dict[str, Any]:
    """The same for programs."""

    def way(each: Way) -> dict[str, Any]:
        return {"steps": list(each.steps), "rule": each.rule, "why": each.why}

    return {
        "calls": found.calls,
        "same": found.same,
        "already": found.already,
        "elsewhere": [
            {
                "call_ref": call.call_ref,
                "started_at": datetime.fromtimestamp(call.started_ms / 1000, UTC)
                .isoformat(timespec="milliseconds")
                .replace("+00:00", "Z"),
                "caller": call.caller,
                "called": call.called,
                "before": way(call.before),
                "after": way(call.after),
            }
            for call in found.elsewhere
        ],
        "unread": [{"call_ref": each.call_ref, "why": each.why} for each in found.unread],
    }
