"""Live state of calls in the memory of this process: the embedded default of one node (LIVE-01).

What another node would need is kept only where somebody asks for it (``encodes=True``: tests of takeover, the simulator):
a process that dies takes its memory with it anyway.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_OVER_MAX: Final = 10_000
_BEGUN_MAX: Final = 10_000


class MemoryCallStore:
    """``CallStore`` with compare-and-set on (reference, epoch): a lower epoch than the stored one has lost the call."""

    def __init__(self, encodes: bool = False) -> None:
        self.encodes = encodes
        self.snapshots: dict[str, tuple[int, bytes]] = {}
        self._noted: list[tuple[str, int, bytes | None]] = []
        self._over: OrderedDict[str, int] = OrderedDict()
        """The last calls that ended after they were taken over, with their epoch: who lost them may still come with a save."""
        self._claims: dict[str, str] = {}
        self._begun: OrderedDict[str, str] = OrderedDict()
        """Request -> the call that it began; the last of them."""

    @property
    def waiting(self) -> bool:
        return False

    def save(self, ref: str, epoch: int, snapshot: bytes) -> None:
        self._noted.append((ref, epoch, snapshot))

    def delete(self, ref: str, epoch: int) -> None:
        self._noted.append((ref, epoch, None))

    def claim(self, ref: str, request: str) -> None:
        self._claims[ref] = request

    def commit(self, done: Callable[[frozenset[str]], None] | None) -> None:
        lost: set[str] = set()
        noted, self._noted = self._noted, []
        if self._claims:
            claims, self._claims = self._claims, {}
            lost.update([ref for ref, request in claims.items() if not self._begins(ref, request)])
        for ref, epoch, snapshot in noted:
            if ref in lost:
                continue
            held = self.snapshots.get(ref)
            last = held[0] if held is not None else self._over.get(ref, 0) if self._over else 0
            if last > epoch:
                lost.add(ref)
            elif snapshot is None:
                self.snapshots.pop(ref, None)
                if epoch > 1:
                    self._over[ref] = epoch
                    if len(self._over) > _OVER_MAX:
                        self._over.popitem(last=False)
            else:
                self.snapshots[ref] = (epoch, snapshot)
        if done is not None:
            done(frozenset(lost))

    def _begins(self, ref: str, request: str) -> bool:
        """Whether the call is the first one of its request."""
        first = self._begun.get(request, ref)
        if first != ref and (first in self.snapshots or first in self._over):
            return False
        self._begun[request] = ref
        if len(self._begun) > _BEGUN_MAX:
            self._begun.popitem(last=False)
        return True

    def take(self, ref: str) -> tuple[int, bytes] | None:
        """Take a call over: its snapshot, and the epoch under which the new owner saves."""
        held = self.snapshots.get(ref)
        if held is None:
            return None
        epoch = held[0] + 1
        self.snapshots[ref] = (epoch, held[1])
        return epoch, held[1]
