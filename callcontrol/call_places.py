"""Where a call stands in the list of calls, and where a page of that list ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallKey:
    """As little of a call as tells where it stands in a list and whose it is."""

    ref: str
    started_at: float
    account: str
    user: str
    devices: tuple[str, ...]
    """Devices of its legs: who was called sees the call too."""


Place = tuple[float, str]
"""Where a page of calls ended: when its last call began, and its reference."""


def after_place(keys: Iterable[CallKey], place: Place | None) -> Iterator[CallKey]:
    """The keys after a place.  Calls come the latest first, so the place is found also when the call that stood there
    is gone."""
    rest = iter(keys)
    if place is not None:
        for key in rest:
            if key.ref == place[1]:
                break
            if key.started_at < place[0]:
                yield key
                break
    yield from rest
