"""Leases of gateway numbers as an operator sees them (OUT-02).  Numbers are shown in full, so nobody else may see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from callcontrol.node_view import Instant
from gateway.lease_store import LeaseStore
from gateway.leases import Lease, LeasePolicy, LeaseState, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLeaseView:
    """A lease in force, or one that was lately."""

    id: str
    state: Literal["open", "in_use", "cooling", "over"]
    """``open``: it waits for its call; ``in_use``; ``cooling``: its call failed a moment ago; ``over``."""
    kind: str
    """``call_through`` or ``verification``."""
    sim: str
    gateway_number: str
    user: str
    device: str
    number: str
    """The cloud number that the call is made with; empty: of a verification."""
    to: str
    hide: bool
    exclusive: bool
    """Nobody else has the gateway number meanwhile: the SIM hides its number."""
    long: bool
    """Of a favourite contact: good for many calls."""
    created_at: Instant
    expires_at: Instant
    used_at: Instant | None
    used_by: str
    """Call-ID of the call that used it."""
    outcome: str


class LeaseList:
    """The leases of all nodes."""

    def __init__(self, store: LeaseStore, policy: LeasePolicy, wall: Callable[[], float]) -> None:
        self._store = store
        self._policy = policy
        self._wall = wall

    def all(self) -> Sequence[Lease]:
        """Leases in force, and those that ended a while ago and are remembered, in no order; reads memory."""
        found: list[Sequence[Lease]] = []
        self._store.all(self._wall(), found.append)
        return found[0] if found else ()

    def get(self, id: str) -> Lease | None:
        """One of them."""
        found: list[Lease | None] = []
        self._store.get(id, self._wall(), found.append)
        return found[0] if found else None

    def state(self, lease: Lease) -> LeaseState:
        """Where a lease is in its life now."""
        return state_of(lease, self._wall(), self._policy)

    def view(self, lease: Lease) -> HeldLeaseView:
        return HeldLeaseView(
            id=lease.id,
            state=self.state(lease).value,
            kind=lease.kind,
            sim=lease.sim,
            gateway_number=lease.gateway,
            user=lease.user,
            device=lease.device,
            number=lease.number,
            to=lease.to,
            hide=lease.hide,
            exclusive=lease.exclusive,
            long=lease.long,
            created_at=lease.created_at,
            expires_at=lease.expires_at,
            used_at=lease.used_at or None,
            used_by=lease.used_by,
            outcome=lease.outcome,
        )
