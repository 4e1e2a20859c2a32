"""What the runner needs from others: each a small Protocol that lives here, with its caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from callcontrol.cdr import CallRecord
from callcontrol.sip.flow import Flow

if TYPE_CHECKING:
    from callcontrol.b2bua.call import Call
    from callcontrol.b2bua.effects import Push


class CallStore(Protocol):
    """Live state of calls.  Writes are collected and made durable together: *save before act* without waiting.

    ``save`` and ``delete`` only take note; ``commit`` writes everything noted since the last one and then calls ``done`` with
    the references that this node does not own any more (another one took them over: their effects must not happen).
    """

    encodes: bool
    """False: snapshots are not kept as bytes, so the runner need not make them (memory of one process)."""

    @property
    def waiting(self) -> bool:
        """A commit is under way: effects of later turns must not overtake those that it holds back."""
        ...

    def save(self, ref: str, epoch: int, snapshot: bytes) -> None: ...

    def delete(self, ref: str, epoch: int) -> None: ...

    def claim(self, ref: str, request: str) -> None:
        """With its first ``save``: the call was begun by this request (key of its server transaction).

        When another call that was begun by the same one is known, ``commit`` tells this one as lost: the request was sent
        again, to a node that does not have that call.  Asked for only where snapshots are encoded."""
        ...

    def commit(self, done: Callable[[frozenset[str]], None] | None) -> None:
        """None: nobody waits for it.  It is on its way before this returns; what was lost, the next commit tells."""
        ...


class Resolver(Protocol):
    """Finds where a URI leads (RFC 3263).  ``done`` gets the flows in the order to try; an empty list: nowhere."""

    def direct(self, uri: str) -> Flow | None:
        """The flow of a URI with a numeric host; None when names have to be asked for."""
        ...

    def look_up(self, uri: str, done: Callable[[list[Flow]], None]) -> None: ...


class RecordSink(Protocol):
    """Takes call records; never waits (``callcontrol.cdr`` has the outbox)."""

    def put(self, record: CallRecord) -> None: ...


class CallPushes(Protocol):
    """Pushes to the devices of calls (``callcontrol.pushing``)."""

    def push(self, call: Call, effect: Push, now: float) -> bool:
        """False: it has failed at once."""
        ...

    def ended(self, call: Call) -> None:
        """The outcome of a call is known."""
        ...


class CallWatcher(Protocol):
    """Told what becomes of calls (``callcontrol.call_events``)."""

    def changed(self, call: Call, now: float) -> None:
        """A call was saved, or has ended."""
        ...

    def forget(self, call_ref: str) -> None:
        """The call is over, or another node has it."""
        ...
