"""What has to be known to judge a change of a few objects: the objects themselves, those that they name, and
those that they may collide with.

Reading the whole inventory for one device would take seconds where there are millions.  `Rules` judges the
part that is gathered here as it would judge the whole; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from callcontrol.provisioning.inventory import Inventory, Item, kind_of

Fetch = Callable[[str, str, Collection[str]], Awaitable[Sequence[Item]]]
"""Objects of a kind whose field is one of some values: ``fetch("device", "sim", {"+33639980001"})``; with an
empty field all objects of the kind, which is asked of small kinds only."""


class Around:
    """Gathers the part of an inventory that a change touches, as it is before the change."""

    def __init__(self, fetch: Fetch, held: Inventory, wanted: Inventory) -> None:
        """``held`` and ``wanted``: the changed objects alone, as they are and as they are to be."""
        self.found = held.copy()
        self._fetch = fetch
        self._held = held
        self._wanted = wanted
        self._asked: set[tuple[str, str, str]] = set()

    async def gather(self) -> Inventory:
        """Everything that the rules look at when these objects change."""
        await self._accounts_and_users()
        await self._devices()
        await self._numbers()
        await self._greetings()
        await self._trunks()
        await self._prices()
        await self._references()
        return self.found

    def _both(self, kind: str, field: str) -> set[str]:
        """Values of a field before and after."""
        items = [*self._held.of(kind).values(), *self._wanted.of(kind).values()]
        return {str(getattr(item, field)) for item in items}

    def _gone(self, kind: str) -> set[str]:
        return self._held.of(kind).keys() - self._wanted.of(kind).keys()

    async def _ask(self, kind: str, field: str, values: Iterable[str]) -> bool:
        """Fetch what was not asked for yet; whether anything was."""
        fresh = {value for value in values if value and (kind, field, value) not in self._asked}
        if not fresh:
            return False
        self._asked.update((kind, field, value) for value in fresh)
        self._put(kind, await self._fetch(kind, field, fresh))
        return True

    def _put(self, kind: str, items: Sequence[Item]) -> None:
        there = self.found.of(kind)
        for item in items:
            there.setdefault(kind_of(item)[1], item)

    async def _accounts_and_users(self) -> None:
        held, wanted = self._held, self._wanted
        replanned = {
            ref
            for ref, account in wanted.accounts.items()
            if ref in held.accounts and held.accounts[ref].plan != account.plan
        }
        await self._ask("user", "account", replanned | self._gone("account"))
        # the numbers of whoever moves, or gets another plan, are counted against its limits
        users = {user.ref for user in self.found.users.values() if user.account in replanned}
        await self._ask("number", "user", users | self._both("user", "ref"))
        await self._ask("device", "user", self._gone("user"))
        await self._ask("account", "manager", self._both("user", "ref"))

    async def _devices(self) -> None:
        sims = self._both("device", "sim")
        await self._ask("device", "sim", sims)
        await self._ask("number", "e164", sims)
        await self._ask("gateway_number", "e164", sims)
        names = self._both("device", "sip_username")
        await self._ask("device", "sip_username", names)
        await self._ask("trunk", "username", names)

    async def _numbers(self) -> None:
        numbers = self._both("number", "e164") | self._both("gateway_number", "e164")
        await self._ask("number", "user", self._both("number", "user"))
        await self._ask("user", "default_number", self._both("number", "e164"))
        await self._ask("device", "sim", numbers)
        await self._ask("number", "e164", self._both("gateway_number", "e164"))
        await self._ask("gateway_number", "e164", numbers)

    async def _greetings(self) -> None:
        held, wanted = self._held, self._wanted
        numbers = self._both("greeting", "number")
        for kind in ("number", "gateway_number", "greeting"):
            field = "number" if kind == "greeting" else "e164"
            await self._ask(kind, field, numbers | self._both("number", "e164"))
        await self._ask("device", "sim", numbers)
        targets = {number.forward.to for number in wanted.numbers.values()}
        for greeting in wanted.greetings.values():
            targets |= {flow.to for flow in (greeting.open, greeting.closed, greeting.unanswered)}
        await self._ask("gateway_number", "e164", {to for to in targets if to.startswith("+")})
        # whom a change of a user or an account may leave without a member, or without a company
        moved = {
            user.account
            for ref, user in held.users.items()
            if ref not in wanted.users or wanted.users[ref].account != user.account
        }
        await self._ask("greeting", "account", moved | self._both("account", "ref"))

    async def _trunks(self) -> None:
        if self._held.trunks or self._wanted.trunks:
            self._put("trunk", await self._fetch("trunk", "", ()))
            await self._ask("gateway_number", "trunk", self._both("trunk", "ref"))
            await self._ask("device", "sip_username", self._both("trunk", "username"))

    async def _prices(self) -> None:
        if self._held.rates or self._wanted.rates:
            self._put("rate", await self._fetch("rate", "", ()))
        if self._gone("package"):
            self._put("account", await self._fetch("account", "", ()))

    async def _references(self) -> None:
        """What is there must not name what is missing only here."""
        asked = True
        while asked:
            asked = False
            for where in (self.found, self._wanted):
                users = {device.user for device in where.devices.values()}
                users |= {number.user for number in where.numbers.values()}
                users |= {account.manager for account in where.accounts.values()}
                greetings = where.greetings.values()
                users |= {member.user for greeting in greetings for member in greeting.members}
                # who reserved a number may be of the company whose Greeting gets it
                users |= {number.kept_for for number in where.numbers.values()}
                asked |= await self._ask("user", "ref", users - self.found.users.keys())
                accounts = {user.account for user in where.users.values()}
                accounts |= {greeting.account for greeting in greetings}
                accounts |= {number.account for number in where.numbers.values()}
                asked |= await self._ask("account", "ref", accounts - self.found.accounts.keys())
                numbers = {user.default_number for user in where.users.values()}
                numbers |= {greeting.number for greeting in greetings}
                asked |= await self._ask("number", "e164", numbers - self.found.numbers.keys())
                packages = {ref for account in where.accounts.values() for ref in account.packages}
                asked |= await self._ask("package", "ref", packages - self.found.packages.keys())
                trunks = {number.trunk for number in where.gateway_numbers.values()}
                asked |= await self._ask("trunk", "ref", trunks - self.found.trunks.keys())
