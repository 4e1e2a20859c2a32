"""Bans hold on all nodes, and on those that start later; what a node trusts it lets in all the same."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from callcontrol.limits import AUTH, Gate, GatePolicy
from callcontrol.live import bans
from callcontrol.live.bans import BanMachine, SharedBans
from tests.live.test_leases import node
from tests.support.redis import RedisServer, redis
from tests.support.shared_log import LocalLog

__all__ = ["redis"]

pytestmark = pytest.mark.rule("OPS-05")

GUESSER = "192.0.2.10"
PHONE = "192.0.2.20"
NOW = 1_800_000_000.0


class Cluster:
    """Two nodes with a gate each."""

    def __init__(self) -> None:
        self.log = LocalLog()
        self.gates: list[Gate] = []
        self.shared: list[SharedBans] = []
        for tables in self.log.nodes:
            self.join(tables.bans)

    def join(self, machine: BanMachine, registered: frozenset[str] = frozenset()) -> Gate:
        gate = Gate(GatePolicy(), registered.__contains__)
        shared = SharedBans(self.log, machine)
        shared.follow(gate)
        self.gates.append(gate)
        self.shared.append(shared)
        return gate


def guess(gate: Gate, host: str, *, proven: bool = True) -> None:
    for _ in range(10):
        gate.suspect(host, AUTH, NOW, proven=proven)


def test_who_is_banned_by_one_node_is_banned_by_all() -> None:
    cluster = Cluster()
    here, there = cluster.gates
    guess(here, GUESSER)
    assert not here.admit(GUESSER, NOW + 1)
    assert not there.admit(GUESSER, NOW + 1)
    assert there.admit(PHONE, NOW + 1)
    assert there.list_bans(NOW) == here.list_bans(NOW)
    assert there.admit(GUESSER, here.list_bans(NOW)[0].until), "and no longer"


def test_the_next_ban_is_longer_on_whichever_node_it_is_earned() -> None:
    cluster = Cluster()
    here, there = cluster.gates
    guess(here, GUESSER)
    guess(there, GUESSER)
    assert there.list_bans(NOW)[0].count == here.list_bans(NOW)[0].count == 2


@pytest.mark.parametrize("named", ["2001:db8::5", "2001:db8::/64"])
def test_a_ban_is_lifted_on_all_nodes_and_for_those_to_come(named: str) -> None:
    cluster = Cluster()
    here, there = cluster.gates
    guess(here, "2001:db8::5")
    assert not there.admit("2001:db8::7", NOW)
    assert there.unban(named)
    assert here.admit("2001:db8::7", NOW)
    assert cluster.join(cluster.log.newcomer().bans).admit("2001:db8::7", NOW)


def test_who_starts_later_knows_them_too() -> None:
    cluster = Cluster()
    guess(cluster.gates[0], GUESSER)
    assert not cluster.join(cluster.log.newcomer().bans).admit(GUESSER, NOW)


def test_a_node_that_reads_the_copy_when_it_runs_already_tells_its_gate() -> None:
    cluster = Cluster()
    guess(cluster.gates[0], GUESSER)
    late = BanMachine()
    gate = cluster.join(late)
    assert gate.admit(GUESSER, NOW)
    late.load(msgspec.msgpack.decode(msgspec.msgpack.encode(cluster.log.nodes[0].bans.dump())))
    assert not gate.admit(GUESSER, NOW)
    late.load(None)
    assert late.dump() == []


def test_a_node_says_its_own_again_when_the_table_was_lost() -> None:
    cluster = Cluster()
    guess(cluster.gates[0], GUESSER)
    for tables in cluster.log.nodes:
        tables.bans.bans.clear()
    cluster.shared[0].say_again()
    assert cluster.log.nodes[1].bans.bans.keys() == {GUESSER}
    cluster.gates[1].unban(GUESSER)  # lifted by another node, it does not come back from the one that gave it
    cluster.shared[0].say_again()
    assert cluster.log.nodes[1].bans.bans == {}


def test_whom_a_node_trusts_it_lets_in_whatever_the_others_say() -> None:
    cluster = Cluster()
    here, there = cluster.gates
    there.trust([f"{GUESSER}/32"])
    guess(here, GUESSER)
    assert there.admit(GUESSER, NOW)
    assert not here.admit(GUESSER, NOW)


def test_a_longer_ban_is_not_cut_short_by_another_node() -> None:
    cluster = Cluster()
    here, there = cluster.gates
    guess(here, GUESSER)
    mine = here.list_bans(NOW)[0]
    words = bans.words_of(mine)
    words[3] = mine.until - 30.0
    cluster.log.submit(bans.BANS, "ban", words)
    assert here.list_bans(NOW) == there.list_bans(NOW) == [mine]


def test_an_address_is_slowed_on_all_nodes() -> None:
    cluster = Cluster()
    here = cluster.join(cluster.log.nodes[0].bans, frozenset({PHONE}))
    there = cluster.gates[1]
    assert there.admit(PHONE, NOW)
    guess(here, PHONE, proven=False)
    for gate in (here, there):
        let_in = [gate.admit(PHONE, NOW + 1.0) for _ in range(40)]
        assert 0 < let_in.count(True) < 40, "a few messages a second"
    assert there.list_bans(NOW)[0].slowed


def test_the_table_is_bounded() -> None:
    cluster = Cluster()
    for number in range(bans.MAX_BANS + 100):
        host = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        ban = (host, AUTH, NOW + number, NOW + number + 1e6, 1, 0, True, False)
        cluster.log.nodes[0].bans.step("ban", ban)
    assert len(cluster.log.nodes[0].bans.bans) <= bans.MAX_BANS
    with pytest.raises(ValueError):
        cluster.log.nodes[0].bans.step("pardon", ())


async def until_banned(gate: Gate, banned: bool) -> None:
    for _ in range(500):
        if gate.is_banned(GUESSER, NOW) is banned:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the ban has not come round")


@pytest.mark.rule("LIVE-01")
def test_bans_over_a_real_redis_outlive_the_node_that_gave_them(redis: RedisServer) -> None:
    async def play() -> None:
        gates = [Gate(GatePolicy()) for _ in range(3)]
        async with node(redis, "b") as second:
            second.bans.follow(gates[1])
            async with node(redis, "a") as first:
                first.bans.follow(gates[0])
                guess(gates[0], GUESSER)
                await until_banned(gates[1], True)
            async with node(redis, "c") as third:
                third.bans.follow(gates[2])
                await until_banned(gates[2], True)
                assert gates[2].unban(GUESSER)
                await until_banned(gates[1], False)

    asyncio.run(play())
