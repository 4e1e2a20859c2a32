"""The directory: everything about numbers, users and devices that a call may ask, held in memory.

One object for the life of a process.  Lookups are dictionary reads and never wait; the cache
(`numbering.cache`) puts changes in between two events of the loop, so that whoever reads within one event
sees one state.  Objects are replaced, never altered: what a caller keeps stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from numbering.e164 import country_of
from numbering.models import Account, CloudNumber, Device, Greeting, NumberState, PlanLimits, PlanTable, User

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryChanges:
    """Objects that are new or other than before, by key; ``None`` for those that are gone."""

    accounts: Mapping[str, Account | None]
    users: Mapping[str, User | None]
    devices: Mapping[str, Device | None]
    numbers: Mapping[str, CloudNumber | None]
    greetings: Mapping[str, Greeting | None] = field(default_factory=dict)

    def __len__(self) -> int:
        some = len(self.accounts) + len(self.users) + len(self.devices)
        return some + len(self.numbers) + len(self.greetings)


class _Held(Generic[T]):
    """What each user holds, by key: a change costs one step, and the order is found when somebody asks.

    Sorting with each change would make loading quadratic for a user with very many numbers.
    """

    __slots__ = ("_by_user", "_key", "_sorted")

    def __init__(self, key: Callable[[T], str]) -> None:
        self._key = key
        self._by_user: dict[str, dict[str, T]] = {}
        self._sorted: dict[str, tuple[T, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_user or self._sorted)

    def of(self, user: str) -> tuple[T, ...]:
        """In the order of keys."""
        found = self._sorted.get(user)
        if found is None:
            held = self._by_user.get(user)
            if held is None:
                return ()
            found = self._sorted[user] = tuple(sorted(held.values(), key=self._key))
        return found

    def put(self, user: str, item: T) -> None:
        self._by_user.setdefault(user, {})[self._key(item)] = item
        self._sorted.pop(user, None)

    def remove(self, user: str, key: str) -> None:
        held = self._by_user[user]
        del held[key]
        if not held:
            del self._by_user[user]
        self._sorted.pop(user, None)

    def popitem(self) -> object:
        """Forget what one user holds, in any order."""
        return (self._by_user or self._sorted).popitem()


_CONTENT: Final = (
    "_accounts",
    "_users",
    "_devices",
    "_numbers",
    "_by_username",
    "_devices_of",
    "_numbers_of",
    "_greetings",
    "_greetings_of",
    "_greetings_of_member",
    "_plans",
    "_states",
    "version",
)


class Directory:
    """In-memory lookups; build it from lists in tests, or let `numbering.cache.DirectoryCache` fill it.

    ``version`` is the revision of the provisioning that it shows; ``hits`` and ``misses`` count lookups by a
    caller's word (number, user name), which is what tells a wrong dial plan from a busy day.
    """

    __slots__ = (
        "_accounts",
        "_by_username",
        "_devices",
        "_devices_of",
        "_greetings",
        "_greetings_of",
        "_greetings_of_member",
        "_numbers",
        "_numbers_of",
        "_plans",
        "_states",
        "_users",
        "hits",
        "misses",
        "version",
    )

    def __init__(
        self,
        accounts: Iterable[Account] = (),
        users: Iterable[User] = (),
        devices: Iterable[Device] = (),
        numbers: Iterable[CloudNumber] = (),
        *,
        greetings: Iterable[Greeting] = (),
        plans: PlanTable | None = None,
        version: int = 0,
    ) -> None:
        self._plans: PlanTable = plans or {}
        self.hits = 0
        self.misses = 0
        self.version = version
        self._accounts: dict[str, Account] = {}
        self._users: dict[str, User] = {}
        self._devices: dict[str, Device] = {}
        self._numbers: dict[str, CloudNumber] = {}
        self._by_username: dict[str, Device] = {}
        self._devices_of: _Held[Device] = _Held(_device_ref)
        self._numbers_of: _Held[CloudNumber] = _Held(_number_e164)
        self._greetings: dict[str, Greeting] = {}
        self._greetings_of: _Held[Greeting] = _Held(_greeting_number)
        self._greetings_of_member: _Held[Greeting] = _Held(_greeting_number)
        self._states: dict[NumberState, int] = dict.fromkeys(NumberState, 0)
        for group in (accounts, users, devices, numbers, greetings):
            for item in group:
                self.put_one(item)

    # -- lookups --------------------------------------------------------------------------------------------

    def number(self, e164: str) -> CloudNumber | None:
        """The cloud number, whatever its state; None when it is not one of ours."""
        found = self._numbers.get(e164)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def greeting(self, e164: str) -> Greeting | None:
        """The Greeting with this number; whether the number lives is told by `number`."""
        return self._greetings.get(e164)

    def device_by_username(self, username: str) -> Device | None:
        """The device with this digest user name (which is also the user part of its AOR)."""
        found = self._by_username.get(username)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def device(self, ref: str) -> Device | None:
        return self._devices.get(ref)

    def user(self, ref: str) -> User | None:
        return self._users.get(ref)

    def account(self, ref: str) -> Account | None:
        return self._accounts.get(ref)

    def devices_of(self, user: str) -> tuple[Device, ...]:
        """Devices of a user in the order of their refs."""
        return self._devices_of.of(user)

    def numbers_of(self, user: str) -> tuple[CloudNumber, ...]:
        """Numbers that a user holds, whatever their state, in ascending order."""
        return self._numbers_of.of(user)

    def greetings_of(self, account: str) -> tuple[Greeting, ...]:
        """Greetings of a company in ascending order."""
        return self._greetings_of.of(account)

    def greetings_of_member(self, user: str) -> tuple[Greeting, ...]:
        """Greetings that hunt for a user, in ascending order."""
        return self._greetings_of_member.of(user)

    def numbers_by_state(self) -> Mapping[NumberState, int]:
        """How many numbers there are in each state."""
        return self._states

    def account_of(self, user: str) -> Account | None:
        holder = self._users.get(user)
        return None if holder is None else self._accounts.get(holder.account)

    def plan_of(self, user: str) -> PlanLimits | None:
        """What the plan of the user's account allows; None when the user, the account or the plan is not
        known.
        """
        account = self.account_of(user)
        return None if account is None else self.limits_of(account)

    def limits_of(self, account: Account) -> PlanLimits | None:
        """What the plan of an account allows; None when the plan is not known."""
        return self._plans.get(account.plan)

    def default_number(self, user: str) -> CloudNumber | None:
        """The number that a user's call shows when it names none (OUT-01): the chosen one, else the first
        active one.
        """
        holder = self._users.get(user)
        if holder is None:
            return None
        chosen = self._numbers.get(holder.default_number)
        if chosen is not None and chosen.user == user and chosen.state is NumberState.ACTIVE:
            return chosen
        return next((n for n in self.numbers_of(user) if n.state is NumberState.ACTIVE), None)

    def country_of_device(self, ref: str) -> str:
        """Country in which a device's dialled digits are read (NUM-01): of its SIM, else of the user's
        default number.

        Empty when neither is known.
        """
        device = self._devices.get(ref)
        if device is None:
            return ""
        if device.sim:
            return country_of(device.sim)
        number = self.default_number(device.user)
        return "" if number is None else country_of(number.e164)

    def __len__(self) -> int:
        some = len(self._accounts) + len(self._users) + len(self._devices)
        return some + len(self._numbers) + len(self._greetings)

    # -- the cache's side -----------------------------------------------------------------------------------

    def adopt(self, other: Directory) -> Directory:
        """Exchange contents with another directory; returns that one, with what this one showed until now.

        Counters stay.  Let go of the returned one with `shrink`: freeing a hundred thousand objects at once
        stops the loop.
        """
        for name in _CONTENT:
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)
        return other

    def shrink(self, count: int) -> bool:
        """Forget up to ``count`` objects of a directory that nobody reads any more; returns whether some are
        left.
        """
        indexes: tuple[dict[str, Any] | _Held[Any], ...] = (
            self._greetings_of_member,
            self._greetings_of,
            self._greetings,
            self._numbers_of,
            self._devices_of,
            self._by_username,
            self._numbers,
            self._devices,
            self._users,
            self._accounts,
        )
        for index in indexes:
            while index and count > 0:
                index.popitem()
                count -= 1
        return any(indexes)

    def put_one(self, item: Account | User | Device | CloudNumber | Greeting) -> None:
        """Put one object in, in place of the one with its key."""
        if isinstance(item, CloudNumber):
            self._put_number(item.e164, item)
        elif isinstance(item, Device):
            self._put_device(item.ref, item)
        elif isinstance(item, Greeting):
            self._put_greeting(item.number, item)
        elif isinstance(item, User):
            self._users[item.ref] = item
        else:
            self._accounts[item.ref] = item

    def put(self, changes: DirectoryChanges, *, version: int) -> None:
        """Put changes in; costs only what changed."""
        _merge(self._accounts, changes.accounts)
        _merge(self._users, changes.users)
        for ref, device in changes.devices.items():
            self._put_device(ref, device)
        for e164, number in changes.numbers.items():
            self._put_number(e164, number)
        for e164, greeting in changes.greetings.items():
            self._put_greeting(e164, greeting)
        self.version = version

    def _put_device(self, ref: str, device: Device | None) -> None:
        old = self._devices.pop(ref, None)
        if old is not None:
            # A name that has passed to another device in the same change must not be taken from it again.
            holder = self._by_username.get(old.sip_username)
            if holder is not None and holder.ref == ref:
                del self._by_username[old.sip_username]
            self._devices_of.remove(old.user, ref)
        if device is not None:
            self._devices[ref] = device
            if device.sip_username:
                self._by_username[device.sip_username] = device
            self._devices_of.put(device.user, device)

    def _put_number(self, e164: str, number: CloudNumber | None) -> None:
        old = self._numbers.pop(e164, None)
        if old is not None:
            self._states[old.state] -= 1
            if old.user:
                self._numbers_of.remove(old.user, e164)
        if number is not None:
            self._numbers[e164] = number
            self._states[number.state] += 1
            if number.user:
                self._numbers_of.put(number.user, number)

    def _put_greeting(self, e164: str, greeting: Greeting | None) -> None:
        old = self._greetings.pop(e164, None)
        if old is not None:
            self._greetings_of.remove(old.account, e164)
            for user in _members(old):
                self._greetings_of_member.remove(user, e164)
        if greeting is not None:
            self._greetings[e164] = greeting
            self._greetings_of.put(greeting.account, greeting)
            for user in _members(greeting):
                self._greetings_of_member.put(user, greeting)


def _members(greeting: Greeting) -> set[str]:
    return {member.user for member in greeting.members}


def _merge(into: dict[str, T], changes: Mapping[str, T | None]) -> None:
    for ref, value in changes.items():
        if value is None:
            into.pop(ref, None)
        else:
            into[ref] = value


def _device_ref(device: Device) -> str:
    return device.ref


def _number_e164(number: CloudNumber) -> str:
    return number.e164


def _greeting_number(greeting: Greeting) -> str:
    return greeting.number
