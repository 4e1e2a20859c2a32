"""``cloudline leases`` and ``cloudline number usage``: live state that only a running node knows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from callcontrol.cli.client import segment
from callcontrol.cli.options import AsJson, Limit, Url, client
from callcontrol.cli.output import moment, print_json, print_table

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="In E.164, +33…")]


def leases(
    sim: Annotated[str, typer.Option("--sim", help="Only of this SIM (E.164).")] = "",
    gateway: Annotated[str, typer.Option("--gateway", help="Only of this gateway number (E.164).")] = "",
    user: Annotated[str, typer.Option("--user", help="Only of devices of this user.")] = "",
    state: Annotated[str, typer.Option("--state", help="open, in_use, cooling or over.")] = "",
    limit: Limit = 100,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Leases of gateway numbers, of all nodes: which SIM may call what, and for whom."""
    query = {"sim": sim, "gateway_number": gateway, "user": user, "state": state}
    items = list(client(url).pages("/v1/leases", limit, **query))
    if as_json:
        print_json(items)
        return
    print_table(
        ["LEASE", "STATE", "SIM", "GATEWAY", "DEVICE", "NUMBER", "TO", "EXPIRES (UTC)", "USED (UTC)", ""],
        (
            (
                item["id"],
                item["state"],
                item["sim"],
                item["gateway_number"],
                item["device"],
                item["number"] or "-",
                item["to"] or "-",
                moment(item["expires_at"]),
                moment(item["used_at"]),
                _words(item),
            )
            for item in items
        ),
        "there is no such lease",
    )


def _words(lease: dict[str, Any]) -> str:
    """What is particular about a lease."""
    kind = lease["kind"] if lease["kind"] != "call_through" else ""
    words = [kind, *(word for word in ("exclusive", "long", "hide") if lease[word]), lease["outcome"]]
    return ", ".join(word for word in words if word)


def usage(number: Number, as_json: AsJson = False, url: Url = "") -> None:
    """What a number has used of its plan and packages this month."""
    found = client(url).get(f"/v1/numbers/{segment(number)}/usage")
    if as_json:
        print_json(found)
        return
    if not found["counted"]:
        typer.echo(f"{found['number']}: nothing bounds its calls, so nothing is counted")
        return
    typer.echo(f"{found['number']}, {found['month']} (until {moment(found['ends_at'])} UTC)")
    rows = [
        (zone["zone"], _minutes(zone["used_seconds"]), _bound(zone["included_minutes"]), _left(zone))
        for zone in found["zones"]
    ]
    rows += [
        (
            f"package {package['ref']} ({', '.join(package['zones'])})",
            _minutes(package["used_seconds"]),
            _bound(package["minutes"]),
            _left(package),
        )
        for package in found["packages"]
    ]
    most = found["max_callees"]
    left = max(most - found["callees"], 0) if most else "-"
    rows.append(("distinct callees", str(found["callees"]), str(most) if most else "no bound", str(left)))
    print_table(["", "USED", "OF", "LEFT"], rows, "")


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"


def _bound(minutes: int | None) -> str:
    if minutes is None:
        return "not in the plan"
    return f"{minutes}:00" if minutes else "no bound"


def _left(of: dict[str, Any]) -> str:
    return "-" if of["left_seconds"] is None else _minutes(of["left_seconds"])
