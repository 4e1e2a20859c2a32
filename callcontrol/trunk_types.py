"""Trunks, their peers and routes as operators see them: values for ``callcontrol.node_view``."""

from __future__ import annotations

from dataclasses import dataclass

from callcontrol.node_view import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """One signalling address of a trunk."""

    uri: str
    state: str
    """``up``, ``down``, ``unknown``."""
    since: Instant | None = None
    failures: int = 0
    """In a row, of OPTIONS and calls."""
    failure: str = ""
    """What the last one was; empty after a success."""
    answered_at: Instant | None = None
    """When it last answered OPTIONS or a call."""
    round_trip_seconds: float | None = None
    avoided_until: Instant | None = None
    """It failed a call, and is tried last until then."""
    registration: str = ""
    """Of ours with it: ``trying``, ``registered``, ``failed``, ``leaving``, ``left``; empty: the trunk does not
    register.
    """
    registration_since: Instant | None = None
    registration_status: int = 0
    """Status of the last answer to REGISTER; 0: none came."""
    registered_until: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """One peer that a call to a number would try, and why it stands at its place."""

    position: int
    """From 1; trunks that share one are drawn by weight for each call."""
    trunk: str
    peer: str
    called: str
    """The number as the trunk wants it."""
    prefix: str
    priority: int
    cost: float
    """Price per minute."""
    weight: int
    share: float
    """Part of the calls for which the trunk comes first among those of its position."""
    peer_share: float
    """Part of the trunk's calls for which the peer comes first among those of its own priority; 1: it stands there by order."""
    standing: str
    """``ready``; ``last``: tried after all others; ``out``: only when there are no others."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteList:
    """Peers for one number, in order."""

    items: tuple[RouteView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkView:
    """One trunk."""

    ref: str
    up: bool
    channels: int
    channel_limit: int
    """0: no limit."""
    calls_per_second_limit: float = 0.0
    prefixes: tuple[str, ...] = ()
    priority: int = 0
    peers: tuple[PeerView, ...] = ()
