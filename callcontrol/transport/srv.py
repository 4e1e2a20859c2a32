"""The order in which SRV and NAPTR records are tried: pure functions, with the dice passed in (RFC 2782, RFC 3403)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

Dice = Callable[[], float]
"""Gives a number in [0, 1)."""

Item = TypeVar("Item")


class Srv(NamedTuple):
    """One SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str
    """Host name, lower case, without the final dot; empty: the service is decidedly not available."""


class Naptr(NamedTuple):
    """One NAPTR record, as far as RFC 3263 §4.1 uses it."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


def order_srv(records: Sequence[Srv], dice: Dice) -> list[Srv]:
    """Records in the order to try: by priority, within one by weighted lot (RFC 2782, "Weight").

    A record of weight 0 has a small chance while others of its priority have weight.  Records whose target is "." are left
    out.
    """
    ordered: list[Srv] = []
    usable = [record for record in records if record.target]
    for priority in sorted({record.priority for record in usable}):
        # Weight 0 goes to the front, so that a lot of exactly 0 falls on it.
        waiting = sorted((record for record in usable if record.priority == priority), key=_weight)
        while waiting:
            lot = int(dice() * (sum(record.weight for record in waiting) + 1))
            running = 0
            for index, record in enumerate(waiting):
                running += record.weight
                if running >= lot:
                    ordered.append(waiting.pop(index))
                    break
    return ordered


def _weight(record: Srv) -> int:
    return record.weight


def order_naptr(records: Sequence[Naptr]) -> list[Naptr]:
    """Records in the order to try (RFC 3403 §4.1: order first, then preference)."""
    return sorted(records, key=lambda record: (record.order, record.preference))


def shuffled(items: Sequence[Item], dice: Dice) -> list[Item]:
    """The items in a random order (Fisher-Yates): a cached answer would else always name the same host first."""
    result = list(items)
    for last in range(len(result) - 1, 0, -1):
        other = int(dice() * (last + 1))
        result[last], result[other] = result[other], result[last]
    return result


def interleaved(first: Sequence[Item], second: Sequence[Item]) -> list[Item]:
    """Alternately from both, so that a family that does not work costs one attempt, not all (RFC 8305 §4)."""
    result: list[Item] = []
    for index in range(max(len(first), len(second))):
        result += first[index : index + 1]
        result += second[index : index + 1]
    return result
