"""An INVITE of a trunk that has asked for a channel and not begun its call yet."""

from __future__ import annotations

from collections.abc import Callable

from callcontrol.intake import Admitted
from callcontrol.sip.events import RequestReceived


class Opening:
    """Owner of the INVITE's transaction, where the live store of several nodes answers later than at once."""

    __slots__ = ("_told", "admitted", "cancelled", "event", "host", "outcome", "ref", "waits")

    def __init__(
        self,
        told: Callable[[Opening], None],
        event: RequestReceived,
        admitted: Admitted,
        ref: str,
        host: str,
    ) -> None:
        self._told = told
        self.event = event
        self.admitted = admitted
        self.ref = ref
        """Reference of the call to come."""
        self.host = host
        """Host of our Contact towards the trunk; empty: the listener's."""
        self.outcome = ""
        """``gateway.capacity``: granted, full or fast; empty: not answered yet."""
        self.waits = False
        """The answer comes in a later turn."""
        self.cancelled = False

    def answered(self, outcome: str) -> None:
        self.outcome = outcome
        if self.waits:
            self._told(self)
