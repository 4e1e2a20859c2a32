"""Names for the synchronous core: numeric URIs at once, others asked for in a task whose answer comes back as a callback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from callcontrol.sip.flow import Flow
from callcontrol.transport.resolver import Resolver as DnsResolver

_log = logging.getLogger(__name__)


class NameResolver:
    """``callcontrol.ports.Resolver`` over the DNS resolver of the transport."""

    def __init__(self, dns: DnsResolver, kick: Callable[[], None]) -> None:
        self._dns = dns
        self._kick = kick
        self._tasks: set[asyncio.Task[None]] = set()

    def direct(self, uri: str) -> Flow | None:
        return self._dns.direct(uri)

    def look_up(self, uri: str, done: Callable[[list[Flow]], None]) -> None:
        task = asyncio.get_running_loop().create_task(self._look_up(uri, done), name=f"resolve {uri[:60]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_up(self, uri: str, done: Callable[[list[Flow]], None]) -> None:
        flows, why = await self._dns.locate(uri)
        if not flows:
            _log.warning("a URI leads nowhere: %s", why)
        done(flows)
        self._kick()  # what the answer brought about waits in the endpoint's lists

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
