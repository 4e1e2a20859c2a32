"""When the next deadline of each call passes: one heap for all calls, and one entry per call that counts."""

from __future__ import annotations

import heapq

from callcontrol.b2bua.call import Call


class CallDeadlines:
    """A call is looked at again at its earliest deadline, or before: entries are not taken out when one moves."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, str]] = []
        self._scheduled: dict[str, float] = {}
        self._number = 0

    def __len__(self) -> int:
        """Calls that have an entry."""
        return len(self._scheduled)

    def schedule(self, call: Call) -> None:
        """The call may have other deadlines than before."""
        at = call.next_deadline()
        if at == float("inf"):
            return
        scheduled = self._scheduled.get(call.ref)
        if scheduled is not None and scheduled <= at:
            return  # it will look again then
        self._scheduled[call.ref] = at
        self._number += 1
        heapq.heappush(self._due, (at, self._number, call.ref))

    def next(self) -> float | None:
        """When ``pop`` is worth being asked; None: never, as things are."""
        return self._due[0][0] if self._due else None

    def pop(self, now: float) -> str:
        """The reference of a call that wanted to be looked at by now; empty: there is none (any more)."""
        due = self._due
        while due and due[0][0] <= now:
            at, _, ref = heapq.heappop(due)
            if self._scheduled.get(ref) == at:  # else an earlier or later one took its place
                del self._scheduled[ref]
                return ref
        return ""

    def forget(self, ref: str) -> None:
        """The call is over."""
        self._scheduled.pop(ref, None)
