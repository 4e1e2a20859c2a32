"""What operators see and do: is the node healthy, is it ready, how was it built, its defects, a reload."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Final

from callcontrol.cdr.outbox import JournalOutbox
from callcontrol.live.state import LiveState
from callcontrol.node_view import ComponentView, ReloadView
from callcontrol.phone_link import PhoneLink
from callcontrol.sip.flow import Listeners
from callcontrol.transport.driver import Driver
from callcontrol.transport.tls import TlsError
from config.reloading import Reread
from config.settings import Settings, SettingsError
from numbering.cache import DirectoryCache, DirectoryUnavailable

_log = logging.getLogger(__name__)

STALE_S: Final = 10.0
"""A database that was silent for so long is called away."""


def build_kind() -> str:
    """Whether the core runs compiled."""
    core = str(sys.modules["callcontrol.sip.message"].__file__)
    return "interpreted" if core.endswith(".py") else "compiled"


def health(tasks: Sequence[asyncio.Task[None]]) -> Sequence[ComponentView]:
    """A task that ended is a defect; a restart may help."""
    dead = [task.get_name() for task in tasks if task.done()]
    return (ComponentView(name="tasks", ok=not dead, detail=", ".join(dead)),)


def readiness(
    settings: Settings,
    listeners: Listeners,
    cache: DirectoryCache,
    live: LiveState | None,
    outbox: JournalOutbox,
    link: PhoneLink | None,
    *,
    draining: bool,
) -> Sequence[ComponentView]:
    """Whether new calls should come here, part by part."""
    age = cache.age()
    return (
        ComponentView(name="listeners", ok=bool(listeners.all())),
        ComponentView(name="draining", ok=not draining, detail="takes no new calls" if draining else ""),
        ComponentView(
            name="directory",
            ok=cache.directory.version >= 0,
            detail="" if age < STALE_S else f"database silent for {age:.0f} s; serving what is known",
        ),
        ComponentView(
            name="live_state",
            ok=live is None or live.link.is_up or settings.state.outage == "accept",
            detail="" if live is None or live.link.is_up else "Redis is away; calls go on unsaved",
        ),
        ComponentView(name="cdr_outbox", ok=outbox.lost == 0, detail=f"{outbox.depth} wait"),
        *([link.component()] if link is not None else ()),
    )


async def reload(driver: Driver, cache: DirectoryCache, reread: Callable[[], Reread | None]) -> ReloadView:
    """Configuration, certificates and provisioning again; what is bad leaves the old in force (OPS-03)."""
    problems: list[str] = []
    changes: list[str] = []
    needs_restart: tuple[str, ...] = ()
    try:
        file = reread()
        if file is not None:
            changes.extend(file.changes)
            needs_restart = file.needs_restart
    except SettingsError as error:
        problems.extend(f"{problem}; the old configuration stays in force" for problem in error.problems)
    if driver.tls is not None:
        try:
            driver.reload_tls()
            changes.append("sip.tls")
        except TlsError as error:
            problems.append(f"sip.tls: {error}; the old certificate stays in use")
    try:
        if await cache.refresh():
            changes.append("provisioning")
    except DirectoryUnavailable as error:
        problems.append(f"database: {error}")
    return ReloadView(
        ok=not problems, changes=tuple(changes), needs_restart=needs_restart, problems=tuple(problems)
    )


def log_reload(view: ReloadView) -> None:
    """For those who asked by a signal."""
    for problem in view.problems:
        _log.error("reload: %s", problem)
    _log.info("reloaded: %s", ", ".join(view.changes) or "nothing has changed")
    if view.needs_restart:
        _log.warning("reload: takes effect at the next start: %s", ", ".join(view.needs_restart))


class Traces:
    """Traces of defects, at most one a second: whoever has found out how to cause them is not to fill the disk."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def defect(self, error: Exception, count: int, now: float) -> None:
        """``count``: defects since the start; ``now``: monotonic seconds."""
        if now >= self._next_at:
            self._next_at = now + 1.0
            _log.error(
                "internal error, number %d since the start; one message or call is affected",
                count,
                exc_info=error,
            )
