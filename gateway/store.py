"""The SQL side of trunks and gateway numbers."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from config.database import DatabaseUnavailable, reading
from gateway.gateway_numbers import GatewayDirectory, GatewayKind, GatewayNumber
from gateway.profile import DiversionHeader, HeaderRule, IdentityHeader, PrivacyForm, RuleAction
from gateway.tables import GatewayNumberRow, TrunkRow
from gateway.trunk import NumberFormat, PeerShare, Prefix, Trunk, TrunkDirectory
from numbering.cache import DirectoryUnavailable
from numbering.e164 import E164
from numbering.store import ObjectTable


def _load(row: Row[Any]) -> Trunk:
    return Trunk(
        ref=row.ref,
        peers=tuple(item if isinstance(item, str) else item["uri"] for item in row.peers),
        peer=tuple(
            PeerShare(item["uri"], item["weight"], item["priority"])
            for item in row.peers
            if not isinstance(item, str)
        ),
        accept_from=tuple(row.accept_from),
        port_must_match=row.port_must_match,
        username=row.username or "",
        password=row.password,
        prefixes=tuple(Prefix(item["prefix"], item["cost"]) for item in row.prefixes),
        priority=row.priority,
        weight=row.weight,
        max_channels=row.max_channels,
        max_cps=row.max_cps,
        number_format=NumberFormat(row.number_format),
        country=row.country,
        options_seconds=row.options_seconds,
        caller_format=NumberFormat(row.caller_format) if row.caller_format else None,
        identity=IdentityHeader(row.identity),
        trusted=row.trusted,
        privacy=PrivacyForm(row.privacy),
        diversion=DiversionHeader(row.diversion),
        domain=row.domain,
        host=row.host,
        headers=tuple(
            HeaderRule(RuleAction(item["action"]), item["name"], item["value"]) for item in row.headers
        ),
        register=row.register,
        registrar=row.registrar,
        auth_username=row.auth_username,
        register_seconds=row.register_seconds,
    )


def _dump(trunk: Trunk) -> dict[str, Any]:
    return {
        "ref": trunk.ref,
        # where the peers have shares, those hold their addresses
        "peers": [{"uri": item.uri, "weight": item.weight, "priority": item.priority} for item in trunk.peer]
        or list(trunk.peers),
        "accept_from": list(trunk.accept_from),
        "port_must_match": trunk.port_must_match,
        "username": trunk.username or None,
        "password": trunk.password,
        "prefixes": [{"prefix": item.digits, "cost": item.cost} for item in trunk.prefixes],
        "priority": trunk.priority,
        "weight": trunk.weight,
        "max_channels": trunk.max_channels,
        "max_cps": trunk.max_cps,
        "number_format": trunk.number_format.value,
        "country": trunk.country,
        "options_seconds": trunk.options_seconds,
        "caller_format": trunk.caller_format.value if trunk.caller_format is not None else "",
        "identity": trunk.identity.value,
        "trusted": trunk.trusted,
        "privacy": trunk.privacy.value,
        "diversion": trunk.diversion.value,
        "domain": trunk.domain,
        "host": trunk.host,
        "headers": [
            {"action": rule.action.value, "name": rule.name, "value": rule.value} for rule in trunk.headers
        ],
        "register": trunk.register,
        "registrar": trunk.registrar,
        "auth_username": trunk.auth_username,
        "register_seconds": trunk.register_seconds,
    }


TRUNKS: Final = ObjectTable("trunk", TrunkRow, "ref", _load, _dump, unique="username")


class TrunkFollower:
    """Keeps a `TrunkDirectory` in step with the database; fits `numbering.cache.Follower`."""

    kinds = frozenset({"trunk"})

    def __init__(self, engine: AsyncEngine, trunks: TrunkDirectory) -> None:
        self._engine = engine
        self._trunks = trunks

    async def refresh(self, version: int) -> None:
        """Read all trunks again.  Raises `DirectoryUnavailable`."""
        try:
            async with reading(self._engine) as connection:
                found = await TRUNKS.all(connection)
        except DatabaseUnavailable as error:
            raise DirectoryUnavailable(str(error)) from error
        self._trunks.replace(found, version=version)


def _load_gateway_number(row: Row[Any]) -> GatewayNumber:
    return GatewayNumber(
        e164=E164(row.e164), trunk=row.trunk, kind=GatewayKind(row.kind), country=row.country
    )


def _dump_gateway_number(number: GatewayNumber) -> dict[str, Any]:
    return {
        "e164": number.e164,
        "trunk": number.trunk,
        "kind": number.kind.value,
        "country": number.country,
    }


GATEWAY_NUMBERS: Final = ObjectTable(
    "gateway_number", GatewayNumberRow, "e164", _load_gateway_number, _dump_gateway_number
)


class GatewayFollower:
    """Keeps a `GatewayDirectory` in step with the database; fits `numbering.cache.Follower`."""

    kinds = frozenset({"gateway_number"})

    def __init__(self, engine: AsyncEngine, numbers: GatewayDirectory) -> None:
        self._engine = engine
        self._numbers = numbers

    async def refresh(self, version: int) -> None:
        """Read all gateway numbers again.  Raises `DirectoryUnavailable`."""
        try:
            async with reading(self._engine) as connection:
                found = await GATEWAY_NUMBERS.all(connection)
        except DatabaseUnavailable as error:
            raise DirectoryUnavailable(str(error)) from error
        self._numbers.replace(found, version=version)
