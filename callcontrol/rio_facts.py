"""The RIO of a line that calls the service which tells it (NUM-11): a source of facts, asked for that call alone.

A `callcontrol.live_facts.LiveSource` over the database, which is as far away as the live store of other nodes: the call waits
for it as for that, and is answered by message when it does not come in time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from callcontrol.live_facts import Done
from dialplan.facts import RIO_UNAVAILABLE, TRANSFER, CallFacts, RioFacts
from dialplan.outgoing import asks_for_rio, line_of_rio
from dialplan.trace import Trace


class LineRios(Protocol):
    """Who knows the RIOs of our lines."""

    def rio(self, number: str, done: Callable[[RioFacts], None]) -> None:
        """The RIO of a number of ours, handed to ``done`` at once or later, once; nothing is raised."""
        ...

    def rio_asked(self, number: str) -> None:
        """The line is to be sent its RIO by message."""
        ...


class RioSource:
    """Completes facts with ``rio``."""

    def __init__(self, rios: LineRios) -> None:
        self._rios = rios

    @staticmethod
    def asks(facts: CallFacts) -> bool:
        """Whether the call is a line's own to the RIO service, and nothing is known of its RIO yet."""
        by_itself = facts.forward is None and facts.caller.source != TRANSFER
        return facts.device is not None and facts.rio is None and by_itself and asks_for_rio(facts)

    def wants(self, facts: CallFacts) -> bool:
        return self.asks(facts)

    def ask(self, facts: CallFacts, call_id: str, done: Done) -> None:
        device = facts.device
        line = None if device is None else line_of_rio(device, facts.caller, Trace()).number
        if line is None:
            done(facts)
            return
        self._rios.rio(line.e164, lambda rio: done(replace(facts, rio=rio)))

    def missing(self, facts: CallFacts) -> CallFacts:
        return replace(facts, rio=RioFacts(state=RIO_UNAVAILABLE))
