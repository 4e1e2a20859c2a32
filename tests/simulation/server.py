"""The server of a simulation: the very signalling core of a node, in a process that can be thrown away at any moment.

What survives a process is what survives a real one: the call store, the bindings over datagrams, the outbox of call records.
Its transactions, timers, tables and connections do not.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from callcontrol.assembly import Signalling, Surroundings, make_endpoint, make_gate
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import Effect
from callcontrol.bindings import MemoryBindingStore
from callcontrol.call_store import MemoryCallStore
from callcontrol.cdr import CallRecord
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.uri import parse_uri
from config.settings import Settings
from tests.simulation.network import SERVER, Stream
from tests.simulation.text import Heard, Note, Unreadable

if TYPE_CHECKING:
    from tests.simulation.party import Party
    from tests.simulation.simulation import Simulation

START: Final = 1_800_000_000.0
"""Unix time at which every run begins."""
TICK: Final = 0.02
"""The driver looks at timers this often."""
NEVER: Final = float("inf")


class Killed(BaseException):
    """The process ends here; nothing after this line was executed."""


class Numeric:
    """Resolver of a network without names."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners

    def direct(self, uri: str) -> Flow | None:
        parsed = parse_uri(uri)
        if not parsed.host[:1].isdigit():
            return None
        transport = parsed.params.get("transport") or "udp"
        listener = self._listeners.pick(transport, parsed.host)
        return Flow(
            transport, parsed.host, parsed.port or 5060, listener.name if listener is not None else ""
        )

    def look_up(self, uri: str, done: Callable[[list[Flow]], None]) -> None:
        done([])


class WatchedStore(MemoryCallStore):
    """The call store, which notes what became durable and in which the process may die."""

    def __init__(self, server: Server, encodes: bool) -> None:
        super().__init__(encodes)
        self._server = server
        self.begun: dict[str, float] = {}
        """Every call that was ever saved -> when it was first."""

    def commit(self, done: Callable[[frozenset[str]], None]) -> None:
        self._server.burn()
        saved = [ref for ref, _, data in self._noted if data is not None]

        def written(lost: frozenset[str]) -> None:
            for ref in saved:
                if ref not in self.begun:
                    self.begun[ref] = self._server.sim.clock.now
                self._server.note_legs(ref)
            self._server.burn()
            done(lost)

        super().commit(written)

    def forget_unwritten(self) -> None:
        self._noted.clear()


class Outbox:
    """Call records as they were made durable."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.records: dict[str, list[CallRecord]] = {}

    def put(self, record: CallRecord) -> None:
        self.records.setdefault(record.call_ref, []).append(record)
        self._server.sim.audit.recorded(record)


class Server:
    """See the module."""

    def __init__(self, sim: Simulation, settings: Settings, crashes: bool, batch: float) -> None:
        self.sim = sim
        self.settings = settings
        self.crashes = crashes
        self.batch = batch
        """Seconds that input waits for more, as it does on a busy loop."""
        self.dice = random.Random(f"{sim.seed} server")
        self.calls = WatchedStore(self, encodes=crashes)
        self.bindings = MemoryBindingStore()
        self.outbox = Outbox(self)
        self.listeners = Listeners()
        for transport in ("udp", "tcp"):
            self.listeners.add(Listener(f"{transport}:{SERVER}:5060", transport, SERVER, 5060))
        self.up = False
        self.deaths = 0
        self.booted_at = 0.0
        self.drained = False
        self.fuse = 0
        """Effect boundaries until the process dies; 0: it lives."""
        self.calls_made = 0
        self.unexpected: dict[str, int] = {}
        """Events that did not fit, by name, of all processes."""
        self.signalling: Signalling
        self._inbox: list[tuple[bytes, Flow]] = []
        self._working = False
        self._wake_at = NEVER
        self.boot()

    def wall(self) -> float:
        return START + self.sim.clock.now

    # -- life -------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """A new process over the stores that are left."""
        sim = self.sim
        around = Surroundings(
            monotonic=lambda: sim.clock.now,
            wall=self.wall,
            entropy=self.dice.randbytes,
            dice=self.dice.random,
            key=b"k" * 32,
            resolver=Numeric(self.listeners),
            calls=self.calls,
            bindings=self.bindings,
            records=self.outbox,
            close_connection=self._close_connection,
        )
        endpoint = make_endpoint(self.settings, self.listeners, around.key)
        gate = make_gate(self.settings, self.bindings)
        self.signalling = Signalling(
            self.settings, sim.country.directory, sim.country.trunks, endpoint, gate, around
        )
        self.signalling.core.draining = self.drained
        self.trust()
        if self.crashes:
            self._lay_fuse()
        if sim.bug is not None:
            sim.bug.install(self)
        self.up = True
        self.booted_at = self.sim.clock.now

    def _lay_fuse(self) -> None:
        runner = self.signalling.runner
        perform = runner._perform

        def perform_or_die(call: Call, effect: Effect) -> None:
            self.burn()
            perform(call, effect)

        runner._perform = perform_or_die  # type: ignore[method-assign]

    def burn(self) -> None:
        """An effect boundary is reached."""
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise Killed

    def kill(self) -> None:
        """The process ends between two turns."""
        if self.up:
            self._died()

    def _died(self) -> None:
        """Some of what it had given to its sockets is on the wire; the rest is gone."""
        self.fuse = 0
        out = self.signalling.endpoint.out
        del out[self.dice.randint(0, len(out)) :]
        self._send_out()
        self._count_process()
        self.up = False
        self.deaths += 1
        self._inbox.clear()
        self._working = False
        self._wake_at = NEVER
        self.calls.forget_unwritten()
        self.sim.network.server_died()
        self.sim.watch.server_died()
        self.sim.say("the server dies")
        self.sim.clock.after(self.dice.choice((0.01, 0.5, 3.0, 8.0)), self._restart)

    def _count_process(self) -> None:
        stats = self.signalling.runner.stats
        self.calls_made += stats.total
        for name, count in stats.unexpected.items():
            self.unexpected[name] = self.unexpected.get(name, 0) + count

    def _restart(self) -> None:
        bindings = MemoryBindingStore()
        bindings.restore(self.bindings.snapshot(), self.wall())
        self.bindings = bindings
        self.boot()
        self.sim.say(f"a new server takes {len(self.calls.snapshots)} calls over")
        try:
            runner = self.signalling.runner
            for ref in list(self.calls.snapshots):
                taken = self.calls.take(ref)
                if taken is not None:
                    runner.resume(taken[1], taken[0], self.wall())
            runner.flush(self.wall())
        except Killed:
            self._died()
            return
        self._spin()

    def finish(self) -> None:
        """The run is over: count what the last process did."""
        if self.up:
            self._count_process()

    # -- input ------------------------------------------------------------------------------------------------

    def arrive(self, note: Note, flow: Flow, party: Party) -> None:
        """A message reaches the machine."""
        if not self.up:
            return
        if not self.signalling.gate.admit(flow.host, self.wall()):
            self.sim.count("kept out by the gate")
            return
        self.sim.watch.reached(note, party)
        self._inbox.append((note.data, flow))
        if not self._working:
            if self.batch:
                self._working = True
                self.sim.clock.after(self.batch, self._work, self.deaths)
            else:
                self._work(self.deaths)

    def _work(self, process: int) -> None:
        if process != self.deaths:
            return
        self._working = False
        endpoint, now = self.signalling.endpoint, self.sim.clock.now
        inbox, self._inbox = self._inbox, []
        for data, flow in inbox:
            endpoint.receive(data, flow, now)
        self._spin()

    def stream_gone(self, stream: Stream) -> None:
        """A connection broke, and the kernel says so."""
        if not self.up:
            return
        endpoint, now = self.signalling.endpoint, self.sim.clock.now
        self.sim.watch.stream_gone(stream.party.host, stream.conn)
        endpoint.connection_lost(stream.conn, now)
        if stream.by_server:
            self.sim.watch.stream_gone(stream.party.host, 0)
            endpoint.connection_lost(0, now, Flow("tcp", stream.party.host, 5060))
        self.signalling.registrar.connection_lost(stream.conn)
        self._spin()

    def _close_connection(self, conn: int) -> None:
        stream = self.sim.network.streams.get(conn)
        if stream is not None:
            self.sim.network.break_stream(stream)

    def _tick(self, when: float, process: int) -> None:
        if process != self.deaths or self._wake_at != when:
            return
        self._wake_at = NEVER
        self.signalling.endpoint.tick(self.sim.clock.now)
        self._spin()

    # -- a turn -----------------------------------------------------------------------------------------------

    def _spin(self) -> None:
        """The turn of the transaction users and what comes out of it, until nothing is left over."""
        try:
            self.signalling.turn()
            while self._send_out() or self.signalling.endpoint.events:
                self.signalling.turn()
        except Killed:
            self._died()
            return
        self._arm()

    def _send_out(self) -> bool:
        """Give what is to be sent to the network; True when something of it failed at once."""
        endpoint = self.signalling.endpoint
        out = endpoint.out
        if not out:
            return False
        batch = out[:]
        out.clear()
        failed = False
        for flow, data in batch:
            try:
                heard = Heard(data)
            except Unreadable as error:
                if self.sim.watch.sends_garbage(flow.host):
                    continue  # it gets its own words back
                self.sim.blame("malformed egress", f"to {flow.host}: {error}\n{data!r}")
                continue
            self.sim.watch.leaves(heard, flow)
            if not self.sim.network.down(flow, heard):
                self.sim.watch.stream_gone(flow.host, flow.conn)
                endpoint.send_failed(flow, self.sim.clock.now)
                failed = True
        return failed

    def _arm(self) -> None:
        """Be woken at the next deadline of anybody, on the driver's grid."""
        signalling = self.signalling
        due = signalling.endpoint.next_deadline()
        first = NEVER if due is None else due
        for at in (signalling.runner.next_deadline(), signalling.registrar.next_deadline()):
            if at is not None and at - START < first:
                first = at - START
        if first == NEVER:
            return
        when = (int(max(first, self.sim.clock.now) / TICK) + 1) * TICK
        if when < self._wake_at:
            self._wake_at = when
            self.sim.clock.at(when, self._tick, when, self.deaths)

    # -- operators --------------------------------------------------------------------------------------------

    def trust(self) -> None:
        """The trunks changed: their networks are never limited."""
        trunks = self.sim.country.trunks.all()
        self.signalling.gate.trust(network for trunk in trunks for network in trunk.accept_from)

    def provisioned(self) -> None:
        """The directory changed (as ``App._on_provisioning``)."""
        if self.up:
            self.trust()
            self.signalling.registrar.reconcile()
            self._spin()

    def drain(self, on: bool) -> None:
        self.drained = on
        if self.up:
            self.signalling.core.draining = on

    def hang_up(self, ref: str) -> None:
        if self.up:
            self.signalling.runner.hang_up(ref, "operator", self.wall())
            self._spin()

    def note_legs(self, ref: str) -> None:
        """Remember which dialogs belong to a call, for ladders and audits."""
        call = self.signalling.runner.calls.get(ref)
        if call is not None:
            for leg in call.legs.values():
                self.sim.watch.belongs(leg.call_id, ref)
