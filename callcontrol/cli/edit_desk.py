"""What the commands that set something share: one object of the provisioning, read or changed in the configured
database, judged by the same rules as a document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from callcontrol.cli.client import Failure
from callcontrol.cli.number_desk import actor
from callcontrol.cli.output import moment, print_json
from callcontrol.cli.provisioning_commands import chosen_settings, with_store
from callcontrol.plans import plan_table

if TYPE_CHECKING:  # SQLAlchemy takes half a second to import, which the other commands need not wait for
    from callcontrol.provisioning import SqlProvisioningStore
    from callcontrol.provisioning.editing import Change
    from callcontrol.provisioning.service import Edited
    from numbering.hours import Hours

KEYS = {"number": "e164", "greeting": "number", "user": "ref"}


def number_of(text: str) -> str:
    """E.164 of an argument.  Raises Failure."""
    from numbering.e164 import NumberError, read

    number = read(text)
    if isinstance(number, NumberError):
        raise Failure(f"{number}; write E.164 with a plus sign")
    return number


def find(config: Path | None, kind: str, key: str) -> Any:
    """One object.  Raises Failure when there is none."""
    found = listed(config, kind, {KEYS[kind]: key}, 1)
    if not found:
        raise Failure(f"there is no {kind} {key}")
    return found[0]


def listed(config: Path | None, kind: str, where: Mapping[str, str | None], limit: int) -> list[Any]:
    """Objects of a kind, in the order of their keys."""

    async def work(store: SqlProvisioningStore) -> list[Any]:
        return list(await store.page(kind, limit, where=where))

    return asyncio.run(with_store(chosen_settings(config), work))


def change(config: Path | None, kind: str, key: str, patch: Change, *, make: bool = False) -> Any:
    """Put a patch over one object, and return what it is then; ``make``: it may be new.  Raises Failure."""
    return _edited(config, kind, key, patch, make)


def remove(config: Path | None, kind: str, key: str) -> None:
    """Remove one object.  Raises Failure."""
    _edited(config, kind, key, None, False)


def _edited(config: Path | None, kind: str, key: str, patch: Change | None, make: bool) -> Any:
    from callcontrol.access.audit import Author
    from callcontrol.provisioning import ProvisioningError
    from callcontrol.provisioning.editing import Editor, NotThere
    from callcontrol.provisioning.terms import terms_of, warnings_of

    chosen = chosen_settings(config)
    author, terms = Author(actor=actor()), terms_of(chosen)

    async def work(store: SqlProvisioningStore) -> Edited:
        editor = Editor(store, plan_table(chosen), terms)
        if patch is None:
            return await editor.remove(kind, key, lambda item: None, author)
        try:
            return await editor.change(kind, key, patch, lambda item: None, author)
        except NotThere:
            if not make or callable(patch):
                raise
            plain = {name: value for name, value in patch.items() if value is not None}
            return await editor.create(kind, {KEYS[kind]: key, **plain}, author)

    try:
        edited = asyncio.run(with_store(chosen, work))
    except NotThere:
        raise Failure(f"there is no {kind} {key}") from None
    except ProvisioningError as error:
        told = "\n".join(
            f"{problem.message}{f' ({problem.remedy})' if problem.remedy else ''}"
            for problem in error.problems
        )
        raise Failure(f"nothing was changed: {told}") from None
    item = edited.after.of(kind).get(key)
    named = patch if isinstance(patch, Mapping) else {}
    for warning in warnings_of(item, terms):
        if warning.partition(":")[0] in named:
            typer.echo(f"warning: {warning}", err=True)
    return item


# -- block lists ------------------------------------------------------------------------------------------


def block(config: Path | None, kind: str, key: str, callers: list[str], spam: bool) -> Any:
    """Put callers onto one of the two lists of an object."""
    name, other = ("spam", "block") if spam else ("block", "spam")

    def patch(now: Any) -> Mapping[str, Any]:
        wanted = _callers(callers, key)
        return {
            name: [*getattr(now, name), *(each for each in wanted if each not in getattr(now, name))],
            other: [each for each in getattr(now, other) if each not in wanted],
        }

    return change(config, kind, key, patch)


def unblock(config: Path | None, kind: str, key: str, callers: list[str]) -> Any:
    """Take callers off both lists of an object.  Raises Failure for one that is on neither."""

    def patch(now: Any) -> Mapping[str, Any]:
        wanted = _callers(callers, key)
        for each in wanted:
            if each not in (*now.block, *now.spam):
                raise Failure(f"{each} is on no list of {key}")
        return {
            name: [each for each in getattr(now, name) if each not in wanted] for name in ("block", "spam")
        }

    return change(config, kind, key, patch)


def _callers(texts: list[str], key: str) -> list[str]:
    from callcontrol.provisioning.incoming import NoCaller, read_caller
    from numbering.e164 import country_of

    country = country_of(key) if key.startswith("+") else ""
    try:
        return [read_caller(text, country) for text in texts]
    except NoCaller as error:
        raise Failure(str(error)) from None


def show_blocks(item: Any, as_json: bool) -> None:
    if as_json:
        print_json({"block": list(item.block), "spam": list(item.spam)})
        return
    for name in ("block", "spam"):
        for caller in getattr(item, name):
            typer.echo(f"{name:<6} {caller}")
    if not item.block and not item.spam:
        typer.echo("nobody is blocked")


# -- hours ------------------------------------------------------------------------------------------------


def slots_of(texts: list[str]) -> list[dict[str, Any]]:
    """``mon-fri 08:30-19:00`` as in documents.  Raises Failure."""
    from numbering.hours import DAYS

    found = []
    for text in texts:
        days, _, span = text.strip().partition(" ")
        start, dash, end = span.strip().partition("-")
        if not dash:
            raise Failure(f"{text!r} is no slot: write 'mon-fri 08:30-19:00'")
        names: list[str] = []
        for part in days.split(","):
            first, to, last = part.partition("-")
            if first not in DAYS or (to and last not in DAYS):
                raise Failure(f"{part!r} are no days: days are {', '.join(DAYS)}, and mon-fri")
            begin = DAYS.index(first)
            count = (DAYS.index(last) - begin) % 7 if to else 0
            names += [DAYS[(begin + step) % 7] for step in range(count + 1)]
        found.append({"days": names, "from": start.strip(), "to": end.strip()})
    return found


def show_hours(hours: Hours | None, as_json: bool) -> None:
    """Hours, and what they mean now."""
    import time

    from callcontrol.cli.number_desk import when
    from callcontrol.provisioning.forms import days_text, slot_forms, special_forms
    from dialplan.schedule import judge, next_change, read_clock
    from numbering.holidays import holiday_name

    now = time.time()
    verdict = judge(hours, read_clock(hours, now, holiday_name)) if hours is not None else None
    following = next_change(hours, now, holiday_name) if hours is not None else None
    if as_json:
        print_json(
            {
                "zone": hours.zone if hours is not None else None,
                "slots": slot_forms(hours) if hours is not None else [],
                "holidays": list(hours.holidays) if hours is not None else [],
                "special": special_forms(hours) if hours is not None else [],
                "on": verdict.on if verdict is not None else True,
                "why": verdict.why if verdict is not None else "it has no hours",
                "next_change": when(following or 0.0),
            }
        )
        return
    if hours is None or verdict is None:
        typer.echo("always")
        return
    typer.echo(hours.zone)
    for slot in hours.slots:
        typer.echo(f"  {days_text(slot.days)} {slot.span}")
    if hours.holidays:
        typer.echo(f"  closed on holidays of {', '.join(hours.holidays)}")
    for day in hours.special:
        spans = ", ".join(map(str, day.spans)) or "closed"
        typer.echo(f"  {day.date} {spans}{f' ({day.name})' if day.name else ''}")
    typer.echo(f"now {'on' if verdict.on else 'off'}: {verdict.why}")
    if following is not None:
        typer.echo(f"until {moment(when(following))} UTC")
