"""What the routes of the number inventory share: refusals as problems, and the record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from callcontrol.access.tokens import Principal
from callcontrol.api.changing import note
from callcontrol.api.etags import check_match
from callcontrol.api.problems import Problem, not_found
from callcontrol.api.services import Services
from callcontrol.api.sight import Sight
from callcontrol.api.views import number_view
from numbering.inventory import NumberInventory
from numbering.models import CloudNumber, NumberState
from numbering.refusal import Fault, Refused

T = TypeVar("T")

_STATUS: Final = {
    Fault.UNKNOWN_NUMBER: 404,
    Fault.UNKNOWN_PORT: 404,
    Fault.UNKNOWN_USER: 422,
    Fault.UNKNOWN_ACCOUNT: 422,
    Fault.INVALID_NUMBER: 422,
    Fault.BAD_REQUEST: 422,
    Fault.TOO_EARLY: 422,
    Fault.TOO_LATE: 422,
    Fault.RIO: 422,
    Fault.NOT_PORTABLE: 422,
    Fault.STALE: 412,
}
"""Status by fault; everything else conflicts with what there is (409)."""


class Desk:
    """Does things with numbers on behalf of principals."""

    def __init__(self, services: Services, sight: Sight) -> None:
        self._services = services
        self._sight = sight

    @property
    def inventory(self) -> NumberInventory:
        """The service.  Raises a 503 `Problem` where the node has none."""
        inventory = self._services.inventory
        if inventory is None:
            raise Problem(
                503, "unavailable", "The number inventory is not open", "Try again.", {"Retry-After": "5"}
            )
        return inventory

    def obtainable(self, who: Principal, e164: str) -> CloudNumber:
        """A number that is the principal's, or that anybody may have.  Raises 404."""
        number = self._services.directory.number(e164)
        if number is None or not (
            number.state is NumberState.AVAILABLE or self._sight.sees_number(who, number)
        ):
            raise not_found("number")
        return number

    def version(self, number: CloudNumber, if_match: str) -> int:
        """The version that a change is for: 0 for whichever.  Raises 412."""
        check_match(if_match, number_view(number))
        return number.version if if_match else 0

    async def do(
        self,
        who: Principal,
        action: str,
        kind: str,
        key: str,
        work: Callable[[], Awaitable[T]],
        *,
        user: str = "",
        detail: str = "",
    ) -> T:
        """Do it, record it, and let this node see it; ``user`` is whose it is (for the record)."""
        try:
            done = await work()
        except Refused as error:
            raise refused(error) from None
        await self._services.refresh()
        directory = self._services.directory
        holder = directory.account_of(user) if user else None
        number = directory.number(key) if kind == "number" else None
        account = holder.ref if holder is not None else number.account if number is not None else ""
        await note(self._services, who, action, kind, key, account, detail)
        return done


async def asked(work: Awaitable[T]) -> T:
    """The answer to a question; raises a `Problem` for what the inventory refuses."""
    try:
        return await work
    except Refused as error:
        raise refused(error) from None


def refused(error: Refused) -> Problem:
    """The problem that a refusal of the inventory means; its code is the fault."""
    status = _STATUS.get(error.fault, 409)
    if status == 404:
        return not_found("port" if error.fault is Fault.UNKNOWN_PORT else "number")
    return Problem(status, error.fault.value, "The number inventory refuses it", str(error))
