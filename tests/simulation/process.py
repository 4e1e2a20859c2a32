"""One process of the server: the very signalling core of a node, in a box that can be thrown away at any moment.

Its transactions, timers and tables go with it; what it had given to its sockets is on the wire in part.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from callcontrol.assembly import Signalling, Surroundings, make_endpoint, make_gate
from callcontrol.b2bua.call import Call
from callcontrol.b2bua.effects import Effect, WriteRecord
from callcontrol.live.nodes import ELSEWHERE, GONE, HERE
from callcontrol.live.state import may_move
from callcontrol.sip.commands import SendRequest
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.sip.uri import parse_uri
from gateway.capacity import LEASE_S, MemoryTrunkChannels
from tests.simulation.moments import START, TICK
from tests.simulation.storage import StoreLink
from tests.simulation.text import Heard, Unreadable

if TYPE_CHECKING:
    from tests.simulation.network import Stream
    from tests.simulation.server import Server

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


class Process:
    """See the module."""

    def __init__(self, server: Server, number: int, skew: float) -> None:
        self.server = server
        self.sim = sim = server.sim
        self.number = number
        self.skew = skew
        """Its wall clock is this many seconds fast."""
        self.dice = server.dice
        self.up = True
        self.fuse = 0
        """Effect boundaries until the process dies; 0: it lives."""
        self.born_at = sim.clock.now
        self.store = StoreLink(self, server.calls, server.store_delay)
        self._inbox: list[tuple[bytes, Flow]] = []
        self._working = False
        self._wake_at = NEVER
        around = Surroundings(
            monotonic=lambda: sim.clock.now,
            wall=self.wall,
            entropy=self.dice.randbytes,
            dice=self.dice.random,
            key=b"k" * 32,
            resolver=Numeric(server.listeners),
            calls=self.store,
            bindings=server.bindings,
            records=server.outbox,
            close_connection=server.close_connection,
            push=server.pushes if server.mood.incoming else None,
            occupancy=server.occupancy,
            channels=MemoryTrunkChannels(str(number), server.channel_table),
        )
        endpoint = make_endpoint(server.settings, server.listeners, around.key)
        gate = make_gate(server.settings, server.bindings)
        self.signalling = Signalling(
            server.settings, sim.country.directory, sim.country.trunks, endpoint, gate, around
        )
        self.signalling.core.draining = server.drained
        if server.mood.nodes > 1:
            self.signalling.core.search.fetch = self._fetch
        self.trust()
        self._renew()
        if sim.bug is not None:
            sim.bug.install(self)
        if server.crashes:
            self._watch_effects()

    def wall(self) -> float:
        return START + self.sim.clock.now + self.skew

    @property
    def calls(self) -> dict[str, Call]:
        return self.signalling.runner.calls

    def _renew(self) -> None:
        """This process lives, and so do its channels; as long as it may say so."""
        if self.up:
            if self in self.server.processes or not self.server.processes:
                self.signalling.trunking.channels.renew(self.wall())
            self.sim.clock.after(LEASE_S / 3, self._renew)

    # -- death ------------------------------------------------------------------------------------------------

    def _watch_effects(self) -> None:
        runner = self.signalling.runner
        performer = runner.performer
        perform = performer.perform
        snapshots = self.server.calls.snapshots

        def perform_or_die(call: Call, effect: Effect, now: float) -> None:
            self.burn()
            held = snapshots.get(call.ref)
            if held is not None and isinstance(effect, (SendRequest, WriteRecord)):
                epoch = runner.running.epochs.get(call.ref, held[0])
                if epoch < held[0] and not self.store.waiting:
                    what = effect.method if isinstance(effect, SendRequest) else "record"
                    self.sim.blame("acts without its call", f"{what} of process {self.number}", ref=call.ref)
            perform(call, effect, now)

        performer.perform = perform_or_die  # type: ignore[method-assign]

    def burn(self) -> None:
        """An effect boundary is reached."""
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise Killed

    def guarded(self, action: Callable[[], None]) -> None:
        """Do something of this process, and what comes of it, if it lives."""
        if not self.up:
            return
        try:
            action()
        except Killed:
            self.die()
            return
        self.spin()

    def die(self) -> None:
        """Some of what it had given to its sockets is on the wire; the rest is gone."""
        out = self.signalling.endpoint.out
        del out[self.dice.randint(0, len(out)) :]
        self._send_out()
        self.up = False
        self.store.died(self.dice.random())
        self.server.process_died(self)

    def take(self, refs: list[str]) -> None:
        """Take calls over whose process is gone."""
        runner, shared = self.signalling.runner, self.server.calls
        for ref in refs:
            taken = shared.take(ref)
            if taken is not None:
                shared.owners[ref] = self.number
                runner.resume(taken[1], taken[0], self.wall())
        runner.flush(self.wall())

    def _fetch(self, ref: str, done: Callable[[str], None]) -> None:
        """A request came for a call that is not here (``callcontrol.live.nodes.NodeLease.fetch``)."""
        self.sim.clock.after(self.store.trip(), self.guarded, partial(self._fetched, ref, done))

    def _fetched(self, ref: str, done: Callable[[str], None]) -> None:
        shared = self.server.calls
        held = shared.snapshots.get(ref)
        if ref in self.calls or (held is not None and shared.owners.get(ref) == self.number):
            done(
                HERE
            )  # as one of a dead process's, while it was asked for; or it is over here, and about to be deleted
        elif self.store.is_cut:
            done(ELSEWHERE)
        elif held is None:
            done(GONE)
        elif not may_move(held[1]):
            done(ELSEWHERE)
        else:
            self.sim.count("calls fetched by who was asked for them")
            self.server.fetched_from(shared.owners.get(ref, 0), ref, self)
            self.take([ref])
            done(HERE)

    def look_for(self, ref: str) -> None:
        """This process is told that a call was fetched from it: whether it is still its own, saving it tells."""
        runner = self.signalling.runner
        runner.save_again([ref])
        runner.flush(self.wall())

    # -- input ------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, flow: Flow) -> None:
        """Bytes that the gate let in; on a busy loop they wait for more."""
        self._inbox.append((data, flow))
        if not self._working:
            if self.server.batch:
                self._working = True
                self.sim.clock.after(self.server.batch, self.guarded, self._work)
            else:
                self.guarded(self._work)

    def _work(self) -> None:
        self._working = False
        endpoint, now = self.signalling.endpoint, self.sim.clock.now
        inbox, self._inbox = self._inbox, []
        for data, flow in inbox:
            endpoint.receive(data, flow, now)

    def stream_gone(self, stream: Stream) -> None:
        """A connection broke, and the kernel says so."""
        endpoint, now = self.signalling.endpoint, self.sim.clock.now
        endpoint.connection_lost(stream.conn, now)
        if stream.by_server:
            endpoint.connection_lost(0, now, Flow("tcp", stream.party.host, 5060))
        self.signalling.registrar.connection_lost(stream.conn)
        self.spin()

    def _tick(self, when: float) -> None:
        if self.up and self._wake_at == when:
            self._wake_at = NEVER
            self.signalling.endpoint.tick(self.sim.clock.now)
            self.spin()

    # -- a turn -----------------------------------------------------------------------------------------------

    def spin(self) -> None:
        """The turn of the transaction users and what comes out of it, until nothing is left over."""
        try:
            self.signalling.turn()
            while self._send_out() or self.signalling.endpoint.events:
                self.signalling.turn()
        except Killed:
            self.die()
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
            self.server.sends(self, heard)
            self.sim.watch.leaves(heard, flow, self.number)
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
        offset = START + self.skew
        for at in (signalling.runner.next_deadline(), signalling.registrar.next_deadline()):
            if at is not None and at - offset < first:
                first = at - offset
        if first == NEVER:
            return
        when = (int(max(first, self.sim.clock.now) / TICK) + 1) * TICK
        if when < self._wake_at:
            self._wake_at = when
            self.sim.clock.at(when, self._tick, when)

    # -- operators --------------------------------------------------------------------------------------------

    def trust(self) -> None:
        """The trunks changed: their networks are never limited."""
        trunks = self.sim.country.trunks.all()
        self.signalling.gate.trust(network for trunk in trunks for network in trunk.accept_from)

    def provisioned(self) -> None:
        """The directory changed (as ``App._on_provisioning``)."""
        self.trust()
        self.signalling.registrar.reconcile()
        self.spin()

    def note_legs(self, ref: str) -> None:
        """Remember which dialogs belong to a call, for ladders and audits."""
        call = self.calls.get(ref)
        if call is not None:
            for leg in call.legs.values():
                self.sim.watch.belongs(leg.call_id, ref)
