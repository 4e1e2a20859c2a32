"""Finding the call that something belongs to: by our tag, by the user whose devices ring."""

from __future__ import annotations

from collections.abc import Iterable

from callcontrol.b2bua.call import Call
from callcontrol.b2bua.leg import Leg
from callcontrol.wire import Owner
from dialplan.plan import Hunt, Plan, Ring


class CallIndex:
    """Tags, owners and users of the calls of a runner; nothing of a forgotten call stays."""

    def __init__(self) -> None:
        self._tags: dict[str, Owner] = {}
        self._owners: dict[str, dict[str, Owner]] = {}
        self._by_user: dict[str, dict[str, None]] = {}
        """Calls whose plan rings a user's devices, in the order in which they came."""
        self._rung: dict[str, list[str]] = {}
        """Users of ``_by_user`` by call."""

    def census(self) -> dict[str, int]:
        """Entries of every table by name."""
        return {"owners": len(self._owners), "tags": len(self._tags), "users": len(self._by_user)}

    def add(self, call: Call) -> None:
        """A call that begins here, or comes from another node; that may have taken it from this one, which was not told: what is
        under way for its legs leads to the call as it is now."""
        owners = self._owners.setdefault(call.ref, {})
        for owner in owners.values():
            owner.call = call
        self._rung.setdefault(call.ref, [])
        self.rings(call, rung_users(call.plan))

    def rings(self, call: Call, users: Iterable[str]) -> None:
        """The call rings devices of these users, too: a transfer leads to them."""
        for user in users:
            self._by_user.setdefault(user, {})[call.ref] = None
            self._rung[call.ref].append(user)

    def by_tag(self, tag: str) -> Owner | None:
        """The leg that uses ``tag`` as ours."""
        return self._tags.get(tag)

    def of_user(self, user: str) -> Iterable[str]:
        """References of the calls whose plan rings the user's devices."""
        return tuple(self._by_user.get(user, ()))

    def use_tag(self, call: Call, leg: str, tag: str) -> None:
        """From now on ``tag`` leads to the leg."""
        owners = self._owners[call.ref]
        owner = owners.get(leg)
        if owner is None:
            owner = owners[leg] = Owner(call, leg)
        owner.tags.append(tag)
        self._tags[tag] = owner

    def owner(self, call: Call, leg: str) -> Owner:
        """The one object that stands for the leg in transactions."""
        owners = self._owners.get(call.ref)
        owner = owners.get(leg) if owners is not None else None
        return owner if owner is not None else Owner(call, leg)

    def move(self, source: Call, leg: str, target: Call, name: str) -> None:
        """A leg went over to another call, under another name: what is under way for it leads there, and so does what its old
        call has yet to send for it."""
        owner = self._owners[source.ref].get(leg)
        if owner is not None:
            owner.call, owner.leg = target, name
            self._owners[target.ref][name] = owner

    def forget(self, call: Call) -> None:
        for user in self._rung.pop(call.ref, ()):
            refs = self._by_user.get(user)
            if refs is not None:
                refs.pop(call.ref, None)
                if not refs:
                    del self._by_user[user]
        for owner in self._owners.pop(call.ref, {}).values():
            if owner.call is call:
                for tag in owner.tags:
                    self._tags.pop(tag, None)


def rung_users(plan: Plan) -> tuple[str, ...]:
    """Users whose devices the plan rings, each once, in an order that is the same in every process."""
    users: dict[str, None] = {}
    for step in plan.steps:
        if isinstance(step, Ring):
            for target in step.targets:
                users[target.user] = None
            for sleeper in step.wake:
                users[sleeper.user] = None
            for sim in (*step.sims, *step.fallback):
                users[sim.user] = None
        elif isinstance(step, Hunt):
            for group in step.groups:
                for member in group:
                    users[member.user] = None
    return tuple(users)


def leg_tags(leg: Leg) -> list[str]:
    """Our tags of a leg, from its stored state."""
    usage = leg.usage
    tags: list[str] = []
    if usage.dialog is not None:
        tags.append(usage.dialog.local_tag)
    if usage.invite is not None:
        tags.append(usage.invite.from_header.rpartition(";tag=")[2])
    if usage.incoming is not None:
        tags.extend(usage.incoming.fork_tags.values())
    return list(dict.fromkeys(tags))
