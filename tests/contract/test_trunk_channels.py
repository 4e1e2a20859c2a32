"""Channels of trunks, the same for every implementation: caps over all nodes, leases, takeover."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.live.log import Done
from callcontrol.live.tables import SharedChannels
from gateway.capacity import FAST, FULL, GRANTED, ChannelTable, MemoryTrunkChannels, TrunkChannels
from gateway.trunk import Prefix, Trunk
from tests.support.shared_log import LocalLog

LEASE = 60.0
NewNode = Callable[[str], TrunkChannels]
"""Name of a node -> its view of one shared store."""


def memory() -> NewNode:
    table = ChannelTable()
    return lambda name: MemoryTrunkChannels(name, table, LEASE)


def shared() -> NewNode:
    log = LocalLog(channel_lease_s=LEASE)
    made = iter(log.nodes)
    return lambda name: SharedChannels(log, next(made).channels, name)


STORES: dict[str, Callable[[], NewNode]] = {"memory": memory, "shared": shared}


@pytest.fixture(params=STORES)
def node(request: pytest.FixtureRequest) -> NewNode:
    return STORES[request.param]()


def trunk(ref: str = "a", **fields: object) -> Trunk:
    values: dict[str, object] = {"peers": ("sip:192.0.2.1",), "prefixes": (Prefix("+"),)}
    return Trunk(ref=ref, **{**values, **fields})  # type: ignore[arg-type]


def ask(channels: TrunkChannels, of: Trunk, leg: str, now: float = 0.0) -> str:
    """The one answer."""
    answers: list[str] = []
    channels.acquire(of, leg, now, answers.append)
    assert len(answers) == 1
    return answers[0]


def test_channels_are_bounded_over_all_nodes(node: NewNode) -> None:
    one, two = node("one"), node("two")
    a = trunk(max_channels=2)
    assert ask(one, a, "x.b1") == GRANTED
    assert ask(two, a, "y.b1") == GRANTED
    assert ask(one, a, "z.b1") == FULL
    assert ask(two, a, "z.b1") == FULL
    assert one.in_use("a") == two.in_use("a") == 2
    two.release("a", "y.b1")
    assert ask(one, a, "z.b1") == GRANTED
    assert all(ask(two, trunk("b"), str(index)) == GRANTED for index in range(500)), (
        "another trunk has no bound"
    )


def test_the_same_leg_holds_one_channel_however_often_it_asks(node: NewNode) -> None:
    one, two = node("one"), node("two")
    a = trunk(max_channels=1, max_cps=1.0)
    assert [ask(one, a, "x.b1"), ask(one, a, "x.b1"), ask(two, a, "x.b1")] == [GRANTED] * 3
    assert one.in_use("a") == 1
    one.release("a", "x.b1")
    one.release("a", "x.b1")
    one.release("a", "never.b1")
    one.release("nowhere", "x.b1")
    assert one.in_use("a") == 0


def test_a_refusal_is_not_remembered(node: NewNode) -> None:
    one = node("one")
    a = trunk(max_channels=1)
    assert ask(one, a, "x.b1") == GRANTED
    assert ask(one, a, "y.b1") == FULL
    one.release("a", "x.b1")
    assert ask(one, a, "y.b1") == GRANTED


def test_calls_per_second_are_bounded_over_all_nodes(node: NewNode) -> None:
    nodes = [node("one"), node("two")]
    a = trunk(max_cps=5.0)
    taken = [
        now for now in range(0, 4000, 10) if ask(nodes[now // 10 % 2], a, str(now), now / 1000) == GRANTED
    ]
    # the bucket's five, and five more in each of the four seconds
    assert len(taken) in (5 + 4 * 5 - 1, 5 + 4 * 5)
    for start in range(0, 3000, 100):
        assert len([now for now in taken if start <= now < start + 1000]) <= 10
    slow = trunk("b", max_cps=0.5)
    one = nodes[0]
    assert ask(one, slow, "1", 0.0) == GRANTED
    assert ask(one, slow, "2", 1.9) == FAST
    assert ask(one, slow, "2", 2.0) == GRANTED
    assert ask(one, slow, "3", -100.0) == FAST, "a clock that steps back neither gives nor takes"


def test_a_trunk_that_is_full_costs_no_call_of_its_rate(node: NewNode) -> None:
    one = node("one")
    a = trunk(max_channels=1, max_cps=1.0)
    assert ask(one, a, "x", 0.0) == GRANTED
    assert ask(one, a, "y", 1.0) == FULL
    one.release("a", "x")
    assert ask(one, a, "y", 1.0) == GRANTED


def test_what_a_dead_node_held_is_free_after_its_lease(node: NewNode) -> None:
    dead, alive = node("dead"), node("alive")
    a = trunk(max_channels=2)
    assert ask(dead, a, "x", 0.0) == GRANTED
    assert ask(alive, a, "y", 0.0) == GRANTED
    alive.renew(LEASE - 1)
    assert ask(alive, a, "z", LEASE - 1) == FULL
    alive.renew(LEASE + 1)
    assert ask(alive, a, "z", LEASE + 1) == GRANTED
    assert alive.in_use("a") == 2


def test_a_node_that_renews_keeps_its_channels(node: NewNode) -> None:
    one, two = node("one"), node("two")
    a = trunk(max_channels=1)
    assert ask(one, a, "x", 0.0) == GRANTED
    for now in range(20, 400, 20):
        one.renew(float(now))
        two.renew(float(now))
        assert ask(two, a, "y", float(now)) == FULL


@pytest.mark.rule("LIVE-02", "LIVE-03")
def test_a_call_that_was_taken_over_is_counted_once(node: NewNode) -> None:
    dead, heir = node("dead"), node("heir")
    a = trunk(max_channels=2)
    assert ask(dead, a, "x.b1", 0.0) == GRANTED
    heir.restore("a", "x.b1", 30.0)
    heir.restore("a", "x.b1", 30.0)
    assert heir.in_use("a") == 1
    heir.renew(LEASE + 1)
    assert heir.in_use("a") == 1, "the lease of the dead one ran out, the channel is the heir's"
    dead.release("a", "x.b1")
    assert heir.in_use("a") == 1, "a node that was thought dead does not take it away"
    heir.release("a", "x.b1")
    assert heir.in_use("a") == 0


@pytest.mark.rule("LIVE-02")
def test_a_call_is_counted_also_where_the_store_has_forgotten_it(node: NewNode) -> None:
    """After a restart of the store, or when the dead node's lease ran out first; the caps do not end calls."""
    heir = node("heir")
    a = trunk(max_channels=1)
    heir.restore("a", "x.b1", 0.0)
    heir.restore("a", "y.b1", 0.0)
    assert heir.in_use("a") == 2
    assert ask(heir, a, "z.b1", 0.0) == FULL
    heir.release("a", "x.b1")
    heir.release("a", "y.b1")
    assert ask(heir, a, "z.b1", 0.0) == GRANTED


@given(st.lists(st.tuples(st.floats(0, 0.5), st.booleans(), st.booleans()), max_size=60))
def test_the_caps_hold_whatever_happens(events: list[tuple[float, bool, bool]]) -> None:
    for make in STORES.values():
        new = make()
        nodes = [new("one"), new("two")]
        a = trunk(max_channels=4, max_cps=3.0)
        now, up, starts = 0.0, [], []
        for index, (pause, hang_up, which) in enumerate(events):
            now += pause
            channels = nodes[which]
            for each in nodes:
                each.renew(now)
            if hang_up and up:
                owner, leg = up.pop()
                owner.release("a", leg)
            elif ask(channels, a, str(index), now) == GRANTED:
                up.append((channels, str(index)))
                starts.append(now)
            assert nodes[0].in_use("a") == nodes[1].in_use("a") == len(up) <= 4
        for begin in starts:
            assert len([start for start in starts if begin <= start < begin + 1.0]) <= 3 + 3 + 1


NODES = 8


class SlowLog(LocalLog):
    """Steps of many nodes are done when it is said so, in the order in which they were submitted."""

    def __init__(self) -> None:
        super().__init__(NODES, channel_lease_s=LEASE)
        self.late: list[Callable[[], None]] = []

    def submit(
        self,
        machine: str,
        verb: str,
        words: Sequence[object],
        done: Done | None = None,
        *,
        linger: bool = False,
    ) -> None:
        do = super().submit
        self.late.append(lambda: do(machine, verb, words, done, linger=linger))

    def catch_up(self) -> None:
        late, self.late = self.late, []
        for do in late:
            do()


@pytest.fixture
def slow() -> tuple[SlowLog, list[SharedChannels]]:
    log = SlowLog()
    return log, [SharedChannels(log, node.channels, f"n{at}") for at, node in enumerate(log.nodes)]


def test_where_many_channels_are_left_nobody_waits(slow: tuple[SlowLog, list[SharedChannels]]) -> None:
    log, (one, *_) = slow
    assert ask(one, trunk(max_channels=100), "x.b1") == GRANTED
    assert one.in_use("a") == 0
    log.catch_up()
    assert one.in_use("a") == 1


@pytest.mark.parametrize(
    "caps", [{"max_channels": 15}, {"max_cps": 15.0}, {"max_channels": 1000, "max_cps": 5.0}]
)
def test_a_small_trunk_is_always_asked(
    slow: tuple[SlowLog, list[SharedChannels]], caps: dict[str, float]
) -> None:
    log, (one, *_) = slow
    answers: list[str] = []
    one.acquire(trunk(**caps), "x.b1", 0.0, answers.append)
    assert answers == []
    log.catch_up()
    assert answers == [GRANTED]


@pytest.mark.parametrize("caps", [{"max_channels": 64}, {"max_cps": 64.0}])
@given(st.lists(st.integers(0, NODES), max_size=400))
def test_eight_nodes_that_know_nothing_of_each_other_keep_to_the_caps(
    caps: dict[str, float], moves: list[int]
) -> None:
    """8: the nodes hear of each other; any other number: that node has a call."""
    log = SlowLog()
    nodes = [SharedChannels(log, node.channels, f"n{at}") for at, node in enumerate(log.nodes)]
    answers: list[str] = []
    for number, move in enumerate(moves):
        if move == NODES:
            log.catch_up()
        else:
            nodes[move].acquire(trunk(**caps), f"leg {number}", 0.0, answers.append)
            assert answers.count(GRANTED) <= 64
    log.catch_up()
    assert len(answers) == sum(move != NODES for move in moves)
    assert answers.count(GRANTED) == nodes[0].in_use("a") <= 64


@pytest.mark.parametrize("caps", [{"max_channels": 64}, {"max_cps": 64.0}])
@pytest.mark.parametrize("taken", [0, 30, 33, 50, 63])
def test_however_full_a_trunk_is_all_nodes_at_once_keep_to_the_caps(
    slow: tuple[SlowLog, list[SharedChannels]], caps: dict[str, float], taken: int
) -> None:
    log, nodes = slow
    answers: list[str] = []
    for number in range(taken):
        nodes[0].acquire(trunk(**caps), f"taken {number}", 0.0, answers.append)
        log.catch_up()
    for number in range(20):
        for at, each in enumerate(nodes):
            each.acquire(trunk(**caps), f"leg {number} of {at}", 0.0, answers.append)
    log.catch_up()
    assert answers.count(GRANTED) == nodes[0].in_use("a") == 64


def test_a_channel_that_was_granted_is_counted_though_others_were_faster(
    slow: tuple[SlowLog, list[SharedChannels]],
) -> None:
    """A node that hears late of the others grants what is no longer there: it is counted, so that no more follow."""
    log, (one, two, *_) = slow
    a = trunk(max_channels=16)
    assert ask(one, a, "x.b1") == GRANTED
    granted, log.late = log.late, []
    for number in range(16):
        two.acquire(a, f"y{number}.b1", 0.0, lambda word: None)
        log.catch_up()
    for do in granted:
        do()
    assert two.in_use("a") == 17
    one.release("a", "x.b1")
    log.catch_up()
    assert two.in_use("a") == 16
