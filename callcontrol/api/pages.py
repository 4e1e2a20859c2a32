"""Lists in pages.  A cursor is opaque and says after which item to go on, so that items that come or go between
two pages are neither doubled nor make others vanish.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from fastapi import Query

from callcontrol.api.problems import Problem

MAX_PAGE: Final = 500
DEFAULT_PAGE: Final = 100
_MAX_WHOLE: Final = 2**63 - 1
_SLICE: Final = 2000
"""Items looked at before others get their turn on the event loop."""

Item = TypeVar("Item")
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items per page.")]
Cursor = Annotated[str, Query(max_length=400, description="next_cursor of the page before.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """A part of a list."""

    items: tuple[Item, ...]
    next_cursor: str = ""
    """Give it back as ``cursor`` for the next page; empty on the last one."""


def write_cursor(*place: str | int | float) -> str:
    """A cursor for the place of the last item of a page."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode("ascii").rstrip("=")


def read_cursor(cursor: str, *kinds: type) -> tuple[str | int | float, ...]:
    """The place that a cursor names; raises a 422 `Problem` for one that no page of this list gave out."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.json.decode(text, type=tuple[str | int | float, ...])
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise bad_cursor() from None
    if len(place) != len(kinds) or not all(map(isinstance, place, kinds)) or not all(map(_is_place, place)):
        raise bad_cursor()
    return place


def _is_place(part: str | int | float) -> bool:
    """Whether a database can compare with it: no database knows a NUL in a text, or whole numbers beyond 64 bits."""
    if isinstance(part, str):
        return "\0" not in part
    return not isinstance(part, int) or -_MAX_WHOLE <= part <= _MAX_WHOLE


def bad_cursor() -> Problem:
    """422: the cursor comes from elsewhere."""
    return Problem(
        422, "invalid_cursor", "The cursor is not one of this list", "Start again without a cursor."
    )


def after_key(cursor: str) -> str:
    """The key after which a list by keys goes on."""
    return str(read_cursor(cursor, str)[0]) if cursor else ""


def page_by_key(found: Sequence[Item], limit: int, key: Callable[[Item], str]) -> Page[Item]:
    """A page of a list by keys, from up to ``limit + 1`` items."""
    more = len(found) > limit
    items = tuple(found[:limit])
    return Page(items=items, next_cursor=write_cursor(key(items[-1])) if more else "")


async def smallest(items: Iterable[Item], limit: int, key: Callable[[Item], str], after: str) -> Page[Item]:
    """A page of what is in memory in no order; others get their turn while a long list is looked through."""
    best: list[Item] = []
    waiting = iter(items)
    while part := list(islice(waiting, _SLICE)):
        best = heapq.nsmallest(limit + 1, [*best, *(item for item in part if key(item) > after)], key=key)
        await asyncio.sleep(0)
    return page_by_key(best, limit, key)
