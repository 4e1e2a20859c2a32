"""Trunks as an operator sees them: their peers' health, their calls, where we are registered, and the order of routes."""

from __future__ import annotations

from dataclasses import replace

from callcontrol.node_view import PeerView, TrunkView
from callcontrol.probing import Prober
from gateway.health import UNKNOWN, Peer
from gateway.trunk import Trunk


def trunk_views(prober: Prober, now: float) -> list[TrunkView]:
    """Every trunk, in the order of refs."""
    return [_trunk_view(prober, trunk, now) for trunk in prober.trunks()]


def _trunk_view(prober: Prober, trunk: Trunk, now: float) -> TrunkView:
    return TrunkView(
        ref=trunk.ref,
        up=prober.is_up(trunk.ref),
        channels=prober.channels(trunk.ref),
        channel_limit=trunk.max_channels,
        calls_per_second_limit=trunk.max_cps,
        prefixes=tuple(prefix.digits for prefix in trunk.prefixes),
        priority=trunk.priority,
        peers=tuple(_peer_view(prober, trunk, peer, now) for peer in trunk.peers),
    )


def _peer_view(prober: Prober, trunk: Trunk, peer: str, now: float) -> PeerView:
    known = prober.peer(trunk.ref, peer)
    view = PeerView(uri=peer, state=UNKNOWN) if known is None else _health_view(known, peer, now)
    machine = prober.registrations.machine(trunk.ref, peer) if prober.registrations is not None else None
    if machine is None:
        return view
    return replace(
        view,
        registration=machine.state,
        registration_since=machine.since,
        registration_status=machine.status,
        registered_until=machine.until or None,
    )


def _health_view(known: Peer, peer: str, now: float) -> PeerView:
    return PeerView(
        uri=peer,
        state=known.state,
        since=known.since,
        failures=known.failures,
        failure=known.why if known.failures else "",
        answered_at=known.answered_at or None,
        round_trip_seconds=known.round_trip or None,
        avoided_until=known.avoid_until if known.avoid_until > now else None,
    )
