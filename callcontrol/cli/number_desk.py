"""What the commands about numbers share: the inventory over the configured database, and how it is printed."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from callcontrol.cli.client import Failure
from callcontrol.cli.options import AsJson, ConfigFile
from callcontrol.cli.provisioning_commands import chosen_settings
from callcontrol.plans import plan_table

if TYPE_CHECKING:  # SQLAlchemy takes half a second to import, which the other commands need not wait for
    from numbering.inventory import NumberInventory
    from numbering.models import CloudNumber
    from numbering.porting import Port

__all__ = ["AsJson", "ConfigFile", "actor", "ask", "number_json", "port_json", "stamp", "when"]

Result = TypeVar("Result")


def actor() -> str:
    """Who is recorded as the author of a change."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a process without a user's name
        return "cli"


def ask(config: Path | None, work: Callable[[NumberInventory], Awaitable[Result]]) -> Result:
    """Let the inventory do something.  Raises Failure with the reason when it does not."""
    return asyncio.run(_ask(config, work))


async def _ask(config: Path | None, work: Callable[[NumberInventory], Awaitable[Result]]) -> Result:
    from config.database import DatabaseUnavailable, create_engine, upgrade
    from numbering.inventory import NumberInventory
    from numbering.refusal import Refused
    from numbering.store_inventory import InventoryStore

    chosen = chosen_settings(config)
    engine = create_engine(chosen.database)
    try:
        inventory = NumberInventory(InventoryStore(engine), plan_table(chosen), chosen.numbers)
        await upgrade(engine)
        return await work(inventory)
    except Refused as refusal:
        raise Failure(f"{refusal} ({refusal.fault.value})") from None
    except ValueError as error:
        raise Failure(f"the configuration is refused: {error}") from None
    except DatabaseUnavailable as error:
        raise Failure(f"the database does not answer, nothing was changed: {error}") from None
    finally:
        await engine.dispose()


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
