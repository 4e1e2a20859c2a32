"""``cloudline token``: who may use the HTTP API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from callcontrol.cli.client import Failure, segment
from callcontrol.cli.options import AsJson, Limit, Url, client
from callcontrol.cli.output import moment, print_json, print_table

app = typer.Typer(help="Tokens of the HTTP API.", no_args_is_help=True)

_SCOPES = ("operator", "manager", "user", "device")


@app.command()
def create(
    scope: Annotated[str, typer.Argument(metavar="SCOPE", help="operator, manager, user or device.")],
    subject: Annotated[
        str, typer.Argument(metavar="[REF]", help="Account of a manager, user, or device.")
    ] = "",
    label: Annotated[str, typer.Option("--label", help="What it is for.")] = "",
    days: Annotated[int, typer.Option("--days", min=0, help="How long it works; 0: for ever.")] = 0,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Make a token; it is printed now and cannot be shown again."""
    if scope not in _SCOPES:
        raise Failure(f"{scope!r} is none of {', '.join(_SCOPES)}")
    body: dict[str, object] = {"scope": scope, "subject": subject, "label": label}
    if days:
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    made = client(url).post("/v1/tokens", body)
    if as_json:
        print_json(made)
        return
    typer.echo(made["token"])
    typer.echo(f"token {made['details']['id']}: keep the word above, it is not shown again", err=True)


@app.command("list")
def list_tokens(limit: Limit = 100, as_json: AsJson = False, url: Url = "") -> None:
    """Tokens, whom they are for, and when they were last used."""
    items = list(client(url).pages("/v1/tokens", limit))
    if as_json:
        print_json(items)
        return
    print_table(
        ["ID", "SCOPE", "FOR", "LABEL", "CREATED (UTC)", "BY", "EXPIRES", "ENDS", "LAST USED"],
        (
            (
                item["id"],
                item["scope"],
                item["subject"] or "-",
                item["label"] or "-",
                moment(item["created_at"]),
                item["created_by"],
                moment(item["expires_at"]),
                moment(item["revoked_at"]),
                moment(item["last_used_at"]),
            )
            for item in items
        ),
        "there are no tokens but the one in the operator's token file; make one with: cloudline token create",
    )


@app.command()
def rotate(
    token: Annotated[str, typer.Argument(metavar="ID")],
    grace: Annotated[
        float | None, typer.Option("--grace", min=0, help="Seconds for which the old one goes on working.")
    ] = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Make a token in place of another, which goes on working for a while."""
    body = {} if grace is None else {"grace_seconds": grace}
    made = client(url).post(f"/v1/tokens/{segment(token)}/rotate", body)
    if as_json:
        print_json(made)
        return
    typer.echo(made["token"])
    typer.echo(f"token {made['details']['id']} takes the place of {token}", err=True)


@app.command()
def revoke(token: Annotated[str, typer.Argument(metavar="ID")], url: Url = "") -> None:
    """End a token at once, on every node."""
    client(url).delete(f"/v1/tokens/{segment(token)}")
    typer.echo(f"{token}: opens nothing any more")
