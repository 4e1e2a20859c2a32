"""Gateway numbers: the directory, and how it follows the database."""

from __future__ import annotations

import asyncio

import pytest

from callcontrol.provisioning import Document, SqlProvisioningStore, apply
from config.database import create_engine
from config.sections import DatabaseSettings
from gateway.gateway_numbers import GatewayDirectory, GatewayKind, GatewayNumber
from gateway.store import GatewayFollower, TrunkFollower
from gateway.trunk import TrunkDirectory
from numbering.cache import DirectoryCache, DirectoryUnavailable
from numbering.directory import Directory
from numbering.e164 import E164
from numbering.store import SqlDirectorySource
from tests.support.acme import PLANS


def number(line: int, country: str = "FR", kind: GatewayKind = GatewayKind.CALL_THROUGH) -> GatewayNumber:
    return GatewayNumber(e164=E164(f"+3319900{line:04d}"), trunk="a", kind=kind, country=country)


def test_numbers_are_found_by_themselves_and_by_country_and_kind() -> None:
    second, first = number(2), number(1)
    belgian, proof = number(3, "BE"), number(4, kind=GatewayKind.VERIFICATION)
    directory = GatewayDirectory([second, first, belgian, proof], version=3)
    assert directory.get(first.e164) is first
    assert directory.get("+33199009999") is None
    assert directory.of_country("FR", "call_through") == (first, second)
    assert directory.of_country("FR", GatewayKind.VERIFICATION) == (proof,)
    assert directory.of_country("BE", "verification") == ()
    assert directory.of_country("FR", "nonsense") == ()
    assert directory.all() == (first, second, belgian, proof)
    assert (len(directory), directory.version) == (4, 3)
    directory.replace([belgian], version=4)
    assert directory.of_country("FR", "call_through") == ()
    assert (directory.all(), directory.version) == ((belgian,), 4)


DOCUMENT = """
[[trunk]]
ref = "carrier"
accept_from = ["192.0.2.1/32"]
[[gateway_number]]
e164 = "+33199000001"
trunk = "carrier"
[[gateway_number]]
e164 = "+33199000002"
trunk = "carrier"
kind = "verification"
"""


def test_the_directory_follows_the_database(database_url: str) -> None:
    async def run() -> None:
        engine = create_engine(DatabaseSettings(url=database_url))
        try:
            numbers, trunks = GatewayDirectory(), TrunkDirectory()
            cache = DirectoryCache(
                SqlDirectorySource(engine),
                Directory(plans=PLANS),
                plans=PLANS,
                followers=[TrunkFollower(engine, trunks), GatewayFollower(engine, numbers)],
            )
            await cache.load()
            assert len(numbers) == 0
            store = SqlProvisioningStore(engine)
            await apply([Document("one", DOCUMENT)], store, plans=PLANS)
            assert await cache.refresh()
            assert [n.e164 for n in numbers.of_country("FR", "call_through")] == ["+33199000001"]
            assert [n.e164 for n in numbers.of_country("FR", "verification")] == ["+33199000002"]
            assert numbers.version == cache.directory.version
            # moved to another trunk while the old one goes, and one less
            moved = DOCUMENT.replace("carrier", "other").rpartition("[[gateway_number]]")[0]
            await apply([Document("two", moved)], store, plans=PLANS, prune=True)
            assert await cache.refresh()
            assert [n.trunk for n in numbers.all()] == ["other"]
        finally:
            await engine.dispose()

    asyncio.run(run())


def test_a_database_that_is_away_leaves_the_numbers_as_they_are() -> None:
    async def run() -> GatewayDirectory:
        engine = create_engine(DatabaseSettings(url="postgresql+asyncpg://nobody@127.0.0.1:1/none"))
        numbers = GatewayDirectory([number(1)], version=7)
        try:
            with pytest.raises(DirectoryUnavailable):
                await GatewayFollower(engine, numbers).refresh(8)
        finally:
            await engine.dispose()
        return numbers

    kept = asyncio.run(run())
    assert (len(kept), kept.version) == (1, 7)
