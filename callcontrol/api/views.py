"""What the API shows of provisioned objects, tokens and the record of changes.  No secret is ever in a view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callcontrol.access.audit import AuditEntry
from callcontrol.access.tokens import Token
from callcontrol.api.incoming_views import (
    ForwardView,
    NumberSlotView,
    SpecialDayView,
    forward_view,
    number_slot_views,
    special_views,
)
from callcontrol.explaining.view import ImpactView
from callcontrol.node_view import Instant
from callcontrol.provisioning.changes import Change, ChangeSet
from numbering.e164 import country_of
from numbering.models import Account, CloudNumber, Device, User
from numbering.policy import COUNTRIES


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """A company or a consumer who pays for users and numbers."""

    ref: str
    kind: str
    plan: str
    manager: str
    """Ref of the user who administers a company; empty: none."""
    suspended: bool
    credit: str
    """What is left for calls outside of packages, in the currency of the prices."""
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserView:
    """A person."""

    ref: str
    account: str
    name: str
    email: str
    default_number: str
    suspended: bool
    contacts: Mapping[str, str]
    """Number of a contact -> own number that calls to it are made with."""
    call_waiting: bool
    """A Greeting rings the user also while the user talks."""
    block: tuple[str, ...]
    """Callers who are refused on all numbers of the user."""
    spam: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A phone, computer or browser of a user."""

    ref: str
    user: str
    kind: str
    sim: str
    """MSISDN of its SIM; empty: none."""
    sim_verified: bool
    sip_username: str
    """It registers as ``sip:<sip_username>@<domain>``; empty: it cannot."""
    answer: str
    """``voip``: it rings as a softphone; ``gsm``: its SIM is called instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberView:
    """A cloud number."""

    e164: str
    user: str
    """Its holder; empty while it has none, and while a Greeting has it."""
    account: str
    """The company whose Greeting has it; empty: none."""
    state: str
    category: str
    calls: bool
    hide: bool
    ring_seconds: float
    """0: as long as the settings say."""
    block: tuple[str, ...]
    spam: tuple[str, ...]
    forward: ForwardView
    slot: tuple[NumberSlotView, ...]
    """When it is on; empty: always."""
    holidays: tuple[str, ...]
    special: tuple[SpecialDayView, ...]
    voicemail: bool
    gsm_fallback: bool
    """Nobody reachable over VoIP: the holder's SIM is called."""
    expires_at: Instant | None
    """When the subscription ends; null: it does not."""
    until: Instant | None
    """When a reservation or a quarantine ends by itself."""
    capabilities: tuple[str, ...]
    """What numbers of its country can do: ``calls``, ``messages``, ``voicemail``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """A token, without its secret."""

    id: str
    scope: str
    subject: str
    account: str
    label: str
    created_at: Instant
    created_by: str
    expires_at: Instant | None
    revoked_at: Instant | None
    """From then on it opens nothing: in the future for one that was rotated."""
    replaced_by: str
    last_used_at: Instant | None
    """To the minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTokenView:
    """A token that was just made."""

    token: str
    """Shown now and never again."""
    details: TokenView


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """Something that was changed or done."""

    id: int
    at: Instant
    actor: str
    token: str
    account: str
    action: str
    kind: str
    key: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChangeView:
    """One field before and after."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeView:
    """One object that is created, changed or removed."""

    kind: str
    key: str
    fields: tuple[FieldChangeView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisioningView:
    """What an apply did, or would do."""

    dry_run: bool
    revision: int
    """Revision of the provisioning that holds the changes; 0: nothing was written."""
    created: int
    changed: int
    removed: int
    changes: tuple[ChangeView, ...]
    """The first of them."""
    warnings: tuple[str, ...] = ()
    """What the objects ask for and the platform does not give yet."""
    impact: ImpactView | None = None
    """What the changes would have done to the latest calls, where that was asked for."""


def account_view(account: Account) -> AccountView:
    return AccountView(
        ref=account.ref,
        kind=account.kind.value,
        plan=account.plan,
        manager=account.manager,
        suspended=account.suspended,
        credit=str(account.credit),
        packages=account.packages,
    )


def user_view(user: User) -> UserView:
    return UserView(
        ref=user.ref,
        account=user.account,
        name=user.name,
        email=user.email,
        default_number=user.default_number,
        suspended=user.suspended,
        contacts=dict(user.contacts),
        call_waiting=user.call_waiting,
        block=user.block,
        spam=user.spam,
    )


def device_view(device: Device) -> DeviceView:
    return DeviceView(
        ref=device.ref,
        user=device.user,
        kind=device.kind.value,
        sim=device.sim,
        sim_verified=device.sim_verified,
        sip_username=device.sip_username,
        answer=device.answer,
    )


def number_view(number: CloudNumber) -> NumberView:
    return NumberView(
        e164=number.e164,
        user=number.user,
        account=number.account,
        state=number.state.value,
        category=number.category,
        calls=number.calls,
        hide=number.hide,
        ring_seconds=number.ring_seconds,
        block=number.block,
        spam=number.spam,
        forward=forward_view(number.forward),
        slot=number_slot_views(number.hours),
        holidays=number.hours.holidays if number.hours is not None else (),
        special=special_views(number.hours),
        voicemail=number.voicemail,
        gsm_fallback=number.gsm_fallback,
        expires_at=number.expires_at or None,
        until=number.until or None,
        capabilities=COUNTRIES.of(country_of(number.e164)).capabilities,
    )


def token_view(token: Token) -> TokenView:
    return TokenView(
        id=token.id,
        scope=token.scope.value,
        subject=token.subject,
        account=token.account,
        label=token.label,
        created_at=token.created_at,
        created_by=token.created_by,
        expires_at=token.expires_at or None,
        revoked_at=token.revoked_at or None,
        replaced_by=token.replaced_by,
        last_used_at=token.last_used_at or None,
    )


def audit_view(entry: AuditEntry) -> AuditView:
    return AuditView(
        id=entry.id,
        at=entry.at,
        actor=entry.actor,
        token=entry.token,
        account=entry.account,
        action=entry.action,
        kind=entry.kind,
        key=entry.key,
        detail=entry.detail,
    )


def provisioning_view(changes: ChangeSet, *, dry_run: bool, shown: int) -> ProvisioningView:
    """At most ``shown`` of the changes one by one."""
    every = [*changes.created, *changes.changed, *changes.removed]
    return ProvisioningView(
        dry_run=dry_run,
        revision=changes.revision,
        created=len(changes.created),
        changed=len(changes.changed),
        removed=len(changes.removed),
        changes=tuple(_change_view(change) for change in every[:shown]),
        warnings=changes.warnings[:shown],
    )


def _change_view(change: Change) -> ChangeView:
    fields = tuple(
        FieldChangeView(name=each.name, before=each.before, after=each.after) for each in change.fields
    )
    return ChangeView(kind=change.kind, key=change.key, fields=fields)


View = Any
"""A view of any kind: a frozen dataclass."""
