"""Export and apply are inverse: whatever is in the inventory comes back from its own document."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.provisioning import (
    Document,
    MemoryProvisioningStore,
    SqlProvisioningStore,
    apply,
    export,
    to_toml,
)
from callcontrol.provisioning.inventory import Inventory
from config.database import create_engine
from config.sections import DatabaseSettings
from gateway.gateway_numbers import GatewayKind, GatewayNumber
from gateway.profile import DiversionHeader, HeaderRule, IdentityHeader, PrivacyForm, RuleAction
from gateway.trunk import NumberFormat, PeerShare, Prefix, Trunk
from numbering.e164 import E164
from numbering.hours import Hours, Span, SpecialDay, WeeklySlot
from numbering.models import (
    ANONYMOUS,
    Account,
    AccountKind,
    CloudNumber,
    Device,
    DeviceKind,
    Flow,
    FlowAction,
    Forwarding,
    ForwardMode,
    Greeting,
    GreetingMember,
    NumberState,
    Strategy,
    User,
)
from tests.support.acme import ACME, PLANS, acme
from tests.support.schema import sqlite_url

REFS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,15}", fullmatch=True)
LINES = st.integers(0, 9999)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from('"\\#[]='), max_size=30
)

BLOCKED = st.lists(
    st.builds("+3319900{:04d}".format, LINES)
    | st.sampled_from([ANONYMOUS, "+3316*", "class:premium", "class:commercial"]),
    unique=True,
).map(tuple)
FORWARDS = [
    Forwarding(),
    Forwarding(mode=ForwardMode.ALL, to="+33199001234"),
    Forwarding(mode=ForwardMode.MISSED, to="+33199001234", causes=("busy",)),
    Forwarding(mode=ForwardMode.OFF, to="+33199001234"),
]
HEADER_RULES = st.sampled_from(
    [
        HeaderRule(RuleAction.ADD, "X-Account", 'a "quoted" \\ value'),
        HeaderRule(RuleAction.REPLACE, "Subject", "é"),
        HeaderRule(RuleAction.REMOVE, "Geolocation"),
    ]
)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Inventories that obey the rules."""
    result = Inventory()
    accounts = draw(st.lists(REFS, max_size=3, unique=True))
    users = draw(st.lists(REFS, max_size=4, unique=True)) if accounts else []
    for ref in users:
        account = draw(st.sampled_from(accounts))
        result.put(
            User(
                ref=ref,
                account=account,
                name=draw(TEXTS),
                email=draw(TEXTS),
                suspended=draw(st.booleans()),
                call_waiting=draw(st.booleans()),
                block=draw(BLOCKED),
                spam=draw(BLOCKED),
            )
        )
    for ref in accounts:
        staff = [user.ref for user in result.users.values() if user.account == ref]
        kind = draw(st.sampled_from(AccountKind))
        manager = draw(st.sampled_from([*staff, ""])) if kind is AccountKind.COMPANY else ""
        plan = draw(st.sampled_from(["standard", "advanced"]))
        result.put(Account(ref=ref, kind=kind, plan=plan, manager=manager, suspended=draw(st.booleans())))
    if users:
        for ref in draw(st.lists(REFS, max_size=4, unique=True)):
            result.put(draw(devices(ref, users, len(result.devices))))
        for line in draw(st.lists(LINES, max_size=5, unique=True)):
            result.put(draw(numbers(line, users)))
    for account in result.accounts.values():
        staff = [user.ref for user in result.users.values() if user.account == account.ref]
        if account.kind is AccountKind.COMPANY and staff and draw(st.booleans()):
            greeting, number = draw(greetings(f"+3363998{9000 + len(result.greetings)}", account.ref, staff))
            result.put(greeting)
            result.put(number)
    for ref in draw(st.lists(REFS, max_size=3, unique=True)):
        result.put(draw(trunks(ref, len(result.trunks))))
    bringing = [trunk.ref for trunk in result.trunks.values() if trunk.accept_from or trunk.username]
    for line in draw(st.lists(LINES, max_size=3, unique=True)) if bringing else []:
        result.put(
            GatewayNumber(
                e164=E164(f"+3319900{line:04d}"),
                trunk=draw(st.sampled_from(bringing)),
                kind=draw(st.sampled_from(GatewayKind)),
                country=draw(st.sampled_from(["FR", "BE"])),
            )
        )
    return result


@st.composite
def devices(draw: st.DrawFn, ref: str, users: list[str], index: int) -> Device:
    kind = draw(st.sampled_from(DeviceKind))
    sim = f"+336399850{index:02d}" if kind is DeviceKind.PHONE and draw(st.booleans()) else ""
    username = draw(st.sampled_from([f"name-{index}", ""]))
    return Device(
        ref=ref,
        user=draw(st.sampled_from(users)),
        kind=kind,
        sim=sim,
        sim_verified=bool(sim) and draw(st.booleans()),
        sip_username=username,
        sip_password=draw(TEXTS) if username else "",
        answer=draw(st.sampled_from(["voip", "gsm"])) if sim else "voip",
    )


@st.composite
def spans(draw: st.DrawFn) -> Span:
    start = draw(st.integers(0, 1400))
    return Span(start=start, end=draw(st.integers(start + 15, 1440)))


@st.composite
def hours(draw: st.DrawFn) -> Hours:
    """Slots on days of their own, so that none overlap."""
    days = draw(st.permutations(range(6)))
    slots = [WeeklySlot(days=(day,), span=draw(spans())) for day in days[: draw(st.integers(1, 3))]]
    night = WeeklySlot(days=(6,), span=Span(start=1320, end=0))
    special = [
        SpecialDay(date=f"2026-12-{day}", spans=draw(st.just(()) | st.tuples(spans())), name=draw(TEXTS))
        for day in draw(st.lists(st.integers(10, 31), max_size=2, unique=True).map(sorted))
    ]
    return Hours(
        zone=draw(st.sampled_from(["Europe/Paris", "America/New_York"])),
        slots=(*slots, night),
        holidays=draw(st.sampled_from([(), ("FR",), ("FR", "DE-BY")])),
        special=tuple(special),
    )


@st.composite
def greetings(draw: st.DrawFn, number: str, account: str, staff: list[str]) -> tuple[Greeting, CloudNumber]:
    flows = st.sampled_from(
        [
            Flow(action=FlowAction.HUNT),
            Flow(action=FlowAction.REFUSE),
            Flow(action=FlowAction.FORWARD, to="+33199001234"),
            Flow(action=FlowAction.ANNOUNCE, to="closed"),
            Flow(action=FlowAction.VOICEMAIL),
        ]
    )
    members = [
        GreetingMember(
            user=user, priority=draw(st.integers(1, 3)), ring_seconds=float(draw(st.integers(0, 60)))
        )
        for user in draw(st.lists(st.sampled_from(staff), min_size=1, unique=True))
    ]
    held = CloudNumber(
        e164=E164(number),
        user="",
        account=account,
        state=draw(st.sampled_from([NumberState.ACTIVE, NumberState.SUSPENDED])),
        category=draw(st.sampled_from(["standard", "vip"])),
        expires_at=float(draw(st.just(0) | st.integers(4_000_000_000, 5_000_000_000))),
    )
    greeting = Greeting(
        number=E164(number),
        account=account,
        strategy=draw(st.sampled_from(Strategy)),
        members=tuple(members),
        ring_seconds=draw(st.floats(1, 600)),
        repeat=draw(st.integers(0, 3)),
        limit_seconds=draw(st.floats(0, 600)),
        hours=draw(st.none() | hours()),
        open=draw(flows),
        closed=draw(flows),
        unanswered=draw(flows.filter(lambda flow: flow.action is not FlowAction.HUNT)),
        block=draw(BLOCKED),
        spam=draw(BLOCKED),
    )
    return greeting, held


@st.composite
def numbers(draw: st.DrawFn, line: int, users: list[str]) -> CloudNumber:
    category = draw(st.sampled_from(["standard", "vip"]))
    if draw(st.integers(0, 4)) == 0:
        return CloudNumber(
            e164=E164(f"+3363998{line:04d}"), user="", state=NumberState.AVAILABLE, category=category
        )
    return CloudNumber(
        e164=E164(f"+3363998{line:04d}"),
        user=draw(st.sampled_from(users)),
        state=draw(st.sampled_from([NumberState.ACTIVE, NumberState.SUSPENDED])),
        category=category,
        expires_at=float(draw(st.just(0) | st.integers(4_000_000_000, 5_000_000_000))),
        calls=draw(st.booleans()),
        hide=draw(st.booleans()),
        ring_seconds=draw(st.floats(0, 600)),
        block=draw(BLOCKED),
        spam=draw(BLOCKED),
        hours=draw(st.none() | hours()),
        forward=draw(st.sampled_from(FORWARDS)),
        voicemail=draw(st.booleans()),
        gsm_fallback=draw(st.booleans()),
    )


@st.composite
def trunks(draw: st.DrawFn, ref: str, index: int) -> Trunk:
    peers = (f"sip:192.0.2.{index}:5080;transport=tcp", f"sip:[2001:db8::{index}]")
    digits = draw(st.lists(st.sampled_from(["+", "+33", "+336"]), min_size=1, unique=True))
    username = draw(st.sampled_from([f"carrier-{index}", ""]))
    chosen = peers[: draw(st.integers(1, 2))]
    shares = draw(st.booleans())
    return Trunk(
        ref=ref,
        peers=chosen,
        peer=tuple(
            PeerShare(uri, draw(st.integers(0, 10_000)), draw(st.integers(0, 10_000))) for uri in chosen
        )
        if shares
        else (),
        accept_from=(f"192.0.2.{index}/32",) if draw(st.booleans()) else (),
        port_must_match=draw(st.booleans()),
        username=username,
        password=draw(TEXTS) if username else "",
        prefixes=tuple(Prefix(item, draw(st.floats(0, 9))) for item in digits),
        priority=draw(st.integers(0, 10_000)),
        weight=draw(st.integers(0, 10_000)),
        max_channels=draw(st.integers(0, 1_000_000)),
        max_cps=draw(st.floats(0, 100_000)),
        number_format=draw(st.sampled_from(NumberFormat)),
        country=draw(st.sampled_from(["", "FR", "US"])),
        options_seconds=draw(st.floats(0, 86_400)),
        identity=draw(st.sampled_from(IdentityHeader)),
        trusted=draw(st.booleans()),
        privacy=draw(st.sampled_from(PrivacyForm)),
        diversion=draw(st.sampled_from(DiversionHeader)),
        domain=draw(st.sampled_from(["", "us.example"])),
        host=draw(st.sampled_from(["", "sbc.example:5071"])),
        headers=tuple(draw(st.lists(HEADER_RULES, max_size=3))),
        register=bool(username) and draw(st.booleans()),
        auth_username=draw(st.sampled_from(["", "a+b@example"])) if username else "",
        register_seconds=draw(st.integers(60, 86_400)),
    )


@given(inventories())
def test_an_inventory_comes_back_from_its_document(inventory: Inventory) -> None:
    async def body() -> None:
        store = MemoryProvisioningStore()
        text = to_toml(inventory, secrets=True)
        await apply([Document("export", text)], store, plans=PLANS)
        assert await store.read() == inventory
        assert await export(store, secrets=True) == text
        assert not await apply([Document("export", text)], store, plans=PLANS, prune=True)
        # Without secrets it is accepted as well, and takes none away.
        assert not await apply([Document("bare", await export(store))], store, plans=PLANS, prune=True)
        bare = MemoryProvisioningStore()
        await apply([Document("bare", await export(store))], bare, plans=PLANS)
        assert await export(bare) == await export(store)

    asyncio.run(body())


def test_from_one_database_into_another(database_url: str, tmp_path: object) -> None:
    async def body() -> None:
        engines = [
            create_engine(DatabaseSettings(url=url))
            for url in (database_url, sqlite_url(tmp_path, "other.db"))
        ]
        try:
            first, second = (SqlProvisioningStore(engine) for engine in engines)
            trunk = '[[trunk]]\nref = "t"\nusername = "c"\npassword = "p\\"w\\\\"\n'
            await apply(acme(ACME + trunk), first, plans=PLANS)
            text = await export(first, secrets=True)
            await apply([Document("export", text)], second, plans=PLANS)
            assert await export(second, secrets=True) == text
            assert await second.read() == await first.read()
        finally:
            for engine in engines:
                await engine.dispose()

    asyncio.run(body())


def test_the_form_of_an_export() -> None:
    async def body() -> str:
        store = MemoryProvisioningStore()
        await apply(acme(), store, plans=PLANS)
        return await export(store)

    text = asyncio.run(body())
    assert text.startswith(
        '[[account]]\nref = "acme"\nkind = "company"\nplan = "advanced"\nmanager = "ana"\n\n'
    )
    assert '[[number]]\ne164 = "+33639981002"\nuser = "ben"\nhide = true\n' in text
    assert 'prefixes = ["+", { prefix = "+33", cost = 0.012 }]\n' in text
    assert "sip_password" not in text


def test_an_empty_inventory_is_an_empty_document() -> None:
    assert to_toml(Inventory(), secrets=True) == ""


def test_a_value_without_a_toml_form_is_our_mistake() -> None:
    broken = Inventory()
    broken.put(User(ref="u", account="a", name=object()))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no TOML for object"):
        to_toml(broken, secrets=False)
