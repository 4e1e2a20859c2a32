"""A worker: the application as one of several processes of its node."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from callcontrol.app import App
from callcontrol.cdr import leftovers
from callcontrol.ids import KeyedIds
from callcontrol.limits import Doorkeeper
from callcontrol.live.bans import ban_of, words_of
from callcontrol.live.nodes import HERE
from callcontrol.live.state import Calls
from callcontrol.node_view import Node
from callcontrol.runner import Runner
from callcontrol.sip.endpoint import Endpoint
from callcontrol.sip.fields import Replaces
from callcontrol.sip.flow import Flow
from callcontrol.sip.message import Message
from callcontrol.transport.loop import run as run_loop
from callcontrol.transport.ports import SipEndpoint
from callcontrol.transport.streams import OWN_BITS
from callcontrol.trunk_registration import Registrations
from callcontrol.wiring.errors import StartError
from callcontrol.workers import carriers
from callcontrol.workers.bringing import Bringing
from callcontrol.workers.carriers import FollowedRegistrations, Teller
from callcontrol.workers.child import USURPED, worker_name
from callcontrol.workers.merging import page_of
from callcontrol.workers.seat import Seat
from callcontrol.workers.whole import Part, WholeNode
from config.reloading import Source
from config.settings import Settings

_log = logging.getLogger(__name__)

TELL_S: Final = 0.1
"""How often the other workers are told what has changed."""


class Adopter:
    """Takes calls over for the runner (`callcontrol.live.state.Calls`), and says that they are here now."""

    def __init__(self, calls: Runner, moved: Callable[[str], None]) -> None:
        self._calls = calls
        self._moved = moved

    @property
    def calls(self) -> Iterable[str]:
        return self._calls.calls

    def resume(self, data: bytes, epoch: int, now: float) -> None:
        self._calls.resume(data, epoch, now)
        self._moved(next(reversed(self._calls.calls)))  # the call that came last

    def save_again(self, refs: Iterable[str]) -> None:
        self._calls.save_again(refs)

    def flush(self, now: float) -> None:
        self._calls.flush(now)

    def settle(self, now: float) -> None:
        self._calls.settle(now)


class Worker(App):
    """See the module."""

    def __init__(
        self, settings: Settings, seat: Seat, node: str, node_pid: int, source: Source | None = None
    ) -> None:
        """``settings`` name the worker; ``node`` and ``node_pid`` are the name and process that outsiders know."""
        super().__init__(settings, source=source)
        self.seat = seat
        self.sockets = seat.sockets
        self.place = seat.number - 1
        self.places = seat.workers
        self.code = 0
        self._node_name = node
        self._node_pid = node_pid
        self._followed: FollowedRegistrations | None = None
        self._teller: Teller | None = None
        self._side_tasks: set[asyncio.Task[None]] = set()
        self._front_gone = False
        seat.on_order = self._on_order
        seat.on_front_gone = self._on_front_gone
        seat.on_worker_gone = self._on_worker_gone
        seat.on_worker_back = self._on_worker_back
        seat.on_moved = self._on_moved

    def ready(self) -> None:
        """Everything is open: the front may bring messages."""
        listeners = ", ".join(listener.name for listener in self.listeners.all())
        url = self.http.url if self.seat.is_first else ""
        self.seat.ready({"listeners": listeners, "url": url})

    # -- one of several -------------------------------------------------------------------------------------

    def _outbox_folder(self) -> Path:
        return leftovers.folder_of(Path(self.settings.cdr.outbox), self.seat.number)

    def _guarded(self, endpoint: Endpoint) -> SipEndpoint:
        return self.seat.guard(endpoint)

    def _sockets_open(self, gate: Doorkeeper) -> None:
        self.seat.open(self.driver, gate, self._clock.monotonic)

    def _reaches(self, conn: int) -> bool:
        return conn >> OWN_BITS != self.seat.number and self.seat.reaches(conn)

    def _adopter(self) -> Calls:
        return Adopter(self.signalling.runner, self.seat.moved)

    async def _recover(self) -> None:
        live, seat = self.live, self.seat
        assert live is not None  # the settings ask for Redis
        live.bindings.is_near = self._is_near
        await super()._recover()
        take = live.lease.fetch

        def fetch(ref: str, done: Callable[[str], None]) -> None:
            def fetched(outcome: str) -> None:
                if outcome == HERE:
                    seat.moved(ref)
                done(outcome)

            take(ref, fetched)

        self.signalling.core.search.fetch = fetch
        self._open_bringing()

    def _open_bringing(self) -> None:
        """Calls of other workers that a transfer wants joined."""
        endpoint, runner, seat = self.signalling.endpoint, self.signalling.runner, self.seat

        async def where(tags: Any) -> str:
            owners = [runner.by_tag(str(tag)) for tag in tags]
            return next((owner.call.ref for owner in owners if owner is not None), "")

        def receive(data: bytes, flow: Flow) -> None:
            endpoint.receive(data, flow, self._clock.monotonic())
            self.driver.kick()

        seat.serve("dialog", where)
        bringing = Bringing(lambda tag: runner.by_tag(tag) is not None, self._bring, receive)
        relay = endpoint.relay

        def first_look(message: Message, flow: Flow, now: float) -> bool:
            return bringing.takes(message, flow, now) or (relay is not None and relay(message, flow, now))

        endpoint.relay = first_look

    def _bring(self, dialog: Replaces, done: Callable[[], None]) -> None:
        task = asyncio.get_running_loop().create_task(self._find_and_take(dialog), name="a call to be joined")
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)
        task.add_done_callback(lambda ended: done())

    async def _find_and_take(self, dialog: Replaces) -> None:
        found = await self.seat.ask_all("dialog", (dialog.to_tag, dialog.from_tag))
        ref = next((str(ref) for ref in found.values() if ref), "")
        fetch = self.signalling.core.search.fetch
        if not ref or fetch is None:
            return
        taken = asyncio.Event()
        fetch(ref, lambda outcome: taken.set())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.state.timeout_seconds):
                await taken.wait()

    def _is_near(self, name: str) -> bool:
        """Whether a node is a worker of this one: its connections and datagrams are reached without another node's help."""
        node, _, number = name.rpartition(".")
        return node == self._node_name and number.isdigit() and 0 < int(number) <= self.seat.workers

    def _open_registrations(self, ids: KeyedIds) -> None:
        if self.seat.is_first:
            super()._open_registrations(ids)
            assert isinstance(self.registrations, Registrations)
            self._teller = Teller(self.registrations.table, self.seat.tell)
            return
        core = self.signalling
        core.runner.kick = self.driver.kick
        self._followed = FollowedRegistrations(self.trunks)
        self.seat.listen(carriers.TOPIC, self._followed.learn)
        core.trunking.registered = self._followed
        core.intake.registrations = self._followed
        self.registrations = self._followed

    def _open_node(self) -> None:
        super()._open_node()
        seat = self.seat
        self.metrics.register_all(
            {
                "worker_dropped": lambda: seat.dropped,
                "worker_messages_passed": lambda: seat.passed,
            }
        )
        Part(seat, self.node, lambda: page_of(self.metrics.families()))
        self.signalling.gate.on_ban.append(lambda ban: seat.tell("ban", words_of(ban)))
        seat.listen("ban", self._learn_ban)
        seat.listen("lift_ban", self._lift_ban)

    async def _open_http(self, stack: AsyncExitStack) -> None:
        if self.seat.is_first:
            await super()._open_http(stack)

    def _whole_node(self) -> Node:
        return WholeNode(self.seat, self.node, self._node_name, lambda: page_of(self.metrics.families()))

    def _shown_as(self) -> tuple[str, int]:
        return self._node_name, self._node_pid

    def _more_tasks(self) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self._tell(), name="news for other workers")]
        if self.seat.is_first:
            tasks.append(
                asyncio.create_task(self._left_behind(self.seat.workers), name="records of former workers")
            )
        return tasks

    def _may_leave(self) -> bool:
        """The one with the API stays until the others are done."""
        return not self.seat.is_first or not self.seat.others()

    def _usurped(self) -> None:
        self.code = USURPED
        self._stop.set()

    def _watch_signals(self) -> None:
        """Signals are for the front, which tells; some reach all processes of a service at once."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.drain)
        for number in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)

    def _close_connection(self, conn: int) -> None:
        if not self.seat.close_connection(conn):
            super()._close_connection(conn)

    def _on_connection_lost(self, conn: int) -> None:
        super()._on_connection_lost(conn)
        self.seat.connection_lost(conn)

    # -- what front and workers say -------------------------------------------------------------------------

    def _on_order(self, order: str) -> None:
        if order == "drain":
            self.drain()
        elif order == "stop":
            self.stop()
        elif order == "reload":
            task = asyncio.get_running_loop().create_task(self._reload(), name="reload")
            self._side_tasks.add(task)
            task.add_done_callback(self._side_tasks.discard)

    async def _reload(self) -> None:
        await self.reload()

    def _on_front_gone(self) -> None:
        """Nothing reaches this worker any more.  Its calls stay in Redis, for whoever comes next."""
        self._front_gone = True
        self._stop.set()

    def _on_worker_gone(self, worker: int) -> None:
        """Its connections ended with it, and what waits for an answer over one of them fails now."""
        self.signalling.endpoint.connections_lost(
            worker << OWN_BITS, (worker + 1) << OWN_BITS, self._clock.monotonic()
        )

    def _on_worker_back(self, worker: int) -> None:
        """It knows nothing of what was told before it came."""
        for ref in self.signalling.runner.calls:
            if self.seat.compass.home(ref) != self.seat.number:
                self.seat.moved(ref)
        if self._teller is not None:
            self._teller.tick(again=True)

    def _on_moved(self, ref: str) -> None:
        """Another worker has a call now: where it was, saving it tells so."""
        runner = self.signalling.runner
        if ref in runner.calls:
            runner.save_again([ref])
            runner.flush(self._clock.wall())

    def _learn_ban(self, worker: int, words: Any) -> None:
        self.signalling.gate.learn(ban_of(words))

    def _lift_ban(self, worker: int, address: Any) -> None:
        self.signalling.gate.unban(str(address))

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            if self._teller is not None:
                self._teller.tick()

    async def _finish(self) -> None:
        if self._front_gone:
            _log.error("the front process is gone; this worker ends, and its calls wait for the next one")
            self.outbox.flush()
            logging.shutdown()
            os._exit(1)
        await super()._finish()


async def _run(settings: Settings, seat: Seat, node: str, node_pid: int, source: Source | None) -> int:
    worker = Worker(settings, seat, node, node_pid, source)
    async with AsyncExitStack() as stack:
        await worker.start(stack)
        worker.ready()
        await worker.run(stack)
    seat.close()
    return worker.code


def run_worker(settings: Settings, seat: Seat, node_pid: int, source: Source | None = None) -> int:
    """Run until drained, stopped, or left alone by the front; the exit code."""
    node = settings.node.id
    named = settings.node.model_copy(update={"id": worker_name(node, seat.number)})
    try:
        return run_loop(_run(settings.model_copy(update={"node": named}), seat, node, node_pid, source))
    except StartError as error:
        print(f"cloudline: worker {seat.number}: {error}", file=sys.stderr)
        return 1
