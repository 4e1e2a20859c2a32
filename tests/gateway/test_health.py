"""Up, down, unknown: hysteresis, intervals, jitter, and what calls add to what OPTIONS tell."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.health import DOWN, STATES, UNKNOWN, UP, Change, Health, HealthPolicy

KEY = "carrier-a sip:192.0.2.1"
POLICY = HealthPolicy(
    down_after=3, up_after=2, quick_s=10.0, timeout_s=5.0, jitter=0.1, avoid_s=30.0, avoid_max_s=600.0
)


def watched(interval: float = 60.0, dice: float = 0.5, now: float = 0.0) -> Health:
    health = Health(POLICY, lambda: dice)
    health.watch({KEY: interval}, now)
    return health


def probe(health: Health, now: float, why: str = "") -> None:
    serial = health.sent(KEY, now)
    assert health.probed(KEY, serial, why, 0.02, now)


def due(health: Health, now: float) -> bool:
    return health.due(now, 10) == [KEY]


def test_one_answer_is_enough_for_a_peer_of_which_nothing_was_known() -> None:
    health = watched()
    assert health.state(KEY) == UNKNOWN
    assert health.levels(0.0) == (frozenset(), frozenset())
    probe(health, 1.0)
    assert health.state(KEY) == UP
    assert health.changes == [Change(KEY, UNKNOWN, UP, "answers", 1.0)]
    peer = health.get(KEY)
    assert peer is not None
    assert (peer.since, peer.answered_at, peer.round_trip) == (1.0, 1.0, 0.02)


def test_three_failures_take_it_down_and_two_answers_bring_it_back() -> None:
    health = watched()
    probe(health, 0.0)
    for now in (60.0, 70.0):
        probe(health, now, "503")
        assert health.state(KEY) == UP
    probe(health, 80.0, "503")
    assert health.state(KEY) == DOWN
    assert health.levels(80.0) == (frozenset(), {KEY})
    probe(health, 90.0)
    assert health.state(KEY) == DOWN
    probe(health, 100.0)
    assert health.state(KEY) == UP
    assert health.levels(100.0) == (frozenset(), frozenset())
    assert [(c.after, c.why, c.at) for c in health.changes] == [
        (UP, "answers", 0.0),
        (DOWN, "503", 80.0),
        (UP, "answers again", 100.0),
    ]


def test_a_peer_that_comes_and_goes_stays_where_it_is() -> None:
    health = watched()
    probe(health, 0.0)
    for now in range(10, 1000, 10):
        probe(health, float(now), "503" if now % 30 else "")
    assert health.state(KEY) == UP
    for now in range(1000, 1030, 10):
        probe(health, float(now), "503")
    for now in range(1030, 2000, 10):
        probe(health, float(now), "" if now % 20 else "503")
    assert health.state(KEY) == DOWN
    assert len(health.changes) == 2


def test_probes_are_slow_while_all_is_well_and_quicker_while_it_is_not() -> None:
    health = watched(60.0)
    assert due(health, 0.0)
    probe(health, 0.0)
    assert not due(health, 59.9)
    assert due(health, 60.0)
    probe(health, 60.0, "503")
    assert not due(health, 69.9)
    assert due(health, 70.0)
    short = watched(4.0)
    probe(short, 0.0, "503")
    assert due(short, 4.0), "never slower than the ordinary interval"


def test_each_interval_has_its_jitter() -> None:
    for dice, earliest in ((0.0, 54.0), (0.5, 60.0), (0.999, 65.9)):
        health = watched(60.0, dice)
        probe(health, 0.0)
        assert not due(health, earliest - 0.1)
        assert due(health, earliest + 0.1)


def test_no_answer_in_time_is_a_failure_and_a_late_one_does_not_count() -> None:
    health = watched()
    serial = health.sent(KEY, 0.0)
    assert not due(health, 4.9), "one probe at a time"
    assert not due(health, 5.0), "the next one after a pause"
    peer = health.get(KEY)
    assert peer is not None
    assert (peer.failures, peer.why) == (1, "no answer to OPTIONS")
    assert not health.probed(KEY, serial, "", 6.0, 6.0)
    assert due(health, 15.0)
    second = health.sent(KEY, 15.0)
    assert not health.probed(KEY, serial, "", 16.0, 16.0)
    assert health.probed(KEY, second, "", 0.1, 16.0)
    assert peer.failures == 0


def test_a_failed_call_has_the_peer_avoided_and_probed_at_once() -> None:
    health = watched()
    probe(health, 0.0)
    health.call_failed(KEY, "silent", 0.0, 10.0)
    assert health.state(KEY) == UP
    assert health.levels(10.0) == ({KEY}, frozenset())
    assert due(health, 10.0)
    probe(health, 10.0)
    assert health.levels(11.0) == ({KEY}, frozenset()), "OPTIONS prove nothing about calls"
    assert health.levels(39.9) == ({KEY}, frozenset())
    assert health.levels(40.0) == (frozenset(), frozenset())


def test_an_answered_call_ends_the_avoidance() -> None:
    health = watched()
    health.call_failed(KEY, "503", 0.0, 10.0)
    health.call_answered(KEY, 12.0)
    assert health.levels(12.0) == (frozenset(), frozenset())
    assert health.state(KEY) == UP


def test_retry_after_is_honoured_within_a_bound() -> None:
    health = watched()
    health.call_failed(KEY, "503", 120.0, 0.0)
    probe(health, 1.0)
    assert health.levels(119.0)[0] == {KEY}
    assert health.levels(120.0)[0] == frozenset()
    health.call_failed(KEY, "503", 1e9, 200.0)
    assert health.levels(799.0)[0] == {KEY}
    assert health.levels(800.0)[0] == frozenset()
    probe(health, 890.0)
    health.call_failed(KEY, "503", 100.0, 900.0)
    health.call_failed(KEY, "503", 5.0, 901.0)
    assert health.levels(999.0)[0] == {KEY}, "the longer of two"


def test_calls_and_probes_count_together() -> None:
    health = watched()
    health.call_failed(KEY, "silent", 0.0, 1.0)
    probe(health, 2.0, "503")
    health.call_failed(KEY, "silent", 0.0, 3.0)
    assert health.state(KEY) == DOWN
    health.call_answered(KEY, 4.0)
    assert health.state(KEY) == DOWN
    probe(health, 5.0)
    assert health.state(KEY) == UP


def test_without_probes_a_peer_that_is_down_is_tried_last_and_one_call_brings_it_back() -> None:
    health = watched(0.0)
    assert not health.due(0.0, 10)
    for now in (1.0, 2.0, 3.0):
        health.call_failed(KEY, "silent", 0.0, now)
    assert health.state(KEY) == DOWN
    assert health.levels(1000.0) == ({KEY}, frozenset())
    health.call_answered(KEY, 1001.0)
    assert health.state(KEY) == UP
    assert health.levels(1001.0) == (frozenset(), frozenset())


def test_peers_come_and_go_with_the_provisioning() -> None:
    health = watched()
    for _ in range(3):
        health.call_failed(KEY, "silent", 0.0, 1.0)
    serial = health.sent(KEY, 2.0)
    health.watch({"b sip:x": 30.0}, 3.0)
    assert health.get(KEY) is None
    assert health.levels(3.0) == (frozenset(), frozenset())
    assert not health.probed(KEY, serial, "", 0.1, 3.0)
    health.call_answered(KEY, 4.0)
    health.call_failed(KEY, "silent", 0.0, 4.0)
    assert health.state(KEY) == UNKNOWN
    # another interval takes effect at once
    probe(health2 := watched(600.0), 0.0)
    health2.watch({KEY: 5.0}, 1.0)
    assert due(health2, 6.0)


def test_not_more_probes_at_once_than_asked_for() -> None:
    health = Health(POLICY, lambda: 0.5)
    health.watch({f"t sip:{index}": 30.0 for index in range(20)}, 0.0)
    assert len(health.due(0.0, 5)) == 5


@given(
    st.lists(
        st.tuples(st.sampled_from(["ok", "fail", "late", "call ok", "call fail"]), st.floats(0, 40)),
        max_size=80,
    )
)
def test_the_state_follows_the_last_outcomes(events: list[tuple[str, float]]) -> None:
    """Whatever happens: down only after three failures in a row, up only after two answers, and levels agree."""
    health = watched()
    now, fails, oks = 0.0, 0, 0
    for what, pause in events:
        now += pause
        before = health.state(KEY)
        if what == "call ok":
            health.call_answered(KEY, now)
        elif what == "call fail":
            health.call_failed(KEY, "silent", 0.0, now)
        else:
            serial = health.sent(KEY, now)
            if what == "late":
                now += 5.0
                health.due(now, 1)
            else:
                assert health.probed(KEY, serial, "" if what == "ok" else "503", 0.1, now)
        good = what in ("ok", "call ok")
        fails, oks = (0, oks + 1) if good else (fails + 1, 0)
        after = health.state(KEY)
        assert after in STATES
        if after != before:
            assert fails >= 3 if after == DOWN else oks >= (2 if before == DOWN else 1)
        else:
            assert not (fails >= 3 and after != DOWN)
        last, out = health.levels(now)
        assert (KEY in out) == (after == DOWN)
        assert not (last & out)
