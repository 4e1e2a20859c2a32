"""Trunks as an operator sees them: their peers' health, their calls, where we are registered, and the order of routes."""

from __future__ import annotations

from dataclasses import replace

from callcontrol.probing import Prober
from callcontrol.trunk_types import PeerView, RouteView, TrunkView
from gateway.health import DOWN, UNKNOWN, Peer
from gateway.routes import Route
from gateway.trunk import Trunk
from numbering.classes import local_number, short_number
from numbering.e164 import NumberError, read


def route_views(prober: Prober, dialled: str, now: float) -> list[RouteView]:
    """Peers for a number, in the order in which they would be tried now.  Raises ValueError when it is no number."""
    country = prober.country
    short = short_number(dialled, country)
    number = local_number(short, country) if short else read(dialled, country)
    if isinstance(number, NumberError):
        raise ValueError(str(number))
    return [
        RouteView(
            position=route.position,
            trunk=route.trunk,
            peer=route.peer,
            called=route.called,
            prefix=route.prefix,
            priority=route.priority,
            cost=route.cost,
            weight=route.weight,
            share=route.share,
            peer_share=route.peer_share,
            standing=route.standing,
            why=_why(prober, route, now),
        )
        for route in prober.routes(number)
    ]


def _why(prober: Prober, route: Route, now: float) -> str:
    peer = prober.peer(route.trunk, route.peer)
    trunk = prober.trunk(route.trunk)
    words = [f"prefix {route.prefix}, priority {route.priority}, {route.cost:g} a minute"]
    if route.share < 1.0:
        words.append(f"first for {route.share:.0%} of the calls by weight")
    if route.peer_share < 1.0:
        words.append(f"this peer first for {route.peer_share:.0%} of those")
    if trunk is not None and trunk.max_channels and prober.channels(trunk.ref) >= trunk.max_channels:
        words.append("full")
    if peer is not None and peer.state == DOWN:
        words.append(f"down: {peer.why}")
    elif peer is not None and peer.avoid_until > now:
        words.append(f"failed a call ({peer.why}), tried last for {peer.avoid_until - now:.0f} s")
    elif route.standing == "last":
        words.append("we are not registered there")
    return "; ".join(words)


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
