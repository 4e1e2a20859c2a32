"""A number inventory over a database, with a clock that is turned by hand."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from callcontrol.provisioning import Document, SqlProvisioningStore, apply
from config.database import create_engine
from config.sections import DatabaseSettings, NumberSettings
from numbering.clockwork import DUTY, Clockwork
from numbering.directory import Directory
from numbering.inventory import NumberInventory
from numbering.messages import Courier, MessageSender, RetryPolicy
from numbering.store import SqlDirectorySource
from numbering.store_duty import SqlDuty
from numbering.store_inventory import InventoryStore
from tests.support.acme import PLANS

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC).timestamp()
"""A Monday morning."""
DAY = 86_400.0

PEOPLE = """
[[account]]
ref = "acme"
kind = "company"
plan = "starter"
[[account]]
ref = "rival"
kind = "company"
[[account]]
ref = "zoe"
[[user]]
ref = "ana"
account = "acme"
[[user]]
ref = "ben"
account = "acme"
[[user]]
ref = "rita"
account = "rival"
[[user]]
ref = "zoe"
account = "zoe"
[[device]]
ref = "ana-phone"
user = "ana"
sim = "+33639980001"
sip_username = "ana-phone"
"""
"""Ana and Ben of a company whose plan allows two numbers each, Rita of another company, Zoe, a consumer."""

ONE, TWO, THREE, FOUR = (f"+3363998120{digit}" for digit in "1234")
T = TypeVar("T")


class Clock:
    """Unix time, turned by hand."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def days(self, count: float) -> None:
        self.now += count * DAY


class World:
    """An inventory, its clock, its database."""

    def __init__(self, engine: AsyncEngine, clock: Clock, settings: NumberSettings | None = None) -> None:
        self.engine = engine
        self.clock = clock
        self.store = InventoryStore(engine)
        self.settings = settings or NumberSettings(operator_code="ZZ")
        tokens = itertools.count(0x1234_5678_9ABC)
        self.inventory = NumberInventory(
            self.store,
            PLANS,
            self.settings,
            clock=clock,
            token=lambda size: f"{next(tokens) * 0x9E3779B97F4A7C15 % 2 ** (8 * size):0{2 * size}x}",
        )
        self.ports = self.inventory.ports

    def clockwork(self, owner: str = "node-1") -> Clockwork:
        return Clockwork(
            self.store,
            self.inventory,
            SqlDuty(self.engine, DUTY, owner, self.settings.duty_seconds),
            clock=self.clock,
            pause_s=self.settings.clock_seconds,
        )

    def courier(
        self, sender: MessageSender, policy: RetryPolicy | None = None, duty: Clockwork | None = None
    ) -> Courier:
        """Carries what is due; ``duty``: only while that node has the duty."""
        return Courier(
            self.store,
            self.inventory,
            sender,
            policy or RetryPolicy(),
            clock=self.clock,
            on_duty=lambda: duty is None or duty.on_duty,
            pause_s=self.settings.clock_seconds,
        )

    async def people(self, text: str = PEOPLE) -> None:
        await apply([Document("people", text)], SqlProvisioningStore(self.engine, self.clock), plans=PLANS)

    async def directory(self) -> Directory:
        """What calls see."""
        return await SqlDirectorySource(self.engine).everything(PLANS)

    async def stock(self, *numbers: str) -> None:
        await self.inventory.add(numbers or (ONE, TWO, THREE, FOUR), category="standard", actor="operator")

    async def words(self, number: str) -> list[str]:
        """What happened to a number, the earliest first."""
        return [event.action for _, event in reversed(await self.inventory.history(number))]


Scenario = Callable[[World], Awaitable[T]]


def play(url: str, scenario: Scenario[T], *, settings: NumberSettings | None = None) -> T:
    """Run a scenario on an empty database with people in it."""

    async def body() -> T:
        async with AsyncExitStack() as stack:
            engine = create_engine(DatabaseSettings(url=url, timeout_seconds=10))
            stack.push_async_callback(engine.dispose)
            world = World(engine, Clock(), settings)
            await world.people()
            return await scenario(world)

    return asyncio.run(body())
