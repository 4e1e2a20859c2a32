"""What a node keeps and follows: the database, the outbox of call records, live state, the broker.

Each function opens one of them from the settings and raises `StartError` with the setting's name and what to do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from callcontrol import demo as demo_data
from callcontrol.access.service import TokenCache
from callcontrol.assembly import lease_policy
from callcontrol.cdr.journal import JournalBusy
from callcontrol.cdr.outbox import JournalOutbox
from callcontrol.core import Core
from callcontrol.live.link import LinkError
from callcontrol.live.state import Calls, LiveState
from callcontrol.message_webhook import WebhookSender
from callcontrol.number_office import NumberOffice
from callcontrol.phone_link import PhoneLink
from callcontrol.pricing.store import PriceFollower
from callcontrol.usage.outgoing import OutgoingStores
from callcontrol.wiring.errors import StartError
from config.database import DatabaseUnavailable, upgrade
from config.settings import Settings
from gateway.gateway_numbers import GatewayDirectory
from gateway.store import GatewayFollower, TrunkFollower
from gateway.trunk import TrunkDirectory
from numbering.cache import DirectoryCache, DirectoryUnavailable
from numbering.clockwork import DUTY
from numbering.directory import Directory
from numbering.messages import RetryPolicy
from numbering.models import PlanTable
from numbering.store import SqlDirectorySource
from numbering.store_duty import SqlDuty
from numbering.store_inventory import InventoryStore

_log = logging.getLogger(__name__)


def directory_cache(
    settings: Settings,
    engine: AsyncEngine,
    plans: PlanTable,
    directory: Directory,
    trunks: TrunkDirectory,
    gateways: GatewayDirectory,
    usage: OutgoingStores,
    tokens: TokenCache,
    on_change: Callable[[], None],
) -> DirectoryCache:
    """What follows the provisioning: the directory, trunks, gateway numbers, prices and tokens, all in one step."""
    return DirectoryCache(
        SqlDirectorySource(engine),
        directory,
        plans=plans,
        followers=[
            TrunkFollower(engine, trunks),
            GatewayFollower(engine, gateways),
            PriceFollower(engine, usage.book),
            tokens,
        ],
        poll_seconds=settings.database.poll_seconds,
        on_change=lambda changes: on_change(),
    )


async def load(settings: Settings, engine: AsyncEngine, cache: DirectoryCache, *, demo: bool) -> None:
    """The newest schema, the demo's objects where it is one, and the whole directory for the first time."""
    try:
        await upgrade(engine)
        if demo:
            await demo_data.provision(engine, settings)
        await cache.load()
    except (DatabaseUnavailable, DirectoryUnavailable, OSError) as error:
        raise StartError(
            f"database.url: the database cannot be used: {error}\n"
            "Start the database, or correct database.url in the configuration."
        ) from error


def number_office(
    settings: Settings, engine: AsyncEngine, plans: PlanTable, wall: Callable[[], float]
) -> NumberOffice:
    """The life of numbers: inventory, clock, messages to lines, RIOs."""
    numbers, messages = settings.numbers, settings.messages
    # Another name at each start: what an earlier process of this node did not finish is not ours.
    owner = f"{settings.node.id} {secrets.token_hex(4)}"
    try:
        return NumberOffice(
            InventoryStore(engine),
            SqlDuty(engine, DUTY, owner, numbers.duty_seconds),
            numbers,
            plans,
            wall,
            WebhookSender(messages) if messages.url else None,
            RetryPolicy(
                first_s=messages.retry_seconds,
                most_s=messages.retry_max_seconds,
                attempts=messages.attempts,
            ),
        )
    except ValueError as error:
        raise StartError(str(error)) from error


def open_outbox(settings: Settings, folder: Path, stack: AsyncExitStack) -> JournalOutbox:
    """The journal in which call records wait for the database."""
    cdr = settings.cdr
    try:
        outbox = JournalOutbox(
            folder,
            schedule=asyncio.get_running_loop().call_soon,
            segment_bytes=cdr.segment_bytes,
            fsync=cdr.fsync,
            node=settings.node.id,
        )
    except OSError as error:
        raise StartError(f"cdr.outbox: {folder} cannot be used: {error}") from error
    except JournalBusy as error:
        raise StartError(f"cdr.outbox: {error}; give this node a folder of its own") from error
    stack.callback(outbox.close)
    return outbox


async def open_link(
    settings: Settings, directory: Directory, wall: Callable[[], float], stack: AsyncExitStack
) -> PhoneLink | None:
    """MQTT: pushes, requests of devices, events.  None: it is not set."""
    if not settings.mqtt.url:
        return None
    link = PhoneLink(
        settings.mqtt,
        settings.node.id,
        settings.sip.domain,
        directory,
        wall,
        random.random,
        os.urandom,
    )
    try:
        await link.open()
    except OSError as error:
        raise StartError(f"mqtt.listen: {error}") from error
    stack.push_async_callback(link.close)
    return link


async def open_live(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    wall: Callable[[], float],
    kick: Callable[[], None],
    turn: Callable[[], None],
    on_defect: Callable[[Exception], None],
    on_usurped: Callable[[], None],
) -> tuple[LiveState | None, bytes]:
    """Where calls and registrations live, when that is not the memory of this process; and the secret that all nodes share."""
    state, registrar = settings.state, settings.registrar
    secret = registrar.secret.encode() or secrets.token_bytes(32)
    if state.url == "memory://":
        return None, secret
    try:
        live = LiveState(
            state,
            settings.node.id,
            max_call_s=settings.calls.max_duration_seconds,
            leases=lease_policy(settings),
            channel_lease_s=settings.trunks.channel_lease_seconds,
            wall=wall,
            kick=kick,
            turn=turn,
            on_defect=on_defect,
            on_usurped=on_usurped,
        )
    except ValueError as error:
        raise StartError(f"state.url: {error}") from error
    stack.push_async_callback(live.close)
    try:
        await live.open()
        if not registrar.secret:
            secret = await live.shared_secret()
    except LinkError as error:
        raise StartError(
            f"state.url: {error}\nStart Redis, or correct state.url in the configuration."
        ) from error
    return live, secret


async def recover(live: LiveState, core: Core, adopter: Calls) -> None:
    """Go on with the calls of the last life of this node; meanwhile nobody in a dialog is told that it is gone."""
    core.search.fetch = live.lease.fetch
    core.begin_recovery()
    try:
        count = await live.recover(adopter)
    except LinkError as error:
        raise StartError(f"state.url: {error}") from error
    finally:
        core.end_recovery()
    if count:
        _log.info("live state: %d calls go on", count)
