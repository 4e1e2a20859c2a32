"""Directory lookups, and changes that are put in one by one or all at once."""

from __future__ import annotations

import dataclasses
import random

import pytest

from numbering.directory import Directory, DirectoryChanges
from numbering.e164 import E164
from numbering.models import (
    Account,
    CloudNumber,
    Device,
    Greeting,
    GreetingMember,
    NumberState,
    PlanLimits,
    User,
)

ANA = User(ref="ana", account="acme", default_number="+33639981002")
BEN = User(ref="ben", account="acme")
ACME = Account(ref="acme", plan="advanced")
PHONE = Device(
    ref="ana-phone", user="ana", sim="+33639980001", sip_username="ana-phone", sip_password="geheim"
)
DESK = Device(ref="ana-desk", user="ana", sip_username="ana-desk")
ONE = CloudNumber(e164=E164("+33639981001"), user="ana")
TWO = CloudNumber(e164=E164("+33639981002"), user="ana")
THREE = CloudNumber(e164=E164("+447700900123"), user="ben")
PLANS = {"advanced": PlanLimits(devices=3, numbers=10)}


def directory() -> Directory:
    return Directory([ACME], [ANA, BEN], [PHONE, DESK], [TWO, ONE, THREE], plans=PLANS, version=4)


def changes(**fields: dict[str, object]) -> DirectoryChanges:
    empty: dict[str, dict[str, object]] = {"accounts": {}, "users": {}, "devices": {}, "numbers": {}}
    return DirectoryChanges(**{**empty, **fields})  # type: ignore[arg-type]


def test_lookups() -> None:
    d = directory()
    assert d.number("+33639981001") is ONE
    assert d.device_by_username("ana-phone") is PHONE
    assert d.device("ana-desk") is DESK
    assert d.user("ana") is ANA
    assert d.account("acme") is ACME
    assert d.account_of("ben") is ACME
    assert d.plan_of("ana") == PLANS["advanced"]
    assert d.devices_of("ana") == (DESK, PHONE)
    assert d.numbers_of("ana") == (ONE, TWO)
    assert d.version == 4
    assert len(d) == 8


def greeting(number: str, *members: str, account: str = "acme") -> Greeting:
    return Greeting(
        number=E164(number), account=account, members=tuple(GreetingMember(user=user) for user in members)
    )


@pytest.mark.rule("GRT-04")
def test_greetings_are_found_by_number_company_and_member() -> None:
    one, two = greeting("+33639987000", "ana", "ben"), greeting("+33639987001", "ben")
    d = Directory([ACME], [ANA, BEN], greetings=[two, one])
    assert d.greeting("+33639987000") is one
    assert d.greetings_of("acme") == (one, two)
    assert (d.greetings_of_member("ana"), d.greetings_of_member("ben")) == ((one,), (one, two))
    other = greeting("+33639987000", "ana", "ana", account="corp")
    d.put(changes(greetings={"+33639987000": other, "+33639987001": None}), version=2)
    assert d.greeting("+33639987001") is None
    assert (d.greetings_of("acme"), d.greetings_of("corp")) == ((), (other,))
    assert (d.greetings_of_member("ana"), d.greetings_of_member("ben")) == ((other,), ())
    old = d.adopt(Directory())
    assert d.greeting("+33639987000") is None
    while old.shrink(1):
        pass
    assert len(old) == 0


def test_what_is_not_there() -> None:
    d = directory()
    assert d.number("+33639989999") is None
    assert d.device_by_username("") is None
    assert d.device("x") is d.user("x") is d.account("x") is d.account_of("x") is d.plan_of("x") is None
    assert d.devices_of("x") == d.numbers_of("x") == ()
    assert d.default_number("x") is None
    assert (d.hits, d.misses) == (0, 2)
    d.number("+33639981001")
    assert (d.hits, d.misses) == (1, 2)


@pytest.mark.rule("OUT-01")
def test_the_default_number_is_the_chosen_one_while_it_is_active() -> None:
    d = directory()
    assert d.default_number("ana") is TWO
    assert d.default_number("ben") is THREE
    expired = dataclasses.replace(TWO, state=NumberState.EXPIRED)
    d.put_one(expired)
    assert d.default_number("ana") is ONE
    d.put_one(dataclasses.replace(ONE, state=NumberState.SUSPENDED))
    assert d.default_number("ana") is None


@pytest.mark.rule("NUM-01")
def test_digits_are_read_in_the_country_of_the_sim_then_of_the_number() -> None:
    d = directory()
    assert d.country_of_device("ana-phone") == "FR"
    d.put_one(Device(ref="ben-desk", user="ben"))
    assert d.country_of_device("ben-desk") == "GB"
    assert d.country_of_device("nobody") == ""
    d.put_one(Device(ref="lost", user="nobody"))
    assert d.country_of_device("lost") == ""


def test_changes_of_one_revision_are_put_in_together() -> None:
    d = directory()
    moved = dataclasses.replace(TWO, user="ben")
    renamed = dataclasses.replace(PHONE, sip_username="ana-mobile")
    d.put(
        changes(
            users={"carl": User(ref="carl", account="acme")},
            devices={"ana-phone": renamed, "ana-desk": None, "ghost": None},
            numbers={moved.e164: moved, ONE.e164: None},
        ),
        version=5,
    )
    assert d.version == 5
    assert d.numbers_of("ana") == ()
    assert d.numbers_of("ben") == (moved, THREE)
    assert d.number(ONE.e164) is None
    assert d.device_by_username("ana-phone") is None
    assert d.device_by_username("ana-mobile") is renamed
    assert d.device("ana-desk") is None
    assert d.devices_of("ana") == (renamed,)
    assert d.user("carl") is not None
    d.put(changes(users={"carl": None}, accounts={"acme": None}), version=6)
    assert d.user("carl") is d.account("acme") is None


@pytest.mark.parametrize("order", [("ana-phone", "ana-desk"), ("ana-desk", "ana-phone")])
def test_devices_may_exchange_their_user_names(order: tuple[str, str]) -> None:
    d = directory()
    swapped = {
        "ana-phone": dataclasses.replace(PHONE, sip_username="ana-desk"),
        "ana-desk": dataclasses.replace(DESK, sip_username="ana-phone"),
    }
    d.put(changes(devices={ref: swapped[ref] for ref in order}), version=5)
    assert d.device_by_username("ana-desk") is swapped["ana-phone"]
    assert d.device_by_username("ana-phone") is swapped["ana-desk"]


def test_changes_lead_where_a_fresh_start_leads() -> None:
    """A random walk of changes; after each the indexes are those of a directory built from the same objects."""
    dice = random.Random(7)
    d = Directory()
    users, devices, numbers = {}, {}, {}
    for step in range(600):
        match dice.randrange(4):
            case 0:
                user = User(ref=f"u{dice.randrange(5)}", account="a")
                users[user.ref] = user
                d.put_one(user)
            case 1:
                ref = f"d{dice.randrange(8)}"
                devices[ref] = Device(ref=ref, user=f"u{dice.randrange(5)}", sip_username=ref + "x")
                d.put_one(devices[ref])
            case 2:
                e164 = E164(f"+3363998100{dice.randrange(8)}")
                numbers[e164] = CloudNumber(e164=e164, user=f"u{dice.randrange(5)}")
                d.put_one(numbers[e164])
            case _:
                gone = dice.choice([*devices, *numbers, "none"])
                (devices if gone in devices else numbers).pop(gone, None)
                kind = "devices" if gone.startswith("d") else "numbers"
                d.put(changes(**{kind: {gone: None}}), version=step)
        fresh = Directory((), users.values(), devices.values(), numbers.values())
        for name in ("_users", "_devices", "_numbers", "_by_username", "_states"):
            assert getattr(d, name) == getattr(fresh, name), name
        for ref in (f"u{index}" for index in range(5)):
            assert d.devices_of(ref) == fresh.devices_of(ref)
            assert d.numbers_of(ref) == fresh.numbers_of(ref)


class Counted(str):
    """A key that counts how often it is compared."""

    __slots__ = ()
    comparisons = 0

    def __lt__(self, other: str) -> bool:
        Counted.comparisons += 1
        return str.__lt__(self, other)

    __hash__ = str.__hash__


def test_very_many_numbers_of_one_user_cost_no_more_than_those_of_many_users() -> None:
    """The work of loading grows with the count, not with its square."""
    count = 4000
    keys = [E164(Counted(f"+3363998{index:04d}")) for index in range(count)]
    random.Random(3).shuffle(keys)
    Counted.comparisons = 0
    d = Directory()
    for key in keys:
        d.put_one(CloudNumber(e164=key, user="ana"))
    assert Counted.comparisons == 0, "loading sorts nothing"
    assert len(d.numbers_of("ana")) == count
    assert d.numbers_of("ana") is d.numbers_of("ana")
    assert Counted.comparisons < 20 * count, "sorted once, when somebody asks"
    before = Counted.comparisons
    for key in keys:
        d.put_one(CloudNumber(e164=key, user="ana", hide=True))
    for key in keys[: count // 2]:
        d.put(changes(numbers={key: None}), version=1)
    assert Counted.comparisons == before
    assert len(d.numbers_of("ana")) == count // 2
    assert d.numbers_by_state()[NumberState.ACTIVE] == count // 2


def test_numbers_without_a_holder_are_nobody_s() -> None:
    d = Directory()
    d.put_one(CloudNumber(e164=ONE.e164, user="", state=NumberState.AVAILABLE))
    assert d.numbers_of("") == ()
    assert d.number(ONE.e164) is not None
    d.put(changes(numbers={ONE.e164: None}), version=1)
    assert d.number(ONE.e164) is None
    assert d.numbers_by_state()[NumberState.AVAILABLE] == 0


def test_contents_are_exchanged_and_let_go_in_slices() -> None:
    d = directory()
    d.number(ONE.e164)
    old = d.adopt(Directory([], [BEN], [], [], version=9))
    assert (len(d), d.version, d.hits) == (1, 9, 1)
    assert len(old) == 8
    turns = 1
    while old.shrink(3):
        turns += 1
        assert turns < 20
    assert len(old) == 0
    assert turns > 2


def test_a_password_is_not_shown() -> None:
    assert "geheim" not in repr(PHONE)
