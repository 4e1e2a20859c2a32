"""What is otherwise in a worker of a node with several processes (`callcontrol.workers.worker`): here, of a node of one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from callcontrol.assembly import Signalling
from callcontrol.cdr import leftovers
from callcontrol.cdr.store import SqlCallStore
from callcontrol.limits import Doorkeeper
from callcontrol.live.state import Calls
from callcontrol.node import LiveNode
from callcontrol.node_view import Node
from callcontrol.sip.endpoint import Endpoint
from callcontrol.transport.ports import SipEndpoint, Sockets
from config.settings import Settings


class Alone:
    """A node of one process."""

    sockets: Sockets | None = None
    place = 0
    places = 1

    settings: Settings
    signalling: Signalling
    node: LiveNode
    records: SqlCallStore

    def _outbox_folder(self) -> Path:
        return Path(self.settings.cdr.outbox)

    def _guarded(self, endpoint: Endpoint) -> SipEndpoint:
        """What the sockets take for the endpoint."""
        return endpoint

    def _sockets_open(self, gate: Doorkeeper) -> None:
        """The listeners are there."""

    def _reaches(self, conn: int) -> bool:
        """Whether another process of this node has a stream connection."""
        return False

    def _adopter(self) -> Calls:
        """Who goes on with calls that are taken over."""
        return self.signalling.runner

    def _whole_node(self) -> Node:
        """What the API shows."""
        return self.node

    def _shown_as(self) -> tuple[str, int]:
        """Name and process of the node for those outside."""
        return self.settings.node.id, os.getpid()

    def _more_tasks(self) -> list[asyncio.Task[None]]:
        """What workers that this node had before have left in their outboxes."""
        return [asyncio.create_task(self._left_behind(1), name="records of former workers")]

    async def _left_behind(self, workers: int) -> None:
        await leftovers.export(Path(self.settings.cdr.outbox), workers, self.records, self.settings.cdr)
        await asyncio.Event().wait()

    def _may_leave(self) -> bool:
        """Whether a drained process may exit when its own calls are over."""
        return True
