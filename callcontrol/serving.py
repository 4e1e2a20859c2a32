"""``cloudline serve``: one node, or the front of one that has several processes; or only a look whether it would start."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from callcontrol import demo as demo_data
from callcontrol import logs
from callcontrol.app import App
from callcontrol.plans import plan_table
from callcontrol.transport.loop import run as run_loop
from callcontrol.version import VERSION
from callcontrol.wiring.errors import StartError
from config.database import DatabaseUnavailable, create_engine, upgrade
from config.reloading import Source
from config.settings import Settings
from gateway.store import TrunkFollower
from gateway.trunk import TrunkDirectory
from numbering.cache import DirectoryUnavailable
from numbering.store import SqlDirectorySource


async def check(settings: Settings) -> str:
    """Database and provisioning, without opening a socket.  Raises StartError."""
    engine = create_engine(settings.database)
    try:
        await upgrade(engine)
        directory = await SqlDirectorySource(engine).everything(plan_table(settings))
        trunks = TrunkDirectory()
        await TrunkFollower(engine, trunks).refresh(directory.version)
    except (DatabaseUnavailable, DirectoryUnavailable, OSError) as error:
        raise StartError(f"database.url: {error}") from error
    finally:
        await engine.dispose()
    return f"configuration and provisioning are good: version {directory.version}, {len(trunks)} trunks"


async def _main(settings: Settings, is_demo: bool, say: Callable[[str], None], source: Source | None) -> int:
    app = App(settings, is_demo=is_demo, source=source)
    async with AsyncExitStack() as stack:
        await app.start(stack)
        for line in _banner(app, is_demo):
            say(line)
        await app.run(stack)
    return 0


async def _front(settings: Settings, say: Callable[[str], None], source: Source | None) -> int:
    """A node of several processes; this one is in front of them."""
    from callcontrol.workers.supervisor import ListenError, Supervisor  # not needed by a node of one process

    engine = create_engine(settings.database)
    try:
        await upgrade(engine)  # once, before the workers come together
    except (DatabaseUnavailable, OSError) as error:
        raise StartError(f"database.url: the database cannot be used: {error}") from error
    finally:
        await engine.dispose()
    try:
        return await Supervisor(settings, say, source).run()
    except ListenError as error:
        raise StartError(str(error)) from error


def _banner(app: App, is_demo: bool) -> list[str]:
    names = ", ".join(listener.name for listener in app.listeners.all())
    lines = [
        f"Cloudline {VERSION}, node {app.settings.node.id}",
        f"  SIP      {names}   (domain {app.settings.sip.domain})",
        f"  API      {app.http.url}/docs   metrics {app.http.url}/metrics",
    ]
    if is_demo:
        lines += demo_data.banner(app.listeners, app.settings)
    return lines


def serve(
    settings: Settings, *, demo: bool = False, check: bool = False, source: Source | None = None
) -> int:
    """Run a node until it is drained or stopped; returns the exit code (0 done, 1 cannot start).

    ``source``: where the settings came from, to be read again at a reload.
    """
    with tempfile.TemporaryDirectory(prefix="cloudline-demo-") as folder:
        if demo:
            settings = demo_data.settings_for(settings, Path(folder))
        logs.configure(settings.log.level, settings.log.format)
        try:
            if check:
                print(asyncio.run(_check(settings)))
                return 0
            if settings.node.workers > 1:
                return run_loop(_front(settings, lambda line: print(line, flush=True), source))
            return run_loop(_main(settings, demo, lambda line: print(line, flush=True), source))
        except StartError as error:
            print(f"cloudline: {error}", file=sys.stderr)
            return 1


async def _check(settings: Settings) -> str:
    return await check(settings)
