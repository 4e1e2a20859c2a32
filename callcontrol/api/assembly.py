"""Puts the API together from the parts of a node, and keeps its tables in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from callcontrol.access.service import TokenCache, Tokens
from callcontrol.api.idempotency import Idempotency
from callcontrol.api.metering import HttpCounters
from callcontrol.api.services import ImpactOf, Services
from callcontrol.api.store import Stores
from callcontrol.lease_views import LeaseList
from callcontrol.logs import get_logger
from callcontrol.node_view import Node
from callcontrol.phone_requests import PhoneRequestHandler
from callcontrol.pricing.rates import PriceBook
from callcontrol.provisioning.editing import Editor
from callcontrol.provisioning.terms import STANDARD_TERMS, Terms
from callcontrol.usage.report import UsageReports
from config.database import DatabaseUnavailable
from config.sections import HttpSettings
from gateway.gateway_numbers import GatewayDirectory
from gateway.trunk import TrunkDirectory
from numbering.cache import DirectoryCache, DirectoryUnavailable
from numbering.inventory import NumberInventory
from numbering.models import PlanTable

_USES_S: Final = 30.0
"""How often the last uses of tokens are written."""
_PURGE_EVERY: Final = 120
"""Of these rounds, how many make one in which old rows are removed: an hour."""
_DAY_S: Final = 86_400.0


def make_services(
    stores: Stores,
    cache: DirectoryCache,
    token_cache: TokenCache,
    *,
    node: Node,
    trunks: TrunkDirectory,
    gateways: GatewayDirectory,
    plans: PlanTable,
    settings: HttpSettings,
    operator_token: str,
    version: str,
    wall: Callable[[], float],
    monotonic: Callable[[], float],
    entropy: Callable[[int], bytes],
    inventory: NumberInventory | None = None,
    phones: PhoneRequestHandler | None = None,
    kick: Callable[[], None] = lambda: None,
    prices: PriceBook | None = None,
    terms: Terms = STANDARD_TERMS,
    usage: UsageReports | None = None,
    leases: LeaseList | None = None,
    impact: ImpactOf | None = None,
) -> Services:
    """Everything that the routes need, over the parts of one node."""
    log = get_logger("http")

    async def refresh() -> None:
        try:
            await cache.refresh()
        except DirectoryUnavailable as error:
            # what was written stands; the poller brings it in when the database is back
            log.warning("a change is seen later", error=str(error))

    return Services(
        node=node,
        version=version,
        settings=settings,
        directory=cache.directory,
        trunks=trunks,
        gateways=gateways,
        editor=Editor(stores.provisioning, plans, terms),
        pages=stores.provisioning,
        tokens=Tokens(
            stores.tokens,
            token_cache,
            cache.directory,
            operator_token=operator_token,
            wall=wall,
            entropy=entropy,
        ),
        token_lists=stores.tokens,
        audit=stores.audit,
        idempotency=Idempotency(stores.answers, settings.idempotency_seconds, wall),
        refresh=refresh,
        wall=wall,
        monotonic=monotonic,
        counters=HttpCounters(),
        inventory=inventory,
        phones=phones,
        kick=kick,
        prices=PriceBook() if prices is None else prices,
        usage=usage,
        leases=leases,
        impact=impact,
    )


class Upkeep:
    """Writes when tokens were last used, and answers that the database could not take; removes answers and records that are old."""

    def __init__(self, services: Services, stores: Stores) -> None:
        self._services = services
        self._stores = stores
        self.failures = 0

    async def run(self) -> None:
        """Until cancelled."""
        count = 0
        while True:
            await self.round(purge=count % _PURGE_EVERY == 0)
            count += 1
            await asyncio.sleep(_USES_S)

    async def round(self, *, purge: bool) -> None:
        """Do it once; what the database does not take now is done in a later round."""
        settings, now = self._services.settings, self._services.wall()
        try:
            await self._services.idempotency.catch_up()
            await self._services.tokens.write_uses()
            if purge:
                await self._stores.answers.forget(now - settings.idempotency_seconds)
                await self._stores.audit.forget(now - settings.audit_days * _DAY_S)
        except DatabaseUnavailable as error:
            self.failures += 1
            get_logger("http").debug("upkeep waits", error=str(error))
