"""Our registrations with carriers as workers know them that do not register: one worker does it for all, and tells.

A carrier is to see one contact of a node, not one of each process, or it would ring all of them.  The contact's user part is
the same word in every worker, so that whichever gets the call knows whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from callcontrol.trunk_registration import contact_user
from gateway.routes import peer_key
from gateway.trunk import Trunk, TrunkDirectory

TOPIC: Final = "registered with carriers"


class FollowedRegistrations:
    """`callcontrol.trunk_registration.Registrations` for those who ask about calls, by what the first worker tells."""

    def __init__(self, trunks: TrunkDirectory) -> None:
        self._trunks = trunks
        self._version: int | None = None
        self._by_contact: dict[str, Trunk] = {}
        self._bound: dict[str, list[str]] = {}
        """Key of the peer -> Service-Route, while we are registered there."""
        self._by_host: dict[str, set[str]] = {}
        """Address that took a registration -> trunks."""

    def learn(self, worker: int, words: Any) -> None:
        """What the first worker tells: (trunk, peer, Service-Route, address) of each registration in force."""
        self._bound, self._by_host = {}, {}
        for trunk, peer, routes, host in words:
            self._bound[peer_key(trunk, peer)] = list(routes)
            if host:
                self._by_host.setdefault(host, set()).add(trunk)

    def routes(self, trunk: str, peer: str) -> list[str] | None:
        """Service-Route of the registration at a peer; None when we are not registered there."""
        return self._bound.get(peer_key(trunk, peer))

    def match(self, user: str, host: str) -> Trunk | None:
        """The trunk whose registered contact has this user part, or whose registration alone ``host`` took."""
        self._follow()
        found = self._by_contact.get(user)
        if found is not None:
            return found
        there = self._by_host.get(host)
        return self._trunks.get(next(iter(there))) if there is not None and len(there) == 1 else None

    def is_contact(self, trunk: str, user: str) -> bool:
        """Whether ``user`` is the user part of a contact that is registered for the trunk."""
        self._follow()
        found = self._by_contact.get(user)
        return found is not None and found.ref == trunk

    @property
    def left(self) -> bool:
        """Nothing is registered from here."""
        return True

    def tick(self) -> None:
        """Nothing is sent from here."""

    def stop(self) -> None:
        """Nothing is registered from here."""

    def _follow(self) -> None:
        if self._version == self._trunks.version:
            return
        self._version = self._trunks.version
        self._by_contact = {
            contact_user(trunk, peer): trunk
            for trunk in self._trunks.all()
            if trunk.register
            for peer in trunk.peers
        }


class Teller:
    """Tells the other workers when something has changed."""

    def __init__(self, table: Callable[[], Sequence[object]], tell: Callable[[str, object], None]) -> None:
        self._table = table
        self._tell = tell
        self._told: Sequence[object] | None = None

    def tick(self, *, again: bool = False) -> None:
        """``again``: whatever was told before; a worker has come."""
        table = self._table()
        if again or table != self._told:
            self._told = table
            self._tell(TOPIC, table)
