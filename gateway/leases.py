"""Leases of gateway numbers: which number a SIM is given for one call, and what a call that comes in may use up (OUT-02).  Pure.

A lease ties (SIM, gateway number) to (cloud number, destination) for a short time.  `LeaseTable` is the whole state machine,
synchronous and without a clock; a store keeps it in memory, or does the same steps where all nodes meet.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class LeaseState(StrEnum):
    """Where a lease is in its life."""

    OPEN = "open"
    """It waits for its call."""
    IN_USE = "in_use"
    """Its call is being set up, or talks."""
    COOLING = "cooling"
    """Its call failed a moment ago: a carrier may be about to try another way."""
    OVER = "over"
    """Used, expired or given back; remembered for a while to tell a late caller what happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a SIM's call to a gateway number means."""

    id: str
    kind: str
    """Kind of the gateway number: ``call_through`` or ``verification``."""
    sim: str
    """A-number that the call will have, E.164."""
    gateway: str
    """B-number that it will have, E.164."""
    user: str
    device: str
    number: str = ""
    """Cloud number that the call is made with, E.164; empty: of a verification."""
    to: str = ""
    """Who is called: E.164, or a short number as it was dialled."""
    hide: bool = False
    """The callee is not to see the cloud number (OUT-07)."""
    created_at: float
    expires_at: float
    """Unix seconds; a call that comes later is too late."""
    exclusive: bool = False
    """Nobody else has this gateway number meanwhile, so a call that hides its number is this SIM's."""
    long: bool = False
    """Of a favourite contact: good for any number of calls, one after the other, for many days."""
    used_by: str = ""
    """Call-ID of the call that used it; empty: none yet."""
    used_at: float = 0.0
    failed_at: float = 0.0
    """When that call ended without an answer; 0: it did not."""
    over_at: float = 0.0
    """When it ended otherwise than by time; 0: it did not."""
    outcome: str = ""
    """What came of it, for the app that asks: ``verified``, or a reason of refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """What is asked for."""

    id: str
    """Id that the lease gets, when there is not one for the same purpose already."""
    kind: str
    sim: str
    user: str
    device: str
    number: str = ""
    to: str = ""
    hide: bool = False
    life_s: float
    exclusive: bool = False
    long: bool = False
    spread: bool = False
    """Rather a number that few others have: a call that cannot be told apart is then likely this SIM's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoNumber:
    """No gateway number is free for this SIM."""

    retry_after_s: float
    """Seconds until the first one that is in the way is free, as far as that is known; 0: waiting does not help."""
    long_full: bool = False
    """It is the bound on long leases that was reached."""


class UseState(StrEnum):
    """What a call to a gateway number is."""

    LEASED = "leased"
    """Expected: it may go on, for the lease that comes along."""
    USED = "used"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The answer to a call that came in."""

    state: UseState
    lease: Lease | None = None
    """The lease of the SIM; with ``unknown`` the only one that waits at this number, which the call may have been meant for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePolicy:
    """Times and bounds; the figures are settings."""

    retry_s: float = 10.0
    """How long after a failed attempt another Call-ID is still the same call: carriers try other ways."""
    hold_s: float = 14_700.0
    """Longest time that a used lease is in flight without a word about its end (LIVE-03); beyond the longest call."""
    busy_s: float = 60.0
    """When to ask again for a number whose call is on its way or talks: nobody knows how long it will."""
    memory_s: float = 600.0
    """How long a lease that is over is remembered."""
    long_per_sim: int = 5
    """Long leases that one SIM may have."""
    recent_sims: int = 200_000
    """SIMs whose last uses of gateway numbers are remembered."""
    recent_numbers: int = 64
    """Gateway numbers that are remembered of each."""


def state_of(lease: Lease, now: float, policy: LeasePolicy) -> LeaseState:
    """Where a lease is in its life at ``now``."""
    if lease.over_at:
        return LeaseState.OVER
    if lease.used_by and not lease.failed_at and now < lease.used_at + policy.hold_s:
        return LeaseState.IN_USE
    if lease.failed_at and now < lease.failed_at + policy.retry_s:
        return LeaseState.COOLING
    # a lease serves one call; that of a favourite, one after the other until its days are over
    if now < lease.expires_at and (lease.long or not lease.used_by):
        return LeaseState.OPEN
    return LeaseState.OVER


def free_at(lease: Lease, policy: LeasePolicy) -> float:
    """When a lease that is not over is over at the latest, Unix seconds."""
    if lease.used_by and not lease.failed_at:
        end = lease.used_at + policy.hold_s
    elif lease.failed_at:
        end = lease.failed_at + policy.retry_s
    else:
        return lease.expires_at
    return max(end, lease.expires_at) if lease.long else end


def choose(
    candidates: Sequence[str],
    taken: Container[str],
    barred: Container[str],
    crowd: Mapping[str, int],
    recent: Mapping[str, float],
    *,
    exclusive: bool,
    spread: bool = False,
) -> str:
    """The gateway number for a SIM; empty when there is none.

    ``taken``: numbers that this SIM has a lease of; ``barred``: those that another has alone; ``crowd``: leases by number;
    ``recent``: when this SIM used a number last, Unix seconds.

    The number that the SIM used longest ago comes first, so the one just used is the last (a redial from the call list, or a
    carrier's belated retry, then meets nobody's call).  Among numbers that it never used the most crowded one is taken: those
    that nobody has are kept for SIMs that need one for themselves; ``spread`` turns that round.
    """
    best = ""
    best_rank: tuple[float, int] = (0.0, 0)
    for number in candidates:
        if number in taken or number in barred:
            continue
        others = crowd.get(number, 0)
        if exclusive and others:
            continue
        rank = (recent.get(number, 0.0), others if spread else -others)
        if not best or rank < best_rank:
            best, best_rank = number, rank
    return best
