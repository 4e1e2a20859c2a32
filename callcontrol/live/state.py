"""The live state of a node that keeps it in Redis: link, stores, lease, and what brings them back into step."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from callcontrol.b2bua import snapshot
from callcontrol.b2bua.phases import ENDED, TALKING
from callcontrol.live import bindings as binding_scripts
from callcontrol.live import keys
from callcontrol.live.address import Address
from callcontrol.live.bans import SharedBans
from callcontrol.live.binding_changes import BindingChanges
from callcontrol.live.bindings import RedisBindingStore
from callcontrol.live.calls import SCRIPTS, RedisCallStore
from callcontrol.live.connection import command
from callcontrol.live.link import LinkError, RedisLink
from callcontrol.live.log import BLOCK_MS, LEAVE_COPY, SharedLog
from callcontrol.live.members import Address as NodeAddress
from callcontrol.live.members import Members
from callcontrol.live.nodes import NODE_SCRIPTS, NodeLease
from callcontrol.live.occupancy import SharedOccupancy
from callcontrol.live.register_duty import DUTY_SCRIPTS, RedisRegisterDuty
from callcontrol.live.tables import SharedChannels, SharedCounters, SharedLeases, SharedSlots, SharedTables
from config.sections import StateSettings
from gateway.leases import LeasePolicy

_SLICE: Final = 50
_RETRY_S: Final = 1.0
_GRACE_S: Final = 3600
"""How long a snapshot outlives the longest call."""


class Calls(Protocol):
    """What runs on this node (``callcontrol.runner.Runner``)."""

    @property
    def calls(self) -> Iterable[str]: ...

    def resume(self, data: bytes, epoch: int, now: float) -> None: ...

    def save_again(self, refs: Iterable[str]) -> None: ...

    def flush(self, now: float) -> None: ...

    def settle(self, now: float) -> None: ...


def may_move(data: bytes) -> bool:
    """A call that rings stays with its owner as long as that lives: taking it over would end it."""
    try:
        return snapshot.phase_of(data) in (TALKING, ENDED)
    except snapshot.SnapshotError:
        return False


class LiveState:
    """Opened before the sockets, given the calls once there are any, closed last."""

    def __init__(
        self,
        settings: StateSettings,
        node: str,
        *,
        max_call_s: float,
        leases: LeasePolicy,
        channel_lease_s: float,
        wall: Callable[[], float],
        kick: Callable[[], None],
        turn: Callable[[], None],
        on_defect: Callable[[Exception], None],
        on_usurped: Callable[[], None],
    ) -> None:
        """``kick``: asks for a turn of the loop, in which what was released is sent; ``turn``: has it at once, in a callback of the
        loop that has brought replies."""
        self._wall = wall
        self._kick = kick
        self._calls: Calls | None = None
        self._back = asyncio.Event()
        self._secret = b""
        self.link = RedisLink(
            Address(settings.url),
            scripts=(*SCRIPTS, *binding_scripts.SCRIPTS, *NODE_SCRIPTS, *DUTY_SCRIPTS, LEAVE_COPY),
            timeout_s=settings.timeout_seconds,
            on_turn=turn,
            on_defect=on_defect,
        )
        # steps and changes are read over links of their own: a reader waits in Redis for the next one
        patience_s = settings.timeout_seconds + 2 * BLOCK_MS / 1000
        self._reader = RedisLink(Address(settings.url), timeout_s=patience_s)
        self._changes_reader = RedisLink(Address(settings.url), timeout_s=patience_s)
        self.tables = SharedTables(leases, channel_lease_s)
        process = secrets.token_hex(8)
        self.log = SharedLog(
            self.link,
            self._reader,
            process,
            self.tables.machines,
            patience_s=settings.timeout_seconds,
            on_turn=turn,
            on_defect=on_defect,
        )
        self.leases = SharedLeases(self.log, self.tables.leases)
        self.channels = SharedChannels(self.log, self.tables.channels, node)
        self.slots = SharedSlots(self.log, self.tables.slots)
        self.counters = SharedCounters(self.log, self.tables.counters)
        self.occupancy = SharedOccupancy(self.log, self.tables.occupancy)
        self.bans = SharedBans(self.log, self.tables.bans)
        self.log.on_back.append(self._say_again)
        self._unsaid = False
        """Other nodes are to be told what this one holds, once it knows which of its calls are still its own."""
        self.link.on_up = self._on_up
        self.calls = RedisCallStore(
            self.link, node, keep_s=int(max_call_s) + _GRACE_S, waits=settings.durability == "commit"
        )
        self.members = Members(node)
        self.bindings = RedisBindingStore(self.link, wall, self.members, process)
        self.changes = BindingChanges(
            self._changes_reader, self.bindings, node, process, on_turn=kick, on_defect=on_defect
        )
        self.members.on_come.append(lambda name: self.changes.look_again())
        self.register_duty = RedisRegisterDuty(self.link, process, settings.lease_seconds)
        self.lease = NodeLease(
            self.link,
            self.calls,
            node,
            process,
            lease_s=settings.lease_seconds,
            resume=self._resume,
            may_move=may_move,
            on_usurped=on_usurped,
            on_unsure=self._on_up,
            on_defect=on_defect,
            members=self.members,
            on_moved=self._save_again,
        )

    def announce(self, address: NodeAddress, listener: str) -> None:
        """Where other nodes reach this one, and over which of its sockets it reaches them; they learn it by the next beat."""
        self.members.address = address
        self.bindings.listener = listener

    async def open(self) -> None:
        """Connect, take the node's name, and read bindings and tables.  Raises LinkError."""
        await self.link.connect()
        await self._reader.connect()
        await self._changes_reader.connect()
        await self.lease.begin()
        await self.changes.open()
        await self.log.open()

    async def shared_secret(self) -> bytes:
        """32 bytes that all nodes have in common, so that what one of them signed counts on the others.  Raises LinkError."""
        await self.link.ask("SET", keys.SECRET, secrets.token_bytes(32), "NX")
        found = await self.link.ask("GET", keys.SECRET)
        if not isinstance(found, bytes) or len(found) < 16:
            raise LinkError(f"{keys.SECRET} in Redis is no secret; delete it")
        self._secret = found
        return found

    async def recover(self, calls: Calls) -> int:
        """Go on with the calls that this node had when it last ran; how many.  Raises LinkError."""
        self._calls = calls
        await self.lease.renew()  # the others learn where this node is reached
        count = await self.lease.recover()
        self._kick()
        return count

    async def run(self) -> None:
        """Keep the link up, the lease fresh, and what Redis holds complete.  Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.link.run(), name="live state: link")
            group.create_task(self._reader.run(), name="live state: reader")
            group.create_task(self._changes_reader.run(), name="live state: reader of changes")
            group.create_task(self.log.run(), name="live state: tables")
            group.create_task(self.changes.run(), name="live state: registrations")
            group.create_task(self.lease.run(), name="live state: lease")
            group.create_task(self._heal(), name="live state: healing")

    async def close(self) -> None:
        """The node stops; it has hung up."""
        if self._calls is not None:
            self._calls.settle(self._wall())
        self.log.write()
        with contextlib.suppress(LinkError):
            await self.lease.leave()
        await self.link.close()
        await self._reader.close()
        await self._changes_reader.close()

    def _on_up(self) -> None:
        self._back.set()
        self.log.say_again()

    async def _heal(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_S):
                    await self._back.wait()
            if self._back.is_set():
                self._back.clear()
                await self._write_everything()
            self.calls.write_unsaved()
            if self._unsaid and not self._is_unsure():
                self._say_again()

    def _is_unsure(self) -> bool:
        """Some calls may have gone to other nodes while Redis was away: saving them anew tells."""
        return self._back.is_set() or self.calls.waiting or self.calls.unsaved > 0

    def _say_again(self) -> None:
        self.leases.say_again(self._wall())
        self._unsaid = self._is_unsure()
        if not self._unsaid:
            self.channels.say_again(self._wall())
            self.occupancy.say_again()
            self.bans.say_again()

    async def _write_everything(self) -> None:
        """The connection was lost, and perhaps what Redis held with it: nothing is taken for saved."""
        if (
            self._secret
        ):  # else the next node that starts makes another one, and does not know what this one signed
            self.link.send(command("SET", keys.SECRET, self._secret, "NX"), 1, lambda replies: None)
        self.calls.distrust()
        self.changes.look_again(rewrite=True)
        if self._calls is None:
            return
        refs = list(self._calls.calls)
        for at in range(0, len(refs), _SLICE):
            self._save_again(refs[at : at + _SLICE])
            await asyncio.sleep(0)

    def _save_again(self, refs: list[str]) -> None:
        """Whether a call is still this node's, saving it tells."""
        if self._calls is not None:
            self._calls.save_again(refs)
            self._calls.flush(self._wall())

    def _resume(self, data: bytes, epoch: int) -> None:
        if self._calls is not None:
            now = self._wall()
            self._calls.resume(data, epoch, now)
            self._calls.flush(now)
