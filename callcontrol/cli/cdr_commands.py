"""``cloudline cdr verify``: proves that call records are neither missing nor doubled (CDR-02)."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from callcontrol.cli.client import Failure
from callcontrol.cli.options import AsJson, ConfigFile
from callcontrol.cli.output import print_json, print_table
from callcontrol.cli.provisioning_commands import chosen_settings
from config.settings import Settings

if TYPE_CHECKING:  # SQLAlchemy takes half a second to import, which the other commands need not wait for
    from callcontrol.cdr.store_seals import Verification

_SHOWN = 200


def verify(
    since: Annotated[
        str, typer.Option("--since", help="Only calls that ended since (2026-05-28, or with a time; UTC).")
    ] = "",
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Look through the chains of the call records: gaps, repeats, broken links.  Exits 1 if there are any.

    Without --config it is the database of the node that runs here.
    """
    since_ms = _instant(since)
    found = asyncio.run(_look(chosen_settings(config), since_ms))
    if as_json:
        print_json(asdict(found) | {"ok": found.ok})
    else:
        _print(found)
    if not found.ok:
        raise typer.Exit(1)


def _print(found: Verification) -> None:
    print_table(
        ["WHAT", "PRODUCER", "NUMBERS", "CALL", ""],
        (
            (
                item.kind.replace("_", " "),
                item.producer,
                str(item.first) if item.first == item.last else f"{item.first} to {item.last}",
                item.call_ref or "-",
                item.detail,
            )
            for item in found.findings[:_SHOWN]
        ),
        "nothing is missing, nothing is there twice, every record follows on the one before",
    )
    if len(found.findings) > _SHOWN:
        typer.echo(f"and {len(found.findings) - _SHOWN} more (--json has all)")
    chains = "chain" if found.producers == 1 else "chains"
    older = f"; {found.unsealed} records hang on none" if found.unsealed else ""
    typer.echo(f"{found.records} records of {found.producers} {chains}{older}")


def _instant(text: str) -> int:
    if not text:
        return 0
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write 2026-05-28 or 2026-05-28T20:00") from None
    return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)


async def _look(chosen: Settings, since_ms: int) -> Verification:
    from callcontrol.cdr.store_seals import SqlSeals
    from config.database import DatabaseUnavailable, create_engine, upgrade

    engine = create_engine(chosen.database)
    try:
        await upgrade(engine)
        return await SqlSeals(engine).verify(since_ms)
    except DatabaseUnavailable as error:
        raise Failure(f"the database does not answer: {error}") from None
    finally:
        await engine.dispose()
