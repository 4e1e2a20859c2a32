"""The things that calls look up: accounts, users, devices, cloud numbers. Frozen values; no I/O, no SQL.

Each is named by a key that the operator chose (``ref``) or that the world gave it (the E.164 number).
References between them are those keys, so that one object may be replaced without touching the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from numbering.e164 import E164
from numbering.hours import Hours
from numbering.money import ZERO, Money

ANONYMOUS = "anonymous"
"""The entry of a block list that stands for every caller who hides the number (INC-02)."""


MISSED_CAUSES = ("no_answer", "busy", "declined", "unreachable")
"""Why a call was missed: the causes for which it may be forwarded (FWD-01), words of ``dialplan.reasons``."""
ANSWER_VOIP = "voip"
ANSWER_GSM = "gsm"


class ForwardMode(StrEnum):
    """When a call is forwarded (FWD-01)."""

    OFF = "off"
    ALL = "all"
    MISSED = "missed"


class Strategy(StrEnum):
    """In which order the members of a Greeting ring (GRT-01, GRT-02, GRT-09)."""

    CASCADE = "cascade"
    SIMULTANEOUS = "simultaneous"
    ROUND_ROBIN = "round_robin"
    LONGEST_IDLE = "longest_idle"
    PRIORITY = "priority"


class FlowAction(StrEnum):
    """What a Greeting does with a call in one of its situations (GRT-05, GRT-06)."""

    HUNT = "hunt"
    FORWARD = "forward"
    VOICEMAIL = "voicemail"
    ANNOUNCE = "announce"
    REFUSE = "refuse"


class AccountKind(StrEnum):
    COMPANY = "company"
    CONSUMER = "consumer"


class DeviceKind(StrEnum):
    PHONE = "phone"
    DESKTOP = "desktop"
    BROWSER = "browser"


class NumberState(StrEnum):
    """Life of a number (NUM-04)."""

    AVAILABLE = "available"
    RESERVED = "reserved"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    QUARANTINED = "quarantined"
    PORTING_IN = "porting_in"
    PORTED_OUT = "ported_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLimits:
    """What a plan of the price list allows (NUM-02, DEV-02); a table of the settings, not of the database."""

    devices: int
    """Devices of one user that may be connected at once."""
    numbers: int
    """Cloud numbers that one user may hold."""
    minutes: Mapping[str, int] = field(default_factory=dict)
    """Zone -> minutes a month of one number that are included (OUT-08); 0: without bound."""
    callees: int = 0
    """Distinct numbers that one number may call in a month (OUT-08); 0: no bound."""
    rates: str = "standard"
    """Name of the rate table by which everything else is paid (OUT-06)."""
    calls: int = 0
    """Outgoing calls of one user at the same time (OUT-10); 0: as the settings say."""
    calls_abroad: int = 0
    """As ``calls``, of those that leave the country."""
    greeting: bool = True
    """Companies with this plan may have Greetings (GRT-08)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A company or a consumer who pays for users and numbers."""

    ref: str
    kind: AccountKind = AccountKind.CONSUMER
    plan: str = "standard"
    """Name of an entry of the plans table."""
    manager: str = ""
    """Ref of the one user who administers a company; empty: none yet."""
    suspended: bool = False
    """Fraud, unpaid and the like: no calls of the whole account (NUM-13)."""
    credit: Money = ZERO
    """What is left to pay calls with, in the currency of the plan's rate table (OUT-06)."""
    packages: tuple[str, ...] = ()
    """Refs of the packages that the account has bought; each number has their minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person: a consumer, or an employee of a company."""

    ref: str
    account: str
    name: str = ""
    email: str = ""
    default_number: str = ""
    """E.164 number shown when a call names none (OUT-01); empty: the first one held."""
    contacts: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Number of a contact -> cloud number of the user that is linked to it: what a call to it shows (OUT-01), both E.164."""
    suspended: bool = False
    """As for the account, for this user alone (NUM-13)."""
    call_waiting: bool = False
    """A Greeting rings the user also while the user talks (GRT-10)."""
    block: tuple[str, ...] = ()
    """Callers who are refused on all numbers of the user (BLK-01); entries as of `CloudNumber.block`."""
    spam: tuple[str, ...] = ()
    """The same, for callers whom the user has marked as spam."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A phone, computer or browser of a user; a phone is SIM-linked when it has a SIM."""

    ref: str
    user: str
    kind: DeviceKind = DeviceKind.PHONE
    sim: str = ""
    """MSISDN of the SIM, E.164; empty: none."""
    sim_verified: bool = False
    """The MSISDN was proved by a call (DEV-01)."""
    sip_username: str = ""
    """Digest user name; the AOR is ``sip:<sip_username>@<domain>``. Empty: the device cannot register."""
    sip_password: str = field(default="", repr=False)
    """Digest secret. Empty: the device cannot register, whatever it sends."""
    mqtt_password: str = field(default="", repr=False)
    """Hash of its password at the MQTT broker, where its user name is the ref (``numbering.mqtt_password``). Empty:
    it has no access there, and no push wakes it."""
    sim_country: str = ""
    """Country where the SIM is at home, as it was last seen, ISO 3166 alpha-2 (NUM-08); empty: never seen."""
    sim_seen_at: float = 0.0
    """Unix time when the network last showed us the SIM; 0: never."""
    answer: str = ANSWER_VOIP
    """``voip``: its registered contacts ring; ``gsm``: its SIM is called over a trunk instead (INC-05)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """Where calls to a number go instead of to its holder (FWD-01)."""

    mode: ForwardMode = ForwardMode.OFF
    to: str = ""
    """Target, E.164; empty: none."""
    causes: tuple[str, ...] = MISSED_CAUSES
    """For mode ``missed``: for which causes."""


NO_FORWARDING = Forwarding()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudNumber:
    """A telephone number that lives in the network, held by exactly one user (NUM-03).

    How it passes from state to state is `numbering.lifecycle`.  Every field that is not about its life is a
    holder's: it ends with the holder (NUM-05).
    """

    e164: E164
    user: str
    """Ref of the holder; empty while the state is one that has none, and while a Greeting has the number."""
    state: NumberState = NumberState.ACTIVE
    category: str = "standard"
    """``standard`` or ``vip`` (NUM-07)."""
    calls: bool = True
    """Off: the number takes no calls (INC-03)."""
    hide: bool = False
    """Calls made with it are shown without a number (OUT-07)."""
    ring_seconds: float = 0.0
    """How long its devices ring (INC-08); 0: as long as the settings say."""
    block: tuple[str, ...] = ()
    """Callers who are refused (BLK-01): E.164 numbers; beginnings of numbers, ``+3316*``; classes of numbers,
    ``class:premium``; and ``anonymous`` for everyone who hides."""
    spam: tuple[str, ...] = ()
    """Callers marked as spam; entries as of ``block``."""
    hours: Hours | None = None
    """When the number is on (SLOT-01); None: always."""
    forward: Forwarding = NO_FORWARDING
    voicemail: bool = False
    """Calls that nobody takes go to voicemail (INC-03, INC-08)."""
    gsm_fallback: bool = False
    """Nobody reachable over VoIP by the wake deadline: the holder's SIM is called (INC-06)."""
    account: str = ""
    """Ref of the company that holds it for its Greeting, in place of a user; empty: none does."""
    expires_at: float = 0.0
    """Unix time when the subscription ends (NUM-12); 0: it does not."""
    until: float = 0.0
    """Unix time when a reservation or a quarantine ends by itself; 0: the state ends by no clock."""
    kept_for: str = ""
    """Ref of the only user who may have a number that nobody holds: who reserved it, who held it before its
    quarantine (NUM-05), who ports it in (NUM-10)."""
    kept_account: str = ""
    """Ref of the company that a quarantined number belonged to: it may take it back for anyone of its people."""
    since: float = field(default=0.0, compare=False)
    """Unix time since when it is in its state."""
    held_since: float = field(default=0.0, compare=False)
    """Unix time from which on the number's history is its holder's (NUM-05, NUM-06): what happened before is
    nobody's business of today."""
    version: int = field(default=0, compare=False)
    """Grows with each change of the number: who changes it says which version he has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreetingMember:
    """A user of the company whom the calls of a Greeting hunt for (GRT-04)."""

    user: str
    priority: int = 1
    """Of strategy ``priority``: the lowest rings first, equal ones at the same time."""
    ring_seconds: float = 0.0
    """How long this member rings; 0: as long as the Greeting says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What a Greeting does in one situation (GRT-05, GRT-06)."""

    action: FlowAction
    to: str = ""
    """Of ``forward``: the target, E.164; of ``announce``: the name of the announcement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """A company number whose calls hunt over members."""

    number: E164
    """Its key: it is held by the company (`CloudNumber.account`), and no user's."""
    account: str
    strategy: Strategy = Strategy.CASCADE
    members: tuple[GreetingMember, ...] = ()
    ring_seconds: float = 20.0
    """How long a member, or a group that rings at once, rings."""
    repeat: int = 0
    """How often the whole hunt is repeated (GRT-03)."""
    limit_seconds: float = 0.0
    """The longest hunt, all repeats together; 0: as the settings say."""
    hours: Hours | None = None
    """When it is open (GRT-05); None: always."""
    open: Flow = Flow(action=FlowAction.HUNT)
    """During its hours."""
    closed: Flow = Flow(action=FlowAction.REFUSE)
    """Outside of them."""
    unanswered: Flow = Flow(action=FlowAction.REFUSE)
    """When the hunt found nobody (GRT-06)."""
    block: tuple[str, ...] = ()
    """Callers who are refused; entries as of `CloudNumber.block`."""
    spam: tuple[str, ...] = ()


PlanTable = Mapping[str, PlanLimits]
