"""The composition root: the only place that knows every concrete part of a node, and its life from start to exit."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from callcontrol import demo as demo_data
from callcontrol import logs, metric_wiring, neighbours
from callcontrol.access.service import TokenCache
from callcontrol.adjusting import adjust
from callcontrol.api.assembly import Upkeep
from callcontrol.assembly import Signalling, make_endpoint, make_gate
from callcontrol.bindings import MemoryBindingStore
from callcontrol.call_log import LoggedOutbox
from callcontrol.cdr.exporter import CdrExporter, sync_journal
from callcontrol.cdr.forgetting import Forgetting
from callcontrol.cdr.store import SqlCallStore
from callcontrol.census import register_parts
from callcontrol.collector import Collector
from callcontrol.explaining.explainer import Explainer
from callcontrol.ids import KeyedIds
from callcontrol.limits import Doorkeeper
from callcontrol.metrics import Metrics
from callcontrol.node import BansOf, CallsOf, LiveNode
from callcontrol.node_view import ComponentView, ReloadView
from callcontrol.plans import plan_table
from callcontrol.relay import FlowRelay
from callcontrol.sim_writer import SimWriter
from callcontrol.sip.flow import Listeners
from callcontrol.system_clock import SystemClock
from callcontrol.transport.tls import TlsError
from callcontrol.trunk_registration import Registrations
from callcontrol.usage.outgoing import OutgoingStores
from callcontrol.usage.reconcile import Reconciler
from callcontrol.usage.store import SqlUsageRecords
from callcontrol.version import VERSION
from callcontrol.wiring import duties, http, signals, status, stores
from callcontrol.wiring import signalling as parts
from callcontrol.wiring.alone import Alone
from callcontrol.wiring.desk import Desk
from callcontrol.wiring.errors import StartError
from config.database import create_engine
from config.reloading import Reread, Source
from config.settings import Settings
from gateway.gateway_numbers import GatewayDirectory
from gateway.trunk import TrunkDirectory
from numbering.directory import Directory
from numbering.store_sims import SqlSims

_log = logging.getLogger(__name__)

HOUSEKEEPING_S: Final = 0.25


class App(Alone):
    """One node: made, started, run until it is told to stop, closed."""

    registrations: parts.CarrierAccounts

    def __init__(self, settings: Settings, *, is_demo: bool = False, source: Source | None = None) -> None:
        """``source``: what a reload reads again; None: it leaves the settings alone."""
        self.settings = settings
        self._source = source
        self._demo = is_demo
        self._clock = SystemClock()
        self._started_at = time.time()
        self._stop = asyncio.Event()
        self._desk: Desk | None = None
        """There when the signalling core is; nothing of it is asked before."""
        self._idle = asyncio.Event()
        self._traces = status.Traces()
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
        self.cache = stores.directory_cache(
            settings,
            self.engine,
            plans,
            self.directory,
            self.trunks,
            self.gateways,
            self.usage,
            self.token_cache,
            self._on_provisioning,
        )
        await stores.load(settings, self.engine, self.cache, demo=self._demo)
        self.numbers = stores.number_office(settings, self.engine, plans, self._clock.wall)
        self.outbox = stores.open_outbox(settings, self._outbox_folder(), stack)
        self.records = SqlCallStore(self.engine)
        self.exporter = CdrExporter(self.outbox, self.records, settings.cdr)
        self.link = await stores.open_link(settings, self.directory, self._clock.wall, stack)
        await self._open_live(stack)
        await self._open_sockets(stack)
        self._open_node()
        await self._open_http(stack)
        runs = {
            "directory": self.cache.run(),
            "call records": self.exporter.run(),
            "old facts": Forgetting(self.records, settings.cdr.facts_days, self._clock.wall).run(),
            "housekeeping": duties.every(HOUSEKEEPING_S, self._keep_house),
            "use of numbers": self.reconciler.run(),
            "verified SIMs": self.sims.run(),
            "numbers": self.numbers.run(),
        }
        if self.link is not None:
            runs["mqtt"] = self.link.run()
        if self.upkeep is not None:
            runs["upkeep of the API"] = self.upkeep.run()
        if self.live is not None:
            runs["live state"] = self.live.run()
        if settings.cdr.fsync:
            runs["journal"] = sync_journal(self.outbox, settings.cdr.fsync_seconds)
        self._tasks = duties.begin(runs) + self._more_tasks()

    async def _open_live(self, stack: AsyncExitStack) -> None:
        self.live, self._secret = await stores.open_live(
            self.settings,
            stack,
            wall=self._clock.wall,
            kick=self._kick,
            turn=self._turn_now,
            on_defect=self._on_defect,
            on_usurped=self._usurped,
        )
        if self.live is not None:
            self.usage.counters, self.usage.slots = self.live.counters, self.live.slots

    async def _recover(self) -> None:
        """Go on with the calls of the last life of this node; meanwhile nobody in a dialog is told that it is gone."""
        if self.live is not None:
            await stores.recover(self.live, self.signalling.core, self._adopter())

    def _kick(self) -> None:
        if self._desk is not None:
            self.driver.kick()

    def _turn_now(self) -> None:
        if self._desk is not None:
            self.driver.turn_now()

    async def _open_sockets(self, stack: AsyncExitStack) -> None:
        settings = self.settings
        listeners = Listeners()
        key = hashlib.blake2s(self._secret, person=b"cloudlin").digest()
        bindings = MemoryBindingStore() if self.live is None else self.live.bindings
        endpoint = make_endpoint(settings, listeners, key)
        gate = make_gate(settings, bindings)
        if self.live is not None:
            self.live.bans.follow(gate)
        self.driver = parts.make_driver(
            settings,
            self._guarded(endpoint),
            self._clock,
            Doorkeeper(gate, self._clock.wall_at),
            turn=self._turn,
            on_connection_lost=self._on_connection_lost,
            needs_tick=self._needs_tick,
            sockets=self.sockets,
        )
        try:
            await self.driver.start(settings.sip.listen, parts.tls_files(settings), settings.sip.advertise)
        except (OSError, ValueError, TlsError) as error:
            raise StartError(f"sip.listen: {error}") from error
        stack.push_async_callback(self.driver.stop)
        self._sockets_open(Doorkeeper(gate, self._clock.wall_at))
        self.resolver = parts.make_resolver(settings, listeners, self.driver, self._clock)
        stack.push_async_callback(self.resolver.close)
        self.listeners = listeners
        self.sims = SimWriter(
            SqlSims(self.engine), settings.calls.verification_seconds, kick=self.driver.kick
        )
        ids = KeyedIds(key)
        around = parts.surroundings(
            self._clock,
            key,
            self.resolver,
            bindings,
            self.numbers.records(LoggedOutbox(self.outbox, logs.CallLog(settings.log))),
            self.numbers,
            self.sims,
            self.gateways,
            self.usage,
            self.live,
            self.link,
            close_connection=self._close_connection,
            place=self.place,
            places=self.places,
        )
        self.signalling = Signalling(settings, self.directory, self.trunks, endpoint, gate, around)
        self.prober = parts.make_prober(settings, self.signalling, endpoint, self.resolver, ids, self._clock)
        self._open_registrations(ids)
        self.reconciler = Reconciler(
            self.signalling.outgoing,
            SqlUsageRecords(self.engine),
            self._clock.wall,
            settings.outgoing.reconcile_seconds,
        )
        self.signalling.runner.defects.listener = self._on_defect
        if self.link is not None:
            self.link.watch(self.signalling.runner)
            self.link.serve(self.signalling.phone)
            if self.signalling.verifier is not None:
                self.signalling.verifier.on_result = self.link.verified
        self.signalling.core.waiting_room.kick = self.driver.kick
        self.numbers.rios.kick = self.driver.kick
        self.numbers.rios.on_defect = self.signalling.runner.defects.tell
        desk = Desk(
            settings, self.signalling, self.driver, self._clock, self.directory, self.trunks, self.live
        )
        self._open_neighbours(key, desk)
        self._desk = desk
        desk.provisioned()
        await self._recover()

    def _open_neighbours(self, key: bytes, desk: Desk) -> None:
        """What passes between the nodes for the sake of phones."""
        self.relay: FlowRelay | None = None
        live = self.live
        if live is None:
            return
        if isinstance(self.registrations, Registrations) and self.settings.trunks.register_from == "one":
            self.registrations.elect(live.register_duty)
        address = self.settings.state.address
        self.relay = neighbours.join(live, self.signalling, key, address, self._reaches)
        self.signalling.runner.saving.is_alone = lambda: live.members.alone
        for told in (live.members.on_come, live.members.on_gone):
            told.append(lambda name: desk.trust())

    def _open_registrations(self, ids: KeyedIds) -> None:
        core = self.signalling
        core.runner.kick = self.driver.kick
        registrations = parts.make_registrations(self.settings, core, self.resolver, ids, self._clock)
        core.trunking.registered = registrations
        core.intake.registrations = registrations
        self.prober.registrations = registrations
        self.registrations = registrations

    def _open_node(self) -> None:
        desk = self._desk
        assert desk is not None  # the core is there
        self.metrics = Metrics(VERSION, self._started_at, status.build_kind())
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
            status.STALE_S,
        )
        if self.link is not None:
            self.link.register(self.metrics, self.signalling.pushing)
        self.numbers.register(self.metrics, self.directory)
        if self.live is not None and self.relay is not None:
            metric_wiring.live_state(self.metrics, self.live, self.relay.passed)
        core = self.signalling
        self.node = LiveNode(
            node_id=self.settings.node.id,
            version=VERSION,
            domain=self.settings.sip.domain,
            started_at=self._started_at,
            wall=self._clock.wall,
            calls=CallsOf(core.runner, core.ladders, desk.hang_up),
            bindings=core.bindings,
            prober=self.prober,
            listeners=lambda: tuple(listener.name for listener in self.listeners.all()),
            metrics=self.metrics,
            records=self.records,
            health=lambda: status.health(self._tasks),
            readiness=self._readiness,
            bans=BansOf(core.gate),
            on_drain=self.drain,
            on_reload=self.reload,
            on_sign_out=desk.sign_out,
            config_version=lambda: self.directory.version,
            draining=lambda: self.signalling.core.draining,
            explainer=Explainer(core, self._clock.wall),
            wakes=desk.wakes_of,
        )

    async def _open_http(self, stack: AsyncExitStack) -> None:
        token = http.operator_token(self.settings)
        services, self.upkeep = http.api_services(
            self.settings,
            self.engine,
            self.cache,
            self.token_cache,
            token,
            self._whole_node(),
            self.trunks,
            self.gateways,
            self.numbers,
            self.signalling,
            self._clock,
            self.driver.kick,
        )
        services.counters.register(self.metrics)
        self.http = await http.open_http(self.settings, services, stack)
        extra = demo_data.facts(self.listeners, self.settings) if self._demo else {}
        name, pid = self._shown_as()
        http.leave_word(self.http.url, token, name, pid, extra, stack)

    # -- what the parts call --------------------------------------------------------------------------------

    def _turn(self) -> None:
        if self._desk is not None:
            self._desk.turn()

    def _on_defect(self, error: Exception) -> None:
        self._traces.defect(error, self.signalling.runner.defects.count, self._clock.monotonic())

    def _needs_tick(self) -> bool:
        return self._desk is not None and self._desk.needs_tick()

    def _close_connection(self, conn: int) -> None:
        self.driver.close_connection(conn, "replaced")

    def _on_connection_lost(self, conn: int) -> None:
        self.signalling.registrar.connection_lost(conn)

    def _on_provisioning(self) -> None:
        if self._desk is not None:
            self._desk.provisioned()

    def _keep_house(self) -> None:
        """Probes, overload, clock, and the end of a drain; four times a second."""
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

    def _readiness(self) -> Sequence[ComponentView]:
        draining = self.signalling.core.draining
        return status.readiness(
            self.settings, self.listeners, self.cache, self.live, self.outbox, self.link, draining=draining
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
        """Configuration, certificates and provisioning again; what is bad leaves the old in force (OPS-03)."""
        view = await status.reload(self.driver, self.cache, self._reread)
        status.log_reload(view)
        return view

    def _reread(self) -> Reread | None:
        """Take over what the file says now, as far as that is possible.  Raises SettingsError."""
        if self._source is None:
            return None
        reread = self._source.read(self.settings)
        if reread.changes:
            self.settings = reread.settings
            adjust(self.signalling, reread.settings)
        return reread

    async def run(self, stack: AsyncExitStack) -> None:
        """Run until drained or stopped."""
        self._watch_signals()
        self._collector.start(self._clock.monotonic())
        await self._stop.wait()
        await self._finish()

    def _watch_signals(self) -> None:
        signals.watch(self.drain, self.stop, self.reload)

    def _usurped(self) -> None:
        """Another process is this node now."""
        self._stop.set()

    async def _finish(self) -> None:
        """End what still runs, let the last messages go out, bring the records to the database."""
        self.signalling.core.draining = True
        self.registrations.stop()
        await duties.hang_up_all(self.signalling, self._clock, self.driver.kick, self._idle)
        await duties.leave_carriers(self.registrations, self._clock, self.driver.kick)
        await duties.end(self._tasks, self.link, self.outbox, self.exporter)
