"""Sections of the settings: what may stand in the TOML file and in ``CLOUDLINE_SECTION__KEY``.

The models are the whole truth about names, types, defaults and bounds; ``reference.toml`` says the same for
people, and a test holds the two together.  Durations are seconds, sizes are bytes.  Settings are frozen: a
reload builds new ones.
"""

from __future__ import annotations

import re
import socket
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from config.cdr import CdrSettings as CdrSettings
from config.messages import MessageSettings
from config.mqtt import EMBEDDED, MqttSettings
from config.parts import Bytes, Count, CountOrNone, HostPort, Listener, Network, Seconds, Section


class NodeSettings(Section):
    id: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9._-]*$")
    workers: Annotated[int, Field(ge=1, le=32)] = 1
    drain_seconds: Seconds = 3600.0

    @field_validator("id")
    @classmethod
    def _named(cls, value: str) -> str:
        return value or socket.gethostname()

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class TlsSettings(Section):
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    require_client_certificate: bool = False
    ca: str = ""
    verify_peers: bool = True

    @model_validator(mode="after")
    def _whole(self) -> TlsSettings:
        if bool(self.certificate) != bool(self.key):
            missing = "key" if self.certificate else "certificate"
            raise ValueError(f"certificate and key belong together; {missing} is missing")
        if self.require_client_certificate and not self.client_ca:
            raise ValueError("require_client_certificate needs client_ca: whose certificates count")
        return self


class TimerSettings(Section):
    t1: Seconds = 0.5
    t2: Seconds = 4.0
    t4: Seconds = 5.0

    @model_validator(mode="after")
    def _ordered(self) -> TimerSettings:
        if not self.t1 <= self.t2 <= self.t4:
            raise ValueError("t1, t2 and t4 must not decrease (RFC 3261 section 17)")
        return self


class SipSettings(Section):
    listen: tuple[Listener, ...] = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")
    domain: str = Field(default="cloudline.example", pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")
    domains: tuple[str, ...] = ()
    advertise: str = ""
    proxies: tuple[Network, ...] = ()
    user_agent: str = Field(default="Cloudline", max_length=100, pattern=r"^[\x20-\x7e]*$")
    idle_seconds: Seconds = 7500.0
    connect_seconds: Seconds = 3.0
    dns_seconds: Seconds = 2.0
    tls: TlsSettings = TlsSettings()
    timers: TimerSettings = TimerSettings()

    @field_validator("listen")
    @classmethod
    def _somewhere(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("there must be at least one listening address")
        doubles = sorted({text for text in value if value.count(text) > 1 and not text.endswith(":0")})
        if doubles:
            raise ValueError(f"{doubles[0]!r} is named twice")
        return value

    @field_validator("domain")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()

    @field_validator("domains")
    @classmethod
    def _all_lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(domain.lower() for domain in value)

    @field_validator("advertise")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if any(char in value for char in ' \t\r\n<>";@/,'):
            raise ValueError(f"{value!r} is not host or host:port")
        return value

    @model_validator(mode="after")
    def _certified(self) -> SipSettings:
        secure = [text for text in self.listen if text.startswith(("tls:", "wss:"))]
        if secure and not self.tls.certificate:
            raise ValueError(f"{secure[0]!r} needs sip.tls.certificate and sip.tls.key")
        return self


class StateSettings(Section):
    url: str = Field(default="memory://", repr=False)
    timeout_seconds: Seconds = 1.0
    lease_seconds: Annotated[float, Field(ge=1, le=60)] = 4.0
    durability: Literal["commit", "async"] = "commit"
    outage: Literal["accept", "refuse"] = "accept"
    address: str = ""

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        parts = urlsplit(value)
        if value != "memory://" and parts.scheme not in ("redis", "unix", "redis+sentinel", "redis+cluster"):
            known = "memory://, redis://host:port/db, unix:///path, redis+sentinel:// or redis+cluster://"
            raise ValueError(f"{parts.scheme or 'this'} is not supported; write {known}")
        return value


class DatabaseSettings(Section):
    url: str = "sqlite+aiosqlite:///cloudline.db"
    pool: Count = 5
    timeout_seconds: Seconds = 10.0
    poll_seconds: Seconds = 0.3

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        scheme = urlsplit(value).scheme
        if scheme not in {"sqlite+aiosqlite", "postgresql+asyncpg"}:
            raise ValueError(
                f"{scheme or 'this'} is not supported; write sqlite+aiosqlite:///file "
                "or postgresql+asyncpg://user:password@host:port/database"
            )
        return value


class HttpSettings(Section):
    listen: HostPort = "127.0.0.1:8080"
    max_body_bytes: Annotated[int, Field(ge=1024, le=16_777_216)] = 2_097_152
    rate_per_second: Annotated[float, Field(gt=0)] = 50.0
    burst: Count = 500
    wrong_tokens: Count = 20
    wrong_token_seconds: Seconds = 60.0
    token_grace_seconds: Annotated[float, Field(ge=0)] = 86_400.0
    idempotency_seconds: Seconds = 86_400.0
    audit_days: Count = 400


class MediaSettings(Section):
    mode: Literal["direct", "embedded", "rtpengine"] = "direct"
    rtpengine: tuple[str, ...] = ("udp:127.0.0.1:2223",)
    voicemail_uri: str = ""
    announcement_uri: str = ""

    @field_validator("mode")
    @classmethod
    def _direct(cls, value: str) -> str:
        if value != "direct":
            raise ValueError('this version lets media pass directly between the ends: mode = "direct"')
        return value

    @field_validator("voicemail_uri", "announcement_uri")
    @classmethod
    def _server(cls, value: str) -> str:
        if value and re.fullmatch(r"sips?:[^\s@;<>]+(@[^\s@;<>]+)?(;[^\s<>]+)?", value) is None:
            raise ValueError(f"{value!r} is no SIP URI; write sip:voicemail@media.example")
        return value


BarredClass = Literal[
    "free_short",
    "priced_short",
    "unknown_short",
    "toll_free",
    "shared_cost",
    "premium",
    "mobile",
    "fixed",
    "fixed_or_mobile",
    "voip",
    "machine",
    "unknown",
]
"""Classes of numbers that may be barred (``numbering.plans.NumberClass``); emergency numbers are never called,
whatever is set."""


class CallSettings(Section):
    country: str = Field(default="FR", pattern=r"^[A-Z]{2}$")
    ring_seconds: Seconds = 30.0
    wake_deadline_seconds: Seconds = 8.0
    push_delay_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    stale_seconds: Seconds = 120.0
    total_ring_seconds: Seconds = 90.0
    trunk_answer_seconds: Seconds = 120.0
    trunk_silence_seconds: Seconds = 5.0
    trunk_progress_seconds: Seconds = 20.0
    max_duration_seconds: Seconds = 14400.0
    session_expires_seconds: Annotated[int, Field(ge=90)] = 1800
    min_se_seconds: Annotated[int, Field(ge=90)] = 90
    live_state_seconds: Seconds = 2.0
    lease_seconds: Seconds = 45.0
    lease_grace_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 15.0
    lease_retry_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    long_lease_days: Seconds = 60.0
    long_leases: CountOrNone = 5
    verification_seconds: Seconds = 120.0
    callback_ring_seconds: Seconds = 25.0
    gsm_ring_seconds: Seconds = 20.0
    hunt_limit_seconds: Seconds = 180.0
    blocked_as: Literal["declined", "busy"] = "declined"
    kept_ladders: CountOrNone = 1000
    ladder_mib: Count = 2
    barred_classes: tuple[BarredClass, ...] = ("premium", "shared_cost", "priced_short", "unknown_short")

    @model_validator(mode="after")
    def _ordered(self) -> CallSettings:
        if self.min_se_seconds > self.session_expires_seconds:
            raise ValueError("min_se_seconds must not exceed session_expires_seconds (RFC 4028 section 4)")
        if self.ring_seconds > self.total_ring_seconds:
            raise ValueError("ring_seconds must not exceed total_ring_seconds")
        return self


class TrunkSettings(Section):
    down_after: Count = 3
    up_after: Count = 2
    quick_options_seconds: Seconds = 10.0
    options_timeout_seconds: Seconds = 5.0
    options_jitter: Annotated[float, Field(ge=0, lt=1)] = 0.1
    avoid_seconds: Seconds = 30.0
    retry_after_max_seconds: Seconds = 600.0
    channel_lease_seconds: Seconds = 60.0
    register_retry_seconds: Seconds = 10.0
    register_retry_max_seconds: Seconds = 900.0
    register_from: Literal["one", "all"] = "one"

    @model_validator(mode="after")
    def _ordered(self) -> TrunkSettings:
        if self.register_retry_seconds > self.register_retry_max_seconds:
            raise ValueError("register_retry_seconds must not exceed register_retry_max_seconds")
        return self


Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
ZoneName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def standard_zones() -> dict[str, tuple[str, ...]]:
    # The European Economic Area, Great Britain and Switzerland; overseas territories have country codes of their own.
    europe = "AT BE BG CH CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK"
    return {"europe": tuple(europe.split()), "north_america": ("CA", "US")}


class OutgoingSettings(Section):
    verified_sim: Literal["all", "known", "none"] = "known"
    zones: dict[ZoneName, tuple[Country, ...]] = Field(default_factory=standard_zones)
    credit_seconds: Count = 60
    warn_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    reconcile_seconds: Seconds = 300.0
    user_calls: CountOrNone = 0
    account_calls: CountOrNone = 0
    user_calls_per_minute: Rate = 0.0
    account_calls_per_minute: Rate = 0.0
    user_calls_abroad: CountOrNone = 10
    account_calls_abroad: CountOrNone = 100
    user_calls_abroad_per_minute: Rate = 60.0
    account_calls_abroad_per_minute: Rate = 600.0

    @field_validator("zones")
    @classmethod
    def _apart(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        zones: dict[str, str] = {}
        for name, countries in value.items():
            if name in RESERVED_ZONES:
                raise ValueError(f"{name!r} is a zone of its own; choose another name")
            for country in countries:
                if zones.setdefault(country, name) != name:
                    raise ValueError(
                        f"{country} is in {zones[country]!r} and in {name!r}: a country has one zone"
                    )
        return value


class RegistrarSettings(Section):
    default_expires_seconds: Count = 3600
    min_expires_seconds: Count = 60
    max_expires_seconds: Count = 7200
    flow_timer_seconds: Count = 120
    nonce_seconds: Seconds = 300.0
    secret: str = Field(default="", repr=False)
    max_bindings: Count = 10
    gruu: bool = True
    digest_algorithms: tuple[Literal["SHA-256", "MD5"], ...] = ("SHA-256", "MD5")
    md5_agents: tuple[str, ...] = ("sipp", "load-", "baresip v0.", "baresip v1.")

    @model_validator(mode="after")
    def _ordered(self) -> RegistrarSettings:
        if not self.min_expires_seconds <= self.default_expires_seconds <= self.max_expires_seconds:
            raise ValueError("min_, default_ and max_expires_seconds must not decrease")
        return self


class LimitSettings(Section):
    bans: bool = True
    trust_test_networks: bool = False
    trusted_networks: tuple[Network, ...] = ()
    rate_per_second: Annotated[float, Field(gt=0)] = 200.0
    burst: Count = 1000
    slow_rate_per_second: Annotated[float, Field(gt=0)] = 20.0
    auth_failures: Count = 10
    unknown_targets: Count = 20
    malformed: Count = 30
    window_seconds: Seconds = 60.0
    ban_seconds: Seconds = 60.0
    ban_cap_seconds: Seconds = 86400.0
    max_message_bytes: Annotated[int, Field(ge=2048, le=65535)] = 65535
    max_transactions: Count = 1_000_000
    max_calls: Count = 30_000
    max_connections: Count = 20_000
    max_connections_per_address: Count = 1000
    max_waiting_bytes: Bytes = 262_144


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class NumberSettings(Section):
    company: str = Field(default="Cloudline", min_length=1, max_length=30, pattern=r"^[^{}]*$")
    operator_code: str = Field(default="", pattern=r"^([A-Z0-9]{2})?$")
    reservation_seconds: Seconds = 900.0
    max_reservation_seconds: Seconds = 86400.0
    quarantine_days: dict[str, Count] = Field(default_factory=dict)
    sim_window_days: Count = 35
    sim_seen_write_seconds: Seconds = 86400.0
    clock_seconds: Seconds = 1.0
    duty_seconds: Seconds = 15.0

    @field_validator("quarantine_days")
    @classmethod
    def _countries(cls, value: dict[str, int]) -> dict[str, int]:
        for country in value:
            if not (len(country) == 2 and country.isascii() and country.isupper()):
                raise ValueError(f"{country!r} is not a country; write FR = 60")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> NumberSettings:
        if self.reservation_seconds > self.max_reservation_seconds:
            raise ValueError("reservation_seconds must not exceed max_reservation_seconds")
        if self.clock_seconds * 3 > self.duty_seconds:
            raise ValueError("duty_seconds must be at least three times clock_seconds, or the duty wanders")
        return self


RESERVED_ZONES = frozenset({"national", "world", "special"})
"""Zones that there always are (``callcontrol.pricing.zones``)."""


class PlanSettings(Section):
    devices: Count
    numbers: Count
    minutes: dict[ZoneName, CountOrNone] = Field(default_factory=dict)
    callees: Annotated[int, Field(ge=0, le=10_000)] = 0
    rates: str = Field(default="standard", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")
    calls: CountOrNone = 0
    calls_abroad: CountOrNone = 0
    greeting: bool = True


def standard_plans() -> dict[str, PlanSettings]:
    return {
        "starter": PlanSettings(devices=1, numbers=5, greeting=False),
        "standard": PlanSettings(devices=3, numbers=5),
        "advanced": PlanSettings(devices=3, numbers=10),
        "premium": PlanSettings(devices=3, numbers=20),
    }


class Settings(Section):
    node: NodeSettings = NodeSettings()
    sip: SipSettings = SipSettings()
    state: StateSettings = StateSettings()
    database: DatabaseSettings = DatabaseSettings()
    http: HttpSettings = HttpSettings()
    mqtt: MqttSettings = MqttSettings()
    media: MediaSettings = MediaSettings()
    calls: CallSettings = CallSettings()
    trunks: TrunkSettings = TrunkSettings()
    outgoing: OutgoingSettings = OutgoingSettings()
    registrar: RegistrarSettings = RegistrarSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    cdr: CdrSettings = CdrSettings()
    numbers: NumberSettings = NumberSettings()
    messages: MessageSettings = MessageSettings()
    plans: dict[str, PlanSettings] = Field(default_factory=standard_plans)
    """Named in a file they are added to the standard ones, or replace the one of the same name."""

    @model_validator(mode="after")
    def _known_zones(self) -> Settings:
        known = RESERVED_ZONES | self.outgoing.zones.keys()
        for name, plan in self.plans.items():
            for zone in plan.minutes:
                if zone not in known:
                    raise ValueError(f"plans.{name}.minutes: there is no zone {zone!r} in outgoing.zones")
        return self

    @model_validator(mode="after")
    def _share_what_workers_need(self) -> Settings:
        if self.node.workers == 1:
            return self
        if self.state.url == "memory://":
            raise ValueError(
                "node.workers: several workers have their calls and registrations in common through Redis; "
                'set state.url (say "redis://127.0.0.1:6379/0"), or workers = 1'
            )
        if self.mqtt.url == EMBEDDED:
            raise ValueError(
                "node.workers: the built-in MQTT broker serves one process; name a broker in mqtt.url, or set workers = 1"
            )
        return self

    @field_validator("plans")
    @classmethod
    def _with_standard(cls, value: dict[str, PlanSettings]) -> dict[str, PlanSettings]:
        return {**standard_plans(), **value}
