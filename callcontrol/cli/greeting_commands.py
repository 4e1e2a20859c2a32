"""``cloudline greeting …``: company numbers that hunt over members, directly in the database of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from callcontrol.cli import edit_desk
from callcontrol.cli.calling_commands import Always, Callers, Holidays, Slots, Spam, Zone
from callcontrol.cli.client import Failure
from callcontrol.cli.options import AsJson, ConfigFile, Limit
from callcontrol.cli.output import print_json, print_table

if TYPE_CHECKING:
    from numbering.models import Greeting

app = typer.Typer(
    help="Greetings: company numbers that hunt over members, with their hours.", no_args_is_help=True
)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="Of the Greeting, in E.164, +33…")]
Action = "hunt, forward:+33…, voicemail, announce:NAME or refuse."


@app.command("list")
def list_(
    account: Annotated[str, typer.Option("--account", help="Only of this company.")] = "",
    limit: Limit = 100,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Greetings in the order of their numbers."""
    where: dict[str, str | None] = {"account": account} if account else {}
    found = edit_desk.listed(config, "greeting", where, limit)
    if as_json:
        print_json([_json(each) for each in found])
        return
    print_table(
        ["NUMBER", "ACCOUNT", "STRATEGY", "MEMBERS"],
        (
            (each.number, each.account, each.strategy.value, ", ".join(m.user for m in each.members))
            for each in found
        ),
        "there is no Greeting",
    )


@app.command()
def show(number: Number, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """One Greeting, as a document says it."""
    _shown(edit_desk.find(config, "greeting", edit_desk.number_of(number)), as_json)


@app.command("set")
def set_(
    number: Number,
    account: Annotated[str, typer.Option("--account", help="Company; of a new Greeting it is needed.")] = "",
    strategy: Annotated[
        str,
        typer.Option("--strategy", help="cascade, simultaneous, round_robin, longest_idle or priority."),
    ] = "",
    member: Annotated[
        list[str] | None,
        typer.Option(
            "--member", help="Ref of a user, in the order of the hunt; USER:PRIORITY:SECONDS for more."
        ),
    ] = None,
    ring_seconds: Annotated[float | None, typer.Option("--ring-seconds", help="How long each rings.")] = None,
    repeat: Annotated[int | None, typer.Option("--repeat", help="How often the hunt is repeated.")] = None,
    limit_seconds: Annotated[
        float | None, typer.Option("--limit-seconds", help="The longest hunt; 0: as the settings say.")
    ] = None,
    flow: Annotated[str, typer.Option("--flow", metavar="ACTION", help="In its hours: " + Action)] = "",
    closed: Annotated[
        str, typer.Option("--closed", metavar="ACTION", help="Outside of its hours: " + Action)
    ] = "",
    unanswered: Annotated[
        str, typer.Option("--unanswered", metavar="ACTION", help="When nobody answers: " + Action)
    ] = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Make a Greeting, or change what is named of one."""
    key = edit_desk.number_of(number)
    patch: dict[str, Any] = {}
    if account:
        patch["account"] = account
    if strategy:
        patch["strategy"] = strategy
    if member:
        patch["members"] = [_member(each) for each in member]
    for name, value in (("ring_seconds", ring_seconds), ("repeat", repeat), ("limit_seconds", limit_seconds)):
        if value is not None:
            patch[name] = value
    for name, text in (("flow", flow), ("closed", closed), ("unanswered", unanswered)):
        if text:
            action, _, to = text.partition(":")
            patch[name] = {"action": action, "to": to or None}
    if not patch:
        raise Failure("nothing is named: see cloudline greeting set --help")
    _shown(edit_desk.change(config, "greeting", key, patch, make=True), as_json)


@app.command()
def hours(
    number: Number,
    slots: Slots = None,
    zone: Zone = "",
    holidays: Holidays = None,
    always: Always = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """When a Greeting is open: show it, with the next change, or set it."""
    found: Greeting = edit_desk.find(config, "greeting", edit_desk.number_of(number))
    patch: dict[str, Any] = {"open": None, "holidays": None, "special": None} if always else {}
    if slots:
        patch["open"] = edit_desk.slots_of(slots)
    if zone:
        patch["zone"] = zone
    if holidays:
        patch["holidays"] = holidays
    if patch:
        found = edit_desk.change(config, "greeting", found.number, patch)
    edit_desk.show_hours(found.hours, as_json)


@app.command()
def remove(number: Number, config: ConfigFile = None) -> None:
    """Remove a Greeting; its number goes into quarantine."""
    key = edit_desk.number_of(number)
    edit_desk.remove(config, "greeting", key)
    typer.echo(f"{key}: removed; the number rests in quarantine")


@app.command()
def blocks(number: Number, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Callers whom a Greeting refuses."""
    edit_desk.show_blocks(edit_desk.find(config, "greeting", edit_desk.number_of(number)), as_json)


@app.command()
def block(
    number: Number, callers: Callers, spam: Spam = False, as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """Let a Greeting refuse callers."""
    key = edit_desk.number_of(number)
    edit_desk.show_blocks(edit_desk.block(config, "greeting", key, callers, spam), as_json)


@app.command()
def unblock(number: Number, callers: Callers, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Let a Greeting refuse callers no longer."""
    key = edit_desk.number_of(number)
    edit_desk.show_blocks(edit_desk.unblock(config, "greeting", key, callers), as_json)


def _member(text: str) -> str | dict[str, Any]:
    """``ana``, ``ana:2``, ``ana:2:15``.  Raises Failure."""
    user, *more = text.split(":")
    if not more:
        return user
    names = ("priority", "ring_seconds")
    try:
        found = {name: int(value) for name, value in zip(names, more, strict=False) if value}
    except ValueError:
        raise Failure(f"{text!r} is no member: write USER:PRIORITY:SECONDS, as ana:2:15") from None
    return {"user": user, **found}


def _shown(greeting: Greeting, as_json: bool) -> None:
    from callcontrol.provisioning import to_toml
    from callcontrol.provisioning.inventory import Inventory

    if as_json:
        print_json(_json(greeting))
    else:
        typer.echo(to_toml(Inventory(greetings={greeting.number: greeting}), secrets=False), nl=False)


def _json(greeting: Greeting) -> dict[str, Any]:
    from callcontrol.provisioning.forms import greeting_form

    return greeting_form(greeting)
