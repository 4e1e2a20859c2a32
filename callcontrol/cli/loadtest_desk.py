"""What ``cloudline loadtest`` does, apart from its commands: the other commands do without a SIP endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import typer

from callcontrol.cli.client import Failure
from callcontrol.cli.options import client
from callcontrol.cli.output import print_json
from callcontrol.loadtest.line import Account, Line
from callcontrol.loadtest.report import Report
from callcontrol.loadtest.run import CallLoad, Failed, Load, RegisterLoad, open_line, register

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


def register_again(
    target: Target, users: Sequence[str], rate: float, seconds: float, max_failed: float, as_json: bool
) -> None:
    """The accounts take turns.  Raises Failure."""
    with contextlib.ExitStack() as stack, _failures():
        lines = [stack.enter_context(target.line(target.account(each, "--user", _CALLEE))) for each in users]
        _run(RegisterLoad(lines, _EXPIRES), rate, seconds, max_failed, as_json)
        for line in lines:
            register(line, 0)


def call_again(
    target: Target,
    number: str,
    *,
    caller: str,
    callee: str,
    trunk: str,
    ring: float,
    talk: float,
    rate: float,
    seconds: float,
    max_failed: float,
    as_json: bool,
) -> None:
    """Both ends register, and are signed out afterwards.  Raises Failure."""
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
