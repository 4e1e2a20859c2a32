"""What every store of outgoing slots promises: bounds hold at each instant, a slot is taken and given back once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.live.tables import SharedSlots
from callcontrol.usage.slots import ACCOUNT, USER, MemoryOutgoingSlots, OutgoingSlots, Slot, SlotLimits
from tests.support.shared_log import LocalLog

pytestmark = pytest.mark.rule("OUT-10")

NOW = 1_800_000_000.0
FREE = SlotLimits(0, 0, 0, 0)


@pytest.fixture(params=["memory", "shared"])
def slots(request: pytest.FixtureRequest) -> OutgoingSlots:
    if request.param == "memory":
        return MemoryOutgoingSlots()
    log = LocalLog()
    return SharedSlots(log, log.nodes[0].slots)


def take(
    slots: OutgoingSlots,
    key: str,
    limits: SlotLimits = FREE,
    *,
    user: str = "ana",
    account: str = "acme",
    kind: str = "all",
    fresh: bool = True,
    now: float = NOW,
    lives: float = 1000.0,
) -> str:
    seen: list[str] = []
    slots.acquire(Slot(key, user, account, kind, fresh), limits, now + lives, now, seen.append)
    (bound,) = seen
    return bound


def test_calls_of_a_user_at_the_same_time(slots: OutgoingSlots) -> None:
    two = SlotLimits(2, 0, 0, 0)
    assert [take(slots, key, two) for key in ("a", "b", "c")] == ["", "", "user calls"]
    assert take(slots, "d", two, user="ben") == ""
    slots.release("a")
    assert take(slots, "c", two) == ""
    assert slots.in_use("all", USER, "ana") == 2
    assert slots.in_use("all", ACCOUNT, "acme") == 3


def test_calls_of_an_account_at_the_same_time(slots: OutgoingSlots) -> None:
    two = SlotLimits(0, 2, 0, 0)
    assert [take(slots, str(n), two, user=f"u{n}") for n in range(3)] == ["", "", "account calls"]
    assert take(slots, "x", two, account="other") == ""


def test_a_refused_leg_takes_nothing(slots: OutgoingSlots) -> None:
    assert take(slots, "a", SlotLimits(0, 1, 0, 0)) == ""
    assert take(slots, "b", SlotLimits(5, 1, 0, 0)) == "account calls"
    assert slots.in_use("all", USER, "ana") == 1
    slots.release("b")
    assert slots.in_use("all", USER, "ana") == 1


def test_taking_twice_is_taking_once_and_so_is_giving_back(slots: OutgoingSlots) -> None:
    one = SlotLimits(1, 1, 1, 1)
    assert take(slots, "a", one) == take(slots, "a", one) == ""
    for _ in range(2):
        slots.release("a")
    slots.release("never")
    assert (slots.in_use("all", USER, "ana"), len(slots)) == (0, 0)


def test_kinds_are_bounded_apart_and_given_back_together(slots: OutgoingSlots) -> None:
    one = SlotLimits(1, 0, 0, 0)
    assert take(slots, "a", one) == take(slots, "a", one, kind="abroad") == ""
    assert take(slots, "b", one, kind="abroad") == "user calls"
    slots.release("a")
    assert slots.in_use("all", USER, "ana") == slots.in_use("abroad", USER, "ana") == 0


def test_calls_per_minute(slots: OutgoingSlots) -> None:
    rate = SlotLimits(0, 0, 3, 0)
    assert [take(slots, f"a{n}", rate) for n in range(4)] == ["", "", "", "user rate"]
    assert take(slots, "b", rate, now=NOW + 19.0) == "user rate"
    assert take(slots, "b", rate, now=NOW + 20.0) == ""
    assert take(slots, "c", rate, now=NOW + 20.0) == "user rate"
    assert [take(slots, f"d{n}", rate, now=NOW + 1000) for n in range(4)] == ["", "", "", "user rate"]


def test_calls_per_minute_of_an_account(slots: OutgoingSlots) -> None:
    rate = SlotLimits(0, 0, 0, 2)
    assert [take(slots, str(n), rate, user=f"u{n}") for n in range(3)] == ["", "", "account rate"]


def test_a_further_attempt_of_a_call_costs_no_rate(slots: OutgoingSlots) -> None:
    rate = SlotLimits(0, 0, 1, 1)
    assert take(slots, "a", rate) == ""
    assert take(slots, "a2", rate, fresh=False) == ""
    assert take(slots, "b", rate) == "user rate"


def test_a_slot_whose_owner_died_ends_by_itself(slots: OutgoingSlots) -> None:
    one = SlotLimits(1, 0, 0, 0)
    assert take(slots, "a", one, lives=100) == ""
    assert take(slots, "b", one, now=NOW + 99) == "user calls"
    assert take(slots, "b", one, now=NOW + 100) == ""
    slots.release("a")
    assert slots.in_use("all", USER, "ana") == 1


def test_a_clock_that_steps_back_gives_nothing(slots: OutgoingSlots) -> None:
    rate = SlotLimits(0, 0, 1, 0)
    assert take(slots, "a", rate) == ""
    assert take(slots, "b", rate, now=NOW - 3600) == "user rate"


steps = st.tuples(
    st.sampled_from(["take", "release"]),
    st.integers(0, 9),
    st.sampled_from(["ana", "ben"]),
    st.sampled_from(["acme", "other"]),
    st.floats(0, 200),
)


@given(st.lists(steps, max_size=60), st.integers(1, 3), st.integers(1, 4))
def test_bounds_hold_whatever_is_taken_and_given_back(
    story: list[tuple[str, int, str, str, float]], per_user: int, per_account: int
) -> None:
    slots = MemoryOutgoingSlots()
    limits = SlotLimits(per_user, per_account, 0, 0)
    held: dict[str, tuple[str, str, float]] = {}
    now = NOW
    for what, index, user, account, wait in story:
        now += wait
        held = {key: mine for key, mine in held.items() if mine[2] > now}
        # A leg is somebody's for all its life.
        key = f"{user}.{account}.{index}"
        if what == "release":
            slots.release(key)
            held.pop(key, None)
            continue
        bound = take(slots, key, limits, user=user, account=account, now=now, lives=300)
        of_user = sum(mine[0] == user for other, mine in held.items() if other != key)
        of_account = sum(mine[1] == account for other, mine in held.items() if other != key)
        if key in held:
            assert not bound
        elif of_user >= per_user:
            assert bound == "user calls"
        elif of_account >= per_account:
            assert bound == "account calls"
        else:
            assert not bound
            held[key] = (user, account, now + 300)
        for name in ("ana", "ben"):
            assert (
                slots.in_use("all", USER, name) == sum(mine[0] == name for mine in held.values()) <= per_user
            )
    take(slots, "last", FREE, user="zoe", account="zoe", now=now)
    for key in [*held, "last"]:
        slots.release(key)
    assert len(slots) == 0
    assert not slots.in_use("all", USER, "ana") + slots.in_use("all", ACCOUNT, "acme")
