"""Requests in dialogs that nobody here knows: they wait while their call is taken over, from a node that died or by asking for it
(LIVE-02)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from callcontrol.b2bua.call import Call
from callcontrol.ids import call_ref_of
from callcontrol.sip.events import AckReceived, RequestReceived

MAX_HELD: Final = 10_000
"""Requests that wait while calls are taken over, and calls that are asked for at once."""

Fetch = Callable[[str, Callable[[str], None]], None]
"""(reference, told what became of it): takes a call over from wherever it is (`callcontrol.live.nodes`)."""


class CallSearch:
    """One per core; ``fetch`` is None where there is no other node."""

    def __init__(self, calls: dict[str, Call]) -> None:
        """``calls``: those that run here, by reference."""
        self._calls = calls
        self.fetch: Fetch | None = None
        self._held: list[RequestReceived | AckReceived] | None = None
        self._asked_for: dict[str, list[RequestReceived | AckReceived]] = {}
        self._fetched: list[tuple[str, str]] = []

    def begin_recovery(self) -> None:
        """Calls are about to be taken over: whoever asks for one waits for ``end_recovery``."""
        self._held = []

    def end_recovery(self) -> list[RequestReceived | AckReceived]:
        """All calls that were to be taken over are here; who has waited for it."""
        held, self._held = self._held, None
        return held if held is not None else []

    def keeps(self, event: RequestReceived | AckReceived) -> bool:
        """Whether the request waits: for the recovery, or for a call that another node may have."""
        if self._held is not None and len(self._held) < MAX_HELD:
            self._held.append(event)
            return True
        if self.fetch is None:
            return False
        ref = call_ref_of(event.message.uri)
        if not ref or ref in self._calls:
            return False
        waiting = self._asked_for.get(ref)
        if waiting is not None:
            waiting.append(event)
        elif len(self._asked_for) < MAX_HELD:
            self._asked_for[ref] = [event]
            self.fetch(ref, lambda outcome: self._fetched.append((ref, outcome)))
        else:
            return False
        return True

    def answered(self) -> list[tuple[RequestReceived | AckReceived, str]]:
        """Requests whose calls were asked for, each once, and what became of that."""
        if not self._fetched:
            return []
        fetched, self._fetched = self._fetched, []
        return [(event, outcome) for ref, outcome in fetched for event in self._asked_for.pop(ref, ())]
