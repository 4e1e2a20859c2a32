"""``cloudline trunks``: carriers as they are now, and which of them a number goes to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from callcontrol.cli.options import AsJson, Url, client
from callcontrol.cli.output import moment, print_json, print_table

app = typer.Typer(help="Trunks and routes.", invoke_without_command=True)

Number = Annotated[
    str, typer.Argument(metavar="NUMBER", help="E.164, or as dialled in the country of the settings.")
]


@app.callback()
def trunks(context: typer.Context, as_json: AsJson = False, url: Url = "") -> None:
    """Trunks, whether they take calls, and how many they carry."""
    if context.invoked_subcommand is not None:
        return
    items = list(client(url).pages("/v1/trunks", 10_000))
    if as_json:
        print_json(items)
        return
    print_table(
        [
            "TRUNK",
            "UP",
            "CALLS",
            "LIMIT",
            "PRIORITY",
            "PREFIXES",
            "PEER",
            "STATE",
            "SINCE (UTC)",
            "REGISTERED",
        ],
        (row for trunk in items for row in _rows(trunk)),
        "there is no trunk; add one with: cloudline apply FILE",
    )


def _rows(trunk: dict[str, Any]) -> list[tuple[object, ...]]:
    """One line for each peer; what is the trunk's stands on the first."""
    head: tuple[object, ...] = (
        trunk["ref"],
        "yes" if trunk["up"] else "no",
        trunk["channels"],
        trunk["channel_limit"] or "-",
        trunk["priority"],
        " ".join(trunk["prefixes"]) or "-",
    )
    rows: list[tuple[object, ...]] = []
    for peer in trunk["peers"] or [None]:
        rows.append((*(head if not rows else ("",) * len(head)), *_peer(peer)))
    return rows


def _peer(peer: dict[str, Any] | None) -> tuple[object, ...]:
    if peer is None:
        return "-", "-", "-", "-"
    state = f"{peer['state']} ({peer['failure']})" if peer["failure"] else peer["state"]
    if peer["avoided_until"] is not None:
        state += ", tried last"
    return peer["uri"], state, moment(peer["since"]), _registration(peer)


def _registration(peer: dict[str, Any]) -> str:
    state = str(peer["registration"])
    if state == "registered":
        return f"until {moment(peer['registered_until'])}"
    if state in ("failed", "trying") and peer["registration_status"]:
        return f"{state} ({peer['registration_status']})"
    return state or "-"


@app.command()
def route(number: Number, as_json: AsJson = False, url: Url = "") -> None:
    """The peers that a call to NUMBER would try, in order, and why in this order."""
    items = client(url).get("/v1/routes", number=number)["items"]
    if as_json:
        print_json(items)
        return
    print_table(
        ["", "TRUNK", "PEER", "DIALS", "WHY"],
        (
            (
                item["position"] if item["standing"] == "ready" else item["standing"],
                item["trunk"],
                item["peer"],
                item["called"],
                item["why"],
            )
            for item in items
        ),
        f"no trunk terminates {number}",
    )
