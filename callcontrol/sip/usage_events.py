"""What the INVITE usage of a leg tells its call: one value per thing that happened."""

from __future__ import annotations

from .message import Message


class UsageEvent:
    """Base of all events; ``leg`` names the leg that they come from."""

    __slots__ = ("leg",)

    def __init__(self, leg: str) -> None:
        self.leg = leg


class Progress(UsageEvent):
    """A provisional response above 100; ``fork`` is the To tag that tells early dialogs apart."""

    __slots__ = ("body", "content_type", "fork", "message", "status")

    def __init__(
        self, leg: str, status: int, fork: str, body: bytes, content_type: str, message: Message
    ) -> None:
        super().__init__(leg)
        self.status = status
        self.fork = fork
        self.body = body
        self.content_type = content_type
        self.message = message


class Answered(UsageEvent):
    """First 2xx of our INVITE; the call must have it ACKed."""

    __slots__ = ("body", "content_type", "fork", "message")

    def __init__(self, leg: str, fork: str, body: bytes, content_type: str, message: Message) -> None:
        super().__init__(leg)
        self.fork = fork
        self.body = body
        self.content_type = content_type
        self.message = message


class Failed(UsageEvent):
    """Our INVITE ended without an answer.  ``message`` is None when nobody answered (408) or nobody was reached (503)."""

    __slots__ = ("cancelled", "crossed", "message", "status")

    def __init__(
        self, leg: str, status: int, message: Message | None, cancelled: bool, crossed: bool = False
    ) -> None:
        super().__init__(leg)
        self.status = status
        self.message = message
        self.cancelled = cancelled
        self.crossed = crossed
        """A 2xx crossed our CANCEL; it was ACKed and released."""


class CallerCancelled(UsageEvent):
    """The caller gave up before an answer; the INVITE still has to be answered 487."""

    __slots__ = ("reason",)

    def __init__(self, leg: str, reason: str) -> None:
        super().__init__(leg)
        self.reason = reason


class Acked(UsageEvent):
    """The ACK of our 2xx came; ``body`` is the answer when the 2xx carried the offer."""

    __slots__ = ("body", "content_type", "initial")

    def __init__(self, leg: str, body: bytes, content_type: str, initial: bool) -> None:
        super().__init__(leg)
        self.body = body
        self.content_type = content_type
        self.initial = initial


class Ended(UsageEvent):
    """The session is over: ``why`` is bye, no_ack, expired or gone (481, 408 in the dialog)."""

    __slots__ = ("message", "why")

    def __init__(self, leg: str, why: str, message: Message | None) -> None:
        super().__init__(leg)
        self.why = why
        self.message = message


class Asked(UsageEvent):
    """The peer sent a request in the dialog that the call has to answer (re-INVITE, UPDATE or PRACK with an offer, INFO, ...)."""

    __slots__ = ("key", "message", "method")

    def __init__(self, leg: str, method: str, key: str, message: Message) -> None:
        super().__init__(leg)
        self.method = method
        self.key = key
        self.message = message


class Replied(UsageEvent):
    """Final response to a request of ours; ``message`` is None for a timeout (408) or a dead transport (503)."""

    __slots__ = ("message", "method", "offered", "purpose", "ref", "status")

    def __init__(
        self,
        leg: str,
        method: str,
        purpose: str,
        ref: str,
        status: int,
        message: Message | None,
        offered: bool,
    ) -> None:
        super().__init__(leg)
        self.method = method
        self.purpose = purpose
        self.ref = ref
        self.status = status
        self.message = message
        self.offered = offered
        """Our request carried a body."""


class AskCancelled(UsageEvent):
    """The peer cancelled a re-INVITE that was reported by ``Asked``; it still has to be answered."""

    __slots__ = ("key",)

    def __init__(self, leg: str, key: str) -> None:
        super().__init__(leg)
        self.key = key
