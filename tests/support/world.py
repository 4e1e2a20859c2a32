"""A whole node on a virtual network: the real signalling core, scripted parties around it, virtual time.

    world = World()
    bob = world.phone("bob-phone")          # registers
    carrier = world.carrier()
    call = carrier.call("+33639981001")
    world.run(1.0)
    bob.ring(); world.run(1.0); bob.answer()
    ...
    world.records                            # call records as the outbox got them

Parties speak raw SIP through an endpoint of their own (``tests.support.party``), so what the server sends is checked by a
second reading of it.  The server can be killed after any save; a new process then goes on over the stores that are left.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from callcontrol.assembly import Signalling, Surroundings, make_endpoint, make_gate
from callcontrol.bindings import MemoryBindingStore
from callcontrol.call_store import MemoryCallStore
from callcontrol.cdr import CallRecord
from callcontrol.ports import CallStore
from callcontrol.sip.errors import RemoteProtocolError
from callcontrol.sip.flow import Flow, Listener, Listeners
from callcontrol.sip.uri import Uri, parse_uri
from config.settings import Settings
from dialplan.facts import RIO_KNOWN, RIO_NONE, RioFacts
from gateway.gateway_numbers import GatewayDirectory, GatewayKind, GatewayNumber
from gateway.lease_store import MemoryLeaseStore
from gateway.push import DevicePush, MemoryPushes
from gateway.trunk import Prefix, Trunk, TrunkDirectory
from numbering.directory import Directory
from numbering.e164 import E164
from numbering.models import Account, AccountKind, CloudNumber, Device, DeviceKind, PlanLimits, User
from tests.support.party import DOMAIN, OFFER, SDP, SERVER, Dialog, Headers, Party, sdp
from tests.support.wire import Network

START = 1_800_000_000.0


class ListSink:
    """Call records in the order in which they were handed over."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    def put(self, record: CallRecord) -> None:
        self.records.append(record)


class NumericResolver:
    """Numeric URIs and the names of a table; nothing else exists."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self.names: dict[str, list[Flow]] = {}

    def direct(self, uri: str) -> Flow | None:
        parsed = _readable(uri)
        if parsed is None or parsed.host in self.names or not parsed.host[:1].isdigit():
            return None
        transport = parsed.params.get("transport") or "udp"
        listener = self._listeners.pick(transport, parsed.host)
        return Flow(
            transport, parsed.host, parsed.port or 5060, listener.name if listener is not None else ""
        )

    def look_up(self, uri: str, done: Callable[[list[Flow]], None]) -> None:
        parsed = _readable(uri)
        done([] if parsed is None else list(self.names.get(parsed.host, [])))


def _readable(uri: str) -> Uri | None:
    """What a party wrote into Contact or Route; None where that is no URI."""
    try:
        return parse_uri(uri)
    except RemoteProtocolError:
        return None


def provisioning() -> tuple[Directory, TrunkDirectory]:
    """A company with ana, ben and cleo, the consumer zoe, and three carriers, one of them behind a name."""
    people = {"ana": "acme", "ben": "acme", "cleo": "acme", "zoe": "zoe"}
    numbers = {"ana": "+33639981001", "ben": "+33639981002", "cleo": "+33639981003", "zoe": "+33639981009"}
    directory = Directory(
        accounts=[
            Account(ref="acme", kind=AccountKind.COMPANY, plan="advanced", manager="ana"),
            Account(ref="zoe", plan="advanced"),
        ],
        users=[User(ref=ref, account=account, name=ref.title()) for ref, account in people.items()],
        devices=[
            Device(
                ref=f"{user}-{kind}",
                user=user,
                kind=DeviceKind(kind),
                sim=f"+3363998000{index}" if kind == "phone" else "",
                sim_verified=True,
                sip_username=f"{user}-{kind}",
                sip_password=f"secret-{user}",
            )
            for index, user in enumerate(people)
            for kind in ("phone", "desktop", "browser")
        ],
        numbers=[CloudNumber(e164=E164(number), user=user) for user, number in numbers.items()],
        plans={"advanced": PlanLimits(devices=3, numbers=20)},
    )
    trunks = TrunkDirectory(
        [
            Trunk(
                ref="carrier-a",
                peers=("sip:10.0.1.1:5060", "sip:10.0.1.2:5060"),
                accept_from=("10.0.1.0/24",),
                prefixes=(Prefix("+"),),
                priority=10,
            ),
            Trunk(
                ref="carrier-b",
                peers=("sip:10.0.2.1:5060",),
                accept_from=("10.0.2.0/24",),
                prefixes=(Prefix("+"),),
                priority=20,
                username="cloudline",
                password="trunk-secret",
            ),
            Trunk(
                ref="carrier-c",
                peers=("sip:gw.carrier-c.example",),
                accept_from=("10.0.3.0/24",),
                prefixes=(Prefix("+44"),),
                priority=10,
                username="cloudline",
                password="trunk-secret",
            ),
        ]
    )
    return directory, trunks


def gateway_numbers() -> GatewayDirectory:
    """Three numbers for calls through, all of carrier-a, and one to verify SIMs with."""
    kinds = (*[GatewayKind.CALL_THROUGH] * 3, GatewayKind.VERIFICATION)
    return GatewayDirectory(
        GatewayNumber(e164=E164(f"+3319900000{line}"), trunk="carrier-a", kind=kind, country="FR")
        for line, kind in enumerate(kinds, 1)
    )


class MemorySims:
    """`callcontrol.verifying.SimRegister` that writes into the directory itself; ``away``: what comes waits."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.away = False
        self.waiting: list[tuple[str, str, Callable[[bool], None]]] = []

    def verified(self, device: str, sim: str, done: Callable[[bool], None]) -> None:
        if self.away:
            self.waiting.append((device, sim, done))
            return
        found = self._directory.device(device)
        if found is not None:
            self._directory.put_one(replace(found, sim=sim, sim_verified=True))
        done(found is not None)

    def changed(self, device: str, sim: str) -> None:
        found = self._directory.device(device)
        if found is not None and found.sim == sim:
            self._directory.put_one(replace(found, sim_verified=False))


class MemoryRios:
    """`callcontrol.rio_facts.LineRios` of lines whose RIOs are given; ``away``: nobody is answered."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.away = False
        self.asked: list[str] = []
        """Lines that are to be sent theirs because an app asked."""
        self.reads: list[str] = []

    def rio(self, number: str, done: Callable[[RioFacts], None]) -> None:
        self.reads.append(number)
        if not self.away:
            rio = self.known.get(number, "")
            done(RioFacts(state=RIO_KNOWN if rio else RIO_NONE, rio=rio))

    def rio_asked(self, number: str) -> None:
        self.asked.append(number)


class Fuse:
    """Cuts a process off from the stores: what it does afterwards did not happen."""

    def __init__(self) -> None:
        self.blown = False


UNSAVED = "unsaved"
"""The server dies before a save: what it was about to save is lost."""
SAVED = "saved"
"""It dies between a save and its effects."""
ACTED = "acted"
"""It dies after the effects."""


class FusedStore:
    """The live state as one process sees it; counts its commits and dies at one of them."""

    encodes = True

    def __init__(self, world: World, fuse: Fuse) -> None:
        self._world = world
        self._fuse = fuse
        self._noted: list[tuple[str, int, bytes | None]] = []
        self._claims: dict[str, str] = {}

    @property
    def waiting(self) -> bool:
        return False

    def save(self, ref: str, epoch: int, snapshot: bytes) -> None:
        self._noted.append((ref, epoch, snapshot))

    def delete(self, ref: str, epoch: int) -> None:
        self._noted.append((ref, epoch, None))

    def claim(self, ref: str, request: str) -> None:
        self._claims[ref] = request

    def commit(self, done: Callable[[frozenset[str]], None] | None) -> None:
        world = self._world
        if self._fuse.blown:
            return
        noted, self._noted = self._noted, []
        claims, self._claims = self._claims, {}
        if noted:
            world.commits += 1
        dies = world.crash_how if noted and world.commits == world.crash_at else ""
        if dies == UNSAVED:
            world.blow(self._fuse)
            return
        for ref, request in claims.items():
            world.store.claim(ref, request)
        for ref, epoch, snapshot in noted:
            if snapshot is None:
                world.store.delete(ref, epoch)
            else:
                world.store.save(ref, epoch, snapshot)
                world.saved.add(ref)
        if dies == SAVED:
            world.store.commit(lambda lost: None)
            world.blow(self._fuse)
            return
        world.store.commit(done)
        if dies == ACTED:
            world.blow(self._fuse)


class DelayedStore:
    """A store that is far away: each commit is answered later, in order."""

    encodes = True

    def __init__(self, world: World, store: FusedStore, delay: float) -> None:
        self._world = world
        self._store = store
        self._delay = delay
        self._in_flight = 0
        self.save = store.save
        self.delete = store.delete
        self.claim = store.claim

    @property
    def waiting(self) -> bool:
        return self._in_flight > 0

    def commit(self, done: Callable[[frozenset[str]], None] | None) -> None:
        if done is None:
            self._store.commit(None)
            return
        self._in_flight += 1
        self._store.commit(partial(self._later, done))

    def _later(self, done: Callable[[frozenset[str]], None], lost: frozenset[str]) -> None:
        def answer() -> None:
            self._in_flight -= 1
            done(lost)
            self._world.turn()

        network = self._world.network
        network.at(network.now + self._delay, answer)


class FusedSink:
    def __init__(self, world: World, fuse: Fuse) -> None:
        self._world = world
        self._fuse = fuse

    def put(self, record: CallRecord) -> None:
        if not self._fuse.blown:
            self._world.sink.put(record)


class FusedPushes:
    """The push channel as one process sees it."""

    def __init__(self, world: World, fuse: Fuse) -> None:
        self._world = world
        self._fuse = fuse

    def put(self, push: DevicePush, now: float) -> bool:
        if self._fuse.blown or not self._world.pushes.put(push, now):
            return self._fuse.blown
        self._world.push_log.append((self._world.network.now, push))
        return True


class Crashed(Exception):
    """The server died and came back; the script that drove it so far ends here."""


class World:
    """The server and its network."""

    def __init__(
        self,
        seed: int = 1,
        settings: Settings | None = None,
        latency: float = 0.01,
        encodes: bool = True,
        commit_s: float = 0.0,
    ) -> None:
        """``commit_s``: how long the store takes for a commit."""
        self.commit_s = commit_s
        self.network = Network(latency=latency)
        self.random = random.Random(seed)
        self.settings = settings or Settings()
        self.directory, self.trunks = provisioning()
        self.gateways = gateway_numbers()
        self.leases = MemoryLeaseStore()
        self.sims = MemorySims(self.directory)
        self.rios = MemoryRios()
        self.sink = ListSink()
        self.store = MemoryCallStore(encodes=encodes)
        self.alone = True
        """There is no other node; a test that plays one says so."""
        self.bindings = MemoryBindingStore()
        self.pushes = MemoryPushes()
        self.push_log: list[tuple[float, DevicePush]] = []
        """When what was pushed, in seconds of the network."""
        self.listeners = Listeners()
        for transport in ("udp", "tcp"):
            self.listeners.add(Listener(f"{transport}:{SERVER}:5060", transport, SERVER, 5060))
        self.resolver = NumericResolver(self.listeners)
        self.commits = 0
        """Commits that saved something."""
        self.crash_at = 0
        """The server dies at this commit; 0: never."""
        self.crash_how = SAVED
        self.crash_again = 0
        """The process that takes over dies too, at this one of its commits; 0: it lives."""
        self.crashes = 0
        self._told = 0
        self.saved: set[str] = set()
        """References of all calls that were ever saved."""
        self._sent: list[tuple[Flow, bytes]] | None = None
        self.server = self.build()
        self.node = self.network.node(SERVER, transports=(), endpoint=self.server.endpoint)
        self.node.turn = lambda node: self.turn()
        self._tick_at = float("inf")
        self.parties: list[Party] = []

    def build(self) -> Signalling:
        """A fresh process over the stores that are left."""
        fuse = Fuse()
        encodes = self.store.encodes
        around = Surroundings(
            monotonic=lambda: self.network.now,
            wall=self.now,
            entropy=self.random.randbytes,
            dice=self.random.random,
            key=b"k" * 32,
            resolver=self.resolver,
            calls=self._store_of(fuse) if encodes else self.store,
            bindings=self.bindings,
            records=FusedSink(self, fuse),
            gateways=self.gateways,
            leases=self.leases,
            sims=self.sims,
            rios=self.rios,
            push=FusedPushes(self, fuse),
        )
        endpoint = make_endpoint(self.settings, self.listeners, around.key)
        gate = make_gate(self.settings, self.bindings)
        signalling = Signalling(self.settings, self.directory, self.trunks, endpoint, gate, around)
        signalling.core.waiting_room.kick = lambda: self.network.at(self.network.now, self.turn)
        signalling.runner.kick = signalling.core.waiting_room.kick
        signalling.runner.saving.is_alone = lambda: self.alone
        return signalling

    def _store_of(self, fuse: Fuse) -> CallStore:
        store = FusedStore(self, fuse)
        return DelayedStore(self, store, self.commit_s) if self.commit_s else store

    # -- crashes

    def blow(self, fuse: Fuse) -> None:
        """The process dies now; what it has given to its sockets is on its way."""
        fuse.blown = True
        self._sent = list(self.server.endpoint.out)

    def die(self) -> None:
        """The process dies between two turns, and a new one goes on at once."""
        self._restart([])
        self._told = self.crashes
        self.node.settle()

    def _restart(self, sent: list[tuple[Flow, bytes]]) -> None:
        """A new process takes the calls over that the old one had saved."""
        self.crashes += 1
        self.crash_at = self.commits + self.crash_again if self.crash_again and self.crashes == 1 else 0
        self.server = self.build()
        self.node.endpoint = self.server.endpoint
        self.server.endpoint.out.extend(sent)
        for conn in list(self.network.connections):
            if self.node in (self.network.connections[conn].opener, self.network.connections[conn].acceptor):
                self.network.cut(conn)
        for ref in list(self.store.snapshots):
            taken = self.store.take(ref)
            assert taken is not None
            self.server.runner.resume(taken[1], taken[0], self.now())
        self.server.runner.flush(self.now())

    # -- time

    def now(self) -> float:
        return START + self.network.now

    def turn(self) -> None:
        self.server.turn()
        if self._sent is not None:
            sent, self._sent = self._sent, None
            self._restart(sent)
        self._arm()

    def _arm(self) -> None:
        """Call timers are no endpoint deadlines: ask the network to come back."""
        known = (self.server.runner.next_deadline(), self.server.core.waiting_room.next_deadline())
        due = min((at for at in known if at is not None), default=None)
        if due is None:
            return
        at = max(due - START, self.network.now) + 0.001
        if at < self._tick_at:
            self._tick_at = at
            self.network.at(at, self._tick)

    def _tick(self) -> None:
        self._tick_at = float("inf")
        self.turn()

    def run(self, seconds: float) -> None:
        """Let time pass.  Raises Crashed, once, when the server died since the last time."""
        self.network.run_until(self.network.now + seconds)
        if self.crashes > self._told:
            self._told = self.crashes
            raise Crashed

    @property
    def records(self) -> list[CallRecord]:
        return self.sink.records

    @property
    def calls(self) -> int:
        return len(self.server.runner.calls)

    def phone(self, username: str, host: str = "", transport: str = "udp", register: bool = True) -> Party:
        """A softphone with the credentials of a provisioned device."""
        party = Party(self, username, host or f"10.1.0.{len(self.parties) + 1}", transport)
        party.password = f"secret-{username.partition('-')[0]}"
        self.parties.append(party)
        if register:
            party.register()
            self.run(0.2)
        return party

    def carrier(self, host: str = "10.0.1.1", name: str = "carrier") -> Party:
        """A carrier's gateway."""
        party = Party(self, name, host, "udp")
        self.parties.append(party)
        return party


__all__ = [
    "DOMAIN",
    "OFFER",
    "SDP",
    "SERVER",
    "START",
    "Crashed",
    "Dialog",
    "Headers",
    "Party",
    "World",
    "sdp",
]
