"""The things that calls look up: accounts, users, devices, cloud numbers. Frozen values; no I/O, no SQL.

Each is named by a key that the operator chose (``ref``) or that the world gave it (the E.164 number).
References between them are those keys, so that one object may be replaced without touching the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from numbering.e164 import E164
from numbering.money import ZERO, Money

ANONYMOUS = "anonymous"
"""The entry of a block list that stands for every caller who hides the number (INC-02)."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudNumber:
    """A telephone number that lives in the network, held by exactly one user (NUM-03).

    How it passes from state to state is `numbering.lifecycle`.  Every field that is not about its life is a
    holder's: it ends with the holder (NUM-05).
    """

    e164: E164
    user: str
    """Ref of the holder; empty while the state is one that has none."""
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
    """Callers who are refused: E.164 numbers, and ``anonymous`` for everyone who hides (BLK-01)."""
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


PlanTable = Mapping[str, PlanLimits]
