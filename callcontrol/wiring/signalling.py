"""Signalling: sockets, names, the core of calls, and what watches over trunks.  Each function makes one part."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable
from typing import Protocol

from callcontrol.assembly import Signalling, Surroundings
from callcontrol.bindings import BindingStore
from callcontrol.call_store import MemoryCallStore
from callcontrol.ids import KeyedIds
from callcontrol.limits import Doorkeeper
from callcontrol.live.state import LiveState
from callcontrol.number_office import NumberOffice
from callcontrol.occupancy import MemoryOccupancy
from callcontrol.phone_link import PhoneLink
from callcontrol.ports import RecordSink, Resolver
from callcontrol.probing import Prober
from callcontrol.resolution import NameResolver
from callcontrol.sim_writer import SimWriter
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.flow import Listeners
from callcontrol.system_clock import SystemClock
from callcontrol.transport.bounds import StreamBounds
from callcontrol.transport.dns_cache import DnsCache, DnsPython, read_hosts
from callcontrol.transport.driver import Driver
from callcontrol.transport.ports import SipEndpoint, Sockets
from callcontrol.transport.resolver import Resolver as DnsResolver
from callcontrol.transport.tls import TlsFiles
from callcontrol.trunk_registration import Registrations
from callcontrol.usage.outgoing import OutgoingStores
from config.settings import Settings
from gateway.gateway_numbers import GatewayDirectory
from gateway.registration import RegistrationPolicy


class CarrierAccounts(Protocol):
    """Our registrations with carriers, as this process knows them."""

    @property
    def left(self) -> bool: ...

    def tick(self) -> None: ...

    def stop(self) -> None: ...


def make_driver(
    settings: Settings,
    endpoint: SipEndpoint,
    clock: SystemClock,
    gate: Doorkeeper,
    *,
    turn: Callable[[], None],
    on_connection_lost: Callable[[int], None],
    needs_tick: Callable[[], bool],
    sockets: Sockets | None,
) -> Driver:
    """The sockets; nothing is open yet."""
    limits = settings.limits
    return Driver(
        endpoint,
        clock,
        turn,
        gate,
        bounds=StreamBounds(
            connections=limits.max_connections,
            per_address=limits.max_connections_per_address,
            connect_s=settings.sip.connect_seconds,
            idle_s=settings.sip.idle_seconds,
            write_bytes=limits.max_waiting_bytes,
            message_bytes=limits.max_message_bytes,
        ),
        on_connection_lost=on_connection_lost,
        needs_tick=needs_tick,
        sockets=sockets,
    )


def tls_files(settings: Settings) -> TlsFiles | None:
    """Certificates and how they are used; None: TLS is not set."""
    tls = settings.sip.tls
    if not tls.certificate:
        return None
    asks = "required" if tls.require_client_certificate else "optional" if tls.client_ca else "no"
    return TlsFiles(
        certificate=tls.certificate,
        key=tls.key,
        client_ca=tls.client_ca,
        client_certificates=asks,
        ca=tls.ca,
        verify_servers=tls.verify_peers,
    )


def make_resolver(
    settings: Settings, listeners: Listeners, driver: Driver, clock: SystemClock
) -> NameResolver:
    """Names of carriers and of proxies (RFC 3263)."""
    dns = DnsCache(DnsPython(), clock, hosts=read_hosts())
    return NameResolver(
        DnsResolver(
            listeners,
            dns,
            random.random,
            tls_targets=driver.tls_target,
            total_s=settings.sip.dns_seconds,
        ),
        driver.kick,
    )


def surroundings(
    clock: SystemClock,
    key: bytes,
    resolver: Resolver,
    bindings: BindingStore,
    records: RecordSink,
    numbers: NumberOffice,
    sims: SimWriter,
    gateways: GatewayDirectory,
    outgoing: OutgoingStores,
    live: LiveState | None,
    link: PhoneLink | None,
    *,
    close_connection: Callable[[int], None],
    place: int,
    places: int,
) -> Surroundings:
    """What the core of calls stands on: in memory, or in Redis where ``live`` is there."""
    return Surroundings(
        monotonic=clock.monotonic,
        wall=clock.wall,
        entropy=os.urandom,
        dice=random.random,
        key=key,
        resolver=resolver,
        calls=MemoryCallStore() if live is None else live.calls,
        bindings=bindings,
        records=records,
        close_connection=close_connection,
        push=link.pushes if link is not None else None,
        gateways=gateways,
        outgoing=outgoing,
        leases=None if live is None else live.leases,
        channels=None if live is None else live.channels,
        occupancy=MemoryOccupancy() if live is None else live.occupancy,
        rios=numbers,
        sims=sims,
        place=place,
        places=places,
    )


def make_prober(
    settings: Settings,
    signalling: Signalling,
    endpoint: Endpoint,
    resolver: NameResolver,
    ids: KeyedIds,
    clock: SystemClock,
) -> Prober:
    """OPTIONS to trunks."""
    return Prober(
        signalling.core,
        endpoint,
        signalling.trunking,
        resolver,
        ids,
        signalling.env.usage.contacts,
        settings.sip.domain,
        clock.monotonic,
        clock.wall,
        f"{settings.node.id} {secrets.token_hex(4)}",
        settings.trunks.channel_lease_seconds,
    )


def make_registrations(
    settings: Settings, signalling: Signalling, resolver: NameResolver, ids: KeyedIds, clock: SystemClock
) -> Registrations:
    """Our registrations with carriers."""
    trunks = settings.trunks
    return Registrations(
        signalling.core,
        signalling.endpoint,
        signalling.trunking,
        resolver,
        ids,
        signalling.env.usage.contacts,
        settings.sip.user_agent,
        clock.monotonic,
        clock.wall,
        random.random,
        RegistrationPolicy(
            retry_s=trunks.register_retry_seconds, retry_max_s=trunks.register_retry_max_seconds
        ),
        f"{settings.node.id} {secrets.token_hex(4)}",
    )
