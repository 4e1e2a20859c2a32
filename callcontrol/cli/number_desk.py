"""What the commands about numbers share: the inventory over the configured database, and how it is printed."""

from __future__ import annotations

import asyncio
import getpass
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from callcontrol.cli.client import Failure
from callcontrol.cli.options import AsJson, ConfigFile
from callcontrol.cli.provisioning_commands import chosen_settings
from callcontrol.plans import plan_table

if TYPE_CHECKING:  # SQLAlchemy takes half a second to import, which the other commands need not wait for
    from callcontrol.access.store import SqlAuditStore
    from numbering.inventory import NumberInventory
    from numbering.models import CloudNumber
    from numbering.porting import Port
    from numbering.store_inventory import InventoryStore

__all__ = ["AsJson", "ConfigFile", "Deed", "actor", "ask", "do", "number_json", "port_json", "stamp", "when"]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Deed:
    """What the record of changes says of a command: the same words as of a request over the API."""

    action: str
    kind: str
    key: str
    """Empty, of a port: the id that it was given."""
    detail: str = ""
    only_done: bool = False
    """Nothing is recorded when the inventory answers that there was nothing to do."""


def actor() -> str:
    """Who is recorded as the author of a change."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a process without a user's name
        return "cli"


def ask(config: Path | None, work: Callable[[NumberInventory], Awaitable[Result]]) -> Result:
    """Let the inventory tell something.  Raises Failure with the reason when it does not."""
    return asyncio.run(_ask(config, work, None))


def do(config: Path | None, deed: Deed, work: Callable[[NumberInventory], Awaitable[Result]]) -> Result:
    """Let the inventory do something, and record it where what is done over the API is recorded (``/v1/audit``).

    Raises Failure with the reason when it does not.
    """
    return asyncio.run(_ask(config, work, deed))


async def _ask(
    config: Path | None, work: Callable[[NumberInventory], Awaitable[Result]], deed: Deed | None
) -> Result:
    from callcontrol.access.store import SqlAuditStore
    from config.database import DatabaseUnavailable, create_engine, upgrade
    from numbering.inventory import NumberInventory
    from numbering.refusal import Refused
    from numbering.store_inventory import InventoryStore

    chosen = chosen_settings(config)
    engine = create_engine(chosen.database)
    try:
        store = InventoryStore(engine)
        inventory = NumberInventory(store, plan_table(chosen), chosen.numbers)
        await upgrade(engine)
        result = await work(inventory)
        if deed is not None:
            await _record(SqlAuditStore(engine), store, deed, result)
        return result
    except Refused as refusal:
        raise Failure(f"{refusal} ({refusal.fault.value})") from None
    except ValueError as error:
        raise Failure(f"the configuration is refused: {error}") from None
    except DatabaseUnavailable as error:
        raise Failure(f"the database does not answer, nothing was changed: {error}") from None
    finally:
        await engine.dispose()


async def _record(audit: SqlAuditStore, store: InventoryStore, deed: Deed, result: object) -> None:
    """Write down what was done.  It stands also when the database has gone away since."""
    from callcontrol.access.audit import AuditEntry
    from config.database import DatabaseUnavailable

    if result is None and deed.only_done:
        return
    try:
        account, key = await _whose(store, deed, result)
        entry = AuditEntry(
            at=time.time(),
            actor=actor(),
            account=account,
            action=deed.action,
            kind=deed.kind,
            key=key,
            detail=deed.detail,
        )
        await audit.write([entry])
    except DatabaseUnavailable as error:
        typer.echo(f"cloudline: done, but not in the record of changes: {error}", err=True)


async def _whose(store: InventoryStore, deed: Deed, result: object) -> tuple[str, str]:
    """Account that a deed concerned, whose manager may read of it; and the key of what was changed."""
    from numbering.e164 import NumberError, read
    from numbering.porting import Port

    key, user, account = deed.key, "", ""
    async with store.look() as look:
        if isinstance(result, Port):
            user = result.user
            key = key or result.id
        elif deed.kind == "number":
            e164 = read(key)
            key = key if isinstance(e164, NumberError) else e164
            number = await look.number(key)
            if number is not None:
                user, account = number.user or number.kept_for, number.account or number.kept_account
        elif deed.kind == "user":
            user = key
        elif deed.kind == "account":
            account = key
        if not account and user:
            found = await look.user(user)
            account = found.account if found is not None else ""
    return account, key


def when(at: float) -> str | None:
    """A time for JSON, RFC 3339; None when it never happened."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else None


def number_json(number: CloudNumber) -> dict[str, Any]:
    """A number for programs."""
    return {
        "number": number.e164,
        "state": number.state.value,
        "category": number.category,
        "user": number.user or None,
        "account": number.account or None,
        "kept_for": number.kept_for or None,
        "since": when(number.since),
        "until": when(number.until),
        "expires_at": when(number.expires_at),
        "held_since": when(number.held_since),
        "version": number.version,
    }


def port_json(port: Port) -> dict[str, Any]:
    """A port for programs; the RIO is a secret of the line."""
    return {
        "port": port.id,
        "direction": port.direction,
        "number": port.e164,
        "user": port.user or None,
        "state": port.state.value,
        "port_at": when(port.port_at),
        "requested_at": when(port.requested_at),
        "confirm_by": when(port.confirm_by),
        "reason": port.reason or None,
        "version": port.version,
    }


def stamp(text: str) -> float:
    """Unix seconds of ``2027-01-31`` or ``2027-01-31T12:00:00Z``, UTC unless it says otherwise; empty: 0."""
    if not text:
        return 0.0
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(f"{text!r} is no time: write 2027-01-31 or 2027-01-31T12:00:00Z") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
