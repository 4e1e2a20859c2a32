"""Documents and the life of numbers: what they may say of it, and what follows from what they say.  Pure.

Documents name holders; numbers pass to them by the legal steps of `numbering.lifecycle` or not at all.  Without a
user a number is in the stock.  What a document does not name any more is, with ``--prune``, not deleted but given up by its
holder: it goes into quarantine and stays in the inventory (NUM-05).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from callcontrol.provisioning.documents import Problem
from callcontrol.provisioning.forms import number_form
from callcontrol.provisioning.inventory import Inventory
from callcontrol.provisioning.objects import Desired
from numbering import lifecycle
from numbering.company_numbers import to_company
from numbering.countries import quarantine_end
from numbering.e164 import country_of
from numbering.lifecycle import HELD, Action, Cause, Moved
from numbering.models import AccountKind, CloudNumber, Greeting, NumberState
from numbering.policy import COUNTRIES, VIP_POLICY
from numbering.refusal import Fault, Refused
from numbering.vip import category

S = NumberState
ACTOR: Final = "apply"
REASON: Final = "as the documents say"
_LIFE: Final = frozenset(
    {
        "state",
        "expires_at",
        "until",
        "kept_for",
        "kept_account",
        "since",
        "held_since",
        "version",
        "category",
        "account",
    }
)
SETTINGS: Final = frozenset(
    spec.name for spec in dataclasses.fields(CloudNumber) if spec.name not in _LIFE | {"e164", "user"}
)
"""Fields that are a holder's: they end with him."""
_PARTS: Final = frozenset({"hours", "forward"})
"""Those of several parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What the life of numbers needs besides documents."""

    now: float
    """Unix time."""
    quarantine_days: Mapping[str, int] = field(default_factory=dict)
    """Days by country, instead of the policy's."""


def computed_category(e164: str) -> str:
    """``vip`` or ``standard``, when a document does not say."""
    return category(e164, VIP_POLICY)


def written(number: CloudNumber) -> dict[str, Any] | None:
    """What a document says of a number; None: nothing, since it is not ours (yet)."""
    if number.state is S.PORTING_IN:
        return None
    values: dict[str, Any] = {"e164": number.e164}
    if number.user:
        values["user"] = number.user
    if number.state in (S.SUSPENDED, S.QUARANTINED, S.PORTED_OUT):
        values["state"] = number.state.value
    if number.category != computed_category(number.e164):
        values["category"] = number.category
    if number.expires_at:
        values["expires_at"] = datetime.fromtimestamp(number.expires_at, UTC)
    for spec in dataclasses.fields(number):
        value = getattr(number, spec.name)
        if spec.name in SETTINGS - _PARTS and value != spec.default:
            values[spec.name] = value
    values.update(number_form(number))
    if number.account and len(values) == 1:
        # The Greeting says everything that there is to say.
        return None
    return values


def settle(before: Inventory, after: Inventory, desired: Desired, times: Times, actor: str) -> list[Problem]:
    """Let the numbers of ``after``, which are as documents say, become what they can become from what they were.

    Changes ``after``, also its ``events``.  What is not legal is returned, and the whole is not to be done.
    """
    cause = Cause(at=times.now, actor=actor or ACTOR, reason=REASON)
    settling = _Settling(before, after, desired, cause, times.quarantine_days)
    greeted = before.greetings.keys() | after.greetings.keys()
    for e164 in sorted(before.numbers.keys() | after.numbers.keys() | greeted):
        old, new = before.numbers.get(e164), after.numbers.get(e164)
        greeting = after.greetings.get(e164)
        if old is new and greeting is before.greetings.get(e164):
            continue
        try:
            result = settling.of_greeting(old, new, greeting) if greeting else settling.of(old, new)
        except Refused as refusal:
            settling.complain(e164, str(refusal))
            continue
        if result is None:
            after.numbers.pop(e164, None)
        else:
            after.numbers[result.e164] = result
    settling.forget_what_left()
    return settling.problems


class _People:
    """Users of a company, as a container."""

    def __init__(self, inventory: Inventory, account: str) -> None:
        self._users = inventory.users
        self._account = account

    def __contains__(self, ref: object) -> bool:
        user = self._users.get(str(ref))
        return user is not None and user.account == self._account


class _Settling:
    def __init__(
        self,
        before: Inventory,
        after: Inventory,
        desired: Desired,
        cause: Cause,
        quarantine_days: Mapping[str, int],
    ) -> None:
        self.problems: list[Problem] = []
        self._before = before
        self._after = after
        self._desired = desired
        self._cause = cause
        self._events = after.events
        self._days = quarantine_days

    def _done(self, moved: Moved) -> CloudNumber:
        self._events.append(moved.event)
        return moved.kept

    def complain(self, e164: str, message: str) -> None:
        entry = self._desired.places.get(("number", e164))
        greeting = self._desired.places.get(("greeting", e164))
        if greeting is not None:
            self.problems.append(
                greeting.problem(f"number: {message}", "see cloudline number show", ("number",))
            )
        elif entry is None:
            self.problems.append(Problem("database", 0, f"number {e164}", message))
        else:
            self.problems.append(entry.problem(message, "see cloudline number show", ("user",)))

    def of(self, old: CloudNumber | None, new: CloudNumber | None) -> CloudNumber | None:
        if old is None:
            return None if new is None else self._created(new)
        if new is None:
            return self._removed(old)
        return self._changed(old, new, self._said(new.e164))

    def _said(self, e164: str) -> Mapping[str, Any]:
        """What a document writes of a number."""
        entry = self._desired.places.get(("number", e164))
        return {} if entry is None else entry.values

    def of_greeting(
        self, old: CloudNumber | None, new: CloudNumber | None, greeting: Greeting
    ) -> CloudNumber | None:
        """The number of a Greeting: the company holds it, and nobody else does."""
        e164, company = greeting.number, greeting.account
        said = self._said(e164)
        if new is not None and new.user:
            raise Refused(
                Fault.HELD,
                f"{e164} is the number of a Greeting and held by user {new.user!r}: a number has exactly one holder",
            )
        if new is not None and "state" in said and new.state not in (S.AVAILABLE, S.ACTIVE, S.SUSPENDED):
            raise Refused(Fault.WRONG_STATE, f"the number of a Greeting is not {new.state.value}")
        if old is not None and old.account and old.account != company:
            raise Refused(
                Fault.OTHER_COMPANY,
                f"{e164} is held by the company {old.account!r}; a number passes to another account only after its "
                "quarantine",
            )
        number = old
        if old is None or not old.account:
            kind = new.category if new is not None else computed_category(e164)
            people = _People(self._before, company)
            number = self._done(to_company(old, e164, kind, company, people, self._cause))
        if number is None or new is None:
            return number
        number = self._with_state(number, new, said)
        if "category" in said and number.category != new.category:
            number = dataclasses.replace(number, category=new.category)
        if old is None or number == old:
            return number if old is None else old
        return dataclasses.replace(number, version=old.version + 1)

    def _until(self, e164: str) -> float:
        country = country_of(e164)
        return quarantine_end(COUNTRIES.of(country), self._cause.at, self._days.get(country, 0))

    def _created(self, new: CloudNumber) -> CloudNumber:
        cause = self._cause
        self._nobodys(new)
        if new.state is S.QUARANTINED:
            return self._done(lifecycle.add_resting(new.e164, new.category, self._until(new.e164), cause))
        if new.state is S.PORTED_OUT:
            return self._done(lifecycle.add_gone(new.e164, new.category, cause))
        if not new.user:
            return self._done(lifecycle.add(new.e164, new.category, cause))
        number = self._done(lifecycle.assign_new(new.e164, new.category, new.user, new.expires_at, cause))
        if new.state is S.SUSPENDED:
            number = self._done(lifecycle.suspend(number, cause))
        return self._with_settings(self._lapsed(number), new)

    def _removed(self, old: CloudNumber) -> CloudNumber | None:
        """What documents do not name any more: a holder's number rests, the stock shrinks, the rest stays."""
        if old.state in HELD:
            return self._released(old)
        if old.state in (S.QUARANTINED, S.PORTING_IN):
            return old
        if old.state is S.RESERVED:
            old = self._done(lifecycle.unreserve(old, self._cause))
        self._events.append(lifecycle.withdraw(old, self._cause).event)
        return None

    def _released(self, old: CloudNumber) -> CloudNumber:
        return self._done(lifecycle.release(old, self._company(old), self._until(old.e164), self._cause))

    def _nobodys(self, new: CloudNumber) -> None:
        """A document may not say of a number that nobody holds what only a holder's can be."""
        if new.user:
            return
        said = self._said(new.e164)
        if "expires_at" in said:
            raise Refused(Fault.BAD_REQUEST, "expires_at: only a number with a user has it")
        if new.state in (S.ACTIVE, S.SUSPENDED):
            raise Refused(Fault.BAD_REQUEST, f"state: no number without a user is {new.state.value}")

    def _company(self, old: CloudNumber) -> str:
        """The company that a number belonged to, as far as it stays."""
        if old.account:
            return old.account if old.account in self._after.accounts else ""
        known = self._before.users.get(old.user)
        account = None if known is None else self._after.accounts.get(known.account)
        return account.ref if account is not None and account.kind is AccountKind.COMPANY else ""

    def _changed(self, old: CloudNumber, new: CloudNumber, said: Mapping[str, Any]) -> CloudNumber:
        if said:
            self._nobodys(new)
        number = self._with_state(self._with_holder(old, new), new, said)
        if "category" in said and number.category != new.category:
            number = dataclasses.replace(number, category=new.category)
        number = self._with_settings(number, new)
        if number == old:
            return old
        return dataclasses.replace(number, version=old.version + 1)

    def _with_holder(self, old: CloudNumber, new: CloudNumber) -> CloudNumber:
        """The number with the holder that a document names."""
        cause = self._cause
        made = old.state in HELD and new.state is S.QUARANTINED
        if new.state in (S.QUARANTINED, S.PORTED_OUT) and old.state is not new.state and not made:
            raise Refused(
                Fault.WRONG_STATE,
                f"state: it is {old.state.value}, and no document makes it {new.state.value}",
            )
        if old.account:
            # Its Greeting is gone.  Somebody of the company may have the number again at once, as a new one.
            old = self._released(old)
        if not new.user:
            return self._released(old) if old.state in HELD else old
        if old.user == new.user or (old.state is S.PORTING_IN and old.kept_for == new.user):
            return old
        if old.state is S.QUARANTINED:
            company = self._new_company(new.user)
            return self._done(lifecycle.take_back(old, new.user, company, 0.0, cause))
        if old.state in HELD:
            return self._reassigned(old, new.user)
        return self._done(lifecycle.assign(old, new.user, 0.0, cause))

    def _new_company(self, user: str) -> str:
        known = self._after.users.get(user)
        account = None if known is None else self._after.accounts.get(known.account)
        return account.ref if account is not None and account.kind is AccountKind.COMPANY else ""

    def _reassigned(self, old: CloudNumber, user: str) -> CloudNumber:
        giver = self._before.users.get(old.user)
        receiver = self._after.users.get(user)
        if giver is not None and receiver is not None and giver.account != receiver.account:
            raise Refused(
                Fault.OTHER_COMPANY,
                f"user: it is held by {old.user!r} of account {giver.account!r}; a number passes to another account "
                "only after its quarantine",
            )
        return self._done(lifecycle.reassign(old, user, with_history=False, cause=self._cause))

    def _with_state(self, number: CloudNumber, new: CloudNumber, said: Mapping[str, Any]) -> CloudNumber:
        """Suspension and subscription, as far as a document speaks of them."""
        cause = self._cause
        if number.state not in HELD:
            return number
        if "expires_at" in said and number.expires_at != new.expires_at:
            if new.expires_at and new.expires_at <= cause.at:
                number = dataclasses.replace(number, expires_at=new.expires_at)
            else:
                number = self._done(lifecycle.renew(number, new.expires_at, cause))
        if "state" in said and new.state is S.SUSPENDED and number.state is not S.SUSPENDED:
            number = self._done(lifecycle.suspend(number, cause))
        elif "state" in said and new.state is S.ACTIVE and number.state is S.SUSPENDED:
            number = self._done(lifecycle.resume(number, cause))
        return self._lapsed(number)

    def _lapsed(self, number: CloudNumber) -> CloudNumber:
        due = lifecycle.timed_action(number, self._cause.at) is Action.EXPIRE
        return self._done(lifecycle.expire(number, self._cause)) if due else number

    @staticmethod
    def _with_settings(number: CloudNumber, new: CloudNumber) -> CloudNumber:
        """A holder's settings are what the document says; a number without one has none."""
        if number.state not in HELD:
            return number
        return dataclasses.replace(number, **{name: getattr(new, name) for name in SETTINGS})

    def forget_what_left(self) -> None:
        """Nothing that users keep of their own names a number that they hold no longer, unless a document says so."""
        for ref, user in self._after.users.items():
            old = self._before.users.get(ref)
            if old is None or ("user", ref) in self._desired.places:
                continue
            named = {user.default_number, *user.contacts.values()} - {""}
            left = {each for each in named if self._left(each, ref)}
            if left:
                self._after.users[ref] = dataclasses.replace(
                    user,
                    default_number="" if user.default_number in left else user.default_number,
                    contacts={key: value for key, value in user.contacts.items() if value not in left},
                )

    def _left(self, e164: str, user: str) -> bool:
        old, new = self._before.numbers.get(e164), self._after.numbers.get(e164)
        return old is not None and old.user == user and (new is None or new.user != user)
