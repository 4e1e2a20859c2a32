"""One call as a party sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulation.text import Heard, Note

if TYPE_CHECKING:
    from tests.simulation.network import Stream

CALLING: Final = "calling"
RINGING: Final = "ringing"
ANSWERED: Final = "answered"
"""2xx sent, no ACK yet."""
UP: Final = "up"
LEAVING: Final = "leaving"
"""BYE sent."""
OVER: Final = "over"


class Asked:
    """An own request and its client transaction."""

    __slots__ = ("done", "interval", "note", "provisional", "session", "stop_at", "uri")

    def __init__(self, note: Note, uri: str, session: Session | None) -> None:
        self.note = note
        self.uri = uri
        self.session = session
        self.done = False
        self.provisional = False
        self.interval = 0.5
        self.stop_at = 0.0


class Served:
    """A request of the server and its server transaction."""

    __slots__ = ("acked", "final", "last", "request", "session", "stream")

    def __init__(self, request: Heard, stream: Stream | None) -> None:
        self.request = request
        self.stream = stream
        self.last: Note | None = None
        self.final = 0
        self.acked = False
        self.session: Session | None = None


class Session:
    """See the module.  States only go forward."""

    __slots__ = (
        "ack_data",
        "auth_tries",
        "branch",
        "call_id",
        "cancelled",
        "credentials",
        "cseq",
        "dead",
        "early_tags",
        "excused",
        "extra",
        "forks",
        "invite_cseq",
        "late_offer",
        "life",
        "local",
        "local_tag",
        "missing_since",
        "offer",
        "on_hold",
        "open_invite",
        "over_at",
        "own_invite",
        "pracked",
        "referring",
        "refresh_by_me",
        "refreshed_at",
        "reliable",
        "remote",
        "remote_cseq",
        "remote_tag",
        "replaced",
        "request_uri",
        "rseq",
        "rseqs",
        "served",
        "state",
        "status",
        "target",
        "timer",
        "transferring",
        "uac",
        "unacked",
        "up_at",
        "version",
        "wants_bye",
    )

    def __init__(self, call_id: str, local: str, local_tag: str, uac: bool, life: int) -> None:
        self.call_id = call_id
        self.local = local
        """Own From or To value with tag."""
        self.local_tag = local_tag
        self.remote = ""
        self.remote_tag = ""
        self.uac = uac
        self.life = life
        self.state = CALLING if uac else RINGING
        self.status = 0
        """Final status of the INVITE."""
        self.cseq = 0
        self.remote_cseq = 0
        self.target = ""
        self.request_uri = ""
        self.extra: tuple[str, ...] = ()
        self.offer = b""
        self.branch = ""
        self.invite_cseq = 0
        self.auth_tries = 0
        self.credentials = ""
        self.cancelled = False
        """CANCEL wanted (as caller), or received (as callee)."""
        self.early_tags: list[str] = []
        self.rseqs: dict[str, int] = {}
        """Remote tag -> last RSeq that was acknowledged."""
        self.ack_data: dict[int, Note] = {}
        """CSeq of an INVITE of ours -> our ACK of its 2xx."""
        self.served: Served | None = None
        self.unacked: dict[int, tuple[Served, float]] = {}
        """CSeq of an INVITE of the server -> our 2xx that has no ACK yet, and when we give up."""
        self.late_offer = False
        self.forks: list[Session] = []
        self.rseq = 0
        self.reliable: Note | None = None
        """Reliable provisional response that has no PRACK yet."""
        self.pracked = False
        self.own_invite: Asked | None = None
        """Re-INVITE or UPDATE with an offer that has no answer yet."""
        self.open_invite = False
        """A re-INVITE of the server is being answered, or waits for its ACK."""
        self.version = 1
        self.on_hold = False
        self.timer = 0
        """Session interval in seconds; 0: none."""
        self.refresh_by_me = False
        self.refreshed_at = 0.0
        self.up_at = 0.0
        self.over_at = 0.0
        self.wants_bye = False
        self.referring = False
        self.transferring = False
        """Somebody was asked to transfer this call."""
        self.replaced = False
        """This call was set up with Replaces, or another took its place."""
        self.dead = False
        """The party vanished while it was in it."""
        self.excused = ""
        """Why nobody could tell this party that the call is over."""
        self.missing_since = 0.0
        """Since when the server does not know of this call."""

    @property
    def believes(self) -> bool:
        """Whether this party thinks that it has a session."""
        return self.state in (ANSWERED, UP)
