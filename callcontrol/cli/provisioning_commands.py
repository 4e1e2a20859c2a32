"""``cloudline apply`` and ``cloudline export``: the provisioning from documents, and back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from callcontrol.cli.client import Failure
from callcontrol.cli.impact_output import impact_json, print_impact
from callcontrol.cli.options import AsJson, ConfigFile, actor, settings
from callcontrol.cli.output import print_json
from callcontrol.operator_access import AccessError, find_notes
from callcontrol.plans import plan_table
from config.settings import Settings

if TYPE_CHECKING:  # SQLAlchemy takes half a second to import, which the other commands need not wait for
    from callcontrol.explaining.impact import Impact
    from callcontrol.provisioning import Change, ChangeSet, SqlProvisioningStore
    from callcontrol.provisioning.inventory import Inventory

Result = TypeVar("Result")

_DATABASE_VARIABLE = "CLOUDLINE_DATABASE__URL"


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("apply")(apply_command)
    app.command("export")(export_command)


def apply_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Provisioning documents (TOML).")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, change nothing.")
    ] = False,
    impact: Annotated[
        int,
        typer.Option(
            "--impact",
            metavar="N",
            min=0,
            max=100_000,
            help="With --dry-run: which of the last N calls would have gone elsewhere, and why.",
        ),
    ] = 0,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what the documents do not name.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Bring the provisioning to what the documents say; all or nothing.

    Without --config it is the database of the node that runs here.
    """
    if impact and not dry_run:
        raise typer.BadParameter("it goes with --dry-run", param_hint="--impact")
    from callcontrol.access.audit import Author
    from callcontrol.provisioning import ProvisioningError, apply, read_file
    from callcontrol.provisioning.terms import terms_of

    chosen = chosen_settings(config)
    try:
        documents = [read_file(file) for file in files]
    except ProvisioningError as error:
        raise Failure(str(error)) from None
    plans, terms = plan_table(chosen), terms_of(chosen)
    states: list[tuple[Inventory, Inventory]] = []

    async def work(store: SqlProvisioningStore) -> tuple[ChangeSet, Impact | None]:
        changes = await apply(
            documents,
            store,
            plans=plans,
            terms=terms,
            prune=prune,
            dry_run=dry_run,
            author=Author(actor=actor()),
            seen=lambda before, after: states.append((before, after)),
        )
        if not impact:
            return changes, None
        from callcontrol.explaining import offline

        return changes, await offline.impact(chosen, *states[-1], impact)

    try:
        changes, found = asyncio.run(with_store(chosen, work))
    except ProvisioningError as error:
        raise Failure(f"nothing was changed:\n{error}") from None
    if as_json:
        head = {"dry_run": dry_run, "revision": changes.revision, "warnings": changes.warnings}
        print_json(head | _as_json(changes) | ({} if found is None else {"impact": impact_json(found)}))
        return
    for warning in changes.warnings:
        typer.echo(f"warning: {warning}", err=True)
    for line in changes.lines():
        typer.echo(line)
    counts = f"{len(changes.created)} created, {len(changes.changed)} changed, {len(changes.removed)} removed"
    typer.echo(f"{'dry run, nothing written: ' if dry_run else ''}{counts}")
    if found is not None:
        print_impact(found)


def export_command(
    secrets: Annotated[bool, typer.Option("--secrets", help="With passwords.")] = False,
    config: ConfigFile = None,
) -> None:
    """Print the provisioning as a document that apply accepts."""
    from callcontrol.provisioning import export

    async def work(store: SqlProvisioningStore) -> str:
        return await export(store, secrets=secrets)

    typer.echo(asyncio.run(with_store(chosen_settings(config), work)), nl=False)


def chosen_settings(config: Path | None) -> Settings:
    """The configuration; if none is named, with the database of the only node that runs here."""
    chosen = settings(config)
    if config is not None or _DATABASE_VARIABLE in os.environ:
        return chosen
    try:
        notes = find_notes()
    except AccessError:
        return chosen
    urls = {note.extra["database"] for note in notes if note.extra.get("database")}
    if len(urls) != 1:
        return chosen
    url = urls.pop()
    if url != chosen.database.url:
        typer.echo(f"database of the running node: {url.rpartition('@')[2]}", err=True)
    return chosen.model_copy(update={"database": chosen.database.model_copy(update={"url": url})})


async def with_store(chosen: Settings, work: Callable[[SqlProvisioningStore], Awaitable[Result]]) -> Result:
    """Work with the provisioning in the database of the settings.  Raises Failure when it does not answer."""
    from callcontrol.provisioning import SqlProvisioningStore
    from config.database import DatabaseUnavailable, create_engine, upgrade

    engine = create_engine(chosen.database)
    try:
        await upgrade(engine)
        return await work(SqlProvisioningStore(engine, quarantine_days=chosen.numbers.quarantine_days))
    except DatabaseUnavailable as error:
        raise Failure(f"the database does not answer, nothing was changed: {error}") from None
    finally:
        await engine.dispose()


def _as_json(changes: ChangeSet) -> dict[str, Any]:
    def objects(items: tuple[Change, ...]) -> list[dict[str, Any]]:
        return [
            {
                "kind": item.kind,
                "key": item.key,
                "fields": [
                    {"name": each.name, "before": each.before, "after": each.after} for each in item.fields
                ],
            }
            for item in items
        ]

    return {
        "created": objects(changes.created),
        "changed": objects(changes.changed),
        "removed": objects(changes.removed),
    }
