"""Explaining without a node: from the provisioning database alone, with nobody registered and nothing used."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from callcontrol.assembly import Signalling, Surroundings, make_endpoint, make_gate
from callcontrol.bindings import MemoryBindingStore
from callcontrol.call_store import MemoryCallStore
from callcontrol.cdr.outbox import MemoryOutbox
from callcontrol.cdr.store import CallFilter, SqlCallStore
from callcontrol.explaining.answer import Explanation
from callcontrol.explaining.explainer import Explainer
from callcontrol.explaining.impact import Impact, Replay, impact_of
from callcontrol.explaining.question import Question
from callcontrol.plans import plan_table
from callcontrol.pricing.rates import PriceBook
from callcontrol.pricing.store import PriceFollower
from callcontrol.provisioning.inventory import Inventory
from callcontrol.provisioning.service import Edited, ProvisioningStore
from callcontrol.sip.flow import Flow, Listeners
from callcontrol.usage.outgoing import OutgoingStores
from config.database import create_engine, upgrade
from config.settings import Settings
from gateway.gateway_numbers import GatewayDirectory
from gateway.push import MemoryPushes
from gateway.store import GatewayFollower, TrunkFollower
from gateway.trunk import TrunkDirectory
from numbering.cache import DirectoryCache
from numbering.directory import Directory
from numbering.models import PlanTable
from numbering.store import SqlDirectorySource

REMARKS = (
    "no node was asked: no device is registered, every trunk is taken to be up, and nothing was used this month",
)
_KEY = bytes(32)
_PAGE = 500
"""Calls that are read at once."""


class _Nowhere:
    """A resolver for a node that sends nothing."""

    def direct(self, uri: str) -> Flow | None:
        return None

    def look_up(self, uri: str, done: object) -> None:
        """Nothing is ever looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What the provisioning gives to look things up in."""

    directory: Directory
    trunks: TrunkDirectory
    gateways: GatewayDirectory
    outgoing: OutgoingStores


async def load(settings: Settings) -> Provisioned:
    """The provisioning as it is now.

    Raises `numbering.cache.DirectoryUnavailable`, `config.database.DatabaseUnavailable`.
    """
    plans = plan_table(settings)
    found = Provisioned(
        directory=Directory(plans=plans),
        trunks=TrunkDirectory(),
        gateways=GatewayDirectory(),
        outgoing=OutgoingStores(),
    )
    engine = create_engine(settings.database)
    try:
        await upgrade(engine)
        cache = DirectoryCache(
            SqlDirectorySource(engine),
            found.directory,
            plans=plans,
            followers=[
                TrunkFollower(engine, found.trunks),
                GatewayFollower(engine, found.gateways),
                PriceFollower(engine, found.outgoing.book),
            ],
        )
        await cache.load()
    finally:
        await engine.dispose()
    return found


def provisioned(inventory: Inventory, plans: PlanTable) -> Provisioned:
    """The same of an inventory that may not be in the database (yet)."""
    return Provisioned(
        directory=Directory(
            inventory.accounts.values(),
            inventory.users.values(),
            inventory.devices.values(),
            inventory.numbers.values(),
            greetings=inventory.greetings.values(),
            plans=plans,
        ),
        trunks=TrunkDirectory(inventory.trunks.values()),
        gateways=GatewayDirectory(inventory.gateway_numbers.values()),
        outgoing=OutgoingStores(PriceBook(inventory.rates.values(), inventory.packages.values())),
    )


def signalling_of(settings: Settings, found: Provisioned) -> Signalling:
    """The parts of a node that listens nowhere."""
    endpoint = make_endpoint(settings, Listeners(), _KEY)
    bindings = MemoryBindingStore()
    return Signalling(
        settings,
        found.directory,
        found.trunks,
        endpoint,
        make_gate(settings, bindings),
        Surroundings(
            monotonic=time.monotonic,
            wall=time.time,
            entropy=bytes,
            dice=lambda: 0.0,
            key=_KEY,
            resolver=_Nowhere(),
            calls=MemoryCallStore(),
            bindings=bindings,
            records=MemoryOutbox(),
            push=MemoryPushes() if settings.mqtt.url else None,
            gateways=found.gateways,
            outgoing=found.outgoing,
        ),
    )


async def explain(settings: Settings, question: Question) -> Explanation:
    """What would happen, by the provisioning in the database of these settings.

    Raises QuestionError, and what `load` raises.
    """
    parts = signalling_of(settings, await load(settings))
    return await Explainer(parts, time.time, REMARKS).explain(question)


async def impact(settings: Settings, before: Inventory, after: Inventory, calls: int) -> Impact:
    """What a change would have done to the latest calls.  Raises `config.database.DatabaseUnavailable`."""
    plans = plan_table(settings)

    def replays() -> tuple[Replay, Replay]:
        today, then = (Replay(signalling_of(settings, provisioned(each, plans))) for each in (before, after))
        return today, then

    today, then = await asyncio.to_thread(replays)  # a large directory takes longer than a loop may be held
    engine = create_engine(settings.database)
    try:
        store = SqlCallStore(engine)
        found = Impact()
        place: tuple[int, str] | None = None
        while calls > 0 and (records := await store.recent(min(calls, _PAGE), CallFilter(before=place))):
            found += await asyncio.to_thread(impact_of, records, today, then)
            calls -= len(records)
            place = (records[-1].started_ms, records[-1].call_ref)
    finally:
        await engine.dispose()
    return found


async def impact_of_edit(settings: Settings, store: ProvisioningStore, edited: Edited, calls: int) -> Impact:
    """The same of a change that is known by its objects alone.  Raises `config.database.DatabaseUnavailable`."""
    before = await store.read()
    after = before.copy()
    changes = edited.changes
    for change in (*changes.created, *changes.changed):
        after.of(change.kind)[change.key] = edited.after.of(change.kind)[change.key]
    for change in changes.removed:
        after.of(change.kind).pop(change.key, None)
    return await impact(settings, before, after, calls)
