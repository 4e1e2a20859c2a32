"""Requests of an INVITE usage that wait for their final response, ours and the peer's; plain data that can be stored."""

from __future__ import annotations

from typing import Final

from .dialog import Dialog
from .session_timer import NONE

PENDING_FIELDS: Final = (
    "method",
    "purpose",
    "ref",
    "cseq",
    "body",
    "content_type",
    "lines",
    "tries",
    "min_se",
    "authorization",
    "data",
    "hop",
    "cancelled",
)


class Pending:
    """An own request in the dialog that has no final response yet."""

    __slots__ = PENDING_FIELDS

    def __init__(
        self, method: str, purpose: str, ref: str, cseq: int, body: bytes, content_type: str, lines: list[str]
    ) -> None:
        self.method = method
        self.purpose = purpose
        self.ref = ref
        self.cseq = cseq
        self.body = body
        self.content_type = content_type
        self.lines = lines
        self.tries = 0
        """How often it was sent anew after a challenge or a 422."""
        self.min_se = 0
        """Min-SE that the peer asked for with its 422."""
        self.authorization = ""
        self.data = b""
        """As sent, so that another node can send it again."""
        self.hop = ""
        self.cancelled = False


ASKED_FIELDS: Final = (
    "method",
    "head",
    "cseq",
    "body",
    "content_type",
    "interval",
    "refresher",
    "knows_timer",
    "tag",
)


class AskedState:
    """A request of the peer that waits for our response."""

    __slots__ = ASKED_FIELDS

    def __init__(self, method: str, head: list[str], cseq: int, body: bytes, content_type: str) -> None:
        self.method = method
        self.head = head
        self.cseq = cseq
        self.body = body
        """The peer's offer; empty for none."""
        self.content_type = content_type
        self.interval = -1
        """Session interval that a 2xx agrees to; -1: this request does not touch the session timer."""
        self.refresher = NONE
        self.knows_timer = False
        self.tag = ""
        """Local tag of the early dialog of a caller that it came in."""


EARLY_FIELDS: Final = ("dialog", "rseq", "body", "content_type")


class Early:
    """UAC: one early dialog of an open INVITE (a downstream proxy may fork)."""

    __slots__ = EARLY_FIELDS

    def __init__(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self.rseq = -1
        """RSeq of the last reliable provisional response; -1 for none (RFC 3262 §4)."""
        self.body = b""
        """Session description that a reliable provisional response carried: the answer, or our answer is due."""
        self.content_type = ""


INVITE_FIELDS: Final = (
    "uri",
    "from_header",
    "to_header",
    "call_id",
    "cseq",
    "routes",
    "lines",
    "body",
    "content_type",
    "hop",
    "bound",
    "branch",
    "max_forwards",
    "min_se",
    "tries",
    "authorization",
    "cancel_lines",
    "early",
    "sent_by",
)


class OutgoingInvite:
    """The INVITE that we sent, as long as it is open: enough to cancel it, or to send it again."""

    __slots__ = INVITE_FIELDS

    def __init__(
        self,
        uri: str,
        from_header: str,
        to_header: str,
        call_id: str,
        routes: list[str],
        lines: list[str],
        body: bytes,
        content_type: str,
        hop: str,
        bound: bool,
        max_forwards: int,
    ) -> None:
        self.uri = uri
        self.from_header = from_header
        self.to_header = to_header
        self.call_id = call_id
        self.cseq = 1
        self.routes = routes
        self.lines = lines
        self.body = body
        self.content_type = content_type
        self.hop = hop
        """Dumped flow, or URI, that this attempt goes to; a retry stays with the address that asked for it (RFC 3261 §22.2)."""
        self.bound = bound
        """The peer can be reached by this flow only (a registered connection or NAT binding), not by its Contact."""
        self.branch = ""
        self.max_forwards = max_forwards
        self.min_se = 0
        self.tries = 0
        """How often it was sent anew after a challenge or a 422."""
        self.authorization = ""
        self.cancel_lines: list[str] = []
        self.early: dict[str, Early] = {}
        """Early dialogs by the peer's tag."""
        self.sent_by = ""
        """Sent-by of its Via: the peer knows the transaction by it, whichever node goes on with it; empty: not known."""


RELIABLE_FIELDS: Final = ("tag", "rseq", "status", "described", "data")


class Reliable:
    """A reliable provisional response that the caller has not acknowledged (RFC 3262)."""

    __slots__ = RELIABLE_FIELDS

    def __init__(self, tag: str, rseq: int, status: int, described: bool, data: bytes) -> None:
        self.tag = tag
        self.rseq = rseq
        self.status = status
        self.described = described
        self.data = data


INCOMING_FIELDS: Final = (
    "key",
    "head",
    "cseq",
    "knows_100rel",
    "requires_100rel",
    "knows_timer",
    "has_offer",
    "interval",
    "refresher",
    "fork_tags",
    "shown",
    "cseqs",
    "rseqs",
    "reliable",
    "reliable_interval",
    "acknowledged",
    "held_accept",
)


class IncomingInvite:
    """The INVITE that we received, as long as it is unanswered or un-ACKed.

    Each callee that says something else is another early dialog for the caller, with CSeq and RSeq of its own.
    """

    __slots__ = INCOMING_FIELDS

    def __init__(self, key: str, head: list[str], cseq: int, has_offer: bool) -> None:
        self.key = key
        self.head = head
        """Response head with Record-Route; the To line has no tag yet."""
        self.cseq = cseq
        self.knows_100rel = False
        self.requires_100rel = False
        self.knows_timer = False
        self.has_offer = has_offer
        self.interval = 0
        """Session timer that the 2xx will agree to."""
        self.refresher = NONE
        self.fork_tags: dict[str, str] = {}
        """Callee branch -> local tag that the caller sees for it."""
        self.shown: dict[str, bytes] = {}
        """Local tag -> our session description as the caller knows it in that early dialog."""
        self.cseqs: dict[str, int] = {}
        """Local tag -> highest CSeq number from the caller in that early dialog."""
        self.rseqs: dict[str, int] = {}
        """Local tag -> last RSeq."""
        self.reliable: list[Reliable] = []
        """Not yet acknowledged; only the first one is on the wire."""
        self.reliable_interval = 0.0
        self.acknowledged: list[str] = []
        """Local tags under which the caller acknowledged a session description."""
        self.held_accept = b""
        """2xx that waits for a PRACK."""
