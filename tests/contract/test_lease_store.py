"""What every store of leases must do, on one node or many (OUT-02)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

from callcontrol.live.tables import SharedLeases
from gateway.lease_store import LeaseStore, MemoryLeaseStore
from gateway.leases import Lease, LeasePolicy, LeaseRequest, NoNumber, Use, UseState
from tests.support.shared_log import LocalLog

T = TypeVar("T")

POLICY = LeasePolicy(retry_s=10.0, hold_s=3600.0, memory_s=600.0, long_per_sim=2)
ANA, BEN = "+33639980001", "+33639980002"
POOL = tuple(f"+3319900000{line}" for line in range(1, 4))
NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.fixture(params=["memory", "shared"])
def store(request: pytest.FixtureRequest) -> LeaseStore:
    if request.param == "memory":
        return MemoryLeaseStore(POLICY)
    log = LocalLog(policy=POLICY)
    return SharedLeases(log, log.nodes[0].leases)


class Answer(list[T]):
    """A callback that keeps what it was told."""

    def __call__(self, value: T) -> None:
        self.append(value)

    @property
    def value(self) -> T:
        assert len(self) == 1, "told once"
        return self[0]


_count = 0


def ask(sim: str = ANA, to: str = "+33199001234", **fields: object) -> LeaseRequest:
    global _count
    _count += 1
    values = {
        "kind": "call_through",
        "user": "u",
        "device": f"phone {sim}",
        "number": "+33639981001",
        "life_s": 60.0,
    }
    return LeaseRequest(**{"id": f"lease-{_count}", "sim": sim, "to": to, **values, **fields})  # type: ignore[arg-type]


def take(
    store: LeaseStore, request: LeaseRequest, now: float = NOW, pool: Sequence[str] = POOL
) -> Lease | NoNumber:
    answer: Answer[Lease | NoNumber | None] = Answer()
    store.take(request, pool, now, answer)
    assert answer.value is not None
    return answer.value


def lease(store: LeaseStore, request: LeaseRequest, now: float = NOW, pool: Sequence[str] = POOL) -> Lease:
    found = take(store, request, now, pool)
    assert isinstance(found, Lease)
    return found


def use(store: LeaseStore, sim: str, gateway: str, call: str = "call-1", now: float = NOW) -> Use:
    answer: Answer[Use | None] = Answer()
    store.use(sim, gateway, call, now, answer)
    assert answer.value is not None
    return answer.value


@pytest.mark.rule("OUT-02")
def test_a_lease_is_used_exactly_once(store: LeaseStore) -> None:
    mine = lease(store, ask())
    assert mine.gateway in POOL
    assert mine.expires_at == NOW + 60
    first = use(store, ANA, mine.gateway)
    assert first.state is UseState.LEASED
    assert first.lease is not None
    assert (first.lease.id, first.lease.to, first.lease.used_by) == (mine.id, "+33199001234", "call-1")
    assert use(store, ANA, mine.gateway, "call-2", NOW + 5).state is UseState.USED, (
        "while it is set up or talks"
    )
    store.finish(mine.id, "call-1", True, NOW + 20)
    assert use(store, ANA, mine.gateway, "call-3", NOW + 21).state is UseState.USED, "and when it is over"
    assert use(store, ANA, mine.gateway, "call-1", NOW + 22).state is UseState.USED, (
        "under its old Call-ID too"
    )


@pytest.mark.rule("OUT-02")
def test_the_same_call_again_is_the_same_use(store: LeaseStore) -> None:
    mine = lease(store, ask())
    first = use(store, ANA, mine.gateway, "call-1", NOW + 1)
    again = use(store, ANA, mine.gateway, "call-1", NOW + 2)
    assert again.state is UseState.LEASED
    assert again.lease == first.lease
    late = use(store, ANA, mine.gateway, "call-1", NOW + 70)
    assert late.state is UseState.LEASED, "it expired while the call was being set up"


@pytest.mark.rule("OUT-02")
def test_a_carrier_that_tries_again_after_a_failure_makes_the_same_call(store: LeaseStore) -> None:
    mine = lease(store, ask())
    use(store, ANA, mine.gateway, "call-1", NOW + 1)
    assert use(store, ANA, mine.gateway, "call-2", NOW + 2).state is UseState.USED, "the first one still runs"
    store.finish(mine.id, "call-1", False, NOW + 3)
    store.finish(mine.id, "call-1", False, NOW + 4)
    assert use(store, ANA, mine.gateway, "call-2", NOW + 12).state is UseState.LEASED
    store.finish(mine.id, "call-1", True, NOW + 13)
    assert use(store, ANA, mine.gateway, "call-2", NOW + 13).state is UseState.LEASED, (
        "an old word changes nothing"
    )
    store.finish(mine.id, "call-2", False, NOW + 20)
    assert use(store, ANA, mine.gateway, "call-3", NOW + 31).state is UseState.USED, "too late"


@pytest.mark.rule("OUT-02")
def test_two_calls_in_flight_of_one_sim_never_share_a_number(store: LeaseStore) -> None:
    leases = [lease(store, ask(to=f"+3319900123{index}")) for index in range(3)]
    assert len({each.gateway for each in leases}) == 3
    full = take(store, ask(to="+33199001239"), NOW + 5)
    assert isinstance(full, NoNumber)
    assert full.retry_after_s == 55
    assert not full.long_full
    # the first is used, and its call takes long: its number stays taken
    use(store, ANA, leases[0].gateway, "call-1", NOW + 6)
    later = [lease(store, ask(to=f"+3319900124{index}"), NOW + 61) for index in range(2)]
    assert leases[0].gateway not in {each.gateway for each in later}
    assert isinstance(take(store, ask(to="+33199001239"), NOW + 62), NoNumber)
    store.finish(leases[0].id, "call-1", True, NOW + 63)
    assert lease(store, ask(to="+33199001239"), NOW + 63).gateway == leases[0].gateway
    # another SIM has the whole pool for itself
    assert isinstance(take(store, ask(BEN), NOW + 63), Lease)


@pytest.mark.rule("OUT-02")
def test_the_number_just_used_is_the_last_to_come_again(store: LeaseStore) -> None:
    order = []
    now = NOW
    for index in range(7):
        mine = lease(store, ask(to=f"+3319900{index:04d}"), now)
        use(store, ANA, mine.gateway, f"call-{index}", now + 1)
        store.finish(mine.id, f"call-{index}", True, now + 2)
        order.append(mine.gateway)
        now += 3
    assert len(set(order[:3])) == 3
    assert order == [*order[:3], *order[:3], order[0]]


def test_asking_again_gives_the_same_lease_for_longer(store: LeaseStore) -> None:
    first = lease(store, ask())
    again = lease(store, ask(), NOW + 30)
    assert again.id == first.id
    assert again.gateway == first.gateway
    assert again.expires_at == NOW + 90
    assert lease(store, ask(hide=True), NOW + 30).id != first.id, "another purpose is another lease"
    use(store, ANA, first.gateway, "call-1", NOW + 31)
    assert lease(store, ask(), NOW + 32).id != first.id, "its call is on its way"


def test_expiry(store: LeaseStore) -> None:
    mine = lease(store, ask())
    late = use(store, ANA, mine.gateway, "call-1", NOW + 60)
    assert late.state is UseState.EXPIRED
    assert late.lease is not None
    assert late.lease.id == mine.id
    assert use(store, ANA, mine.gateway, "call-1", NOW + 60 + 700).state is UseState.UNKNOWN, "forgotten"


def test_strangers(store: LeaseStore) -> None:
    mine = lease(store, ask())
    hint = Use(state=UseState.UNKNOWN, lease=mine)
    assert use(store, BEN, mine.gateway) == hint, "whose call it may have been meant to be"
    assert use(store, "", mine.gateway) == hint, "a hidden number may be anybody's"
    lease(store, ask("+33639980003"), pool=(mine.gateway,))
    assert use(store, BEN, mine.gateway) == Use(state=UseState.UNKNOWN), "one of two, or of none"
    assert use(store, ANA, "+33199000009") == Use(state=UseState.UNKNOWN)


@pytest.mark.rule("OUT-02")
def test_an_exclusive_lease_serves_a_sim_that_hides(store: LeaseStore) -> None:
    mine = lease(store, ask(exclusive=True))
    others = {lease(store, ask(BEN, to=f"+3319900123{index}")).gateway for index in range(2)}
    assert mine.gateway not in others
    assert isinstance(take(store, ask(BEN, to="+33199001235")), NoNumber), "nobody else has it meanwhile"
    seen = use(store, BEN, mine.gateway)
    assert seen.state is UseState.UNKNOWN
    assert seen.lease is not None
    assert seen.lease.id == mine.id, "whose call it may have been meant to be"
    hidden = use(store, "", mine.gateway, "call-1", NOW + 1)
    assert hidden.state is UseState.LEASED
    assert hidden.lease is not None
    assert hidden.lease.sim == ANA
    assert use(store, "", mine.gateway, "call-2", NOW + 2).state is UseState.USED
    store.finish(mine.id, "call-1", True, NOW + 3)
    assert mine.gateway in {
        lease(store, ask("+33639980003", to=f"+3319900125{index}"), NOW + 4).gateway for index in range(3)
    }


def test_an_exclusive_lease_needs_a_number_that_nobody_has(store: LeaseStore) -> None:
    lease(store, ask(BEN), pool=POOL[:1])
    full = take(store, ask(exclusive=True), NOW + 10, POOL[:1])
    assert isinstance(full, NoNumber)
    assert full.retry_after_s == 50
    assert lease(store, ask(exclusive=True), NOW + 60, POOL[:1]).exclusive


def test_crowded_numbers_come_first_so_that_some_stay_free(store: LeaseStore) -> None:
    numbers = {lease(store, ask(f"+336399800{sim:02d}")).gateway for sim in range(10, 30)}
    assert len(numbers) == 1


def test_numbers_may_be_asked_for_that_few_others_have(store: LeaseStore) -> None:
    numbers = [lease(store, ask(f"+336399800{sim:02d}", spread=True)).gateway for sim in range(10, 16)]
    assert len(set(numbers[:3])) == len(set(numbers[3:])) == 3


def test_an_empty_pool(store: LeaseStore) -> None:
    assert take(store, ask(), pool=()) == NoNumber(retry_after_s=0.0)


@pytest.mark.rule("OUT-02")
def test_a_favourite_contact_can_be_called_for_many_days(store: LeaseStore) -> None:
    mine = lease(store, ask(long=True, life_s=30 * DAY))
    for day in range(29):
        now = NOW + day * DAY
        assert use(store, ANA, mine.gateway, f"call-{day}", now).state is UseState.LEASED
        assert use(store, ANA, mine.gateway, "another", now + 1).state is UseState.USED, "one call at a time"
        store.finish(mine.id, f"call-{day}", day % 2 == 0, now + 2)
        if day % 2:
            assert use(store, ANA, mine.gateway, f"call-{day}", now + 3).state is UseState.LEASED
            store.finish(mine.id, f"call-{day}", True, now + 4)
    # the number is nobody's else for this SIM, and the lease can be prolonged
    assert mine.gateway not in {lease(store, ask(to=f"+3319900123{n}"), NOW).gateway for n in range(2)}
    again = lease(store, ask(long=True, life_s=30 * DAY), NOW + 29 * DAY)
    assert (again.id, again.expires_at) == (mine.id, NOW + 59 * DAY)
    assert use(store, ANA, mine.gateway, "last", NOW + 60 * DAY).state is UseState.UNKNOWN


def test_favourites_are_bounded(store: LeaseStore) -> None:
    for index in range(2):
        lease(store, ask(to=f"+3319900123{index}", long=True, life_s=DAY))
    assert take(store, ask(long=True, life_s=DAY), NOW + 10) == NoNumber(
        retry_after_s=DAY - 10, long_full=True
    )
    assert isinstance(take(store, ask()), Lease), "a short one still has a number"


def test_a_lease_can_be_given_back(store: LeaseStore) -> None:
    mine = lease(store, ask())
    answer: Answer[Lease | None] = Answer()
    store.release(mine.id, NOW + 1, answer)
    assert answer.value is not None
    assert answer.value.over_at == NOW + 1
    assert use(store, ANA, mine.gateway, now=NOW + 2).state is UseState.EXPIRED
    other = lease(store, ask(), NOW + 3)
    use(store, ANA, other.gateway, "call-1", NOW + 4)
    busy: Answer[Lease | None] = Answer()
    store.release(other.id, NOW + 5, busy)
    assert busy.value is not None
    assert not busy.value.over_at, "its call goes on"
    none: Answer[Lease | None] = Answer()
    store.release("nothing", NOW, none)
    assert none.value is None


def test_what_came_of_it_can_be_read(store: LeaseStore) -> None:
    mine = lease(store, ask(kind="verification"))
    store.note(mine.id, "verified", NOW + 1)
    store.note("nothing", "verified", NOW + 1)
    found: Answer[Lease | None] = Answer()
    store.get(mine.id, NOW + 2, found)
    assert found.value is not None
    assert found.value.outcome == "verified"
    every: Answer[Sequence[Lease]] = Answer()
    store.all(NOW + 2, every)
    assert [each.id for each in every.value] == [mine.id]


def test_a_call_whose_end_nobody_tells_ends_by_itself(store: LeaseStore) -> None:
    """LIVE-03: a node died between the use and the record."""
    mine = lease(store, ask(), pool=POOL[:1])
    use(store, ANA, mine.gateway, "call-1", NOW + 1)
    assert isinstance(take(store, ask(to="+33199001239"), NOW + 3600, POOL[:1]), NoNumber)
    assert isinstance(take(store, ask(to="+33199001239"), NOW + 3602, POOL[:1]), Lease)


def test_counts(store: LeaseStore) -> None:
    first = lease(store, ask())
    second = lease(store, ask(to="+33199001235"))
    lease(store, ask(to="+33199001236"))
    use(store, ANA, first.gateway, "call-1", NOW + 1)
    use(store, ANA, second.gateway, "call-2", NOW + 1)
    store.finish(second.id, "call-2", False, NOW + 2)
    assert store.counts(NOW + 2) == {"open": 1, "in_use": 1, "cooling": 1}
    assert store.counts(NOW + 7200) == {"open": 0, "in_use": 0, "cooling": 0}


def test_every_operation_answers_once(store: LeaseStore) -> None:
    told: list[object] = []
    tell: Callable[[object], None] = told.append
    store.take(ask(), POOL, NOW, tell)
    store.use(ANA, POOL[0], "call", NOW, tell)
    store.release("x", NOW, tell)
    store.get("x", NOW, tell)
    store.all(NOW, tell)
    assert len(told) == 5
