"""``cloudline number block``, ``forward``, ``slots`` …: what happens to calls to a number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callcontrol.cli import edit_desk
from callcontrol.cli.options import AsJson, ConfigFile
from callcontrol.cli.output import print_json

if TYPE_CHECKING:
    from numbering.models import CloudNumber

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="In E.164, +33…")]
Callers = Annotated[
    list[str],
    typer.Argument(
        metavar="CALLER...",
        help="Numbers, beginnings (+3316*), classes (class:premium), or anonymous: everyone who hides.",
    ),
]
Spam = Annotated[bool, typer.Option("--spam", help="Mark as spam instead; refused as well.")]
Slots = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SLOT...]", help='"mon-fri 08:30-19:00"; without any: show what is set.'),
]
Zone = Annotated[str, typer.Option("--zone", help="Europe/Paris; default: that of the number's country.")]
Holidays = Annotated[
    list[str] | None, typer.Option("--holidays", help="Closed on the holidays of a calendar: FR, DE-BY.")
]
Always = Annotated[bool, typer.Option("--always", help="Take the hours away.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``cloudline number``."""
    app.command()(blocks)
    app.command()(block)
    app.command()(unblock)
    app.command()(forward)
    app.command()(slots)


def blocks(number: Number, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Callers who are refused on a number."""
    edit_desk.show_blocks(_number(config, number), as_json)


def block(
    number: Number, callers: Callers, spam: Spam = False, as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """Refuse callers on a number."""
    key = edit_desk.number_of(number)
    edit_desk.show_blocks(edit_desk.block(config, "number", key, callers, spam), as_json)


def unblock(number: Number, callers: Callers, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Refuse callers no longer."""
    key = edit_desk.number_of(number)
    edit_desk.show_blocks(edit_desk.unblock(config, "number", key, callers), as_json)


def forward(
    number: Number,
    mode: Annotated[
        str, typer.Argument(metavar="[MODE]", help="off, all or missed; without: show what is set.")
    ] = "",
    to: Annotated[
        str, typer.Argument(metavar="[TO]", help="Where to; a national number is read in its country.")
    ] = "",
    cause: Annotated[
        list[str] | None,
        typer.Option("--cause", help="Of missed: no_answer, busy, declined, unreachable; default: all."),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Forward calls to a number, all or those that are missed."""
    found = _number(config, number)
    if mode:
        patch: dict[str, Any] = {"mode": mode, "causes": cause or None}
        if to:
            patch["to"] = to
        found = edit_desk.change(config, "number", found.e164, {"forward": patch})
    set_ = found.forward
    if as_json:
        print_json({"mode": set_.mode.value, "to": set_.to or None, "causes": list(set_.causes)})
        return
    target = f" to {set_.to}" if set_.to else ""
    causes = f" for {', '.join(set_.causes)}" if set_.mode.value == "missed" else ""
    typer.echo(f"{found.e164}: {set_.mode}{target}{causes}")


def slots(
    number: Number,
    slots: Slots = None,
    zone: Zone = "",
    holidays: Holidays = None,
    always: Always = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """When a number is on: show it, with the next change, or set it."""
    found = _number(config, number)
    if slots or holidays or always:
        patch: dict[str, Any] = {}
        if always:
            patch = {"slot": None, "holidays": None, "special": None}
        if slots:
            named = {"zone": zone} if zone else {}
            patch["slot"] = [{**named, **slot} for slot in edit_desk.slots_of(slots)]
        if holidays:
            patch["holidays"] = holidays
        found = edit_desk.change(config, "number", found.e164, patch)
    edit_desk.show_hours(found.hours, as_json)


def _number(config: Path | None, text: str) -> CloudNumber:
    found: CloudNumber = edit_desk.find(config, "number", edit_desk.number_of(text))
    return found
