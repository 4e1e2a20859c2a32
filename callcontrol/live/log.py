"""Tables that all nodes have alike: the same steps, in the same order, everywhere (LIVE-01).

A step (a lease taken, a channel given back) is written to one stream in Redis; every node reads the stream and does the steps
in its order on tables of its own.  The node that asked tells the result once its step comes back, so a decision is atomic
over all nodes though each of them decides; reading is a look into memory.  Whatever a step depends on, its time included, is
part of it.  Steps that nobody waits for linger a moment and go together, in their order, before any that is waited for.

**A node that starts** loads the last copy of the tables that another one left, and reads on from there.  **When Redis is away**
no step is done: who asks is told so at once.  **When Redis comes back empty**, the first node to find out leaves a copy of its
own tables, the others load it, and each tells its users to say again what they hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import hiredis
import msgspec

from callcontrol.live import keys
from callcontrol.live.connection import Replies, Script, command
from callcontrol.live.link import LinkError, RedisLink

_log = logging.getLogger(__name__)

BATCH: Final = 500
BLOCK_MS: Final = 1000
COPY_S: Final = 30.0
"""How often a copy of the tables is left for those who start."""
WATCH_S: Final = 0.1
LINGER_S: Final = 0.05
"""How long a step that nobody waits for may wait for others, so that all go in one entry of the stream."""
_MAX_LINGERING: Final = 200
_MAX_AGAIN: Final = 100_000
"""Steps that wait for Redis to come back."""

LEAVE_COPY: Final = Script(
    """
local held = redis.call('HGET', KEYS[1], 'number')
if ARGV[3] == '0' and held and tonumber(held) >= tonumber(ARGV[1]) then return 0 end
if ARGV[3] == '1' and held then return 0 end
redis.call('HSET', KEYS[1], 'number', ARGV[1], 'copy', ARGV[2])
return 1
"""
)
"""KEYS: the copy.  ARGV: steps that it contains, the copy, 1 if there must be none yet.  1: it is there."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder()


class Unavailable:
    """What ``done`` is told when no step could be done."""


UNAVAILABLE: Final = Unavailable()

Done = Callable[[object], None]


class Machine(Protocol):
    """A table and its steps; deterministic, without a clock."""

    def step(self, verb: str, words: Sequence[Any]) -> object:
        """Do a step; the words are what MessagePack makes of those that were submitted."""
        ...

    def dump(self) -> object:
        """Everything, as MessagePack can write it."""
        ...

    def load(self, data: Any) -> None:
        """Become what ``dump`` gave."""
        ...


class Steps(Protocol):
    """Where steps are submitted (`SharedLog`)."""

    def submit(
        self,
        machine: str,
        verb: str,
        words: Sequence[object],
        done: Done | None = None,
        *,
        linger: bool = False,
    ) -> None:
        """Have every node do a step; ``done`` gets the result, or `UNAVAILABLE`.  ``linger``: nobody waits for it."""
        ...

    def insist(self, machine: str, verb: str, words: Sequence[object], *, linger: bool = False) -> None:
        """Have every node do a step that may be done twice; once Redis is back if it is away now."""
        ...


class _Asked:
    __slots__ = ("at", "done")

    def __init__(self, at: float, done: Done) -> None:
        self.at = at
        self.done = done


class SharedLog:
    """See the module."""

    def __init__(
        self,
        writer: RedisLink,
        reader: RedisLink,
        process: str,
        machines: Mapping[str, Machine],
        *,
        patience_s: float = 1.0,
        on_turn: Callable[[], None] = lambda: None,
        on_defect: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """``process``: a word that no other process has.  ``patience_s``: how long a step may take."""
        self._writer = writer
        self._reader = reader
        self._process = process
        self._machines = machines
        self._patience_s = patience_s
        self._on_turn = on_turn
        self._on_defect = on_defect
        self._number = 0
        self._asked: dict[int, _Asked] = {}
        self._last = "0-0"
        """Id of the last step that was done here."""
        self._began = False
        self._in_step = False
        self._copied = 0
        self.done_steps = 0
        self.reloads = 0
        """How often the tables were replaced, or became those of a Redis that had none."""
        self._lingering: list[tuple[int, bytes]] = []
        """Numbers and bytes of steps that are not written yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._pause: asyncio.Future[None] | None = None
        """Done when nothing has come for a while, or the reader's link fails."""
        self._again: list[tuple[str, str, Sequence[object]]] = []
        self.on_back: list[Callable[[], None]] = []
        """Told when steps can be done again: say again what you hold."""

    @property
    def in_step(self) -> bool:
        """The tables are those of the other nodes, and steps can be done."""
        return self._in_step and self._writer.is_up

    def submit(
        self,
        machine: str,
        verb: str,
        words: Sequence[object],
        done: Done | None = None,
        *,
        linger: bool = False,
    ) -> None:
        if not self.in_step:
            if done is not None:
                done(UNAVAILABLE)
            return
        self._number += 1
        number = self._number
        if done is not None:
            self._asked[number] = _Asked(asyncio.get_running_loop().time(), done)
        self._lingering.append((number, _encoder.encode((self._process, number, machine, verb, words))))
        if not linger or len(self._lingering) >= _MAX_LINGERING:
            self.write()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self.write)

    def write(self) -> None:
        """Write the steps that linger, as one entry: it is there as a whole or not at all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        steps, self._lingering = self._lingering, []
        if not steps:
            return
        words: list[str | bytes] = ["XADD", keys.LOG, "*"]
        for _, step in steps:
            words += ("s", step)
        self._writer.send(command(*words), 1, lambda replies: self._written(steps, replies))

    def insist(self, machine: str, verb: str, words: Sequence[object], *, linger: bool = False) -> None:
        def told(result: object) -> None:
            if result is UNAVAILABLE and len(self._again) < _MAX_AGAIN:
                self._again.append((machine, verb, words))

        self.submit(machine, verb, words, told, linger=linger)

    def say_again(self) -> None:
        """Both links are up again: submit what could not be, and have others do the same."""
        if not self.in_step:
            return
        again, self._again = self._again, []
        for machine, verb, words in again:
            self.insist(machine, verb, words)
        for told in self.on_back:
            told()

    async def open(self) -> None:
        """Get the tables into step.  Both links are connected.  Raises LinkError."""
        await self._get_into_step()
        while await self._read_once():
            pass

    async def run(self) -> None:
        """Read the steps of all nodes, and get into step again after an outage.  Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="live state: steps")
            group.create_task(self._watch(), name="live state: copies")

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                if not self._in_step:
                    await self._get_into_step()
                self._pause = loop.create_future()
                self._read_on()
                await self._pause
                await self._check_continuity()
            except LinkError as error:
                if self._in_step:
                    _log.warning("live state: steps cannot be read: %s", error)
                self._in_step = False
                self._fail_all()
                await asyncio.sleep(WATCH_S)

    async def _watch(self) -> None:
        """Steps that do not come back, and copies for those who start."""
        loop = asyncio.get_running_loop()
        copy_at = loop.time() + COPY_S
        while True:
            await asyncio.sleep(WATCH_S)
            late = loop.time() - self._patience_s
            for number in [number for number, asked in self._asked.items() if asked.at < late]:
                self._answer(number, UNAVAILABLE)
            if loop.time() >= copy_at and self.in_step:
                copy_at = loop.time() + COPY_S
                try:
                    await self._leave_copy()
                except LinkError as error:
                    _log.warning("live state: no copy of the tables is left: %s", error)

    # -- steps --

    def _written(self, steps: list[tuple[int, bytes]], replies: Replies | None) -> None:
        if replies is None or isinstance(replies[0], hiredis.ReplyError):
            for number, _ in steps:
                self._answer(number, UNAVAILABLE)

    async def _read_once(self) -> int:
        """Do the steps that have come since; how many entries.  Raises LinkError."""
        reply = await self._reader.ask("XREAD", "COUNT", BATCH, "STREAMS", keys.LOG, self._last)
        return self._do_all(reply)

    def _read_on(self) -> None:
        """Wait in Redis for the next entry; its reply asks for the one after it, without a task in between."""
        wait = command("XREAD", "COUNT", BATCH, "BLOCK", BLOCK_MS, "STREAMS", keys.LOG, self._last)
        self._reader.send(wait, 1, self._read)

    def _read(self, replies: Replies | None) -> None:
        pause = self._pause
        if pause is None or pause.done():
            return  # the node stops
        if replies is None:
            pause.set_exception(LinkError("the connection to Redis was lost"))
        elif isinstance(replies[0], hiredis.ReplyError):
            pause.set_exception(LinkError(f"Redis refuses: {replies[0]}"))
        elif self._do_all(replies[0]):
            self._on_turn()
            self._read_on()
        else:
            pause.set_result(None)

    def _do_all(self, reply: object) -> int:
        if not isinstance(reply, list):
            return 0
        entries = reply[0][1]
        for id, fields in entries:
            self._last = _text(id)
            for step in fields[1::2]:
                self._do(step)
        return len(entries)

    def _do(self, entry: bytes) -> None:
        try:
            process, number, machine, verb, words = _decoder.decode(entry)
            result = self._machines[machine].step(verb, words)
        except Exception as error:  # noqa: BLE001 - one step that cannot be done is done by no node
            self._on_defect(error)
            return
        self.done_steps += 1
        if process == self._process:
            self._answer(number, result)

    def _answer(self, number: int, result: object) -> None:
        asked = self._asked.pop(number, None)
        if asked is None:
            return
        try:
            asked.done(result)
        except Exception as error:  # noqa: BLE001 - the defect of one call
            self._on_defect(error)

    def _fail_all(self) -> None:
        for number in list(self._asked):
            self._answer(number, UNAVAILABLE)

    # -- getting into step --

    async def _get_into_step(self) -> None:
        held = await self._reader.ask_all(
            [
                command("HMGET", keys.LOG_COPY, "number", "copy"),
                command("XRANGE", keys.LOG, "-", "+", "COUNT", 1),
                command("XREVRANGE", keys.LOG, "+", "-", "COUNT", 1),
            ]
        )
        copy = held[0][1] if isinstance(held[0], list) else None
        first, last = _only_id(held[1]), _only_id(held[2])
        if self._began and first <= _order(self._last) <= last:
            self._in_step = True  # nothing is missing: the steps since then are read
            self.say_again()
            return
        if copy is None and first > (0, 0) and not self._began:
            self._last = "0-0"  # young: every step is still there
        elif copy is None:
            await self._found()
            return
        else:
            self._load(copy)
        self._begin_again()

    async def _found(self) -> None:
        """Redis has nothing: this node's tables are what all go on with, unless another one was quicker."""
        await self._reader.ask("DEL", keys.LOG)
        self._last = "0-0"
        made = await self._reader.ask_all(
            [LEAVE_COPY.call((keys.LOG_COPY,), self.done_steps, self._dump(), 1)]
        )
        if made != [1]:
            await self._get_into_step()
            return
        self._begin_again()

    def _begin_again(self) -> None:
        again, self._began, self._in_step = self._began, True, True
        if again:
            self.reloads += 1
            _log.warning("live state: the tables of all nodes were brought into step again")
            self.say_again()

    async def _check_continuity(self) -> None:
        """Nothing came for a while: is it still the stream that we know?"""
        if self._last == "0-0":
            return
        if await self._reader.ask("EXISTS", keys.LOG) == 0:
            self._in_step = False

    async def _leave_copy(self) -> None:
        """For those who start; steps that every node has done are then dropped."""
        steps = self.done_steps
        made = await self._writer.ask_all([LEAVE_COPY.call((keys.LOG_COPY,), steps, self._dump(), 0)])
        if made == [1] and self._copied:
            # what is older than the copy before this one nobody needs any more
            await self._writer.ask(
                "XTRIM", keys.LOG, "MAXLEN", "~", max(steps - self._copied, 1) + 10 * BATCH
            )
        self._copied = steps

    def _dump(self) -> bytes:
        tables = {name: machine.dump() for name, machine in self._machines.items()}
        return _encoder.encode([self._last, self.done_steps, tables])

    def _load(self, copy: bytes) -> None:
        try:
            last, steps, tables = _decoder.decode(copy)
            for name, machine in self._machines.items():
                machine.load(tables.get(name))
        except (msgspec.DecodeError, ValueError, TypeError, KeyError) as error:
            raise LinkError(f"the copy of the tables in Redis cannot be read: {error}") from error
        self._last, self.done_steps = last, steps


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _order(id: str) -> tuple[int, int]:
    """An id of the stream, so that it can be compared."""
    time, _, number = id.partition("-")
    return int(time), int(number or 0)


def _only_id(reply: object) -> tuple[int, int]:
    """Id of the one entry of a range; (0, 0): there is none."""
    return _order(_text(reply[0][0])) if isinstance(reply, list) and reply else (0, 0)
