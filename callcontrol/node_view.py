"""What an operator may see of a running node, and do with it: frozen views and the ``Node`` protocol.

The HTTP API and through it the command line know a node only by this module.  Views are built on demand, one
page at a time; numbers are shown in full, credentials never (the API masks every message text that it gives
out). Instants are Unix time in seconds inside, and RFC 3339 in UTC on the wire; None: it did not happen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from callcontrol.call_places import CallKey, Place
from callcontrol.cdr_views import CdrPage as CdrPage
from callcontrol.cdr_views import CdrView as CdrView
from callcontrol.cdr_views import LegRecordView as LegRecordView
from callcontrol.cdr_views import cdr_view as cdr_view
from callcontrol.instants import Instant as Instant
from callcontrol.instants import rfc3339 as rfc3339
from callcontrol.offer_views import OfferView

if TYPE_CHECKING:
    from callcontrol.explaining.answer import Explanation
    from callcontrol.explaining.question import Question
    from callcontrol.story import Story
    from callcontrol.trunk_types import RouteView, TrunkView


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentView:
    """One part of the node as ``/healthz`` and ``/readyz`` show it."""

    name: str
    """``database``, ``listeners``, ``directory``, ``cdr_outbox``, ``event_loop``, ``draining`` …"""
    ok: bool
    detail: str = ""
    """What is wrong, or a figure; never a secret (the page needs no token)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """One process of a node that has several."""

    worker: int
    state: str
    """``starting``, ``up``, ``away`` (it died and starts again), ``gone`` (it has finished)."""
    pid: int = 0
    calls: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """The node itself."""

    id: str
    version: str
    started_at: Instant
    draining: bool
    calls: int
    registrations: int
    listeners: tuple[str, ...] = ()
    """``udp:127.0.0.1:5060`` …, with the ports that were really taken."""
    domain: str = ""
    config_version: int = 0
    workers: tuple[WorkerView, ...] = ()
    """Empty: the node is one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegView:
    """One SIP dialog of a call, or one attempt at one."""

    leg: str
    """``a``, ``b1``, ``b2`` …"""
    role: str
    """``caller`` or ``callee``."""
    state: str
    """``trying``, ``ringing``, ``talking``, ``ended``."""
    party: str = ""
    """Number, user or AOR at its end."""
    device: str = ""
    trunk: str = ""
    transport: str = ""
    address: str = ""
    call_id: str = ""
    status: int = 0
    """Last SIP status of its INVITE; 0: none yet."""
    reason: str = ""
    answered_at: Instant | None = None
    ended_at: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceView:
    """One decision on the way of a call (OPS-02)."""

    rule: str
    outcome: str
    detail: str = ""
    at: float = 0.0
    """Seconds after the beginning of the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldView:
    """One sentence of the story of a call, in the words for whoever reads it."""

    at: float
    """Seconds after the beginning of the call."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A running or recent call."""

    ref: str
    direction: str
    """``incoming``, ``outgoing``, ``internal``."""
    state: str
    """``setup``, ``ringing``, ``talking``, ``ending``, ``ended``."""
    caller: str
    called: str
    started_at: Instant
    number: str = ""
    """The cloud number that the call is made with or comes to."""
    user: str = ""
    account: str = ""
    trunk: str = ""
    caller_hidden: bool = False
    """The caller withheld the number: only operators see it."""
    ringing_at: Instant | None = None
    answered_at: Instant | None = None
    ended_at: Instant | None = None
    status: int = 0
    """Final SIP status given to the caller; 0: none yet."""
    reason: str = ""
    """A word of the closed list (``dialplan.reasons``); empty while the call runs."""
    ended_by: str = ""
    config_version: int = 0
    """Revision of the provisioning that the call was decided with (OPS-03)."""
    plan: tuple[str, ...] = ()
    """The steps of the plan in words, in order."""
    legs: tuple[LegView, ...] = ()
    offers: tuple[OfferView, ...] = ()
    """What became of each device that it was for; once the call has ended."""
    trace: tuple[TraceView, ...] = ()
    story: tuple[ToldView, ...] = ()
    """The same for people: every line for engineers, sentences for support, closed words for customers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyView:
    """One column of a ladder."""

    name: str
    """``carrier-a``, ``Cloudline``, ``ana-phone``."""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderEntry:
    """One message of a ladder, sent or received."""

    at: Instant
    source: int
    """Index of the sending party in ``LadderView.parties``."""
    target: int
    label: str
    """``INVITE (SDP)``, ``180 Ringing``."""
    leg: str = ""
    transport: str = ""
    note: str = ""
    """``retransmission``, ``to another port`` …"""
    message: str = ""
    """The whole message, where it was kept; the API removes credentials before it gives it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderView:
    """The SIP ladder of one call."""

    call_ref: str
    parties: tuple[PartyView, ...]
    """Columns from left to right; ours is between the caller and the called."""
    entries: tuple[LadderEntry, ...]
    truncated: int = 0
    """Messages that were not kept because the call had too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeView:
    """A push that was to wake a device."""

    pushed_at: Instant
    outcome: str
    """``woke``, ``late`` (the call was over), ``never``; empty: it is still waited for."""
    seconds: float | None = None
    """From the push to the REGISTER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationView:
    """One binding."""

    id: str
    """Names the binding as long as the device registers so; begins with the device's ref."""
    aor: str
    device: str
    user: str
    contact: str
    transport: str
    address: str
    expires_at: Instant
    registered_at: Instant | None = None
    user_agent: str = ""
    instance: str = ""
    q: float = 1.0
    wakes: tuple[WakeView, ...] = ()
    """The last pushes that were to wake the device, the latest first."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A binding in a list, before it is shown: most of a long list never is."""

    id: str
    user: str
    device: str
    view: Callable[[], RegistrationView]


@dataclass(frozen=True, slots=True, kw_only=True)
class BanView:
    """One address that is kept out or slowed."""

    address: str
    reason: str
    since: Instant
    until: Instant
    slowed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadView:
    """What a reload did."""

    ok: bool
    """False: the old configuration stays in force (OPS-03)."""
    changes: tuple[str, ...] = ()
    """Settings that took effect."""
    needs_restart: tuple[str, ...] = ()
    """Settings that changed in the file and take effect only at the next start."""
    problems: tuple[str, ...] = field(default=())


class Node(Protocol):
    """A running node, be it one process or several.  What it knows by itself is synchronous, cheap and does no I/O; what its
    other processes have to be asked for is awaited, and is without those that do not answer.
    """

    async def info(self) -> NodeView: ...

    async def health(self) -> Sequence[ComponentView]:
        """Parts without which the process should be restarted."""
        ...

    async def readiness(self) -> Sequence[ComponentView]:
        """Parts without which the node should get no new traffic."""
        ...

    async def metrics_page(self) -> bytes:
        """``Metrics.render()``."""
        ...

    def call_keys(self, ended: bool, place: Place | None = None) -> AsyncIterator[CallKey]:
        """The running calls, or the recent ones that are still remembered, the latest first, as they are now; those after
        ``place``, where a page ended."""
        ...

    async def call_key(self, ref: str) -> CallKey | None:
        """Whose a call is; None if it is not known (any more)."""
        ...

    async def call(self, ref: str) -> CallView | None:
        """A running or recent call; None if it is not known (any more)."""
        ...

    async def story(self, ref: str) -> Story | None:
        """What there is to tell of a running or recent call; None as for :meth:`call`."""
        ...

    async def explain(self, question: Question) -> Explanation:
        """What would happen to a call (OPS-02).  Raises `callcontrol.explaining.question.QuestionError`."""
        ...

    async def ladder(self, ref: str) -> LadderView | None: ...

    async def hang_up(self, ref: str) -> bool:
        """Start to end a call (reason ``operator``); False if it does not run."""
        ...

    def registrations(self, user: str = "") -> Iterator[Registered]:
        """Bindings, of one user or device where it is named; shown lazily, so that a page costs a page."""
        ...

    def sign_out(self, device: str) -> int:
        """End the bindings of a device (DEV-02); how many there were."""
        ...

    def trunks(self) -> Sequence[TrunkView]: ...

    def routes(self, number: str) -> Sequence[RouteView]:
        """Peers that a call to a number would try now, in order.  Raises ValueError when it is no number."""
        ...

    def bans(self) -> Sequence[BanView]: ...

    def lift_ban(self, address: str) -> bool:
        """Forget a ban; False if there is none."""
        ...

    async def drain(self) -> NodeView:
        """Take no new calls, finish the running ones, then exit (OPS-04); saying it twice is saying it
        once.
        """
        ...

    async def reload(self) -> ReloadView:
        """Read certificates and provisioning again; what is wrong is refused and the old stays (OPS-03)."""
        ...

    async def cdrs(
        self, limit: int, cursor: str, number: str, *, account: str = "", user: str = ""
    ) -> CdrPage:
        """Call records, the latest first; of one number, account and user where they are given.

        Raises ValueError for a cursor that no page gave out, `config.database.DatabaseUnavailable` or OSError
        when the database is away.
        """
        ...
