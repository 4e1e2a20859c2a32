"""``cloudline number port-in …``: numbers that come to us (NUM-10)."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from callcontrol.cli.client import Failure
from callcontrol.cli.number_desk import AsJson, ConfigFile, Deed, actor, ask, do, port_json, when
from callcontrol.cli.options import Limit
from callcontrol.cli.output import moment, print_json, print_table

if TYPE_CHECKING:
    from numbering.porting import Port

app = typer.Typer(help="Numbers that come to us from another operator.", no_args_is_help=True)

PortId = Annotated[str, typer.Argument(metavar="PORT", help="Id of a port.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]


def shown(port: Port, as_json: bool) -> None:
    """Where a port stands."""
    if as_json:
        print_json(port_json(port))
        return
    why = f" ({port.reason})" if port.reason else ""
    typer.echo(
        f"port {port.id} of {port.e164}: {port.state.value}{why}, date {moment(when(port.port_at))} UTC"
    )


def day(text: str) -> date:
    """A day as typed.  Raises Failure."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Failure(f"{text!r} is no day: write 2027-01-31") from None


@app.command("request")
def request_(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="In E.164, +33…")],
    user: Annotated[str, typer.Argument(metavar="USER", help="Ref of the user who gets it.")],
    rio: Annotated[str, typer.Argument(metavar="RIO", help="What the line hears on 3179.")],
    wished: Annotated[str, typer.Argument(metavar="DAY", help="Wished day: 2027-01-31.")],
    reason: Reason = "port-in requested",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Ask for a number; its line has to confirm."""
    on = day(wished)
    shown(
        do(
            config,
            Deed("request", "port", number),
            lambda desk: desk.ports.request(number, user, rio, on, actor=actor(), reason=reason),
        ),
        as_json,
    )


@app.command("list")
def list_(
    number: Annotated[str, typer.Option("--number", help="Only of one number.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Ports, in and out, the oldest first."""
    found = ask(config, lambda desk: desk.ports.list(number=number, only_open=not everything, limit=limit))
    if as_json:
        print_json([port_json(port) for port in found])
        return
    print_table(
        ["PORT", "WAY", "NUMBER", "USER", "STATE", "DATE (UTC)", "CONFIRM BY (UTC)", "REASON"],
        (
            (
                port.id,
                port.direction,
                port.e164,
                port.user or "-",
                port.state.value,
                moment(when(port.port_at)),
                moment(when(port.confirm_by)),
                port.reason or "-",
            )
            for port in found
        ),
        "no number comes or leaves",
    )


@app.command()
def show(port: PortId, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """One port."""
    shown(ask(config, lambda desk: desk.ports.get(port)), as_json)


@app.command()
def confirm(
    port: PortId, reason: Reason = "confirmed by the line", as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """The line has confirmed."""
    shown(
        do(
            config,
            Deed("confirm", "port", port),
            lambda desk: desk.ports.confirm(port, actor=actor(), reason=reason),
        ),
        as_json,
    )


@app.command()
def reply(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The line that replied.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it replied.")],
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Carry out what a line replied to our question."""
    deed = Deed("reply", "port", "", only_done=True)
    port = do(config, deed, lambda desk: desk.ports.reply(number, text, actor=actor()))
    if port is None:
        raise Failure(f"{number} has no question to answer, or {text!r} says neither yes nor no")
    shown(port, as_json)


@app.command()
def schedule(
    port: PortId,
    on: Annotated[str, typer.Option("--on", metavar="DAY", help="Another day than the wished one.")] = "",
    reason: Reason = "agreed with the other operator",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """The other operator has agreed to the day."""
    agreed = day(on) if on else None
    shown(
        do(
            config,
            Deed("schedule", "port", port),
            lambda desk: desk.ports.schedule(port, on=agreed, actor=actor(), reason=reason),
        ),
        as_json,
    )


@app.command()
def cancel(
    port: PortId, reason: Reason = "cancelled", as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """Call a port off, in or out, as long as that is possible."""
    shown(
        do(
            config,
            Deed("cancel", "port", port),
            lambda desk: desk.ports.cancel(port, actor=actor(), reason=reason),
        ),
        as_json,
    )


@app.command()
def refuse(
    port: PortId,
    why: Annotated[
        str,
        typer.Argument(
            metavar="WHY", help="inactive_line, rio_mismatch, already_porting, not_scheduled, other."
        ),
    ],
    reason: Reason = "refused by the other operator",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """The other operator refuses."""
    shown(
        do(
            config,
            Deed("refuse", "port", port, why),
            lambda desk: desk.ports.refuse(port, why, actor=actor(), reason=reason),
        ),
        as_json,
    )


@app.command()
def complete(
    port: PortId, reason: Reason = "the number has passed", as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """The number has passed before its date came."""
    shown(
        do(
            config,
            Deed("complete", "port", port),
            lambda desk: desk.ports.complete(port, actor=actor(), reason=reason),
        ),
        as_json,
    )
