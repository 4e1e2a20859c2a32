"""``cloudline loadtest``: the shipped load generator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

from callcontrol.cli.client import Failure
from callcontrol.cli.options import AsJson, Url, client
from callcontrol.cli.output import print_json
from callcontrol.loadtest.line import Account, Line
from callcontrol.loadtest.report import Report
from callcontrol.loadtest.run import CallLoad, Failed, Load, RegisterLoad, open_line, register

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
_CALLER, _CALLEE = "ana-demo", "ben-phone"
_EXPIRES = 300


class Target:
    """The server, and the accounts of a demo node if it is one."""

    def __init__(self, server: str, domain: str, local: str, url: str) -> None:
        self.password = ""
        if not server:
            note = client(url, demo=True).note
            if not note.extra:
                raise Failure("this node has no demo data; give --server, --domain and accounts")
            from callcontrol.demo import PASSWORD

            server, domain, self.password = note.extra["sip"], domain or note.extra["domain"], PASSWORD
        self.address = _address(server, "--server")
        self.domain = domain or self.address[0]
        self.local = local or self.address[0]

    def account(self, text: str, option: str, of_demo: str) -> Account:
        """USER:PASSWORD, else the account of the demo."""
        user, _, password = text.partition(":")
        if user:
            return Account(user=user, password=password)
        if not self.password:
            raise Failure(f"{option}: write USER:PASSWORD")
        return Account(user=of_demo, password=self.password)

    @contextlib.contextmanager
    def line(self, account: Account, local: tuple[str, int] | None = None) -> Iterator[Line]:
        line = open_line(account, self.address, self.domain, local or (self.local, 0))
        try:
            yield line
        finally:
            line.close()


def _address(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise Failure(f"{option}: {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


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
    target = Target(server, domain, local, url)
    with contextlib.ExitStack() as stack, _failures():
        lines = [
            stack.enter_context(target.line(target.account(each, "--user", _CALLEE))) for each in user or [""]
        ]
        _run(RegisterLoad(lines, _EXPIRES), rate, seconds, max_failed, as_json)
        for line in lines:
            register(line, 0)


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
    target = Target(server, domain, local, url)
    answering = target.account(callee, "--callee", _CALLEE)
    if trunk:
        calling, own = Account(user=caller.partition(":")[0] or "anonymous"), _address(trunk, "--trunk")
    else:
        calling, own = target.account(caller, "--caller", _CALLER), (target.local, 0)
    with _failures(), target.line(calling, own) as from_line, target.line(answering) as to_line:
        lines = [to_line] if trunk else [from_line, to_line]
        for line in lines:
            register(line, int(seconds + ring + talk) + _EXPIRES)
        try:
            load = CallLoad(from_line, to_line, number or answering.user, ring_s=ring, talk_s=talk)
            _run(load, rate, seconds, max_failed, as_json)
        finally:
            for line in lines:
                register(line, 0)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except Failed as failed:
        raise Failure(str(failed)) from None


def _run(load: Load, rate: float, seconds: float, max_failed: float, as_json: bool) -> None:
    """Raises Failure when more went wrong than may."""
    report = load.run(rate, seconds, lambda text: None if as_json else typer.echo(text, err=True))
    _print(report, as_json)
    if report.failed > report.asked * max_failed:
        raise Failure(f"{report.failed} of {report.asked} {report.kind} failed")


def _print(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(report.view())
        return
    for line in report.lines():
        typer.echo(line)
