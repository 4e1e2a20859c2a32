"""Bindings: which contact of which device is registered, over which flow, until when (RFC 3261 §10, DEV-06).

A `Binding` is a value: it is never changed, only replaced by another of the same AOR and key.  The key says
which device it is, however often that registers (`binding_key`).  A store answers by AOR, by user, by
connection and by source address, and gives up what has expired; its one way to change is
`BindingStore.apply`, all or nothing, so that a registration can never be half done and a shared store can
do it in one write.

No clock is read here: ``now`` and all instants are unix seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Protocol

from callcontrol.limits import address_key

SCHEMA: Final = 2
"""Version of what `Binding.dump` writes; a change of the fields needs a new one."""
_BEFORE_NODES: Final = 1
"""Schema without ``node``."""


@dataclass(init=False, slots=True, kw_only=True, eq=False)
class Binding:
    """One registered contact of a device (RFC 3261 §10).  A value by convention: use `dataclasses.replace`.

    Not frozen only because that would triple the cost of building one.
    """

    aor: str
    """Address of record, canonical: ``sip:user@domain``."""
    key: str
    """Which device this is, within the AOR (DEV-06)."""
    user: str
    """Ref of the user."""
    device: str
    """Ref of the device."""
    contact: str
    """Contact URI as registered, pn-* parameters included: only ever shown to the device itself."""
    target: str
    """Contact URI for Request-URIs: without the pn-* parameters, which must not leak (RFC 8599 §4.1)."""
    flow: str
    """``Flow.dump()`` to send over; "" when asleep, or when ``path``, else ``target``, is to be resolved."""
    conn: int
    """Id of the stream connection of ``flow``; 0: a datagram or none."""
    source: str
    """Address that the REGISTER came from; "" when asleep."""
    path: tuple[str, ...]
    """Path values in registered order, which become the Route set (RFC 3327)."""
    q: float
    expires_at: float
    registered_at: float
    """First registration since the device was last gone."""
    refreshed_at: float
    call_id: str
    cseq: int
    instance: str = ""
    """``+sip.instance`` without quotes and brackets; "" for none."""
    reg_id: int = 0
    """``reg-id`` of an outbound registration (RFC 5626); 0: not outbound."""
    push_provider: str = ""
    """``pn-provider`` of the push token (RFC 8599); "" for none. Shown to nobody but the pusher."""
    push_prid: str = ""
    push_param: str = ""
    wakes: bool = False
    """We can wake it by push, so that it stays registered when its connection is gone."""
    user_agent: str = ""
    gruu: bool = False
    """The device knows GRUUs (RFC 5627)."""
    node: str = ""
    """The node that took the REGISTER, and has its flow; "" where there is only one."""

    def __init__(
        self,
        *,
        aor: str,
        key: str,
        user: str,
        device: str,
        contact: str,
        target: str,
        flow: str,
        conn: int,
        source: str,
        path: tuple[str, ...],
        q: float,
        expires_at: float,
        registered_at: float,
        refreshed_at: float,
        call_id: str,
        cseq: int,
        instance: str = "",
        reg_id: int = 0,
        push_provider: str = "",
        push_prid: str = "",
        push_param: str = "",
        wakes: bool = False,
        user_agent: str = "",
        gruu: bool = False,
        node: str = "",
    ) -> None:
        self.aor = aor
        self.key = key
        self.user = user
        self.device = device
        self.contact = contact
        self.target = target
        self.flow = flow
        self.conn = conn
        self.source = source
        self.path = path
        self.q = q
        self.expires_at = expires_at
        self.registered_at = registered_at
        self.refreshed_at = refreshed_at
        self.call_id = call_id
        self.cseq = cseq
        self.instance = instance
        self.reg_id = reg_id
        self.push_provider = push_provider
        self.push_prid = push_prid
        self.push_param = push_param
        self.wakes = wakes
        self.user_agent = user_agent
        self.gruu = gruu
        self.node = node

    @property
    def asleep(self) -> bool:
        """True when only a push reaches the device: its connection is gone (DEV-04)."""
        return self.wakes and not self.flow and not self.source

    def put_to_sleep(self) -> Binding:
        """The binding as it is once its connection is lost."""
        return replace(self, flow="", conn=0, source="")

    def dump(self) -> dict[str, object]:
        """The binding as plain data that survives JSON and MessagePack."""
        data: dict[str, object] = {name: getattr(self, name) for name in _FIELDS}
        data["path"] = list(self.path)
        data["schema"] = SCHEMA
        return data

    @staticmethod
    def load(data: Mapping[str, object]) -> Binding:
        """What `dump` wrote.  ValueError for another schema, an unknown field, a missing one, or a wrong
        type.
        """
        schema = data.get("schema")
        if schema not in (SCHEMA, _BEFORE_NODES):
            raise ValueError(f"binding of schema {schema!r}, expected {SCHEMA}")
        values = {name: value for name, value in data.items() if name != "schema"}
        if schema == _BEFORE_NODES:
            values["node"] = ""
        if values.keys() != _FIELDS.keys():
            raise ValueError(f"fields of a binding differ: {sorted(values.keys() ^ _FIELDS.keys())}")
        path = values["path"]
        if not isinstance(path, (list, tuple)):
            raise ValueError("path of a binding is no list")
        values["path"] = tuple(str(uri) for uri in path)
        for name, kind in _FIELDS.items():
            value = values[name]
            if kind == "float" and type(value) is int:
                values[name] = float(value)
            elif type(value).__name__ != kind:
                raise ValueError(f"{name} of a binding is a {type(value).__name__}, expected {kind}")
        return Binding(**values)  # type: ignore[arg-type]  # each type was checked against its annotation


def _type_name(kind: object) -> str:
    """The name of a field's type: interpreted it is the annotation's text, compiled the type itself."""
    return kind.__name__ if isinstance(kind, type) else str(kind).partition("[")[0]


_FIELDS: Final[dict[str, str]] = {field.name: _type_name(field.type) for field in fields(Binding)}


def binding_key(instance: str, reg_id: int, provider: str, prid: str, param: str, call_id: str) -> str:
    """Which device a contact belongs to (DEV-06): its instance id, else its push token, else its Call-ID.

    With outbound (RFC 5626) each ``reg_id`` of an instance is a flow of its own.
    """
    if instance:
        return f"instance {instance} {reg_id}" if reg_id else f"instance {instance}"
    if provider:
        return f"push {provider} {param} {prid}"
    return f"call-id {call_id}"


def by_preference(binding: Binding) -> tuple[float, float]:
    """Sort key: higher q first, of equals the one heard from last."""
    return (-binding.q, -binding.refreshed_at)


@dataclass(frozen=True, slots=True)
class BindingAdded:
    """A device has registered, for the first time or again: it can be called now (DEV-05)."""

    binding: Binding
    previous: Binding | None
    """What it replaced; None for a device that comes anew, ``previous.asleep`` for one that woke."""


@dataclass(frozen=True, slots=True)
class BindingAsleep:
    """A device's connection is gone, only a push reaches it now."""

    binding: Binding


@dataclass(frozen=True, slots=True)
class BindingRemoved:
    """A contact is no longer registered."""

    binding: Binding
    reason: str
    """``unregistered``, ``replaced``, ``displaced``, ``expired``, ``connection_lost``, ``signed_out``,
    ``device_gone``."""


Way = tuple[str, tuple[str, ...]]
"""``Flow.dump()`` to send over, or "" to resolve the Route set, else the contact; and the Route set."""


class BindingStore(Protocol):
    """Where bindings live.  Synchronous: a shared store keeps a copy at hand and writes behind it."""

    def bindings_of(self, aor: str, now: float) -> list[Binding]:
        """Those in force of an AOR, in order of preference."""
        ...

    def bindings_of_user(self, user: str, now: float) -> list[Binding]:
        """Those in force of all devices of a user, in order of preference."""
        ...

    def on_connection(self, conn: int) -> list[Binding]:
        """Those whose flow is this stream connection."""
        ...

    def has_source(self, address: str) -> bool:
        """True when a binding was registered from this `callcontrol.limits.address_key`."""
        ...

    def apply(self, put: Sequence[Binding], remove: Sequence[Binding] = ()) -> None:
        """Remove, then add or replace, by (AOR, key): all of it or nothing."""
        ...

    def expire(self, now: float) -> list[Binding]:
        """Remove and return what has expired; each binding is returned once."""
        ...

    def next_deadline(self) -> float | None:
        """When `expire` next may have something to do; None when the store is empty."""
        ...

    def all(self) -> list[Binding]:
        """Everything, for lists."""
        ...

    def own(self) -> list[Binding]:
        """Those that this node has to look after: it took their REGISTER."""
        ...

    def way(self, binding: Binding) -> Way | None:
        """How this node reaches a contact that is awake; None: not at all, its node is gone."""
        ...

    def __len__(self) -> int: ...


_Place = tuple[str, str]


class MemoryBindingStore:
    """Bindings of one node, in memory: they are gone with the process unless a snapshot is kept."""

    def __init__(self) -> None:
        self._by_aor: dict[str, dict[str, Binding]] = {}
        self._by_user: dict[str, dict[_Place, Binding]] = {}
        self._by_conn: dict[int, dict[_Place, Binding]] = {}
        self._sources: dict[str, int] = {}
        self._count = 0
        # One heap entry per binding, at or before its expiry: a refresh moves the expiry, not the entry.
        self._heap: list[tuple[float, str, str]] = []
        self._due: dict[_Place, float] = {}

    def __len__(self) -> int:
        return self._count

    def bindings_of(self, aor: str, now: float) -> list[Binding]:
        held = self._by_aor.get(aor)
        if held is None:
            return []
        live = [binding for binding in held.values() if binding.expires_at > now]
        if len(live) > 1:
            live.sort(key=by_preference)
        return live

    def bindings_of_user(self, user: str, now: float) -> list[Binding]:
        held = self._by_user.get(user)
        if held is None:
            return []
        live = [binding for binding in held.values() if binding.expires_at > now]
        if len(live) > 1:
            live.sort(key=by_preference)
        return live

    def on_connection(self, conn: int) -> list[Binding]:
        held = self._by_conn.get(conn)
        return [] if held is None else list(held.values())

    def has_source(self, address: str) -> bool:
        return address in self._sources

    def apply(self, put: Sequence[Binding], remove: Sequence[Binding] = ()) -> None:
        for binding in remove:
            self._remove(binding.aor, binding.key)
        for binding in put:
            self._remove(binding.aor, binding.key, replaced=True)
            self._add(binding)

    def expire(self, now: float) -> list[Binding]:
        gone: list[Binding] = []
        while self._heap and self._heap[0][0] <= now:
            due, aor, key = heapq.heappop(self._heap)
            if self._due.get((aor, key)) != due:
                continue  # removed meanwhile, or re-entered at an earlier time
            binding = self._by_aor[aor][key]
            if binding.expires_at <= now:
                self._remove(aor, key)
                gone.append(binding)
            else:
                self._schedule(binding.expires_at, (aor, key))
        return gone

    def next_deadline(self) -> float | None:
        return self._heap[0][0] if self._count else None

    def all(self) -> list[Binding]:
        return [binding for held in self._by_aor.values() for binding in held.values()]

    def get(self, aor: str, key: str) -> Binding | None:
        """What is held under AOR and key, expired or not."""
        held = self._by_aor.get(aor)
        return None if held is None else held.get(key)

    def own(self) -> list[Binding]:
        return self.all()

    def way(self, binding: Binding) -> Way | None:
        return binding.flow, binding.path

    def snapshot(self) -> list[dict[str, object]]:
        """Everything as plain data, for another store or process."""
        return [binding.dump() for binding in self.all()]

    def restore(self, data: Iterable[Mapping[str, object]], now: float) -> int:
        """Take in what `snapshot` gave, in this or another process; how many bindings are in force again.

        A connection does not outlive its process: bindings over one come back asleep, or not at all when no
        push can wake the device.  ValueError when an entry cannot be read; then nothing is taken in.
        """
        put = []
        for entry in data:
            binding = Binding.load(entry)
            if binding.expires_at <= now:
                continue
            if not binding.conn:
                put.append(binding)
            elif binding.wakes:
                put.append(binding.put_to_sleep())
        self.apply(put)
        return len(put)

    def _add(self, binding: Binding) -> None:
        place = (binding.aor, binding.key)
        held = self._by_aor.get(binding.aor)
        if held is None:
            held = self._by_aor[binding.aor] = {}
        held[binding.key] = binding
        self._count += 1
        of_user = self._by_user.get(binding.user)
        if of_user is None:
            of_user = self._by_user[binding.user] = {}
        of_user[place] = binding
        if binding.conn:
            self._by_conn.setdefault(binding.conn, {})[place] = binding
        if binding.source:
            source = address_key(binding.source)
            self._sources[source] = self._sources.get(source, 0) + 1
        due = self._due.get(place)
        if due is None or binding.expires_at < due:
            self._schedule(binding.expires_at, place)

    def _remove(self, aor: str, key: str, *, replaced: bool = False) -> None:
        held = self._by_aor.get(aor)
        binding = None if held is None else held.pop(key, None)
        if held is None or binding is None:
            return
        self._count -= 1
        place = (aor, key)
        if not held:
            del self._by_aor[aor]
        of_user = self._by_user[binding.user]
        del of_user[place]
        if not of_user:
            del self._by_user[binding.user]
        if binding.conn:
            on_conn = self._by_conn[binding.conn]
            del on_conn[place]
            if not on_conn:
                del self._by_conn[binding.conn]
        if binding.source:
            source = address_key(binding.source)
            if self._sources[source] == 1:
                del self._sources[source]
            else:
                self._sources[source] -= 1
        if not replaced:
            del self._due[place]

    def _schedule(self, due: float, place: _Place) -> None:
        self._due[place] = due
        heapq.heappush(self._heap, (due, *place))
        if len(self._heap) > 2 * len(self._due) + 1000:
            # Registering and unregistering at once leaves entries behind; they must not pile up until they
            # are due.
            self._heap = [(at, aor, key) for (aor, key), at in self._due.items()]
            heapq.heapify(self._heap)
