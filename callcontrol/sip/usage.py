"""The INVITE usage of one leg: its state, its surroundings and what it tells the call (RFC 3261 §13, §14, §15).

Transaction, dialog and usage are three things.  A transaction lives 32 s in the endpoint of one node; a dialog is identity and
route; the usage is what only a session has: an INVITE that is still open, the 2xx that is sent until its ACK, reliable
provisional responses (RFC 3262), offers that wait for an answer (RFC 3264, RFC 6337), the session timer (RFC 4028).

This module holds the data.  The rules are functions over it: ``usage_uac`` (we called), ``usage_uas`` (we were called),
``usage_session`` (all that happens in a dialog that stands).  Everything here can be stored and loaded on another node.
"""

from __future__ import annotations

from typing import Final, Protocol

from .commands import Command
from .dialog import Dialog
from .message import Message
from .session_timer import NONE

# states of a usage
IDLE: Final = 0
CALLING: Final = 1
"""UAC: INVITE sent, no final response."""
CANCELLING: Final = 2
"""UAC: CANCEL sent (or held back until the first provisional); a 2xx that crosses is ACKed and released."""
INCOMING: Final = 3
"""UAS: INVITE received, not answered."""
ACCEPTED: Final = 4
"""UAS: 2xx sent, ACK awaited."""
ESTABLISHED: Final = 5
CLOSING: Final = 6
"""BYE sent, its response awaited."""
CLOSED: Final = 7

STATE_NAMES: Final = (
    "idle",
    "calling",
    "cancelling",
    "incoming",
    "accepted",
    "established",
    "closing",
    "closed",
)

# what an own request was sent for
FOR_BYE: Final = "bye"
FOR_PRACK: Final = "prack"
FOR_REFRESH: Final = "refresh"
FOR_RELAY: Final = "relay"
FOR_CONNECT: Final = "connect"
FOR_NOTIFY: Final = "notify"
FOR_FORK: Final = "fork"


class IdSource(Protocol):
    """Unguessable identifiers that are the same after a takeover: a keyed hash of scope and number (RFC 3261 §19.3)."""

    def make(self, scope: str, number: int) -> str: ...


class Contacts(Protocol):
    """Our Contact URI for a leg whose peer is reached at ``target`` (the listener decides address and transport)."""

    def uri(self, scope: str, target: str) -> str: ...


class UsageEnv:
    """Settings and surroundings of all usages of a node; never stored."""

    __slots__ = ("allow", "contacts", "ids", "min_se", "server", "session_expires", "supported", "t1", "t2")

    def __init__(
        self,
        ids: IdSource,
        contacts: Contacts,
        session_expires: int = 1800,
        min_se: int = 90,
        t1: float = 0.5,
        t2: float = 4.0,
        server: str = "Cloudline",
    ) -> None:
        self.ids = ids
        self.contacts = contacts
        self.session_expires = session_expires
        self.min_se = min_se
        self.t1 = t1
        self.t2 = t2
        self.server = server
        self.allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, UPDATE, PRACK, REFER, NOTIFY"
        self.supported = "100rel, timer, replaces"


class Turn:
    """One step of one call: the time, the surroundings, and the lists that collect what comes of it."""

    __slots__ = ("commands", "env", "events", "now")

    def __init__(self, env: UsageEnv, now: float, commands: list[Command]) -> None:
        self.env = env
        self.now = now
        self.commands = commands
        self.events: list[UsageEvent] = []


# -- what a usage tells its call ------------------------------------------------------------------------------------


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

    __slots__ = ("message", "method", "purpose", "ref", "status")

    def __init__(
        self, leg: str, method: str, purpose: str, ref: str, status: int, message: Message | None
    ) -> None:
        super().__init__(leg)
        self.method = method
        self.purpose = purpose
        self.ref = ref
        self.status = status
        self.message = message


# -- state ----------------------------------------------------------------------------------------------------------

PENDING_FIELDS: Final = ("method", "purpose", "ref", "cseq", "body", "content_type", "lines")


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


ASKED_FIELDS: Final = ("method", "head", "has_offer", "session_expires", "cseq")


class AskedState:
    """A request of the peer that waits for our response."""

    __slots__ = ASKED_FIELDS

    def __init__(
        self, method: str, head: list[str], has_offer: bool, session_expires: str, cseq: int
    ) -> None:
        self.method = method
        self.head = head
        self.has_offer = has_offer
        self.session_expires = session_expires
        """Session-Expires line of the coming 2xx; empty for none."""
        self.cseq = cseq


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
    "target",
    "branch",
    "max_forwards",
    "min_se",
    "auth_tries",
)


class OutgoingInvite:
    """The INVITE that we sent, as long as it is open: enough to cancel it, or to send it again with credentials."""

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
        target: str,
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
        self.target = target
        self.branch = ""
        self.max_forwards = max_forwards
        self.min_se = 0
        self.auth_tries = 0


INCOMING_FIELDS: Final = (
    "key",
    "head",
    "supports",
    "requires_100rel",
    "has_offer",
    "session",
    "fork_tags",
    "shown",
)


class IncomingInvite:
    """The INVITE that we received, as long as it is unanswered or un-ACKed."""

    __slots__ = INCOMING_FIELDS

    def __init__(
        self, key: str, head: list[str], supports: list[str], requires_100rel: bool, has_offer: bool
    ) -> None:
        self.key = key
        self.head = head
        """Response head with Record-Route; the To line has no tag yet."""
        self.supports = supports
        self.requires_100rel = requires_100rel
        self.has_offer = has_offer
        self.session: list[str] = []
        """Session timer lines of the coming 2xx."""
        self.fork_tags: dict[str, str] = {}
        """Callee branch -> local tag that the caller sees for it."""
        self.shown: dict[str, bytes] = {}
        """Local tag -> session description that was shown under it in a provisional response."""


USAGE_FIELDS: Final = (
    "leg",
    "scope",
    "uac",
    "state",
    "counter",
    "dialog",
    "early",
    "invite",
    "incoming",
    "pending",
    "asked",
    "ack_data",
    "ack_branch",
    "ack_cseq",
    "ack_owed",
    "final_key",
    "final_data",
    "final_interval",
    "bye_wanted",
    "rseq",
    "reliable",
    "reliable_interval",
    "held_accept",
    "early_rseq",
    "peer_allow",
    "peer_supports",
    "local_body",
    "local_type",
    "remote_body",
    "remote_type",
    "session_interval",
    "refresher",
    "deadlines",
    "flow",
)


class Usage:
    """State of the INVITE usage of one leg."""

    __slots__ = USAGE_FIELDS

    def __init__(self, leg: str, scope: str, uac: bool) -> None:
        self.leg = leg
        self.scope = scope
        """Call reference and leg: the scope of our identifiers and the user part of our Contact."""
        self.uac = uac
        self.state = IDLE
        self.counter = 0
        self.dialog: Dialog | None = None
        self.early: dict[str, Dialog] = {}
        """UAC: early dialogs by To tag (a downstream proxy may fork)."""
        self.invite: OutgoingInvite | None = None
        self.incoming: IncomingInvite | None = None
        self.pending: dict[str, Pending] = {}
        """Own requests by branch."""
        self.asked: dict[str, AskedState] = {}
        """Peer's requests by transaction key."""
        self.ack_data = b""
        """ACK of the last 2xx, to be sent again with each repetition of it."""
        self.ack_branch = ""
        self.ack_cseq = 0
        """CSeq number of the INVITE whose 2xx the ACK is for."""
        self.ack_owed = False
        """A 2xx with an offer waits for its ACK, which must carry the answer."""
        self.final_key = ""
        self.final_data = b""
        """2xx that is sent until its ACK comes (RFC 3261 §13.3.1.4)."""
        self.final_interval = 0.0
        self.bye_wanted: list[str] | None = None
        """BYE to be sent as soon as the ACK came (RFC 3261 §15); the header lines that it carries."""
        self.rseq = 0
        self.reliable: list[bytes] = []
        """Reliable provisional responses not yet acknowledged; the first one is on the wire (RFC 3262)."""
        self.reliable_interval = 0.0
        self.held_accept: list[bytes] | None = None
        """2xx that waits for the PRACK of a response with a session description: [body, type]."""
        self.early_rseq: dict[str, int] = {}
        """UAC: last RSeq per early dialog."""
        self.peer_allow: list[str] = []
        self.peer_supports: list[str] = []
        self.local_body = b""
        """Session description that we sent last."""
        self.local_type = ""
        self.remote_body = b""
        self.remote_type = ""
        self.session_interval = 0
        self.refresher = NONE
        self.deadlines: dict[str, float] = {}
        self.flow = ""
        """Dumped flow of the peer as last seen."""

    def new_id(self, turn: Turn) -> str:
        self.counter += 1
        return turn.env.ids.make(self.scope, self.counter)

    def new_branch(self, turn: Turn) -> str:
        return "z9hG4bK" + self.new_id(turn)

    def next_deadline(self) -> float:
        """Earliest deadline, or infinity."""
        if not self.deadlines:
            return float("inf")
        return min(self.deadlines.values())

    def pending_invite(self) -> bool:
        """An own re-INVITE has no final response, or its 2xx no ACK yet."""
        if self.ack_owed:
            return True
        return any(request.method == "INVITE" for request in self.pending.values())

    def pending_offer(self) -> bool:
        """An offer of ours waits for its answer (RFC 3264 §4)."""
        if self.ack_owed:
            return True
        return any(
            request.method == "INVITE" or (request.body and request.method in ("UPDATE", "PRACK"))
            for request in self.pending.values()
        )

    def asked_offer(self) -> bool:
        """An offer of the peer waits for our answer."""
        return any(asked.method in ("INVITE", "UPDATE", "PRACK") for asked in self.asked.values())

    def note_peer(self, message: Message) -> None:
        """Remember what the peer can do."""
        if message.has("allow"):
            self.peer_allow = message.items("allow")
        if message.has("supported"):
            self.peer_supports = message.tokens("supported")

    def note_remote_body(self, message: Message) -> None:
        if message.body:
            self.remote_body = message.body
            self.remote_type = message.get("content-type") or message.content_type

    def allows(self, method: str) -> bool:
        return method in self.peer_allow

    def quiet(self) -> bool:
        """Nothing is left to wait for."""
        return self.state == CLOSED and not self.pending
