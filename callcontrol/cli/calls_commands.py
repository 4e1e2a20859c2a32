"""``cloudline calls``: running and recent calls, why they went where they went, and their SIP ladder."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from callcontrol.cli import ladder as drawing
from callcontrol.cli.client import Failure, NodeClient, segment
from callcontrol.cli.options import AsJson, Limit, Url, client
from callcontrol.cli.output import console, moment, print_json, print_table, span

app = typer.Typer(help="Running and recent calls.", invoke_without_command=True)

Ref = Annotated[str, typer.Argument(metavar="REF", help='Reference of the call; "last" is the latest one.')]


@app.callback()
def calls(
    context: typer.Context,
    ended: Annotated[bool, typer.Option("--ended", help="Calls that ended instead of running ones.")] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """List calls, the latest first."""
    if context.invoked_subcommand is not None:
        return
    items = list(client(url).pages("/v1/calls", limit, state="ended" if ended else "running"))
    if as_json:
        print_json(items)
        return
    print_table(
        ["REF", "DIRECTION", "STATE", "CALLER", "CALLED", "TRUNK", "STARTED (UTC)", "TALK", "REASON"],
        (
            (
                call["ref"],
                call["direction"],
                call["state"],
                call["caller"] or "anonymous",
                call["called"],
                call["trunk"] or "-",
                moment(call["started_at"]),
                span(call["answered_at"], call["ended_at"]),
                call["reason"] or "-",
            )
            for call in items
        ),
        "no ended call is remembered" if ended else "no call is running",
    )


@app.command()
def show(ref: Ref, as_json: AsJson = False, url: Url = "") -> None:
    """One call: its legs, its plan, and the decisions that led there."""
    node = client(url)
    call = node.get(f"/v1/calls/{segment(resolve(node, ref))}")
    if as_json:
        print_json(call)
    else:
        print_call(call)


@app.command()
def ladder(
    ref: Ref,
    full: Annotated[
        bool, typer.Option("--full", help="Print the messages too (credentials removed).")
    ] = False,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """The SIP ladder of one call."""
    node = client(url)
    view = node.get(f"/v1/calls/{segment(resolve(node, ref))}/ladder")
    if as_json:
        print_json(view)
    else:
        print_ladder(view, full)


@app.command()
def hangup(ref: Ref, url: Url = "") -> None:
    """End a running call."""
    node = client(url)
    found = resolve(node, ref)
    node.delete(f"/v1/calls/{segment(found)}")
    typer.echo(f"{found}: ending")


def resolve(node: NodeClient, ref: str) -> str:
    """``last`` becomes the reference of the latest call, running before ended; anything else is one."""
    if ref != "last":
        return ref
    for state in ("running", "ended"):
        for call in node.pages("/v1/calls", 1, state=state):
            return str(call["ref"])
    raise Failure("there was no call yet")


def print_call(call: dict[str, Any]) -> None:
    """A call for people."""
    said = call["reason"] or "-"
    status = f" ({call['status']})" if call["status"] else ""
    typer.echo(f"call {call['ref']}: {call['direction']}, {call['state']}")
    typer.echo(f"  {call['caller'] or 'anonymous'} -> {call['called']}")
    if call["number"]:
        typer.echo(f"  cloud number {call['number']} of {call['user'] or '-'} ({call['account'] or '-'})")
    typer.echo(
        f"  started {moment(call['started_at'])}, ringing {moment(call['ringing_at'])}, "
        f"answered {moment(call['answered_at'])}, ended {moment(call['ended_at'])} UTC"
    )
    typer.echo(f"  reason {said}{status}, ended by {call['ended_by'] or '-'}")
    if call["plan"]:
        typer.echo("\nplan")
        for number, step in enumerate(call["plan"], 1):
            typer.echo(f"  {number}. {step}")
    if call["trace"]:
        typer.echo("\nwhy")
        for line in call["trace"]:
            detail = f"  ({line['detail']})" if line["detail"] else ""
            typer.echo(f"  {line['rule']:<8} {line['outcome']}{detail}")
    typer.echo("\nlegs")
    print_table(
        ["LEG", "ROLE", "STATE", "PARTY", "DEVICE", "TRUNK", "OVER", "ADDRESS", "STATUS", "REASON"],
        (
            (
                leg["leg"],
                leg["role"],
                leg["state"],
                leg["party"] or "-",
                leg["device"] or "-",
                leg["trunk"] or "-",
                leg["transport"] or "-",
                leg["address"] or "-",
                leg["status"] or "-",
                leg["reason"] or "-",
            )
            for leg in call["legs"]
        ),
        "  none",
    )


def print_ladder(view: dict[str, Any], full: bool) -> None:
    """A ladder for people; refusals and retransmissions are coloured where it is a terminal."""
    out = console()
    for line in drawing.draw(drawing.read(view), full):
        text = Text(line)
        text.highlight_regex(r"─ [1][0-9]{2} .*? ─", "cyan")
        text.highlight_regex(r"─ [2][0-9]{2} .*? ─", "green")
        text.highlight_regex(r"─ [3-6][0-9]{2} .*? ─", "red")
        text.highlight_regex(r"\(retransmission\)", "yellow")
        out.print(text)
