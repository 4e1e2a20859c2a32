"""``cloudline number``: numbers that leave, their RIO, and messages to lines (NUM-10, NUM-11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from callcontrol.cli.number_desk import (
    AsJson,
    ConfigFile,
    Deed,
    actor,
    ask,
    do,
    number_json,
    port_json,
    stamp,
    when,
)
from callcontrol.cli.options import Limit
from callcontrol.cli.output import moment, print_json, print_table

if TYPE_CHECKING:
    from numbering.message import Message

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="In E.164, +33…")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to those about numbers."""
    app.command("port-out")(port_out)
    app.command("come-back")(come_back)
    app.command("rio")(rio)
    app.command("messages")(messages)
    app.command("sent")(sent)
    app.command("resend")(resend)


def port_out(
    number: Number,
    rio: Annotated[
        str, typer.Argument(metavar="RIO", help="The line's RIO, as the other operator gives it.")
    ],
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="When it leaves; default: now.")] = "",
    reason: Reason = "port-out requested",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Let a number leave for another operator."""
    leaves_at = stamp(at)
    deed = Deed("port_out", "port", "", "scheduled")
    port = do(config, deed, lambda desk: desk.ports.out(number, rio, leaves_at, actor=actor(), reason=reason))
    if as_json:
        print_json(port_json(port))
    else:
        typer.echo(
            f"{port.e164}: {port.state.value}, port {port.id}, leaves {moment(when(port.port_at))} UTC"
        )


def come_back(
    number: Number, reason: Reason = "given up elsewhere", as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """A number that had left falls back to us: it rests in quarantine."""
    deed = Deed("come_back", "number", number, reason)
    result = do(config, deed, lambda desk: desk.ports.come_back(number, actor=actor(), reason=reason))
    if as_json:
        print_json(number_json(result))
    else:
        typer.echo(f"{result.e164}: ours again, {result.state.value} until {moment(when(result.until))} UTC")


def rio(number: Number, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """The RIO of one of our lines."""
    code = do(config, Deed("rio", "number", number), lambda desk: desk.ports.rio(number, actor=actor()))
    if as_json:
        print_json({"number": number, "rio": str(code)})
    else:
        typer.echo(str(code))


def messages(
    everything: Annotated[bool, typer.Option("--all", help="Those that were sent as well.")] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Messages to lines that wait for somebody to send them."""
    found = ask(config, lambda desk: desk.ports.messages(waiting=not everything, limit=limit))
    if as_json:
        print_json(
            [
                {
                    "id": each.id,
                    "to": each.e164,
                    "kind": each.kind,
                    "text": each.body,
                    "port": each.port,
                    "created_at": when(each.created_at),
                    "sent_at": when(each.sent_at),
                    "attempts": each.attempts,
                    "failure": each.failure,
                    "given_up": each.given_up,
                }
                for each in found
            ]
        )
        return
    print_table(
        ["ID", "TO", "KIND", "SINCE (UTC)", "SENT (UTC)", "TRIES", "TEXT"],
        (
            (
                each.id,
                each.e164,
                each.kind,
                moment(when(each.created_at)),
                moment(when(each.sent_at)),
                _tries(each),
                each.body,
            )
            for each in found
        ),
        "no message waits",
    )


def _tries(message: Message) -> str:
    """How often handing a message over has failed, and why."""
    if not message.attempts:
        return "-"
    words = f"{message.attempts}: {message.failure}"
    return f"{words}; given up" if message.given_up else words


def resend(
    message: Annotated[int, typer.Argument(metavar="ID", help="As cloudline number messages shows it.")],
    config: ConfigFile = None,
) -> None:
    """Let a message be handed over again at once, also one that was given up."""
    deed = Deed("resend", "message", str(message))
    again = do(config, deed, lambda desk: desk.ports.resend(message))
    typer.echo(f"message {again.id} to {again.e164}: tried again")


def sent(
    message: Annotated[int, typer.Argument(metavar="ID", help="As cloudline number messages shows it.")],
    config: ConfigFile = None,
) -> None:
    """Say that a message was sent: from now on the line has its time to answer."""
    deed = Deed("sent", "message", str(message))
    done = do(config, deed, lambda desk: desk.ports.sent(message, actor=actor()))
    typer.echo(f"message {done.id} to {done.e164}: sent")
