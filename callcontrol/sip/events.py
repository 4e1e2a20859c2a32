"""What the endpoint tells its user (the TU of RFC 3261 §5): slotted values, one class per kind.

``key`` names a server transaction, ``branch`` a client transaction.  ``owner`` is whatever the TU attached
(``claim``, ``send_request``); the endpoint never looks into it and lets go of it when the transaction ends,
so keep it small.
"""

from __future__ import annotations

from typing import Final

from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message

TIMEOUT: Final = "timeout"
TRANSPORT: Final = "transport"


class RequestReceived:
    """A new request, not a retransmission.  Answer it with ``send_response(key, ...)``."""

    __slots__ = ("flow", "key", "message")

    def __init__(self, key: str, message: Message, flow: Flow) -> None:
        self.key: str = key
        self.message: Message = message
        self.flow: Flow = flow
        """The path that it came over."""

    def __repr__(self) -> str:
        return f"RequestReceived({self.message.method}, {self.key!r})"


class AckReceived:
    """An ACK that is not for a refusal: it confirms a 2xx, and its dialog must be found (RFC 3261
    §13.3.1.4)."""

    __slots__ = ("flow", "message")

    def __init__(self, message: Message, flow: Flow) -> None:
        self.message: Message = message
        self.flow: Flow = flow

    def __repr__(self) -> str:
        return f"AckReceived({self.message.call_id!r})"


class CancelReceived:
    """A CANCEL for a pending INVITE; the endpoint has already answered it with 200 (RFC 3261 §9.2).

    Whose INVITE that is, `Endpoint.owner_of` knows once the events before this one are worked off: both may have come in one
    batch.
    """

    __slots__ = ("key", "message")

    def __init__(self, key: str, message: Message) -> None:
        self.key: str = key
        """Key of the INVITE transaction, which still wants its final response (487)."""
        self.message: Message = message

    def __repr__(self) -> str:
        return f"CancelReceived({self.key!r})"


class ResponseReceived:
    """A response to one of our requests: every 1xx, the first final, and every 2xx to an INVITE (RFC 6026
    §7.2)."""

    __slots__ = ("branch", "flow", "message", "owner")

    def __init__(self, branch: str, message: Message, flow: Flow, owner: object | None) -> None:
        self.branch: str = branch
        self.message: Message = message
        """``message.method`` tells the response to a CANCEL from that to its INVITE: both have the same
        branch."""
        self.flow: Flow = flow
        self.owner: object | None = owner

    def __repr__(self) -> str:
        return f"ResponseReceived({self.message.status} {self.message.method}, {self.branch!r})"


class TransactionFailed:
    """A request that will get no final response any more."""

    __slots__ = ("branch", "cause", "method", "owner")

    def __init__(self, branch: str, method: str, cause: str, owner: object | None) -> None:
        self.branch: str = branch
        self.method: str = method
        self.cause: str = cause
        """``TIMEOUT`` (treat as 408, RFC 3261 §8.1.3.1) or ``TRANSPORT`` (treat as 503)."""
        self.owner: object | None = owner

    def __repr__(self) -> str:
        return f"TransactionFailed({self.method}, {self.branch!r}, {self.cause})"


class StrayAnswer:
    """A 2xx to an INVITE that no transaction waits for.  Other stray responses are dropped and counted.

    Whoever sent it waits for an ACK (RFC 3261 §13.2.2.4), and may belong to a call that another process began.
    """

    __slots__ = ("branch", "flow", "message")

    def __init__(self, branch: str, message: Message, flow: Flow) -> None:
        self.branch: str = branch
        self.message: Message = message
        self.flow: Flow = flow

    def __repr__(self) -> str:
        return f"StrayAnswer({self.message.status}, {self.branch!r})"


Event = RequestReceived | AckReceived | CancelReceived | ResponseReceived | StrayAnswer | TransactionFailed
