"""All commands of ``cloudline``.  Each prints facts on standard output and reasons on standard error."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Annotated, Any

import typer

from callcontrol.cli import (
    calls_commands,
    cdr_commands,
    greeting_commands,
    live_commands,
    loadtest_commands,
    mqtt_commands,
    number_commands,
    phone_commands,
    provisioning_commands,
    token_commands,
    trunks_commands,
)
from callcontrol.cli.client import Failure, NodeClient, segment
from callcontrol.cli.explain_command import explain_command
from callcontrol.cli.options import AsJson, ConfigFile, Limit, Url, client, settings
from callcontrol.cli.output import moment, print_json, print_table, span
from callcontrol.operator_access import AccessError, NodeNote, find_notes
from callcontrol.version import VERSION

app = typer.Typer(
    name="cloudline",
    help="Call control and SIP signalling for cloud numbers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(calls_commands.app, name="calls")
app.add_typer(trunks_commands.app, name="trunks")
app.add_typer(mqtt_commands.app, name="mqtt")
app.add_typer(number_commands.app, name="number")
app.add_typer(phone_commands.app, name="phone")
app.add_typer(greeting_commands.app, name="greeting")
app.add_typer(token_commands.app, name="token")
app.add_typer(loadtest_commands.app, name="loadtest")
provisioning_commands.add_to(app)
app.command("leases")(live_commands.leases)
app.command("explain")(explain_command)

_bans = typer.Typer(help="Addresses that are kept out.", invoke_without_command=True)
_cdr = typer.Typer(help="Call records.", no_args_is_help=True)
_config = typer.Typer(help="The configuration.", no_args_is_help=True)
_demo = typer.Typer(help="What goes with serve --demo.", no_args_is_help=True)
app.add_typer(_bans, name="bans")
app.add_typer(_cdr, name="cdr")
_cdr.command("verify")(cdr_commands.verify)
app.add_typer(_config, name="config")
app.add_typer(_demo, name="demo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit code."""
    try:
        app(arguments, prog_name="cloudline")
    except Failure as failure:
        typer.echo(f"cloudline: {failure}", err=True)
        return 1
    except BrokenPipeError:  # cloudline calls | head
        sys.stderr.close()
        return 0
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    return 0


@app.command()
def serve(
    config: ConfigFile = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="On loopback, with demo users and numbers, in a temporary folder.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Validate configuration and provisioning, then exit.")
    ] = False,
) -> None:
    """Run a node until it is drained or stopped (SIGTERM drains, SIGHUP reloads)."""
    chosen = settings(config)
    gc.disable()  # what is imported stays: looking through it again and again is a tenth of the start
    from callcontrol.serving import serve as run  # late: the other commands do without the whole node
    from config.reloading import Source

    gc.enable()
    raise typer.Exit(run(chosen, demo=demo, check=check, source=Source(config, os.environ, chosen)))


@app.command()
def registrations(
    user: Annotated[str, typer.Argument(metavar="[USER]", help="Ref of a user or a device.")] = "",
    limit: Limit = 100,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Devices that are registered, and where."""
    items = list(client(url).pages("/v1/registrations", limit, user=user))
    if as_json:
        print_json(items)
        return
    print_table(
        ["DEVICE", "USER", "AOR", "OVER", "ADDRESS", "EXPIRES (UTC)", "SOFTWARE"],
        (
            (
                item["device"],
                item["user"],
                item["aor"],
                item["transport"],
                item["address"],
                moment(item["expires_at"]),
                item["user_agent"],
            )
            for item in items
        ),
        "nobody is registered",
    )


@_bans.callback()
def bans(context: typer.Context, limit: Limit = 100, as_json: AsJson = False, url: Url = "") -> None:
    """Addresses that are kept out or slowed, and until when."""
    if context.invoked_subcommand is not None:
        return
    items = list(client(url).pages("/v1/bans", limit))
    if as_json:
        print_json(items)
        return
    print_table(
        ["ADDRESS", "REASON", "SINCE (UTC)", "UNTIL (UTC)", "HOW"],
        (
            (
                ban["address"],
                ban["reason"],
                moment(ban["since"]),
                moment(ban["until"]),
                "slowed" if ban["slowed"] else "dropped",
            )
            for ban in items
        ),
        "nobody is banned",
    )


@_bans.command()
def lift(address: Annotated[str, typer.Argument(metavar="ADDRESS")], url: Url = "") -> None:
    """Forget the ban of an address."""
    client(url).delete(f"/v1/bans/{segment(address)}")
    typer.echo(f"{address}: not banned any more")


@app.command()
def nodes(as_json: AsJson = False) -> None:
    """Nodes that run on this machine."""
    try:
        notes = find_notes()
    except AccessError as error:
        raise Failure(str(error)) from None
    items = [
        {"node": note.node, "url": note.url, "pid": note.pid, "workers": _workers_of(note)} for note in notes
    ]
    if as_json:
        print_json(items)
        return
    print_table(
        ["NODE", "URL", "PROCESS", "WORKERS"],
        ((item["node"], item["url"], item["pid"], _worker_words(item["workers"])) for item in items),
        "no node runs here; start one with: cloudline serve --demo",
    )


def _workers_of(note: NodeNote) -> list[dict[str, Any]]:
    """The processes of a node that has several; none of one that does not answer now."""
    try:
        workers: list[dict[str, Any]] = NodeClient(note).get("/v1/node")["workers"]
    except Failure:
        return []
    return workers


def _worker_words(workers: Any) -> str:
    """``1 up, 12 calls; 2 away``."""
    words = []
    for each in workers:
        calls = f", {each['calls']} calls" if each["state"] == "up" else ""
        restarts = f", {each['restarts']} restarts" if each["restarts"] else ""
        words.append(f"{each['worker']} {each['state']}{calls}{restarts}")
    return "; ".join(words) or "-"


@app.command()
def drain(as_json: AsJson = False, url: Url = "") -> None:
    """Let a node take no new calls, finish the running ones, then exit."""
    view = client(url).post("/v1/drain")
    if as_json:
        print_json(view)
    else:
        typer.echo(f"{view['id']} takes no new calls; {view['calls']} are still running")


@app.command()
def reload(as_json: AsJson = False, url: Url = "") -> None:
    """Let a node read configuration, certificates and provisioning again (the last two it also sees by itself)."""
    view = client(url).post("/v1/reload")
    if as_json:
        print_json(view)
        return
    typer.echo("changed: " + (", ".join(view["changes"]) or "nothing"))
    if view["needs_restart"]:
        typer.echo("takes effect at the next start: " + ", ".join(view["needs_restart"]))


@_cdr.command("list")
def cdr_list(
    number: Annotated[str, typer.Option("--number", help="Only calls of this number (E.164).")] = "",
    limit: Limit = 100,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Call records, the latest first."""
    items = list(client(url).pages("/v1/cdrs", limit, number=number))
    if as_json:
        print_json(items)
        return
    print_table(
        ["REF", "DIRECTION", "STARTED (UTC)", "CALLER", "CALLED", "TALK", "STATUS", "REASON", "LEGS"],
        (
            (
                item["call_ref"],
                item["direction"],
                moment(item["started_at"]),
                item["caller"] or "anonymous",
                item["called"] or item["dialled"],
                span(item["answered_at"], item["ended_at"]),
                item["status"] or "-",
                item["reason"],
                len(item["legs"]),
            )
            for item in items
        ),
        "there are no call records",
    )


@_config.command()
def reference() -> None:
    """Every setting with its default and what it does, as a file to start from."""
    typer.echo(resources.files("config").joinpath("reference.toml").read_text(encoding="utf-8"), nl=False)


@_demo.command("call")
def demo_call(
    full: Annotated[bool, typer.Option("--full", help="Print the messages too.")] = False, url: Url = ""
) -> None:
    """Place a call through a node that runs with --demo, and show its ladder and why it was routed so."""
    node = client(url, demo=True)
    if not node.note.extra:
        raise Failure("this node has no demo data; start one with: cloudline serve --demo")
    from callcontrol.demo import place_call

    try:
        ref = place_call(node.note, typer.echo)
    except (OSError, RuntimeError) as error:
        raise Failure(f"the call failed: {error}") from None
    typer.echo("")
    calls_commands.print_ladder(node.get(f"/v1/calls/{segment(ref)}/ladder"), full)
    typer.echo("")
    calls_commands.print_call(node.get(f"/v1/calls/{segment(ref)}"))


@_demo.command("call-through")
def demo_call_through(
    full: Annotated[bool, typer.Option("--full", help="Print the messages too.")] = False, url: Url = ""
) -> None:
    """Have a SIM call a gateway number of the demo and be led on, and show the ladder and why."""
    from callcontrol.demo import call_through

    _demo_by_request(call_through, full, url)


@_demo.command("callback")
def demo_callback(
    full: Annotated[bool, typer.Option("--full", help="Print the messages too.")] = False, url: Url = ""
) -> None:
    """Have the demo call a SIM and then a number, join the two, and show the ladder and why."""
    from callcontrol.demo import callback

    _demo_by_request(callback, full, url)


def _demo_by_request(
    story: Callable[[NodeNote, Callable[[str, dict[str, str]], Any], Callable[[str], None]], str],
    full: bool,
    url: str,
) -> None:
    node = client(url, demo=True)
    if not node.note.extra:
        raise Failure("this node has no demo data; start one with: cloudline serve --demo")
    try:
        ref = story(node.note, node.post, typer.echo)
    except (OSError, RuntimeError) as error:
        raise Failure(f"the call failed: {error}") from None
    typer.echo("")
    calls_commands.print_ladder(node.get(f"/v1/calls/{segment(ref)}/ladder"), full)
    typer.echo("")
    calls_commands.print_call(node.get(f"/v1/calls/{segment(ref)}"))


@app.command()
def version(as_json: AsJson = False) -> None:
    """The version, and whether the core is compiled."""
    core = core_build()
    if as_json:
        print_json({"version": VERSION, "python": sys.version.split()[0], "core": core})
    else:
        typer.echo(f"cloudline {VERSION}, core {core}, Python {sys.version.split()[0]}")


def core_build() -> str:
    """``compiled`` or ``interpreted``: how ``callcontrol.sip`` runs in this process."""
    from callcontrol.sip import message

    return "interpreted" if str(message.__file__).endswith(".py") else "compiled"
