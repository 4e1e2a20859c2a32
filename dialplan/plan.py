"""The plan of one call: values that the dialplan returns and the call machine carries out.

The story of a call is read here, not in code: the call holds a plan and an index, and "what happens when
nobody answers" is the next step.  Every value can be stored and compared byte for byte, and
none is changed once it is made (they are not `frozen` for the reason that `dialplan.facts` gives).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class DeviceTarget:
    """One registered contact of a device that a step rings (one binding, RFC 3261 §10)."""

    user: str
    """Ref of the user whom the device belongs to."""
    device: str
    """Ref of the device."""
    aor: str
    """Address of record of the device, ``sip:user@domain``."""
    contact: str
    """Registered Contact URI: the Request-URI of the INVITE."""
    flow: str = ""
    """``Flow.dump()`` of the flow it registered over; empty: resolve ``path`` or ``contact`` (RFC 3263)."""
    path: tuple[str, ...] = ()
    """Path header URIs in registered order (RFC 3327); they become the Route set."""
    binding: str = ""
    """Key of the binding, so that the outcome can be told to the registrar."""
    q: float = 1.0

    def __init__(
        self,
        *,
        user: str,
        device: str,
        aor: str,
        contact: str,
        flow: str = "",
        path: tuple[str, ...] = (),
        binding: str = "",
        q: float = 1.0,
    ) -> None:
        self.user = user
        self.device = device
        self.aor = aor
        self.contact = contact
        self.flow = flow
        self.path = path
        self.binding = binding
        self.q = q


# Why a device has to be woken by a push, or may have to be.
NO_BINDING: Final = "no_binding"
"""It is not registered at all."""
FLOW_DEAD: Final = "flow_dead"
"""Its registration is in force, but the connection that it came over is gone (RFC 8599)."""
STALE: Final = "stale"
"""It was last heard so long ago that its way through the mobile network is probably closed."""
LIVE: Final = "live"
"""It is there; a push is for the case that its connection proves to be dead, and for missed calls."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class WakeTarget:
    """A device that can be woken by a push (DEV-04)."""

    user: str
    device: str
    why: str
    """``no_binding``, ``flow_dead``: pushed at once; ``stale``: unless it answers its INVITE at once; ``live``:
    only when its flow proves to be dead."""

    @property
    def asleep(self) -> bool:
        """Nothing but a push reaches it."""
        return self.why in (NO_BINDING, FLOW_DEAD)


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class SimTarget:
    """A SIM of a device that is called over a trunk, because the device answers by GSM or cannot be reached
    otherwise (INC-05, INC-06)."""

    user: str
    device: str
    sim: str
    """E.164."""
    for_s: float
    """How long it rings at the most, seconds: less than its carrier waits before its voicemail answers
    (FWD-05)."""
    confirm: str = "none"
    """Whether a person has to accept before the call is joined: ``none``."""


FREE: Final = ""
TALKING: Final = "talking"
OFFERED: Final = "offered"
"""A hunt rings the member at this moment."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Reach:
    """How one user can be reached at a moment."""

    user: str
    targets: tuple[DeviceTarget, ...] = ()
    """Registered contacts of the devices that answer over VoIP, best q first."""
    wake: tuple[WakeTarget, ...] = ()
    """Devices that a push can wake, asleep or not, in the order of their refs."""
    sims: tuple[SimTarget, ...] = ()
    """SIMs of the devices that answer by GSM."""
    fallback: tuple[SimTarget, ...] = ()
    """SIMs that may be called when nobody is reachable over VoIP by the wake deadline (INC-06)."""
    busy: str = FREE
    """``talking``, ``offered`` or empty, as far as it counts for a hunt: with call waiting nobody is busy (GRT-10)."""


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class Ring:
    """Ring all targets at the same time; the first answer wins (INC-05, INC-07)."""

    targets: tuple[DeviceTarget, ...]
    for_s: float
    """How long the step may ring, seconds."""
    wake: tuple[WakeTarget, ...] = ()
    """Devices of the same users that a push can wake; each joins late when it has registered (DEV-05)."""
    sims: tuple[SimTarget, ...] = ()
    """SIMs that are called at the same time."""
    fallback: tuple[SimTarget, ...] = ()
    """SIMs that are called when nobody is reachable by the wake deadline, or as soon as it is known that nobody
    will be (INC-06)."""
    shown: Shown | None = None

    def __init__(
        self,
        *,
        targets: tuple[DeviceTarget, ...],
        for_s: float,
        wake: tuple[WakeTarget, ...] = (),
        sims: tuple[SimTarget, ...] = (),
        fallback: tuple[SimTarget, ...] = (),
        shown: Shown | None = None,
    ) -> None:
        self.targets = targets
        self.for_s = for_s
        self.wake = wake
        self.sims = sims
        self.fallback = fallback
        self.shown = shown


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Member:
    """One member of a hunt."""

    user: str
    for_s: float
    """How long it rings, seconds."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Hunt:
    """Ring the members of a Greeting, group after group, until somebody answers (GRT-01 to GRT-04, GRT-09).

    How each member is reached is looked up when its turn comes: phones come and go while a hunt lasts.
    """

    greeting: str
    """Its number, E.164."""
    groups: tuple[tuple[Member, ...], ...]
    """The members of a group ring at the same time."""
    rounds: int = 1
    limit_s: float
    """The longest hunt, all rounds together, seconds."""
    shown: Shown | None = None


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class ToTrunk:
    """Call a number of the outside world; peers are chosen when the leg is dialled, since health and load are
    live."""

    number: str
    """Destination: E.164 with plus sign, or a short number with its country, ``3179;phone-context=+33`` (RFC
    3966 section 5.1.5)."""
    for_s: float
    shown: Shown | None = None


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Forward:
    """Go on with another number in the name of a cloud number (FWD-01 to FWD-04).

    The dialplan is asked again when the step begins, so that the rules for outgoing calls see what is used and who is there
    then; its steps take the place of this one.
    """

    to: str
    """Target, E.164."""
    number: str
    """Cloud number or Greeting that forwards, E.164."""
    user: str = ""
    """Ref of the user whose call the forwarded leg is; empty: the company's of the Greeting."""
    account: str = ""
    always: bool = False
    """The call is forwarded without ringing anybody; else for the cause for which it was missed."""
    when: tuple[str, ...] = ()
    """Reasons of the ringing so far for which the step is done; empty: all, also where nothing has rung."""
    shown: Shown | None = None
    """How the call looked to those who forward it: they were not the first to do so."""


VOICEMAIL: Final = "voicemail"
ANNOUNCEMENT: Final = "announcement"
RIO: Final = "rio"
"""The announcement that tells a line its RIO (NUM-11)."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class ToMedia:
    """Let a media server answer: voicemail or an announcement (INC-03, INC-08, GRT-06, NUM-11)."""

    kind: str
    """``voicemail``, ``announcement``, ``rio``."""
    uri: str
    """SIP URI of the media server."""
    number: str
    """Cloud number or Greeting whose mailbox or announcement it is, E.164."""
    name: str = ""
    """Of an announcement."""
    values: tuple[str, ...] = ()
    """What the announcement says beyond its own words, in the order of its blanks (RFC 4240 §3.1, ``param1`` …)."""
    when: tuple[str, ...] = ()
    """As of `Forward`."""
    for_s: float = 30.0
    """How long the server may take to answer, seconds."""
    shown: Shown | None = None


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class ToSim:
    """A SIM that is called over a trunk before the steps begin (OUT-03): its owner is the caller."""

    number: str
    """SIM, E.164."""
    shown: str
    """Gateway number that it sees, E.164."""
    for_s: float


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Refuse:
    """Answer the caller with a reason of the closed list (``dialplan.reasons``)."""

    reason: str
    status: int = 0
    """SIP status that the caller is told; 0: the one of the reason."""


Step = Ring | Hunt | ToTrunk | Forward | ToMedia | Refuse


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Diversion:
    """Somebody who forwarded the call (FWD-02, RFC 5806)."""

    number: str
    """E.164."""
    reason: str = "unknown"
    """Word of RFC 5806: ``unconditional``, ``user-busy``, ``no-answer``, ``unavailable``, ``deflection``,
    ``unknown``."""


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class Identity:
    """How the caller is presented to the called side (RFC 3323, RFC 3325)."""

    number: str = ""
    """Number shown, E.164; empty when it is hidden or when the caller has none."""
    user: str = ""
    """User part shown when there is no number (as the caller sent it, e.g. a SIP user name); empty:
    anonymous."""
    display: str = ""
    asserted: str = ""
    """Number for P-Asserted-Identity towards trusted peers, also when the caller hides (OUT-07); empty:
    none."""
    hidden: bool = False
    """The caller asked for privacy (CLIR) or the number's hide switch is on."""
    diverted: tuple[Diversion, ...] = ()
    """Who forwarded the call, the first one first."""

    def __init__(
        self,
        *,
        number: str = "",
        user: str = "",
        display: str = "",
        asserted: str = "",
        hidden: bool = False,
        diverted: tuple[Diversion, ...] = (),
    ) -> None:
        self.number = number
        self.user = user
        self.display = display
        self.asserted = asserted
        self.hidden = hidden
        self.diverted = diverted


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Shown:
    """How the legs of a step present the call where that is not what the plan says: the call was forwarded."""

    caller: Identity
    called: str
    """Number that they are called for, E.164."""
    number: str = ""
    """Cloud number in whose name they are called, E.164 (FWD-03); empty: the plan's."""
    user: str = ""
    """Ref of its holder."""
    account: str = ""


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class Plan:
    """What the dialplan decided for one call."""

    direction: str
    """``incoming`` (trunk to device), ``outgoing`` (device to trunk), ``internal`` (device to device),
    ``transit`` never."""
    steps: tuple[Step, ...]
    caller: Identity
    called: str
    """Number that was called, E.164 where it could be read, else as dialled."""
    number: str = ""
    """Cloud number the call is made with or comes to (E.164); empty if none."""
    user: str = ""
    account: str = ""
    max_duration_s: float = 14400.0
    config_version: int = 0
    gateway: str = ""
    """Gateway number that the SIM called, or that calls it, E.164; empty: the call has nothing to do with one."""
    lease: str = ""
    """Id of the lease that the call uses up (OUT-02), or of the callback (OUT-03); empty: none."""
    sim: str = ""
    """SIM of the lease, E.164."""
    first: ToSim | None = None
    """Who is called before the steps begin; None: the caller called us."""

    def __init__(
        self,
        *,
        direction: str,
        steps: tuple[Step, ...],
        caller: Identity,
        called: str,
        number: str = "",
        user: str = "",
        account: str = "",
        max_duration_s: float = 14400.0,
        config_version: int = 0,
        gateway: str = "",
        lease: str = "",
        sim: str = "",
        first: ToSim | None = None,
    ) -> None:
        self.direction = direction
        self.steps = steps
        self.caller = caller
        self.called = called
        self.number = number
        self.user = user
        self.account = account
        self.max_duration_s = max_duration_s
        self.config_version = config_version
        self.gateway = gateway
        self.lease = lease
        self.sim = sim
        self.first = first


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class TraceLine:
    """One decision: the rule, what it saw, what came of it (OPS-02)."""

    rule: str
    """Rule id of the product (``INC-01``) or a short name of our own."""
    outcome: str
    detail: str = ""
    at: float = 0.0
    """Seconds after the beginning of the call; 0: before anything was sent."""

    def __init__(
        self,
        *,
        rule: str,
        outcome: str,
        detail: str = "",
        at: float = 0.0,
    ) -> None:
        self.rule = rule
        self.outcome = outcome
        self.detail = detail
        self.at = at


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class Decision:
    plan: Plan
    trace: tuple[TraceLine, ...]

    def __init__(
        self,
        *,
        plan: Plan,
        trace: tuple[TraceLine, ...],
    ) -> None:
        self.plan = plan
        self.trace = trace
