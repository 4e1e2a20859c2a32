"""What a decision may look at: values, gathered before the call starts.

`callcontrol.intake` fills a `CallFacts`; `dialplan.evaluate` reads it and nothing else.  A stored `CallFacts`
therefore explains a call for ever: evaluating it again gives the same plan, byte for byte.  No secret
(password, push token) is ever a fact.

Nobody changes a fact once it is made.  That the classes are not `frozen` has one reason: there are dozens of
these values per call, and building a frozen one takes three times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dialplan.plan import FREE, DeviceTarget, Identity, SimTarget, WakeTarget
from dialplan.schedule import LocalClock
from dialplan.usage import UsageFacts
from numbering.models import CloudNumber, Greeting
from numbering.plans import NumberClass

FROM_TRUNK: Final = "trunk"
FROM_DEVICE: Final = "device"
FROM_FORWARD: Final = "forward"


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class Limits:
    """Defaults and bounds of the configuration that decisions use."""

    ring_s: float = 30.0
    """How long a step rings when the number says nothing (INC-08)."""
    trunk_ring_s: float = 120.0
    """How long a call to the outside world may ring; carriers end it before."""
    max_duration_s: float = 14400.0
    """How long an answered call may last."""
    barred_classes: tuple[str, ...] = (
        NumberClass.PREMIUM,
        NumberClass.SHARED_COST,
        NumberClass.PRICED_SHORT,
        NumberClass.UNKNOWN_SHORT,
    )
    """Classes of numbers that nobody may call (OUT-04)."""
    verified_sim: str = "known"
    """Whose SIM must be verified before a number calls (DEV-01): ``all``, ``known`` or ``none`` of the users."""
    gsm_ring_s: float = 20.0
    """How long a SIM rings that is called in place of a softphone: less than its carrier's voicemail waits."""
    hunt_limit_s: float = 180.0
    """The longest hunt of a Greeting that says nothing of its own (GRT-03)."""
    blocked_as: str = "declined"
    """What a blocked caller is told (INC-02): ``declined`` or ``busy``."""
    voicemail_uri: str = ""
    """SIP URI of the voicemail server; empty: there is none."""
    announcement_uri: str = ""
    """SIP URI of the announcement server; empty: there is none."""


TRANSFER: Final = "transfer"
"""``CallerNumber.source`` of a call that a device has made for it by a REFER: whoever is moved will hear what it leads to."""


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class CallerNumber:
    """The A-number: what the ingress said about the caller."""

    presented: str = ""
    """User part as it came, unescaped; empty: none."""
    e164: str = ""
    """The same as E.164; empty: it cannot be read."""
    display: str = ""
    """Display name without noise; empty: none worth showing."""
    hidden: bool = False
    """Privacy asked for (RFC 3323 ``id``, ``user``, ``header``) or an anonymous From."""
    source: str = ""
    """Header that was believed: ``p-asserted-identity``, ``remote-party-id``, ``p-preferred-identity``,
    ``from``; or what makes the call in place of a caller: ``transfer``, ``forward``, ``lease``."""
    number_class: NumberClass = NumberClass.UNKNOWN
    """Kind of number that calls, by the national tables of the time of the call, where a block list asks for it
    (INC-02)."""
    labels: tuple[str, ...] = ()
    """What else the tables say of it: ``commercial`` for ranges reserved for selling."""

    def __init__(
        self,
        *,
        presented: str = "",
        e164: str = "",
        display: str = "",
        hidden: bool = False,
        source: str = "",
        number_class: NumberClass = NumberClass.UNKNOWN,
        labels: tuple[str, ...] = (),
    ) -> None:
        self.presented = presented
        self.e164 = e164
        self.display = display
        self.hidden = hidden
        self.source = source
        self.number_class = number_class
        self.labels = labels


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class CallerDevice:
    """The device that calls, proved by its flow or its credentials."""

    device: str
    user: str
    account: str = ""
    sip_username: str = ""
    sim: str = ""
    """MSISDN of its SIM, E.164; empty: none."""
    country: str = ""
    """Country in which its digits are read (NUM-01), ISO 3166 alpha-2; empty: unknown."""
    name: str = ""
    """Name of its user, shown to colleagues."""
    suspended: bool = False
    """The user or the account is suspended (NUM-13)."""
    company: bool = False
    """The account is a company, which answers for its people."""
    has_sim: bool = False
    """The user has a SIM on some device, verified or not."""
    sim_verified: bool = False
    """The number of a SIM of the user was proved by a call (DEV-01)."""
    numbers: tuple[CloudNumber, ...] = ()
    """Cloud numbers that the user holds, in any state."""
    default_number: str = ""
    """E.164 number shown when a call names none; empty: the user has no active number."""
    linked_number: str = ""
    """E.164 number linked to the contact that is called; empty: none."""
    emergency_countries: tuple[str, ...] = ()
    """Countries whose emergency numbers count: of the SIM and of the numbers held (OUT-05)."""


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class CalledNumber:
    """The B-number as dialled."""

    dialled: str
    """User part of the Request-URI (or the tel number), unescaped, without parameters."""
    e164: str = ""
    """Read in the caller's country; empty: it cannot be read."""
    fault: str = ""
    """Why it cannot be read (``numbering.e164.NumberFault``); empty: it could."""
    short: str = ""
    """Digits of a short number, or the service URN of an emergency call; empty: it is none."""
    country: str = ""
    """Country whose short number it is, ISO 3166 alpha-2; empty: none, or every country's."""
    number_class: NumberClass = NumberClass.UNKNOWN
    """Kind of destination by the national tables of the time of the call (OUT-04)."""
    foreign_host: str = ""
    """Host of the Request-URI when it is neither our domain nor our address; empty: it is ours."""

    def __init__(
        self,
        *,
        dialled: str,
        e164: str = "",
        fault: str = "",
        short: str = "",
        country: str = "",
        number_class: NumberClass = NumberClass.UNKNOWN,
        foreign_host: str = "",
    ) -> None:
        self.dialled = dialled
        self.e164 = e164
        self.fault = fault
        self.short = short
        self.country = country
        self.number_class = number_class
        self.foreign_host = foreign_host


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class Callee:
    """The user of ours whom the call is for."""

    user: str
    account: str = ""
    suspended: bool = False
    """The user or the account is suspended (NUM-13)."""
    targets: tuple[DeviceTarget, ...] = ()
    """Every contact of every device of the user that is registered now, best q first."""
    wake: tuple[WakeTarget, ...] = ()
    """Devices of the user that a push can wake, asleep or not, in the order of their refs."""
    sims: tuple[SimTarget, ...] = ()
    """SIMs of the user's devices that answer by GSM (INC-05)."""
    fallback: tuple[SimTarget, ...] = ()
    """SIMs that may be called when no device can be reached over VoIP (INC-06)."""
    unproved: tuple[str, ...] = ()
    """Devices that answer by GSM and have no verified SIM: they ring over VoIP, if they are there."""
    block: tuple[str, ...] = ()
    """Callers whom the user refuses on all numbers."""
    spam: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        user: str,
        account: str = "",
        suspended: bool = False,
        targets: tuple[DeviceTarget, ...] = (),
        wake: tuple[WakeTarget, ...] = (),
        sims: tuple[SimTarget, ...] = (),
        fallback: tuple[SimTarget, ...] = (),
        unproved: tuple[str, ...] = (),
        block: tuple[str, ...] = (),
        spam: tuple[str, ...] = (),
    ) -> None:
        self.user = user
        self.account = account
        self.suspended = suspended
        self.targets = targets
        self.wake = wake
        self.sims = sims
        self.fallback = fallback
        self.unproved = unproved
        self.block = block
        self.spam = spam


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class MemberFacts:
    """A member of a Greeting, and how it can be reached now."""

    callee: Callee
    busy: str = FREE
    """As `dialplan.plan.Reach.busy`."""
    idle_since: float = 0.0
    """Unix time when the member last ended a call; 0: never, as far as is known (GRT-09)."""
    calls: bool = False
    """The call is the member's own, by a device, a SIM or a cloud number."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class GreetingFacts:
    """The Greeting that was called."""

    greeting: Greeting
    suspended: bool = False
    """Its account is (NUM-13)."""
    allowed: bool = True
    """The plan of the account includes Greetings (GRT-08)."""
    members: tuple[MemberFacts, ...] = ()
    """In the order of the Greeting."""
    clock: LocalClock | None = None
    """What a clock in its zone shows; None: it has no hours."""
    turn: int = 0
    """How many calls it has had, for strategy ``round_robin``."""


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class ForwardFacts:
    """Who forwards this call, and what it looks like by then (FWD-02)."""

    number: str
    """Cloud number or Greeting that forwards, E.164."""
    caller: Identity
    """The caller, with those who have forwarded the call, this number the last."""
    cause: str = ""
    """Word of RFC 5806: why it is forwarded."""
    caller_user: str = ""
    """User of ours who calls; empty: somebody else."""
    number_class: NumberClass = NumberClass.UNKNOWN
    """Of the caller, as of `CallerNumber`, where a block list asks for it."""
    labels: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class OwnCall:
    """A call of ours that the request was seen to belong to already."""

    call_ref: str
    called: str
    """Number which that call went to, E.164."""


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class LoopFacts:
    """What tells a loop (FWD-04)."""

    max_forwards: int = 70
    own_calls: tuple[OwnCall, ...] = ()
    diverted: tuple[str, ...] = ()
    """E.164 numbers that diverted this call before it came (Diversion, RFC 5806; History-Info, RFC 7044)."""

    def __init__(
        self,
        *,
        max_forwards: int = 70,
        own_calls: tuple[OwnCall, ...] = (),
        diverted: tuple[str, ...] = (),
    ) -> None:
        self.max_forwards = max_forwards
        self.own_calls = own_calls
        self.diverted = diverted


GATEWAY_UNASKED: Final = ""
GATEWAY_LEASED: Final = "leased"
GATEWAY_VERIFIED: Final = "verified"
GATEWAY_UNKNOWN: Final = "unknown"
GATEWAY_USED: Final = "used"
GATEWAY_EXPIRED: Final = "expired"
GATEWAY_MISMATCH: Final = "mismatch"
GATEWAY_UNAVAILABLE: Final = "unavailable"


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class GatewayFacts:
    """The gateway number that was called, and what its caller may do with it (OUT-02, DEV-01)."""

    number: str
    kind: str
    """``call_through``, ``verification``, ``voicemail``."""
    state: str = GATEWAY_UNASKED
    """What the live store said: ``leased`` (the call is expected, and is now made in the name of ``CallFacts.device``),
    ``verified`` (it proves the caller's SIM), ``mismatch`` (another SIM than the one to be verified), ``used``, ``expired``,
    ``unknown`` (nobody asked for such a call), ``unavailable`` (it did not answer); empty: not asked."""
    sim: str = ""
    """SIM of the lease, E.164."""
    lease: str = ""
    """Id of the lease; empty: there is none."""


RIO_KNOWN: Final = "known"
RIO_NONE: Final = "none"
RIO_UNAVAILABLE: Final = "unavailable"


@dataclass(slots=True, kw_only=True, unsafe_hash=True)
class RioFacts:
    """The RIO of the line that asks for it (NUM-11)."""

    state: str
    """``known``; ``none``: lines have none here; ``unavailable``: the database did not answer in time."""
    rio: str = ""
    """The twelve characters, where they are known.  They are told to nobody but the line: they are in no trace, and left out
    where facts are kept, which changes nothing about what is decided."""


@dataclass(init=False, slots=True, kw_only=True, unsafe_hash=True)
class CallFacts:
    """Everything a decision may look at."""

    source: str
    """``trunk``, ``device``, or ``forward``."""
    now: float
    """Unix time of the call."""
    config_version: int = 0
    """Revision of the provisioning that the facts were read from."""
    trunk: str = ""
    """Ref of the trunk the call came in by; empty for devices."""
    device: CallerDevice | None = None
    """The calling device; None for trunks."""
    caller: CallerNumber = field(default_factory=CallerNumber)
    called: CalledNumber
    number: CloudNumber | None = None
    """The number called, when it is one of ours, in whatever state."""
    callee: Callee | None = None
    """Holder of that number, or the colleague dialled by SIP user name; None: nobody of ours."""
    colleague: bool = False
    """The callee was dialled by the SIP user name of a device of the caller's own account."""
    trunk_available: bool = False
    """A trunk terminates the number called (which peer: chosen when the leg is dialled)."""
    loop: LoopFacts = field(default_factory=LoopFacts)
    limits: Limits = field(default_factory=Limits)
    gateway: GatewayFacts | None = None
    """The gateway number called; None: it is none."""
    usage: UsageFacts | None = None
    """What was used and what the call costs (OUT-06, OUT-08); None: nothing is counted, and nothing has a price."""
    clock: LocalClock | None = None
    """What a clock in the zone of the number's hours shows; None: it is always on."""
    greeting: GreetingFacts | None = None
    """The number called is a Greeting's."""
    forward: ForwardFacts | None = None
    """A call that has come in is forwarded; ``device`` then says in whose name."""
    rio: RioFacts | None = None
    """The RIO of the calling line, looked up for a call to the service that tells it; None: nobody looked."""
    psap_callback: bool = False
    """An emergency service calls back (RFC 7090): no block and no hours stand in its way."""

    def __init__(
        self,
        *,
        source: str,
        now: float,
        config_version: int = 0,
        trunk: str = "",
        device: CallerDevice | None = None,
        caller: CallerNumber | None = None,
        called: CalledNumber,
        number: CloudNumber | None = None,
        callee: Callee | None = None,
        colleague: bool = False,
        trunk_available: bool = False,
        loop: LoopFacts | None = None,
        limits: Limits | None = None,
        gateway: GatewayFacts | None = None,
        usage: UsageFacts | None = None,
        clock: LocalClock | None = None,
        greeting: GreetingFacts | None = None,
        forward: ForwardFacts | None = None,
        rio: RioFacts | None = None,
        psap_callback: bool = False,
    ) -> None:
        self.source = source
        self.now = now
        self.config_version = config_version
        self.trunk = trunk
        self.device = device
        self.caller = CallerNumber() if caller is None else caller
        self.called = called
        self.number = number
        self.callee = callee
        self.colleague = colleague
        self.trunk_available = trunk_available
        self.loop = LoopFacts() if loop is None else loop
        self.limits = Limits() if limits is None else limits
        self.gateway = gateway
        self.usage = usage
        self.clock = clock
        self.greeting = greeting
        self.forward = forward
        self.rio = rio
        self.psap_callback = psap_callback
