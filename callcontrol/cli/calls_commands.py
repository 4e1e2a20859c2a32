"""``cloudline calls``: running and recent calls, why they went where they went, and their SIP ladder."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from callcontrol.audience import AUDIENCES, ENGINEER, offset
from callcontrol.cli import ladder as drawing
from callcontrol.cli.client import Failure, NodeClient, segment
from callcontrol.cli.options import AsJson, Limit, Url, client
from callcontrol.cli.output import console, moment, print_json, print_table, span

app = typer.Typer(help="Running and recent calls.", invoke_without_command=True)

For = Annotated[
    str,
    typer.Option(
        "--for",
        metavar="AUDIENCE",
        help="engineer: every decision; support: plain sentences; customer: redacted.",
        callback=lambda value: _audience(value),
    ),
]
Ref = Annotated[str, typer.Argument(metavar="REF", help='Reference of the call; "last" is the latest one.')]


def _audience(value: str) -> str:
    if value not in AUDIENCES:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(AUDIENCES)}")
    return value


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
def show(ref: Ref, audience: For = ENGINEER, as_json: AsJson = False, url: Url = "") -> None:
    """One call: its legs, its plan, and the decisions that led there; or its story for somebody else."""
    node = client(url)
    call = node.get(f"/v1/calls/{segment(resolve(node, ref))}", audience=audience)
    if as_json:
        print_json(call)
    elif audience == ENGINEER:
        print_call(call)
    else:
        print_story(call["story"])


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


def print_call(call: dict[str, Any], *, explained: bool = False) -> None:
    """A call for people; one that is only explained has no reference and no times of its own."""
    if explained:
        typer.echo(f"{call['direction']} call")
    else:
        _print_head(call)
    if call["plan"]:
        typer.echo(f"\nplan, by revision {call['config_version']} of the provisioning")
        for number, step in enumerate(call["plan"], 1):
            typer.echo(f"  {number}. {step}")
    if call["story"]:
        typer.echo("\nwhy")
        print_story(call["story"])
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
    _print_offers(call["offers"])


def _print_offers(offers: list[dict[str, Any]]) -> None:
    """What became of each device."""
    if not offers:
        return
    typer.echo("\ndevices")
    print_table(
        ["USER", "DEVICE", "OUTCOME", "WHY", "RANG"],
        (
            (
                offer["user"],
                offer["device"] or "-",
                offer["outcome"],
                offer["why"] or "-",
                moment(offer["rang_at"]),
            )
            for offer in offers
        ),
        "  none",
    )


def print_story(story: list[dict[str, Any]]) -> None:
    """What was decided when: seconds after the beginning of the call, then the words."""
    for told in story:
        typer.echo(f"  {offset(told['at']):<9}{told['text']}")


def _print_head(call: dict[str, Any]) -> None:
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
