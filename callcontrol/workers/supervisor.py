"""The process in front: opens the sockets, starts the workers, starts them again when they die, ends with the last of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec

from callcontrol.metrics import Metrics
from callcontrol.sip.clock import Monotonic
from callcontrol.transport.accepting import open_tcp
from callcontrol.transport.driver import Driver
from callcontrol.transport.listening import parse_listen
from callcontrol.transport.ports import OpenGate
from callcontrol.transport.udp import open_udp
from callcontrol.version import VERSION
from callcontrol.workers import child
from callcontrol.workers.child import USURPED, Begin, UdpSocket
from callcontrol.workers.front import Front
from callcontrol.workers.merging import page_of
from callcontrol.workers.pipe import Pipe, pair
from config.reloading import Source
from config.settings import Settings, SettingsError

_log = logging.getLogger(__name__)

STEADY_S: Final = 10.0
"""A worker that lived so long before it died starts again at once."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STOP_S: Final = 15.0
"""How long workers may take to stop once they are told to."""


class ListenError(Exception):
    """An address of ``sip.listen`` cannot be used."""


class FrontSockets:
    """`callcontrol.transport.ports.Sockets` of the front: it opens what the workers get."""

    mark = ""
    reads = True
    first_connection = 0

    def __init__(self) -> None:
        self.opened: list[UdpSocket] = []

    def udp(self, host: str, port: int) -> socket.socket:
        sock = open_udp(host, port)
        self.opened.append(UdpSocket(host, int(sock.getsockname()[1]), sock.fileno()))
        return sock

    def tcp(self, host: str, port: int) -> socket.socket:
        raise NotImplementedError("connections belong to workers")


def reserve_tcp(host: str, port: int) -> socket.socket:
    """Hold a TCP port for the workers without listening on it.  Raises OSError when somebody else listens there.

    SO_REUSEPORT alone would let another node share the port unnoticed: first it is taken the ordinary way.
    """
    probe = open_tcp(host, port)
    taken = int(probe.getsockname()[1])
    probe.close()
    sock = socket.socket(probe.family if ":" not in host else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if ":" in host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, taken))
    except BaseException:
        sock.close()
        raise
    return sock


class Supervisor:
    """One node of several workers: started, run until the last worker has ended."""

    def __init__(self, settings: Settings, say: Callable[[str], None], source: Source | None = None) -> None:
        """``say``: prints a line for whoever started the node; ``source``: what the workers read again at a reload."""
        self._source = source
        self._settings = settings
        self._say = say
        self._workers = settings.node.workers
        self.front = Front(self._workers, time.monotonic)
        self._sockets = FrontSockets()
        self._driver = Driver(
            self.front,
            _Clock(),
            lambda: None,
            OpenGate(),
            sockets=self._sockets,
        )
        self._reserved: list[socket.socket] = []
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ending = False
        self._failed = False
        self._started = False
        self._ready = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None
        self.metrics = Metrics(VERSION, time.time())
        self.front.on_ready = self._on_ready
        self.front.on_broken = self._on_broken
        self.front.on_order = self._on_order
        self.front.answer = self._answer
        self._register_metrics()

    async def run(self) -> int:
        """Until the last worker has ended; the exit code.  Raises `ListenError`."""
        await self._open()
        keepers = [asyncio.create_task(self._keep(number)) for number in self.front.desks]
        try:
            self._watch_signals()
            waiting = asyncio.create_task(self._ready.wait())
            done, _ = await asyncio.wait([waiting, *keepers], return_when=asyncio.FIRST_COMPLETED)
            if waiting in done and not self._ending:
                self._started = True
                self._say_hello()
            waiting.cancel()
            await asyncio.gather(*keepers)
        finally:
            self._kill_all()
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            await self._driver.stop()
            self.front.close()
            for sock in self._reserved:
                sock.close()
        return 1 if self._failed else 0

    # -- sockets --------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """UDP sockets to be read here, TCP ports to be listened on by the workers; settings with the real ports."""
        sip, listen, udp = self._settings.sip, [], []
        try:
            for text in sip.listen:
                address = parse_listen(text)
                if address.transport == "udp":
                    udp.append(text)
                    listen.append(text)
                    continue
                try:
                    sock = reserve_tcp(address.host, address.port)
                except OSError as error:
                    raise OSError(error.errno, f"cannot listen on {text}: {error.strerror}") from error
                self._reserved.append(sock)
                listen.append(f"{text.rpartition(':')[0]}:{sock.getsockname()[1]}")
            await self._driver.start(udp, None, sip.advertise)
        except (OSError, ValueError) as error:
            raise ListenError(f"sip.listen: {error}") from error
        ports = iter(self._sockets.opened)
        listen = [
            f"{text.rpartition(':')[0]}:{next(ports).port}" if text.startswith("udp:") else text
            for text in listen
        ]
        self._settings = self._settings.model_copy(
            update={"sip": sip.model_copy(update={"listen": tuple(listen)})}
        )
        self.front.open(self._driver)

    # -- processes ------------------------------------------------------------------------------------------

    async def _keep(self, number: int) -> None:
        """Have a worker run until the node ends."""
        desk, quick = self.front.desks[number], 0
        while True:
            started = time.monotonic()
            process = await self._start(number)
            code = await process.wait()
            self._processes.pop(number, None)
            if self._ending or not self._may_go_on(number, code):
                self.front.disconnect(number, finished=True)
                return
            desk.restarts += 1
            self.front.disconnect(number, finished=False)
            quick = 0 if time.monotonic() - started >= STEADY_S else quick + 1
            pause_s = min(FIRST_PAUSE_S * 2.0 ** (quick - 2), LONGEST_PAUSE_S) if quick > 1 else 0.0
            _log.error("worker %d ended with %d; it starts again in %.1f s", number, code, pause_s)
            await asyncio.sleep(pause_s)

    def _may_go_on(self, number: int, code: int) -> bool:
        """Whether a worker that has ended is to start again; else the whole node ends."""
        if not self._started:
            _log.error("worker %d could not start", number)
        elif code == USURPED:
            _log.error("this node runs somewhere else too; it ends here")
        else:
            return True
        self._failed = not self._started
        self.stop()
        return False

    def _current(self) -> Settings:
        """With the live settings of the file: a worker that starts again is to be like the others."""
        if self._source is None:
            return self._settings
        try:
            return self._source.read(self._settings).settings
        except SettingsError:
            return self._settings

    def _read_again(self) -> tuple[str, bytes]:
        """File, and what it said at the start; empty: nothing is read again."""
        source = self._source
        if source is None:
            return "", b""
        return str(source.path or ""), source.written.model_dump_json().encode()

    async def _start(self, number: int) -> asyncio.subprocess.Process:
        ours, theirs = pair()
        descriptors = (theirs.fileno(), *(each.descriptor for each in self._sockets.opened))
        command = (sys.executable, "-m", child.__name__, str(theirs.fileno()))
        try:
            # a session of its own: Ctrl-C is for the front, which tells the workers
            process = await asyncio.create_subprocess_exec(
                *command, pass_fds=descriptors, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )
        finally:
            theirs.close()
        self._processes[number] = process
        self.front.connect(number, Pipe(ours))
        begin = Begin(
            number,
            self._workers,
            self._current().model_dump_json().encode(),
            tuple(self._sockets.opened),
            os.getpid(),
            *self._read_again(),
        )
        self.front.begin(number, msgspec.msgpack.encode(begin))
        return process

    def _on_ready(self, number: int) -> None:
        if self.front.up() == self._workers:
            self._ready.set()
        if self._ending:
            self.front.order("drain", number)

    def _on_broken(self, number: int) -> None:
        """The pipe is closed: the process has died, or cannot be spoken to and is of no use."""
        process = self._processes.get(number)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def _kill_all(self) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    # -- the operator ---------------------------------------------------------------------------------------

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_term)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self.front.order("reload"))

    def _on_term(self) -> None:
        if self._ending:
            self.stop()
        else:
            self.drain()

    def _on_order(self, order: str) -> None:
        if order == "drain":
            self.drain()

    def drain(self) -> None:
        """No new calls; the workers end with their last ones."""
        self._ending = True
        self.front.order("drain")
        if not self.front.up():
            self.stop()

    def stop(self) -> None:
        """Hang up what runs and end."""
        self._ending = True
        self.front.order("stop")
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop_slow_ones())

    async def _stop_slow_ones(self) -> None:
        for number, process in list(self._processes.items()):
            if self.front.desks[number].state != "up":
                with contextlib.suppress(ProcessLookupError):
                    process.kill()  # it serves nobody yet
        await asyncio.sleep(STOP_S)
        self._kill_all()

    def _say_hello(self) -> None:
        facts = msgspec.msgpack.decode(self.front.desks[1].facts, type=dict[str, str])
        self._say(f"Cloudline {VERSION}, node {self._settings.node.id}, {self._workers} workers")
        self._say(f"  SIP      {facts['listeners']}   (domain {self._settings.sip.domain})")
        self._say(f"  API      {facts['url']}/docs   metrics {facts['url']}/metrics")

    # -- numbers --------------------------------------------------------------------------------------------

    def _answer(self, question: bytes) -> bytes:
        number, what, _ = msgspec.msgpack.decode(question)
        reply: object = None
        if what == "metrics":
            reply = page_of(self.metrics.families())
        elif what == "workers":
            reply = {desk.number: (desk.state, desk.restarts) for desk in self.front.desks.values()}
        return msgspec.msgpack.encode((number, (reply is not None, reply)))

    def _register_metrics(self) -> None:
        front, driver = self.front, self._driver
        desks = front.desks.values()
        self.metrics.register_all(
            {
                "workers": front.states,
                "worker_restarts": lambda: {str(desk.number): desk.restarts for desk in desks},
                "worker_datagrams": lambda: {str(desk.number): desk.passed for desk in desks},
                "worker_dropped": lambda: front.dropped,
                "worker_stand_ins": lambda: front.stood_in,
                "queue_delay_seconds": driver.queue_delay_s,
                "udp_receive_drops": driver.kernel_drops,
                "sip_bytes": lambda: {("in", "udp"): driver.counters.bytes_in.get("udp", 0)},
            }
        )


class _Clock:
    def monotonic(self) -> Monotonic:
        return Monotonic(time.monotonic())
