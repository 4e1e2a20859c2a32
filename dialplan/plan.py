"""The plan of one call: values that the dialplan returns and the call machine carries out.

The story of a call is read here, not in code: the call holds a plan and an index, and "what happens when
nobody answers" is the next step.  Every value can be stored and compared byte for byte, and
none is changed once it is made (they are not `frozen` for the reason that `dialplan.facts` gives).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
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
class Ring:
    """Ring all targets at the same time; the first answer wins (INC-05, INC-07)."""

    targets: tuple[DeviceTarget, ...]
    for_s: float
    """How long the step may ring, seconds."""
    wake: tuple[WakeTarget, ...] = ()
    """Devices of the same users that a push can wake; each joins late when it has registered (DEV-05)."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class ToTrunk:
    """Call a number of the outside world; peers are chosen when the leg is dialled, since health and load are
    live."""

    number: str
    """Destination: E.164 with plus sign, or a short number with its country, ``3179;phone-context=+33`` (RFC
    3966 section 5.1.5)."""
    for_s: float


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


Step = Ring | ToTrunk | Refuse


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Diversion:
    """Somebody who forwarded the call (FWD-02, RFC 5806)."""

    number: str
    """E.164."""
    reason: str = "unknown"
    """Word of RFC 5806: ``unconditional``, ``user-busy``, ``no-answer``, ``unavailable``, ``deflection``,
    ``unknown``."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
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


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
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


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class TraceLine:
    """One decision: the rule, what it saw, what came of it (OPS-02)."""

    rule: str
    """Rule id of the product (``INC-01``) or a short name of our own."""
    outcome: str
    detail: str = ""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Decision:
    plan: Plan
    trace: tuple[TraceLine, ...]
