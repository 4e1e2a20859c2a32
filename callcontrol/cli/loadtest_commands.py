"""``cloudline loadtest``: the shipped load generator."""

from __future__ import annotations

from typing import Annotated

import typer

from callcontrol.cli.options import AsJson, Url

app = typer.Typer(
    help="Put a server under load, and report. Without --server: the node with demo data that runs here.",
    no_args_is_help=True,
)

Server = Annotated[
    str, typer.Option("--server", metavar="HOST:PORT", help="Where the server takes SIP over UDP.")
]
Domain = Annotated[str, typer.Option("--domain", help="Domain of the accounts.")]
Rate = Annotated[float, typer.Option("--rate", min=0.01, max=100_000, help="How many are begun a second.")]
Seconds = Annotated[float, typer.Option("--seconds", min=0.01, max=86_400, help="For how long.")]
Local = Annotated[
    str, typer.Option("--local", metavar="HOST", help="Own address; default: that of the server.")
]
MaxFailed = Annotated[
    float,
    typer.Option("--max-failed", min=0, max=1, help="Share that may fail; more, and the exit code is 1."),
]


@app.command("register")
def register_command(
    user: Annotated[
        list[str] | None,
        typer.Option("--user", metavar="USER:PASSWORD", help="An account; several take turns."),
    ] = None,
    rate: Rate = 10.0,
    seconds: Seconds = 10.0,
    server: Server = "",
    domain: Domain = "",
    local: Local = "",
    max_failed: MaxFailed = 0.0,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Register with digest, again and again."""
    from callcontrol.cli.loadtest_desk import Target, register_again  # late: see there

    register_again(Target(server, domain, local, url), user or [""], rate, seconds, max_failed, as_json)


@app.command("calls")
def calls_command(
    number: Annotated[
        str, typer.Argument(metavar="[NUMBER]", help="What is called; default: the callee's user name.")
    ] = "",
    caller: Annotated[str, typer.Option("--caller", metavar="USER:PASSWORD", help="Device that calls.")] = "",
    callee: Annotated[
        str, typer.Option("--callee", metavar="USER:PASSWORD", help="Device that answers.")
    ] = "",
    trunk: Annotated[
        str,
        typer.Option(
            "--trunk", metavar="HOST:PORT", help="Call as a carrier at this address of ours instead."
        ),
    ] = "",
    ring: Annotated[float, typer.Option("--ring", min=0, max=600, help="Seconds until the answer.")] = 0.1,
    talk: Annotated[
        float, typer.Option("--talk", min=0, max=86_400, help="Seconds until the caller hangs up.")
    ] = 0.5,
    rate: Rate = 10.0,
    seconds: Seconds = 10.0,
    server: Server = "",
    domain: Domain = "",
    local: Local = "",
    max_failed: MaxFailed = 0.0,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Calls from one device, or from a trunk, to another device; this command is both of them."""
    from callcontrol.cli.loadtest_desk import Target, call_again  # late: see there

    call_again(
        Target(server, domain, local, url),
        number,
        caller=caller,
        callee=callee,
        trunk=trunk,
        ring=ring,
        talk=talk,
        rate=rate,
        seconds=seconds,
        max_failed=max_failed,
        as_json=as_json,
    )
