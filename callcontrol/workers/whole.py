"""The whole node as its operator sees it, by the worker that serves the API: its own part, and what the others answer.

Every worker answers for its part (`Part`).  Who does not answer in time is left out and shown as away: the operator is told
what there is.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec

from callcontrol.call_places import CallKey, Place
from callcontrol.explaining.answer import Explanation
from callcontrol.explaining.question import Question
from callcontrol.node_view import (
    BanView,
    CallView,
    CdrPage,
    ComponentView,
    LadderView,
    Node,
    NodeView,
    Registered,
    ReloadView,
    WorkerView,
)
from callcontrol.story import Story
from callcontrol.trunk_types import RouteView, TrunkView
from callcontrol.workers.frames import FRONT
from callcontrol.workers.merging import Page, merged
from callcontrol.workers.seat import NoAnswer, Seat

SLICE: Final = 500
"""Calls that a worker is asked for at once."""
_Value = TypeVar("_Value")


class Part:
    """Answers the first worker for this one."""

    def __init__(self, seat: Seat, own: Node, page: Callable[[], Page]) -> None:
        """``page``: what this process counted."""
        self._own = own
        self._page = page
        for what, handler in {
            "info": self._info,
            "health": self._health,
            "readiness": self._readiness,
            "metrics": self._metrics,
            "keys": self._keys,
            "key": self._key,
            "call": self._call,
            "story": self._story,
            "ladder": self._ladder,
            "hang_up": self._hang_up,
            "reload": self._reload,
        }.items():
            seat.serve(what, handler)

    async def _info(self, words: Any) -> Any:
        return msgspec.to_builtins((await self._own.info(), os.getpid()))

    async def _health(self, words: Any) -> Any:
        return msgspec.to_builtins(await self._own.health())

    async def _readiness(self, words: Any) -> Any:
        return msgspec.to_builtins(await self._own.readiness())

    async def _metrics(self, words: Any) -> Any:
        return self._page()

    async def _keys(self, words: Any) -> Any:
        ended, place = words
        found: list[CallKey] = []
        async for key in self._own.call_keys(bool(ended), None if place is None else (place[0], place[1])):
            found.append(key)
            if len(found) == SLICE:
                break
        return msgspec.to_builtins(found)

    async def _key(self, ref: Any) -> Any:
        return msgspec.to_builtins(await self._own.call_key(str(ref)))

    async def _call(self, ref: Any) -> Any:
        return msgspec.to_builtins(await self._own.call(str(ref)))

    async def _story(self, ref: Any) -> Any:
        return msgspec.to_builtins(await self._own.story(str(ref)))

    async def _ladder(self, ref: Any) -> Any:
        return msgspec.to_builtins(await self._own.ladder(str(ref)))

    async def _hang_up(self, ref: Any) -> Any:
        return await self._own.hang_up(str(ref))

    async def _reload(self, words: Any) -> Any:
        return msgspec.to_builtins(await self._own.reload())


class WholeNode:
    """`callcontrol.node_view.Node` over all workers."""

    def __init__(self, seat: Seat, own: Node, name: str, page: Callable[[], Page]) -> None:
        """``name`` of the node; ``page``: what this process counted."""
        self._seat = seat
        self._own = own
        self._name = name
        self._page = page

    # -- the node -------------------------------------------------------------------------------------------

    async def info(self) -> NodeView:
        seat, own = self._seat, await self._own.info()
        found = {
            worker: msgspec.convert(reply, tuple[NodeView, int])
            for worker, reply in (await seat.ask_all("info")).items()
        }
        found[seat.number] = (own, os.getpid())
        states = await self._states()
        workers = tuple(
            WorkerView(
                worker=number,
                state=states.get(number, ("away", 0))[0],
                restarts=states.get(number, ("away", 0))[1],
                pid=found[number][1] if number in found else 0,
                calls=found[number][0].calls if number in found else 0,
            )
            for number in range(1, seat.workers + 1)
        )
        parts = [view for view, _ in found.values()]
        return replace(
            own,
            id=self._name,
            started_at=min(view.started_at for view in parts),
            draining=any(view.draining for view in parts),
            calls=sum(view.calls for view in parts),
            registrations=max(view.registrations for view in parts),
            workers=workers,
        )

    async def _states(self) -> dict[int, tuple[str, int]]:
        try:
            reply = await self._seat.ask(FRONT, "workers")
        except NoAnswer:
            return {}
        return msgspec.convert(reply, dict[int, tuple[str, int]])

    async def health(self) -> Sequence[ComponentView]:
        return await self._components("health", await self._own.health())

    async def readiness(self) -> Sequence[ComponentView]:
        """A worker that is away does not take the node out of service: the others go on, and it comes back by itself."""
        seat = self._seat
        found = await self._components("readiness", await self._own.readiness())
        away = sorted(seat.away)
        detail = ", ".join(f"worker {number} is away" for number in away)
        return [*found, ComponentView(name="workers", ok=True, detail=detail)]

    async def _components(self, what: str, own: Sequence[ComponentView]) -> list[ComponentView]:
        """A part is well when it is in every worker."""
        found = {part.name: part for part in own}
        for worker, reply in (await self._seat.ask_all(what)).items():
            for part in msgspec.convert(reply, list[ComponentView]):
                known = found.get(part.name)
                if known is None or (known.ok and not part.ok):
                    found[part.name] = replace(part, detail=f"worker {worker}: {part.detail}")
        return list(found.values())

    async def metrics_page(self) -> bytes:
        seat = self._seat
        pages: list[Page] = [self._page()]
        pages.extend((await seat.ask_all("metrics")).values())
        try:
            pages.append(await seat.ask(FRONT, "metrics"))
        except NoAnswer:
            return merged(pages)
        return merged(pages)

    async def drain(self) -> NodeView:
        self._seat.order("drain")
        return replace(await self.info(), draining=True)

    async def reload(self) -> ReloadView:
        views = [await self._own.reload()]
        replies = await self._seat.ask_all("reload", patience_s=15.0)
        views.extend(msgspec.convert(reply, ReloadView) for reply in replies.values())
        silent = [worker for worker in self._seat.others() if worker not in replies]
        problems = [problem for view in views for problem in view.problems]
        problems.extend(f"worker {worker} did not answer" for worker in silent)
        return ReloadView(
            ok=not problems,
            changes=tuple(dict.fromkeys(change for view in views for change in view.changes)),
            needs_restart=tuple(dict.fromkeys(key for view in views for key in view.needs_restart)),
            problems=tuple(dict.fromkeys(problems)),
        )

    # -- calls ----------------------------------------------------------------------------------------------

    async def call_keys(self, ended: bool, place: Place | None = None) -> AsyncIterator[CallKey]:
        """The calls of each worker come in its order; of what each has next, the latest is taken."""
        rows = [_Row(self._slice(worker, ended), place) for worker in self._seat.others()]
        rows.append(_Row(self._own_slice(ended), place))
        for row in rows:
            await row.fill()
        while rows:
            rows = [row for row in rows if row.keys]
            if not rows:
                return
            latest = max(rows, key=lambda row: row.keys[-1].started_at)
            yield latest.keys.pop()
            if not latest.keys:
                await latest.fill()

    def _slice(self, worker: int, ended: bool) -> Callable[[Place | None], Awaitable[list[CallKey]]]:
        async def fetch(place: Place | None) -> list[CallKey]:
            try:
                reply = await self._seat.ask(worker, "keys", (ended, place))
            except NoAnswer:
                return []
            return msgspec.convert(reply, list[CallKey])

        return fetch

    def _own_slice(self, ended: bool) -> Callable[[Place | None], Awaitable[list[CallKey]]]:
        async def fetch(place: Place | None) -> list[CallKey]:
            found: list[CallKey] = []
            async for key in self._own.call_keys(ended, place):
                found.append(key)
                if len(found) == SLICE:
                    break
            return found

        return fetch

    async def call_key(self, ref: str) -> CallKey | None:
        return await self._first("key", ref, CallKey, await self._own.call_key(ref))

    async def call(self, ref: str) -> CallView | None:
        """Where it runs, or else where it ran: a call that moved is remembered by neither side alone."""
        own = await self._own.call(ref)
        if own is not None and own.state != "ended":
            return own
        other = await self._first("call", ref, CallView, None)
        return other if own is None or (other is not None and other.state != "ended") else own

    async def story(self, ref: str) -> Story | None:
        return await self._first("story", ref, Story, await self._own.story(ref))

    async def explain(self, question: Question) -> Explanation:
        return await self._own.explain(question)

    async def ladder(self, ref: str) -> LadderView | None:
        return await self._first("ladder", ref, LadderView, await self._own.ladder(ref))

    async def _first(self, what: str, ref: str, kind: type[_Value], own: _Value | None) -> _Value | None:
        """What this worker has, else the one where the call should be, else any."""
        if own is not None:
            return own
        for reply in (await self._seat.ask_all(what, ref)).values():
            if reply is not None:
                return msgspec.convert(reply, kind)
        return None

    async def hang_up(self, ref: str) -> bool:
        if await self._own.hang_up(ref):
            return True
        return any((await self._seat.ask_all("hang_up", ref)).values())

    # -- what every worker knows ----------------------------------------------------------------------------

    def registrations(self, user: str = "") -> Iterator[Registered]:
        return self._own.registrations(user)

    def sign_out(self, device: str) -> int:
        return self._own.sign_out(device)

    def trunks(self) -> Sequence[TrunkView]:
        return self._own.trunks()

    def routes(self, number: str) -> Sequence[RouteView]:
        return self._own.routes(number)

    def bans(self) -> Sequence[BanView]:
        return self._own.bans()

    def lift_ban(self, address: str) -> bool:
        self._seat.tell("lift_ban", address)
        return self._own.lift_ban(address)

    async def cdrs(
        self, limit: int, cursor: str, number: str, *, account: str = "", user: str = ""
    ) -> CdrPage:
        return await self._own.cdrs(limit, cursor, number, account=account, user=user)


class _Row:
    """The calls of one worker, a slice at a time, the next one last."""

    __slots__ = ("_done", "_fetch", "_place", "keys")

    def __init__(
        self, fetch: Callable[[Place | None], Awaitable[list[CallKey]]], place: Place | None
    ) -> None:
        self._fetch = fetch
        self._place = place
        self._done = False
        self.keys: list[CallKey] = []

    async def fill(self) -> None:
        if self._done:
            return
        found = await self._fetch(self._place)
        self._done = len(found) < SLICE
        if found:
            self._place = (found[-1].started_at, found[-1].ref)
        self.keys = found[::-1]
