"""The number inventory: everything that is done with numbers, for API, command line and provisioning alike.

Each method is one transaction: it reads, lets `numbering.lifecycle` decide, writes the number, its event, and a
new revision of the directory, by which every node knows within a second.  Who loses a race is refused with
``stale``, ``held`` or ``kept``.  All methods that change something take ``actor`` and ``reason``, which are recorded, and raise
`Refused` or `config.database.DatabaseUnavailable`; then nothing was written.

Numbers come in E.164 in any spelling; times are unix seconds.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from config.sections import NumberSettings
from numbering import lifecycle
from numbering.countries import Countries, CountryRules, quarantine_end
from numbering.e164 import E164, NumberError, country_of, read
from numbering.finder import Finder
from numbering.lifecycle import HELD, Action, Cause, Moved, NumberEvent
from numbering.models import AccountKind, CloudNumber, NumberState, PlanTable, User
from numbering.policy import COUNTRIES, VIP_POLICY
from numbering.portdesk import PortDesk
from numbering.refusal import Fault, Refused
from numbering.store_inventory import InventoryStore, Look, Work
from numbering.vip import VipPolicy, category

SUSPENSIONS: Final = ("fraud", "unpaid", "territory", "false_identity", "other")
"""Why a number, a user or an account is suspended (NUM-13)."""
MAX_AT_ONCE: Final = 1000
_ENDS_CONTRACT: Final = frozenset(Action) - {
    Action.RELEASE,
    Action.SUSPEND,
    Action.RESUME,
    Action.EXPIRE,
    Action.RENEW,
}
"""Changes after which the line is another contract, with another RIO."""


class NumberInventory:
    """See the module.  ``finder``: numbers that may be had; ``ports``: numbers that come and go."""

    def __init__(
        self,
        store: InventoryStore,
        plans: PlanTable,
        settings: NumberSettings,
        *,
        clock: Callable[[], float] = time.time,
        token: Callable[[int], str] = secrets.token_hex,
        countries: Countries = COUNTRIES,
        vip: VipPolicy = VIP_POLICY,
    ) -> None:
        """``token``: so many random bytes as hexadecimal digits.  Raises ValueError for settings that the law
        of a country forbids."""
        self._store = store
        self._plans = plans
        self._settings = settings
        self._clock = clock
        self._countries = countries
        self._vip = vip
        check_quarantine_days(settings.quarantine_days, countries)
        self.finder = Finder(store, vip, self.company_of, clock, settings.sim_window_days)
        self.ports = PortDesk(self, store, settings, token)
        self.counters: dict[str, int] = dict.fromkeys(Action, 0)
        """Changes made here, by action."""

    # -- what others need of it -------------------------------------------------------------------------------

    def cause(self, actor: str, reason: str) -> Cause:
        """Now, by somebody, for a reason."""
        return Cause(at=self._clock(), actor=actor, reason=reason)

    def rules_of(self, e164: str) -> CountryRules:
        """Rules of the number's country."""
        return self._countries.of(country_of(e164))

    def category_of(self, e164: str) -> str:
        """``vip`` or ``standard`` by the digits."""
        return category(e164, self._vip)

    def quarantine_until(self, e164: str, start: float) -> float:
        """When a quarantine that begins at ``start`` ends."""
        days = self._settings.quarantine_days.get(country_of(e164), 0)
        return quarantine_end(self.rules_of(e164), start, days)

    async def put(self, work: Work, before: CloudNumber | None, moved: Moved) -> CloudNumber | None:
        """Write a change and what is recorded of it."""
        await work.write(before, moved.number)
        await work.tell([moved.event])
        if moved.event.action in _ENDS_CONTRACT:
            await work.drop_rio_reference(moved.event.e164)
        self.counters[Action(moved.event.action)] += 1
        return moved.number

    async def holder(self, look: Look, ref: str, more: int = 1) -> tuple[User, str]:
        """A user who may get ``more`` numbers, and the company that he belongs to (empty: a consumer)."""
        user = await look.user(ref)
        if user is None:
            raise Refused(Fault.UNKNOWN_USER, f"there is no user {ref!r}")
        account = await look.account(user.account)
        plan = None if account is None else self._plans.get(account.plan)
        if plan is not None and more:
            held = len(await look.numbers_of(ref)) + await look.promised(ref)
            if held + more > plan.numbers:
                raise Refused(
                    Fault.LIMIT,
                    f"{ref!r} has {held} numbers, reserved ones included; the plan allows {plan.numbers}",
                )
        company = account is not None and account.kind is AccountKind.COMPANY
        return user, user.account if company else ""

    async def company_of(self, look: Look, user: str) -> str:
        """Ref of the company that a user belongs to; empty: a consumer.  Raises Refused."""
        return (await self.holder(look, user, 0))[1]

    @staticmethod
    def read(text: str) -> E164:
        """A number in any spelling of E.164.  Raises Refused."""
        number = read(text)
        if isinstance(number, NumberError):
            raise Refused(Fault.INVALID_NUMBER, f"number: {number}; write E.164 with a plus sign")
        return number

    async def known(self, look: Look, text: str, version: int = 0) -> CloudNumber:
        """A number of the inventory, in the version that the caller has seen (0: whichever).  Raises Refused."""
        e164 = self.read(text)
        number = await look.number(e164)
        if number is None:
            raise Refused(Fault.UNKNOWN_NUMBER, f"{e164} is none of our numbers")
        if version and version != number.version:
            raise Refused(
                Fault.STALE, f"{e164} has been changed since: version {number.version}, not {version}"
            )
        return number

    async def _change(
        self, text: str, change: Callable[[CloudNumber], Moved], version: int = 0
    ) -> CloudNumber:
        async with self._store.work() as work:
            number = await self.known(work, text, version)
            moved = change(number)
            await self.put(work, number, moved)
            return moved.kept

    # -- finding ----------------------------------------------------------------------------------------------

    async def get(self, number: str) -> CloudNumber:
        async with self._store.look() as look:
            return await self.known(look, number)

    async def history(
        self, number: str, limit: int = 100, before: int = 0
    ) -> Sequence[tuple[int, NumberEvent]]:
        """What happened to a number, the latest first, also when it is ours no longer."""
        async with self._store.look() as look:
            return await look.history(self.read(number), limit, before)

    # -- stock ------------------------------------------------------------------------------------------------

    async def add(
        self, numbers: Sequence[str], *, category: str = "", actor: str, reason: str = "added to the stock"
    ) -> Sequence[CloudNumber]:
        """Numbers come into the stock, all or none.  ``category``: empty, by their digits."""
        cause = self.cause(actor, reason)
        added: list[CloudNumber] = []
        async with self._store.work() as work:
            for e164 in self._several(numbers):
                if await work.number(e164) is not None:
                    raise Refused(Fault.HELD, f"{e164} is in the inventory already")
                if await work.is_sim(e164):
                    raise Refused(Fault.HELD, f"{e164} is the SIM of a device")
                moved = lifecycle.add(e164, category or self.category_of(e164), cause)
                await self.put(work, None, moved)
                added.append(moved.kept)
        return added

    async def withdraw(self, number: str, *, actor: str, reason: str = "withdrawn from the stock") -> None:
        """A number leaves the stock for good; nobody may hold it, or have it kept."""
        cause = self.cause(actor, reason)
        async with self._store.work() as work:
            known = await self.known(work, number)
            await self.put(work, known, lifecycle.withdraw(known, cause))

    async def reserve(
        self, numbers: Sequence[str], user: str, *, actor: str, reason: str = "reserved", seconds: float = 0.0
    ) -> Sequence[CloudNumber]:
        """Numbers are kept for a user for a while, all or none (a run, say); 0 seconds: as the settings say."""
        cause = self.cause(actor, reason)
        until = cause.at + min(
            seconds or self._settings.reservation_seconds, self._settings.max_reservation_seconds
        )
        reserved: list[CloudNumber] = []
        async with self._store.work() as work:
            wanted = self._several(numbers)
            await self.holder(work, user, len(wanted))
            for e164 in wanted:
                known = await self.known(work, e164)
                self._not_held(known, user)
                moved = lifecycle.reserve(known, user, until, cause)
                await self.put(work, known, moved)
                reserved.append(moved.kept)
        return reserved

    async def unreserve(self, number: str, *, actor: str, reason: str = "not wanted") -> CloudNumber:
        """A reservation ends early."""
        cause = self.cause(actor, reason)
        return await self._change(number, lambda known: lifecycle.unreserve(known, cause))

    def _several(self, numbers: Sequence[str]) -> list[E164]:
        found = list(dict.fromkeys(self.read(number) for number in numbers))
        if not 1 <= len(found) <= MAX_AT_ONCE:
            raise Refused(Fault.BAD_REQUEST, f"1 to {MAX_AT_ONCE} numbers at a time")
        return found

    @staticmethod
    def _not_held(number: CloudNumber, user: str) -> None:
        if number.state in HELD:
            raise Refused(Fault.HELD, f"{number.e164} has a holder: a number has exactly one")
        if number.state in lifecycle.KEPT and number.kept_for != user:
            # Whose it was, or who wants it, is nobody's business.
            raise Refused(Fault.KEPT, f"{number.e164} is {number.state.value}")

    # -- holders ----------------------------------------------------------------------------------------------

    async def assign(
        self,
        number: str,
        user: str,
        *,
        actor: str,
        reason: str = "assigned",
        expires_at: float = 0.0,
        version: int = 0,
    ) -> CloudNumber:
        """A number of the stock, or one that the user has reserved, gets its holder (NUM-02, NUM-03)."""
        cause = self.cause(actor, reason)
        async with self._store.work() as work:
            known = await self.known(work, number, version)
            promised = known.state is NumberState.RESERVED and known.kept_for == user
            await self.holder(work, user, 0 if promised else 1)
            moved = lifecycle.assign(known, user, _future(expires_at, cause), cause)
            await self.put(work, known, moved)
            return moved.kept

    async def release(
        self, number: str, *, actor: str, reason: str = "released", version: int = 0
    ) -> CloudNumber:
        """The holder gives the number up, or loses it: it goes into quarantine (NUM-05)."""
        cause = self.cause(actor, reason)
        async with self._store.work() as work:
            known = await self.known(work, number, version)
            if known.account:
                raise Refused(
                    Fault.HELD,
                    f"{known.e164} is the number of a Greeting: remove the Greeting, and its number is released",
                )
            company = await self.company_of(work, known.user) if known.user else ""
            moved = lifecycle.release(known, company, self.quarantine_until(known.e164, cause.at), cause)
            await self.put(work, known, moved)
            return moved.kept

    async def take_back(
        self,
        number: str,
        user: str,
        *,
        actor: str,
        reason: str = "taken back",
        expires_at: float = 0.0,
        version: int = 0,
    ) -> CloudNumber:
        """The former holder has the number again, as a new one (NUM-05)."""
        cause = self.cause(actor, reason)
        async with self._store.work() as work:
            known = await self.known(work, number, version)
            if await self.ports.leaving(work, known.e164):
                raise Refused(Fault.PORTING, f"{known.e164} is about to leave")
            _, company = await self.holder(work, user)
            moved = lifecycle.take_back(known, user, company, _future(expires_at, cause), cause)
            await self.put(work, known, moved)
            return moved.kept

    async def reassign(
        self,
        number: str,
        user: str,
        *,
        with_history: bool,
        actor: str,
        reason: str = "reassigned",
        version: int = 0,
    ) -> CloudNumber:
        """The number passes to another user of the same company (NUM-06)."""
        cause = self.cause(actor, reason)
        async with self._store.work() as work:
            known = await self.known(work, number, version)
            if await self.ports.leaving(work, known.e164):
                raise Refused(Fault.PORTING, f"{known.e164} is about to leave")
            receiver, company = await self.holder(work, user, 0 if user == known.user else 1)
            giver = await work.user(known.user) if known.user else None
            if giver is not None and (not company or giver.account != receiver.account):
                raise Refused(
                    Fault.OTHER_COMPANY,
                    f"{known.e164} passes within a company only: release it, and it can be had after its quarantine",
                )
            moved = lifecycle.reassign(known, user, with_history=with_history, cause=cause)
            await self.put(work, known, moved)
            return moved.kept

    # -- suspension and subscription --------------------------------------------------------------------------

    async def suspend(self, number: str, *, actor: str, reason: str, version: int = 0) -> CloudNumber:
        """One number makes and takes no calls; ``reason``: a word of `SUSPENSIONS` (NUM-13)."""
        cause = self.cause(actor, _suspension(reason))
        return await self._change(number, lambda known: lifecycle.suspend(known, cause), version)

    async def resume(
        self, number: str, *, actor: str, reason: str = "resumed", version: int = 0
    ) -> CloudNumber:
        cause = self.cause(actor, reason)
        return await self._change(number, lambda known: lifecycle.resume(known, cause), version)

    async def suspend_user(self, user: str, *, actor: str, reason: str, suspended: bool = True) -> int:
        """A user with all numbers (or no longer); returns how many."""
        cause = self.cause(actor, _suspension(reason) if suspended else reason)
        async with self._store.work() as work:
            if await work.user(user) is None:
                raise Refused(Fault.UNKNOWN_USER, f"there is no user {user!r}")
            await work.set_suspended(user=user, suspended=suspended)
            held = await work.numbers_of(user)
            return await self._tell_held(work, held, "user", suspended, cause)

    async def suspend_account(self, account: str, *, actor: str, reason: str, suspended: bool = True) -> int:
        """An account with all users and numbers (or no longer); returns how many numbers."""
        cause = self.cause(actor, _suspension(reason) if suspended else reason)
        async with self._store.work() as work:
            if await work.account(account) is None:
                raise Refused(Fault.UNKNOWN_ACCOUNT, f"there is no account {account!r}")
            await work.set_suspended(account=account, suspended=suspended)
            held = list(await work.numbers_of_company(account))
            for user in await work.users_of(account):
                held += await work.numbers_of(user.ref)
            return await self._tell_held(work, held, "account", suspended, cause)

    @staticmethod
    async def _tell_held(
        work: Work, held: Sequence[CloudNumber], what: str, suspended: bool, cause: Cause
    ) -> int:
        """The numbers stay as they are, so that they come back as they were; their history knows."""
        word = f"{what}_{'suspended' if suspended else 'resumed'}"
        await work.tell([lifecycle.event(word, number, number, cause) for number in held])
        return len(held)

    async def renew(
        self, number: str, expires_at: float, *, actor: str, reason: str = "renewed", version: int = 0
    ) -> CloudNumber:
        """The subscription runs until ``expires_at``; 0: without end (NUM-12)."""
        cause = self.cause(actor, reason)
        return await self._change(number, lambda known: lifecycle.renew(known, expires_at, cause), version)

    # -- SIMs -------------------------------------------------------------------------------------------------

    async def sim_seen(self, device: str, country: str) -> bool:
        """The network showed us the SIM of a device, at home in ``country`` (NUM-08); whether it was written.

        At most once a day for each device and country: what counts are weeks.
        """
        now = self._clock()
        async with self._store.look() as look:
            known = await look.device(device)
        if known is None or (
            known.sim_country == country and known.sim_seen_at > now - self._settings.sim_seen_write_seconds
        ):
            return False
        async with self._store.work() as work:
            await work.sim_seen(device, country, now)
        return True


def check_quarantine_days(days: Mapping[str, int], countries: Countries) -> None:
    """Raises ValueError for a quarantine that the law of a country, or our own policy, does not allow."""
    for country, wanted in days.items():
        period = countries.of(country).quarantine
        if not period.floor <= wanted <= period.ceiling:
            raise ValueError(
                f"numbers.quarantine_days.{country}: {wanted} is not between {period.floor} and {period.ceiling}"
            )


def _future(expires_at: float, cause: Cause) -> float:
    if expires_at and expires_at <= cause.at:
        raise Refused(Fault.BAD_REQUEST, "a subscription ends in the future")
    return expires_at


def _suspension(reason: str) -> str:
    """``unpaid``, or ``fraud: as told by the carrier``."""
    if reason.partition(":")[0].strip() not in SUSPENSIONS:
        raise Refused(Fault.BAD_REQUEST, f"a suspension is for one of {', '.join(SUSPENSIONS)}")
    return reason
