"""Rates, packages, credit and linked contacts in documents: read, checked, written back, kept in SQL, followed by nodes."""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callcontrol.pricing.rates import Package, PriceBook, Rate
from callcontrol.pricing.store import PriceFollower
from callcontrol.provisioning import (
    Document,
    MemoryProvisioningStore,
    ProvisioningError,
    SqlProvisioningStore,
    apply,
    export,
    to_toml,
)
from callcontrol.provisioning.inventory import Inventory
from config.database import create_engine
from config.sections import DatabaseSettings
from config.settings import Settings
from numbering.directory import Directory
from numbering.e164 import E164
from numbering.models import Account, CloudNumber, User
from numbering.money import Money, read_money
from numbering.store import SqlDirectorySource
from tests.support.acme import PLANS
from tests.support.postgres import database_url, postgres, postgres_url

__all__ = ["database_url", "postgres", "postgres_url"]

TEXT = """\
[[package]]
ref = "europe-600"
name = "Europe"
zones = ["europe"]
minutes = 600

[[rate]]
prefix = "+44"
per_minute = "0.05"
connection = "0.10"
minimum_seconds = 30
increment_seconds = 60
valid_from = 2027-01-01

[[rate]]
table = "wholesale"
prefix = "+"
per_minute = 1
currency = "USD"
zone = "far_away"

[[account]]
ref = "acme"
kind = "company"
credit = "12.50"
packages = ["europe-600"]

[[user]]
ref = "ana"
account = "acme"
[user.contacts]
"+33 1 99 00 12 34" = "+33639981002"

[[number]]
e164 = "+33639981001"
user = "ana"

[[number]]
e164 = "+33639981002"
user = "ana"
"""


def read(text: str = TEXT) -> Inventory:
    store = MemoryProvisioningStore()
    asyncio.run(apply([Document("1.toml", text)], store, plans=PLANS))
    return asyncio.run(store.read())


@pytest.mark.rule("OUT-06")
def test_what_documents_say() -> None:
    found = read()
    assert found.packages == {
        "europe-600": Package(ref="europe-600", name="Europe", zones=("europe",), minutes=600)
    }
    assert found.rates == {
        "standard/+44/2027-01-01": Rate(
            prefix="+44",
            per_minute=read_money("0.05"),
            connection=read_money("0.1"),
            minimum_seconds=30,
            increment_seconds=60,
            valid_from="2027-01-01",
        ),
        "wholesale/+": Rate(
            table="wholesale", prefix="+", per_minute=read_money("1"), currency="USD", zone="far_away"
        ),
    }
    assert (found.accounts["acme"].credit, found.accounts["acme"].packages) == (12_500_000, ("europe-600",))
    assert found.users["ana"].contacts == {"+33199001234": "+33639981002"}


RATE = '[[rate]]\nprefix = "+44"\nper_minute = "0.05"\n'
WRONG = [
    ('[[rate]]\nper_minute = "1"\n', "1.toml:1: rate: prefix: '' is not a prefix"),
    (RATE.replace("+44", "44"), "1.toml:2: rate 44: prefix: '44' is not a prefix"),
    ('[[rate]]\nprefix = "+44"\n', "rate +44: per_minute: is missing"),
    (RATE.replace('"0.05"', "0.05"), "1.toml:3: rate +44: per_minute: 0.05 is not an amount in quotes"),
    (RATE.replace("0.05", "-1"), "per_minute: '-1' is not an amount"),
    (RATE.replace("0.05", "0.0000001"), "has more than 6 decimal places"),
    (RATE + "connection = true\n", "connection: True is not an amount"),
    (RATE + "increment_seconds = 0\n", "increment_seconds: 0 is not between 1 and 3600"),
    (RATE + 'currency = "euro"\n', "currency: is longer than 3"),
    (RATE + 'currency = "eur"\n', "currency: 'eur' is not a currency"),
    (RATE + 'zone = "Far Away"\n', "zone: 'Far Away' is not the name of a zone"),
    (RATE + 'valid_from = "2027-02-30"\n', "valid_from: '2027-02-30' is not a day"),
    (RATE + "valid_from = 2027-01-01T00:00:00Z\n", "is not a day"),
    (RATE + 'table = "a b"\n', "table: 'a b' is not the name of a table"),
    (RATE + RATE, "1.toml:4: rate +44: is named already in 1.toml:1"),
    (RATE + RATE + 'valid_from = 2027-01-01\ncurrency = "USD"\n', "currency: 'USD' in the table 'standard'"),
    (RATE + "price = 1\n", "price: unknown key"),
    ('[[package]]\nref = "p"\n', "package p: zones: covers nothing"),
    ('[[package]]\nref = "p"\nzones = ["europe"]\nminutes = -1\n', "minutes: -1 is not between"),
    ('[[account]]\nref = "a"\npackages = ["p"]\n', "1.toml:3: account a: packages: there is no package 'p'"),
    ('[[account]]\nref = "a"\ncredit = "much"\n', "credit: 'much' is not an amount"),
    (
        TEXT.replace('= "+33639981002"\n', '= "+33639981003"\n', 1),
        "contacts: +33639981003 is not a number of the user",
    ),
    (TEXT.replace('"+33 1 99 00 12 34"', '"friend"'), "contacts: 'friend'"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said[:50] for _, said in WRONG])
def test_a_mistake_is_named(text: str, said: str) -> None:
    with pytest.raises(ProvisioningError) as caught:
        read(text)
    found = [str(problem) for problem in caught.value.problems]
    assert any(said in each for each in found), found


def test_credit_and_contacts_stay_when_documents_do_not_speak_of_them() -> None:
    store = MemoryProvisioningStore()
    asyncio.run(apply([Document("1.toml", TEXT)], store, plans=PLANS))
    silent = '[[account]]\nref = "acme"\nkind = "company"\n[[user]]\nref = "ana"\naccount = "acme"\n'
    asyncio.run(apply([Document("2.toml", silent)], store, plans=PLANS))
    found = asyncio.run(store.read())
    assert found.accounts["acme"].credit == 12_500_000
    assert found.users["ana"].contacts
    # What the operator decides is the document's: without packages there are none.
    assert found.accounts["acme"].packages == ()


MONEY = st.integers(0, 10**12).map(Money)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    result = Inventory()
    for ref in draw(st.lists(st.sampled_from(["p", "q", "r"]), unique=True)):
        zones = draw(st.lists(st.sampled_from(["europe", "world", "national"]), min_size=1, unique=True))
        result.put(Package(ref=ref, name="é", zones=tuple(zones), minutes=draw(st.integers(0, 1000))))
    for prefix in draw(st.lists(st.sampled_from(["+", "+4", "+44", "+33"]), unique=True)):
        result.put(
            Rate(
                table=draw(st.sampled_from(["standard", "other"])),
                prefix=prefix,
                per_minute=draw(MONEY),
                connection=draw(MONEY),
                minimum_seconds=draw(st.integers(0, 3600)),
                increment_seconds=draw(st.integers(1, 3600)),
                zone=draw(st.sampled_from(["", "europe"])),
                valid_from=draw(st.sampled_from(["", "2027-01-01"])),
            )
        )
    packages = draw(st.lists(st.sampled_from(sorted(result.packages) or [""]), unique=True))
    result.put(Account(ref="acme", credit=draw(MONEY), packages=tuple(filter(None, packages))))
    own = E164("+33639981001")
    result.put(CloudNumber(e164=own, user="ana"))
    contacts = draw(st.lists(st.integers(0, 9999).map("+3319900{:04d}".format), unique=True))
    result.put(User(ref="ana", account="acme", contacts=dict.fromkeys(contacts, own)))
    return result


@given(inventories())
def test_export_and_apply_are_inverse(inventory: Inventory) -> None:
    assert read(to_toml(inventory, secrets=True)) == inventory


def test_the_database_gives_back_what_it_took_and_nodes_follow(database_url: str) -> None:
    async def run() -> tuple[Inventory, Inventory, PriceBook, Directory]:
        engine = create_engine(DatabaseSettings(url=database_url))
        try:
            store = SqlProvisioningStore(engine)
            book = PriceBook()
            follower = PriceFollower(engine, book)
            changes = await apply([Document("1.toml", TEXT)], store, plans=PLANS)
            assert {change.kind for change in changes.created} & follower.kinds == {"rate", "package"}
            first = await store.read()
            cheaper = TEXT.replace('per_minute = "0.05"', 'per_minute = "0.01"')
            changed = await apply([Document("1.toml", cheaper)], store, plans=PLANS)
            assert [str(change) for change in changed.changed] == ["rate standard/+44/2027-01-01"]
            assert "per_minute: 0.05 -> 0.01" in "\n".join(changed.lines())
            text = await export(store)
            assert not await apply([Document("2.toml", text)], store, plans=PLANS)
            await follower.refresh(changed.revision)
            directory = await SqlDirectorySource(engine).everything(PLANS)
            second = await store.read()
            await apply([], store, plans=PLANS, prune=True)
            left = await store.read()
            assert not (left.rates)
            assert not (left.packages)
            assert not (left.accounts)
            return first, second, book, directory
        finally:
            await engine.dispose()

    first, second, book, directory = asyncio.run(run())
    assert first == read()
    rate = book.rate("standard", "+447700900123", "2027-01-01")
    assert rate == replace(first.rates["standard/+44/2027-01-01"], per_minute=read_money("0.01"))
    assert second.rates["standard/+44/2027-01-01"] == rate
    assert book.package("europe-600") == first.packages["europe-600"]
    account, user = directory.account("acme"), directory.user("ana")
    assert account == first.accounts["acme"]
    assert user == first.users["ana"]


@pytest.mark.parametrize("page", ["prices.md", "outgoing.md"])
def test_the_documents_of_the_manual_can_be_applied(page: str) -> None:
    """Each block of TOML is a document, or a part of the settings."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    blocks = [block.partition("```")[0] for block in text.split("```toml\n")[1:]]
    assert blocks
    around = '[[number]]\ne164 = "+33639981002"\nuser = "ana"\n'
    for block in blocks:
        if "[plans." in block:
            values = tomllib.loads(block)
            assert Settings.model_validate(values).plans["standard"].minutes == {
                "national": 2000,
                "europe": 600,
            }
        elif "[[user]]" in block:
            found = read(f'[[account]]\nref = "acme"\n{block}{around}')
            assert found.users["ana"].contacts == {"+33199001234": "+33639981002"}
        else:
            found = read(block)
            assert found.rates["standard/+44/2027-01-01"].increment_seconds == 60
            assert found.accounts["acme"].packages == ("europe-600",)
