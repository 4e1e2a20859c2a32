"""Bindings that all nodes know and that outlive them: a copy in memory answers, every change is written behind it (LIVE-01).

Each binding is a key in Redis, and each change an entry of one stream: that is how the other nodes come to know of it
(`callcontrol.live.binding_changes`).  Nothing waits for the write.  A REGISTER whose last write was lost with Redis is made
again by the device when it refreshes.

**Whose word counts.**  Of two nodes that a device registered with, the one that comes later in the stream.  Every write learns
its place there from its reply, so that whoever wrote later is not overruled by what it reads of earlier writes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from callcontrol.bindings import Binding, MemoryBindingStore, Way
from callcontrol.live import keys
from callcontrol.live.connection import Replies, Script, command
from callcontrol.live.link import RedisLink
from callcontrol.live.members import Members, written
from callcontrol.relay import FlowTokens, route
from callcontrol.sip.flow import Flow

_log = logging.getLogger(__name__)

KEPT_CHANGES: Final = 20_000
"""Changes that the stream holds, about: whoever is further behind reads everything anew."""
_STAMP: Final = 13

PUT: Final = Script(
    """
local held = redis.call('GETRANGE', KEYS[1], 0, 12)
if ARGV[4] == '0' and held > ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PXAT', ARGV[3])
return redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'p', ARGV[6], 'b', ARGV[2])
"""
)
"""KEYS: binding, changes.  ARGV: time of the REGISTER in ms, node and binding, end in ms, 1: whatever is held, changes to
keep, process.  The place in the stream; 0: a later one is held."""
REMOVE: Final = Script(
    """
local held = redis.call('GET', KEYS[1])
if held and ARGV[1] ~= '' and string.sub(held, 14, string.find(held, '\\n', 14, true) - 1) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'p', ARGV[3], 'r', ARGV[4])
"""
)
"""KEYS: binding, changes.  ARGV: node that must have it (empty: any), changes to keep, process, AOR and key."""
SCRIPTS: Final = (PUT, REMOVE)

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(dict[str, object])
_place_decoder: Final = msgspec.msgpack.Decoder(tuple[str, str])

Place = tuple[str, str]
Order = tuple[int, int]


class RedisBindingStore:
    """`callcontrol.bindings.BindingStore` of many nodes."""

    def __init__(
        self,
        link: RedisLink,
        wall: Callable[[], float],
        members: Members | None = None,
        process: str = "",
    ) -> None:
        """``process``: a word that no other process has."""
        # held, not inherited from: the store in memory may be compiled
        self._held = MemoryBindingStore()
        self._link = link
        self._wall = wall
        self._members = members or Members("")
        self._node = self._members.own
        self._process = process
        self._unanswered: dict[Place, int] = {}
        """Writes whose reply has not come."""
        self._undecided: dict[Place, list[tuple[Order, Binding | None]]] = {}
        """What others wrote to places of which it is not known who was later."""
        self._written: dict[Place, Order] = {}
        """Where this node's last writes stand in the stream, as long as it has not been read so far."""
        self.is_near: Callable[[str], bool] = lambda node: False
        """Whether a node is another process of this one, whose connections and datagrams are reached from here."""
        self.tokens: FlowTokens | None = None
        self.listener = ""
        """Name of our socket that other nodes see."""
        self.on_put: Callable[[Binding, Binding | None], None] = lambda binding, previous: None
        """Told of what another node has put in, and what it replaced."""
        self.on_removed: Callable[[Binding, str], None] = lambda binding, reason: None
        self.failed = 0
        """Changes of which it is not known that they are in Redis."""
        self._members.on_gone.append(self._node_gone)

    def bindings_of(self, aor: str, now: float) -> list[Binding]:
        return self._held.bindings_of(aor, now)

    def bindings_of_user(self, user: str, now: float) -> list[Binding]:
        return self._held.bindings_of_user(user, now)

    def on_connection(self, conn: int) -> list[Binding]:
        return self._held.on_connection(conn)

    def has_source(self, address: str) -> bool:
        return self._held.has_source(address)

    def expire(self, now: float) -> list[Binding]:
        return self._held.expire(now)

    def next_deadline(self) -> float | None:
        return self._held.next_deadline()

    def all(self) -> list[Binding]:
        return self._held.all()

    def own(self) -> list[Binding]:
        return [binding for binding in self._held.all() if binding.node == self._node]

    def __len__(self) -> int:
        return len(self._held)

    def way(self, binding: Binding) -> Way | None:
        """By its node, if that lives; else over a socket of ours, which reaches a phone on UDP that no NAT hides."""
        if binding.node == self._node or not binding.flow or self.is_near(binding.node):
            return binding.flow, binding.path
        flow = Flow.load(binding.flow)
        address = self._members.address_of(binding.node)
        if address is not None and self.tokens is not None:
            hop = Flow("udp", *address, self.listener).dump()
            return hop, (route(self.tokens, flow, written(address)),)
        if flow.reliable:
            return None
        return Flow("udp", flow.host, flow.port).dump(), binding.path

    def apply(self, put: Sequence[Binding], remove: Sequence[Binding] = ()) -> None:
        for binding in put:
            binding.node = self._node
        self._held.apply(put, remove)
        places = [place_of(binding) for binding in (*remove, *put)]
        commands = [self._removal(binding) for binding in remove]
        commands.extend(self._writing(binding, now_or_never=True) for binding in put)
        self._send(places, commands)

    # -- writing

    def write(self, bindings: Sequence[Binding]) -> None:
        """Write bindings of this node again, unless their devices have registered elsewhere since: Redis may have lost them."""
        commands = [self._writing(binding, now_or_never=False) for binding in bindings]
        self._send([place_of(binding) for binding in bindings], commands)

    async def settle(self) -> None:
        """Wait until what was written has its reply.  Raises LinkError."""
        await self._link.ask("PING")  # replies come in order

    def forget(self, places: Sequence[Place]) -> None:
        """Remove from Redis what this node does not have any more."""
        commands = [
            REMOVE.call(_keys(place), self._node, KEPT_CHANGES, self._process, _encoder.encode(place))
            for place in places
        ]
        self._send(list(places), commands)

    def _writing(self, binding: Binding, *, now_or_never: bool) -> bytes:
        stamp = f"{int(binding.refreshed_at * 1000):0{_STAMP}d}"
        data = f"{self._node}\n".encode() + _encoder.encode(binding.dump())
        until = int(binding.expires_at * 1000) + 1
        names = _keys(place_of(binding))
        return PUT.call(names, stamp, data, until, int(now_or_never), KEPT_CHANGES, self._process)

    def _removal(self, binding: Binding) -> bytes:
        place = place_of(binding)
        entry = _encoder.encode(place)
        return REMOVE.call(_keys(place), binding.node, KEPT_CHANGES, self._process, entry)

    def _send(self, places: list[Place], commands: list[bytes]) -> None:
        if not commands:
            return
        for place in places:
            self._unanswered[place] = self._unanswered.get(place, 0) + 1
        self._link.send(b"".join(commands), len(commands), lambda replies: self._sent(places, replies))

    def _sent(self, places: list[Place], replies: Replies | None) -> None:
        for at, place in enumerate(places):
            reply = None if replies is None else replies[at]
            left = self._unanswered.get(place, 1) - 1
            if left > 0:
                self._unanswered[place] = left
            else:
                self._unanswered.pop(place, None)
            if isinstance(reply, bytes):
                self._written[place] = order_of(reply)
            elif reply == 0:
                self._look_again(place)
            else:
                self.failed += 1
            if left <= 0:
                for order, binding in self._undecided.pop(place, ()):
                    self.learn(place, order, binding)

    def _look_again(self, place: Place) -> None:
        """Another node has it: see what it holds."""

        def seen(replies: Replies | None) -> None:
            if replies is not None and place not in self._unanswered:
                value = replies[0]
                self.adopt(place, read_value(value) if isinstance(value, bytes) else None)

        self._link.send(command("GET", keys.binding(*place)), 1, seen)

    # -- what others write

    def learn(self, place: Place, order: Order, binding: Binding | None) -> None:
        """An entry of the stream by another node; None: the binding is gone."""
        if place in self._unanswered:
            self._undecided.setdefault(place, []).append((order, binding))
        elif order > self._written.get(place, (0, 0)):
            self.adopt(place, binding)

    def reached(self, order: Order) -> None:
        """The stream has been read so far."""
        if self._written:
            self._written = {place: at for place, at in self._written.items() if at > order}

    def is_settled(self, place: Place, order: Order) -> bool:
        """Whether nothing that this node wrote there can be later than ``order``."""
        return place not in self._unanswered and self._written.get(place, (0, 0)) <= order

    def adopt(self, place: Place, binding: Binding | None, reason: str = "unregistered") -> None:
        """Take over what is true elsewhere, and tell of it."""
        held = self.find(place)
        if binding is not None and binding.node != self._node:
            binding = self._as_seen_here(binding)
        if binding is not None and binding.expires_at > self._wall():
            self._held.apply([binding])
            self.on_put(binding, held)
        elif held is not None:
            self._held.apply((), [held])
            self.on_removed(held, reason)

    def find(self, place: Place) -> Binding | None:
        """What is held in a place, expired or not."""
        return self._held.get(*place)

    def take_in(self, found: Sequence[Binding]) -> int:
        """At start: everything that is in Redis; how many are in force.  Those of this node's last life have lost their
        connections, and are written so."""
        now, mine, others = self._wall(), [], []
        for binding in found:
            if binding.expires_at <= now:
                continue
            if binding.node != self._node:
                seen = self._as_seen_here(binding)
                if seen is not None:
                    others.append(seen)
            else:
                mine.append(binding)
        self._held.apply(others)
        lost = [binding for binding in mine if binding.conn]
        self._held.apply([binding for binding in mine if not binding.conn])
        self.apply([b.put_to_sleep() for b in lost if b.wakes], [b for b in lost if not b.wakes])
        return len(self._held)

    def _as_seen_here(self, binding: Binding) -> Binding | None:
        """A binding of another node: its connection is none of ours.  None: it ended with its node."""
        over_stream = bool(binding.conn)
        binding.conn = 0
        if not over_stream or self._members.lives(binding.node):
            return binding
        return binding.put_to_sleep() if binding.wakes else None

    def _node_gone(self, name: str) -> None:
        """A node has died, and its connections with it."""
        for binding in self._held.all():
            if binding.node != name or not binding.flow or binding.flow.startswith("udp|"):
                continue
            asleep = binding.put_to_sleep() if binding.wakes else None
            self.adopt(place_of(binding), asleep, "connection_lost")


def place_of(binding: Binding) -> Place:
    """What names a binding."""
    return binding.aor, binding.key


def read_place(data: bytes) -> Place:
    """The place in an entry of the stream.  Raises msgspec.DecodeError."""
    return _place_decoder.decode(data)


def read_value(value: bytes) -> Binding | None:
    """The binding in a key's value; None, and said in the log, if it cannot be read."""
    return read_binding(value[_STAMP:])


def read_binding(data: bytes) -> Binding | None:
    """The binding behind the name of its node; None, and said in the log, if it cannot be read."""
    try:
        return Binding.load(_decoder.decode(data.partition(b"\n")[2]))
    except (msgspec.DecodeError, ValueError) as error:
        _log.error("live state: a binding in Redis cannot be read: %s", error)
        return None


def order_of(id: bytes | str) -> Order:
    """The id of an entry, so that it can be compared."""
    time, _, number = (id.decode() if isinstance(id, bytes) else id).partition("-")
    return int(time), int(number or 0)


def _keys(place: Place) -> tuple[str, str]:
    return keys.binding(*place), keys.BINDING_CHANGES
