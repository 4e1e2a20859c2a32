"""The server of a simulation: one address, and behind it one process or two that share what outlives them.

Each process is the very signalling core of a node.  Whoever stands in front knows which process a message is for, as the
front process of a machine does; when a process dies, another takes its calls as soon as its lease has lapsed.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final
from zlib import crc32

from callcontrol.b2bua.call import Call
from callcontrol.bindings import MemoryBindingStore
from callcontrol.sip.flow import Flow, Listener, Listeners
from config.settings import Settings
from gateway.capacity import ChannelTable
from tests.simulation.moments import SKEW_S, START
from tests.simulation.network import SERVER, Stream
from tests.simulation.occupied import WatchedOccupancy
from tests.simulation.process import Process
from tests.simulation.pushes import Pushes
from tests.simulation.storage import Outbox, SharedStore
from tests.simulation.text import Heard, Note

if TYPE_CHECKING:
    from tests.simulation.party import Party
    from tests.simulation.simulation import Mood, Simulation

LEASE_S: Final = 5.0
"""After this long without a sign of life a process's calls are another's."""
LETS_GO_S: Final = 40.0
"""When who was told that it lost a call has certainly asked the store, from which it may be cut off."""
_BRANCHES: Final = 20_000


class Server:
    """See the module."""

    def __init__(self, sim: Simulation, settings: Settings, mood: Mood) -> None:
        self.sim = sim
        self.settings = settings
        self.mood = mood
        self.crashes = mood.crashes
        self.batch = mood.batch
        """Seconds that input waits for more, as it does on a busy loop."""
        self.store_delay = mood.store_delay
        self.dice = random.Random(f"{sim.seed} server")
        self.calls = SharedStore(self, encodes=mood.crashes)
        self.bindings = MemoryBindingStore()
        self.outbox = Outbox(self)
        self.pushes = Pushes(sim)
        self.occupancy = WatchedOccupancy(sim)
        self.channel_table = ChannelTable()
        """Channels of trunks, over all processes."""
        self.listeners = Listeners()
        for transport in ("udp", "tcp"):
            self.listeners.add(Listener(f"{transport}:{SERVER}:5060", transport, SERVER, 5060))
        self.processes: list[Process] = []
        """Those that the front hands messages to."""
        self.outcasts: list[Process] = []
        """They live, and do not know that their calls were taken from them."""
        self.deaths = 0
        self.booted_at = 0.0
        """When the youngest process began."""
        self.drained = False
        self.calls_made = 0
        self.unexpected: dict[str, int] = {}
        """Events that did not fit, by name, of all processes."""
        self._left_over: set[tuple[int, str]] = set()
        """Number of a process and a call that it will learn to be another's."""
        self._branches: OrderedDict[str, Process] = OrderedDict()
        """Branch of a request of ours -> who sent it."""
        self._number = 0
        for _ in range(mood.nodes):
            self._boot()

    @property
    def grain(self) -> float:
        """By how long what is decided and what arrives may cross inside the server."""
        return self.batch + self.calls.longest_wait + 1e-6

    def wall(self) -> float:
        return START + self.sim.clock.now

    @property
    def up(self) -> bool:
        return bool(self.processes)

    def running(self) -> dict[str, Call]:
        """The calls of all processes that have a right to them."""
        return {
            ref: call
            for process in self.processes
            for ref, call in process.calls.items()
            if (process.number, ref) not in self._left_over
        }

    def call(self, ref: str) -> Call | None:
        for process in self.processes:
            if ref in process.calls and (process.number, ref) not in self._left_over:
                return process.calls[ref]
        return None

    def fetched_from(self, number: int, ref: str, taker: Process) -> None:
        """A process may live on whose call another one takes: it is told with its next sign of life, and has a while to let go."""
        self._left_over.discard((taker.number, ref))
        owner = next((each for each in self.processes if each.number == number and each is not taker), None)
        if owner is None:
            return
        self.sim.count("calls fetched from who lives")
        self._left_over.add((number, ref))
        self.sim.clock.after(self.dice.uniform(0.0, LEASE_S / 4), owner.guarded, partial(owner.look_for, ref))
        self.sim.clock.after(LETS_GO_S, self._left_over.discard, (number, ref))

    def channels(self) -> dict[str, bool]:
        """Keys of the trunk channels that are taken, and whether their owner lives; a dead one's are free after its lease."""
        alive = {str(process.number) for process in self.processes}
        return {
            leg: owner in alive for legs in self.channel_table.legs.values() for leg, owner in legs.items()
        }

    @property
    def is_settled(self) -> bool:
        """Nothing is under way between the processes and the store, or about to be deleted there, and nobody's calls wait for a
        new owner."""
        alive = {process.number for process in self.processes}
        for process in self.processes:
            if process.store.waiting or process.signalling.runner.saving.is_waiting:
                return False
        return all(owner in alive for owner in self.calls.owners.values())

    # -- life -------------------------------------------------------------------------------------------------

    def _boot(self) -> Process:
        self._number += 1
        skew = self.dice.uniform(-SKEW_S, SKEW_S) if self.mood.skewed else 0.0
        process = Process(self, self._number, skew)
        self.processes.append(process)
        self.booted_at = self.sim.clock.now
        return process

    def kill(self) -> None:
        """A process ends between two turns."""
        if self.processes:
            self.dice.choice(self.processes).die()

    def light_fuse(self, boundaries: int) -> None:
        """A process will end at one of its next effects."""
        if self.processes:
            self.dice.choice(self.processes).fuse = boundaries

    def cut_from_store(self, seconds: float) -> None:
        """Nothing of a process gets through to the store for a while; beyond its lease, its calls are another's."""
        if not self.processes:
            return
        process = self.dice.choice(self.processes)
        process.store.cut_until = self.sim.clock.now + seconds
        self.sim.say("a process is cut off from the store")
        if seconds > LEASE_S:
            self.sim.clock.after(LEASE_S, self._cast_out, process)

    def _cast_out(self, process: Process) -> None:
        """Its lease has lapsed while it lives."""
        if process not in self.processes:
            return
        self.sim.say("a process lost its calls while it lives")
        self.processes.remove(process)
        self.outcasts.append(process)
        process.fuse = 0
        self._gone(process)
        self.sim.clock.after(60.0, self._bury, process)

    def _bury(self, process: Process) -> None:
        """An outcast is noticed and ended."""
        self.outcasts.remove(process)
        process.up = False

    def process_died(self, process: Process) -> None:
        """A process is gone."""
        if process not in self.processes:
            return
        self.processes.remove(process)
        self.sim.say("the server dies" if not self.processes else "a process dies")
        if not self.processes:
            self.sim.network.server_died()
            if self.mood.amnesia and self.dice.random() < 0.5:
                self.calls.forget()
        self._gone(process)

    def _gone(self, process: Process) -> None:
        self._count(process)
        self.deaths += 1
        self.sim.watch.server_died()
        self.sim.clock.after(self.dice.choice((0.01, 0.5, 3.0, 8.0)), self._restart)
        if self.processes:
            self.sim.clock.after(LEASE_S, self._take_over)

    def _count(self, process: Process) -> None:
        stats = process.signalling.runner.performer.stats
        self.calls_made += stats.total
        for name, count in stats.unexpected.items():
            self.unexpected[name] = self.unexpected.get(name, 0) + count

    def _restart(self) -> None:
        if not self.processes:  # all connections ended with the last one
            bindings = MemoryBindingStore()
            bindings.restore(self.bindings.snapshot(), self.wall())
            self.bindings = bindings
            self._boot()
            self._take_over()
        else:
            self._boot()

    def _take_over(self) -> None:
        """The calls of those that are gone go to whoever is there."""
        if not self.processes:
            return
        alive = {process.number for process in self.processes}
        refs = [ref for ref in self.calls.snapshots if self.calls.owners.get(ref, 0) not in alive]
        if not refs:
            return
        heir = self.dice.choice(self.processes)
        self.sim.say(f"a new server takes {len(refs)} calls over")
        heir.guarded(partial(heir.take, refs))

    def finish(self) -> None:
        """The run is over: count what the last processes did."""
        for process in self.processes:
            self._count(process)

    # -- input ------------------------------------------------------------------------------------------------

    def arrive(self, note: Note, flow: Flow, party: Party) -> None:
        """A message reaches the machine."""
        process = self._process_for(note)
        if process is None:
            return
        if not process.signalling.gate.admit(flow.host, process.wall()):
            self.sim.count("kept out by the gate")
            return
        self.sim.watch.reached(note, party)
        process.receive(note.data, flow)

    def _process_for(self, note: Note) -> Process | None:
        """What the front knows: who sent a request, whose a dialog is; what is new goes by the hash of its Call-ID.

        While nobody has a call that is known, what belongs to a dialog goes to any process, which fetches it; its INVITE waits.
        """
        processes = self.processes
        if self.mood.nodes < 2 or not processes:
            return processes[0] if processes else None
        if note.status:
            sender = self._branches.get(note.branch)
            if sender is not None and sender.up and sender in processes:
                return sender
        ref = self.sim.watch.refs.get(note.call_id) or note.call_id.partition(".")[0]
        owner = self.calls.owners.get(ref)
        if owner is not None:
            found = next((process for process in processes if process.number == owner), None)
            if found is not None or not note.to_tag or note.status:
                return found
        if note.status:
            return None  # it goes where its request came from, and nobody is there
        return processes[crc32(note.call_id.encode()) % len(processes)]

    def sends(self, process: Process, heard: Heard) -> None:
        """A process sends something."""
        if heard.is_request and self.mood.nodes > 1:
            self._branches[heard.branch] = process
            if len(self._branches) > _BRANCHES:
                self._branches.popitem(last=False)

    def stream_gone(self, stream: Stream) -> None:
        """A connection broke."""
        if not self.processes:
            return
        self.sim.watch.stream_gone(stream.party.host, stream.conn)
        if stream.by_server:
            self.sim.watch.stream_gone(stream.party.host, 0)
        for process in list(self.processes):
            process.stream_gone(stream)

    def close_connection(self, conn: int) -> None:
        stream = self.sim.network.streams.get(conn)
        if stream is not None:
            self.sim.network.break_stream(stream)

    # -- operators --------------------------------------------------------------------------------------------

    def provisioned(self) -> None:
        """The directory changed."""
        for process in list(self.processes):
            process.provisioned()

    def drain(self, on: bool) -> None:
        self.drained = on
        for process in self.processes:
            process.signalling.core.draining = on

    def hang_up(self) -> None:
        """An operator ends some call."""
        refs = list(self.running())
        if refs:
            ref = self.dice.choice(refs)
            for process in self.processes:
                if ref in process.calls:
                    process.guarded(partial(self._end, process, ref))
                    return

    @staticmethod
    def _end(process: Process, ref: str) -> None:
        process.signalling.runner.hang_up(ref, "operator", process.wall())
