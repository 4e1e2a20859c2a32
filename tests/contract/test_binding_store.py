"""What every binding store must do; run for each store there is (style: one contract, many stores)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.bindings import Binding, BindingStore, MemoryBindingStore
from callcontrol.live.address import Address
from callcontrol.live.bindings import RedisBindingStore
from callcontrol.live.link import RedisLink
from tests.callcontrol.register_kit import NOW, binding


def unreached() -> RedisBindingStore:
    """Redis is away: the copy in memory answers all the same."""
    return RedisBindingStore(RedisLink(Address("redis://127.0.0.1:1")), lambda: NOW)


STORES: list[Callable[[], BindingStore]] = [MemoryBindingStore, unreached]


@pytest.fixture(params=STORES, ids=lambda make: make.__name__)
def store(request: pytest.FixtureRequest) -> BindingStore:
    made: BindingStore = request.param()
    return made


def keys(bindings: list[Binding]) -> list[str]:
    return [b.key for b in bindings]


AOR = "sip:ana-phone@cloudline.example"


def test_an_empty_store_knows_nobody(store: BindingStore) -> None:
    assert store.bindings_of(AOR, NOW) == []
    assert store.bindings_of_user("ana", NOW) == []
    assert store.on_connection(1) == []
    assert not store.has_source("192.0.2.10")
    assert store.expire(NOW) == []
    assert store.next_deadline() is None
    assert store.all() == []
    assert len(store) == 0


def test_bindings_come_by_aor_by_user_and_by_connection(store: BindingStore) -> None:
    store.apply([binding("a", conn=1), binding("b", conn=2), binding("c", username="ana-desk", conn=2)])
    assert sorted(keys(store.bindings_of(AOR, NOW))) == ["a", "b"]
    assert sorted(keys(store.bindings_of_user("ana", NOW))) == ["a", "b", "c"]
    assert sorted(keys(store.on_connection(2))) == ["b", "c"]
    assert len(store) == 3


def test_higher_q_comes_first_then_the_one_heard_from_last(store: BindingStore) -> None:
    store.apply([binding("old", q=0.5), binding("low", q=0.1, at=NOW + 9), binding("new", q=0.5, at=NOW + 1)])
    assert keys(store.bindings_of(AOR, NOW + 10)) == ["new", "old", "low"]
    assert keys(store.bindings_of_user("ana", NOW + 10)) == ["new", "old", "low"]


@pytest.mark.rule("DEV-06")
def test_the_same_key_is_replaced_and_its_old_places_forgotten(store: BindingStore) -> None:
    store.apply([binding("a", conn=1, source="192.0.2.1")])
    store.apply([binding("a", conn=2, source="192.0.2.2", user="ben")])
    assert store.on_connection(1) == []
    assert keys(store.on_connection(2)) == ["a"]
    assert store.bindings_of_user("ana", NOW) == []
    assert keys(store.bindings_of_user("ben", NOW)) == ["a"]
    assert not store.has_source("192.0.2.1")
    assert store.has_source("192.0.2.2")
    assert len(store) == 1


def test_removal_comes_before_addition_and_of_the_absent_is_harmless(store: BindingStore) -> None:
    store.apply([binding("a"), binding("b")])
    store.apply([binding("a", q=0.3)], [binding("a"), binding("b"), binding("never")])
    assert [(b.key, b.q) for b in store.bindings_of(AOR, NOW)] == [("a", 0.3)]


def test_what_has_expired_is_not_shown_and_is_given_up_once(store: BindingStore) -> None:
    store.apply([binding("short", lasts=60), binding("long", lasts=600)])
    assert keys(store.bindings_of(AOR, NOW + 60)) == ["long"]
    assert keys(store.bindings_of_user("ana", NOW + 60)) == ["long"]
    assert store.expire(NOW + 59.9) == []
    assert keys(store.expire(NOW + 60)) == ["short"]
    assert store.expire(NOW + 61) == []
    assert len(store) == 1
    assert keys(store.expire(NOW + 601)) == ["long"]
    assert store.next_deadline() is None


def test_a_refresh_moves_the_expiry_later_or_earlier(store: BindingStore) -> None:
    store.apply([binding("a", lasts=60)])
    store.apply([binding("a", lasts=600)])
    assert store.expire(NOW + 100) == []
    assert keys(store.bindings_of(AOR, NOW + 100)) == ["a"]
    store.apply([binding("a", lasts=120)])
    deadline = store.next_deadline()
    assert deadline is not None
    assert deadline <= NOW + 120
    assert keys(store.expire(NOW + 120)) == ["a"]
    assert store.expire(NOW + 9999) == []


def test_a_binding_that_came_back_after_removal_lives_its_new_life(store: BindingStore) -> None:
    store.apply([binding("a", lasts=60)])
    store.apply([], [binding("a")])
    store.apply([binding("a", lasts=600)])
    assert store.expire(NOW + 100) == []
    assert keys(store.expire(NOW + 600)) == ["a"]


def test_a_source_counts_as_long_as_one_binding_came_from_it(store: BindingStore) -> None:
    one, other = binding("a", source="2001:db8::1"), binding("b", source="2001:db8::2")
    store.apply([one, other])
    assert store.has_source("2001:db8::/64")
    store.apply([], [one])
    assert store.has_source("2001:db8::/64")
    store.apply([other.put_to_sleep()])
    assert not store.has_source("2001:db8::/64")


def test_twenty_thousand_bindings_stay_cheap_to_ask(store: BindingStore) -> None:
    store.apply([binding("k", username=f"u{n}", user=f"user{n // 4}", conn=n) for n in range(20_000)])
    assert len(store) == 20_000
    assert keys(store.bindings_of("sip:u17@cloudline.example", NOW)) == ["k"]
    assert len(store.bindings_of_user("user4", NOW)) == 4
    assert len(store.expire(NOW + 600)) == 20_000
    assert len(store) == 0


_op = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("abcd"), st.integers(0, 3), st.integers(1, 50)),
    st.tuples(st.just("remove"), st.sampled_from("abcd"), st.just(0), st.just(0)),
    st.tuples(st.just("pass"), st.just(""), st.just(0), st.integers(0, 40)),
)


@pytest.mark.parametrize("make", STORES, ids=lambda make: make.__name__)
@given(ops=st.lists(_op, max_size=40))
def test_any_history_agrees_with_a_plain_list(
    make: Callable[[], BindingStore], ops: list[tuple[str, str, int, int]]
) -> None:
    """The model: a dict of bindings; whatever the store says must be what the dict says."""
    store = make()
    model: dict[str, Binding] = {}
    now = NOW
    for name, key, conn, seconds in ops:
        if name == "put":
            model[key] = binding(key, conn=conn, lasts=float(seconds), at=now, source=f"192.0.2.{conn}")
            store.apply([model[key]])
        elif name == "remove":
            store.apply([], [binding(key)])
            model.pop(key, None)
        else:
            now += seconds
            due = {k for k, b in model.items() if b.expires_at <= now}
            deadline = store.next_deadline()
            assert not due or (deadline is not None and deadline <= now)
            assert set(keys(store.expire(now))) == due
            for k in due:
                del model[k]
        live = {k for k, b in model.items() if b.expires_at > now}
        assert set(keys(store.bindings_of(AOR, now))) == live
        assert set(keys(store.bindings_of_user("ana", now))) == live
        assert len(store) == len(model) == len(store.all())
        for number in range(4):
            held = {k for k, b in model.items() if b.conn == number and number}
            assert set(keys(store.on_connection(number))) == held
            assert store.has_source(f"192.0.2.{number}") == any(
                b.source.endswith(f".{number}") for b in model.values()
            )
