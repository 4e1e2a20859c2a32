"""The INVITE usage of one leg: its state, its surroundings and what it tells the call (RFC 3261 §13, §14, §15).

Transaction, dialog and usage are three things.  A transaction lives 32 s in the endpoint of one node; a dialog is identity and
route; the usage is what only a session has: an INVITE that is still open, the 2xx that is sent until its ACK, reliable
provisional responses (RFC 3262), offers that wait for an answer (RFC 3264, RFC 6337), the session timer (RFC 4028).

This module holds the data; ``usage_open`` that of requests under way, ``usage_events`` what a usage reports.  The rules are
functions over it: ``usage_uac`` (we called), ``usage_uas`` (we were called), ``usage_session`` (what we ask in a dialog, and its
timers), ``usage_requests`` (what the peer asks).  Everything here can be stored and loaded on another node.
"""

from __future__ import annotations

from typing import Final, Protocol

from .commands import Command
from .dialog import Dialog
from .message import Message
from .session_timer import NONE
from .usage_events import UsageEvent
from .usage_open import AskedState, IncomingInvite, OutgoingInvite, Pending

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

    def uri(self, scope: str, target: str, host: str = "") -> str:
        """``host`` (with port where it matters): the name by which this peer knows us, instead of the listener's."""
        ...

    def sent_by(self, target: str) -> str:
        """What the Via of a request to ``target`` says of us, lower case; empty: that is not known before it is resolved."""
        ...


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


# -- state ----------------------------------------------------------------------------------------------------------

USAGE_FIELDS: Final = (
    "leg",
    "scope",
    "uac",
    "state",
    "counter",
    "dialog",
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
    "final_status",
    "final_cseq",
    "final_interval",
    "bye_wanted",
    "can_update",
    "refused_update",
    "local_body",
    "local_type",
    "remote_body",
    "remote_type",
    "session_interval",
    "refresher",
    "authorization",
    "deadlines",
    "flow",
    "early_cseq",
    "released",
    "contact_host",
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
        """Final response to an INVITE that is sent until its ACK comes (RFC 3261 §13.3.1.4)."""
        self.final_status = 0
        self.final_cseq = 0
        """CSeq number of that INVITE; an ACK with another one is for another INVITE."""
        self.final_interval = 0.0
        self.bye_wanted: list[str] | None = None
        """BYE to be sent as soon as the ACK came (RFC 3261 §15); the header lines that it carries."""
        self.can_update = False
        """The peer's Allow names UPDATE."""
        self.refused_update = False
        """It refused one all the same: whatever its Allow says, it is not asked again."""
        self.local_body = b""
        """Our session description as last agreed."""
        self.local_type = ""
        self.remote_body = b""
        """The peer's, as last agreed."""
        self.remote_type = ""
        self.session_interval = 0
        self.refresher = NONE
        self.authorization = ""
        """Credentials line of the INVITE that was answered; its ACK carries the same (RFC 3261 §13.2.2.4)."""
        self.deadlines: dict[str, float] = {}
        self.flow = ""
        """Dumped flow of the peer as last seen."""
        self.early_cseq = 0
        """Highest CSeq number that we used in any early dialog: a fork that answers late is released above it."""
        self.released: list[str] = []
        """Tags of further forks whose answers got their BYE."""
        self.contact_host = ""
        """Host of our Contact towards this peer; empty: the listener's."""

    def new_id(self, turn: Turn) -> str:
        self.counter += 1
        return turn.env.ids.make(self.scope, self.counter)

    def contact(self, env: UsageEnv, target: str) -> str:
        """Our Contact line for requests and responses that go to ``target``."""
        return f"Contact: <{env.contacts.uri(self.scope, target, self.contact_host)}>"

    def new_branch(self, turn: Turn) -> str:
        return "z9hG4bK" + self.new_id(turn)

    def next_deadline(self) -> float:
        """Earliest deadline, or infinity."""
        if not self.deadlines:
            return NEVER
        return min(self.deadlines.values())

    def is_in_dialog_with(self, remote_tag: str) -> bool:
        """True for the tag of the peer, or of one of its early dialogs."""
        if self.dialog is not None:
            return self.dialog.remote_tag == remote_tag
        return self.invite is not None and remote_tag in self.invite.early

    def dialogs(self) -> int:
        """Dialogs that stand, early ones included."""
        if self.dialog is not None:
            return 1
        return len(self.invite.early) if self.invite is not None else 0

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

    def busy(self) -> bool:
        """No new offer can be made now: one is under way, or a 2xx waits for its ACK."""
        return self.pending_offer() or self.asked_offer() or bool(self.final_data)

    def note_peer(self, message: Message) -> None:
        """Remember what the peer can do."""
        allow = message.get("allow")
        if allow is not None and not self.refused_update:
            self.can_update = "UPDATE" in allow or "UPDATE" in message.items("allow")

    def set_local(self, body: bytes, content_type: str) -> None:
        """A description of ours was accepted."""
        if body:
            self.local_body = body
            self.local_type = content_type

    def set_remote(self, body: bytes, content_type: str) -> None:
        """A description of the peer was accepted."""
        if body:
            self.remote_body = body
            self.remote_type = content_type

    def quiet(self) -> bool:
        """Nothing is left to wait for."""
        return self.state == CLOSED and not self.pending and "final_end" not in self.deadlines


NEVER: Final = float("inf")


def body_type(message: Message) -> str:
    """Content-Type as written, with its parameters (a multipart body needs its boundary); empty without a body."""
    return message.get("content-type") or message.content_type if message.body else ""
