"""What numbers have used of their plans this month (OUT-08)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI

from callcontrol.access.tokens import Principal, Scope
from callcontrol.api.door import Who
from callcontrol.api.problems import Problem, later, not_found
from callcontrol.api.routing import ALL, Routes
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.node_view import Instant
from callcontrol.usage.report import NumberUse, PackageUse, ZoneUse
from numbering.models import CloudNumber

_PATIENCE_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberUseView:
    """Minutes and callees of one number in a calendar month, UTC."""

    number: str
    user: str
    """Its holder, whose use it is."""
    month: str
    """``2027-01``."""
    begins_at: Instant
    ends_at: Instant
    counted: bool
    """False: nothing bounds the holder's calls, so nothing is counted."""
    zones: tuple[ZoneUse, ...]
    packages: tuple[PackageUse, ...]
    callees: int
    """Distinct numbers that were called."""
    max_callees: int
    """0: no bound."""


def use_view(use: NumberUse) -> NumberUseView:
    return NumberUseView(
        number=use.number,
        user=use.user,
        month=use.month.name,
        begins_at=use.month.begins,
        ends_at=use.month.ends,
        counted=use.counted,
        zones=use.zones,
        packages=use.packages,
        callees=use.callees,
        max_callees=use.max_callees,
    )


def add_to(api: FastAPI, services: Services, sight: Sight) -> None:
    routes = Routes(api, "numbers")

    def seen(who: Principal, e164: str) -> CloudNumber:
        """A number that the principal sees; a device sees those of its user."""
        if who.scope is not Scope.DEVICE:
            return sight.number(who, e164)
        number = services.directory.number(e164)
        device = services.directory.device(who.device)
        if number is None or device is None or not number.user or number.user != device.user:
            raise not_found("number")
        return number

    @routes.get("/v1/numbers/{e164}/usage", ALL, problems=[404])
    async def usage(who: Who, e164: str) -> NumberUseView:
        """What a number has used this month: minutes by zone, of its packages, and how many numbers it has called."""
        number = seen(who, e164)
        if services.usage is None:
            raise Problem(503, "unavailable", "Use is not counted here", "Try again.", later(5))
        answer: asyncio.Future[NumberUse | None] = asyncio.get_running_loop().create_future()

        def done(use: NumberUse | None) -> None:
            if not answer.done():
                answer.set_result(use)

        services.usage.of(number, services.wall(), done)
        services.kick()
        try:
            use = await asyncio.wait_for(answer, _PATIENCE_S)
        except TimeoutError:
            use = None
        if use is None:
            raise Problem(503, "unavailable", "The counters do not answer", "Try again.", later(5))
        return use_view(use)
