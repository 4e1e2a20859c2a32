"""The SQL side of rates and packages."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from callcontrol.pricing.rates import Package, PriceBook, Rate
from callcontrol.pricing.tables import PackageRow, RateRow
from config.database import DatabaseUnavailable, reading
from numbering.cache import DirectoryUnavailable
from numbering.money import Money
from numbering.store import ObjectTable


def _load_rate(row: Row[Any]) -> Rate:
    return Rate(
        table=row.rate_table,
        prefix=row.prefix,
        per_minute=Money(row.per_minute),
        connection=Money(row.connection_fee),
        minimum_seconds=row.minimum_seconds,
        increment_seconds=row.increment_seconds,
        currency=row.currency,
        zone=row.zone,
        valid_from=row.valid_from,
    )


def _dump_rate(rate: Rate) -> dict[str, Any]:
    return {
        "ref": rate.ref,
        "rate_table": rate.table,
        "prefix": rate.prefix,
        "per_minute": int(rate.per_minute),
        "connection_fee": int(rate.connection),
        "minimum_seconds": rate.minimum_seconds,
        "increment_seconds": rate.increment_seconds,
        "currency": rate.currency,
        "zone": rate.zone,
        "valid_from": rate.valid_from,
    }


def _load_package(row: Row[Any]) -> Package:
    return Package(ref=row.ref, name=row.name, zones=tuple(row.zones), minutes=row.minutes)


def _dump_package(package: Package) -> dict[str, Any]:
    return {
        "ref": package.ref,
        "name": package.name,
        "zones": list(package.zones),
        "minutes": package.minutes,
    }


RATES: Final = ObjectTable("rate", RateRow, "ref", _load_rate, _dump_rate)
PACKAGES: Final = ObjectTable("package", PackageRow, "ref", _load_package, _dump_package)


class PriceFollower:
    """Keeps a `PriceBook` in step with the database; fits `numbering.cache.Follower`."""

    kinds = frozenset({"rate", "package"})

    def __init__(self, engine: AsyncEngine, book: PriceBook) -> None:
        self._engine = engine
        self._book = book

    async def refresh(self, version: int) -> None:
        """Read all rates and packages again.  Raises `DirectoryUnavailable`."""
        try:
            async with reading(self._engine) as connection:
                rates = await RATES.all(connection)
                packages = await PACKAGES.all(connection)
        except DatabaseUnavailable as error:
            raise DirectoryUnavailable(str(error)) from error
        self._book.replace(rates, packages, version=version)
