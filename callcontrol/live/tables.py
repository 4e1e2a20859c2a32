"""The tables that nodes share over `callcontrol.live.log`: leases, channels, slots, counters.

For each a *machine*, which does the steps, and a *store* with the protocol of those who use it.  Reading is local.  What
is given back or noted is submitted and not waited for; it may linger where no other node can be waiting for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from callcontrol.live.bans import BANS, BanMachine
from callcontrol.live.log import Machine, Steps, Unavailable
from callcontrol.live.occupancy import OCCUPANCY, OccupancyMachine
from callcontrol.usage.counters import Leg, MemoryUsageCounters, Total, Used
from callcontrol.usage.slots import MemoryOutgoingSlots, Slot, SlotLimits
from gateway.capacity import GRANTED, ChannelTable, MemoryTrunkChannels
from gateway.lease_table import LeaseTable
from gateway.leases import Lease, LeasePolicy, LeaseRequest, NoNumber, Use
from gateway.trunk import Trunk

LEASES: Final = "leases"
CHANNELS: Final = "channels"
SLOTS: Final = "slots"
COUNTERS: Final = "counters"


class LeaseMachine:
    """`LeaseTable` step by step."""

    def __init__(self, policy: LeasePolicy) -> None:
        self.table = LeaseTable(policy)
        self.lost: list[Lease] = []
        """Leases that were given, or used, as far as this node knew, and that the table which it then loaded does not know so."""

    def step(self, verb: str, words: Sequence[Any]) -> object:
        table = self.table
        match verb:
            case "take":
                request, candidates, now = words
                return table.take(msgspec.convert(request, LeaseRequest), candidates, now)
            case "use":
                return table.use(*words)
            case "finish":
                table.finish(*words)
                return None
            case "note":
                return table.note(*words)
            case "release":
                return table.release(*words)
            case "restore":
                lease, now = words
                table.restore(msgspec.convert(lease, Lease), now)
                return None
        raise ValueError(f"leases know no {verb!r}")

    def dump(self) -> object:
        return self.table.dump()

    def load(self, data: Any) -> None:
        known = self.table.all()
        self.table.load(data)
        self.lost += [lease for lease in known if self.table.get(lease.id) != lease]


class SharedLeases:
    """`gateway.lease_store.LeaseStore` of many nodes."""

    def __init__(self, steps: Steps, machine: LeaseMachine) -> None:
        self._steps = steps
        self._machine = machine

    def take(
        self,
        request: LeaseRequest,
        candidates: Sequence[str],
        now: float,
        done: Callable[[Lease | NoNumber | None], None],
    ) -> None:
        words = (request, tuple(candidates), now)
        self._steps.submit(LEASES, "take", words, lambda result: done(_or_none(result, (Lease, NoNumber))))

    def use(
        self, sim: str, gateway: str, call_id: str, now: float, done: Callable[[Use | None], None]
    ) -> None:
        words = (sim, gateway, call_id, now)
        self._steps.submit(LEASES, "use", words, lambda result: done(_or_none(result, Use)))

    def finish(self, id: str, call_id: str, answered: bool, now: float) -> None:
        self._steps.insist(LEASES, "finish", (id, call_id, answered, now))

    def note(self, id: str, outcome: str, now: float) -> None:
        self._steps.insist(LEASES, "note", (id, outcome, now))

    def release(self, id: str, now: float, done: Callable[[Lease | None], None]) -> None:
        self._steps.submit(LEASES, "release", (id, now), lambda result: done(_or_none(result, Lease)))

    def get(self, id: str, now: float, done: Callable[[Lease | None], None]) -> None:
        done(self._machine.table.get(id))

    def say_again(self, now: float) -> None:
        """Redis came back empty, and the node whose tables all go on with had not heard of the last steps."""
        lost, self._machine.lost = self._machine.lost, []
        for lease in lost:
            self._steps.insist(LEASES, "restore", (lease, now))

    def all(self, now: float, done: Callable[[Sequence[Lease]], None]) -> None:
        done(self._machine.table.all())

    def counts(self, now: float) -> dict[str, int]:
        return self._machine.table.counts(now)


class ChannelMachine:
    """`ChannelTable` step by step, each in the name of a node."""

    def __init__(self, lease_s: float) -> None:
        self.table = ChannelTable()
        self._lease_s = lease_s

    def step(self, verb: str, words: Sequence[Any]) -> object:
        channels = MemoryTrunkChannels(words[0], self.table, self._lease_s)
        match verb:
            case "acquire":
                return channels.ask(*words[1:])
            case "take":
                channels.take(*words[1:])
            case "restore":
                channels.restore(*words[1:])
            case "claim":
                channels.claim(*words[1:])
            case "release":
                channels.release(*words[1:])
            case "renew":
                channels.renew(*words[1:])
            case _:
                raise ValueError(f"channels know no {verb!r}")
        return None

    def dump(self) -> object:
        return self.table.dump()

    def load(self, data: Any) -> None:
        self.table.load(data)


class SharedChannels:
    """`gateway.capacity.TrunkChannels` of many nodes."""

    def __init__(self, steps: Steps, machine: ChannelMachine, owner: str) -> None:
        self._steps = steps
        self._machine = machine
        self._owner = owner
        self._here = MemoryTrunkChannels(owner, machine.table)
        self._mine: dict[str, str] = {}
        """Legs of this node that have a channel -> their trunk."""
        self._caps: dict[str, int] = {}
        """Most channels of trunks, as last heard; 0: no bound."""
        self._ahead: dict[str, int] = {}
        """Channels of trunks that were granted here and that the tables do not count yet."""

    def acquire(self, trunk: Trunk, leg: str, now: float, done: Callable[[str], None]) -> None:
        def told(result: object) -> None:
            # caps that are not held for a moment are better than no calls
            answer = result if isinstance(result, str) else GRANTED
            if answer == GRANTED:
                self._mine[leg] = trunk.ref
            done(answer)

        self._caps[trunk.ref] = trunk.max_channels
        words = (self._owner, trunk.ref, trunk.max_channels, trunk.max_cps, leg, now)
        ahead = self._ahead.get(trunk.ref, 0)
        if self._here.has_plenty(trunk, now, ahead):  # counted, but nobody has to wait for that
            self._ahead[trunk.ref] = ahead + 1
            self._steps.submit(CHANNELS, "take", words, lambda _: self._counted(trunk.ref), linger=True)
            told(GRANTED)
        else:
            self._steps.submit(CHANNELS, "acquire", words, told)

    def _counted(self, trunk: str) -> None:
        self._ahead[trunk] -= 1

    def restore(self, trunk: str, leg: str, now: float) -> None:
        self._mine[leg] = trunk
        self._steps.submit(CHANNELS, "restore", (self._owner, trunk, leg, now))

    def release(self, trunk: str, leg: str) -> None:
        self._mine.pop(leg, None)
        # where so many channels are left, nobody is turned away for want of this one
        cap = self._caps.get(trunk)
        linger = cap is not None and (cap == 0 or 2 * self.in_use(trunk) <= cap)
        self._steps.insist(CHANNELS, "release", (self._owner, trunk, leg), linger=linger)

    def renew(self, now: float) -> None:
        self._steps.submit(CHANNELS, "renew", (self._owner, now))

    def in_use(self, trunk: str) -> int:
        return self._here.in_use(trunk)

    def say_again(self, now: float) -> None:
        """The tables may know nothing of this node's legs any more, or of their end; other nodes may have taken some over."""
        held = [(trunk, dict(legs)) for trunk, legs in self._machine.table.legs.items()]
        for trunk, legs in held:
            for leg, owner in legs.items():
                if owner == self._owner and leg not in self._mine:
                    self._steps.insist(CHANNELS, "release", (self._owner, trunk, leg))
        for leg, trunk in list(self._mine.items()):
            self._steps.submit(CHANNELS, "claim", (self._owner, trunk, leg, now))


class SlotMachine:
    """`MemoryOutgoingSlots` step by step."""

    def __init__(self) -> None:
        self.slots = MemoryOutgoingSlots()

    def step(self, verb: str, words: Sequence[Any]) -> object:
        match verb:
            case "acquire":
                slot, limits, until, now = words
                told: list[str] = []
                self.slots.acquire(Slot(*slot), SlotLimits(*limits), until, now, told.append)
                return told[0]
            case "release":
                self.slots.release(*words)
                return None
        raise ValueError(f"slots know no {verb!r}")

    def dump(self) -> object:
        return self.slots.dump()

    def load(self, data: Any) -> None:
        self.slots.load(data)


class SharedSlots:
    """`callcontrol.usage.slots.OutgoingSlots` of many nodes."""

    def __init__(self, steps: Steps, machine: SlotMachine) -> None:
        self._steps = steps
        self._machine = machine

    def acquire(
        self, slot: Slot, limits: SlotLimits, until: float, now: float, done: Callable[[str], None]
    ) -> None:
        words = (
            (slot.key, slot.user, slot.account, slot.kind, slot.fresh),
            (limits.user_calls, limits.account_calls, limits.user_rate, limits.account_rate),
            until,
            now,
        )
        if limits.bounded:
            told = _words_or_empty(done)
            self._steps.submit(SLOTS, "acquire", words, told)
        else:
            self._steps.submit(SLOTS, "acquire", words)
            done("")

    def release(self, key: str) -> None:
        self._steps.insist(SLOTS, "release", (key,))

    def in_use(self, kind: str, scope: str, ref: str) -> int:
        return self._machine.slots.in_use(kind, scope, ref)

    def __len__(self) -> int:
        return len(self._machine.slots)


class CounterMachine:
    """`MemoryUsageCounters` step by step."""

    def __init__(self) -> None:
        self.counters = MemoryUsageCounters()

    def step(self, verb: str, words: Sequence[Any]) -> object:
        counters = self.counters
        match verb:
            case "add":
                owner, month, leg, now = words
                counters.add(owner, month, Leg(*leg), now)
            case "settle":
                month, totals, known, now = words
                made = {owner: Total(seconds, callees) for owner, (seconds, callees) in totals.items()}
                counters.settle(month, made, frozenset(known), now)
            case "forget":
                counters.forget(*words)
            case _:
                raise ValueError(f"counters know no {verb!r}")
        return None

    def dump(self) -> object:
        return self.counters.dump()

    def load(self, data: Any) -> None:
        self.counters.load(data)


class SharedCounters:
    """`callcontrol.usage.counters.UsageCounters` of many nodes."""

    def __init__(self, steps: Steps, machine: CounterMachine) -> None:
        self._steps = steps
        self._machine = machine

    def look(self, owner: str, month: str, called: str, done: Callable[[Used | None], None]) -> None:
        self._machine.counters.look(owner, month, called, done)

    def add(self, owner: str, month: str, leg: Leg, now: float) -> None:
        words = (owner, month, (leg.key, leg.zone, leg.seconds, leg.called), now)
        self._steps.insist(COUNTERS, "add", words, linger=True)

    def pending(self, month: str, owners: Collection[str] | None, done: Callable[[list[str]], None]) -> None:
        self._machine.counters.pending(month, owners, done)

    def owners(self, month: str, done: Callable[[list[str]], None]) -> None:
        self._machine.counters.owners(month, done)

    def settle(self, month: str, totals: Mapping[str, Total], known: Collection[str], now: float) -> None:
        made = {owner: (dict(total.seconds), sorted(total.callees)) for owner, total in totals.items()}
        self._steps.submit(COUNTERS, "settle", (month, made, sorted(known), now))

    def forget(self, before: str) -> None:
        self._steps.submit(COUNTERS, "forget", (before,))


class SharedTables:
    """All machines of a node, by name."""

    def __init__(self, policy: LeasePolicy, channel_lease_s: float) -> None:
        self.leases = LeaseMachine(policy)
        self.channels = ChannelMachine(channel_lease_s)
        self.slots = SlotMachine()
        self.counters = CounterMachine()
        self.occupancy = OccupancyMachine()
        self.bans = BanMachine()

    @property
    def machines(self) -> dict[str, Machine]:
        return {
            LEASES: self.leases,
            CHANNELS: self.channels,
            SLOTS: self.slots,
            COUNTERS: self.counters,
            OCCUPANCY: self.occupancy,
            BANS: self.bans,
        }


def _or_none(result: object, kind: Any) -> Any:
    return result if isinstance(result, kind) else None


def _words_or_empty(done: Callable[[str], None]) -> Callable[[object], None]:
    """A store that does not answer gives the slot: a fault of ours stops nobody's calls."""
    return lambda result: done("" if isinstance(result, Unavailable) else str(result))
