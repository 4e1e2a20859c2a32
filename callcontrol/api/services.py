"""Everything that the routes are made of, put together once by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from callcontrol.access.audit import AuditEntry
from callcontrol.access.service import Tokens
from callcontrol.access.tokens import Scope, Token
from callcontrol.api.idempotency import Idempotency
from callcontrol.api.metering import HttpCounters
from callcontrol.explaining.impact import Impact
from callcontrol.lease_views import LeaseList
from callcontrol.node_view import Node
from callcontrol.phone_requests import PhoneRequestHandler
from callcontrol.pricing.rates import PriceBook
from callcontrol.provisioning.editing import Editor
from callcontrol.provisioning.service import Edited
from callcontrol.usage.report import UsageReports
from config.sections import HttpSettings
from gateway.gateway_numbers import GatewayDirectory
from gateway.trunk import TrunkDirectory
from numbering.directory import Directory
from numbering.inventory import NumberInventory


class ObjectPages(Protocol):
    """Lists of provisioned objects from the database; raises `config.database.DatabaseUnavailable`."""

    async def page(
        self, kind: str, limit: int, *, after: str = "", where: Mapping[str, str | None]
    ) -> Sequence[Any]: ...


class TokenLists(Protocol):
    """Lists of tokens; raises `config.database.DatabaseUnavailable`."""

    async def get(self, token_id: str) -> Token | None: ...

    async def list(
        self,
        limit: int,
        *,
        after: str = "",
        account: str | None = None,
        scopes: Sequence[Scope] = ...,
        subjects: Sequence[str] | None = None,
    ) -> list[Token]: ...


class AuditTrail(Protocol):
    """The record of changes; raises `config.database.DatabaseUnavailable`."""

    async def write(self, entries: Sequence[AuditEntry]) -> None: ...

    async def latest(
        self,
        limit: int,
        *,
        before: int = 0,
        account: str | None = None,
        kind: str = "",
        key: str = "",
        actor: str = "",
    ) -> list[AuditEntry]: ...


def _nothing() -> None:
    """There is no core to be told."""


ImpactOf = Callable[[Edited, int], Awaitable[Impact]]
"""(what would be changed, how many calls) -> what that would have done to the latest calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What routes may use.  Reads of single objects come from the directory, lists and writes from the database."""

    node: Node
    version: str
    settings: HttpSettings
    directory: Directory
    trunks: TrunkDirectory
    gateways: GatewayDirectory
    editor: Editor
    pages: ObjectPages
    tokens: Tokens
    token_lists: TokenLists
    audit: AuditTrail
    idempotency: Idempotency
    refresh: Callable[[], Awaitable[None]]
    """Let this node see at once what was just written; other nodes see it within a second."""
    wall: Callable[[], float]
    monotonic: Callable[[], float]
    counters: HttpCounters
    inventory: NumberInventory | None = None
    """The number inventory; None: the node has none (a test)."""
    phones: PhoneRequestHandler | None = None
    """Who answers the apps of phones; None: nobody."""
    prices: PriceBook = field(default_factory=PriceBook)
    """Rates and packages."""
    usage: UsageReports | None = None
    """What numbers have used this month; None: nothing is counted (a test)."""
    leases: LeaseList | None = None
    """Leases of gateway numbers; None: there are none (a test)."""
    impact: ImpactOf | None = None
    """Replays the latest calls on a provisioning that is not written; None: there are no calls (a test)."""
    kick: Callable[[], None] = _nothing
    """Lets the signalling core send at once what a request made it want to send."""
