"""The log of steps without Redis: every node does each step at once, and all must come to the same."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from callcontrol.live.log import Done
from callcontrol.live.tables import SharedTables
from gateway.leases import LeasePolicy


class LocalLog:
    """`callcontrol.live.log.Steps` of a few nodes in one process."""

    def __init__(
        self, nodes: int = 2, policy: LeasePolicy | None = None, channel_lease_s: float = 60.0
    ) -> None:
        self.nodes = [SharedTables(policy or LeasePolicy(), channel_lease_s) for _ in range(nodes)]

    def submit(
        self,
        machine: str,
        verb: str,
        words: Sequence[object],
        done: Done | None = None,
        *,
        linger: bool = False,
    ) -> None:
        entry = msgspec.msgpack.encode((machine, verb, words))
        results = []
        for node in self.nodes:
            name, what, told = msgspec.msgpack.decode(entry)
            results.append(node.machines[name].step(what, told))
        assert all(repr(result) == repr(results[0]) for result in results)
        if done is not None:
            done(results[0])

    def insist(self, machine: str, verb: str, words: Sequence[object], *, linger: bool = False) -> None:
        self.submit(machine, verb, words)

    def newcomer(self) -> SharedTables:
        """A node that starts now, from the copy of another one."""
        copied = SharedTables(self.nodes[0].leases.table.policy, 60.0)
        for name, machine in self.nodes[0].machines.items():
            copied.machines[name].load(msgspec.msgpack.decode(msgspec.msgpack.encode(machine.dump())))
        self.nodes.append(copied)
        return copied
