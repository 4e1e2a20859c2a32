"""The HTTP API of a test: over a node of fixed content, with a real database, or with none."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import cache, cached_property, partial
from typing import Any, TypeVar, cast

import httpx
from fastapi import FastAPI

from callcontrol.access.audit import AuditEntry, Author
from callcontrol.access.service import TokenCache
from callcontrol.access.tokens import Scope
from callcontrol.api.app import build_api
from callcontrol.api.assembly import Upkeep, make_services
from callcontrol.api.door import Door
from callcontrol.api.server import HttpServer
from callcontrol.api.services import Services
from callcontrol.api.store import Stores, stores_of
from callcontrol.explaining.offline import impact_of_edit
from callcontrol.lease_views import LeaseList
from callcontrol.node_view import Node
from callcontrol.phone_requests import PhoneRequestHandler
from callcontrol.pricing.rates import PriceBook
from callcontrol.pricing.store import PriceFollower
from callcontrol.provisioning import Document, apply
from callcontrol.usage.counters import MemoryUsageCounters
from callcontrol.usage.report import UsageReports
from config.database import create_engine
from config.sections import DatabaseSettings, HttpSettings, NumberSettings
from config.settings import Settings
from gateway.gateway_numbers import GatewayDirectory
from gateway.lease_store import MemoryLeaseStore
from gateway.store import GatewayFollower, TrunkFollower
from gateway.trunk import TrunkDirectory
from numbering.cache import DirectoryCache
from numbering.directory import Directory
from numbering.inventory import NumberInventory
from numbering.store import SqlDirectorySource
from numbering.store_inventory import InventoryStore
from tests.support.acme import PLANS
from tests.support.fake_node import T0, FakeNode

T = TypeVar("T")
TOKEN = "a-token-of-the-operator"
NOWHERE = "postgresql+asyncpg://nobody@127.0.0.1:1/nothing"  # port 1 refuses: an absent database

UNBOUND = HttpSettings(rate_per_second=1e6, burst=1_000_000)
"""Nobody asks too often."""


class Clock:
    """Time that a test turns."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> float:
        return self.now


class Entropy:
    """Random bytes that are the same in every run."""

    def __init__(self) -> None:
        self._count = itertools.count()

    def __call__(self, size: int) -> bytes:
        return hashlib.shake_256(str(next(self._count)).encode()).digest(size)


class ApiWorld:
    """The API, and what is behind it."""

    def __init__(
        self,
        url: str,
        node: Node | None = None,
        settings: HttpSettings | None = None,
        phones: PhoneRequestHandler | None = None,
        counters: MemoryUsageCounters | None = None,
    ) -> None:
        self.engine = create_engine(DatabaseSettings(url=url, timeout_seconds=5))
        self.clock = Clock()
        self.node = FakeNode() if node is None else node
        self.stores: Stores = stores_of(self.engine, self.clock)
        self.directory = Directory(plans=PLANS)
        self.trunks = TrunkDirectory()
        self.gateways = GatewayDirectory()
        self.book = PriceBook()
        self.counters = MemoryUsageCounters() if counters is None else counters
        self.leases = MemoryLeaseStore()
        self.token_cache = TokenCache()
        self.cache = DirectoryCache(
            SqlDirectorySource(self.engine),
            self.directory,
            plans=PLANS,
            followers=[
                TrunkFollower(self.engine, self.trunks),
                GatewayFollower(self.engine, self.gateways),
                PriceFollower(self.engine, self.book),
                self.token_cache,
            ],
        )
        self.services: Services = make_services(
            self.stores,
            self.cache,
            self.token_cache,
            node=self.node,
            trunks=self.trunks,
            gateways=self.gateways,
            plans=PLANS,
            settings=settings or UNBOUND,
            operator_token=TOKEN,
            version="0.1.0",
            wall=self.clock,
            monotonic=self.clock,
            entropy=Entropy(),
            inventory=NumberInventory(InventoryStore(self.engine), PLANS, NumberSettings(), clock=self.clock),
            phones=phones,
            prices=self.book,
            usage=UsageReports(self.directory, self.book, self.counters),
            leases=LeaseList(self.leases, self.leases.table.policy, self.clock),
            impact=partial(
                impact_of_edit, Settings(database=DatabaseSettings(url=url)), self.stores.provisioning
            ),
        )
        self.upkeep = Upkeep(self.services, self.stores)

    @cached_property
    def app(self) -> FastAPI:
        return build_api(self.services)

    async def provision(self, text: str) -> None:
        """Apply a document as the command line does, and let the node see it."""
        await apply([Document("world.toml", text)], self.stores.provisioning, plans=PLANS)
        await self.cache.refresh()

    async def token(self, scope: Scope, subject: str = "") -> str:
        """A token's text."""
        _, text = await self.services.tokens.create(scope, subject, "", 0.0, Author(actor="test"))
        return text

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = TOKEN,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        client: tuple[str, int] = ("127.0.0.1", 50000),
    ) -> httpx.Response:
        """One request, without a socket."""
        sent = {} if token is None else {"Authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as http:
            return await http.request(
                method, path, json=body, content=content, headers={**sent, **(headers or {})}
            )


@asynccontextmanager
async def api_world(url: str, document: str = "", **options: Any) -> AsyncIterator[ApiWorld]:
    """An API over a new database with the objects of a document."""
    world = ApiWorld(url, **options)
    try:
        await world.cache.load()
        if document:
            await world.provision(document)
        yield world
    finally:
        await world.engine.dispose()


@asynccontextmanager
async def without_database(**options: Any) -> AsyncIterator[ApiWorld]:
    """An API whose database is away."""
    world = ApiWorld(NOWHERE, **options)
    try:
        yield world
    finally:
        await world.engine.dispose()
        await asyncio.sleep(0)


@contextmanager
def running(
    url: str, document: str, keys: Callable[[ApiWorld], Awaitable[T]], **options: Any
) -> Iterator[tuple[str, T]]:
    """The API behind a socket, with a thread and a loop of its own, as a client has another process.

    Gives its address, and what ``keys`` made of the world.
    """
    started = threading.Event()
    stop = asyncio.Event()
    found: list[tuple[str, T]] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with api_world(url, document, **options) as world:
            server = HttpServer(world.app, "127.0.0.1", 0)
            await server.start()
            found.append((server.url, await keys(world)))
            started.set()
            await stop.wait()
            await server.stop()

    def body() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=body)
    thread.start()
    assert started.wait(60)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)


class Trail:
    """A record of changes in memory."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def write(self, entries: Sequence[AuditEntry]) -> None:
        self.entries.extend(entries)

    async def latest(self, limit: int, **_where: Any) -> list[AuditEntry]:
        return self.entries[::-1][:limit]


class Stand:
    """Stands in for the node of the test that is on: an application is given its node when it is built."""

    def __init__(self) -> None:
        self.node: Node = FakeNode()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)


class Stage:
    """One application for the tests of a process that need no database: it takes long to build."""

    def __init__(self) -> None:
        self.stand, self.trail = Stand(), Trail()
        world = ApiWorld(NOWHERE, cast("Node", self.stand))
        self.services = replace(world.services, audit=self.trail)
        self.app = build_api(self.services)

    def over(self, node: Node, settings: HttpSettings) -> FastAPI:
        """The application with what it remembers of requests gone."""
        parts = self.services
        self.stand.node = node
        self.trail.entries.clear()
        self.app.state.door = Door(parts.tokens, settings, parts.monotonic, parts.counters)
        return self.app


_stage = cache(Stage)


def app_over(node: Node, settings: HttpSettings | None = None) -> FastAPI:
    """The application over a node, without a database, until the next one is asked for."""
    return _stage().over(node, settings or UNBOUND)


def run(scenario: Any) -> Any:
    """Run a coroutine of a test."""
    return asyncio.run(scenario)
