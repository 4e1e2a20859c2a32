"""HTTP: what the routes are made of, the server, and the note by which the command line finds it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from callcontrol.access.service import TokenCache
from callcontrol.api.app import build_api
from callcontrol.api.assembly import Upkeep, make_services
from callcontrol.api.server import HttpServer
from callcontrol.api.services import Services
from callcontrol.api.store import stores_of
from callcontrol.assembly import Signalling, lease_policy
from callcontrol.explaining.offline import impact_of_edit
from callcontrol.lease_views import LeaseList
from callcontrol.node_view import Node
from callcontrol.number_office import NumberOffice
from callcontrol.operator_access import AccessError, NodeNote, ensure_token, leave_note, token_path
from callcontrol.plans import plan_table
from callcontrol.provisioning.terms import terms_of
from callcontrol.system_clock import SystemClock
from callcontrol.usage.report import UsageReports
from callcontrol.version import VERSION
from callcontrol.wiring.errors import StartError
from config.settings import Settings
from gateway.gateway_numbers import GatewayDirectory
from gateway.trunk import TrunkDirectory
from numbering.cache import DirectoryCache

_log = logging.getLogger(__name__)


def operator_token(settings: Settings) -> str:
    """The operator's token, made where there is none yet."""
    try:
        return ensure_token(token_path(settings.database.url))
    except AccessError as error:
        raise StartError(str(error)) from error


def api_services(
    settings: Settings,
    engine: AsyncEngine,
    cache: DirectoryCache,
    token_cache: TokenCache,
    token: str,
    node: Node,
    trunks: TrunkDirectory,
    gateways: GatewayDirectory,
    numbers: NumberOffice,
    signalling: Signalling,
    clock: SystemClock,
    kick: Callable[[], None],
) -> tuple[Services, Upkeep]:
    """What the routes use, and what is done for them beside the requests."""
    stores = stores_of(engine, clock.wall, settings.numbers.quarantine_days)
    outgoing = signalling.outgoing
    services = make_services(
        stores,
        cache,
        token_cache,
        node=node,
        trunks=trunks,
        gateways=gateways,
        plans=plan_table(settings),
        terms=terms_of(settings),
        settings=settings.http,
        operator_token=token,
        version=VERSION,
        wall=clock.wall,
        monotonic=clock.monotonic,
        entropy=os.urandom,
        inventory=numbers.inventory,
        phones=signalling.phone,
        kick=kick,
        prices=outgoing.book,
        usage=UsageReports(cache.directory, outgoing.book, outgoing.counters),
        leases=LeaseList(signalling.leases, lease_policy(settings), clock.wall),
        impact=partial(impact_of_edit, settings, stores.provisioning),
    )
    return services, Upkeep(services, stores)


async def open_http(settings: Settings, services: Services, stack: AsyncExitStack) -> HttpServer:
    """The API at its address.  Raises StartError."""
    host, _, port = settings.http.listen.rpartition(":")
    server = HttpServer(build_api(services), host.strip("[]"), int(port))
    try:
        await server.start()
    except OSError as error:
        raise StartError(str(error)) from error
    stack.push_async_callback(server.stop)
    return server


def leave_word(
    url: str, token: str, name: str, pid: int, extra: Mapping[str, str], stack: AsyncExitStack
) -> None:
    """Let the command line find this node; without it, it has to be told where the node is."""
    note = NodeNote(url=url, token=token, node=name, pid=pid, extra=dict(extra))
    try:
        left = leave_note(note)
    except (AccessError, OSError) as error:
        _log.warning("the command line will not find this node by itself: %s", error)
        return
    stack.callback(left.unlink, missing_ok=True)
