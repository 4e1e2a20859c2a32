"""The composition root: the only place that knows every concrete part of a node, and its life from start to exit."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from callcontrol import demo as demo_data
from callcontrol import logs, metric_wiring, neighbours
from callcontrol.access.service import TokenCache
from callcontrol.api.app import build_api
from callcontrol.api.assembly import Upkeep, make_services
from callcontrol.api.server import HttpServer
from callcontrol.api.store import stores_of
from callcontrol.assembly import Signalling, Surroundings, lease_policy, make_endpoint, make_gate
from callcontrol.bindings import MemoryBindingStore
from callcontrol.call_log import LoggedOutbox
from callcontrol.call_store import MemoryCallStore
from callcontrol.cdr import leftovers
from callcontrol.cdr.exporter import CdrExporter, sync_journal
from callcontrol.cdr.forgetting import Forgetting
from callcontrol.cdr.journal import JournalBusy
from callcontrol.cdr.outbox import JournalOutbox
from callcontrol.cdr.store import SqlCallStore
from callcontrol.census import register_parts
from callcontrol.collector import Collector
from callcontrol.explaining.explainer import Explainer
from callcontrol.explaining.offline import impact_of_edit
from callcontrol.ids import KeyedIds
from callcontrol.lease_views import LeaseList
from callcontrol.limits import Doorkeeper
from callcontrol.live.link import LinkError
from callcontrol.live.state import Calls, LiveState
from callcontrol.message_webhook import WebhookSender
from callcontrol.metrics import Metrics
from callcontrol.node import BansOf, CallsOf, LiveNode
from callcontrol.node_view import ComponentView, Node, ReloadView
from callcontrol.number_office import NumberOffice
from callcontrol.occupancy import MemoryOccupancy
from callcontrol.operator_access import AccessError, NodeNote, ensure_token, leave_note, token_path
from callcontrol.phone_link import PhoneLink
from callcontrol.plans import plan_table
from callcontrol.pricing.store import PriceFollower
from callcontrol.probing import Prober
from callcontrol.provisioning.terms import terms_of
from callcontrol.pushing import Wake
from callcontrol.relay import FlowRelay
from callcontrol.resolution import NameResolver
from callcontrol.sim_writer import SimWriter
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.flow import Listeners
from callcontrol.system_clock import SystemClock
from callcontrol.transport.bounds import StreamBounds
from callcontrol.transport.dns_cache import DnsCache, DnsPython, read_hosts
from callcontrol.transport.driver import Driver
from callcontrol.transport.loop import run as run_loop
from callcontrol.transport.ports import SipEndpoint, Sockets
from callcontrol.transport.resolver import Resolver as DnsResolver
from callcontrol.transport.tls import TlsError, TlsFiles
from callcontrol.trunk_registration import Registrations
from callcontrol.usage.outgoing import OutgoingStores
from callcontrol.usage.reconcile import Reconciler
from callcontrol.usage.report import UsageReports
from callcontrol.usage.store import SqlUsageRecords
from callcontrol.version import VERSION
from config.database import DatabaseUnavailable, create_engine, upgrade
from config.settings import Settings
from dialplan import reasons
from gateway.gateway_numbers import GatewayDirectory
from gateway.registration import RegistrationPolicy
from gateway.store import GatewayFollower, TrunkFollower
from gateway.trunk import TrunkDirectory
from numbering.cache import DirectoryCache, DirectoryUnavailable
from numbering.clockwork import DUTY
from numbering.directory import Directory
from numbering.messages import RetryPolicy
from numbering.models import PlanTable
from numbering.store import SqlDirectorySource
from numbering.store_duty import SqlDuty
from numbering.store_inventory import InventoryStore
from numbering.store_sims import SqlSims

_log = logging.getLogger(__name__)

HOUSEKEEPING_S: Final = 0.25
HANG_UP_S: Final = 1.5
"""How long a stop waits for the last BYEs to be answered."""
OVERLOAD_S: Final = 0.2
"""Datagrams that waited so long: new calls get 503 until the queue is short again."""
STALE_S: Final = 10.0
"""A database that was silent for so long is called away."""


class StartError(Exception):
    """The node cannot start; the text says why and what to do."""


class CarrierAccounts(Protocol):
    """Our registrations with carriers, as this process knows them."""

    @property
    def left(self) -> bool: ...

    def tick(self) -> None: ...

    def stop(self) -> None: ...


class App:
    """One node: made, started, run until it is told to stop, closed.

    What is otherwise in a worker of a node with several processes are the methods under "one of several"
    (``callcontrol.workers.worker``).
    """

    sockets: Sockets | None = None
    place = 0
    places = 1
    registrations: CarrierAccounts

    def __init__(self, settings: Settings, *, is_demo: bool = False) -> None:
        self.settings = settings
        self._demo = is_demo
        self._clock = SystemClock()
        self._started_at = time.time()
        self._stop = asyncio.Event()
        self._wired = False
        """The signalling core is there; nothing of it is asked before."""
        self._idle = asyncio.Event()
        self._refuses_without_state = settings.state.outage == "refuse"
        self._next_trace_at = 0.0
        self.upkeep: Upkeep | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._collector = Collector()

    # -- start ----------------------------------------------------------------------------------------------

    async def start(self, stack: AsyncExitStack) -> None:
        """Open everything, in the order in which it depends on each other.  Raises StartError."""
        settings = self.settings
        self.engine = create_engine(settings.database)
        stack.push_async_callback(self.engine.dispose)
        plans = plan_table(settings)
        self.directory = Directory(plans=plans)
        self.trunks = TrunkDirectory()
        self.gateways = GatewayDirectory()
        self.usage = OutgoingStores()
        self.token_cache = TokenCache()
        self.cache = DirectoryCache(
            SqlDirectorySource(self.engine),
            self.directory,
            plans=plans,
            followers=[
                TrunkFollower(self.engine, self.trunks),
                GatewayFollower(self.engine, self.gateways),
                PriceFollower(self.engine, self.usage.book),
                self.token_cache,
            ],
            poll_seconds=settings.database.poll_seconds,
            on_change=lambda changes: self._on_provisioning(),
        )
        await self._load()
        self._open_numbers(plans)
        self._open_outbox(stack)
        await self._open_link(stack)
        await self._open_live(stack)
        await self._open_sockets(stack)
        self._open_node()
        await self._open_http(stack)
        self._tasks = [
            asyncio.create_task(self.cache.run(), name="directory"),
            asyncio.create_task(self.exporter.run(), name="call records"),
            asyncio.create_task(
                Forgetting(self.records, settings.cdr.facts_days, self._clock.wall).run(), name="old facts"
            ),
            asyncio.create_task(self._keep_house(), name="housekeeping"),
            asyncio.create_task(self.reconciler.run(), name="use of numbers"),
            asyncio.create_task(self.sims.run(), name="verified SIMs"),
            *([asyncio.create_task(self.link.run(), name="mqtt")] if self.link is not None else ()),
            *([asyncio.create_task(self.upkeep.run(), name="upkeep of the API")] if self.upkeep else ()),
            asyncio.create_task(self.numbers.run(), name="numbers"),
        ]
        if self.live is not None:
            self._tasks.append(asyncio.create_task(self.live.run(), name="live state"))
        self._tasks += self._more_tasks()
        if settings.cdr.fsync:
            self._tasks.append(
                asyncio.create_task(sync_journal(self.outbox, settings.cdr.fsync_seconds), name="journal")
            )

    async def _load(self) -> None:
        try:
            await upgrade(self.engine)
            if self._demo:
                await demo_data.provision(self.engine, self.settings)
            await self.cache.load()
        except (DatabaseUnavailable, DirectoryUnavailable, OSError) as error:
            raise StartError(
                f"database.url: the database cannot be used: {error}\n"
                "Start the database, or correct database.url in the configuration."
            ) from error

    def _open_numbers(self, plans: PlanTable) -> None:
        settings, messages = self.settings.numbers, self.settings.messages
        # Another name at each start: what an earlier process of this node did not finish is not ours.
        owner = f"{self.settings.node.id} {secrets.token_hex(4)}"
        try:
            self.numbers = NumberOffice(
                InventoryStore(self.engine),
                SqlDuty(self.engine, DUTY, owner, settings.duty_seconds),
                settings,
                plans,
                self._clock.wall,
                WebhookSender(messages) if messages.url else None,
                RetryPolicy(
                    first_s=messages.retry_seconds,
                    most_s=messages.retry_max_seconds,
                    attempts=messages.attempts,
                ),
            )
        except ValueError as error:
            raise StartError(str(error)) from error

    def _open_outbox(self, stack: AsyncExitStack) -> None:
        cdr = self.settings.cdr
        folder = self._outbox_folder()
        try:
            self.outbox = JournalOutbox(
                folder,
                schedule=asyncio.get_running_loop().call_soon,
                segment_bytes=cdr.segment_bytes,
                fsync=cdr.fsync,
                node=self.settings.node.id,
            )
        except OSError as error:
            raise StartError(f"cdr.outbox: {folder} cannot be used: {error}") from error
        except JournalBusy as error:
            raise StartError(f"cdr.outbox: {error}; give this node a folder of its own") from error
        stack.callback(self.outbox.close)
        self.records = SqlCallStore(self.engine)
        self.exporter = CdrExporter(self.outbox, self.records, cdr)

    async def _open_link(self, stack: AsyncExitStack) -> None:
        """MQTT: pushes, requests of devices, events."""
        settings = self.settings
        self.link: PhoneLink | None = None
        if not settings.mqtt.url:
            return
        link = PhoneLink(
            settings.mqtt,
            settings.node.id,
            settings.sip.domain,
            self.directory,
            self._clock.wall,
            random.random,
            os.urandom,
        )
        try:
            await link.open()
        except OSError as error:
            raise StartError(f"mqtt.listen: {error}") from error
        stack.push_async_callback(link.close)
        self.link = link

    async def _open_live(self, stack: AsyncExitStack) -> None:
        """Where calls and registrations live, when that is not the memory of this process."""
        state, registrar = self.settings.state, self.settings.registrar
        self._secret = registrar.secret.encode() or secrets.token_bytes(32)
        self.live: LiveState | None = None
        if state.url == "memory://":
            return
        try:
            live = LiveState(
                state,
                self.settings.node.id,
                max_call_s=self.settings.calls.max_duration_seconds,
                leases=lease_policy(self.settings),
                channel_lease_s=self.settings.trunks.channel_lease_seconds,
                wall=self._clock.wall,
                kick=self._kick,
                on_defect=self._on_defect,
                on_usurped=self._usurped,
            )
        except ValueError as error:
            raise StartError(f"state.url: {error}") from error
        stack.push_async_callback(live.close)
        try:
            await live.open()
            if not registrar.secret:
                self._secret = await live.shared_secret()
        except LinkError as error:
            raise StartError(
                f"state.url: {error}\nStart Redis, or correct state.url in the configuration."
            ) from error
        self.live = live
        self.usage.counters, self.usage.slots = live.counters, live.slots

    async def _recover(self) -> None:
        """Go on with the calls of the last life of this node; meanwhile nobody in a dialog is told that it is gone."""
        live = self.live
        if live is None:
            return
        self.signalling.core.fetch = live.lease.fetch
        self.signalling.core.begin_recovery()
        try:
            count = await live.recover(self._adopter())
        except LinkError as error:
            raise StartError(f"state.url: {error}") from error
        finally:
            self.signalling.core.end_recovery()
        if count:
            _log.info("live state: %d calls go on", count)

    def _kick(self) -> None:
        if self._wired:
            self.driver.kick()

    async def _open_sockets(self, stack: AsyncExitStack) -> None:
        settings = self.settings
        listeners = Listeners()
        key = hashlib.blake2s(self._secret, person=b"cloudlin").digest()
        bindings = MemoryBindingStore() if self.live is None else self.live.bindings
        endpoint = make_endpoint(settings, listeners, key)
        gate = make_gate(settings, bindings)
        limits = settings.limits
        self.driver = Driver(
            self._guarded(endpoint),
            self._clock,
            self._turn,
            Doorkeeper(gate, self._clock.wall_at),
            bounds=StreamBounds(
                connections=limits.max_connections,
                per_address=limits.max_connections_per_address,
                connect_s=settings.sip.connect_seconds,
                idle_s=settings.sip.idle_seconds,
                write_bytes=limits.max_waiting_bytes,
                message_bytes=limits.max_message_bytes,
            ),
            on_connection_lost=self._on_connection_lost,
            needs_tick=self._needs_tick,
            sockets=self.sockets,
        )
        try:
            await self.driver.start(settings.sip.listen, self._tls_files(), settings.sip.advertise)
        except (OSError, ValueError, TlsError) as error:
            raise StartError(f"sip.listen: {error}") from error
        stack.push_async_callback(self.driver.stop)
        self._sockets_open(Doorkeeper(gate, self._clock.wall_at))
        dns = DnsCache(DnsPython(), self._clock, hosts=read_hosts())
        self.resolver = NameResolver(
            DnsResolver(
                listeners,
                dns,
                random.random,
                tls_targets=self.driver.tls_target,
                total_s=settings.sip.dns_seconds,
            ),
            self.driver.kick,
        )
        stack.push_async_callback(self.resolver.close)
        self.listeners = listeners
        self.sims = SimWriter(
            SqlSims(self.engine), settings.calls.verification_seconds, kick=self.driver.kick
        )
        ids = KeyedIds(key)
        self.signalling = Signalling(
            settings,
            self.directory,
            self.trunks,
            endpoint,
            gate,
            Surroundings(
                monotonic=self._clock.monotonic,
                wall=self._clock.wall,
                entropy=os.urandom,
                dice=random.random,
                key=key,
                resolver=self.resolver,
                calls=MemoryCallStore() if self.live is None else self.live.calls,
                bindings=bindings,
                records=self.numbers.records(LoggedOutbox(self.outbox, logs.CallLog(settings.log))),
                close_connection=self._close_connection,
                push=self.link.pushes if self.link is not None else None,
                gateways=self.gateways,
                outgoing=self.usage,
                leases=None if self.live is None else self.live.leases,
                channels=None if self.live is None else self.live.channels,
                occupancy=MemoryOccupancy() if self.live is None else self.live.occupancy,
                rios=self.numbers,
                sims=self.sims,
                place=self.place,
                places=self.places,
            ),
        )
        self.prober = Prober(
            self.signalling.core,
            endpoint,
            self.signalling.trunking,
            self.resolver,
            ids,
            self.signalling.env.usage.contacts,
            settings.sip.domain,
            self._clock.monotonic,
            self._clock.wall,
            f"{settings.node.id} {secrets.token_hex(4)}",
            settings.trunks.channel_lease_seconds,
        )
        self._open_registrations(ids)
        self.reconciler = Reconciler(
            self.signalling.outgoing,
            SqlUsageRecords(self.engine),
            self._clock.wall,
            settings.outgoing.reconcile_seconds,
        )
        self.signalling.runner.on_defect = self._on_defect
        if self.link is not None:
            self.link.watch(self.signalling.runner)
            self.link.serve(self.signalling.phone)
            if self.signalling.verifier is not None:
                self.signalling.verifier.on_result = self.link.verified
        self.signalling.core.waiting_room.kick = self.driver.kick
        self.numbers.rios.kick = self.driver.kick
        self._open_neighbours(key)
        self._wired = True
        self._on_provisioning()
        await self._recover()

    def _open_neighbours(self, key: bytes) -> None:
        """What passes between the nodes for the sake of phones."""
        self.relay: FlowRelay | None = None
        live = self.live
        if live is None:
            return
        if isinstance(self.registrations, Registrations) and self.settings.trunks.register_from == "one":
            self.registrations.elect(live.register_duty)
        address = self.settings.state.address
        self.relay = neighbours.join(live, self.signalling, key, address, self._reaches)
        for told in (live.members.on_come, live.members.on_gone):
            told.append(lambda name: self._trust())

    def _open_registrations(self, ids: KeyedIds) -> None:
        core, trunks = self.signalling, self.settings.trunks
        core.runner.kick = self.driver.kick
        registrations = Registrations(
            core.core,
            core.endpoint,
            core.trunking,
            self.resolver,
            ids,
            core.env.usage.contacts,
            self.settings.sip.user_agent,
            self._clock.monotonic,
            self._clock.wall,
            random.random,
            RegistrationPolicy(
                retry_s=trunks.register_retry_seconds, retry_max_s=trunks.register_retry_max_seconds
            ),
            f"{self.settings.node.id} {secrets.token_hex(4)}",
        )
        core.trunking.registered = registrations
        core.intake.registrations = registrations
        self.prober.registrations = registrations
        self.registrations = registrations

    def _tls_files(self) -> TlsFiles | None:
        tls = self.settings.sip.tls
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

    def _open_node(self) -> None:
        build = (
            "compiled"
            if not str(sys.modules["callcontrol.sip.message"].__file__).endswith(".py")
            else "interpreted"
        )
        self.metrics = Metrics(VERSION, self._started_at, build)
        self._register_metrics()
        core = self.signalling
        self.node = LiveNode(
            node_id=self.settings.node.id,
            version=VERSION,
            domain=self.settings.sip.domain,
            started_at=self._started_at,
            wall=self._clock.wall,
            calls=CallsOf(core.runner, core.ladders, self._hang_up),
            bindings=core.bindings,
            prober=self.prober,
            listeners=lambda: tuple(listener.name for listener in self.listeners.all()),
            metrics=self.metrics,
            records=self.records,
            health=self._health,
            readiness=self._readiness,
            bans=BansOf(core.gate),
            on_drain=self.drain,
            on_reload=self.reload,
            on_sign_out=self._sign_out,
            config_version=lambda: self.directory.version,
            draining=lambda: self.signalling.core.draining,
            explainer=Explainer(core, self._clock.wall),
            wakes=self._wakes_of,
        )

    def _wakes_of(self, device: str) -> Sequence[Wake]:
        pushing = self.signalling.pushing
        return pushing.history(device) if pushing is not None else ()

    def _register_metrics(self) -> None:
        register_parts(
            self.metrics,
            self.signalling,
            self.driver,
            self.prober,
            self.outbox,
            self.exporter,
            self.cache,
            self.reconciler,
            self._clock.wall,
            STALE_S,
        )
        if self.link is not None:
            self.link.register(self.metrics, self.signalling.pushing)
        self.numbers.register(self.metrics, self.directory)
        if self.live is not None and self.relay is not None:
            metric_wiring.live_state(self.metrics, self.live, self.relay.passed)

    async def _open_http(self, stack: AsyncExitStack) -> None:
        settings = self.settings
        try:
            token = ensure_token(token_path(settings.database.url))
        except AccessError as error:
            raise StartError(str(error)) from error
        stores = stores_of(self.engine, self._clock.wall, settings.numbers.quarantine_days)
        services = make_services(
            stores,
            self.cache,
            self.token_cache,
            node=self._whole_node(),
            trunks=self.trunks,
            gateways=self.gateways,
            plans=plan_table(settings),
            terms=terms_of(settings),
            settings=settings.http,
            operator_token=token,
            version=VERSION,
            wall=self._clock.wall,
            monotonic=self._clock.monotonic,
            entropy=os.urandom,
            inventory=self.numbers.inventory,
            phones=self.signalling.phone,
            kick=self.driver.kick,
            prices=self.signalling.outgoing.book,
            usage=UsageReports(
                self.directory, self.signalling.outgoing.book, self.signalling.outgoing.counters
            ),
            leases=LeaseList(self.signalling.leases, lease_policy(settings), self._clock.wall),
            impact=partial(impact_of_edit, settings, stores.provisioning),
        )
        services.counters.register(self.metrics)
        self.upkeep = Upkeep(services, stores)
        host, _, port = settings.http.listen.rpartition(":")
        self.http = HttpServer(build_api(services), host.strip("[]"), int(port))
        try:
            await self.http.start()
        except OSError as error:
            raise StartError(str(error)) from error
        stack.push_async_callback(self.http.stop)
        extra = demo_data.facts(self.listeners, settings) if self._demo else {}
        name, pid = self._shown_as()
        note = NodeNote(url=self.http.url, token=token, node=name, pid=pid, extra=extra)
        try:
            left = leave_note(note)
        except (AccessError, OSError) as error:
            _log.warning("the command line will not find this node by itself: %s", error)
            return
        stack.callback(left.unlink, missing_ok=True)

    # -- what the parts call --------------------------------------------------------------------------------

    def _turn(self) -> None:
        if self._wired:
            # shed new calls before the queue grows longer than T1 and retransmissions feed it
            self.signalling.endpoint.overloaded = self.driver.queue_delay_s() > OVERLOAD_S
            if self._refuses_without_state and self.live is not None:
                self.signalling.core.state_away = not self.live.link.is_up
            self.signalling.turn()

    def _on_defect(self, error: Exception) -> None:
        """At most one trace a second: whoever has found out how to cause them is not to fill the disk."""
        now = self._clock.monotonic()
        if now >= self._next_trace_at:
            self._next_trace_at = now + 1.0
            count = self.signalling.runner.defects
            _log.error(
                "internal error, number %d since the start; one message or call is affected",
                count,
                exc_info=error,
            )

    def _needs_tick(self) -> bool:
        if not self._wired:
            return False
        if self.signalling.runner.calls or len(self.signalling.core.waiting_room):
            return True
        return self.signalling.registrar.next_deadline() is not None

    def _close_connection(self, conn: int) -> None:
        self.driver.close_connection(conn, "replaced")

    def _on_connection_lost(self, conn: int) -> None:
        self.signalling.registrar.connection_lost(conn)

    def _on_provisioning(self) -> None:
        if self._wired:
            self._trust()
            self.signalling.registrar.reconcile()

    def _trust(self) -> None:
        """Carriers and the other nodes are no strangers."""
        known = [network for trunk in self.trunks.all() for network in trunk.accept_from]
        known += self.settings.sip.proxies
        if self.live is not None:
            known += neighbours.networks(self.live.members)
        self.signalling.gate.trust(known)

    def _hang_up(self, ref: str, reason: str) -> bool:
        done = self.signalling.runner.hang_up(ref, reason, self._clock.wall())
        self.driver.kick()
        return done

    def _sign_out(self, ref: str) -> int:
        device = self.directory.device(ref)
        ended = self.signalling.registrar.sign_out(device, self._clock.wall()) if device is not None else 0
        self.driver.kick()
        return ended

    async def _keep_house(self) -> None:
        """Probes, overload, clock, and the end of a drain; four times a second."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            self._clock.follow()
            self._collector.look(len(self.signalling.runner.calls), self._clock.monotonic())
            self.prober.tick()
            self.registrations.tick()
            if self.signalling.pushing is not None:
                self.signalling.pushing.tick(self._clock.wall())
            if self.relay is not None:
                self.relay.tick(self._clock.monotonic())
            self.driver.kick()
            if self.signalling.core.draining and not self.signalling.runner.calls:
                self._idle.set()
                if self._may_leave():
                    self._stop.set()

    # -- what operators see ---------------------------------------------------------------------------------

    def _directory_fresh(self) -> bool:
        return self.cache.age() < STALE_S

    def _health(self) -> Sequence[ComponentView]:
        dead = [task.get_name() for task in self._tasks if task.done()]
        return (ComponentView(name="tasks", ok=not dead, detail=", ".join(dead)),)

    def _readiness(self) -> Sequence[ComponentView]:
        draining = self.signalling.core.draining
        age = self.cache.age()
        return (
            ComponentView(name="listeners", ok=bool(self.listeners.all())),
            ComponentView(name="draining", ok=not draining, detail="takes no new calls" if draining else ""),
            ComponentView(
                name="directory",
                ok=self.directory.version >= 0,
                detail=""
                if self._directory_fresh()
                else f"database silent for {age:.0f} s; serving what is known",
            ),
            ComponentView(
                name="live_state",
                ok=self.live is None or self.live.link.is_up or self.settings.state.outage == "accept",
                detail=""
                if self.live is None or self.live.link.is_up
                else "Redis is away; calls go on unsaved",
            ),
            ComponentView(name="cdr_outbox", ok=self.outbox.lost == 0, detail=f"{self.outbox.depth} wait"),
            *([self.link.component()] if self.link is not None else ()),
        )

    # -- operation ------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """No new calls; exit when the last one is over, or after ``node.drain_seconds`` (OPS-04)."""
        if self.signalling.core.draining:
            return
        self.signalling.core.draining = True
        _log.info("draining: %d calls are running", len(self.signalling.runner.calls))
        self.registrations.stop()
        asyncio.get_running_loop().call_later(self.settings.node.drain_seconds, self._stop.set)

    def stop(self) -> None:
        """Hang up what runs and exit now."""
        self._stop.set()

    async def reload(self) -> ReloadView:
        """Certificates and provisioning again; a bad certificate leaves the old one in force (OPS-03)."""
        problems: list[str] = []
        changes: list[str] = []
        if self.driver.tls is not None:
            try:
                self.driver.reload_tls()
                changes.append("sip.tls")
            except TlsError as error:
                problems.append(f"sip.tls: {error}; the old certificate stays in use")
        try:
            if await self.cache.refresh():
                changes.append("provisioning")
        except DirectoryUnavailable as error:
            problems.append(f"database: {error}")
        return ReloadView(ok=not problems, changes=tuple(changes), problems=tuple(problems))

    async def run(self, stack: AsyncExitStack) -> None:
        """Run until drained or stopped."""
        self._watch_signals()
        self._collector.start(self._clock.monotonic())
        await self._stop.wait()
        await self._finish()

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        terminations = 0

        def on_term() -> None:
            nonlocal terminations
            terminations += 1
            if terminations == 1:
                self.drain()
            else:
                self.stop()

        loop.add_signal_handler(signal.SIGTERM, on_term)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        reloads: set[asyncio.Task[ReloadView]] = set()

        def on_hup() -> None:
            task = loop.create_task(self.reload(), name="reload")
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, on_hup)

    # -- one of several -------------------------------------------------------------------------------------

    def _outbox_folder(self) -> Path:
        return Path(self.settings.cdr.outbox)

    def _guarded(self, endpoint: Endpoint) -> SipEndpoint:
        """What the sockets take for the endpoint."""
        return endpoint

    def _sockets_open(self, gate: Doorkeeper) -> None:
        """The listeners are there."""

    def _reaches(self, conn: int) -> bool:
        """Whether another process of this node has a stream connection."""
        return False

    def _adopter(self) -> Calls:
        """Who goes on with calls that are taken over."""
        return self.signalling.runner

    def _whole_node(self) -> Node:
        """What the API shows."""
        return self.node

    def _shown_as(self) -> tuple[str, int]:
        """Name and process of the node for those outside."""
        return self.settings.node.id, os.getpid()

    def _more_tasks(self) -> list[asyncio.Task[None]]:
        """What workers that this node had before have left in their outboxes."""
        return [asyncio.create_task(self._left_behind(1), name="records of former workers")]

    async def _left_behind(self, workers: int) -> None:
        await leftovers.export(Path(self.settings.cdr.outbox), workers, self.records, self.settings.cdr)
        await asyncio.Event().wait()

    def _may_leave(self) -> bool:
        """Whether a drained process may exit when its own calls are over."""
        return True

    def _usurped(self) -> None:
        """Another process is this node now."""
        self._stop.set()

    async def _leave_carriers(self) -> None:
        """Let the answers to our last REGISTERs come, so that no call comes to a node that is gone."""
        until = self._clock.monotonic() + HANG_UP_S
        while not self.registrations.left and self._clock.monotonic() < until:
            await asyncio.sleep(0.02)
            self.registrations.tick()
            self.driver.kick()

    async def _finish(self) -> None:
        """End what still runs, let the last messages go out, bring the records to the database."""
        runner = self.signalling.runner
        self.signalling.core.draining = True
        self.registrations.stop()
        for ref in list(runner.calls):
            runner.hang_up(ref, reasons.DRAINING, self._clock.wall())
        self.driver.kick()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), HANG_UP_S)
        await self._leave_carriers()
        if self.link is not None:
            await self.link.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.outbox.flush()
        await self.exporter.drain(3.0)


async def check(settings: Settings) -> str:
    """Database and provisioning, without opening a socket.  Raises StartError."""
    engine: AsyncEngine = create_engine(settings.database)
    try:
        await upgrade(engine)
        directory = await SqlDirectorySource(engine).everything(plan_table(settings))
        trunks = TrunkDirectory()
        await TrunkFollower(engine, trunks).refresh(directory.version)
    except (DatabaseUnavailable, DirectoryUnavailable, OSError) as error:
        raise StartError(f"database.url: {error}") from error
    finally:
        await engine.dispose()
    return f"configuration and provisioning are good: version {directory.version}, {len(trunks)} trunks"


async def _main(settings: Settings, is_demo: bool, say: Callable[[str], None]) -> int:
    app = App(settings, is_demo=is_demo)
    async with AsyncExitStack() as stack:
        await app.start(stack)
        for line in _banner(app, is_demo):
            say(line)
        await app.run(stack)
    return 0


async def _front(settings: Settings, say: Callable[[str], None]) -> int:
    """A node of several processes; this one is in front of them."""
    from callcontrol.workers.supervisor import ListenError, Supervisor  # not needed by a node of one process

    engine = create_engine(settings.database)
    try:
        await upgrade(engine)  # once, before the workers come together
    except (DatabaseUnavailable, OSError) as error:
        raise StartError(f"database.url: the database cannot be used: {error}") from error
    finally:
        await engine.dispose()
    try:
        return await Supervisor(settings, say).run()
    except ListenError as error:
        raise StartError(str(error)) from error


def _banner(app: App, is_demo: bool) -> list[str]:
    names = ", ".join(listener.name for listener in app.listeners.all())
    lines = [
        f"Cloudline {VERSION}, node {app.settings.node.id}",
        f"  SIP      {names}   (domain {app.settings.sip.domain})",
        f"  API      {app.http.url}/docs   metrics {app.http.url}/metrics",
    ]
    if is_demo:
        lines += demo_data.banner(app.listeners, app.settings)
    return lines


def serve(settings: Settings, *, demo: bool = False, check: bool = False) -> int:
    """Run a node until it is drained or stopped; returns the exit code (0 done, 1 cannot start)."""
    with tempfile.TemporaryDirectory(prefix="cloudline-demo-") as folder:
        if demo:
            settings = demo_data.settings_for(settings, Path(folder))
        logs.configure(settings.log.level, settings.log.format)
        try:
            if check:
                print(asyncio.run(_check(settings)))
                return 0
            if settings.node.workers > 1:
                return run_loop(_front(settings, lambda line: print(line, flush=True)))
            return run_loop(_main(settings, demo, lambda line: print(line, flush=True)))
        except StartError as error:
            print(f"cloudline: {error}", file=sys.stderr)
            return 1


async def _check(settings: Settings) -> str:
    return await check(settings)
