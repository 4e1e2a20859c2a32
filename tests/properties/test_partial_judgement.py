"""Changing a few objects by what surrounds them decides as changing them within the whole inventory does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from callcontrol.access.audit import Author
from callcontrol.provisioning import Document, MemoryProvisioningStore, ProvisioningError, apply, check
from callcontrol.provisioning.editing import Editor
from tests.support.acme import PLANS

T = TypeVar("T")
WHO = Author(actor="test")
ACCOUNTS = ("a1", "a2")
USERS = ("u1", "u2", "u3")
DEVICES = ("d1", "d2")
NAMES = ("n1", "n2")
NUMBERS = tuple(f"+3363998100{n}" for n in range(4))
SIMS = ("+33639980001", "+33639980002", NUMBERS[0])
GATES = (*NUMBERS[:1], "+33199000001", SIMS[0])
TRUNKS = ("t1", "t2")


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {name.rstrip("_"): each for name, each in fields.items() if name.endswith("_")},
        optional={name: each for name, each in fields.items() if not name.endswith("_")},
    )


pick = st.sampled_from
account = some(
    ref_=pick(ACCOUNTS),
    kind_=pick(("company", "consumer")),
    plan_=pick(("starter", "standard")),
    manager=pick(USERS),
    packages=st.lists(pick(("p1", "p2")), max_size=1),
)
user = some(ref_=pick(USERS), account_=pick(ACCOUNTS), default_number=pick(NUMBERS))
device = some(ref_=pick(DEVICES), user_=pick(USERS), sim=pick(SIMS), sip_username=pick(NAMES))
number = some(
    e164_=pick(NUMBERS),
    user=pick(USERS),
    forward=pick(({"mode": "all", "to": "+33199000001"}, {"mode": "off"})),
)
greeting = some(
    number_=pick((*NUMBERS[2:], SIMS[1], GATES[1])),
    account_=pick(ACCOUNTS),
    members_=st.lists(pick(USERS), min_size=1, max_size=2, unique=True),
    closed=pick(({"action": "forward", "to": "+33199000001"}, {"action": "refuse"})),
)
trunk = some(
    ref_=pick(TRUNKS),
    accept_from_=st.just(["192.0.2.1/32"]) | st.just(["192.0.2.2/32"]),
    username=pick(NAMES),
)
gate = some(e164_=pick(GATES), trunk_=pick(TRUNKS))
package = some(ref_=pick(("p1", "p2")), zones_=st.just(["FR"]))
documents = st.fixed_dictionaries(
    {},
    optional={
        "account": st.lists(account, max_size=2, unique_by=lambda each: each["ref"]),
        "user": st.lists(user, max_size=3, unique_by=lambda each: each["ref"]),
        "device": st.lists(device, max_size=2, unique_by=lambda each: each["ref"]),
        "number": st.lists(number, max_size=4, unique_by=lambda each: each["e164"]),
        "greeting": st.lists(greeting, max_size=2, unique_by=lambda each: each["number"]),
        "trunk": st.lists(trunk, max_size=2, unique_by=lambda each: each["ref"]),
        "gateway_number": st.lists(gate, max_size=2, unique_by=lambda each: each["e164"]),
        "package": st.lists(package, max_size=2, unique_by=lambda each: each["ref"]),
    },
)
START = """
[[account]]
ref = "a1"
kind = "company"
[[account]]
ref = "a2"
[[user]]
ref = "u1"
account = "a1"
[[user]]
ref = "u2"
account = "a1"
[[user]]
ref = "u3"
account = "a2"
[[device]]
ref = "d1"
user = "u1"
sim = "+33639980001"
sip_username = "n1"
[[number]]
e164 = "+33639981001"
user = "u1"
[[number]]
e164 = "+33639981002"
user = "u3"
[[greeting]]
number = "+33639987000"
account = "a1"
members = ["u2"]
[[trunk]]
ref = "t1"
accept_from = ["192.0.2.1/32"]
[[gateway_number]]
e164 = "+33199000001"
trunk = "t1"
"""


async def store() -> MemoryProvisioningStore:
    made = MemoryProvisioningStore(lambda: 1e9)
    await apply([Document("start", START)], made, plans=PLANS)
    return made


async def outcome(work: Awaitable[T]) -> tuple[T | None, set[tuple[Any, str]]]:
    """What was done, or everything that was found wrong."""
    try:
        return await work, set()
    except ProvisioningError as error:
        return None, {(each.path, each.message) for each in error.problems}


@given(st.lists(documents, min_size=1, max_size=4))
def test_the_part_decides_as_the_whole(steps: list[dict[str, Any]]) -> None:
    async def scenario() -> None:
        whole, part = await store(), await store()
        editor = Editor(part, PLANS)
        for values in steps:
            try:
                check([Document("step", values=values)], PLANS)
            except ProvisioningError:
                continue
            one, refused = await outcome(
                apply([Document("step", values=values)], whole, plans=PLANS, author=WHO)
            )
            edited, judged = await outcome(editor.put(values, WHO, dry_run=False))
            assert judged <= refused
            other = edited.changes if edited is not None else None
            assert one == other
            assert await whole.read() == await part.read()

    asyncio.run(scenario())


@given(pick([("user", ref) for ref in USERS] + [("device", "d1"), ("trunk", "t1"), ("account", "a2")]))
def test_what_is_removed_leaves_nothing_behind(place: tuple[str, str]) -> None:
    """Removing by the part is refused exactly when something in the whole names the object."""

    async def scenario() -> None:
        made = await store()
        before = await made.read()
        kind, key = place
        names = {
            "user": [
                *(x.user for x in (*before.devices.values(), *before.numbers.values())),
                *(each.user for x in before.greetings.values() for each in x.members),
            ],
            "device": [],
            "trunk": [x.trunk for x in before.gateway_numbers.values()],
            "account": [x.account for x in before.users.values()],
        }[kind]
        try:
            await Editor(made, PLANS).remove(kind, key, lambda item: None, WHO)
        except ProvisioningError:
            assert key in names
        else:
            assert key not in names
            assert key not in (await made.read()).of(kind)

    asyncio.run(scenario())
